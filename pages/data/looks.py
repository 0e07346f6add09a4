"""What the beginnings of a data set's files say: format, columns, first records, first rows with any columns.

All are cached until the file changes, because a screen asks for them at every press.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hnmine import resources
from hnmine.data.columns import Columns
from hnmine.data.formats.detect import Role
from hnmine.data.shapes.ids import COLLECTION
from hnmine.runs import uploads as datasets
from hnmine.runs.uploads import FileInfo, FirstRow, Stamp
from hnmine.runs.workspace import Dataset

# Records of a file with unknown names; first rows as they are read.
SAMPLE_ROWS, FIRST_ROWS = 10, 2


def looks(dataset: Dataset, encoding: str | None) -> tuple[FileInfo, FileInfo | None]:
    """Return the detected formats of a data set's files, in an encoding if one was chosen.

    Raises:
        InputError: a file cannot be read.
    """
    space = resources.workspace()
    training, pool = space.training_path(dataset.id), space.pool_path(dataset.id)
    columns = Columns(encoding=encoding)
    found = (None if encoding else _stored(training, dataset.training_look)) or look(training, training.name, columns=columns)
    if pool is None:
        return found, None
    return found, (None if encoding else _stored(pool, dataset.pool_look)) or look(pool, pool.name, "pool", columns=columns)


def _stored(path: Path, known: FileInfo | None) -> FileInfo | None:
    """Return the stored description of a file, or None where the file is newer."""
    written = (path.parent / "dataset.json").stat().st_mtime_ns
    return known if all(modified <= written for _, modified, _, _ in datasets.stamp(path)) else None


def look(source: Path, name: str, role: Role = "training", *, columns: Columns | None = None) -> FileInfo:
    """Return the format of a file as it is read with these columns, cached until the file changes.

    Raises:
        InputError: the file cannot be read.
    """
    return _looked(datasets.stamp(source), name, role, columns, source)


@resources.cached()
def _looked(stamp: Stamp, name: str, role: Role, columns: Columns | None, source: Path) -> FileInfo:
    return datasets.inspect_file(source, name, role, columns)


@resources.cached()
def _sampled(stamp: Stamp, role: Role, encoding: str | None, path: Path) -> list[dict[str, Any]]:
    return datasets.sample(path, role, SAMPLE_ROWS, encoding=encoding)


def sample(path: Path | None, role: Role, encoding: str | None) -> list[dict[str, Any]]:
    """Return the first records of a file unchanged.

    Raises:
        InputError: it is damaged.
    """
    return [] if path is None else _sampled(datasets.stamp(path), role, encoding, path)


def names(path: Path | None, found: FileInfo, role: Role, encoding: str | None) -> list[str]:
    """Return the columns of a file itself, also where its shape gives the rows other ones; none where a record is the whole file.

    Raises:
        InputError: it is damaged.
    """
    if not found.source.shape:
        return list(found.source.names)
    if found.source.shape == COLLECTION.name:
        return []
    return list(dict.fromkeys(name for record in sample(path, role, encoding) for name in record))


def first_rows(path: Path, columns: Columns) -> list[FirstRow]:
    """Return the first rows of a training file as they are read with these columns.

    Raises:
        InputError: none of them can be read.
    """
    return _first_rows(datasets.stamp(path), columns, path)


@resources.cached()
def _first_rows(stamp: Stamp, columns: Columns, path: Path) -> list[FirstRow]:
    return datasets.first_rows(path, columns, FIRST_ROWS)
