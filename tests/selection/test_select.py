"""Selection against an oracle in plain Python: who may be a negative, why each other one is not, and that chance is order-free."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnmine.core.errors import SettingsError
from hnmine.core.hashing import keyed_permutation, position_of
from hnmine.core.text import normalize_text
from hnmine.data.corpus import build_corpus
from hnmine.data.rows import Row
from hnmine.data.verdicts import CHOICES, Verdict, match_verdicts, pair_key
from hnmine.retrieval.ranking import Ranking
from hnmine.retrieval.search import pair_scores, top_k
from hnmine.selection.filters import FILTERS
from hnmine.selection.positive_score import positive_score
from hnmine.selection.promotions import apply_promotions
from hnmine.selection.select import select
from hnmine.selection.settings import Reason, SelectionSettings, parse_window


def row(query, pos, neg=()):
    return Row(1, query, list(pos), list(neg), {})


def ranked(corpus, score, depth=None):
    """A Ranking in which `score(query text, passage text)` is the similarity, exactly: passages are unit vectors."""
    matrix = np.array([[score(query, passage) for passage in corpus.passages] for query in corpus.queries], dtype=np.float32)
    passages = np.eye(len(corpus.passages), dtype=np.float32)
    scores, ids = top_k(matrix, passages[: corpus.n_candidates], depth or corpus.n_candidates)
    positive_scores = pair_scores(matrix, corpus.positive_queries, passages, corpus.positive_ids)
    return Ranking(ids=ids, scores=scores, positive_scores=positive_scores, query_vectors=matrix, passage_vectors=passages)


def grid_score(query, passage):
    """A score on a grid of 1/16, so that sums, means and limits are exact and ties are many; from the texts alone."""
    return random.Random(f"{normalize_text(query)}|{normalize_text(passage)}").randint(-16, 16) / 16


def names(corpus, selection, query):
    return [corpus.passages[i] for i in selection.negatives[query].tolist() if i >= 0]


def negatives_by_query(corpus, selection):
    return {text: names(corpus, selection, number) for number, text in enumerate(corpus.queries)}


# The oracle


def rejections(settings, score, positives, last):
    """The filters that reject a score, in the order of Reason; None where rounding of the mean leaves it open.

    `last` is the score of the window's last candidate.
    """
    near = [each for each in positives if each >= last] or positives
    counted = near if settings.positive_score == "in_window" else positives
    positive_score = {"min": min(positives), "max": max(positives)}.get(settings.positive_score, sum(counted) / len(counted))
    limits = [
        (FILTERS["max_score"].reason, settings.max_score, +1),
        (FILTERS["min_score"].reason, settings.min_score, -1),
        (
            FILTERS["max_positive_ratio"].reason,
            None if settings.max_positive_ratio is None else positive_score - (1 - settings.max_positive_ratio) * abs(positive_score),
            +1,
        ),
        (FILTERS["margin"].reason, None if settings.margin is None else positive_score - settings.margin, +1),
    ]
    found = []
    for reason, limit, sign in limits:
        if limit is None:
            continue
        if abs(score - limit) < 1e-6 and len(counted) not in (1, 2, 4):
            found.append(None)
        elif sign * (score - limit) > 0:
            found.append(reason)
    return found


def check(corpus, ranking, settings, verdicts=()):
    """Select, and hold every query of the selection against what the settings, and people, ask for."""
    verdict_pairs = match_verdicts(corpus, verdicts)
    corpus, ranking = apply_promotions(corpus, ranking, verdict_pairs)
    selection = select(corpus, ranking, settings, verdict_pairs)
    said = {(normalize_text(each.query), normalize_text(each.passage)): each.verdict for each in verdicts}
    wanted = settings.negative_number
    depth = ranking.depth
    assert selection.reasons.shape == ranking.ids.shape
    places = (len(corpus.queries), min(wanted, corpus.n_candidates))
    assert selection.negatives.shape == selection.scores.shape == selection.random_filled.shape == places
    for query in range(len(corpus.queries)):
        positives = set(corpus.positives(query).tolist())
        positive_scores = [float(ranking.query_vectors[query, p]) for p in sorted(positives)]
        itself = int(corpus.query_passages[query])
        every = [float(score) for score in ranking.query_vectors[query]]
        last = float(ranking.scores[query, min(settings.window_end, depth) - 1])
        filters = {p: rejections(settings, every[p], positive_scores, last) for p in range(corpus.n_candidates)}
        of_people = {p: said.get((normalize_text(corpus.queries[query]), normalize_text(text))) for p, text in enumerate(corpus.passages)}
        dropped = {p for p, verdict in of_people.items() if verdict in ("relevant", "junk")}
        assert {p for p, verdict in of_people.items() if verdict == "positive"} <= positives
        kept = [
            p for p in ranking.ids[query, : settings.window_end].tolist() if of_people[p] == "negative" and p not in {*positives, itself}
        ]
        far = {p for p in range(corpus.n_candidates) if of_people[p] == "negative" and p not in {*positives, itself, *kept}}
        filters |= {p: [] for p in {*kept, *far}}
        open_cases = any(None in found for found in filters.values())

        held = selection.negatives[query]
        count = int((held >= 0).sum())
        assert (held[count:] == -1).all()
        assert np.isnan(selection.scores[query, count:]).all()
        assert not selection.random_filled[query, count:].any()
        chosen = held[:count].tolist()
        assert len(set(chosen)) == count, "no passage twice"
        assert not positives & set(chosen), "no positive of any row that asks the same"
        assert itself not in chosen, "not the query itself"
        assert not dropped & set(chosen), "nothing that a person dropped, random-filled or not"
        assert set(kept) <= set(chosen) or set(chosen) <= set(kept), "what a person kept comes before all others"
        assert max(chosen, default=0) < corpus.n_candidates
        for passage in chosen:
            assert filters[passage] in ([], [None]) or None in filters[passage], "no passage that a filter rejects, random-filled or not"
        assert [(-every[p], p) for p in chosen] == sorted((-every[p], p) for p in chosen), "hardest first, ties by id"
        assert selection.scores[query, :count].tolist() == [every[p] for p in chosen]

        # Each candidate's reason.
        ids = ranking.ids[query].tolist()
        from_window = {p for p, filled in zip(chosen, selection.random_filled[query], strict=False) if not filled}
        for rank, passage in enumerate(ids):
            reason = selection.reasons[query, rank]
            if rank < settings.window_start and passage not in kept:
                expected = {Reason.BEFORE_WINDOW}
            elif rank >= settings.window_end:
                expected = {Reason.BEHIND_WINDOW}
            elif passage in positives:
                expected = {Reason.POSITIVE}
            elif passage == itself:
                expected = {Reason.QUERY_ITSELF}
            elif passage in dropped:
                expected = {Reason.REMOVED}
            elif None in filters[passage]:
                continue
            elif filters[passage]:
                expected = {filters[passage][0]}
            else:
                expected = {Reason.CHOSEN} if passage in from_window else {Reason.NOT_DRAWN}
            assert reason in expected, (rank, passage)
        inside = set(ids[settings.window_start : settings.window_end]) | set(kept)
        assert from_window <= inside

        # Random fill and shortage.
        eligible = {p for p in range(corpus.n_candidates) if p not in positives | dropped and p != itself and not filters[p]}
        filled = set(chosen) - from_window
        if filled or count < wanted:
            assert Reason.NOT_DRAWN not in selection.reasons[query], "random-filled, or short, although the window had more"
        assert far <= filled or filled <= far, "of what fills up, what a person kept comes first"
        if count < wanted and not open_cases:
            assert set(chosen) == eligible, "short although the corpus has more"
        skipped = set(ids[: settings.window_start]) - set(kept)
        if filled & skipped and not open_cases:
            assert eligible - skipped <= set(chosen), "the ranks that the window skips come last"
        if settings.strategy == "hardest":
            running = [p for p in ids[settings.window_start : settings.window_end] if p in eligible and p not in kept]
            running.sort(key=lambda p: (-every[p], p))  # ranks are in that order already, unless several retrievers ranked
            if not open_cases:
                assert from_window == set([*kept, *running][:wanted])

    # The funnel is what the reasons say.
    counts = Counter(selection.reasons.ravel().tolist())
    left = selection.reasons.size
    funnel = {"ranked": left}
    for step, gone in (
        ("in_window", (Reason.BEFORE_WINDOW, Reason.BEHIND_WINDOW)),
        ("not_positive", (Reason.POSITIVE, Reason.QUERY_ITSELF)),
        ("not_removed", (Reason.REMOVED,)),
        *((each.step, (each.reason,)) for each in FILTERS.values()),
        ("chosen", (Reason.NOT_DRAWN,)),
    ):
        left -= sum(counts[reason] for reason in gone)
        funnel[step] = left
    assert counts[Reason.CHOSEN] == left
    funnel["random_filled"] = int(selection.random_filled.sum())
    funnel["short_queries"] = int(selection.short.sum())
    assert selection.funnel == funnel
    assert list(selection.funnel) == list(funnel)
    assert selection.counts.tolist() == (selection.negatives >= 0).sum(axis=1).tolist()
    assert selection.short.tolist() == [count < wanted for count in selection.counts.tolist()]
    assert int((~selection.random_filled & (selection.negatives >= 0)).sum()) == counts[Reason.CHOSEN]
    assert depth >= 1
    return selection


queries = st.sampled_from(["who", "WHO ", "what", "when", "p3", "p7"])  # two spellings, and two that are passages too
passages = st.integers(0, 24).map(lambda number: f"p{number}")
row_lists = st.lists(st.tuples(queries, st.lists(passages, min_size=1, max_size=3), st.lists(passages, max_size=4)), min_size=1, max_size=6)
pools = st.lists(passages, min_size=1, max_size=25)
eighths = st.integers(-8, 16).map(lambda value: value / 8)


@st.composite
def settings_strategy(draw):
    start = draw(st.integers(0, 12))
    low, high = sorted((draw(eighths), draw(eighths)))
    return SelectionSettings(
        window_start=start,
        window_end=start + draw(st.integers(1, 20)),
        negative_number=draw(st.integers(1, 12)),
        strategy=draw(st.sampled_from(["random", "hardest"])),
        seed=draw(st.integers(-(2**70), 2**70)),
        max_score=draw(st.none() | st.just(high)),
        min_score=draw(st.none() | st.just(low)),
        max_positive_ratio=draw(st.none() | st.sampled_from([0.25, 0.5, 0.75, 1.0, 1.5])),
        margin=draw(st.none() | st.sampled_from([0.0, 0.125, 0.5])),
        positive_score=draw(st.sampled_from(["in_window", "in_window", "mean", "min", "max"])),
    )


@given(row_lists, pools, st.sampled_from(["extend", "replace"]), settings_strategy())
def test_every_property_holds_for_any_rows_and_settings(parts, pool, mode, settings):
    corpus = build_corpus([row(*part) for part in parts], pool, pool_mode=mode)
    check(corpus, ranked(corpus, grid_score), settings)


verdict_lists = st.lists(
    st.builds(
        lambda query, passage, verdict: Verdict(query=query, passage=passage, verdict=verdict), queries, passages, st.sampled_from(CHOICES)
    ),
    max_size=30,
)


@given(row_lists, pools, st.sampled_from(["extend", "replace"]), settings_strategy(), verdict_lists)
def test_every_verdict_is_honoured_for_any_rows_and_settings(parts, pool, mode, settings, verdicts):
    corpus = build_corpus([row(*part) for part in parts], pool, pool_mode=mode)
    check(corpus, ranked(corpus, grid_score), settings, verdicts)


@given(row_lists, pools, settings_strategy(), verdict_lists, st.randoms())
def test_verdicts_of_different_pairs_may_come_in_any_order(parts, pool, settings, verdicts, chance):
    verdicts = list({pair_key(each.query, each.passage): each for each in verdicts}.values())
    corpus = build_corpus([row(*part) for part in parts], pool)
    ranking = ranked(corpus, grid_score)
    found = check(corpus, ranking, settings, verdicts)
    chance.shuffle(verdicts)
    again = check(corpus, ranking, settings, verdicts)
    assert again.negatives.tolist() == found.negatives.tolist()
    assert again.verdict_pairs.digest == found.verdict_pairs.digest
    assert again.verdict_pairs.applied == found.verdict_pairs.applied


def test_a_drop_changes_nothing_for_other_queries():
    corpus = build_corpus([row(f"query {number}", [f"p{number}"]) for number in range(20)], [f"p{number}" for number in range(60)])
    ranking = ranked(corpus, grid_score)
    settings = SelectionSettings(window_start=2, window_end=30, negative_number=5)
    before = select(corpus, ranking, settings)
    gone = names(corpus, before, 3)[0]
    after = check(corpus, ranking, settings, [Verdict(query=corpus.queries[3], passage=gone, verdict="relevant")])
    assert gone not in names(corpus, after, 3)
    assert len(set(names(corpus, before, 3)) & set(names(corpus, after, 3))) == 4, "one goes, one comes"
    others = [number for number in range(20) if number != 3]
    assert after.negatives[others].tolist() == before.negatives[others].tolist()
    assert after.funnel["not_removed"] == after.funnel["not_positive"] - 1


def test_what_was_kept_is_let_in_from_before_the_window_past_filters_and_before_chance():
    corpus = build_corpus([row("who", ["right"])], [f"p{number}" for number in range(40)])
    scores = {"right": 0.9, **{f"p{number}": 0.8 - number / 100 for number in range(40)}}
    ranking = ranked(corpus, lambda _, passage: scores[passage])
    verdicts = [Verdict(query="WHO", passage=" p1", verdict="negative"), Verdict(query="who", passage="p35", verdict="negative")]
    for strategy in ("random", "hardest"):
        settings = SelectionSettings(window_start=10, window_end=30, negative_number=4, strategy=strategy, max_score=0.65)
        selection = check(corpus, ranking, settings, verdicts)
        assert names(corpus, selection, 0)[0] == "p1"
        assert "p35" not in names(corpus, selection, 0), "the window's end stands"
        assert selection.funnel["in_window"] == 21
        scarce = check(corpus, ranking, msgspec.structs.replace(settings, max_score=0.5), verdicts)
        assert "p35" in names(corpus, scarce, 0), "but where places have to be filled from outside, it comes first"


@given(row_lists, pools, settings_strategy(), st.randoms(use_true_random=False))
def test_shuffled_rows_keep_each_querys_negatives(parts, pool, settings, shuffle):
    rows = [row(*part) for part in parts]
    corpus = build_corpus(rows, pool)
    again = build_corpus(shuffle.sample(rows, len(rows)), shuffle.sample(pool, len(pool)))
    assert negatives_by_query(again, select(again, ranked(again, grid_score), settings)) == negatives_by_query(
        corpus, select(corpus, ranked(corpus, grid_score), settings)
    )


@given(row_lists, pools, settings_strategy())
def test_other_queries_have_no_say(parts, pool, settings):
    """A query draws by seed, its own text and the passages' texts: rows put in front of it change nothing."""
    rows = [row(*part) for part in parts]
    corpus = build_corpus(rows, pool)
    known = list(corpus.passages)
    more = [row(f"another question {number}", [known[number % len(known)]]) for number in range(5)]
    larger = build_corpus([*more, *rows], pool)
    assert list(larger.passages) == known
    before = negatives_by_query(corpus, select(corpus, ranked(corpus, grid_score), settings))
    after = negatives_by_query(larger, select(larger, ranked(larger, grid_score), settings))
    assert {query: after[query] for query in before} == before


