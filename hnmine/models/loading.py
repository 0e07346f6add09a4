"""A model that is loaded when the first text needs it, and known before that.

Importing torch and FlagEmbedding and reading the weights takes 5 to 10 s; a run whose vectors are all stored needs none of it. So
`Loader` settles at once, without torch, everything that decides a vector: the weights' fingerprint (1.5 GB/s), the
device and the precision. What is loaded later must be what was told: files that changed in between are an error, and so
is a device that torch cannot use after all. A new checkpoint in the same folder can therefore never pass for the old one.

`Loading` is what this has in common with rerankers (`crossencoder`).
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from hnmine.core.errors import ModelError, SettingsError
from hnmine.core.progress import OnProgress
from hnmine.models import cards, devices
from hnmine.models.cards import ModelCard, ModelSettings, Precision

__all__ = ["Loader", "Loading"]


class _Settings(Protocol):
    @property
    def devices(self) -> tuple[str, ...] | None: ...
    @property
    def precision(self) -> Precision: ...


class _Card(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def folder(self) -> Path | None: ...
    @property
    def model_class(self) -> str: ...
    @property
    def notes(self) -> tuple[str, ...]: ...


S = TypeVar("S", bound=_Settings)
C = TypeVar("C", bound=_Card)


class Loading(ABC, Generic[S, C]):
    """What is to be loaded, and how.

    Attributes:
        settings, card: the model as asked for, and as its folder says.
        weights_sha256: fingerprint of its files, taken when this object was made.
        devices: where it will run; the first of several decides the precision.
        precision: "fp32", "bf16" or "fp16".
        notes: what a user should know.
        told: set by those who told device or precision to somebody; from then on neither changes silently.
    """

    def __init__(self, settings: S, *, on_progress: OnProgress | None = None) -> None:
        """Fetch the model's files where needed, and take their fingerprint.

        Raises:
            ModelError: the model cannot be had, or a device is not here.
            SettingsError: a device is unknown, or cannot compute in the precision asked for.
        """
        self.settings = settings
        wanted = settings.devices or (devices.default_device(),)
        for device in wanted:
            devices.check_device(device)
        self.devices = tuple("cpu" if device.startswith("cpu:") else device for device in wanted)
        self.card = self._obtain(lambda note: on_progress(0, 0, note) if on_progress is not None else None)
        assert self.card.folder is not None  # obtained
        self.precision = self._precision()
        self.notes = list(self.card.notes)
        self.told = False
        self._mark = cards.mark(self.card.folder)
        self.weights_sha256 = cards.fingerprint(self.card.folder)

    @abstractmethod
    def _obtain(self, on_note: Callable[[str], None]) -> C:
        """Return the card of the model, whose files are on this machine then."""

    @abstractmethod
    def _made(self) -> Any:
        """Have FlagEmbedding load the model."""

    def load(self) -> Any:
        """Import torch and FlagEmbedding, and return the loaded model.

        Raises:
            ModelError: it cannot be loaded, its files have changed, or a device is not here.
        """
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        import torch

        self._check_devices(torch)
        card = self.card
        assert card.folder is not None
        failure: Exception | None = None
        model = None
        try:
            model = self._made()
        except Exception as error:  # noqa: BLE001  # raised below, once it is known whether the files held still
            failure = error
        if cards.mark(card.folder) != self._mark:
            raise ModelError(f"the model in {card.folder} changed while it was loaded; run again, when whoever writes there has finished")
        if failure is not None:
            raise ModelError(
                f"the model {card.name!r} in {card.folder} cannot be loaded as {card.model_class}: {type(failure).__name__}: {failure}. "
                "Check the model class and that the folder is complete"
            ) from failure
        return model

    def _precision(self) -> str:
        device, wanted = self.devices[0], self.settings.precision
        if device == "cpu" and (self.card.model_class != "encoder-only-base" or len(self.devices) > 1):
            if wanted == "bf16":
                raise SettingsError(
                    f"precision bf16 on a CPU is for encoder-only-base models on one device, not for {self.card.model_class} on "
                    f"{' '.join(self.devices)}: FlagEmbedding computes in fp32 there; use auto or fp32"
                )
            wanted = "fp32" if wanted == "auto" else wanted
        return devices.precision_on(device, wanted)

    def _check_devices(self, torch: Any) -> None:
        """Hold the devices against what torch says; one that nobody named gives way to the CPU."""
        for device in self.devices:
            kind, _, index = device.partition(":")
            here = kind != "mps" or torch.backends.mps.is_available()
            if kind == "cuda":
                count = torch.cuda.device_count() if torch.cuda.is_available() else 0
                here = int(index or 0) < count
            if here:
                continue
            if self.settings.devices is not None:
                raise ModelError(f"device {device!r} is not here, says torch; use --devices cpu, or leave it out")
            self.devices = ("cpu",)
            self.precision = self._precision()
            self.notes.append(f"torch cannot use {device}, so the model runs on the CPU")
            if self.told:
                raise ModelError(f"torch cannot use {device}, which the driver shows; run again with --devices cpu")


class Loader(Loading[ModelSettings, ModelCard]):
    """An embedding model that is to be loaded."""

    def __init__(self, settings: ModelSettings, *, on_progress: OnProgress | None = None) -> None:
        """Fetch the model's files where needed, and take their fingerprint; see `Loading`."""
        super().__init__(settings, on_progress=on_progress)
        self._examples = _examples(settings.examples_for_task)

    def _obtain(self, on_note: Callable[[str], None]) -> ModelCard:
        return cards.obtain(self.settings, on_note=on_note)

    def _made(self) -> Any:
        from FlagEmbedding import FlagAutoModel

        settings, card = self.settings, self.card
        arguments: dict[str, Any] = {
            "model_class": card.model_class,
            "normalize_embeddings": settings.normalize_embeddings,
            "pooling_method": card.pooling_method,
            "use_fp16": self.precision == "fp16",
            "use_bf16": self.precision == "bf16",
            "query_instruction_for_retrieval": card.query_instruction,
            "query_instruction_format": card.query_instruction_format,
            "devices": list(self.devices),
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
            arguments["examples_for_task"] = self._examples
            arguments["examples_instruction_format"] = settings.examples_instruction_format or "{}{}"
        return FlagAutoModel.from_finetuned(str(card.folder), **arguments)


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
