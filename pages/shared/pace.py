"""The pace of a browser: how many messages a second the server takes from one connection.

A slider sends ten a second. Each message starts a run, which takes a core for milliseconds at least, so a thousand a second from one
client would slow all others. What comes faster waits in the connection, and its sender waits too; once the client has left, it is dropped.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Pace"]

A_SECOND = 20.0
AT_ONCE = 40.0
LEFT: Message = {"type": "websocket.disconnect", "code": 1006}


class Pace:
    """ASGI middleware that takes AT_ONCE messages of a WebSocket at once, and then A_SECOND."""

    def __init__(self, app: ASGIApp, clock: Callable[[], float] = time.monotonic) -> None:
        self.app, self.clock = app, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self.app(scope, receive, send)
            return
        left, before, gone = AT_ONCE, self.clock(), False

        async def sent(message: Message) -> None:
            nonlocal gone
            try:
                await send(message)
            except OSError:  # Streamlit would go on to read, and fail
                gone = True

        async def paced() -> Message:
            nonlocal left, before
            message = await receive() if not gone else LEFT
            now = self.clock()
            left, before = min(AT_ONCE, left + (now - before) * A_SECOND) - 1, now
            if left < 0:
                await asyncio.sleep(-left / A_SECOND)
            return message if not gone else LEFT

        await self.app(scope, paced, sent)
