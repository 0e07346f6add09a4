"""The same work on Ray: workers on this machine, with the packaged model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from hnmine import ModelSettings, find_knn_neg
from hnmine.cli.main import main
from hnmine.cluster import ray_workers, settings
from hnmine.cluster.cluster import Cluster
from hnmine.cluster.ray_workers import RayWorkers, nodes_in_words
from hnmine.core.errors import Cancelled, ClusterError, SettingsError
from hnmine.models.encoder import FlagEncoder
from hnmine.vectors.store import VectorStore, vectors_of

ray = pytest.importorskip("ray")
ROOT = Path(__file__).parents[2]
TEXTS = [f"passage {number} is about subject {number % 13} and {number * 7919 % 101} more" for number in range(1_100)]
CLOSED = "127.0.0.1:9"


@pytest.fixture(scope="module")
def workers() -> Iterator[RayWorkers]:
    """A local cluster of two CPUs for the tests of this file."""
    found = RayWorkers("local", ("cpu", "cpu"))
    found.start()
    yield found
    found.close()


@pytest.fixture(scope="module")
def encoder() -> FlagEncoder:
    return FlagEncoder.load(ModelSettings())


@pytest.fixture(scope="module")
def expected(encoder: FlagEncoder) -> bytes:
    return np.asarray(vectors_of(encoder, TEXTS, "passages", None)).tobytes()


def running(driver: int | None = None) -> list[psutil.Process]:
    """The processes of workers that encode, of this process or another driver."""
    found = []
    for process in psutil.Process(driver).children(recursive=True):
        try:
            if "ShardEncoder" in "".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_a_killed_worker_is_replaced_and_the_vectors_are_those_of_one_process(
    tmp_path: Path, workers: RayWorkers, encoder: FlagEncoder, expected: bytes
) -> None:
    killed: list[int] = []
    seen: list[tuple[int, int, str]] = []

    def on_progress(done: int, total: int, note: str) -> None:
        seen.append((done, total, note))
        if done and not killed and (found := running()):
            found[0].kill()
            killed.append(found[0].pid)

    shared = tmp_path / "shared"
    store = VectorStore(tmp_path / "vectors")
    cluster = Cluster(workers, shared_store=str(shared))
    (found,) = cluster.vectors(encoder, [(TEXTS, "passages")], store, on_progress=on_progress)
    assert killed
    assert np.asarray(found).tobytes() == expected
    assert store.encoded == len(TEXTS)
    assert seen[0][2] == "starting the workers"
    assert {note for *_, note in seen[1:]} == {"encoding passages"}
    queries = np.asarray(found)[:40]
    scores, ids = cluster.top_k(queries, found, 30)
    from hnmine.retrieval.search import top_k

    wanted = top_k(queries, np.asarray(found), 30)
    assert (scores.tobytes(), ids.tobytes()) == (wanted[0].tobytes(), wanted[1].tobytes())


def test_a_cancel_ends_the_workers(tmp_path: Path, workers: RayWorkers, encoder: FlagEncoder) -> None:
    seen: list[int] = []
    with pytest.raises(Cancelled):
        Cluster(workers).vectors(
            encoder,
            [(TEXTS, "passages")],
            VectorStore(tmp_path / "vectors"),
            on_progress=lambda done, total, note: seen.append(done),
            should_stop=lambda: len(seen) > 1,
        )
    _, alive = psutil.wait_procs(running(), timeout=120)
    assert not alive


def test_the_error_of_a_worker_is_that_of_the_model(tmp_path: Path, workers: RayWorkers, encoder: FlagEncoder) -> None:
    class Moved(FlagEncoder):
        settings = ModelSettings(name_or_path=str(tmp_path / "only on the driver"))  # type: ignore[assignment]

        def __init__(self) -> None:
            self.__dict__.update(encoder.__dict__)

    with pytest.raises(Exception, match="only on the driver") as caught:
        Cluster(workers).vectors(Moved(), [(TEXTS[:50], "passages")], VectorStore(tmp_path / "vectors"))
    assert not isinstance(caught.value, ray.exceptions.RayError)


def test_a_killed_driver_leaves_its_finished_shards_and_the_next_writes_the_same_bytes(tmp_path: Path) -> None:
    """On the command line, with workers of its own, one of which is killed too; without a line of Ray in the output."""
    train, pool, shared = tmp_path / "train.jsonl", tmp_path / "pool.jsonl", tmp_path / "shared"
    train.write_text("".join(json.dumps({"query": f"subject {i}", "pos": [TEXTS[i]]}) + "\n" for i in range(30)))
    pool.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    command = [sys.executable, "-m", "hnmine", "mine", "--input_file", str(train), "--candidate_pool", str(pool), "--quiet"]
    command += ["--cluster", "local", "--shared_store", str(shared), "--store", str(tmp_path / "vectors")]
    process = subprocess.Popen([*command, "--output_file", str(tmp_path / "killed.jsonl")], cwd=ROOT, start_new_session=True)
    while process.poll() is None and not list(shared.glob("*.json")):
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = {path.name: path.stat().st_mtime_ns for path in shared.glob("*.json")}
    assert len(finished) > 0
    assert not (tmp_path / "killed.jsonl").exists()
    process = subprocess.Popen(
        [*command, "--json", "--output_file", str(tmp_path / "cluster.jsonl")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not (found := running(process.pid)):
        time.sleep(0.05)
    found[0].kill()
    out, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (0, "")
    summary = json.loads(out)  # Ray would print the death of the worker here
    assert summary["rows"] == 30
    assert {name: (shared / name).stat().st_mtime_ns for name in finished} == finished, "no finished shard is encoded again"
    find_knn_neg(ModelSettings(), train, pool, tmp_path / "one.jsonl", store=tmp_path / "one", on_progress=lambda *step: None)
    assert (tmp_path / "cluster.jsonl").read_bytes() == (tmp_path / "one.jsonl").read_bytes()


def test_where_nothing_answers_the_error_names_the_address() -> None:
    with pytest.raises(ClusterError, match=f"no cluster answers at {CLOSED}"):
        RayWorkers(CLOSED).start()


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (
            RuntimeError("Version mismatch: The cluster was started with:\n  Ray: 2.50.0\n  Python: 3.12.1"),
            "other versions.*Ray: 2.50.0 Python",
        ),
        (ConnectionError("Could not find any running Ray instance."), "cannot be used.*any running Ray instance"),
    ],
)
def test_what_ray_refuses_has_a_remedy(reason: Exception, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**arguments: Any) -> None:
        raise reason

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray_workers, "_users", 0)
    with pytest.raises(ClusterError, match=words):
        RayWorkers("auto").start()


def test_the_app_sees_what_a_cluster_has(workers: RayWorkers) -> None:
    assert nodes_in_words("auto").startswith("1 node, ")


def test_without_ray_a_cluster_is_an_error_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(settings.importlib.util, "find_spec", lambda name: None)
    files: dict[str, Any] = {"input_file": "in.jsonl", "output_file": str(tmp_path / "out.jsonl")}
    with pytest.raises(SettingsError, match=r"pip install 'hnmine\[cluster\]'"):
        find_knn_neg(ModelSettings(), **files, cluster="local")
    words = [word for name, value in files.items() for word in (f"--{name}", value)]
    assert main(["mine", *words, "--cluster", "local"]) == 2
    assert "pip install 'hnmine[cluster]'" in capsys.readouterr().err
