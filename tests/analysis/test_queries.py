"""Statistics of a selection against plain counting."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hnmine.analysis import queries as quality
from hnmine.analysis.queries import candidates_of, positive_ranks, query_table
from hnmine.data.corpus import build_corpus
from hnmine.data.rows import Row
from hnmine.data.verdicts import DECIDED, Verdict, match_verdicts
from hnmine.retrieval.ranking import Ranking
from hnmine.retrieval.search import pair_scores, top_k
from hnmine.selection.filters import FILTERS
from hnmine.selection.positive_score import positive_score
from hnmine.selection.promotions import apply_promotions
from hnmine.selection.select import select
from hnmine.selection.settings import Reason, SelectionSettings

NOBODY = (np.zeros(0, np.int32), np.zeros(0, np.int32))


def example(depth: int = 12) -> tuple:
    rng = np.random.default_rng(3)
    rows = [Row(1, f"q{i % 7}", [f"right {i}", f"right {i + 1}"], [], {}) for i in range(9)]
    corpus = build_corpus(rows, [f"p{i}" for i in range(30)])
    queries = rng.standard_normal((len(corpus.queries), 6)).astype(np.float32)
    passages = rng.standard_normal((len(corpus.passages), 6)).astype(np.float32)
    scores, ids = top_k(queries, passages, depth)
    positive_scores = pair_scores(queries, corpus.positive_queries, passages, corpus.positive_ids)
    ranking = Ranking(ids=ids, scores=scores, positive_scores=positive_scores, query_vectors=queries, passage_vectors=passages)
    return corpus, ranking, select(corpus, ranking, SelectionSettings(window_start=1, window_end=8, negative_number=5))


@pytest.mark.parametrize("elements", [1, 30, 10**6])
def test_positives_are_found_at_their_ranks(monkeypatch, elements):
    corpus, ranking, selection = example()
    monkeypatch.setattr("hnmine.core.arrays.ELEMENTS", elements)
    ranks = positive_ranks(corpus, ranking)
    expected = []
    for query, passage in zip(corpus.positive_queries.tolist(), corpus.positive_ids.tolist(), strict=True):
        ranked = ranking.ids[query].tolist()
        expected.append(ranked.index(passage) if passage in ranked else ranking.depth)
    assert ranks.tolist() == expected
    assert 0 < sum(rank < ranking.depth for rank in expected) < len(expected)
    table = query_table(corpus, ranking, selection)
    for query in range(len(corpus.queries)):
        own = slice(corpus.positive_starts[query], corpus.positive_starts[query + 1])
        assert table.positive_rank[query] == min(expected[own])
        assert table.negatives[query] == (selection.negatives[query] >= 0).sum()
        assert table.margin[query] == np.float32(table.positive[query] - selection.scores[query, 0])


def test_every_candidate_of_a_query_says_what_became_of_it():
    corpus, ranking, selection = example(10)
    positive = positive_score(corpus, ranking, selection.settings)
    for query in range(len(corpus.queries)):
        found = candidates_of(corpus, ranking, selection, query)
        chosen = {int(passage): int(number) for passage, number in zip(found.ids, found.chosen, strict=True) if number}
        wanted = [passage for passage in selection.negatives[query].tolist() if passage >= 0]
        assert sorted(chosen, key=chosen.__getitem__) == wanted
        assert sum("random fill" in state for state in found.statuses) >= selection.random_filled[query].sum()
        assert found.scores.tobytes() == ranking.score_pairs(np.full(len(found.ids), query, np.int32), found.ids).tobytes()
        if positive[query] > 0:
            assert np.allclose(found.ratios, found.scores / positive[query])
        positives = ranking.passage_vectors[corpus.positives(query)]
        assert np.allclose(found.to_positive, (ranking.passage_vectors[found.ids] @ positives.T).max(axis=1), atol=1e-5)


def test_every_reason_has_words():
    corpus, ranking, _ = example()
    values = {each.name: each.slider.setting(each.slider.default) for each in FILTERS.values()}
    selection = select(corpus, ranking, SelectionSettings(window_end=12))
    selection = dataclasses.replace(selection, settings=SelectionSettings(window_end=12, **values))
    words = [quality.explain(int(reason), selection, order=1) for reason in (*Reason, *(each.reason for each in FILTERS.values()))]
    assert all(words)
    assert len(set(words)) == len(words)


def test_a_target_leaves_out_what_is_likely_relevant_or_easier():
    """The words tell the two apart: one is at least as hard as a selected negative, the other is not."""
    corpus, ranking, _ = example(12)
    rng = np.random.default_rng(1)
    estimates = rng.random(ranking.ids.shape).astype(np.float32)
    plain = select(corpus, ranking, SelectionSettings(window_start=0, window_end=12, negative_number=4, strategy="hardest"))
    reasons = plain.reasons.copy()
    for query in range(len(reasons)):  # as a target would: one of the chosen makes room for an easier one
        (chosen,), (left,) = np.nonzero(reasons[query] == Reason.CHOSEN), np.nonzero(reasons[query] == Reason.NOT_DRAWN)
        reasons[query, chosen[1]], reasons[query, left[0]] = Reason.NOT_DRAWN, Reason.CHOSEN
    negatives = np.array([ranking.ids[query, reasons[query] == Reason.CHOSEN] for query in range(len(reasons))])
    scores = np.array([ranking.scores[query, reasons[query] == Reason.CHOSEN] for query in range(len(reasons))])
    settings = SelectionSettings(window_start=0, window_end=12, negative_number=4, strategy="hardest", max_fn_rate=0.01)
    selection = dataclasses.replace(plain, settings=settings, reasons=reasons, negatives=negatives, scores=scores)
    found = candidates_of(corpus, ranking, selection, 0, estimates[0])
    left_out = [place for place in range(12) if reasons[0, place] == Reason.NOT_DRAWN]
    for place in left_out:
        if ranking.scores[0, place] >= scores[0].min():
            assert found.statuses[place].startswith("filtered: likely relevant (")
            assert f"{100 * estimates[0, place]:.0f}" in found.statuses[place]
        else:
            assert found.statuses[place] == "not needed: easier than the selected ones"
    assert len({found.statuses[place].partition(" (")[0] for place in left_out}) == 2


def test_what_reviewers_decided_stands_with_the_candidates():
    """Whatever else kept a passage in or out: a person who dropped it looks for that word."""
    corpus, ranking, before = example(10)
    query = 2
    promoted, kept, dropped, early = (int(ranking.ids[query, rank]) for rank in (2, 4, 5, 0))
    texts = [corpus.passages[passage] for passage in (promoted, kept, dropped, early)]
    choices = zip(texts, ("positive", "negative", "relevant", "relevant"), strict=True)
    judged = match_verdicts(corpus, [Verdict(query=corpus.queries[query], passage=text, verdict=choice) for text, choice in choices])
    corpus, ranking = apply_promotions(corpus, ranking, judged)
    selection = select(corpus, ranking, before.settings, judged)
    found = candidates_of(corpus, ranking, selection, query)
    state = {int(passage): state for passage, state in zip(found.ids, found.statuses, strict=True)}
    assert state[promoted] == "positive of this query, added as positive by a reviewer"
    assert state[kept].startswith("chosen")
    assert state[kept].endswith(", judged negative by a reviewer")
    assert state[dropped] == "removed by a reviewer"
    assert state[early].count("removed by a reviewer") == 1
    table = query_table(corpus, ranking, selection)
    assert [table.verdicts[name][query] for name in DECIDED] == [1, 2, 1, 0]
    assert table.reviewed[query] == 4
    assert table.reviewed.sum() == 4


def test_signals_travel_with_the_candidates_and_miss_on_back_filled_ones():
    corpus, ranking, _ = example(10)
    ranking = dataclasses.replace(ranking, signals={"bm25_ratio": np.arange(ranking.ids.size, dtype=np.float32).reshape(ranking.ids.shape)})
    selection = select(corpus, ranking, SelectionSettings(window_start=8, window_end=10, negative_number=5))
    found = candidates_of(corpus, ranking, selection, 1)
    assert found.signals["bm25_ratio"][:10].tolist() == list(range(10, 20))
    assert len(found.ids) > 10
    assert np.isnan(found.signals["bm25_ratio"][10:]).all()
    assert (found.reasons[10:] == Reason.CHOSEN).all()
