"""The small JSON files of a workspace: the objects that they describe, and the function that reads them.

Every fault of such a file is a WorkspaceError with its path and the remedy, so that a damaged file affects nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from hnmine.core.errors import WorkspaceError
from hnmine.core.text import visible
from hnmine.runs.manifest import check_types
from hnmine.runs.settings import MineSettings
from hnmine.runs.uploads import FileInfo

__all__ = ["Dataset", "Run", "RunSize", "older_run", "read"]

T = TypeVar("T")


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
    """A finished ranking of a data set: its settings and its manifest."""

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


def older_run(value: dict[str, Any]) -> dict[str, Any]:
    """Convert the settings of a run of version 0.1.0, which had `use_fp16` instead of `precision`.

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
        kind: the type of its content.
        missing: the message when there is no such file.
        remedy: how to continue when it is damaged.
        convert: converts the content of an older version.

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
