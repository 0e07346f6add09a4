"""Tables for sentence-transformers, as JSON lines or Parquet: triplet, n-tuple, labeled-pair and labeled-list.

Names, columns and scores follow sentence-transformers' `mine_hard_negatives` (`output_format`, `output_scores`). A query with several
positives gives one triplet, tuple or list for each, an n-tuple needs all n negatives, and scores replace labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from hnmine.data.rows import array
from hnmine.export.examples import ExportPart
from hnmine.export.retrieval_sets import Buffer
from hnmine.export.scores import numbers

__all__ = ["SHAPES", "Shape", "as_json_lines", "as_parquet"]

Kind = Literal["text", "texts", "integer", "integers", "number", "numbers"]
Columns = tuple[tuple[str, Kind], ...]
Record = tuple[Any, ...]

# Characters of text in a row group.
_GROUP = 2**24
_ROWS = 2**16


@dataclass(frozen=True, slots=True)
class Shape:
    """A table format: its columns (given the number of negatives and whether scores are written), and its records."""

    columns: Callable[[int, bool], Columns]
    records: Callable[[ExportPart], Iterator[Record]]


def _text_columns(names: list[str], with_scores: bool) -> Columns:
    texts: Columns = tuple((name, "text") for name in ("anchor", "positive", *names))
    return (*texts, ("scores", "numbers")) if with_scores else texts


def _triplets(part: ExportPart) -> Iterator[Record]:
    for example in part.examples():
        part.counts["without"] += not example.negatives
        for place, positive in enumerate(example.positives):
            for other, negative in enumerate(example.negatives):
                record = (example.text, positive, negative)
                yield (*record, [example.positive_scores[place], example.negative_scores[other]]) if part.with_scores else record


def _tuples(part: ExportPart) -> Iterator[Record]:
    wanted = part.selection.settings.negative_number
    for example in part.examples():
        if len(example.negatives) < wanted:
            part.counts["short"] += 1
            fewest = part.counts.get("fewest", wanted)
            part.counts["fewest"] = min(fewest, len(example.negatives))
            continue
        for place, positive in enumerate(example.positives):
            record = (example.text, positive, *example.negatives)
            yield (*record, [example.positive_scores[place], *example.negative_scores]) if part.with_scores else record


def _pairs(part: ExportPart) -> Iterator[Record]:
    for example in part.examples():
        positive: list[Any] = example.positive_scores if part.with_scores else [1] * len(example.positives)
        negative: list[Any] = example.negative_scores if part.with_scores else [0] * len(example.negatives)
        part.counts["alone"] += not example.negatives
        for text, value in zip([*example.positives, *example.negatives], [*positive, *negative], strict=True):
            yield example.text, text, value


def _lists(part: ExportPart) -> Iterator[Record]:
    for example in part.examples():
        if not example.negatives:
            part.counts["without"] += 1
            continue
        for place, positive in enumerate(example.positives):
            values: list[Any] = (
                [example.positive_scores[place], *example.negative_scores] if part.with_scores else [1] + [0] * len(example.negatives)
            )
            yield example.text, [positive, *example.negatives], values


SHAPES: dict[str, Shape] = {
    "triplet": Shape(lambda _, scores: _text_columns(["negative"], scores), _triplets),
    "n-tuple": Shape(lambda count, scores: _text_columns([f"negative_{n}" for n in range(1, count + 1)], scores), _tuples),
    "labeled-pair": Shape(
        lambda _, scores: (("anchor", "text"), ("document", "text"), ("score", "number") if scores else ("label", "integer")), _pairs
    ),
    "labeled-list": Shape(
        lambda _, scores: (("anchor", "text"), ("documents", "texts"), ("scores", "numbers") if scores else ("labels", "integers")), _lists
    ),
}


def as_json_lines(shape: Shape, part: ExportPart) -> Iterator[bytes]:
    """Yield one line of JSON for each record."""
    columns = shape.columns(part.selection.settings.negative_number, part.with_scores)
    encode = msgspec.json.Encoder().encode

    spell: dict[Kind, Callable[[Any], bytes]] = {
        "text": encode,
        "texts": lambda values: bytes(array(values)),
        "integer": lambda value: str(value).encode(),
        "integers": numbers,
        "number": lambda value: str(value).encode(),
        "numbers": numbers,
    }
    keys = [(b"{" if not place else b", ") + encode(name) + b": " for place, (name, _) in enumerate(columns)]
    ways = [spell[kind] for _, kind in columns]
    # Records of one query repeat the same text objects: each is encoded once.
    last: list[tuple[Any, bytes]] = [(None, b"")] * len(columns)
    for record in shape.records(part):
        line: list[bytes] = []
        for place, value in enumerate(record):
            if last[place][0] is not value:
                last[place] = (value, ways[place](value))
            line += (keys[place], last[place][1])
        part.written += 1
        yield b"".join(line) + b"}\n"


def as_parquet(shape: Shape, part: ExportPart) -> Iterator[bytes]:
    """Yield the bytes of a Parquet file."""
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {
        "text": pa.string(),
        "texts": pa.list_(pa.string()),
        "integer": pa.int64(),
        "integers": pa.list_(pa.int64()),
        "number": pa.float32(),
        "numbers": pa.list_(pa.float32()),
    }
    columns = shape.columns(part.selection.settings.negative_number, part.with_scores)
    schema = pa.schema([(name, kinds[kind]) for name, kind in columns])
    texts = [place for place, (_, kind) in enumerate(columns) if kind == "text"]
    lists = [place for place, (_, kind) in enumerate(columns) if kind == "texts"]
    sink = Buffer()

    def group(records: list[Record]) -> Any:
        return pa.table(
            [pa.array(values, field.type) for values, field in zip(zip(*records, strict=True), schema, strict=True)], schema=schema
        )

    with parquet.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression="zstd") as writer:
        records: list[Record] = []
        held = 0
        for record in shape.records(part):
            records.append(record)
            part.written += 1
            held += sum(len(record[place]) for place in texts) + sum(len(text) for place in lists for text in record[place])
            if held >= _GROUP or len(records) >= _ROWS:
                writer.write_table(group(records), row_group_size=len(records))
                yield sink.taken()
                records, held = [], 0
        if records:
            writer.write_table(group(records), row_group_size=len(records))
    yield sink.taken()
