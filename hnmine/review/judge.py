"""An LLM as judge: what a run of it will take, and the calls."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.core.progress import OnProgress, ShouldStop
from hnmine.data.corpus import Corpus
from hnmine.review.judge_settings import JudgeSettings
from hnmine.review.judgements import Judgement, JudgementStore

__all__ = ["CallPlan", "Judged", "judge_pairs", "planned"]

Ids = npt.NDArray[np.int32]


class CallPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of a judge takes, known before it begins; its text is the line that is shown.

    Attributes:
        pairs: different pairs. judged: those that were judged before. calls: the others.
        prompt_tokens, completion_tokens: estimates for the calls.
        max_calls: the limit of the settings.
    """

    pairs: int
    judged: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    max_calls: int


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a run of a judge.

    Attributes:
        judgements: one for each pair, in the order of the pairs given.
        plan: what was known before.
        calls: questions that were answered. ungraded: judgements without a usable grade.
        prompt_tokens, completion_tokens: as the server counted them, 0 where it does not.
        repeated: requests that were sent again, because the server was busy or failed.
        seconds: of the calls.
        notes: messages for the user.
    """

    judgements: tuple[Judgement, ...]
    plan: CallPlan
    calls: int
    ungraded: int
    prompt_tokens: int
    completion_tokens: int
    repeated: int
    seconds: float
    notes: tuple[str, ...] = ()


def planned(
    corpus: Corpus, queries: Ids, passages: Ids, settings: JudgeSettings, store: JudgementStore | None, *, ask_again: bool = False
) -> CallPlan:
    """Return what judging these pairs takes; nothing is asked. Pairs that are there twice count once."""
    raise SystemExit


def judge_pairs(
    corpus: Corpus,
    queries: Ids,
    passages: Ids,
    settings: JudgeSettings,
    store: JudgementStore | None,
    *,
    ask_again: bool = False,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> Judged:
    """Judge pairs; see `Judged`."""
    raise SystemExit
