"""Hands at the review desk in Chromium, and a network that can be cut; `benchmarks/review_desk.py` uses them with larger numbers."""

from __future__ import annotations

import contextlib
import re
import socket
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

from tests.browser.server import Server, page_of

# A function of the page: the desk's element, which is in a shadow root.
DESK = """[...document.querySelectorAll('*')].find(each => each.shadowRoot?.querySelector('.desk'))?.shadowRoot.querySelector('.desk')"""


class Network:
    """The way from the browser to a server, on a port of its own; `cut` ends all connections and lets no new one through."""

    def __init__(self, port: int) -> None:
        self.target, self.whole, self.open = port, True, set[socket.socket]()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self.whole = False
        for each in [*self.open]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self.whole = True

    def close(self) -> None:
        self.cut()
        self.listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listening.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.target), 1) if self.whole else None
                except OSError:
                    far = None
                if far is None:
                    near.close()
                    continue
                far.settimeout(None)
                for one, other in ((near, far), (far, near)):
                    self.open.add(one)
                    threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        self.open.discard(one)
        for each in (one, other):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def open_desk(browser: Any, url: str, run: str, *, name: str = "", more: str = "") -> Any:
    """Open the Review screen in a browser of its own; with a name, as a reviewer who has given it before."""
    page = page_of(browser, "about:blank")
    if name:
        page.add_init_script(f"localStorage.setItem('hnmine-reviewer', {name!r})")
    page.goto(f"{url}/review?run={run}{more}")
    ready(page)
    return page


def ready(page: Any) -> None:
    """Wait until the desk shows a pair and hears keys."""
    page.wait_for_function(f"() => {{ const desk = {DESK}; return desk && desk.querySelector('.candidate').textContent }}")
    page.evaluate(f"() => {DESK}.focus()")


def shown(page: Any) -> tuple[str, str]:
    """The query and the candidate on the desk."""
    return tuple(page.evaluate(f"() => ['.query', '.candidate'].map(each => {DESK}.querySelector(each).textContent)"))


def press(page: Any, keys: str, pause: float = 0.0) -> None:
    """Press keys, each with a pause after it (seconds)."""
    for key in keys:
        began = time.monotonic()
        page.keyboard.press(key)
        time.sleep(max(0.0, pause - (time.monotonic() - began)))


def saved(page: Any, seconds: float = 30) -> None:
    """Wait until nothing is unsaved."""
    page.wait_for_function(f"() => {DESK}?.querySelector('.saved').textContent === 'All saved'", timeout=1000 * seconds)


def reviewed(page: Any) -> int:
    """How many pairs the desk counts as reviewed."""
    return int(re.sub(r"[^\d]", "", page.evaluate(f"() => {DESK}.querySelector('.progress').textContent.split(' of ')[0]")))


def events(root: Path) -> list[tuple[str, str, str, str]]:
    """All events of the log: reviewer, query, passage, verdict."""
    with sqlite3.connect(root / "reviews.sqlite") as db:
        return db.execute("SELECT who, query, passage, after FROM events ORDER BY id").fetchall()


# Presses keys at a rate in the page, as a person would who reads nothing, and notes for each what was on the desk and how long the next
# pair took: from the press to the candidate's change, in the same task, which the next frame shows.
STREAM = f"""async ([keys, rate]) => {{
    const found = [];
    const desk = () => {DESK};
    const what = () => ['.query', '.candidate'].map(each => desk().querySelector(each).textContent);
    for (const key of keys) {{
        const began = performance.now();
        // A desk that has just been put in place shows no texts yet.
        while (!desk() || desk().querySelector('.pair').hidden || !what()[1]) {{
            if (performance.now() - began > 60_000) throw new Error(`no pair: ${{desk()?.textContent.slice(0, 400)}}`);
            await new Promise(then => setTimeout(then, 20));
        }}
        const before = what(), start = performance.now();
        desk().dispatchEvent(new KeyboardEvent('keydown', {{ key, bubbles: true, composed: true }}));
        const now = what(), drawn = performance.now() - start;
        await new Promise(then => requestAnimationFrame(() => setTimeout(then, 0)));
        found.push([...before, key, drawn, performance.now() - start, now[0] !== before[0] || now[1] !== before[1]]);
        await new Promise(then => setTimeout(then, Math.max(0, 1000 / rate - (performance.now() - began))));
    }}
    return found;
}}"""
VERDICT = {"k": "negative", "d": "relevant", "p": "positive", "j": "junk", "s": "unsure"}


def stream(page: Any, keys: str, rate: float) -> list[tuple[str, str, str, float, float, bool]]:
    """Press keys in the page at a rate (a second).

    Returns:
        Of each: query, candidate, key, milliseconds until the next pair is drawn, milliseconds to the frame after it, and whether it is
        another pair.
    """
    return [tuple(each) for each in page.evaluate(STREAM, [[*keys], rate])]


def through_failures(browser: Any, root: Path, run: str, serve: Any, keys: str, kills: int, cuts: int, rate: float = 10) -> dict[str, Any]:
    """Review at a rate while the server is killed and the network is cut; return what was pressed and what was written."""
    server: Server = serve(root)
    network = Network(server.port)
    page = open_desk(browser, network.url, run)
    pressed: list[tuple[str, str, str, float, float, bool]] = []
    harms = (["kill"] * kills + ["cut"] * cuts)[::2] + (["kill"] * kills + ["cut"] * cuts)[1::2]
    part = len(keys) // (len(harms) + 1)
    for number, harm in enumerate([*harms, ""]):
        mine = keys[number * part : (number + 1) * part] if harm else keys[number * part :]
        half = len(mine) // 2
        pressed += stream(page, mine[:half], rate)
        if harm == "kill":
            server.kill()
        elif harm == "cut":
            network.cut()
        pressed += stream(page, mine[half : half + 10], rate)  # nobody notices
        if harm == "kill":
            server = serve(root, port=server.port)
        elif harm == "cut":
            network.mend()
        pressed += stream(page, mine[half + 10 :], rate)
        saved(page, 60)  # a busy machine takes long to come back, and the desk has no more than the next 50 pairs
    counted = reviewed(page)
    page.context.close()
    network.close()
    return {
        "counted": counted,
        "wanted": [(query, passage, VERDICT[key]) for query, passage, key, *_ in pressed],
        "written": [(query, passage, verdict) for _, query, passage, verdict in events(root)],
        "drawn": sorted(each[3] for each in pressed),
        "frames": sorted(each[4] for each in pressed),
        "moved": all(each[5] for each in pressed),
    }
