"""What the tests of every screen share: the app, an empty workspace, and one with a run of the bundled example."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from hnmine.review.store import ReviewStore
from hnmine.runs.workspace import Workspace
from pages.mine import filters, selection
from tests.conftest import ROOT, Mined


def native_slider(label: str, key: str, values: Any, low: float, high: float, on_move: Any, **more: Any) -> None:
    """Draw Streamlit's slider in place of `range_slider.slider`."""
    if len(values) == 2:
        st.session_state[key] = tuple(map(int, values))
        st.slider(label, int(low), int(high), key=key, on_change=lambda: on_move(st.session_state[key]))
    else:
        st.session_state[key] = float(values[0])
        move = lambda: on_move((st.session_state[key],))  # noqa: E731
        st.slider(label, float(low), float(high), step=more["step"], key=key, on_change=move)
    st.text(more["note"])


@pytest.fixture(autouse=True)
def native_sliders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the sliders of Mine as Streamlit's own: AppTest has no element for components."""
    for module in (selection, filters):
        monkeypatch.setattr(module, "slider", native_slider)


@pytest.fixture
def run(fresh: Path, mined: Mined) -> str:
    """A copy of the workspace of `mined`, and a server that has just started with it; gives the run's id."""
    shutil.copytree(mined.root, fresh)
    return mined.run


@pytest.fixture
def space(fresh: Path) -> Workspace:
    """The workspace of the server."""
    return Workspace(fresh)


@pytest.fixture
def store(run: str, space: Workspace) -> ReviewStore:
    """The verdicts of that workspace."""
    return space.reviews()


def open_app(page: str | None = None, /, *, state: dict[str, object] | None = None, **query: str) -> AppTest:
    """Open a screen, by default the first one, at an address and with what a session has in memory."""
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
    for name, value in query.items():
        at.query_params[name] = value
    at.run()
    for name, value in (state or {}).items():
        at.session_state[name] = value
    return at if page is None else go(at, page)


def go(at: AppTest, page: str) -> AppTest:
    """Go to another screen."""
    at.switch_page(f"pages/views/{page}.py").run()
    assert not at.exception, [each.value for each in at.exception]
    return at


def press(at: AppTest, name: str) -> AppTest:
    """Press the one button of that key, or of that label."""
    (button,) = [each for each in at.button if name in (each.key, each.label)]
    button.click().run()
    assert not at.exception, [each.value for each in at.exception]
    return at


def command(at: AppTest) -> list[str]:
    """The words of the command that the Export screen shows."""
    (found,) = [shlex.split(each.value) for each in at.code if each.value.startswith("python -m hnmine mine")]
    return found


def texts(at: AppTest) -> str:
    """Everything that is written on the screen in words."""
    kinds = (at.title, at.subheader, at.text, at.markdown, at.caption, at.warning, at.error, at.info, at.success, at.toast, at.code)
    return "\n".join(str(element.value) for kind in kinds for element in kind).replace("\u00a0", " ")
