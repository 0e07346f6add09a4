"""Exact search against a brute-force oracle, and that a score depends on its two vectors alone."""

from __future__ import annotations

import mmap
import os
import re
import subprocess
import sys
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnmine.core.errors import Cancelled, EncodeError, SettingsError
from hnmine.retrieval import search
from hnmine.retrieval.search import GPU_K_LIMIT, SLACK, PassageIndex, gpu_count, pair_scores, top_k
from hnmine.vectors import similarity


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
    monkeypatch.setattr(search, "PASSAGE_BLOCK", 13)
    monkeypatch.setattr(similarity, "PAIR_BLOCK", 11)
    monkeypatch.setattr(similarity, "CHUNK", 3 * d)
    small_scores, small_ids = top_k(queries, passages, 30)
    np.testing.assert_array_equal(small_ids, ids)
    assert small_scores.tobytes() == scores.tobytes()


def test_pair_scores_are_the_bits_of_the_ranking():
    rng = np.random.default_rng(5)
    queries, passages = unit(rng, 9, 100), unit(rng, 60, 100)
    scores, ids = top_k(queries, passages, 20)
    similarity = pair_scores(queries, np.repeat(np.arange(9, dtype=np.int32), 20), passages, ids.ravel())
    assert similarity.tobytes() == scores.tobytes()
    assert len(pair_scores(queries, np.zeros(0, np.int32), passages, np.zeros(0, np.int32))) == 0


def test_memory_mapped_vectors_give_the_same(tmp_path):
    rng = np.random.default_rng(6)
    queries, passages = unit(rng, 5, 16), unit(rng, 50, 16)
    np.save(tmp_path / "p.npy", passages)
    mapped = np.load(tmp_path / "p.npy", mmap_mode="r")
    for got, expected in zip(top_k(queries, mapped[:40], 10), top_k(queries, passages[:40], 10), strict=True):
        np.testing.assert_array_equal(got, expected)


class Shards:
    """Vectors in files, which hold them in another order than that of their numbers."""

    def __init__(self, vectors, seed=0):
        self._vectors, self._order, self.asked = vectors, np.random.default_rng(seed).permutation(len(vectors)), []
        self.shape = vectors.shape

    def __len__(self):
        return len(self._vectors)

    def __getitem__(self, index):
        return self._vectors[index]

    def blocks(self, rows):
        self.asked.append(rows)
        for start in range(0, len(self._order), max(1, rows - 1)):
            ids = self._order[start : start + max(1, rows - 1)]
            yield ids, self._vectors[ids]


@pytest.fixture
def small(monkeypatch):
    """Blocks and slack so small that a few vectors pass through all of the search."""
    for module, name, value in [
        (search, "QUERY_BLOCK", 3),
        (search, "PASSAGE_BLOCK", 16),
        (search, "SLACK", 1),
        (search, "SCORES", 32),
        (similarity, "PAIR_BLOCK", 8),
        (similarity, "RANKED_BLOCK", 2),
        (similarity, "CHUNK", 40),
    ]:
        monkeypatch.setattr(module, name, value)


