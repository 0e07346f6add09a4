"""The review queue: which pairs, in which order, and what marks leave of it; the evidence and the words shown with a pair."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnmine.analysis.explanation import pair_details, warnings
from hnmine.core.errors import SettingsError
from hnmine.core.text import common_words, shared
from hnmine.data.corpus import Corpus, build_corpus
from hnmine.data.rows import Row
from hnmine.data.verdicts import CHOICES, Verdict, VerdictPairs, match_verdicts, pairs_of
from hnmine.retrieval.ranking import Ranking, rank, ranks_of
from hnmine.retrieval.signals import positive_similarity, with_signals
from hnmine.review import queue
from hnmine.review.queue import STATES, Queue, QueueSettings
from hnmine.selection.fn_model import FNEstimator, default_fn_model
from hnmine.selection.promotions import apply_promotions
from hnmine.selection.select import Selection, select
from hnmine.selection.settings import Reason, SelectionSettings
from tests.conftest import FakeEncoder

WORDS = [
    "bike",
    "lock",
    "pump",
    "chain",
    "tyre",
    "bell",
    "light",
    "rack",
    "brake",
    "wheel",
    "pedal",
    "seat",
    "frame",
    "fork",
    "hub",
    "spoke",
]
SETTINGS = SelectionSettings(window_start=3, window_end=20, negative_number=4)


class House:
    """A small run, and its queue under given settings and verdicts."""

    def __init__(self, verdicts: Sequence[Verdict] = ()) -> None:
        rows = [
            Row(
                query=f"how do I mend a {word} {other}",
                pos=[f"To mend the {word} take the {other} off."],
                neg=[],
                fields={},
                line=number + 1,
            )
            for number, word in enumerate(WORDS[:12])
            for other in [WORDS[(number * 5 + 3) % len(WORDS)]]
        ]
        pool = [f"The {one} is next to the {two}, number {number}." for number, one in enumerate(WORDS) for two in WORDS[number % 3 :: 3]]
        plain = build_corpus(rows, pool)
        ranking = rank(plain, FakeEncoder(), 40)
        self.verdict_pairs: VerdictPairs = match_verdicts(plain, verdicts)
        self.verdicts = list(verdicts)
        self.corpus, self.ranking = apply_promotions(plain, ranking, self.verdict_pairs)
        self.selection: Selection = select(self.corpus, self.ranking, SETTINGS, self.verdict_pairs)

    def queue(self, **settings: object) -> Queue:
        judged = queue.pairs_with_verdict(self.corpus, self.verdict_pairs, self.verdicts)
        return queue.build(self.corpus, self.ranking, self.selection, QueueSettings(**settings), judged)  # type: ignore[arg-type]

    def texts(self, pair: tuple[int, int]) -> tuple[str, str]:
        return self.corpus.queries[pair[0]], self.corpus.passages[pair[1]]


@pytest.fixture(scope="module")
def house() -> House:
    return House()


def pairs(found: Queue) -> list[tuple[int, int]]:
    return [found.pair(place) for place in range(len(found))]


def test_the_queue_holds_each_chosen_negative_once(house: House) -> None:
    found = house.queue()
    wanted = {(query, int(passage)) for query, row in enumerate(house.selection.negatives) for passage in row if passage >= 0}
    assert len(found) == len(wanted) == 48
    assert set(pairs(found)) == wanted
    assert found.todo.all()
    assert found.counts == dict.fromkeys(STATES, 0) | {"unreviewed": 48}
    np.testing.assert_array_equal(found.scores, house.ranking.score_pairs(found.queries, found.passages))


def test_the_most_suspicious_are_near_to_the_query_and_to_a_positive_at_once(house: House) -> None:
    found = house.queue()
    alike = positive_similarity(house.corpus, house.ranking, found.queries, found.passages)
    brute = [
        max(float(house.ranking.passage_vectors[p] @ house.ranking.passage_vectors[passage]) for p in house.corpus.positives(query))
        for query, passage in pairs(found)
    ]
    np.testing.assert_allclose(alike, brute, atol=1e-6)
    assert (np.diff(found.scores + alike) <= 1e-6).all()


@pytest.fixture(scope="module")
def signalled() -> House:
    """A house whose run has signals, with some verdicts."""
    plain = House()
    texts = [plain.texts((query, int(plain.selection.negatives[query, 0]))) for query in range(6)]
    choices = ("relevant", "negative", "positive")
    house = House([Verdict(query=query, passage=passage, verdict=choices[place % 3]) for place, (query, passage) in enumerate(texts)])
    house.ranking = with_signals(house.corpus, house.ranking)
    return house


@pytest.mark.parametrize(
    "source", [source for source in get_args(queue.Source) if source not in queue._GIVEN]
)  # the pairs of the others are given
def test_with_signals_the_most_suspicious_are_those_of_the_highest_estimate(signalled: House, source: queue.Source) -> None:
    house = signalled
    estimator = FNEstimator(house.corpus, house.ranking, default_fn_model())
    judged = queue.pairs_with_verdict(house.corpus, house.verdict_pairs, house.verdicts)
    settings = QueueSettings(source=source, states=STATES)
    found = queue.build(house.corpus, house.ranking, house.selection, settings, judged, estimator)
    assert sorted(pairs(found)) == sorted(pairs(house.queue(source=source, states=STATES))), "the same pairs in another order"
    ranks = ranks_of(house.ranking.ids, found.queries, found.passages)
    fn_probabilities = [
        float(estimator.block(slice(q, q + 1), slice(r, r + 1))[0, 0]) for q, r in zip(found.queries, ranks, strict=True) if r >= 0
    ]
    assert (np.diff(fn_probabilities) <= 0).all()
    assert (ranks[: len(fn_probabilities)] >= 0).all(), "what is not ranked has no estimate, and comes last"
    assert pairs(found) != pairs(house.queue(source=source, states=STATES))


def test_the_evidence_says_the_estimate_and_its_reasons(signalled: House) -> None:
    house = signalled
    estimator = FNEstimator(house.corpus, house.ranking, default_fn_model())
    for query in range(12):
        for rank_ in (0, 7, 39):
            about = pair_details(house.corpus, house.ranking, house.selection, query, int(house.ranking.ids[query, rank_]), estimator)
            assert about.estimate == pytest.approx(float(estimator.block(slice(query, query + 1), slice(rank_, rank_ + 1))[0, 0]))
            assert about.reasons == tuple(estimator.reasons(query, rank_))
    outside = next(passage for passage in range(len(house.corpus.passages)) if passage not in house.ranking.ids[0])
    assert pair_details(house.corpus, house.ranking, house.selection, 0, outside, estimator).estimate is None
    assert pair_details(house.corpus, house.ranking, house.selection, 0, int(house.ranking.ids[0, 0])).estimate is None


def test_by_share_likeness_decides_within_a_per_cent(house: House) -> None:
    found = house.queue(order="ratio")
    cents = np.round(100 * found.ratios)
    assert (np.diff(cents) <= 0).all()
    alike = positive_similarity(house.corpus, house.ranking, found.queries, found.passages)
    same = np.diff(cents) == 0
    assert same.any()
    assert (np.diff(alike)[same] <= 1e-6).all()


def test_orders_by_query_hub_and_chance(house: House) -> None:
    asked = house.queue(order="query").queries
    first = {int(query): row for row, query in reversed(list(enumerate(house.corpus.row_queries)))}
    assert [first[int(query)] for query in asked] == sorted(first[int(query)] for query in asked)
    hubs = house.queue(order="hubs")
    counts = np.bincount(hubs.passages)[hubs.passages]
    assert (np.diff(counts) <= 0).all()
    assert counts[0] > 1
    drawn, again, other = (house.queue(order="random", seed=seed, sample=10) for seed in (1, 1, 2))
    assert len(drawn) == 10
    assert pairs(drawn) == pairs(again) != pairs(other)
    whole = house.queue(order="random", seed=1)
    assert pairs(whole)[:10] == pairs(drawn)
    assert set(pairs(whole)) == set(pairs(house.queue()))


def test_other_sources_hold_no_positive_and_not_the_query(house: House) -> None:
    window, nearest = house.queue(source="window"), house.queue(source="nearest")
    reasons = house.selection.reasons[:, 3:20]
    assert len(window) == np.isin(reasons, [Reason.POSITIVE, Reason.QUERY_ITSELF], invert=True).sum()
    for found, low, high in ((window, 3, 20), (nearest, 0, 3)):
        ranks = ranks_of(house.ranking.ids, found.queries, found.passages)
        assert ((ranks >= low) & (ranks < high)).all()
        assert not any(passage in house.corpus.positives(query) for query, passage in pairs(found))
    assert len(nearest) > 0


@given(
    low=st.one_of(st.none(), st.floats(-0.2, 0.9)),
    high=st.one_of(st.none(), st.floats(-0.2, 0.9)),
    share=st.one_of(st.none(), st.floats(0.0, 1.2)),
    words=st.sampled_from(["", "LOCK", "mend a b", "nothing has this"]),
    source=st.sampled_from(["chosen", "window", "nearest"]),
)
def test_filters_leave_what_fits_and_nothing_else(low: float, high: float, share: float, words: str, source: str) -> None:
    house = HOUSE
    whole = house.queue(source=source)
    found = house.queue(source=source, min_score=low, max_score=high, min_ratio=share, words=words)
    wanted = [
        whole.pair(place)
        for place in range(len(whole))
        if (low is None or whole.scores[place] >= np.float32(low))
        and (high is None or whole.scores[place] <= np.float32(high))
        and (share is None or whole.ratios[place] >= np.float32(share))
        and words.casefold() in house.corpus.queries[whole.queries[place]].casefold()
    ]
    assert pairs(found) == wanted  # in the same order


HOUSE = House()


def test_a_signal_filters_and_a_missing_one_is_told(house: House) -> None:
    values = np.tile(np.arange(house.ranking.depth, dtype=np.float32), (len(house.corpus.queries), 1))
    other = House()
    other.ranking = dataclasses.replace(house.ranking, signals={"bm25_ratio": values})
    found = other.queue(signal="bm25_ratio", min_signal=5, max_signal=9)
    ranks = ranks_of(house.ranking.ids, found.queries, found.passages)
    assert len(found)
    assert set(ranks.tolist()) <= {5, 6, 7, 8, 9}
    with pytest.raises(SettingsError, match="no signal 'bm26'; it has: bm25"):
        other.queue(signal="bm26")


def judged(house: House, choices: str) -> list[Verdict]:
    whole = house.queue()
    names = {"k": "negative", "d": "relevant", "p": "positive", "j": "junk", "s": "unsure"}
    texts = [house.texts(whole.pair(place)) for place in range(len(choices))]
    return [Verdict(query=q, passage=p, verdict=names[each]) for (q, p), each in zip(texts, choices, strict=True)]  # type: ignore[arg-type]


def test_judged_pairs_stay_in_the_queue_though_they_are_chosen_no_more(house: House) -> None:
    verdicts = judged(house, "kdpsdj")
    after = House(verdicts)
    found = after.queue()
    states = {after.texts(found.pair(place)): STATES[found.verdicts[place]] for place in range(len(found))}
    assert all(states[each.query, each.passage] == each.verdict for each in verdicts)
    assert found.counts["relevant"] == 2
    assert found.counts["unreviewed"] == found.todo.sum() == len(found) - 6
    assert len(found) == 48 + 4  # one replacement for each relevant, positive and junk pair
    for name in CHOICES:
        some = after.queue(states=(name,))
        wanted = {(each.query, each.passage) for each in verdicts if each.verdict == name}
        assert {after.texts(pair) for pair in pairs(some)} == wanted
        assert some.todo.all()
    assert len(after.queue(states=("unreviewed", "negative"), words="nothing has this")) == 0


def test_a_verdict_closes_a_pair_and_an_undo_opens_it_at_its_place(house: House) -> None:
    found = house.queue()
    many = np.arange(1, 30)
    found.note(found.queries[many], found.passages[many], np.full(len(many), 2, np.int8))
    assert np.flatnonzero(found.open("Ann")).tolist() == [0, *range(30, 48)]
    assert found.counts["relevant"] == 29
    found.note(found.queries[[3, 5]], found.passages[[3, 5]], np.zeros(2, np.int8))
    assert np.flatnonzero(found.open("Ann"))[:4].tolist() == [0, 3, 5, 30]
    found.note(np.array([0], np.int32), np.array([9_999], np.int32), np.array([1], np.int8))  # no pair of this queue
    assert found.places(np.array([0], np.int32), np.array([9_999], np.int32)).tolist() == [-1]


def test_what_cannot_be_is_refused() -> None:
    for wrong, message in (({"order": "best"}, "order is 'best'"), ({"source": "x"}, "source"), ({"states": ("odd",)}, "'odd'")):
        with pytest.raises(SettingsError, match=message):
            QueueSettings(**wrong)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="sample is 0"):
        QueueSettings(sample=0)


def test_texts_are_found_again_as_pairs(house: House) -> None:
    wanted = pairs(house.queue())[:5]
    texts = [house.texts(pair) for pair in wanted]
    queries, passages = pairs_of(house.corpus, [q.upper() for q, _ in texts] + ["?"], [f" {p}" for _, p in texts] + ["?"])
    assert list(zip(queries.tolist(), passages.tolist(), strict=True)) == [*wanted, (-1, -1)]


def test_the_evidence_of_a_pair_is_that_of_the_ranking(house: House) -> None:
    query, passage = house.queue().pair(0)
    about = pair_details(house.corpus, house.ranking, house.selection, query, passage)
    assert about.rank is not None
    assert house.ranking.ids[query, about.rank] == passage
    assert about.score == pytest.approx(float(house.ranking.scores[query, about.rank]))
    assert {each[0] for each in about.positives} == set(house.corpus.positives(query).tolist())
    assert about.positive_similarity == pytest.approx(max(each[2] for each in about.positives), abs=1e-6)
    assert about.chosen_for == (house.selection.negatives == passage).sum()


def test_a_promoted_passage_is_not_compared_with_itself(house: House) -> None:
    after = House(judged(house, "p"))
    query, passage = after.queue(states=("positive",)).pair(0)
    about = pair_details(after.corpus, after.ranking, after.selection, query, passage)
    assert passage not in {each[0] for each in about.positives}
    assert about.positive_similarity is not None
    assert about.positive_similarity < 0.999


def test_what_is_suspicious_is_said_in_words(house: House) -> None:
    query, passage = house.queue(source="nearest").pair(0)
    about = pair_details(house.corpus, house.ranking, house.selection, query, passage)
    said = warnings(dataclasses.replace(about, ratio=1.02, chosen_for=11, queries=12))
    assert said[0] == "scores above the positive"
    assert "above the rank range, which starts at 3" in said
    assert "reused: chosen for 11 of 12 queries" in said
    assert warnings(dataclasses.replace(about, ratio=0.3, rank=9, positive_similarity=0.0, chosen_for=1, labelled=False)) == []
    nearest = max(score for _, score, _ in about.positives)
    quiet = dataclasses.replace(about, ratio=0.3, rank=9, chosen_for=1, labelled=False)
    assert warnings(dataclasses.replace(quiet, positive_similarity=0.85 * nearest)) == ["almost as similar to the positive as the query is"]
    assert warnings(dataclasses.replace(quiet, positive_similarity=1.1 * nearest)) == ["more similar to the positive than the query is"]
    assert "0 or less" in warnings(dataclasses.replace(about, ratio=None))[0]


def test_shared_words_are_found_in_any_case_and_without_blanks() -> None:
    text = "The Lock is stiff; oil the LOCK-pin, not the straße."
    spans = shared(text, ["my lock", "STRASSE pin"], frozenset({"the"}))
    assert [text[start:end] for start, end in spans] == ["Lock", "LOCK", "pin", "straße"]
    text = "自転車の鍵が開かない"
    assert [text[start:end] for start, end in shared(text, ["鍵が壊れた自転車"])] == ["自転車", "鍵が"]
    assert shared("", ["x"]) == []


@given(st.text(max_size=60), st.text(max_size=60))
def test_marked_spans_are_in_order_and_hold_letters_and_digits(text: str, other: str) -> None:
    spans = shared(text, [other, text[: len(text) // 2]])
    assert all(start < end and "_" not in text[start:end] and text[start:end].isalnum() for start, end in spans if text.isascii())
    assert all(first[1] <= second[0] for first, second in pairwise(spans))


def test_words_that_stand_everywhere_are_common() -> None:
    texts = [f"the {word} is here" for word in WORDS * 5]
    assert common_words(texts) == {"the", "is", "here"}
    assert common_words(["a b", "a c"]) == frozenset()


@pytest.mark.parametrize("order", get_args(queue.Order))
def test_a_large_queue_is_whole_and_walks_on(order: str) -> None:
    corpus, ranking, selection = large(20_000)
    none = (np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int8))
    found = queue.build(corpus, ranking, selection, QueueSettings(order=order), none)  # type: ignore[arg-type]
    query, passage = found.pair(0)
    found.note(np.array([query], np.int32), np.array([passage], np.int32), np.array([1], np.int8))
    assert np.flatnonzero(found.open("Ann"))[0] == 1
    assert len(found) == 300_000


def large(count: int) -> tuple[Corpus, Ranking, Selection]:
    random = np.random.default_rng(0)
    passages = 2 * count
    own = random.integers(0, passages, count).astype(np.int32)
    vectors = random.standard_normal((passages, 64)).astype(np.float32)
    starts = np.arange(count + 1, dtype=np.int64)
    corpus = Corpus(
        passages=[""] * passages,
        passage_hashes=np.sort(random.integers(0, 2**63, passages).astype(np.uint64)),
        sources=np.ones(passages, np.uint8),
        n_candidates=passages,
        queries=[f"query {number}" for number in range(count)],
        query_hashes=np.sort(random.integers(0, 2**63, count).astype(np.uint64)),
        query_passages=np.full(count, -1, np.int32),
        row_queries=np.arange(count, dtype=np.int32),
        positive_starts=starts,
        positive_ids=own,
        row_positive_starts=starts,
        row_positive_ids=own,
        pool_mode=None,
    )
    ids = ((random.integers(0, passages, (count, 1)) + 7 * np.arange(210)) % passages).astype(np.int32)
    scores = np.sort(random.random((count, 210)).astype(np.float32), axis=1)[:, ::-1].copy()
    ranking = Ranking(ids, scores, random.random(count).astype(np.float32), vectors[:count], vectors)
    return corpus, ranking, select(corpus, ranking, SelectionSettings())


def test_the_same_text_in_two_spellings_is_one_pair(tmp_path: Path) -> None:
    house = House([Verdict(query="HOW do i mend a bike tyre", passage="x", verdict="relevant")])
    assert house.verdict_pairs.elsewhere == 1
    assert house.queue().counts["relevant"] == 0
