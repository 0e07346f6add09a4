"""Search, filters and sorting of the list of queries, against plain Python."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnmine.analysis.listing import COLUMNS, FILTERS, Listing, Texts, alphabetical, filtered, matching, pages, searched, sorted_by
from hnmine.analysis.listing import found as listed_by
from hnmine.analysis.queries import QueryTable, query_table
from hnmine.core.errors import SettingsError
from hnmine.core.text import normalize_text
from hnmine.data.corpus import build_corpus
from hnmine.data.rows import Row
from hnmine.data.verdicts import Verdict, match_verdicts
from hnmine.retrieval.ranking import Ranking
from hnmine.retrieval.search import pair_scores, top_k
from hnmine.selection.promotions import apply_promotions
from hnmine.selection.select import select
from hnmine.selection.settings import SelectionSettings

WORDS = ["sea", "Wing", "hull", "strasse", "Straße", "über"]


def example(seed: int = 0) -> tuple:
    rng = np.random.default_rng(seed)
    rows = [
        Row(1, f"{WORDS[i % 6]} and {WORDS[(i // 6) % 6]} number {i}", [f"right {j}" for j in range(i, i + 1 + i % 2)], [], {})
        for i in range(40)
    ]
    corpus = build_corpus(rows, [f"p{i}" for i in range(8)])
    queries = rng.standard_normal((len(corpus.queries), 5)).astype(np.float32)
    passages = rng.standard_normal((len(corpus.passages), 5)).astype(np.float32)
    scores, ids = top_k(queries, passages, 20)
    positive = pair_scores(queries, corpus.positive_queries, passages, corpus.positive_ids)
    ranking = Ranking(ids=ids, scores=scores, positive_scores=positive, query_vectors=queries, passage_vectors=passages)
    choices = ["relevant", "negative", "positive", "junk", "unsure"]
    verdicts = [
        Verdict(query=corpus.queries[i], passage=corpus.passages[ids[i, 3 + i % 2]], verdict=choices[i % 5]) for i in range(0, 30, 2)
    ]
    verdicts += [Verdict(query=corpus.queries[i], passage=corpus.passages[ids[i, 5]], verdict=choices[i % 4]) for i in range(12)]
    judged = match_verdicts(corpus, verdicts)
    corpus, ranking = apply_promotions(corpus, ranking, judged)
    settings = SelectionSettings(window_start=2, window_end=9, negative_number=6, max_score=2.0)
    selection = select(corpus, ranking, settings, judged)
    fn_probabilities = rng.random(selection.negatives.shape).astype(np.float32)
    fn_probabilities[selection.random_filled] = fn_probabilities[4] = np.nan
    return corpus, selection, query_table(corpus, ranking, selection, fn_probabilities), verdicts


CORPUS, SELECTION, TABLE, VERDICTS = example()
FOLDED = [normalize_text(query) for query in CORPUS.queries]
PASSAGES = [normalize_text(passage) for passage in CORPUS.passages]


def found(asked: Listing, table: QueryTable = TABLE) -> list[int]:
    among = matching(asked.words, CORPUS, SELECTION, Texts(FOLDED, PASSAGES))
    ids = searched(CORPUS, SELECTION)
    of_those = matching(asked.words, CORPUS, SELECTION, Texts(FOLDED, [PASSAGES[place] for place in ids], ids))
    assert (among is None and of_those is None) or (among == of_those).all(), "no other passage is looked at"
    return listed_by(asked, table, SELECTION, among, alphabetical(FOLDED)).tolist()


def fits(query: int, asked: Listing) -> bool:
    scores = [float(score) for score in SELECTION.scores[query] if not math.isnan(score)]
    hardest, positive = max(scores, default=math.nan), float(TABLE.positive[query])
    if asked.show == "close" and not (positive > 0 and np.float32(hardest) / np.float32(positive) > 0.95):
        return False
    if asked.show == "above" and not hardest > positive:
        return False
    if asked.show == "low" and TABLE.positive_rank[query] < 10:
        return False
    if asked.show == "short" and not (len(scores) < 6 or SELECTION.random_filled[query].any()):
        return False
    latest = {(each.query, each.passage): each.verdict for each in VERDICTS}
    made = {verdict for (text, _), verdict in latest.items() if text == CORPUS.queries[query]} - {"unsure"}
    if asked.show in ("reviewed", "unreviewed") and bool(made) != (asked.show == "reviewed"):
        return False
    held = [passage for passage in SELECTION.negatives[query].tolist() if passage >= 0] + CORPUS.positives(query).tolist()
    return any(all(word in text for word in asked.words.split()) for text in (FOLDED[query], *(PASSAGES[passage] for passage in held)))


@given(
    words=st.sampled_from(["", "sea", "sea hull", "and 3", "wing", "strasse", "right 7", "p3", "right sea", "nobody says this"]),
    show=st.sampled_from([None, *FILTERS]),
    sort=st.sampled_from(sorted(COLUMNS)),
    descending=st.booleans(),
)
def test_what_is_listed_fits_and_stands_in_order(**asked: object) -> None:
    listing = Listing(**asked)
    listed = found(listing)
    assert sorted(listed) == [query for query in range(len(FOLDED)) if fits(query, listing)]
    values = FOLDED if listing.sort == "query" else getattr(TABLE, listing.sort).tolist()
    kept = [values[query] for query in listed if not (isinstance(values[query], float) and math.isnan(values[query]))]
    assert kept == sorted(kept, reverse=listing.descending)
    assert kept == [values[query] for query in listed][: len(kept)], "what cannot be compared stands last"
    for one, other in itertools.pairwise(listed):
        assert values[one] != values[other] or one < other


def test_without_an_estimate_the_list_is_sorted_by_the_ratio() -> None:
    table = dataclasses.replace(TABLE, fn_probability=None)
    asked = Listing()
    assert asked.sort == "fn_probability"
    assert sorted_by(asked, TABLE) == "fn_probability"
    assert sorted_by(asked, table) == "ratio"
    by_ratio = found(Listing(sort="ratio"), table)
    assert found(asked, table) == by_ratio
    assert found(asked) != by_ratio


def test_each_filter_keeps_something_and_leaves_something() -> None:
    for name in FILTERS:
        kept = found(Listing(show=name))
        assert 0 < len(kept) < len(FOLDED), name
        assert np.count_nonzero(filtered(name, TABLE, SELECTION)) == len(kept)


def test_words_stand_in_any_order_and_phrases_as_they_are() -> None:
    def texts(words: str) -> set[str]:
        return {FOLDED[query] for query in found(Listing(words=words))}

    assert texts("hull sea") == texts("sea hull") == {text for text in FOLDED if "sea" in text and "hull" in text}
    assert texts('"sea and hull"') == {text for text in FOLDED if "sea and hull" in text} < texts("sea hull")
    assert texts('"sea and hull') == texts('"sea and hull"')
    assert texts('""') == texts(" ") == set(FOLDED)
    assert texts(normalize_text("STRASSE")) == texts(normalize_text("Straße")) != set()


def test_the_alphabet_is_that_of_the_texts() -> None:
    assert [FOLDED[query] for query in np.argsort(alphabetical(FOLDED))] == sorted(FOLDED)


@pytest.mark.parametrize("asked", [{"sort": "folded"}, {"show": "x"}])
def test_what_cannot_be_asked_is_refused(asked: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(asked))):
        Listing(**asked)


@pytest.mark.parametrize(("count", "size", "expected"), [(0, 50, 1), (1, 50, 1), (50, 50, 1), (51, 50, 2), (100_000, 50, 2000)])
def test_pages(count: int, size: int, expected: int) -> None:
    assert pages(count, size) == expected
