"""The words of the screens: plain, short, and those of the field, on every screen of the example, with and without a run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from hnmine.review.store import ReviewStore
from hnmine.runs.variants import MINED, save_variant
from hnmine.runs.workspace import Workspace
from hnmine.selection.presets import PRESETS, with_preset
from tests.pages.conftest import open_app, press

SCREENS = ("data", "mine", "inspect", "review", "quality", "runs", "export")
# The words of another time, or of another field, and what is said instead.
WORDS = {
    r"\bsuspicion\b|\bdoubtful\b": "estimated false-negative probability",
    r"\bback-?fill": "random fill",
    r"\bguards?\b": "filter",
    r"\banchor\b": "ratio to the positive",
    r"\b(of pos\.|like pos\.|like the positive|alike|likeness)": "ratio, or similarity to the positive passage",
    r"\bhubs\b": "reused passage",
    r"\bledger\b|\bshelf\b": "event log, shard index",
    r"\b(soundness|evidence)\b": "diagnostics, explanation",
    r"\bhonou?red\b|\bpromoted?\b": "applied, added as positive",
    r"\bcannot be had\b|\bwhat stands\b|\bwho (judges|ranks)\b": "a plain sentence",
    r"\btold\b|\btells? it\b|\blearnt\b|\bof which\b": "a plain sentence",
    r"\bwithin about\b": "margin of error",
    r"\b(keep|drop) \(": "negative, relevant, junk",
}
# A full stop of an abbreviation or a number ends no sentence.
SENTENCE = re.compile(r"[.!?](?=\s+[A-Z`*\"(]|\s*$)")
ABBREVIATION = re.compile(r"\b(est|e\.g|i\.e|etc|max|min|approx)\.", re.IGNORECASE)


def protos(block: object) -> Iterator[tuple[str, object]]:
    """Every element of a screen: its kind and its message."""
    for child in getattr(block, "children", {}).values():
        proto = getattr(child, "proto", None)
        if proto is not None:
            yield str(getattr(child, "type", "")), proto
        yield from protos(child)


def said(at: AppTest) -> Iterator[tuple[str, str]]:
    """What a screen says: ("text", ...), ("help", ...) and ("label", ...); never text of the data, which is in `st.text` and tables."""
    for kind, proto in protos(at._tree):
        for name in ("help", "tooltip"):
            if text := getattr(proto, name, ""):
                yield "help", text
        if text := getattr(proto, "label", ""):
            yield "label", text
        if kind in ("markdown", "caption", "title", "header", "subheader", "warning", "info", "error", "success", "metric"):
            yield "text", str(getattr(proto, "body", ""))
        if columns := getattr(proto, "columns", ""):
            yield from (
                (("help" if key == "help" else "label"), text)
                for key, text in re.findall(r'"(help|label)": "((?:[^"\\]|\\.)*)"', str(columns))
            )


def faults(kind: str, text: str) -> list[str]:
    """What is wrong with a text of a screen."""
    found = [
        f"{word.group()!r}, say {instead}"
        for pattern, instead in WORDS.items()
        for word in [re.search(pattern, text, re.IGNORECASE)]
        if word
    ]
    if re.search(r"\d[ \u00a0]%", text):
        found.append("a blank before %")
    if ";" in re.sub(r"`[^`]*`|&\w+;", "", text):
        found.append("a semicolon")
    if kind == "help" and len(SENTENCE.findall(ABBREVIATION.sub(r"\1", text))) > 2:
        found.append("more than two sentences of help")
    return [f"{each}: {text}" for each in found]


def is_plain(shown: Iterable[tuple[str, str]]) -> None:
    found = dict.fromkeys(fault for each in shown for fault in faults(*each))
    assert not found, "\n".join(found)


def test_faults_are_found() -> None:
    assert faults("text", "95 % of them")
    assert faults("text", "one; two")
    assert faults("help", "One. Two. Three.")
    assert not faults("help", "95% of the positive's score, e.g. 0.95. At most 1.")
    assert faults("label", "Suspicion")
    assert not faults("label", "Mine")


@pytest.mark.parametrize("page", SCREENS)
def test_a_screen_without_data_has_plain_words(fresh: Path, page: str) -> None:
    is_plain(said(open_app(page)))


@pytest.mark.parametrize("page", SCREENS)
def test_a_screen_of_the_example_has_plain_words(run: str, page: str) -> None:
    is_plain(said(open_app(page, run=run, state={"quality-details": True})))


@pytest.mark.parametrize("preset", list(PRESETS))
def test_mine_has_plain_words_with_every_preset(run: str, space: Workspace, preset: str) -> None:
    saved = save_variant(space, run, preset, with_preset(preset, space.run(run).settings.selection))
    is_plain(said(open_app("mine", run=run, variant=saved.id)))


def test_the_details_and_dialogs_have_plain_words(run: str, space: Workspace, store: ReviewStore) -> None:
    at = press(open_app("quality", run=run), "audit-draw")
    shown = [*said(at)]
    for view in ("positives", "hubs", "lengths", "scores", "short"):
        shown += said(open_app("quality", run=run, state={"quality-details": True, "quality-audit": True, "quality-view": view}))
    other = save_variant(space, run, "other", with_preset("percpos", space.run(run).settings.selection))
    chosen = [(run, MINED), (run, other.id)]
    shown += said(open_app("runs", run=run, state={"runs-chosen": chosen}))
    for what in ("variant", "run", "dataset"):
        shown += said(press(open_app("runs", run=run, state={"runs-chosen": chosen[1:]}), f"delete-{what}"))
    is_plain(shown)
