"""Two runs against each other, against plain sets of texts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnmine.analysis.compare import Side, compare, differences
from hnmine.core.text import normalize_text
from hnmine.data.corpus import build_corpus
from hnmine.data.rows import Row
from hnmine.retrieval.ranking import Ranking
from hnmine.retrieval.search import pair_scores, top_k
from hnmine.selection.select import select
from hnmine.selection.settings import SelectionSettings
from tests.conftest import trigram_vector


def side(queries: list[str], passages: list[str], dimension: int = 64, **settings: object) -> Side:
    rows = [Row(1, query, [f"right about {query}"], [], {}) for query in queries]
    corpus = build_corpus(rows, passages)
    vectors = [
        np.array([trigram_vector(text, dimension) for text in texts], dtype=np.float32) for texts in (corpus.queries, corpus.passages)
    ]
    scores, ids = top_k(vectors[0], vectors[1], min(12, corpus.n_candidates))
    positive = pair_scores(vectors[0], corpus.positive_queries, vectors[1], corpus.positive_ids)
    ranking = Ranking(ids=ids, scores=scores, positive_scores=positive, query_vectors=vectors[0], passage_vectors=vectors[1])
    return Side(corpus, ranking, select(corpus, ranking, SelectionSettings(**{"window_start": 0, "window_end": 10} | settings)))


def negatives(each: Side) -> dict[str, dict[str, float]]:
    """By folded query: folded negatives with their scores."""
    found = {}
    for query, ids, scores in zip(each.corpus.queries, each.selection.negatives, each.selection.scores, strict=True):
        held = ids >= 0
        texts = [normalize_text(each.corpus.passages[passage]) for passage in ids[held].tolist()]
        found[normalize_text(query)] = dict(zip(texts, scores[held].tolist(), strict=True))
    return found


def positive_scores(each: Side) -> dict[str, float]:
    values = each.selection.positive.tolist()
    return dict(zip(map(normalize_text, each.corpus.queries), values, strict=True))


QUERIES = [f"question {number} of the {word}" for number in range(6) for word in ("sea", "wing")]
PASSAGES = [f"passage {number} on the {word}" for number in range(9) for word in ("sea", "wing", "hull")]


@pytest.mark.parametrize("elements", [1, 40, 10**6])
@pytest.mark.parametrize("number", [1, 5, 40])
def test_overlap_and_shifts_are_those_of_plain_sets(monkeypatch: pytest.MonkeyPatch, elements: int, number: int) -> None:
    """Other queries, spellings, passages, models and counts on both sides."""
    one = side(QUERIES[:9], PASSAGES[:20], negative_number=number)
    other = side([query.upper() for query in reversed(QUERIES[3:])], PASSAGES[6:], 48, negative_number=7, seed=1)
    monkeypatch.setattr("hnmine.core.arrays.ELEMENTS", elements)
    found = compare(one, other)
    mine, theirs = negatives(one), negatives(other)
    common = mine.keys() & theirs.keys()
    assert len(found.first) == len(common) == 6
    assert (found.only_first, found.only_second) == (len(mine) - 6, len(theirs) - 6)
    for place in range(len(common)):
        query = normalize_text(one.corpus.queries[found.first[place]])
        assert query == normalize_text(other.corpus.queries[found.second[place]])
        here, there = mine[query], theirs[query]
        assert found.shared[place] == len(here.keys() & there.keys())
        assert (found.counts_first[place], found.counts_second[place]) == (len(here), len(there))
        assert found.overlap[place] == pytest.approx(len(here.keys() & there.keys()) / max(len(here), len(there)))
        assert found.hardness_first[place] == pytest.approx(np.mean(list(here.values())), abs=1e-6)
        assert found.hardness_second[place] == pytest.approx(np.mean(list(there.values())), abs=1e-6)
        if positive_scores(one)[query] > 0:
            ratio = np.mean(list(here.values())) / positive_scores(one)[query]
            assert found.ratio_first[place] == pytest.approx(min(2, max(-2, ratio)), rel=1e-5)
    assert found.shift == pytest.approx(found.hardness_second - found.hardness_first)


def test_a_run_compared_with_itself_has_changed_nowhere() -> None:
    one = side(QUERIES, PASSAGES)
    found = compare(one, one)
    assert (found.overlap == 1).all()
    assert not found.shift.any()
    assert found.only_first == found.only_second == 0


def test_runs_without_a_common_query_have_nothing_to_compare() -> None:
    found = compare(side(QUERIES[:3], PASSAGES), side(QUERIES[3:], PASSAGES))
    assert len(found.first) == 0 == len(found.most_changed(10))
    assert (found.only_first, found.only_second) == (3, len(QUERIES) - 3)


def test_queries_without_any_negative_are_no_change() -> None:
    alone = side(["only one"], ["right about only one"])
    found = compare(alone, alone)
    assert np.isnan(found.overlap).all()
    assert np.isnan(found.hardness_first).all()
    assert found.most_changed(1).tolist() == [0]


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, np.nan]), st.sampled_from([-0.25, 0.0, 0.5, np.nan])), max_size=12),
    st.integers(0, 12),
)
def test_the_most_changed_come_first(values: list[tuple[float, float]], count: int) -> None:
    one = side(QUERIES[:1], PASSAGES)
    base = compare(one, one)
    overlap = np.array([each[0] for each in values], dtype=np.float32)
    ratio = np.array([each[1] for each in values], dtype=np.float32)
    changed = type(base)(
        **{name: getattr(base, name) for name in base.__slots__}
        | {"overlap": overlap, "ratio_first": np.zeros(len(values), np.float32), "ratio_second": ratio}
    )
    keys = [(1.0 if np.isnan(o) else o, 0.0 if np.isnan(s) else -abs(s), number) for number, (o, s) in enumerate(values)]
    assert changed.most_changed(count).tolist() == [number for _, _, number in sorted(keys)][:count]


def test_what_was_set_otherwise_is_named() -> None:
    first = {"pool_mode": "extend", "selection": {"seed": 1, "margin": None}, "model": {"name": "a", "devices": ["cpu"]}}
    second = {"pool_mode": "extend", "selection": {"seed": 2, "margin": None}, "model": {"name": "a", "devices": ["cpu"]}, "new": 1}
    assert differences(first, second) == [("new", None, 1), ("selection.seed", 1, 2)]
    assert differences(first, first) == []


def test_a_positive_that_scores_near_nothing_has_a_clipped_ratio() -> None:
    one = side(QUERIES, PASSAGES)
    weak, none = (
        dataclasses.replace(one, selection=dataclasses.replace(one.selection, positive=np.full_like(one.selection.positive, score)))
        for score in (1e-6, 0)
    )
    found = compare(weak, none)
    assert (np.abs(found.ratio_first) <= 2).all()
    assert np.isnan(found.ratio_second).all()
    assert sorted(found.most_changed(100).tolist()) == list(range(len(QUERIES)))
