"""What one reading of a file comes to: a finding for each thing that a trainer would trip over, with a sentence that says why.

Rows are judged by what they say (`of_rows`), by the type and the fields that all of them share (`of_types`), by the number and the repeats
of their negatives (`of_negatives`), and by what only shows across rows (`of_lines`), for which the first places are read again.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from hnmine.checks.kinds import KINDS
from hnmine.checks.report import EXAMPLES, Example, Finding, counted, finding, shortened
from hnmine.checks.survey import RawReader, Repeats, Survey
from hnmine.data.columns import Columns
from hnmine.data.problems import REPAIRS
from hnmine.data.rows import Row, training_rows

__all__ = ["GROUP", "READABLE", "of_lines", "of_negatives", "of_rows", "of_types"]

# FlagEmbedding's default train_group_size: a positive and seven negatives.
GROUP = 8
# A repeat is a fault if so many steps would meet it twice.
_STEPS = 0.01
# What a row may have and still be read: all that the reader can mend.
READABLE = tuple(kind for kind in REPAIRS if kind != "duplicate-row")


def _have(count: int, rows: int, of: str = "row") -> str:
    """Return "1 row of 12 has", "3 of 12 rows have"."""
    return f"{count:,} of {counted(rows, of)} {'has' if count == 1 else 'have'}"


def of_rows(survey: Survey, rows: int, queries: int) -> list[Finding]:
    """What single rows say: prompts, positives, repeats of whole rows."""
    tallies, found = survey.tallies, list[Finding]()
    missing = tallies.rows["missing-prompt"]
    if survey.prompts and missing:
        which = "`prompt` is null on every row" if missing == rows else f"{_have(missing, rows)} no `prompt`, though others do"
        found.append(
            tallies.finding("missing-prompt", f'{which}: FlagEmbedding writes "None" before {"each" if missing > 1 else "its"} query')
        )
    elif not survey.prompts:
        message = (
            'no row has a `prompt`: with --same_dataset_within_batch FlagEmbedding writes "None" before each query unless it is given '
            "--query_instruction_for_retrieval"
        )
        found.append(finding("no-prompt", message, rows))
    told: dict[str, Callable[[int, int], str]] = {
        "positive-among-negatives": lambda count, things: (
            f"{_have(count, rows)} {counted(things, 'negative')} that {'is' if things == 1 else 'are'} a positive of the same row: "
            "the trainer is told both"
        ),
        "query-among-negatives": lambda count, _: (
            f"{_have(count, rows)} the query itself among the negatives: the text is pushed away from itself"
        ),
        "query-among-positives": lambda count, _: f"{_have(count, rows)} the query itself among the positives",
        "repeated-positive": lambda count, things: (
            f"{_have(count, rows)} {counted(things, 'positive')} that {'repeats' if things == 1 else 'repeat'} another: drawn more often"
        ),
        "repeated-row": lambda count, _: (
            f"{counted(count, 'row')} of {rows:,} {'repeats' if count == 1 else 'repeat'} another: trained on twice"
        ),
    }
    found += [
        tallies.finding(kind, message(tallies.rows[kind], tallies.things[kind])) for kind, message in told.items() if tallies.rows[kind]
    ]
    again = rows - queries - tallies.rows["repeated-row"]
    if again > 0:
        found.append(finding("same-query", f"{counted(again, 'row')} {'asks' if again == 1 else 'ask'} what another row asks", again))
    return found


def of_types(survey: Survey, rows: int) -> list[Finding]:
    """What only all rows together say: one type for each field, one `type`."""
    found: list[Finding] = []
    for fault in survey.schema.faults():
        what = " and ".join(f"{kind} on {counted(count, 'row')}" for kind, count in fault.kinds)
        examples = tuple(Example(line, shortened(text)) for line, text in fault.examples)
        top = fault.path.partition(".")[0].partition("[")[0]
        repair = "scores" if top in ("pos_scores", "neg_scores") else KINDS[fault.kind].repair
        if fault.kind == "mixed-types":
            then = (
                "datasets stops loading where it changes"
                if fault.late
                else "datasets reads it as bare JSON, older versions refuse the file"
            )
            message = f"`{shortened(fault.path, 60)}` is {what}: {then}, and it cannot be joined with files where it has one type"
        elif fault.kind == "late-field":
            message = (
                f"`{shortened(fault.path, 60)}` begins on line {fault.examples[0][0]:,}, behind the first 10 MiB, by which datasets "
                "decides on the fields: loading stops there"
            )
        else:
            message = (
                f"`{shortened(fault.path, 60)}` holds whole numbers in the first 10 MiB, by which datasets decides on its type, and "
                f"fractions from line {fault.examples[0][0]:,} on: loading stops there"
            )
        found.append(finding(fault.kind, message, fault.count, examples, repair=repair))
    types = survey.types
    if len(types) > 1:
        usual = max(types, key=lambda each: types[each])
        shown = ", ".join(f"{shortened(kind, 40)} ({count:,})" for kind, count in types.most_common(4))
        places = sorted((line, kind) for kind, lines in survey.type_lines.items() if kind != usual for line in lines)[:EXAMPLES]
        message = (
            f"`type` differs within the file: {shown}: with --same_dataset_within_batch FlagEmbedding stops (AssertionError), because it "
            "takes the first row's for all"
        )
        examples = tuple(Example(line, shortened(kind)) for line, kind in places)
        found.append(finding("type-not-constant", message, rows - types[usual], examples))
    return found


def of_negatives(survey: Survey, rows: int, wanted: int, said: int | None) -> list[Finding]:
    """How many negatives the rows have, and how often the same one."""
    tallies, found = survey.tallies, list[Finding]()
    if empty := tallies.rows["empty-negatives"]:
        if empty == rows:
            message = "no row has negatives: FlagEmbedding stops at the first one"
            found.append(tallies.finding("empty-negatives", message, remedy="mine them first: python -m hnmine mine", repair=None))
        else:
            message = (
                f"{_have(empty, rows)} no negatives: FlagEmbedding stops there (ZeroDivisionError; AssertionError where `neg` is missing)"
            )
            found.append(tallies.finding("empty-negatives", message))
    counts = np.frombuffer(survey.negative_counts, dtype=np.dtype("L"))
    some = counts[counts > 0]
    if said is None and len(some) and wanted < GROUP - 1:
        message = (
            f"rows usually have {counted(wanted, 'negative')}, and a group of FlagEmbedding's default size takes {GROUP - 1}: give "
            f"--train_group_size {wanted + 1}, or it repeats them"
        )
        found.append(finding("few-negatives", message, int((some <= wanted).sum())))
    if len(some) and some.min() != some.max():
        message = f"the rows have {some.min():,} to {some.max():,} negatives: n-tuples take {some.min():,}, or leave rows out"
        found.append(finding("uneven-negatives", message, int((some < some.max()).sum())))
    for kind, group in zip(("repeated-negative", "rare-repeats"), _parted(survey, wanted), strict=True):
        if group:
            surplus = sum(each.surplus for each in group)
            repeat = "repeats" if surplus == 1 else "repeat"
            message = f"{_have(len(group), rows)} {counted(surplus, 'negative')} that {repeat} another of the row"
            if kind == "rare-repeats":
                message += ", among so many that a group hardly ever holds both"
            examples = tuple(Example(each.line, each.text) for each in group[:EXAMPLES])
            found.append(finding(kind, message, len(group), examples))
    return found


def _parted(survey: Survey, wanted: int) -> tuple[list[Repeats], list[Repeats]]:
    """Part the rows with repeats by whether a group would hold two of the same in more than one step of a hundred."""
    often: list[Repeats] = []
    seldom: list[Repeats] = []
    for each in survey.repeats:
        drawn = min(wanted, each.negatives)
        chance = each.pairs * drawn * (drawn - 1) / (each.negatives * (each.negatives - 1))
        (often if chance >= _STEPS or wanted >= each.negatives else seldom).append(each)
    return often, seldom


def of_lines(survey: Survey, wanted: int, path: str | os.PathLike[str], columns: Columns | None) -> list[Finding]:
    """What shows by the hashes alone, so that the texts have to be fetched: short rows, and positives of a query's other rows."""
    counts = np.frombuffer(survey.negative_counts, dtype=np.dtype("L")).astype(np.int64)
    need = np.where(np.frombuffer(survey.single, np.uint8) > 0, 1, wanted)
    short = np.flatnonzero((counts > 0) & (counts < need))
    across = _other_positives(survey, counts)
    first = np.unique(across[0], return_index=True)[1] if len(across[0]) else np.zeros(0, np.int64)
    lines = np.frombuffer(survey.lines, np.uint64)
    shown = {int(row): int(across[1][place]) for row, place in zip(across[0][first][:EXAMPLES], first[:EXAMPLES], strict=True)}
    texts = _fetched(path, columns, {int(lines[row]) for row in (*short[:EXAMPLES].tolist(), *shown)})
    found: list[Finding] = []
    if len(short):
        message = (
            f"{_have(len(short), len(counts))} fewer than {counted(wanted, 'negative')} (the fewest: {counts[short].min():,}): "
            "FlagEmbedding repeats those they have, n-tuples leave such rows out"
        )
        examples = tuple(
            Example(line, shortened(f"{counts[row]:,}: {texts[line].query if line in texts else ''}"))
            for row, line in ((row, int(lines[row])) for row in short[:EXAMPLES].tolist())
        )
        found.append(finding("short-negatives", message, len(short), examples))
    if len(first):
        things = len(across[0])
        message = (
            f"{_have(len(first), len(counts))} {counted(things, 'negative')} that another row with the same query calls positive: "
            "the trainer is told both"
        )
        examples = tuple(
            Example(int(lines[row]), shortened(texts[int(lines[row])].neg[place]) if int(lines[row]) in texts else "")
            for row, place in shown.items()
        )
        found.append(finding("positive-of-another-row", message, len(first), examples))
    return found


