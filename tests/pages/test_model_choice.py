"""A model that cannot be downloaded is found when it is chosen, not when the queue reaches it."""

from __future__ import annotations

from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from hnmine.core.errors import ModelError
from hnmine.models import hub
from hnmine.runs.workspace import Workspace
from tests.conftest import add_example
from tests.pages.conftest import open_app, press, texts

REASON = "BAAI/bge-small-en-v1.5 is not on this machine, and huggingface.co cannot be reached; choose the packaged model"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that the hub is asked for; it cannot be reached."""
    st.cache_data.clear()
    names: list[str] = []

    def available(name: str) -> None:
        names.append(name)
        raise ModelError(REASON)

    monkeypatch.setattr(hub, "available", available)
    return names


def choose(fresh: Path, name: str) -> AppTest:
    dataset = add_example(Workspace(fresh))
    at = open_app("mine", dataset=dataset)
    at.selectbox(key=f"model-{dataset}").set_value(name).run()
    assert not at.exception
    return at


def test_a_model_that_cannot_be_downloaded_is_said_at_once(fresh: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    at = choose(fresh, "BAAI/bge-small-en-v1.5")
    assert "This model cannot be downloaded" in texts(at)
    assert REASON in texts(at)
    assert at.button(key="mine").disabled
    at.run()
    assert asked == ["BAAI/bge-small-en-v1.5"], "asked once in some minutes"
    monkeypatch.setattr(hub, "available", lambda name: None)
    press(at, "Check again")
    assert "cannot be downloaded" not in texts(at)
    assert not at.button(key="mine").disabled


def test_the_packaged_model_and_folders_ask_nothing(fresh: Path, asked: list[str]) -> None:
    at = open_app("mine", dataset=add_example(Workspace(fresh)))
    assert not at.button(key="mine").disabled
    assert asked == []
