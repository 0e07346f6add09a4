"""The review of one browser tab: its queue, what its desk sent, and what the desk gets next.

The queue is built once for a run and its filters and kept in the session. `receive` writes the desk's decisions in one transaction and
acknowledges them; `answer` reads new events from the store and sends the pairs that follow, without those that the browser has. Desks of
one server get different pairs (`reviewers`); on several servers with one workspace two may get the same pair, and the later verdict counts.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import numpy as np
import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError, InputError
from hnmine.core.text import counted
from hnmine.data.corpus import Corpus
from hnmine.data.verdicts import Choice, pairs_of
from hnmine.resources import OpenRun
from hnmine.review import audit_sample, queue
from hnmine.review.audit_plan import more_reviews
from hnmine.review.queue import Queue, QueueSettings, Source
from hnmine.review.store import Action, Change, Decision
from hnmine.runs.workspace import Run
from hnmine.selection.select import Selection
from pages.review import desk, pair, reviewers
from pages.review.desk import Box, Sent
from pages.review.reviewers import desks, leases, session_id
from pages.review.words import LABELS
from pages.shared import audit, state, statistics

KEY = "review-session"
Mode = Literal["pair", "query"]

AHEAD: dict[Mode, int] = {"pair": 50, "query": 120}  # pairs that a desk has ahead
MOST_BYTES = 2_000_000  # of texts in one answer
GOAL = 0.03  # margin of error of an audit
# Pairs as they are counted on the desk.
WHAT: dict[Source, str] = {
    "chosen": "chosen negatives",
    "window": "candidates in the window",
    "nearest": "candidates before the window",
    "audit": "pairs of the audit sample",
    "disagreements": "disagreements",
}
GENERATION_BITS = 40  # of a version of the store, above which it tells one file from another
GOAL_EVERY = 10  # reviews after which the goal is computed again, in 0.1 s


@dataclass(slots=True, eq=False)
class ReviewSession:
    """The queue of a review.

    Attributes:
        key: what the queue was built from; token: its hash, by which a browser sees that it has another queue's pairs.
        version: the last event of the store that the queue includes.
        common: words too frequent to highlight. others: the last verdicts of other reviewers since the queue was built, by pair.
        goal: number of reviews at which the reviews still needed were computed, and that number.
        recent: the last decisions on this data set, at a version of the store.
    """

    key: str
    token: str
    run: OpenRun
    selection: Selection
    queue: Queue
    version: int
    common: frozenset[str]
    others: dict[tuple[int, int], Change] = field(default_factory=dict)
    goal: tuple[int, int | None] | None = None
    recent: tuple[int, list[Decision]] | None = None

    def texts(self, place: int) -> tuple[str, str]:
        """Return the query and the passage at an index of the queue."""
        query, passage = self.queue.pair(place)
        return self.run.inputs.corpus.queries[query], self.run.inputs.corpus.passages[passage]

    def catch_up(self, who: str) -> list[tuple[Change, tuple[int, int]]]:
        """Apply new events of the store to the queue; return those on pairs of the corpus with their pairs."""
        changes = resources.reviews().changes(self.version)
        if not changes:
            return []
        self.version = changes[-1].id
        queries, passages = pairs_of(self.run.inputs.corpus, [each.query for each in changes], [each.passage for each in changes])
        states = np.array([queue.STATES.index(each.verdict or "unreviewed") for each in changes], dtype=np.int8)
        here = (queries >= 0) & (passages >= 0)
        self.queue.note(queries[here], passages[here], states[here])
        found = [
            (change, (query, passage))
            for change, query, passage, known in zip(changes, queries.tolist(), passages.tolist(), here.tolist(), strict=True)
            if known
        ]
        for change, numbers in found:
            if change.who == who:
                self.others.pop(numbers, None)
            else:
                self.others[numbers] = change
        return found


@dataclass(slots=True)
class DeskState:
    """What the server knows of the desk in the browser.

    Attributes:
        sent: its last message. recorded: the highest action on the disk, by desk. error: why actions are not written.
        turn: counts messages and pairs that the server shows. message, show: the last of them.
        known: the desk and queue whose leases are held on this server. default: a name for a reviewer who gives none.
        batches: number of decisions that were made beside the desk; Undo on the desk reverts them too.
    """

    sent: Sent | None = None
    recorded: dict[str, int] = field(default_factory=dict)
    error: str = ""
    turn: int = 0
    message: dict[str, Any] | None = None
    show: dict[str, Any] | None = None
    known: str = ""
    default: str = ""
    batches: int = 0

    @property
    def who(self) -> str:
        """The reviewer at the desk."""
        return (self.sent.who.strip() if self.sent else "") or self.default

    def say(self, text: str) -> None:
        """Show a message on the desk."""
        self.turn += 1
        self.message = {"turn": self.turn, "text": text}

    def bring(self, numbers: tuple[int, int]) -> None:
        """Show a pair on the desk."""
        self.turn += 1
        self.show = {"turn": self.turn, "pair": numbers}


def at_desk() -> DeskState:
    """Return the state of this session's desk, with a default name of its reviewer."""
    kept: DeskState = st.session_state.setdefault("review-desk-state", DeskState())
    if not kept.default:
        kept.default = desks().new_name(session_id())
    return kept


