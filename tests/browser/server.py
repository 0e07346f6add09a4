"""A server of the app and pages of a real Chromium, for the tests marked `browser`; `conftest.py` has the fixture."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

WAIT = 540_000  # milliseconds of a wait for mining: a busy machine loads the model in minutes

OUTSIDE: list[str] = []  # what pages asked of other hosts


class Server:
    """A server as `make app` starts it, on a free port (or one given) with its own workspace.

    `script` is a script for `streamlit run`; `options` are options of it; `extra` is added to the environment; `ready` is the status of
    the answers that mean it is up.
    """

    def __init__(
        self,
        workspace: Path,
        *,
        port: int = 0,
        script: Path | None = None,
        options: Sequence[str] = (),
        ready: int = 200,
        **extra: str,
    ) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = workspace.parent / f"{workspace.name}-{self.port}.log"
        command = ["-m", "pages.shared.serve"] if script is None else ["-m", "streamlit", "run", str(script)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command, "--server.port", str(self.port), *options],
                cwd=ROOT,
                # One thread: the browser needs the other processors, and threads that wait for each other are slow.
                env={"OMP_NUM_THREADS": "1"} | os.environ | {"HNMINE_HOME": str(workspace), "PYTHONPATH": str(ROOT)} | extra,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 300
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=30) as answer:
                    assert answer.read() == b"ok"
                    return
            except OSError as error:
                if getattr(error, "code", None) == ready:
                    return
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline, "the server did not come up"
                time.sleep(0.2)

    def stop(self) -> None:
        """End it; a server that has crashed before is a failure."""
        ended = self.process.poll()
        assert ended in (None, -signal.SIGKILL), f"the server ended by itself with {ended}: {self.log.read_text()[-6000:]}"
        self.process.terminate()
        self.process.wait(120)

    def kill(self) -> None:
        """End it as a power cut would: without a chance to write anything."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(120)


def page_of(browser: Any, url: str) -> Any:
    """Open an address in a browser window of its own."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(180_000)  # a busy machine is slow, and nothing is missing
    page.on("request", lambda request: OUTSIDE.append(request.url) if "127.0.0.1" not in request.url and "://" in request.url else None)
    page.goto(url)
    return page


# The script has ended, no widget is still on its way, and for a third of a second nothing that one could click has moved: charts and grids
# draw themselves afterwards, and push aside what is below them.
STANDS_STILL = """() => {
    const running =
        document.querySelector('[data-test-script-state]')?.dataset.testScriptState !== 'notRunning' ||
        document.querySelector('[data-testid=stSkeleton]') !== null;
    const places = [...document.querySelectorAll('canvas, svg, button, input')].map(each => {
        const box = each.getBoundingClientRect();
        return [box.x, box.y, box.width, box.height].map(Math.round).join();
    }).join(';');
    if (running || window.placesBefore !== places) {
        [window.placesBefore, window.placesSince] = [running ? null : places, performance.now()];
        return false;
    }
    return performance.now() - window.placesSince > 300;
}"""


def settled(page: Any) -> None:
    """Wait until the script has run to its end, and what it drew stands still."""
    page.wait_for_function(STANDS_STILL)
