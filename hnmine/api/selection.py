"""What `Ranking.select` returns: the negatives of every query, to look at, compare, and write."""

from __future__ import annotations

import io
import os
from dataclasses import fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.analysis.charts import similarity_histogram
from hnmine.analysis.compare import Side, compare
from hnmine.analysis.fn_estimates import chosen_ranks, fn_probabilities
from hnmine.analysis.histograms import score_histograms
from hnmine.analysis.queries import candidates_of, query_table
from hnmine.api.dataset import Shown
from hnmine.core.errors import InputError, SettingsError
from hnmine.core.progress import OnProgress, ShouldStop, Stages, progress_shown
from hnmine.data.corpus import Corpus, find
from hnmine.export.examples import ExportPart
from hnmine.export.formats import Written
from hnmine.export.json_lines import flagembedding_lines
from hnmine.export.sentence_transformers import SHAPES, as_parquet
from hnmine.runs.mine import Ranked, finish, summary_of
from hnmine.runs.output import Outputs
from hnmine.runs.reviewed import Reviewed
from hnmine.runs.settings import MineSettings, ScoreSource
from hnmine.runs.summary import Summary, written
from hnmine.selection.positive_score import ratio_to_positive
from hnmine.selection.select import Selection as SelectionArrays
from hnmine.selection.settings import SelectionSettings

if TYPE_CHECKING:
    import altair
    import datasets  # type: ignore[import-untyped]
    import pandas as pd

__all__ = ["Selection", "query_number", "texts_of"]


