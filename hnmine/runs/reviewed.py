"""A ranking with reviewers' verdicts and a judge's grades applied: the one way from a ranking to a selection.

The order matters: the false-negative model is fitted while passages added as positives are still candidates, then they become positives
in the corpus and the ranking. Whoever selects, exports or draws starts from the result. `RunVerdicts` follows the verdicts of a server: of
100,000, a new one costs 0.4 s where matching and promoting all of them takes 1.8 s.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from hnmine.analysis.fn_estimates import can_estimate_fn
from hnmine.core.progress import OnProgress, ShouldStop
from hnmine.data.corpus import Corpus
from hnmine.data.dataset import Inputs
from hnmine.data.verdicts import Pairs, Verdict, VerdictPairs, pair_key, pairs_of, verdict_pairs
from hnmine.export.scores import PairScores, model_scores, teacher_scores
from hnmine.retrieval.ranking import Ranking, ranks_of
from hnmine.retrieval.rerank import Scorer
from hnmine.retrieval.signals import with_judge
from hnmine.review.judgements import JudgementStore, counting
from hnmine.review.relabelling import (
    JudgedPairs,
    Relabel,
    holds,
    judge_positives,
    judged_pairs,
    read_by_people,
    relabelled,
    with_removed,
)
from hnmine.review.store import ReviewStore
from hnmine.selection.fn_model import FNEstimator, FNModel, refit
from hnmine.selection.promotions import apply_promotions
from hnmine.selection.select import Selection, select
from hnmine.selection.settings import SelectionSettings

__all__ = ["Reviewed", "RunVerdicts", "apply_verdicts"]

# With more new events than this, all verdicts are read again.
MOST_CHANGES = 2_000
# The lowest grade that counts as relevant, unless it is named.
RELEVANT_FROM = 2


_NONE = np.zeros(0, np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class Reviewed:
    """Everything that a selection is made from.

    Attributes:
        inputs, ranking: what was read and ranked; passages that verdicts add as positives are positives in both.
        verdict_pairs: people's verdicts on this data.
        fn_model: the false-negative model, fitted to these verdicts.
        judged: the pairs of this data with a judge's grade, which is the ranking's signal "judge".
        relabel: what is done with the candidates that the judge calls relevant, by a grade of at least `relevant_from`.
        judge_positive: these candidates, (queries, passages), without those that people decided.
    """

    inputs: Inputs
    ranking: Ranking
    verdict_pairs: VerdictPairs
    fn_model: FNModel
    judged: JudgedPairs = field(default_factory=JudgedPairs.none, kw_only=True)
    relabel: Relabel = field(default="keep", kw_only=True)
    relevant_from: int = field(default=RELEVANT_FROM, kw_only=True)
    judge_positive: Pairs = field(default=(_NONE, _NONE), kw_only=True)

    def relabelled(self, relabel: Relabel, relevant_from: int) -> Self:
        """Return this with the judge's verdicts below people's; the false-negative model stays, because it is fitted to people's alone.

        This one must not be relabelled itself, unless by "keep".
        """
        corpus, ranking = self.inputs.corpus, self.ranking
        found = judge_positives(corpus, self.verdict_pairs, self.judged, relevant_from)
        if relabel == "promote" and len(found[0]):
            corpus, ranking = apply_promotions(corpus, ranking, relabelled(self.verdict_pairs, found, relabel))
        inputs = self.inputs if corpus is self.inputs.corpus else replace(self.inputs, corpus=corpus)
        return replace(self, inputs=inputs, ranking=ranking, relabel=relabel, relevant_from=relevant_from, judge_positive=found)

    def select(self, settings: SelectionSettings, estimator: FNEstimator | None = None) -> Selection:
        """Choose negatives for every query; `estimator` is that of `estimator`, made before.

        Raises:
            SettingsError: the window ends behind the ranked candidates, or the ranking lacks a signal.
        """
        corpus, ranking = self.inputs.corpus, self.ranking
        pairs = relabelled(self.verdict_pairs, self.judge_positive, self.relabel)
        if settings.judge_grade is not None:
            # The filter knows the grades in the window; random fill takes passages outside it.
            high = judge_positives(corpus, self.verdict_pairs, self.judged, settings.judge_grade)
            outside = ranks_of(ranking.ids[:, settings.window_start : settings.window_end], *high) < 0
            pairs = with_removed(pairs, (high[0][outside], high[1][outside]))
        return replace(select(corpus, ranking, settings, pairs, estimator or self.fn_model), verdict_pairs=self.verdict_pairs)

    def left_out(self, selection: Selection) -> npt.NDArray[np.bool_]:
        """Return the queries whose rows are not written, (q,) bool: by "leave_out" those with negatives that the judge calls relevant."""
        if self.relabel != "leave_out":
            return np.zeros(len(selection.negatives), bool)
        return np.asarray(holds(selection.negatives, self.judge_positive).any(axis=1))

    def judge_counts(self, selection: Selection) -> dict[str, int]:
        """Count the pairs of this data with a grade ("pairs"), the candidates among them that the judge calls relevant ("relevant"), and by
        `relabel` what was "dropped", "promoted" or "left_out" (rows); empty without any grade."""
        if not len(self.judged.queries):
            return {}
        found = {"pairs": len(self.judged.queries), "relevant": len(self.judge_positive[0])}
        match self.relabel:
            case "drop":
                found["dropped"] = found["relevant"]
            case "promote":
                found["promoted"] = found["relevant"]
            case "leave_out":
                found["left_out"] = int(self.left_out(selection)[self.inputs.corpus.row_queries].sum())
        return found

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


def apply_verdicts(inputs: Inputs, ranking: Ranking, verdict_pairs: VerdictPairs, judged: JudgedPairs | None = None) -> Reviewed:
    """Attach the judge's grades, fit the false-negative model to people's verdicts, then make the passages that they add as positives
    positives; the given ones stay."""
    judged = judged or JudgedPairs.none()
    ranking = with_judge(inputs.corpus, ranking, judged.queries, judged.passages, judged.grades)
    return _reviewed(inputs, ranking, verdict_pairs, judged, apply_promotions(inputs.corpus, ranking, verdict_pairs))


def _reviewed(
    inputs: Inputs, ranking: Ranking, verdict_pairs: VerdictPairs, judged: JudgedPairs, promoted: tuple[Corpus, Ranking]
) -> Reviewed:
    fn_model = refit(inputs.corpus, ranking, read_by_people(verdict_pairs))
    found = judge_positives(promoted[0], verdict_pairs, judged, RELEVANT_FROM)
    changed = replace(inputs, corpus=promoted[0])
    return Reviewed(changed, promoted[1], verdict_pairs, fn_model, judged=judged, judge_positive=found)


@dataclass(slots=True)
class RunVerdicts:
    """The verdicts of people and the grades of a judge on one ranking, kept up to date; safe to use from many threads.

    `inputs` and `ranking` are without both.
    """

    inputs: Inputs
    ranking: Ranking
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _version: int | None = None
    _current: dict[tuple[int, int], Verdict] = field(default_factory=dict)
    _elsewhere: set[bytes] = field(default_factory=set)
    _pairs: VerdictPairs | None = None
    _promoted: tuple[bytes, tuple[Corpus, Ranking]] | None = None
    _judged: tuple[tuple[int, tuple[str, str] | None], JudgedPairs] | None = None
    _graded: tuple[str, Ranking] | None = None

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

    def judged(self, store: JudgementStore, chosen: tuple[str, str] | None) -> JudgedPairs:
        """Return the pairs that have a grade that counts (`judgements.counting`) in the store now; after a new one all are read again.

        Raises:
            WorkspaceError: the store cannot be read.
        """
        with self._lock:
            key = store.version(), chosen  # read first, so that grades after it are read once more
            if self._judged is None or self._judged[0] != key:
                self._judged = key, judged_pairs(self.inputs.corpus, counting(self.inputs.corpus, store.all(), chosen))
            return self._judged[1]

    def apply(self, pairs: VerdictPairs, judged: JudgedPairs | None = None) -> Reviewed:
        """Return `apply_verdicts`; grades and positives are added again only where they have changed."""
        judged = judged or JudgedPairs.none()
        key = b"".join([*(ids.tobytes() for ids in pairs.positive), judged.digest.encode()])
        with self._lock:
            if self._graded is None or self._graded[0] != judged.digest:
                ranking = with_judge(self.inputs.corpus, self.ranking, judged.queries, judged.passages, judged.grades)
                self._graded = judged.digest, ranking
            ranking = self._graded[1]
            if self._promoted is None or self._promoted[0] != key:
                self._promoted = key, apply_promotions(self.inputs.corpus, ranking, pairs)
            promoted = self._promoted[1]
        return _reviewed(self.inputs, ranking, pairs, judged, promoted)
