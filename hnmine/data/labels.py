"""The labels of pairs: which values make a passage positive.

Labels such as 1 and 0, true and false, relevant and irrelevant are known. For grades and other words the user says which values count as
positive, and sees how often each occurs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import msgspec

from hnmine.core.errors import LabelsError
from hnmine.core.text import counted
from hnmine.data.columns import is_label

__all__ = ["is_known", "is_positive", "label_of", "positive_among", "seen", "suggestion"]

_POSITIVE = frozenset((
    "1", "true", "yes", "y", "t", "relevant", "positive", "pos", "match", "matched", "entailment", "duplicate", "correct", "good",
    "similar", "ja", "oui", "si", "sí", "是", "相关",
))  # fmt: skip
_NEGATIVE = frozenset((
    "0", "-1", "false", "no", "n", "f", "irrelevant", "not relevant", "not_relevant", "non-relevant", "nonrelevant", "negative", "neg",
    "no match", "no_match", "mismatch", "not duplicate", "not_duplicate", "incorrect", "wrong", "bad", "dissimilar", "nein", "non",
    "not_entailment", "否", "不相关",
))  # fmt: skip
# Names of labels that do not say whether high values are relevant: classes of NLI are numbers too.
_CLASSES = ("label", "labels", "gold_label", "class")
# Values that an error lists; more than these are a scale.
_LISTED = 20


def label_of(raw: msgspec.Raw) -> str:
    """Return a label as text: 1.0 and "1" are 1."""
    value = msgspec.json.decode(raw)
    if isinstance(value, str):
        text = re.sub(r"^([-+]?\d+),(\d+)$", r"\1.\2", value.strip())  # a decimal comma
        try:
            value = float(text)
        except ValueError:
            return text
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _threshold(given: Sequence[str] | None) -> float | None:
    """Return X of a single ">=X", else None."""
    if given and len(given) == 1 and given[0].startswith(">="):
        try:
            return float(given[0][2:])
        except ValueError:
            return None
    return None


def is_known(value: object) -> bool:
    """Return whether a value can only be a label: a number, or a word with a known meaning."""
    return not isinstance(value, str) or value.strip().casefold() in _POSITIVE | _NEGATIVE


def is_positive(label: str, given: Sequence[str]) -> bool:
    """Return whether a label counts as positive by `Columns.positive_labels`; raises ValueError if it is no number where one is needed."""
    least = _threshold(given)
    found = label_of(msgspec.Raw(msgspec.json.encode(label)))
    return float(found) >= least if least is not None else found in {label_of(msgspec.Raw(msgspec.json.encode(each))) for each in given}


def positive_among(counts: Counter[str], given: Sequence[str] | None, name: str, file: str) -> set[str]:
    """Return the labels that count as positive: those that the user named, or those with a known meaning.

    Raises:
        LabelsError: they are unknown, or one that the user named does not occur.
    """
    if (least := _threshold(given)) is not None:
        return {label for label in counts if _number(label) is not None and float(label) >= least}
    if given:
        wanted = {label_of(msgspec.Raw(msgspec.json.encode(each))) for each in given}
        if strange := sorted(wanted - counts.keys()):
            raise LabelsError(f"{file}: no row has the label {strange[0]!r}; {seen(counts, name)}", name, counts)
        return wanted
    known = {label: label.casefold() for label in counts}
    clear = is_label(name) or name.startswith("column_")
    if clear and all(plain in _POSITIVE or plain in _NEGATIVE for plain in known.values()):
        return {label for label, plain in known.items() if plain in _POSITIVE}
    setting, unknown = suggestion(counts, name)
    raise LabelsError(
        f"{file}: which values of `{name}` make a passage positive? {seen(counts, name)}. {unknown}Set positive_labels, such as "
        f"{setting}; if `{name}` is no label, set columns to label=",
        name,
        counts,
    )


def suggestion(counts: Counter[str], name: str) -> tuple[str, str]:
    """Return an example of the setting for these labels, and a sentence about what is not known, or "".

    A threshold is suggested only for numbers whose name says that high ones are relevant.
    """
    numbers = sorted((number, label) for label in counts if (number := _number(label)) is not None)
    if len(numbers) < len(counts):
        return "--positive_labels VALUE (several: A,B)", "Which of these words mean relevant is not known. "
    if is_label(name) and name.casefold() not in _CLASSES:
        least = "X" if len(counts) > _LISTED else numbers[-1][1]
        return f"--positive_labels '>={least}'" if least == "X" else f"--positive_labels {least} or --positive_labels '>={least}'", ""
    unknown = f"The name `{name}` does not say whether high or low values mean relevant. "
    if len(counts) > _LISTED:
        return "--positive_labels '>=X' if high values are relevant (if low ones are, write a column with 0 and 1)", unknown
    return f"--positive_labels {numbers[0][1]} or --positive_labels {numbers[-1][1]} (several: A,B)", unknown


def seen(counts: Counter[str], name: str) -> str:
    """Return the values of a label with the number of rows of each, or how many there are; and the span of numbers."""
    numbers = [number for label in counts if (number := _number(label)) is not None]
    span = f", from {min(numbers):g} to {max(numbers):g}" if len(numbers) > 2 else ""
    if len(counts) > _LISTED:
        return f"`{name}` has {len(counts):,} different values{span}"
    return f"`{name}` is " + ", ".join(f"{label!r} in {counted(count, 'row')}" for label, count in counts.most_common()) + span


def _number(label: str) -> float | None:
    try:
        return float(label)
    except ValueError:
        return None
