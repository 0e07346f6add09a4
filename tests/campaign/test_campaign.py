"""A small part of the campaign, so that what it holds stays held."""

from __future__ import annotations

import importlib

import pytest

# Trials of each part in the suite.
SMALL: dict[str, int] = {"readers": 250}


@pytest.mark.parametrize("part", SMALL)
def test_a_small_part_of_the_campaign_fails_nowhere(part: str) -> None:
    outcome = importlib.import_module(f"tests.campaign.{part}").run(SMALL[part], 0)
    assert outcome.tried >= SMALL[part]
    assert outcome.failed == []
