"""The commands that look at files and encode nothing: `python -m hnmine read` (how they are understood) and `check` (problems, repairs)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import msgspec

from hnmine.checks.check import check
from hnmine.checks.kinds import OUTPUT_REPAIRS
from hnmine.checks.repair import repaired
from hnmine.cli.flags import columns_of, paths_of
from hnmine.core.errors import SettingsError
from hnmine.core.files import write_atomic
from hnmine.core.progress import OnProgress, ShouldStop
from hnmine.core.text import counted, one_line, shortened
from hnmine.data.columns import columns_from
from hnmine.data.dataset import Files, described, read_files
from hnmine.data.problems import PROBLEM_KINDS, repairs_from
from hnmine.models.cards import ModelSettings, describe
from hnmine.runs.output import check_output

__all__ = ["FAULTY", "check_file", "read_report"]


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


# Exit status if the checked or repaired file has an error.
FAULTY = 2


def check_file(arguments: argparse.Namespace, on_progress: OnProgress | None, should_stop: ShouldStop) -> tuple[str, int]:
    """Check a file, and repair it if repairs are given; return the text to print and the exit status: 0 without errors, else FAULTY.

    After a repair, the report is about the written file.

    Raises:
        HnmineError: the file cannot be read or written, or the flags contradict each other.
    """
    wanted = tuple(arguments.repair or ())
    if wanted and not arguments.output_file:
        raise SettingsError("--repair needs --output_file: the checked file is not changed")
    if arguments.output_file and not wanted:
        raise SettingsError("--output_file needs --repair KIND ... or --repair all")
    chosen = repairs_from(wanted, OUTPUT_REPAIRS)
    columns = columns_from(arguments.columns) if arguments.columns else None
    card = None
    if not arguments.no_lengths:
        card = describe(
            ModelSettings(
                name_or_path=arguments.embedder_name_or_path,
                query_max_length=arguments.embedder_query_max_length,
                passage_max_length=arguments.embedder_passage_max_length,
            )
        )
    path, written = Path(arguments.file), ""
    if wanted:
        output = Path(arguments.output_file)
        check_output("--output_file", arguments.output_file, {"file that is checked": path})
        size = write_atomic(output, repaired(path, chosen, columns=columns))
        path, columns, written = output, None, f"{counted(size, 'byte')} written to {output}\n"
    report = check(
        path,
        model=card,
        trainers=arguments.trainer,
        negative_number=arguments.negative_number,
        columns=columns,
        on_progress=on_progress,
        should_stop=should_stop,
    )
    if arguments.json:
        return msgspec.json.encode(report).decode(), 0 if report.ok else FAULTY
    return "\n".join(one_line(line, 1_000) for line in f"{written}{report}".split("\n")), 0 if report.ok else FAULTY
