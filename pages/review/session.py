"""The desk of one reviewer: the queue as it was made, what others have decided since, and whose turn a pair is.

A queue is made once for a run and its filters, and kept in the session; a key press only asks the store for what is new and
looks for the next mark in an array, so the next pair is there at once however large the run is. Whatever is decided is
written before anything here moves on.

Reviewers who sit at the same server are given different pairs (`presence.claims`). Over several servers of one workspace that cannot
be: then both verdicts are in the log, and the later one counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import msgspec
import numpy as np
import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.core.text import common_words, counted
from hnmine.data.verdicts import Choice, pairs_of
from hnmine.resources import OpenRun
from hnmine.review import queue
from hnmine.review.queue import Queue, QueueSettings
from hnmine.review.store import Change, Reverted
from hnmine.selection.select import Selection
from pages.review import presses
from pages.review.claims import claims, reviewer, session_id
from pages.review.presses import Press
from pages.shared import audit, state

KEY = "review-desk"
DONE = {"keep": "kept", "drop": "dropped", "promote": "promoted", "skip": "skipped"}


@dataclass(slots=True, eq=False)
class ReviewSession:
    """What a session reviews.

    Attributes:
        key: what the queue was made from. version: the last event of the store that is in it.
        place: the pair on the screen, or None when there is none. turn: counts the pairs shown.
        common: words too frequent to be marked.
        news: told once on the next screen. trouble: why the last decision was not written.
        other: somebody else's decision about the pair on the screen, made while it stood there.
    """

    key: str
    run: OpenRun
    selection: Selection
    queue: Queue
    version: int
    common: frozenset[str]
    place: int | None = None
    turn: int = 0
    news: str = ""
    trouble: str = ""
    other: Change | None = None

    def texts(self, place: int) -> tuple[str, str]:
        """Return the query and the passage at a place."""
        query, passage = self.queue.pair(place)
        return self.run.inputs.corpus.queries[query], self.run.inputs.corpus.passages[passage]

    def catch_up(self) -> list[Change]:
        """Take in what was decided since, by whom ever; return it."""
        changes = resources.reviews().changes(self.version)
        if changes:
            self.version = changes[-1].id
            pairs = pairs_of(self.run.inputs.corpus, [each.query for each in changes], [each.passage for each in changes])
            states = np.array([queue.STATES.index(each.verdict or "unreviewed") for each in changes], dtype=np.int8)
            here = (pairs[0] >= 0) & (pairs[1] >= 0)
            self.queue.note(pairs[0][here], pairs[1][here], states[here])
        return changes

    def show(self) -> int | None:
        """Return the place of the pair to show: the one on the screen while it is unjudged, then the next that nobody else reads."""
        changes = self.catch_up()
        if self.place is not None:
            wanted = self.queue.pair(self.place)
            self.other = next(
                (each for each in reversed(changes) if each.who != reviewer() and self._is(each, wanted)),
                self.other,
            )
            claims().hold(session_id(), self.run.run.id, wanted, reviewer())
            return self.place
        self.place = claims().take(session_id(), self.run.run.id, self.queue, reviewer(), self.catch_up)
        self.turn += 1
        return self.place

    def _is(self, change: Change, wanted: tuple[int, int]) -> bool:
        corpus = self.run.inputs.corpus
        queries, passages = pairs_of(corpus, [change.query], [change.passage])
        return (int(queries[0]), int(passages[0])) == wanted

    def leave(self, place: int | None = None) -> None:
        """Go on to the next pair, or to a given one."""
        self.place, self.other = place, None
        if place is not None:
            self.turn += 1


def also_here(desk: ReviewSession) -> list[str]:
    """Return the names of those who review the same run at this server just now."""
    return claims().names(session_id(), desk.run.run.id)


def open_desk(settings: QueueSettings) -> ReviewSession:
    """Return the session's desk for the current run and these settings; made anew when either is another than before."""
    run_id = st.session_state.run
    kept: ReviewSession | None = st.session_state.get(KEY)
    sample = audit.kept(run_id, state.selection_settings(run_id)) if run_id is not None and settings.source == "audit" else None
    drawn = sample and (sample.fingerprint, sample.settings)
    wanted = "" if run_id is None else msgspec.json.encode((run_id, state.selection_settings(run_id), settings, drawn)).decode()
    if kept is not None and kept.key == wanted and not outdated(kept):
        return kept
    version = resources.reviews().version() if run_id is not None else 0  # what is decided while the queue is made comes later again
    run, selection = state.opened()
    corpus = run.inputs.corpus
    with st.spinner("Making the queue ..."):
        judged = queue.pairs_with_verdict(corpus, run.verdict_pairs, resources.reviews().verdicts())
        drawn = sample and audit.pairs(run, sample)
        pairs = queue.build(corpus, run.ranking, selection, settings, judged, resources.estimator(run), drawn)
        desk = ReviewSession(wanted, run, selection, pairs, version, _common(run.run.dataset_id, run))
    st.session_state[KEY] = desk
    return desk


def outdated(desk: ReviewSession) -> bool:
    """Return whether the file of verdicts was replaced by another since the queue was made."""
    return resources.reviews().replaced(desk.version)


@st.cache_resource(show_spinner=False, max_entries=4)
def _common(dataset_id: str, _run: OpenRun) -> frozenset[str]:
    return common_words(_run.inputs.corpus.passages)


