"""What is exported and read again by hnmine's own readers has the same queries, positives and negatives, in every format.

Rows are joined by their query: a format may spread positives and negatives over rows, and leave out ids and other fields. What else a
format cannot hold is stated here, in one table.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hnmine.core.text import normalize_text
from hnmine.data.corpus import build_corpus
from hnmine.data.dataset import read_inputs
from hnmine.data.formats.literals import is_missing
from hnmine.data.labels import is_known
from hnmine.data.rows import Row
from hnmine.export.formats import FORMATS, write_export
from hnmine.export.scores import model_scores
from hnmine.selection.select import select
from hnmine.selection.settings import SelectionSettings
from tests.worlds import toy

# Scores stand in the place of the labels there, so the file does not say which passages are positives.
SCORES_FOR_LABELS = {"st-labeled-pair", "st-labeled-list"}
# Each query with its positives and its negatives.
Content = dict[str, tuple[list[str], list[str]]]


@dataclass(frozen=True)
class Loss:
    """What a format cannot hold: a text as it comes back, and queries with fewer than the `least` negatives."""

    text: Callable[[str], str] = lambda text: text
    least: Callable[[int], int] = lambda wanted: 0


NEEDS_A_NEGATIVE = Loss(least=lambda wanted: 1)
NEEDS_ALL = Loss(least=lambda wanted: wanted)
CANNOT_HOLD = {
    # A triple, a tuple and a list have at least one negative.
    "st-triplet": NEEDS_A_NEGATIVE,
    "st-n-tuple": NEEDS_ALL,
    "st-labeled-list": NEEDS_A_NEGATIVE,
    # One spelling of a passage for each docid.
    "tevatron": Loss(text=normalize_text),
    "beir": Loss(text=normalize_text),
    # Titles and texts are joined, without white space around them.
    "dpr": Loss(text=str.strip),
    # Tabs and line breaks are written as a space.
    "msmarco": Loss(
        text=lambda text: re.sub("\r\n|[\t\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]", " ", text),
        least=lambda wanted: 1,
    ),
    # No text that a spreadsheet would run as a formula.
    "csv": Loss(text=lambda text: re.sub(r"^(?=[\t\r\n]|\s*[=+\-@＝＋－＠])", "'", text)),
}


def joined(rows: Iterable[Row], text: Callable[[str], str]) -> Content:
    """The content of rows, joined by their queries, each text once."""
    spelled: dict[str, str] = {}
    found: Content = {}
    for row in rows:
        query = spelled.setdefault(normalize_text(row.query), text(row.query))
        for kept, texts in zip(found.setdefault(query, ([], [])), (row.pos, row.neg), strict=True):
            known = set(map(normalize_text, kept))
            kept += [text(each) for each in texts if not (normalize_text(each) in known or known.add(normalize_text(each)))]
    return found


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    # Columns of numbers and of words such as "yes" are asked about.
    lambda text: any(map(str.isalpha, text)) and not is_missing(text) and not is_known(text)
)
any_text = texts | st.sampled_from(
    ["=1+1", "a\tb", "a\nb", 'say "hi"', "a, b; c", "null and void", "agent 007", "[]", '{"text": 1}', "<image>", "'x'", "-"]
)


@st.composite
def rows_and_pool(draw) -> tuple[list[Row], list[str]]:
    def raw(value: object) -> msgspec.Raw:
        return msgspec.Raw(msgspec.json.encode(value))

    rows = []
    for number in range(draw(st.integers(1, 5))):
        query, pos = draw(any_text), draw(st.lists(any_text, min_size=1, max_size=3, unique_by=normalize_text))
        rows.append(Row(number + 1, query, pos, [], {"id": raw(number), "query": raw(query), "pos": raw(pos)}))
    return rows, draw(st.lists(any_text, max_size=8, unique_by=normalize_text))


def plain(text: str) -> str:
    """A text as a table has it: longer than a label, not like JSON, and without the byte 0 of a binary file."""
    return re.sub(r"^\s*[{[]", "", text.replace("\0", "")) + " and more words than a label has"


def longer(row: Row) -> Row:
    return Row(row.line, plain(row.query), [plain(text) for text in row.pos], [], row.fields)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=25)
@given(given=rows_and_pool(), wanted=st.integers(1, 3), with_scores=st.booleans(), dev_share=st.sampled_from([0.0, 0.4]))
def test_what_is_exported_is_read_back(name: str, given, wanted: int, with_scores: bool, dev_share: float) -> None:
    rows, pool = given
    if name in ("msmarco", "csv"):
        rows, pool = [longer(row) for row in rows], [plain(text) for text in pool]
    form, loss = FORMATS[name], CANNOT_HOLD.get(FORMATS[name].family, Loss())
    corpus = build_corpus(rows, pool)
    ranking = toy(corpus)
    depth = ranking.ids.shape[1]
    selection = select(corpus, ranking, SelectionSettings(window_start=0, window_end=max(depth, 1), negative_number=wanted))
    with_scores = with_scores and bool(form.scores) and form.family not in SCORES_FOR_LABELS
    negatives = {
        normalize_text(corpus.queries[query]): [corpus.passages[each] for each in ids if each >= 0]
        for query, ids in enumerate(selection.negatives)
    }
    whole = joined([Row(row.line, row.query, row.pos, negatives[normalize_text(row.query)], {}) for row in rows], lambda text: text)
    expected = {
        loss.text(query): ([*map(loss.text, pos)], [*map(loss.text, neg)])
        for query, (pos, neg) in whole.items()
        if len(neg) >= loss.least(wanted)
    }
    with tempfile.TemporaryDirectory() as folder:
        written = write_export(
            Path(folder) / f"out{form.suffix}",
            name,
            rows,
            corpus,
            selection,
            scores=model_scores(ranking, selection) if with_scores else None,
            # Of a data set with both parts in it, a reader takes the one that the user names.
            dev_share=dev_share if len(corpus.queries) > 1 and form.split == "files" else 0.0,
        )
        found: list[Row] = []
        for each in written:
            if each.rows:  # an empty file is refused
                found += read_inputs(each.path, repair=["improbable-data"]).rows  # such texts are improbable
    assert joined(found, loss.text) == expected
