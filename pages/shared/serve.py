"""Start the server: `python -m pages.shared.serve`, followed by options of `streamlit run`.

Like `streamlit run app.py`, except that a server which others could reach without sign-in or consent does not start at all; `streamlit run`
starts and answers with the reason. `prepared` is what both do before Streamlit serves anything.
"""

from __future__ import annotations

import sys
from pathlib import Path

from starlette.middleware import Middleware
from streamlit.runtime.pages_manager import PagesManager
from streamlit.web import cli

from hnmine.core.errors import HnmineError
from pages.shared import access, gate

MODULE = "pages.shared.serve"


def prepared() -> list[Middleware]:
    """Check how the server is set up, and return its middleware; the process ends with a message if people could not sign in.

    Until app.py has run once, Streamlit takes any folder named `pages` for a multi-page app of the old kind, and a screen's address shows
    "Page not found" above the screen. This prevents that.
    """
    PagesManager.uses_pages_directory = False
    try:
        access.check()
        refused = gate.refusal_to_serve()
    except HnmineError as error:
        sys.exit(f"hnmine does not start: {error}")
    if refused and getattr(sys.modules["__main__"].__spec__, "name", "") == MODULE:
        sys.exit(f"hnmine does not start. {refused}")
    return [Middleware(gate.Gate)]


if __name__ == "__main__":
    cli.main(["run", str(Path(__file__).parents[2] / "app.py"), *sys.argv[1:]])
