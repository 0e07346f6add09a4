"""Fixtures that several test files share: a deterministic encoder, a writer of JSONL, the real packaged model."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import numpy as np
import pytest

from hnmine.core.progress import check_cancelled
from hnmine.models.loading import reproducible_products
from hnmine.runs.jobs import mine_dataset
from hnmine.runs.settings import MineSettings
from hnmine.runs.workspace import Workspace

for _name in ("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_TELEMETRY"):
    os.environ[_name] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Several processes share the processors: two threads of one of them would wait for each other at every small operation, and
    # mining the example took minutes. What is computed does not hang on the number of threads.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Before anything here multiplies matrices with torch: MKL reads its mode once.
reproducible_products()

# Runs on shared machines pause for reasons of their own: a deadline would fail for the neighbour's load.
hypothesis.settings.register_profile("hnmine", deadline=None, derandomize=True, max_examples=60)
hypothesis.settings.load_profile("hnmine")

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "bikeshare"


@functools.cache
def hash_of(trigram: str) -> int:
    return int.from_bytes(hashlib.blake2b(trigram.encode("utf-8", "surrogatepass"), digest_size=4).digest(), "little")


def trigram_vector(text: str, dimension: int = 64) -> np.ndarray:
    """A unit vector from the hashed character trigrams of a text: like texts are near, and nothing is random."""
    vector = np.zeros(dimension, dtype=np.float32)
    padded = f"  {text} "
    for start in range(len(padded) - 2):
        value = hash_of(padded[start : start + 3])
        vector[value % dimension] += 1 if value >> 31 else -1
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if length else vector


class FakeEncoder:
    """An Encoder that counts its calls; queries and passages are encoded alike."""

    def __init__(self, dimension: int = 64, batch: int = 8) -> None:
        self.dimension = dimension
        self.batch = batch
        self.passage_calls = 0
        self.query_calls = 0

    def encode_batches(
        self, texts: Sequence[str], side: str, *, on_progress: Any = None, should_stop: Any = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        if side == "queries":
            self.query_calls += 1
        else:
            self.passage_calls += 1
        for start in range(0, len(texts), self.batch):
            check_cancelled(should_stop)
            places = np.arange(start, min(start + self.batch, len(texts)))
            vectors = np.array([trigram_vector(texts[place], self.dimension) for place in places])
            if on_progress is not None:
                on_progress(start + len(places), len(texts), f"encoding {side}")
            yield places, vectors

    def identity(self, side: str) -> str | None:
        return json.dumps({"trigrams": self.dimension})

    def describe(self) -> dict[str, Any]:
        return {"name": "trigrams", "dimension": self.dimension, "precision": "fp32"}


class Mined(NamedTuple):
    """A workspace with a run: its folder, the data set's id, the run's id."""

    root: Path
    dataset: str
    run: str


def add_example(space: Workspace) -> str:
    """Add the bundled example to a workspace; return the data set's id."""
    train, pool = EXAMPLE / "train.jsonl", EXAMPLE / "pool.jsonl"
    return space.add_dataset("bikeshare/train.jsonl", train, "bikeshare/pool.jsonl", pool).id


def mine(space: Workspace, dataset: str, settings: MineSettings | None = None, depth: int = 500, encoder: object = None) -> str:
    """Mine a data set as the app's jobs do, by default with trigrams; return the run's id."""
    loaded = encoder or FakeEncoder()
    return mine_dataset(space, dataset, settings or MineSettings(), depth, lambda tell: loaded, lambda *step: None, lambda: False)  # type: ignore[arg-type, return-value]


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace of the tests' own, for their processes too: none leaves anything in the checkout, or finds what another left."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HNMINE_HOME", str(folder))
        yield folder


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The folder of an empty workspace, and an app that has just started with it."""
    import streamlit as st

    monkeypatch.setenv("HNMINE_HOME", str(tmp_path / "workspace"))
    st.cache_resource.clear()
    yield tmp_path / "workspace"
    st.cache_resource.clear()


@pytest.fixture(scope="session")
def mined(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Mined:
    """A run of the bundled example, mined once in a process. A file with other data overrides this fixture."""
    space = Workspace(tmp_path_factory.mktemp("mined") / "workspace")
    dataset = add_example(space)
    return Mined(space.root, dataset, mine(space, dataset))


@pytest.fixture(scope="session")
def example_vectors(tmp_path_factory: pytest.TempPathFactory, flag_model: Any) -> Path:
    """A vector store that holds the bundled example, encoded once in a process by the packaged model. Copy it to write to it."""
    from hnmine import ModelSettings, find_knn_neg

    folder = tmp_path_factory.mktemp("example")
    find_knn_neg(ModelSettings(), EXAMPLE / "train.jsonl", EXAMPLE / "pool.jsonl", folder / "out.jsonl", store=folder / "vectors")
    return folder / "vectors"


@pytest.fixture
def fake_encoder() -> FakeEncoder:
    """A deterministic stand-in for a model."""
    return FakeEncoder()


@pytest.fixture
def write_jsonl(tmp_path: Path) -> Callable[..., Path]:
    """Write items (dicts or str lines) as a JSONL file below tmp_path, and return its path."""

    def write(items: Iterable[object], name: str = "train.jsonl") -> Path:
        path = tmp_path / name
        lines = [item if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in items]
        path.write_bytes("".join(f"{line}\n" for line in lines).encode())
        return path

    return write


@pytest.fixture(scope="session")
def flag_model() -> Any:
    """The packaged all-MiniLM-L6-v2 as a FlagEmbedding model, loaded once."""
    from FlagEmbedding import FlagModel

    from hnmine.models.cards import packaged_folder

    return FlagModel(str(packaged_folder()), pooling_method="mean", use_fp16=False, devices="cpu")


@pytest.fixture(scope="session")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small cross-encoder."""
    from tests.rerankers import save_cross_encoder

    return save_cross_encoder(tmp_path_factory.mktemp("rerankers") / "small-reranker")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets beside the checkout, which is no part of the project."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real data is not beside the checkout (../shared/data)")
    return folder
