"""What no browser sends: a thousand runs at once, values of 100 MB, clients that never read, many uploads. Other sessions go on.

Each trial is one of these, beside a session that goes on: each of its runs may take `PATIENCE` seconds. Memory may grow by `GROWTH` bytes.
Afterwards nothing of the clients is left. Fewer than 20 trials are of a tenth of the size, and have six times the patience: the suite runs
beside other tests.
"""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import psutil
from websockets.exceptions import ConnectionClosed

from hnmine.runs.workspace import Workspace
from tests.browser.server import Server
from tests.campaign.campaign import Outcome
from tests.campaign.client import Client
from tests.conftest import add_example, mine

SIZE = 40
PATIENCE = 20.0
GROWTH = 700 * 2**20
TTL = 2
MB = 10**6


def runs(port: int, query: str, draw: random.Random, part: float) -> None:
    """A thousand runs as fast as they can be sent."""
    client = Client(port)
    page = draw.choice(["mine", "inspect", "review", "quality", "runs", "export"])
    for _ in range(int(1000 * part)):
        client.send(query, page)
    client.finished()
    client.close()


def slow(port: int, query: str, draw: random.Random, part: float) -> None:
    """A client that asks and never reads."""
    client = Client(port, slow=True)
    with contextlib.suppress(ConnectionClosed):
        for _ in range(int(300 * part)):
            client.send(query, "inspect")
            time.sleep(0.005)
    client.close()


def address(port: int, query: str, draw: random.Random, part: float) -> None:
    """Addresses of megabytes."""
    client = Client(port)
    for name in ("query", "search", "draft", "nothing"):
        client.send(f"{query}&{name}={'x' * draw.randrange(MB, 5 * MB)}", "inspect")
        client.finished()
    if client.exceptions:
        raise AssertionError(client.exceptions[0])
    client.close()


def text(port: int, query: str, draw: random.Random, part: float) -> None:
    """Texts of megabytes in fields, and one that is larger than a message may be."""
    client = Client(port)
    client.send(query, "inspect")
    client.finished()
    client.send(query, "inspect", inspect_search="x y" * MB)
    client.finished()
    if client.exceptions:
        raise AssertionError(client.exceptions[0])
    with contextlib.suppress(ConnectionClosed):
        client.send(query, "inspect", inspect_search="x" * 100 * MB)
        client.finished()
        raise AssertionError("a message of 100 MB was read")
    client.close()


def uploads(port: int, query: str, draw: random.Random, part: float) -> None:
    """Ten uploads of 20 MB at once, one that is abandoned, one that announces too much and one of a session that does not exist."""
    client = Client(port)
    client.send("", "")
    client.finished()
    found: list[int] = []
    content = draw.randbytes(MB) * int(20 * part)
    threads = [threading.Thread(target=lambda name=str(n): found.append(client.upload(name, content))) for n in range(10)]  # type: ignore[misc]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    if found != [204] * 10:
        raise AssertionError(f"uploads were answered {found}")
    client.abandon("abandoned")
    refused = client.upload("large", b"x", length=2**33)
    client.session = "nobody"
    if (refused, client.upload("1", b"x")) != (413, 400):
        raise AssertionError(f"an upload of 8 GB was answered {refused}")
    client.close()


Flood = Callable[[int, str, random.Random, float], None]
FLOODS: list[Flood] = [runs, slow, address, text, uploads]


def held(process: psutil.Process) -> list[str]:
    """The connections of a process, and its open files without a name."""
    nameless = [name for each in Path(f"/proc/{process.pid}/fd").iterdir() if "(deleted)" in (name := str(each.readlink()))]
    return [*nameless, *(f"{each.status} {each.raddr}" for each in process.net_connections() if each.raddr)]


def run(size: int, seed: int) -> Outcome:
    outcome, draw, part = Outcome(name="floods"), random.Random(seed), 0.1 if size < 20 else 1.0
    patience = PATIENCE if part == 1 else 6 * PATIENCE
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "workspace"
        space = Workspace(folder)
        query = f"run={mine(space, add_example(space))}"
        with mock.patch.dict(os.environ, STREAMLIT_SERVER_DISCONNECTED_SESSION_TTL=str(TTL)):
            server = Server(folder)
        process = psutil.Process(server.process.pid)
        other = Client(server.port)
        for page in ("mine", "inspect", "review", "quality", "runs", "export"):
            other.send(query, page)
            other.finished()
        before = process.memory_info().rss
        peak, longest, ended = before, (0.0, ""), threading.Event()

        def watch() -> None:
            nonlocal peak
            while not ended.wait(0.05):
                peak = max(peak, process.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        for number in range(size):
            flood = FLOODS[number % len(FLOODS)]
            outcome.tried += 1
            attack = threading.Thread(target=_tried, args=(flood, server.port, query, random.Random(draw.random()), part, outcome, number))
            attack.start()
            try:
                while True:
                    other.send(query, "inspect")
                    longest = max(longest, (other.finished(patience), flood.__name__))
                    if not attack.is_alive():
                        break
            except Exception as error:  # the campaign goes on
                outcome.failed.append(f"{number} {flood.__name__}: another session: {type(error).__name__} {error}")
                other = Client(server.port)
            attack.join()
        other.close()
        deadline = time.monotonic() + 300
        while held(process) and time.monotonic() < deadline:
            time.sleep(0.5)
        ended.set()
        watcher.join()
        if left := held(process):
            outcome.failed.append(f"after all sessions have ended there are still {', '.join(left)}")
        if peak - before > GROWTH:
            outcome.failed.append(f"the server grew from {before >> 20:,} to {peak >> 20:,} MiB")
        after = process.memory_info().rss
        server.stop()
        log = server.log.read_text()
        if "Traceback" in log:
            outcome.failed.append(f"the log has an error: {log[log.find('Traceback') :][:1500]}")
    memory = f"memory {before >> 20:,} MiB before, peak {peak >> 20:,}, {after >> 20:,} after"
    outcome.figures = f"{memory}, longest run of another session {longest[0]:.1f} s ({longest[1]})"
    return outcome


def _tried(flood: Flood, port: int, query: str, draw: random.Random, part: float, outcome: Outcome, number: int) -> None:
    try:
        flood(port, query, draw, part)
    except Exception as error:  # a fault is a line, the others go on
        outcome.failed.append(f"{number} {flood.__name__}: {type(error).__name__} {str(error)[:300]}")
