"""How files were read, as plain JSON types: one structure for the manifest, `python -m hnmine read` and the screens.

Problems are grouped by kind and resolution, with the first of each, so that a manifest stays small however many rows are bad.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from hnmine.core.text import normalize_text
from hnmine.data.problems import InputFile, Problem
from hnmine.data.rows import Row

__all__ = ["described"]


def described(training: InputFile[Row], pool: InputFile[str] | None) -> dict[str, dict[str, Any]]:
    """Return how the training file, and the pool if there is one, were understood.

    `input_file` and `candidate_pool` each have read_as (a sentence), encoding, columns (as in `Columns`), other_columns, counts, and
    problems. Counts are `rows`, different `queries` (as the corpus counts them), `positives` and `old_negatives` of the training file, `passages` of the pool.
    """
    rows = training.items
    counts = {
        "rows": len(rows),
        "queries": len({normalize_text(row.query) for row in rows}),
        "positives": sum(len(row.pos) for row in rows),
        "old_negatives": sum(len(row.neg) for row in rows),
    }
    found = {"input_file": _file(training, counts)}
    if pool is not None:
        found["candidate_pool"] = _file(pool, {"passages": len(pool.items)})
    return found


def _file(file: InputFile[Any], counts: dict[str, int]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for part, name in msgspec.to_builtins(file.columns).items():
        if part in ("pos", "neg"):  # rows without old negatives have no such field
            name = [each for each in name or () if each in file.names]
        if name and part != "encoding":
            columns[part] = name
    named = [columns.get(part, ()) for part in ("query", "pos", "neg", "label", "text", "id")]
    used = {each for name in named for each in ([name] if isinstance(name, str) else name)}
    return {
        "read_as": file.read_as,
        "encoding": file.encoding or "utf-8",
        "columns": columns,
        "other_columns": [name for name in file.names if name not in used],
        **counts,
        "problems": _grouped(file.problems),
    }


def _grouped(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for each in problems:
        facts = {"kind": each.kind, "severity": each.severity, "resolution": each.resolution, "count": 0}
        first = {"line": each.line, "path": each.path, "message": each.message, "remedy": each.remedy}
        group = groups.setdefault((each.kind, each.resolution), facts | {"first": first})
        group["count"] += 1
    return list(groups.values())
