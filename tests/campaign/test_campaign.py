"""A small part of the campaign, so that what it holds stays held."""

from __future__ import annotations

import importlib

import pytest

from tests.browser.server import CHROMIUM

# Trials of each part in the suite.
SMALL: dict[str, int] = {"readers": 250, "disk": 10, "kills": 4, "hosts": 80, "workspace": 8, "load": 3, "floods": 5, "served_runs": 15}
BROWSER = pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")


@pytest.mark.parametrize("part", [pytest.param(part, marks=BROWSER if part == "load" else ()) for part in SMALL])
def test_a_small_part_of_the_campaign_fails_nowhere(part: str) -> None:
    outcome = importlib.import_module(f"tests.campaign.{part}").run(SMALL[part], 0)
    assert outcome.tried >= SMALL[part]
    assert outcome.failed == []
