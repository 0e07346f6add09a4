"""What goes between the server and the desk: decisions are written once and acknowledged, and the pairs that follow are sent.

`receive` writes the unsaved actions of a desk in one transaction; the store skips those it has. `answer` acknowledges them and sends the
pairs that the browser does not have: a decision costs one pair, not fifty.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np
import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError, InputError
from hnmine.core.text import counted, visible
from hnmine.data.corpus import Corpus
from hnmine.data.verdicts import pairs_of
from hnmine.review import audit_sample
from hnmine.review.audit_plan import more_reviews
from hnmine.review.judged_audit import more_judged_reviews
from hnmine.review.judgements import Judgement
from hnmine.review.queue import Source
from hnmine.review.store import Action
from pages.review import desk, pair
from pages.review.desk import Box, Sent
from pages.review.session import GRADES_FIRST, KEY, DeskState, Mode, ReviewSession, at_desk
from pages.review.words import LABELS
from pages.shared import access, audit, judging
from pages.shared.printable import printable
from pages.shared.reviewers import desks, leases, reviewer, session_id

AHEAD: dict[Mode, int] = {"pair": 50, "query": 120}  # pairs that a desk has ahead
MOST_BYTES = 2_000_000  # of texts in one answer
RECENT, LOOKED_AT = 20, 100  # last decisions on the desk, and those of all data sets looked at for them
GOAL = 0.03  # margin of error of an audit
# Pairs as they are counted on the desk.
WHAT: dict[Source, str] = {
    "chosen": "chosen negatives",
    "window": "candidates in the rank range",
    "nearest": "candidates above the rank range",
    "audit": "pairs of the audit sample",
    "disagreements": "disagreements",
    "judged": "judged pairs",
    "judged_relevant": "pairs judged relevant",
    "judge_differs": "pairs on which the judge and reviewers disagree",
}
GOAL_EVERY = 10  # reviews after which the goal is computed again, in 0.1 s


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
        _keep(told)
    here.sent = told
    _write_all(told.boxes, here)


def draw_leftovers(screen: str) -> None:
    """Take what a desk left unsaved when another screen was opened. It is drawn on every screen, and shows nothing."""
    # The browser looks again when the data changes, so also on each new screen.
    desk.mount_leftovers({"workspace": _workspace_id(), "recorded": at_desk().recorded, "screen": screen}, _receive_leftovers)


def _receive_leftovers() -> None:
    with suppress(msgspec.ValidationError):  # the browser keeps it, and the desk says so
        _write_all(desk.leftovers(), at_desk())


def _write_all(boxes: Sequence[Box], here: DeskState) -> None:
    here.error = ""
    for box in boxes:
        try:
            _write(box, here)
        except HnmineError as error:
            here.error = str(error)


def _keep(told: Sent) -> None:
    """Add the pairs of a returning desk to the queue; a server that starts again builds it from a selection that may have others now."""
    review: ReviewSession | None = st.session_state.get(KEY)
    if review is None or told.queue != review.token:
        return
    unsaved = [name for box in told.boxes if box.desk == told.desk for step in box.actions for name in step.pairs]
    names = dict.fromkeys([*unsaved, told.current, *told.have])
    pairs = np.array([numbers for name in names if (numbers := review.pair_of(name))], np.int32).reshape(-1, 2)
    review.queue.add(review.run.inputs.corpus, pairs[:, 0], pairs[:, 1])


def _write(box: Box, here: DeskState) -> None:
    """Write the actions of a desk in one transaction; an undo or redo that the server must explain in a second one."""
    before = here.recorded.get(box.desk, 0)
    actions = [_action(each) for each in box.actions]
    asked = next((number for number, each in reversed([*enumerate(box.actions)]) if each.asked and each.seq > before), None)
    review: ReviewSession | None = st.session_state.get(KEY)
    if asked is not None and review is not None:
        here.recorded[box.desk] = resources.reviews().record(box.desk, actions[:asked])
        review.catch_up(here.who)
    here.recorded[box.desk] = resources.reviews().record(box.desk, actions)
    if asked is not None and review is not None:
        _tell(review, here, box.actions[asked].kind)


def _action(step: desk.Step) -> Action:
    pairs = _texts(step) if step.pairs else ()
    return Action(
        seq=step.seq,
        kind=step.kind,
        pairs=pairs,
        verdict=step.verdict,
        note=step.note,
        who=access.person() or visible(step.who),
        at=step.at,
    )


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
        raise InputError(
            f"a decision is on a pair that the data of run {step.run} does not have; restore the data, or discard the decision"
        )
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


def answer(review: ReviewSession, mode: Mode, overlap: int) -> dict[str, Any]:
    """Return what the desk needs: acknowledgements, the order of the next pairs, and those that it does not have."""
    here, run = at_desk(), review.run.run
    told, found = here.sent, _empty(review, mode, here)
    if told is None:
        review.catch_up(here.who)
        return found
    st.session_state.reviewer = here.who  # for the other screens
    desks().enter(session_id(), told.desk, here.who)
    ahead = {numbers for name in told.have if (numbers := review.pair_of(name))}
    if here.known != told.desk + review.token:
        leases().keep(run.id, told.desk, here.who, ahead, desks().alive)  # what the desk has from before a restart
        here.known = told.desk + review.token
    places = leases().take(
        run.id, told.desk, review.queue, here.who, AHEAD[mode], overlap, desks().alive, lambda: review.catch_up(here.who)
    )
    wanted = [review.queue.pair(place) for place in places]
    names = {numbers: review.id_of(numbers) for numbers in wanted}
    new = [numbers for numbers in wanted if numbers not in ahead]
    if here.show is not None and here.show["turn"] > told.shown:
        found["show"] = {"turn": here.show["turn"], "id": review.id_of(here.show["pair"])}
        new.insert(0, here.show["pair"])
    if wanted_again := review.pair_of(told.again):
        new.insert(0, wanted_again)
    found["desk"], found["turn"], found["goal"] = told.desk, told.turn, _goal(review)
    found["done"] = len(review.queue) - review.queue.counts["unreviewed"]
    found["order"], found["pairs"] = [names[numbers] for numbers in wanted], _described(review, new)
    found["taken"] = _taken(review, told, set(wanted))
    found["recent"] = _recent(review)
    found["judged"] = {each["id"]: each["said"] for each in found["recent"] if each["said"]}
    if not wanted:
        left = int(np.count_nonzero(review.queue.open(here.who, overlap)))
        found["waiting"] = bool(left)
        found["end"] = _end(review, left)
    return found


def unreadable(review: ReviewSession, mode: Mode, error: HnmineError) -> dict[str, Any]:
    """Return an answer that only says why there is none; the desk keeps its pairs and its unsaved actions."""
    return _empty(review, mode, at_desk()) | {"error": str(error)}


def _empty(review: ReviewSession, mode: Mode, here: DeskState) -> dict[str, Any]:
    """Return an answer without pairs, for a desk that the server does not know yet."""
    return {
        "workspace": _workspace_id(),
        "run": review.run.run.id,
        "queue": review.token,
        "mode": mode,
        "who": reviewer(),
        "fixed": bool(access.person()),
        "desk": "",
        "turn": 0,
        "recorded": here.recorded,
        "error": here.error,
        "message": here.message,
        "batches": here.batches,
        "show": None,
        "order": [],
        "pairs": [],
        "recent": [],
        "judged": {},
        "taken": {},
        "total": len(review.queue),
        "what": WHAT[review.queue.settings.source],
        "done": 0,
        "goal": "",
        "end": "",
        "waiting": False,
    }


def _workspace_id() -> str:
    return hashlib.sha256(str(resources.workspace().root.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _described(review: ReviewSession, pairs: list[tuple[int, int]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    room = MOST_BYTES
    graded, who, first = judging.graded_or_none(review.run), at_desk().who, bool(st.session_state.get(GRADES_FIRST))
    for query, passage in dict.fromkeys(pairs):
        place = int(review.queue.places(np.array([query], np.int32), np.array([passage], np.int32))[0])
        judgement = graded.by_pair.get((query, passage)) if graded else None
        if judgement and not (first or _own(review, query, passage, who)):
            judgement = None
        found.append(
            pair.described(
                review.run,
                review.selection,
                review.common,
                query,
                passage,
                int(review.queue.verdicts[place]) if place >= 0 else 0,
                judgement,
            )
        )
        room -= sum(map(len, found[-1]["candidate"])) + sum(len(text) for each in found[-1]["positives"] for text in each["text"])
        if room < 0:
            break
    return found


def _own(review: ReviewSession, query: int, passage: int, who: str) -> bool:
    """Return whether a reviewer has a verdict on a pair."""
    corpus = review.run.inputs.corpus
    return any(each.who == who for each in resources.reviews().by_reviewer((corpus.queries[query], corpus.passages[passage])))


def _taken(review: ReviewSession, told: Sent, wanted: set[tuple[int, int]]) -> dict[str, str]:
    """Return a message for the pair on the desk if another reviewer has judged it meanwhile."""
    numbers = review.pair_of(told.current)
    change = review.others.get(numbers) if numbers and numbers not in wanted else None
    if change is None:
        return {}
    who = visible(change.who) or "Another reviewer"
    said = f"marked this pair as {LABELS[change.verdict]}" if change.verdict else "removed the verdict on this pair"
    return {told.current: f"{who} {said} while it was on your screen. Your verdict replaces theirs."}


def _recent(review: ReviewSession) -> list[dict[str, Any]]:
    """Return the last decisions on pairs of this data set, newest first."""
    graded, who = judging.graded_or_none(review.run), at_desk().who
    key = (review.version, who, graded and graded.key)
    if review.recent is None or review.recent[0] != key:
        found, corpus = resources.reviews().recent(LOOKED_AT), review.run.inputs.corpus
        pairs = pairs_of(corpus, [each.verdict.query for each in found], [each.verdict.passage for each in found])
        lines = [
            {
                "id": review.id_of((query, passage)),
                "verdict": each.verdict.verdict,
                "text": f"{each.pairs:,} pairs" if each.pairs > 1 else f"{each.verdict.query[:60]} → {each.verdict.passage[:80]}",
                **_graded(graded.by_pair.get((query, passage)) if graded and each.verdict.who == who else None),
            }
            for each, query, passage in zip(found, *(ids.tolist() for ids in pairs), strict=True)
            if query >= 0 and passage >= 0
        ]
        review.recent = key, lines[:RECENT]
    return review.recent[1]


def _graded(judgement: Judgement | None) -> dict[str, str]:
    """Return a judge's grade in short and in words; both empty without one."""
    if judgement is None:
        return {"judge": "", "said": ""}
    return {
        "judge": "judge: no grade" if judgement.grade is None else f"judge: {judgement.grade}",
        "said": printable(judging.said(judgement)),
    }


