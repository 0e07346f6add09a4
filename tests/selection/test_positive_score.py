"""One definition of the positive's score: what a filter lets pass is within its limit on every screen, too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hnmine.analysis import queries as quality
from hnmine.analysis.compare import Side, compare
from hnmine.analysis.explanation import pair_details
from hnmine.data.corpus import Corpus
from hnmine.data.verdicts import Verdict, match_verdicts
from hnmine.retrieval.ranking import Ranking
from hnmine.review import queue
from hnmine.review.audit_sample import AuditSettings, draw, pairs_in
from hnmine.review.queue import QueueSettings
from hnmine.selection.positive_score import ratio_to_positive
from hnmine.selection.promotions import apply_promotions
from hnmine.selection.select import Selection, select
from hnmine.selection.settings import POSITIVE_SCORES, PositiveScore, SelectionSettings
from tests.worlds import world

# A filter compares with 0.95 x the positive's score; the ratio is rounded once more.
LIMIT = 0.95 + 1e-6
NOBODY = (np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int8))


def mined(positive_score: PositiveScore = "in_window") -> tuple[Corpus, Ranking, Selection]:
    """Negatives under a limit of 95 %, of queries that have up to four positives, most of which rank behind the window."""
    corpus, ranking = world(rows=40, pool=200, positives=4)
    settings = SelectionSettings(
        window_start=0, window_end=30, negative_number=5, strategy="hardest", max_positive_ratio=0.95, positive_score=positive_score
    )
    return corpus, ranking, select(corpus, ranking, settings)


@pytest.mark.parametrize("positive_score", POSITIVE_SCORES)
def test_every_negative_on_a_screen_is_within_the_limit_of_the_filter(positive_score: PositiveScore) -> None:
    corpus, ranking, selection = mined(positive_score)
    table = quality.query_table(corpus, ranking, selection)
    assert np.isfinite(table.ratio).sum() > 20
    assert not (table.ratio > LIMIT).any()
    for query in range(len(corpus.queries)):
        candidates = quality.candidates_of(corpus, ranking, selection, query)
        ratios = candidates.ratios[candidates.chosen > 0]
        assert not (ratios > LIMIT).any()
        assert len(ratios) == 0 or np.array_equal(ratios.max(), table.ratio[query], equal_nan=True)
    queued = queue.build(corpus, ranking, selection, QueueSettings(order="ratio"), NOBODY)
    assert len(queued) == selection.counts.sum()
    assert not (queued.ratios > LIMIT).any()
    side = Side(corpus, ranking, selection)
    assert not (compare(side, side).ratio_first > LIMIT).any()


def test_every_negative_of_an_audits_sample_is_within_the_limit_of_the_filter() -> None:
    corpus, ranking, selection = mined()
    sample = draw(corpus, ranking, selection, AuditSettings(size=2_000))
    assert all(band.low is None or band.low < 0.95 for band in sample.bands)
    queries, passages = pairs_in(sample, corpus)
    assert len(queries) > 100
    for query, passage in zip(queries.tolist(), passages.tolist(), strict=True):
        ratio = pair_details(corpus, ranking, selection, query, passage).ratio
        assert ratio is not None
        assert ratio <= LIMIT


def test_a_positive_that_scores_nothing_has_no_ratio_anywhere() -> None:
    """It counts as the closest where pairs are ordered, and is in the highest band of an audit."""
    assert ratio_to_positive([0.5, -0.5, 0.5, 0.5, np.nan, 0.5], [0.4, 0.4, 0, -0.1, 0.4, np.nan]).tolist() == pytest.approx(
        [1.25, -1.25, *[np.nan] * 4], nan_ok=True
    )
    corpus, ranking = world()
    scores = np.array(ranking.positive_scores)
    scores[corpus.positive_queries == 0], scores[corpus.positive_queries == 1] = 0, -0.2
    ranking = replace(ranking, positive_scores=scores)
    selection = select(corpus, ranking, SelectionSettings(window_start=0, window_end=30, negative_number=5))
    side = Side(corpus, ranking, selection)
    for found in (quality.query_table(corpus, ranking, selection).ratio, compare(side, side).ratio_second):
        assert np.isnan(found[:2]).all()
        assert np.isfinite(found[2:]).all()
    for query in (0, 1):
        assert np.isnan(quality.candidates_of(corpus, ranking, selection, query).ratios).all()
        assert pair_details(corpus, ranking, selection, query, int(selection.negatives[query, 0])).ratio is None
    queued = queue.build(corpus, ranking, selection, QueueSettings(order="ratio"), NOBODY)
    assert set(queued.queries[:10].tolist()) == {0, 1}
    sample = draw(corpus, ranking, selection, AuditSettings(size=2_000))
    assert sample.bands[-1].negatives >= 10


def test_a_promoted_passage_is_compared_with_the_other_positives() -> None:
    corpus, ranking, before = mined()
    query = int(np.flatnonzero(np.diff(corpus.positive_starts) == 1)[0])
    passage = int(before.negatives[query, 0])
    promotion = Verdict(query=corpus.queries[query], passage=corpus.passages[passage], verdict="positive")
    judged = match_verdicts(corpus, [promotion])
    expected = pair_details(corpus, ranking, before, query, passage).ratio
    corpus, ranking = apply_promotions(corpus, ranking, judged)
    selection = select(corpus, ranking, before.settings, judged)
    assert selection.positive[query] != before.positive[query]
    assert pair_details(corpus, ranking, selection, query, passage).ratio == expected