def signals() -> list[str]:
    """Return the names of the signals of the current run."""
    kept: ReviewSession | None = st.session_state.get(KEY)
    run = kept.run if kept is not None and kept.run.run.id == st.session_state.run else state.opened()[0]
    return sorted(run.ranking.signals)


def learnt(desk: ReviewSession) -> str:
    """Say from how many verdicts the estimate that ordered this queue has learnt; empty where it has none to go by."""
    count = desk.run.fn_model.verdicts
    if desk.queue.settings.order != "suspicious" or not count:
        return ""
    return f"The estimate has learnt from {counted(count, 'verdict')}."


def refresh() -> None:
    """Make the queue anew the next time, with the negatives that came in for dropped ones."""
    st.session_state.pop(KEY, None)


# What buttons do. Each is called before the screen is drawn again; what it writes is on the disk when it returns.


def decide(turn: int, verdict: Choice) -> None:
    """Judge the pair that stood on the screen at this turn, and go on."""
    desk, who = st.session_state.get(KEY), reviewer()
    if desk is None or desk.turn != turn or desk.place is None:  # the second of two presses: its pair is judged already
        return
    if _written(desk, [desk.texts(desk.place)], verdict, who):
        desk.leave()


def go_on(turn: int) -> None:
    """Leave a pair to what somebody else has just decided."""
    desk = st.session_state.get(KEY)
    if desk is not None and desk.turn == turn:
        desk.leave()


def decide_all(verdict: Choice | None) -> None:
    """Give all pairs that are left in the queue one verdict: one decision, one undo."""
    desk, who = st.session_state.get(KEY), reviewer()
    if desk is None:
        return
    desk.catch_up()
    places = np.flatnonzero(desk.queue.todo).tolist()
    if _written(desk, [desk.texts(place) for place in places], verdict, who):
        desk.news = f"{counted(len(places), 'pair')} {DONE[verdict] if verdict else 'without a verdict'}. One undo takes all of it back."
        desk.leave()


def change(batch: int, key: str) -> None:
    """Do what was picked for an earlier decision: another verdict, none, or have it shown again."""
    desk, who, picked = st.session_state.get(KEY), reviewer(), st.session_state.get(key)
    if desk is None or picked is None:
        return
    try:
        pairs = resources.reviews().pairs(batch)
    except HnmineError as error:
        desk.trouble = str(error)
        return
    if not pairs:
        desk.news = "This decision was replaced or taken back in the meantime."
        return
    if picked == "show":
        queries, passages = pairs_of(desk.run.inputs.corpus, [pairs[0][0]], [pairs[0][1]])
        place = int(desk.queue.places(queries, passages)[0])
        if place >= 0:
            desk.leave(place)
        else:
            desk.news = "This pair is not in the queue as it is filtered now."
        return
    if _written(desk, pairs, None if picked == "remove" else picked, who):
        desk.news = "The verdict is removed." if picked == "remove" else f"Changed to {DONE[picked]}."


def undo() -> None:
    """Take back this reviewer's last decision, and show its pair again."""
    pressed("undo")


def redo() -> None:
    """Take back the last undo."""
    pressed("redo")


def pressed(heard: Press | None = None) -> None:
    """Carry out each press of Undo and Redo that was not yet, whatever told of it; where nothing counts, the one that was heard."""
    desk, who, owed = st.session_state.get(KEY), reviewer(), presses.owed()
    if owed is None:
        owed = [heard] if heard else []
    if desk is None or not owed:
        return
    desk.trouble, said = "", []
    for what in owed:
        try:
            news = _revert(desk, who, what)
        except HnmineError as error:
            desk.trouble = str(error)
            break
        if news:
            said.append(news)
    told = [(news, len([*same])) for news, same in groupby(said)]
    if told:
        desk.news = " ".join(news if times == 1 else f"{news} ({times:,} times)" for news, times in told)
    elif not desk.trouble:
        desk.news = f"Nothing of {owed[0]} is left."


def _revert(desk: ReviewSession, who: str, what: Press) -> str:
    """Undo or redo once; return what to tell, which is nothing when nothing of it is left."""
    done: Reverted | None = getattr(resources.reviews(), what)(who)
    if done is None:
        return ""
    desk.catch_up()
    said, count = "Undone" if what == "undo" else "Done again", len(done.pairs)
    news = f"{said}: {counted(count, 'pair')}." if count else f"{said}."
    if done.skipped:
        news += f" {done.skipped:,} {'stays as it is' if done.skipped == 1 else 'stay as they are'}: decided by somebody else since."
    if count:
        first = pairs_of(desk.run.inputs.corpus, [done.pairs[0][0]], [done.pairs[0][1]])
        place = int(desk.queue.places(*first)[0])
        if what == "undo" and count == 1 and place >= 0:
            desk.leave(place)
        elif place < 0:
            news += " Not in the queue as it is filtered now."
        else:
            desk.leave()
    return news


def _written(desk: ReviewSession, pairs: list[tuple[str, str]], verdict: Choice | None, who: str) -> bool:
    """Write a decision; keep the reason when it cannot be written, so that the screen stays where it is."""
    try:
        resources.reviews().decide(pairs, verdict, who)
    except HnmineError as error:
        desk.trouble = str(error)
        return False
    desk.trouble = ""
    return True
