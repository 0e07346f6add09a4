"""Histograms: counts of every value, an axis that no setting moves, small histograms of rows, two selections in common bins."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from hnmine.analysis.compare import Side
from hnmine.analysis.histograms import BINS, MINI_BINS, RATIOS, STEP, mini_histogram, mini_histograms, overlay, run_bins, score_histograms
from hnmine.data.verdicts import VerdictPairs
from hnmine.retrieval.ranking import Ranking
from hnmine.selection.select import Selection, select
from hnmine.selection.settings import SelectionSettings
from tests.worlds import world

NOBODY = (np.zeros(0, np.int32), np.zeros(0, np.int32))
CORPUS, RANKING = world()


def chosen_by(**changes) -> Selection:
    return select(CORPUS, RANKING, SelectionSettings(**{"window_start": 0, "window_end": 30, "negative_number": 3} | changes))


def held(scores: np.ndarray, positives: np.ndarray, chosen: np.ndarray) -> tuple[Ranking, Selection]:
    """A ranking and a selection of which the histograms look at nothing but the scores."""
    nothing = np.zeros((1, 1), dtype=np.float32)
    ranking = Ranking(
        ids=np.zeros(scores.shape, np.int32), scores=scores, positive_scores=positives, query_vectors=nothing, passage_vectors=nothing
    )
    taken = np.where(np.isnan(chosen), -1, 0).astype(np.int32)
    settings = SelectionSettings(window_start=0, window_end=max(1, scores.shape[1]))
    return ranking, Selection(
        settings=settings,
        reasons=np.zeros(scores.shape, np.int8),
        negatives=taken,
        scores=chosen,
        positive=positives[:1],
        random_filled=np.zeros(taken.shape, bool),
        funnel={},
        verdict_pairs=VerdictPairs(*[NOBODY] * 5, (), 0, ""),
    )


# Any float32, and those that stand on an edge or next to one.
grid = st.integers(-400, 400).map(lambda number: np.float32(number / 200))
beside = st.tuples(grid, st.sampled_from([-1, 1])).map(lambda pair: np.nextafter(pair[0], np.float32(pair[1] * 9), dtype=np.float32))
values = st.one_of(grid, beside, st.floats(-30, 30, width=32).map(np.float32))


@given(
    st.lists(values, min_size=1, max_size=40),
    st.lists(values, max_size=10),
    st.lists(values, min_size=1, max_size=5),
    st.sampled_from([1, 8, 10**6]),
)
def test_histograms_are_those_of_numpy(window, chosen, positives, elements):
    arrays = [np.array(each, dtype=np.float32) for each in (window, chosen, positives)]
    ranking, selection = held(arrays[0].reshape(-1, 1), arrays[2], np.append(arrays[1], np.float32(np.nan)).reshape(1, -1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hnmine.core.arrays.ELEMENTS", elements)
        found = score_histograms(ranking, selection)
    # Random-filled negatives may be outside of what is ranked: the first and the last bin count them. NumPy counts the upper edge of its
    # last bin into it, so it gets one more edge.
    edges = np.append(found.edges, found.edges[-1] + 1)
    first, end = (np.float32(each) for each in (found.edges[0], found.edges[-1]))
    first = first if first >= found.edges[0] else np.nextafter(first, np.float32(np.inf))
    last = end if end < found.edges[-1] else np.nextafter(end, np.float32(-np.inf))
    groups = (arrays[0], np.clip(arrays[1], first, last), arrays[2])
    for counts, group in zip((found.candidates, found.chosen, found.positives), groups, strict=True):
        assert counts.tolist() == np.histogram(group, bins=edges)[0][:-1].tolist()
        assert counts.sum() == len(group)
    assert found.outside == sum(not found.edges[0] <= value < found.edges[-1] for value in arrays[1].tolist())
    assert len(found.candidates) == BINS and max(*arrays[0], *arrays[2]) < found.edges[-1]
    for group, mean in zip((arrays[2], arrays[1], arrays[0]), found.means, strict=True):
        assert np.isnan(mean) if not len(group) else mean == pytest.approx(group.mean(dtype=np.float64), abs=1e-6)


def test_histograms_of_nothing_chosen_and_nothing_ranked_are_empty():
    ranking, selection = held(np.zeros((2, 0), np.float32), np.array([0.5, 0.25], np.float32), np.full((2, 3), np.nan, np.float32))
    found = score_histograms(ranking, selection)
    assert found.positives.sum() == 2
    assert found.chosen.sum() == found.candidates.sum() == 0
    assert np.isnan(found.above_positive) and found.top > 0


@given(st.integers(0, 59), st.integers(1, 60), st.sampled_from([None, 0.3, 0.6]), st.sampled_from(["hardest", "random"]))
@hypothesis_settings(deadline=None)
def test_no_setting_moves_the_axis_and_no_bar_is_cut_off(start, width, most, strategy):
    bins = run_bins(RANKING)
    selection = chosen_by(window_start=start, window_end=min(60, start + width), max_score=most, strategy=strategy)
    found = score_histograms(RANKING, selection, bins)
    assert np.array_equal(found.edges, bins.edges) and np.array_equal(found.positives, bins.positives)
    assert np.log(found.top / bins.top) / np.log(STEP) == pytest.approx(round(np.log(found.top / bins.top) / np.log(STEP)))
    assert all(100 * counts.max() <= found.top * max(1, counts.sum()) for counts in (found.positives, found.chosen, found.candidates))
    whole = score_histograms(RANKING, selection)
    assert np.array_equal(whole.candidates, found.candidates)
    assert found.candidates.sum() == len(CORPUS.queries) * (min(60, start + width) - start)


def test_the_part_above_the_positive_is_that_of_each_query():
    selection = chosen_by()
    above = [score > positive for scores, positive in zip(selection.scores, selection.positive, strict=True) for score in scores]
    assert score_histograms(RANKING, selection).above_positive == pytest.approx(sum(above) / int(selection.counts.sum()))


def test_small_histograms_of_rows_count_their_scores_on_the_run_s_axis():
    bins, selection = run_bins(RANKING), chosen_by(negative_number=20)
    found = mini_histograms(selection.scores, bins.edges)
    assert [sum(row) for row in found] == selection.counts.tolist() and {len(row) for row in found} == {MINI_BINS}
    ends = bins.edges[:: BINS // MINI_BINS]
    assert found[0] == np.histogram(selection.scores[0][: selection.counts[0]], ends)[0].tolist()
    assert np.sum(found, axis=0).tolist() == mini_histogram(score_histograms(RANKING, selection, bins).chosen)
    assert mini_histograms(np.full((2, 3), np.nan, np.float32), bins.edges) == [[0] * MINI_BINS] * 2


def test_two_selections_are_counted_in_common_bins():
    one, other = chosen_by(window_start=20), chosen_by(negative_number=5)
    found = overlay(Side(CORPUS, RANKING, one), Side(CORPUS, RANKING, other), same_model=True)
    for counts, selection, mean in ((found.first, one, found.means[0]), (found.second, other, found.means[1])):
        scores = selection.scores[selection.negatives >= 0]
        assert counts.tolist() == np.histogram(scores, found.edges)[0].tolist() and mean == pytest.approx(scores.mean(), abs=1e-6)
    assert found.candidates.sum() == RANKING.scores[:, 20:30].size and not found.ratios


def test_selections_of_different_models_are_compared_by_their_ratio_to_the_positive():
    one, other = chosen_by(), chosen_by(negative_number=5)
    # The similarities of the other model are a hundredth: so are those of its positives.
    small = dataclasses.replace(other, scores=other.scores / 100, positive=other.positive / 100)
    found = overlay(Side(CORPUS, RANKING, one), Side(CORPUS, RANKING, small), same_model=False)
    same = overlay(Side(CORPUS, RANKING, one), Side(CORPUS, RANKING, other), same_model=False)
    assert found.means == pytest.approx(same.means, rel=1e-4) and found.ratios
    assert RATIOS[0] - 10 < found.edges[0] and found.edges[-1] < RATIOS[1] + 10
