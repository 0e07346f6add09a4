"""What a server takes in one request: as it states, and as its refusals show.

A refused request is halved, and a smaller size that helped is kept. A single text that is refused for its length is cut here. How much is
left is a function of the text and the server's limit alone, so a vector does not depend on what else was asked.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from hnmine.models.served.client import Refused, Session

__all__ = ["BATCH_SIZE", "REQUEST_TOKENS", "Limits", "estimated_tokens", "requests", "shortened_text"]

Item = TypeVar("Item")
Answer = TypeVar("Answer")

BATCH_SIZE, REQUEST_TOKENS = 32, 8_192
# A text is never cut to fewer characters; of a refusal without numbers, this part is left.
_LEAST_CHARACTERS, _PART = 16, 0.75
_LONG = re.compile(r"token|length|too long|too large|context|size|exceed", re.IGNORECASE)
_NUMBERS = re.compile(r"(\d[\d,]*) tokens?\b\D*(\d[\d,]*)")


class Limits:
    """The limits of one server.

    Attributes:
        texts: most texts of a request, beside a probe; lowered by refusals.
        alone: whether even one text and a probe are too many.
        tokens: most tokens of a text, as the server states; None if it does not.
        cuts: who cuts a longer text, in words; None: nobody, the server refuses it.
        more: what the request has beside its texts, for that.
        record: what identifies the results: the server's limit, and the weights that it states.
    """

    def __init__(self, texts: int, *, probes: int) -> None:
        """Begin with the most texts that are wanted, `probes` of each request included."""
        self.texts, self.alone = max(1, texts - probes), False
        self._probes = probes
        self.tokens: int | None = None
        self.cuts: str | None = None
        self.more: dict[str, Any] = {}
        self.record: dict[str, Any] = {}
        self.model: str | None = None

    async def ask(self, session: Session, api: str, name: str | None) -> None:
        """Read what the server states about itself, where it has such a page."""
        if api == "tei":
            stated = await session.get("/info")
            stated = stated if isinstance(stated, dict) else {}
            self.cuts, self.more = "truncate of Text Embeddings Inference", {"truncate": True}
            self.tokens = _integer(stated.get("max_input_length"))
            if most := _integer(stated.get("max_client_batch_size")):
                self.texts, self.alone = max(1, min(self.texts, most - self._probes)), most <= self._probes
            self.model = stated["model_id"] if isinstance(stated.get("model_id"), str) else None
            self.record = {name: stated.get(name) for name in ("model_id", "model_sha", "model_dtype", "max_input_length")}
            return
        stated = await session.get("/v1/models")
        models = stated.get("data") if isinstance(stated, dict) else None
        own = [each for each in models or () if isinstance(each, dict) and each.get("id") == name]
        if own and own[0].get("owned_by") == "vllm":
            self.cuts, self.more = "truncate_prompt_tokens of vLLM", {"truncate_prompt_tokens": -1}
            self.tokens = _integer(own[0].get("max_model_len"))
            self.record = {"max_model_len": self.tokens}

    @property
    def notes(self) -> list[str]:
        """What a user should know, in sentences."""
        if self.cuts is None:
            return []
        return [f"the server cuts longer texts at {f'{self.tokens:,} tokens' if self.tokens else 'its own limit'} ({self.cuts})"]

    async def fitted(
        self,
        items: Sequence[Item],
        ask: Callable[[Sequence[Item], bool], Awaitable[Sequence[Answer]]],
        cut: Callable[[Item, float], Item | None],
    ) -> tuple[list[Answer], int]:
        """Return an answer for each item, and how many items were cut.

        Args:
            items: what is asked in one request, if the server takes it.
            ask: asks for some; True: nothing else may be in the request.
            cut: returns an item with this part of its text, or None if it is too short for that.

        Raises:
            Refused: an item alone is refused, whatever its length.
        """
        if len(items) <= self.texts:  # it may be fewer since these were put together
            try:
                return list(await ask(items, self.alone)), 0
            except Refused as error:
                refusal = error
        if len(items) > 1:
            half = (len(items) + 1) // 2
            answers, count = list[Answer](), 0
            for part in (items[:half], items[half:]):
                found, shorter = await self.fitted(part, ask, cut)
                answers, count = answers + found, count + shorter
            if not count:  # it was their number, or their tokens together
                self.texts = max(1, min(self.texts, half))
            return answers, count
        item, count = items[0], 0
        while True:
            try:
                answers = list(await ask([item], True))
            except Refused as error:
                refusal = error
            else:
                if not count and refusal.status != 400:
                    self.texts, self.alone = 1, True
                return answers, min(count, 1)
            shorter_item = cut(item, _part(refusal.reason)) if _LONG.search(refusal.reason) else None
            if shorter_item is None:
                raise refusal
            item, count = shorter_item, count + 1


def shortened_text(text: str, part: float) -> str | None:
    """Return this part of a text, from its beginning, and not less than a few characters; None if it has no more."""
    return text[: max(int(len(text) * part), _LEAST_CHARACTERS)] if len(text) > _LEAST_CHARACTERS else None


def estimated_tokens(text: str) -> int:
    """Return about how many tokens a text has: a fourth of its bytes, and two special ones."""
    return len(text) // 4 + 2 if text.isascii() else len(text.encode("utf-8", "surrogatepass")) // 4 + 2


def requests(items: Iterable[Item], tokens: Callable[[Item], int], most: Callable[[], int]) -> Iterator[list[Item]]:
    """Yield the items of each request, in their order: at most REQUEST_TOKENS, and as many as `most` returns then; at least one."""
    batch: list[Item] = []
    size = 0
    for item in items:
        own = tokens(item)
        if batch and (size + own > REQUEST_TOKENS or len(batch) >= most()):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += own
    if batch:
        yield batch


def _part(reason: str) -> float:
    """Return the part of a text to keep: as a refusal states limit and length ("... 512 tokens. Given: 600"), with a reserve."""
    found = _NUMBERS.search(reason)
    limit, given = (int(each.replace(",", "")) for each in found.groups()) if found else (0, 0)
    return 0.95 * limit / given if 0 < limit < given else _PART


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
