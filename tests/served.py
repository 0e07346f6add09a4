"""A server of fake models for tests: vectors of trigrams, scores of trigrams, a token a word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from examples.served_models import ServedModels
from hnmine.models.cards import ModelSettings
from hnmine.models.reranker import RerankerSettings
from hnmine.models.served import probe
from hnmine.models.served.server import Server
from tests.conftest import trigram_vector
from tests.rerankers import fake_score

__all__ = ["FakeModels", "fake_server", "model_of", "reranker_of", "secrets_in"]

# Nothing that is cut, unless a test wants it.
MANY = 10_000


class FakeModels:
    """What `FakeEncoder` and `FakeReranker` give, as a server has it."""

    name = "trigrams"

    def __init__(self, *, max_tokens: int = MANY, noise: float = 0.0) -> None:
        self.max_tokens, self.noise = max_tokens, noise
        self._random = np.random.default_rng(1)

    def counts(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        found = np.array([trigram_vector(self._cut(text)) for text in texts])
        return found + self.noise * self._random.standard_normal(found.shape).astype(np.float32)

    def scores(self, query: str, passages: Sequence[str]) -> np.ndarray:
        return np.array([fake_score(query, self._cut(passage)) for passage in passages], dtype=np.float32)

    def _cut(self, text: str) -> str:
        words = text.split()
        return text if len(words) <= self.max_tokens else " ".join(words[: self.max_tokens])


def fake_server(*, max_tokens: int = MANY, **more: Any) -> ServedModels:
    """Return a server of FakeModels."""
    return ServedModels(FakeModels(max_tokens=max_tokens), **more)


def model_of(served: ServedModels, path: str = "", **more: Any) -> ModelSettings:
    """Return the settings of its embedding model."""
    own = {name: more.pop(name) for name in tuple(more) if name in Server.__struct_fields__}
    return ModelSettings(**{"name_or_path": served.models.name, **more}, server=Server(address=served.address + path, **own))


def reranker_of(served: ServedModels, path: str = "/rerank", **more: Any) -> RerankerSettings:
    """Return the settings of its reranker."""
    own = {name: more.pop(name) for name in tuple(more) if name in Server.__struct_fields__}
    return RerankerSettings(name_or_path=served.models.name, **more, server=Server(address=served.address + path, **own))


def asked_twice(served: ServedModels, path: str) -> list[Any]:
    """Return the texts, or pairs, that were answered more than once, but for those of the probe."""
    probes = {*probe.TEXTS, *((probe.QUERY, passage) for passage in probe.PASSAGES)}
    return [each for each, count in served.texts(path).items() if count > 1 and each not in probes]


def secrets_in(secret: str, folders: Iterable[Path]) -> list[Path]:
    """Return the files in these folders that hold a secret."""
    files = (path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path in files if secret.encode() in path.read_bytes()]
