"""Which pairs a judge is asked about."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hnmine.analysis.fn_estimates import fn_probabilities
from hnmine.core.errors import SettingsError
from hnmine.data.corpus import Corpus, build_corpus
from hnmine.data.rows import Row
from hnmine.data.verdicts import Verdict, match_verdicts
from hnmine.retrieval.ranking import Ranking
from hnmine.review.audit_sample import AuditSettings, different_pairs, draw, pairs_in
from hnmine.review.judge_pairs import audit_pairs, chosen_pairs, old_pairs, query_pairs, random_pairs, uncertain_pairs
from hnmine.selection.fn_model import FNEstimator, default_fn_model
from hnmine.selection.select import Selection, select
from hnmine.selection.settings import SelectionSettings
from tests.worlds import rows_of, world

SETTINGS = SelectionSettings(window_start=0, window_end=40, negative_number=8)


@pytest.fixture(scope="module")
def run() -> tuple[Corpus, Ranking, Selection]:
    corpus, ranking = world()
    return corpus, ranking, select(corpus, ranking, SETTINGS)


def listed(pairs: tuple[np.ndarray, np.ndarray]) -> list[tuple[int, int]]:
    assert [each.dtype for each in pairs] == [np.int32, np.int32]
    found = list(zip(pairs[0].tolist(), pairs[1].tolist(), strict=True))
    assert len(set(found)) == len(found)
    return found


def held(selection: Selection) -> list[tuple[int, int]]:
    return [(query, passage) for query, row in enumerate(selection.negatives.tolist()) for passage in row if passage >= 0]


def test_all_chosen_negatives_and_those_of_one_query(run: tuple[Corpus, Ranking, Selection]) -> None:
    _, _, selection = run
    assert listed(chosen_pairs(selection)) == held(selection)
    assert listed(query_pairs(selection, 3)) == [pair for pair in held(selection) if pair[0] == 3]


def test_the_sample_of_an_audit_in_the_order_of_its_draws(run: tuple[Corpus, Ranking, Selection]) -> None:
    corpus, ranking, selection = run
    sample = draw(corpus, ranking, selection, AuditSettings(size=30))
    found = listed(audit_pairs(sample, corpus))
    reviewed = listed(different_pairs(*pairs_in(sample, corpus)))
    assert found[: len(reviewed)] == reviewed and len(found) > len(reviewed), "those that people review, and more"
    assert set(found) <= set(held(selection))
    first = sample.draws[0]
    assert (f"{corpus.query_hashes[found[0][0]]:016x}", f"{corpus.passage_hashes[found[0][1]]:016x}") == (first.query, first.passage)


def test_the_most_uncertain_are_those_of_a_probability_nearest_to_a_half(run: tuple[Corpus, Ranking, Selection]) -> None:
    corpus, ranking, selection = run
    estimator = FNEstimator(corpus, ranking, default_fn_model())
    probabilities = fn_probabilities(estimator, selection)
    places = {(query, passage): place for query, row in enumerate(selection.negatives.tolist()) for place, passage in enumerate(row)}
    found = listed(uncertain_pairs(estimator, selection, 25))
    distances = [abs(float(probabilities[query, places[query, passage]]) - 0.5) for query, passage in found]
    known = np.sort(np.abs(probabilities[probabilities > 0].astype(np.float64) - 0.5))
    assert distances == sorted(distances)
    assert distances == pytest.approx(known[:25].tolist())
    assert listed(uncertain_pairs(estimator, selection, 10)) == found[:10]
    with pytest.raises(SettingsError, match="number of pairs is 0"):
        uncertain_pairs(estimator, selection, 0)


def test_a_negative_that_a_reviewer_confirmed_is_not_uncertain(run: tuple[Corpus, Ranking, Selection]) -> None:
    corpus, ranking, selection = run
    estimator = FNEstimator(corpus, ranking, default_fn_model())
    query, passage = listed(uncertain_pairs(estimator, selection, 1))[0]
    verdict = Verdict(query=corpus.queries[query], passage=corpus.passages[passage], verdict="negative")
    confirmed = select(corpus, ranking, SETTINGS, match_verdicts(corpus, [verdict]))
    assert (query, passage) in held(confirmed)
    assert (query, passage) not in listed(uncertain_pairs(estimator, confirmed, 10_000))


def test_the_negatives_of_a_file_without_those_that_are_a_positive_of_their_query() -> None:
    rows = [
        Row(1, "a query", ["good"], ["bad", "worse", "BAD "], {}),
        Row(2, "A query", ["fine"], ["bad", "good"], {}),
        Row(3, "another", ["worse"], ["good"], {}),
    ]
    corpus = build_corpus(rows)
    found = [(corpus.queries[query], corpus.passages[passage].strip().lower()) for query, passage in listed(old_pairs(corpus, rows))]
    assert [(query.lower(), passage) for query, passage in found] == [("a query", "bad"), ("a query", "worse"), ("another", "good")]
    assert listed(old_pairs(corpus, [replace(row, neg=[]) for row in rows])) == []


def test_a_random_sample_depends_on_texts_and_seed_alone() -> None:
    rows = [Row(row.line, row.query, row.pos, [f"{row.pos[0]} {turn}" for turn in range(5)], {}) for row in rows_of(20)]

    def sample(given: list[Row], count: int, seed: int = 42) -> list[tuple[str, str]]:
        corpus = build_corpus(given)
        pairs = listed(random_pairs(corpus, old_pairs(corpus, given), count, seed))
        return [(corpus.queries[query], corpus.passages[passage]) for query, passage in pairs]

    assert len(sample(rows, 1_000)) == 100
    assert sample(rows[::-1], 30) == sample(rows, 30) == sample(rows, 40)[:30]
    assert sample(rows, 30, seed=1) != sample(rows, 30)
    # Every query is about as likely to be in it.
    assert len({query for query, _ in sample(rows, 50)}) > 15
