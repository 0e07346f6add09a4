"""The folders of data sets and runs: what they say of themselves (dataset.json, manifest.json), and how that of a data set is filled.

A data set has the uploaded files under names of their roles. Its id is a hash of their bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from hnmine.core import small_files
from hnmine.core.array_files import Fingerprint, sync_folder
from hnmine.core.errors import WorkspaceError
from hnmine.core.files import write_atomic
from hnmine.core.text import visible
from hnmine.runs.manifest import check_types
from hnmine.runs.settings import MineSettings
from hnmine.runs.uploads import FileInfo, Uploaded, below, members, store

__all__ = ["REMEDIES", "Dataset", "Run", "RunSize", "changed", "fill", "is_whole", "older_run"]


# How to continue where what a folder says of itself is damaged. The folder stays: it may have the only copy of the data.
REMEDIES = {
    "datasets": f"keep its folder; upload the same files again, which writes it again, or {small_files.REMEDY}",
    "runs": f"keep its folder; mine again, or {small_files.REMEDY}",
}


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """An uploaded training file, and a pool when there is one.

    `id` is a hash of the bytes, `name` the name of the training file, `created` an ISO 8601 time in UTC, `training_file` and
    `pool_file` their names here. A BEIR data set has a pool and no file for it: its corpus. `training_look` and `pool_look`: the detected
    formats; None where unknown.
    """

    id: str
    name: str
    pool_name: str | None
    created: str
    bytes: int
    training_file: str = "train.jsonl"
    pool_file: str | None = None
    training_look: FileInfo | None = None
    pool_look: FileInfo | None = None

    def __post_init__(self) -> None:
        for name in (self.training_file, self.pool_file):
            if name is not None and Path(name).name != name:
                raise ValueError(f"{name!r} is not a file name")
        msgspec.structs.force_setattr(self, "name", visible(self.name))
        msgspec.structs.force_setattr(self, "pool_name", self.pool_name and visible(self.pool_name))


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A finished ranking of a data set: its settings, its manifest, and the fingerprints of its arrays by file name.

    Runs of before have no fingerprints.
    """

    id: str
    dataset_id: str
    created: str
    settings: MineSettings
    manifest: dict[str, Any]
    arrays: dict[str, Fingerprint] = {}

    def __post_init__(self) -> None:
        for name in self.arrays:
            if Path(name).name != name:
                raise ValueError(f"{name!r} is not a file name")

    def unreadable(self, error: Exception, folder: Path) -> WorkspaceError:
        """Return the error of a run whose data set, in `folder`, cannot be read."""
        return WorkspaceError(
            f"the data in {folder} that the run {self.id} was mined from cannot be read; put it back as it was, or mine again: {error}"
        )

    def check_inputs(self, files: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
        """Compare the fingerprints of the data set's files, as they were read from `folder`, with those of the run.

        Raises:
            WorkspaceError: a file has changed since the run was mined, or the run does not say what it was mined from.
        """
        mined = self.manifest.get("inputs")
        if not mined:
            raise WorkspaceError(f"the manifest of the run {self.id} does not say which files it was mined from; mine again")
        for argument in (*mined, *(each for each in files if each not in mined)):
            was, now = mined.get(argument, {}), files.get(argument, {})
            if was.get("sha256") != now.get("sha256"):
                raise WorkspaceError(
                    f"{folder / str((now or was).get('name'))} is not the file that the run {self.id} was mined from: before "
                    f"{_fingerprint(was)}, now {_fingerprint(now)}; put the file back as it was, or mine again"
                )


def _fingerprint(file: Mapping[str, Any]) -> str:
    return f"{file.get('bytes', 0):,} bytes, sha256 {str(file['sha256'])[:12]}..." if file else "missing"


class RunSize(msgspec.Struct, frozen=True, kw_only=True):
    """Disk space of a run: `files`; `bytes` of its own; `shared_bytes` of vectors that the store holds too."""

    files: int
    bytes: int
    shared_bytes: int

    @classmethod
    def of(cls, paths: Iterable[Path]) -> RunSize:
        """Return the size of files; folders, and what is deleted meanwhile, count as nothing."""
        files = own = shared = 0
        for path in paths:
            with suppress(OSError):
                if path.is_file():
                    seen = path.stat()
                    files += 1
                    if seen.st_nlink > 1:
                        shared += seen.st_size
                    else:
                        own += seen.st_size
        return cls(files=files, bytes=own, shared_bytes=shared)


def older_run(value: Any) -> Any:
    """Convert the settings of a run of version 0.1.0, which had `use_fp16` instead of `precision`.

    Raises:
        ValidationError: a type in its manifest is wrong; of msgspec.
    """
    if not isinstance(value, dict):
        return value  # which is refused
    settings, manifest = value.get("settings"), value.get("manifest")
    model = settings.get("model") if isinstance(settings, dict) else None
    if isinstance(model, dict) and model.pop("use_fp16", True) is False:
        model["precision"] = "fp32"
    if isinstance(manifest, dict):
        check_types(manifest)
    return value


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
        id=_dataset_id(digests),
        name=name,
        pool_name=pool_name if pool is not None else OWN_CORPUS if own_pool else None,
        created=small_files.now("milliseconds"),
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
    if _dataset_id(zip(names, digests, strict=True)) == dataset.id:
        return []
    for before in known:
        if len(before) == len(names) and _dataset_id(zip(names, before, strict=True)) == dataset.id:
            return [name for name, was, now in zip(names, before, digests, strict=True) if was != now]
    return names


def is_whole(folder: Path, dataset: Dataset) -> bool:
    """Return whether the files of a data set are those that it was stored with."""
    try:
        return not changed(folder, dataset)
    except (OSError, ValueError):  # InputError is one
        return False


def _dataset_id(digests: Iterable[tuple[str, str]]) -> str:
    return hashlib.sha256("".join(f"{name} {digest}\n" for name, digest in digests).encode()).hexdigest()[:12]


def _sha256(path: Path) -> str:
    if path.is_dir():
        lines = (f"{name} {_sha256(path / name)}\n" for name in members(path))
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
