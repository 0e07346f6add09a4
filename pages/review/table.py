"""The Table mode of the Review screen: all verdicts on the pairs of this data set, to search, filter, edit and download.

A row is a pair with the verdict that counts, the last one. The rows found stay until another search or "Refresh", so that an edit never
moves to another pair. Only one page goes to the browser. Of 100,000 verdicts the first list takes 2 s, a search 0.2 s, an edit 0.1 s.
"""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial

import msgspec
import pandas as pd
import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.core.text import counted, visible
from hnmine.data.verdicts import CHOICES, Choice, Verdict, pair_key, pairs_of, verdict_lines
from hnmine.resources import OpenRun, cached
from pages.review.session import at_desk
from pages.review.words import BUTTONS
from pages.shared import judging, limits
from pages.shared.widgets import failed

PAGE = 200
# With more new events than this, all verdicts are read again.
MOST_CHANGES = 2_000
# Height of a row in pixels, which shows four lines of a text.
ROW = 72
# Longer texts are cut in the table.
LONGEST = 1_000
REMOVE = "remove"
NAMES = {**BUTTONS, REMOVE: "No verdict"}
KEY = "verdict-table"

Pair = tuple[int, int]


@dataclass(slots=True)
class Found:
    """The rows of a search.

    Attributes:
        asked: the search. pairs: of the run, the latest verdict first.
        turn: the number of this search in the session. changes: made beside the editor, or not written; each gives a fresh editor.
    """

    asked: tuple[object, ...]
    pairs: list[Pair]
    turn: int
    changes: int = 0


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The current verdict on each pair of a run, the latest last, and the verdicts of the other reviewers of the pair."""

    current: dict[Pair, Verdict]
    others: dict[Pair, list[Verdict]]
    names: list[str]


@dataclass(slots=True)
class Kept:
    """The verdicts on a run's pairs at a version of the store, for all sessions."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    version: int = 0
    verdicts: Verdicts | None = None


@cached(by_verdicts=False)
def _kept(run: OpenRun) -> Kept:
    return Kept()


def _verdicts(run: OpenRun) -> Verdicts:
    """Return the verdicts as they are now; only pairs with new events are read again."""
    store, kept = resources.reviews(), _kept(run)
    with kept.lock:
        version = store.version()
        changes = [] if kept.verdicts is None or store.replaced(kept.version) else store.changes(kept.version)
        if kept.verdicts is None or store.replaced(kept.version) or len(changes) > MOST_CHANGES:
            kept.verdicts = _listed(run, store.verdicts(), store.by_reviewer(), {}, {})
        elif changes:
            pairs = {pair_key(each.query, each.passage): (each.query, each.passage) for each in changes}.values()
            current, others = dict(kept.verdicts.current), dict(kept.verdicts.others)
            for query, passage in zip(*_ids(run, pairs), strict=True):
                current.pop((query, passage), None)
                others.pop((query, passage), None)
            found = [each for pair in pairs if (each := store.verdict(*pair)) is not None]
            theirs = [each for pair in pairs for each in store.by_reviewer(pair)]
            kept.verdicts = _listed(run, found, theirs, current, others)
        kept.version = version
        return kept.verdicts


def _listed(
    run: OpenRun, found: list[Verdict], theirs: list[Verdict], current: dict[Pair, Verdict], others: dict[Pair, list[Verdict]]
) -> Verdicts:
    """Add current verdicts, and those of all reviewers, to the listed ones."""
    standing = set(found)
    theirs = [each for each in theirs if each not in standing]
    corpus = run.inputs.corpus
    for given in (found, theirs):
        for query, passage, each in zip(*_ids(run, [(each.query, each.passage) for each in given]), given, strict=True):
            if query < 0:
                continue
            # The texts of the corpus, which are in memory anyway.
            own = msgspec.structs.replace(each, query=corpus.queries[query], passage=corpus.passages[passage])
            if given is found:
                current[query, passage] = own
            else:
                others.setdefault((query, passage), []).append(own)
    names = {each.who for each in current.values()} | {each.who for several in others.values() for each in several}
    return Verdicts(current, others, sorted(names))


