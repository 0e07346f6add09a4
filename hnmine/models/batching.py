"""Texts to batches of tokens, prepared in a background thread.

On a CPU a batch has texts of exactly one length in tokens. Nothing is padded, so the bits of a vector do not depend on the
other texts: a resumed run, a subset and another order give the same bytes. In 13,000 batches in float32 none differed,
except products of at most ten rows; so a batch has at least MIN_ROWS, with texts repeated if needed. MKL needs its
reproducible mode as well (`loading.reproducible_products`). The cost: 5% on Cranfield, with four texts per length. On a GPU
texts of similar length are padded, and bits may depend on the batch. Longest texts come first, so lack of memory shows early.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from hnmine.core.progress import ShouldStop, check_cancelled
from hnmine.core.text import text_hash

__all__ = ["MIN_ROWS", "SAMPLE", "TokenChunk", "next_batch", "order_of", "prefetch", "run_batches", "token_chunks", "token_counts"]

Item = TypeVar("Item")
Output = TypeVar("Output")
Ids = npt.NDArray[np.int64]
Tokenise = Callable[[list[str]], list[list[int]]]

# Texts tokenised at once: more of them share a length; 4 million characters take 2 s.
CHUNK_TEXTS, CHUNK_CHARACTERS = 16_384, 4_000_000
# Texts per call of the tokenizer: a cancel is checked in between.
TOKENIZER_TEXTS = 1_024
# Rows of the smallest matrix product whose bits do not depend on its size (11 on the machines seen).
MIN_ROWS = 16
# Matrix units of a GPU are fastest with multiples of eight.
GPU_MULTIPLE = 8


def order_of(texts: Sequence[str]) -> tuple[Ids, dict[int, list[int]]]:
    """Return the places of the unique texts (longest first, then by hash), and the further places of each repeated text."""
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
    """Tokenised texts: places (b,) int64, token ids, and their lengths (b,) int64; longest first.

    `estimate` is the expected number of tokens in all later chunks, from their characters.
    """

    places: Ids
    ids: list[npt.NDArray[np.int32]]
    lengths: Ids
    estimate: int


def token_chunks(
    texts: Sequence[str], order: Ids, tokenise: Tokenise, max_length: int, *, should_stop: ShouldStop | None = None
) -> Iterator[TokenChunk]:
    """Tokenise texts in the order given, a chunk at a time.

    Raises:
        Cancelled: `should_stop` returned True; called every TOKENIZER_TEXTS texts.
    """
    sizes = np.fromiter((len(texts[place]) for place in order), np.int64, len(order))
    ends = np.cumsum(sizes)
    per_character = 0.25
    start = 0
    while start < len(order):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + CHUNK_CHARACTERS, side="right")))
        stop = min(stop, start + CHUNK_TEXTS, len(order))
        # Four bytes a token: the tokenizer's lists take ten times that.
        ids: list[npt.NDArray[np.int32]] = []
        for first in range(start, stop, TOKENIZER_TEXTS):
            check_cancelled(should_stop)
            part = [texts[place] for place in order[first : min(first + TOKENIZER_TEXTS, stop)]]
            ids += [np.array(each, dtype=np.int32) for each in tokenise(part)]
        lengths = np.fromiter((len(each) for each in ids), np.int64, len(ids))
        whole = lengths < max_length  # truncated texts are not representative
        if whole.any():
            per_character = float(lengths[whole].sum() / max(1, sizes[start:stop][whole].sum()))
        rest = np.minimum(np.ceil(sizes[stop:] * per_character), max_length)
        longest = np.argsort(-lengths, kind="stable")
        yield TokenChunk(order[start:stop][longest], [ids[i] for i in longest], lengths[longest], int(rest.sum()))
        start = stop


def next_batch(chunk: TokenChunk, start: int, *, budget: int, most_texts: int | None, exact: bool, max_length: int) -> tuple[int, int]:
    """Return the end of the batch that begins at `start` of a chunk, and the length to pad its texts to.

    Args:
        budget: most tokens, with padding; a batch has at least one text.
        most_texts: most texts; None for no limit.
        exact: only texts of one length share a batch; else they are padded to the longest, in multiples of GPU_MULTIPLE.
        max_length: nothing is padded beyond this length.
    """
    length = int(chunk.lengths[start])
    end = len(chunk.lengths)
    if exact:  # lengths descend, so their negatives ascend
        end = int(np.searchsorted(-chunk.lengths, -length, side="right"))
    else:
        length = max(length, min(max_length, -(-length // GPU_MULTIPLE) * GPU_MULTIPLE))
    return min(end, start + max(1, min(budget // max(1, length), most_texts or budget))), length


def run_batches(
    ready: Iterator[TokenChunk],
    forward: Callable[[list[npt.NDArray[np.int32]], int], Output | None],
    refusal: Callable[[int], Exception],
    *,
    budget: int,
    most_texts: int | None,
    exact: bool,
    max_length: int,
    should_stop: ShouldStop | None,
) -> Iterator[tuple[TokenChunk, int, int, Output]]:
    """Yield (chunk, start, end, output) of each batch; batches become smaller if memory runs out.

    Args:
        forward: runs the model on the token ids of a batch, padded to a length; returns None if memory ran out.
        refusal: returns the error to raise if a single text of this length in tokens does not fit into memory.
        budget, most_texts, exact, max_length: as in `next_batch`.

    Raises:
        Cancelled: `should_stop` returned True; called once a batch.
    """
    for chunk in ready:
        start = 0
        while start < len(chunk.places):
            check_cancelled(should_stop)
            end, length = next_batch(chunk, start, budget=budget, most_texts=most_texts, exact=exact, max_length=max_length)
            output = forward(chunk.ids[start:end], length)
            if output is not None:
                yield chunk, start, end, output
                start = end
            elif end - start == 1:
                raise refusal(length)
            else:
                budget = (end - start) * length // 2


def prefetch(items: Iterator[Item], *, depth: int = 1) -> Generator[Item, None, None]:
    """Yield from `items`, which a background thread reads `depth` ahead; closing the generator ends the thread."""
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
        except BaseException as error:  # noqa: BLE001  # raised again in the consumer
            put(None, error)

    thread = threading.Thread(target=work, name="hnmine-prefetch", daemon=True)
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


# Counting a million passages would take minutes; this sample gives proportions within 0.5 percentage points.
SAMPLE = 10_000


def token_counts(folder: Path | None, texts: Sequence[str]) -> npt.NDArray[np.int32] | None:
    """Return the numbers of tokens of about SAMPLE evenly spaced texts, with special tokens, (n,) int32; None without a fast tokenizer.

    torch is not imported: `tokenizers` loads in 50 ms and counts 400,000 tokens a second on two cores.
    """
    if folder is None or not (folder / "tokenizer.json").exists():
        return None
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    step = -(-len(texts) // SAMPLE) or 1
    encoded = tokenizer.encode_batch_fast(list(texts[::step]))
    return np.fromiter((len(each) for each in encoded), np.int32, len(encoded))
