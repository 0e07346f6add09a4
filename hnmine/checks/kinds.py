"""What trainers trip over in a training file: each kind of finding, in words, with its remedy.

Three ways of reading a file are simulated, because each was read in its own source and is tried in the tests:

- FlagEmbedding 1.4.2, `AbsEmbedderTrainDataset` and `AbsEmbedderSameDatasetTrainDataset` (`--same_dataset_within_batch`): one positive
  and `train_group_size - 1` negatives a row, drawn at random; an empty `neg` divides by zero, a short one is repeated, a missing
  `prompt` beside others is formatted as "None", `type` must be one in a batch, scores are looked up by the place of their passage.
- `datasets` 5.2, the JSON loader under FlagEmbedding and sentence-transformers: the first 10 MiB of a file decide the type of each
  field; see `schema`.
- Whoever makes n-tuples of the rows (sentence-transformers), or keeps the first negatives only (ms-swift's `INFONCE_HARD_NEGATIVES`).

A *finding* is a fault: an "error" stops a trainer or teaches it what is wrong, a "warning" wastes a part of the training. What is merely
worth knowing about a sound file is a *note*, and no finding: a sound file has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from hnmine.core.errors import SettingsError
from hnmine.data.problems import REPAIRS

__all__ = ["KINDS", "OUTPUT_REPAIRS", "TRAINERS", "Kind", "Severity", "Trainer", "chosen_trainers"]

Trainer = Literal["flagembedding", "sentence-transformers", "ms-swift"]
TRAINERS: dict[Trainer, str] = {
    "flagembedding": "FlagEmbedding",
    "sentence-transformers": "sentence-transformers",
    "ms-swift": "ms-swift",
}
_ALL: tuple[Trainer, ...] = tuple(TRAINERS)
_FLAG: tuple[Trainer, ...] = ("flagembedding",)
_LOADER: tuple[Trainer, ...] = ("flagembedding", "sentence-transformers")

# What may be mended, and how: a repair has the name of the finding it mends, but for "scores", which mends all faults of scores.
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
    "empty-negatives": "leave the rows out",
}

Severity = Literal["error", "warning", "note"]


class Kind(msgspec.Struct, frozen=True):
    """What all findings of a kind share: words for it, how grave it is, whom it concerns, what to do, and the repair if there is one."""

    words: str
    severity: Severity
    trainers: tuple[Trainer, ...]
    remedy: str
    repair: str | None = None


# The gravest first: that is the order of a report.
KINDS: dict[str, Kind] = {
    "empty-file": Kind("no row", "error", _ALL, "check that this is the right file"),
    "not-utf8": Kind("not UTF-8", "error", _ALL, "save the file as UTF-8"),
    "not-json": Kind("not JSON", "error", _ALL, "mend the line, or remove it"),
    "not-an-object": Kind("not a JSON object", "error", _ALL, "write one object a line"),
    "duplicate-key": Kind("field twice", "error", _ALL, "keep one of them"),
    "bad-record": Kind("record of another form", "error", _ALL, "mend the record"),
    "line-too-long": Kind("line too long", "error", _ALL, "check for lost line ends, or split the row"),
    "missing-field": Kind("field missing", "error", _ALL, "add the field, or remove the row"),
    "wrong-type": Kind("wrong type", "error", _ALL, "write a text as a string, passages as a list of strings"),
    "empty-text": Kind("empty text", "error", _ALL, "fill it in, or remove the row"),
    "no-positive": Kind("no positive", "error", _ALL, "add a positive, or remove the row"),
    "other-fault": Kind("other fault", "error", _ALL, "mend the line"),
    "string-instead-of-list": Kind("string instead of a list", "error", _ALL, "wrap it in a list", "string-instead-of-list"),
    "nan": Kind("NaN or infinity", "error", _ALL, "remove the fields that hold it", "nan"),
    "empty-negatives": Kind("no negatives", "error", _ALL, "leave the rows out, or mine negatives for them", "empty-negatives"),
    "mixed-types": Kind("field of several types", "error", _LOADER, "write one type; as text, any value fits", "mixed-types"),
    "late-fraction": Kind("fractions behind whole numbers", "error", _LOADER, "write the whole numbers as 1.0"),
    "late-field": Kind("field that begins late", "error", _LOADER, "give the first rows the field too, or remove it"),
    "missing-prompt": Kind("prompt missing", "error", _FLAG, "fill it with an empty text, or with the right prompt", "missing-prompt"),
    "type-not-constant": Kind("several types in one file", "error", _FLAG, "make one file of each `type`"),
    "scores-on-some-rows": Kind("scores on some rows", "error", _FLAG, "score the other rows too, or remove all scores", "scores"),
    "scores-not-numbers": Kind("scores that are no numbers", "error", _FLAG, "compute the scores again, or remove them all", "scores"),
    "scores-length": Kind("scores that do not fit", "error", _FLAG, "one score for each passage, or remove them all", "scores"),
    "positive-among-negatives": Kind(
        "positive among the negatives", "error", _ALL, "remove it from the negatives", "positive-among-negatives"
    ),
    "positive-of-another-row": Kind(
        "positive of the same query among the negatives", "error", _ALL, "remove it from the negatives", "positive-of-another-row"
    ),
    "query-among-negatives": Kind("query among the negatives", "error", _ALL, "remove it from the negatives", "query-among-negatives"),
    "one-kind-of-scores": Kind("one kind of scores", "warning", _FLAG, "write both, or remove them", "scores"),
    "scores-of-two-scales": Kind("scores of two scales", "warning", _FLAG, "use the raw scores of one model throughout", "scores"),
    "short-negatives": Kind("too few negatives", "warning", _ALL, "mine more, or train with smaller groups"),
    "repeated-negative": Kind("negative twice", "warning", _ALL, "keep the first of each", "repeated-negative"),
    "repeated-positive": Kind("positive twice", "warning", _ALL, "keep the first of each", "repeated-positive"),
    "query-among-positives": Kind("query among the positives", "warning", _ALL, "a passage that is the query teaches nothing: replace it"),
    "repeated-row": Kind("repeated row", "warning", _ALL, "keep the first of them", "repeated-row"),
    "blank-passage": Kind("blank passage", "warning", _ALL, "drop the blank passages", "blank-passage"),
    "too-long": Kind("text longer than the model reads", "warning", _ALL, "shorten or split the texts, or use a model that reads more"),
    "file-name": Kind("name that is passed over", "warning", _FLAG, "name it .jsonl"),
    "few-negatives": Kind("few negatives", "note", _FLAG, "train with smaller groups"),
    "uneven-negatives": Kind("uneven negatives", "note", ("sentence-transformers",), "n-tuples take the smallest number of them"),
    "not-hardest-first": Kind("not hardest first", "note", ("ms-swift",), "sort them if your trainer keeps the first ones only"),
    "rare-repeats": Kind("rare repeats", "note", _ALL, "nothing, or keep the first of each", "repeated-negative"),
    "same-query": Kind("same query on several rows", "note", _ALL, "nothing"),
    "no-prompt": Kind("no prompt", "note", _FLAG, "give --query_instruction_for_retrieval if you train with --same_dataset_within_batch"),
    "about-the-file": Kind("about the file", "note", _ALL, "nothing"),
}


def chosen_trainers(names: Sequence[str] | None) -> tuple[Trainer, ...]:
    """Check the names of trainers; None stands for all.

    Raises:
        SettingsError: a name is unknown.
    """
    if names and (unknown := sorted(set(names) - set(_ALL))):
        raise SettingsError(f"unknown trainer {unknown[0]!r}; known are: {', '.join(_ALL)}")
    return tuple(each for each in _ALL if not names or each in names)
