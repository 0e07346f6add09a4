"""What the screens write, for `disk.py`: each action of a person, on a copy of a workspace with a run, a variant and a bad data set."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import streamlit as st
from streamlit.testing.v1 import AppTest

from hnmine import resources
from hnmine.data.verdicts import Verdict, verdict_lines
from hnmine.runs.settings import MineSettings
from hnmine.runs.variants import save_variant
from hnmine.runs.workspace import Workspace
from hnmine.selection.settings import SelectionSettings
from pages.mine import filters, selection
from tests.campaign.campaign import Tiny
from tests.conftest import ROOT, mine
from tests.pages.conftest import native_slider, texts

ROWS = [{"query": f"question {number}", "pos": [f"answer {number}"], "other": f"word {number}"} for number in range(30)]
BAD = [*ROWS[:3], {"query": "none", "pos": []}, {"query": "text", "pos": "one"}]


@dataclass(frozen=True)
class World:
    """The ids in the workspace."""

    dataset: str
    run: str
    variant: str
    bad: str


@dataclass(frozen=True)
class Screen:
    """What a person does on a screen.

    Attributes:
        page: where. act: the last step, which writes; `ready` those before. kept: whether the choice is still there afterwards.
        opened: what the address names. quiet: nothing is lost when it is not written, so nothing is said.
    """

    name: str
    page: str
    act: Callable[[AppTest, World], object]
    ready: Callable[[AppTest, World], object] = lambda at, world: None
    kept: Callable[[AppTest, World], bool] = lambda at, world: True
    opened: str = "run"
    quiet: bool = False
    state: Callable[[World], dict[str, Any]] = lambda world: {}


def prepare(root: Path) -> World:
    """Fill a workspace."""
    space = Workspace(root)
    ids = []
    for name, rows in (("rows", ROWS), ("bad", BAD)):
        (root.parent / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        ids.append(space.add_dataset(f"{name}.jsonl", root.parent / f"{name}.jsonl").id)
    settings = SelectionSettings(window_start=2, window_end=20, negative_number=4)
    run = mine(space, ids[0], MineSettings(selection=settings), 20, Tiny())
    variant = save_variant(space, run, "fewer", msgspec.structs.replace(settings, negative_number=2))
    space.reviews().decide([("question 1", "answer 2"), ("question 1", "answer 3")], "relevant", "Reviewer 1")
    space.reviews().close()
    return World(ids[0], run, variant.id, ids[1])


def button(at: AppTest, name: str) -> Any:
    """Return the button of a key or a label."""
    return next(each for each in at.button if name in (each.key, each.label))


def number(at: AppTest, world: World) -> Any:
    return at.number_input(key=f"number-{world.run}").set_value(7).run()


def has_draft(at: AppTest, world: World) -> bool:
    return bool(
        at.number_input(key=f"number-{world.run}").value == 7 and at.session_state[f"draft-{world.run}"].settings.negative_number == 7
    )


def named(field: str, text: str) -> Callable[[AppTest, World], object]:
    return lambda at, world: at.text_input(key=field.format(run=world.run, variant=world.variant)).set_value(text).run()


def click(name: str) -> Callable[[AppTest, World], object]:
    return lambda at, world: button(at, name).click().run()


def job(at: AppTest, world: World) -> None:
    """Mine, and wait for the end of the job."""
    button(at, "mine").click().run()
    found = resources.jobs().latest(world.dataset)
    deadline = time.monotonic() + 300
    while found is not None and resources.jobs().get(found.id).active and time.monotonic() < deadline:
        time.sleep(0.05)
    at.run()


def verdict_file() -> bytes:
    return b"".join(verdict_lines([Verdict(query=f"question {place}", passage="answer 9", verdict="junk") for place in range(8)]))


def deleted(name: str) -> Callable[[AppTest, World], object]:
    def work(at: AppTest, world: World) -> None:
        button(at, name).click().run()
        button(at, "delete-confirmed").click().run()

    return work


def chosen(world: World) -> dict[str, Any]:
    return {"runs-chosen": [(world.run, world.variant)]}


SCREENS = [
    Screen("slider", "mine", number, kept=has_draft),
    Screen("discard a draft", "mine", click("discard"), number, quiet=True),
    Screen("save a variant", "mine", click("mine-save-variant"), number),
    Screen("name a run", "runs", named("run-name-{run}", "a name"), state=chosen),
    Screen("rename a variant", "runs", named("variant-name-{run}-{variant}", "a name"), state=chosen),
    Screen("note", "runs", named("note-{run}-{variant}", "a note"), state=chosen),
    Screen("delete a variant", "runs", deleted("delete-variant"), state=chosen),
    Screen("delete a run", "runs", deleted("delete-run"), state=chosen),
    Screen("delete a data set", "runs", deleted("delete-dataset"), state=chosen),
    Screen(
        "skip bad rows",
        "data",
        lambda at, world: at.checkbox(key=f"skip-{world.bad}").check().run(),
        kept=lambda at, world: bool(at.checkbox(key=f"skip-{world.bad}").value and at.session_state[f"decisions-{world.bad}"][1]),
        opened="bad",
    ),
    Screen(
        "columns",
        "data",
        lambda at, world: button(at, "use-columns").click().run(),
        lambda at, world: at.multiselect(key=f"column-neg-{world.dataset}").select("other").run(),
        opened="dataset",
    ),
    Screen("audit sample", "quality", click("audit-draw")),
    Screen(
        "guidelines",
        "review",
        click("review-guidelines-save"),
        lambda at, world: at.text_area(key=f"review-guidelines-{world.dataset}").set_value("Relevant: answers.").run(),
        kept=lambda at, world: at.text_area(key=f"review-guidelines-{world.dataset}").value == "Relevant: answers.",
    ),
    Screen(
        "overlap",
        "review",
        lambda at, world: at.radio(key=f"review-overlap-{world.dataset}").set_value(10).run(),
        kept=lambda at, world: at.radio(key=f"review-overlap-{world.dataset}").value == 10,
    ),
    Screen(
        "verdicts",
        "review",
        lambda at, world: next(each for each in at.button if str(each.key).startswith("review-all-")).click().run(),
        lambda at, world: at.radio(key="review-all-choice").set_value("junk").run(),
    ),
    Screen(
        "import verdicts",
        "review",
        click("review-import"),
        lambda at, world: at.file_uploader(key="review-upload").set_value([("v.jsonl", verdict_file(), "application/jsonl")]).run(),
    ),
    Screen("open export", "export", lambda at, world: at.run()),
    Screen("export a split", "export", lambda at, world: at.toggle(key="export-split").set_value(True).run()),
    Screen("mine", "mine", job, opened="dataset"),
    Screen("open the example", "data", click("open-example"), opened=""),
    Screen(
        "upload",
        "data",
        lambda at, world: at.file_uploader[0].set_value([("new.jsonl", b'{"query": "a", "pos": ["b"]}\n' * 9, "text/plain")]).run(),
        opened="",
    ),
]


@contextmanager
def server(root: Path) -> Iterator[None]:
    """A server that has just started with a workspace, in this process."""
    load = mock.patch.object(resources, "encoder", lambda settings, on_progress=None: Tiny())
    sliders = [mock.patch.object(module, "slider", native_slider) for module in (selection, filters)]
    st.cache_resource.clear()
    with mock.patch.dict(os.environ, {"HNMINE_HOME": str(root)}), load, sliders[0], sliders[1]:
        yield
    st.cache_resource.clear()


def trial(screen: Screen, root: Path, world: World, failing: Callable[[], Any]) -> str:
    """Do an action while writes fail (`failing` is a context); return what is wrong, or an empty text."""
    with server(root):
        at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
        if screen.opened:
            name = "run" if screen.opened == "run" else "dataset"
            at.query_params[name] = getattr(world, screen.opened)
        at.run()
        for name, value in screen.state(world).items():
            at.session_state[name] = value
        if screen.page != "data" or screen.opened:
            at.switch_page(f"pages/views/{screen.page}.py")
        if screen.name != "open export":
            at.run()
        screen.ready(at, world)
        with failing() as fails:
            screen.act(at, world)
            if at.exception:
                return f"a generic error: {at.exception[0].value}"
            said = texts(at) + str(at.session_state["review-desk-state"].message if "review-desk-state" in at.session_state else "")
            broken = fails()
            if broken and not screen.quiet and not any(word in said for word in ("free some space", "check the")):
                return f"says nothing of it: {said[:300]!r}"
            if not screen.kept(at, world):
                return "the choice is lost"
        if at.run().exception:
            return f"afterwards a generic error: {at.exception[0].value}"
        return "" if screen.kept(at, world) else "the choice is lost afterwards"
