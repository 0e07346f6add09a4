"""What the server caches for all sessions is bounded by bytes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import streamlit as st

from hnmine import resources
from hnmine.core.errors import SettingsError
from tests.pages.conftest import open_app, texts


@pytest.fixture(autouse=True)
def started() -> None:
    st.cache_resource.clear()


@resources.cached()
def zeros(megabytes: int, name: str) -> npt.NDArray[np.uint8]:
    return np.zeros(megabytes * 2**20, np.uint8)


def test_the_setting_bounds_all_results_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HNMINE_CACHE_MEMORY", "10MB")
    st.cache_resource.clear()
    first = zeros(4, "a")
    assert zeros(4, "a") is first
    for name in "bcd":
        zeros(4, name)
    assert resources._results().size <= 10 * 2**20
    assert zeros(4, "a") is not first


def test_the_budget_is_a_half_of_the_memory_within_the_containers_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HNMINE_CACHE_MEMORY", raising=False)
    monkeypatch.setattr(resources, "available", lambda: 2**30)
    assert resources._results().budget == 2**29


def test_an_unknown_amount_is_named(monkeypatch: pytest.MonkeyPatch, run: str) -> None:
    monkeypatch.setenv("HNMINE_CACHE_MEMORY", "much")
    st.cache_resource.clear()
    with pytest.raises(SettingsError, match=r"HNMINE_CACHE_MEMORY: 'much' is not an amount of memory"):
        resources._results()
    at = open_app("inspect", run=run)
    assert not at.exception
    assert "HNMINE_CACHE_MEMORY: 'much'" in texts(at)


def test_an_opened_run_counts_its_rows_once(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = resources.open_run(run)
    before = resources._results().size
    resources.open_run(run)
    assert resources._results().size == before
    assert 200_000 < before < 2_000_000, "124 rows and 400 passages"
    assert opened.inputs.rows
