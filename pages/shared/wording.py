"""Texts that several screens have in common: columns of tables, steps of the funnel, names of settings, percentages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import streamlit as st

from hnmine.data.corpus import PoolMode
from hnmine.retrieval.retrievers import FUSION_DEPTH
from hnmine.review.audit import Rate
from hnmine.selection.filters import FILTERS, NO_MEASUREMENT
from hnmine.selection.settings import TARGETS

__all__ = [
    "COLUMNS",
    "FUNNEL",
    "NO_MEASUREMENT",
    "POOL_MODES",
    "POSITIVE_SCORES",
    "QUERY_COLUMNS",
    "RATIO_SHOWN",
    "STRATEGIES",
    "Column",
    "interval",
    "percent",
    "points",
    "probability",
    "rate",
    "setting",
    "signal",
    "value",
    "verdicts_applied",
]

BLANK = "\u00a0"
# A positive that scores near 0 (a wrong label) would give ratios of thousands of percent.
RATIO_SHOWN = 2.0


class Column(NamedTuple):
    """A column of a table, and the same number in a sentence.

    Attributes:
        header, help: above the column; `width`: in pixels, or as Streamlit names it.
        form: printf format of `factor` times the value; "" for text. align: of text.
        name: in a sentence; "" is the header. tail: follows the value there.
    """

    header: str
    help: str = ""
    form: str = ""
    factor: float = 1.0
    name: str = ""
    tail: str = ""
    width: int | str | None = None
    align: str | None = None

    @property
    def title(self) -> str:
        """The name in a sentence or a list."""
        return self.name or self.header

    def said(self, value: float) -> str:
        """Return a value with its name, for a sentence."""
        return f"{self.title} {(self.form % (self.factor * value)).replace(' ', BLANK)}{self.tail}"

    def config(self, **options: Any) -> Any:
        """Return Streamlit's configuration of the column; `options` override it, such as `help` or `width`."""
        options = {"label": self.header, "help": self.help or None, "width": self.width, "alignment": self.align} | options
        if not self.form:
            return st.column_config.TextColumn(**options)
        return st.column_config.NumberColumn(**({"format": self.form} | options))


# One line per candidate.
COLUMNS: dict[str, Column] = {
    "rank": Column("rank", "From 0, empty for random-filled passages.", width=55, align="right"),
    "score": Column("score", "Similarity to the query.", "%.3f", width=65),
    "fn_probability": Column("est. FN", f"Estimated false-negative probability. {NO_MEASUREMENT}", "%.1f%%", 100, width=75),
    "status": Column("status", "Chosen, with its place among the negatives, or the reason why not.", width=170),
    "passage": Column("passage", width="large"),
    "ratio": Column("ratio to positive", f"Score / score of the positive, at most {RATIO_SHOWN:.0%}.", "%.0f%%", 100, width=120),
    "positive_similarity": Column("sim. to positive", "Similarity to the nearest positive passage.", "%.3f", width=120,
                                  name="similarity to the positive passage"),
    "similarity_z": Column("sim. z", "How unusual the similarity to this query is: standard deviations above the mean of the passage's "
                           "similarities to the other queries.", "%.1f", name="z-score of the similarity", width=70),
    "overlap": Column("overlap", "Three-word sequences in common with a positive (Jaccard index). Near 100%, it is a near duplicate.",
                      "%.0f%%", 100, width=85),
    "bm25_ratio": Column("BM25", "BM25 score, relative to the best match of the query.", "%.0f%%", 100,
                         tail=" of the best match", width=85),
    "bm25_rank": Column("BM25 rank", "Passages that have a higher BM25 score for the query.", "%.0f", width=85),
    "reranker": Column("reranker", "Raw score of the reranker, a cross-encoder.", "%.2f", width=85),
    "judge": Column("judge", "Grade of the judge, 0 to 3; empty where it was not asked.", "%.0f", name="judge's grade", width=70),
    "second_model": Column("2nd model", "Similarity to the query by the second model.", "%.3f", name="second model", width=85),
    "shared words": Column("shared words", "Words that the passage shares with a positive, the rarest first.", width=160),
    "source": Column("source", "Where the passage is in the data: positive or negative of a row, or the pool.", width="small"),
}  # fmt: skip
# One line per query, by the names of `listing.COLUMNS`, in the order of the screen.
QUERY_COLUMNS: dict[str, Column] = {
    "fn_probability": Column("Likely relevant", "", "%.1f%%", 100),
    "ratio": Column("% of positive", f"Score of the hardest negative / score of the positive, at most {RATIO_SHOWN:.0%}.",
                    "%.0f%%", 100),
    "hardest": Column("Hardest negative", "Similarity of the hardest negative.", "%.3f"),
    "margin": Column("Margin", "Positive minus hardest negative. Below 0, the negative scores higher.", "%.3f"),
    "positive": Column("Positive", "Similarity of the positive. Several positives: as set for the filters.", "%.3f"),
    "positive_rank": Column("Positive rank", "Rank of the best positive, counted from 0."),
    "negatives": Column("Negatives", form="%d"),
    "reviewed": Column("Verdicts", "Number of the query's passages with a verdict.", "%d"),
    "query": Column("Query (A to Z)"),
}  # fmt: skip
# The steps of `Selection.funnel` that the screen shows, in their order.
FUNNEL = {
    "ranked": "ranked",
    "in_window": "in rank range",
    "not_positive": "not a positive",
    "not_removed": "not removed by a reviewer",
    **{each.step: f"after {each.short}" for each in FILTERS.values()},
    "chosen": "selected",
}
POSITIVE_SCORES = {"in_window": "mean of those in the rank range", "mean": "mean of all", "min": "lowest", "max": "highest"}
POOL_MODES: dict[PoolMode, str] = {"extend": "training passages + pool", "replace": "pool only"}
STRATEGIES = {"random": "random", "hardest": "hardest first"}