@given(row_lists, pools, settings_strategy(), st.integers(0, 30))
def test_a_deeper_ranking_gives_the_same_selection(parts, pool, settings, more):
    """The app ranks deeper than the window so that a slider can move; the command line does not. Both must write the same."""
    corpus = build_corpus([row(*part) for part in parts], pool)
    least = select(corpus, ranked(corpus, grid_score, settings.window_end), settings)
    deeper = select(corpus, ranked(corpus, grid_score, settings.window_end + more), settings)
    assert deeper.negatives.tolist() == least.negatives.tolist()
    assert deeper.scores.tobytes() == least.scores.tobytes()
    assert deeper.random_filled.tolist() == least.random_filled.tolist()
    assert {key: value for key, value in deeper.funnel.items() if key != "ranked"} == {
        key: value for key, value in least.funnel.items() if key != "ranked"
    }


@given(row_lists, pools, settings_strategy(), st.sampled_from([1, 7, 60]))
def test_the_size_of_a_block_changes_nothing(parts, pool, settings, elements):
    corpus = build_corpus([row(*part) for part in parts], pool)
    ranking = ranked(corpus, grid_score)
    whole = select(corpus, ranking, settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hnmine.core.arrays.ELEMENTS", elements)
        patch.setattr("hnmine.selection.random_fill.SIFT_QUERIES", 1 + elements % 5)
        patch.setattr("hnmine.selection.random_fill.SIFT_PASSAGES", elements)
        blocks = select(corpus, ranking, settings)
    for name in ("reasons", "negatives", "scores", "random_filled"):
        assert getattr(blocks, name).tobytes() == getattr(whole, name).tobytes(), name
    assert blocks.funnel == whole.funnel


# One world that is easy to follow: passage "p0" scores highest, then p1, ...


def ladder(count, *, positives=("right",), queries=("q",), positive_score=0.5):
    """`count` candidates p0, p1, ... for each query, a hundredth apart from 0.9 down; positives at `positive_score`."""
    corpus = build_corpus([row(query, positives) for query in queries], [f"p{i}" for i in range(count)])

    def score(_query, passage):
        return 0.9 - int(passage[1:]) / 100 if passage.startswith("p") else positive_score

    return corpus, ranked(corpus, score)


def test_the_window_is_a_slice_of_ranks_before_anything_is_removed():
    """As hn_mine.py slices: the positive at rank 1 uses up a place, it does not shift the window."""
    corpus = build_corpus([row("q", ["p1"])], [f"p{i}" for i in range(20)])
    ranking = ranked(corpus, lambda _, passage: -int(passage[1:]))
    selection = select(corpus, ranking, SelectionSettings(window_start=0, window_end=3, negative_number=2))
    assert names(corpus, selection, 0) == ["p0", "p2"]
    selection = select(corpus, ranking, SelectionSettings(window_start=2, window_end=5, negative_number=3))
    assert names(corpus, selection, 0) == ["p2", "p3", "p4"]
    assert not selection.random_filled.any()


def test_hardest_takes_the_top_of_the_window_and_random_does_not():
    corpus, ranking = ladder(60)
    hardest = select(corpus, ranking, SelectionSettings(window_start=5, window_end=45, negative_number=6, strategy="hardest"))
    assert names(corpus, hardest, 0) == ["p5", "p6", "p7", "p8", "p9", "p10"]
    drawn = select(corpus, ranking, SelectionSettings(window_start=5, window_end=45, negative_number=6))
    assert names(corpus, drawn, 0) != names(corpus, hardest, 0)
    assert not drawn.random_filled.any()


def test_the_seed_alone_moves_a_random_draw_and_nothing_moves_the_hardest():
    corpus, ranking = ladder(100, queries=("q", "r", "s"))
    base = {"window_start": 0, "window_end": 90, "negative_number": 10}
    draws = [select(corpus, ranking, SelectionSettings(seed=seed, **base)).negatives.tolist() for seed in (1, 2, 3, -1, 2**64 + 1)]
    assert len({str(draw) for draw in draws[:4]}) == 4
    assert draws[0] == select(corpus, ranking, SelectionSettings(seed=1, **base)).negatives.tolist()
    hardest = [select(corpus, ranking, SelectionSettings(seed=seed, strategy="hardest", **base)).negatives.tolist() for seed in (1, 2)]
    assert hardest[0] == hardest[1]


def test_passages_outside_the_window_have_no_say():
    """They move every id behind them, and a draw must not go by ids."""
    settings = SelectionSettings(window_start=0, window_end=40, negative_number=10)
    corpus, ranking = ladder(50)
    expected = names(corpus, select(corpus, ranking, settings), 0)
    for more in (60, 75, 90):
        corpus, ranking = ladder(more)
        assert names(corpus, select(corpus, ranking, settings), 0) == expected


def test_queries_draw_independently_of_each_other():
    corpus, ranking = ladder(100, queries=[f"question {i}" for i in range(20)])
    selection = select(corpus, ranking, SelectionSettings(window_start=0, window_end=100, negative_number=10))
    assert len({tuple(sorted(line)) for line in selection.negatives.tolist()}) == 20


def test_texts_that_share_a_hash_give_no_query_more_than_it_asked_for():
    """64 bits of a hash can meet; then the nearer of them are taken."""
    corpus, ranking = ladder(40, queries=("q", "r"))
    corpus = replace(corpus, passage_hashes=np.zeros_like(corpus.passage_hashes))
    selection = select(corpus, ranking, SelectionSettings(window_start=5, window_end=35, negative_number=4))
    assert names(corpus, selection, 0) == names(corpus, selection, 1) == ["p5", "p6", "p7", "p8"]
    assert (selection.reasons == Reason.CHOSEN).sum() == selection.funnel["chosen"] == 8


@pytest.mark.parametrize("by", ["seed", "query"])
def test_each_candidate_of_the_window_is_drawn_about_as_often(by):
    """10 of 40 in 400 draws: 100 each expected, standard deviation 8.7; the bounds are five of them."""
    base = {"window_start": 0, "window_end": 40, "negative_number": 10}
    if by == "seed":
        corpus, ranking = ladder(40)
        drawn = [select(corpus, ranking, SelectionSettings(seed=seed, **base)).negatives[0] for seed in range(400)]
    else:
        corpus, ranking = ladder(40, queries=[f"question {i}" for i in range(400)])
        drawn = list(select(corpus, ranking, SelectionSettings(seed=1, **base)).negatives)
    counts = np.bincount(np.concatenate(drawn), minlength=41)
    counts = np.delete(counts, corpus.positive_ids[0])
    assert counts.sum() == 4_000
    assert counts.min() > 56
    assert counts.max() < 144
    assert ((counts - 100) ** 2 / 75).sum() < 90, "chi-square with 39 degrees of freedom"


def test_each_passage_is_random_filled_about_as_often():
    corpus, ranking = ladder(41)
    drawn = []
    for seed in range(400):
        selection = select(corpus, ranking, SelectionSettings(window_start=0, window_end=1, negative_number=11, seed=seed))
        assert selection.random_filled[0].tolist() == [False] + [True] * 10, "p0 scores highest and is the window"
        drawn.append(selection.negatives[0, 1:])
    counts = np.bincount(np.concatenate(drawn), minlength=42)
    counts = counts[counts > 0]
    assert len(counts) == 40
    assert counts.min() > 56
    assert counts.max() < 144
    assert ((counts - 100) ** 2 / 75).sum() < 90


# Random fill


def test_random_fill_takes_from_behind_the_window_before_the_ranks_it_skipped():
    """The top ranks were skipped because unlabelled positives sit there: they are the last resort."""
    corpus, ranking = ladder(30)
    for seed in range(10):
        settings = SelectionSettings(window_start=5, window_end=8, negative_number=20, seed=seed)
        selection = select(corpus, ranking, settings)
        assert not {"p0", "p1", "p2", "p3", "p4"} & set(names(corpus, selection, 0))
        assert selection.random_filled.sum() == 17
    selection = select(corpus, ranking, SelectionSettings(window_start=5, window_end=8, negative_number=27))
    assert len({"p0", "p1", "p2", "p3", "p4"} & set(names(corpus, selection, 0))) == 2
    assert not selection.short.any()


def test_random_filled_and_drawn_negatives_stand_hardest_first_together():
    corpus, ranking = ladder(30)
    selection = select(corpus, ranking, SelectionSettings(window_start=20, window_end=22, negative_number=12, seed=3))
    places = [int(name[1:]) for name in names(corpus, selection, 0)]
    assert places == sorted(places)
    assert [place in (20, 21) for place in places] == (~selection.random_filled[0]).tolist()


def test_a_corpus_that_cannot_supply_leaves_rows_short_and_counted():
    corpus, ranking = ladder(4, queries=("q", "p2"))
    selection = select(corpus, ranking, SelectionSettings(window_start=0, window_end=3, negative_number=15))
    by_query = negatives_by_query(corpus, selection)
    assert by_query["q"] == ["p0", "p1", "p2", "p3"]
    assert by_query["p2"] == ["p0", "p1", "p3"], "not the query itself"
    assert selection.short.tolist() == [True, True]
    assert selection.funnel["short_queries"] == 2
    assert selection.counts.sum() == 7


def test_random_fill_finds_the_few_that_a_filter_leaves_in_a_large_corpus():
    """The walk must go on to the end of the corpus: 4 of 5,000 passages pass."""
    corpus = build_corpus([row("q", ["right"])], [f"p{i}" for i in range(5_000)])
    fit = {"p17", "p1234", "p2999", "p4998"}
    matrix = np.array([[0.1 if text in fit else 0.5 for text in corpus.passages]], dtype=np.float32)
    passages = np.eye(len(corpus.passages), dtype=np.float32)
    scores, ids = top_k(matrix, passages, 20)
    positive_scores = pair_scores(matrix, corpus.positive_queries, passages, corpus.positive_ids)
    ranking = Ranking(ids=ids, scores=scores, positive_scores=positive_scores, query_vectors=matrix, passage_vectors=passages)
    selection = select(corpus, ranking, SelectionSettings(window_start=10, window_end=20, negative_number=3, max_score=0.3))
    assert len(set(names(corpus, selection, 0)) & fit) == 3
    assert selection.random_filled.all()
    selection = select(corpus, ranking, SelectionSettings(window_start=10, window_end=20, negative_number=6, max_score=0.3))
    assert set(names(corpus, selection, 0)) == fit
    assert selection.short.all()


@pytest.mark.parametrize("count", [*range(1, 70), 255, 256, 257, 1_000, 4_095, 4_097, 70_000])
def test_the_walk_visits_every_passage_once(count):
    keys = np.array([0, 1, 0xFFFF_FFFF_FFFF_FFFF, 0x1234_5678_9ABC_DEF0], dtype=np.uint64)
    walks = keyed_permutation(keys, np.arange(count, dtype=np.uint64), count)
    assert walks.dtype == np.int32
    assert (np.sort(walks, axis=1) == np.arange(count)).all()
    if count > 60:
        assert len({walk.tobytes() for walk in walks}) == len(keys), "each key has its own way"
        part = keyed_permutation(keys, np.arange(20, 40, dtype=np.uint64), count)
        assert (part == walks[:, 20:40]).all(), "a walk can be taken up where it was left"
    for key, walk in zip(keys, walks, strict=True):
        assert (position_of(np.full(count, key), walk, count) == np.arange(count)).all(), "and be read backwards"


@pytest.mark.parametrize(
    "settings", [{"min_score": 0.35}, {"max_score": -0.05}, {"max_positive_ratio": 0.02}, {"margin": 0.05, "min_score": -0.05}]
)
def test_sifting_gives_what_walking_would_give(monkeypatch, settings):
    """Where filters let little through, a matrix product replaces the walk; the choice must not know."""
    rng = np.random.default_rng(5)
    corpus = build_corpus([row(f"q{i}", [f"p{i}"]) for i in range(12)], [f"passage {i}" for i in range(900)])
    passages = rng.standard_normal((len(corpus.passages), 8)).astype(np.float32)
    passages /= np.linalg.norm(passages, axis=1, keepdims=True)
    queries = passages[rng.integers(0, len(passages), 12)] * np.float32(0.5)
    scores, ids = top_k(queries, passages, 30)
    positive_scores = pair_scores(queries, corpus.positive_queries, passages, corpus.positive_ids)
    ranking = Ranking(ids=ids, scores=scores, positive_scores=positive_scores, query_vectors=queries, passage_vectors=passages)
    wanted = SelectionSettings(window_start=3, window_end=12, negative_number=20, **settings)
    sifted = select(corpus, ranking, wanted)
    monkeypatch.setattr("hnmine.selection.random_fill.ROUNDS", 10**9)
    walked = select(corpus, ranking, wanted)
    assert sifted.random_filled.any()
    assert (sifted.negatives == walked.negatives).all()
    assert (sifted.random_filled == walked.random_filled).all()


class Stored:
    """Vectors that lie elsewhere, in an order of their own, as those of a vector store do."""

    def __init__(self, vectors):
        self._vectors = vectors
        self.shape = vectors.shape

    def __len__(self):
        return len(self._vectors)

    def __getitem__(self, index):
        return self._vectors[index].astype(np.float32)

    def blocks(self, rows):
        order = np.random.default_rng(0).permutation(len(self))
        for first in range(0, len(self), rows):
            yield order[first : first + rows], self[order[first : first + rows]]


@pytest.mark.parametrize("mode", ["extend", "replace"])
def test_stored_vectors_are_sifted_as_they_lie(monkeypatch, mode):
    """Whatever the order and the size of the blocks that a vector store hands out, also where some are no candidates."""
    rng = np.random.default_rng(6)
    corpus = build_corpus([row(f"q{i}", [f"p{i}"]) for i in range(20)], [f"passage {i}" for i in range(500)], pool_mode=mode)
    vectors = rng.standard_normal((len(corpus.passages), 8)).astype(np.float32)
    queries = rng.standard_normal((20, 8)).astype(np.float32)
    scores, ids = top_k(queries, vectors[: corpus.n_candidates], 30)
    positive_scores = pair_scores(queries, corpus.positive_queries, vectors, corpus.positive_ids)
    ranking = Ranking(ids=ids, scores=scores, positive_scores=positive_scores, query_vectors=queries, passage_vectors=vectors)
    settings = SelectionSettings(window_start=3, window_end=12, negative_number=20, max_score=-3.0)
    expected = select(corpus, ranking, settings)
    assert expected.random_filled.any()
    assert expected.short.any()
    monkeypatch.setattr("hnmine.selection.random_fill.SIFT_PASSAGES", 37)
    stored = replace(ranking, query_vectors=Stored(queries), passage_vectors=Stored(vectors))
    selection = select(corpus, stored, settings)
    assert (selection.negatives == expected.negatives).all()
    assert selection.scores.tobytes() == expected.scores.tobytes()


# Filters


def filtered(candidates, positives, **settings):
    """Which of `candidates` (name -> score) are chosen, for a query whose positives score `positives`."""
    corpus = build_corpus([row("q", [f"right {i}" for i in range(len(positives))])], list(candidates))
    scores = {**candidates, **{f"right {i}": value for i, value in enumerate(positives)}}
    ranking = ranked(corpus, lambda _, passage: scores[passage])
    selection = select(corpus, ranking, SelectionSettings(window_start=0, window_end=50, negative_number=len(candidates), **settings))
    return set(names(corpus, selection, 0))


@pytest.mark.parametrize(
    ("settings", "positives", "left"),
    [
        ({"max_score": 0.75}, [0.5], "bcdefg"),  # a score on the limit passes
        ({"min_score": 0.25}, [0.5], "abcd"),
        ({"min_score": 0.25, "max_score": 0.5}, [0.5], "cd"),
        ({"max_positive_ratio": 0.5}, [1.0], "cdefg"),
        ({"max_positive_ratio": 1.0}, [0.5], "cdefg"),
        ({"max_positive_ratio": 1.5}, [0.5], "bcdefg"),
        ({"margin": 0.25}, [0.75], "cdefg"),
        ({"margin": 0.0}, [0.5], "cdefg"),
        # A positive below zero: the limit must fall below it, where a plain product would rise above it.
        ({"max_positive_ratio": 0.5}, [-0.5], "g"),
        ({"margin": 0.25}, [-0.5], "g"),
        ({"margin": 0.25, "max_positive_ratio": 0.5}, [1.0], "cdefg"),
        # Several positives: their mean, so that one bad positive does not empty the query.
        ({"margin": 0.125}, [1.0, 0.0], "defg"),
        ({"max_positive_ratio": 0.5}, [1.0, 0.0], "defg"),
    ],
)
def test_filters(settings, positives, left):
    candidates = {"a": 0.875, "b": 0.75, "c": 0.5, "d": 0.25, "e": 0.0, "f": -0.25, "g": -0.75}
    assert filtered(candidates, positives, **settings) == set(left)


def test_the_first_filter_that_applies_is_the_reason():
    corpus = build_corpus([row("q", ["right"])], ["high", "low"])
    ranking = ranked(corpus, lambda _, passage: {"right": 0.5, "high": 0.9, "low": -0.9}[passage])
    settings = SelectionSettings(window_start=0, window_end=9, max_score=0.5, min_score=0.0, max_positive_ratio=0.5, margin=0.1)
    reasons = dict(zip((corpus.passages[i] for i in ranking.ids[0]), select(corpus, ranking, settings).reasons[0].tolist(), strict=True))
    assert reasons == {"right": Reason.POSITIVE, "high": FILTERS["max_score"].reason, "low": FILTERS["min_score"].reason}


def test_a_query_that_is_its_own_positive_counts_as_positive():
    corpus = build_corpus([row("Same", ["same"])], ["x"])
    selection = select(corpus, ranked(corpus, grid_score), SelectionSettings(window_start=0, window_end=5))
    assert sorted(selection.reasons[0].tolist()) == [Reason.CHOSEN, Reason.POSITIVE]


def test_the_positive_score_is_the_mean_of_different_positives():
    """A positive that two rows repeat counts once."""
    rows = [row("q", ["a", "b"]), row("Q", ["A", "b"]), row("r", ["c"])]
    corpus = build_corpus(rows, ["x"])
    ranking = ranked(corpus, lambda _, passage: {"a": 1.0, "b": 0.0, "c": 0.25, "x": 0.5}[normalize_text(passage)])
    mean = positive_score(corpus, ranking, SelectionSettings(positive_score="mean"))
    expected_scores = dict(zip((normalize_text(query) for query in corpus.queries), mean.tolist(), strict=True))
    assert expected_scores == {"q": 0.5, "r": 0.25}


# Settings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"window_start": 5, "window_end": 5}, r"rank window is 5-5.*0 <= START < END"),
        ({"window_start": 9, "window_end": 5}, r"rank window is 9-5"),
        ({"window_start": -1}, r"rank window is -1-210"),
        ({"window_start": 1.5}, r"window_start is 1\.5; it must be an integer"),
        ({"negative_number": 0}, r"negative_number is 0; it must be at least 1"),
        ({"negative_number": -3}, r"negative_number is -3"),
        ({"negative_number": 2.5}, r"negative_number is 2\.5; it must be an integer"),
        ({"negative_number": "3"}, r"negative_number is '3'; it must be an integer"),
        ({"negative_number": True}, r"negative_number is True"),
        ({"seed": None}, r"seed is None; it must be an integer"),
        ({"seed": "42"}, r"seed is '42'"),
        ({"strategy": "top"}, r"strategy is 'top'; it must be 'random' or 'hardest'"),
        ({"max_score": float("nan")}, r"max_score is nan; it must be a finite number"),
        ({"min_score": float("-inf")}, r"min_score is -inf"),
        ({"max_score": "0.5"}, r"max_score is '0\.5'; it must be a finite number"),
        ({"max_positive_ratio": 0}, r"max_positive_ratio is 0.*such as 0\.95"),
        ({"max_positive_ratio": -0.5}, r"max_positive_ratio is -0\.5"),
        ({"margin": -0.01}, r"margin is -0\.01.*such as 0\.05"),
        ({"min_score": 0.5, "max_score": 0.25}, r"min_score 0\.5 is above max_score 0\.25"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_value(values, message):
    with pytest.raises(SettingsError, match=message):
        SelectionSettings(**values)


def test_an_unknown_setting_is_refused_and_not_ignored():
    with pytest.raises(TypeError, match="marginn"):
        SelectionSettings(marginn=0.1)
    with pytest.raises(msgspec.ValidationError, match="marginn"):
        msgspec.json.decode(b'{"marginn": 0.1}', type=SelectionSettings)


def test_settings_go_to_json_and_back_even_from_numpy():
    settings = SelectionSettings(negative_number=np.int64(7), seed=np.uint64(2**63), max_score=np.float64(0.5), margin=np.float32(0.125))
    assert msgspec.json.decode(msgspec.json.encode(settings), type=SelectionSettings) == settings
    assert settings == SelectionSettings(negative_number=7, seed=2**63, max_score=0.5, margin=0.125)


def test_a_window_behind_what_was_ranked_is_refused_unless_the_corpus_ends_there():
    corpus, _ = ladder(50)
    shallow = ranked(corpus, grid_score, 20)
    with pytest.raises(SettingsError, match=r"ends at 30, but only 20 candidates"):
        select(corpus, shallow, SelectionSettings(window_start=0, window_end=30))
    small, ranking = ladder(5)
    selection = select(small, ranking, SelectionSettings(window_start=100, window_end=200, negative_number=5))
    assert len(names(small, selection, 0)) == 5, "a window behind a small corpus random fills"
    assert selection.random_filled.all()


@pytest.mark.parametrize(("text", "window"), [("10-210", (10, 210)), ("0-5", (0, 5)), (" 3 - 7 ", (3, 7))])
def test_windows_are_parsed(text, window):
    assert parse_window(text) == window


@pytest.mark.parametrize("text", ["", "10", "10-", "-5", "a-b", "10:210", "1.5-3", "5--3", "²-3", "10-210-300"])
def test_what_is_no_window_is_refused_with_an_example(text):
    with pytest.raises(SettingsError, match=r"write START-END .* such as 10-210") as refusal:
        parse_window(text)
    assert repr(text) in str(refusal.value)
