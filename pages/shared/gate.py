"""The gate of the server: which requests reach Streamlit at all.

A request must name a host of this server and come from its own pages (against DNS rebinding and foreign sites). Routes that the app does
not need are closed. With sign-in, downloads and uploads need the cookie of a person who is let in, and a message over the WebSocket ends
the connection of a person who was removed. Without it, a server that others can reach answers only with consent.
Streamlit's `server.allowedHosts` covers the WebSocket alone, so the check is here, for all routes. See docs/serving.md.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config
from streamlit.auth_util import get_origin_from_redirect_uri
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.url_util import make_url_path
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME
from streamlit.web.server.starlette.starlette_websocket import _get_signed_cookie_with_chunks

from hnmine.core.errors import HnmineError, WorkspaceError
from pages.shared import access, provider

CONSENT = "HNMINE_OPEN_TO_NETWORK"
PUBLIC_URL = "HNMINE_PUBLIC_URL"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
ALL_INTERFACES = ("", "0.0.0.0", "::")
HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
# What the browser's side of Streamlit asks for below /_stcore. All else there is closed: metrics, the script's health, the agent API.
NEEDED = ("health", "host-config", "stream", "upload_file", "bidi-components")
# What a browser may ask for over the WebSocket. Streamlit would also let it empty the caches of all sessions and read the state of git.
MESSAGES = ("", "rerun_script", "stop_script", "file_urls_request", "app_heartbeat", "backend_operation_request")
BEFORE_SIGN_IN = ("", "rerun_script", "app_heartbeat")
SIGN_IN = ("auth/login", "auth/logout", "oauth2callback")
CLOSED = ("_stcore", "component", "app", "auth", "oauth2callback")
MOST_TOLD = 100
NOT_OPEN = (
    "This server can be reached from other machines, and it has no sign-in: everybody who reaches it could read, change and delete "
    "everything. Choose one of three ways: set up sign-in (docs/serving.md); serve on 127.0.0.1 and reach it through an SSH tunnel "
    f"(ssh -L 8501:localhost:8501 HOST); or set {CONSENT}=1 to let in everybody who reaches it."
)

_log = logging.getLogger(__name__)


def public_url() -> str:
    """Return the address that people open, without a slash at the end; empty if it is not set.

    Raises:
        WorkspaceError: HNMINE_PUBLIC_URL is no http or https address, or secrets.toml is refused.
    """
    given = os.environ.get(PUBLIC_URL, "").rstrip("/")
    if given and not access.is_web(given):
        raise WorkspaceError(f"{PUBLIC_URL} is {given!r}; it must be the address that people open, such as http://hnmine.lan:8501")
    return given or access.rules().address


def names() -> frozenset[str]:
    """Return the host names that requests may use."""
    bound = config.get_option("server.address") or ""
    named = [*LOOPBACK, *config.get_option("server.allowedHosts"), urlsplit(public_url()).hostname or ""]
    return frozenset(_plain(name) for name in (*named, *(() if bound in ALL_INTERFACES else (bound,)))) - {""}


def open_to_network() -> bool:
    """Return whether others than this machine may use the app without sign-in, by consent."""
    return os.environ.get(CONSENT) == "1" and not access.rules().required


def refusal_to_serve() -> str:
    """Return why this server may not answer as it is set up; empty if it may."""
    if access.rules().required or os.environ.get(CONSENT) == "1":
        return ""
    public = urlsplit(public_url()).hostname
    local = is_loopback(config.get_option("server.address") or "") and (public is None or is_loopback(public))
    return "" if local else NOT_OPEN


def is_loopback(address: str) -> bool:
    """Return whether an address is reached from its own machine alone."""
    if address == "localhost":
        return True
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def _plain(host: str) -> str:
    return host.strip().lower().removeprefix("[").removesuffix("]").removesuffix(".")


def host_of(header: str) -> str:
    """Return the name in a Host header, without port; empty if it is malformed."""
    try:
        parts = urlsplit(f"//{header}")
        parts.port  # noqa: B018 - raises for what is no port
    except ValueError:
        return ""
    return _plain(parts.hostname or "") if parts.netloc == header and "@" not in header else ""


def claims_of(connection: HTTPConnection) -> Mapping[str, Any]:
    """Return the identity in the signed cookie of a request; empty without a valid one."""
    try:
        found = json.loads(_get_signed_cookie_with_chunks(connection.cookies, USER_COOKIE_NAME) or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) and found.get("origin") == get_origin_from_redirect_uri() else {}


class Gate:
    """ASGI middleware around everything that Streamlit serves."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.names = names()
        self.encrypted = public_url().startswith("https://")
        self.told: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start", "websocket.accept"):
                message.setdefault("headers", [])
                MutableHeaders(scope=message).update(HEADERS)
                if self.encrypted:
                    message["headers"] = [(name, _secure(value) if name == b"set-cookie" else value) for name, value in message["headers"]]
            await send(message)

        try:
            status, reason = self.refusal(scope)
        except HnmineError as error:
            _log.error("Refused: %s", error)
            status, reason = 503, "The sign-in of this server is not complete. Its log says what is missing."
        if status:
            if scope["type"] == "websocket":
                await receive()
            await PlainTextResponse(reason, status)(scope, receive, guarded)
        elif scope["type"] == "websocket":
            await self.app(*_checked(scope, receive, guarded))
        else:
            await self.app(scope, receive, provider.explained(guarded) if _path(scope) in SIGN_IN else guarded)

    def refusal(self, scope: Scope) -> tuple[int, str]:
        """Return the status and the text of a refusal; 0 if the request may go on."""
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or host_of(hosts[0]) not in self.names or not scope["path"].startswith("/"):
            self._tell(f"a request for the host {hosts}")
            return 421, f"This server does not answer to that name. If the name is right, start the server with {PUBLIC_URL}=ADDRESS."
        if refused := refusal_to_serve() or self._from_network(scope):
            return 403, refused
        if (origins and origins[0].lower() not in (f"http://{hosts[0].lower()}", f"https://{hosts[0].lower()}")) or len(origins) > 1:
            self._tell(f"a request of the page {origins} to the host {hosts}; a proxy must pass the Host header on")
            return 403, "This request comes from a page of another site."
        return self._route(scope)

    def _tell(self, what: str) -> None:
        """Write a refusal into the log, each once and a hundred at most: a stranger must not fill the disk."""
        if what not in self.told and len(self.told) < MOST_TOLD:
            self.told.add(what)
            _log.warning("Refused %s", what)

    @staticmethod
    def _from_network(scope: Scope) -> str:
        """Return why a connection from another machine is refused: a server that is started in another way listens where it likes."""
        here = scope.get("server")
        local = here is None or here[1] is None or is_loopback(here[0])
        return "" if local or open_to_network() or access.rules().required else NOT_OPEN

    @staticmethod
    def _route(scope: Scope) -> tuple[int, str]:
        path = _path(scope)
        first, _, rest = path.partition("/")
        required = access.rules().required
        if first in CLOSED and not (rest.partition("/")[0] in NEEDED and first == "_stcore") and not (required and path in SIGN_IN):
            return 404, "Not Found"
        private = first == "media" or path.startswith("_stcore/upload_file")
        if required and private and not access.is_allowed(claims_of(HTTPConnection(scope))):
            return 403, "Sign in first."
        return 0, ""


