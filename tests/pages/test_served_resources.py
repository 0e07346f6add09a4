"""What a server of the app holds of served models: nothing, because the model behind an address may be another by now."""

from __future__ import annotations

from pathlib import Path

import pytest

from hnmine import resources
from hnmine.core.errors import ModelError
from hnmine.models.opening import load_encoder
from hnmine.runs.settings import MineSettings
from hnmine.runs.workspace import Workspace
from tests.conftest import add_example, mine
from tests.served import fake_server, model_of, reranker_of


def test_a_run_of_a_served_model_is_opened_searched_and_refused_once_it_is_swapped(fresh: Path) -> None:
    with fake_server() as served:
        space = Workspace()
        settings = MineSettings(model=model_of(served))
        run = mine(space, add_example(space), settings, 60, load_encoder(model_of(served)))
        assert resources.open_run(run).run.settings.model == settings.model
        scores, ids = resources.nearest(run, "How do I unlock a bike?", 5)
        assert len(scores) == len(ids) == 5
        assert resources.checked(resources.open_run(run), settings).rows
        served.fail("swapped")
        with pytest.raises(ModelError, match="the model's weights have changed since this run was mined"):
            resources.nearest(run, "How do I unlock a bike?", 5)


def test_a_reranker_is_asked_again_each_time(fresh: Path) -> None:
    with fake_server() as served:
        first = resources.cross_encoder(reranker_of(served)).describe()["probe"]
        served.fail("swapped")
        assert resources.cross_encoder(reranker_of(served)).describe()["probe"] != first
