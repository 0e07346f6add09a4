"""A few queries with their positive and their first negatives, which change while a slider moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import streamlit as st

from hnmine.resources import OpenRun
from hnmine.selection.select import Selection
from pages.shared.state import query_id

_component = st.components.v2.component(
    "hnmine_samples",
    html='<div class="samples" role="region" aria-label="Sample queries with their negatives"></div>\n',
    **{kind: Path(__file__).with_suffix(f".{kind}").read_text("utf-8") for kind in ("css", "js")},
)

COUNT, NEGATIVES = 5, 3
# Longer texts do not fit on a line or into a tooltip.
LETTERS = 600


class Passage(NamedTuple):
    """A line of a sample: "positive", or a rank; its similarity, its text, and whether the compared selection lacks it."""

    kind: str
    score: str
    text: str
    positive: bool
    changed: bool


class Sample(NamedTuple):
    """A query with its id in addresses, its best positive and its first negatives."""

    query: str
    id: str
    passages: list[Passage]


def samples(run: OpenRun, selection: Selection, before: Selection, turn: int) -> list[Sample]:
    """Return COUNT queries of turn 0, 1, ...; queries are in the order of hashes, so any of them are a random sample."""
    count = len(run.inputs.corpus.queries)
    places = np.unique((turn * COUNT + np.arange(min(COUNT, count))) % count)
    return [_sample(run, selection, before, int(query)) for query in places]


def _sample(run: OpenRun, selection: Selection, before: Selection, query: int) -> Sample:
    corpus, ranking = run.inputs.corpus, run.ranking
    first, end = corpus.positive_starts[query : query + 2].tolist()
    best = first + int(np.argmax(ranking.positive_scores[first:end]))
    found = [Passage("positive", _score(ranking.positive_scores[best]), _cut(corpus.passages[corpus.positive_ids[best]]), True, False)]
    known = set(before.negatives[query].tolist())
    for place, passage in enumerate(selection.negatives[query, :NEGATIVES].tolist()):
        if passage >= 0:
            rank = np.flatnonzero(ranking.ids[query] == passage)
            kind = "random" if selection.random_filled[query, place] or not len(rank) else f"rank {rank[0]}"
            score = _score(selection.scores[query, place])
            found.append(Passage(kind, score, _cut(corpus.passages[passage]), False, passage not in known))
    return Sample(_cut(corpus.queries[query]), query_id(corpus, query), found)


def _score(value: float) -> str:
    return f"{value:.3f}"


def _cut(text: str) -> str:
    """Return the beginning of a text without the lone surrogates that no message can hold."""
    return " ".join(text[:LETTERS].split()).encode("utf-8", "replace").decode()


def draw(found: list[Sample], key: str, on_open: Callable[[str], None]) -> None:
    """Draw samples; `on_open` gets the id of the query that was clicked."""
    drawn = [each._asdict() | {"passages": [passage._asdict() for passage in each.passages]} for each in found]
    opened = _component(key=key, data={"samples": drawn}, on_opened_change=lambda: None).opened
    if opened in {each.id for each in found}:
        on_open(opened)
