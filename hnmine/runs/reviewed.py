"""A ranking with reviewers' verdicts applied: the one way from a ranking to a selection.

The order matters: the false-negative model is fitted while passages added as positives are still candidates, then they become positives
in the corpus and the ranking. Whoever selects, exports or draws starts from the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from hnmine.analysis.fn_estimates import can_estimate_fn
from hnmine.core.progress import OnProgress, ShouldStop
from hnmine.data.dataset import Inputs
from hnmine.data.verdicts import VerdictPairs
from hnmine.export.scores import PairScores, model_scores, teacher_scores
from hnmine.retrieval.ranking import Ranking
from hnmine.retrieval.rerank import Scorer
from hnmine.selection.fn_model import FNEstimator, FNModel, refit
from hnmine.selection.promotions import apply_promotions
from hnmine.selection.select import Selection, select
from hnmine.selection.settings import SelectionSettings

__all__ = ["Reviewed", "apply_verdicts"]


@dataclass(frozen=True, slots=True, eq=False)
class Reviewed:
    """Everything that a selection is made from.

    Attributes:
        inputs, ranking: what was read and ranked; passages that verdicts add as positives are positives in both.
        verdict_pairs: the verdicts on this data.
        fn_model: the false-negative model, fitted to these verdicts.
    """

    inputs: Inputs
    ranking: Ranking
    verdict_pairs: VerdictPairs
    fn_model: FNModel

    def select(self, settings: SelectionSettings, estimator: FNEstimator | None = None) -> Selection:
        """Choose negatives for every query; `estimator` is that of `estimator`, made before.

        Raises:
            SettingsError: the window ends behind the ranked candidates, or the ranking lacks a signal.
        """
        return select(self.inputs.corpus, self.ranking, settings, self.verdict_pairs, estimator or self.fn_model)

    def estimator(self) -> FNEstimator | None:
        """Return the estimator of false-negative probabilities, or None where the ranking lacks its signals."""
        return FNEstimator(self.inputs.corpus, self.ranking, self.fn_model) if can_estimate_fn(self.ranking) else None

    def scores(
        self,
        selection: Selection,
        source: str,
        scorer: Callable[[], Scorer],
        *,
        on_progress: OnProgress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> PairScores:
        """Return the scores to write: similarities ("model"), or a reranker's raw logits ("reranker") by `scorer`, called when needed.

        Raises:
            As `Scorer.score`.
        """
        if source == "model":
            return model_scores(self.ranking, selection)
        return teacher_scores(self.ranking, self.inputs.corpus, selection, scorer, on_progress=on_progress, should_stop=should_stop)


def apply_verdicts(inputs: Inputs, ranking: Ranking, verdict_pairs: VerdictPairs) -> Reviewed:
    """Fit the false-negative model to verdicts, then make the passages that they add as positives positives; the given ones stay."""
    fn_model = refit(inputs.corpus, ranking, verdict_pairs)
    corpus, ranking = apply_promotions(inputs.corpus, ranking, verdict_pairs)
    return Reviewed(replace(inputs, corpus=corpus), ranking, verdict_pairs, fn_model)
