"""The problems of an input file: each with its place, remedy and resolution."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from hnmine.core.errors import InputError, SettingsError
from hnmine.core.text import one_line
from hnmine.data.columns import Columns

__all__ = [
    "PROBLEM_KINDS",
    "REPAIRS",
    "InputFile",
    "Problem",
    "Resolution",
    "Severity",
    "Unit",
    "helpful_repairs",
    "repairs_from",
    "require_decided",
]

# kind -> label on screens.
PROBLEM_KINDS = {
    "not-utf8": "not UTF-8",
    "not-json": "not JSON",
    "not-an-object": "not a JSON object",
    "line-too-long": "line too long",
    "duplicate-key": "duplicate field",
    "bad-record": "malformed record",
    "missing-field": "field missing",
    "wrong-type": "wrong type",
    "empty-text": "empty text",
    "no-positive": "no positive",
    "no-query": "no query",
    "string-instead-of-list": "string instead of a list",
    "null-instead-of-list": "null instead of a list",
    "blank-passage": "blank passage",
    "nan": "NaN or infinity",
    "duplicate-row": "repeated row",
    "duplicate-id": "duplicate id",
    "unknown-id": "unknown id",
    "improbable-data": "improbable data",
    "record-left-out": "record left out",
    "reading-note": "note on reading",
    "field-renamed": "field renamed",
    "field-left-out": "field left out",
    "byte-order-mark": "byte order mark",
    "crlf": "Windows line ends",
    "blank-line": "blank lines",
}

# The kinds that can be repaired without guessing, and how.
REPAIRS = {
    "string-instead-of-list": "wrap it in a list",
    "null-instead-of-list": "read it as an empty list",
    "blank-passage": "remove the blank passages",
    "nan": "remove the fields that contain it",
    "duplicate-row": "keep the first of them",
    "duplicate-id": "keep the first of them",
    "unknown-id": "leave out the id",
    "improbable-data": "use the data as it is",
}

LONGEST = 600  # characters of a message, and of a remedy

T = TypeVar("T")
Severity = Literal["error", "notice"]
Resolution = Literal["open", "repaired", "skipped", "noted"]
Unit = Literal["line", "element"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An error or notice about one place of an input file.

    Attributes:
        file: name of the file as given.
        line: line number from 1; for Parquet, Arrow and Excel the row number.
        path: JSON path in that line, such as `$.pos[1]`.
        kind: a key of PROBLEM_KINDS.
        message: what is wrong.
        remedy: how to fix it.
        severity: a row with an "error" is used only if repaired; a "notice" needs no action.
        resolution: "open" until the row is repaired or skipped; "noted" for notices.
        unit: what `line` counts; "element" for a JSON array with several elements on one line.
    """

    file: str
    line: int
    path: str
    kind: str
    message: str
    remedy: str
    severity: Severity = "error"
    resolution: Resolution = "open"
    unit: Unit = "line"

    def __post_init__(self) -> None:
        message, remedy = self.message, self.remedy
        if len(message) + len(remedy) > LONGEST or not message.isprintable() or not remedy.isprintable():
            object.__setattr__(self, "message", one_line(message, LONGEST))
            object.__setattr__(self, "remedy", one_line(remedy, LONGEST))

    def __str__(self) -> str:
        place = self.line if self.unit == "line" else f"{self.unit} {self.line}"
        return f"{one_line(self.file, LONGEST)}:{place} {one_line(self.path, 200)}  {self.message}  -> {self.remedy}"


