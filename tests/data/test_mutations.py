"""Data sets with renamed columns and labels, other delimiters, encodings and orders are read right or end in a question; never wrong."""

from __future__ import annotations

import csv
import io
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hnmine.core.errors import EncodingError, InputError, QuestionError
from hnmine.data.columns import Columns
from hnmine.data.dataset import read_inputs

TOPICS = {
    "en": (
        "how do I {n} the {a}",
        "Take the {a} and {n} it twice, slowly, with both hands.",
        "Never put the {a} near the oven; number {n} is for the {b}.",
    ),
    "de": (
        "wie kann ich {a} Nr. {n} prüfen",
        "Für {a} gilt: täglich {n} Mal prüfen, möglichst früh.",
        "Größe {n} passt nicht zu {b}, nur zu {a} über Straße.",
    ),
    "fr": (
        "où est passé {a} numéro {n}",
        "Le {a} a été déplacé à côté, étage {n}, près de l'entrée.",
        "Ça n'a rien à voir avec {b}; il y en a {n}.",
    ),
    "zh": ("{a}第{n}号在哪里？", "{a}在第{n}层，靠近入口的地方。", "{b}和第{n}个没有关系，请问前台。"),
}
WORDS = {"en": ("lamp", "door"), "de": ("Gerät", "Schlüssel"), "fr": ("clé", "panneau"), "zh": ("机器", "钥匙")}
KNOWN = {
    "query": ("query", "Question", "anchor", "Frage", "search query", "user_input"),
    "pos": ("pos", "positive", "Positive_Passages", "positive_doc"),
    "neg": ("neg", "negative", "hard_negative", "rejected"),
    "passage": ("passage", "document", "context", "Sentence2", "doc"),
    "label": ("label", "score", "relevance", "is_relevant", "Grade"),
}  # fmt: skip
STRANGE = ("thema", "inhalt", "x1", "field_a", "Spalte B", "colonne", "事項", "value", "a", "entry")
LABELS = (
    (1, 0),
    ("1", "0"),
    ("true", "false"),
    ("yes", "no"),
    ("relevant", "irrelevant"),
    (1.0, 0.0),
    ("Good Fit", "No Fit"),
    (3, 0),
    ("A", "B"),
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "cp1252", "gb18030")


def triples(rng: random.Random, language: str, count: int) -> list[tuple[str, str, str]]:
    a, b = WORDS[language]
    return [tuple(text.format(n=n, a=a, b=b) for text in TOPICS[language]) for n in rng.sample(range(100, 999), count)]  # type: ignore[misc]


def delimited(records: list[dict[str, object]], delimiter: str, header: bool, quoting: int) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=random.Random(len(records)).choice(["\n", "\r\n"]), quoting=quoting)
    if header:
        writer.writerow(records[0])
    writer.writerows(each.values() for each in records)
    return out.getvalue()


def attempt(seed: int, folder: Path) -> tuple[str, str]:
    """Write one mutated data set and read it; return what it ended in, and what it was."""
    rng = random.Random(seed)
    language = rng.choice(list(TOPICS))
    made = triples(rng, language, rng.randint(10, 40))
    labelled = rng.random() < 0.5
    strange = rng.random() < 0.3
    container = rng.choice(["csv", "csv", "jsonl", "json", "parquet", "lists"])
    header = container != "lists" and not (container == "csv" and rng.random() < 0.3)
    parts = ("query", "passage", "label") if labelled else ("query", "pos", "neg")
    names = rng.sample(STRANGE, 3) if strange else [rng.choice(KNOWN[part]) for part in parts]
    yes, no = rng.choice(LABELS)
    cells: list[tuple[object, ...]] = (
        [each for query, pos, neg in made for each in ((query, pos, yes), (query, neg, no))] if labelled else list(made)
    )
    rng.shuffle(cells)
    records = [dict(zip(names, each, strict=True)) for each in cells]
    encoding = "utf-8"
    path = folder / "data"
    if container == "parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    else:
        if container == "csv":
            text = delimited(records, rng.choice(",;\t|"), header, rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
        elif container == "json":
            text = json.dumps(records, ensure_ascii=False)
        else:
            text = "".join(json.dumps(list(each.values()) if container == "lists" else each, ensure_ascii=False) + "\n" for each in records)
        encoding = rng.choice(ENCODINGS)
        try:
            path.write_bytes(text.encode(encoding))
        except UnicodeEncodeError:
            encoding = "utf-8"
            path.write_bytes(text.encode())
    what = f"{language} {container}{'' if header else ' without header'} {encoding} {names} {(yes, no) if labelled else ''}"
    expected = {(query, (pos,), (neg,)) for query, pos, neg in made}
    settings: dict[str, Any] = {"repair": ["string-instead-of-list"]}
    asked = ""
    try:
        try:
            inputs = read_inputs(path, **settings)
        except EncodingError as question:
            asked = f"question: EncodingError, {'the right' if _same(question.guess, encoding) else 'another'} guess"
            inputs = read_inputs(path, columns=Columns(encoding=encoding), **settings)
    except QuestionError as question:
        return f"question: {type(question).__name__}{', after the encoding' if asked else ''}", what
    except InputError as refusal:
        return f"refused: {str(refusal).splitlines()[-2:]}", what
    found = {(row.query, tuple(row.pos), tuple(row.neg)) for row in inputs.rows}
    return (asked or "right") if found == expected else f"WRONG: {sorted(found)[:1]}", what


def _same(guess: str, encoding: str) -> bool:
    return guess == encoding or {guess, encoding} <= {"cp1252", "iso8859-1", "cp1250", "cp1254"}


@pytest.mark.parametrize("start", range(0, 240, 40))
def test_a_mutated_data_set_is_read_right_or_ends_in_a_question(start, tmp_path):
    ended = [attempt(seed, tmp_path) for seed in range(start, start + 40)]
    assert not [each for each in ended if each[0].startswith("WRONG")]
    counts = Counter(outcome.partition(":")[0] for outcome, _ in ended)
    assert counts["right"] >= 15
    assert counts["refused"] <= 1  # with its lines, such as bytes that are neither UTF-8 nor clearly another encoding


if __name__ == "__main__":
    import sys
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        tried = [attempt(seed, Path(name)) for seed in range(int(sys.argv[1]))]
    for outcome, times in Counter(
        outcome.split(":")[0] if outcome[:5] in ("WRONG", "refus") else outcome for outcome, _ in tried
    ).most_common():
        print(f"{times:6,}  {outcome}")
    for outcome, what in [each for each in tried if each[0].startswith(("WRONG", "refused"))][:12]:
        print(outcome[:300], "<-", what)
