"""The library of notebooks and scripts: read, rank, select, write; its objects, its names, its notebook."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import altair
import msgspec
import numpy as np
import pandas as pd
import pytest

import hnmine
from hnmine.cli.main import main
from hnmine.core.errors import InputError, SettingsError
from hnmine.data.verdicts import Verdict, verdict_lines
from hnmine.models.cards import packaged_folder
from hnmine.runs.reproduce import reproduce
from hnmine.runs.settings import MineSettings
from hnmine.runs.workspace import Workspace
from hnmine.selection.filters import FILTERS
from hnmine.selection.settings import SelectionSettings
from tests.conftest import FakeEncoder, Mined, add_example, mine, trigram_vector

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "bikeshare"
ROWS = [{"query": f"question {i % 20}", "pos": [f"answer {i}"], "neg": [f"old {i}"], "id": i} for i in range(30)]
POOL = [f"passage number {i}" for i in range(60)]
VERDICTS = [
    Verdict(query="question 3", passage="passage number 7", verdict="positive"),
    Verdict(query="question 4", passage="passage number 8", verdict="relevant"),
    Verdict(query="question 5", passage="passage number 9", verdict="negative"),
]


@pytest.fixture(scope="module")
def ranking() -> hnmine.Ranking:
    return hnmine.rank(hnmine.read(ROWS, pool=POOL), model=FakeEncoder(), depth=50)


# Names


def test_every_public_name_has_a_home_and_no_home_is_hidden() -> None:
    assert sorted(hnmine.__all__) == sorted(hnmine._HOMES)
    assert all(getattr(hnmine, name) is not None for name in hnmine.__all__)
    assert {name for name in vars(hnmine.core.errors) if name in hnmine.core.errors.__all__} <= set(hnmine.__all__)
    assert set(hnmine.__all__) <= set(dir(hnmine))


def test_select_takes_every_filter_of_the_settings(ranking) -> None:
    filters = {*FILTERS, "max_fn_rate", "hardness"}
    chosen = ranking.select(n=3, window=(0, 40), positive_score="max", **dict.fromkeys(filters))
    assert chosen.settings == SelectionSettings(negative_number=3, window_start=0, window_end=40, positive_score="max")
    with pytest.raises(SettingsError, match="no setting 'negative_number'"):
        ranking.select(negative_number=3)


def test_a_hardness_replaces_the_rate_of_a_preset(ranking) -> None:
    chosen = ranking.select("balanced", n=5, window=(0, 50), hardness=0.3)
    assert (chosen.settings.max_fn_rate, chosen.settings.hardness) == (None, 0.3)
    assert chosen.summary.hardness >= 0.3 or chosen.summary.out_of_reach
    with pytest.raises(SettingsError, match=r"max_fn_rate 0\.02 and hardness 0\.3 exclude each other"):
        ranking.select("balanced", window=(0, 50), hardness=0.3, max_fn_rate=0.02)


# Reading


def rows_of(data: hnmine.Dataset) -> list[tuple[str, list[str], list[str]]]:
    return [(row.query, row.pos, row.neg) for row in data.rows]


def test_rows_in_memory_are_read_as_a_file_of_them(write_jsonl) -> None:
    import datasets
    import pyarrow as pa

    from_file = hnmine.read(write_jsonl(ROWS))
    for source in (ROWS, (row for row in ROWS), pd.DataFrame(ROWS), pa.Table.from_pylist(ROWS), datasets.Dataset.from_list(ROWS)):
        data = hnmine.read(source)
        assert rows_of(data) == rows_of(from_file)
        assert [bytes(row.fields["id"]) for row in data.rows] == [str(row["id"]).encode() for row in ROWS]
    assert len(from_file) == 30


def test_an_empty_cell_of_a_frame_is_a_field_that_the_row_lacks() -> None:
    frame = pd.DataFrame([{"query": "a", "pos": np.array(["b"]), "neg": ["c"], "n": 1.0}, {"query": "d", "pos": ["e"]}])
    first, second = hnmine.read(frame).rows
    assert (first.pos, first.neg) == (["b"], ["c"])
    assert list(second.fields) == ["query", "pos"]


def test_a_pool_may_be_texts_dicts_or_a_frame() -> None:
    records = [{"text": text} for text in POOL]
    for pool in (POOL, tuple(POOL), records, pd.DataFrame(records)):
        assert hnmine.read(ROWS, pool=pool).pool == POOL


def test_columns_of_another_data_set_are_found_or_named() -> None:
    data = [{"anchor": "a", "positive": "b"}, {"anchor": "c", "positive": "d"}]
    assert rows_of(hnmine.read(data)) == [("a", ["b"], []), ("c", ["d"], [])]
    other = [{"x": "a", "y": "b"}]
    with pytest.raises(hnmine.ColumnsError, match=r"^rows: the columns of the query .* are not known.*--columns query=x pos=y"):
        hnmine.read(other)
    assert rows_of(hnmine.read(other, columns=["query=x", "pos=y"])) == [("a", ["b"], [])]


def test_bad_rows_in_memory_are_named_by_their_number_and_repaired_or_skipped() -> None:
    bad = [{"query": "a", "pos": ["b"]}, {"query": "c", "pos": "d"}, {"query": "", "pos": ["e"]}]
    with pytest.raises(InputError) as refused:
        hnmine.read(bad)
    assert [(problem.file, problem.line) for problem in refused.value.problems] == [("rows", 2), ("rows", 3)]
    data = hnmine.read(bad, repair=["string-instead-of-list"], on_bad_rows="skip")
    assert rows_of(data) == [("a", ["b"], []), ("c", ["d"], [])]
    assert [problem.resolution for problem in data.problems] == ["repaired", "skipped"]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"source": {"train": ROWS, "test": ROWS}}, SettingsError, "parts train, test: give one of them"),
        ({"source": 3}, SettingsError, "the rows are a int; give a path"),
        ({"source": [1]}, InputError, "rows:1 is a int; give a dict"),
        ({"source": ["a"]}, InputError, "a: cannot be read"),
        ({"source": [{"query": "a", "pos": ["b"], "x": object()}]}, InputError, "rows:1 cannot be written as JSON"),
        ({"source": ROWS, "pool": {"text": "a"}}, SettingsError, "candidate_pool is"),
        ({"source": ROWS, "on_bad_rows": "ignore"}, SettingsError, "on_bad_rows is 'ignore'"),
        ({"source": ROWS, "pool_mode": "swap"}, SettingsError, "'swap'"),
        ({"source": "missing.jsonl"}, InputError, "missing.jsonl"),
    ],
)
def test_data_that_cannot_be_read_is_refused(given, error, message) -> None:
    source = given.pop("source")
    with pytest.raises(error, match=message):
        hnmine.read(source, **given)


# Ranking


def test_a_ranking_has_every_signal_that_a_preset_needs(ranking) -> None:
    assert set(ranking.signals) == {"positive_similarity", "similarity_z", "overlap", "bm25_ratio", "bm25_rank"}
    assert all(values.shape == ranking.scores.shape == (20, ranking.depth) for values in ranking.signals.values())
    assert ranking.select("balanced", n=5).summary.estimated_fn_rate is not None


def test_candidates_of_a_query_by_its_text_or_number(ranking) -> None:
    frame = ranking.candidates(" Question 3 ")
    assert list(frame.columns) == [
        "passage",
        "score",
        "is_positive",
        "bm25_rank",
        "bm25_ratio",
        "overlap",
        "positive_similarity",
        "similarity_z",
    ]
    assert frame.index.name == "rank"
    assert set(frame.passage[frame.is_positive]) == {"answer 3", "answer 23"}
    assert frame.score.is_monotonic_decreasing
    assert len(ranking.candidates(0)) == ranking.depth
    for query, message in (("question 99", "no query 'question 99'"), (20, "no query number 20"), (-1, "no query number -1")):
        with pytest.raises(InputError, match=message):
            ranking.candidates(query)


def test_vectors_are_stored_where_they_are_wanted(tmp_path) -> None:
    data = hnmine.read(ROWS[:5])
    first, second, third = (FakeEncoder() for _ in range(3))
    hnmine.rank(data, model=first, store=tmp_path / "vectors")
    hnmine.rank(data, model=second, store=tmp_path / "vectors")
    hnmine.rank(data, model=third, store=False)
    assert [model.passage_calls for model in (first, second, third)] == [1, 0, 1]


def test_a_sentence_transformer_applies_its_prompts() -> None:
    """Its `encode` alone would give queries without their prompt."""

    class SentenceTransformer:
        def encode(self, texts):
            pytest.fail("encode_query and encode_document apply the prompts")

        def encode_query(self, texts):
            return np.array([trigram_vector(f"query: {text}") for text in texts])

        def encode_document(self, texts):
            return np.array([trigram_vector(f"passage: {text}") for text in texts])

    found = hnmine.rank(hnmine.read(ROWS), model=SentenceTransformer()).candidates("question 3")
    prompted = trigram_vector("query: question 3") @ trigram_vector(f"passage: {found.passage[0]}")
    assert found.score[0] == pytest.approx(prompted, abs=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"depth": 0}, "depth is 0"),
        ({"depth": "300"}, "depth is '300'"),
        ({"model": FakeEncoder(), "device": "cpu"}, "device and precision are those of the FakeEncoder"),
        ({"model": hnmine.ModelSettings(), "precision": "fp32"}, "those of the ModelSettings"),
        ({"model": object()}, "without `encode`"),
        ({"retrievers": ["bm26"]}, "'bm26'"),
        ({"retrievers": ["second_model"]}, "second_model"),
    ],
)
def test_a_wrong_setting_of_rank_is_refused(given, message) -> None:
    data = hnmine.read(ROWS[:3])
    with pytest.raises(SettingsError, match=message):
        hnmine.rank(data, **{"model": FakeEncoder()} | given)


def test_data_has_to_be_read_first() -> None:
    with pytest.raises(SettingsError, match=r"data is a str; read it first: hnmine\.rank\(hnmine\.read"):
        hnmine.rank("train.jsonl")  # type: ignore[arg-type]


def test_progress_and_stopping_reach_the_stages() -> None:
    notes: list[str] = []
    hnmine.rank(hnmine.read(ROWS), model=FakeEncoder(), store=False, on_progress=lambda done, total, note: notes.append(note))
    assert {"encoding passages", "searching", "counting words"} <= set(notes)
    with pytest.raises(hnmine.Cancelled):
        hnmine.rank(hnmine.read(ROWS), model=FakeEncoder(), store=False, should_stop=lambda: True)


def test_a_bar_is_drawn_on_a_terminal_and_nowhere_else(monkeypatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stderr", stream)
        hnmine.rank(hnmine.read(ROWS), model=FakeEncoder(batch=1), store=False)
        assert ("encoding passages" in stream.getvalue()) is stream.isatty()


# Selecting


def test_what_is_named_beside_a_preset_wins(ranking) -> None:
    chosen = ranking.select("percpos", n=4, window="2-40", seed=9, max_positive_ratio=0.8, margin=None)
    assert chosen.settings == SelectionSettings(
        window_start=2, window_end=40, negative_number=4, strategy="hardest", seed=9, max_positive_ratio=0.8
    )
    assert ranking.select(window=(0, 30), strategy="hardest").settings == SelectionSettings(
        window_start=0, window_end=30, strategy="hardest"
    )


@pytest.mark.parametrize(
    ("preset", "given", "message"),
    [
        (None, {"max_positive_ration": 0.9}, "no setting 'max_positive_ration'; did you mean 'max_positive_ratio'?"),
        (None, {"window_start": 3}, "no setting 'window_start'; filters are max_score, min_score"),
        ("best", {}, "preset is 'best'"),
        (None, {"window": [1]}, r"window is \[1\]"),
        (None, {"n": 0}, "negative_number is 0"),
        ("balanced", {"strategy": "random"}, "needs strategy 'hardest'"),
        (None, {"reranker_margin": 0.0}, "reranker"),
        (None, {"verdicts": ["drop"]}, "verdicts holds 'drop'"),
    ],
)
def test_a_wrong_setting_of_select_is_refused(ranking, preset, given, message) -> None:
    with pytest.raises(SettingsError, match=message):
        ranking.select(preset, **given)


def test_verdicts_may_be_a_file_a_list_or_a_store(ranking, tmp_path) -> None:
    path = tmp_path / "verdicts.jsonl"
    path.write_bytes(b"".join(verdict_lines(VERDICTS)))
    store = hnmine.VerdictStore(tmp_path / "reviews.sqlite")
    for each in VERDICTS:
        store.decide([(each.query, each.passage)], each.verdict, "Ana")
    frames = [ranking.select("balanced", n=5, verdicts=given).to_pandas() for given in (VERDICTS, path, store)]
    for frame in frames:
        pd.testing.assert_frame_equal(frame, frames[0])
    of = frames[0].groupby("query").negative.agg(set)
    assert "passage number 7" not in of["question 3"]
    assert "passage number 8" not in of["question 4"]
    assert "passage number 9" in of["question 5"]
    assert "passage number 7" in set(ranking.select("balanced", n=90, verdicts=()).to_pandas().negative), "the ranking is as it was"


def test_a_passage_that_verdicts_add_is_a_positive_in_every_view(ranking, tmp_path) -> None:
    chosen = ranking.select("balanced", n=5, verdicts=VERDICTS)
    (written,) = chosen.write(tmp_path / "out.jsonl")
    row = json.loads(written.path.read_text("utf-8").splitlines()[3])
    assert row["pos"] == ["answer 3", "passage number 7"]
    table = chosen.explain("question 3").set_index("passage")
    assert "positive" in table.loc["passage number 7", "status"]
    assert chosen.summary.verdicts == {"negative": 1, "relevant": 1, "positive": 1, "junk": 0, "elsewhere": 0}


# Looking


def test_frames_agree_with_each_other_and_with_the_file(ranking, tmp_path) -> None:
    chosen = ranking.select(n=5, window=(0, 40))
    frame = chosen.to_pandas()
    assert list(frame.columns) == ["query", "negative", "rank", "score", "ratio_to_positive", "random_filled", "fn_probability"]
    chosen.write(tmp_path / "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    of = frame.groupby("query", sort=False).negative.agg(list)
    assert all(row["neg"] == of[row["query"]] for row in rows)
    assert len(frame) == len(chosen) == 100
    assert chosen.summary.hardness == pytest.approx(frame.score[frame["query"].isin(of.index)].mean(), abs=0.05)
    assert list(chosen.query_table()["query"]) == sorted(of.index, key=list(chosen.query_table()["query"]).index)
    explained = chosen.explain("question 0")
    assert list(explained.passage[explained.chosen > 0]) and set(explained.passage[explained.chosen > 0]) == set(of["question 0"])
    assert chosen.funnel == chosen.summary.funnel


def test_two_selections_are_compared_by_their_texts(ranking) -> None:
    easy, hard = ranking.select(n=5, window=(20, 50)), ranking.select(n=5, window=(0, 50), strategy="hardest")
    frame = easy.compare(hard)
    assert len(frame) == 20
    assert (frame.hardness_second >= frame.hardness_first).all()
    assert frame.overlap.is_monotonic_increasing
    assert (easy.compare(easy).overlap == 1).all()


def test_the_plot_is_an_altair_chart_of_the_similarities(ranking) -> None:
    chart = ranking.select(n=5, window=(0, 40)).plot()
    assert isinstance(chart, altair.TopLevelMixin)
    assert "similarity to the query" in json.dumps(chart.to_dict())


def test_objects_show_what_they_hold_and_markup_in_names_is_text(ranking) -> None:
    class Named(FakeEncoder):
        def describe(self):
            return super().describe() | {"name": "<b>bold</b>"}

    chosen = ranking.select("balanced", n=5)
    for each, words in ((ranking.data, "rows: 30"), (ranking, "model: trigrams"), (chosen, "estimated false-negative rate: ")):
        assert words in repr(each)
        assert each._repr_html_().startswith("<table>")
    shown = hnmine.rank(hnmine.read(ROWS), model=Named(), store=False)._repr_html_()
    assert "&lt;b&gt;bold&lt;/b&gt;" in shown
    assert "<b>" not in shown


# Trainers and files


@pytest.mark.parametrize("name", ["st-triplet", "st-n-tuple", "st-labeled-pair", "st-labeled-list"])
@pytest.mark.parametrize("scores", [None, "model"])
def test_a_dataset_holds_what_the_file_of_that_format_does(ranking, tmp_path, name, scores) -> None:
    chosen = ranking.select(n=3, window=(0, 40))
    data = chosen.to_datasets(name, scores=scores)
    (written,) = chosen.write(tmp_path / "out.jsonl", format=name, scores=scores)
    rows = [json.loads(line) for line in written.path.read_text("utf-8").splitlines()]
    assert len(data) == written.rows
    assert data.column_names == list(rows[0])
    for found, wanted in zip(data, rows, strict=True):
        assert {key: value for key, value in found.items() if "score" not in key} == {
            key: value for key, value in wanted.items() if "score" not in key
        }


def test_flagembeddings_rows_as_a_dataset(ranking) -> None:
    data = ranking.select(n=3, window=(0, 40)).to_datasets("flagembedding")
    assert data.column_names == ["query", "pos", "neg", "id"]
    assert [row["id"] for row in data] == list(range(30))
    with pytest.raises(SettingsError, match="format is 'msmarco'; to_datasets takes one of flagembedding, st-triplet"):
        ranking.select(n=3, window=(0, 40)).to_datasets("msmarco")


def test_a_split_writes_two_files_and_one_manifest(ranking, tmp_path) -> None:
    written = ranking.select(n=3, window=(0, 40)).write(tmp_path / "out.jsonl", dev_share=0.25)
    assert [each.path.name for each in written] == ["out.jsonl", "out.dev.jsonl"]
    assert sum(each.rows for each in written) == 30
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.dev.jsonl", "out.jsonl", "out.manifest.json"]
    ranking.select(n=3, window=(0, 40)).write(tmp_path / "other.jsonl", manifest=False)
    assert not (tmp_path / "other.manifest.json").exists()


def test_a_file_that_was_read_is_not_overwritten(write_jsonl) -> None:
    path = write_jsonl(ROWS)
    chosen = hnmine.rank(hnmine.read(path), model=FakeEncoder(), store=False).select(n=3, window=(0, 40))
    with pytest.raises(SettingsError, match="is the input_file itself"):
        chosen.write(path)
    with pytest.raises(SettingsError, match="there is no reranker"):
        chosen.write(path.with_name("out.jsonl"), scores="reranker")


@pytest.fixture(scope="module")
def bikeshare() -> hnmine.Ranking:
    data = hnmine.read(EXAMPLE / "train.jsonl", pool=EXAMPLE / "pool.jsonl")
    return hnmine.rank(data, model=str(packaged_folder()), precision="fp32")


@pytest.fixture(scope="module")
def mined_in_app(tmp_path_factory) -> Mined:
    """A workspace of the app, which has encoded the example itself. Copy it to write to it."""
    space = Workspace(tmp_path_factory.mktemp("app") / "workspace")
    settings = MineSettings(model=hnmine.ModelSettings(name_or_path=str(packaged_folder()), precision="fp32"))
    dataset = add_example(space)
    return Mined(space.root, dataset, mine(space, dataset, settings, encoder=hnmine.FlagEncoder.load(settings.model)))


@pytest.mark.parametrize(("preset", "hardness"), [("balanced", None), ("hn_mine", None), ("balanced", "percpos")])
def test_library_function_command_line_and_app_write_the_same_bytes(
    bikeshare, mined_in_app, tmp_path, monkeypatch, preset, hardness
) -> None:
    """With verdicts that change what is chosen: one negative removed, one added as a positive, one confirmed."""
    from hnmine import resources

    found = bikeshare.select(preset, n=6, hardness=hardness).to_pandas().groupby("query", sort=False).negative.agg(list)
    pairs = [(query, negatives[2]) for query, negatives in found.items()][:60]
    choices = ("relevant", "positive", "negative")
    verdicts = [Verdict(query=query, passage=text, verdict=choices[n % 3]) for n, (query, text) in enumerate(pairs)]
    reviews = tmp_path / "verdicts.jsonl"
    reviews.write_bytes(b"".join(verdict_lines(verdicts)))

    (library,) = bikeshare.select(preset, n=6, hardness=hardness, verdicts=verdicts).write(tmp_path / "library.jsonl")
    wanted = library.path.read_bytes()
    assert wanted != bikeshare.select(preset, n=6, hardness=hardness).write(tmp_path / "plain.jsonl")[0].path.read_bytes()

    files = EXAMPLE / "train.jsonl", EXAMPLE / "pool.jsonl"
    model = hnmine.ModelSettings(name_or_path=str(packaged_folder()), precision="fp32")
    store = os.environ["HNMINE_HOME"] + "/vectors"
    hnmine.find_knn_neg(
        model, *files, tmp_path / "call.jsonl", negative_number=6, preset=preset, hardness=hardness, verdicts=reviews, store=store
    )
    assert (tmp_path / "call.jsonl").read_bytes() == wanted

    flags = ["--input_file", files[0], "--candidate_pool", files[1], "--output_file", tmp_path / "line.jsonl", "--negative_number", 6]
    flags += ["--preset", preset, "--reviews", reviews, "--precision", "fp32", "--embedder_name_or_path", packaged_folder(), "--quiet"]
    flags += ["--hardness", hardness] if hardness else []
    assert main(["mine", *map(str, flags), "--store", store]) == 0
    assert (tmp_path / "line.jsonl").read_bytes() == wanted

    space = Workspace(Path(shutil.copytree(mined_in_app.root, tmp_path / "workspace")))
    run, settings = mined_in_app.run, space.run(mined_in_app.run).settings
    store_of_reviews = space.reviews()
    for each in verdicts:
        store_of_reviews.decide([(each.query, each.passage)], each.verdict, "Ana")
    monkeypatch.setattr(resources, "workspace", lambda: space)
    monkeypatch.setattr(resources, "reviews", lambda: store_of_reviews)
    chosen = msgspec.structs.replace(settings, selection=bikeshare.select(preset, n=6, hardness=hardness).settings)
    (app,) = resources.export(resources.open_run(run), chosen)
    assert app.path.read_bytes() == wanted

    reproduce(tmp_path / "library.manifest.json", tmp_path / "again.jsonl", store=store)
    assert (tmp_path / "again.jsonl").read_bytes() == wanted


# Checking


def test_a_file_is_checked_and_repaired(tmp_path, write_jsonl) -> None:
    path = write_jsonl([{"query": "a", "pos": ["b"], "neg": ["c", "c"]}, {"query": "d", "pos": ["e"], "neg": ["e", "f"]}])
    report = hnmine.check(path, trainers=["flagembedding"])
    assert report.rows == 2
    assert report.findings
    after = hnmine.repair(path, tmp_path / "fixed.jsonl")
    assert len(after.findings) < len(hnmine.check(path).findings)
    with pytest.raises(SettingsError, match="output is the file that is repaired"):
        hnmine.repair(path, path)


# The notebook


def test_the_quickstart_notebook_runs_from_the_repository(tmp_path) -> None:
    """Its cells one after the other, in a process of their own, with nothing written into the checkout."""
    notebook = json.loads((ROOT / "examples" / "quickstart.ipynb").read_text("utf-8"))
    assert all(not cell.get("outputs") for cell in notebook["cells"]), "outputs are not stored"
    script = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert len((tmp_path / "train_hn.jsonl").read_text("utf-8").splitlines()) == 124