def _ids(run: OpenRun, pairs: Collection[tuple[str, str]]) -> tuple[list[int], list[int]]:
    queries, passages = pairs_of(run.inputs.corpus, [query for query, _ in pairs], [passage for _, passage in pairs])
    return queries.tolist(), passages.tolist()


@st.fragment
def draw(run: OpenRun) -> None:
    """Draw the table with its search, filters, changes and downloads."""
    try:
        verdicts = _verdicts(run)
        undo, redo = resources.reviews().history(at_desk().who)
    except HnmineError as error:
        failed("The verdicts cannot be read", error)
        return
    if error := st.session_state.pop(f"{KEY}-error", None):
        failed("The change was not written", error)
    if not verdicts.current and not undo:
        st.write("No pair of this data set has a verdict. Review pairs in the mode Pair or Query, or import a file of verdicts.")
        return
    found = _search(run, verdicts)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{len(found.pairs):,}** of {counted(len(verdicts.current), 'verdict')}", width="content")
        _change_all(run, found)
        st.button("Undo", icon=":material/undo:", disabled=not undo, key=f"{KEY}-undo", on_click=_revert, args=("undo",))
        st.button("Redo", icon=":material/redo:", disabled=not redo, key=f"{KEY}-redo", on_click=_revert, args=("redo",))
        st.button(
            "Refresh",
            icon=":material/refresh:",
            key=f"{KEY}-refresh",
            on_click=_forget,
            help="Search again. Edited rows stay in place until then.",
        )
        _download(run)
    _editor(run, verdicts, found)


def _forget() -> None:
    st.session_state.pop(KEY, None)


