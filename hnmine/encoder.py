"""Texts to vectors, through FlagEmbedding.

`Encoder` is the plug point: three methods, and a test can be its own encoder. `FlagEncoder` puts any FlagEmbedding
model behind it, or any object with the same `encode_queries` / `encode_corpus` / `encode` (BGE-M3's dict answer
included).

An encoder-only model on one device is driven directly through FlagEmbedding's tokenizer, model and pooling: sorted by
length and batched to a budget of padded tokens, Cranfield takes 51 s instead of the 131 s of `FlagModel.encode` in
batches of 256 (2 cores, float32), and progress and cancelling come for free. Other classes go through FlagEmbedding's
own `encode`, in shards.

Batches are planned from the set of texts alone: by token length, then by text hash. The same set gives the same batches
and so the same bits, in whatever order the rows came.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.corpus import text_hash
from hnmine.errors import EncodeError, ModelError, SettingsError
from hnmine.models import ModelCard, ModelSettings, fingerprint, obtain
from hnmine.progress import OnProgress, ShouldStop, check

__all__ = ["Encoder", "FlagEncoder", "as_encoder"]

Vectors = npt.NDArray[np.float32]

# Padded tokens in one batch on a CPU: 2,048 / 4,096 / 16,384 took 30 / 28 / 39 s for Cranfield. A GPU wants more in flight.
TOKEN_BUDGET_CPU = 4_096
TOKEN_BUDGET_GPU = 65_536
# Texts tokenised, or handed to FlagEmbedding's own encode, at a time: bounds memory and the wait for a cancel.
TEXT_WINDOW = 4_096
SHARD_BATCHES = 8
# What a model may be asked by, best first.
_METHODS = {"queries": ("encode_queries", "encode"), "passages": ("encode_corpus", "encode")}


@runtime_checkable
class Encoder(Protocol):
    """Anything that turns queries and passages into vectors of one dimension d."""

    def encode_passages(
        self, texts: Sequence[str], *, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None
    ) -> Vectors:
        """Return (len(texts), d) float32, L2-normalised."""

    def encode_queries(
        self, texts: Sequence[str], *, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None
    ) -> Vectors:
        """Return (len(texts), d) float32, L2-normalised, with the model's query instruction applied."""

    def describe(self) -> dict[str, Any]:
        """Return what the manifest records: name, weights' fingerprint, pooling, lengths, instructions, device, precision."""


