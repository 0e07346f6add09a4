"""The corpus: when two texts are the same, and that ids depend on the set of texts alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hnmine.core.errors import InputError, SettingsError
from hnmine.core.text import normalize_text, text_hash
from hnmine.data import corpus as corpus_module
from hnmine.data import texts as texts_module
from hnmine.data.corpus import SOURCE_NEG, SOURCE_POOL, SOURCE_POS, build_corpus
from hnmine.data.rows import Row
from hnmine.data.texts import Texts, TextWriter


def row(query, pos, neg=(), line=1):
    return Row(line, query, list(pos), list(neg), {})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("café", "cafe\u0301"),  # composed and decomposed
        ("Straße", "STRASSE"),
        ("İstanbul", "i\u0307stanbul"),
        ("\u03aa\u0301", "\u0390"),  # folding decomposes the second (iota with both accents), so composing must follow it
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),  # final sigma
        ("Hello  World", "hello world"),
        ("a\u00a0b", "a b"),
        ("a\u2003b\u3000c", "a b c"),
        (" a\tb\r\nc ", "a b c"),
        ("\u212b", "å"),  # Ångström sign
    ],
)
def test_the_same_text_in_two_spellings(one, other):
    assert normalize_text(one) == normalize_text(other)


@pytest.mark.parametrize(("one", "other"), [("ab", "a b"), ("cafe", "café"), ("x²", "x2"), ("a.", "a"), ("ﬁre exit", "fire  exits")])
def test_different_texts_stay_different(one, other):
    assert normalize_text(one) != normalize_text(other)


ODD = " \t\n\x1c\x85\u00a0\u2028\u3000\u00ad\u0130ß\u0301\u0345\u03aaéÅ\u212bﬁ日\ud800"
folding = st.text(st.one_of(st.characters(max_codepoint=127), st.sampled_from(ODD), st.characters()))


@given(folding)
def test_folding_is_what_it_is_described_to_be_by_every_short_way(text):
    """NFC, case folding, NFC again, and white space as single blanks."""
    once = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    assert normalize_text(text) == " ".join(once.split())


def test_hashes_are_those_of_blake2b_whatever_the_process():
    """Fixed values: another hash would change every draw and every tie of all earlier runs."""
    assert (text_hash(""), text_hash("a")) == (0xB4B2797457A0A6E4, 0x2F42665B399EF840)
    code = "from hnmine.core.text import text_hash; print([text_hash(t) for t in ('', 'a', 'café', '\\ud800')])"
    answers = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True, text=True
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert answers == {f"{[text_hash(text) for text in ('', 'a', 'café', chr(0xD800))]}\n"}


def test_spellings_are_one_passage_and_the_smallest_original_is_kept():
    for order in (("Éclair  bun", "e\u0301clair bun"), ("e\u0301clair bun", "Éclair  bun")):
        corpus = build_corpus([row("q", order)])
        assert list(corpus.passages) == ["e\u0301clair bun"]
        assert corpus.positives(0).tolist() == [0]
        assert corpus.row_positive_ids.tolist() == [0, 0], "each entry of the row keeps its passage"


def test_an_original_is_never_rewritten():
    texts = ["  Two\tBlanks  ", "ÉTÉ", "cafe\u0301", "MiXed"]
    corpus = build_corpus([row(" The Query ", texts)])
    assert sorted(corpus.passages) == sorted(texts)
    assert list(corpus.queries) == [" The Query "]


def test_rows_with_the_same_query_share_their_positives():
    rows = [row("What is it?", ["a", "b"]), row("other", ["c"]), row("what  is IT?", ["B", "d"])]
    corpus = build_corpus(rows)
    assert len(corpus.queries) == 2
    assert corpus.row_queries[0] == corpus.row_queries[2] != corpus.row_queries[1]
    shared = int(corpus.row_queries[0])
    assert {normalize_text(corpus.passages[i]) for i in corpus.positives(shared)} == {"a", "b", "d"}
    assert corpus.positives(shared).tolist() == sorted(corpus.positives(shared).tolist())
    by_row = [
        [
            normalize_text(corpus.passages[i])
            for i in corpus.row_positive_ids[corpus.row_positive_starts[r] : corpus.row_positive_starts[r + 1]]
        ]
        for r in range(3)
    ]
    assert by_row == [["a", "b"], ["c"], ["b", "d"]]
    owners = [corpus.queries[i] for i in corpus.positive_queries]
    assert len(owners) == len(corpus.positive_ids) == 4


def test_extend_ranks_the_union_and_says_where_each_came_from():
    corpus = build_corpus([row("q", ["p", "both"], ["n", "Both"])], ["pool", "N"])
    sources = {normalize_text(text): int(flags) for text, flags in zip(corpus.passages, corpus.sources, strict=True)}
    assert sources == {"p": SOURCE_POS, "both": SOURCE_POS | SOURCE_NEG, "n": SOURCE_NEG | SOURCE_POOL, "pool": SOURCE_POOL}
    assert corpus.n_candidates == 4
    assert corpus.pool_mode == "extend"
    assert build_corpus([row("q", ["p"])]).pool_mode is None


def test_replace_ranks_the_pool_alone_and_keeps_positives_behind_it_for_their_scores():
    corpus = build_corpus([row("q", ["p", "shared"], ["n"])], ["x", "Shared", "y"], pool_mode="replace")
    assert corpus.n_candidates == 3
    assert {normalize_text(text) for text in corpus.passages[:3]} == {"x", "y", "shared"}
    assert list(corpus.passages[3:]) == ["p"], "a negative of a row is neither candidate nor positive: it is not encoded"
    assert {normalize_text(corpus.passages[i]) for i in corpus.positives(0)} == {"p", "shared"}


def test_the_passage_that_is_the_query_is_known():
    corpus = build_corpus([row("Is IT so?", ["p"]), row("alone", ["p2"])], ["is it  so?"])
    found = {normalize_text(query): int(passage) for query, passage in zip(corpus.queries, corpus.query_passages, strict=True)}
    assert found["alone"] == -1
    assert corpus.passages[found["is it so?"]] == "is it  so?"


def test_ids_follow_the_hash_of_the_folded_text():
    corpus = build_corpus([row("q", [f"Passage  {i}" for i in range(50)])])
    assert corpus.passage_hashes.tolist() == [text_hash(normalize_text(text)) for text in corpus.passages]
    assert (np.diff(corpus.passage_hashes.astype(object)) > 0).all()


texts = st.text(alphabet="aAbBé \u00a0\u0301", min_size=1, max_size=4).filter(str.strip)
rows_strategy = st.lists(st.tuples(texts, st.lists(texts, min_size=1, max_size=3), st.lists(texts, max_size=3)), min_size=1, max_size=8)


def facts(corpus):
    """Everything about a corpus that is not about rows."""
    return (
        list(corpus.passages),
        list(corpus.queries),
        corpus.passage_hashes.tolist(),
        corpus.query_hashes.tolist(),
        corpus.sources.tolist(),
        corpus.n_candidates,
        corpus.query_passages.tolist(),
        corpus.positive_starts.tolist(),
        corpus.positive_ids.tolist(),
    )


@given(rows_strategy, st.lists(texts, min_size=1, max_size=6), st.sampled_from(["extend", "replace"]), st.randoms(use_true_random=False))
def test_the_order_of_rows_passages_and_pool_has_no_say(parts, pool, mode, random):
    rows = [row(*part) for part in parts]
    corpus = build_corpus(rows, pool, pool_mode=mode)
    shuffled = random.sample(rows, len(rows))
    again = build_corpus(
        [row(r.query, random.sample(r.pos, len(r.pos)), random.sample(r.neg, len(r.neg))) for r in shuffled],
        random.sample(pool, len(pool)),
        pool_mode=mode,
    )
    assert facts(again) == facts(corpus)
    by_row = {id(r): int(query) for r, query in zip(rows, corpus.row_queries, strict=True)}
    assert [by_row[id(r)] for r in shuffled] == again.row_queries.tolist()


@given(rows_strategy, st.none() | st.lists(texts, max_size=6))
def test_who_is_whose_positive_agrees_with_a_dictionary(parts, pool):
    rows = [row(*part) for part in parts]
    corpus = build_corpus(rows, pool)
    positives: dict[str, set[str]] = {}
    for each in rows:
        positives.setdefault(normalize_text(each.query), set()).update(map(normalize_text, each.pos))
    assert {normalize_text(q) for q in corpus.queries} == set(positives)
    assert len(corpus.queries) == len(positives)
    for number, query in enumerate(corpus.queries):
        ids = corpus.positives(number).tolist()
        assert len(ids) == len(set(ids))
        assert {normalize_text(corpus.passages[i]) for i in ids} == positives[normalize_text(query)]
    assert {normalize_text(text) for text in corpus.passages} == {normalize_text(t) for r in rows for t in (*r.pos, *r.neg)} | set(
        map(normalize_text, pool or ())
    )
    assert len({normalize_text(text) for text in corpus.passages}) == len(corpus.passages)


def test_what_cannot_be_ranked_is_refused_with_a_remedy():
    with pytest.raises(SettingsError, match=r"'union'.*'extend' or 'replace'"):
        build_corpus([row("q", ["p"])], ["x"], pool_mode="union")
    with pytest.raises(SettingsError, match=r"no candidate_pool"):
        build_corpus([row("q", ["p"])], pool_mode="replace")
    with pytest.raises(InputError, match=r"no usable training row"):
        build_corpus([], ["x"])
    with pytest.raises(InputError, match=r"pool is empty"):
        build_corpus([row("q", ["p"])], [], pool_mode="replace")


def test_the_bundled_example_folds_as_its_notes_say():
    """400 passages by the letter, 397 when Unicode form, case and white space do not count."""
    folder = Path(__file__).parents[2] / "examples" / "bikeshare"
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text("utf-8").splitlines()]
    pool = [json.loads(line)["text"] for line in (folder / "pool.jsonl").read_text("utf-8").splitlines()]
    corpus = build_corpus([row(r["query"], r["pos"], r.get("neg", ())) for r in rows], pool)
    by_letter = {text for r in rows for text in (*r["pos"], *r.get("neg", ()))} | set(pool)
    assert (len(by_letter), len(corpus.passages), len(corpus.queries)) == (400, 397, 121)


@pytest.mark.parametrize("mode", ["extend", "replace"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=rows_strategy, pool=st.lists(texts, min_size=1, max_size=6))
def test_texts_with_one_hash_stay_apart(monkeypatch, mode, parts, pool):
    """With a hash of two bits nearly all texts share one: then order and identity are decided by the folded texts alone."""

    def poor(data):
        return sum(data) % 4

    rows = [row(*part) for part in parts]
    with monkeypatch.context() as patch:
        patch.setattr(corpus_module, "_hash", poor)
        corpus = build_corpus(rows, pool, pool_mode=mode)
    candidates = set(map(normalize_text, pool)) | (
        {normalize_text(t) for r in rows for t in (*r.pos, *r.neg)} if mode == "extend" else set()
    )
    spellings: dict[str, str] = {}
    for text in [t for r in rows for t in (*r.pos, *(r.neg if mode == "extend" else ()))] + pool:
        spellings[normalize_text(text)] = min(text, spellings.get(normalize_text(text), text))
    expected = sorted(spellings, key=lambda key: (key not in candidates, poor(key.encode()), key))
    assert list(corpus.passages) == [spellings[key] for key in expected]
    assert corpus.n_candidates == len(candidates)
    places = {key: place for place, key in enumerate(expected)}
    assert corpus.row_positive_ids.tolist() == [places[normalize_text(text)] for r in rows for text in r.pos]
    assert corpus.query_passages.tolist() == [places.get(normalize_text(query), -1) for query in corpus.queries]
    positive = {normalize_text(text) for r in rows for text in r.pos}
    negative = {normalize_text(text) for r in rows for text in r.neg} if mode == "extend" else set()
    in_pool = set(map(normalize_text, pool))
    assert corpus.sources.tolist() == [
        SOURCE_POS * (key in positive) + SOURCE_NEG * (key in negative) + SOURCE_POOL * (key in in_pool) for key in expected
    ]


def everything(corpus):
    return (*facts(corpus), corpus.row_queries.tolist(), corpus.row_positive_ids.tolist(), corpus.row_positive_starts.tolist())


@pytest.mark.parametrize("mode", ["extend", "replace"])
@pytest.mark.parametrize("hashed", [None, lambda data: sum(data) % 4 << 62 | sum(data) % 2])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=rows_strategy, pool=st.lists(texts, min_size=1, max_size=30), part_bytes=st.sampled_from([1, 3, 10]))
def test_a_pool_in_a_file_gives_the_corpus_of_one_in_memory(monkeypatch, mode, hashed, parts, pool, part_bytes):
    rows = [row(*part) for part in parts]
    writer = TextWriter(-1)
    for text in pool:
        writer.append(text)
    in_file = writer.texts()
    with monkeypatch.context() as patch:
        if hashed:
            patch.setattr(corpus_module, "_hash", hashed)
        known = build_corpus(rows, pool, pool_mode=mode)
        patch.setattr(corpus_module, "PART_BYTES", part_bytes)
        for limit in (texts_module.LARGE, 0):
            patch.setattr(texts_module, "LARGE", limit)
            corpus = build_corpus(rows, in_file, pool_mode=mode)
            assert isinstance(corpus.passages, list if limit else Texts)
            assert everything(corpus) == everything(known)
