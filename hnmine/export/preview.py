"""The first records of a written export as text, whole and as they are in the file; nothing else of the file is read.

JSON is indented, because a row with fifteen negatives in one line cannot be read; records of Parquet and Arrow are written as JSON.
"""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Iterable, Iterator
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any

__all__ = ["first_records"]

# Characters: one record may be a book.
_LONGEST = 60_000


def first_records(path: Path, count: int = 3) -> str:
    """Return the first records of an export, a file of any of `formats.FORMATS` or a folder.

    Raises:
        OSError: it is gone.
    """
    readers = {".parquet": _parquet, ".json": _array, ".zip": _archive, ".jsonl": _lines, "": _arrow}
    # A lone surrogate of the data is shown as it is written, as an escape.
    text = (readers.get(path.suffix) or _table)(path, count).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "\n..."


def _indented(records: Iterable[Any]) -> str:
    return "\n".join(json.dumps(record, ensure_ascii=False, indent=2, default=str) for record in records)


def _lines(path: Path, count: int) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return _indented(json.loads(line) for line in islice(file, count))


def _array(path: Path, count: int) -> str:
    """Decode the first records of a JSON array from its beginning."""
    decoder = json.JSONDecoder()
    found: list[Any] = []
    with path.open(encoding="utf-8", errors="replace") as file:
        text = file.read(2**20)
        place = text.find("[") + 1
        while len(found) < count:
            while text[place : place + 1] in (" ", "\n", ","):
                place += 1
            try:
                record, place = decoder.raw_decode(text, place)
            except ValueError:  # the rest of the record is not there yet, or the array has ended
                if not (more := file.read(2**20)):
                    break
                text += more
            else:
                found.append(record)
    return _indented(found)


def _parquet(path: Path, count: int) -> str:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return _indented(next(file.iter_batches(count)).to_pylist() if file.metadata.num_rows else [])


def _arrow(path: Path, count: int) -> str:
    """Read the first shard of a folder of `datasets`."""
    import pyarrow as pa

    for shard in sorted(path.rglob("*.arrow"), key=lambda each: ("dev" in each.parts, each)):
        with pa.memory_map(str(shard)) as source, pa.ipc.open_stream(source) as stream:
            for batch in stream:
                if batch.num_rows:
                    return _indented(batch.slice(0, count).to_pylist())
    return ""


def _table(path: Path, count: int) -> str:
    """Return the first lines of a table; a quoted cell may hold several. A table of triples has no header and no quotes."""
    kept: list[str] = []

    def keeping(lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            kept.append(line)
            yield line

    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        if path.suffix == ".tsv":
            return "".join(islice(file, count))
        for _ in islice(csv.reader(keeping(file)), count + 1):
            pass
    return "".join(kept)


def _archive(path: Path, count: int) -> str:
    """Return the first lines of each file of a zip archive, under its name."""
    parts = []
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as file:
                lines = "".join(islice(TextIOWrapper(file, "utf-8", "replace"), count))
            parts.append(f"{name}\n{lines}")
    return "\n".join(parts)
