"""Findings: what was found in a file, how often and where, and the report that holds them.

Everything here is frozen and made of plain values, so a report can be cached, compared and written as JSON. Texts of the file are shortened
and made printable when they are taken: they end up on terminals.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from hnmine.checks.kinds import KINDS, OUTPUT_REPAIRS, TRAINERS, Severity, Trainer

__all__ = ["EXAMPLES", "Example", "Finding", "Report", "Tallies", "counted", "finding", "shortened"]

# Places told of each finding.
EXAMPLES = 5
_WIDTH = 90


class Example(msgspec.Struct, frozen=True):
    """One place: the line (from 1; 0 for the whole file), and what stands there, shortened, on one line, printable."""

    line: int
    text: str


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that trainers would trip over.

    Attributes:
        kind: a key of KINDS.
        severity: "error", "warning" or "note".
        trainers: keys of TRAINERS.
        count: rows that it bears on; texts, for `too-long`.
        examples: the first of them.
        message: what was found and what a trainer makes of it, in a sentence.
        remedy: what to do.
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
        """The kind in a few words, for a heading."""
        return KINDS[self.kind].words

    @property
    def readers(self) -> str:
        """Whom it concerns."""
        return ", ".join(TRAINERS[each] for each in self.trainers)

    @property
    def order(self) -> tuple[int, int]:
        """Where it stands in a report: the worst first."""
        return ("error", "warning", "note").index(self.severity), list(KINDS).index(self.kind)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the doctor says of a file.

    Attributes:
        file: its name; bytes, sha256: what was read.
        rows: rows that could be read; queries: different ones among them; positives, negatives: their passages, repeats counted.
        findings: faults, the worst first; notes: what is worth knowing, and no fault.
        trainers: who was simulated; negative_number: how many negatives a row should have.
        model: whose length counted, "" if none.
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
        """Whether no finding is an error."""
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def repairs(self) -> tuple[str, ...]:
        """The keys of OUTPUT_REPAIRS that are of use here, in their order."""
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
            mend = f" (--repair {finding.repair})" if finding.repair else ""
            lines.append(f"         -> {finding.remedy}{mend}")
        names = ", ".join(TRAINERS[each] for each in self.trainers)
        errors = sum(finding.severity == "error" for finding in self.findings)
        found = f"{counted(errors, 'error')}, {counted(len(self.findings) - errors, 'warning')}"
        lines.append(f"\n{found}" if self.findings else f"\nnothing found that {names} would trip over")
        return "\n".join(lines)


def counted(number: int, one: str, many: str = "") -> str:
    """Return "1 row", "1,200 rows"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def shortened(text: str, width: int = _WIDTH) -> str:
    """Return the beginning of a text on one line, without anything a terminal would obey."""
    text = " ".join(text[: 4 * width].split())
    text = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


class Tallies:
    """Counts what is found, by kind, and keeps the first places of each.

    Attributes:
        rows: kind -> rows that it bears on; things: kind -> how many of what it is about there are on them.
    """

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.things: Counter[str] = Counter()
        self._examples: dict[str, list[Example]] = {}

    def add(self, kind: str, line: int, text: str, things: int = 1) -> None:
        """Count one row of a kind, with so many `things` on it; `text` is an example."""
        self.rows[kind] += 1
        self.things[kind] += things
        examples = self._examples.setdefault(kind, [])
        if len(examples) < EXAMPLES:
            examples.append(Example(line, shortened(text)))

    def examples(self, kind: str) -> tuple[Example, ...]:
        """The first places of a kind."""
        return tuple(self._examples.get(kind, ()))

    def finding(self, kind: str, message: str, *, remedy: str = "", repair: str | None = "") -> Finding:
        """Return the finding of what was counted; remedy and repair are the kind's, if none is given."""
        return finding(kind, message, self.rows[kind], self.examples(kind), remedy=remedy, repair=repair)


def finding(
    kind: str, message: str, count: int, examples: tuple[Example, ...] = (), *, remedy: str = "", repair: str | None = ""
) -> Finding:
    """Return a finding with what its kind says of it."""
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
