"""BM25 and overlap against the formulas, counted word by word."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnmine.core.errors import Cancelled
from hnmine.core.text import words_of
from hnmine.data.texts import TextWriter
from hnmine.retrieval import bm25 as lexical
from hnmine.retrieval.bm25 import LexicalIndex

TEXTS = [
    "The cat sat on the mat",
    "the dog sat on the log, the dog",
    "A cat, a dog and a catalogue",
    "",
    "... !!",
    "catalogues of categories",
    "机器学习很有用",
    "机器翻译",
    "the cat sat on the mat and slept the whole day",
]


def stems(text):
    return [word[:5] for _, _, word in words_of(text)]


def bm25(query, texts, k1=1.5, b=0.75):
    """Lucene's formula, from the definition."""
    documents = [Counter(stems(text)) for text in texts]
    average = sum(document.total() for document in documents) / len(texts)
    scores = []
    for document in documents:
        score = 0.0
        for word in set(stems(query)):
            df = sum(word in other for other in documents)
            idf = math.log(1 + (len(texts) - df + 0.5) / (df + 0.5))
            tf = document[word]
            score += idf * tf / (tf + k1 * (1 - b + b * document.total() / average)) if tf else 0
        scores.append(score)
    return scores


def shingles(text):
    words = stems(text)
    return {tuple(words[at : at + 3]) for at in range(len(words) - 2)} if len(words) >= 3 else {(word,) for word in words}


texts = st.lists(
    st.lists(st.sampled_from(["alpha", "beta", "gamma", "delta", "epsilon", "epsilons", "学习", "学"]), max_size=9).map(" ".join),
    min_size=1,
    max_size=8,
)


@given(texts, st.lists(st.sampled_from(["alpha", "beta", "epsilonic", "学习", "unheard"]), max_size=5).map(" ".join))
def test_scores_are_those_of_lucenes_formula(corpus, query):
    assert LexicalIndex(corpus).scores(query) == pytest.approx(bm25(query, corpus), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("query", ["cat", "CATALOGUE dogs", "sat sat sat the", "学习", "机器学习", "mat day"])
def test_real_words_in_any_script_score_by_the_formula(query):
    found = LexicalIndex(TEXTS).scores(query)
    assert found.dtype == np.float32
    assert found == pytest.approx(bm25(query, TEXTS), rel=1e-5, abs=1e-7)
    assert found.max() > 0


def test_words_are_cut_to_five_characters_and_count_once_in_a_query():
    index = LexicalIndex(TEXTS)
    assert index.scores("catalogue").tolist() == index.scores("catalysis").tolist(), "both are catal"
    assert index.scores("cat").tolist() != index.scores("catal").tolist()
    assert index.scores("dog dog DOG").tolist() == index.scores("dog").tolist()


def test_chinese_is_matched_by_pairs_of_characters():
    found = LexicalIndex(TEXTS).scores("机器人")  # the pairs 机器 and 器人
    assert np.flatnonzero(found).tolist() == [6, 7]
    assert found[7] > found[6], "the shorter text"


@pytest.mark.parametrize("query", ["", "?!", "nothing here"])
def test_a_query_without_a_known_word_matches_nothing(query):
    index = LexicalIndex(TEXTS)
    assert index.scores(query).tolist() == [0] * len(TEXTS)
    scores, ids = index.top_k([query], 3, len(TEXTS))
    assert ids.tolist() == [[-1, -1, -1]]
    assert np.isneginf(scores).all()
    (match,) = index.matches([query], len(TEXTS))
    assert match.ratios(np.arange(3)).tolist() == [0, 0, 0]
    assert match.ranks(np.arange(3)).tolist() == [lexical.RANKS] * 3


@pytest.mark.parametrize("corpus", [[""], ["", "!?", "…"]])
def test_a_corpus_without_words_matches_nothing(corpus):
    index = LexicalIndex(corpus)
    assert index.scores("cat").tolist() == [0] * len(corpus)
    assert index.top_k(["cat"], 5, len(corpus))[1].tolist() == [[-1] * len(corpus)]
    assert index.overlap(np.array([0]), np.array([0])).tolist() == [0], "nothing is shared where nothing is"


@given(texts, st.integers(1, 9), st.integers(0, 8), st.sampled_from(["alpha", "beta gamma", "unheard", "epsilon 学习 alpha"]))
def test_the_best_stand_first_ties_by_id_and_only_what_matches(corpus, k, beyond, query):
    count = max(1, len(corpus) - beyond)
    index = LexicalIndex(corpus)
    every = index.scores(query)
    expected = sorted((id_ for id_ in range(count) if every[id_] > 0), key=lambda id_: (-every[id_], id_))[:k]
    scores, ids = index.top_k([query, ""], k, count)
    assert ids.shape == (2, min(k, count))
    assert [id_ for id_ in ids[0].tolist() if id_ >= 0] == expected == ids[0, : len(expected)].tolist()
    assert scores[0, : len(expected)].tolist() == every[expected].tolist()
    assert np.isneginf(scores[0, len(expected) :]).all()
    assert (ids[1] == -1).all()


@given(texts, st.integers(0, 3), st.integers(1, 4), st.sampled_from(["alpha", "beta gamma", "unheard", "epsilon 学习 alpha"]))
def test_shares_and_ranks_by_counting(corpus, beyond, cap, query):
    """The best may stand behind the candidates; ranks count candidates alone, up to a cap."""
    count = max(1, len(corpus) - beyond)
    index = LexicalIndex(corpus)
    every = index.scores(query)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lexical, "RANKS", cap)
        (match,) = index.matches([query], count)
        ids = np.arange(len(corpus))
        shares, ranks = match.ratios(ids), match.ranks(ids)
    best = every.max()
    assert shares.tolist() == [np.float32(score / best) if best else 0 for score in every]
    for id_, own in enumerate(every):
        better = sum(every[other] > own for other in range(count))
        assert ranks[id_] == (min(better, cap) if own > 0 else cap)


