"""The review session of one browser tab: its queue, the pair on the screen, and the actions of the buttons.

The queue is built once for a run and its filters and kept in the session. A key press writes the verdict, reads new events from the
store and searches an array for the next open pair, so the next pair shows at once in a run of any size. Reviewers on one server get
different pairs (`claims`); reviewers on several servers with one workspace may get the same pair, and then the later verdict counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import msgspec
import numpy as np
import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.core.text import counted
from hnmine.data.verdicts import Choice, pairs_of
from hnmine.resources import OpenRun
from hnmine.review import queue
from hnmine.review.queue import Queue, QueueSettings
from hnmine.review.store import Change, Reverted
from hnmine.selection.select import Selection
from pages.review import presses
from pages.review.claims import claims, reviewer, session_id
from pages.review.presses import Press
from pages.shared import audit, state, statistics

KEY = "review-session"
# The five verdicts as the screens name them.
LABELS: dict[Choice, str] = {
    "negative": "negative",
    "relevant": "relevant (removed)",
    "positive": "relevant (added as positive)",
    "junk": "junk (removed)",
    "unsure": "unsure",
}


@dataclass(slots=True, eq=False)
class ReviewSession:
    """The state of a review.

    Attributes:
        key: what the queue was built from. version: the last event of the store that the queue includes.
        place: index of the pair on the screen, or None. step: number of pairs shown so far.
        common: words too frequent to highlight.
        message: shown once on the next screen. error: why the last verdict was not written.
        conflict: another reviewer's verdict on the pair on the screen, given since it was shown.
    """

    key: str
    run: OpenRun
    selection: Selection
    queue: Queue
    version: int
    common: frozenset[str]
    place: int | None = None
    step: int = 0
    message: str = ""
    error: str = ""
    conflict: Change | None = None

    def texts(self, place: int) -> tuple[str, str]:
        """Return the query and the passage at an index of the queue."""
        query, passage = self.queue.pair(place)
        return self.run.inputs.corpus.queries[query], self.run.inputs.corpus.passages[passage]

    def catch_up(self) -> list[Change]:
        """Apply new events of the store to the queue; return them."""
        changes = resources.reviews().changes(self.version)
        if changes:
            self.version = changes[-1].id
            pairs = pairs_of(self.run.inputs.corpus, [each.query for each in changes], [each.passage for each in changes])
            states = np.array([queue.STATES.index(each.verdict or "unreviewed") for each in changes], dtype=np.int8)
            here = (pairs[0] >= 0) & (pairs[1] >= 0)
            self.queue.note(pairs[0][here], pairs[1][here], states[here])
        return changes

    def show(self) -> int | None:
        """Return the index of the pair to show: the current one until it has a verdict, then the next that no other session shows."""
        changes = self.catch_up()
        if self.place is not None:
            wanted = self.queue.pair(self.place)
            self.conflict = next(
                (each for each in reversed(changes) if each.who != reviewer() and self._is(each, wanted)),
                self.conflict,
            )
            claims().hold(session_id(), self.run.run.id, wanted, reviewer())
            return self.place
        self.place = claims().take(session_id(), self.run.run.id, self.queue, reviewer(), self.catch_up)
        self.step += 1
        return self.place

    def _is(self, change: Change, wanted: tuple[int, int]) -> bool:
        corpus = self.run.inputs.corpus
        queries, passages = pairs_of(corpus, [change.query], [change.passage])
        return (int(queries[0]), int(passages[0])) == wanted

    def leave(self, place: int | None = None) -> None:
        """Go to the next pair, or to the pair at an index."""
        self.place, self.conflict = place, None
        if place is not None:
            self.step += 1


def also_here(review: ReviewSession) -> list[str]:
    """Return the names of the other reviewers of this run on this server."""
    return claims().names(session_id(), review.run.run.id)


def open_session(settings: QueueSettings) -> ReviewSession:
    """Return the review of the current run with these settings; build a new one if either has changed."""
    run_id = st.session_state.run
    kept: ReviewSession | None = st.session_state.get(KEY)
    sample = audit.kept(run_id, state.selection_settings(run_id)) if run_id is not None and settings.source == "audit" else None
    identity = sample and (sample.fingerprint, sample.settings)
    wanted = "" if run_id is None else msgspec.json.encode((run_id, state.selection_settings(run_id), settings, identity)).decode()
    if kept is not None and kept.key == wanted and not outdated(kept):
        return kept
    version = resources.reviews().version() if run_id is not None else 0  # read first, so that events during the build are applied later
    run, selection = state.opened()
    corpus = run.inputs.corpus
    with st.spinner("Building the queue ..."):
        with_verdict = queue.pairs_with_verdict(corpus, run.verdict_pairs, resources.reviews().verdicts())
        drawn = sample and audit.pairs(run, sample)
        pairs = queue.build(corpus, run.ranking, selection, settings, with_verdict, resources.estimator(run), drawn)
        review = ReviewSession(wanted, run, selection, pairs, version, statistics.common_words(run))
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
    st.session_state.pop(KEY, None)


# Callbacks of the buttons. Streamlit calls them before it draws the screen again; the verdict is on the disk when they return.


def decide(step: int, verdict: Choice) -> None:
    """Write the verdict on the pair shown at this step, and go to the next."""
    review, who = st.session_state.get(KEY), reviewer()
    if review is None or review.step != step or review.place is None:  # the second of two quick presses
        return
    if _written(review, [review.texts(review.place)], verdict, who):
        review.leave()


def skip_conflict(step: int) -> None:
    """Keep another reviewer's verdict on the pair, and go to the next."""
    review = st.session_state.get(KEY)
    if review is not None and review.step == step:
        review.leave()


