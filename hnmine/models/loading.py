"""Devices, precision, and models that are loaded when the first text needs them.

Importing torch and transformers and reading the weights takes 4 to 10 s, and a run with stored vectors needs none of it. So `LazyModel`
finds without torch everything that decides a vector: the fingerprint of the weights, the device and the precision (fp16 on CUDA, bf16 on
a CPU with bf16 instructions, else fp32). Files that change before loading, and a device torch cannot use, are errors.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from hnmine.core.errors import ModelError, SettingsError
from hnmine.core.progress import OnProgress
from hnmine.models import cards
from hnmine.models.cards import ModelSettings

__all__ = [
    "POOLING_METHODS",
    "EncoderOnly",
    "LazyModel",
    "check_device",
    "cpu_flags",
    "default_device",
    "gpu_here",
    "in_words",
    "lazy_embedder",
    "pooled",
    "precision_on",
    "reproducible_products",
]


POOLING_METHODS = ("cls", "mean")


@dataclass(slots=True, kw_only=True, eq=False, weakref_slot=True)
class EncoderOnly:
    """A tokenizer and a model of transformers, and how their output becomes a vector.

    Attributes:
        pooling_method: one of POOLING_METHODS.
        normalize_embeddings: whether vectors are scaled to length 1.
        target_devices: one device, such as "cpu".
    """

    model_name_or_path: str
    tokenizer: Any
    model: Any
    pooling_method: str
    normalize_embeddings: bool
    target_devices: list[str]

    @classmethod
    def load(
        cls, folder: str, *, pooling_method: str, normalize_embeddings: bool, device: str, precision: str, trust_remote_code: bool
    ) -> EncoderOnly:
        """Load a model folder in a precision: "fp32", "bf16" or "fp16"."""
        import torch
        from transformers import AutoModel, AutoTokenizer

        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        return cls(
            model_name_or_path=folder,
            tokenizer=AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code),
            model=AutoModel.from_pretrained(folder, trust_remote_code=trust_remote_code, dtype=dtype),
            pooling_method=pooling_method,
            normalize_embeddings=normalize_embeddings,
            target_devices=[device],
        )


def pooled(hidden: Any, mask: Any, method: str) -> Any:
    """Return one vector a text, (b, d), of the last hidden states (b, length, d) and the mask (b, length); as FlagEmbedding.

    Raises:
        ValueError: the pooling method is not one of POOLING_METHODS.
    """
    if method == "cls":
        return hidden[:, 0]
    if method == "mean":
        return (hidden * mask.unsqueeze(-1).float()).sum(dim=1) / mask.sum(dim=1, keepdim=True).float()
    raise ValueError(f"pooling method {method!r} is not one of {', '.join(POOLING_METHODS)}")


_KINDS = ("cpu", "cuda", "mps", "npu", "musa", "xpu")
# The driver of Linux, and of Linux inside Windows.
_DRIVER = (Path("/dev/nvidia0"), Path("/proc/driver/nvidia/gpus"), Path("/usr/lib/wsl/lib/libcuda.so.1"))
_CPU = Path("/proc/cpuinfo")


def gpu_here() -> bool:
    """Return whether the driver shows an NVIDIA device; torch and FAISS check again when they load."""
    return any(path.exists() for path in _DRIVER)


def torch_has_cuda() -> bool:
    """Return whether the installed torch was built for CUDA (or ROCm, which torch also calls cuda)."""
    spec = importlib.util.find_spec("torch")
    try:
        text = (Path(spec.origin).parent / "version.py").read_text("utf-8") if spec is not None and spec.origin else ""
    except OSError:
        return False
    return re.search(r"^(cuda|hip)\b[^=\n]*=\s*['\"]", text, re.MULTILINE) is not None


def default_device() -> str:
    """Return the default device: "cuda:0", "mps" or "cpu"."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1")
    if gpu_here() and torch_has_cuda() and not hidden:
        return "cuda:0"
    return "mps" if platform.system() == "Darwin" and platform.machine() == "arm64" else "cpu"


def check_device(device: str) -> None:
    """Check that torch can use a device.

    Raises:
        SettingsError: the type of device is unknown.
        ModelError: it is a CUDA device, and torch is installed without CUDA.
    """
    kind = device.partition(":")[0]
    if kind not in _KINDS:
        raise SettingsError(f"device {device!r} is unknown; write cpu, cuda:0, cuda:1, ... or mps")
    if kind == "cuda" and not torch_has_cuda():
        raise ModelError(f"device {device!r} is not available: torch is installed without CUDA; set devices to cpu, or leave it out")


def precision_on(device: str, wanted: str = "auto") -> str:
    """Return the precision on a device: "fp32", "bf16" or "fp16".

    Raises:
        SettingsError: fp16 on a CPU, or bf16 on a CPU without bf16 instructions.
    """
    kind = device.partition(":")[0]
    if wanted == "fp16" and kind == "cpu":
        raise SettingsError("precision fp16 needs a GPU, and the model runs on the CPU; use auto or fp32")
    if wanted == "bf16" and kind == "cpu" and not _cpu_has_bf16():
        # Emulated bf16 is slower than fp32, and its bits depend on the other texts of the batch.
        raise SettingsError(
            "precision bf16 needs a CPU with bf16 instructions (avx512_bf16 or amx_bf16), which this CPU does not have; use auto or fp32"
        )
    if wanted != "auto":
        return wanted
    if kind == "cuda":
        return "fp16"
    return "bf16" if kind == "cpu" and _cpu_has_bf16() else "fp32"


