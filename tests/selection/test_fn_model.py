"""The estimate of who is false: the same alone and in blocks, told in reasons that add up, moved by verdicts as far as they go."""

from __future__ import annotations

import hashlib
import math
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hnmine.core.errors import SettingsError
from hnmine.data.verdicts import Verdict, match_verdicts
from hnmine.selection.fn_model import DIGITS, EXPLANATIONS, FEATURES, FN_DEPTH, FNEstimator, FNModel, default_fn_model, refit
from tests.worlds import with_reranker, world

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made():
    return world(60, 320, depth=FN_DEPTH + 40, positives=2)


@pytest.fixture(scope="module")
def estimator(made):
    return FNEstimator(*made, default_fn_model())


def every(ranking, depth=None):
    queries, ranks = np.meshgrid(np.arange(len(ranking.ids)), np.arange(depth or ranking.depth), indexing="ij")
    return queries.ravel(), ranks.ravel()


def fn_probabilities(corpus, ranking, model=None, depth=FN_DEPTH):
    return FNEstimator(corpus, ranking, model or default_fn_model()).block(slice(0, len(corpus.queries)), slice(0, depth))


def verdict(corpus, ranking, query, rank, said):
    return Verdict(query=corpus.queries[query], passage=corpus.passages[ranking.ids[query, rank]], verdict=said)


def refitted(made, verdicts, base=None):
    corpus, ranking = made
    return refit(corpus, ranking, match_verdicts(corpus, verdicts), base)


def open_places(corpus, ranking, depth=FN_DEPTH):
    """The ranked candidates that are no positives, as (query, rank)."""
    return [
        (query, rank)
        for query in range(len(corpus.queries))
        for rank in range(min(depth, ranking.depth))
        if ranking.ids[query, rank] not in corpus.positives(query)
    ]


# The estimate


def test_the_estimate_is_the_logistic_model_of_the_features(made, estimator):
    """By the definition, candidate by candidate, in float64."""
    corpus, ranking = made
    model = default_fn_model()
    (asked, asked_spread), (alike, alike_spread) = ranking.scale
    for query, rank in random.Random(0).sample(open_places(*made), 60):
        positive_score = ranking.positive_scores[corpus.positive_starts[query] : corpus.positive_starts[query + 1]].mean()
        values = {
            "similarity_z": ranking.signals["similarity_z"][query, rank],
            "positive_similarity": (ranking.signals["positive_similarity"][query, rank] - alike) / alike_spread,
            "positive": (positive_score - asked) / asked_spread,
            "bm25_ratio": ranking.signals["bm25_ratio"][query, rank],
            "bm25_rank": math.log1p(ranking.signals["bm25_rank"][query, rank]),
        }
        each = zip(model.features, model.weights, model.centre, strict=True)
        total = model.bias + model.covariance[-1][-1] / 2 + sum(weight * (values[name] - centre) for name, weight, centre in each)
        (found,) = estimator.pairs(np.array([query]), np.array([rank]))
        assert found == pytest.approx(1 / (1 + math.exp(-total)), rel=1e-4)


@pytest.mark.parametrize("refit_first", [False, True])
def test_blocks_and_single_candidates_have_the_same_bits(made, refit_first):
    """A filter reads blocks in the window and pairs for random fill: both must agree at the bound."""
    corpus, ranking = made[0], with_reranker(*made)
    both = [verdict(corpus, ranking, 0, 3, "relevant"), verdict(corpus, ranking, 1, 3, "negative")]
    model = refitted((corpus, ranking), both) if refit_first else default_fn_model()
    estimator = FNEstimator(corpus, ranking, model)
    whole = estimator.block(slice(0, 60), slice(0, ranking.depth))
    assert whole.dtype == np.float32
    queries, ranks = every(ranking)
    order = np.random.default_rng(0).permutation(len(queries))
    alone = np.empty(len(queries), np.float32)
    alone[order] = estimator.pairs(queries[order], ranks[order])
    assert alone.tobytes() == whole.tobytes()
    assert estimator.block(slice(7, 9), slice(11, 18)).tobytes() == np.ascontiguousarray(whole[7:9, 11:18]).tobytes()


def test_a_deeper_ranking_estimates_the_same(made):
    corpus, deeper = world(60, 320, depth=FN_DEPTH + 60, positives=2)
    assert fn_probabilities(corpus, deeper, depth=FN_DEPTH + 40).tobytes() == fn_probabilities(*made, depth=FN_DEPTH + 40).tobytes()