def _other_positives(survey: Survey, counts: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return rows and places (within `neg`) of negatives that another row with the same query, and not the row itself, calls positive."""
    queries = np.unique(np.frombuffer(survey.queries, np.uint64), return_inverse=True)[1].astype(np.uint64)
    several = np.bincount(queries.astype(np.int64))[queries.astype(np.int64)] > 1
    owners = np.repeat(np.arange(len(counts)), np.frombuffer(survey.positive_counts, dtype=np.dtype("L")).astype(np.int64))
    holders = np.repeat(np.arange(len(counts)), counts)
    positive, negative = several[owners], several[holders]
    owners, holders = owners[positive], holders[negative]
    positives = np.frombuffer(survey.positives, np.uint64)[positive]
    negatives = np.frombuffer(survey.negatives, np.uint64)[negative]

    def mixed(groups: npt.NDArray[np.uint64], texts: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        # One number for two: odd factors lose no bit, and a chance meeting of 64-bit hashes takes billions of passages.
        return (texts * np.uint64(0x9E3779B97F4A7C15)) ^ ((groups + np.uint64(1)) * np.uint64(0xD1B54A32D192ED03))

    hit = np.isin(mixed(queries[holders], negatives), mixed(queries[owners], positives))
    hit &= ~np.isin(mixed(holders.astype(np.uint64), negatives), mixed(owners.astype(np.uint64), positives))
    starts = np.cumsum(counts) - counts
    places = np.flatnonzero(negative)[hit]
    rows = holders[hit]
    return rows, places - starts[rows]


def _fetched(path: str | os.PathLike[str], columns: Columns | None, lines: set[int]) -> dict[int, Row]:
    """Read the rows of these lines again."""
    found: dict[int, Row] = {}
    if not lines:
        return found
    for row in training_rows(RawReader(path, READABLE, columns)):
        if row.line in lines:
            found[row.line] = row
            if len(found) == len(lines):
                break
    return found
