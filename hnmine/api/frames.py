"""Selections and rankings as data frames, and as a `datasets.Dataset` for the trainer that runs next.

A frame holds what the screens show, one row a negative, a query or a candidate. A Dataset is read from the bytes that an export writes.
"""

from __future__ import annotations

import io
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.analysis.compare import Side, compare
from hnmine.analysis.fn_estimates import chosen_ranks
from hnmine.analysis.queries import candidates_of, query_table
from hnmine.core.errors import InputError, SettingsError
from hnmine.data.corpus import Corpus, find
from hnmine.export.examples import ExportPart
from hnmine.export.formats import FORMATS
from hnmine.export.scores import PairScores
from hnmine.runs.reviewed import Reviewed
from hnmine.selection.positive_score import ratio_to_positive
from hnmine.selection.select import Selection

if TYPE_CHECKING:
    import datasets  # type: ignore[import-untyped]
    import pandas as pd

__all__ = ["candidates_frame", "comparison_frame", "explanation_frame", "negatives_frame", "queries_frame", "query_number", "training_set"]

Floats = npt.NDArray[np.float32]


def query_number(corpus: Corpus, query: str | int) -> int:
    """Return the number of a query given by its text or by its number (of `Corpus.queries`).

    Raises:
        InputError: there is no such query.
    """
    if isinstance(query, str):
        found = int(find([query], corpus.queries, corpus.query_hashes)[0])
        if found < 0:
            raise InputError(f"there is no query {query[:80]!r} in the data; `.query_table()` lists all {len(corpus.queries):,}")
        return found
    if not 0 <= query < len(corpus.queries):
        raise InputError(f"there is no query number {query}; the data has {len(corpus.queries):,} queries, numbered from 0")
    return int(query)


def negatives_frame(reviewed: Reviewed, selection: Selection, fn_probabilities: Floats | None) -> pd.DataFrame:
    """Return one row a negative, hardest first in each query; the columns are those of `Selection.to_pandas`."""
    import pandas as pd

    corpus = reviewed.inputs.corpus
    queries, places = np.nonzero(selection.negatives >= 0)
    passages, scores = selection.negatives[queries, places], selection.scores[queries, places]
    columns = {
        "query": _texts(corpus.queries, queries),
        "negative": _texts(corpus.passages, passages),
        "rank": chosen_ranks(reviewed.ranking, selection)[queries, places],
        "score": scores,
        "ratio_to_positive": ratio_to_positive(scores, selection.positive[queries]),
        "random_filled": selection.random_filled[queries, places],
    }
    if fn_probabilities is not None:
        columns["fn_probability"] = fn_probabilities[queries, places]
    return pd.DataFrame(columns)


def queries_frame(reviewed: Reviewed, selection: Selection, fn_probabilities: Floats | None) -> pd.DataFrame:
    """Return one row a query: its text, and the columns of `analysis.queries.QueryTable`."""
    import pandas as pd

    corpus = reviewed.inputs.corpus
    table = query_table(corpus, reviewed.ranking, selection, fn_probabilities)
    values = {each.name: getattr(table, each.name) for each in fields(table) if each.name != "verdicts"}
    values |= {f"{verdict}_verdicts": counts for verdict, counts in table.verdicts.items()}
    return pd.DataFrame({"query": corpus.queries} | {name: value for name, value in values.items() if value is not None})


def candidates_frame(reviewed: Reviewed, query: int) -> pd.DataFrame:
    """Return one row a ranked candidate of a query: passage, score, whether it is a positive, and its signals."""
    import pandas as pd

    corpus, ranking = reviewed.inputs.corpus, reviewed.ranking
    ids = ranking.ids[query]
    columns = {
        "passage": _texts(corpus.passages, ids),
        "score": ranking.scores[query],
        "is_positive": np.isin(ids, corpus.positives(query)),
    }
    frame = pd.DataFrame(columns | {name: values[query] for name, values in sorted(ranking.signals.items())})
    return frame.rename_axis("rank")


def explanation_frame(reviewed: Reviewed, selection: Selection, query: int) -> pd.DataFrame:
    """Return one row a candidate of a query: passage, rank (-1: random fill), score, place among the negatives, status and signals."""
    import pandas as pd

    corpus = reviewed.inputs.corpus
    found = candidates_of(corpus, reviewed.ranking, selection, query)
    columns = {
        "passage": _texts(corpus.passages, found.ids),
        "rank": found.ranks,
        "score": found.scores,
        "ratio_to_positive": found.ratios,
        "chosen": found.chosen,
        "status": found.statuses,
        "positive_similarity": found.to_positive,
    }
    return pd.DataFrame(columns | {name: values for name, values in found.signals.items() if name not in columns})


def comparison_frame(first: tuple[Reviewed, Selection], second: tuple[Reviewed, Selection]) -> pd.DataFrame:
    """Return one row a query of both selections, the most changed first: its text, and the arrays of `analysis.compare.Comparison`."""
    import pandas as pd

    sides = [Side(reviewed.inputs.corpus, reviewed.ranking, selection) for reviewed, selection in (first, second)]
    found = compare(*sides)
    values = {each.name: getattr(found, each.name) for each in fields(found) if each.name not in ("first", "second")}
    columns = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    frame = pd.DataFrame({"query": _texts(sides[0].corpus.queries, found.first)} | columns)
    return frame.iloc[found.most_changed(len(frame))].reset_index(drop=True)


def training_set(reviewed: Reviewed, selection: Selection, format_name: str, scores: PairScores | None) -> datasets.Dataset:
    """Return a selection as a `datasets.Dataset` with the rows and columns of an export format.

    Raises:
        SettingsError: the format is not one of rows.
    """
    import datasets
    from pyarrow import parquet

    known = [name for name in FORMATS if name == "flagembedding" or (name.startswith("st-") and not name.endswith("-parquet"))]
    if format_name not in known:
        raise SettingsError(f"format is {format_name!r}; to_datasets takes one of {', '.join(known)}")
    part = ExportPart(rows=reviewed.inputs.rows, corpus=reviewed.inputs.corpus, selection=selection, scores=scores)
    if format_name == "flagembedding":
        return datasets.Dataset.from_list([msgspec.json.decode(line) for line in FORMATS[format_name].write(part)])
    written = b"".join(FORMATS[f"{format_name}-parquet"].write(part))
    return datasets.Dataset(parquet.read_table(io.BytesIO(written)))


def _texts(texts: Any, ids: npt.NDArray[Any]) -> list[str]:
    return [texts[place] for place in ids.tolist()]
