"""Several uploads and folders: what is told about them, and what is stored of them."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from hnmine.core.errors import InputError
from hnmine.data.columns import Columns
from hnmine.data.dataset import read_files
from hnmine.runs.uploads import first_rows, inspect_file, list_files, sample
from hnmine.runs.workspace import Workspace

ROWS = "".join(f"q{number}\td{number}\td{number + 10}\n" for number in range(10)).encode()
QUERIES = "".join(f"q{number}\thow do I prune plant {number}\n" for number in range(10)).encode()
PASSAGES = "".join(f"d{number}\tprune plant {number} after the frost, above a bud\n" for number in range(30)).encode()
FILES = {"triples.tsv": ROWS, "queries.tsv": QUERIES, "collection.tsv": PASSAGES}


def uploads() -> dict[str, io.BytesIO]:
    return {name: io.BytesIO(data) for name, data in FILES.items()}


def folder(path: Path) -> Path:
    path.mkdir(parents=True)
    for name, data in FILES.items():
        (path / name).write_bytes(data)
    return path


def archive() -> io.BytesIO:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for name, data in FILES.items():
            file.writestr(f"set/{name}", data)
    return packed


@pytest.mark.parametrize("kind", ["uploads", "folder", "zip"])
def test_several_files_are_told_by_what_they_hold_and_stored_as_one_data_set(tmp_path: Path, kind: str) -> None:
    source = {"uploads": uploads, "folder": lambda: folder(tmp_path / "set"), "zip": archive}[kind]()
    found = inspect_file(source, "set")
    assert found.files == "rows from triples.tsv, queries from queries.tsv, passages from collection.tsv"
    assert found.own_pool
    assert found.source.shape == "queries and passages by id"
    space = Workspace(tmp_path / "home")
    dataset = space.add_dataset("set", source)
    assert dataset.pool_name is not None
    assert space.add_dataset("set", source).id == dataset.id
    files = read_files(space.training_path(dataset.id))
    assert [row.query for row in files.training.items] == [f"how do I prune plant {number}" for number in range(10)]
    assert files.pool is not None
    assert len(files.pool.items) == 30
    assert len(sample(space.training_path(dataset.id), "training")) == 10
    assert first_rows(space.training_path(dataset.id), Columns(), 2)[0].query == "q0"


def test_several_uploads_without_rows_are_refused(tmp_path: Path) -> None:
    without = {name: file for name, file in uploads().items() if name != "triples.tsv"}
    with pytest.raises(InputError, match=r"no file has training rows.*queries from queries\.tsv, passages from collection\.tsv"):
        inspect_file(without, "set")


def test_the_splits_of_several_files_are_told(tmp_path: Path) -> None:
    rows = json.dumps({"query": "a question", "pos": ["a passage"]}).encode()
    found = inspect_file({"train.jsonl": io.BytesIO(rows), "dev.jsonl": io.BytesIO(rows)}, "set")
    assert found.splits == ("train", "dev")
    assert found.files == "rows from train.jsonl; left out: dev.jsonl"
    other = inspect_file({"train.jsonl": io.BytesIO(rows), "dev.jsonl": io.BytesIO(rows)}, "set", columns=Columns(split="dev"))
    assert other.files == "rows from dev.jsonl; left out: train.jsonl"


def test_a_folder_of_several_files_is_listed_beside_its_files(tmp_path: Path) -> None:
    folder(tmp_path / "set")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "train.jsonl").write_bytes(b"{}")
    assert list_files(tmp_path) == ["one/train.jsonl", "set", "set/collection.tsv", "set/queries.tsv", "set/triples.tsv"]