@pytest.mark.parametrize("kind", ["grid", "copies", "near", "zeros", "any"])
def test_blocks_of_any_order_give_what_brute_force_gives(small, kind):
    rng = np.random.default_rng(9)
    for n, k, d in [(1, 1, 3), (15, 4, 5), (16, 16, 8), (17, 30, 8), (90, 7, 16), (200, 40, 24), (150, 149, 9)]:
        queries, passages = unit(rng, 8, d), unit(rng, n, d)
        if kind == "grid":
            queries, passages = np.round(queries * 4) / 4, np.round(passages * 4) / 4
        elif kind == "copies":
            passages = passages[rng.integers(0, 1 + n // 20, n)]
        elif kind == "near":  # scores a few millionths apart
            passages = unit(rng, 1, d) + unit(rng, n, d) * np.float32(1e-6)
        elif kind == "zeros":
            queries[::2] = 0
            passages[rng.integers(0, n, 1 + n // 2)] = 0
        expected_scores, expected_ids = oracle(queries, passages, k)
        for stored in (passages, Shards(passages)):
            scores, ids = top_k(queries, stored, k)
            np.testing.assert_array_equal(ids, expected_ids)
            np.testing.assert_array_equal(scores, expected_scores)


@given(st.integers(1, 60), st.integers(1, 50), st.integers(1, 70), st.integers(0, 2**31), st.floats(-20, 15), st.booleans())
def test_vectors_of_any_length_and_direction_give_what_brute_force_gives(n, d, k, seed, scale, alike):
    rng = np.random.default_rng(seed)
    passages = (unit(rng, n, d) + (3 if alike else 0)) * np.float32(10**scale / 1e3)
    queries = unit(rng, 4, d) * rng.choice([-1, 1, 30], (4, 1)).astype(np.float32)
    expected_scores, expected_ids = oracle(queries, passages, k)
    scores, ids = top_k(queries, Shards(passages, seed), k)
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_array_equal(scores, expected_scores)


def test_scores_a_millionth_apart_are_in_order_among_thousands():
    """Many lie within the error of float32 of the k-th best: only their exact scores decide."""
    rng = np.random.default_rng(10)
    query = unit(rng, 1, 64)
    aside = unit(rng, 1, 64)
    aside -= (aside @ query.T) * query
    step = rng.permutation(3_000)[:, None].astype(np.float32) * np.float32(1e-6)
    passages = np.concatenate([query * (np.float32(0.7) + step) + aside * np.float32(0.1), unit(rng, 12_000, 64) * np.float32(0.3)])
    queries = np.concatenate([query, unit(rng, 5, 64)])
    scores, ids = top_k(queries, passages, 50)
    expected_scores, expected_ids = oracle(queries, passages, 50)
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_array_equal(scores, expected_scores)


def test_budgets_and_threads_change_no_bit(monkeypatch):
    rng = np.random.default_rng(12)
    queries, passages = unit(rng, 300, 32), unit(rng, 20_000, 32)
    passages[5_000:9_000] = passages[7]
    scores, ids = top_k(queries, passages, 25)
    np.testing.assert_array_equal(ids, oracle(queries, passages, 25)[1])
    with pytest.raises(SettingsError, match=r"memory budget is 1\.0 MB.* at least [\d,]+ bytes") as refused:
        top_k(queries, passages, 25, memory_budget=2**20)
    least = int(re.search(r"at least ([\d,]+) bytes", str(refused.value))[1].replace(",", ""))
    with pytest.raises(SettingsError):
        top_k(queries, passages, 25, memory_budget=least - 1)
    stored = Shards(passages)
    for budget, workers in [(least, 1), (least + 2**18, 3), (2**30, 1), (None, 5)]:
        monkeypatch.setattr(similarity, "threads", lambda workers=workers: workers)
        part = slice(0, 3) if budget == least else slice(0, 300)
        got_scores, got_ids = top_k(queries[part], stored, 25, memory_budget=budget)
        np.testing.assert_array_equal(got_ids, ids[part])
        assert got_scores.tobytes() == scores[part].tobytes()
    assert len(set(stored.asked)) > 1, "a smaller budget reads smaller blocks"


def test_each_passage_is_read_once_where_the_candidates_fit():
    rng = np.random.default_rng(13)
    queries, passages = unit(rng, 3_000, 16), Shards(unit(rng, 500, 16))
    top_k(queries, passages, 10)
    assert len(passages.asked) == 1


def test_only_the_first_so_many_are_ranked(small):
    rng = np.random.default_rng(14)
    queries, passages = unit(rng, 4, 8), unit(rng, 60, 8)
    for stored in (passages, Shards(passages)):
        for count in (1, 30, 59, 60, 99):
            scores, ids = top_k(queries, stored, 20, count=count)
            expected_scores, expected_ids = oracle(queries, passages[:count], 20)
            np.testing.assert_array_equal(ids, expected_ids)
            np.testing.assert_array_equal(scores, expected_scores)
    scores, ids = top_k(queries, passages, 20, count=0)
    assert scores.shape == ids.shape == (4, 0)


def test_half_precision_and_mapped_vectors_are_read_as_they_are(tmp_path):
    rng = np.random.default_rng(15)
    queries, passages = unit(rng, 5, 16), unit(rng, 700, 16).astype(np.float16)
    np.save(tmp_path / "p.npy", passages)
    expected_scores, expected_ids = oracle(queries, passages, 10)
    changed = np.load(tmp_path / "p.npy", mmap_mode="c")
    changed[3] = 0  # in memory alone: pages of it that were given back would be lost
    for stored in (passages, np.load(tmp_path / "p.npy", mmap_mode="r"), np.asfortranarray(passages)):
        scores, ids = top_k(queries, stored, 10)
        np.testing.assert_array_equal(ids, expected_ids)
        np.testing.assert_array_equal(scores, expected_scores)
    top_k(queries, changed, 10)
    assert not changed[3].any()


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED") or not Path("/proc/self/smaps").exists(), reason="Linux tells what is resident")
def test_a_mapped_corpus_does_not_stay_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "PASSAGE_BLOCK", 8_192)  # of 2 MB

    def resident():
        maps = Path("/proc/self/smaps").read_text().split(str(tmp_path / "p.npy"))[1]
        return int(re.search(r"Rss:\s+(\d+) kB", maps)[1]) * 1024

    rng = np.random.default_rng(16)
    np.save(tmp_path / "p.npy", rng.standard_normal((40_000, 64), dtype=np.float32))
    mapped = np.load(tmp_path / "p.npy", mmap_mode="r")
    assert float(mapped.sum()) != 0
    assert resident() > 9 * 2**20
    queries, most = unit(rng, 20, 64), []
    _, ids = top_k(queries, mapped, 10, on_progress=lambda *_: most.append(resident()))
    assert max(most[1:]) < 5 * 2**20
    pair_scores(queries, np.repeat(np.arange(20), 10), mapped, ids.ravel())
    assert resident() < 2**20


def test_pairs_of_any_order_and_number_have_the_same_bits(monkeypatch):
    rng = np.random.default_rng(17)
    for d in (1, 3, 100, 9_000):
        queries, passages = unit(rng, 9, d), unit(rng, 50, d)
        query_ids, passage_ids = rng.integers(0, 9, 700), rng.integers(0, 50, 700)
        together = pair_scores(queries, query_ids, Shards(passages), passage_ids)
        exact = np.einsum("ij,ij->i", queries[query_ids].astype(np.float64), passages[passage_ids].astype(np.float64))
        np.testing.assert_array_equal(together, exact.astype(np.float32))
        for place in (0, 13, 699):
            alone = pair_scores(queries, query_ids[place : place + 1], passages, passage_ids[place : place + 1])
            assert alone.tobytes() == together[place : place + 1].tobytes()
    with pytest.raises(IndexError, match="-1"):
        pair_scores(queries, np.array([0]), passages, np.array([-1]))
    with pytest.raises(IndexError, match="50 vectors"):
        pair_scores(queries, np.array([0]), passages, np.array([50]))


def test_the_best_are_sorted_by_score_and_then_by_id():
    rng = np.random.default_rng(18)
    scores = rng.choice(np.array([-np.inf, -1.5, -0.0, 0.0, 1e-40, 0.25, 3e38], np.float32), (50, 40))
    ids = np.stack([rng.permutation(2**31 - 1 - np.arange(40)) for _ in range(50)]).astype(np.int32)
    best, best_ids = search._best(scores, ids, 17)
    order = np.lexsort((ids, -scores))[:, :17]
    np.testing.assert_array_equal(best_ids, np.take_along_axis(ids, order, 1))
    np.testing.assert_array_equal(best, np.take_along_axis(scores, order, 1))
    assert not np.signbit(best[best == 0]).any()


def test_vectors_that_are_no_vectors_are_refused():
    vectors = np.eye(4, dtype=np.float32)
    for odd in (np.nan, np.inf, 1e30):
        broken = vectors.copy()
        broken[2, 1] = odd
        for queries, passages in ((vectors, broken), (broken, vectors)):
            with pytest.raises(EncodeError, match="vector 2 of a block"):
                top_k(queries, passages, 2)


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


# An index that is searched again and again


@pytest.mark.parametrize("kind", ["any", "copies", "near"])
@pytest.mark.parametrize("gpus", [0, 1])
def test_an_index_gives_what_brute_force_gives(request, monkeypatch, kind, gpus):
    if gpus:
        request.getfixturevalue("fake_gpu")
    monkeypatch.setattr(search, "PASSAGE_BLOCK", 64)
    rng = np.random.default_rng(20)
    queries, passages = unit(rng, 6, 24), unit(rng, 300, 24)
    if kind == "copies":
        passages = passages[rng.integers(0, 3, 300)]
    elif kind == "near":
        passages = unit(rng, 1, 24) + passages * np.float32(1e-6)
    for stored in (passages, Shards(passages)):
        for count, k in [(None, 10), (200, 1), (200, 250), (5, 9)]:
            index = PassageIndex(stored, count)
            for _ in range(2):
                scores, ids = index.search(queries, k)
                expected_scores, expected_ids = oracle(queries, passages[:count], k)
                np.testing.assert_array_equal(ids, expected_ids)
                np.testing.assert_array_equal(scores, expected_scores)


def test_an_index_refuses_what_the_search_refuses():
    vectors = np.eye(4, dtype=np.float32)
    with pytest.raises(SettingsError, match="k is 0"):
        PassageIndex(vectors).search(vectors, 0)
    with pytest.raises(EncodeError, match="3 dimensions and passages 4"):
        PassageIndex(vectors).search(vectors[:, :3], 2)
    with pytest.raises(EncodeError, match="vector 1 of a block"):
        PassageIndex(np.where(np.arange(4)[:, None] == 1, np.nan, vectors))
    assert PassageIndex(vectors, 0).search(vectors, 2)[1].shape == (4, 0)


def test_faiss_is_loaded_with_the_processors_kernels_and_the_environment_stays():
    code = (
        "import os, sys; from hnmine.retrieval import search; search.cpu_flags = lambda: frozenset(search.AVX512); found = []\n"
        "class Watch:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'faiss': found.append(os.environ.get('OPENBLAS_CORETYPE'))\n"
        "sys.meta_path.insert(0, Watch())\n"
        "search.load_faiss(); print(*found, os.environ.get('OPENBLAS_CORETYPE'))"
    )
    for chosen, seen in ((None, "SkylakeX None"), ("Prescott", "Prescott Prescott")):
        environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
        environment |= {"OPENBLAS_CORETYPE": chosen} if chosen else {}
        process = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert process.stdout.split() == seen.split()


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
        scores, ids = faiss.knn(queries, passages, k, metric=metric)
        order = np.random.default_rng(len(asked)).permuted(np.broadcast_to(np.arange(k), ids.shape), axis=1)
        return np.take_along_axis(scores * np.float32(1 - 2e-7), order, 1), np.take_along_axis(ids, order, 1)

    monkeypatch.setattr(faiss, "knn_gpu", knn_gpu, raising=False)
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", lambda _resources, _device, index: index, raising=False)
    monkeypatch.setattr(search, "_gpu_resources", None)
    return asked


def test_a_gpu_takes_stored_passages_in_blocks(fake_gpu, monkeypatch):
    monkeypatch.setattr(search, "PASSAGE_BLOCK_GPU", 64)
    rng = np.random.default_rng(19)
    queries, passages = unit(rng, 20, 48), unit(rng, 500, 48)
    scores, ids = top_k(queries, Shards(passages), 30, use_gpu=True)
    assert len(fake_gpu) > 7
    expected_scores, expected_ids = oracle(queries, passages, 30)
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_array_equal(scores, expected_scores)


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
    on_gpu, _ = search.search_device(True, k)
    assert fake_gpu == ([GPU_K_LIMIT] if on_gpu else []), "what is said about the device must be what happens"


def test_who_searches_and_what_is_said_about_it(monkeypatch):
    monkeypatch.setattr(search, "gpu_count", lambda: 1)
    assert search.search_device(False, 100) == (False, None)
    assert search.search_device(True, 100) == (True, None)
    assert search.search_device(True, GPU_K_LIMIT - SLACK) == (True, None)
    on_gpu, note = search.search_device(True, GPU_K_LIMIT - SLACK + 1)
    assert not on_gpu
    assert "at most 2,032" in note
    assert "2,033 were asked" in note
    assert "CPU" in note


def test_a_gpu_asked_for_where_none_is_leaves_the_cpu_to_search_and_says_so(monkeypatch):
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0, raising=False)
    on_gpu, note = search.search_device(True, 100)
    assert not on_gpu
    assert "FAISS finds none" in note
    assert "CPU" in note


def test_gpus_are_counted_by_the_driver_and_not_by_an_attribute(monkeypatch):
    """The GPU build imports, attributes and all, on a machine without a GPU; the CPU build lacks the function."""
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 3, raising=False)
    assert gpu_count() == 3
    monkeypatch.delattr(faiss, "get_num_gpus")
    assert gpu_count() == 0
