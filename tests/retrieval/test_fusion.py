"""Fused rankings: the sums of reciprocal ranks against an oracle of fractions, and a selection from ranks that do not descend."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnmine.analysis.count_charts import rank_curve
from hnmine.analysis.queries import candidates_of, positive_ranks, query_table
from hnmine.data.corpus import build_corpus
from hnmine.data.verdicts import Verdict
from hnmine.retrieval.retrievers import FUSION_DEPTH, fused
from hnmine.selection.ordering import descends, hardest_first, order_keys
from hnmine.selection.select import select
from hnmine.selection.settings import SelectionSettings
from tests.selection.test_select import (
    check,
    grid_score,
    ladder,
    names,
    negatives_by_query,
    pools,
    ranked,
    row,
    row_lists,
    settings_strategy,
    verdict_lists,
)

# No two different sums of up to three of 1/61 ... 1/72 are closer than rounding could confuse: the test below that this is so.
DEEPEST = 12


@st.composite
def rankings(draw, lists=None):
    """Some lists, each (q, w) of passages that are none twice, -1 behind the last; as many passages as make them overlap."""
    count, queries = draw(st.integers(1, 20)), draw(st.integers(1, 4))
    found = []
    for _ in range(lists or draw(st.integers(1, 3))):
        width = draw(st.integers(1, min(DEEPEST, count)))
        rows = [draw(st.permutations(range(count)))[: draw(st.integers(0, width))] for _ in range(queries)]
        found.append(np.array([[*each, *[-1] * (width - len(each))] for each in rows], dtype=np.int32).reshape(queries, width))
    return found


def oracle(lists, query, behind=None):
    """The fused list of one query: by the sum of 1 / (60 + rank), ranks from 1, then by id; then what stands behind, in its order."""
    sums = {}
    for each in lists:
        for rank, passage in enumerate(each[query].tolist(), start=1):
            if passage >= 0:
                sums[passage] = sums.get(passage, 0) + Fraction(1, 60 + rank)
    order = sorted(sums, key=lambda passage: (-sums[passage], passage))
    return order + ([] if behind is None else [passage for passage in behind[query].tolist() if passage >= 0 and passage not in sums])


@given(rankings(), st.integers(1, 45))
def test_the_order_is_that_of_the_sums_of_reciprocal_ranks(lists, depth):
    ids, ranks = fused(lists, depth)
    assert ids.dtype == np.int32
    assert ids.shape == (len(lists[0]), depth)
    for query, found in enumerate(ids.tolist()):
        wanted = oracle(lists, query)[:depth]
        assert found == wanted + [-1] * (depth - len(wanted))
        for each, told in zip(lists, ranks, strict=True):
            places = {passage: place for place, passage in enumerate(each[query].tolist())}
            assert told[query].tolist() == [places[passage] if passage >= 0 and passage in places else -1 for passage in found]


@given(rankings(3), st.integers(1, 45))
def test_what_stands_behind_goes_on_where_the_lists_end_and_has_no_vote(lists, depth):
    *lists, behind = lists
    ids, ranks = fused(lists, depth, behind=behind)
    for query, found in enumerate(ids.tolist()):
        wanted = oracle(lists, query, behind)[:depth]
        assert found == wanted + [-1] * (depth - len(wanted))
    assert len(ranks) == len(lists)


@given(rankings(), st.integers(1, 20), st.integers(0, 25))
def test_a_deeper_list_begins_with_the_shallower_one(lists, depth, more):
    ids, ranks = fused(lists, depth)
    deeper, deeper_ranks = fused(lists, depth + more)
    assert deeper[:, :depth].tolist() == ids.tolist()
    for each, deep in zip(ranks, deeper_ranks, strict=True):
        assert deep[:, :depth].tolist() == each.tolist()


@given(rankings(3), st.permutations(range(3)))
def test_the_order_in_which_retrievers_are_named_decides_nothing(lists, order):
    ids, ranks = fused(lists, 20)
    again, again_ranks = fused([lists[number] for number in order], 20)
    assert again.tolist() == ids.tolist()
    assert [each.tolist() for each in again_ranks] == [ranks[number].tolist() for number in order]


@given(rankings(), st.sampled_from([1, 7, 60]))
def test_the_size_of_a_block_changes_nothing(lists, elements):
    whole, ranks = fused(lists, 20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hnmine.core.arrays.ELEMENTS", elements)
        blocks, block_ranks = fused(lists, 20)
    assert blocks.tolist() == whole.tolist()
    assert [each.tolist() for each in block_ranks] == [each.tolist() for each in ranks]


def test_lists_as_deep_as_they_get_and_ids_as_high():
    """Three lists of 1,000 of the highest ids there are: no bit runs over. What all three rank first is first."""
    rng = np.random.default_rng(7)
    ids = np.array([2**31 - 1 - np.append(0, 1 + rng.permutation(4_000))[:FUSION_DEPTH] for _ in range(6)])
    lists = [ids[:2].astype(np.int32), ids[2:4].astype(np.int32), ids[4:].astype(np.int32)]
    found, ranks = fused(lists, FUSION_DEPTH)
    for query in range(2):
        sums = {}
        for each in lists:
            for rank, passage in enumerate(each[query].tolist(), start=1):
                sums[passage] = sums.get(passage, 0) + Fraction(1, 60 + rank)
        told = [sums[passage] for passage in found[query].tolist()]
        assert len(set(found[query].tolist())) == FUSION_DEPTH
        assert all(before - after > -Fraction(1, 2**50) for before, after in pairwise(told))
        assert min(told) >= sorted(sums.values())[-FUSION_DEPTH] - Fraction(1, 2**50)
        assert found[query, 0] == 2**31 - 1
    assert all((each[:, 0] == 0).all() for each in ranks)


def test_more_than_there_is_room_for_is_refused():
    lists = [np.zeros((1, 1), np.int32)] * 4
    with pytest.raises(ValueError, match="4 lists"):
        fused(lists, 1)
    with pytest.raises(ValueError, match=r"5,000 ranks"):
        fused([np.arange(5_000, dtype=np.int32)[None]], 1)


# Hardness

floats = st.floats(-1e6, 1e6, width=32).map(lambda value: value + 0.0)  # no negative zero


@given(
    st.lists(st.tuples(st.sampled_from([-2.0, -0.5, 0.0, 0.25, 0.5]) | floats, st.integers(0, 2**31 - 1)), unique_by=lambda each: each[1])
)
def test_lots_of_hardness_are_in_the_order_of_score_and_id(pairs):
    scores, ids = np.array([[score for score, _ in pairs]], np.float32), np.array([[passage for _, passage in pairs]], np.int32)
    random_keys = order_keys(scores, ids)
    assert np.argsort(random_keys[0]).tolist() == np.lexsort((ids[0], -scores[0])).tolist()


@given(st.lists(st.lists(st.integers(-3, 3), max_size=6), max_size=5))
def test_hardest_first_sorts_within_each_row_alone(rows):
    width = max(map(len, rows), default=0)
    scores = np.array([[*each, *[0] * (width - len(each))] for each in rows], np.float32).reshape(len(rows), width)
    ids = np.broadcast_to(np.arange(width, 0, -1, dtype=np.int32), scores.shape)
    owners = np.repeat(np.arange(len(rows)), [len(each) for each in rows])
    places = np.concatenate([np.arange(len(each)) for each in rows] or [np.zeros(0, int)])
    found = hardest_first(owners, places, scores, ids)
    assert descends(scores) == all(list(each) == sorted(each, reverse=True) for each in scores.tolist())
    for number, each in enumerate(rows):
        mine = found[owners == number].tolist()
        assert mine == sorted(range(len(each)), key=lambda place: (-each[place], ids[number, place]))


# A selection from fused ranks


def other_score(query, passage):
    return grid_score(query[::-1] + "other", passage)


def fused_ranking(corpus, depth=None):
    """What the first score ranks and what the other one does, fused; similarities are the first one's."""
    first, other = ranked(corpus, grid_score), ranked(corpus, other_score)
    ids, _ = fused([first.ids, other.ids], min(depth or corpus.n_candidates, corpus.n_candidates))
    owners = np.repeat(np.arange(len(ids), dtype=np.int32), ids.shape[1])
    return replace(first, ids=ids, scores=first.score_pairs(owners, ids.ravel()).reshape(ids.shape))


