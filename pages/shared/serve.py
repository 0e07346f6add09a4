"""Start the server: `python -m pages.shared.serve`, followed by options of `streamlit run`.

Like `streamlit run app.py`, except that a server which others could reach without sign-in or consent does not start. `streamlit run`
starts it, and it answers every request with the reason.
"""

from __future__ import annotations

import faulthandler
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

import click
from starlette.middleware import Middleware
from streamlit import config
from streamlit.runtime.pages_manager import PagesManager
from streamlit.web import bootstrap, cli

from hnmine.core.errors import HnmineError
from pages.shared import access, gate, pace, provider, servers, sessions, uploads

APP = str(Path(__file__).parents[2] / "app.py")


def prepared() -> list[Middleware]:
    """Return the middleware of the server; the process ends with a message if people could not sign in.

    Until app.py has run once, Streamlit takes any folder named `pages` for a multi-page app of the old kind, and a screen's address shows
    "Page not found" above the screen. This prevents that.
    """
    PagesManager.uses_pages_directory = False
    try:
        access.check()
        gate.public_url()
        servers.listed()
    except HnmineError as error:
        sys.exit(f"hnmine does not start. {error}")
    provider.log_in_one_line()
    uploads.on_disk()
    sessions.end_in_time()
    return [Middleware(pace.Pace), Middleware(gate.Gate)]


def checked(arguments: list[str]) -> list[str]:
    """End the process with the reason if a server with these options of `streamlit run` may not serve; else return the options.

    With an address that people open, Streamlit need not ask a host of the internet for the address of this machine. Its banner always has
    the port of this process, so the address is printed here.
    """
    config._main_script_path = APP
    options = cli.main_run.make_context("run", [APP, *arguments], resilient_parsing=True).params
    bootstrap.load_config_options({name: value for name, value in options.items() if name not in ("target", "args")})
    try:
        access.check()
        refused = _bad_port() or gate.refusal_to_serve()
    except HnmineError as error:
        refused = str(error)
    if refused:
        sys.exit(f"hnmine does not start. {refused}")
    public = gate.public_url()
    if not public or config.is_manually_set("browser.serverAddress"):
        return arguments
    click.echo(f"\n  hnmine starts. People open {public}\n")
    return ["--browser.serverAddress", str(urlsplit(public).hostname), "--logger.hideWelcomeMessage", "true", *arguments]


def _bad_port() -> str:
    port = config.get_option("server.port")
    return "" if 0 <= int(port) <= 65535 else f"server.port is {port}; it must be a number from 0 to 65535, such as 8501"


if __name__ == "__main__":
    faulthandler.enable()  # a crash of a compiled package leaves its place in the log
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background of a shell inherits that it is ignored
    try:
        cli.main(["run", APP, *checked(sys.argv[1:])], standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:  # Ctrl-C
        sys.exit(130)
