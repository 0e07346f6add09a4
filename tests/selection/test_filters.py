"""The filters by signals against a loop in plain Python: what each rejects, in which order, and that nothing of it comes back."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnmine.cli.flags import FLAGS, filter_table
from hnmine.core.errors import SettingsError
from hnmine.data.corpus import build_corpus
from hnmine.data.rows import Row
from hnmine.data.verdicts import CHOICES, Verdict, match_verdicts
from hnmine.selection.active_filters import ActiveFilters
from hnmine.selection.filters import FILTERS, ScoreFilter, filter_of
from hnmine.selection.fn_model import FN_SIGNALS, FNEstimator, default_fn_model
from hnmine.selection.positive_score import positive_score as positive_score_of
from hnmine.selection.promotions import apply_promotions
from hnmine.selection.select import select
from hnmine.selection.settings import POSITIVE_SCORES, TARGETS, Reason, SelectionSettings
from tests.worlds import toy

NAN = float("nan")

# The oracle


def positive_score_by_hand(scores, near, kind):
    """The score that represents several positives; `near` marks those in the window."""
    known = [(score, is_near) for score, is_near in zip(scores, near, strict=True) if score == score]
    if not known:
        return NAN
    if kind == "in_window" and any(is_near for _, is_near in known):
        known = [each for each in known if each[1]]
    values = [score for score, _ in known]
    return {"min": min(values), "max": max(values)}.get(kind, sum(values) / len(values))


class Oracle:
    """What the filters of some settings reject; None where rounding leaves it open."""

    def __init__(self, corpus, ranking, settings):
        self.corpus, self.ranking, self.settings = corpus, ranking, settings
        self.end = min(settings.window_end, ranking.depth)
        whole = FNEstimator(corpus, ranking, default_fn_model()).block(slice(0, len(corpus.queries)), slice(0, ranking.depth))
        self.fn_probability = np.asarray(whole, np.float64)

    def dot(self, left, right):
        return float(np.dot(left.astype(np.float64), right.astype(np.float64)))

    def rejections(self, query, passage):
        corpus, ranking, settings = self.corpus, self.ranking, self.settings
        own = slice(corpus.positive_starts[query], corpus.positive_starts[query + 1])
        positives = corpus.positive_ids[own].tolist()
        scores = ranking.positive_scores[own].tolist()
        last = float(ranking.scores[query, self.end - 1])
        near = [score >= last for score in scores]
        positive_score = positive_score_by_hand(scores, near, settings.positive_score)
        reranked = positive_score_by_hand(ranking.positive_signals["reranker"][own].tolist(), near, settings.positive_score)
        score = self.dot(ranking.query_vectors[query], ranking.passage_vectors[passage])
        vectors = ranking.passage_vectors
        similarity = max((self.dot(vectors[p], vectors[passage]) for p in positives if p != passage), default=NAN)
        (places,) = np.nonzero(ranking.ids[query, : self.end] == passage)
        known = {name: float(ranking.signals[name][query, places[0]]) if len(places) else NAN for name in ("overlap", "reranker")}
        fn_probability = float(self.fn_probability[query, places[0]]) if len(places) else NAN

        def times(ratio):
            return positive_score - (1 - ratio) * abs(positive_score)

        bounds = [
            (FILTERS["max_score"].reason, score, settings.max_score, lambda x: x, 1),
            (FILTERS["min_score"].reason, score, settings.min_score, lambda x: x, -1),
            (FILTERS["max_positive_ratio"].reason, score, settings.max_positive_ratio, times, 1),
            (FILTERS["margin"].reason, score, settings.margin, lambda x: positive_score - x, 1),
            (FILTERS["max_positive_similarity"].reason, similarity, settings.max_positive_similarity, lambda x: x, 1),
            (FILTERS["max_positive_similarity_ratio"].reason, similarity, settings.max_positive_similarity_ratio, times, 1),
            (FILTERS["max_overlap"].reason, known["overlap"], settings.max_overlap, lambda x: x, 1),
            (FILTERS["reranker_margin"].reason, known["reranker"], settings.reranker_margin, lambda x: reranked - x, 1),
            (FILTERS["max_fn_probability"].reason, fn_probability, settings.max_fn_probability, lambda x: x, 1),
        ]
        found = []
        for reason, value, setting, limit, sign in bounds:
            if setting is None:
                continue
            beyond = sign * (value - limit(setting))  # NaN is beyond nothing
            exact = setting * 64 == int(setting * 64) and reason != FILTERS["max_fn_probability"].reason and len(positives) in (1, 2, 4)
            if abs(beyond) < 1e-5 and not exact:
                found.append(None)
            elif beyond > 0:
                found.append(reason)
        return found


queries = st.sampled_from(["who", "what", "when", "p3"])
passages = st.integers(0, 30).map(lambda number: f"p{number}")
row_lists = st.lists(st.tuples(queries, st.lists(passages, min_size=1, max_size=4)), min_size=1, max_size=5)
pools = st.lists(passages, min_size=1, max_size=31)
modes = st.sampled_from(["extend", "replace"])
verdict_lists = st.lists(
    st.builds(
        lambda query, passage, said: Verdict(query=query, passage=passage, verdict=said), queries, passages, st.sampled_from(CHOICES)
    ),
    max_size=6,
)


@st.composite
def settings_strategy(draw):
    start = draw(st.integers(0, 6))
    values = {
        "max_positive_similarity": [-1.0, 0.0, 0.25, 0.5, 1.5],
        "max_positive_similarity_ratio": [0.5, 0.9, 1.0, 1.25],
        "max_overlap": [0.0, 0.25, 0.75, 1.0],
        "reranker_margin": [-0.5, 0.0, 0.25, 1.0],
        "max_fn_probability": [0.001, 0.01, 0.1],
        "max_score": [0.5, 1.0],
        "max_positive_ratio": [0.5, 0.95],
    }
    used = {name: draw(st.sampled_from(choices)) for name, choices in values.items() if draw(st.integers(0, 2)) == 0}
    return SelectionSettings(
        window_start=start,
        window_end=start + draw(st.integers(1, 20)),
        negative_number=draw(st.integers(1, 10)),
        strategy=draw(st.sampled_from(["random", "hardest"])),
        seed=draw(st.integers(0, 9)),
        positive_score=draw(st.sampled_from(POSITIVE_SCORES)),
        **used,
    )


def corpus_of(parts, pool, mode="extend"):
    return build_corpus([Row(1, query, list(pos), [], {}) for query, pos in parts], pool, pool_mode=mode)


@given(row_lists, pools, modes, settings_strategy(), verdict_lists)
def test_what_a_filter_rejects_is_told_first_reason_first_and_never_comes_back(parts, pool, mode, settings, verdicts):
    """Not from the window, not by random fill from behind it, and not from the ranks before it, unless a person kept it."""
    corpus = corpus_of(parts, pool, mode)
    verdict_pairs = match_verdicts(corpus, verdicts)
    corpus, ranking = apply_promotions(corpus, toy(corpus), verdict_pairs)
    selection = select(corpus, ranking, settings, verdict_pairs)
    oracle = Oracle(corpus, ranking, settings)
    dropped, kept = ({*zip(*(each.tolist() for each in pairs), strict=True)} for pairs in (verdict_pairs.removed, verdict_pairs.negative))
    counts = Counter()
    for query in range(len(corpus.queries)):
        positives = set(corpus.positives(query).tolist())
        for passage in selection.negatives[query][selection.negatives[query] >= 0].tolist():
            assert (query, passage) in kept or not [each for each in oracle.rejections(query, passage) if each is not None]
            assert passage not in positives
        for rank, passage in enumerate(ranking.ids[query].tolist()):
            reason = int(selection.reasons[query, rank])
            counts[reason] += 1
            if not settings.window_start <= rank < settings.window_end or (query, passage) in kept:
                continue
            if passage in positives:
                assert reason == Reason.POSITIVE
            elif passage == corpus.query_passages[query]:
                assert reason == Reason.QUERY_ITSELF
            elif (query, passage) in dropped:
                assert reason == Reason.REMOVED
            elif None not in (rejected := oracle.rejections(query, passage)):
                assert reason == rejected[0] if rejected else reason in (Reason.CHOSEN, Reason.NOT_DRAWN)
    left = selection.funnel["not_removed"]
    for each in FILTERS.values():
        left -= counts[each.reason]
        assert selection.funnel[each.step] == left
    assert left == counts[Reason.CHOSEN] + counts[Reason.NOT_DRAWN]


@given(row_lists, pools, modes, settings_strategy())
def test_pairs_are_judged_as_blocks_are(parts, pool, mode, settings):
    """What fills gaps is asked pair by pair: the same limit, to the last bit, as in the window."""
    corpus = corpus_of(parts, pool, mode)
    ranking = toy(corpus)
    active = ActiveFilters(corpus, ranking, settings)
    rows, end = len(corpus.queries), min(settings.window_end, ranking.depth)
    by_signal = {each.reason for each in FILTERS.values() if not isinstance(each, ScoreFilter)}
    block = np.zeros((rows, end), bool)
    for reason, mask in active.rejections(0, rows, 0):
        if reason in by_signal:
            block |= mask
    queries, ranks = (each.ravel() for each in np.meshgrid(np.arange(rows), np.arange(end), indexing="ij"))
    assert active.rejected_pairs(queries, ranking.ids[queries, ranks]).tolist() == block.ravel().tolist()


@pytest.mark.parametrize(("score", "share"), [(0.8, 0.9), (0.66, 0.85), (0.9, 0.8), (0.55, 0.95), (0.5, 0.5)])
def test_at_its_limit_a_ratio_is_the_same_for_pairs_and_blocks(score, share):
    """0.9 has no float32: rounding the setting first gave pairs and blocks limits that differed in the last bit."""
    corpus = corpus_of([("who", ["p1"])], [f"p{number}" for number in range(30)])
    ranking = toy(corpus)
    positive_score = np.float32(score)
    limit = positive_score - np.float32(1 - share) * abs(positive_score)
    around = [np.nextafter(limit, np.float32(step * 9), dtype=np.float32) for step in (-1, 1)]
    vectors = np.zeros_like(ranking.passage_vectors)
    own = int(corpus.positive_ids[0])
    vectors[own, 0] = 1
    places = [p for p in range(corpus.n_candidates) if p != own][:3]
    vectors[places, 0] = [around[0], limit, around[1]]
    ids = np.array([[*places, *(p for p in range(corpus.n_candidates) if p not in places)]], np.int32)
    ranking = replace(ranking, ids=ids, positive_scores=np.array([positive_score]), passage_vectors=vectors)
    signals = {"positive_similarity": vectors[ids, 0] * np.where(ids == own, np.float32(np.nan), np.float32(1))}
    active = ActiveFilters(
        corpus, replace(ranking, signals=signals), SelectionSettings(window_start=0, window_end=3, max_positive_similarity_ratio=share)
    )
    ((_, block),) = active.rejections(0, 1, 0)
    assert block.tolist() == [[False, False, True]]
    assert active.rejected_pairs(np.zeros(3, np.int64), np.array(places)).tolist() == [False, False, True]


# The positive's score


def positives_of(scores, ranked, *, window_end=2):
    """A query whose positives have these scores, and whose candidates have those."""
    corpus = corpus_of(
        [("who", [f"positive {number}" for number in range(len(scores))])], [f"p{number}" for number in range(len(ranked))], "replace"
    )
    ranking = replace(toy(corpus), scores=np.array([ranked], np.float32), positive_scores=np.array(scores, np.float32))
    return corpus, ranking, SelectionSettings(window_start=0, window_end=window_end)


@pytest.mark.parametrize(
    ("scores", "ranked", "expected_scores"),
    [
        ([0.8, 0.2], [0.9, 0.5, 0.1], {"in_window": 0.8, "mean": 0.5, "min": 0.2, "max": 0.8}),
        ([0.3, 0.2], [0.9, 0.5, 0.1], {"in_window": 0.25, "mean": 0.25, "min": 0.2, "max": 0.3}),  # none is ranked
        ([0.5, 0.2], [0.9, 0.5, 0.1], {"in_window": 0.5, "mean": 0.35, "min": 0.2, "max": 0.5}),  # as near as the last one
        ([-0.2, -0.4], [-0.1, -0.3, -0.9], {"in_window": -0.2, "mean": -0.3, "min": -0.4, "max": -0.2}),
    ],
)
def test_which_score_stands_for_several_positives(scores, ranked, expected_scores):
    corpus, ranking, settings = positives_of(scores, ranked)
    for positive_score, expected in expected_scores.items():
        settings = msgspec.structs.replace(settings, positive_score=positive_score)
        assert positive_score_of(corpus, ranking, settings) == pytest.approx([expected])


@pytest.mark.parametrize(
    ("reranked", "expected_scores"),
    [
        ([2.0, NAN], {"in_window": 2, "mean": 2, "min": 2, "max": 2}),
        ([NAN, 1.0], {"in_window": 1, "mean": 1, "min": 1, "max": 1}),  # the ranked one's is not known: the other speaks
        ([NAN, NAN], {"in_window": NAN, "mean": NAN, "min": NAN, "max": NAN}),
        ([2.0, 1.0], {"in_window": 2, "mean": 1.5, "min": 1, "max": 2}),
    ],
)
def test_a_score_that_is_not_known_does_not_count(reranked, expected_scores):
    """The first positive is ranked by the mining model, the second is not."""
    corpus, ranking, settings = positives_of([0.8, 0.2], [0.9, 0.5, 0.1])
    for positive_score, expected in expected_scores.items():
        found = positive_score_of(
            corpus, ranking, msgspec.structs.replace(settings, positive_score=positive_score), np.array(reranked, np.float32)
        )
        assert found == pytest.approx([expected], nan_ok=True), positive_score


@pytest.mark.parametrize(
    ("positive", "margin", "left"),
    [
        ([1.0], 0.0, [False, False, True, False]),  # above it is rejected, as much is not, nor what is not known
        ([1.0], 0.5, [True, False, True, False]),
        ([1.0], -1.5, [False, False, False, False]),
        ([NAN], 0.0, [False, False, False, False]),
    ],
)
def test_a_reranker_rejects_what_it_scores_too_near_the_positive(positive, margin, left):
    corpus = corpus_of([("who", ["right"])], ["p1", "p2", "p3", "p4"], "replace")
    values = np.array([[1.0, 0.5, 2.0, NAN]], np.float32)
    ranking = replace(toy(corpus), signals={"reranker": values}, positive_signals={"reranker": np.array(positive, np.float32)})
    active = ActiveFilters(corpus, ranking, SelectionSettings(window_start=0, window_end=4, reranker_margin=margin))
    ((reason, mask),) = active.rejections(0, 1, 0)
    assert reason == FILTERS["reranker_margin"].reason
    assert mask.tolist() == [left]


@pytest.mark.parametrize(
    ("least", "left"), [(1, [True, True, True, False]), (2, [True, True, False, False]), (3, [True, False, False, False])]
)
def test_a_judge_rejects_what_it_graded_so_high_and_nothing_that_it_was_not_asked(least, left):
    corpus = corpus_of([("who", ["right"])], ["p1", "p2", "p3", "p4"], "replace")
    values = {"judge": np.array([[3, 2, 1, NAN]], np.float32)}
    active = ActiveFilters(corpus, replace(toy(corpus), signals=values), SelectionSettings(window_start=0, window_end=4, judge_grade=least))
    ((reason, mask),) = active.rejections(0, 1, 0)
    assert reason == FILTERS["judge_grade"].reason
    assert mask.tolist() == [left]


# Settings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"judge_grade": 0}, r"judge_grade is 0.0; it must be 1, 2 or 3"),
        ({"judge_grade": 2.5}, r"judge_grade is 2.5; it must be 1, 2 or 3"),
        (
            {"max_positive_similarity_ratio": 0},
            r"max_positive_similarity_ratio is 0.0; it must be a ratio above 0, such as 0\.9",
        ),
        ({"max_overlap": 1.5}, r"max_overlap is 1.5; it must be a fraction from 0 to 1"),
        ({"max_fn_probability": -0.1}, r"max_fn_probability is -0.1; it must be a fraction from 0 to 1"),
        ({"max_fn_rate": 2, "strategy": "hardest"}, r"max_fn_rate is 2.0; it must be a fraction from 0 to 1"),
        ({"max_fn_rate": 0.1}, r"max_fn_rate needs strategy 'hardest'; strategy is 'random'"),
        *(
            (
                {"hardness": value, "strategy": "hardest"},
                rf"hardness is {re.escape(repr(value))}; it must be 'percpos' or 'hn_mine', a mean similarity such",
            )
            for value in ("perpos", "balanced", "", "nan", "inf", NAN, float("-inf"), True, [0.5], 1j)
        ),
        ({"hardness": "percpos"}, r"hardness needs strategy 'hardest'; strategy is 'random'"),
        ({"hardness": 0.5, "max_fn_rate": 0.1, "strategy": "hardest"}, r"max_fn_rate 0\.1 and hardness 0\.5 exclude each other; leave one"),
        ({"max_fn_rate": True, "strategy": "hardest"}, r"max_fn_rate is True; it must be a finite number"),
        ({"reranker_margin": NAN}, r"reranker_margin is nan; it must be a finite number"),
        ({"max_positive_similarity": "0.9"}, r"max_positive_similarity is '0.9'; it must be a finite number"),
        ({"positive_score": "median"}, r"positive_score is 'median'; it must be one of in_window, mean, min, max"),
    ],
)
def test_a_wrong_setting_is_refused_with_value_and_remedy(values, message):
    with pytest.raises(SettingsError, match=message):
        SelectionSettings(**values)


@pytest.mark.parametrize(
    ("values", "needs", "remedy"),
    [
        ({"max_positive_similarity": 0.9}, "max_positive_similarity needs the signal 'positive_similarity'", "mine again"),
        ({"max_positive_similarity_ratio": 0.9}, "max_positive_similarity_ratio needs the signal 'positive_similarity'", "mine again"),
        ({"max_overlap": 0.9}, "max_overlap needs the signal 'overlap'", "mine again"),
        ({"max_fn_probability": 0.9}, "max_fn_probability needs the signal 'bm25_rank'", "mine again"),
        ({"max_fn_rate": 0.1, "strategy": "hardest"}, "max_fn_rate needs the signal 'bm25_rank'", "mine again"),
        ({"hardness": 0.1, "strategy": "hardest"}, "hardness needs the signal 'bm25_rank'", "mine again"),
        ({"reranker_margin": 0.0}, "reranker_margin needs the signal 'reranker'", "mine with a reranker"),
        ({"judge_grade": 2}, "judge_grade needs the signal 'judge'", "python -m hnmine judge"),
    ],
)
def test_a_run_without_the_signal_is_refused_with_the_setting_that_needs_it(values, needs, remedy):
    corpus = corpus_of([("who", ["right"])], [f"p{number}" for number in range(10)])
    ranking = replace(toy(corpus), signals={}, positive_signals={})
    with pytest.raises(SettingsError, match=f"{needs}.*{remedy}"):
        select(corpus, ranking, SelectionSettings(window_start=0, window_end=5, **values))


def test_what_settings_need_is_what_their_filters_read():
    assert SelectionSettings().signals == ()
    assert SelectionSettings(max_score=0.5, margin=0.1, positive_score="max").signals == ()
    assert SelectionSettings(max_overlap=0.5, max_positive_similarity=0.9).signals == ("overlap", "positive_similarity")
    assert SelectionSettings(strategy="hardest", max_fn_rate=0.1).signals == FN_SIGNALS
    assert SelectionSettings(strategy="hardest", hardness="percpos").signals == FN_SIGNALS
    assert SelectionSettings(reranker_margin=0, max_fn_probability=0.5).signals == tuple(sorted((*FN_SIGNALS, "reranker")))


# The table


def test_every_filter_has_a_field_a_flag_and_texts_of_its_own():
    """A filter is declared once: what is shown of it, everywhere, comes from its class."""
    settings = [*FILTERS.values(), *TARGETS]
    optional = [name for name, value in msgspec.structs.asdict(SelectionSettings()).items() if value is None]
    assert sorted(optional) == sorted(each.name for each in settings)
    flags = {flag.name: flag for flag in FLAGS["false-negative filters"]}
    assert flags.keys() == {*optional, "positive_score"}
    for each in settings:
        assert flags[each.name].help == each.action
        assert each.help.startswith(each.action[1:], 1) and each.help.endswith((".", ")."))
        assert each.slider.low <= each.slider.default <= each.slider.high
        default = each.slider.setting(each.slider.default)
        assert each.checked(default) == default
        assert each.slider.shown(default) == each.slider.default
        assert f"| `--{each.name}` | {each.action} | off |" in filter_table().splitlines()
    for texts in (
        [each.label for each in settings],
        [each.short for each in FILTERS.values()],
        [each.explain(0.5) for each in FILTERS.values()],
    ):
        assert len(set(texts)) == len(texts) and all(texts)


def test_the_number_of_a_filter_names_it_again():
    assert [filter_of(each.reason) for each in FILTERS.values()] == list(FILTERS.values())
    assert [filter_of(reason) for reason in Reason] == [None] * len(Reason)
    assert not {each.reason for each in FILTERS.values()} & {*Reason}
