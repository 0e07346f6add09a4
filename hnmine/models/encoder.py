"""Texts to vectors, through FlagEmbedding.

`Encoder` is the plug point: three methods, and a test can be its own encoder. `FlagEncoder` puts any FlagEmbedding
model behind it, or any object with the same `encode_queries` / `encode_corpus` / `encode` (BGE-M3's dict answer
included).

On a CPU **a vector is a function of its text alone**, bit for bit, for an encoder-only model on one device (how:
`hnmine.models.batching`), so neither a resumed run nor stored vectors nor a subset change a result. Nothing that decides a vector
is left to the moment of loading: `identity` says it all before torch is imported, and what is stored is found by it.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec
import numpy as np

from hnmine.core.errors import EncodeError
from hnmine.core.progress import OnProgress, ShouldStop, check_cancelled
from hnmine.models.batching import order_of
from hnmine.models.cards import ModelSettings
from hnmine.models.flag_encoder import ARITHMETIC, FlagModelRunner, Places, Use, Vectors
from hnmine.models.loading import LazyModel, lazy_embedder

__all__ = ["Encoder", "FlagEncoder", "Places", "Side", "Vectors", "as_encoder", "encode"]

Side = Literal["queries", "passages"]


@runtime_checkable
class Encoder(Protocol):
    """Anything that turns queries and passages into vectors of one dimension d."""

    def encode_batches(
        self, texts: Sequence[str], side: Side, *, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None
    ) -> Iterator[tuple[Places, Vectors]]:
        """Yield (places (b,) int64 into `texts`, vectors (b, d) float32), each text exactly once, in any order."""

    def identity(self, side: Side) -> str | None:
        """Say everything that decides a vector on this side as canonical JSON; None when that is unknown: nothing is stored then."""

    def describe(self) -> dict[str, Any]:
        """Return what the manifest records: name, weights' fingerprint, pooling, lengths, instructions, device, precision."""


def encode(
    encoder: Encoder, texts: Sequence[str], side: Side, *, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None
) -> Vectors:
    """Return the vectors of all texts in their order, (n, d) float32; (0, 0) for none.

    Raises:
        EncodeError: the encoder's answer is not one vector of finite numbers, of one dimension, for each text.
        Cancelled: `should_stop` said so; asked once a batch.
    """
    vectors: Vectors | None = None
    given = np.zeros(len(texts), dtype=bool)
    answers = encoder.encode_batches(texts, side, on_progress=on_progress, should_stop=should_stop)
    try:
        for places, part in answers:
            if vectors is None and part.ndim == 2:
                vectors = np.empty((len(texts), part.shape[1]), dtype=np.float32)
            if vectors is None or part.shape != (len(places), vectors.shape[1]):
                expected = f", and of {vectors.shape[1]} dimensions before" if vectors is not None else ""
                raise EncodeError(f"the model gave vectors of shape {part.shape} for {len(places)} {side}{expected}")
            finite = np.isfinite(part).all(axis=1)
            if not finite.all():
                text = texts[places[int(np.argmin(finite))]]
                raise EncodeError(f"the model gave NaN or infinity for {side[:-1]} {text[:80]!r}; try precision fp32, or check the weights")
            before = np.count_nonzero(given)
            given[places] = True
            if np.count_nonzero(given) - before != len(places):
                raise EncodeError(f"the encoder gave two vectors for one of the {side}")
            vectors[places] = part
    finally:
        if (close := getattr(answers, "close", None)) is not None:
            close()  # the thread behind it should not wait for the garbage collector
    if not given.all():
        raise EncodeError(f"the encoder gave no vector for {side[:-1]} {texts[int(np.argmin(given))][:80]!r}")
    return vectors if vectors is not None else np.zeros((0, 0), dtype=np.float32)


