"""What a run does before it encodes: it reads the files and the instructions of the queries, and plans its stages for the time left."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.cluster.settings import ClusterSettings
from hnmine.core.errors import InputError, SettingsError
from hnmine.core.progress import ShouldStop, Stages, check_cancelled
from hnmine.core.text import counted, shortened
from hnmine.core.time_left import Work
from hnmine.data.corpus import Corpus
from hnmine.data.dataset import Inputs, read_inputs
from hnmine.data.objects import are_paths
from hnmine.data.problems import Problem
from hnmine.data.rows import Row
from hnmine.data.texts import sizes_of
from hnmine.models.encoder import Encoder, FlagEncoder
from hnmine.models.served.embedder import ServedEncoder
from hnmine.retrieval.approximate import BUILDING, IndexName, build_work
from hnmine.runs.settings import MineSettings

__all__ = ["QueryPrompts", "plan_key", "planned", "read_data", "read_query_prompts"]


def read_data(
    input_file: Any, candidate_pool: Any, settings: MineSettings, *, stages: Stages, should_stop: ShouldStop | None = None
) -> Inputs:
    """Read the data as `settings` say, and add to the fingerprints the paths; arguments and errors as in `dataset.read_inputs`."""
    check_cancelled(should_stop)
    stages(0, 0, "reading the files")
    inputs = read_inputs(
        input_file,
        candidate_pool,
        pool_mode=settings.pool_mode,
        columns=settings.columns,
        repair=settings.repair,
        skip_bad_rows=settings.skip_bad_rows,
    )
    for name, path in (("input_file", input_file), ("candidate_pool", candidate_pool)):
        if isinstance(path, (str, os.PathLike)):
            inputs.files[name]["path"] = _absolute(path)
        elif name in inputs.files and are_paths(path, is_pool=name == "candidate_pool"):
            inputs.files[name]["paths"] = [_absolute(each) for each in path]
    return inputs


def _absolute(path: str | os.PathLike[str]) -> str:
    text = os.fspath(path)
    return text if text.startswith("hf://") else str(Path(text).resolve())


_decode = msgspec.json.Decoder(str).decode
# Faults that a message lists; the others are counted.
_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryPrompts:
    """The instruction of each query.

    Attributes:
        field: the field of the rows.
        of_queries: one for each query of the corpus; None is the model's own, "" none at all.
        rows, rows_without, rows_empty: how many there are, how many lack the field (or have null), and in how many it is "".
    """

    field: str
    of_queries: Sequence[str | None]
    rows: int
    rows_without: int
    rows_empty: int

    @property
    def record(self) -> dict[str, Any]:
        """What the manifest states: the field, and the number of different prompts."""
        different = len({each for each in self.of_queries if each is not None})
        return {"field": self.field, "different": different, "rows_without": self.rows_without}

    @property
    def notes(self) -> list[str]:
        """What a user should know, in sentences."""
        notes = []
        if self.rows_without:
            of = f"{self.rows_without:,} of {counted(self.rows, 'row')}"
            notes.append(f"no `{self.field}` in {of}: their queries have the model's own instruction")
        if self.rows_empty:
            notes.append(f"`{self.field}` is empty in {counted(self.rows_empty, 'row')}: their queries have no instruction")
        return notes

    def texts(self, encoder: Encoder, queries: Sequence[str]) -> list[str]:
        """Return the queries with their instructions, as `encoder` reads them.

        Raises:
            SettingsError: it takes no instruction for each query.
        """
        if not isinstance(encoder, (FlagEncoder, ServedEncoder)):
            raise SettingsError(
                f"the encoder is a {type(encoder).__name__}, which takes no instruction for each query; "
                "give a FlagEmbedding model or a served one, or leave query_prompt_field out"
            )
        return encoder.instructed(queries, self.of_queries)


def read_query_prompts(inputs: Inputs, field: str) -> QueryPrompts:
    """Read the instruction of each query from a field of its rows.

    Raises:
        SettingsError: no row has the field.
        InputError: a value is not a text, or rows with equal queries have different ones; a row without a value differs from one with it.
    """
    file, corpus = str(inputs.files["input_file"]["name"]), inputs.corpus
    texts: dict[bytes, str | None] = {}  # rows repeat their prompts
    firsts: list[tuple[str | None, Row] | None] = [None] * len(corpus.queries)
    bad: list[Problem] = []
    unlike: list[str] = []
    found = without = empty = 0
    for row, query in zip(inputs.rows, corpus.row_queries.tolist(), strict=True):
        raw = bytes(row.fields[field]) if field in row.fields else b"null"
        found += field in row.fields
        try:
            prompt = texts[raw] if raw in texts else texts.setdefault(raw, None if raw == b"null" else _decode(raw))
        except msgspec.DecodeError:
            message, remedy = f"expected a string, found {shortened(raw.decode(), 40)}", "write it as a string, or leave the field out"
            bad.append(Problem(file=file, line=row.line, path=f"$.{field}", kind="wrong-type", message=message, remedy=remedy))
            continue
        without += prompt is None
        empty += prompt == ""
        first = firsts[query]
        if first is None:
            firsts[query] = (prompt, row)
        elif first[0] != prompt:
            values = " and ".join("none" if each is None else repr(shortened(each, 60)) for each in (first[0], prompt))
            unlike.append(f"{file}:{row.line} $.{field}  the query {shortened(row.query, 60)!r} is in line {first[1].line} too: {values}")
    if not found:
        raise SettingsError(f"query_prompt_field is {field!r}, and no row has this field; {_fields(inputs.rows)}")
    if bad:
        raise InputError(_listed(f"{file}: `{field}` is not a text in {counted(len(bad), 'row')}", map(str, bad), len(bad)), bad)
    if unlike:
        head = (
            f"{file}: equal queries have different instructions (`{field}`) in {counted(len(unlike), 'row')}, but rows with equal queries "
        )
        head += "are mined as one query; give them the same one, or mine each instruction's rows as a file of their own"
        raise InputError(_listed(head, unlike, len(unlike)))
    of_queries = [each[0] if each else None for each in firsts]
    return QueryPrompts(field=field, of_queries=of_queries, rows=len(inputs.rows), rows_without=without, rows_empty=empty)


def _fields(rows: Iterable[Row]) -> str:
    names = dict.fromkeys(name for row in rows for name in row.fields if name not in ("query", "pos", "neg"))
    if not names:
        return "rows have none beside query, pos and neg: leave the setting out"
    return f"name one of: {', '.join(names)}"


def _listed(head: str, faults: Iterable[str], count: int) -> str:
    lines = [head, *(f"  {each}" for each, _ in zip(faults, range(_SHOWN), strict=False))]
    return "\n".join([*lines, f"  ... and {count - _SHOWN:,} more"] if count > _SHOWN else lines)


TOKEN = 1 / 8_000
BYTES_OF_A_TOKEN, SPECIAL_TOKENS = 4.0, 2
# A reranker reads query and passage together, and is often larger than the model that ranks.
RERANKER = 4.0
# Of a query and a passage; of a query and a ranked candidate.
SEARCHED, RANKED = 1.5e-8, 1.5e-6
# Part of the passages that an index compares with a query, until it is measured.
INDEXED = 0.25
COMPARED = 2e-6
WORD_BYTE, MATCHED = 2e-7, 1e-7


def planned(
    corpus: Corpus,
    model: dict[str, Any],
    depth: int,
    *,
    second: dict[str, Any] | None = None,
    lexical: bool = False,
    signals: bool = False,
    scored: int = 0,
    index: IndexName = "exact",
) -> Iterator[Work]:
    """Yield the stages of `rank_data` in their order.

    Args:
        corpus: the texts.
        model, second: the `describe()` of the models that encode.
        depth: candidates of each query.
        lexical: whether BM25 ranks too, which counts words first. signals: whether signals are computed.
        scored: candidates of each query that a reranker scores.
        index: how the model's vectors are searched.
    """
    queries, passages = len(corpus.queries), len(corpus.passages)
    depth = min(depth, corpus.n_candidates)
    sizes = {"passages": sizes_of(corpus.passages), "queries": sizes_of(corpus.queries)}
    words = Work("counting words", passages, WORD_BYTE * float(sizes["passages"].sum()))
    if lexical:
        yield words
    for prefix, each in (("", model), ("second model: ", second)):
        if each is not None:
            for side, of_side in sizes.items():
                tokens = _tokens(of_side, each, side)
                yield Work(f"{prefix}encoding {side}", tokens, tokens * TOKEN)
    compared = float(corpus.n_candidates)
    if index != "exact":
        yield Work(BUILDING, compared, SEARCHED * build_work(index, corpus.n_candidates))
        compared *= INDEXED
    yield Work("searching", queries, queries * (SEARCHED * compared + RANKED * depth))
    if signals:
        yield Work("comparing with positives", queries, COMPARED * queries * depth)
        if not lexical:
            yield words
        yield Work("comparing words", queries, MATCHED * queries * corpus.n_candidates)
    if scored:
        pairs = queries * min(scored, depth) + len(corpus.positive_ids)
        tokens = sum(float(each.sum()) / max(1, len(each)) for each in sizes.values()) / BYTES_OF_A_TOKEN
        yield Work("scoring pairs", pairs, pairs * tokens * TOKEN * RERANKER)


def plan_key(descriptions: Iterable[dict[str, Any]], cluster: ClusterSettings | None = None) -> str:
    """Return what throughput depends on: names, devices and precisions of the models, and the cluster."""
    key = " + ".join(f"{each.get('name')} {each.get('devices')} {each.get('precision')}" for each in descriptions)
    return key if cluster is None else f"{key} on {cluster.address}"


def _tokens(sizes: npt.NDArray[np.int64], model: dict[str, Any], side: str) -> float:
    """Return the expected tokens of texts of so many bytes, which are not tokenised yet."""
    one = "query" if side == "queries" else "passage"
    longest = model.get(f"{one}_max_length") or 512
    extra = SPECIAL_TOKENS + len((model.get(f"{one}_instruction") or "").encode()) / BYTES_OF_A_TOKEN
    return float(np.minimum(longest, extra + sizes / BYTES_OF_A_TOKEN).sum())
