"""Names that turn the direction of text, or have controls: no screen and no download sends them to a browser as they are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from hnmine.core.text import visible
from hnmine.runs.dataset_notes import name_dataset
from hnmine.runs.variants import save_note, save_variant
from hnmine.runs.workspace import Workspace
from hnmine.selection.presets import with_preset
from hnmine.selection.settings import SelectionSettings
from tests.conftest import EXAMPLE, mine
from tests.pages.conftest import open_app, texts

EVIL = "n\u202ega\u2066me\u200f\x1b[1m"
RAW = re.compile("|".join("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069").encode() + rb"|\x1b\[|\\u20[026]")


@pytest.fixture
def hostile(fresh: Path) -> tuple[Workspace, str]:
    """A workspace where every name is hostile, and its run."""
    space = Workspace(fresh)
    rows = (EXAMPLE / "train.jsonl").read_text("utf-8").replace('"prompt":', f'"p{EVIL[:6]}":')
    source = fresh.parent / "train.jsonl"
    source.write_text(rows, "utf-8")
    dataset = space.add_dataset(f"{EVIL}.jsonl", source, f"pool{EVIL}.jsonl", EXAMPLE / "pool.jsonl").id
    run = mine(space, dataset)
    space.name_run(run, f"run {EVIL}")
    save_note(space, run, save_variant(space, run, f"variant {EVIL}", with_preset("balanced", SelectionSettings())).id, f"note {EVIL}")
    pair = json.loads(rows.splitlines()[0])["query"], json.loads((EXAMPLE / "pool.jsonl").read_text("utf-8").splitlines()[0])["text"]
    for who, verdict in (("ann", "negative"), (f"who {EVIL}", "relevant")):
        space.reviews().decide([pair], verdict, who)  # type: ignore[arg-type]
    (space.root / "files" / f"file{EVIL}.jsonl").write_text(rows, "utf-8")
    return space, run


def raw(at: AppTest) -> list[str]:
    """What the screen sends raw."""
    found = []
    for element in at:  # type: ignore[attr-defined]
        if element.type == "code":  # the first rows of the file, as they will be written
            continue
        proto = getattr(element, "proto", None)
        if proto is not None and (data := proto.SerializeToString()) and (hit := RAW.search(data)):
            found.append(f"{element.type}: {data[max(0, hit.start() - 60) : hit.end() + 60]!r}")
    return found


def test_no_screen_shows_a_hostile_name_as_it_is(hostile: tuple[Workspace, str]) -> None:
    space, run = hostile
    for name in ("", f"data set {EVIL}"):
        name_dataset(space, space.datasets()[0].id, name)
        for page in ("data", "mine", "inspect", "review", "quality", "runs", "export"):
            at = open_app(page, run=run, state={"review-mode": "table"})
            assert not at.exception
            assert raw(at) == [], page


def test_names_that_an_older_workspace_holds_are_shown_clean(hostile: tuple[Workspace, str]) -> None:
    space, run = hostile
    (space.run_folder(run) / "run-name").write_text(f"run {EVIL}", "utf-8")
    for path in [*space.root.glob("datasets/*/dataset.json"), *space.run_folder(run).glob("variants/*.json")]:
        content = json.loads(path.read_text("utf-8"))
        content["name"] = EVIL
        path.write_text(json.dumps(content), "utf-8")
    assert raw(open_app("runs", run=run)) == []


def test_an_address_with_a_hostile_id_is_shown_clean(hostile: tuple[Workspace, str]) -> None:
    at = open_app(run=EVIL)
    assert "Cannot open this address" in texts(at)
    assert not {*"\u202e\u2066\u200f\x1b"} & {*texts(at)}


def test_joiners_of_scripts_and_emoji_stay() -> None:
    assert visible("می\u200cخواهم 👩\u200d🔬 ni\u00f1o שלום") == "می\u200cخواهم 👩\u200d🔬 ni\u00f1o שלום"
    assert visible(EVIL) == "n\ufffdga\ufffdme\ufffd\ufffd[1m"
