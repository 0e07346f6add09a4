"""Files that somebody drops: which one is the training data, which the pool, and whether there is anything in them.

Both are decided before anything is stored. Only the beginning of a file is read, and the whole of it where its beginning has no usable row.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from hnmine.core.errors import ColumnsError, InputError, QuestionError
from hnmine.core.paths import shown
from hnmine.data.columns import Columns
from hnmine.data.folders import Folder, folder_of
from hnmine.data.formats.detect import Role
from hnmine.data.formats.jsonl import Reader
from hnmine.data.formats.unreadable import unreadable_as_input_error
from hnmine.data.problems import helpful_repairs
from hnmine.data.reading import pool_of, training_of
from hnmine.data.several import Reading, Sorted, sorted_files
from hnmine.runs.uploads import Uploaded, inspect_file, opener_of

__all__ = ["divided", "require_content"]

_BEGINNING = 200  # records


def divided(files: Mapping[str, BinaryIO]) -> tuple[str, str] | None:
    """Return the names of the training file and the pool of two files that were dropped together; None for files of one data set.

    Raises:
        InputError: a file cannot be read; as ColumnsError, it is unknown which of the two is which.
    """
    if len(files) != 2:
        return None
    with unreadable_as_input_error(lambda: " and ".join(map(shown, files))):
        return _divided(files)


def _divided(files: Mapping[str, BinaryIO]) -> tuple[str, str] | None:
    try:
        held = _sorted(files)
    except InputError as error:
        pools = [name for name, file in files.items() if _is_pool(name, file)]
        if len(pools) != 1:
            raise error
        return next(name for name in files if name not in pools), pools[0]
    if len(held.rows) == len(held.passages) == 1:
        return held.rows[0].name, held.passages[0].name
    return None


def _folder(files: Mapping[str, BinaryIO]) -> Folder:
    where = " and ".join(files)
    return folder_of(where, Path(where), {name: opener_of(file) for name, file in files.items()})


def _sorted(files: Mapping[str, BinaryIO]) -> Sorted:
    return sorted_files(_folder(files), Reading(Columns(), (), True))


def _is_pool(name: str, file: BinaryIO) -> bool:
    """Return whether a file holds passages and no rows."""
    try:
        return bool(_sorted({name: file}).passages)
    except ColumnsError:
        return False
    except InputError:  # such as plain text
        try:
            inspect_file(file, name, "pool")
        except InputError:
            return False
        return True


def _require_either(file: BinaryIO, name: str) -> None:
    try:
        require_content(file, name)
    except InputError as error:
        try:
            require_content(file, name, "pool")
        except InputError:
            raise error from None


class _Beginning(Reader):
    def lines(self):  # type: ignore[no-untyped-def]
        return islice(super().lines(), _BEGINNING)


def require_content(source: Uploaded, name: str, role: Role = "training") -> None:
    """Refuse a file without a row, or a pool without a passage, that is usable or can be repaired.

    A file with an open question passes, and so do BEIR data sets and archives. Of several files each needs rows or passages.

    Raises:
        InputError: there is none, with the first problems; or the file cannot be read.
    """
    with unreadable_as_input_error(lambda: shown(name)):
        _require_content(source, name, role)


def _require_content(source: Uploaded, name: str, role: Role) -> None:
    if isinstance(source, Mapping):
        if others := _folder(source).left_out:
            raise InputError(f"{others[0]}: cannot be read together with other files; open it alone, or unpack it first")
        for part, file in source.items():
            _require_either(file, part)
        return
    looked = inspect_file(source, name, role)
    if looked.files or looked.source.format == "beir":
        return
    path, opener = (source, None) if isinstance(source, Path) else (Path(name), opener_of(source))
    problems = []
    for kind in (_Beginning, Reader):
        reader = kind(path, role=role, opener=opener, name=name)
        try:
            found = training_of([reader], name) if role == "training" else pool_of([reader], name)
        except QuestionError:
            return
        finally:
            reader.close()
        problems = [problem for problem in found.problems if problem.severity == "error"]
        if found.items or helpful_repairs(problems):
            return
    what = "training row" if role == "training" else "passage"
    lines = [f"{name}: the file has no usable {what}", *(f"line {each.line}, {each.path}: {each.message}" for each in problems[:3])]
    raise InputError("\n".join(lines))
