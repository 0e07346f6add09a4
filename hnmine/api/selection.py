"""What `Ranking.select` returns: the negatives of every query, to look at, compare, and write."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.analysis.charts import similarity_histogram
from hnmine.analysis.fn_estimates import fn_probabilities
from hnmine.analysis.queries import score_histograms
from hnmine.api import frames
from hnmine.api.shown import Shown
from hnmine.core.progress import OnProgress, ShouldStop, Stages
from hnmine.core.progress_bar import progress_shown
from hnmine.export.formats import Written
from hnmine.runs.mine import Ranked, finish, summary_of
from hnmine.runs.output import Outputs
from hnmine.runs.reviewed import Reviewed
from hnmine.runs.settings import MineSettings, ScoreSource
from hnmine.runs.summary import Summary
from hnmine.selection.select import Selection as SelectionArrays
from hnmine.selection.settings import SelectionSettings

if TYPE_CHECKING:
    import altair
    import datasets  # type: ignore[import-untyped]
    import pandas as pd

__all__ = ["Selection"]


class Selection(Shown):
    """The negatives of every query. Make it by `Ranking.select`.

    Attributes:
        settings: window, number, strategy, seed and filters that it was made with.
        summary: counts, funnel, hardness, and the estimated false-negative rate.
        funnel: candidates left after each step, in order.
    """

    def __init__(self, ranked: Ranked, reviewed: Reviewed, arrays: SelectionArrays) -> None:
        self._ranked, self._reviewed, self._arrays = ranked, reviewed, arrays

    @property
    def settings(self) -> SelectionSettings:
        """Window, number, strategy, seed and filters."""
        return self._arrays.settings

    @property
    def funnel(self) -> dict[str, int]:
        """Candidates left after each step, over all queries."""
        return self._arrays.funnel

    @cached_property
    def summary(self) -> Summary:
        """Counts and averages; `print` it."""
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
        return frames.negatives_frame(self._reviewed, self._arrays, self.fn_probabilities)

    def to_datasets(self, format: str = "st-triplet", *, scores: ScoreSource | None = None) -> datasets.Dataset:  # noqa: A002
        """Return a `datasets.Dataset` with the rows of an export format.

        Args:
            format: "st-triplet", "st-n-tuple", "st-labeled-pair", "st-labeled-list" (of sentence-transformers), or "flagembedding".
            scores: "model" or "reranker" adds scores; None: none.

        Raises:
            SettingsError: the format is unknown, or has no scores.
        """
        settings = self._run_settings(output_format=format, with_scores=scores is not None, score_source=scores or "model")
        mined = finish(self._ranked, settings, self._reviewed, self._arrays, stages=Stages(None))
        return frames.training_set(self._reviewed, self._arrays, format, mined.scores)

    def query_table(self) -> pd.DataFrame:
        """Return one row a query: the positive's score, the hardest negative's, their margin and ratio, the positive's rank, and counts."""
        return frames.queries_frame(self._reviewed, self._arrays, self.fn_probabilities)

    def explain(self, query: str | int) -> pd.DataFrame:
        """Return every candidate of a query, given by its text or number, with the reason why it is or is not a negative (`status`).

        Raises:
            InputError: there is no such query.
        """
        return frames.explanation_frame(self._reviewed, self._arrays, frames.query_number(self._reviewed.inputs.corpus, query))

    def compare(self, other: Selection) -> pd.DataFrame:
        """Compare with another selection, of the same or of another ranking, by the texts: one row a shared query, the most changed first.

        Columns: `query`, `shared` negatives, `overlap` (0 to 1), and for both the counts, the hardness and the ratio to the positive.
        """
        return frames.comparison_frame((self._reviewed, self._arrays), (other._reviewed, other._arrays))

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
            path: where to write; replaced whole, or not at all.
            format: one of `hnmine.export.formats.FORMATS`.
            scores: "model" writes similarities, "reranker" raw logits; None: none.
            dev_share: part of the queries (0 to below 1) that goes to `out.dev.jsonl` beside `out.jsonl`, drawn by the seed.
            manifest: True writes `out.manifest.json` beside `out.jsonl`; a path, there; False writes none.
            on_progress, should_stop: called about once a batch, where a reranker still has to score.

        Returns:
            The files of rows.

        Raises:
            SettingsError: the format is unknown or has no scores, or the path is an input file.
            OutputError: a file cannot be written; what was there before is untouched.
        """
        settings = self._run_settings(
            output_format=format, with_scores=scores is not None, score_source=scores or "model", dev_share=dev_share
        )
        inputs = {name: file.get("path") for name, file in self._reviewed.inputs.files.items()}
        outputs = Outputs.checked(path, inputs, dev_share=dev_share, manifest=manifest)
        with progress_shown(on_progress) as shown:
            stages = Stages(shown)
            return outputs.write(finish(self._ranked, settings, self._reviewed, self._arrays, stages=stages, should_stop=should_stop))

    def _run_settings(self, **changes: Any) -> MineSettings:
        return msgspec.structs.replace(self._ranked.settings, selection=self.settings, **changes)

    def __len__(self) -> int:
        return int(self._arrays.counts.sum())

    def _facts(self) -> dict[str, str]:
        settings, counts = self.settings, self._arrays.counts
        rate = self.summary.estimated_fn_rate
        facts = {
            "negatives": f"{len(self):,} for {len(counts):,} queries",
            "window": f"{settings.window_start}-{settings.window_end}",
            "strategy": settings.strategy,
            "hardness": "-" if self.summary.hardness is None else f"{self.summary.hardness:.3f}",
        }
        return facts | ({} if rate is None else {"estimated false-negative rate": f"{rate:.1%}"})