@given(row_lists, pools, st.sampled_from(["extend", "replace"]), settings_strategy(), verdict_lists)
def test_every_property_of_a_selection_holds_for_fused_ranks(parts, pool, mode, settings, verdicts):
    """The oracle of selections: the window cuts fused ranks; hardest is the highest similarity, and so are the first of the negatives."""
    corpus = build_corpus([row(*part) for part in parts], pool, pool_mode=mode)
    check(corpus, fused_ranking(corpus), settings, verdicts)


@given(row_lists, pools, settings_strategy(), st.integers(0, 30))
def test_a_deeper_fused_ranking_gives_the_same_selection(parts, pool, settings, more):
    corpus = build_corpus([row(*part) for part in parts], pool)
    least = select(corpus, fused_ranking(corpus, settings.window_end), settings)
    deeper = select(corpus, fused_ranking(corpus, settings.window_end + more), settings)
    assert deeper.negatives.tolist() == least.negatives.tolist()
    assert deeper.scores.tobytes() == least.scores.tobytes()


@given(row_lists, pools, settings_strategy(), st.randoms(use_true_random=False))
def test_shuffled_rows_keep_each_querys_negatives(parts, pool, settings, shuffle):
    rows = [row(*part) for part in parts]
    corpus = build_corpus(rows, pool)
    again = build_corpus(shuffle.sample(rows, len(rows)), shuffle.sample(pool, len(pool)))
    assert negatives_by_query(again, select(again, fused_ranking(again), settings)) == negatives_by_query(
        corpus, select(corpus, fused_ranking(corpus), settings)
    )


