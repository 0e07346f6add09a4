"""Encoders: texts to vectors. `Encoder` is the plug point, a Protocol of three methods; `FlagEncoder` wraps FlagEmbedding's models.

`FlagEncoder` takes any object with the same `encode_queries` / `encode_corpus` / `encode` too. On a CPU **a vector is a function of
its text alone**, bit for bit, for an encoder-only model on one device (`hnmine.models.batching`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec
import numpy as np

from hnmine.core.errors import EncodeError, SettingsError
from hnmine.core.garbage import collect
from hnmine.core.progress import OnProgress, ShouldStop, check_cancelled
from hnmine.models.cards import ModelSettings
from hnmine.models.flag_encoder import ARITHMETIC, FlagModelRunner, Places, PromptSpec, Vectors
from hnmine.models.loading import LazyModel, lazy_embedder

__all__ = ["ONE", "Encoder", "FlagEncoder", "Places", "Side", "Vectors", "as_encoder", "encode"]

# "instructed queries" have their instruction in the text already (`FlagEncoder.instructed`), so none is put before them.
Side = Literal["queries", "passages", "instructed queries"]
ONE: dict[Side, str] = {"queries": "query", "passages": "passage", "instructed queries": "query"}


@runtime_checkable
class Encoder(Protocol):
    """An object that encodes queries and passages as vectors of one dimension d."""

    def encode_batches(
        self, texts: Sequence[str], side: Side, *, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None
    ) -> Iterator[tuple[Places, Vectors]]:
        """Yield (places (b,) int64 into `texts`, vectors (b, d) float32), each text exactly once, in any order."""

    def identity(self, side: Side) -> str | None:
        """Return canonical JSON that identifies the vectors of this side, or None if they must not be stored."""

    def describe(self) -> dict[str, Any]:
        """Return the manifest's record: name, fingerprint of the weights, pooling, lengths, instructions, device, precision."""


def encode(
    encoder: Encoder, texts: Sequence[str], side: Side, *, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None
) -> Vectors:
    """Return the vectors of all texts in their order, (n, d) float32; (0, 0) for no texts.

    Raises:
        EncodeError: the encoder does not return one finite vector of the same dimension for each text.
        Cancelled: `should_stop` returned True; called once a batch.
    """
    vectors: Vectors | None = None
    given = np.zeros(len(texts), dtype=bool)
    answers = encoder.encode_batches(texts, side, on_progress=on_progress, should_stop=should_stop)
    try:
        for places, part in answers:
            if vectors is None and part.ndim == 2:
                vectors = np.empty((len(texts), part.shape[1]), dtype=np.float32)
            if vectors is None or part.shape != (len(places), vectors.shape[1]):
                expected = f"; earlier vectors have {vectors.shape[1]} dimensions" if vectors is not None else ""
                raise EncodeError(f"the model returned vectors of shape {part.shape} for {len(places)} {side}{expected}")
            finite = np.isfinite(part).all(axis=1)
            if not finite.all():
                text = texts[places[int(np.argmin(finite))]]
                raise EncodeError(
                    f"the model returned NaN or infinity for {ONE[side]} {text[:80]!r}; try precision fp32, or check the weights"
                )
            before = np.count_nonzero(given)
            given[places] = True
            if np.count_nonzero(given) - before != len(places):
                raise EncodeError(f"the encoder returned two vectors for one of the {side}")
            vectors[places] = part
    finally:
        if (close := getattr(answers, "close", None)) is not None:
            close()  # end its thread now, not at the next garbage collection
    if not given.all():
        raise EncodeError(f"the encoder returned no vector for {ONE[side]} {texts[int(np.argmin(given))][:80]!r}")
    return vectors if vectors is not None else np.zeros((0, 0), dtype=np.float32)