def _search(run: OpenRun, verdicts: Verdicts) -> Found:
    """Draw the search and the filters; return the rows, which stay until one of them changes."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        words = st.text_input(
            "Search",
            key=f"{KEY}-words",
            max_chars=limits.WORDS,
            persist_state="session",
            live="400ms",
            icon=":material/search:",
            placeholder="query, passage, note or reviewer",
            width=300,
        )
        choices = st.multiselect("Verdict", CHOICES, format_func=BUTTONS.__getitem__, key=f"{KEY}-choices", placeholder="all", width=270)
        names = st.multiselect("Reviewer", verdicts.names, format_func=visible, key=f"{KEY}-names", placeholder="all", width=220)
    asked = (run.run.id, (words or "").strip(), tuple(choices), tuple(names))
    kept: Found | None = st.session_state.get(KEY)
    if kept is None or kept.asked != asked:
        turn = st.session_state[f"{KEY}-turn"] = st.session_state.get(f"{KEY}-turn", 0) + 1
        kept = st.session_state[KEY] = Found(asked, _matching(run, verdicts, *asked[1:]), turn)
    return kept


def _matching(run: OpenRun, verdicts: Verdicts, words: str, choices: tuple[Choice, ...], names: tuple[str, ...]) -> list[Pair]:
    """Return the pairs that match, those with the latest verdict first."""
    corpus, words = run.inputs.corpus, words.casefold()
    queries = {query: words in corpus.queries[query].casefold() for query in {pair[0] for pair in verdicts.current}} if words else {}

    def matches(pair: Pair, verdict: Verdict) -> bool:
        own = [verdict, *verdicts.others.get(pair, ())]
        if (choices and verdict.verdict not in choices) or (names and not any(each.who in names for each in own)):
            return False
        if not words or queries[pair[0]] or words in corpus.passages[pair[1]].casefold():
            return True
        return any(words in each.note.casefold() or words in each.who.casefold() for each in own)

    return [pair for pair, verdict in reversed(verdicts.current.items()) if matches(pair, verdict)]


def _change_all(run: OpenRun, found: Found) -> None:
    """Draw the popover that changes all rows found."""
    count = counted(len(found.pairs), "verdict")
    with st.popover(f"Change all {len(found.pairs):,}", icon=":material/done_all:", disabled=not found.pairs, key=f"{KEY}-all"):
        choice = st.selectbox("New verdict", list(NAMES), index=None, format_func=NAMES.__getitem__, key=f"{KEY}-choice-{found.turn}")
        st.write("Notes stay. One undo reverts the change.")
        if not any(found.asked[1:]):
            st.warning("No filter is set. This changes all verdicts of this data set.", icon=":material/warning:")
        if choice is not None:
            label = f"Remove {count}" if choice == REMOVE else f"Change {count} to: {NAMES[choice]}"
            st.button(label, type="primary", key=f"{KEY}-confirm", on_click=_change, args=(run, found.pairs, choice, None))


def _editor(run: OpenRun, verdicts: Verdicts, found: Found) -> None:
    """Draw one page of the rows."""
    if not found.pairs:
        st.write("No verdict matches. Change the search or the filters.")
        return
    last = -(-len(found.pairs) // PAGE)
    page = min(int(st.session_state.get(f"{KEY}-page-{found.turn}", 1)), last)
    shown = found.pairs[(page - 1) * PAGE : page * PAGE]
    current = [verdicts.current.get(pair) for pair in shown]
    graded = judging.graded_or_none(run)
    key = f"{KEY}-rows-{found.turn}-{page}-{found.changes}"
    st.data_editor(
        pd.DataFrame(
            {
                "verdict": [each.verdict if each else REMOVE for each in current],
                "note": [_cut(each.note, None) if each else "" for each in current],
                "query": [_cut(run.inputs.corpus.queries[query]) for query, _ in shown],
                "passage": [_cut(run.inputs.corpus.passages[passage]) for _, passage in shown],
                "who": [_cut(visible(each.who)) if each else "" for each in current],
                "when": [each.when[:16].replace("T", " ") if each else "" for each in current],
                **({"judge": [_grade(graded, pair) for pair in shown]} if graded else {}),
                "others": [
                    _cut(" · ".join(f"{visible(one.who)}: {one.verdict}" for one in verdicts.others.get(pair, ()))) for pair in shown
                ],
            }
        ),
        column_config={
            "verdict": st.column_config.SelectboxColumn(
                "Verdict", options=list(NAMES), format_func=NAMES.__getitem__, required=True, width=170, help="Double-click to change it."
            ),
            "note": st.column_config.TextColumn("Note", width=150, help="Double-click to change it."),
            "query": st.column_config.TextColumn("Query", width=210),
            "passage": st.column_config.TextColumn("Passage", width=350),
            "who": st.column_config.TextColumn("Reviewer", width=90),
            "when": st.column_config.TextColumn("Time (UTC)", width=125),
            "judge": st.column_config.TextColumn(
                "Judge's grade", alignment="right", width=85, help="0 to 3, of the judge that is chosen on Quality."
            ),
            "others": st.column_config.TextColumn("Other reviewers", width=140),
        },
        disabled=["query", "passage", "who", "when", "judge", "others"],
        hide_index=True,
        height=min(560, 40 + ROW * len(shown)),
        row_height=ROW,
        key=key,
        on_change=_edited,
        args=(run, key, shown),
        alt="Verdicts with note, query, passage, reviewer and time, the latest first",
    )
    if last > 1:
        with st.container(horizontal=True, vertical_alignment="center"):
            first = (page - 1) * PAGE
            st.text(f"{first + 1:,} to {first + len(shown):,} of {len(found.pairs):,}", width="content")
            st.pagination(last, key=f"{KEY}-page-{found.turn}")


def _grade(graded: judging.Graded, pair: Pair) -> str:
    judgement = graded.by_pair.get(pair)
    return "" if judgement is None or judgement.grade is None else str(judgement.grade)


def _edited(run: OpenRun, key: str, shown: list[Pair]) -> None:
    """Write the edits of a page that differ from what is stored."""
    for row, cells in st.session_state[key]["edited_rows"].items():
        pair = shown[int(row)]
        held = resources.reviews().verdict(*_texts(run, pair))
        verdict = cells.get("verdict", held.verdict if held else REMOVE)
        note = (cells["note"] or "") if "note" in cells else None
        if verdict != (held.verdict if held else REMOVE) or (note is not None and held is not None and note != held.note):
            _change(run, [pair], verdict, note, fresh=False)


def _change(run: OpenRun, pairs: list[Pair], choice: str, note: str | None, *, fresh: bool = True) -> None:
    """Give pairs a verdict, or remove theirs, as one decision; the note None keeps their notes."""
    here = at_desk()
    verdict = next((each for each in CHOICES if each == choice), None)
    try:
        resources.reviews().decide([_texts(run, pair) for pair in pairs], verdict, here.who, note)
    except HnmineError as error:
        st.session_state[f"{KEY}-error"] = str(error)
        _fresh()
        return
    here.batches += 1
    if fresh:
        _fresh()
        st.toast(f"{counted(len(pairs), 'verdict')}: {NAMES[choice]}. Undo reverts all of them.", icon=":material/check:")


def _fresh() -> None:
    """Draw the editor anew: it would keep edits of before."""
    if (found := st.session_state.get(KEY)) is not None:
        found.changes += 1


def _revert(action: str) -> None:
    _fresh()
    try:
        done = getattr(resources.reviews(), action)(at_desk().who)
    except HnmineError as error:
        st.session_state[f"{KEY}-error"] = str(error)
        return
    if done is not None:
        kept = f" {counted(done.skipped, 'pair')} unchanged: another reviewer has decided since." if done.skipped else ""
        st.toast(f"{'Undone' if action == 'undo' else 'Redone'}: {counted(len(done.pairs), 'pair')}.{kept}", icon=":material/check:")


def own_verdicts(run: OpenRun) -> list[Verdict]:
    """Return the last verdict of each reviewer on each pair of the run's data set, with the texts as they were judged."""
    given = resources.reviews().by_reviewer()
    queries, _ = _ids(run, [(each.query, each.passage) for each in given])
    return [each for query, each in zip(queries, given, strict=True) if query >= 0]


