"""Requests and WebSockets of strangers: foreign hosts and pages, forged cookies, stolen sessions, paths out of the app.

The server has sign-in. A request of a foreign host or page has the cookie of a person who is let in, so only its host or origin can stop
it. Every tenth trial is a request that must be answered, so that a server which refuses everything fails.
"""

from __future__ import annotations

import json
import random
import shutil
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

from itsdangerous import TimestampSigner, URLSafeTimedSerializer
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.web.server.starlette.starlette_app_utils import generate_xsrf_token_string
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from hnmine.runs.workspace import Workspace
from tests.browser.identity import SECRET, write
from tests.browser.server import Server
from tests.campaign.campaign import Outcome
from tests.conftest import add_example

SIZE = 2_000

USER = "_streamlit_user"
XSRF = generate_xsrf_token_string()
ROUTES = [
    "/",
    "/review",
    "/inspect?run=1",
    "/index.html",
    "/_stcore/health",
    "/_stcore/host-config",
    "/_stcore/metrics",
    "/_stcore/script-health-check",
    "/_stcore/agent/interact",
    "/_stcore/agent/openapi.json",
    "/_stcore/agent/mcp",
    "/_stcore/bidi-components/hnmine/desk.js",
    "/component/hnmine/index.html",
    "/app/static/app.py",
    "/auth/login",
    "/oauth2callback?code=1&state=2",
    "MEDIA",
    "UPLOAD",
    "WEBSOCKET",
]
CLOSED = [
    route for route in ROUTES if "metrics" in route or "script-health" in route or "agent" in route or route.startswith(("/comp", "/app"))
]
FOREIGN = [
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil-localhost",
    "localhost@evil.example",
    "evil.example@localhost",
    "evil.example#localhost",
    "0.0.0.0",
    "127.0.0.2",
    "2130706433",
    "127.1",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::1%25lo]",
    "[fe80::1]",
    "192.168.0.7",
    "xn--lcalhost-n4a",
    "local\u200bhost",
    "localhost,evil.example",
    "evil.example, localhost",
    "localhost:port",
    "localhost:8501:8501",
    "localhost/",
    "localhost..",
    " ",
    "",
]
OUTSIDE = [
    "/../../../../etc/passwd",
    "/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/..%2f..%2f..%2f..%2fetc/passwd",
    "/media/../../app.py",
    "/media/%2e%2e%2f%2e%2e%2fapp.py",
    "/static/../../../../app.py",
    "/static/..%5c..%5c..%5capp.py",
    "/static//etc/passwd",
    "//etc/passwd",
    "/_stcore/bidi-components/hnmine_desk/..%2f..%2f..%2fapp.py",
    "/_stcore/bidi-components/../../SECRETS",
    "/.streamlit/secrets.toml",
    "/app.py%00.js",
    "/static/SECRETS",
    "/\\..\\..\\app.py",
]
# What no answer to a stranger may have: the data set's name, source text, secrets, a file of the machine.
CONTENT = (b"bikeshare", b"import streamlit", b"cookie_secret", b"root:x:0", b"# TYPE", b'"openapi":', b"allowedOrigins")


class Old(TimestampSigner):
    """Signs as of forty days ago."""

    def get_timestamp(self) -> int:
        return super().get_timestamp() - 40 * 86_400


