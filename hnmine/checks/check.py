"""Checks a training file: reads it as trainers do, and reports what would fail or mislead them.

Problems of the file itself (not JSON, a string for a list) come from the reader that mining uses. The file is read once
(`survey`); a second reading fetches the texts of findings across rows. 100,000 rows of 16 passages (800 MB) take 5 s of one
core and 115 MB of memory, 7 s and 300 MB with lengths. The file sets its own norm: where most rows have five negatives, a row
with five is not short. A repeat among many negatives is a fault only if a training group has both in over 1% of the steps.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from hnmine.checks.field_types import FIELDS
from hnmine.checks.kinds import EXAMPLES, KINDS, Example, Finding, Report, Trainer, chosen_trainers, finding
from hnmine.checks.reader import READABLE, top
from hnmine.checks.rules import GROUP, of_lines, of_negatives, of_rows, of_types
from hnmine.checks.survey import Form, Lengths, Survey, surveyed
from hnmine.core.errors import SettingsError
from hnmine.core.progress import OnProgress, ShouldStop
from hnmine.core.text import counted, shortened
from hnmine.data.columns import Columns
from hnmine.data.problems import PROBLEM_KINDS, REPAIRS, Problem
from hnmine.models.cards import ModelCard

__all__ = ["check"]

# Kind of problem -> its effect on a trainer.
_CONSEQUENCES = {
    "not-utf8": "the trainer stops at the row (UnicodeDecodeError)",
    "not-json": "the file cannot be loaded",
    "not-an-object": "the file cannot be loaded",
    "duplicate-key": "the file cannot be loaded",
    "line-too-long": "the line was not read",
    "missing-field": "the trainer stops there",
    "wrong-type": "the trainer stops there, or trains on wrong texts",
    "empty-text": "the trainer learns from an empty query",
    "no-positive": "the trainer stops there",
    "string-instead-of-list": "FlagEmbedding stops (AssertionError) or, with --same_dataset_within_batch, trains on single characters",
    "nan": "it is not valid JSON: some loaders refuse the file, in others the loss becomes NaN",
    "blank-passage": "the trainer learns from an empty text",
}
# What ms-swift does with a row that lacks something.
_DROPPED = dict.fromkeys(("missing-field", "wrong-type", "no-positive"), "ms-swift leaves the row out, or stops with --strict true")
# Form of the rows -> the trainers that read it, and the form in words.
_FORMS: dict[Form, tuple[tuple[Trainer, ...], str]] = {
    "flagembedding": (("flagembedding", "sentence-transformers"), "`query`, `pos` and `neg`"),
    "fields": (("sentence-transformers",), "other field names"),
    "messages": (("ms-swift",), "`messages` and `positive_messages`"),
}
# Trainer -> what it does with rows of another form, and how they get its own.
_OTHERWISE: dict[Trainer, tuple[str, str]] = {
    "flagembedding": (
        "FlagEmbedding needs `query`, `pos` and `neg`, and stops (KeyError)",
        "python -m hnmine mine --output_format flagembedding",
    ),
    "sentence-transformers": (
        "sentence-transformers needs columns of texts, and stops",
        "python -m hnmine mine --output_format st-triplet",
    ),
    "ms-swift": (
        "ms-swift 4 needs `messages` and `positive_messages` to train embeddings, and leaves out every row without them",
        "python -m hnmine mine --output_format ms-swift",
    ),
}
# What `datasets` takes for a pattern of names (or for a chain of addresses) instead of a file.
_PATTERN = re.compile(r"[*?]|\[.+\]|::")


def check(
    path: str | os.PathLike[str],
    *,
    model: ModelCard | None = None,
    trainers: Sequence[str] | None = None,
    negative_number: int | None = None,
    columns: Columns | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> Report:
    """Read a training file and report what would fail or mislead trainers.

    Args:
        path: the file, in any format that mining reads.
        model: its tokenizer and maximum lengths are used; None skips lengths.
        trainers: keys of TRAINERS; None for those that read rows of this form.
        negative_number: negatives per row; None is the most frequent number, at most that of a default group (7).
        columns: the columns to read; a part that is None is found by name.
        on_progress, should_stop: called with the bytes read; called to check for a cancel.

    Raises:
        InputError: the file cannot be read.
        SettingsError: a trainer is unknown, or `negative_number` is below 1.
        Cancelled: `should_stop` returned True.
    """
    chosen = chosen_trainers(trainers)
    if negative_number is not None and negative_number < 1:
        raise SettingsError(f"negative_number is {negative_number}; it must be at least 1")
    name = Path(path).name
    lengths = [Lengths("query", model.query_max_length), Lengths("passage", model.passage_max_length)] if model else []
    survey, file = surveyed(path, columns, lengths, on_progress=on_progress, should_stop=should_stop)
    rows, queries = len(survey.lines), survey.n_queries
    wanted = _wanted(survey, negative_number)
    readers = _FORMS[survey.form][0]
    if trainers is None and file.lines:
        chosen = readers
    findings = [_other_form(survey.form, each, rows) for each in chosen if file.lines and each not in readers]
    findings += _of_problems(file.problems, _CONSEQUENCES if survey.form != "messages" else _CONSEQUENCES | _DROPPED)
    if not file.lines and not findings:
        findings.append(finding("empty-file", "the file has no rows", 0))
    if rows:
        findings += [*of_rows(survey), *of_types(survey), *survey.scores.findings(rows)]
        findings += [*of_negatives(survey, wanted, negative_number), *of_lines(survey, wanted, path, columns)]
    if model is not None and rows:
        passages = len(np.unique(np.concatenate([np.frombuffer(each, np.uint64) for each in (survey.positives, survey.negatives)])))
        if model.folder is None or not (model.folder / "tokenizer.json").exists():
            message = f"lengths were not counted: the tokenizer of {shortened(model.name, 60)} is not on this machine; give its folder"
            findings.append(finding("about-the-file", message, 0))
        for side, amount in zip(lengths, (queries, passages), strict=True):
            found = side.finding(model.folder, model.name, amount)
            findings += [found] if found else []
    if _PATTERN.search(os.fspath(path)):
        shown = shortened(os.fspath(path))
        message = f"the trainers load files with datasets, which reads {shown} as a pattern: it finds no file, or other files too"
        findings.append(finding("file-pattern", message, rows))
    if not name.endswith((".json", ".jsonl")):
        message = f"FlagEmbedding only reads files that end in .json or .jsonl and silently skips {shortened(name, 60)}"
        findings.append(finding("file-name", message, rows))
    if not file.plain and survey.form != "messages":
        need = "FlagEmbedding needs JSON lines with `query`, `pos` and `neg`"
        findings.append(finding("about-the-file", f"read as {file.read_as}; {need}", rows))
    if survey.lost or survey.form == "messages":  # such a file cannot be repaired
        findings = [msgspec.structs.replace(each, repair=None) for each in findings]

    ordered = sorted((each for each in findings if set(each.trainers) & set(chosen)), key=lambda each: each.order)
    return Report(
        file=shortened(name),
        bytes=file.size,
        sha256=file.sha256,
        rows=rows,
        queries=queries,
        positives=len(survey.positives),
        negatives=len(survey.negatives),
        findings=tuple(each for each in ordered if each.severity != "note"),
        notes=tuple(each for each in ordered if each.severity == "note"),
        trainers=chosen,
        negative_number=wanted,
        model=model.name if model else "",
    )


def _wanted(survey: Survey, negative_number: int | None) -> int:
    """Return the negatives per row: `negative_number`, else the most frequent number, at most that of a default group."""
    if negative_number is not None:
        return negative_number
    counts = Counter(count for count in survey.negative_counts if count)
    usual = max(counts, key=lambda count: (counts[count], count)) if counts else GROUP - 1
    return min(usual, GROUP - 1)


def _other_form(form: Form, trainer: Trainer, rows: int) -> Finding:
    """Return the finding that a trainer does not read rows of this form."""
    does, remedy = _OTHERWISE[trainer]
    found = finding("other-form", f"the rows have {_FORMS[form][1]}: {does}", rows, remedy=f"write them in its form: {remedy}")
    return msgspec.structs.replace(found, trainers=(trainer,))


def _of_problems(problems: Sequence[Problem], consequences: Mapping[str, str]) -> list[Finding]:
    """Return the findings of the reader's problems, by kind; with a repair if it helps a row."""
    bare = {problem.line for problem in problems if problem.kind == "no-positive"}
    unread = {problem.line for problem in problems if problem.severity == "error" and problem.kind not in READABLE}
    strings = {(problem.line, f"{problem.path}[0]") for problem in problems if problem.kind == "string-instead-of-list"}
    stuck = {problem.line for problem in problems if problem.kind == "blank-passage" and (problem.line, problem.path) in strings}
    groups: dict[str, list[Problem]] = {}
    found: list[Finding] = []
    for problem in problems:
        if problem.severity == "notice":
            found.append(finding("about-the-file", f"line {problem.line:,}: {problem.message}; {problem.remedy}", 1))
        elif problem.kind == "null-instead-of-list" or (problem.kind in REPAIRS and problem.line in bare and problem.path[:5] == "$.pos"):
            pass  # a null is reported as no positive or no negatives
        elif problem.kind != "nan" or top(problem.path) not in FIELDS:
            groups.setdefault(problem.kind if problem.kind in KINDS else "other-fault", []).append(problem)
    for kind, group in groups.items():
        lines: dict[int, str] = {}
        for each in group:  # one example per line, with all its problems
            text, before = f"{each.path}  {each.message}", lines.get(each.line)
            lines[each.line] = text if before is None else f"{before}; {text}"[:400]
        words = KINDS[kind].words if kind != "other-fault" else ", ".join(dict.fromkeys(PROBLEM_KINDS[each.kind] for each in group))
        where = ", ".join(dict.fromkeys(shortened(each.path.partition("[")[0], 40) for each in group[:1_000] if each.path != "$"))
        message = f"{words} on {counted(len(lines), 'line')}" + (f" ({where})" if where else "")
        if kind in consequences:
            message += f": {consequences[kind]}"
        examples = tuple(Example(line, shortened(text)) for line, text in list(lines.items())[:EXAMPLES])
        remedies = dict.fromkeys(problem.remedy for problem in group)
        # A row with another error stays bad, and a blank string must be wrapped in a list before it can be removed.
        hopeless = unread | stuck if kind == "blank-passage" else unread
        helps = any(each.line not in hopeless for each in group)
        repair = KINDS[kind].repair if helps else None
        remedy = next(iter(remedies)) if len(remedies) == 1 else ""
        found.append(finding(kind, message, len(lines), examples, remedy=remedy, repair=repair))
    return found
