"""The review of one browser tab: its queue, and the state of its desk.

The queue is built once for a run and its filters and kept in the session. New events of the store only update it, so its order stays.
Desks of one server get different pairs (`reviewers`). On several servers with one workspace two desks may get the same pair, and the
later verdict counts.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import numpy as np
import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.core.text import counted, visible
from hnmine.data.verdicts import Choice, pairs_of
from hnmine.resources import OpenRun
from hnmine.review import queue
from hnmine.review.agreement import unresolved_pairs
from hnmine.review.queue import Queue, QueueSettings
from hnmine.review.store import Change
from hnmine.runs.uploads import Stamp
from hnmine.selection.select import Selection
from pages.review import pair
from pages.review.desk import Sent
from pages.review.words import LABELS
from pages.shared import access, audit, judging, state, statistics
from pages.shared.reviewers import reviewer

KEY = "review-session"
GRADES_FIRST = "review-grades-first"  # whether a judge's grade shows before the verdict
Mode = Literal["pair", "query"]

GENERATION_BITS = 40  # of a version of the store, above which it tells one file from another


@dataclass(slots=True, eq=False)
class ReviewSession:
    """The queue of a review.

    Attributes:
        key: what the queue was built from; token: its hash, by which a browser sees that it has another queue's pairs.
        version: the last event of the store that the queue includes.
        common: words too frequent to highlight. stamp: of the run and its data when the queue was built.
        others: the last verdicts of other reviewers since the queue was built, by pair.
        goal: number of reviews at which the reviews still needed were computed, and that number.
        recent: the last decisions on this data set, and what they were read from.
        ids, numbers: of pairs, because hashing their texts takes time.
    """

    key: str
    token: str
    run: OpenRun
    selection: Selection
    queue: Queue
    version: int
    common: frozenset[str]
    stamp: Stamp
    others: dict[tuple[int, int], Change] = field(default_factory=dict)
    goal: tuple[int, int | None] | None = None
    recent: tuple[tuple[object, ...], list[dict[str, Any]]] | None = None
    ids: dict[tuple[int, int], str] = field(default_factory=dict)
    numbers: dict[str, tuple[int, int]] = field(default_factory=dict)

    def texts(self, place: int) -> tuple[str, str]:
        """Return the query and the passage at an index of the queue."""
        query, passage = self.queue.pair(place)
        return self.run.inputs.corpus.queries[query], self.run.inputs.corpus.passages[passage]

    def id_of(self, numbers: tuple[int, int]) -> str:
        """Return the id of a pair (`pair.pair_id`)."""
        if numbers not in self.ids:
            self.ids[numbers] = pair.pair_id(self.run.inputs.corpus, *numbers)
        return self.ids[numbers]

    def pair_of(self, name: str) -> tuple[int, int] | None:
        """Return the pair of an id, None where the data does not have its texts."""
        found = self.numbers.get(name) or pair.numbers_of(name, self.run.inputs.corpus)
        if found is not None:  # a browser can ask for any number of others
            self.numbers[name] = found
        return found

    def catch_up(self, who: str) -> list[tuple[Change, tuple[int, int]]]:
        """Apply new events of the store to the queue; return those on pairs of the corpus with their pairs."""
        changes = resources.reviews().changes(self.version)
        if not changes:
            return []
        self.version = changes[-1].id
        queries, passages = pairs_of(self.run.inputs.corpus, [each.query for each in changes], [each.passage for each in changes])
        states = np.array([queue.STATES.index(each.verdict or "unreviewed") for each in changes], dtype=np.int8)
        here = (queries >= 0) & (passages >= 0)
        self.queue.note(
            queries[here], passages[here], states[here], [each.reviewers for each, known in zip(changes, here, strict=True) if known]
        )
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
        known: the desk and queue whose leases are held on this server.
        batches: number of decisions that were made beside the desk; Undo on the desk reverts them too.
    """

    sent: Sent | None = None
    recorded: dict[str, int] = field(default_factory=dict)
    error: str = ""
    turn: int = 0
    message: dict[str, Any] | None = None
    show: dict[str, Any] | None = None
    known: str = ""
    batches: int = 0

    @property
    def who(self) -> str:
        """The reviewer at the desk."""
        return access.person() or (visible(self.sent.who.strip()) if self.sent else "") or reviewer()

    def say(self, text: str) -> None:
        """Show a message on the desk."""
        self.turn += 1
        self.message = {"turn": self.turn, "text": text}

    def bring(self, numbers: tuple[int, int]) -> None:
        """Show a pair on the desk."""
        self.turn += 1
        self.show = {"turn": self.turn, "pair": numbers}


def at_desk() -> DeskState:
    """Return the state of this session's desk."""
    kept: DeskState = st.session_state.setdefault("review-desk-state", DeskState())
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
    wanted = (
        "" if run_id is None else msgspec.json.encode((run_id, state.selection_settings(run_id), settings, identity, turn, mode)).decode()
    )
    if kept is not None and kept.key == wanted and not outdated(kept):
        return kept
    version = resources.reviews().version() if run_id is not None else 0  # read first, so that events during the build are applied later
    stamp = resources.workspace().run_stamp(run_id) if run_id is not None else ()
    run, selection = state.opened()
    corpus = run.inputs.corpus
    with st.spinner("Building the queue ..."):
        with_verdict = queue.pairs_with_verdict(corpus, run.verdict_pairs, resources.reviews().verdicts())
        drawn = None
        if sample is not None:
            drawn = audit.pairs(run, sample)
        elif settings.source == "disagreements":
            drawn = unresolved_pairs(corpus, resources.reviews().decisions())
        elif settings.source in judging.SOURCES:
            drawn = judging.source(run, settings.source)
        judged = queue.pairs_by_reviewer(corpus, resources.reviews().by_reviewer())
        estimator = pair.estimator_without_judge(run)  # a place near the top must not hint at a grade
        pairs = queue.build(corpus, run.ranking, selection, settings, with_verdict, estimator, drawn, judged)
        if mode == "query":
            pairs = pairs.by_query()
        token = hashlib.sha256(f"{wanted} {version >> GENERATION_BITS}".encode()).hexdigest()[:16]
        review = ReviewSession(wanted, token, run, selection, pairs, version, statistics.common_words(run), stamp)
    st.session_state[KEY] = review
    return review


def outdated(review: ReviewSession) -> bool:
    """Return whether the file of verdicts was replaced, or the run or its data changed, since the queue was built.

    Raises:
        WorkspaceError: the run or its data set is gone, or cannot be read.
    """
    return resources.reviews().replaced(review.version) or review.stamp != resources.workspace().run_stamp(review.run.run.id)


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
    return f"The order uses an estimate updated with {counted(count, 'verdict')}."


def refresh() -> None:
    """Build a new queue on the next run, with the negatives that replaced removed ones."""
    st.session_state["review-refreshes"] = st.session_state.get("review-refreshes", 0) + 1


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
