"""The small JSON files of a workspace: what they describe, and the one function that reads them.

Whatever is wrong with such a file is one kind of error, with the file's path and the remedy, so that a damaged file fails itself alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from hnmine.core.errors import WorkspaceError
from hnmine.runs.manifest import check_types
from hnmine.runs.settings import MineSettings
from hnmine.runs.uploads import FileInfo

__all__ = ["Dataset", "Run", "RunSize", "older_run", "read"]

T = TypeVar("T")


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """An uploaded training file, and a pool when there is one.

    `id` is a hash of the bytes, `name` what the training file was called, `created` an ISO 8601 time in UTC, `training_file` and
    `pool_file` what they are called here. A BEIR data set has a pool and no file of it: its corpus. `training_look` and `pool_look` are
    what the files were found to be when they were stored; None where that is not known.
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
                raise ValueError(f"{name!r} is no name of a file")


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A finished ranking of a data set: settings, and the manifest as it was written."""

    id: str
    dataset_id: str
    created: str
    settings: MineSettings
    manifest: dict[str, Any]

    def check_inputs(self, files: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
        """Compare the fingerprints of the data set's files, as they were read from `folder`, with those of the run.

        Raises:
            WorkspaceError: a file has changed since the run was mined.
        """
        if "inputs" not in self.manifest:
            return
        mined = self.manifest["inputs"]
        for argument in (*mined, *(each for each in files if each not in mined)):
            was, now = mined.get(argument, {}), files.get(argument, {})
            if was.get("sha256") != now.get("sha256"):
                raise WorkspaceError(
                    f"{folder / str((now or was).get('name'))} is not the file that the run {self.id} was mined from: then "
                    f"{_fingerprint(was)}, now {_fingerprint(now)}; put the file back as it was, or mine again"
                )


def _fingerprint(file: Mapping[str, Any]) -> str:
    return f"{file.get('bytes', 0):,} bytes, sha256 {str(file['sha256'])[:12]}..." if file else "there is none"


class RunSize(msgspec.Struct, frozen=True, kw_only=True):
    """What a run takes on the disk: `files`; `bytes` that nothing else needs; `shared_bytes` of vectors that the store has too."""

    files: int
    bytes: int
    shared_bytes: int


def older_run(value: dict[str, Any]) -> dict[str, Any]:
    """Bring the settings of a run of version 0.1.0, which had `use_fp16` instead of `precision`, to those of today.

    Raises:
        ValidationError: a type in its manifest is wrong; of msgspec.
    """
    settings, manifest = value.get("settings"), value.get("manifest")
    model = settings.get("model") if isinstance(settings, dict) else None
    if isinstance(model, dict) and model.pop("use_fp16", True) is False:
        model["precision"] = "fp32"
    if isinstance(manifest, dict):
        check_types(manifest)
    return value


def read(
    path: Path,
    kind: type[T],
    missing: str,
    *,
    remedy: str = "remove its folder and do it again",
    convert: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> T:
    """Read a JSON file of the workspace.

    Args:
        path: the file.
        kind: the type of what it holds.
        missing: the message when there is no such file.
        remedy: what to do when it is damaged.
        convert: brings what an older version wrote to the fields of today.

    Raises:
        WorkspaceError: the file is missing, cannot be read, or is damaged.
    """
    try:
        content = path.read_bytes()
        if convert is None:
            return msgspec.json.decode(content, type=kind)
        return msgspec.convert(convert(msgspec.json.decode(content, type=dict[str, Any])), type=kind)
    except FileNotFoundError as error:
        raise WorkspaceError(missing) from error
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be read ({error.strerror or error}); check the file and your permissions") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WorkspaceError(f"{path} is damaged ({error}); {remedy}") from error