class FlagEncoder:
    """A FlagEmbedding model as an Encoder."""

    def __init__(self, model: Any, *, batch_size: int | None = None) -> None:
        """Wrap a loaded model, whose weights nobody vouches for; `FlagEncoder.load` makes an encoder from settings.

        Raises:
            SettingsError: the object has no method to encode queries, or passages.
        """
        self._loader = model if isinstance(model, LazyModel) else None
        self._driver = FlagModelRunner(model, batch_size=batch_size) if self._loader is None else None
        self._batch_size = batch_size
        self._lock = threading.Lock()

    @classmethod
    def load(cls, settings: ModelSettings | None = None, *, on_progress: OnProgress | None = None) -> FlagEncoder:
        """Fetch a model where needed and take its weights' fingerprint; torch and the weights are loaded when the first text comes.

        Raises:
            ModelError: the model or a device is not available.
            SettingsError: a device is unknown, or cannot compute in the precision asked for.
        """
        settings = settings or ModelSettings()
        return cls(lazy_embedder(settings, on_progress=on_progress), batch_size=settings.batch_size)

    def encode_batches(
        self, texts: Sequence[str], side: Side, *, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None
    ) -> Iterator[tuple[Places, Vectors]]:
        """Yield vectors, L2-normalised unless the model was made with `normalize_embeddings=False`; longest texts first.

        Progress counts tokens (estimated from characters where a text has not been tokenised yet), or characters where
        FlagEmbedding's own `encode` is used. A text that is given twice is encoded once.

        Raises:
            ModelError: the model cannot be loaded, or its files have changed since the fingerprint was taken.
            EncodeError: the model failed, or its answer is no (n, d) array of numbers.
            Cancelled: `should_stop` said so; asked once a batch.
        """
        if not len(texts):  # FlagEmbedding's own answer to nothing is an AttributeError
            return
        check_cancelled(should_stop)
        driver = self._loaded(on_progress)
        normalise = getattr(driver.model, "normalize_embeddings", True)
        order, twins = order_of(texts)
        with closing(driver.run(texts, order, self._use(side), on_progress=on_progress, should_stop=should_stop)) as answers:
            for places, vectors in answers:
                if normalise:
                    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
                    with np.errstate(invalid="ignore"):  # infinity over infinity is refused where the answers are gathered
                        vectors /= np.where(lengths > 0, lengths, 1)
                if twins:
                    rows = [(row, place) for row, first in enumerate(places.tolist()) for place in (first, *twins.get(first, ()))]
                    places = np.array([place for _, place in rows], dtype=np.int64)
                    vectors = vectors[[row for row, _ in rows]]
                yield places, vectors

    def identity(self, side: Side) -> str | None:
        """Return what decides a vector, as canonical JSON; None for a model that was handed over, whose weights may be any.

        Queries and passages share it when nothing sets them apart.
        """
        loader = self._loader
        if loader is None:
            return None
        loader.announced = True
        use = self._use(side)
        parts: dict[str, Any] = {
            "arithmetic": ARITHMETIC,
            "weights_sha256": loader.weights_sha256,
            "class": loader.card.model_class,
            "pooling_method": loader.card.pooling_method,
            "max_length": use.max_length,
            "instruction": [use.template, use.instruction] if use.instruction is not None else None,
            "normalize_embeddings": loader.settings.normalize_embeddings,
            "precision": loader.precision,
            "device": loader.devices[0].partition(":")[0],
        }
        if loader.card.model_class == "decoder-only-icl" and side == "queries":  # such a query is followed by a mark of its own
            parts["examples"] = [loader.settings.examples_instruction_format, loader.settings.examples_for_task]
        return msgspec.json.encode(parts, order="sorted").decode()

    def describe(self) -> dict[str, Any]:
        """Return name, class, fingerprint of the weights, pooling, lengths, instructions, devices and precision."""
        loader = self._loader
        pooling: str | None
        if loader is not None:
            loader.announced = True
            name, kind, pooling = loader.card.name, loader.card.model_class, loader.card.pooling_method
            devices, precision = list(loader.devices), loader.precision
        else:
            model = self._model
            name, kind = str(getattr(model, "model_name_or_path", type(model).__name__)), type(model).__name__
            pooling = getattr(model, "pooling_method", None)
            devices = [str(device) for device in getattr(model, "target_devices", None) or []]
            half = [each for each in ("bf16", "fp16") if getattr(model, f"use_{each}", False)]
            precision = half[0] if half and devices[:1] != ["cpu"] else "fp32"  # FlagEmbedding computes in float32 on a CPU
        queries, passages = self._use("queries"), self._use("passages")
        return {
            "name": name,
            "weights_sha256": loader.weights_sha256 if loader is not None else None,
            "class": kind,
            "pooling_method": pooling,
            "query_max_length": queries.max_length,
            "passage_max_length": passages.max_length,
            "query_instruction": queries.instruction,
            "query_instruction_format": queries.template,
            "passage_instruction": passages.instruction,
            "passage_instruction_format": passages.template,
            "devices": devices,
            "precision": precision,
            "notes": list(loader.notes) if loader is not None else [],
        }

    def release(self) -> None:
        """Let go of the loaded model, whose memory another one needs; the next text loads it again. One that was handed over stays."""
        with self._lock:
            if self._loader is not None and self._driver is not None:
                self._driver = None
                gc.collect()  # models hold themselves in cycles

    @property
    def _model(self) -> Any:
        return self._driver.model if self._driver is not None else None

    def _use(self, side: Side) -> Use:
        card, model = self._loader.card if self._loader is not None else None, self._model
        if side == "queries":
            if card is not None:
                return Use(side, card.query_instruction, card.query_instruction_format, card.query_max_length)
            instruction = getattr(model, "query_instruction_for_retrieval", None)
            template, length = getattr(model, "query_instruction_format", None), getattr(model, "query_max_length", None)
        else:
            if card is not None:
                return Use(side, card.passage_instruction, card.passage_instruction_format, card.passage_max_length)
            extra = getattr(model, "kwargs", None) or {}  # FlagEmbedding has no attributes for these two
            instruction = extra.get("passage_instruction_for_retrieval")
            template, length = extra.get("passage_instruction_format"), getattr(model, "passage_max_length", None)
        return Use(side, instruction, template or "{}{}", length)

    def _loaded(self, on_progress: OnProgress | None) -> FlagModelRunner:
        with self._lock:
            if self._driver is None:
                assert self._loader is not None  # one of the two is there from the start
                if on_progress is not None:
                    on_progress(0, 0, "loading the model")
                model = self._loader.load()
                self._driver = FlagModelRunner(model, batch_size=self._batch_size, precision=self._loader.precision)
            return self._driver


def as_encoder(model: Any) -> Encoder:
    """Return `model` as an Encoder: as it is when it is one, else behind a FlagEncoder."""
    return model if isinstance(model, Encoder) else FlagEncoder(model)
