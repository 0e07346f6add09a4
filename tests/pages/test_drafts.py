"""Unsaved changes belong to a session, survive a reload, and change nothing for anybody else."""

from __future__ import annotations

from typing import Any

import streamlit as st

from hnmine.runs.variants import MINED, all_variants, save_variant
from hnmine.runs.workspace import Workspace
from hnmine.selection.settings import SelectionSettings
from tests.pages.conftest import command, open_app, press, texts


def slide(at: Any, run: str, start: int, stop: int) -> None:
    """Move the slider of the rank range."""
    (slider,) = [each for each in at.slider if each.key.startswith(f"window-{run}")]
    slider.set_range(start, stop).run()
    assert not at.exception


def window(at: Any, run: str) -> tuple[int, int]:
    """The rank range that a session exports."""
    settings = at.session_state[f"draft-{run}"].settings
    return settings.window_start, settings.window_end


def address(at: Any) -> dict[str, str]:
    return dict(at.query_params)


def test_a_draft_outlives_the_session_and_the_server(run: str) -> None:
    at = open_app("mine", run=run)
    assert "draft" not in address(at)
    slide(at, run, 5, 60)
    first = address(at)
    slide(at, run, 5, 50)
    assert address(at) == first, "one entry of the browser's history, not one for each move"
    st.cache_resource.clear()
    again = open_app("mine", **first)
    assert window(again, run) == (5, 50)
    assert [each.value for each in again.slider if each.key.startswith("window")] == [(5, 50)]


def test_another_session_copies_a_draft_before_it_changes_it(run: str) -> None:
    mine = open_app("mine", run=run)
    slide(mine, run, 5, 60)
    theirs = open_app("mine", **address(mine))
    assert window(theirs, run) == (5, 60)
    slide(theirs, run, 0, 30)
    assert address(theirs)["draft"] != address(mine)["draft"]
    mine.run()
    assert window(mine, run) == (5, 60) == window(open_app("mine", **address(mine)), run)
    slide(mine, run, 7, 70)
    assert window(theirs.run(), run) == (0, 30)


def test_a_draft_is_saved_as_a_variant_that_a_link_opens(run: str, space: Workspace) -> None:
    at = open_app("mine", run=run)
    slide(at, run, 5, 60)
    at.text_input(key="variant-name").set_value("mine, harder").run()
    press(at, "save-variant")
    saved = all_variants(space, run)[1]
    assert (saved.name, saved.settings.window_start) == ("mine, harder", 5)
    assert address(at) == {"run": run, "variant": saved.id, "dataset": at.session_state.dataset}
    other = open_app("mine", **address(at))
    assert [each.value for each in other.slider if each.key.startswith("window")] == [(5, 60)]
    slide(other, run, 0, 20)
    assert variant_settings(space, run, saved.id).window_start == 5, "a variant never changes"


def variant_settings(space: Workspace, run: str, variant_id: str) -> SelectionSettings:
    return next(each.settings for each in all_variants(Workspace(space.root), run) if each.id == variant_id)


def test_changes_are_discarded_and_the_widgets_follow(run: str) -> None:
    at = open_app("mine", run=run)
    before = next(each.value for each in at.slider if each.key.startswith("window"))
    slide(at, run, 5, 60)
    press(at, "discard-draft")
    assert "draft" not in address(at)
    assert next(each.value for each in at.slider if each.key.startswith("window")) == before
    assert "unsaved" not in texts(at)


def test_opening_another_variant_keeps_unsaved_changes_in_the_list(run: str, space: Workspace) -> None:
    save_variant(space, run, "harder", SelectionSettings(window_start=0, window_end=40, strategy="hardest"))
    at = open_app("mine", run=run)
    slide(at, run, 5, 60)
    (box,) = [each for each in at.selectbox if each.label == "Run and variant"]
    (harder,) = [each for each in box.options if each.endswith("harder")]
    box.select(harder).run()
    assert not at.exception
    assert next(each.value for each in at.slider if each.key.startswith("window")) == (0, 40)
    (box,) = [each for each in at.selectbox if each.label == "Run and variant"]
    box.select(next(each for each in box.options if each.endswith("unsaved"))).run()
    assert next(each.value for each in at.slider if each.key.startswith("window")) == (5, 60)


def test_a_variant_that_is_deleted_while_it_is_open_is_said(run: str, space: Workspace) -> None:
    saved = save_variant(space, run, "harder", SelectionSettings(window_start=0, window_end=40))
    at = open_app("inspect", run=run, variant=saved.id)
    (space.run_folder(run) / "variants" / f"{saved.id}.json").unlink()
    at.run()
    assert "The variant has been deleted" in texts(at)
    assert at.session_state.variant == MINED
    assert "The variant has been deleted" in texts(open_app(run=run, variant=saved.id)), "a link to it says so too"


def test_a_link_to_a_draft_that_is_gone_shows_the_saved_variant(run: str) -> None:
    at = open_app(run=run, draft="draft-00000000")
    assert "not kept any longer" in texts(at)
    assert "draft" not in address(at)
    assert "is not an id" in texts(open_app(run=run, draft="../../x"))


def test_what_a_session_exports_is_what_it_shows(run: str) -> None:
    at = open_app("mine", run=run)
    slide(at, run, 5, 60)
    at.switch_page("pages/views/export.py").run()
    assert "5-60" in command(at)
    other = open_app("export", run=run)
    assert "5-60" not in command(other)
