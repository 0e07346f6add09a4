"""The vector store: nothing is encoded twice, nothing finished is lost, nothing wrong is served."""

from __future__ import annotations

import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnmine.core.errors import Cancelled, EncodeError, SettingsError, WorkspaceError
from hnmine.vectors import index, shard_set, shards
from hnmine.vectors import store as vectors
from hnmine.vectors.store import StoredVectors, VectorStore, vectors_of

ROOT = Path(__file__).parents[2]
DIMENSION = 5


def vector(text: str, model: str = "a") -> np.ndarray:
    """A vector of its own for each text and model: no other text, batch or place has a say."""
    seed = np.frombuffer(f"{model} {text}".encode("utf-8", "surrogatepass"), np.uint8)
    return np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32)


def expected(texts, model="a", dtype=np.float32):
    return np.array([vector(text, model) for text in texts], dtype=np.float32).reshape(-1, DIMENSION).astype(dtype).astype(np.float32)


class Counting:
    """An encoder that remembers what it was asked; longest texts first, in batches of three."""

    def __init__(self, model: str | None = "a", *, precision: str = "fp32", pause: float = 0.0, batch: int = 3) -> None:
        self.model, self.precision, self.pause, self.batch = model, precision, pause, batch
        self.asked: list[str] = []
        self.closed = 0

    def encode_batches(self, texts, side, *, on_progress=None, should_stop=None):
        order = sorted(range(len(texts)), key=lambda i: (-len(texts[i]), texts[i]))
        try:
            for start in range(0, len(order), self.batch):
                if should_stop is not None and should_stop():
                    raise Cancelled("stopped on request")
                ids = np.array(order[start : start + self.batch], dtype=np.int64)
                time.sleep(self.pause)
                self.asked += [texts[i] for i in ids]
                yield ids, np.array([vector(texts[i], str(self.model)) for i in ids])
                if on_progress is not None:
                    on_progress(min(start + self.batch, len(order)), len(order), f"encoding {side}")
        finally:
            self.closed += 1

    def identity(self, side):
        return None if self.model is None else json.dumps({"weights_sha256": self.model, "precision": self.precision})

    def describe(self):
        return {"name": f"model {self.model}", "precision": self.precision}


@pytest.fixture
def store(tmp_path) -> VectorStore:
    return VectorStore(tmp_path / "store")


