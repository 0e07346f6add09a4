"""The HTTP client of served models: bounded concurrency, retries, deadlines, and one clear error for each fault.

A busy or failing server (408, 409, 429, 5xx, no connection) is asked again after a pause that doubles, and is at least as long as it asks
for. A request that hangs ends at its deadline. 400, 413 and 422 raise `Refused`, so that a caller can split or shorten what it asked.
Requests run on an event loop in a thread of their own, so all of them can end at once when the work is cancelled. A key never is in a
message.
"""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import json
import math
import random
import threading
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import httpx2
import msgspec

from hnmine.core.errors import Cancelled, EncodeError, ModelError
from hnmine.core.progress import OnProgress, ShouldStop, check_cancelled
from hnmine.core.text import shortened
from hnmine.models.served.server import Server

__all__ = ["Client", "Refused", "offered_names", "served_name", "stopped", "tokens_in"]


T = TypeVar("T")
R = TypeVar("R")

# Seconds: the first pause, the longest, and all pauses of one request together: with a busy server, a broken one, and without a connection.
FIRST_PAUSE, LONGEST_PAUSE, PATIENCE, PATIENCE_BROKEN, PATIENCE_UNREACHED = 0.5, 30.0, 300.0, 30.0, 15.0
CONNECT_SECONDS = 10.0
POLL_SECONDS = 0.2
# An answer may be as large as this.
MOST_BYTES = 2**29
# Characters of a server's own message in an error.
MESSAGE = 300
_BUSY = (408, 409, 425, 429, 503)
_END: Any = object()


class Refused(EncodeError):
    """The server does not take this request (400, 413 or 422): `status`, and `reason`, its own message."""

    def __init__(self, message: str, status: int, reason: str) -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


class Client:
    """Asks one server; `name` is for messages, such as "the embedding model bge-m3".

    Attributes:
        repeated: number of requests that were sent again.
    """

    def __init__(self, server: Server, name: str) -> None:
        self.server, self.name = server, name
        self.repeated = 0
        self._key = server.key()

    def answers(
        self,
        works: Iterable[T],
        ask: Callable[[Session, T], Awaitable[R]],
        *,
        should_stop: ShouldStop | None = None,
        wait_for_answers: bool = False,
    ) -> Generator[tuple[T, R], None, None]:
        """Yield each work with its answer, in any order, at most `concurrency` at once; works are taken as they can begin.

        Args:
            wait_for_answers: before it raises, yield the answers to all requests that are under way, each until its deadline; nothing
                more is sent. Without, other requests end.

        Raises:
            What `ask` raises, after the answers that are there have been yielded.
            Cancelled: `should_stop` returned True.
        """
        waiting, pending = iter(works), dict[Future[R], T]()
        failure: BaseException | None = None
        with _loop() as loop:
            session = Session(self, self._key)
            try:
                while True:
                    try:
                        check_cancelled(should_stop)
                    except Cancelled as stopped:
                        failure = failure or stopped
                    if failure is not None:
                        if not (pending and wait_for_answers):
                            raise failure
                        loop.call_soon_threadsafe(session.ending.set)
                    while failure is None and len(pending) < self.server.concurrency and (work := next(waiting, _END)) is not _END:
                        pending[asyncio.run_coroutine_threadsafe(_awaited(ask, session, work), loop)] = work
                    if not pending:
                        return
                    for each in wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED).done:
                        work, error = pending.pop(each), each.exception()
                        if error is None:
                            yield work, each.result()
                        failure = failure or error
            finally:
                for each in pending:
                    each.cancel()
                asyncio.run_coroutine_threadsafe(session.close(), loop).result()

    def answer(self, ask: Callable[[Session], Awaitable[R]], *, should_stop: ShouldStop | None = None) -> R:
        """Return what `ask` returns; raises as `answers`."""

        async def one(session: Session, _: None) -> R:
            return await ask(session)

        return next(answer for _, answer in self.answers([None], one, should_stop=should_stop))


