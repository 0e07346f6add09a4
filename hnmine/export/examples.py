"""Training examples, one per query, and the split into train and dev; all formats that do not keep the rows use them.

Rows with equal queries are joined, because a repeated pair would count twice in a flat file: their positives in order of
appearance, those added by reviewers last, and the negatives of the query, hardest first. Texts are those of the first row
that has them. Fields without a place in the format, and joined rows, are counted for the notes. In a split each query hashes
the seed and its text and the lowest are dev, so the same queries are dev in any row order, and most of them after rows are
added. Passages are shared: a positive in dev may be a negative in train.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.core.errors import SettingsError
from hnmine.core.hashing import query_keys
from hnmine.data.corpus import Corpus
from hnmine.data.rows import Row
from hnmine.export.scores import PairScores
from hnmine.selection.select import Selection

__all__ = ["Example", "ExportPart", "Names", "dev_path", "dev_queries", "listed", "merge_counts", "query_ids"]

Bools = npt.NDArray[np.bool_]
_TRAINING = {"query", "pos", "neg", "pos_scores", "neg_scores"}
_ID_FIELDS = ("query_id", "_id", "id")


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One query with its passages.

    Attributes:
        query: its index in the corpus; text: as in its first row.
        positives, negatives: texts, with their passage ids and scores (float32; empty without scores).
    """

    query: int
    text: str
    positives: list[str]
    positive_ids: list[int]
    positive_scores: list[np.float32]
    negatives: list[str]
    negative_ids: list[int]
    negative_scores: list[np.float32]


@dataclass(slots=True, eq=False, kw_only=True)
class ExportPart:
    """The input of one output file, and counts for its notes.

    Attributes:
        rows, corpus, selection: the mined data.
        queries: (q,) bool, the queries of this file; None for all.
        dev: (q,) bool, the dev queries if one file holds both parts; None without a split.
        scores: scores to write; None for none.
        written: records written so far: lines, or rows of a table.
        counts: what the notes report, by name.
        untyped: fields that are left out, because their values have no common type in a table.
    """

    rows: Sequence[Row]
    corpus: Corpus
    selection: Selection
    queries: Bools | None = None
    dev: Bools | None = None
    scores: PairScores | None = None
    written: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    untyped: list[str] = field(default_factory=list)

    @property
    def with_scores(self) -> bool:
        """Whether scores are written."""
        return self.scores is not None

    def examples(self) -> Iterator[Example]:
        """Yield the examples of this file, in the order of their first rows."""
        corpus, selection, passages, scores = self.corpus, self.selection, self.corpus.passages, self.scores
        order = np.argsort(corpus.row_queries, kind="stable")
        bounds = np.searchsorted(corpus.row_queries[order], np.arange(len(corpus.queries) + 1)).tolist()
        counts = selection.counts.tolist()
        starts, owned = corpus.row_positive_starts.tolist(), corpus.row_positive_ids
        chosen, firsts = np.unique(corpus.row_queries, return_index=True)
        if self.queries is not None:
            firsts = firsts[self.queries[chosen]]
        for first in np.sort(firsts).tolist():
            query = int(corpus.row_queries[first])
            spelled: dict[int, str] = {}
            for number in order[bounds[query] : bounds[query + 1]].tolist():
                for passage, text in zip(owned[starts[number] : starts[number + 1]].tolist(), self.rows[number].pos, strict=True):
                    spelled.setdefault(passage, text)
            for passage in corpus.promoted(query).tolist():
                spelled.setdefault(passage, passages[passage])
            ids = list(spelled)
            negatives = selection.negatives[query, : counts[query]].tolist()
            yield Example(
                query=query,
                text=self.rows[first].query,
                positives=list(spelled.values()),
                positive_ids=ids,
                positive_scores=list(scores.of_positives(corpus, query, np.array(ids, np.int32))) if scores is not None else [],
                negatives=[passages[passage] for passage in negatives],
                negative_ids=negatives,
                negative_scores=list(scores.negatives[query, : counts[query]]) if scores is not None else [],
            )

    def notes(self, *, ids: bool = False) -> list[str]:
        """Return sentences on what a file of examples leaves out of the rows; `ids` if it keeps their id."""
        left_out = {name for row in self.rows for name in row.fields} - _TRAINING
        if ids and (own := _own_ids(self)):
            left_out.discard(own[0])
        found = []
        of_rows = self.corpus.row_queries
        if (
            joined := len(of_rows) - len(self.corpus.queries)
            if self.queries is None
            else int(self.queries[of_rows].sum() - self.queries.sum())
        ):
            rows = "row has" if joined == 1 else "rows have"
            found.append(f"{joined:,} {rows} the query of another row: they are joined, and each pair is written once")
        if left_out:
            found.append(f"these fields have no place in this format and are left out: {listed(sorted(left_out))}")
        return found


