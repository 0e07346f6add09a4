"""Rerankers: the plug point, their settings, and what is known about one before it is loaded.

The folder is checked before the weights load, because transformers would give an embedding model a random head. Nothing here
imports torch or FlagEmbedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.core.errors import ModelError, SettingsError
from hnmine.core.progress import OnProgress, ShouldStop
from hnmine.models import cards, hub
from hnmine.models.cards import PRECISIONS, Precision
from hnmine.models.served.server import Server

__all__ = [
    "RERANKER_CLASSES",
    "Pair",
    "Places",
    "Reranker",
    "RerankerCard",
    "RerankerSettings",
    "Scores",
    "describe",
    "fetch",
    "files_signature",
]

RerankerClass = Literal["encoder-only-base", "decoder-only-base"]
RERANKER_CLASSES: tuple[RerankerClass, ...] = get_args(RerankerClass)

Pair = tuple[str, str]
Places = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]

# FlagEmbedding's classes for these do not run with transformers 5: they override parts that were removed.
_UNSUPPORTED = ("decoder-only-layerwise", "decoder-only-lightweight")
_UNSUPPORTED_MODELS = ("bge-reranker-v2-minicpm-layerwise", "bge-reranker-v2.5-gemma2-lightweight")
_UNSUPPORTED_ARCHITECTURES = ("LayerWise", "CostWise")
_DECODERS = ("bge-reranker-v2-gemma",)
_INSTEAD = "give the folder or hub name of a cross-encoder, such as BAAI/bge-reranker-v2-m3"
# FlagEmbedding's defaults; a query has at most three quarters of the maximum length.
_MAX_LENGTH, _MIN_LENGTH = 512, 32


class RerankerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The reranker and its settings. None: the value in the model folder, else FlagEmbedding's default.

    Attributes:
        name_or_path: hub name or folder of a cross-encoder.
        model_class: FlagEmbedding's class of reranker; one of RERANKER_CLASSES.
        depth: the number of candidates scored for each query, from rank 0; None is the end of the rank window.
        max_length: tokens of a pair, at least 32; passages are truncated, and queries at three quarters of it.
        query_instruction, passage_instruction: prepended unchanged to each query or passage.
        precision: "fp32", "fp16" (GPUs only), "bf16" (on a CPU only with bf16 instructions), or "auto": the fastest that the
            device supports in hardware.
        devices: such as ("cuda:0",); None takes the first GPU, else the CPU. Several start FlagEmbedding's process pool.
        trust_remote_code: run code from the model folder; only for models of authors you trust.
        cache_dir: the folder of downloaded hub models; None is the hub's default.
        batch_size: most pairs in one batch; None for no limit but the token budget.
        server: where a served reranker answers, which `name_or_path` names as the server does; None loads it here.
    """

    name_or_path: str
    model_class: str | None = None
    depth: int | None = None
    max_length: int | None = None
    query_instruction: str | None = None
    passage_instruction: str | None = None
    precision: Precision = "auto"
    devices: tuple[str, ...] | None = None
    trust_remote_code: bool = False
    cache_dir: str | None = None
    batch_size: int | None = None
    server: Server | None = None

    def __post_init__(self) -> None:
        if not self.name_or_path.strip():
            raise SettingsError(f"the reranker's name is empty; {_INSTEAD}, or leave the reranker out")
        if self.model_class in _UNSUPPORTED or cards.base_name(self.name_or_path) in _UNSUPPORTED_MODELS:
            raise SettingsError(
                f"the reranker {self.name_or_path!r} is a layerwise or lightweight reranker of FlagEmbedding, which does not run with "
                "transformers 5; use bge-reranker-v2-m3 or bge-reranker-v2-gemma"
            )
        if self.model_class is not None and self.model_class not in RERANKER_CLASSES:
            raise SettingsError(f"reranker class {self.model_class!r} is unknown; choose one of: {', '.join(RERANKER_CLASSES)}")
        if self.precision not in PRECISIONS:
            raise SettingsError(f"precision {self.precision!r} is unknown; choose one of: {', '.join(PRECISIONS)}")
        for name, least in (("depth", 1), ("max_length", _MIN_LENGTH), ("batch_size", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise SettingsError(f"the reranker's {name} is {value}; it must be at least {least}")


@runtime_checkable
class Reranker(Protocol):
    """An object that scores pairs of a query and a passage; a higher score means more relevant."""

    def score(
        self, pairs: Sequence[Pair], *, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None
    ) -> Iterator[tuple[Places, Scores]]:
        """Yield (places (b,) int64 into `pairs`, raw logits (b,) float32), each pair exactly once, in any order."""

    def identity(self) -> str | None:
        """Return canonical JSON that identifies the scores, or None if they must not be stored."""

    def describe(self) -> dict[str, Any]:
        """Return the manifest's record: name, fingerprint of the weights, length, instructions, device, precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankerCard:
    """The settings of a reranker as they will be used; `folder` is None if a hub model is not downloaded yet."""

    name: str
    folder: Path | None
    model_class: str
    max_length: int
    notes: tuple[str, ...] = ()


def _card(settings: RerankerSettings, folder: Path | None) -> RerankerCard:
    name = settings.name_or_path
    model_class: str = "decoder-only-base" if cards.base_name(name) in _DECODERS else "encoder-only-base"
    length = _MAX_LENGTH
    if folder is not None:
        config = hub.read_json(folder / "config.json")
        architectures = [str(each) for each in config.get("architectures") or ()]
        if any(each.startswith(_UNSUPPORTED_ARCHITECTURES) for each in architectures):
            raise ModelError(f"{folder} has a {architectures[0]}, which does not run with transformers 5; {_INSTEAD}")
        if any(each.endswith("ForCausalLM") for each in architectures):
            model_class = "decoder-only-base"
        wanted = settings.model_class or model_class
        ending = "ForSequenceClassification" if wanted == "encoder-only-base" else "ForCausalLM"
        if architectures and not any(each.endswith(ending) for each in architectures):
            raise ModelError(f"{folder} has a {architectures[0]}, but class {wanted} needs a {ending}; {_INSTEAD}, or check the class")
        labels = config.get("num_labels") or len(config.get("id2label") or ())  # without both, the first output is checked
        if wanted == "encoder-only-base" and labels not in (0, 1):
            raise ModelError(f"the model in {folder} returns {labels} scores per pair; a reranker returns one; {_INSTEAD}")
        positions = config.get("max_position_embeddings")
        if wanted == "encoder-only-base" and isinstance(positions, int):
            length = min(length, positions)
    return RerankerCard(name=name, folder=folder, model_class=settings.model_class or model_class, max_length=settings.max_length or length)


def describe(settings: RerankerSettings) -> RerankerCard:
    """Return the card of a reranker from local files, without downloading or loading it.

    Raises:
        ModelError: the folder does not exist, or is not that of a reranker.
    """
    return _card(settings, None if settings.server is not None else cards.local_folder(settings.name_or_path, _INSTEAD))


def fetch(settings: RerankerSettings, *, on_note: Callable[[str], None] | None = None) -> RerankerCard:
    """Return the card of a reranker, downloading its files from the hub if needed, as `cards.fetch`.

    Raises:
        ModelError: no such folder, no such hub model, no network (within 30 seconds), or the model is not a reranker.
    """
    folder = cards.local_folder(settings.name_or_path, _INSTEAD)
    if folder is None:
        instead = "or give the folder of the reranker, or mine without one"
        folder = hub.snapshot(settings.name_or_path, cache_dir=settings.cache_dir, on_note=on_note, instead=instead)
    return _card(settings, folder)


def files_signature(settings: RerankerSettings) -> str:
    """Return a signature of the files of a local reranker; see `cards.files_signature`."""
    folder = describe(settings).folder
    return "" if folder is None else cards.folder_signature(folder)
