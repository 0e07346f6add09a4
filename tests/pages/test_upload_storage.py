"""Uploads are kept on disk: what is refused, what a full disk says, and that nothing is left."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from starlette.requests import Request
from starlette.testclient import TestClient
from streamlit import config
from streamlit.web.server import server
from streamlit.web.server.starlette import starlette_app, starlette_routes

from hnmine.core.errors import OutputError
from pages.shared import uploads
from tests.pages.conftest import open_app, texts


class Uploader:
    """A browser that uploads to a store in the session "here"."""

    def __init__(self) -> None:
        self.store, self.sessions = uploads.DiskUploads("/_stcore/upload_file"), {"here"}
        runtime: Any = SimpleNamespace(is_active_session=lambda name: name in self.sessions)
        self.client = TestClient(Starlette(routes=uploads.routes(runtime, self.store, None)))

    def put(self, content: bytes, name: str = "1", session: str = "here") -> int:
        files = {"a.jsonl": ("a.jsonl", content, "application/json")}
        return self.client.put(f"/_stcore/upload_file/{session}/{name}", files=files).status_code


@pytest.fixture
def uploader(monkeypatch: pytest.MonkeyPatch, fresh: Path) -> Iterator[Uploader]:
    for module in (uploads, starlette_routes):
        monkeypatch.setattr(module, "validate_xsrf_token", lambda given, cookie: True)
    before = config.get_option("server.maxUploadSize")
    config.set_option("server.maxUploadSize", 1)
    found = Uploader()
    yield found
    found.store.remove_session_files("here")
    config.set_option("server.maxUploadSize", before)


def test_an_upload_is_in_a_file_without_a_name_and_ends_with_its_session(uploader: Uploader) -> None:
    content = os.urandom(300_000)
    assert uploader.put(content) == uploader.put(b"small", "2") == 204
    (record,) = uploader.store.get_files("here", ["1"])
    assert (record.name, record.type, record.data) == ("a.jsonl", "application/json", b""), "nothing of it is in memory"
    file = uploader.store.content("here", "1")
    assert file.read() == uploader.store.content("here", "1").read() == content
    assert os.fstat(file.fileno()).st_nlink == 0, "a killed server leaves nothing"
    assert uploader.store.content("here", "2").read() == b"small"
    uploader.store.remove_session_files("here")
    assert file.closed
    with pytest.raises(OutputError, match="upload it again"):
        uploader.store.content("here", "1")


def test_a_file_that_is_removed_in_the_browser_is_closed(uploader: Uploader) -> None:
    uploader.put(b"x")
    file = uploader.store.content("here", "1")
    assert uploader.client.delete("/_stcore/upload_file/here/1").status_code == 204
    assert file.closed


def test_what_is_too_large_is_refused_before_it_is_received(uploader: Uploader) -> None:
    received = 0

    async def endless() -> Any:
        nonlocal received
        received += 2**16
        return {"type": "http.request", "body": b"x" * 2**16, "more_body": True}

    def status(*headers: tuple[bytes, bytes]) -> int:
        scope = {"type": "http", "method": "PUT", "headers": [(b"content-type", b"multipart/form-data; boundary=b"), *headers]}
        with pytest.raises(HTTPException) as refused:
            asyncio.run(uploads._received(Request(scope, endless), "1"))
        return refused.value.status_code

    assert (status((b"content-length", b"1200000")), received) == (413, 0)
    assert status() == 400, "what is no form is not read further"
    assert uploader.put(b"x" * (2**20 + 1)) == 413, "the room for the form around a file takes no larger one"
    head = [b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n']

    async def chunked() -> Any:
        return {"type": "http.request", "body": head.pop(), "more_body": True} if head else await endless()

    received = 0
    with pytest.raises(HTTPException, match="413"):
        asyncio.run(
            uploads._received(Request({"type": "http", "headers": [(b"content-type", b"multipart/form-data; boundary=b")]}, chunked), "1")
        )
    assert received < 2 * 2**20
    assert uploader.store.get_files("here", ["1"]) == []


def test_an_upload_of_nobody_and_what_is_no_file_are_refused(uploader: Uploader, monkeypatch: pytest.MonkeyPatch) -> None:
    assert uploader.put(b"x", session="nobody") == 400
    where = "/_stcore/upload_file/here/1"
    assert uploader.client.put(where, content=b"no form").status_code == 400
    assert uploader.client.put(where, files=[("a", b"1"), ("b", b"2")]).status_code == 400
    assert uploader.client.put(where, data={"a": "1"}, files={}).status_code == 400
    monkeypatch.undo()
    assert uploader.put(b"x") == 403
    assert uploader.store.get_files("here", ["1"]) == []


def test_a_full_disk_is_told_to_the_screen_and_leaves_nothing(uploader: Uploader, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Any] = []

    class Full(MultiPartParser):
        async def parse(self) -> Any:
            closed.append(self)
            async for _ in self.stream:
                raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(uploads, "_Parser", Full)
    assert uploader.put(b"x" * 500_000) == 204, "the browser must not show a network error"
    with pytest.raises(OutputError, match=r"No space left on device.*nothing of it was kept; free space"):
        uploader.store.content("here", "1")
    monkeypatch.undo()
    monkeypatch.setattr(uploads, "validate_xsrf_token", lambda given, cookie: True)
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    assert uploader.put(b"x" * 5000, "2") == 204
    with pytest.raises(OutputError, match="and 1,000 bytes are free"):
        uploader.store.content("here", "2")


def test_a_session_holds_a_limited_number_of_files(uploader: Uploader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_FILES", 2)
    for name in ("1", "2", "3", "2"):
        assert uploader.put(name.encode(), name) == 204
    assert uploader.store.content("here", "2").read() == b"2"
    with pytest.raises(OutputError, match="one zip archive"):
        uploader.store.content("here", "3")


def test_an_upload_that_is_abandoned_is_no_fault(uploader: Uploader) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n' + b"x" * 500_000
    messages: list[Any] = [{"type": "http.request", "body": part, "more_body": True}, {"type": "http.disconnect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    path = "/_stcore/upload_file/here/1"
    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    scope = {"type": "http", "method": "PUT", "path": path, "headers": headers, "query_string": b""}
    asyncio.run(uploader.client.app(scope, receive, send))
    assert sent[0]["status"] == 400
    assert uploader.store.get_files("here", ["1"]) == []


def test_the_server_is_made_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (server, uploads.memory_uploaded_file_manager):
        monkeypatch.setattr(module, "MemoryUploadedFileManager", module.MemoryUploadedFileManager)
    monkeypatch.setattr(starlette_app, "create_upload_routes", starlette_app.create_upload_routes)
    uploads.on_disk()
    assert isinstance(server.MemoryUploadedFileManager("/x"), uploads.DiskUploads)
    assert starlette_app.create_upload_routes is uploads.routes


def test_the_drop_zone_says_what_was_not_stored(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(file: Any) -> Any:
        raise OutputError("the upload cannot be stored in /workspace (No space left on device)")

    monkeypatch.setattr(uploads, "opened", lost)
    at = open_app()
    at.file_uploader[0].set_value([("train.jsonl", b'{"query": "q", "pos": ["p"]}\n', "application/json")]).run()
    assert not at.exception
    assert "Cannot use this file" in texts(at)
    assert "No space left on device" in texts(at)
    assert "For a file over 1,000 MB" in texts(at)