def listed(found: Sequence[str]) -> str:
    """Return the first six names, and the number of the others."""
    return ", ".join(found[:6]) + (f" and {len(found) - 6} more" if len(found) > 6 else "")


def merge_counts(parts: Sequence[ExportPart]) -> ExportPart:
    """Return all parts of one export as one part with their counts added up."""
    masks = [part.queries for part in parts if part.queries is not None]
    queries = np.logical_or.reduce(masks) if len(masks) == len(parts) else None
    whole = replace(parts[0], queries=queries, counts=Counter(), written=sum(part.written for part in parts))
    for part in parts:
        fewest = min((each.counts["fewest"] for each in (whole, part) if "fewest" in each.counts), default=None)
        whole.counts.update(part.counts)
        if fewest is not None:
            whole.counts["fewest"] = fewest
    return whole


class Names(Sequence[str]):
    """A unique name for each text hash, made when asked for: 16 hexadecimal digits, with a number for repeated hashes."""

    def __init__(self, hashes: npt.NDArray[np.uint64], prefix: str = "") -> None:
        self._hashes, self._prefix = hashes, prefix
        known, counts = np.unique(hashes, return_counts=True)
        seen: Counter[int] = Counter()
        self._turns: dict[int, int] = {}
        for place in np.flatnonzero(np.isin(hashes, known[counts > 1])).tolist():
            seen[int(hashes[place])] += 1
            self._turns[place] = seen[int(hashes[place])]

    def __len__(self) -> int:
        return len(self._hashes)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        name = f"{self._prefix}{int(self._hashes[place]):016x}"
        return name if self._turns.get(place, 1) == 1 else f"{name}-{self._turns[place]}"


def query_ids(part: ExportPart) -> Sequence[str]:
    """Return an id for each query of the corpus: the id of its row if every query has a unique one, else its hash."""
    own = _own_ids(part)
    return own[1] if own else Names(part.corpus.query_hashes, "q")


def _own_ids(part: ExportPart) -> tuple[str, list[str]] | None:
    """Return the id field and the id of each query, or None if no field has unique ids for all queries."""
    corpus, rows = part.corpus, part.rows
    first = np.unique(corpus.row_queries, return_index=True)[1].tolist()
    for name in _ID_FIELDS:
        found: list[str] = []
        for number in first:
            raw = rows[number].fields.get(name)
            value = None if raw is None else msgspec.json.decode(raw)
            # White space would break the lines of TREC and BEIR tables.
            if isinstance(value, bool) or not isinstance(value, (str, int)) or str(value).split() != [str(value)] or '"' in str(value):
                break
            found.append(str(value))
        else:
            if len(set(found)) == len(found):
                return name, found
    return None


# Makes these hashes independent of the selection's with the same seed.
_PURPOSE = 0x5B117


def dev_queries(corpus: Corpus, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Return the dev queries, (q,) bool: `round(share * q)` of them, at least one and not all if `share` is above 0.

    Raises:
        SettingsError: the share is not in [0, 1), or there is only one query.
    """
    if not 0 <= share < 1:
        raise SettingsError(f"dev_share is {share!r}; set a fraction of the queries, such as 0.05, or 0 for no split")
    count = len(corpus.queries)
    chosen = np.zeros(count, dtype=bool)
    if share > 0:
        if count < 2:
            raise SettingsError(f"dev_share is {share} and there is only one query; a split needs two, so set dev_share to 0")
        wanted = min(max(1, round(share * count)), count - 1)
        # Queries are in canonical order, so ties do not depend on the order of the file.
        order = np.argsort(query_keys(corpus.query_hashes, seed, _PURPOSE), kind="stable")
        chosen[order[:wanted]] = True
    return chosen


def dev_path(path: str | os.PathLike[str]) -> Path:
    """Return the path of the dev part for a train part at `path`: `out.dev.jsonl` for `out.jsonl`."""
    path = Path(path)
    return path.with_name(f"{path.stem}.dev{path.suffix}")