@pytest.mark.parametrize("missing", ["bm25_ratio", "bm25_rank", "positive_similarity", "similarity_z", "scale"])
def test_a_run_without_the_signals_is_refused_with_a_remedy(made, missing):
    corpus, ranking = made
    kept = {name: values for name, values in ranking.signals.items() if name != missing}
    with pytest.raises(SettingsError, match=f"needs the signal {missing}, .*mine again"):
        FNEstimator(corpus, replace(ranking, signals=kept, scale=None if missing == "scale" else ranking.scale), default_fn_model())


def test_a_learned_signal_that_this_run_lacks_is_named(made):
    corpus, ranking = made[0], with_reranker(*made)
    model = refitted((corpus, ranking), [verdict(corpus, ranking, 0, 3, "negative")])
    with pytest.raises(SettingsError, match="needs the signal reranker"):
        FNEstimator(*made, model)


def test_what_is_not_known_speaks_neither_for_nor_against(made):
    corpus, ranking = made
    model = default_fn_model()
    unknown = ranking.signals["positive_similarity"].copy()
    unknown[5, 9] = np.nan
    blind = FNEstimator(corpus, replace(ranking, signals=ranking.signals | {"positive_similarity": unknown}), model)
    assert not {text for text, _ in blind.reasons(5, 9)} & set(EXPLANATIONS[1][1:]), "nor is it told"
    average = unknown.copy()
    (_, _), (mean, spread) = ranking.scale.astype(np.float32)
    average[5, 9] = np.float32(model.centre[FEATURES.index("positive_similarity")]) * spread + mean
    known = FNEstimator(corpus, replace(ranking, signals=ranking.signals | {"positive_similarity": average}), model)
    at = np.array([5]), np.array([9])
    assert blind.pairs(*at) == pytest.approx(known.pairs(*at), rel=1e-5)
    assert np.isfinite(blind.block(slice(5, 6), slice(0, 20))).all()


# Reasons


@pytest.mark.parametrize("refit_first", [False, True])
def test_reasons_add_up_to_the_distance_from_an_average_candidate(made, refit_first):
    corpus, ranking = made[0], with_reranker(*made, unknown=0)
    both = [verdict(corpus, ranking, 0, 3, "relevant"), verdict(corpus, ranking, 1, 3, "negative")]
    model = refitted((corpus, ranking), both) if refit_first else default_fn_model()
    estimator = FNEstimator(corpus, ranking, model)
    said = {text for _, *texts in EXPLANATIONS for text in texts}
    for query, rank in random.Random(1).sample(open_places(corpus, ranking), 40):
        reasons = estimator.reasons(query, rank)
        chance = float(estimator.pairs(np.array([query]), np.array([rank]))[0])
        assert sum(amount for _, amount in reasons) == pytest.approx(math.log(chance / (1 - chance)) - model.level, abs=2e-3)
        assert [abs(amount) for _, amount in reasons] == sorted((abs(amount) for _, amount in reasons), reverse=True)
        assert len(reasons) == (5 if refit_first else 4)
        assert {text for text, _ in reasons} <= said


def test_reasons_say_what_is_so(made, estimator):
    """What speaks for it has its words for it, and the other way round; the extremes say what they are."""
    _, ranking = made
    for query, rank in random.Random(2).sample(open_places(*made), 40):
        for text, amount in estimator.reasons(query, rank):
            (words,) = [texts for _, *texts in EXPLANATIONS if text in texts]
            assert text == (words[0] if amount > 0 else words[1])
    alike = np.nan_to_num(ranking.signals["positive_similarity"], nan=0)
    most, least = (divmod(int(find(alike)), ranking.depth) for find in (np.argmax, np.argmin))
    assert "similar to a positive" in dict(estimator.reasons(*most))
    assert "not similar to the positives" in dict(estimator.reasons(*least))


def test_reasons_stay_true_where_verdicts_turned_a_weight_round(made, estimator):
    """Like a positive is what it is, whatever it speaks for."""
    weights = list(default_fn_model().weights)
    weights[FEATURES.index("positive_similarity")] *= -1
    turned = FNEstimator(*made, msgspec.structs.replace(default_fn_model(), weights=tuple(weights)))
    for query, rank in random.Random(12).sample(open_places(*made), 20):
        usual, other = dict(estimator.reasons(query, rank)), dict(turned.reasons(query, rank))
        assert set(other) == set(usual)
        for text, amount in other.items():
            assert amount == pytest.approx(-usual[text] if "to a positive" in text or "to the positives" in text else usual[text])


