"""Shards and their merging, without a cluster: any number of workers, in any order, writes the vectors and ranks of one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hnmine.cluster import settings as cluster_options
from hnmine.cluster import work
from hnmine.cluster.cluster import Cluster, opened
from hnmine.cluster.settings import ClusterSettings, cluster_settings, ray_is_installed
from hnmine.cluster.shared_store import SharedStore
from hnmine.cluster.work import EncodeProgress, ShardEncoder, shard_groups, shard_name
from hnmine.core.errors import Cancelled, ClusterError, EncodeError, SettingsError
from hnmine.models.cards import ModelSettings
from hnmine.retrieval.search import top_k
from hnmine.vectors.shard_set import unique_keys
from hnmine.vectors.shards import text_keys
from hnmine.vectors.store import VectorStore, encoder_key, vectors_of
from tests.cluster.serial import SerialWorkers, Trigrams, WorkerLost

TEXTS = [f"text {number} about {number % 7} things" for number in range(600)]
SPACE = encoder_key("{}", "model", np.dtype(np.float32))


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "FEWEST_TEXTS", 20)


def both(cluster: Cluster, store: VectorStore | None, **more: Any) -> list[np.ndarray]:
    sides = [(TEXTS, "passages"), ([text.upper() for text in TEXTS[:50]], "queries")]
    return [np.asarray(each) for each in cluster.vectors(Trigrams(), sides, store, **more)]  # type: ignore[arg-type]


def expected() -> list[np.ndarray]:
    encoder: Any = Trigrams()
    return [np.asarray(vectors_of(encoder, texts, "passages", None)) for texts in (TEXTS, [text.upper() for text in TEXTS[:50]])]


def same(found: list[np.ndarray], wanted: list[np.ndarray]) -> bool:
    return all(one.tobytes() == other.tobytes() for one, other in zip(found, wanted, strict=True))


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("lost", [frozenset(), frozenset({0, 3})])
def test_any_number_of_workers_and_a_lost_one_give_the_vectors_of_one_process(tmp_path: Path, workers: int, lost: frozenset[int]) -> None:
    executor = SerialWorkers(workers, seed=workers, lost=lost)
    store = VectorStore(tmp_path / "vectors")
    assert same(both(Cluster(executor), store), expected())
    assert (store.encoded, store.found) == (650, 0)
    assert len(executor.calls) == len(set(executor.calls)) > 20
    assert sum(encoder.passage_calls + encoder.query_calls for encoder in executor.encoders) == len(executor.calls), (
        "the lost shard is kept"
    )
    assert not list((tmp_path / "vectors" / "cluster").iterdir())
    again = SerialWorkers()
    assert same(both(Cluster(again), VectorStore(tmp_path / "vectors")), expected())
    assert not again.calls


def test_a_killed_driver_leaves_its_finished_shards_to_the_next(tmp_path: Path) -> None:
    store = VectorStore(tmp_path / "vectors")
    first = SerialWorkers(stop_after=5)
    with pytest.raises(WorkerLost):
        both(Cluster(first), store)
    assert store.encoded > 0
    second = SerialWorkers(seed=9)
    assert same(both(Cluster(second), VectorStore(tmp_path / "vectors")), expected())
    assert not set(first.calls) & set(second.calls)


def test_a_shard_that_the_driver_did_not_see_is_taken_from_the_shared_store(tmp_path: Path) -> None:
    """The worker finished it, and the driver was killed before it knew."""
    address = str(tmp_path / "shared")
    both(Cluster(first := SerialWorkers(), shared_store=address), VectorStore(tmp_path / "one"))
    second = SerialWorkers()
    assert same(both(Cluster(second, shared_store=address), VectorStore(tmp_path / "two")), expected())
    assert first.calls
    assert not second.calls


@pytest.mark.parametrize("damage", ["truncated", "missing", "changed"])
def test_a_damaged_shard_of_the_shared_store_is_encoded_again(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "shared"
    both(Cluster(SerialWorkers(), shared_store=str(folder)), VectorStore(tmp_path / "one"))
    victim = sorted(folder.glob("*.vectors.npy"))[3]
    data = victim.read_bytes()
    if damage == "missing":
        victim.unlink()
    else:
        victim.write_bytes(data[:-4] if damage == "truncated" else data[:-1] + bytes([data[-1] ^ 1]))
    executor = SerialWorkers()
    assert same(both(Cluster(executor, shared_store=str(folder)), VectorStore(tmp_path / "two")), expected())
    assert executor.calls == [victim.name.partition(".")[0]]
    assert victim.read_bytes() == data


def test_two_runs_with_one_store_share_their_shards(tmp_path: Path) -> None:
    """The second takes what the workers of the first have just written."""

    class Overtaken(SerialWorkers):
        def encode(self, *arguments: Any, **more: Any) -> Any:
            for number, done in enumerate(super().encode(*arguments, **more)):
                if number == 2:
                    assert same(both(Cluster(SerialWorkers()), VectorStore(tmp_path / "vectors")), expected())
                yield done

    assert same(both(Cluster(Overtaken(2)), VectorStore(tmp_path / "vectors")), expected())


def test_an_address_of_fsspec_is_a_shared_store(tmp_path: Path) -> None:
    address = f"memory://{tmp_path.name}/shards"
    assert same(both(Cluster(SerialWorkers(2), shared_store=address), VectorStore(tmp_path / "one")), expected())
    second = SerialWorkers()
    assert same(both(Cluster(second, shared_store=address), VectorStore(tmp_path / "two")), expected())
    assert not second.calls


def test_without_a_store_the_vectors_stay_readable_after_the_end(tmp_path: Path) -> None:
    executor = SerialWorkers()
    cluster = Cluster(executor)
    found = cluster.vectors(Trigrams(), [(TEXTS, "passages")], None)  # type: ignore[arg-type]
    cluster.close()
    assert executor.closed
    assert same([np.asarray(found[0])], expected()[:1])


def test_a_cancel_keeps_what_is_finished(tmp_path: Path) -> None:
    store, executor, seen = VectorStore(tmp_path / "vectors"), SerialWorkers(), list[int]()
    with pytest.raises(Cancelled):
        both(Cluster(executor), store, on_progress=lambda done, total, note: seen.append(done), should_stop=lambda: len(seen) > 8)
    assert store.encoded > 0


def test_progress_grows_to_the_total_one_side_after_the_other(tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    both(Cluster(SerialWorkers(3)), VectorStore(tmp_path / "vectors"), on_progress=lambda *step: seen.append(step))
    for note, count in (("encoding passages", 600), ("encoding queries", 50)):
        steps = [(done, total) for done, total, name in seen if name == note]
        assert [done for done, _ in steps] == sorted(done for done, _ in steps)
        assert steps[-1] == (count, count) or note == "encoding passages"
    notes = [name for *_, name in seen if name.startswith("encoding")]
    assert notes == sorted(notes), "a side that is finished does not come back"


def test_tokens_of_shards_to_come_are_estimated_from_their_characters() -> None:
    seen: list[tuple[int, int, str]] = []
    progress = EncodeProgress({"a": ("passages", 400), "b": ("passages", 800)}, lambda *step: seen.append(step))
    progress.running([("a", 10, 200)])
    progress.finished("a", 200)
    progress.running([("b", 50, 390), ("unknown", 5, 5)])
    assert [step[:2] for step in seen] == [(10, 600), (200, 600), (250, 590)]


def test_a_bad_vector_is_an_error_with_its_text(tmp_path: Path) -> None:
    class Broken(Trigrams):
        def encode_batches(self, texts: Any, side: str, **more: Any) -> Any:
            for places, vectors in super().encode_batches(texts, side, **more):
                yield places, np.where(np.array([texts[place] == TEXTS[77] for place in places])[:, None], np.nan, vectors)

    class Workers(SerialWorkers):
        def _worker(self, job: Any) -> ShardEncoder:
            return ShardEncoder(job, "cpu", lambda: Broken())  # type: ignore[arg-type, return-value]

    with pytest.raises(EncodeError, match="text 77 about"):
        both(Cluster(Workers()), VectorStore(tmp_path / "vectors"))


def test_a_worker_that_would_encode_otherwise_is_refused(tmp_path: Path) -> None:
    class Other(Trigrams):
        def identity(self, side: str) -> str | None:
            return '{"trigrams": 32}'

    class Workers(SerialWorkers):
        def _worker(self, job: Any) -> ShardEncoder:
            return ShardEncoder(job, "cpu", lambda: Other())  # type: ignore[arg-type, return-value]

    with pytest.raises(ClusterError, match=r"trigrams: 32 and 64.*same weights"):
        both(Cluster(Workers()), VectorStore(tmp_path / "vectors"))


def test_a_worker_that_reaches_another_folder_is_refused(tmp_path: Path) -> None:
    class Elsewhere(SerialWorkers):
        def _worker(self, job: Any) -> ShardEncoder:
            SharedStore(job.shared).remove_word(job.word)  # as on a node with a folder of the same name
            return super()._worker(job)

    with pytest.raises(ClusterError, match=r"reaches another folder.*network file system"):
        both(Cluster(Elsewhere()), VectorStore(tmp_path / "vectors"))


def test_a_loaded_model_encodes_here_with_a_note(tmp_path: Path, fake_encoder: Any) -> None:
    executor = SerialWorkers()
    cluster = Cluster(executor)
    (found,) = cluster.vectors(fake_encoder, [(TEXTS, "passages")], None)
    assert same([np.asarray(found)], expected()[:1])
    assert not executor.calls
    assert "loaded model" in cluster.notes[0]


def test_an_unknown_kind_of_address_is_refused() -> None:
    with pytest.raises(SettingsError, match="shared_store 'nonsense://x'"):
        SharedStore("nonsense://x")


@given(st.integers(1, 3_000), st.sets(st.integers(0, 2_999)), st.randoms())
def test_a_text_is_in_one_shard_whatever_is_missing(count: int, stored: set[int], random: Any) -> None:
    keys = unique_keys(text_keys([str(number) for number in range(count)]))[0]
    every = {int(place): number for number, group in enumerate(shard_groups(keys, np.arange(count))) for place in group}
    assert sorted(every) == list(range(count))
    missing = np.array(sorted(set(range(count)) - stored), np.int64)
    groups = list(shard_groups(keys, missing))
    assert np.concatenate([*groups, np.zeros(0, np.int64)]).tolist() == missing.tolist()
    for group in groups:
        assert len({every[int(place)] for place in group}) == 1
    names = {shard_name(SPACE, keys[group]) for group in groups}
    assert len(names) == len(groups)


@settings(max_examples=25)
@given(data=st.data(), seed=st.integers(0, 999))
def test_the_search_in_blocks_is_the_search(data: st.DataObject, seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, k = data.draw(st.integers(1, 200)), data.draw(st.integers(1, 60))
    # Few different vectors: most scores are equal, so ids must break ties.
    passages = rng.choice(np.array([-1, 0, 1], np.float32), (count, 4))[rng.integers(0, count, count)]
    queries = rng.choice(np.array([-1, 0, 1, 0.3], np.float32), (data.draw(st.integers(0, 30)), 4))
    limit = data.draw(st.none() | st.integers(1, count))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "BLOCK_BYTES", 16 * data.draw(st.integers(1, 50)))
        patch.setattr(work, "QUERIES", data.draw(st.integers(1, 10)))
        scores, ids = Cluster(SerialWorkers(seed=seed)).top_k(queries, passages, k, count=limit)
    wanted, wanted_ids = top_k(queries, passages, k, count=limit)
    assert scores.tobytes() == wanted.tobytes()
    assert ids.tobytes() == wanted_ids.tobytes()
    assert (scores.dtype, ids.dtype, scores.shape) == (wanted.dtype, wanted_ids.dtype, wanted.shape)


def test_rows_in_another_order_than_their_ids_are_searched_alike(tmp_path: Path) -> None:
    """Stored vectors are read in the order of their files."""
    store = VectorStore(tmp_path / "vectors")
    queries = np.asarray(vectors_of(Trigrams(), TEXTS[:20], "queries", None))  # type: ignore[arg-type]
    (rows,) = Cluster(SerialWorkers(2)).vectors(Trigrams(), [(TEXTS, "passages")], store)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "BLOCK_BYTES", 4 * 64 * 70)
        found = Cluster(SerialWorkers(seed=3)).top_k(queries, rows, 50, count=500)
    wanted = top_k(queries, np.asarray(rows), 50, count=500)
    assert all(one.tobytes() == other.tobytes() for one, other in zip(found, wanted, strict=True))


def test_what_cannot_be_searched_is_refused_before_a_worker_starts() -> None:
    cluster = Cluster(SerialWorkers())
    with pytest.raises(SettingsError, match="k is 0"):
        cluster.top_k(np.ones((2, 3), np.float32), np.ones((5, 3), np.float32), 0)
    with pytest.raises(EncodeError, match="3 dimensions and passages 4"):
        cluster.top_k(np.ones((2, 3), np.float32), np.ones((5, 4), np.float32), 2)


@pytest.mark.parametrize("address", ["", "nonsense", "10.0.0.5", "host:port", "10.0.0.5:99999", "10.0.0.5:0"])
def test_a_malformed_address_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="head node with its port"):
        ClusterSettings(address=address)


@pytest.mark.parametrize(
    ("devices", "kind", "found"),
    [
        (("cuda:0", "cuda:1"), "encoder-only-base", True),
        (("cpu", "cpu"), "encoder-only-base", True),
        (("cuda:0", "cuda:1"), "decoder-only-base", False),
        (("cuda:0",), "encoder-only-base", False),
        (None, "encoder-only-base", False),
    ],
)
def test_several_devices_are_workers_of_this_machine_where_ray_is_there(
    devices: tuple[str, ...] | None, kind: str, found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(None, ModelSettings(devices=devices), {"class": kind}) as workers:
        assert (workers is not None) == (found and ray_is_installed())
    monkeypatch.setattr(cluster_options.importlib.util, "find_spec", lambda name: None)
    with opened(None, ModelSettings(devices=devices), {"class": kind}) as workers:
        assert workers is None


@pytest.mark.parametrize("store", ["", "shards", "s3:/bucket/x"])
def test_a_shared_store_that_is_another_folder_on_each_node_is_refused(store: str) -> None:
    with pytest.raises(SettingsError, match="absolute path"):
        ClusterSettings(address="10.0.0.5:6379", shared_store=store)


def test_a_cluster_that_is_no_address_is_refused() -> None:
    with pytest.raises(SettingsError, match="cluster is 5"):
        cluster_settings(5)  # type: ignore[arg-type]


def test_a_shared_store_that_cannot_be_reached_names_its_address() -> None:
    with pytest.raises((ClusterError, SettingsError), match=r"ftp://no-such-host\.invalid/x"):
        SharedStore("ftp://no-such-host.invalid/x")


def test_a_shared_store_without_a_cluster_is_refused() -> None:
    with pytest.raises(SettingsError, match="set cluster"):
        cluster_settings(None, "s3://bucket/x")
    assert cluster_settings(None) is None


@pytest.mark.parametrize("content", [b"", b"{", b'{"id": "\xff"}', b"[" * 100_000, bytes(40), b'{"id": 3}', None])
def test_a_damaged_record_of_a_shard_is_of_no_finished_one(tmp_path: Path, content: bytes | None) -> None:
    store = SharedStore(str(tmp_path))
    path = tmp_path / "shard.json"
    path.mkdir() if content is None else path.write_bytes(content)
    assert store.find("shard") is None
