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
from tests.pages.conftest import open_app, press, texts

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
    press(at, "use-columns")
    assert metrics(at)["Old negatives"] == "9"
    assert "nr" in texts(at)
    again = open_app(dataset=dataset.id)  # another session
    assert metrics(again)["Old negatives"] == "9"
    assert Workspace(fresh).columns(dataset.id) == Columns(query="thema", pos=("rat",), neg=("anders",))


def test_a_column_picked_for_two_things_is_refused_calmly(fresh: Path) -> None:
    dataset = Workspace(fresh).add_dataset("paare.csv", io.BytesIO(CSV.encode()))
    at = open_app(dataset=dataset.id)
    at.multiselect(key=f"column-pos-{dataset.id}").set_value(["thema"]).run()
    assert not at.exception
    assert "each column only once" in texts(at)
    assert at.button(key="use-columns").disabled


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
    assert metrics(at)["Passages"] == "36", "nothing is used before the press"
    assert "old negatives" not in at.dataframe[0].value.columns, "the rows as they would be read"
    press(at, "use-columns")
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
    at.selectbox(key=f"column-split-{dataset.id}").select("test").run()
    assert metrics(at)["Rows"] == "1"
    assert space.columns(dataset.id) == Columns(split="test")


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


def card(at: AppTest):  # type: ignore[no-untyped-def]
    (found,) = [each for each in at.expander if each.label.startswith("How the files were read")]
    return found


def test_plain_rows_have_a_closed_card_with_their_facts(fresh: Path) -> None:
    at = open_app()
    at.button(key="open-example").click().run()
    assert card(at).label == "How the files were read: JSON lines + JSON lines"
    assert not card(at).proto.expanded
    facts = "\n".join(text.value for text in card(at).text)
    assert "bikeshare/train.jsonl: JSON lines, encoding UTF-8, 5 fields: query, pos, prompt, id, neg" in facts
    assert "query = query · positives = pos · old negatives = neg\n" in facts
    assert "124 rows, 121 queries" in facts
    assert "passages in the pool" in facts
    assert "Open: nothing." in facts
    assert len(card(at).dataframe[0].value) == 2


def test_json_with_own_names_gets_the_pickers_of_a_table(fresh: Path) -> None:
    rows = "".join(
        json.dumps({"ticket": f"why is {n} so slow", "fix": f"because {n} waits for the disk", "bad": f"no {n}"}) + "\n" for n in range(9)
    )
    dataset = Workspace(fresh).add_dataset("own.jsonl", io.BytesIO(rows.encode()))
    at = open_app(dataset=dataset.id)
    assert "Choose the columns" in texts(at)
    assert at.multiselect(key=f"column-pos-{dataset.id}").value == ["fix"]
    press(at, "use-columns")
    assert metrics(at)["Rows"] == "9"
    assert not card(at).proto.expanded
    assert "query = ticket · positives = fix" in [text.value for text in card(at).text]
    at.multiselect(key=f"column-neg-{dataset.id}").select("bad").run()
    preview = card(at).dataframe[0].value
    assert list(preview["old negatives"]) == ["no 0", "no 1"]
    press(at, "columns-again")  # back to the question
    assert Workspace(fresh).columns(dataset.id) == Columns()
    assert "Choose the columns" in texts(at)


def test_a_label_is_picked_previewed_and_asked_about(fresh: Path) -> None:
    text = "question,answer,stars,nr\n" + "".join(
        f"how do I mend {n},Mend {n} with both hands.,5,1\nhow do I mend {n},Paint {n} twice a year.,2,2\n" for n in range(9)
    )
    dataset = Workspace(fresh).add_dataset("stars.csv", io.BytesIO(text.encode()))
    at = open_app(dataset=dataset.id)
    if "Which labels are positive?" in texts(at):
        press(at, "labels-none")
    at.selectbox(key=f"column-label-{dataset.id}").select("stars").run()
    assert list(card(at).dataframe[0].value["label"]) == ["5", "2"]
    press(at, "use-columns")
    assert "Which labels are positive?" in texts(at)
    press(at, "labels-use")
    assert (metrics(at)["Rows"], metrics(at)["Old negatives"]) == ("9", "9")
    assert at.selectbox(key=f"column-label-{dataset.id}").value == "stars"


def test_passages_and_ids_of_a_pool_are_picked(fresh: Path) -> None:
    rows = "".join(json.dumps({"query": f"how do I mend {n}", "pos": [f"d{n}"]}) + "\n" for n in range(9))
    pool = "".join(
        json.dumps({"nr": f"d{n}", "other": f"d{(n + 1) % 9}", "advice": f"Mend {n} by hand.", "long": f"Or {n}"}) + "\n" for n in range(9)
    )
    dataset = Workspace(fresh).add_dataset("ids.jsonl", io.BytesIO(rows.encode()), "pool.jsonl", io.BytesIO(pool.encode()))
    at = open_app(dataset=dataset.id)
    assert at.selectbox(key=f"column-text-{dataset.id}").value == "advice", "suggested"
    press(at, "use-columns")
    assert "9 of them named by id in the rows" in "\n".join(text.value for text in card(at).text)
    at.selectbox(key=f"column-id-{dataset.id}").select("other").run()
    assert list(card(at).dataframe[0].value["id"]) == ["d1", "d2"]
    press(at, "use-columns")
    assert Workspace(fresh).columns(dataset.id) == Columns(text="advice", id="other")
    assert card(at).dataframe[0].value["positives"][0] == "Mend 8 by hand."


def test_columns_that_do_not_fit_can_be_chosen_again(fresh: Path) -> None:
    rows = "".join(json.dumps({"query": f"how do I mend {n}", "pos": [f"d{n}"]}) + "\n" for n in range(9))
    pool = "".join(json.dumps({"nr": f"d{n}", "text": f"Mend {n} by hand."}) + "\n" for n in range(9))
    space = Workspace(fresh)
    dataset = space.add_dataset("ids.jsonl", io.BytesIO(rows.encode()), "pool.jsonl", io.BytesIO(pool.encode()))
    space.save_columns(dataset.id, Columns(id="text"))
    at = open_app(dataset=dataset.id)
    assert "Cannot read this file" in texts(at)
    assert card(at).proto.expanded
    press(at, "columns-again")
    assert metrics(at)["Rows"] == "9"


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