# The default weights


def test_the_default_weights_are_whole_and_point_where_they_should():
    model = default_fn_model()
    assert model.features == FEATURES
    assert len(model.weights) == len(model.centre) == len(FEATURES)
    assert np.isfinite([*model.weights, *model.centre, model.bias]).all()
    assert np.array(model.covariance).shape == (len(FEATURES) + 1, len(FEATURES) + 1)
    assert (np.linalg.eigvalsh(model.covariance) > 0).all()
    assert model.fitted_on
    assert model.verdicts == 0
    weight = dict(zip(model.features, model.weights, strict=True))
    assert weight["similarity_z"] > 0
    assert weight["positive_similarity"] > 0, "the more like the positive, the more suspicious"
    assert weight["bm25_ratio"] > 0
    assert weight["bm25_rank"] < 0
    assert weight["positive"] < 0, "beside a near positive, less is suspicious"
    assert msgspec.json.decode(msgspec.json.encode(model), type=FNModel) == model


@pytest.mark.parametrize(("signal", "sign"), [("positive_similarity", 1), ("similarity_z", 1), ("bm25_ratio", 1), ("bm25_rank", -1)])
def test_more_of_a_signal_moves_the_estimate_the_way_it_should(made, signal, sign):
    corpus, ranking = made
    more = replace(ranking, signals=ranking.signals | {signal: ranking.signals[signal] + np.float32(0.1)})
    moved = fn_probabilities(corpus, more) - fn_probabilities(corpus, ranking)
    known = ~np.isnan(ranking.signals[signal][:, :FN_DEPTH])
    assert (sign * moved[known] > 0).mean() > 0.9
    assert (sign * moved >= 0).all()


# Verdicts


def test_without_a_verdict_on_a_ranked_candidate_the_base_stays(made):
    corpus, ranking = made
    base = msgspec.structs.replace(default_fn_model(), bias=-4.0)
    unranked = next(passage for passage in range(corpus.n_candidates) if passage not in ranking.ids[0])
    far = Verdict(query=corpus.queries[0], passage=corpus.passages[unranked], verdict="relevant")
    skipped, unknown = verdict(corpus, ranking, 0, 5, "unsure"), Verdict(query="who", passage="nobody", verdict="relevant")
    assert refitted(made, []) is default_fn_model()
    assert refitted(made, [far, skipped, unknown], base) is base
    bare = replace(ranking, signals={}, positive_signals={}, scale=None)
    assert refitted((corpus, bare), [verdict(corpus, ranking, 0, 5, "relevant")], base) is base


def test_a_few_verdicts_move_the_level_and_hardly_the_order(made):
    """The level differs between data sets, so verdicts move it first; the slopes hardly differ."""
    corpus, ranking = made
    places = [next(place for place in open_places(*made) if place[0] == query and place[1] >= 2) for query in range(6)]
    before = fn_probabilities(corpus, ranking)
    for relevant, higher in ((0, False), (3, True)):
        said = ["relevant"] * relevant + ["negative"] * (6 - relevant)
        model = refitted(made, [verdict(corpus, ranking, *place, each) for place, each in zip(places, said, strict=True)])
        assert model.verdicts == 6
        after = fn_probabilities(corpus, ranking, model)
        assert (after.mean() > before.mean()) == higher
        assert (model.bias > default_fn_model().bias) == higher
        assert model.weights == pytest.approx(default_fn_model().weights, rel=0.35)
        assert np.corrcoef(np.log(after.ravel()), np.log(before.ravel()))[0, 1] > 0.97


@pytest.mark.parametrize("said", ["relevant", "positive"])
def test_false_negatives_that_somebody_noticed_say_nothing_of_the_level(made, said):
    """Who notes down only what is wrong looked at more than that: balanced would lose its hardness with every note."""
    corpus, ranking = made
    places = random.Random(13).sample(open_places(*made, depth=40), 60)
    noticed = [verdict(corpus, ranking, *place, said) for place in places]
    assert refitted(made, noticed) is default_fn_model()
    beside = [verdict(corpus, ranking, *place, "negative") for place in random.Random(14).sample(open_places(*made)[-2_000:], 2)]
    one, many = (refitted(made, [*noticed[:count], *beside]) for count in (2, 60))
    assert many.bias < one.bias + 1, "together they count as two"