@given(texts, st.data())
def test_overlap_is_the_jaccard_index_of_three_word_runs(corpus, data):
    """Of texts with fewer than three words, of their words; a run that stands twice counts once."""
    ids = st.integers(0, len(corpus) - 1)
    pairs = data.draw(st.lists(st.tuples(ids, ids), min_size=1, max_size=20))
    expected = []
    for left, right in pairs:
        a, b = shingles(corpus[left]), shingles(corpus[right])
        expected.append(len(a & b) / len(a | b) if a | b else 0)
    left, right = (np.array(each) for each in zip(*pairs, strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lexical, "PAIRS", 3)
        assert LexicalIndex(corpus).overlap(left, right) == pytest.approx(expected, abs=1e-6)


@given(texts, st.integers(1, 9), st.booleans(), st.data())
def test_an_index_in_blocks_and_in_files_is_the_same(corpus, words, in_files, data):
    ids = st.lists(st.integers(0, len(corpus) - 1), min_size=5, max_size=5).map(np.array)
    left, right = data.draw(ids), data.draw(ids)
    known, given_texts = LexicalIndex(corpus), corpus
    if in_files:
        writer = TextWriter(-1)
        for text in corpus:
            writer.append(text)
        given_texts = writer.texts()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("BLOCK_WORDS", words), ("KEPT_WORDS", -1), ("GROUP", 2), ("READ_ENTRIES", 1)):
            patch.setattr(lexical, name, value)
        index = LexicalIndex(given_texts)
        assert len(index) == len(known)
        for query in ("alpha", "beta gamma 学习", "unheard", ""):
            assert index.scores(query).tolist() == known.scores(query).tolist()
        assert index.overlap(left, right).tolist() == known.overlap(left, right).tolist()


def test_the_order_of_words_matters_and_the_spelling_does_not():
    index = LexicalIndex(
        ["one two three four", "ONE, two three: four!", "four three two one", "one two", "two one", "one two three four one two three four"]
    )
    found = index.overlap(np.zeros(6, np.int64), np.arange(6)).tolist()
    assert found[:4] == [1, 1, 0, 0]
    assert found[5] == pytest.approx(2 / 4), "its runs: 123 234 341 412"
    assert index.overlap(np.array([3]), np.array([4])).tolist() == [1], "short texts by their words"


def test_reading_and_ranking_stop_on_request_and_tell_their_progress():
    told = []
    index = LexicalIndex(TEXTS, on_progress=lambda *what: told.append(what))
    index.top_k(["cat"], 2, len(TEXTS), on_progress=lambda *what: told.append(what))
    list(index.matches(["cat"], len(TEXTS), on_progress=lambda *what: told.append(what)))
    assert told == [(0, len(TEXTS), "counting words"), (0, 1, "ranking by BM25"), (0, 1, "comparing words")]
    with pytest.raises(Cancelled):
        LexicalIndex(TEXTS, should_stop=lambda: True)
    with pytest.raises(Cancelled):
        index.top_k(["cat"], 2, len(TEXTS), should_stop=lambda: True)
    with pytest.raises(Cancelled):
        list(index.matches(["cat"], len(TEXTS), should_stop=lambda: True))
