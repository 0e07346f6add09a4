"""The store finds the vectors of a served model by its identity and its probe, which need not be equal in the last digits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hnmine.vectors.store import VectorStore, space_of
from tests.conftest import FakeEncoder

TEXTS = ["one", "two", "three"]
SKETCH = [[0.5, -1.25], [2.0, 0.125]]


class Probed(FakeEncoder):
    """An encoder whose identity has a probe."""

    def __init__(self, probe: Any, *, name: str = "model", precision: str = "fp32") -> None:
        super().__init__()
        self.probe, self.name, self.precision = probe, name, precision

    def identity(self, side: str) -> str | None:
        return json.dumps({"name": self.name, "probe": self.probe})

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "precision": self.precision}


def run(folder: Path, encoder: FakeEncoder) -> tuple[int, list[str]]:
    """Return how many texts were found, and the notes."""
    store = VectorStore(folder)
    store.vectors(encoder, TEXTS, "passages")
    return store.found, store.notes


def moved(by: float) -> list[list[float]]:
    return (np.array(SKETCH) + by).tolist()


def test_a_probe_that_is_near_is_the_same_model(tmp_path: Path) -> None:
    assert run(tmp_path, Probed(SKETCH)) == (0, [])
    assert run(tmp_path, Probed(moved(0.004))) == (3, [])
    assert run(tmp_path, Probed(moved(-0.004))) == (3, [])
    assert len(VectorStore(tmp_path).usage()) == 1


@pytest.mark.parametrize("probe", [moved(0.3), SKETCH[:1], [], None, "damaged", {"a": 1}])
def test_another_probe_is_another_model(tmp_path: Path, probe: Any) -> None:
    run(tmp_path, Probed(SKETCH))
    found, notes = run(tmp_path, Probed(probe))
    assert found == 0
    if probe is not None:
        assert notes == ["the model behind the address of model has changed: 3 stored vectors or scores of it are not used"]
    assert run(tmp_path, Probed(SKETCH)) == (3, []), "the first one's are still there"


@pytest.mark.parametrize("other", [Probed(SKETCH, name="other"), Probed(SKETCH, precision="fp16"), FakeEncoder()])
def test_other_identities_have_nothing_to_do_with_it(tmp_path: Path, other: FakeEncoder) -> None:
    run(tmp_path, Probed(SKETCH))
    assert run(tmp_path, other) == (0, [])


def test_probes_do_not_drift(tmp_path: Path) -> None:
    """Each is compared with the first: many small steps do not lead from one model to another."""
    found = [run(tmp_path, Probed(moved(step * 0.015)))[0] for step in range(5)]
    assert found[:2] == [0, 3]
    assert found[2] == 0


def test_a_store_that_cannot_be_read_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    space = space_of(Probed(SKETCH), "passages")
    assert space is not None
    assert VectorStore(tmp_path / "file").known(space) == space
