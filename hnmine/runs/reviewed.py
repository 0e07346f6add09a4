"""A ranking with reviewers' verdicts applied: the one way from a ranking to a selection.

The order matters: the false-negative model is fitted while passages added as positives are still candidates, then they become positives
in the corpus and the ranking. Whoever selects, exports or draws starts from the result. `RunVerdicts` follows the verdicts of a server: of
100,000, a new one costs 0.4 s where matching and promoting all of them takes 1.8 s.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from hnmine.analysis.fn_estimates import can_estimate_fn
from hnmine.core.progress import OnProgress, ShouldStop
from hnmine.data.corpus import Corpus
from hnmine.data.dataset import Inputs
from hnmine.data.verdicts import Verdict, VerdictPairs, pair_key, pairs_of, verdict_pairs
from hnmine.export.scores import PairScores, model_scores, teacher_scores
from hnmine.retrieval.ranking import Ranking
from hnmine.retrieval.rerank import Scorer
from hnmine.review.store import ReviewStore
from hnmine.selection.fn_model import FNEstimator, FNModel, refit
from hnmine.selection.promotions import apply_promotions
from hnmine.selection.select import Selection, select
from hnmine.selection.settings import SelectionSettings

__all__ = ["Reviewed", "RunVerdicts", "apply_verdicts"]

# With more new events than this, all verdicts are read again.
MOST_CHANGES = 2_000


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
    return _reviewed(inputs, ranking, verdict_pairs, apply_promotions(inputs.corpus, ranking, verdict_pairs))


def _reviewed(inputs: Inputs, ranking: Ranking, verdict_pairs: VerdictPairs, promoted: tuple[Corpus, Ranking]) -> Reviewed:
    fn_model = refit(inputs.corpus, ranking, verdict_pairs)
    return Reviewed(replace(inputs, corpus=promoted[0]), promoted[1], verdict_pairs, fn_model)


@dataclass(slots=True)
class RunVerdicts:
    """The verdicts of a store on one ranking, kept up to date; safe to use from many threads.

    `inputs` and `ranking` are without verdicts.
    """

    inputs: Inputs
    ranking: Ranking
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _version: int | None = None
    _current: dict[tuple[int, int], Verdict] = field(default_factory=dict)
    _elsewhere: set[bytes] = field(default_factory=set)
    _pairs: VerdictPairs | None = None
    _promoted: tuple[bytes, tuple[Corpus, Ranking]] | None = None

    def pairs(self, store: ReviewStore) -> VerdictPairs:
        """Return the pairs that have a verdict in the store now.

        Raises:
            WorkspaceError: the store cannot be read.
        """
        with self._lock:
            changes = None if self._version is None or store.replaced(self._version) else store.changes(self._version)
            if changes is None or len(changes) > MOST_CHANGES:
                version = store.version()  # read first, so that events after it are applied once more
                self._current, self._elsewhere = {}, set()
                self._add(store.verdicts())
                self._version, self._pairs = version, None
            elif changes:
                texts = {pair_key(each.query, each.passage): (each.query, each.passage) for each in changes}
                known = pairs_of(self.inputs.corpus, *map(list, zip(*texts.values(), strict=True)))
                for pair in zip(*(ids.tolist() for ids in known), strict=True):
                    self._current.pop(pair, None)
                self._elsewhere -= texts.keys()
                self._add([each for pair in texts.values() if (each := store.verdict(*pair)) is not None])
                self._version, self._pairs = changes[-1].id, None
            if self._pairs is None:
                self._pairs = verdict_pairs(self._current, len(self._elsewhere))
            return self._pairs

    def _add(self, verdicts: list[Verdict]) -> None:
        known = pairs_of(self.inputs.corpus, [each.query for each in verdicts], [each.passage for each in verdicts])
        for query, passage, each in zip(*(ids.tolist() for ids in known), verdicts, strict=True):
            if query < 0:
                self._elsewhere.add(pair_key(each.query, each.passage))
            else:
                self._current[query, passage] = each

    def apply(self, pairs: VerdictPairs) -> Reviewed:
        """Return `apply_verdicts`; the passages added as positives are added again only where they have changed."""
        key = b"".join(ids.tobytes() for ids in pairs.positive)
        with self._lock:
            if self._promoted is None or self._promoted[0] != key:
                self._promoted = key, apply_promotions(self.inputs.corpus, self.ranking, pairs)
            promoted = self._promoted[1]
        return _reviewed(self.inputs, self.ranking, pairs, promoted)
