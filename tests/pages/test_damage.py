"""A damaged file of the workspace fails itself alone, and a run opens only over the files that it was mined from."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hnmine import resources
from hnmine.core.errors import HnmineError, InputError, WorkspaceError
from hnmine.data import sanity
from hnmine.data.formats.tables import RecordReader
from hnmine.data.reading import read_training
from hnmine.data.verdicts import read_verdicts
from hnmine.review import audit_sample as audit
from hnmine.runs.manifest import read_manifest
from hnmine.runs.uploads import inspect_file
from hnmine.runs.workspace import Workspace
from tests.campaign.workspace import JSON, build, screens_of
from tests.conftest import mine
from tests.pages.conftest import open_app, texts

ROOT = Path(__file__).parents[2]
World = tuple[Workspace, str, list[str]]  # with its data set and its runs


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, list[str]]:
    """A workspace with one data set, two runs of it and every kind of small file; (root, data set, runs)."""
    return tuple(build(tmp_path_factory.mktemp("made") / "workspace"))


@pytest.fixture
def served(made: tuple[Path, str, list[str]], fresh: Path) -> World:
    """A copy of that workspace, as a new server finds it."""
    shutil.copytree(made[0], fresh)
    return Workspace(fresh), made[1], made[2]


# Small files, and the remedy of each: where the folder has the only copy of the data, it stays.
FILES = {
    "manifest": ("runs/{run}/manifest.json", "keep its folder; mine again, or restore it from a backup"),
    "dataset": ("datasets/{dataset}/dataset.json", "keep its folder; upload the same files again, which writes it again, or restore it"),
    "decisions": ("datasets/{dataset}/decisions.json", "remove the file"),
    "columns": ("datasets/{dataset}/columns.json", "remove the file"),
    "variant": ("runs/{run}/variants/*.json", "remove the file"),
    "sample": ("runs/{run}/audit-*.json", "remove the file"),
    "judge": ("judge.json", "delete the file"),
}


# Damaged together: those of the last group are all read where the run and its data set are whole.
GROUPS = [("manifest",), ("dataset",), ("decisions", "columns", "variant", "sample", "judge")]


@pytest.mark.parametrize("damage", JSON)
@pytest.mark.parametrize("files", GROUPS, ids=" ".join)
def test_damaged_small_files_are_shown_and_fail_nothing_else(served: World, files: tuple[str, ...], damage: str) -> None:
    space, dataset, (run, other) = served
    paths = {}
    for file in files:
        (path,) = space.root.glob(FILES[file][0].format(run=run, dataset=dataset))
        path.write_bytes(JSON[damage](path.read_bytes()))
        paths[path.name] = FILES[file][1]
    said = screens_of(open_app(run=run))
    for name, remedy in paths.items():
        assert name in said, "it is named"
        assert any(name in line and (remedy in line or "update hnmine" in line) for line in said.splitlines()), "with the remedy"
    if files != ("dataset",):  # without which none of its runs can be opened
        assert resources.open_run(other).run.id == other
        assert "cannot be opened" not in texts(open_app(run=other))


def test_every_small_file_is_in_one_group() -> None:
    assert sorted(file for files in GROUPS for file in files) == sorted(FILES)


@pytest.mark.parametrize("key", ["inputs", "model", "summary", "versions", "reranker"])
def test_a_wrong_type_within_a_manifest_fails_its_run_alone(served: World, key: str) -> None:
    space, _, (run, other) = served
    path = space.run_folder(run) / "manifest.json"
    value = json.loads(path.read_bytes())
    value["manifest"][key] = [7]
    path.write_text(json.dumps(value))
    with pytest.raises(WorkspaceError, match=r"manifest\.json is damaged .*keep its folder; mine again"):
        space.run(run)
    assert str(path) in screens_of(open_app(run=other))


@pytest.mark.parametrize("damage", ["a byte", "deep", "long"])
def test_a_damaged_name_is_shown_as_it_can_be(served: World, damage: str) -> None:
    space, _, (run, _) = served
    (space.run_folder(run) / "run-name").write_bytes({"a byte": b"ab\xffc\nd", "deep": b"[" * 100_000, "long": b"x" * 10_000}[damage])
    assert len(space.run_name(run)) <= 80
    screens_of(open_app(run=run))


@pytest.mark.parametrize("content", [b"\xff" * 5000, b"SQLite format 3\0" + b"\xff" * 5000, b"{}"])
def test_damaged_verdicts_are_an_error_with_a_remedy_on_every_screen(served: World, content: bytes) -> None:
    """They decide negatives, so no run opens as if there were none."""
    space, _, (run, _) = served
    for path in space.root.glob("reviews.sqlite*"):
        path.unlink()
    (space.root / "reviews.sqlite").write_bytes(content)
    said = screens_of(open_app(run=run))
    assert "reviews.sqlite are damaged" in said
    assert "move that file away" in said


ARRAYS: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-4]),
    "cut header": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "bytes": lambda path: path.write_bytes(b"\xff" * 500),
    "a zip": lambda path: path.write_bytes(b"PK\x03\x04" + b"\0" * 500),
    "another type": lambda path: np.save(path, np.load(path).astype(np.complex64)),
    "another shape": lambda path: np.save(path, np.load(path)[:-1]),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", ARRAYS)
@pytest.mark.parametrize("name", ["ids", "scores", "query_vectors-places", "passage_vectors-0", "signal-bm25", "scale"])
def test_damaged_arrays_are_refused(served: World, name: str, damage: str) -> None:
    space, _, (run, _) = served
    path = space.run_folder(run) / f"{name}.npy"
    if not path.exists() or (damage == "gone" and name in ("signal-bm25", "scale")):
        pytest.skip("there is no such array, or it may be left out")
    ARRAYS[damage](path)
    with pytest.raises(WorkspaceError, match="mine again"):
        space.ranking(run)


@pytest.mark.parametrize("name", ["ids", "scores", "positive_scores"])
def test_screens_of_a_run_with_an_empty_array_say_so(served: World, name: str) -> None:
    space, _, (run, other) = served
    (space.run_folder(run) / f"{name}.npy").write_bytes(b"")
    assert "cannot be opened" in screens_of(open_app(run=run))
    assert resources.open_run(other).run.id == other


# Data that changed


def edited(path: Path) -> None:
    """Change one letter: the size stays."""
    content = path.read_bytes()
    place = content.index(b"ung")
    path.write_bytes(content[:place] + b"enk" + content[place + 3 :])


@pytest.mark.parametrize("file", ["train.jsonl", "pool.jsonl"])
def test_a_run_is_refused_when_its_data_changed_and_opens_when_it_is_put_back(served: World, file: str) -> None:
    space, dataset, (run, _) = served
    path = space.root / "datasets" / dataset / file
    before = path.read_bytes()
    first = resources.open_run(run)
    at = open_app(run=run)
    edited(path)
    with pytest.raises(WorkspaceError, match=rf"{file} is not the file that the run .*put the file back as it was, or mine again"):
        resources.open_run(run)
    said = screens_of(at)
    assert file in said
    assert "changed since they were uploaded" in said
    for screen in ("inspect", "review", "quality", "export"):
        assert file in texts(at.switch_page(f"pages/views/{screen}.py").run()), screen
    path.unlink()
    with pytest.raises(HnmineError, match=r"was mined from|not the file"):
        resources.open_run(run)
    screens_of(at)
    path.write_bytes(before)
    assert resources.open_run(run).key == first.key
    assert "not the file" not in screens_of(at)


def test_a_run_opens_where_a_newer_version_finds_its_data_improbable(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, runs = served
    finding = sanity._Finding(message="not seen when it was mined", stops=True)
    monkeypatch.setattr(sanity, "_CHECKS", (lambda seen: [finding],))
    (problem,) = resources.open_run(runs[0]).inputs.problems
    assert (problem.message, problem.resolution) == (finding.message, "repaired")


def test_changed_data_can_be_mined_again(served: World) -> None:
    space, dataset, (run, _) = served
    resources.open_run(run)
    edited(space.root / "datasets" / dataset / "pool.jsonl")
    settings = space.run(run).settings
    again = mine(space, dataset, settings, 40)
    assert resources.open_run(again).run.id == again
    with pytest.raises(WorkspaceError, match=r"pool\.jsonl is not the file"):
        resources.open_run(run)


def test_files_that_stay_are_not_read_again(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, (run, _) = served
    resources.open_run(run)
    monkeypatch.setattr(RecordReader, "open", lambda self: pytest.fail("a file was opened again"))
    resources.open_run(run)


# Looking at a file


class Counted(io.BytesIO):
    """Counts the bytes that are read."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        block = super().read(size)
        self.taken += len(block)
        return block