def _within(label: str) -> str:
    """Return a label as it is written within a sentence."""
    return label if label.startswith("PercPos") else label[0].lower() + label[1:]


# Labels of `compare.differences`; other settings are shown by their own names.
_SETTINGS = {
    "selection.window_start": "rank range: start",
    "selection.window_end": "rank range: end",
    "selection.negative_number": "negatives per query",
    "selection.strategy": "strategy",
    "selection.seed": "seed",
    "selection.positive_score": "score of several positives",
    **{f"selection.{each.name}": _within(each.label) for each in (*FILTERS.values(), *TARGETS)},
    "pool": "candidate pool",
    "pool_mode": "candidates",
    "use_gpu": "search on a GPU",
    "index": "search",
    "skip_bad_rows": "skip bad rows",
    "repair": "repairs of the data",
    "repair_output": "repairs of the file",
    "with_scores": "with scores",
    "relabel": "judge-positive pairs",
    "relevant_from": "relevant from grade",
    "score_source": "source of the scores",
    "output_format": "format",
    "dev_share": "queries in the dev file",
    "retrievers": "retrievers",
    "second_model.name": "second model",
    "model.name": "model",
    "model.name_or_path": "model: name or folder",
    "model.model_class": "model class",
    "model.pooling_method": "pooling",
    "model.normalize_embeddings": "vectors scaled to length 1",
    "model.query_max_length": "maximum tokens of a query",
    "model.passage_max_length": "maximum tokens of a passage",
    "model.weights_sha256": "model: weights (SHA-256)",
    "reranker.name_or_path": "reranker: name or folder",
    "reranker.depth": "reranker: candidates scored",
    **{
        f"{role}.server.{part}": f"{words}: {label}"
        for role, words in (("model", "model"), ("second_model", "second model"), ("reranker", "reranker"))
        for part, label in (
            ("address", "address of the server"),
            ("api", "form of the API"),
            ("key_variable", "variable with the key"),
            ("dimensions", "dimensions"),
            ("concurrency", "requests at once"),
            ("timeout", "seconds of a request"),
        )
    },
}
_PARTS = {
    "columns": "column",
    "model": "model",
    "second_model": "second model",
    "reranker": "reranker",
    "versions": "version",
    "verdicts": "verdicts",
}
_VALUES: dict[str, Mapping[str, str]] = {
    "selection.strategy": STRATEGIES,
    "selection.positive_score": POSITIVE_SCORES,
    "pool_mode": {**POOL_MODES},
}


def percent(fraction: float, digits: int = 0, *, sign: bool = False) -> str:
    """Return a fraction (0..1) in percent: "95%"."""
    return f"{100 * fraction:{'+' if sign else ''}.{digits}f}%"


def points(fraction: float) -> str:
    """Return a difference of two percentages: "1.5 points"."""
    return f"{100 * fraction:.1f} points"


def probability(value: float) -> str:
    """Return an estimated probability (0..1) in percent, with a decimal below 10%."""
    return percent(value, 0 if value >= 0.1 else 1)


def interval(low: float, high: float, digits: int = 1) -> str:
    """Return a range of fractions (0..1) in percent: "1.6-5.8%"."""
    return f"{100 * low:.{digits}f}-{percent(high, digits)}"


def rate(found: Rate) -> str:
    """Return a measured rate with its confidence interval: "7.7% (2.8-17.3%)"."""
    return f"{percent(found.rate, 1)} ({interval(found.low, found.high)})"


def signal(name: str) -> Column:
    """Return the column of a signal; a signal without one is shown by its own name."""
    if name.startswith("rank_"):
        retriever = name.removeprefix("rank_").replace("_", " ").replace("bm25", "BM25")
        about = f"Rank from 0 in the list of this retriever; empty if it is not among the first {FUSION_DEPTH:,}."
        return Column(f"{retriever} rank", about, "%d", name=f"rank by {retriever}", width=85)
    words = name.replace("_", " ")
    return COLUMNS.get(name) or Column(words, "A signal of the ranking.", "%.3f", name=words, width=85)


def verdicts_applied(counts: Mapping[str, int]) -> str:
    """Return which verdicts were applied; empty if there are none."""
    applied = ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)
    return f"Verdicts applied: {applied}." if applied else ""


def setting(name: str) -> str:
    """Return the label of a setting such as "selection.seed"."""
    if name in _SETTINGS:
        return _SETTINGS[name]
    part, _, rest = name.partition(".")
    if not rest:
        return name.replace("_", " ")
    return f"{_PARTS.get(part, part)}: {rest if part == 'versions' else rest.replace('_', ' ')}"


def value(name: str, held: object) -> str:
    """Return the value of a setting as it is shown."""
    if held is None or held in ([], ()):
        return "–"
    if isinstance(held, bool):
        return "yes" if held else "no"
    if name == "dev_share" and isinstance(held, float):
        return percent(held)
    if isinstance(held, (list, tuple)):
        return ", ".join(map(str, held))
    return _VALUES.get(name, {}).get(str(held), str(held))
