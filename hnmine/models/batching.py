"""Texts to batches of tokens, prepared in a background thread, and the threads that run a model on them.

On a CPU a batch has texts of exactly one length in tokens and at least MIN_ROWS rows, so the bits of a vector do not depend on
the other texts. On a GPU texts of similar length are padded, and bits may depend on the batch. Longest texts come first.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from hnmine.core.progress import ShouldStop, check_cancelled
from hnmine.core.text import text_hash

__all__ = ["MIN_ROWS", "SAMPLE", "Block", "TokenChunk", "blocks", "next_batch", "prefetch", "run_batches", "token_chunks", "token_counts"]

Item = TypeVar("Item")
Output = TypeVar("Output")
Ids = npt.NDArray[np.int64]
Tokens = npt.NDArray[np.int32]
Tokenise = Callable[[list[str]], list[list[int]]]
Row = TypeVar("Row", bound=np.generic)

# Texts in memory at once; 262,144 passages of 750 characters take 0.25 GiB.
BLOCK_TEXTS, BLOCK_CHARACTERS = 262_144, 2**28
# Texts tokenised at once: more of them share a length; 4 million characters take 2 s.
CHUNK_TEXTS, CHUNK_CHARACTERS = 16_384, 4_000_000
# Texts per call of the tokenizer: a cancel is checked in between.
TOKENIZER_TEXTS = 1_024
# Rows of the smallest matrix product whose bits do not depend on its size (11 on the machines seen).
MIN_ROWS = 16
# Matrix units of a GPU are fastest with multiples of eight.
GPU_MULTIPLE = 8


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Consecutive texts that are in memory at once: at most BLOCK_TEXTS, and no more once they have BLOCK_CHARACTERS.

    Attributes:
        first: place of the first text.
        texts: the texts.
        order: offsets of the unique texts, (u,) int64, longest first, then by hash.
        twins: the further offsets of each repeated text, by its first.
        later: number of texts behind the block.
    """

    first: int
    texts: list[str]
    order: Ids
    twins: dict[int, list[int]]
    later: int

    def answered(self, offsets: Ids, rows: npt.NDArray[Row]) -> tuple[Ids, npt.NDArray[Row]]:
        """Return the places of all texts that are equal to those at `offsets`, (b,) int64, and their rows, repeated for equal texts."""
        if not self.twins:
            return self.first + offsets, rows
        pairs = [(row, offset) for row, first in enumerate(offsets.tolist()) for offset in (first, *self.twins.get(first, ()))]
        return self.first + np.array([offset for _, offset in pairs], dtype=np.int64), rows[[row for row, _ in pairs]]


def blocks(texts: Sequence[str]) -> Iterator[Block]:
    """Read texts in blocks, so that a corpus on disk (any object with `len` and `[i]`) is never in memory as a whole."""
    stop, count = 0, len(texts)
    while stop < count:
        part: list[str] = []
        start, characters = stop, 0
        while stop < count and len(part) < BLOCK_TEXTS and characters < BLOCK_CHARACTERS:
            part.append(texts[stop])
            characters += len(part[-1])
            stop += 1
        first: dict[str, int] = {}
        twins: dict[int, list[int]] = {}
        for offset, text in enumerate(part):
            if (known := first.setdefault(text, offset)) != offset:
                twins.setdefault(known, []).append(offset)
        sizes = np.fromiter((len(text) for text in first), np.int64, len(first))
        hashes = np.fromiter((text_hash(text) for text in first), np.uint64, len(first))
        offsets = np.fromiter(first.values(), np.int64, len(first))
        yield Block(start, part, offsets[np.lexsort((hashes, -sizes))], twins, count - stop)


@dataclass(frozen=True, slots=True, eq=False)
class TokenChunk:
    """Tokenised texts: their places (b,) int64, token ids, and lengths (b,) int64; longest first.

    `estimate` is the expected number of tokens in all later chunks. Of texts, the places are offsets in their `block`.
    """

    places: Ids
    ids: list[Tokens]
    lengths: Ids
    estimate: int
    block: Block | None = None


