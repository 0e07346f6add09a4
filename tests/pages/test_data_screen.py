"""The Data screen with every kind of file: what it is gets shown before use, columns are picked, and the steps lead on."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from hnmine.data.columns import Columns
from hnmine.runs.mine import MineSettings
from hnmine.runs.uploads import inspect_file
from hnmine.runs.workspace import OWN_CORPUS, Workspace
from hnmine.selection.settings import SelectionSettings
from tests.conftest import mine
from tests.pages.conftest import open_app, texts

ROOT = Path(__file__).parents[2]
CSV = "thema,rat,anders,nr\n" + "".join(f"was ist {n},das ist {n},das ist nicht {n},{n}\n" for n in range(9))


def metrics(at: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def beir(folder: Path) -> None:
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text("".join(json.dumps({"_id": str(n), "title": "T", "text": f"text {n}"}) + "\n" for n in range(8)))
    (folder / "queries.jsonl").write_text("".join(json.dumps({"_id": f"q{n}", "text": f"query {n}"}) + "\n" for n in range(4)))
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq0\t0\t1\nq1\t1\t1\n")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq2\t2\t1\n")


def test_columns_that_cannot_be_told_are_picked_and_remembered(fresh: Path) -> None:
    dataset = Workspace(fresh).add_dataset("paare.csv", io.BytesIO(CSV.encode()))
    assert dataset.training_file == "train.csv"
    at = open_app(dataset=dataset.id)
    assert "Choose the columns" in texts(at)
    assert "paare.csv: CSV, 4 columns: thema, rat, anders, nr" in texts(at)
    assert list(at.dataframe[0].value.columns) == ["thema", "rat", "anders", "nr"]
    assert not [button for button in at.button if button.key == "continue"]
    at.switch_page("pages/views/mine.py").run()
    assert not at.exception
    assert "Cannot mine this data" in texts(at)

    at.switch_page("pages/views/data.py").run()
    assert at.selectbox(key=f"column-query-{dataset.id}").value == "thema"  # a suggestion, not yet used
    at.multiselect(key=f"column-pos-{dataset.id}").set_value(["rat"]).run()
    assert "Choose the columns" in texts(at)
    at.button(key="use-columns").click().run()
    assert not at.exception
    assert metrics(at)["Rows"] == "9"
    assert not at.button(key="continue").disabled
    assert "Choose the columns" not in texts(at)
    at.multiselect(key=f"column-neg-{dataset.id}").select("anders").run()
    assert metrics(at)["Existing negatives"] == "9"
    assert "nr" in texts(at)
    again = open_app(dataset=dataset.id)  # another session
    assert metrics(again)["Existing negatives"] == "9"
    assert Workspace(fresh).columns(dataset.id) == Columns(query="thema", pos=("rat",), neg=("anders",))


def test_a_column_picked_for_two_things_is_refused_calmly(fresh: Path) -> None:
    dataset = Workspace(fresh).add_dataset("paare.csv", io.BytesIO(CSV.encode()))
    at = open_app(dataset=dataset.id)
    at.multiselect(key=f"column-pos-{dataset.id}").set_value(["thema"]).run()
    at.button(key="use-columns").click().run()
    assert not at.exception
    assert "each column only once" in texts(at)


def test_known_columns_are_prefilled_and_only_changes_become_settings(fresh: Path) -> None:
    space = Workspace(fresh)
    out = io.BytesIO()
    rows = [{"question": f"q {n}", "answer": f"a {n}", "wrong": f"w {n}", "other": f"o {n}"} for n in range(8)]
    pq.write_table(pa.Table.from_pylist(rows), out)
    pool = io.BytesIO("\n".join(f"passage {n}" for n in range(20)).encode())
    dataset = space.add_dataset("set.parquet", out, "more.txt", pool)
    assert (dataset.training_file, dataset.pool_file) == ("train.parquet", "pool.txt")
    assert space.training_path(dataset.id).read_bytes() == out.getvalue()
    at = open_app(dataset=dataset.id)
    assert at.selectbox(key=f"column-query-{dataset.id}").value == "question"
    assert at.multiselect(key=f"column-pos-{dataset.id}").value == ["answer"]
    assert at.multiselect(key=f"column-neg-{dataset.id}").value == ["wrong"]
    assert metrics(at)["Passages"] == "36"
    assert space.columns(dataset.id) == Columns()
    at.multiselect(key=f"column-neg-{dataset.id}").unselect("wrong").run()
    assert metrics(at)["Passages"] == "28"
    assert space.columns(dataset.id) == Columns(neg=())
    settings = MineSettings(columns=space.columns(dataset.id), selection=SelectionSettings(window_start=0))
    run = mine(space, dataset.id, settings, 50)
    st.cache_resource.clear()
    at = open_app(run=run)
    assert metrics(at)["Passages"] == "28"


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_beir_data_set_brings_its_pool_and_its_judgements_are_picked(fresh: Path, tmp_path: Path, kind: str) -> None:
    space = Workspace(fresh)
    source = space.root / "files" / "nice"
    beir(source)
    if kind == "zip":
        with zipfile.ZipFile(space.root / "files" / "nice.zip", "w") as archive:
            for path in source.rglob("*.*"):
                archive.write(path, f"nice/{path.relative_to(source)}")
    assert space.files() == (["nice", "nice.zip"] if kind == "zip" else ["nice"])
    at = open_app()
    at.selectbox(key="pick-training").select("nice.zip" if kind == "zip" else "nice").run()
    assert "BEIR data set, 2 splits: train, test" in texts(at)
    assert at.button(key="open-files").label == "Open data set"  # it brings its own pool
    at.button(key="open-files").click().run()
    assert not at.exception
    assert (metrics(at)["Rows"], metrics(at)["Passages"]) == ("2", "8")
    (dataset,) = space.datasets()
    assert dataset.pool_name == OWN_CORPUS
    assert space.pool_path(dataset.id) is None
    at.selectbox(key=f"column-qrels-{dataset.id}").select("test").run()
    assert metrics(at)["Rows"] == "1"
    assert space.columns(dataset.id) == Columns(qrels="test")


def test_an_upload_is_told_before_it_is_opened(fresh: Path) -> None:
    at = open_app()
    at.file_uploader(key="upload-training").upload("pairs.csv", b"question,answer\na,b\nc,d\n", "text/csv").run()
    assert "CSV, 2 columns: question, answer; read as query = question, pos = answer" in texts(at)
    at.file_uploader(key="upload-pool").upload("pool.zip", b"PK\x03\x04 nothing", "application/zip").run()
    assert "pool.zip: the zip archive is damaged" in texts(at)
    assert at.button(key="open-upload").disabled


def test_the_button_says_when_there_is_no_pool(fresh: Path) -> None:
    at = open_app()

    def button() -> tuple[str, bool]:
        return at.button(key="open-upload").label, not at.button(key="open-upload").disabled

    assert button() == ("Open files", False)
    at.file_uploader(key="upload-training").upload("pairs.csv", b"query,pos\na,b\nc,d\n", "text/csv").run()
    assert button() == ("Open without a pool", True)
    at.file_uploader(key="upload-pool").upload("pool.txt", b"e\nf\n", "text/plain").run()
    assert button() == ("Open files", True)
    at.button(key="open-upload").click().run()
    assert metrics(at)["Passages"] == "4"


def test_names_of_columns_are_shown_literally(fresh: Path) -> None:
    nasty = "**bold** [x](javascript:alert(1))"
    dataset = Workspace(fresh).add_dataset("n.csv", io.BytesIO(f"question,answer,{nasty}\na,b,c\nd,e,f\n".encode()))
    at = open_app(dataset=dataset.id)
    assert not at.exception
    rendering = (at.markdown, at.caption, at.title, at.subheader, at.warning, at.error, at.info, at.success)
    assert all("javascript" not in str(element.value) for kind in rendering for element in kind)
    assert any(nasty in str(element.value) for element in at.text)


def test_the_steps_lead_on(fresh: Path) -> None:
    at = open_app()
    assert "Getting started" in texts(at)
    for step in ("1 · Open data", "2 · Mine", "3 · Inspect and review", "4 · Export"):
        assert step in texts(at)
    at.button(key="open-example").click().run()
    assert "Getting started" not in texts(at)


def test_plain_rows_need_no_picker(fresh: Path) -> None:
    at = open_app()
    at.button(key="open-example").click().run()
    assert not [box for box in at.selectbox if str(box.key).startswith("column-")]


def test_older_workspaces_open(fresh: Path) -> None:
    space = Workspace(fresh)
    folder = space.root / "datasets" / "0123456789ab"
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"query": "q", "pos": ["p"]}\n')
    (folder / "pool.jsonl").write_text('{"text": "t"}\n')
    (folder / "dataset.json").write_text(
        '{"id":"0123456789ab","name":"old","pool_name":"more","created":"2026-01-01T00:00:00+00:00","bytes":9}'
    )
    (folder / "decisions.json").write_text('[["nan"],true]')
    assert metrics(open_app(dataset="0123456789ab"))["Passages"] == "2"


def test_a_look_reads_the_beginning_alone(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"query": "q", "pos": ["p"]}\n' * 300_000)
    before = path.read_bytes()[:100]
    found = inspect_file(path, "rows.jsonl")
    assert found.plain
    assert found.suffix == ".jsonl"
    file = io.BytesIO(b"question\tanswer\na\tb\nc\td\n")
    assert inspect_file(file, "x").suffix == ".tsv"
    assert not file.closed
    assert path.read_bytes()[:100] == before