def test_verdicts_on_what_looked_safe_raise_the_level_most(made):
    corpus, ranking = made
    estimates = fn_probabilities(corpus, ranking)
    places = sorted(open_places(*made), key=lambda place: estimates[place])
    middle = [verdict(corpus, ranking, *place, "negative") for place in places[len(places) // 2 :][:5]]
    safe, doubtful = (
        refitted(made, [*middle, *(verdict(corpus, ranking, *place, "relevant") for place in part)]) for part in (places[:5], places[-5:])
    )
    assert safe.bias > doubtful.bias


# The range


def test_the_range_holds_the_estimate_and_narrows_with_verdicts(made):
    corpus, ranking = made
    queries, ranks = np.array(open_places(*made, depth=40)).T
    widths = []
    for count in (0, 20, 200, 2_000):
        drawn = random.Random(11).sample(open_places(*made, depth=40), count)
        said = [verdict(corpus, ranking, *place, "relevant" if number % 20 == 0 else "negative") for number, place in enumerate(drawn)]
        estimator = FNEstimator(corpus, ranking, refitted(made, said))
        low, high = estimator.range_of(queries, ranks)
        assert 0 < low < float(estimator.pairs(queries, ranks).mean()) < high < 1
        widths.append(math.log(high / low))
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 4 * widths[-1]
    assert low < 0.05 < high, "one in twenty is false"


def test_the_range_covers_data_sets_that_differ_as_the_model_says(made):
    """Biases and slopes drawn from the model: the true rate is in the range nine times in ten."""
    model, estimator = default_fn_model(), FNEstimator(*made, default_fn_model())
    queries, ranks = np.array(open_places(*made, depth=20)).T
    rows = np.c_[estimator.features(queries, ranks) - np.array(model.centre), np.ones(len(queries))]
    drawn = np.random.default_rng(0).multivariate_normal([*model.weights, model.bias], model.covariance, 500)
    rates = (1 / (1 + np.exp(-(rows @ drawn.T)))).mean(axis=0)
    low, high = estimator.range_of(queries, ranks)
    assert 0.9 < ((low <= rates) & (rates <= high)).mean() < 0.99
    assert np.mean(rates) == pytest.approx(float(estimator.pairs(queries, ranks).mean()), rel=0.35)


def test_a_verdict_that_agrees_leaves_the_weights_where_they_were(made):
    """The usual penalty on weights would draw all of them towards nought."""
    corpus, ranking = made
    places = open_places(*made)
    estimates = fn_probabilities(corpus, ranking)
    least = min(places, key=lambda place: estimates[place])
    model = refitted(made, [verdict(corpus, ranking, *least, "negative")])
    assert model.weights == pytest.approx(default_fn_model().weights, rel=0.05, abs=0.01)
    assert np.abs(fn_probabilities(corpus, ranking, model) - estimates).max() < 0.005


def test_many_verdicts_move_the_estimate_to_what_they_say(made):
    """People find that what has the query's words is false here, and only that."""
    corpus, ranking = made
    places = random.Random(3).sample(open_places(*made, depth=40), 1_500)
    worded = {place: ranking.signals["bm25_ratio"][place] > 0.3 for place in places}
    model = refitted(made, [verdict(corpus, ranking, *place, "relevant" if worded[place] else "negative") for place in places])
    assert model.verdicts == 1_500
    before, after = fn_probabilities(corpus, ranking), fn_probabilities(corpus, ranking, model)
    false, true = ([place for place in places if worded[place] == which] for which in (True, False))
    assert np.mean([after[place] for place in false]) > 0.5
    assert np.mean([after[place] for place in false]) > 3 * np.mean([before[place] for place in false])
    assert np.mean([after[place] for place in true]) < 0.15


def test_relevant_and_positive_have_the_same_effect(made):
    corpus, ranking = made
    places = random.Random(4).sample(open_places(*made), 40)
    dropped, promoted = (refitted(made, [verdict(corpus, ranking, *place, said) for place in places]) for said in ("relevant", "positive"))
    assert dropped == promoted


def test_junk_is_left_out_of_the_fit(made):
    corpus, ranking = made
    places = random.Random(4).sample(open_places(*made), 40)
    verdicts = [verdict(corpus, ranking, *place, "junk" if number % 2 else "relevant") for number, place in enumerate(places)]
    assert refitted(made, verdicts) == refitted(made, [each for each in verdicts if each.verdict == "relevant"])
    assert refitted(made, [each for each in verdicts if each.verdict == "junk"]) is default_fn_model()


def test_verdicts_behind_what_the_command_line_ranks_have_no_say(made):
    """The app ranks deeper, and verdicts are given there: were they counted, both would choose otherwise."""
    corpus, ranking = made
    deep = [verdict(corpus, ranking, query, FN_DEPTH + 20, "relevant") for query in range(30)]
    assert refitted(made, deep) is default_fn_model()
    near = [verdict(corpus, ranking, *place, "relevant") for place in random.Random(5).sample(open_places(*made), 30)]
    shallow = world(60, 320, depth=FN_DEPTH, positives=2)
    assert refitted(made, [*near, *deep]) == refitted(shallow, [*near, *deep]) == refitted(made, near)


def test_neither_the_order_of_verdicts_nor_that_of_rows_matters(made):
    corpus, ranking = made
    places = random.Random(6).sample(open_places(*made), 200)
    verdicts = [verdict(corpus, ranking, *place, "relevant" if sum(place) % 3 else "negative") for place in places]
    model = refitted(made, verdicts)
    random.Random(7).shuffle(verdicts)
    assert refitted(made, verdicts) == model
    assert refitted(world(60, 320, depth=FN_DEPTH + 40, positives=2, shuffle=8), verdicts) == model


def test_a_reranker_has_a_say_only_after_verdicts(made):
    corpus, ranking = made[0], with_reranker(*made)
    assert fn_probabilities(corpus, ranking).tobytes() == fn_probabilities(*made).tobytes(), "no default weight"
    known = [place for place in open_places(corpus, ranking) if not np.isnan(ranking.signals["reranker"][place])]
    places = random.Random(9).sample(known, 600)
    liked = {place: ranking.signals["reranker"][place] > 1 for place in places}
    model = refitted((corpus, ranking), [verdict(corpus, ranking, *place, "relevant" if liked[place] else "negative") for place in places])
    assert model.features == (*FEATURES, "reranker")
    assert len(model.weights) == len(model.centre) == len(FEATURES) + 1
    assert model.weights[-1] > 0.5
    again = refitted((corpus, ranking), [verdict(corpus, ranking, *places[0], "negative")], model)
    assert again.features == model.features, "a second fit names it once"
    assert FNEstimator(corpus, ranking, again).block(slice(0, 2), slice(0, 5)).shape == (2, 5)


def test_learned_weights_are_rounded(made):
    """The solver's last digits may differ between machines; what is written into manifests and decides choices must not."""
    corpus, ranking = made
    model = refitted(made, [verdict(corpus, ranking, *place, "relevant") for place in random.Random(10).sample(open_places(*made), 50)])
    for value in (*model.weights, model.bias):
        assert value == float(f"{value:.{DIGITS}g}")


def test_a_feature_that_is_the_same_everywhere_gets_no_wild_weight(made):
    """No text shares a word with its query here: nothing is known of what BM25 would tell."""
    corpus, ranking = made
    silent = {"bm25_ratio": np.zeros_like(ranking.signals["bm25_ratio"]), "bm25_rank": np.full_like(ranking.signals["bm25_ratio"], 1000)}
    silent["bm25_ratio"][3, 7] = 0.5
    corpus_ranking = corpus, replace(ranking, signals=ranking.signals | silent)
    model = refitted(corpus_ranking, [verdict(corpus, ranking, 3, 7, "relevant")])
    assert np.abs(model.weights).max() < 20


def test_the_number_of_threads_changes_no_bit():
    """Learned weights and estimates, in processes of their own with one thread and with two."""
    script = """
import hashlib, msgspec, random
import numpy as np
from hnmine.selection.fn_model import FNEstimator, default_fn_model, refit
from hnmine.data.verdicts import Verdict, match_verdicts
from tests.worlds import world
corpus, ranking = world(60, 320, depth=340)
chance = random.Random(11)
verdicts = [Verdict(query=corpus.queries[query], passage=corpus.passages[ranking.ids[query, chance.randrange(200)]],
                    verdict=chance.choice(["negative", "relevant"])) for query in range(60)]
model = refit(corpus, ranking, match_verdicts(corpus, verdicts))
digest = hashlib.sha256(msgspec.json.encode(model))
for each in (default_fn_model(), model):
    digest.update(FNEstimator(corpus, ranking, each).block(slice(0, 60), slice(0, 340)).tobytes())
for values in ranking.signals.values():
    digest.update(values.tobytes())
print(digest.hexdigest())
"""
    printed = {
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")},
        ).stdout
        for threads in (1, 2)
    }
    assert len(printed) == 1
    assert len(printed.pop().strip()) == 2 * hashlib.sha256().digest_size