def climbing(count):
    """The world of `ladder`, with its ranks the wrong way round: the easiest passage is first."""
    corpus, ranking = ladder(count)
    return corpus, replace(ranking, ids=ranking.ids[:, ::-1].copy(), scores=ranking.scores[:, ::-1].copy())


def test_the_hardest_of_a_window_are_those_of_the_highest_similarity_wherever_they_rank():
    corpus, ranking = climbing(40)
    settings = SelectionSettings(window_start=5, window_end=25, negative_number=4, strategy="hardest")
    selection = select(corpus, ranking, settings)
    inside = [corpus.passages[passage] for passage in ranking.ids[0, 5:25].tolist() if passage not in corpus.positives(0)]
    assert names(corpus, selection, 0) == inside[::-1][:4]
    assert list(selection.scores[0]) == sorted(selection.scores[0], reverse=True)
    assert (
        query_table(corpus, ranking, selection).hardest[0] == ranking.scores[0, 5:25][ranking.ids[0, 5:25] != corpus.positive_ids[0]].max()
    )


def test_what_was_kept_before_the_window_is_let_in_among_fused_ranks_too():
    corpus, ranking = climbing(40)
    kept = corpus.passages[int(ranking.ids[0, 2])]
    for strategy in ("hardest", "random"):
        settings = SelectionSettings(window_start=5, window_end=25, negative_number=4, strategy=strategy)
        selection = check(corpus, ranking, settings, [Verdict(query="q", passage=kept, verdict="negative")])
        assert names(corpus, selection, 0)[-1] == kept, "taken, and the easiest of them"


def test_the_rank_of_a_positive_is_its_rank_in_the_fused_list():
    corpus, ranking = climbing(40)
    place = int(np.flatnonzero(ranking.ids[0] == corpus.positive_ids[0])[0])
    assert positive_ranks(corpus, ranking).tolist() == [place]
    selection = select(corpus, ranking, SelectionSettings(window_start=0, window_end=30, negative_number=3, strategy="hardest"))
    details = candidates_of(corpus, ranking, selection, 0)
    assert details.ranks[: ranking.depth].tolist() == list(range(ranking.depth))
    assert details.scores[: ranking.depth].tolist() == ranking.scores[0].tolist()
    chosen = np.flatnonzero(details.chosen)
    order = chosen[np.argsort(details.chosen[chosen])]
    assert list(details.scores[order]) == sorted(details.scores[order], reverse=True), "chosen 1 is the hardest"
    plain = candidates_of(corpus, ladder(40)[1], select(corpus, ladder(40)[1], selection.settings), 0)
    for candidates, mark in ((details, "point"), (plain, "line")):
        layers = rank_curve(candidates, selection.settings, 0.5).spec["layer"]
        assert [layer["mark"]["type"] for layer in layers if layer["data"]["name"] == "curve"] == [mark]


def test_the_fractions_of_the_oracle_are_far_enough_apart():
    singles = [Fraction(1, 60 + rank) for rank in range(1, DEEPEST + 1)]
    sums = {0 * singles[0]}
    for _ in range(3):
        sums |= {each + one for each in sums for one in singles}
    ordered = sorted(sums)
    assert min(after - before for before, after in pairwise(ordered)) > Fraction(1, 2**50)
