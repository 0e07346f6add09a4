"""Uploads, kept on disk from the first byte.

Streamlit reads an upload into memory and keeps it until the session ends. Here its bytes go into a temporary file without a name: nothing
is left when a session ends or the server is killed. The memory of an upload is that of one chunk, whatever its size. A fault, such as a
full disk, becomes a file that raises it, so that the screen can show it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncGenerator, Iterable
from typing import BinaryIO, cast

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from streamlit import config
from streamlit.runtime import Runtime, memory_uploaded_file_manager
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile, UploadedFileRec
from streamlit.web.server import server
from streamlit.web.server.server_util import is_xsrf_enabled
from streamlit.web.server.starlette import starlette_app
from streamlit.web.server.starlette.starlette_app_utils import validate_xsrf_token
from streamlit.web.server.starlette.starlette_routes import XSRF_COOKIE_NAME, create_upload_routes

from hnmine import resources
from hnmine.core.errors import OutputError
from hnmine.core.files import in_words

__all__ = ["DiskUploads", "largest", "limit_in_words", "on_disk", "opened", "release", "routes"]

# Files of a session at a time: each may need an open file of the server.
MOST_FILES = 256
MANY = f"more than {MOST_FILES} files are uploaded; put them into one zip archive, or into the workspace's folder files/"
# Bytes of the form around a file.
FRAMING = 2**16


class _Parser(MultiPartParser):
    """Receives files into temporary files of the workspace: TMPDIR is often in memory, as in a container."""

    spool_max_size = 2**16  # smaller files stay in memory

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        if (upload := self._current_part.file) is not None:
            upload.file.close()
            file = tempfile.SpooledTemporaryFile(self.spool_max_size, dir=resources.workspace().root)  # noqa: SIM115 (kept)
            self._files_to_close_on_error.append(file)
            upload.file = cast(BinaryIO, file)


class DiskUploads(MemoryUploadedFileManager):
    """Streamlit's store of uploads, with their bytes in temporary files. Its records have no data: `content` opens a file."""

    def __init__(self, upload_endpoint: str) -> None:
        super().__init__(upload_endpoint)
        self._contents: dict[tuple[str, str], BinaryIO | OutputError] = {}

    def keep(self, session_id: str, record: UploadedFileRec, content: BinaryIO | OutputError) -> None:
        """Keep a file of a session, or the error in place of it."""
        held = self.file_storage.get(session_id, {})
        if record.file_id not in held and len(held) >= MOST_FILES:
            _close(content)
            content = OutputError(MANY)
        _close(self._contents.get((session_id, record.file_id)))
        self._contents[session_id, record.file_id] = content
        self.add_file(session_id, record)

    def content(self, session_id: str, file_id: str) -> BinaryIO:
        """Return the open file.

        Raises:
            OutputError: it could not be stored, or is gone.
        """
        found = self._contents.get((session_id, file_id))
        if found is None:
            raise OutputError("the file is not on this server any longer; upload it again")
        if isinstance(found, OutputError):
            raise found
        found.seek(0)
        return found

    def remove_file(self, session_id: str, file_id: str) -> None:
        super().remove_file(session_id, file_id)
        _close(self._contents.pop((session_id, file_id), None))

    def remove_session_files(self, session_id: str) -> None:
        super().remove_session_files(session_id)
        for key in [key for key in list(self._contents) if key[0] == session_id]:
            _close(self._contents.pop(key, None))


def _close(content: BinaryIO | OutputError | None) -> None:
    if content is not None and not isinstance(content, OutputError):
        content.close()


def on_disk() -> None:
    """Make Streamlit keep uploads on disk; call it before the server is made."""
    for module in (server, memory_uploaded_file_manager):
        module.MemoryUploadedFileManager = DiskUploads  # type: ignore[misc, assignment]
    starlette_app.create_upload_routes = routes


def largest() -> int:
    """Return the bytes of the largest upload, of the setting server.maxUploadSize."""
    return int(config.get_option("server.maxUploadSize")) * 2**20


def limit_in_words() -> str:
    """Return the largest upload as text, as the drop zone says it."""
    return in_words(largest())