class Place:
    """A server with sign-in and a data set, and what a person who is let in knows of it."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.secrets, self.origin = folder / "secrets.toml", f"http://127.0.0.1:{self.port}"
        write(
            self.secrets,
            f'[auth]\nredirect_uri = "{self.origin}/oauth2callback"\ncookie_secret = "{SECRET}"\nclient_id = "hnmine"\n'
            f'client_secret = "none"\nserver_metadata_url = "{self.origin}/none"\n[hnmine]\nallowed = ["@firm.example"]\n',
        )
        self.dataset = add_example(Workspace(folder / "workspace"))
        self.server = Server(folder / "workspace", port=self.port, options=["--secrets.files", str(self.secrets)])
        self.good = self.cookie()

    def enter(self) -> None:
        """Open the data set as a person who is let in, and note the addresses that this person sees."""
        self.socket, found = self.talk(self.good)
        assert any(each in found for each in CONTENT), "a person who is let in sees the data set"
        message = next(each for each in self.messages if each.HasField("new_session"))
        self.session = message.new_session.initialize.session_id
        assert b'"allowedOrigins":[]' in self.ask("/_stcore/host-config", [("Host", f"127.0.0.1:{self.port}")])[1], (
            "no page commands the app"
        )
        self.media = next(each.logo.image for each in self.messages if each.HasField("logo"))

    def cookie(self, secret: str = SECRET, signer: type[TimestampSigner] = TimestampSigner, **claims: Any) -> str:
        """Return the cookie of a person who is let in, or one with another secret, time or claims."""
        identity = {"origin": self.origin, "is_logged_in": True, "email": "ann@firm.example", "email_verified": True} | claims
        return str(URLSafeTimedSerializer(secret, salt=USER, signer=signer).dumps(json.dumps(identity)))

    def talk(
        self, cookie: str | None, *, session: str = "", origin: str | None = None, fragment: str = ""
    ) -> tuple[ClientConnection, bytes]:
        """Open a WebSocket, ask for the data set, and return the socket and everything that came until the script ended."""
        named = f"_streamlit_xsrf={XSRF}" + (f"; {USER}={cookie}" if cookie else "")
        protocols = ["streamlit", XSRF, *([session] if session else [])]
        sock = connect(
            f"ws://127.0.0.1:{self.port}/_stcore/stream",
            additional_headers={"Cookie": named},
            subprotocols=protocols,  # type: ignore[arg-type]
            origin=origin or self.origin,  # type: ignore[arg-type]
            max_size=None,
            legacy=True,
        )
        asked = BackMsg()
        asked.rerun_script.query_string = f"dataset={self.dataset}"
        asked.rerun_script.fragment_id = fragment
        found, self.messages = b"", list[ForwardMsg]()
        try:
            sock.send(asked.SerializeToString())
            while True:
                data = sock.recv(timeout=60 if not fragment else 0.3)
                message = ForwardMsg.FromString(data)  # type: ignore[arg-type]
                self.messages.append(message)
                found += data  # type: ignore[operator]
                if message.WhichOneof("type") in ("script_finished", "auth_redirect"):
                    break
        except (ConnectionClosed, TimeoutError):
            pass
        return sock, found

    def ask(self, path: str, headers: list[tuple[str, str]], *, method: str = "GET", version: str = "1.1") -> tuple[int, bytes]:
        """Send one request as it is written, and return status and body; 0 if the server only hung up."""
        lines = [f"{method} {path} HTTP/{version}", *(f"{name}: {value}" for name, value in headers), "Connection: close", "", ""]
        with socket.create_connection(("127.0.0.1", self.port), 60) as sock:
            sock.sendall("\r\n".join(lines).encode("utf-8", "surrogateescape"))
            sock.settimeout(60)
            answer = b""
            try:
                while data := sock.recv(65_536):
                    answer += data
                    if answer.startswith(b"HTTP/1.1 101"):
                        break
            except (ConnectionResetError, TimeoutError):
                pass
        head, _, body = answer.partition(b"\r\n\r\n")
        if head and b"x-frame-options: DENY" not in head and not head.startswith((b"HTTP/1.1 400", b"HTTP/1.1 101")):
            return 999, b"an answer without the headers of the gate"
        return int(head.split(b" ")[1]) if head else 0, body


def run(size: int, seed: int) -> Outcome:
    """Make `size` requests of strangers and count those that show anything of the app."""
    outcome = Outcome(name="hosts")
    folder = Path(tempfile.mkdtemp(prefix="hnmine-hosts-"))
    began = time.monotonic()
    try:
        place = Place(folder)
        try:
            place.enter()
            for number in range(size):
                draw = random.Random(f"{seed} {number}")
                kind = [_answered, *[_host, _host, _origin, _cookie, _cookie, _closed, _outside, _host, _origin]][number % 10]
                failure = kind(place, draw)
                outcome.tried += 1
                if failure:
                    outcome.failed.append(f"seed {seed}, trial {number}: {failure}")
            text = place.server.log.read_text("utf-8", "replace")
            if "Traceback" in text:
                outcome.failed.append(f"the server's log has a traceback: {text[text.index('Traceback') :][:2000]}")
            place.socket.close()
        finally:
            place.server.stop()
    finally:
        shutil.rmtree(folder)
    outcome.figures = f"{time.monotonic() - began:.0f} s"
    return outcome


def _request(place: Place, draw: random.Random, route: str) -> tuple[str, list[tuple[str, str]], str]:
    """Return path, headers and method of a request of a person who is let in, without a Host."""
    headers = [("Cookie", f"_streamlit_xsrf={XSRF}; {USER}={place.good}"), ("X-Xsrftoken", XSRF)]
    if route == "WEBSOCKET":
        upgrade = [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
        return "/_stcore/stream", [*headers, *upgrade], "GET"
    path = {"MEDIA": place.media, "UPLOAD": f"/_stcore/upload_file/{place.session}/file"}.get(route, route)
    method = "DELETE" if route == "UPLOAD" else draw.choice(["GET", "GET", "HEAD", "OPTIONS", "POST"])
    return path, headers, method


def _refused(place: Place, path: str, headers: list[tuple[str, str]], method: str, version: str = "1.1") -> str:
    status, body = place.ask(path, headers, method=method, version=version)
    shown = [each for each in CONTENT if each in body]
    return f"{status} for {method} {path} HTTP/{version} with {headers[-3:]}" if (status and not 400 <= status < 500) or shown else ""


def _host(place: Place, draw: random.Random) -> str:
    """A foreign Host, in any of the ways to say it."""
    path, headers, method = _request(place, draw, draw.choice(ROUTES))
    host = draw.choice(FOREIGN)
    if host and draw.random() < 0.5:
        host += draw.choice([f":{place.port}", ":80", "."])
    if draw.random() < 0.3:
        host = "".join(draw.choice([letter.upper(), letter]) for letter in host)
    headers.append(("Host", host))
    version = "1.1"
    if draw.random() < 0.5:
        headers.append(("Origin", f"http://{host}"))
    way = draw.randrange(8)
    if way == 0:
        headers.append(("X-Forwarded-Host", f"127.0.0.1:{place.port}"))
    elif way == 1:
        headers.append(("Forwarded", f"host=127.0.0.1:{place.port}"))
    elif way == 2:  # HTTP/1.0, with and without a Host
        version = "1.0"
        headers = draw.choice([headers, [each for each in headers if each[0] != "Host"]])
    elif way == 3:
        headers.append(("Host", f"127.0.0.1:{place.port}"))
    elif way == 4:  # the address in the first line is foreign, and the Host is ours
        path = f"http://evil.example{path}"
        headers = [each for each in headers if each[0] not in ("Host", "Origin")] + [("Host", f"127.0.0.1:{place.port}")]
    elif way == 5:  # or the other way round
        path = f"http://127.0.0.1:{place.port}{path}"
    elif way == 6:
        headers = [each for each in headers if each[0] != "Host"]
    return _refused(place, path, headers, method, version)


def _origin(place: Place, draw: random.Random) -> str:
    """A page of another site that asks our host."""
    path, headers, method = _request(place, draw, draw.choice(ROUTES))
    origin = draw.choice(
        [
            "http://evil.example",
            f"http://evil.example:{place.port}",
            f"http://127.0.0.1.evil.example:{place.port}",
            "http://localhost:1",
            f"http://127.0.0.1:{place.port + 1}",
            f"http://evil.example@127.0.0.1:{place.port}",
            "null",
            "file://",
            "",
            f"http://[::1]:{place.port}",
            "http://[",
        ]
    )
    return _refused(place, path, [*headers, ("Origin", origin), ("Host", f"127.0.0.1:{place.port}")], method)


def _cookie(place: Place, draw: random.Random) -> str:
    """No cookie, or one that is forged, expired, of another secret, or of a person who is not let in."""
    unsigned = place.cookie("x" * 64).partition(".")[0]
    name, cookie = draw.choice(
        [
            ("no cookie", None),
            ("rubbish", "x.y.z"),
            ("another secret", place.cookie("x" * 64)),
            ("an empty secret", place.cookie("")),
            ("expired", place.cookie(signer=Old)),
            ("signature of another payload", ".".join([unsigned, *place.good.split(".")[1:]][:3]) + "x"),
            ("cut off", place.good[:-1]),
            ("of another origin", place.cookie(origin="http://evil.example")),
            ("signed out", place.cookie(is_logged_in=False)),
            ("of another domain", place.cookie(email="ann@evil.example")),
            ("not verified", place.cookie(email_verified=False)),
            ("not said to be verified", place.cookie(email_verified=None)),
            ("two addresses", place.cookie(email="ann@evil.example@firm.example")),
            ("no text", place.cookie(email=["ann@firm.example"])),
            ("chunks", "chunks-99999"),
        ]
    )
    headers = [("Host", f"127.0.0.1:{place.port}"), ("X-Xsrftoken", XSRF)]
    headers.append(("Cookie", f"_streamlit_xsrf={XSRF}" + (f"; {USER}={cookie}" if cookie else "")))
    way = draw.randrange(4)
    if way == 0:
        return _named(name, _refused(place, place.media, headers, draw.choice(["GET", "HEAD"])))
    if way == 1:
        return _named(name, _refused(place, f"/_stcore/upload_file/{place.session}/file", headers, draw.choice(["PUT", "DELETE"])))
    session = draw.choice(["", place.session])
    sock, found = place.talk(cookie, session=session, fragment=draw.choice(["", "x"]))
    shown = [each for each in CONTENT if each in found] + [each for each in place.messages if each.HasField("navigation")]
    sock.close()
    return f"{name}: a WebSocket{' with a stolen session' if session else ''} shows {shown}" if shown else ""


def _named(name: str, failure: str) -> str:
    return f"{name}: {failure}" if failure else ""


def _closed(place: Place, draw: random.Random) -> str:
    """A route that nobody needs, asked by a person who is let in."""
    path, headers, method = _request(place, draw, draw.choice(CLOSED))
    path = draw.choice([path, path + "/", path.replace("a", "%61", 1)])
    return _refused(place, path, [*headers, ("Host", f"127.0.0.1:{place.port}")], method)


def _outside(place: Place, draw: random.Random) -> str:
    """A path out of what is served."""
    path = draw.choice(OUTSIDE).replace("SECRETS", str(place.secrets))
    headers = [("Host", f"127.0.0.1:{place.port}"), ("Cookie", f"{USER}={place.good}")]
    status, body = place.ask(path, headers)
    shown = [each for each in CONTENT if each in body]
    return f"{status} for {path}: {shown}" if shown or status >= 500 else ""


def _answered(place: Place, draw: random.Random) -> str:
    """A request that must be answered."""
    name = draw.choice(["127.0.0.1", "localhost", "LOCALHOST", "[::1]", "localhost."])
    host = draw.choice([name, f"{name}:{place.port}"])
    path, headers, _ = _request(place, draw, draw.choice(["/", "/review", "/_stcore/health", "MEDIA", "WEBSOCKET"]))
    origin = draw.choice([[], [("Origin", f"http://{host}")]])
    status, _ = place.ask(path, [*headers, ("Host", host), *origin])
    return "" if status in (101, 200) else f"{status} for {path} of {host}, {origin}"
