"""A session without a browser: it speaks Streamlit's protocol over a WebSocket, so that it can send what no browser sends."""

from __future__ import annotations

import http.client
import logging
import re
import time
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState, WidgetStates
from websockets.sync.client import connect

logging.getLogger("websockets").setLevel(logging.CRITICAL)  # a server that ends a connection is no fault here

HEAD = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f.jsonl"\r\nContent-Type: text/plain\r\n\r\n'


class Client:
    """A connected session; `ids` has the widgets of its screen by their keys, `exceptions` what the screen showed."""

    def __init__(self, port: int, *, slow: bool = False) -> None:
        self.port = port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        connection.request("GET", "/_stcore/health")
        answer = connection.getresponse()
        answer.read()
        cookie = str(answer.getheader("set-cookie") or "").split(";")[0]
        self.cookie, self.token = cookie, cookie.partition("=")[2]
        limit = None if not slow else 1
        self.socket = connect(
            f"ws://127.0.0.1:{port}/_stcore/stream",
            subprotocols=["streamlit", self.token] if self.token else ["streamlit"],  # type: ignore[list-item]
            additional_headers={"Cookie": cookie},
            max_size=None,
            max_queue=limit,
            open_timeout=300,
            legacy=True,
        )
        self.session = ""
        self.ids: dict[str, str] = {}
        self.exceptions: list[str] = []

    def send(self, query: str = "", page: str = "", **texts: str) -> None:
        """Ask for a run of a screen, with texts in its fields by their keys."""
        message = BackMsg()
        message.rerun_script.query_string, message.rerun_script.page_name = query, page
        states = [WidgetState(id=self.ids[key.replace("_", "-")], string_value=text) for key, text in texts.items()]
        message.rerun_script.widget_states.CopyFrom(WidgetStates(widgets=states))
        self.socket.send(message.SerializeToString())

    def finished(self, seconds: float = 60) -> float:
        """Read until a run has ended; return the seconds that it took."""
        began = time.monotonic()
        while (left := seconds - (time.monotonic() - began)) > 0:
            message = ForwardMsg.FromString(self.socket.recv(timeout=left))  # type: ignore[arg-type]
            kind = message.WhichOneof("type")
            if kind == "new_session":
                self.session = message.new_session.initialize.session_id
            elif kind == "delta":
                self._hear(message.delta)
            elif kind == "script_finished" and message.script_finished in (
                ForwardMsg.FINISHED_SUCCESSFULLY,
                ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY,
            ):
                return time.monotonic() - began
        raise TimeoutError(f"no end of the run within {seconds:.0f} s")

    def _hear(self, delta: Any) -> None:
        if delta.WhichOneof("type") != "new_element":
            return
        element = delta.new_element
        kind = element.WhichOneof("type")
        if kind == "exception":
            self.exceptions.append(element.exception.message[:300])
        elif kind and (found := getattr(getattr(element, kind), "id", "")):
            self.ids[re.sub(r"^\$\$ID-[0-9a-f]+-", "", found)] = found

    def abandon(self, name: str) -> None:
        """Leave in the middle of an upload."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        connection.putrequest("PUT", f"/_stcore/upload_file/{self.session}/{name}")
        for header in (*self._upload_headers().items(), ("Content-Length", "50000000")):
            connection.putheader(*header)
        connection.endheaders(HEAD + b"x" * 2_000_000)
        connection.close()

    def _upload_headers(self) -> dict[str, str]:
        return {"Cookie": self.cookie, "X-Xsrftoken": self.token, "Content-Type": "multipart/form-data; boundary=b"}

    def upload(self, name: str, content: bytes, *, length: int | None = None) -> int:
        """Upload a file as the drop zone does; return the status of the answer."""
        body = HEAD + content + b"\r\n--b--\r\n"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = self._upload_headers()
        if length is not None:
            headers["Content-Length"] = str(length)
        connection.request("PUT", f"/_stcore/upload_file/{self.session}/{name}", body, headers)
        return connection.getresponse().status

    def close(self) -> None:
        self.socket.close()