def open_session(settings: QueueSettings, mode: Mode) -> ReviewSession:
    """Return the review of the current run with these settings; build a new one if either has changed.

    In Query mode the pairs of each query are together, the query of the first pair first.
    """
    run_id = st.session_state.run
    kept: ReviewSession | None = st.session_state.get(KEY)
    sample = audit.kept(run_id, state.selection_settings(run_id)) if run_id is not None and settings.source == "audit" else None
    identity = sample and (sample.fingerprint, sample.settings)
    turn = st.session_state.get("review-refreshes", 0)
    wanted = "" if run_id is None else msgspec.json.encode((run_id, state.selection_settings(run_id), settings, identity, turn, mode)).decode()
    if kept is not None and kept.key == wanted and not outdated(kept):
        return kept
    version = resources.reviews().version() if run_id is not None else 0  # read first, so that events during the build are applied later
    run, selection = state.opened()
    corpus = run.inputs.corpus
    with st.spinner("Building the queue ..."):
        with_verdict = queue.pairs_with_verdict(corpus, run.verdict_pairs, resources.reviews().verdicts())
        drawn = sample and audit.pairs(run, sample)
        pairs = queue.build(corpus, run.ranking, selection, settings, with_verdict, resources.estimator(run), drawn)
        if mode == "query":
            pairs = pairs.by_query()
        token = hashlib.sha256(f"{wanted} {version >> GENERATION_BITS}".encode()).hexdigest()[:16]
        review = ReviewSession(wanted, token, run, selection, pairs, version, statistics.common_words(run))
    st.session_state[KEY] = review
    return review


def outdated(review: ReviewSession) -> bool:
    """Return whether the file of verdicts was replaced since the queue was built."""
    return resources.reviews().replaced(review.version)


def signals() -> list[str]:
    """Return the names of the signals of the current run."""
    kept: ReviewSession | None = st.session_state.get(KEY)
    run = kept.run if kept is not None and kept.run.run.id == st.session_state.run else state.opened()[0]
    return sorted(run.ranking.signals)


def fit_size(review: ReviewSession) -> str:
    """Return on how many verdicts the model that ordered this queue is fitted; empty without any, or in another order."""
    count = review.run.fn_model.verdicts
    if review.queue.settings.order != "fn_probability" or not count:
        return ""
    return f"The model is fitted on {counted(count, 'verdict')}."


def refresh() -> None:
    """Build a new queue on the next run, with the negatives that replaced removed ones."""
    st.session_state["review-refreshes"] = st.session_state.get("review-refreshes", 0) + 1


# From the browser


def receive() -> None:
    """Write what the desk sent and has not seen acknowledged. Streamlit calls it before it draws the screen again."""
    here = at_desk()
    try:
        told = desk.sent()
    except msgspec.ValidationError as error:
        here.error = f"the message of this page cannot be read ({error}); reload the page"
        return
    if told is None:
        return
    if here.sent is None or here.sent.desk != told.desk:  # another page in this session
        here.message = here.show = None
    here.sent, here.error = told, ""
    for box in told.boxes:
        try:
            _write(box, here)
        except HnmineError as error:
            here.error = str(error)


