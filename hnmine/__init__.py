"""hnmine: mine hard negatives for text-embedding models, and see every one of them.

`read`, `rank`, `Ranking.select`, `Selection.write` are the library, `find_knn_neg` is FlagEmbedding's function. A name is imported when
it is first used, and torch, FAISS and FlagEmbedding later still, so `import hnmine` takes less than 0.2 s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hnmine.api.dataset import Dataset, check, read, repair
    from hnmine.api.ranking import Ranking, rank
    from hnmine.api.selection import Selection
    from hnmine.cluster.settings import ClusterSettings
    from hnmine.core.errors import (
        Cancelled,
        ClusterError,
        ColumnsError,
        EncodeError,
        EncodingError,
        HnmineError,
        InputError,
        LabelsError,
        LimitError,
        ModelError,
        OutputError,
        QuestionError,
        SettingsError,
        TextsError,
        VersionError,
        WorkspaceError,
    )
    from hnmine.data.columns import Columns
    from hnmine.data.verdicts import Verdict, read_verdicts
    from hnmine.models.cards import ModelSettings
    from hnmine.models.encoder import Encoder, FlagEncoder
    from hnmine.models.reranker import Reranker, RerankerSettings
    from hnmine.models.served.server import Server
    from hnmine.review.judge_settings import JudgeSettings
    from hnmine.review.judgements import Judgement, JudgementStore, read_judgements
    from hnmine.review.store import ReviewStore as VerdictStore
    from hnmine.runs.find_knn_neg import find_knn_neg
    from hnmine.runs.reproduce import reproduce
    from hnmine.runs.summary import Summary
    from hnmine.selection.presets import PRESETS
    from hnmine.selection.settings import SelectionSettings

__all__ = [
    "PRESETS",
    "Cancelled",
    "ClusterError",
    "ClusterSettings",
    "Columns",
    "ColumnsError",
    "Dataset",
    "EncodeError",
    "Encoder",
    "EncodingError",
    "FlagEncoder",
    "HnmineError",
    "InputError",
    "JudgeSettings",
    "Judgement",
    "JudgementStore",
    "LabelsError",
    "LimitError",
    "ModelError",
    "ModelSettings",
    "OutputError",
    "QuestionError",
    "Ranking",
    "Reranker",
    "RerankerSettings",
    "Selection",
    "SelectionSettings",
    "Server",
    "SettingsError",
    "Summary",
    "TextsError",
    "Verdict",
    "VerdictStore",
    "VersionError",
    "WorkspaceError",
    "__version__",
    "check",
    "find_knn_neg",
    "rank",
    "read",
    "read_judgements",
    "read_verdicts",
    "repair",
    "reproduce",
]

# module -> the names that it has.
_NAMES = {
    "api.dataset": ("Dataset", "check", "read", "repair"),
    "api.ranking": ("Ranking", "rank"),
    "api.selection": ("Selection",),
    "cluster.settings": ("ClusterSettings",),
    "core.errors": (
        *("HnmineError", "SettingsError", "InputError", "QuestionError", "ColumnsError", "LabelsError", "TextsError", "EncodingError"),
        *("ModelError", "EncodeError", "LimitError", "ClusterError", "OutputError", "WorkspaceError", "VersionError", "Cancelled"),
    ),
    "core.version": ("__version__",),
    "data.columns": ("Columns",),
    "data.verdicts": ("Verdict", "read_verdicts"),
    "models.cards": ("ModelSettings",),
    "models.encoder": ("Encoder", "FlagEncoder"),
    "models.reranker": ("Reranker", "RerankerSettings"),
    "models.served.server": ("Server",),
    "review.judge_settings": ("JudgeSettings",),
    "review.judgements": ("Judgement", "JudgementStore", "read_judgements"),
    "review.store": ("VerdictStore",),
    "runs.find_knn_neg": ("find_knn_neg",),
    "runs.reproduce": ("reproduce",),
    "runs.summary": ("Summary",),
    "selection.presets": ("PRESETS",),
    "selection.settings": ("SelectionSettings",),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        there = {"VerdictStore": "ReviewStore"}.get(name, name)
        return getattr(importlib.import_module(f"hnmine.{_HOMES[name]}"), there)
    raise AttributeError(f"module 'hnmine' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