def as_lines(run: OpenRun) -> bytes:
    """Return them as JSON lines."""
    return b"".join(verdict_lines(own_verdicts(run)))


def as_csv(run: OpenRun) -> bytes:
    """Return them as CSV with a header, in UTF-8 with a byte order mark, by which spreadsheets know it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    fields = Verdict.__struct_fields__
    writer.writerow(fields)
    writer.writerows([getattr(each, name) for name in fields] for each in own_verdicts(run))
    return text.getvalue().encode("utf-8-sig", "replace")


def _download(run: OpenRun) -> None:
    """Draw the downloads; a file is made on click."""
    with st.popover("Download", icon=":material/download:", key=f"{KEY}-download"):
        st.write("The last verdict of each reviewer on each pair of this data set, with note, time and name.")
        for label, name, kind, make in (
            ("JSON lines", "verdicts.jsonl", "application/jsonl", as_lines),
            ("CSV", "verdicts.csv", "text/csv", as_csv),
        ):
            data = partial(make, run)
            st.download_button(label, data, name, kind, icon=":material/download:", on_click="ignore", key=f"{KEY}-{name}", width="stretch")


def _texts(run: OpenRun, pair: Pair) -> tuple[str, str]:
    return run.inputs.corpus.queries[pair[0]], run.inputs.corpus.passages[pair[1]]


def _cut(text: str, longest: int | None = LONGEST) -> str:
    """Return a text for a cell: cut, and without half surrogate pairs, which a table cannot hold."""
    text = text if longest is None or len(text) <= longest else f"{text[:longest]} ..."
    return text.encode("utf-8", "replace").decode()