def token_chunks(
    texts: Sequence[str], tokenise: Tokenise, max_length: int, *, should_stop: ShouldStop | None = None
) -> Iterator[TokenChunk]:
    """Tokenise texts a chunk at a time: block by block, in each the longest first, equal texts once.

    Raises:
        Cancelled: `should_stop` returned True; called every TOKENIZER_TEXTS texts.
    """
    per_character = 0.25
    tokens = 0
    for block in blocks(texts):
        order = block.order
        sizes = np.fromiter((len(block.texts[offset]) for offset in order), np.int64, len(order))
        ends = np.cumsum(sizes)
        start = 0
        while start < len(order):
            before = int(ends[start - 1]) if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + CHUNK_CHARACTERS, side="right")))
            stop = min(stop, start + CHUNK_TEXTS, len(order))
            # Four bytes a token: the tokenizer's lists take ten times that.
            ids: list[Tokens] = []
            for first in range(start, stop, TOKENIZER_TEXTS):
                check_cancelled(should_stop)
                part = [block.texts[offset] for offset in order[first : min(first + TOKENIZER_TEXTS, stop)]]
                ids += [np.array(each, dtype=np.int32) for each in tokenise(part)]
            lengths = np.fromiter((len(each) for each in ids), np.int64, len(ids))
            tokens += int(lengths.sum())
            whole = lengths < max_length  # truncated texts are not representative
            if whole.any():
                per_character = float(lengths[whole].sum() / max(1, sizes[start:stop][whole].sum()))
            rest = int(np.minimum(np.ceil(sizes[stop:] * per_character), max_length).sum())
            later = round((tokens + rest) * block.later / (block.first + len(block.texts)))  # as many tokens a text as up to here
            longest = np.argsort(-lengths, kind="stable")
            yield TokenChunk(order[start:stop][longest], [ids[i] for i in longest], lengths[longest], rest + later, block)
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


# A chunk, the first and the end of a batch in it, and the length to pad to.
Planned = tuple[TokenChunk, int, int, int]


def run_batches(
    ready: Iterator[TokenChunk],
    forward: Callable[[list[Tokens], int], Output | None],
    refusal: Callable[[int], Exception],
    *,
    budget: int,
    most_texts: int | None,
    exact: bool,
    max_length: int,
    workers: int,
    start_worker: Callable[[], None],
    should_stop: ShouldStop | None,
) -> Generator[tuple[TokenChunk, int, int, Output], None, None]:
    """Yield (chunk, start, end, output) of each batch, in order; batches become smaller if memory runs out.

    Args:
        forward: runs the model on the token ids of a batch, padded to a length; returns None if memory ran out.
        refusal: returns the error to raise if a single text of this length in tokens does not fit into memory.
        budget, most_texts, exact, max_length: as in `next_batch`.
        workers: threads that run `forward`, each on a batch of its own; `start_worker` is called in each of them first.

    Raises:
        Cancelled: `should_stop` returned True; called once a batch.
    """

    def planned(chunk: TokenChunk, start: int, stop: int) -> Iterator[Planned]:
        while start < stop:
            end, length = next_batch(chunk, start, budget=budget, most_texts=most_texts, exact=exact, max_length=max_length)
            yield chunk, start, min(end, stop), length
            start = min(end, stop)

    ahead = chain.from_iterable(planned(chunk, 0, len(chunk.places)) for chunk in ready)
    running: deque[tuple[Planned, Future[Output | None]]] = deque()
    with ThreadPoolExecutor(workers, "hnmine-model", start_worker) as pool:

        def submit(batches: Iterable[Planned]) -> list[tuple[Planned, Future[Output | None]]]:
            return [(batch, pool.submit(forward, batch[0].ids[batch[1] : batch[2]], batch[3])) for batch in batches]

        try:
            while True:
                check_cancelled(should_stop)
                running.extend(submit(islice(ahead, max(0, 2 * workers - len(running)))))
                if not running:
                    return
                (chunk, start, end, length), answer = running.popleft()
                output = answer.result()
                if output is None and running:
                    wait([each for _, each in running])  # they need memory as well
                    output = forward(chunk.ids[start:end], length)
                if output is not None:
                    yield chunk, start, end, output
                elif end - start == 1:
                    raise refusal(length)
                else:
                    budget = (end - start) * length // 2
                    running.extendleft(reversed(submit(planned(chunk, start, end))))
        finally:
            for _, answer in running:
                answer.cancel()


def prefetch(items: Iterator[Item]) -> Generator[Item, None, None]:
    """Yield from `items`, which a background thread reads one ahead; closing the generator ends the thread."""
    ready: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(1)
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