@dataclass(slots=True, eq=False)
class InputFile(Generic[T]):
    """A file as read: its usable items, and all problems.

    `items` are `Row`s (training file) or passages as str (pool); `size` (bytes) and `sha256` (hexadecimal) are those of the file.
    `read_as` is a sentence with the detected format and the columns read; `plain` is True for JSON lines with the default
    field names. `names` are all columns or fields of the file, `columns` those that were read. `ids` says whether queries and
    passages are ids; `titled` has the rows' passages with a title of their own (text -> title and text); `titles` (of the first
    passages, "" for none) and `by_id` (id -> text) are those of a pool. `pool` has the passages of a training file that holds
    its own; `splits` are those of a data set with several, the one that was read first. `encoding` is "" for UTF-8.
    """

    path: str
    items: Sequence[T]
    problems: list[Problem] = field(default_factory=list)
    lines: int = 0
    size: int = 0
    sha256: str = ""
    read_as: str = ""
    plain: bool = True
    names: tuple[str, ...] = ()
    columns: Columns = field(default_factory=Columns)
    ids: tuple[bool, bool] = (False, False)
    titled: dict[str, str] = field(default_factory=dict)
    titles: Sequence[str] | None = None
    by_id: dict[str, str] = field(default_factory=dict)
    pool: list[str] | None = None
    splits: tuple[str, ...] = ()
    encoding: str = ""

    @property
    def open_problems(self) -> list[Problem]:
        """The problems that are neither repaired nor skipped."""
        return [problem for problem in self.problems if problem.resolution == "open"]


def helpful_repairs(problems: Iterable[Problem]) -> dict[str, int]:
    """Return the kinds of REPAIRS that together make rows usable, or already do, each with the number of problems it repairs.

    A repair does not help a row that has another error without repair. A repeated row (a notice) is usable, and its repair leaves it out.
    """
    rows: dict[tuple[str, int, str], list[str]] = {}
    for problem in problems:
        rows.setdefault((problem.file, problem.line, problem.severity), []).append(problem.kind)
    counts = Counter(kind for kinds in rows.values() if REPAIRS.keys() >= set(kinds) for kind in kinds)
    return {kind: counts[kind] for kind in REPAIRS if counts[kind]}


def require_decided(*files: InputFile[Any]) -> None:
    """Raise InputError with all open problems of these files if there are any."""
    if not any(file.open_problems for file in files):
        return
    found = [problem for file in files for problem in file.open_problems]
    choices = ["correct the file"]
    if any(problem.kind != "improbable-data" for problem in found):  # a doubt about all rows is not solved by leaving some out
        choices.append("set skip_bad_rows to leave these rows out")
    if helpful_repairs(found):
        # One setting holds for all files, so the repairs that it already makes are named too.
        repaired = [problem for file in files for problem in file.problems if problem.resolution == "repaired"]
        choices.insert(1, f"set repair to {' '.join(helpful_repairs([*repaired, *found]))}")
    faulty = [file for file in files if file.open_problems]
    refusals = [_refusal(file.path, file.open_problems, _CHARACTERS // len(faulty)) for file in faulty]
    raise InputError("\n".join([*refusals, "Choose: " + ", or ".join(choices) + "."]), found)


# Problems listed in a message, and their characters; the others are counted.
_SHOWN, _CHARACTERS = 50, 2_800


def _refusal(path: str, problems: list[Problem], characters: int) -> str:
    bad = len({problem.line for problem in problems})
    shown: list[str] = []
    for problem in problems[:_SHOWN]:
        shown.append(f"  {problem}")
        if sum(map(len, shown)) > characters and len(shown) > 1:
            shown.pop()
            break
    lines = [f"{path}: {bad:,} bad row{'s' if bad != 1 else ''}", *shown]
    if len(problems) > len(shown):
        rest = Counter(problem.kind for problem in problems[len(shown) :])
        lines.append("  ... and " + ", ".join(f"{count:,} x {PROBLEM_KINDS[kind]}" for kind, count in rest.items()))
    return "\n".join(lines)


def repairs_from(kinds: Iterable[str], known: Collection[str] = REPAIRS.keys()) -> frozenset[str]:
    """Return the names of repairs as a set; "all" is every one of `known` that changes no meaning, and a single name may be a plain str.

    Raises:
        SettingsError: a name is unknown.
    """
    chosen = {kinds} if isinstance(kinds, str) else set(kinds)
    if "all" in chosen:
        chosen = (chosen - {"all"}) | (set(known) - {"improbable-data"})
    if unknown := sorted(chosen.difference(known)):
        raise SettingsError(f"unknown repair {unknown[0]!r}; choose from: {', '.join(known)}, all")
    return frozenset(chosen)