class Selection(Shown):
    """The negatives of every query. Make it by `Ranking.select`.

    What relabel="leave_out" leaves out is in no count and no row of `to_pandas`, as it is in no file; `explain` and `query_table` have it.
    """

    def __init__(self, ranked: Ranked, reviewed: Reviewed, arrays: SelectionArrays) -> None:
        self._ranked, self._reviewed, self._arrays = ranked, reviewed, arrays

    @property
    def settings(self) -> SelectionSettings:
        """Window, number, strategy, seed and filters."""
        return self._arrays.settings

    @property
    def funnel(self) -> dict[str, int]:
        """Candidates left after each step, over all queries; "written" is last where rows are left out."""
        return self._written.funnel

    @cached_property
    def summary(self) -> Summary:
        """Counts, funnel, hardness, and the estimated false-negative rate; `print` it."""
        return summary_of(self._ranked, self._run_settings(), self._reviewed, self._arrays)

    @cached_property
    def fn_probabilities(self) -> npt.NDArray[np.float32] | None:
        """Estimated false-negative probability of each negative, 0 to 1, hardest first: (queries, n) float32, NaN where unknown."""
        estimator = self._reviewed.estimator()
        return None if estimator is None else fn_probabilities(estimator, self._arrays)

    def plot(self) -> altair.TopLevelMixin:
        """Return an Altair chart: the similarities of positives, negatives and the candidates of the window."""
        return similarity_histogram(score_histograms(self._reviewed.ranking, self._arrays), self.settings).chart()

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a negative, hardest first in each query.

        Columns: `query`, `negative`; `rank` from 0 (-1 where it is not ranked), `score`, `ratio_to_positive`, `random_filled`, and
        `fn_probability` (0 to 1).
        """
        import pandas as pd

        corpus, found = self._reviewed.inputs.corpus, self._written
        at = np.nonzero(found.negatives >= 0)
        columns = {
            "query": texts_of(corpus.queries, at[0]),
            "negative": texts_of(corpus.passages, found.negatives[at]),
            "rank": chosen_ranks(self._reviewed.ranking, found)[at],
            "score": found.scores[at],
            "ratio_to_positive": ratio_to_positive(found.scores[at], found.positive[at[0]]),
            "random_filled": found.random_filled[at],
        }
        return pd.DataFrame(columns | ({} if self.fn_probabilities is None else {"fn_probability": self.fn_probabilities[at]}))

    def to_datasets(self, format: str = "st-triplet", *, scores: ScoreSource | None = None) -> datasets.Dataset:  # noqa: A002
        """Return a `datasets.Dataset` with the rows of an export format.

        Args:
            format: "st-triplet", "st-n-tuple", "st-labeled-pair", "st-labeled-list" (of sentence-transformers), or "flagembedding".
            scores: "model" or "reranker" adds scores; None: none.

        Raises:
            SettingsError: the format is unknown, or has no scores.
        """
        import datasets
        from pyarrow import parquet

        known = ["flagembedding", *(f"st-{shape}" for shape in SHAPES)]
        if format not in known:
            raise SettingsError(f"format is {format!r}; to_datasets takes one of {', '.join(known)}")
        settings = self._run_settings(output_format=format, with_scores=scores is not None, score_source=scores or "model")
        mined = finish(self._ranked, settings, self._reviewed, self._arrays, stages=Stages(None))
        inputs = self._reviewed.inputs
        kept = ~self._reviewed.left_out(self._arrays)
        part = ExportPart(rows=inputs.rows, corpus=inputs.corpus, selection=self._arrays, scores=mined.scores, queries=kept)
        if format == "flagembedding":
            lines = flagembedding_lines(inputs.rows, inputs.corpus, self._arrays, scores=mined.scores, queries=kept)
            return datasets.Dataset.from_list([msgspec.json.decode(line) for line in lines])
        shape = SHAPES[format.removeprefix("st-")]
        return datasets.Dataset(parquet.read_table(io.BytesIO(b"".join(as_parquet(shape, part)))))

    def query_table(self) -> pd.DataFrame:
        """Return one row a query: the positive's score, the hardest negative's, their margin and ratio, the positive's rank, and counts.

        Where `relabel` leaves queries out of the files, `left_out` says which.
        """
        import pandas as pd

        corpus = self._reviewed.inputs.corpus
        table = query_table(corpus, self._reviewed.ranking, self._arrays, self.fn_probabilities)
        values = {each.name: getattr(table, each.name) for each in fields(table) if each.name != "verdicts"}
        values |= {f"{verdict}_verdicts": counts for verdict, counts in table.verdicts.items()}
        if (left_out := self._reviewed.left_out(self._arrays)).any():
            values["left_out"] = left_out
        return pd.DataFrame({"query": corpus.queries} | {name: value for name, value in values.items() if value is not None})

    def explain(self, query: str | int) -> pd.DataFrame:
        """Return every candidate of a query, given by its text or number, with the reason why it is or is not a negative (`status`).

        Columns: `passage`, `rank` (-1: random fill), `score`, `ratio_to_positive`, `chosen` (place among the negatives), `status`, signals.

        Raises:
            InputError: there is no such query.
        """
        import pandas as pd

        corpus = self._reviewed.inputs.corpus
        found = candidates_of(corpus, self._reviewed.ranking, self._arrays, query_number(corpus, query))
        columns = {
            "passage": texts_of(corpus.passages, found.ids),
            "rank": found.ranks,
            "score": found.scores,
            "ratio_to_positive": found.ratios,
            "chosen": found.chosen,
            "status": found.statuses,
            "positive_similarity": found.to_positive,
        }
        return pd.DataFrame(columns | {name: values for name, values in found.signals.items() if name not in columns})

    def compare(self, other: Selection) -> pd.DataFrame:
        """Compare with another selection, of the same or of another ranking, by the texts: one row a shared query, the most changed first.

        Columns: `query`, `shared` negatives, `overlap` (0 to 1), and for both the counts, the hardness and the ratio to the positive.
        """
        import pandas as pd

        sides = [Side(each._reviewed.inputs.corpus, each._reviewed.ranking, each._arrays) for each in (self, other)]
        found = compare(*sides)
        values = {each.name: getattr(found, each.name) for each in fields(found) if each.name not in ("first", "second")}
        columns = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        frame = pd.DataFrame({"query": texts_of(sides[0].corpus.queries, found.first)} | columns)
        return frame.iloc[found.most_changed(len(frame))].reset_index(drop=True)

    def write(
        self,
        path: str | os.PathLike[str],
        *,
        format: str = "flagembedding",  # noqa: A002
        scores: ScoreSource | None = None,
        dev_share: float = 0.0,
        manifest: bool | str | os.PathLike[str] = True,
        on_progress: OnProgress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> list[Written]:
        """Write a file, the same bytes as the command line and the app, and its manifest.

        Args:
            path: where to write; replaced whole, or not at all. The format "datasets" writes a folder.
            format: one of `hnmine.export.formats.FORMATS`.
            scores: "model" writes similarities, "reranker" raw logits; None: none.
            dev_share: part of the queries (0 to below 1) that goes to `out.dev.jsonl` beside `out.jsonl`, drawn by the seed.
            manifest: True writes `out.manifest.json` beside `out.jsonl`; a path, there; False writes none.
            on_progress, should_stop: called about once a batch, where a reranker still has to score.

        Returns:
            The files of rows.

        Raises:
            SettingsError: the format is unknown or has no scores, the path is an input file, or a folder with other files.
            OutputError: a file cannot be written; what was there before is untouched.
        """
        settings = self._run_settings(
            output_format=format, with_scores=scores is not None, score_source=scores or "model", dev_share=dev_share
        )
        inputs = {name: file.get("path") for name, file in self._reviewed.inputs.files.items()}
        outputs = Outputs.checked(path, inputs, settings=settings, manifest=manifest)
        with progress_shown(on_progress) as shown:
            stages = Stages(shown)
            return outputs.write(finish(self._ranked, settings, self._reviewed, self._arrays, stages=stages, should_stop=should_stop))

    def _run_settings(self, **changes: Any) -> MineSettings:
        judged = {"relabel": self._reviewed.relabel, "relevant_from": self._reviewed.relevant_from}
        return msgspec.structs.replace(self._ranked.settings, selection=self.settings, **judged, **changes)

    @cached_property
    def _written(self) -> SelectionArrays:
        return written(self._arrays, self._reviewed.left_out(self._arrays))

    def __len__(self) -> int:
        return int(self._written.counts.sum())

    def _facts(self) -> dict[str, str]:
        settings = self.settings
        rate = self.summary.estimated_fn_rate
        facts = {
            "negatives": f"{len(self):,} for {self.summary.queries:,} queries",
            "window": f"{settings.window_start}-{settings.window_end}",
            "strategy": settings.strategy,
            "hardness": "-" if self.summary.hardness is None else f"{self.summary.hardness:.3f}",
        }
        return facts | ({} if rate is None else {"estimated false-negative rate": f"{rate} (unaudited)"})


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


def texts_of(texts: Any, ids: npt.NDArray[Any]) -> list[str]:
    """Return the texts with some ids."""
    return [texts[place] for place in ids.tolist()]