@pytest.fixture
def eager(monkeypatch):
    """Store after every batch, as a run does every few seconds."""
    monkeypatch.setattr(vectors, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(vectors, "FLUSH_FRACTION", 0.0)


TEXTS = [f"text {number} {'long ' * (number % 4)}" for number in range(20)]


def files(store: VectorStore, ending: str = ".vectors.npy") -> list[Path]:
    return sorted(store.root.glob(f"*{ending}"))


def encode(store: VectorStore, texts=TEXTS, encoder: Counting | None = None) -> tuple[np.ndarray, list[str]]:
    """The vectors as an array, so that no shard stays open, and what was encoded for them."""
    encoder = encoder or Counting()
    return store.vectors(encoder, texts, "passages")[:], encoder.asked


# What it is for


def test_a_text_is_encoded_once_whatever_run_order_or_side_it_comes_in(store):
    first, asked = encode(store)
    assert sorted(asked) == sorted(TEXTS)
    assert np.array_equal(first, expected(TEXTS))

    other = VectorStore(store.root)
    encoder = Counting()
    texts = [*TEXTS[::-1], "new", TEXTS[3], "new"]
    second = other.vectors(encoder, texts, "queries")
    assert np.array_equal(second[:], expected(texts))
    assert encoder.asked == ["new"]
    assert (other.found, other.encoded) == (20, 1)
    assert other.notes == []


def test_a_query_that_is_a_passage_too_was_not_stored_before(store):
    encoder = Counting()
    store.vectors(encoder, TEXTS, "passages")
    store.vectors(encoder, [TEXTS[4], "new", TEXTS[7]], "queries")
    assert sorted(encoder.asked) == sorted([*TEXTS, "new"])
    assert (store.found, store.encoded) == (0, len(TEXTS) + 1)


def test_a_model_is_not_asked_at_all_when_everything_is_stored(store):
    encode(store)
    silent = Counting()
    silent.encode_batches = None
    assert len(store.vectors(silent, TEXTS, "passages")) == 20


def test_a_text_counts_as_it_is_spelled(store):
    texts = ["Text", "text", "text ", "te\u0301xt", "t\u00e9xt", "", "\ud800"]
    found, asked = encode(store, texts)
    assert sorted(asked) == sorted(texts)
    assert np.array_equal(found, expected(texts))
    assert encode(store, texts)[1] == []


def test_another_model_in_the_same_folder_is_never_served_old_vectors(store):
    encode(store)
    found, asked = encode(store, encoder=Counting("a new checkpoint"))
    assert len(asked) == 20
    assert np.array_equal(found, expected(TEXTS, "a new checkpoint"))
    assert np.array_equal(encode(store)[0], expected(TEXTS))


def test_no_texts_no_vectors(store):
    assert store.vectors(Counting(), [], "passages").shape == (0, 0)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_reduced_precision_is_kept_as_float16_and_cold_warm_and_storeless_agree_to_the_bit(store, precision):
    encoder = Counting(precision=precision)
    cold = store.vectors(encoder, TEXTS, "passages")[:]
    assert cold.dtype == np.float32
    assert np.array_equal(cold, expected(TEXTS, dtype=np.float16))
    assert not np.array_equal(cold, expected(TEXTS))
    warm = store.vectors(encoder, TEXTS, "passages")[:]
    without = vectors_of(encoder, TEXTS, "passages", None)
    assert warm.tobytes() == cold.tobytes() == without.tobytes()
    assert np.load(files(store)[0]).dtype == np.float16


def test_a_model_that_cannot_say_what_it_is_is_not_stored(store):
    encoder = Counting(None)
    for _ in range(2):
        found = vectors_of(encoder, TEXTS, "passages", store)
        assert isinstance(found, np.ndarray)
        assert np.array_equal(found, expected(TEXTS, "None"))
    assert len(encoder.asked) == 40
    assert not store.root.exists()
    with pytest.raises(SettingsError, match="without an identity"):
        store.vectors(encoder, TEXTS, "passages")


# What an encoder may do wrong


class Answering(Counting):
    """Returns preset vectors; ids count the texts in alphabetical order."""

    def __init__(self, *answers, **options) -> None:
        super().__init__(**options)
        self.answers = answers

    def encode_batches(self, texts, side, *, on_progress=None, should_stop=None):
        place = {number: texts.index(text) for number, text in enumerate(sorted(texts))}
        for ids, rows in self.answers:
            yield np.array([place.get(number, number) for number in ids], dtype=np.int64), np.array(rows, dtype=np.float32)


def test_nan_is_refused_by_name_and_what_came_before_is_kept(store):
    with pytest.raises(EncodeError, match=r"the passage 'second'.*precision fp32"):
        store.vectors(Answering(([0], [[1, 2]]), ([2, 1], [[1, 2], [1, np.nan]])), ["first", "second", "third"], "passages")
    encoder = Answering(([0, 1], [[3, 4], [5, 6]]))
    found = store.vectors(encoder, ["first", "second", "third"], "passages")
    assert np.array_equal(np.sort(found[:], axis=0), [[1, 2], [3, 4], [5, 6]])


@pytest.mark.parametrize("with_store", [True, False])
def test_numbers_that_float16_cannot_hold_are_refused(store, with_store):
    with pytest.raises(EncodeError, match="the query 'huge'"):
        vectors_of(Answering(([0], [[1e5, 0]]), precision="bf16"), ["huge"], "queries", store if with_store else None)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([([0], [[1, 2]])], "no vector for the passage 'b'"),
        ([([0], [[1, 2]]), ([0], [[1, 2]])], "twice"),
        ([([1, 1], [[1, 2], [1, 2]])], "twice"),
        ([([2], [[1, 2]])], "unknown text"),
        ([([-1], [[1, 2]])], "unknown text"),
        ([([0, 1], [[1, 2]])], "shape"),
        ([([0], [[1, 2]]), ([1], [[1, 2, 3]])], "2 dimensions"),
        ([([], np.zeros((0, 2))), ([0], [1])], "shape"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(store, answers, message):
    with pytest.raises(EncodeError, match=message):
        store.vectors(Answering(*answers), ["a", "b"], "passages")


# Being stopped


def test_a_cancelled_run_keeps_what_it_encoded_and_lets_the_encoder_go(store):
    encoder = Counting()
    with pytest.raises(Cancelled):
        store.vectors(encoder, TEXTS, "passages", should_stop=lambda: len(encoder.asked) >= 9)
    assert encoder.closed == 1
    found, asked = encode(store)
    assert len(asked) == 11
    assert not set(asked) & set(encoder.asked)
    assert np.array_equal(found, expected(TEXTS))


def test_ctrl_c_between_two_batches_keeps_what_was_encoded(store):
    encoder = Counting()

    def on_progress(done, total, note):
        if done >= 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.vectors(encoder, TEXTS, "passages", on_progress=on_progress)
    assert encoder.closed == 1
    assert len(encode(store)[1]) == 14


WRITER = """
import sys, pathlib
sys.path[:0] = [{root!r}, {tests!r}]
from hnmine.vectors import shard_set, store as vectors
from tests.vectors.test_vector_store import Counting, expected
vectors.FLUSH_SECONDS = vectors.FLUSH_FRACTION = 0.0
shard_set.MERGED_SHARDS = {merged}
texts = [f"text {{number}}" for number in range({count})]
encoder = Counting(pause={pause}, batch=5)
store = vectors.VectorStore(sys.argv[1])
print("ready", flush=True)
found = store.vectors(encoder, texts, "passages")
assert (found[:] == expected(texts)).all()
print(len(encoder.asked), *store.notes, flush=True)
"""


def writer(folder: Path, *, count: int, pause: float, merged: int = 64) -> subprocess.Popen:
    script = WRITER.format(root=str(ROOT), tests=str(ROOT / "tests"), count=count, pause=pause, merged=merged)
    return subprocess.Popen([sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_killed_at_any_moment_what_was_finished_is_served_and_the_result_is_the_same(tmp_path):
    texts = [f"text {number}" for number in range(400)]
    rng = np.random.default_rng(0)
    stored = kills = 0
    while kills < 6 or not stored:  # a busy machine finishes nothing in most of them
        kills += 1
        assert kills < 100
        process = writer(tmp_path / "store", count=400, pause=0.01, merged=6)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(float(rng.uniform(0.02, 0.25)))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        now = sum(each.rows for each in VectorStore(tmp_path / "store").usage())
        assert now >= stored, "what was finished is lost"
        stored = now
    store = VectorStore(tmp_path / "store")
    found, asked = encode(store, texts)
    assert np.array_equal(found, expected(texts))
    assert len(asked) == 400 - stored == store.encoded
    assert store.notes == []
    store.prune()
    assert len(files(store)) == sum(each.shards for each in store.usage())


def test_two_processes_at_once_are_both_right(tmp_path):
    both = [writer(tmp_path / "store", count=120, pause=0.002, merged=4) for _ in range(2)]
    for process in both:
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert output.split()[1:] and output.split("\n")[1].isdigit(), f"notes: {output}"
    store = VectorStore(tmp_path / "store")
    assert encode(store, [f"text {number}" for number in range(120)])[1] == []


def test_many_threads_share_one_folder(store, eager, monkeypatch):
    monkeypatch.setattr(shard_set, "MERGED_SHARDS", 3)
    wrong: list[object] = []

    def work(number: int) -> None:
        own = VectorStore(store.root)
        texts = [*TEXTS[number:], f"own {number}"]
        for _ in range(3):
            right = np.array_equal(own.vectors(Counting(), texts, "passages")[:], expected(texts))
            wrong.extend([*own.notes, *([] if right else [number])])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# Damage


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("ending", [".vectors.npy", ".keys.npy"])
@pytest.mark.parametrize("harm", [flip, halve, Path.unlink, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"PK" * 500)])
def test_a_damaged_shard_is_dropped_reported_and_encoded_again(store, harm, ending):
    encode(store, TEXTS[:8])
    encode(store, TEXTS[8:])
    damaged = max(files(store, ending), key=lambda path: path.stat().st_size)
    harm(damaged)
    again = VectorStore(store.root)
    found, asked = encode(again)
    assert np.array_equal(found, expected(TEXTS))
    assert len(asked) == 12
    assert len(again.notes) == 1 and "12 vectors was damaged" in again.notes[0]
    assert not damaged.exists()
    assert encode(VectorStore(store.root))[1] == []


def test_verify_reads_everything_and_says_what_it_dropped(store):
    encode(store, TEXTS[:8])
    encode(store, TEXTS[8:])
    assert store.verify() == []
    for path in files(store):
        if np.load(path).shape[0] == 8:
            flip(path)
    (note,) = store.verify()
    assert "8 vectors" in note and "checksum" in note
    assert store.usage()[0].rows == 12
    assert store.verify() == []


def test_files_without_a_row_are_ignored_and_cleared_away(store):
    encode(store)
    half = store.root / "0123456789abcdef.vectors.npy"
    half.write_bytes(b"half-written")
    old = store.root / "fedcba9876543210.keys.npy"
    old.write_bytes(b"killed yesterday")
    os.utime(old, (time.time() - 86_400,) * 2)
    assert encode(store)[1] == []
    encode(VectorStore(store.root), ["one more"])
    assert half.exists() and not old.exists(), "another process may be writing what is young"
    assert store.prune() == len(b"half-written")
    assert not half.exists()
    assert encode(store)[1] == []


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"", "a header and then noise"])
def test_a_broken_index_is_put_aside_and_all_is_encoded_again(store, content):
    encode(store)
    index = store.root / "index.sqlite"
    if isinstance(content, str):
        content = index.read_bytes()[:200] + np.random.default_rng(0).bytes(20_000)
    index.write_bytes(content)
    again = VectorStore(store.root)
    found, asked = encode(again)
    assert np.array_equal(found, expected(TEXTS))
    assert len(asked) == 20
    if content:  # an empty file is what a process killed while it made it leaves
        assert len(again.notes) == 1 and "index was damaged" in again.notes[0]
        assert len(list(store.root.glob("index.sqlite.damaged-*"))) >= 1
    assert again.prune() > 0, "the shards of the lost index are orphans"
    assert sorted(path.name for path in store.root.glob("*.damaged-*")) == []
    assert encode(VectorStore(store.root))[1] == []


def test_an_index_that_breaks_while_the_store_is_open_is_survived(store):
    encode(store)
    (store.root / "index.sqlite").write_bytes(b"no database at all" * 100)
    assert len(encode(store)[1]) == 20
    assert "index was damaged" in store.notes[0]
    (store.root / "index.sqlite").unlink()
    assert len(encode(store)[1]) == 20


def test_another_programs_database_is_not_touched(store):
    store.root.mkdir()
    with sqlite3.connect(store.root / "index.sqlite") as other:
        other.execute("CREATE TABLE theirs (value)")
        other.execute("INSERT INTO theirs VALUES (42)")
    other.close()
    encode(store)
    assert "belongs to another program" in store.notes[0]
    (aside,) = store.root.glob("index.sqlite.damaged-*")
    kept = sqlite3.connect(aside)
    assert kept.execute("SELECT value FROM theirs").fetchone() == (42,)
    kept.close()


@pytest.mark.parametrize("call", ["fsync", "index", "folder", "disk"])
def test_a_store_that_cannot_be_written_costs_a_note_and_not_the_run(store, eager, monkeypatch, call):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    elif call == "index":
        monkeypatch.setattr(index.ShardIndex, "add", lambda *_: (_ for _ in ()).throw(sqlite3.OperationalError("database or disk is full")))
    elif call == "folder":
        store.root.write_bytes(b"a file where the folder should be")
    else:
        monkeypatch.setattr(shard_set, "RESERVE_BYTES", 2**62)
    encoder = Counting()
    found = store.vectors(encoder, TEXTS, "passages")
    assert np.array_equal(found[:], expected(TEXTS))
    assert len(encoder.asked) == 20
    assert any("could not be stored" in note for note in store.notes)
    assert len(store.notes) == len(set(store.notes))
    if call != "folder":
        assert files(store) == [], "nothing is left of what could not be finished"
    monkeypatch.undo()  # a run is stored on a disk that works
    found.save(store.root.parent, "kept")
    assert np.array_equal(StoredVectors.open(store.root.parent, "kept")[:], expected(TEXTS))


def test_a_disk_that_fills_up_on_the_way_keeps_what_it_took(store, eager, monkeypatch):
    count, fsync = 0, os.fsync

    def sometimes(number):
        nonlocal count
        count += 1
        if count > 8:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(number)

    monkeypatch.setattr(os, "fsync", sometimes)
    found = store.vectors(Counting(), TEXTS, "passages")
    assert np.array_equal(found[:], expected(TEXTS))
    kept = sum(each.rows for each in store.usage())
    assert 0 < kept < 20
    monkeypatch.setattr(os, "fsync", fsync)
    assert len(encode(store)[1]) == 20 - kept


def test_a_folder_that_is_a_file_is_described_so(tmp_path):
    (tmp_path / "store").write_bytes(b"")
    for ask in ("usage", "verify", "prune"):
        with pytest.raises(WorkspaceError, match="cannot be used"):
            getattr(VectorStore(tmp_path / "store"), ask)()


# Size


@pytest.fixture
def clock(monkeypatch):
    """A clock for last uses that tests set by hand."""
    times = [time.time()]
    monkeypatch.setattr(index, "now", lambda: times[0])
    return times


def test_the_least_recently_used_leave_first_and_the_limit_holds(store, clock):
    for name in "abcd":
        encode(store, TEXTS, Counting(name))
        clock[0] += 10_000
    size = store.usage()[0].bytes
    encode(store, TEXTS, Counting("a"))  # used again: no longer the oldest
    small = VectorStore(store.root, limit_bytes=3 * size)
    clock[0] += 10_000
    encode(small, TEXTS, Counting("e"))
    assert sorted(each.model for each in small.usage()) == ["model a", "model d", "model e"]
    assert sum(path.stat().st_size for path in store.root.glob("*.npy")) == 3 * size
    assert [each.model for each in small.usage()] == ["model e", "model a", "model d"], "the last used comes first"


def test_what_this_process_has_open_is_not_evicted(store, clock):
    held = store.vectors(Counting("held"), TEXTS, "passages")
    clock[0] += 10_000
    encode(store, TEXTS, Counting("other"))
    clock[0] += 10_000
    small = VectorStore(store.root, limit_bytes=1)
    encode(small, TEXTS, Counting("third"))
    assert [each.model for each in small.usage()] == ["model third", "model held"]
    assert np.array_equal(held[:], expected(TEXTS, "held"))
    del held
    encode(small, TEXTS, Counting("fourth"))
    assert [each.model for each in small.usage()] == ["model fourth"]


def test_a_use_is_written_at_most_once_an_hour(store, clock):
    encode(store)
    first = store.usage()[0].last_used
    clock[0] += 600
    encode(store)
    assert store.usage()[0].last_used == first
    clock[0] += 4_000
    encode(store)
    assert store.usage()[0].last_used > first


def test_prune_by_age_by_size_and_altogether(store, clock):
    for name in "abc":
        clock[0] = time.time() - 86_400 * {"a": 30, "b": 10, "c": 0}[name]
        encode(store, TEXTS, Counting(name))
    size = store.usage()[0].bytes
    assert store.prune() == 0
    assert store.prune(older_than_days=20) == size
    assert store.prune(limit_bytes=size) == size
    assert [each.model for each in store.usage()] == ["model c"]
    held = store.vectors(Counting("c"), TEXTS, "passages")
    assert store.prune(everything=True) == size
    assert store.usage() == [] and list(store.root.glob("*.npy")) == []
    assert np.array_equal(held[:], expected(TEXTS, "c"))


def test_the_limit_comes_from_the_environment(tmp_path, monkeypatch):
    assert VectorStore(tmp_path).limit_bytes == 20 * 2**30
    monkeypatch.setenv("HNMINE_STORE_LIMIT", "5GB")
    assert VectorStore(tmp_path).limit_bytes == 5 * 2**30
    monkeypatch.setenv("HNMINE_STORE_LIMIT", "much")
    with pytest.raises(SettingsError, match="'much'"):
        VectorStore(tmp_path)


def test_usage_says_what_each_space_is(store):
    encode(store, encoder=Counting(precision="bf16"))
    (usage,) = store.usage()
    assert (usage.model, usage.rows, usage.shards, usage.dimension, usage.dtype) == ("model a", 20, 1, DIMENSION, "float16")
    assert json.loads(usage.identity) == {"weights_sha256": "a", "precision": "bf16"}
    assert usage.bytes == sum(path.stat().st_size for path in store.root.glob("*.npy"))
    assert usage.created <= usage.last_used


# Merging


def test_many_small_shards_become_one_and_nothing_is_lost(store, eager, monkeypatch):
    monkeypatch.setattr(shard_set, "MERGED_SHARDS", 5)
    found = store.vectors(Counting(), TEXTS, "passages")
    assert np.array_equal(found[:], expected(TEXTS))
    assert len(files(store)) == store.usage()[0].shards == 1
    assert encode(store)[1] == []


def test_merging_keeps_one_row_a_text_the_newest(store, monkeypatch):
    space = index.EncoderKey(id="s", identity="{}", model="m", dimension=2, dtype="float32")
    keys = shard_set.unique_keys(shards.text_keys(["a", "b"]))[0]
    one = shard_set.ShardSet(store.root, 2**30)
    for number in range(4):
        one.append(space, keys[: 1 + number % 2], [np.full((1 + number % 2, 2), number, np.float32)])
    monkeypatch.setattr(shard_set, "MERGED_SHARDS", 3)
    assert one.merge("s")
    (segment,), places = one.find("s", keys)
    assert len(segment) == 2
    assert segment[places].tolist() == [[3, 3], [3, 3]]


def test_merging_waits_for_nobody_and_for_room(store, eager, monkeypatch):
    encode(store)
    count = len(files(store))
    monkeypatch.setattr(shard_set, "MERGED_SHARDS", 3)
    with index.locked(store.root / "merge.lock", wait=True) as mine:
        assert mine
        assert encode(store)[1] == []
        assert len(files(store)) == count
    monkeypatch.setattr(shard_set, "RESERVE_BYTES", 2**62)
    assert encode(store)[1] == []
    assert len(files(store)) == count
    monkeypatch.undo()


def test_a_damaged_shard_does_not_stop_the_merging_for_ever(store, eager, monkeypatch):
    encode(store)
    flip(files(store)[2])
    monkeypatch.setattr(shard_set, "MERGED_SHARDS", 3)
    again = VectorStore(store.root)
    found, asked = encode(again)
    assert np.array_equal(found, expected(TEXTS))
    assert 0 < len(asked) <= 3
    assert len(again.notes) == 1
    assert len(files(store)) == 1


# Another process at work between two steps


@pytest.mark.parametrize("deed", ["merge", "evict"])
def test_shards_that_leave_between_index_and_opening_are_looked_for_again(store, eager, monkeypatch, deed):
    encode(store)
    open_vectors, done = shards.open_vectors, []

    def late(root, shard, **options):
        if not done:
            done.append(True)
            if deed == "merge":
                with monkeypatch.context() as few:
                    few.setattr(shard_set, "MERGED_SHARDS", 1)
                    assert shard_set.ShardSet(store.root, 2**30).merge(space_id)
            else:
                VectorStore(store.root).prune(everything=True)
        return open_vectors(root, shard, **options)

    with sqlite3.connect(store.root / "index.sqlite") as index:
        ((space_id,),) = index.execute("SELECT id FROM spaces").fetchall()
    index.close()
    monkeypatch.setattr(shards, "open_vectors", late)
    found, asked = encode(store)
    assert np.array_equal(found, expected(TEXTS))
    assert len(asked) == (0 if deed == "merge" else 20)
    assert store.notes == []


# The array


@pytest.fixture(scope="module")
def laid_out() -> tuple[StoredVectors, np.ndarray]:
    rng = np.random.default_rng(3)
    segments = [rng.standard_normal((rows, 4)).astype(np.float16) for rows in (3, 1, 7)]
    places = np.array([10, 0, 0, 4, 3, 9, 1, 5, 6, 2, 10, 8])
    return StoredVectors(segments, places), np.concatenate(segments)[places].astype(np.float32)


keys = st.one_of(
    st.integers(-12, 11),
    st.slices(12),
    st.lists(st.integers(-12, 11)).map(lambda ids: np.array(ids, dtype=np.int32)),
    st.lists(st.booleans(), min_size=12, max_size=12).map(np.array),
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), min_size=1).map(np.array),
)


