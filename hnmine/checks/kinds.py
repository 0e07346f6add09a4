"""Kinds of findings, trainers and repairs, and the report of a check.

An "error" stops a trainer or teaches it something wrong, a "warning" wastes training, and a "note" is information: a good file has no
findings. How each trainer reads a file, by its own source: docs/internals.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import msgspec

from hnmine.core.errors import SettingsError
from hnmine.core.text import counted, shortened
from hnmine.data.problems import REPAIRS

__all__ = [
    "EXAMPLES",
    "KINDS",
    "OUTPUT_REPAIRS",
    "TRAINERS",
    "Example",
    "Finding",
    "Kind",
    "Report",
    "Severity",
    "Tallies",
    "Trainer",
    "chosen_trainers",
    "finding",
]

Trainer = Literal["flagembedding", "sentence-transformers", "ms-swift"]
TRAINERS: dict[Trainer, str] = {
    "flagembedding": "FlagEmbedding",
    "sentence-transformers": "sentence-transformers",
    "ms-swift": "ms-swift",
}
_ALL: tuple[Trainer, ...] = tuple(TRAINERS)
_FLAG: tuple[Trainer, ...] = ("flagembedding",)
_LOADER: tuple[Trainer, ...] = ("flagembedding", "sentence-transformers")

# Repairs of the written file: each has the name of its finding, except "scores", which repairs all findings on scores.
OUTPUT_REPAIRS = {
    **{kind: REPAIRS[kind] for kind in ("string-instead-of-list", "blank-passage", "nan")},
    "missing-prompt": "fill it with an empty text",
    "mixed-types": "write the field as text on every row",
    "scores": "remove pos_scores and neg_scores from every row",
    "query-among-negatives": "remove the query from the negatives",
    "positive-among-negatives": "remove the positives from the negatives",
    "positive-of-another-row": "remove the positives of the query's other rows from the negatives",
    "repeated-negative": "keep the first of each",
    "repeated-positive": "keep the first of each",
    "repeated-row": "keep the first of them",
    "empty-negatives": "remove the rows",
}

Severity = Literal["error", "warning", "note"]


class Kind(msgspec.Struct, frozen=True):
    """A kind of finding: label, severity, affected trainers, remedy, and the repair if there is one."""

    words: str
    severity: Severity
    trainers: tuple[Trainer, ...]
    remedy: str
    repair: str | None = None


# Most severe first: the order of a report.
KINDS: dict[str, Kind] = {
    "file-pattern": Kind("file name that is a pattern", "error", _ALL, "rename it without *, ?, brackets and ::"),
    "other-form": Kind("rows of another form", "error", _ALL, "write the rows in the form of the trainer: python -m hnmine mine"),
    "empty-file": Kind("no row", "error", _ALL, "check that this is the right file"),
    "not-utf8": Kind("not UTF-8", "error", _ALL, "save the file as UTF-8"),
    "not-json": Kind("not JSON", "error", _ALL, "correct the line, or remove it"),
    "not-an-object": Kind("not a JSON object", "error", _ALL, "write one object a line"),
    "duplicate-key": Kind("duplicate field", "error", _ALL, "keep one of them"),
    "bad-record": Kind("malformed record", "error", _ALL, "correct the record"),
    "line-too-long": Kind("line too long", "error", _ALL, "check for missing line ends, or split the row"),
    "missing-field": Kind("field missing", "error", _ALL, "add the field, or remove the row"),
    "wrong-type": Kind("wrong type", "error", _ALL, "write a text as a string, passages as a list of strings"),
    "empty-text": Kind("empty text", "error", _ALL, "fill it in, or remove the row"),
    "no-positive": Kind("no positive", "error", _ALL, "add a positive, or remove the row"),
    "other-fault": Kind("other problem", "error", _ALL, "correct the line"),
    "string-instead-of-list": Kind("string instead of a list", "error", _ALL, "wrap it in a list", "string-instead-of-list"),
    "nan": Kind("NaN or infinity", "error", _ALL, "remove the fields that contain it", "nan"),
    "empty-negatives": Kind("no negatives", "error", _LOADER, "remove the rows, or mine negatives for them", "empty-negatives"),
    "mixed-types": Kind("field with several types", "error", _ALL, "use one type; any value can be written as text", "mixed-types"),
    "late-fraction": Kind("fractions after whole numbers", "error", _ALL, "write the whole numbers as 1.0"),
    "late-field": Kind("field missing in the first rows", "error", _ALL, "add the field to the first rows, or remove it"),
    "missing-prompt": Kind("prompt missing", "error", _FLAG, "fill it with an empty text, or with the right prompt", "missing-prompt"),
    "type-not-constant": Kind("several types in one file", "error", _FLAG, "make one file of each `type`"),
    "scores-on-some-rows": Kind("scores on some rows", "error", _FLAG, "score the other rows too, or remove all scores", "scores"),
    "scores-not-numbers": Kind("scores that are not numbers", "error", _FLAG, "compute the scores again, or remove them all", "scores"),
    "scores-length": Kind("wrong number of scores", "error", _FLAG, "write one score per passage, or remove them all", "scores"),
    "positive-among-negatives": Kind(
        "positive among the negatives", "error", _ALL, "remove it from the negatives", "positive-among-negatives"
    ),
    "positive-of-another-row": Kind(
        "positive of the same query among the negatives", "error", _ALL, "remove it from the negatives", "positive-of-another-row"
    ),
    "query-among-negatives": Kind("query among the negatives", "error", _ALL, "remove it from the negatives", "query-among-negatives"),
    "one-kind-of-scores": Kind("only one score field", "warning", _FLAG, "write both, or remove them", "scores"),
    "scores-of-two-scales": Kind("scores on two scales", "warning", _FLAG, "use the raw scores of one model on all rows", "scores"),
    "short-negatives": Kind("too few negatives", "warning", _LOADER, "mine more, or train with smaller groups"),
    "repeated-negative": Kind("duplicate negative", "warning", _ALL, "keep the first of each", "repeated-negative"),
    "repeated-positive": Kind("duplicate positive", "warning", _ALL, "keep the first of each", "repeated-positive"),
    "several-positives": Kind("several positives", "warning", ("ms-swift",), "write a row for each positive"),
    "query-among-positives": Kind("query among the positives", "warning", _ALL, "replace it: a passage equal to the query teaches nothing"),
    "repeated-row": Kind("duplicate row", "warning", _ALL, "keep the first of them", "repeated-row"),
    "blank-passage": Kind("blank passage", "warning", _ALL, "remove the blank passages", "blank-passage"),
    "too-long": Kind(
        "text longer than the model's maximum", "warning", _ALL, "shorten or split the texts, or use a model with a longer maximum"
    ),
    "file-name": Kind("file name that is skipped", "warning", _FLAG, "end the name in .jsonl"),
    "few-negatives": Kind("few negatives", "note", _FLAG, "train with smaller groups"),
    "uneven-negatives": Kind("uneven negatives", "note", ("sentence-transformers",), "n-tuples use the smallest number"),
    "not-hardest-first": Kind("not hardest first", "note", ("sentence-transformers",), "sort them if the trainer only uses the first ones"),
    "rare-repeats": Kind("rare duplicates", "note", _ALL, "nothing to do, or keep the first of each", "repeated-negative"),
    "same-query": Kind("same query on several rows", "note", _ALL, "nothing to do"),
    "no-prompt": Kind("no prompt", "note", _FLAG, "set --query_instruction_for_retrieval if you train with --same_dataset_within_batch"),
    "about-the-file": Kind("about the file", "note", _ALL, "nothing to do"),
}


def chosen_trainers(names: Sequence[str] | None) -> tuple[Trainer, ...]:
    """Return the trainers with these names; all without names.

    Raises:
        SettingsError: a name is unknown.
    """
    if names and (unknown := sorted(set(names) - set(_ALL))):
        raise SettingsError(f"unknown trainer {unknown[0]!r}; choose from: {', '.join(_ALL)}")
    return tuple(each for each in _ALL if not names or each in names)


# Places reported for each finding.
EXAMPLES = 5


class Example(msgspec.Struct, frozen=True):
    """One place: the line (from 1; 0 for the whole file), and its text, shortened and printable."""

    line: int
    text: str


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of problem in a file, with its places.

    Attributes:
        kind: a key of KINDS.
        severity: "error", "warning" or "note".
        trainers: keys of TRAINERS.
        count: affected rows; for `too-long`, texts.
        examples: the first places.
        message: the problem and its effect on a trainer, in a sentence.
        remedy: how to fix it.
        repair: a key of OUTPUT_REPAIRS, or None.
    """

    kind: str
    severity: Severity
    trainers: tuple[Trainer, ...]
    count: int
    examples: tuple[Example, ...]
    message: str
    remedy: str
    repair: str | None = None

    @property
    def words(self) -> str:
        """The label of the kind, for a heading."""
        return KINDS[self.kind].words

    @property
    def readers(self) -> str:
        """The affected trainers."""
        return ", ".join(TRAINERS[each] for each in self.trainers)

    @property
    def order(self) -> tuple[int, int]:
        """The sort key in a report: most severe first."""
        return ("error", "warning", "note").index(self.severity), list(KINDS).index(self.kind)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a check.

    Attributes:
        file: its name; bytes, sha256: size and hash of the file.
        rows: readable rows; queries: unique queries; positives, negatives: their passages, with repeats.
        findings: errors and warnings, most severe first; notes: information.
        trainers: the simulated trainers; negative_number: the negatives a row should have.
        model: the model of the length check, "" without one.
    """

    file: str
    bytes: int
    sha256: str
    rows: int
    queries: int
    positives: int
    negatives: int
    findings: tuple[Finding, ...]
    notes: tuple[Finding, ...]
    trainers: tuple[Trainer, ...]
    negative_number: int
    model: str = ""

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def repairs(self) -> tuple[str, ...]:
        """The keys of OUTPUT_REPAIRS that apply to this file, in their order."""
        offered = {finding.repair for finding in self.findings}
        return tuple(repair for repair in OUTPUT_REPAIRS if repair in offered)

    def __str__(self) -> str:
        queries, positives = counted(self.queries, "query", "queries"), counted(self.positives, "positive")
        lines = [f"{self.file}  {counted(self.rows, 'row')}, {queries}, {positives}, {counted(self.negatives, 'negative')}"]
        for finding in (*self.findings, *self.notes):
            lines.append(f"\n{finding.severity:<8} {finding.message}")
            if finding.severity == "note":
                continue
            lines += [f"         line {each.line:,}  {each.text}" if each.line else f"         {each.text}" for each in finding.examples]
            repair = f" (repair: {finding.repair})" if finding.repair else ""
            lines.append(f"         -> {finding.remedy}{repair}")
        names = ", ".join(TRAINERS[each] for each in self.trainers)
        errors = sum(finding.severity == "error" for finding in self.findings)
        found = f"{counted(errors, 'error')}, {counted(len(self.findings) - errors, 'warning')}"
        lines.append(f"\n{found}" if self.findings else f"\nno problems found for {names}")
        return "\n".join(lines)


class Tallies:
    """Counts findings by kind, and keeps the first places of each.

    Attributes:
        rows: kind -> affected rows; things: kind -> affected texts on these rows.
    """

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.things: Counter[str] = Counter()
        self._examples: dict[str, list[Example]] = {}

    def add(self, kind: str, line: int, text: str, things: int = 1) -> None:
        """Count one row of a kind, with so many affected `things`; `text` is an example."""
        self.rows[kind] += 1
        self.things[kind] += things
        examples = self._examples.setdefault(kind, [])
        if len(examples) < EXAMPLES:
            examples.append(Example(line, shortened(text)))

    def examples(self, kind: str) -> tuple[Example, ...]:
        """The first places of a kind."""
        return tuple(self._examples.get(kind, ()))

    def finding(self, kind: str, message: str, *, remedy: str = "", repair: str | None = "") -> Finding:
        """Return the finding of the counted rows; remedy and repair default to those of the kind."""
        return finding(kind, message, self.rows[kind], self.examples(kind), remedy=remedy, repair=repair)


def finding(
    kind: str, message: str, count: int, examples: tuple[Example, ...] = (), *, remedy: str = "", repair: str | None = ""
) -> Finding:
    """Return a finding with the severity, trainers, and by default remedy and repair, of its kind."""
    of = KINDS[kind]
    return Finding(
        kind=kind,
        severity=of.severity,
        trainers=of.trainers,
        count=count,
        examples=examples,
        message=message,
        remedy=remedy or of.remedy,
        repair=of.repair if repair == "" else repair,
    )
