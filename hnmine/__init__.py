"""hnmine: mine hard negatives for text-embedding models, and see every one of them.

`from hnmine import find_knn_neg` is the library in one call; everything heavy (torch, FAISS, FlagEmbedding) loads when
it is first needed, so the import itself stays under 0.2 s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hnmine.criteria import SelectionSettings
    from hnmine.drop_in import find_knn_neg
    from hnmine.encoder import Encoder, FlagEncoder
    from hnmine.errors import HnmineError
    from hnmine.models import ModelSettings
    from hnmine.reranker import RerankerSettings
    from hnmine.summary import Summary

__all__ = [
    "Encoder",
    "FlagEncoder",
    "HnmineError",
    "ModelSettings",
    "RerankerSettings",
    "SelectionSettings",
    "Summary",
    "__version__",
    "find_knn_neg",
]

__version__ = "0.1.0"

_HOMES = {
    "Encoder": "encoder",
    "FlagEncoder": "encoder",
    "HnmineError": "errors",
    "ModelSettings": "models",
    "RerankerSettings": "reranker",
    "SelectionSettings": "criteria",
    "Summary": "summary",
    "find_knn_neg": "drop_in",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(f"hnmine.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'hnmine' has no attribute {name!r}")
