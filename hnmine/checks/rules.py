"""The rules: a finding for each thing that would fail or mislead a trainer.

`of_rows` covers single rows, `of_types` the types of fields and `type`, `of_negatives` the number of negatives and their
duplicates, and `of_lines` what needs several rows, with the first places read again for their texts.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.checks.field_types import FIELDS
from hnmine.checks.kinds import EXAMPLES, KINDS, Example, Finding, finding
from hnmine.checks.reader import RawReader
from hnmine.checks.survey import Repeats, Survey
from hnmine.core.text import counted, shortened
from hnmine.data.columns import Columns
from hnmine.data.rows import Row

__all__ = ["GROUP", "of_lines", "of_negatives", "of_rows", "of_types"]

# FlagEmbedding's default train_group_size: a positive and seven negatives.
GROUP = 8
# A duplicate is a fault if it is in a training group twice in at least this fraction of the steps.
_STEPS = 0.01


def _have(count: int, rows: int) -> str:
    """Return "1 row of 12 has", "3 of 12 rows have"."""
    return f"{count:,} of {counted(rows, 'row')} {'has' if count == 1 else 'have'}"


def of_rows(survey: Survey) -> list[Finding]:
    """Return the findings on single rows: prompts, positives, duplicate rows."""
    tallies, found, rows = survey.tallies, list[Finding](), len(survey.lines)
    missing = tallies.rows["missing-prompt"]
    if survey.prompts and missing:
        which = "`prompt` is null on every row" if missing == rows else f"{_have(missing, rows)} no `prompt`, but others have"
        found.append(
            tallies.finding("missing-prompt", f'{which}: FlagEmbedding writes "None" before {"each" if missing > 1 else "its"} query')
        )
    elif not survey.prompts:
        message = (
            'no row has a `prompt`: with --same_dataset_within_batch FlagEmbedding writes "None" before each query unless you set '
            "--query_instruction_for_retrieval"
        )
        found.append(finding("no-prompt", message, rows))
    messages: dict[str, Callable[[int, int], str]] = {
        "positive-among-negatives": lambda count, things: (
            f"{_have(count, rows)} {counted(things, 'negative')} that {'is' if things == 1 else 'are'} a positive of the same row: "
            "the two contradict each other"
        ),
        "query-among-negatives": lambda count, _: (
            f"{_have(count, rows)} the query itself among the negatives: the text is pushed away from itself"
        ),
        "query-among-positives": lambda count, _: f"{_have(count, rows)} the query itself among the positives",
        "repeated-positive": lambda count, things: (
            f"{_have(count, rows)} {counted(things, 'positive')} that {'repeats' if things == 1 else 'repeat'} another: "
            "repeated positives are drawn more often"
        ),
        "several-positives": lambda count, _: (
            f"{_have(count, rows)} several positives: ms-swift trains on the first of each row and ignores the others"
        ),
        "repeated-row": lambda count, _: f"{counted(count, 'row')} of {rows:,} {'repeats' if count == 1 else 'repeat'} another",
    }
    found += [
        tallies.finding(kind, message(tallies.rows[kind], tallies.things[kind])) for kind, message in messages.items() if tallies.rows[kind]
    ]
    again = rows - survey.n_queries - tallies.rows["repeated-row"]
    if again > 0:
        found.append(finding("same-query", f"{counted(again, 'row')} {'has' if again == 1 else 'have'} the query of another row", again))
    return found


def of_types(survey: Survey) -> list[Finding]:
    """Return the findings on the types of fields, and on `type`."""
    found: list[Finding] = []
    for fault in survey.schema.faults():
        what = " and ".join(f"{kind} on {counted(count, 'row')}" for kind, count in fault.kinds)
        examples = tuple(Example(line, shortened(text)) for line, text in fault.examples)
        repair = "scores" if fault.name in FIELDS else KINDS[fault.kind].repair
        if fault.kind == "mixed-types":
            then = (
                "datasets stops loading where it changes" if fault.late else "datasets loads it as raw JSON, older versions refuse the file"
            )
            message = f"`{shortened(fault.path, 60)}` is {what}: {then}, and it cannot be joined with files with one type"
        elif fault.kind == "late-field":
            message = (
                f"`{shortened(fault.path, 60)}` first occurs on line {fault.examples[0][0]:,}, after the 10 MiB from which datasets "
                "infers the fields: loading stops there"
            )
        else:
            message = (
                f"`{shortened(fault.path, 60)}` has whole numbers in the first 10 MiB, from which datasets infers its type, and "
                f"fractions from line {fault.examples[0][0]:,} on: loading stops there"
            )
        found.append(finding(fault.kind, message, fault.count, examples, repair=repair))
    types = survey.types
    if len(types) > 1:
        usual = max(types, key=lambda each: types[each])
        shown = ", ".join(f"{shortened(kind, 40)} ({count:,})" for kind, count in types.most_common(4))
        places = sorted((line, kind) for kind, lines in survey.type_lines.items() if kind != usual for line in lines)[:EXAMPLES]
        message = (
            f"`type` differs within the file: {shown}: FlagEmbedding stops with --same_dataset_within_batch (AssertionError), because it "
            "uses the first row's for all"
        )
        examples = tuple(Example(line, shortened(kind)) for line, kind in places)
        found.append(finding("type-not-constant", message, len(survey.lines) - types[usual], examples))
    return found


def of_negatives(survey: Survey, wanted: int, said: int | None) -> list[Finding]:
    """Return the findings on the number of negatives and on duplicates among them."""
    tallies, found, rows = survey.tallies, list[Finding](), len(survey.lines)
    if empty := tallies.rows["empty-negatives"]:
        if empty == rows:
            message = "no row has negatives: FlagEmbedding stops at the first one"
            none = tallies.finding("empty-negatives", message, remedy="mine them first: python -m hnmine mine", repair=None)
            found.append(msgspec.structs.replace(none, trainers=("flagembedding",)))  # pairs train sentence-transformers
        else:
            message = (
                f"{_have(empty, rows)} no negatives: FlagEmbedding stops there (ZeroDivisionError; AssertionError where `neg` is missing), "
                "n-tuples leave such rows out"
            )
            found.append(tallies.finding("empty-negatives", message))
    counts = np.frombuffer(survey.negative_counts, dtype=np.dtype("L"))
    some = counts[counts > 0]
    if said is None and len(some) and wanted < GROUP - 1:
        message = (
            f"rows usually have {counted(wanted, 'negative')}, and FlagEmbedding's default group needs {GROUP - 1}: set "
            f"--train_group_size {wanted + 1}, or it repeats them"
        )
        found.append(finding("few-negatives", message, int((some <= wanted).sum())))
    if len(some) and some.min() != some.max():
        message = f"the rows have {some.min():,} to {some.max():,} negatives: n-tuples use {some.min():,}, or leave rows out"
        found.append(finding("uneven-negatives", message, int((some < some.max()).sum())))
    for kind, group in zip(("repeated-negative", "rare-repeats"), _parted(survey, wanted), strict=True):
        if group:
            surplus = sum(each.surplus for each in group)
            repeat = "repeats" if surplus == 1 else "repeat"
            message = f"{_have(len(group), rows)} {counted(surplus, 'negative')} that {repeat} another of the row"
            if kind == "rare-repeats":
                message += ", among so many that a group rarely has both"
            examples = tuple(Example(each.line, each.text) for each in group[:EXAMPLES])
            found.append(finding(kind, message, len(group), examples))
    return found


def _parted(survey: Survey, wanted: int) -> tuple[list[Repeats], list[Repeats]]:
    """Split the rows with duplicates by whether a group has two equal negatives in at least 1% of the steps."""
    often: list[Repeats] = []
    seldom: list[Repeats] = []
    for each in survey.repeats:
        drawn = min(wanted, each.negatives)
        probability = each.pairs * drawn * (drawn - 1) / (each.negatives * (each.negatives - 1))
        (often if probability >= _STEPS or wanted >= each.negatives else seldom).append(each)
    return often, seldom


def of_lines(survey: Survey, wanted: int, path: str | os.PathLike[str], columns: Columns | None) -> list[Finding]:
    """Return the findings whose texts must be read again: short rows, and positives of other rows of the same query."""
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
            f"{_have(len(first), len(counts))} {counted(things, 'negative')} that are positives of another row with the same query: "
            "the two contradict each other"
        )
        examples = tuple(
            Example(int(lines[row]), shortened(texts[int(lines[row])].neg[place]) if int(lines[row]) in texts else "")
            for row, place in shown.items()
        )
        found.append(finding("positive-of-another-row", message, len(first), examples))
    return found


def _other_positives(survey: Survey, counts: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return rows and places (in `neg`) of negatives that are positives of another row with the same query, but not of their row."""
    queries = np.unique(np.frombuffer(survey.queries, np.uint64), return_inverse=True)[1].astype(np.uint64)
    several = np.bincount(queries.astype(np.int64))[queries.astype(np.int64)] > 1
    owners = np.repeat(np.arange(len(counts)), np.frombuffer(survey.positive_counts, dtype=np.dtype("L")).astype(np.int64))
    holders = np.repeat(np.arange(len(counts)), counts)
    positive, negative = several[owners], several[holders]
    owners, holders = owners[positive], holders[negative]
    positives = np.frombuffer(survey.positives, np.uint64)[positive]
    negatives = np.frombuffer(survey.negatives, np.uint64)[negative]

    def mixed(groups: npt.NDArray[np.uint64], texts: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        # One hash of two: odd factors lose no bit, and a collision of 64-bit hashes needs billions of passages.
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
    for row in RawReader(path, columns).rows():
        if row.line in lines:
            found[row.line] = row
            if len(found) == len(lines):
                break
    return found
