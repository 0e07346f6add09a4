"""Whether the scores of a file can teach: `pos_scores` and `neg_scores`, which distillation reads by the place of their passage.

FlagEmbedding with `--knowledge_distillation` wants both on every row (the plain reader asserts that they are lists, the one of
`--same_dataset_within_batch` that there are as many scores as passages), looks a negative's score up by the negative's place (`IndexError`
if there are fewer, another passage's score if there are more), and refuses what is no number; NaN goes through into the loss. Scores of two
scales are told only where it is certain: every row lies wholly within 0..1 or wholly beyond -1..1, and both occur.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import isfinite

import msgspec

from hnmine.checks.field_types import Schema
from hnmine.checks.report import Finding, Tallies, counted

__all__ = ["FIELDS", "Scores"]

FIELDS = {"pos_scores": "pos", "neg_scores": "neg"}
_decode = msgspec.json.Decoder(list[float]).decode
# Fewer scores on a row tell nothing of their scale.
_ENOUGH = 3


class Scores:
    """Collects what is odd about the scores, row by row."""

    def __init__(self, tallies: Tallies, schema: Schema) -> None:
        self._tallies = tallies
        self._schema = schema
        self._present = {"pos_scores": 0, "neg_scores": 0}
        self._within = self._beyond = self._neither = 0

    def add(
        self, fields: Mapping[str, msgspec.Raw], passages: Mapping[str, int], odd: Sequence[str], line: int, query: str, *, head: bool
    ) -> None:
        """Take a row: its fields, the number of passages in `pos` and `neg`, and the score fields with NaN (left out of `fields`)."""
        scores: list[float] = []
        missing: list[str] = []
        for key, side in FIELDS.items():
            raw = fields.get(key)
            if key in odd:
                self._present[key] += 1
                self._tallies.add("scores-not-numbers", line, f"{key} holds NaN or Infinity")
            elif raw is None or bytes(raw) == b"null":
                missing.append(key)
            else:
                self._present[key] += 1
                try:
                    values = _decode(raw)
                except (msgspec.DecodeError, ValueError):
                    self._tallies.add("scores-not-numbers", line, f"{key}: {bytes(raw)[:200].decode('utf-8', 'replace')}")
                    continue
                if not all(map(isfinite, values)):
                    self._tallies.add("scores-not-numbers", line, f"{key} holds Infinity")
                    continue
                self._schema.numbers(key, raw, values, line, head=head)
                if len(values) != passages[side]:
                    self._tallies.add("scores-length", line, f"{counted(len(values), 'score')} for {passages[side]:,} in {side}")
                scores += values
                if key == "neg_scores" and any(later > before for before, later in pairwise(values)):
                    self._tallies.add("not-hardest-first", line, query)
        if missing:
            self._tallies.add("/".join(missing), line, query)
        if len(scores) >= _ENOUGH:
            if all(0 <= score <= 1 for score in scores):
                self._within += 1
                self._tallies.add("within", line, ", ".join(f"{score:g}" for score in scores[:5]))
            elif all(abs(score) > 1 for score in scores):
                self._beyond += 1
                self._tallies.add("beyond", line, ", ".join(f"{score:g}" for score in scores[:5]))
            else:
                self._neither += 1

    def findings(self, rows: int) -> list[Finding]:
        """Return what was found in so many rows."""
        tallies = self._tallies
        found: list[Finding] = []
        present = [key for key, count in self._present.items() if count]
        if len(present) == 1:
            one = present[0]
            other = next(each for each in FIELDS if each != one)
            message = (
                f"there is `{one}` but no `{other}`: with --knowledge_distillation FlagEmbedding wants both, without it neither is read"
            )
            found.append(self._of("one-kind-of-scores", message, (other, "pos_scores/neg_scores"), self._present[one]))
        lacking = ("pos_scores/neg_scores", *(FIELDS if len(present) > 1 else ()))
        if present and (lack := sum(tallies.rows[kind] for kind in lacking)):
            message = (
                f"{lack:,} of {counted(rows, 'row')} {'has' if lack == 1 else 'have'} no scores, though others do: with "
                "--knowledge_distillation FlagEmbedding stops at such a row (AssertionError)"
            )
            found.append(self._of("scores-on-some-rows", message, lacking, lack))
        if count := tallies.rows["scores-not-numbers"]:
            message = f"{counted(count, 'row')} with scores that are no numbers: distillation stops, or its loss becomes NaN"
            found.append(tallies.finding("scores-not-numbers", message))
        if count := tallies.rows["scores-length"]:
            message = (
                f"{counted(count, 'row')} with more or fewer scores than passages: FlagEmbedding looks scores up by place, so a passage "
                "gets another's score, or none (IndexError)"
            )
            found.append(tallies.finding("scores-length", message))
        if self._within and self._beyond and not self._neither:
            rarer, rest = ("within", self._beyond) if self._within <= self._beyond else ("beyond", self._within)
            scale = "within 0..1" if rarer == "within" else "beyond 1"
            message = (
                f"{counted(tallies.rows[rarer], 'row')} with all scores {scale}, {rest:,} on another scale: raw and normalised scores "
                "must not stand in one file, the loss compares them"
            )
            found.append(self._of("scores-of-two-scales", message, (rarer,), tallies.rows[rarer]))
        if (count := tallies.rows["not-hardest-first"]) and not found:
            message = (
                f"{counted(count, 'row')} {'has' if count == 1 else 'have'} negatives in another order than hardest first, by "
                "`neg_scores`: a trainer that keeps the first N, as ms-swift does, does not get the hardest"
            )
            found.append(tallies.finding("not-hardest-first", message))
        return found

    def _of(self, kind: str, message: str, counted_as: Sequence[str], count: int) -> Finding:
        examples = sorted((example for each in counted_as for example in self._tallies.examples(each)), key=lambda each: each.line)[:5]
        return msgspec.structs.replace(self._tallies.finding(kind, message), count=count, examples=tuple(examples))