def large(kind: str) -> bytes:
    """A file of 20 MB."""
    noise = np.random.default_rng(0)
    rows = [{"query": f"question {n}", "pos": [noise.bytes(400).hex()]} for n in range(56_000)]
    out = io.BytesIO()
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows[:28_000]), out, compression="none", use_dictionary=False)
    else:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
            packed.writestr("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return out.getvalue()


@pytest.mark.parametrize("kind", ["parquet", "zip"])
def test_looking_at_a_large_file_reads_its_head_and_its_directory(kind: str, tmp_path: Path) -> None:
    data = large(kind)
    assert len(data) > 20e6
    file = Counted(data)
    found = inspect_file(file, f"rows.{kind}")
    assert found.source.names == ("query", "pos")
    assert file.taken < 0.1 * len(data)  # the first page of each column, and the directory
    path = tmp_path / f"rows.{kind}"
    path.write_bytes(data)
    assert inspect_file(path, path.name) == found


def test_a_rerun_of_the_data_screen_looks_at_nothing_again(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    space, _, _ = served
    table = pa.table({"thema": ["a", "b"], "rat": ["c", "d"], "nr": [1, 2]})
    pq.write_table(table, space.root / "files" / "table.parquet")
    dataset = space.add_dataset("table.parquet", space.root / "files" / "table.parquet")
    assert dataset.training_look == inspect_file(space.training_path(dataset.id), dataset.training_file)
    at = open_app(dataset=dataset.id)
    opened: list[str] = []
    read = RecordReader.open
    monkeypatch.setattr(RecordReader, "open", lambda self: opened.append(self.name) or read(self))
    at.run()
    assert not at.exception
    assert set(opened) <= {"train.parquet"}, "but for the rows shown beside the pickers"
    opened.clear()
    known = open_app(dataset=served[1])
    known.run()
    assert [name for name in opened if name not in ("train.jsonl", "pool.jsonl")] == []
    opened.clear()
    known.run()
    assert opened == []


# Bad input that ended in something else than our errors


def test_half_a_surrogate_pair_within_a_list_of_a_cell_is_a_problem_of_its_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    rows = [f'question {n},"[""an answer {n}""]"' for n in range(9)] + ['question 9,"[""half \\ud83d""]"']
    path.write_text("query,pos\n" + "\n".join(rows) + "\n")
    file = read_training(path)
    assert len(file.items) == 9
    assert [(problem.kind, problem.line) for problem in file.open_problems] == [("not-utf8", 11)]
    assert "`pos`" in file.open_problems[0].message


GOOD = {"settings": {}, "model": {}, "inputs": {"input_file": {"name": "a", "bytes": 1, "sha256": "00"}}}
DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(GOOD)[:-1] + f', "audit": {{"a": {DEEP}}}}}',
        json.dumps(GOOD | {"inputs": {"input_file": {"name": 5, "bytes": 1, "sha256": "00"}}}),
        json.dumps(GOOD | {"inputs": {"input_file": {"name": "a", "bytes": "x", "sha256": "00"}}}),
        json.dumps(GOOD | {"inputs": {"input_file": {"name": "a", "bytes": 1, "sha256": "00", "path": 3}}}),
        json.dumps(GOOD | {"model": {"weights_sha256": 7}}),
        json.dumps(GOOD | {"outputs": [{}]}),
        json.dumps(GOOD | {"reranker": {"weights_sha256": [1]}}),
    ],
)
def test_deep_and_mistyped_manifests_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "out.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"out\.json"):
        read_manifest(path)


@pytest.mark.parametrize("line", [f'{{"query": "q", "passage": "p", "verdict": "relevant", "more": {DEEP}}}', DEEP, '{"query": ["q"]}'])
def test_deep_and_mistyped_verdicts_are_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "reviews.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(InputError, match="is not a valid verdict"):
        read_verdicts(path)


def test_a_sample_whose_draws_are_of_no_band_is_refused(made: tuple[Path, str, list[str]]) -> None:
    (path,) = (made[0] / "runs" / made[2][0]).glob("audit-*.json")
    value = json.loads(path.read_bytes())
    for draw in (["zz" * 8, "00" * 8, 0], ["00" * 8, "00" * 8, 99]):
        with pytest.raises(msgspec.ValidationError, match="hexadecimal"):
            msgspec.json.decode(json.dumps(value | {"draws": [draw]}).encode(), type=audit.Sample)
