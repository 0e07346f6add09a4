"""Exact search against a brute-force oracle, and that a score depends on its two vectors alone."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnmine import mine, search
from hnmine.errors import Cancelled, EncodeError, SettingsError
from hnmine.search import GPU_K_LIMIT, SLACK, gpu_count, pair_scores, top_k


def oracle(queries, passages, k):
    """All inner products in float64, rounded once to float32; best first, equal scores by id."""
    exact = (queries.astype(np.float64) @ passages.astype(np.float64).T).astype(np.float32)
    ids = np.stack([np.lexsort((np.arange(len(passages)), -row)) for row in exact])[:, :k]
    return np.take_along_axis(exact, ids, 1), ids


def unit(rng, *shape):
    vectors = rng.standard_normal(shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@given(
    st.integers(1, 6), st.integers(1, 80), st.integers(1, 40), st.integers(1, 100), st.integers(1, 6), st.integers(0, 2**31), st.booleans()
)
def test_as_brute_force_says(m, n, d, k, levels, seed, zeros):
    """Few levels of value make many exact ties; zero vectors tie with everything."""
    rng = np.random.default_rng(seed)
    queries = (rng.integers(-levels, levels + 1, (m, d)) / 16).astype(np.float32)
    passages = (rng.integers(-levels, levels + 1, (n, d)) / 16).astype(np.float32)
    if zeros:
        queries[0] = 0
        passages[rng.integers(0, n, 1 + n // 3)] = 0
    scores, ids = top_k(queries, passages, k)
    assert scores.dtype == np.float32
    assert ids.dtype == np.int32
    assert scores.shape == ids.shape == (m, min(k, n))
    expected_scores, expected_ids = oracle(queries, passages, k)
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_array_equal(scores, expected_scores)


def test_as_brute_force_says_for_real_sized_vectors():
    rng = np.random.default_rng(0)
    queries, passages = unit(rng, 50, 384), unit(rng, 2_000, 384)
    scores, ids = top_k(queries, passages, 100)
    expected_scores, expected_ids = oracle(queries, passages, 100)
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_array_equal(scores, expected_scores)


def test_more_than_there_are_gives_all_once_and_never_minus_one():
    rng = np.random.default_rng(1)
    for n in (1, 5, 16, 17):
        _, ids = top_k(unit(rng, 3, 8), unit(rng, n, 8), n + 30)
        assert np.sort(ids, axis=1).tolist() == [list(range(n))] * 3


def test_exact_ties_far_wider_than_the_slack_break_by_id():
    rng = np.random.default_rng(2)
    one = unit(rng, 1, 32)
    passages = np.repeat(one, 40 * SLACK, axis=0)
    passages[100] = -one[0]
    scores, ids = top_k(np.concatenate([one, -one]), passages, 5)
    assert ids.tolist() == [[0, 1, 2, 3, 4], [100, 0, 1, 2, 3]]
    assert len(set(scores[0].tolist())) == 1


def test_near_ties_below_the_rounding_of_float32_are_told_apart():
    """Hundreds of passages a bit or two from each other: float32 sums order them at will, float64 does not."""
    rng = np.random.default_rng(3)
    base = unit(rng, 1, 384)
    passages = np.repeat(base, 500, axis=0)
    for row in range(500):
        places = rng.integers(0, 384, 3)
        passages[row, places] = np.nextafter(passages[row, places], np.float32(rng.choice([-1, 1])))
    queries = np.concatenate([base, unit(rng, 3, 384)])
    scores, ids = top_k(queries, passages, 20)
    expected_scores, expected_ids = oracle(queries, passages, 20)
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_array_equal(scores, expected_scores)


@pytest.mark.parametrize("d", [7, 64, 384, 1_000])
def test_a_querys_bits_do_not_depend_on_its_company(monkeypatch, d):
    rng = np.random.default_rng(4)
    queries, passages = unit(rng, 40, d), unit(rng, 300, d)
    scores, ids = top_k(queries, passages, 30)
    subset = np.array([31, 2, 17])
    for part in (subset, subset[:1]):
        alone_scores, alone_ids = top_k(queries[part], passages, 30)
        np.testing.assert_array_equal(alone_ids, ids[part])
        assert alone_scores.tobytes() == scores[part].tobytes()
    deeper_scores, deeper_ids = top_k(queries, passages, 200)
    np.testing.assert_array_equal(deeper_ids[:, :30], ids)
    assert deeper_scores[:, :30].tobytes() == scores.tobytes()
    monkeypatch.setattr(search, "QUERY_BLOCK", 7)
    monkeypatch.setattr(search, "PAIR_BLOCK", 11)
    small_scores, small_ids = top_k(queries, passages, 30)
    np.testing.assert_array_equal(small_ids, ids)
    assert small_scores.tobytes() == scores.tobytes()


def test_pair_scores_are_the_bits_of_the_ranking():
    rng = np.random.default_rng(5)
    queries, passages = unit(rng, 9, 100), unit(rng, 60, 100)
    scores, ids = top_k(queries, passages, 20)
    pairs = pair_scores(queries, np.repeat(np.arange(9, dtype=np.int32), 20), passages, ids.ravel())
    assert pairs.tobytes() == scores.tobytes()
    assert len(pair_scores(queries, np.zeros(0, np.int32), passages, np.zeros(0, np.int32))) == 0


def test_memory_mapped_vectors_give_the_same(tmp_path):
    rng = np.random.default_rng(6)
    queries, passages = unit(rng, 5, 16), unit(rng, 50, 16)
    np.save(tmp_path / "p.npy", passages)
    mapped = np.load(tmp_path / "p.npy", mmap_mode="r")
    for got, expected in zip(top_k(queries, mapped[:40], 10), top_k(queries, passages[:40], 10), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_wrong_calls_are_refused():
    vectors = np.eye(4, dtype=np.float32)
    with pytest.raises(SettingsError, match="k is 0"):
        top_k(vectors, vectors, 0)
    with pytest.raises(EncodeError, match="4 dimensions and passages 3"):
        top_k(vectors, vectors[:, :3], 2)


def test_progress_ends_at_the_total_and_is_told_once_a_block(monkeypatch):
    monkeypatch.setattr(search, "QUERY_BLOCK", 4)
    told = []
    vectors = np.eye(10, dtype=np.float32)
    top_k(vectors, vectors, 2, on_progress=lambda *step: told.append(step))
    assert told == [(4, 10, "searching"), (8, 10, "searching"), (10, 10, "searching")]


def test_a_stop_is_heard_between_blocks(monkeypatch):
    monkeypatch.setattr(search, "QUERY_BLOCK", 4)
    told = []
    vectors = np.eye(10, dtype=np.float32)
    with pytest.raises(Cancelled):
        top_k(vectors, vectors, 2, on_progress=lambda done, *_: told.append(done), should_stop=lambda: len(told) == 1)
    assert told == [4]


# The GPU, without one


@pytest.fixture
def fake_gpu(monkeypatch):
    """A GPU that ranks as sloppily as rounding allows, and counts; beyond its limit the real one ends the process."""
    asked = []

    def knn_gpu(_resources, queries, passages, k, metric, device):
        assert metric == faiss.METRIC_INNER_PRODUCT
        assert device == 0
        assert k <= GPU_K_LIMIT, "knn_gpu above its limit aborts the whole process"
        asked.append(k)
        _, ids = faiss.knn(queries, passages, k, metric=metric)
        return np.zeros(ids.shape, np.float32), np.random.default_rng(len(asked)).permuted(ids, axis=1)

    monkeypatch.setattr(faiss, "knn_gpu", knn_gpu, raising=False)
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1, raising=False)
    monkeypatch.setattr(search, "_gpu_resources", None)
    return asked


def test_gpu_and_cpu_give_the_same_bits(fake_gpu):
    rng = np.random.default_rng(7)
    queries, passages = unit(rng, 20, 48), unit(rng, 500, 48)
    on_gpu, on_cpu = top_k(queries, passages, 30, use_gpu=True), top_k(queries, passages, 30)
    assert fake_gpu == [30 + SLACK]
    np.testing.assert_array_equal(on_gpu[1], on_cpu[1])
    assert on_gpu[0].tobytes() == on_cpu[0].tobytes()


def test_ties_that_lead_deeper_than_the_gpu_goes_are_finished_on_the_cpu(fake_gpu):
    passages = np.ones((3_000, 4), dtype=np.float32)
    _, ids = top_k(passages[:2], passages, 10, use_gpu=True)
    assert ids.tolist() == [list(range(10))] * 2
    assert fake_gpu
    assert max(fake_gpu) <= GPU_K_LIMIT


@pytest.mark.parametrize("k", [GPU_K_LIMIT - SLACK, GPU_K_LIMIT - SLACK + 1, GPU_K_LIMIT, GPU_K_LIMIT + 1, 3_000])
def test_the_gpu_is_never_asked_for_more_than_it_can(fake_gpu, k):
    rng = np.random.default_rng(8)
    queries, passages = unit(rng, 2, 8), unit(rng, 3_500, 8)
    _, ids = top_k(queries, passages, k, use_gpu=True)
    np.testing.assert_array_equal(ids, oracle(queries, passages, k)[1])
    on_gpu, _ = mine.search_device(True, k)
    assert fake_gpu == ([GPU_K_LIMIT] if on_gpu else []), "what is said about the device must be what happens"


def test_who_searches_and_what_is_said_about_it(monkeypatch):
    monkeypatch.setattr(mine, "gpu_count", lambda: 1)
    assert mine.search_device(False, 100) == (False, None)
    assert mine.search_device(True, 100) == (True, None)
    assert mine.search_device(True, GPU_K_LIMIT - SLACK) == (True, None)
    on_gpu, note = mine.search_device(True, GPU_K_LIMIT - SLACK + 1)
    assert not on_gpu
    assert "at most 2,032" in note
    assert "2,033 were asked" in note
    assert "CPU" in note


def test_a_gpu_asked_for_where_none_is_leaves_the_cpu_to_search_and_says_so(monkeypatch):
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0, raising=False)
    on_gpu, note = mine.search_device(True, 100)
    assert not on_gpu
    assert "FAISS finds none" in note
    assert "CPU" in note


def test_gpus_are_counted_by_the_driver_and_not_by_an_attribute(monkeypatch):
    """The GPU build imports, attributes and all, on a machine without a GPU; the CPU build lacks the function."""
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 3, raising=False)
    assert gpu_count() == 3
    monkeypatch.delattr(faiss, "get_num_gpus")
    assert gpu_count() == 0
