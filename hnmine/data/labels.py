"""The labels of pairs: which values make a passage positive.

Labels such as 1 and 0, true and false, relevant and irrelevant are known. For grades and other words the user says which values count as
positive, and sees how often each occurs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import msgspec

from hnmine.core.errors import LabelsError
from hnmine.core.text import counted
from hnmine.data.columns import is_label

__all__ = ["are_flags", "contradicting", "is_known", "is_positive", "label_of", "positive_among", "seen", "suggestion"]

_POSITIVE = frozenset((
    "1", "true", "yes", "y", "t", "relevant", "positive", "pos", "match", "matched", "entailment", "duplicate", "correct", "good",
    "similar", "accept", "ja", "oui", "si", "sí", "是", "相关",
))  # fmt: skip
_NEGATIVE = frozenset((
    "0", "-1", "false", "no", "n", "f", "irrelevant", "not relevant", "not_relevant", "non-relevant", "nonrelevant", "negative", "neg",
    "no match", "no_match", "mismatch", "not duplicate", "not_duplicate", "incorrect", "wrong", "bad", "dissimilar", "reject", "nein",
    "non",    "not_entailment", "否", "不相关",
))  # fmt: skip
# Names of labels that do not say whether high values are relevant: classes of NLI are numbers too.
_CLASSES = ("label", "labels", "gold_label", "class")
_FLAGS = frozenset(("1", "0", "1.0", "0.0", "-1", "true", "false", "yes", "no", "y", "n", "t", "f", "ja", "nein", "oui", "non", "是", "否"))
_LETTERS = frozenset("yntf")
# Scores of a machine may differ from a judgement.
_SCORED = re.compile(r"scor|similar|rank|distan|prob|logit|confiden|bm25|rating", re.IGNORECASE)
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


def _threshold(given: Sequence[str] | None) -> Callable[[float], bool] | None:
    """Return the test of a single ">=X" or "<=X", else None."""
    if not given or len(given) != 1 or given[0][:2] not in (">=", "<="):
        return None
    bound = _number(given[0][2:])
    if bound is None:
        return None
    return (lambda number: number >= bound) if given[0][0] == ">" else (lambda number: number <= bound)


def is_known(value: object) -> bool:
    """Return whether a value can only be a label: a number, or a word with a known meaning."""
    return not isinstance(value, str) or value.strip().casefold() in _POSITIVE | _NEGATIVE


def are_flags(values: Sequence[object]) -> bool:
    """Return whether all values say yes or no: 1 and 0, true and false, "yes" and "no", or both of "T" and "F"."""
    plain = {str(value).strip().casefold() for value in values}
    return bool(plain) and plain <= _FLAGS and (len(plain) > 1 or not plain <= _LETTERS)


def _height(value: object) -> float | None:
    """Return how relevant a label is, comparable to other values of its column, or None if that is unknown."""
    plain = str(value).strip().casefold()
    return 1.0 if plain in _POSITIVE else 0.0 if plain in _NEGATIVE - {"-1"} else _number(plain)


def contradicting(records: Sequence[Mapping[str, object]], names: Sequence[str]) -> tuple[str, str] | None:
    """Return two labels of which one is higher where the other is lower, so that only one can judge the passages; scores aside."""
    judging = [name for name in names if is_label(name) and not _SCORED.search(name)]
    for place, one in enumerate(judging):
        for other in judging[place + 1 :]:
            pairs = {(_height(record.get(one)), _height(record.get(other))) for record in records}
            known = [(a, b) for a, b in pairs if a is not None and b is not None]
            if any(a < c and b > d for a, b in known for c, d in known):
                return one, other
    return None


def is_positive(label: str, given: Sequence[str]) -> bool:
    """Return whether a label counts as positive by `Columns.positive_labels`; raises ValueError if it is no number where one is needed."""
    within = _threshold(given)
    found = label_of(msgspec.Raw(msgspec.json.encode(label)))
    return within(float(found)) if within is not None else found in {label_of(msgspec.Raw(msgspec.json.encode(each))) for each in given}


def positive_among(counts: Counter[str], given: Sequence[str] | None, name: str, file: str) -> set[str]:
    """Return the labels that count as positive: those that the user named, or those with a known meaning.

    Raises:
        LabelsError: they are unknown, or one that the user named does not occur.
    """
    if (within := _threshold(given)) is not None:
        return {label for label in counts if (number := _number(label)) is not None and within(number)}
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
        first, last = (_quoted(label) for label in (sorted(counts)[0], sorted(counts)[-1]))
        return f"--positive_labels {first} or --positive_labels {last} (several: A,B)", "Which of these words mean relevant is not known. "
    if is_label(name) and name.casefold() not in _CLASSES:
        least = "X" if len(counts) > _LISTED else numbers[-1][1]
        return f"--positive_labels '>={least}'" if least == "X" else f"--positive_labels {least} or --positive_labels '>={least}'", ""
    unknown = f"The name `{name}` does not say whether high or low values mean relevant. "
    if len(counts) > _LISTED:
        return "--positive_labels '>=X' if high values are relevant, or --positive_labels '<=X' if low ones are", unknown
    return f"--positive_labels {numbers[0][1]} or --positive_labels {numbers[-1][1]} (several: A,B)", unknown


def _quoted(label: str) -> str:
    """Return a label as a word of a command line."""
    return label if re.fullmatch(r"[\w.+-]+", label) or "'" in label else f"'{label}'"


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
