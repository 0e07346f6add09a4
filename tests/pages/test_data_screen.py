"""The Data screen with every kind of file: it opens at once or is refused, columns are picked, and one press mines."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from hnmine.data.columns import Columns
from hnmine.models.cards import ModelSettings
from hnmine.runs.dataset_notes import name_dataset
from hnmine.runs.mine import MineSettings
from hnmine.runs.uploads import inspect_file
from hnmine.runs.workspace import OWN_CORPUS, Workspace
from hnmine.selection.presets import with_preset
from hnmine.selection.settings import SelectionSettings
from pages.shared import mining
from tests.conftest import mine
from tests.pages.conftest import open_app, press, texts

ROOT = Path(__file__).parents[2]
CSV = "thema,rat,anders,nr\n" + "".join(f"was ist {n},das ist {n},das ist nicht {n},{n}\n" for n in range(9))


def figures(at: AppTest) -> dict[str, str]:
    """The figures of the data set in the line under the title, by what they count."""
    (line,) = [each.value for each in at.text if re.match(r"[\d,]+ rows? · ", each.value)]
    counts = [part.split(" ", 1) for part in line.split(" · ")]
    return {what.removesuffix("ies").removesuffix("y").removesuffix("s"): count for count, what in counts}


def drop(at: AppTest, *files: tuple[str, bytes]) -> AppTest:
    """Drop files into the zone, all at once."""
    at.file_uploader[0].set_value([(name, content, "application/octet-stream") for name, content in files]).run()
    assert not at.exception, [each.value for each in at.exception]
    return at


def ready(at: AppTest) -> bool:
    """Whether mining can start."""
    return any(button.key == "mine-now" and not button.disabled for button in at.button)


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
    assert not ready(at)
    at.switch_page("pages/views/mine.py").run()
    assert not at.exception
    assert "Cannot mine this data" in texts(at)

    at.switch_page("pages/views/data.py").run()
    assert at.selectbox(key=f"column-query-{dataset.id}").value == "thema"  # a suggestion, not yet used
    at.multiselect(key=f"column-pos-{dataset.id}").set_value(["rat"]).run()
    assert "Choose the columns" in texts(at)
    at.button(key="use-columns").click().run()
    assert not at.exception
    assert figures(at)["row"] == "9"
    assert ready(at)
    assert "Choose the columns" not in texts(at)
    at.multiselect(key=f"column-neg-{dataset.id}").select("anders").run()
    press(at, "use-columns")
    assert figures(at)["old negative"] == "9"
    assert "nr" in texts(at)
    again = open_app(dataset=dataset.id)  # another session
    assert figures(again)["old negative"] == "9"
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
    assert figures(at)["passage"] == "36"
    assert space.columns(dataset.id) == Columns()
    at.multiselect(key=f"column-neg-{dataset.id}").unselect("wrong").run()
    assert figures(at)["passage"] == "36", "nothing is used before the press"
    assert "old negatives" not in at.dataframe[0].value.columns, "the rows as they would be read"
    press(at, "use-columns")
    assert figures(at)["passage"] == "28"
    assert space.columns(dataset.id) == Columns(neg=())
    settings = MineSettings(columns=space.columns(dataset.id), selection=SelectionSettings(window_start=0))
    run = mine(space, dataset.id, settings, 50)
    st.cache_resource.clear()
    at = open_app(run=run)
    assert figures(at)["passage"] == "28"


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
    at.button(key="open-files").click().run()
    assert not at.exception
    assert (figures(at)["row"], figures(at)["passage"]) == ("2", "8")
    (dataset,) = space.datasets()
    assert dataset.pool_name == OWN_CORPUS
    assert space.pool_path(dataset.id) is None
    at.selectbox(key=f"column-split-{dataset.id}").select("test").run()
    assert figures(at)["row"] == "1"
    assert space.columns(dataset.id) == Columns(split="test")


def test_a_dropped_file_opens_at_once(fresh: Path) -> None:
    at = drop(open_app(), ("pairs.csv", b"question,answer\na,b\nc,d\n"))
    assert figures(at) == {"row": "2", "quer": "2", "positive": "2", "old negative": "0", "passage": "2"}
    assert ready(at)
    (dataset,) = Workspace(fresh).datasets()
    assert (dataset.name, dataset.pool_name) == ("pairs.csv", None)


def test_a_training_file_and_its_pool_are_dropped_together(fresh: Path) -> None:
    at = drop(open_app(), ("more.txt", b"e\nf\n"), ("pairs.csv", b"query,pos\na,b\nc,d\n"))
    assert figures(at)["passage"] == "4"
    (dataset,) = Workspace(fresh).datasets()
    assert (dataset.name, dataset.pool_name) == ("pairs.csv", "more.txt")


def test_a_pool_is_added_later_and_nothing_of_before_stays(fresh: Path) -> None:
    space = Workspace(fresh)
    at = drop(open_app(), ("own.jsonl", b"".join(b'{"ticket": "why is %d slow", "fix": "it waits %d"}\n' % (n, n) for n in range(9))))
    press(at, "use-columns")
    at = drop(at, ("pool.txt", b"e\nf\n"))
    assert figures(at)["passage"] == "11", "the columns that were chosen are kept"
    (dataset,) = space.datasets()
    assert dataset.pool_name == "pool.txt"
    assert not at.file_uploader


def test_two_files_with_unknown_names_are_one_question(fresh: Path) -> None:
    rows = b"".join(b'{"ticket": "why is %d slow", "fix": "it waits %d"}\n' % (n, n) for n in range(9))
    texts_ = b"".join(b'{"nr": "d%d", "advice": "Paint %d by hand."}\n' % (n, n) for n in range(9))
    at = drop(open_app(), ("kb.jsonl", texts_), ("own.jsonl", rows))
    assert not Workspace(fresh).datasets()
    at.radio(key="drop-which").set_value("own.jsonl").run()
    (dataset,) = Workspace(fresh).datasets()
    assert (dataset.name, dataset.pool_name) == ("own.jsonl", "kb.jsonl")
    assert "Choose the columns" in texts(at)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("image.jsonl", b"\x89PNG\r\n\x1a\n" + bytes(900), "the file is an image"),
        ("empty.jsonl", b"", "no usable training row"),
        ("bad.jsonl", b"{nothing}\n", "line 1, $: not JSON"),
        ("pool.zip", b"PK\x03\x04 nothing", "pool.zip: the zip archive is damaged"),
    ],
)
def test_what_has_no_row_is_refused_before_it_is_stored(fresh: Path, name: str, content: bytes, words: str) -> None:
    at = drop(open_app(), (name, content))
    assert "Cannot use this file" in texts(at)
    assert words in texts(at)
    assert not list((fresh / "datasets").iterdir())
    good = b'{"query": "q", "pos": ["p"]}\n'
    assert "Cannot use" in texts(drop(open_app(), ("train.jsonl", good), (name, content)))
    assert not list((fresh / "datasets").iterdir())


def test_mining_starts_with_the_recommended_settings(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, MineSettings]] = []
    monkeypatch.setattr(mining, "start", lambda dataset_id, settings, depth: started.append((dataset_id, settings)))
    at = drop(open_app(), ("pairs.csv", b"question,answer\na,b\nc,d\n"))
    press(at, "mine-now")
    ((dataset_id, settings),) = started
    assert dataset_id == Workspace(fresh).datasets()[0].id
    assert settings == MineSettings(model=ModelSettings(), selection=with_preset("balanced", SelectionSettings(), deepest=2))
    assert any(each.key == "mine" for each in at.button)


def test_recent_data_sets_have_names_and_counts(fresh: Path) -> None:
    space = Workspace(fresh)
    at = drop(open_app(), ("pairs.csv", b"question,answer\na,b\nc,d\n"))
    (dataset,) = space.datasets()
    name_dataset(space, dataset.id, "**Help** centre")
    press(at, "open-other")
    table = at.dataframe[0].value
    assert [list(table[column]) for column in ("name", "rows", "passages", "runs")] == [["**Help** centre"], [2], [2], [0]]
    assert "dataset" not in at.query_params


def test_the_health_strip_says_what_to_do(fresh: Path) -> None:
    rows = b'{"query": "q", "pos": ["p"]}\n{"query": "r", "pos": []}\n{"query": "r", "pos": "s"}\n'
    at = drop(open_app(), ("rows.jsonl", rows + b'{"query": "long", "pos": ["%s"]}\n' % (b"word " * 400)))
    assert not ready(at)
    said = texts(at)
    assert "2 rows with errors" in said
    assert "% of passages truncated" in said
    assert "all-MiniLM-L6-v2 reads 256 tokens." in said
    assert "Duplicates not counted" in said
    (skip,) = [each for each in at.checkbox if each.key.startswith("skip-")]
    skip.check().run()
    assert ready(at)
    assert "Errors resolved" in texts(at)
    assert "0 repaired, 2 skipped." in texts(at)


def test_names_of_columns_are_shown_literally(fresh: Path) -> None:
    nasty = "**bold** [x](javascript:alert(1))"
    dataset = Workspace(fresh).add_dataset("n.csv", io.BytesIO(f"question,answer,{nasty}\na,b,c\nd,e,f\n".encode()))
    at = open_app(dataset=dataset.id)
    assert not at.exception
    rendering = (at.markdown, at.caption, at.title, at.subheader, at.warning, at.error, at.info, at.success)
    assert all("javascript" not in str(element.value) for kind in rendering for element in kind)
    assert any(nasty in str(element.value) for element in at.text)


def test_rows_of_the_example_are_seen_with_how_they_are_read(fresh: Path) -> None:
    at = press(open_app(), "open-example")
    said = texts(at)
    assert "bikeshare/train.jsonl: JSON lines, encoding UTF-8, 5 fields: query, pos, prompt, id, neg" in said
    assert "query = query · positives = pos · old negatives = neg" in said
    assert "Other fields, kept in the export: prompt, id" in said
    assert len(at.dataframe[0].value) == 100
    assert at.tabs[0].label == "Rows (124)"


def test_scores_of_replaced_negatives_are_said_to_be_lost(fresh: Path) -> None:
    at = drop(open_app(), ("rows.jsonl", b'{"query": "q", "pos": ["p"], "pos_scores": [1], "neg_scores": [2], "neg": ["n"], "level": 1}\n'))
    assert "Other fields, kept in the export: level" in texts(at)
    assert "Not kept, because the negatives are replaced: pos_scores, neg_scores" in texts(at)


def test_the_tour_leads_through_the_screens_and_can_be_left(run: str, space: Workspace) -> None:
    at = open_app(run=run, state={"tour": True})
    at.run()
    for step, name in enumerate(("Data", "Mine", "Inspect", "Review", "Export"), 1):
        assert f"**Step {step} of 5 · {name}**" in texts(at)
        assert not at.exception
        if step < 5:
            press(at, "tour-next")
    press(at, "tour-leave")
    assert "**Step" not in texts(at)
    at.switch_page("pages/views/runs.py").run()
    assert "Tour" not in texts(at)


def test_the_tour_opens_the_example(fresh: Path) -> None:
    at = press(open_app(), "tour-start")
    assert "**Step 1 of 5 · Data**" in texts(at)
    assert figures(at)["row"] == "124"
    press(at, "tour-next")
    assert at.button(key="tour-next").disabled, "nothing is mined yet"


def test_json_with_own_names_gets_the_pickers_of_a_table(fresh: Path) -> None:
    rows = "".join(
        json.dumps({"ticket": f"why is {n} so slow", "fix": f"because {n} waits for the disk", "bad": f"no {n}"}) + "\n" for n in range(9)
    )
    dataset = Workspace(fresh).add_dataset("own.jsonl", io.BytesIO(rows.encode()))
    at = open_app(dataset=dataset.id)
    assert "Choose the columns" in texts(at)
    assert at.multiselect(key=f"column-pos-{dataset.id}").value == ["fix"]
    press(at, "use-columns")
    assert figures(at)["row"] == "9"
    assert "query = ticket · positives = fix" in texts(at)
    at.multiselect(key=f"column-neg-{dataset.id}").select("bad").run()
    preview = at.dataframe[0].value
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
    assert list(at.dataframe[0].value["label"]) == ["5", "2"]
    press(at, "use-columns")
    assert "Which labels are positive?" in texts(at)
    press(at, "labels-use")
    assert (figures(at)["row"], figures(at)["old negative"]) == ("9", "9")
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
    assert "9 of them named by id in the rows" in texts(at)
    at.selectbox(key=f"column-id-{dataset.id}").select("other").run()
    assert list(at.dataframe[0].value["id"]) == ["d1", "d2"]
    press(at, "use-columns")
    assert Workspace(fresh).columns(dataset.id) == Columns(text="advice", id="other")
    assert at.dataframe[0].value["positives"][0] == "Mend 8 by hand."


def test_columns_that_do_not_fit_can_be_chosen_again(fresh: Path) -> None:
    rows = "".join(json.dumps({"query": f"how do I mend {n}", "pos": [f"d{n}"]}) + "\n" for n in range(9))
    pool = "".join(json.dumps({"nr": f"d{n}", "text": f"Mend {n} by hand."}) + "\n" for n in range(9))
    space = Workspace(fresh)
    dataset = space.add_dataset("ids.jsonl", io.BytesIO(rows.encode()), "pool.jsonl", io.BytesIO(pool.encode()))
    space.save_columns(dataset.id, Columns(id="text"))
    at = open_app(dataset=dataset.id)
    assert "Cannot read this file" in texts(at)
    press(at, "columns-again")
    assert figures(at)["row"] == "9"


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
    assert figures(open_app(dataset="0123456789ab"))["passage"] == "2"


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