def _goal(review: ReviewSession) -> str:
    """Return how many more reviews of an audit sample reach the margin of error; empty for other pairs."""
    if review.queue.settings.source != "audit":
        return ""
    done = len(review.queue) - review.queue.counts["unreviewed"]
    if review.goal is None or not 0 <= done - review.goal[0] < GOAL_EVERY:
        sample = audit.kept(review.run.run.id, review.selection.settings)
        if sample is None:
            return ""
        judged = audit.judged_part(review.run, sample)
        drawn = sample if judged is None else judged.sample
        draws = audit_sample.pairs_in(drawn, review.run.inputs.corpus)
        places = review.queue.places(*draws)
        states = np.where(places >= 0, review.queue.verdicts[places], 0)
        states[audit.in_bulk(review.run, *draws)] = 0
        if judged is None:
            review.goal = done, more_reviews(sample, states, GOAL)
        else:
            review.goal = done, more_judged_reviews(drawn, states, judged.grades, judged.relevant_from, GOAL)
    if review.goal[1] is None:
        return ""
    more = max(0, review.goal[1] - (done - review.goal[0]))
    return f"about {more:,} more to reach ±3 points" if more else "±3 points reached"


def _end(review: ReviewSession, left: int) -> str:
    if left:
        return f"Other reviewers have the last pairs open.\n{counted(left, 'pair')} will appear here if nobody gives a verdict."
    source = review.queue.settings.source
    if source == "judge_differs":
        return (
            "All of these pairs are reviewed again."
            if len(review.queue)
            else "The judge and the reviewers do not disagree on any pair that matches."
        )
    if source == "disagreements":
        return "All disagreements are settled." if len(review.queue) else "The reviewers do not disagree on any pair that matches."
    if not len(review.queue):
        return "No pairs match these filters.\nChange the filters, or choose other pairs."
    return "The sample is reviewed." if source == "audit" else "This queue is reviewed."
