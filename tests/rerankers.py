"""Rerankers for tests: a deterministic fake, and a small cross-encoder made of the packaged model, because none is packaged."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hnmine.core.progress import check_cancelled
from tests.conftest import trigram_vector


def fake_score(query: str, passage: str) -> np.float32:
    """A raw logit: negative or positive, beyond 1, another order than the likeness of the texts."""
    return np.float32(8 * trigram_vector(query, 16) @ trigram_vector(passage, 16) - 2)


class FakeReranker:
    """A Reranker that counts what it is asked for, and may fail after so many pairs."""

    def __init__(self, *, name: str = "fake", batch: int = 16, fail_after: int | None = None) -> None:
        self.name, self.batch, self.fail_after = name, batch, fail_after
        self.asked: list[tuple[str, str]] = []
        self.weights = "cc" * 32

    def score(
        self, pairs: Sequence[tuple[str, str]], *, on_progress: Any = None, should_stop: Callable[[], bool] | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(pairs), self.batch):
            check_cancelled(should_stop)
            if self.fail_after is not None and len(self.asked) >= self.fail_after:
                raise RuntimeError("killed")
            places = np.arange(start, min(start + self.batch, len(pairs)))
            part = [pairs[place] for place in places]
            self.asked += part
            if on_progress is not None:
                on_progress(int(places[-1]) + 1, len(pairs), "scoring pairs")
            yield places, np.array([fake_score(*pair) for pair in part], dtype=np.float32)

    def identity(self) -> str | None:
        return json.dumps({"reranker": self.name})

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "weights_sha256": self.weights, "precision": "fp32"}


def save_cross_encoder(folder: Path, *, labels: int = 1, seed: int = 7) -> Path:
    """Save the packaged model with a fresh head, whose logits spread over some units."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from hnmine.models.cards import packaged_folder

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_pretrained(packaged_folder(), num_labels=labels)
        for layer in (model.bert.pooler.dense, model.classifier):
            layer.weight.data.normal_(0, 0.3)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(packaged_folder()).save_pretrained(folder)
    return folder


def save_decoder(folder: Path) -> Path:
    """Save a tiny decoder-only model of random weights, with the packaged model's tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from hnmine.models.cards import packaged_folder

    tokenizer = AutoTokenizer.from_pretrained(packaged_folder())
    with torch.random.fork_rng():
        torch.manual_seed(3)
        sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
        model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=1024, initializer_range=0.3, **sizes))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
