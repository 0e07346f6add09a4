"""Approximate search: scores as of exact search, a recall that brute force confirms, the same bytes again, and what a user reads of it."""

from __future__ import annotations

import json
from pathlib import Path

import faiss
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hnmine
from hnmine.cli.main import main
from hnmine.core.errors import Cancelled, EncodeError, InputError, SettingsError
from hnmine.data.corpus import build_corpus
from hnmine.retrieval import approximate
from hnmine.retrieval.approximate import INDEXES, RECALL_GOAL, IndexedSearch
from hnmine.retrieval.ranking import rank
from hnmine.retrieval.retrievers import Retriever
from hnmine.retrieval.search import top_k
from hnmine.runs.mine import MineSettings
from hnmine.runs.reproduce import reproduce
from tests.conftest import FakeEncoder
from tests.pages.conftest import open_app, texts
from tests.worlds import pool_of, rows_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "bikeshare"
ON_CPU = [index for index in INDEXES if index not in ("exact", "cagra")]


def clustered(rows: int, seed: int, dimension: int = 24) -> np.ndarray:
    """Unit vectors around 60 centres, which are the same for every seed."""
    centres = np.random.default_rng(7).standard_normal((60, dimension))
    rng = np.random.default_rng(seed)
    vectors = centres[rng.integers(0, 60, rows)] + 0.7 * rng.standard_normal((rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def exact_scores(queries: np.ndarray, passages: np.ndarray) -> np.ndarray:
    return (queries.astype(np.float64) @ passages.astype(np.float64).T).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(ON_CPU),
    st.integers(1, 40),
    st.integers(1, 400),
    st.integers(1, 60),
    st.integers(1, 3),
    st.integers(0, 2**31),
    st.data(),
)
def test_every_query_gets_k_different_passages_with_their_exact_scores_in_exact_order(index, m, n, k, levels, seed, data):
    """Few levels of value make many equal scores; zero vectors tie with everything."""
    rng = np.random.default_rng(seed)
    queries, passages = ((rng.integers(-levels, levels + 1, (rows, 6)) / 8).astype(np.float32) for rows in (m, n))
    count = data.draw(st.integers(1, n))
    scores, ids = IndexedSearch(index).searcher("model")(queries, passages, k, count=count)
    assert scores.shape == ids.shape == (m, min(k, count))
    assert (scores.dtype, ids.dtype) == (np.float32, np.int32)
    assert ids.min() >= 0
    assert ids.max() < count
    expected = exact_scores(queries, passages)
    np.testing.assert_array_equal(scores, np.take_along_axis(expected, ids, 1))
    for row, found in zip(scores, ids, strict=True):
        assert len(set(found.tolist())) == len(found)
        np.testing.assert_array_equal(np.lexsort((found, -row)), np.arange(len(row)))


@pytest.mark.parametrize("index", ON_CPU)
def test_the_recall_is_what_brute_force_counts_on_queries_that_chose_no_setting(index):
    queries, passages, k = clustered(300, 1), clustered(6_000, 2), 40
    search = IndexedSearch(index)
    _, ids = search.searcher("model")(queries, passages, k)
    report = search.reports["model"]
    true = np.argsort(-exact_scores(queries, passages), axis=1, kind="stable")[:, :k]
    held_out = np.arange(1, 300, 2)
    recall = np.mean([len(np.intersect1d(ids[row], true[row])) / k for row in held_out])
    assert report["recall"] == pytest.approx(recall, abs=1e-3)
    assert report["recall"] > RECALL_GOAL - 0.01
    assert (report["queries"], report["depth"], report["goal"], report["index"]) == (150, k, RECALL_GOAL, index)
    if index == "ivf":
        assert 1 < report["nprobe"] < report["lists"] / 2, "raised, and far from all lists"
    found = f"{np.floor(1000 * report['recall']) / 10}% of the 40 nearest passages (recall on 150 of the queries"
    assert found in search.notes[0]


@pytest.mark.parametrize("index", ON_CPU)
def test_the_same_bytes_in_any_number_of_threads_and_for_mapped_vectors(index, tmp_path, monkeypatch):
    monkeypatch.setattr(approximate, "PASSAGE_BLOCK", 1_000)
    queries, passages = clustered(90, 3), clustered(3_500, 4)
    np.save(tmp_path / "passages.npy", passages)
    before, results = faiss.omp_get_max_threads(), []
    try:
        for threads, rows in ((1, passages), (2, passages), (7, np.load(tmp_path / "passages.npy", mmap_mode="r")), (7, passages)):
            faiss.omp_set_num_threads(threads)
            search = IndexedSearch(index)
            scores, ids = search.searcher("model")(queries, rows, 30)
            results.append((scores.tobytes(), ids.tobytes(), json.dumps(search.reports)))
    finally:
        faiss.omp_set_num_threads(before)
    assert len(set(results)) == 1


def test_a_setting_that_does_not_reach_the_goal_is_said(monkeypatch):
    monkeypatch.setattr(approximate, "WIDEST", 1)
    monkeypatch.setattr(approximate, "LINKS", 2)
    search = IndexedSearch("hnsw")
    search.searcher("model")(clustered(100, 1, 96), clustered(5_000, 2, 96), 10)
    assert search.reports["model"]["recall"] < RECALL_GOAL - 0.01
    assert "below the goal of 99%: the index exact finds all" in search.notes[0]


def test_a_query_with_too_few_candidates_is_searched_exactly(monkeypatch):
    queries, passages = clustered(50, 1), clustered(2_000, 2)
    original = approximate._candidates

    def fewer(index, value, block, *rest):
        scores, ids = original(index, value, block, *rest)
        if len(block) == 50:  # the search itself, not the sample
            scores[::7, 5:], ids[::7, 5:] = -np.inf, -1
        return scores, ids

    monkeypatch.setattr(approximate, "_candidates", fewer)
    scores, ids = IndexedSearch("ivf").searcher("model")(queries, passages, 20)
    expected = top_k(queries, passages, 20)
    np.testing.assert_array_equal(scores[::7], expected[0][::7])
    np.testing.assert_array_equal(ids[::7], expected[1][::7])


@pytest.mark.parametrize(("queries", "quicker"), [(100, True), (60_000, False)])
def test_a_note_says_where_exact_search_is_quicker(queries, quicker):
    search = IndexedSearch("ivf")
    search.searcher("model")(clustered(queries, 1, 8), clustered(20_000, 2, 8), 5)
    assert any(f"for {queries:,} queries and 20,000 passages exact search is expected" in note for note in search.notes) is quicker


def test_exact_is_exact_search_and_reports_nothing():
    search = IndexedSearch("exact")
    assert search.searcher("model") is top_k
    assert (search.reports, search.notes) == ({}, [])


def test_what_cannot_be_done_is_an_error_with_a_remedy(monkeypatch):
    with pytest.raises(SettingsError, match="index is 'fast'; it is one of: exact, ivf, hnsw, cagra"):
        MineSettings(index="fast")  # type: ignore[arg-type]
    if not hasattr(faiss, "GpuIndexCagra"):
        with pytest.raises(SettingsError, match=r"index is 'cagra', which FAISS .* lacks; install a build with cuVS .*ivf, hnsw or exact"):
            IndexedSearch("cagra")
    queries, passages = clustered(10, 1), clustered(200, 2)
    with pytest.raises(EncodeError, match="not finite"):
        IndexedSearch("ivf").searcher("model")(queries, np.where(passages == passages[150], np.nan, passages), 5)
    late = np.concatenate([clustered(2_000, 1), np.full((1, 24), np.nan, np.float32)])
    with pytest.raises(EncodeError, match="a query of 1,024 to 2,000 has a vector that is not finite"):
        IndexedSearch("ivf").searcher("model")(late, passages, 5)
    with pytest.raises(SettingsError, match="k is 0"):
        IndexedSearch("ivf").searcher("model")(queries, passages, 0)
    with pytest.raises(Cancelled):
        IndexedSearch("hnsw", should_stop=lambda: True).searcher("model")(queries, passages, 5)
    monkeypatch.setattr(approximate, "available", lambda: 10_000)
    with pytest.raises(SettingsError, match=r"index is 'ivf', which takes .* for 200 passages, and .* are free; use exact"):
        IndexedSearch("ivf").searcher("model")(queries, passages, 5)


@pytest.mark.parametrize("retrievers", [("model",), ("model", "second_model"), ("second_model",)])
def test_both_models_are_searched_by_their_own_index(retrievers: tuple[Retriever, ...]):
    corpus = build_corpus(rows_of(40), pool_of(300))
    search, stages = IndexedSearch("ivf"), []
    given = {"second": FakeEncoder(32), "retrievers": retrievers}
    found = rank(corpus, FakeEncoder(), 30, **given, searcher=search.searcher, on_progress=lambda done, total, note: stages.append(note))
    assert set(search.reports) == {"model", *retrievers} - {"bm25"}
    exact = rank(corpus, FakeEncoder(), 30, **given)
    assert np.mean([len(np.intersect1d(*pair)) / 30 for pair in zip(found.ids, exact.ids, strict=True)]) > 0.95


def test_a_run_names_the_index_and_is_made_again_from_its_manifest(tmp_path: Path, capsys):
    store = tmp_path / "vectors"
    call = ["--input_file", str(EXAMPLE / "train.jsonl"), "--candidate_pool", str(EXAMPLE / "pool.jsonl"), "--store", str(store), "--quiet"]
    assert main(["mine", *call, "--output_file", str(tmp_path / "out.jsonl"), "--index", "ivf"]) == 0
    assert "note         approximate search: the index ivf finds " in capsys.readouterr().out
    manifest = tmp_path / "out.manifest.json"
    written = json.loads(manifest.read_text())
    assert written["settings"]["index"] == "ivf"
    assert written["summary"]["index"]["model"]["recall"] >= 0.98
    assert {"lists", "nprobe", "goal", "depth", "queries"} <= set(written["summary"]["index"]["model"])
    reproduce(manifest, tmp_path / "again.jsonl", store=store)
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "out.jsonl").read_bytes()

    data = hnmine.read(EXAMPLE / "train.jsonl", pool=EXAMPLE / "pool.jsonl")
    hnmine.rank(data, index="ivf", depth=210, store=store).select().write(tmp_path / "library.jsonl")
    hnmine.find_knn_neg(
        hnmine.ModelSettings(), EXAMPLE / "train.jsonl", EXAMPLE / "pool.jsonl", tmp_path / "call.jsonl", index="ivf", store=store
    )
    assert (tmp_path / "call.jsonl").read_bytes() == (tmp_path / "out.jsonl").read_bytes()
    again = json.loads((tmp_path / "library.manifest.json").read_text())
    assert again["settings"]["index"] == "ivf"
    assert again["summary"]["index"]["model"]["index"] == "ivf"

    card = hnmine.rank(data, index="ivf", store=store).select()
    card.write(tmp_path / "folder", format="datasets")
    assert "| search | approximate: `ivf` |" in (tmp_path / "folder" / "README.md").read_text()

    changed = msgspec.json.decode(manifest.read_bytes())
    changed["settings"]["index"] = "annoy"
    (tmp_path / "changed.json").write_bytes(msgspec.json.encode(changed))
    with pytest.raises(InputError, match=r"the manifest's settings cannot be used .*annoy"):
        reproduce(tmp_path / "changed.json", tmp_path / "third.jsonl", store=store)


def test_the_mine_screen_offers_it(fresh: Path):
    from hnmine.runs.workspace import Workspace

    dataset = Workspace(fresh).add_dataset("train.jsonl", EXAMPLE / "train.jsonl", "pool.jsonl", EXAMPLE / "pool.jsonl").id
    at = open_app("mine", dataset=dataset)
    assert "search approximate" not in texts(at)
    at.selectbox(key=f"index-{dataset}").set_value("ivf").run()
    assert not at.exception
    assert "search approximate, lists (ivf)" in texts(at)
