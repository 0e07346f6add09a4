"""A model that is loaded when the first text needs it.

Importing torch and FlagEmbedding and reading the weights takes 5 to 10 s; a run whose vectors are all stored needs none of
it. `LazyModel` finds without torch everything that decides a vector: the weights' fingerprint (1.5 GB/s), the device and
the precision. Files that change before loading are an error, and so is a device that torch cannot use, so a new checkpoint
in the same folder is never taken for the old one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import msgspec

from hnmine.core.errors import ModelError, SettingsError
from hnmine.core.progress import OnProgress
from hnmine.models import cards, devices
from hnmine.models.cards import ModelSettings

__all__ = ["LazyModel", "lazy_embedder"]


class LazyModel:
    """A model that is loaded when it is first needed.

    Attributes:
        settings, card: the model as asked for, and as its folder says.
        weights_sha256: fingerprint of its files, taken when this object was made.
        devices: where it will run; the first of several decides the precision.
        precision: "fp32", "bf16" or "fp16".
        notes: what a user should know.
        announced: set once device or precision is part of a stored identity; a later change of them is an error.
    """

    def __init__(
        self, settings: Any, fetch: Callable[..., Any], make: Callable[[LazyModel], Any], *, on_progress: OnProgress | None = None
    ) -> None:
        """Fetch the model's files where needed, and take their fingerprint.

        Args:
            settings: ModelSettings or RerankerSettings.
            fetch: called with these and `on_note`, returns the card; the files are on this machine then.
            make: called with this object, loads the model.

        Raises:
            ModelError: the model or a device is not available.
            SettingsError: a device is unknown, or cannot compute in the precision asked for.
        """
        self.settings = settings
        wanted = settings.devices or (devices.default_device(),)
        for device in wanted:
            devices.check_device(device)
        self.devices = tuple("cpu" if device.startswith("cpu:") else device for device in wanted)
        self.card = fetch(settings, on_note=lambda note: on_progress(0, 0, note) if on_progress is not None else None)
        self.precision = self._precision()
        self.notes = list(self.card.notes)
        self.announced = False
        self._make = make
        self._mark = cards.mark(self.card.folder)
        self.weights_sha256 = cards.fingerprint(self.card.folder)

    def load(self) -> Any:
        """Import torch and FlagEmbedding, and return the loaded model.

        Raises:
            ModelError: it cannot be loaded, its files have changed, or a device is not available.
        """
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        devices.reproducible_products()
        import torch

        self._check_devices(torch)
        card = self.card
        failure: Exception | None = None
        model = None
        try:
            model = self._make(self)
        except Exception as error:  # noqa: BLE001  # raised below, unless the files changed meanwhile
            failure = error
        if cards.mark(card.folder) != self._mark:
            raise ModelError(f"the model in {card.folder} changed while it was loaded; run again when the folder is complete")
        if failure is not None:
            raise ModelError(
                f"cannot load model {card.name!r} in {card.folder} as {card.model_class}: {type(failure).__name__}: {failure}. "
                "Check the model class and that the folder is complete"
            ) from failure
        return model

    def _precision(self) -> str:
        device, wanted = self.devices[0], self.settings.precision
        if device == "cpu" and (self.card.model_class != "encoder-only-base" or len(self.devices) > 1):
            if wanted == "bf16":
                raise SettingsError(
                    f"precision bf16 on a CPU needs an encoder-only-base model on one device, not {self.card.model_class} on "
                    f"{' '.join(self.devices)}: FlagEmbedding computes in fp32 there; use auto or fp32"
                )
            wanted = "fp32" if wanted == "auto" else wanted
        return devices.precision_on(device, wanted)

    def _check_devices(self, torch: Any) -> None:
        """Check the devices with torch; the CPU replaces a default device that torch cannot use."""
        for device in self.devices:
            kind, _, index = device.partition(":")
            here = kind != "mps" or torch.backends.mps.is_available()
            if kind == "cuda":
                count = torch.cuda.device_count() if torch.cuda.is_available() else 0
                here = int(index or 0) < count
            if here:
                continue
            if self.settings.devices is not None:
                raise ModelError(f"device {device!r} is not available; set devices to cpu, or leave it out")
            self.devices = ("cpu",)
            self.precision = self._precision()
            self.notes.append(f"torch cannot use {device}, so the model runs on the CPU")
            if self.announced:
                raise ModelError(f"torch cannot use {device}, although the driver shows it; run again with devices set to cpu")


def lazy_embedder(settings: ModelSettings, *, on_progress: OnProgress | None = None) -> LazyModel:
    """Return the embedding model of `settings`, not yet loaded; raises as LazyModel, and SettingsError for unreadable examples."""
    _examples(settings.examples_for_task)
    return LazyModel(settings, cards.fetch, _load, on_progress=on_progress)


def _load(lazy: LazyModel) -> Any:
    """Load an embedding model with FlagEmbedding."""
    from FlagEmbedding import FlagAutoModel

    settings, card = lazy.settings, lazy.card
    arguments: dict[str, Any] = {
        "model_class": card.model_class,
        "normalize_embeddings": settings.normalize_embeddings,
        "pooling_method": card.pooling_method,
        "use_fp16": lazy.precision == "fp16",
        "use_bf16": lazy.precision == "bf16",
        "query_instruction_for_retrieval": card.query_instruction,
        "query_instruction_format": card.query_instruction_format,
        "devices": list(lazy.devices),
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
    return FlagAutoModel.from_finetuned(str(card.folder), **arguments)


def _examples(text: str | None) -> list[dict[str, str]] | None:
    """Parse `examples_for_task`: a JSON list of objects with `instruct`, `query` and `response`."""
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=list[dict[str, str]])
    except msgspec.DecodeError as error:
        raise SettingsError(
            f'examples_for_task is not valid JSON ({error}); write JSON such as [{{"instruct": "...", "query": "...", "response": "..."}}]'
        ) from error
