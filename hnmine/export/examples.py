"""One training example for each query: what all formats but FlagEmbedding's own are made from.

FlagEmbedding's rows keep their fields and may repeat a question. Other trainers' files are flat, and a pair that stands in
them twice counts twice, so rows that ask the same are joined: their positives in order of appearance, each once, what people
promoted behind them, and the query's negatives, hardest first. Texts are spelled as in the first row that has them. What
does not fit into a format (fields such as `prompt`) or was joined is counted, and told with the file that was written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.data.corpus import Corpus
from hnmine.data.rows import Row
from hnmine.export.scores import PairScores
from hnmine.selection.select import Selection

__all__ = ["Example", "ExportPart", "merge_counts", "names", "query_ids"]

Bools = npt.NDArray[np.bool_]
_TRAINING = {"query", "pos", "neg", "pos_scores", "neg_scores"}
_ID_FIELDS = ("query_id", "_id", "id")


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One query with its passages.

    Attributes:
        query: its number in the corpus; text: as its first row spells it.
        positives, negatives: texts, with their passage ids and, where scores are wanted, these (float32) beside them.
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
    """What one file is written from, and what is told of it afterwards.

    Attributes:
        rows, corpus, selection: as everywhere.
        queries: (q,) bool, those that belong to this file; None for all.
        dev: (q,) bool, those that are dev, where one file holds both parts; None without a split.
        scores: written where the format has a place for them; None for none.
        written: records written so far: lines, or rows of a table.
        counted: what a note will tell, by name.
    """

    rows: Sequence[Row]
    corpus: Corpus
    selection: Selection
    queries: Bools | None = None
    dev: Bools | None = None
    scores: PairScores | None = None
    written: int = 0
    counted: Counter[str] = field(default_factory=Counter)

    @property
    def with_scores(self) -> bool:
        """Whether scores are written where the format has a place for them."""
        return self.scores is not None

    def first_rows(self) -> list[int]:
        """Return the first row of each query of this part, in the order of the rows."""
        queries, first = np.unique(self.corpus.row_queries, return_index=True)
        if self.queries is not None:
            first = first[self.queries[queries]]
        found: list[int] = np.sort(first).tolist()
        return found

    def examples(self) -> Iterator[Example]:
        """Yield the examples of this part, in the order of their first rows."""
        corpus, selection, passages, scores = self.corpus, self.selection, self.corpus.passages, self.scores
        order = np.argsort(corpus.row_queries, kind="stable")
        bounds = np.searchsorted(corpus.row_queries[order], np.arange(len(corpus.queries) + 1)).tolist()
        counts = selection.counts.tolist()
        starts, owned = corpus.row_positive_starts.tolist(), corpus.row_positive_ids
        for first in self.first_rows():
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
        """Tell what of the rows is not in a file of examples; `ids` when their id is."""
        left_out: set[str] = set()
        for row in self.rows:
            left_out.update(row.fields.keys() - _TRAINING)
        used = _id_field(self) if ids else None
        names = [name for name in left_out if name != used]
        found = []
        if joined := len(self.rows) - len(self.corpus.queries):
            rows = "row asks" if joined == 1 else "rows ask"
            found.append(f"{joined:,} {rows} what another one asks: joined with it, and each pair is written once")
        if names:
            shown = ", ".join(sorted(names)[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
            found.append(f"this format has no place for these fields of the rows, which are left out: {shown}")
        return found


def merge_counts(parts: Sequence[ExportPart]) -> ExportPart:
    """Return all parts of one export as one, counts added up, to be told of."""
    whole = replace(parts[0], queries=None, counted=Counter(), written=sum(part.written for part in parts))
    for part in parts:
        fewest = min((each.counted["fewest"] for each in (whole, part) if "fewest" in each.counted), default=None)
        whole.counted.update(part.counted)
        if fewest is not None:
            whole.counted["fewest"] = fewest
    return whole


def names(hashes: npt.NDArray[np.uint64], prefix: str = "") -> list[str]:
    """Return a name for each text from the hash of its folded form: 16 hexadecimal digits, told apart where two share one."""
    found = [f"{prefix}{value:016x}" for value in hashes.tolist()]
    if len(np.unique(hashes)) < len(hashes):
        seen: Counter[str] = Counter()
        for place, name in enumerate(found):
            seen[name] += 1
            if seen[name] > 1:
                found[place] = f"{name}-{seen[name]}"
    return found


def query_ids(part: ExportPart) -> list[str]:
    """Return an id for each query of the corpus: its rows' own where every query has one that is unique, else by its hash."""
    own = _own_ids(part)
    if own is not None:
        return own[1]
    return names(part.corpus.query_hashes, "q")


def _id_field(part: ExportPart) -> str | None:
    own = _own_ids(part)
    return None if own is None else own[0]


def _own_ids(part: ExportPart) -> tuple[str, list[str]] | None:
    """Return the field that holds ids, and the id of each query; None when no field will do."""
    corpus, rows = part.corpus, part.rows
    first = np.unique(corpus.row_queries, return_index=True)[1].tolist()
    for name in _ID_FIELDS:
        found: list[str] = []
        for number in first:
            raw = rows[number].fields.get(name)
            value = None if raw is None else msgspec.json.decode(raw)
            # Blanks would tear a line of TREC's or BEIR's tables apart.
            if isinstance(value, bool) or not isinstance(value, (str, int)) or not (text := str(value)) or len(text.split()) != 1:
                break
            if text != text.strip() or '"' in text:
                break
            found.append(text)
        else:
            if len(set(found)) == len(found):
                return name, found
    return None
