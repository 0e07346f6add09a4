"""Data in memory as a file: dicts, data frames, tables of Arrow, a `datasets.Dataset` or `DatasetDict`, and lists of passages.

Rows are written to a temporary JSON lines file and read from there: the same checks, repairs and column names apply, and a row is named by
its number from 1. This costs 5 µs a row.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hnmine.core.errors import InputError, SettingsError
from hnmine.core.files import write_atomic
from hnmine.data.columns import Columns
from hnmine.data.folders import Paths
from hnmine.data.texts import TextWriter

__all__ = ["are_paths", "is_dict_of_tables", "path_of", "split_of_tables", "texts_of"]

_PATH = (str, os.PathLike)
# Attributes of tables: pandas, polars, Arrow and `datasets`.
_TABLE = ("iterrows", "to_dicts", "to_pylist", "column_names")


def are_paths(given: Any, *, is_pool: bool = False) -> bool:
    """Return whether an input is a path, or a list of paths. Of a pool, a list of str holds passages unless all are files."""
    if isinstance(given, _PATH):
        return True
    if not isinstance(given, list | tuple) or not given or not all(isinstance(each, _PATH) for each in given):
        return False
    return not is_pool or all(isinstance(each, os.PathLike) or _is_file(each) for each in given)


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a name
        return False


def is_dict_of_tables(given: Any) -> bool:
    return isinstance(given, Mapping) and bool(given) and all(any(hasattr(each, name) for name in _TABLE) for each in given.values())


def split_of_tables(given: Mapping[str, Any], columns: Columns | None) -> Any:
    """Return one split of a `DatasetDict`.

    Raises:
        InputError: there is no such split, or none is named like one for training.
    """
    name = columns.split if columns is not None and columns.split is not None else next(iter(given)) if len(given) == 1 else "train"
    if name not in given:
        raise InputError(f"the data set has the splits {', '.join(map(str, given))}; choose one: columns=['split={next(iter(given))}']")
    return given[name]


def path_of(given: Any, temporary: Path) -> Paths:
    """Return a path, or several, as they are; write rows in memory to `temporary`, and return that."""
    if are_paths(given):
        return given  # type: ignore[no-any-return]
    write_atomic(temporary, _lines(given, temporary.name))
    return temporary


def texts_of(pool: Any) -> Sequence[str] | None:
    """Return the passages of a pool that is a list of str, checked; None for a table."""
    if isinstance(pool, Mapping) or not isinstance(pool, Iterable):
        raise SettingsError(f"candidate_pool is {pool!r}; give a path, a list of strings, a table, or None")
    if any(hasattr(pool, name) for name in _TABLE) or (isinstance(pool, Sequence) and pool and isinstance(pool[0], Mapping)):
        return None
    texts = TextWriter()
    for index, text in enumerate(pool):
        texts.append(_pool_text(index, text))
    return texts.texts()


def _lines(given: Any, name: str) -> Iterator[bytes]:
    """Yield the rows of an object in memory as JSON lines. In a frame, an empty cell is a field that the row lacks."""
    frame = any(hasattr(given, attribute) for attribute in _TABLE)
    classes = {name: each.names for name, each in (getattr(given, "features", None) or {}).items() if hasattr(each, "int2str")}
    if hasattr(given, "iterrows"):
        given = given.to_dict("records")
    elif hasattr(given, "to_dicts"):
        given = given.to_dicts()
    elif hasattr(given, "to_pylist"):
        given = given.to_pylist()
    if isinstance(given, Mapping) or not isinstance(given, Iterable):
        hint = f"; it has the parts {', '.join(map(str, given))}: give one of them" if isinstance(given, Mapping) else ""
        raise SettingsError(f"the {name} are a {type(given).__name__}{hint or '; give a path, a list of dicts, or a table'}")
    for number, row in enumerate(given, start=1):
        if not isinstance(row, Mapping):
            raise InputError(f"{name}:{number} is a {type(row).__name__}; give a dict such as {{'query': ..., 'pos': [...]}}")
        fields = {str(key): value for key, value in row.items() if not (frame and _empty(value))}
        for name, names in classes.items():  # a ClassLabel of `datasets`
            if isinstance(number_of := fields.get(name), int) and 0 <= number_of < len(names):
                fields[name] = names[number_of]
        try:
            yield json.dumps(fields, ensure_ascii=False, default=_plain).encode("utf-8", "surrogatepass") + b"\n"
        except (TypeError, ValueError) as error:
            raise InputError(f"{name}:{number} cannot be written as JSON ({error}); use text, numbers, lists and dicts") from error


def _empty(value: Any) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)


def _plain(value: Any) -> Any:
    """Return a value of NumPy or Arrow as Python has it."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} is not JSON")


def _pool_text(index: int, text: object) -> str:
    """Check one passage of a pool given as a list; NumPy's own strings become plain ones."""
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"candidate_pool[{index}] is {text!r}; every passage must be a string that is not blank")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"candidate_pool[{index}] holds half a surrogate pair and cannot be written as UTF-8; correct the text") from error
    return str(text)