class FlagEncoder:
    """A FlagEmbedding model as an Encoder.

    One lock guards the model: Hugging Face's fast tokenizers fail when two threads use one ("Already borrowed").
    """

    def __init__(self, model: Any, *, card: ModelCard | None = None, batch_size: int | None = None) -> None:
        """Wrap a loaded model; `FlagEncoder.load` makes one from settings.

        Raises:
            SettingsError: the object has no method to encode queries, or passages.
        """
        if not all(any(callable(getattr(model, name, None)) for name in names) for names in _METHODS.values()):
            raise SettingsError(
                f"the model is a {type(model).__name__} without `encode`, or `encode_queries` and `encode_corpus`; "
                "hand over a FlagEmbedding model such as FlagModel(...)"
            )
        self.model = model
        self.card = card
        self.batch_size = batch_size
        self._lock = threading.Lock()
        self._fingerprint: str | None = None

    @classmethod
    def load(cls, settings: ModelSettings | None = None, *, on_progress: OnProgress | None = None) -> FlagEncoder:
        """Fetch (where needed) and load a model. The first call of a process also imports torch and FlagEmbedding, about 10 s.

        Raises:
            ModelError: the model cannot be had or loaded.
        """
        settings = settings or ModelSettings()

        def tell(note: str) -> None:
            if on_progress is not None:
                on_progress(0, 0, note)

        card = obtain(settings, on_note=tell)
        tell("loading the model")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        import torch
        from FlagEmbedding import FlagAutoModel

        devices = list(settings.devices or [_default_device(torch)])
        for device in devices:
            _check_device(torch, device)
        arguments: dict[str, Any] = {
            "model_class": card.model_class,
            "normalize_embeddings": settings.normalize_embeddings,
            "pooling_method": card.pooling_method,
            # On a CPU fp16 would only round the weights: FlagEmbedding computes in float32 there.
            "use_fp16": settings.use_fp16 and devices[0] != "cpu",
            "query_instruction_for_retrieval": card.query_instruction,
            "query_instruction_format": card.query_instruction_format,
            "devices": devices,
            "trust_remote_code": settings.trust_remote_code,
            "query_max_length": card.query_max_length,
            "passage_max_length": card.passage_max_length,
        }
        if card.passage_instruction is not None:
            arguments["passage_instruction_for_retrieval"] = card.passage_instruction
            arguments["passage_instruction_format"] = card.passage_instruction_format
        if settings.batch_size is not None:
            arguments["batch_size"] = settings.batch_size
        if card.model_class == "decoder-only-icl":
            arguments["examples_for_task"] = _examples(settings.examples_for_task)
            arguments["examples_instruction_format"] = settings.examples_instruction_format or "{}{}"
        try:
            model = FlagAutoModel.from_finetuned(str(card.folder), **arguments)
        except Exception as error:
            raise ModelError(
                f"the model {card.name!r} in {card.folder} cannot be loaded as {card.model_class}: {type(error).__name__}: {error}. "
                "Check the model class and that the folder is complete"
            ) from error
        return cls(model, card=card, batch_size=settings.batch_size)

    def encode_passages(
        self, texts: Sequence[str], *, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None
    ) -> Vectors:
        """Return (n, d) float32; L2-normalised unless the model was made with `normalize_embeddings=False`.

        Raises:
            EncodeError: the model's answer is no (n, d) array of finite numbers.
            Cancelled: `should_stop` said so; asked once a batch.
        """
        return self._encode(texts, "passages", on_progress, should_stop)

    def encode_queries(
        self, texts: Sequence[str], *, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None
    ) -> Vectors:
        """As `encode_passages`, with the query instruction and the query's maximum length."""
        return self._encode(texts, "queries", on_progress, should_stop)

    def describe(self) -> dict[str, Any]:
        """Return name, class, fingerprint of the weights, pooling, lengths, instructions, device and precision."""
        model = self.model
        devices = [str(device) for device in getattr(model, "target_devices", None) or []]
        if self._fingerprint is None and self.card is not None and self.card.folder is not None:
            self._fingerprint = fingerprint(self.card.folder)
        return {
            "name": self.card.name if self.card else str(getattr(model, "model_name_or_path", type(model).__name__)),
            "weights_sha256": self._fingerprint,
            "class": type(model).__name__,
            "pooling_method": getattr(model, "pooling_method", None),
            "query_max_length": getattr(model, "query_max_length", None),
            "passage_max_length": getattr(model, "passage_max_length", None),
            "query_instruction": getattr(model, "query_instruction_for_retrieval", None),
            "query_instruction_format": getattr(model, "query_instruction_format", None),
            "passage_instruction": self._passage_instruction()[0],
            "passage_instruction_format": self._passage_instruction()[1],
            "devices": devices,
            "precision": "float16" if getattr(model, "use_fp16", False) and devices[:1] != ["cpu"] else "float32",
            "notes": list(self.card.notes) if self.card else [],
        }

    def _passage_instruction(self) -> tuple[str | None, str]:
        extra = getattr(self.model, "kwargs", None) or {}
        return extra.get("passage_instruction_for_retrieval"), extra.get("passage_instruction_format") or "{}{}"

    def _encode(self, texts: Sequence[str], side: str, on_progress: OnProgress | None, should_stop: ShouldStop | None) -> Vectors:
        if not len(texts):  # FlagEmbedding's own answer to nothing is an AttributeError
            return np.zeros((0, 0), dtype=np.float32)
        check(should_stop)
        if _is_plain_encoder(self.model):
            vectors = self._encode_directly(texts, side, on_progress, should_stop)
        else:
            vectors = self._encode_in_shards(texts, side, on_progress, should_stop)
        if not np.isfinite(vectors).all():
            bad = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
            raise EncodeError(
                f"the model gave NaN or infinity for {side[:-1]} {texts[bad][:80]!r}; try float32 (--use_fp16 false), or check the weights"
            )
        if getattr(self.model, "normalize_embeddings", True):
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors /= np.where(lengths > 0, lengths, 1)
        return vectors

    def _encode_directly(self, texts: Sequence[str], side: str, on_progress: OnProgress | None, should_stop: ShouldStop | None) -> Vectors:
        """Drive tokenizer, model and pooling in batches of a token budget, longest texts first."""
        import torch
        from FlagEmbedding.utils.tokenizer_compat import pad_with_compat

        model, device = self.model, self.model.target_devices[0]
        if side == "queries":
            instruction, template, max_length = (
                model.query_instruction_for_retrieval,
                model.query_instruction_format,
                model.query_max_length,
            )
        else:
            (instruction, template), max_length = self._passage_instruction(), model.passage_max_length
        if instruction is not None:
            texts = [model.get_detailed_instruct(template, instruction, text) for text in texts]

        total, note = len(texts), f"tokenising {side}"
        # Only the ids are kept, 4 bytes a token: the tokenizer's own lists take ten times that. Masks are made when a batch is padded.
        tokens: list[npt.NDArray[np.int32]] = []
        for start in range(0, total, TEXT_WINDOW):
            check(should_stop)
            with self._lock:
                batch = model.tokenizer(list(texts[start : start + TEXT_WINDOW]), truncation=True, max_length=max_length)
            tokens += [np.array(ids, dtype=np.int32) for ids in batch["input_ids"]]
        lengths = np.fromiter((len(ids) for ids in tokens), np.int64, total)
        hashes = np.fromiter((text_hash(text) for text in texts), np.uint64, total)
        order = np.lexsort((hashes, -lengths))

        budget = TOKEN_BUDGET_CPU if device == "cpu" else TOKEN_BUDGET_GPU
        note = f"encoding {side}"
        vectors: Vectors | None = None
        with self._lock, torch.inference_mode():
            if device == "cpu":
                model.model.float()
            model.model.to(device)
            model.model.eval()
        done = 0
        while done < total:
            check(should_stop)
            size = max(1, budget // int(lengths[order[done]]))
            if self.batch_size is not None:
                size = min(size, self.batch_size)
            chosen = order[done : done + size]
            with self._lock, torch.inference_mode():
                batch = [{"input_ids": tokens[i].tolist()} for i in chosen]
                inputs = pad_with_compat(model.tokenizer, batch, padding=True, return_tensors="pt").to(device)
                hidden = model.model(**inputs, return_dict=True).last_hidden_state
                pooled = model.pooling(hidden, inputs["attention_mask"])
                pooled = model._truncate_embeddings(pooled).float().cpu().numpy()
            if vectors is None:
                vectors = np.empty((total, pooled.shape[1]), dtype=np.float32)
            vectors[chosen] = pooled
            done += len(chosen)
            if on_progress is not None:
                on_progress(done, total, note)
        assert vectors is not None  # total > 0
        return vectors

    def _encode_in_shards(self, texts: Sequence[str], side: str, on_progress: OnProgress | None, should_stop: ShouldStop | None) -> Vectors:
        """Hand shards, sorted by length, to the model's own encode."""
        model = self.model
        encode = next(method for name in _METHODS[side] if callable(method := getattr(model, name, None)))
        order = sorted(range(len(texts)), key=lambda i: (-len(texts[i]), text_hash(texts[i])))
        batch = self.batch_size or getattr(model, "batch_size", None) or 256
        devices = getattr(model, "target_devices", None) or [None]
        shard = int(batch) * SHARD_BATCHES * len(devices)
        vectors: Vectors | None = None
        for start in range(0, len(order), shard):
            check(should_stop)
            chosen = order[start : start + shard]
            with self._lock:
                part = _as_array(encode([texts[i] for i in chosen]), len(chosen), type(model).__name__)
            if vectors is None:
                vectors = np.empty((len(texts), part.shape[1]), dtype=np.float32)
            elif part.shape[1] != vectors.shape[1]:
                raise EncodeError(f"the model gave vectors of {vectors.shape[1]} and of {part.shape[1]} dimensions")
            vectors[chosen] = part
            if on_progress is not None:
                on_progress(min(start + shard, len(order)), len(order), f"encoding {side}")
        assert vectors is not None  # there is at least one text
        return vectors


def as_encoder(model: Any) -> Encoder:
    """Return `model` as an Encoder: as it is when it is one, else behind a FlagEncoder."""
    return model if isinstance(model, Encoder) else FlagEncoder(model)


def _as_array(answer: Any, count: int, name: str) -> Vectors:
    """Return what a model's encode answered (array, tensor, BGE-M3's dict) as (count, d) float32."""
    if isinstance(answer, dict):
        if answer.get("dense_vecs") is None:
            raise EncodeError(f"{name}.encode answered a dict without `dense_vecs` (it has {', '.join(answer)}); ask it for dense vectors")
        answer = answer["dense_vecs"]
    if hasattr(answer, "detach"):  # a tensor; bfloat16 has no .numpy()
        answer = answer.detach().float().cpu().numpy()
    try:
        vectors = np.array(answer, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise EncodeError(f"{name}.encode answered a {type(answer).__name__} that is no array of numbers ({error})") from error
    if vectors.ndim != 2 or len(vectors) != count or not vectors.shape[1]:
        raise EncodeError(f"{name}.encode answered an array of shape {vectors.shape} for {count} texts; (texts, dimension) is needed")
    return vectors


def _is_plain_encoder(model: Any) -> bool:
    """Whether FlagEmbedding's plain encoder-only class, on one device, whose parts can be driven directly."""
    module = sys.modules.get("FlagEmbedding.inference.embedder.encoder_only.base")  # if it is not imported, this is none of its objects
    return module is not None and type(model) is module.BaseEmbedder and len(model.target_devices) == 1


def _examples(text: str | None) -> list[dict[str, str]] | None:
    """Parse `--examples_for_task`: a JSON list of objects with `instruct`, `query` and `response`."""
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=list[dict[str, str]])
    except msgspec.DecodeError as error:
        raise SettingsError(
            f'examples_for_task is not readable ({error}); write JSON such as [{{"instruct": "...", "query": "...", "response": "..."}}]'
        ) from error


def _default_device(torch: Any) -> str:
    if torch.cuda.is_available():
        return "cuda:0"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _check_device(torch: Any, device: str) -> None:
    kind, _, index = device.partition(":")
    if kind == "cuda":
        count = torch.cuda.device_count()
        if int(index or 0) >= count:
            raise ModelError(f"device {device!r} is not here ({count} CUDA devices found); use --devices cpu, or leave it out")
    elif kind not in ("cpu", "mps", "npu", "musa", "xpu"):
        raise SettingsError(f"device {device!r} is unknown; write cpu, cuda:0, cuda:1, ... or mps")
