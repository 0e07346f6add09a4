"""The folder of a data set: the uploaded files under names of their roles, and dataset.json. Its id is a hash of the bytes."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from hnmine.core import small_files
from hnmine.core.array_files import sync_folder
from hnmine.core.files import write_atomic
from hnmine.runs.descriptions import Dataset
from hnmine.runs.uploads import Uploaded, below, members, store

__all__ = ["changed", "fill", "is_whole"]

# The name of the pool of a BEIR data set.
OWN_CORPUS = "its corpus"


def fill(folder: Path, name: str, training: Uploaded, pool_name: str | None, pool: Uploaded | None) -> Dataset:
    """Copy the files of a data set into an empty folder and describe them there; all is synced.

    Raises:
        OSError, OutputError: a file cannot be read, or the disk is full.
    """
    file_name, size, file_digest, training_look = store(training, name, "training", folder)
    digests = [(file_name, file_digest)]
    own_pool = training_look is not None and training_look.own_pool
    pool_file, pool_look = None, None
    if pool is not None:
        pool_file, pool_size, pool_digest, pool_look = store(pool, pool_name or "", "pool", folder)
        size += pool_size
        digests.append((pool_file, pool_digest))
    dataset = Dataset(
        id=_id(digests),
        name=name,
        pool_name=pool_name if pool is not None else OWN_CORPUS if own_pool else None,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        bytes=size,
        training_file=file_name,
        pool_file=pool_file,
        training_look=training_look,
        pool_look=pool_look,
    )
    write_atomic(folder / "dataset.json", [small_files.encoded(dataset)])
    for each in (*(path for path in below(folder) if path.is_dir()), folder):
        sync_folder(each)
    return dataset


def changed(folder: Path, dataset: Dataset, known: Iterable[Sequence[str]] = ()) -> list[str]:
    """Return the names of the files of a data set whose bytes are not those that it was stored with; all bytes are read.

    The id is that of all files together. `known` has the SHA-256 of the files as runs were mined from them: where these give the id, they
    say which file has changed. Else all files are returned.

    Raises:
        OSError: a file is missing or cannot be read.
        InputError: a folder of several files cannot be read.
    """
    names = [name for name in (dataset.training_file, dataset.pool_file) if name is not None]
    digests = [_sha256(folder / name) for name in names]
    if _id(zip(names, digests, strict=True)) == dataset.id:
        return []
    for before in known:
        if len(before) == len(names) and _id(zip(names, before, strict=True)) == dataset.id:
            return [name for name, was, now in zip(names, before, digests, strict=True) if was != now]
    return names


def is_whole(folder: Path, dataset: Dataset) -> bool:
    """Return whether the files of a data set are those that it was stored with."""
    try:
        return not changed(folder, dataset)
    except (OSError, ValueError):  # InputError is one
        return False


def _id(digests: Iterable[tuple[str, str]]) -> str:
    return hashlib.sha256("".join(f"{name} {digest}\n" for name, digest in digests).encode()).hexdigest()[:12]


def _sha256(path: Path) -> str:
    if path.is_dir():
        lines = (f"{name} {_sha256(path / name)}\n" for name in members(path))
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