def _write(box: Box, here: DeskState) -> None:
    """Write the actions of a desk in one transaction."""
    before = here.recorded.get(box.desk, 0)
    asked = next((each for each in reversed(box.actions) if each.asked and each.seq > before), None)
    review: ReviewSession | None = st.session_state.get(KEY)
    if asked and review is not None:
        review.catch_up(here.who)
    here.recorded[box.desk] = resources.reviews().record(box.desk, [_action(each) for each in box.actions])
    if asked and review is not None:
        _tell(review, here, asked.kind)


def _action(step: desk.Step) -> Action:
    pairs = _texts(step) if step.pairs else ()
    return Action(seq=step.seq, kind=step.kind, pairs=pairs, verdict=step.verdict, note=step.note, who=step.who, at=step.at)


def _texts(step: desk.Step) -> tuple[tuple[str, str], ...]:
    """Return the texts of an action's pairs.

    Raises:
        WorkspaceError: the run cannot be opened.
        InputError: its data does not have these texts.
    """
    review: ReviewSession | None = st.session_state.get(KEY)
    run = review.run if review is not None and review.run.run.id == step.run else resources.open_run(step.run)
    corpus: Corpus = run.inputs.corpus
    found = [pair.numbers_of(each, corpus) for each in step.pairs]
    if None in found:
        raise InputError(f"a decision is on a pair that the data of run {step.run} does not have; restore the data, or discard the decision")
    return tuple((corpus.queries[numbers[0]], corpus.passages[numbers[1]]) for numbers in found if numbers)


def _tell(review: ReviewSession, here: DeskState, kind: str) -> None:
    """Say what an undo or redo did that the browser could not do itself, and show the pair."""
    changes = [numbers for change, numbers in review.catch_up(here.who) if change.who == here.who]
    if not changes:
        here.say(f"Nothing to {kind}.")
        return
    here.say(f"{'Undone' if kind == 'undo' else 'Redone'}: {counted(len(changes), 'pair')}.")
    if len(changes) == 1:
        here.bring(changes[0])


# To the browser


def answer(review: ReviewSession, mode: Mode, overlap: int) -> dict[str, Any]:
    """Return what the desk needs: acknowledgements, the order of the next pairs, and those that it does not have."""
    here, corpus = at_desk(), review.run.inputs.corpus
    review.catch_up(here.who)
    told, run = here.sent, review.run.run
    found: dict[str, Any] = {
        "workspace": workspace_id(), "run": run.id, "queue": review.token, "mode": mode, "who": here.default, "desk": "", "turn": 0,
        "recorded": here.recorded, "error": here.error, "message": here.message, "show": None, "batches": here.batches, "order": [], "pairs": [], "taken": {},
        "total": len(review.queue), "done": len(review.queue) - review.queue.counts["unreviewed"], "goal": _goal(review), "end": "",
        "waiting": False, "what": WHAT[review.queue.settings.source],
    }  # fmt: skip
    if told is None:
        return found
    desks().enter(session_id(), told.desk, here.who)
    ahead = {numbers for name in told.have if (numbers := pair.numbers_of(name, corpus))}
    if here.known != told.desk + review.token:
        _keep(review, told.desk, run, ahead)
        here.known = told.desk + review.token
    places = leases().take(run.id, told.desk, review.queue, here.who, AHEAD[mode], overlap, desks().alive)
    wanted = [review.queue.pair(place) for place in places]
    names = {numbers: pair.pair_id(corpus, *numbers) for numbers in wanted}
    new = [numbers for numbers in wanted if numbers not in ahead]
    if here.show is not None and here.show["turn"] > told.shown:
        names[here.show["pair"]] = pair.pair_id(corpus, *here.show["pair"])
        found["show"] = {"turn": here.show["turn"], "id": names[here.show["pair"]]}
        new.insert(0, here.show["pair"])
    found |= {
        "desk": told.desk, "turn": told.turn, "order": [names[numbers] for numbers in wanted], "pairs": _described(review, new),
        "taken": _taken(review, told, corpus, set(wanted)),
    }  # fmt: skip
    if not wanted:
        left = int(np.count_nonzero(review.queue.todo))
        found["waiting"] = bool(left)
        found["end"] = _end(review, left)
    return found


