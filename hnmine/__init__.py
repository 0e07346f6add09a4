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

# name -> its module, and its name there where that differs.
_HOMES = {
    "PRESETS": "selection.presets",
    "Cancelled": "core.errors",
    "ClusterError": "core.errors",
    "ClusterSettings": "cluster.settings",
    "Columns": "data.columns",
    "ColumnsError": "core.errors",
    "Dataset": "api.dataset",
    "EncodeError": "core.errors",
    "Encoder": "models.encoder",
    "EncodingError": "core.errors",
    "FlagEncoder": "models.encoder",
    "HnmineError": "core.errors",
    "InputError": "core.errors",
    "JudgeSettings": "review.judge_settings",
    "Judgement": "review.judgements",
    "JudgementStore": "review.judgements",
    "LabelsError": "core.errors",
    "LimitError": "core.errors",
    "ModelError": "core.errors",
    "ModelSettings": "models.cards",
    "OutputError": "core.errors",
    "QuestionError": "core.errors",
    "Ranking": "api.ranking",
    "Reranker": "models.reranker",
    "RerankerSettings": "models.reranker",
    "Selection": "api.selection",
    "SelectionSettings": "selection.settings",
    "Server": "models.served.server",
    "SettingsError": "core.errors",
    "Summary": "runs.summary",
    "TextsError": "core.errors",
    "VersionError": "core.errors",
    "Verdict": "data.verdicts",
    "VerdictStore": "review.store:ReviewStore",
    "WorkspaceError": "core.errors",
    "__version__": "core.version",
    "check": "api.files",
    "find_knn_neg": "runs.find_knn_neg",
    "rank": "api.ranking",
    "read": "api.dataset",
    "read_judgements": "review.judgements",
    "read_verdicts": "data.verdicts",
    "repair": "api.files",
    "reproduce": "runs.reproduce",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        module, _, other = _HOMES[name].partition(":")
        return getattr(importlib.import_module(f"hnmine.{module}"), other or name)
    raise AttributeError(f"module 'hnmine' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