def _path(scope: Scope) -> str:
    """Return the path of a request below `server.baseUrlPath`, without slashes around it."""
    base = config.get_option("server.baseUrlPath").strip("/")
    return str(scope["path"]).strip("/").removeprefix(base).strip("/")


def _checked(scope: Scope, receive: Receive, send: Send) -> tuple[Scope, Receive, Send]:
    """Return a WebSocket whose messages are those that the app needs, and which ends when its person is no longer let in.

    Without a person who is let in, an old session is not taken up again: its callbacks and fragments would run before app.py.
    """
    claims = claims_of(HTTPConnection(scope))

    def is_allowed() -> bool:
        try:
            return not access.rules().required or access.is_allowed(claims)
        except HnmineError as error:
            _log.error("Nobody is let in: %s", error)
            return False

    entered = is_allowed()
    if not entered:
        headers = [(name, _new_session(value) if name == b"sec-websocket-protocol" else value) for name, value in scope["headers"]]
        scope = scope | {"headers": headers}

    async def checked() -> Message:
        nonlocal entered
        while (message := await receive())["type"] == "websocket.receive":
            allowed = is_allowed()
            if entered and not allowed:  # the page opens again, in a new session that shows why
                away = ForwardMsg()
                away.auth_redirect.url = make_url_path(config.get_option("server.baseUrlPath"), "/")
                await send({"type": "websocket.send", "bytes": away.SerializeToString()})
                await send({"type": "websocket.close", "code": 1008})
                return {"type": "websocket.disconnect", "code": 1008}
            entered = allowed
            if _kind(message.get("bytes") or b"") in (MESSAGES if allowed else BEFORE_SIGN_IN):
                break
        return message

    return scope, checked, send


def _secure(cookie: bytes) -> bytes:
    """Return a cookie that a browser sends over HTTPS alone."""
    return cookie if b"; secure" in cookie.lower() else cookie + b"; Secure"


def _kind(data: bytes) -> str | None:
    """Return what a message of the browser asks for; "" if it is none, which Streamlit answers by ending the connection."""
    try:
        return BackMsg.FromString(data).WhichOneof("type")
    except DecodeError:
        return ""


def _new_session(protocols: bytes) -> bytes:
    """Return the subprotocols without the id of a session to take up again."""
    return b",".join(protocols.split(b",")[:2])