def decide_all(verdict: Choice | None) -> None:
    """Give all open pairs of the queue one verdict, or remove theirs (None), as one decision."""
    review, who = st.session_state.get(KEY), reviewer()
    if review is None:
        return
    review.catch_up()
    places = np.flatnonzero(review.queue.todo).tolist()
    if _written(review, [review.texts(place) for place in places], verdict, who):
        review.message = f"{counted(len(places), 'pair')}: {LABELS[verdict] if verdict else 'verdict removed'}. Undo reverts all of them."
        review.leave()


def change(batch: int, key: str) -> None:
    """Change an earlier decision as chosen in its menu: another verdict, no verdict, or show the pair again."""
    review, who, choice = st.session_state.get(KEY), reviewer(), st.session_state.get(key)
    if review is None or choice is None:
        return
    try:
        pairs = resources.reviews().pairs(batch)
    except HnmineError as error:
        review.error = str(error)
        return
    if not pairs:
        review.message = "This decision was replaced or undone in the meantime."
        return
    if choice == "show":
        queries, passages = pairs_of(review.run.inputs.corpus, [pairs[0][0]], [pairs[0][1]])
        place = int(review.queue.places(queries, passages)[0])
        if place >= 0:
            review.leave(place)
        else:
            review.message = "This pair does not match the current filters."
        return
    if _written(review, pairs, None if choice == "remove" else choice, who):
        review.message = "Verdict removed." if choice == "remove" else f"Changed to: {LABELS[choice]}."


def undo() -> None:
    """Undo this reviewer's last decision, and show its pair again."""
    pressed("undo")


def redo() -> None:
    """Redo the last undo."""
    pressed("redo")


def pressed(heard: Press | None = None) -> None:
    """Carry out each press of Undo and Redo once (`presses`); without a count, the one in `heard`."""
    review, who, owed = st.session_state.get(KEY), reviewer(), presses.owed()
    if owed is None:
        owed = [heard] if heard else []
    if review is None or not owed:
        return
    review.error, messages = "", []
    for action in owed:
        try:
            message = _revert(review, who, action)
        except HnmineError as error:
            review.error = str(error)
            break
        if message:
            messages.append(message)
    repeated = [(message, len([*same])) for message, same in groupby(messages)]
    if repeated:
        review.message = " ".join(message if times == 1 else f"{message} ({times:,} times)" for message, times in repeated)
    elif not review.error:
        review.message = f"Nothing to {owed[0]}."


def _revert(review: ReviewSession, who: str, action: Press) -> str:
    """Undo or redo once; return a message, empty if there is nothing to undo or redo."""
    done: Reverted | None = getattr(resources.reviews(), action)(who)
    if done is None:
        return ""
    review.catch_up()
    count = len(done.pairs)
    message = ("Undone" if action == "undo" else "Redone") + (f": {counted(count, 'pair')}." if count else ".")
    if done.skipped:
        message += f" {counted(done.skipped, 'pair is', 'pairs are')} unchanged: another reviewer has decided since."
    if count:
        first = pairs_of(review.run.inputs.corpus, [done.pairs[0][0]], [done.pairs[0][1]])
        place = int(review.queue.places(*first)[0])
        if action == "undo" and count == 1 and place >= 0:
            review.leave(place)
        elif place < 0:
            message += " It does not match the current filters." if count == 1 else " They do not match the current filters."
        else:
            review.leave()
    return message


def _written(review: ReviewSession, pairs: list[tuple[str, str]], verdict: Choice | None, who: str) -> bool:
    """Write a decision; return False and keep the error if it cannot be written, so that the pair stays on the screen."""
    try:
        resources.reviews().decide(pairs, verdict, who)
    except HnmineError as error:
        review.error = str(error)
        return False
    review.error = ""
    return True
