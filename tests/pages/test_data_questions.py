"""The Data screen asks one question where a file can be read in several ways: its encoding, its labels, its passages."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from hnmine.data.columns import Columns
from hnmine.runs.workspace import Workspace
from tests.pages.conftest import open_app, texts

PAIRS = [
    (f"how do I repair the lamp {n}", f"Repair the lamp {n} with both hands, slowly.", f"Paint the door {n} twice a year.")
    for n in range(9)
]


@pytest.fixture
def graded(fresh: Path) -> str:
    rows = [f"{query}\t{passage}\t{grade}\n" for query, good, bad in PAIRS for passage, grade in ((good, 4), (bad, 1))]
    return Workspace(fresh).add_dataset("graded.tsv", io.BytesIO("".join(rows).encode())).id


def test_grades_are_asked_with_their_counts_used_and_asked_again(graded: str, fresh: Path) -> None:
    at = open_app(dataset=graded)
    assert "Which labels are positive?" in texts(at)
    assert "Label column: column_3" in texts(at)
    assert at.multiselect(key="labels-positive").value == ["4"]  # the highest is suggested
    assert not [button for button in at.button if button.key == "mine-now"]
    at.button(key="labels-use").click().run()
    assert not at.exception
    assert "9 rows · " in texts(at)
    assert "9 old negatives" in texts(at)
    assert Workspace(fresh).columns(graded).positive_labels == ("4",)
    at.button(key="labels-again").click().run()
    assert "Which labels are positive?" in texts(at)
    at.button(key="labels-none").click().run()
    assert "18 positives" in texts(at)


def test_a_guessed_encoding_is_asked_with_its_lines(fresh: Path) -> None:
    text = "frage;antwort\n" + "".join(f"Wie prüfe ich das Gerät {n}?;Täglich {n} Mal prüfen, möglichst früh.\n" for n in range(9))
    dataset = Workspace(fresh).add_dataset("fragen.csv", io.BytesIO(text.encode("cp1252"))).id
    at = open_app(dataset=dataset)
    assert "Are these lines correct?" in texts(at)
    assert any("Wie prüfe ich das Gerät 0?" in code.value for code in at.code)
    at.button(key="encoding-guess").click().run()
    assert not at.exception
    assert "9 rows · " in texts(at)
    assert Workspace(fresh).columns(dataset) == Columns(encoding="cp1252")


def test_rows_of_ids_without_their_pool_say_what_is_missing(fresh: Path) -> None:
    rows = "".join(json.dumps({"query": query, "pos": [f"d{n}"]}) + "\n" for n, (query, _, _) in enumerate(PAIRS))
    at = open_app(dataset=Workspace(fresh).add_dataset("ids.jsonl", io.BytesIO(rows.encode())).id)
    assert not at.exception
    assert "The rows name passages by id" in texts(at)
    assert len(at.file_uploader) == 1, "the missing file can be dropped there"
    assert not [button for button in at.button if button.key == "mine-now"]


def test_a_wrong_encoding_can_be_chosen_again(fresh: Path) -> None:
    text = "frage;antwort\n" + "".join(f"Wie prüfe ich das Gerät {n}?;Täglich {n} Mal prüfen, möglichst früh.\n" for n in range(9))
    space = Workspace(fresh)
    dataset = space.add_dataset("fragen.csv", io.BytesIO(text.encode("cp1252"))).id
    space.save_columns(dataset, Columns(encoding="shift_jis"))
    at = open_app(dataset=dataset)
    at.button(key="encoding-again").click().run()
    assert not at.exception
    assert "Are these lines correct?" in texts(at)
