"""What several screens say in the same words: shares in percent, what became of people's verdicts, names of settings.

Percent stands after a blank that does not break, as the guide and the charts write it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from hnmine.retrieval.fusion import FUSION_DEPTH
from pages.shared.dials import DIALS

__all__ = ["SIGNALS", "Signal", "chance", "honoured", "interval", "percent", "setting", "signal", "value"]

BLANK = "\u00a0"


class Signal(NamedTuple):
    """What a signal of a ranking is called: above a column and in a sentence, its help, and how a value is written.

    `factor` times the value is what stands in a column, in the `form` of printf; in a sentence `tail` stands behind it.
    """

    header: str
    name: str
    help: str
    form: str = "%.3f"
    factor: float = 1.0
    tail: str = ""

    def said(self, value: float) -> str:
        """Say a value in a sentence."""
        return f"{self.name} {(self.form % (self.factor * value)).replace(' ', BLANK)}{self.tail}"


SIGNALS = {
    "positive_similarity": Signal("like pos.", "like the positive", "Similarity to the nearest positive passage: near 1 it says the same."),
    "overlap": Signal(
        "overlap", "overlap", "Three-word runs shared with a positive, of all that either has: near 100 % is a copy.", "%.0f %%", 100
    ),
    "bm25_ratio": Signal(
        "BM25",
        "BM25",
        "How well the query's words match it (BM25), as a share of the query's best match.",
        "%.0f %%",
        100,
        " of the best",
    ),
    "bm25_rank": Signal("BM25 rank", "BM25 rank", "How many passages match the query's words better.", "%.0f"),
    "reranker": Signal("reranker", "reranker", "The raw score of the reranker, a cross-encoder.", "%.2f"),
    "second_model": Signal("2nd model", "second model", "Similarity to the query by the second embedding model."),
}


def _within(label: str) -> str:
    """Write a label as it stands within a sentence."""
    return label if label.startswith("PercPos") else label[0].lower() + label[1:]


# Of `compare.differences`: settings by the words that the screens have for them. Others are told by their own names.
_SETTINGS = {
    "selection.window_start": "rank window: start",
    "selection.window_end": "rank window: end",
    "selection.negative_number": "negatives per query",
    "selection.strategy": "negatives chosen",
    "selection.seed": "seed",
    "selection.positive_score": "the positive's score, of several",
    "selection.max_fn_rate": "estimated false at most",
    **{f"selection.{name}": _within(dial.label) for name, dial in DIALS.items()},
    "pool": "candidate pool",
    "pool_mode": "candidates",
    "use_gpu": "search on a GPU",
    "skip_bad_rows": "bad rows left out",
    "repair": "repairs of the data",
    "repair_output": "repairs of the file",
    "with_scores": "with scores",
    "score_source": "scores of",
    "output_format": "format",
    "dev_share": "queries for dev",
    "retrievers": "ranked by",
    "second_model.name": "second model",
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
_PARTS = {
    "columns": "column",
    "model": "model",
    "second_model": "second model",
    "reranker": "reranker",
    "versions": "version",
    "verdicts": "verdicts",
}
_VALUES = {
    "selection.strategy": {"random": "at random", "hardest": "hardest first"},
    "pool_mode": {"extend": "all passages of the data set + pool", "replace": "the pool alone"},
}


def percent(share: float, digits: int = 0, *, sign: bool = False) -> str:
    """Say a share (0..1) in percent."""
    return f"{100 * share:{'+' if sign else ''}.{digits}f}{BLANK}%"


def chance(share: float) -> str:
    """Say an estimated chance (0..1) in percent: whole ones from 10 % on, tenths below."""
    return percent(share, 0 if share >= 0.1 else 1)


def signal(name: str) -> Signal:
    """Return what a signal is called; one that nobody has named by its own name."""
    if name.startswith("rank_"):
        retriever = name.removeprefix("rank_").replace("_", " ")
        told = f"Rank from 0 by this retriever alone; empty where it is not among its first {FUSION_DEPTH:,}."
        return Signal(f"by {retriever}", f"rank by {retriever}", told, "%d")
    return SIGNALS.get(name) or Signal(name.replace("_", " "), name.replace("_", " "), "A signal of the ranking.")


def interval(low: float, high: float, digits: int = 1) -> str:
    """Say a range of shares (0..1) in percent: "1.6-5.8 %"."""
    return f"{100 * low:.{digits}f}-{percent(high, digits)}"


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