def opened(file: UploadedFile) -> BinaryIO:
    """Return the content of an upload, from its beginning.

    Raises:
        OutputError: it could not be stored, or is gone.
    """
    context = get_script_run_ctx()
    if context is None or not isinstance(context.uploaded_file_mgr, DiskUploads):
        return file  # Streamlit's own store, such as that of AppTest
    return context.uploaded_file_mgr.content(context.session_id, file.file_id)


def release(files: Iterable[UploadedFile]) -> None:
    """Remove uploads that have been stored or are not needed."""
    context = get_script_run_ctx()
    if context is not None and isinstance(context.uploaded_file_mgr, MemoryUploadedFileManager):
        for file in files:
            context.uploaded_file_mgr.remove_file(context.session_id, file.file_id)


def routes(runtime: Runtime, upload_mgr: MemoryUploadedFileManager, base_url: str | None) -> list[BaseRoute]:
    """Return Streamlit's routes of uploads, with one that receives files on disk."""
    theirs = create_upload_routes(runtime, upload_mgr, base_url)
    if not isinstance(upload_mgr, DiskUploads):
        return theirs
    others = [route for route in theirs if isinstance(route, Route) and "PUT" not in (route.methods or ())]

    async def put(request: Request) -> Response:
        if is_xsrf_enabled() and not validate_xsrf_token(request.headers.get("X-Xsrftoken"), request.cookies.get(XSRF_COOKIE_NAME)):
            raise HTTPException(403, "XSRF token missing or invalid")
        session_id, file_id = request.path_params["session_id"], request.path_params["file_id"]
        if not runtime.is_active_session(session_id):
            raise HTTPException(400, "unknown session")
        try:
            record, content = await _received(request, file_id)
        except ClientDisconnect:  # somebody removed the file, or closed the tab
            return Response(status_code=400)
        if runtime.is_active_session(session_id):  # it may have ended meanwhile
            upload_mgr.keep(session_id, record, content)
        else:
            _close(content)
        return Response(status_code=204)

    return [*others, Route(others[0].path, put, methods=["PUT"])]


async def _received(request: Request, file_id: str) -> tuple[UploadedFileRec, BinaryIO | OutputError]:
    """Return an upload, with its content on disk or what prevents that.

    A response before the end of the upload would show in the browser as a network error, so the rest of a file that cannot be stored is
    received and dropped.

    Raises:
        HTTPException: it is too large (413), or no upload of one file (400).
    """
    try:
        announced = int(request.headers.get("content-length") or 0)
    except ValueError:
        raise HTTPException(400, "Invalid Content-Length header") from None
    if announced > largest() + FRAMING:
        raise HTTPException(413, f"The file is larger than {limit_in_words()}")
    chunks, root = _limited(request), resources.workspace().root
    try:
        root.mkdir(parents=True, exist_ok=True)
        if announced > (free := shutil.disk_usage(root).free):
            raise OSError(None, f"it has {in_words(announced)}, and {in_words(free)} are free")
        form = await _Parser(request.headers, chunks, max_files=1, max_fields=0).parse()
    except (MultiPartException, KeyError):
        raise HTTPException(400, "Expected one file") from None
    except OSError as error:
        async for _ in chunks:
            pass
        reason = error.strerror or str(error)
        message = f"the upload cannot be stored in {root.resolve()} ({reason}); nothing of it was kept; free space there, then upload again"
        return UploadedFileRec(file_id, "", "", b""), OutputError(message)
    upload = next((each for each in form.values() if isinstance(each, UploadFile)), None)
    if upload is None:
        raise HTTPException(400, "Expected one file")
    if (upload.size or 0) > largest():
        upload.file.close()
        raise HTTPException(413, f"The file is larger than {limit_in_words()}")
    record = UploadedFileRec(file_id, upload.filename or "", upload.content_type or "application/octet-stream", b"")
    return record, upload.file


async def _limited(request: Request) -> AsyncGenerator[bytes, None]:
    """Yield the body of a request; one that does not announce its size is stopped at the limit."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > largest() + FRAMING:
            raise HTTPException(413, f"The file is larger than {limit_in_words()}")
        yield chunk
