"""Sessions whose browser has left end in time, with all that they hold: uploads, queues of reviews, opened runs.

Streamlit keeps a session for a browser that comes back (server.disconnectedSessionTTL, 120 seconds), but drops it only when another one
disconnects. On a quiet server that is never.
"""

from __future__ import annotations

import asyncio

from streamlit.runtime import memory_session_storage
from streamlit.runtime.caching.ttl_cache import TTLCache
from streamlit.runtime.memory_session_storage import MemorySessionStorage
from streamlit.runtime.session_manager import SessionInfo
from streamlit.web.server import server

from hnmine.core import garbage

__all__ = ["Sessions", "end_in_time"]


class Sessions(MemorySessionStorage):
    """Streamlit's store of sessions whose browser has left; each is shut down when its time is over."""

    def __init__(self, maxsize: int = 128, ttl_seconds: int = 120) -> None:
        self._ttl, self._taken_up, self._ended = ttl_seconds, False, 0
        self._cache: TTLCache[str, SessionInfo] = TTLCache(maxsize, ttl_seconds, on_remove=self._removed)

    def save(self, session_info: SessionInfo) -> None:
        super().save(session_info)
        # A second later, so that those that leave together end together.
        asyncio.get_running_loop().call_later(self._ttl + 1, self._end)

    def delete(self, session_id: str) -> None:
        """Forget a session that its browser takes up again, or that Streamlit shuts down."""
        self._taken_up = True
        try:
            super().delete(session_id)
        finally:
            self._taken_up = False

    def _removed(self, session_id: str, session_info: SessionInfo) -> None:
        if not self._taken_up:
            session_info.session.shutdown()
            self._ended += 1

    def _end(self) -> None:
        self._cache.expire()
        if self._ended:
            self._ended = 0
            garbage.collect()  # a session refers to itself


def end_in_time() -> None:
    """Make Streamlit drop sessions in time; call it before the server is made."""
    for module in (server, memory_session_storage):
        module.MemorySessionStorage = Sessions  # type: ignore[misc, attr-defined]