def in_words(precision: str = "auto") -> str:
    """Return a sentence with the device and precision of encoding and searching, and the reason.

    Raises:
        SettingsError: the CPU does not support the precision; see `precision_on`.
    """
    device = default_device()
    if device == "cuda:0":
        return f"GPU cuda:0, {precision_on(device, precision)} (NVIDIA device found)"
    if device == "mps":
        return "Apple GPU for encoding, CPU for searching"
    reason = "torch is installed without CUDA" if gpu_here() and not torch_has_cuda() else "no NVIDIA device found"
    return f"CPU, {os.cpu_count() or 1} cores, {precision_on(device, precision)} ({reason})"


def reproducible_products() -> None:
    """Make the float32 products of Intel's MKL independent of threads and rows; call it before the first product.

    By default MKL divides long sums among threads depending on the rows. The speed is the same; a user's setting is kept.
    """
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")


def cpu_flags() -> frozenset[str]:
    """Return the processor flags on Linux, else an empty set."""
    try:
        with _CPU.open(encoding="utf-8", errors="replace") as lines:
            return frozenset(next((line for line in lines if line.startswith("flags")), "").split())
    except OSError:  # not Linux
        return frozenset()


def _cpu_has_bf16() -> bool:
    return not cpu_flags().isdisjoint({"avx512_bf16", "amx_bf16"})


class LazyModel:
    """A model that is loaded on first use.

    Attributes:
        settings, card: the requested model, and its resolved settings.
        weights_sha256: fingerprint of its files, computed in the constructor.
        devices: the devices; the first one decides the precision.
        precision: "fp32", "bf16" or "fp16".
        notes: messages for the user.
        identity_used: True once device and precision are part of a stored identity; a later change of them is an error.
    """

    def __init__(
        self, settings: Any, fetch: Callable[..., Any], make: Callable[[LazyModel], Any], *, on_progress: OnProgress | None = None
    ) -> None:
        """Download the model's files by `fetch`, which returns the card, and compute their fingerprint; `make` loads the model later.

        Raises:
            ModelError: the model or a device is not available.
            SettingsError: a device is unknown, or does not support the precision.
        """
        self.settings = settings
        wanted = settings.devices or (default_device(),)
        for device in wanted:
            check_device(device)
        self.devices = tuple("cpu" if device.startswith("cpu:") else device for device in wanted)
        self.card = fetch(settings, on_note=lambda note: on_progress(0, 0, note) if on_progress is not None else None)
        self.precision = self._precision()
        self.notes = list(self.card.notes)
        self.identity_used = False
        self._make = make
        self._signature = cards.folder_signature(self.card.folder)
        self.weights_sha256 = cards.fingerprint(self.card.folder)

    def load(self) -> Any:
        """Import torch and the model's library, and return the loaded model.

        Raises:
            ModelError: it cannot be loaded, its files have changed, or a device is not available.
        """
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        reproducible_products()
        import torch

        self._check_devices(torch)
        card, model, failure = self.card, None, None
        try:
            model = self._make(self)
        except Exception as error:  # noqa: BLE001  # raised below, unless the files changed in the meantime
            failure = error
        if cards.folder_signature(card.folder) != self._signature:
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
        return precision_on(device, wanted)

    def _check_devices(self, torch: Any) -> None:
        """Check the devices with torch; a default device that torch cannot use is replaced by the CPU."""
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
            if self.identity_used:
                raise ModelError(f"torch cannot use {device}, although the driver lists it; run again with devices set to cpu")


def lazy_embedder(settings: ModelSettings, *, on_progress: OnProgress | None = None) -> LazyModel:
    """Return the embedding model of `settings`, not yet loaded; raises as LazyModel.

    Raises:
        SettingsError: also for invalid examples, and a pooling method that the class of model does not have.
    """
    _examples(settings.examples_for_task)
    lazy = LazyModel(settings, cards.fetch, _load, on_progress=on_progress)
    card = lazy.card
    if card.model_class == "encoder-only-base" and card.pooling_method not in POOLING_METHODS:
        raise SettingsError(
            f"pooling_method {card.pooling_method} ({card.origins['pooling_method']}) is for decoder-only models, and {card.name!r} is of "
            f"class {card.model_class}; set pooling_method to {' or '.join(POOLING_METHODS)}, or the model class to decoder-only-base"
        )
    return lazy


def _load(lazy: LazyModel) -> Any:
    """Load an embedding model: an encoder-only one for one device with transformers, others with FlagEmbedding."""
    settings, card = lazy.settings, lazy.card
    if card.model_class == "encoder-only-base" and len(lazy.devices) == 1:
        return EncoderOnly.load(
            str(card.folder),
            pooling_method=card.pooling_method,
            normalize_embeddings=settings.normalize_embeddings,
            device=lazy.devices[0],
            precision=lazy.precision,
            trust_remote_code=settings.trust_remote_code,
        )
    from FlagEmbedding import FlagAutoModel

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
