"""What several screens say in the same words: shares in percent, what became of people's verdicts, names of settings.

Percent stands after a blank that does not break, as the guide and the charts write it.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["honoured", "percent", "setting", "value"]

BLANK = "\u00a0"

# Of `compare.differences`: settings by the words that the screens have for them. Others are told by their own names.
_SETTINGS = {
    "selection.window_start": "rank window: start",
    "selection.window_end": "rank window: end",
    "selection.negative_number": "negatives per query",
    "selection.strategy": "negatives chosen",
    "selection.seed": "seed",
    "selection.max_score": "maximum score",
    "selection.min_score": "minimum score",
    "selection.max_positive_share": "PercPos: share of the positive",
    "selection.margin": "margin below the positive",
    "pool": "candidate pool",
    "pool_mode": "candidates",
    "use_gpu": "search on a GPU",
    "skip_bad_rows": "bad rows left out",
    "repair": "repairs of the data",
    "mend": "repairs of the file",
    "with_scores": "with scores",
    "score_source": "scores of",
    "output_format": "format",
    "dev_share": "queries for dev",
    "model.name": "model",
    "model.name_or_path": "model: name or folder",
    "model.model_class": "class of model",
    "model.pooling_method": "pooling",
    "model.normalize_embeddings": "vectors scaled to length 1",
    "model.query_max_length": "tokens read of a query",
    "model.passage_max_length": "tokens read of a passage",
    "model.weights_sha256": "model: weights (SHA-256)",
    "reranker.name_or_path": "reranker: name or folder",
    "reranker.depth": "reranker: candidates scored",
}
_PARTS = {"columns": "column", "model": "model", "reranker": "reranker", "versions": "version", "verdicts": "verdicts"}
_VALUES = {
    "selection.strategy": {"random": "at random", "hardest": "hardest first"},
    "pool_mode": {"extend": "all passages of the data set + pool", "replace": "the pool alone"},
}


def percent(share: float, digits: int = 0, *, sign: bool = False) -> str:
    """Say a share (0..1) in percent."""
    return f"{100 * share:{'+' if sign else ''}.{digits}f}{BLANK}%"


def honoured(counts: Mapping[str, int]) -> str:
    """Say what became of the verdicts of the review; empty without any."""
    said = ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)
    return f"Verdicts of the review honoured: {said}." if said else ""


def setting(name: str) -> str:
    """Say which setting a name such as "selection.seed" means."""
    if name in _SETTINGS:
        return _SETTINGS[name]
    part, _, rest = name.partition(".")
    if not rest:
        return name.replace("_", " ")
    return f"{_PARTS.get(part, part)}: {rest if part == 'versions' else rest.replace('_', ' ')}"


def value(name: str, held: object) -> str:
    """Say what a setting is."""
    if held is None or held in ([], ()):
        return "–"
    if isinstance(held, bool):
        return "yes" if held else "no"
    if name == "dev_share" and isinstance(held, float):
        return percent(held)
    if isinstance(held, (list, tuple)):
        return ", ".join(map(str, held))
    return _VALUES.get(name, {}).get(str(held), str(held))
