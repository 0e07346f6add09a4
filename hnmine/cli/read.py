"""The command `python -m hnmine read`: print how files are understood, without encoding anything."""

from __future__ import annotations

import argparse
from typing import Any

import msgspec

from hnmine.cli.flags import columns_of, paths_of
from hnmine.core.text import counted, one_line, shortened
from hnmine.data.dataset import Files, read_files
from hnmine.data.problems import PROBLEM_KINDS
from hnmine.data.report import described

__all__ = ["read_report"]

_WIDTH = 100
# Rows shown as they were understood, and problems listed.
_ROWS, _PROBLEMS = 2, 20


def read_report(arguments: argparse.Namespace) -> tuple[str, bool]:
    """Return the text to print, and whether nothing is open.

    Raises:
        InputError: a file cannot be read; as QuestionError, how to read it must be said.
    """
    files = read_files(
        paths_of(arguments.file),
        arguments.pool and paths_of(arguments.pool),
        columns=columns_of(arguments),
        repair=arguments.repair or (),
        skip_bad_rows=arguments.skip_bad_rows,
    )
    found = described(files.training, files.pool)
    if arguments.json:
        text = msgspec.json.format(msgspec.json.encode(found)).decode()
    else:
        text = "\n".join(one_line(line, 1_000) for line in [*_counts(files, found), *_first_rows(files), *_problems(files)])
    return text, bool(files.training.items) and not any(problem.resolution == "open" for problem in files.problems)


def _counts(files: Files, found: dict[str, Any]) -> list[str]:
    training, pool = found["input_file"], found.get("candidate_pool")
    lines = [
        f"training   {files.training.path}",
        *_reading(training),
        f"rows       {counted(training['rows'], 'row')}, {counted(training['queries'], 'query', 'queries')}, "
        f"{counted(training['positives'], 'positive')}, {counted(training['old_negatives'], 'old negative')}",
    ]
    if pool is None:
        return lines
    if files.pool is not None and not files.one:
        lines += [f"pool       {files.pool.path}", *_reading(pool)]
    return [*lines, f"passages   {counted(pool['passages'], 'passage')} in the pool"]


def _reading(file: dict[str, Any]) -> list[str]:
    return [f"read as    {file['read_as']}", f"encoding   {file['encoding']}"]


def _first_rows(files: Files) -> list[str]:
    lines = []
    for row in files.training.items[:_ROWS]:
        lines += ["", f"line {row.line:<6,}query  {shortened(row.query, _WIDTH)}"]
        lines += [f"{'':11}pos    {shortened(text, _WIDTH)}" for text in row.pos[:3]]
        lines += [f"{'':11}neg    {shortened(text, _WIDTH)}" for text in row.neg[:3]]
        if more := [name for name in row.fields if name not in ("query", "pos", "neg")]:
            lines.append(f"{'':11}kept   {', '.join(more)}")
    return lines


def _problems(files: Files) -> list[str]:
    found = sorted(files.problems, key=lambda each: each.severity != "error")
    lines = [
        f"{PROBLEM_KINDS[each.kind]}: {each}" + (f" ({each.resolution})" if each.severity == "error" else "") for each in found[:_PROBLEMS]
    ]
    more = [f"... and {len(found) - _PROBLEMS:,} more"] if len(found) > _PROBLEMS else []
    if not lines and not files.training.items:
        lines = [f"{files.training.path} has no training row; write one JSON object on each line, with query and pos"]
    return ["", *lines, *more] if lines else []
