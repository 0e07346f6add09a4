"""Encoder-only models (BERT and its kind), loaded by transformers alone, with FlagEmbedding's pooling.

FlagEmbedding's `BaseEmbedder` loads the same tokenizer and the same model, but its import pulls in decoders, rerankers and
`datasets`: a third of the time until the first text. `EncoderOnly` has the attributes of that class which decide a vector,
under the same names, so both run the same way and give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["POOLING_METHODS", "EncoderOnly", "pooled"]

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