@given(key=keys)
def test_indexing_is_that_of_a_plain_array(laid_out, key):
    stored, plain = laid_out
    assert stored.shape == plain.shape and stored.ndim == 2 and len(stored) == 12 and stored.dtype == np.float32
    found = stored[key]
    assert found.dtype == np.float32
    assert found.shape == plain[key].shape and np.array_equal(found, plain[key])


def test_wrong_indices_raise_as_on_a_plain_array(laid_out):
    with pytest.raises(IndexError):
        laid_out[0][12]
    with pytest.raises(IndexError):
        laid_out[0][0, 0]


def test_it_can_be_made_an_array(laid_out):
    stored, plain = laid_out
    assert np.array_equal(np.asarray(stored), plain)
    assert np.asarray(stored, dtype=np.float64).dtype == np.float64


@given(rows=st.integers(1, 15), sizes=st.lists(st.integers(1, 5), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_blocks_give_every_row_once_in_the_order_of_the_files(rows, sizes, seed):
    rng = np.random.default_rng(seed)
    segments = [rng.standard_normal((size, 2)).astype(np.float32) for size in sizes]
    places = rng.integers(0, sum(sizes), 12)
    stored, plain = StoredVectors(segments, places), np.concatenate(segments)[places]
    given_ids = []
    for ids, block in stored.blocks(rows):
        assert 1 <= len(ids) <= rows and block.dtype == np.float32
        assert np.array_equal(block, plain[ids])
        given_ids += ids.tolist()
    assert sorted(given_ids) == list(range(12))
    assert (np.diff(places[given_ids]) >= 0).all()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("pieces", [1, 4])
def test_what_was_read_of_large_vectors_does_not_stay_resident(tmp_path, monkeypatch, pieces):
    monkeypatch.setattr(shards, "RESIDENT_BYTES", 2**22)
    segments = []
    for number in range(pieces):  # 32 MiB in all
        np.save(tmp_path / f"large-{number}.npy", np.full((2**16 // pieces, 128), number, dtype=np.float32))
        segments.append(np.load(tmp_path / f"large-{number}.npy", mmap_mode="r"))
    stored = StoredVectors(segments, np.arange(2**16)[::-1])

    def resident() -> int:
        smaps = Path("/proc/self/smaps").read_text().split("large-")[1:]
        assert len(smaps) == pieces
        return sum(int(entry.split("Rss:")[1].split()[0]) * 1024 for entry in smaps)

    for number, (_ids, block) in enumerate(stored.blocks(8192)):
        assert (block == number * pieces // 8).all()
        assert resident() == 0
    stored[np.random.default_rng(0).permutation(2**16)[:999]]
    assert resident() == 0
    stored[5:9]
    assert resident() == 0


def test_saved_vectors_outlive_the_store_and_cost_no_space(store, eager, tmp_path):
    encoder = Counting(precision="bf16")
    found = store.vectors(encoder, [*TEXTS, TEXTS[0]], "passages")
    found.save(tmp_path, "passage_vectors")
    linked = [path.stat().st_nlink for path in tmp_path.glob("passage_vectors-[0-9]*.npy")]
    assert linked == [2] * 7
    del found
    store.prune(everything=True)
    again = StoredVectors.open(tmp_path, "passage_vectors")
    assert np.array_equal(again[:], expected([*TEXTS, TEXTS[0]], dtype=np.float16))
    again.save(tmp_path, "once_more")
    assert np.array_equal(StoredVectors.open(tmp_path, "once_more")[5:], again[5:])


@pytest.mark.parametrize("evicted", [True, False])
def test_where_links_fail_the_vectors_are_copied(store, tmp_path, monkeypatch, evicted):
    found = store.vectors(Counting(), TEXTS, "passages")
    if evicted:
        store.prune(everything=True)
    else:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError(errno.EPERM, "no links here")))
    found.save(tmp_path, "v")
    assert np.array_equal(StoredVectors.open(tmp_path, "v")[:], expected(TEXTS))


@pytest.mark.parametrize("lost", ["v-0.npy", "v-1.npy", "v-6.npy", "v-places.npy"])
def test_saved_vectors_that_are_not_complete_are_refused(store, eager, tmp_path, lost):
    store.vectors(Counting(), TEXTS, "passages").save(tmp_path, "v")
    (tmp_path / lost).unlink()
    with pytest.raises((OSError, ValueError)):
        StoredVectors.open(tmp_path, "v")


def test_no_vectors_can_be_saved_too(store, tmp_path):
    store.vectors(Counting(), [], "passages").save(tmp_path, "v")
    assert len(StoredVectors.open(tmp_path, "v")) == 0


def test_without_what_only_posix_has_nothing_crashes(store, monkeypatch):
    monkeypatch.delattr("mmap.MADV_DONTNEED", raising=False)
    open_file = os.open

    def on_windows(path, *rest, **more):
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "a folder")
        return open_file(path, *rest, **more)

    monkeypatch.setattr(os, "open", on_windows)
    found = store.vectors(Counting(), TEXTS, "passages")
    assert sum(len(ids) for ids, _ in found.blocks(3)) == 20
    assert store.notes == []


# Keys


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3))))
def test_unique_keys_are_those_of_numpy_even_when_halves_agree(pairs):
    table = np.array(pairs, dtype=np.uint64).reshape(-1, 2)
    unique, firsts, inverse = shard_set.unique_keys(table)
    theirs, their_firsts = np.unique(table, axis=0, return_index=True)
    assert np.array_equal(unique, theirs)
    assert np.array_equal(firsts, their_firsts)
    assert np.array_equal(unique[inverse], table)