def _keep(review: ReviewSession, desk_id: str, run: Run, ahead: set[tuple[int, int]]) -> None:
    """Hold the pairs that a desk already has, after the server has started again."""
    if ahead:
        table = np.array(sorted(ahead), dtype=np.int32)
        places = review.queue.places(table[:, 0], table[:, 1])
        leases().keep(run.id, desk_id, review.queue, places[places >= 0].tolist(), desks().alive)


def _described(review: ReviewSession, pairs: list[tuple[int, int]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    room = MOST_BYTES
    for query, passage in dict.fromkeys(pairs):
        place = int(review.queue.places(np.array([query], np.int32), np.array([passage], np.int32))[0])
        found.append(pair.described(review, query, passage, int(review.queue.verdicts[place]) if place >= 0 else 0))
        room -= sum(map(len, found[-1]["candidate"])) + sum(len(text) for each in found[-1]["positives"] for text in each["text"])
        if room < 0:
            break
    return found


def _taken(review: ReviewSession, told: Sent, corpus: Corpus, wanted: set[tuple[int, int]]) -> dict[str, str]:
    """Return a message for the pair on the desk if another reviewer has judged it meanwhile."""
    numbers = pair.numbers_of(told.current, corpus)
    change = review.others.get(numbers) if numbers and numbers not in wanted else None
    if change is None:
        return {}
    who = change.who or "Another reviewer"
    said = f"marked this pair as {LABELS[change.verdict]}" if change.verdict else "removed the verdict on this pair"
    return {told.current: f"{who} {said} while it was on your screen. Your verdict replaces theirs."}


def _goal(review: ReviewSession) -> str:
    """Return how many more reviews of an audit sample reach the margin of error; empty for other pairs."""
    if review.queue.settings.source != "audit":
        return ""
    done = len(review.queue) - review.queue.counts["unreviewed"]
    if review.goal is None or not 0 <= done - review.goal[0] < GOAL_EVERY:
        sample = audit.kept(review.run.run.id, review.selection.settings)
        if sample is None:
            return ""
        places = review.queue.places(*audit_sample.pairs_in(sample, review.run.inputs.corpus))
        states = np.where(places >= 0, review.queue.verdicts[places], 0)
        review.goal = done, more_reviews(sample, states, GOAL)
    if review.goal[1] is None:
        return ""
    more = max(0, review.goal[1] - (done - review.goal[0]))
    return f"about {more:,} more to reach ±3 points" if more else "±3 points reached"


def _end(review: ReviewSession, left: int) -> str:
    if left:
        return f"Other reviewers have the last pairs open.\n{counted(left, 'pair')} will appear here if nobody gives a verdict."
    if not len(review.queue):
        return "No pairs match these filters.\nChange the filters, or choose other pairs."
    return "The sample is reviewed." if review.queue.settings.source == "audit" else "This queue is reviewed."


def workspace_id() -> str:
    """Return a name of the workspace, under which a browser keeps what is unsaved."""
    return hashlib.sha256(str(resources.workspace().root.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]


# Callbacks of native buttons. Streamlit calls them before it draws the screen again; the verdict is on the disk when they return.


def decide_all(verdict: Choice | None) -> None:
    """Give all open pairs of the queue one verdict, or remove theirs (None), as one decision."""
    review, here = st.session_state.get(KEY), at_desk()
    if review is None:
        return
    review.catch_up(here.who)
    places = np.flatnonzero(review.queue.todo).tolist()
    try:
        resources.reviews().decide([review.texts(place) for place in places], verdict, here.who)
    except HnmineError as error:
        here.say(f"Not written: {error}")
        return
    here.batches += 1
    here.say(f"{counted(len(places), 'pair')}: {LABELS[verdict] if verdict else 'verdict removed'}. Undo reverts all of them.")


def show(query: str, passage: str) -> None:
    """Show a pair again, so that its verdict can be changed."""
    review: ReviewSession | None = st.session_state.get(KEY)
    if review is None:
        return
    queries, passages = pairs_of(review.run.inputs.corpus, [query], [passage])
    if queries[0] >= 0 and passages[0] >= 0:
        at_desk().bring((int(queries[0]), int(passages[0])))
