"""A folder as `datasets.DatasetDict.save_to_disk` writes it: the rows with their negatives, split by split, and a card.

Rows are those of FlagEmbedding's format, as a table: `query`, `pos`, `neg`, scores, and each other field whose values pyarrow gives
back as they were. The library would hold the whole table in memory, with each negative of each row (1.5 GB for 100,000 rows); here it is
written batch by batch. The fingerprint that `datasets` caches by is that of the content, so the same rows give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from hnmine.core.errors import SettingsError
from hnmine.export.dataset_card import dataset_card
from hnmine.export.examples import Bools, ExportPart
from hnmine.export.flagembedding import flagembedding_lines
from hnmine.export.retrieval_sets import Buffer, zipped

__all__ = ["CARD", "check_replaceable", "dataset_files", "zipped_folder"]

CARD = "README.md"
_DATA = "data-00000-of-00001.arrow"
# What this module and the caches of `datasets` write into such a folder; nothing else is ever replaced.
_OWN = re.compile(r"README\.md|dataset_dict\.json|(train|dev)(/([\w.-]+\.arrow|dataset_info\.json|state\.json))?")
# Characters of a batch of rows.
_BATCH = 2**24


def check_replaceable(path: Path) -> None:
    """Check that a folder may be written at `path`: nothing is there, an empty folder, or a data set of this kind.

    Raises:
        SettingsError: a file is there, or a folder with other files, which would be lost.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise SettingsError(f"{path} is a file, and output_format datasets writes a folder; name another folder, or remove the file")
    names = sorted(each.relative_to(path).as_posix() for each in path.rglob("*"))
    foreign = [name for name in names if not _OWN.fullmatch(name)]
    if foreign or (names and "dataset_dict.json" not in names):
        raise SettingsError(f"the folder {path} holds other files ({(foreign or names)[0]}), which would be lost; name a new folder")


def dataset_files(part: ExportPart, manifest: Mapping[str, Any]) -> dict[str, Iterable[bytes]]:
    """Return the files of the folder by their paths in it, each written as it is read; they must be read in this order.

    Args:
        part: the rows; with `dev` there is a split dev beside train.
        manifest: of the run, for the card; may be empty.
    """
    schema = _schema(part)
    splits: dict[str, Bools | None] = {"train": part.queries} if part.dev is None else {"train": ~part.dev, "dev": part.dev}
    if part.dev is not None and part.queries is not None:
        splits = {name: queries & part.queries for name, queries in splits.items() if queries is not None}
    counts: dict[str, int] = {}
    files: dict[str, Iterable[bytes]] = {"dataset_dict.json": [_json({"splits": list(splits)})]}
    for name, queries in splits.items():
        digest = hashlib.sha256()
        files[f"{name}/{_DATA}"] = _table(part, schema, queries, name, counts, digest)
        files[f"{name}/dataset_info.json"] = [_json({"citation": "", "description": "", "features": _features(schema), "homepage": "",
                                                     "license": ""})]  # fmt: skip
        files[f"{name}/state.json"] = _state(name, digest)
    files[CARD] = _card(manifest, counts, schema)
    return files


def zipped_folder(folder: Path, name: str) -> Iterator[bytes]:
    """Yield the bytes of a zip archive with the files of a folder, below `name`."""

    def chunks(path: Path) -> Iterator[bytes]:
        with path.open("rb") as file:
            while block := file.read(2**20):
                yield block

    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return zipped({f"{name}/{path.relative_to(folder).as_posix()}": chunks(path) for path in paths})


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2).encode()


def _card(manifest: Mapping[str, Any], counts: dict[str, int], schema: Any) -> Iterator[bytes]:
    yield dataset_card(manifest, counts, schema.names).encode()


def _state(split: str, digest: Any) -> Iterator[bytes]:
    yield _json(
        {
            "_data_files": [{"filename": _DATA}],
            "_fingerprint": digest.hexdigest()[:16],
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": split,
        }
    )


def _features(schema: Any) -> dict[str, Any]:
    import datasets  # type: ignore[import-untyped]

    found: dict[str, Any] = datasets.Features.from_arrow_schema(schema).to_dict()
    return found


def _schema(part: ExportPart) -> Any:
    """Return the columns: query, pos and neg, scores, and the other fields that have one type; those without go to `part.untyped`."""
    import pyarrow as pa

    texts, numbers = pa.list_(pa.string()), pa.list_(pa.float32())
    columns = {"query": pa.string(), "pos": texts, "neg": texts}
    if part.with_scores:
        columns |= {"pos_scores": numbers, "neg_scores": numbers}
    part.untyped.clear()
    for name in dict.fromkeys(name for row in part.rows for name in row.fields):
        if name in columns or name in ("pos_scores", "neg_scores"):  # those of the input belong to the negatives that are replaced
            continue
        kind = _type([row.fields.get(name) for row in part.rows])
        if kind is None:
            part.untyped.append(name)
        else:
            columns[name] = kind
    return pa.schema(list(columns.items()))


def _type(found: list[msgspec.Raw | None]) -> Any:
    """Return the type of a column that gives every value back as it was; None if there is none."""
    import pyarrow as pa

    try:
        values = [None if raw is None else msgspec.json.decode(raw) for raw in found]
        column = pa.array(values)
    except (ValueError, TypeError, OverflowError, pa.ArrowException):
        return None
    return column.type if column.to_pylist() == values else None


def _table(part: ExportPart, schema: Any, queries: Bools | None, name: str, counts: dict[str, int], digest: Any) -> Iterator[bytes]:
    """Yield the rows of a split as an Arrow stream, with the features of `datasets` in its metadata."""
    import pyarrow as pa

    about = {"info": {"features": _features(schema)}}
    described = schema.with_metadata({"huggingface": json.dumps(about)})
    sink = Buffer()

    def taken() -> bytes:
        found = sink.taken()
        digest.update(found)
        return found

    counts[name] = 0
    with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), described) as writer:
        rows: list[dict[str, Any]] = []
        held = 0
        for line in flagembedding_lines(part.rows, part.corpus, part.selection, scores=part.scores, queries=queries):
            row = msgspec.json.decode(line)
            rows.append(row)
            held += len(line)
            counts[name] += 1
            part.written += 1
            part.counts["without"] += not row["neg"]
            if held >= _BATCH:
                writer.write_batch(pa.RecordBatch.from_pylist(rows, schema))
                yield taken()
                rows, held = [], 0
        if rows:
            writer.write_batch(pa.RecordBatch.from_pylist(rows, schema))
    yield taken()
