"""hnmine: mine hard negatives for text-embedding models, and see every one of them.

`from hnmine import find_knn_neg` is the library in one call; everything heavy (torch, FAISS, FlagEmbedding) loads when
it is first needed, so the import itself stays under 0.2 s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hnmine.core.errors import HnmineError
    from hnmine.models.cards import ModelSettings
    from hnmine.models.encoder import Encoder, FlagEncoder
    from hnmine.models.reranker import RerankerSettings
    from hnmine.runs.find_knn_neg import find_knn_neg
    from hnmine.runs.summary import Summary
    from hnmine.selection.settings import SelectionSettings

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
    "Encoder": "models.encoder",
    "FlagEncoder": "models.encoder",
    "HnmineError": "core.errors",
    "ModelSettings": "models.cards",
    "RerankerSettings": "models.reranker",
    "SelectionSettings": "selection.settings",
    "Summary": "runs.summary",
    "find_knn_neg": "runs.find_knn_neg",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(f"hnmine.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'hnmine' has no attribute {name!r}")
