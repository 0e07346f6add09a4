"""Texts to batches of tokens: which texts a model sees together, planned ahead of it by a thread of its own.

On a CPU a batch holds texts of exactly one length in tokens. Nothing is padded then and no text meets a mask, so its
vector has the same bits whatever stands beside it: a resumed run, a subset and another order give the same bytes.
Measured in float32 with hidden sizes 32 to 1,024, 2 to 300 tokens and 1 or 2 threads: of 13,000 batches none differed,
but for products of at most ten rows, which the library computes another way. So a batch has at least MIN_ROWS, if need be
by repeating its texts. Intel's MKL needs its reproducible mode as well (`devices.reproducible_products`), and bfloat16 a CPU
with instructions for it. The price: with the four texts a length that Cranfield has, batches are small, 5 % slower than full ones.

On a GPU many small batches would leave it idle: texts of like length are padded to the longest, and bits may depend on
the company.

Longest texts come first, so that want of memory shows at once and the time left is told too high rather than too low.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from hnmine.core.progress import ShouldStop, check_cancelled
from hnmine.core.text import text_hash

__all__ = ["MIN_ROWS", "TokenChunk", "next_batch", "order_of", "prefetch", "run_batches", "token_chunks"]

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Ids = npt.NDArray[np.int64]
Tokenise = Callable[[list[str]], list[list[int]]]

# Texts tokenised before the model begins on them: the more, the more share a length; 4 million characters take 2 s.
WINDOW_TEXTS, WINDOW_CHARACTERS = 16_384, 4_000_000
# Texts given to the tokenizer at once: it asks for a stop in between.
CHUNK = 1_024
# Rows of the smallest matrix product whose bits do not depend on its size (11 on the machines seen).
MIN_ROWS = 16
# A GPU's matrix units want lengths in eights.
GPU_MULTIPLE = 8


def order_of(texts: Sequence[str]) -> tuple[Ids, dict[int, list[int]]]:
    """Return the places of the unique texts, most characters first, then by hash; and those of equal texts by the first's place."""
    first: dict[str, int] = {}
    twins: dict[int, list[int]] = {}
    for place, text in enumerate(texts):
        if (known := first.setdefault(text, place)) != place:
            twins.setdefault(known, []).append(place)
    sizes = np.fromiter((len(text) for text in first), np.int64, len(first))
    hashes = np.fromiter((text_hash(text) for text in first), np.uint64, len(first))
    places = np.fromiter(first.values(), np.int64, len(first))
    return places[np.lexsort((hashes, -sizes))], twins


@dataclass(frozen=True, slots=True, eq=False)
class TokenChunk:
    """Tokenised texts: their places (b,) int64, token ids, and the lengths (b,) int64 of these; longest first.

    `estimate` is how many tokens all the texts behind this window will have, as far as can be told from characters.
    """

    places: Ids
    ids: list[npt.NDArray[np.int32]]
    lengths: Ids
    estimate: int


def token_chunks(
    texts: Sequence[str], order: Ids, tokenise: Tokenise, max_length: int, *, should_stop: ShouldStop | None = None
) -> Iterator[TokenChunk]:
    """Tokenise texts in the order given, a window at a time.

    Raises:
        Cancelled: `should_stop` said so; asked every CHUNK texts.
    """
    sizes = np.fromiter((len(texts[place]) for place in order), np.int64, len(order))
    ends = np.cumsum(sizes)
    per_character = 0.25
    start = 0
    while start < len(order):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + WINDOW_CHARACTERS, side="right")))
        stop = min(stop, start + WINDOW_TEXTS, len(order))
        # Four bytes a token are kept: the tokenizer's own lists take ten times that.
        ids: list[npt.NDArray[np.int32]] = []
        for chunk in range(start, stop, CHUNK):
            check_cancelled(should_stop)
            part = [texts[place] for place in order[chunk : min(chunk + CHUNK, stop)]]
            ids += [np.array(each, dtype=np.int32) for each in tokenise(part)]
        lengths = np.fromiter((len(each) for each in ids), np.int64, len(ids))
        whole = lengths < max_length  # what was cut says nothing about tokens per character
        if whole.any():
            per_character = float(lengths[whole].sum() / max(1, sizes[start:stop][whole].sum()))
        rest = np.minimum(np.ceil(sizes[stop:] * per_character), max_length)
        longest = np.argsort(-lengths, kind="stable")
        yield TokenChunk(order[start:stop][longest], [ids[i] for i in longest], lengths[longest], int(rest.sum()))
        start = stop


def next_batch(window: TokenChunk, start: int, *, budget: int, most_texts: int | None, exact: bool, max_length: int) -> tuple[int, int]:
    """Return the end of the batch that begins at `start` of a window, and the length to pad its texts to.

    Args:
        window: as `token_chunks` yields it.
        start: its first text.
        budget: most tokens, padding counted; a single text is always taken.
        most_texts: cap on the texts; None for none.
        exact: only texts of one length share a batch; else they are padded to the longest, in multiples of GPU_MULTIPLE.
        max_length: tokens beyond which nothing is padded.
    """
    length = int(window.lengths[start])
    end = len(window.lengths)
    if exact:  # lengths fall, so their negatives rise
        end = int(np.searchsorted(-window.lengths, -length, side="right"))
    else:
        length = max(length, min(max_length, -(-length // GPU_MULTIPLE) * GPU_MULTIPLE))
    return min(end, start + max(1, min(budget // max(1, length), most_texts or budget))), length


def run_batches(
    ready: Iterator[TokenChunk],
    forward: Callable[[list[npt.NDArray[np.int32]], int], Answer | None],
    refusal: Callable[[int], Exception],
    *,
    budget: int,
    most_texts: int | None,
    exact: bool,
    max_length: int,
    should_stop: ShouldStop | None,
) -> Iterator[tuple[TokenChunk, int, int, Answer]]:
    """Yield (window, start, end, answer) of one batch after the other, with smaller ones when memory runs out.

    Args:
        ready: the windows.
        forward: given the token ids of a batch and the length to pad them to, asks the model; None when memory ran out.
        refusal: given a length in tokens, the error to raise when there is no memory for a single text of that length.
        budget, most_texts, exact, max_length: as in `next_batch`.

    Raises:
        Cancelled: `should_stop` said so; asked once a batch.
    """
    for window in ready:
        start = 0
        while start < len(window.places):
            check_cancelled(should_stop)
            end, length = next_batch(window, start, budget=budget, most_texts=most_texts, exact=exact, max_length=max_length)
            answer = forward(window.ids[start:end], length)
            if answer is not None:
                yield window, start, end, answer
                start = end
            elif end - start == 1:
                raise refusal(length)
            else:
                budget = (end - start) * length // 2


def prefetch(items: Iterator[Item], *, depth: int = 1) -> Generator[Item, None, None]:
    """Yield from `items`, which a background thread draws `depth` ahead; it ends with the generator, whoever closes that."""
    ready: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(depth)
    closed = threading.Event()

    def put(item: Item | None, error: BaseException | None = None) -> None:
        while not closed.is_set():
            with suppress(queue.Full):
                ready.put((item, error), timeout=0.05)
                return

    def work() -> None:
        try:
            for item in items:
                put(item)
                if closed.is_set():
                    return
            put(None)
        except BaseException as error:  # noqa: BLE001  # it is raised again where somebody listens
            put(None, error)

    thread = threading.Thread(target=work, name="hnmine-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        closed.set()
        thread.join()