class FlagEncoder:
    """A FlagEmbedding model as an Encoder."""

    def __init__(self, model: Any, *, batch_size: int | None = None) -> None:
        """Wrap a loaded model, whose vectors are not stored; use `FlagEncoder.load` to make an encoder from settings.

        Raises:
            SettingsError: the object has no method to encode queries or passages.
        """
        self._lazy = model if isinstance(model, LazyModel) else None
        self._runner = FlagModelRunner(model, batch_size=batch_size) if self._lazy is None else None
        self._batch_size = batch_size
        self._lock = threading.Lock()

    @classmethod
    def load(cls, settings: ModelSettings | None = None, *, on_progress: OnProgress | None = None) -> FlagEncoder:
        """Download a model if needed and compute the fingerprint of its weights; torch and the weights load with the first text.

        Raises:
            ModelError: the model or a device is not available.
            SettingsError: a device is unknown, or does not support the precision.
        """
        settings = settings or ModelSettings()
        return cls(lazy_embedder(settings, on_progress=on_progress), batch_size=settings.batch_size)

    def encode_batches(
        self, texts: Sequence[str], side: Side, *, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None
    ) -> Iterator[tuple[Places, Vectors]]:
        """Yield vectors, L2-normalised unless the model was made with `normalize_embeddings=False`.

        Texts are read in blocks (`batching.blocks`), of each the longest first and equal ones once, so `texts` may be on disk.
        Progress counts tokens, or characters if FlagEmbedding's `encode` is used; what is not read yet is estimated.

        Raises:
            ModelError: the model cannot be loaded, or its files have changed since the fingerprint was computed.
            EncodeError: the model failed, or did not return an (n, d) array of numbers.
            Cancelled: `should_stop` returned True; called once a batch.
        """
        if not len(texts):  # FlagEmbedding raises AttributeError for an empty list
            return
        check_cancelled(should_stop)
        runner = self._loaded(on_progress)
        normalise = getattr(runner.model, "normalize_embeddings", True)
        with closing(runner.run(texts, self._prompt(side), on_progress=on_progress, should_stop=should_stop)) as answers:
            for places, vectors in answers:
                if normalise:
                    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
                    with np.errstate(invalid="ignore"):  # infinity / infinity is refused by `encode`
                        vectors /= np.where(lengths > 0, lengths, 1)
                yield places, vectors

    def instructed(self, queries: Sequence[str], instructions: Sequence[str | None]) -> list[str]:
        """Return the texts of queries with an instruction each, in the model's format; encode them as "instructed queries".

        The vectors are those of a run with this instruction for all. None is the model's own instruction, "" is none.

        Raises:
            SettingsError: a wrapped model is not of FlagEmbedding, so its own instruction is unknown.
        """
        if self._lazy is None and not hasattr(self._model, "query_instruction_for_retrieval"):
            raise SettingsError(
                f"the model is a {type(self._model).__name__}, and only FlagEmbedding's models take an instruction for each query; "
                "give the model's name or folder, or leave query_prompt_field out"
            )
        own = self._prompt("queries")
        return with_instructions(queries, instructions, own.instruction, own.template)

    def identity(self, side: Side) -> str | None:
        """Return canonical JSON that identifies the vectors, or None for a wrapped model, whose weights are unknown.

        It is the same for queries and passages unless a setting differs.
        """
        lazy = self._lazy
        if lazy is None:
            return None
        lazy.identity_used = True
        prompt = self._prompt(side)
        parts: dict[str, Any] = {
            "arithmetic": ARITHMETIC,
            "weights_sha256": lazy.weights_sha256,
            "class": lazy.card.model_class,
            "pooling_method": lazy.card.pooling_method,
            "max_length": prompt.max_length,
            "instruction": [prompt.template, prompt.instruction] if prompt.instruction is not None else None,
            "normalize_embeddings": lazy.settings.normalize_embeddings,
            "precision": lazy.precision,
            "device": lazy.devices[0].partition(":")[0],
        }
        if lazy.card.model_class == "decoder-only-icl" and prompt.side == "queries":  # the examples are part of each query
            parts["examples"] = [lazy.settings.examples_instruction_format, lazy.settings.examples_for_task]
            if side == "instructed queries":  # an example without an instruction has the model's own
                parts["examples"].append(lazy.card.query_instruction)
        return msgspec.json.encode(parts, order="sorted").decode()

    def describe(self) -> dict[str, Any]:
        """Return name, class, fingerprint of the weights, pooling, lengths, instructions, devices and precision."""
        lazy = self._lazy
        if lazy is not None:
            lazy.identity_used = True
            name, kind, pooling = lazy.card.name, lazy.card.model_class, lazy.card.pooling_method
            devices, precision = list(lazy.devices), lazy.precision
        else:
            model = self._model
            name, kind = str(getattr(model, "model_name_or_path", type(model).__name__)), type(model).__name__
            pooling = getattr(model, "pooling_method", None)
            devices = [str(device) for device in getattr(model, "target_devices", None) or []]
            half = [each for each in ("bf16", "fp16") if getattr(model, f"use_{each}", False)]
            precision = half[0] if half and devices[:1] != ["cpu"] else "fp32"  # FlagEmbedding computes in float32 on a CPU
        queries, passages = self._prompt("queries"), self._prompt("passages")
        return {
            "name": name,
            "weights_sha256": lazy.weights_sha256 if lazy is not None else None,
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
            "notes": list(lazy.notes) if lazy is not None else [],
        }

    def release(self) -> None:
        """Free the memory of the loaded model; the next text loads it again. A wrapped model is kept."""
        with self._lock:
            if self._lazy is not None and self._runner is not None:
                self._runner = None
                collect()  # models are in reference cycles

    @property
    def settings(self) -> ModelSettings | None:
        """The settings that another process loads the same model by; None for a wrapped model."""
        return None if self._lazy is None else self._lazy.settings

    @property
    def _model(self) -> Any:
        return self._runner.model if self._runner is not None else None

    def _prompt(self, side: Side) -> PromptSpec:
        if side == "instructed queries":
            return self._prompt("queries")._replace(instruction=None)
        card, model = self._lazy.card if self._lazy is not None else None, self._model
        if side == "queries":
            if card is not None:
                return PromptSpec(side, card.query_instruction, card.query_instruction_format, card.query_max_length)
            instruction = getattr(model, "query_instruction_for_retrieval", None)
            template, length = getattr(model, "query_instruction_format", None), getattr(model, "query_max_length", None)
        else:
            if card is not None:
                return PromptSpec(side, card.passage_instruction, card.passage_instruction_format, card.passage_max_length)
            extra = getattr(model, "kwargs", None) or {}  # FlagEmbedding has no attribute for it
            instruction = extra.get("passage_instruction_for_retrieval")
            template, length = extra.get("passage_instruction_format"), getattr(model, "passage_max_length", None)
        return PromptSpec(side, instruction, template or "{}{}", length)

    def _loaded(self, on_progress: OnProgress | None) -> FlagModelRunner:
        with self._lock:
            if self._runner is None:
                assert self._lazy is not None  # one of the two is set by the constructor
                if on_progress is not None:
                    on_progress(0, 0, "loading the model")
                model = self._lazy.load()
                self._runner = FlagModelRunner(model, batch_size=self._batch_size, precision=self._lazy.precision)
            return self._runner


def with_instructions(queries: Sequence[str], instructions: Sequence[str | None], own: str | None, template: str) -> list[str]:
    """Return queries with an instruction each, by a model's template; None is the model's `own` instruction, "" is none."""
    template = template.replace("\\n", "\n")  # as FlagEmbedding reads it
    chosen = (own if each is None else each or None for each in instructions)
    return [text if each is None else template.format(each, text) for text, each in zip(queries, chosen, strict=True)]


def as_encoder(model: Any) -> Encoder:
    """Return `model` if it is an Encoder, else wrap it in a FlagEncoder."""
    return model if isinstance(model, Encoder) else FlagEncoder(model)
