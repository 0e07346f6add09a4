"""Judging with an LLM in the background: the judge of this workspace, its grades of a run's pairs, what more would cost, and the job.

Grades are never shown or stored as verdicts. A job is one of the server's, as mining is: it goes on without the page, and what is judged
when it ends is stored, however it ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import streamlit as st

from hnmine import resources
from hnmine.core.errors import EncodeError, HnmineError
from hnmine.core.progress import OnProgress, ShouldStop
from hnmine.core.text import shortened, visible
from hnmine.data.corpus import build_corpus
from hnmine.data.rows import Row
from hnmine.data.verdicts import pairs_of
from hnmine.models.served.server import Server
from hnmine.resources import OpenRun
from hnmine.review.judge import CallPlan, judge_pairs, planned
from hnmine.review.judge_agreement import JudgeAgreement, decided, judge_agreement
from hnmine.review.judge_prompt import GRADES, JudgePrompt
from hnmine.review.judge_settings import JudgeSettings
from hnmine.review.judgements import FILE, Judgement
from hnmine.runs.jobs import Job
from hnmine.runs.judge_setup import read_judge
from pages.shared import servers

__all__ = [
    "SOURCES",
    "Graded",
    "agreement",
    "any_graded",
    "check",
    "chosen",
    "cost",
    "graded",
    "graded_or_none",
    "latest",
    "relevant_from",
    "said",
    "source",
    "start",
    "tokens",
]

RELEVANT_FROM = 2  # where no judge is chosen
# A query, its positive and a passage, for a check.
EXAMPLE = (
    "How do I end a ride?",
    "To end a ride, lock the bike at a station. The light turns green when the ride has ended.",
    "Lock the bike at any station to end a ride. When the light turns green, the ride has ended.",
)
# Sources of the review queue that need grades.
SOURCES = {
    "judged": "Graded by the judge",
    "judged_relevant": "Relevant by the judge",
    "judge_differs": "Judge and reviewers disagree",
}

Ids = npt.NDArray[np.int32]
Pairs = tuple[Ids, Ids]


@dataclass(frozen=True, slots=True, eq=False)
class Graded:
    """A judge's grades of a run's pairs, the last one of each.

    Attributes:
        judgements: in the order of their times. pairs: their queries and passages, (p,) int32 each. grades: (p,) float32, NaN for none.
        by_pair: the judgement of each pair.
        key: the version of the store when they were read, and the judge's model and prompt, "" for none.
    """

    judgements: tuple[Judgement, ...]
    pairs: Pairs
    grades: npt.NDArray[np.float32]
    by_pair: dict[tuple[int, int], Judgement]
    key: tuple[int, str, str]

    @property
    def judge(self) -> tuple[str, str]:
        """The model and the version of its prompt."""
        return self.key[1:]


def chosen() -> JudgeSettings | None:
    """Return the judge of this workspace, or None.

    Raises:
        WorkspaceError: its file is damaged.
    """
    return read_judge(resources.workspace().root)


def graded(run: OpenRun) -> Graded:
    """Return the grades that count: those of one judge (`resources.judged`).

    Raises:
        WorkspaceError: they cannot be read, or the settings of the judge are damaged.
    """
    chosen()
    (judge, prompt, _), *_ = resources.judged(run.run.id).given or [("", "", 0)]
    return _graded(run, _version() if judge else 0, judge, prompt)


def any_graded() -> bool:
    """Return whether an LLM has judged any pair of this workspace; False where the grades cannot be read, which the Quality screen says."""
    try:
        return _version() > 0
    except HnmineError:
        return False


def graded_or_none(run: OpenRun) -> Graded | None:
    """Return `graded`, or None where there are none or they cannot be read, which the Quality screen says."""
    try:
        found = graded(run)
    except HnmineError:
        return None
    return found if found.by_pair else None


def _version() -> int:
    """Return the version of the store, 0 without a file, which is made by the first job: a workspace that is only read stays as it is."""
    path = resources.workspace().root / FILE
    return resources.judgements().version() if path.exists() or path.is_symlink() else 0


@resources.cached(by_verdicts=False)
def _graded(run: OpenRun, version: int, judge: str, prompt: str) -> Graded:
    given = resources.judgements().all(judge, prompt) if version else []
    queries, passages = pairs_of(run.inputs.corpus, [each.query for each in given], [each.passage for each in given])
    by_pair: dict[tuple[int, int], Judgement] = {}
    for pair, each in zip(zip(queries.tolist(), passages.tolist(), strict=True), given, strict=True):
        if pair[1] >= 0:
            by_pair.pop(pair, None)
            by_pair[pair] = each
    table = np.array([*by_pair], np.int32).reshape(-1, 2)
    grades = [np.nan if each.grade is None else each.grade for each in by_pair.values()]
    return Graded(
        tuple(by_pair.values()), (table[:, 0].copy(), table[:, 1].copy()), np.array(grades, np.float32), by_pair, (version, judge, prompt)
    )


def agreement(run: OpenRun, found: Graded, relevant_from: int) -> JudgeAgreement:
    """Return the agreement of the judge with people on a run's pairs.

    Raises:
        WorkspaceError: the verdicts cannot be read.
    """
    return _agreement(run, *found.key, resources.reviews().version(), relevant_from)


@resources.cached(by_verdicts=False)
def _agreement(run: OpenRun, version: int, judge: str, prompt: str, verdicts: int, relevant_from: int) -> JudgeAgreement:
    judgements = _graded(run, version, judge, prompt).judgements
    return judge_agreement(run.inputs.corpus, judgements, resources.reviews().by_reviewer(), relevant_from)


def relevant_from() -> int:
    """Return the lowest grade that counts as relevant.

    Raises:
        WorkspaceError: the settings of the judge are damaged.
    """
    settings = chosen()
    return RELEVANT_FROM if settings is None else settings.relevant_from


def source(run: OpenRun, name: str) -> Pairs:
    """Return the pairs of one of SOURCES.

    Raises:
        WorkspaceError: grades or verdicts cannot be read.
    """
    found, lowest = graded(run), relevant_from()
    wanted = found.grades >= lowest
    if name == "judged":
        wanted[:] = True
    elif name == "judge_differs":
        people = decided(run.inputs.corpus, resources.reviews().by_reviewer())
        reviewed = np.array([pair in people for pair in found.by_pair], dtype=bool)
        wanted = reviewed & ~np.isnan(found.grades) & (wanted != [people.get(pair, False) for pair in found.by_pair])
    return found.pairs[0][wanted], found.pairs[1][wanted]


def said(judgement: Judgement) -> str:
    """Return a judge's grade and reason in words; none of it is Markdown."""
    grade = "no usable grade" if judgement.grade is None else f"grade {judgement.grade}, {GRADES[judgement.grade]}"
    return f"Judge ({shortened(judgement.judge, 60)}): {grade}" + (f". {judgement.reason}" if judgement.reason else "")


