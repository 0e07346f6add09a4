"""Train and dev: by query, by seed and text, never by order."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hnmine.core.errors import SettingsError
from hnmine.core.text import normalize_text
from hnmine.data.corpus import build_corpus
from hnmine.data.rows import Row
from hnmine.export.examples import dev_path, dev_queries
from hnmine.export.formats import write_export
from hnmine.retrieval.ranking import rank
from hnmine.selection.select import select
from hnmine.selection.settings import SelectionSettings


def rows_of(queries: list[str]) -> list[Row]:
    def raw(value: object) -> msgspec.Raw:
        return msgspec.Raw(msgspec.json.encode(value))

    return [
        Row(
            line,
            query,
            [f"answer {normalize_text(query)}"],
            [],
            {"id": raw(line), "query": raw(query), "pos": raw([f"answer {normalize_text(query)}"])},
        )
        for line, query in enumerate(queries, 1)
    ]


def drawn(queries: list[str], share: float, seed: int) -> set[str]:
    """The normalised texts of the dev queries."""
    corpus = build_corpus(rows_of(queries))
    return {normalize_text(text) for text, dev in zip(corpus.queries, dev_queries(corpus, share, seed), strict=True) if dev}


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(str.strip)


@given(
    queries=st.lists(texts, min_size=2, max_size=30, unique_by=normalize_text),
    share=st.floats(0.001, 0.999),
    seed=st.integers(0, 2**63),
    data=st.data(),
)
def test_exactly_the_share_in_any_order_and_spelling(queries, share, seed, data):
    dev = drawn(queries, share, seed)
    assert len(dev) == min(max(1, round(share * len(queries))), len(queries) - 1)
    other = [f" {text}  " for text in data.draw(st.permutations(queries))]
    assert drawn([*other, queries[0]], share, seed) == dev


@given(queries=st.lists(texts, min_size=2, max_size=20, unique_by=normalize_text), seed=st.integers(0, 100))
def test_a_larger_share_keeps_who_was_dev(queries, seed):
    assert drawn(queries, 0.2, seed) <= drawn(queries, 0.6, seed)


def test_the_seed_decides_and_no_seed_is_like_another():
    queries = [f"question {number}" for number in range(200)]
    drawings = [drawn(queries, 0.25, seed) for seed in range(20)]
    assert all(len(each) == 50 for each in drawings)
    assert len({frozenset(each) for each in drawings}) == 20
    # Two unrelated draws of a quarter share a quarter of what they draw.
    assert 5 < len(drawings[0] & drawings[1]) < 22


def test_further_rows_leave_most_of_dev_where_it_was():
    queries = [f"question {number}" for number in range(1000)]
    before, after = drawn(queries[:900], 0.1, 1), drawn(queries, 0.1, 1)
    assert len(before & after) > 80


def test_no_split_and_no_share():
    corpus = build_corpus(rows_of(["a", "b"]))
    assert not dev_queries(corpus, 0, 1).any()
    assert dev_queries(corpus, 0.001, 1).sum() == 1
    assert dev_queries(corpus, 0.999, 1).sum() == 1
    for share in (-0.1, 1, float("nan")):
        with pytest.raises(SettingsError, match="dev_share is"):
            dev_queries(corpus, share, 1)
    with pytest.raises(SettingsError, match="only one query"):
        dev_queries(build_corpus(rows_of(["a", "A "])), 0.5, 1)


@pytest.mark.parametrize(
    ("path", "expected"),
    [("out.jsonl", "out.dev.jsonl"), ("a/b.c.parquet", "a/b.c.dev.parquet"), ("noending", "noending.dev"), (".hidden", ".hidden.dev")],
)
def test_the_dev_file_stands_beside_the_other(path, expected):
    assert dev_path(path) == Path(expected)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    queries=st.lists(st.sampled_from(["Why", "why ", "WHY", "how", "How", "where", "when?", "when ?"]), min_size=2, max_size=12).filter(
        lambda given: len(set(map(normalize_text, given))) > 1
    ),
    share=st.floats(0.05, 0.95),
)
def test_no_query_stands_in_both_files_and_no_row_is_lost(tmp_path, fake_encoder, queries, share):
    rows = rows_of(queries)
    corpus = build_corpus(rows, ["x", "y", "z"])
    ranking = rank(corpus, fake_encoder, 10)
    selection = select(corpus, ranking, SelectionSettings(window_start=0, window_end=10, negative_number=2))
    train, dev = write_export(tmp_path / "out.jsonl", "flagembedding", rows, corpus, selection, dev_share=share)
    (whole,) = write_export(tmp_path / "whole.jsonl", "flagembedding", rows, corpus, selection)
    lines = [each.path.read_bytes().splitlines(keepends=True) for each in (train, dev, whole)]
    asked = [{normalize_text(json.loads(line)["query"]) for line in part} for part in lines]
    assert not asked[0] & asked[1]
    assert asked[0] | asked[1] == asked[2]
    assert asked[0]
    assert asked[1]
    assert sorted(lines[0] + lines[1]) == sorted(lines[2])
    # Each part in the order of the rows.
    places = [[lines[2].index(line) for line in part] for part in lines[:2]]
    assert all(each == sorted(each) for each in places)