class Session:
    """The connections of one `Client.answers`; once `ending` is set, nothing more is sent."""

    def __init__(self, client: Client, key: str | None) -> None:
        self._client, self._key, self.ending = client, key, asyncio.Event()
        headers = {"User-Agent": "hnmine", "Accept": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        limits = httpx2.Limits(max_connections=client.server.concurrency)
        seconds = httpx2.Timeout(client.server.timeout, connect=min(CONNECT_SECONDS, client.server.timeout))
        # A proxy of the environment is for other machines: it must not get what is meant for this one, nor its key.
        self._http = httpx2.AsyncClient(
            headers=headers, limits=limits, timeout=seconds, follow_redirects=False, trust_env=not client.server.is_local
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def get(self, path: str) -> Any:
        """Return the JSON of a page that a server may have, or None; it is asked once."""
        try:
            async with asyncio.timeout(min(CONNECT_SECONDS, self._client.server.timeout)):
                status, _, body = await self._once("GET", self._client.server.url(path), None)
                return _decoded(body) if status == 200 else None
        except (httpx2.HTTPError, TimeoutError, ValueError):
            return None

    async def post(self, path: str, body: Any) -> Any:
        """Return the JSON answer to a question.

        Raises:
            Refused: 400, 413 or 422.
            ModelError: the key is wrong, or the server has no such path or model.
            EncodeError: the server cannot be reached, stays busy or broken, hangs, or its answer is no JSON.
            Cancelled: `ending` is set before it is sent, for the first time or again.
        """
        url, content = self._client.server.url(path), _encoded(body)
        waited, pause, hung = 0.0, FIRST_PAUSE, False
        while True:
            check_cancelled(self.ending.is_set)
            wanted: float | None = None
            cause: Exception | None = None
            patience = PATIENCE
            try:
                async with asyncio.timeout(self._client.server.timeout):
                    status, headers, answer = await self._once("POST", url, content)
            except httpx2.ConnectTimeout as error:
                fault, patience, cause = "cannot be reached (no connection in time)", PATIENCE_UNREACHED, error
            except (TimeoutError, httpx2.TimeoutException) as error:
                fault = f"did not answer within {self._client.server.timeout:g} s (raise the timeout if it needs more)"
                patience, hung, cause = 0.0 if hung else PATIENCE, True, error
            except httpx2.HTTPError as error:
                reason = shortened(self._without_key(str(error) or type(error).__name__), MESSAGE)
                fault, patience, cause = f"cannot be reached ({reason})", PATIENCE_UNREACHED, error
            else:
                if status == 200:
                    try:
                        return _decoded(answer)
                    except ValueError:
                        raise EncodeError(f"{self._client.name}: {url} answered with what is no JSON: {self._shown(answer)!r}") from None
                fault, wanted = self._fault(url, status, answer), _retry_after(headers)
                patience = PATIENCE if status in _BUSY else PATIENCE_BROKEN
            self._client.repeated += 1
            wait_for = max(wanted or 0.0, pause * random.uniform(0.75, 1.25))  # "Retry-After: 0" for ever must end too
            if waited + wait_for > patience:
                asked = f" and asks to wait {wanted:,.0f} s" if wanted is not None and wanted > patience else ""
                raise EncodeError(f"{self._client.name}: {url} {fault}{asked}. Start it or wait, then run again") from cause
            await self.pause(wait_for)
            waited, pause = waited + wait_for, min(2 * pause, LONGEST_PAUSE)

    async def pause(self, seconds: float) -> None:
        """Wait before another try, until `ending` is set at most."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.ending.wait(), seconds)

    async def _once(self, method: str, url: str, content: bytes | None) -> tuple[int, httpx2.Headers, bytes]:
        headers = {} if content is None else {"Content-Type": "application/json"}
        async with self._http.stream(method, url, content=content, headers=headers) as response:
            parts, size = [], 0
            async for part in response.aiter_bytes():
                parts.append(part)
                size += len(part)
                if size > MOST_BYTES:
                    raise EncodeError(f"{self._client.name}: the answer of {url} is larger than {MOST_BYTES:,} bytes")
            return response.status_code, response.headers, b"".join(parts)

    def _fault(self, url: str, status: int, answer: bytes) -> str:
        """Return what a status that may pass means; raise for one that will not."""
        said = self._shown(answer)
        own = f" ({said})" if said else ""
        name, variable = self._client.name, self._client.server.key_variable
        if status in _BUSY or status >= 500:
            return f"answers {status}{own}"
        if status in (401, 403):
            remedy = (
                f"check the key in the environment variable {variable}" if variable else "name the environment variable that holds its key"
            )
            raise ModelError(f"{name}: {url} refuses access with {status}{own}; {remedy}")
        if status in (404, 405):
            raise ModelError(f"{name}: {url} answers {status}{own}; check the address, its path and the name of the model")
        if status in (400, 413, 422):
            raise Refused(f"{name}: {url} refuses a request with {status}{own}", status, said)
        if 300 <= status < 400:
            raise ModelError(f"{name}: {url} redirects elsewhere with {status}; give the address that it redirects to")
        raise EncodeError(f"{name}: {url} answers {status}{own}, where 200 and a body are expected; check the address and what runs there")

    def _shown(self, answer: bytes) -> str:
        """Return a server's own message, without the key."""
        text = answer.decode("utf-8", "replace").strip()
        try:
            found: Any = json.loads(text)
            for name in ("error", "message", "detail"):
                if isinstance(found, dict) and found.get(name):
                    found = found[name]
            text = found if isinstance(found, str) else json.dumps(found)
        except (ValueError, RecursionError):
            pass
        return shortened(self._without_key(text), MESSAGE)

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


async def _awaited(ask: Callable[[Session, T], Awaitable[R]], session: Session, work: T) -> R:
    return await ask(session, work)


def _encoded(body: Any) -> bytes:
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:  # a lone surrogate, which JSON can escape
        return json.dumps(body).encode()


def _decoded(body: bytes) -> Any:
    """Return the value of JSON; NaN and Infinity, which it lacks and some servers write, are read too.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            return json.loads(body)
        except RecursionError as error:
            raise ValueError(str(error)) from None


def _retry_after(headers: httpx2.Headers) -> float | None:
    """Return the seconds that a server asks to wait, or None."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        try:
            seconds = float(value) / unit
        except ValueError:
            try:
                when = email.utils.parsedate_to_datetime(value)
                seconds = (when - datetime.datetime.now(when.tzinfo or datetime.UTC)).total_seconds()
            except (TypeError, ValueError):
                continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None


def stopped(note: str, on_progress: OnProgress | None, should_stop: ShouldStop | None) -> ShouldStop:
    """Return a `should_stop` that reports a stage each time it is asked, while a server is waited for."""

    def asked() -> bool:
        if on_progress is not None:
            on_progress(0, 0, note)
        return should_stop is not None and should_stop()

    return asked


def tokens_in(answer: Any) -> int:
    """Return the tokens that a server counted for an answer; 0 where it states none."""
    usage = answer.get("usage") if isinstance(answer, dict) else None
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
    return tokens if isinstance(tokens, int) else 0


@contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Yield an event loop that runs in a thread; its tasks end with it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="hnmine-http", daemon=True)
    thread.start()

    async def end() -> None:
        others = [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]
        for each in others:
            each.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    try:
        yield loop
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


# A server may list thousands, or lie.
_MOST, _LONGEST = 200, 200


def served_name(name: str, address: str | None) -> str:
    """Return the name of a model as it is shown: "bge-m3 · served at http://127.0.0.1:8000"; of a loaded one as it is."""
    return name if address is None else f"{name} · served at {address}"


def offered_names(server: Server) -> tuple[str, ...]:
    """Return the names by /v1/models (OpenAI, vLLM) or /info (TEI), at most 200; empty if the server has neither page, or does not answer.

    Raises:
        ModelError: the variable of its key is not set.
    """

    async def ask(session: Session) -> tuple[Any, Any]:
        return await session.get("/v1/models"), await session.get("/info")

    models, info = Client(server, "the server").answer(ask)
    listed = models.get("data") if isinstance(models, dict) else None
    found = [each.get("id") for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    found += [info.get("model_id")] if isinstance(info, dict) else []
    names = (name for name in found if isinstance(name, str) and name.strip() and len(name) <= _LONGEST and name.isprintable())
    return tuple(dict.fromkeys(names))[:_MOST]