# The job


def cost(run: OpenRun, pairs: Pairs, settings: JudgeSettings, *, ask_again: bool = False) -> CallPlan:
    """Return what judging pairs takes; nothing is asked. `ask_again` as in `judge_pairs`.

    Raises:
        WorkspaceError: the grades cannot be read.
    """
    name = f"judge-cost-{ask_again}"
    known: tuple[object, CallPlan] | None = st.session_state.get(name)
    key = (run.key, *(each.tobytes() for each in pairs), settings, resources.judgements().version())
    if known is None or known[0] != key:
        plan = planned(run.inputs.corpus, *pairs, settings, resources.judgements(), ask_again=ask_again)
        known = st.session_state[name] = key, plan
    return known[1]


def check(server: Server, model: str, prompt: JudgePrompt) -> tuple[str, ...]:
    """Ask an LLM about one fixed pair, and return what it answers, in lines; nothing is stored.

    Raises:
        As `judge_pairs`; or the answer has no usable grade (EncodeError).
    """
    query, positive, passage = EXAMPLE
    corpus, pair = build_corpus([Row(0, query, [positive], [passage], {})]), np.zeros(1, np.int32)
    done = judge_pairs(corpus, pair, pair + 1, JudgeSettings(model=model, server=server, prompt=prompt), None)
    (judgement,) = done.judgements
    if judgement.grade is None:
        raise EncodeError(
            f"the judge {model} gave no usable grade (its answer: {judgement.reason.rstrip('. ')}); check the model and the prompt"
        )
    counts = f"{judgement.tokens:,} tokens" if judgement.tokens else "tokens not counted by the server"
    return (
        f"Model: {visible(model)}, prompt {prompt.version}",
        f"Grade of a passage that answers its query: {judgement.grade} ({done.seconds:,.1f} s, {counts})",
    )


def start(run: OpenRun, pairs: Pairs, settings: JudgeSettings, *, ask_again: bool = False) -> Job:
    """Queue the judging of pairs. `ask_again` as in `judge_pairs`.

    Raises:
        AccessError: the address may not be asked here.
        WorkspaceError: there is no such data set.
    """
    servers.require(settings.server)
    corpus, store = run.inputs.corpus, resources.judgements()
    name = f"Judging {resources.workspace().dataset(run.run.dataset_id).name}"

    def work(on_progress: OnProgress, should_stop: ShouldStop) -> str:
        done = judge_pairs(corpus, *pairs, settings, store, ask_again=ask_again, on_progress=on_progress, should_stop=should_stop)
        return "\n".join(done.notes)

    before = store.usage(settings.model, settings.prompt.version)
    job = resources.jobs().submit(_subject(run.run.dataset_id), work, name=name)
    _begun()[job.id] = settings, before.prompt_tokens + before.completion_tokens
    return job


def latest(dataset_id: str) -> Job | None:
    """Return the newest job that judges pairs of a data set, or None."""
    return resources.jobs().latest(_subject(dataset_id))


def tokens(job: Job) -> int:
    """Return the tokens that the server has counted for a job so far.

    Raises:
        WorkspaceError: the grades cannot be read.
    """
    settings, before = _begun()[job.id]
    now = resources.judgements().usage(settings.model, settings.prompt.version)
    return now.prompt_tokens + now.completion_tokens - before


def _subject(dataset_id: str) -> str:
    return f"judging {dataset_id}"  # another than mining has, which opens its run


@st.cache_resource(show_spinner=False)
def _begun() -> dict[int, tuple[JudgeSettings, int]]:
    """Return for each job its judge, and the tokens that were counted before it."""
    return {}
