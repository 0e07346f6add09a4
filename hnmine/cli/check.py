"""The command `python -m hnmine check`: report the problems of a training file, and repair them on request."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from hnmine.checks.check import check
from hnmine.checks.kinds import OUTPUT_REPAIRS
from hnmine.checks.repair import repaired
from hnmine.core.errors import SettingsError
from hnmine.core.files import write_atomic
from hnmine.core.progress import OnProgress, ShouldStop
from hnmine.core.text import counted, one_line
from hnmine.data.columns import columns_from
from hnmine.data.problems import repairs_from
from hnmine.models.cards import ModelSettings, describe
from hnmine.runs.output import check_output

__all__ = ["FAULTY", "check_file"]

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
