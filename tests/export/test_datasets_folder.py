"""The folder of `datasets`: opened by the library itself, described by its card, and replaced whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import zipfile
from pathlib import Path

import pytest

from hnmine.core.errors import OutputError, SettingsError
from hnmine.core.files import write_folder
from hnmine.export.datasets_folder import check_replaceable, dataset_card, size_category, zipped_folder

datasets = pytest.importorskip("datasets")


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


# The rows


@pytest.mark.parametrize("dev_share", [0.0, 0.4])
def test_datasets_opens_the_rows_of_flagembeddings_format(made, tmp_path, dev_share):
    (written,) = made.write("datasets", dev_share=dev_share)
    found = datasets.load_from_disk(str(written.path))
    parts = made.write("flagembedding", dev_share=dev_share)
    assert list(found) == (["train", "dev"] if dev_share else ["train"])
    for split, part in zip(found.values(), parts, strict=True):
        assert split.to_list() == rows_of(part.path)
        assert split.column_names == ["query", "pos", "neg", "id", "prompt"]
    assert written.rows == sum(part.rows for part in parts)


def test_the_card_leads_load_dataset_to_the_splits(made, tmp_path):
    (written,) = made.write("datasets", dev_share=0.4)
    loaded = datasets.load_dataset(str(written.path), cache_dir=str(tmp_path / "cache"))
    assert {name: split.to_list() for name, split in loaded.items()} == {
        name: split.to_list() for name, split in datasets.load_from_disk(str(written.path)).items()
    }


def test_scores_are_columns_with_the_bits_of_the_ranking(made):
    (written,) = made.write("datasets", with_scores=True)
    data = datasets.load_from_disk(str(written.path))["train"]
    (rows,) = made.write("flagembedding", with_scores=True)
    data = data.with_format("numpy")
    for number, row in enumerate(rows_of(rows.path)):
        for name in ("pos_scores", "neg_scores"):
            assert data[number][name].dtype == "float32"
            assert [str(value) for value in data[number][name]] == [str(value) for value in row[name]]


def test_fields_keep_their_values_or_are_left_out_and_named(mined):
    extra = [
        {"level": 1, "mixed": 1, "part": 1.5, "tags": ["a"], "meta": {"a": 1}, "odd": {"a": 1}, "big": 2**63, "flag": True, "some": "x"},
        {"level": 2, "mixed": "2", "part": 2, "tags": [], "meta": {"a": 2}, "odd": {"b": 1}, "big": 1, "flag": False},
    ]
    items = [{"query": f"question {number}", "pos": ["answer"], **fields} for number, fields in enumerate(extra)]
    (written,) = mined(items).write("datasets")
    data = datasets.load_from_disk(str(written.path))["train"]
    kept = ["level", "part", "tags", "meta", "flag", "some"]
    assert data.column_names == ["query", "pos", "neg", *kept]
    assert [{name: row[name] for name in kept} for row in data] == [{name: fields.get(name) for name in kept} for fields in extra]
    assert any(note.endswith("no common type in a table, and are left out: mixed, odd, big") for note in written.notes)


def test_scores_of_replaced_negatives_are_no_column(mined):
    items = [{"query": "a question", "pos": ["answer"], "pos_scores": [0.5], "neg": ["old"], "neg_scores": [0.25]}]
    (written,) = mined(items).write("datasets")
    (row,) = datasets.load_from_disk(str(written.path))["train"]
    assert not {"pos_scores", "neg_scores"} & set(row)


def test_a_split_is_written_in_batches(made, monkeypatch):
    import pyarrow as pa

    (whole,) = made.write("datasets")
    before = datasets.load_from_disk(str(whole.path))["train"].to_list()
    monkeypatch.setattr("hnmine.export.datasets_folder._BATCH", 200)
    (written,) = made.write("datasets")
    with pa.OSFile(str(written.path / "train" / "data-00000-of-00001.arrow")) as file:
        assert len(list(pa.ipc.open_stream(file))) > 2
    assert datasets.load_from_disk(str(written.path))["train"].to_list() == before


def test_other_rows_have_another_fingerprint(made, mined):
    """`datasets` caches what is mapped over a data set by it."""
    found = []
    for each in (made, mined(strategy="hardest", negative_number=1)):
        (written,) = each.write("datasets")
        found.append(datasets.load_from_disk(str(written.path))["train"]._fingerprint)
    assert found[0] != found[1]


# The card

MANIFEST = {
    "settings": {
        "selection": {"window_start": 10, "window_end": 210, "negative_number": 15, "strategy": "hardest", "seed": 42}
        | dict.fromkeys(
            ("max_score", "min_score", "margin", "max_positive_similarity", "max_positive_similarity_ratio", "max_overlap"),
        )
        | {"reranker_margin": None, "max_fn_probability": None, "max_positive_ratio": 0.95, "max_fn_rate": 0.01},
        "retrievers": ["model", "bm25"],
        "pool_mode": "extend",
        "with_scores": True,
        "score_source": "reranker",
    },
    "model": {"name": "BAAI/bge-small-en-v1.5", "weights_sha256": "ab" * 32},
    "reranker": {"name": "/home/ann/secret-project/reranker", "weights_sha256": None},
    "inputs": {"input_file": {"name": "a`b|c.jsonl", "path": "/home/ann/a.jsonl", "bytes": 1234, "sha256": "cd" * 32}},
    "versions": {"hnmine": "0.1.0"},
    "summary": {
        "rows": 1200, "queries": 1000, "candidates": 5000, "negatives": 15000, "random_filled": 7, "short_rows": 1, "negative_number": 15,
        "scores": {"negatives": 0.5, "positives": 0.75}, "estimated_fn_rate": {"estimate": 0.0123, "low": 0.002, "high": 0.0611},
        "verdicts": {"relevant": 3, "junk": 0, "elsewhere": 9},
    },
}  # fmt: skip


def test_the_card_says_what_was_mined_and_how(tmp_path):
    from huggingface_hub import DatasetCard

    text = dataset_card(MANIFEST, {"train": 1100, "dev": 100}, ["query", "pos", "neg", "id"])
    for wanted in (
        "`BAAI/bge-small-en-v1.5`", "ab" * 32, "`reranker`", "`model`, `bm25`", "10-210", "| 15, the hardest", "`max_positive_ratio` 0.95",
        "`max_fn_rate` 0.01", "1,200 rows with 1,000 different queries", "15,000 negatives, 7 of them filled at random", "3 relevant",
        "0-7% of the negatives", "`a'b/c.jsonl`, 1,234 bytes", "cd" * 32, "--from_manifest", "| train | 1,100 |", "| dev | 100 |", "`id`",
    ):  # fmt: skip
        assert wanted in text, wanted
    assert "/home/ann" not in text
    assert "secret-project" not in text
    data = DatasetCard(text).data.to_dict()
    assert data["size_categories"] == ["1K<n<10K"]
    assert data["configs"] == [
        {"config_name": "default", "data_files": [{"split": name, "path": f"{name}/*.arrow"} for name in ("train", "dev")]}
    ]
    assert {"sentence-similarity"} < set(data["task_categories"])


@pytest.mark.parametrize(("rows", "name"), [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**6, "1M<n<10M"), (10**9, "n>1B")])
def test_sizes_have_the_names_of_the_hub(rows, name):
    assert size_category(rows) == name


# Replaced whole or not at all


def test_the_second_folder_replaces_the_first(made):
    made.write("datasets", dev_share=0.4)
    (written,) = made.write("datasets")
    assert sorted(each.name for each in written.path.iterdir()) == ["README.md", "dataset_dict.json", "train"]
    assert not [each for each in made.folder.iterdir() if each.name.startswith(".")]


@pytest.mark.parametrize("failure", [RuntimeError("in the middle"), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_a_failure_leaves_the_old_folder_and_nothing_else(made, monkeypatch, failure):
    (written,) = made.write("datasets")
    before = datasets.load_from_disk(str(written.path))["train"].to_list()

    def failing(*arguments, **options):
        raise failure
        yield b""

    monkeypatch.setattr("hnmine.export.datasets_folder.flagembedding_lines", failing)
    with pytest.raises(OutputError if isinstance(failure, OSError) else type(failure)):
        made.write("datasets", dev_share=0.4)
    assert datasets.load_from_disk(str(written.path))["train"].to_list() == before
    assert not [each for each in made.folder.iterdir() if each.name.startswith(".")]


def test_a_new_folder_that_cannot_take_the_place_gives_it_back(tmp_path, monkeypatch):
    write_folder(tmp_path / "out", {"a/one": [b"old"]})
    replace = os.replace

    def failing(source, target):
        if Path(target).name == "out" and (Path(source) / "a" / "two").exists():
            raise OSError(errno.EACCES, "Permission denied")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OutputError, match="out cannot be written"):
        write_folder(tmp_path / "out", {"a/two": [b"new"]})
    assert [each.name for each in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "a" / "one").read_bytes() == b"old"


@pytest.mark.parametrize("other", ["notes.txt", "train/notes.txt", ".git/HEAD", "README.md"])
def test_a_folder_with_other_files_is_never_replaced(made, other):
    folder = made.folder / "out"
    (folder / other).parent.mkdir(parents=True)
    (folder / other).write_text("mine")
    with pytest.raises(SettingsError, match="would be lost; name a new folder"):
        made.write("datasets")
    assert (folder / other).read_text() == "mine"


def test_an_empty_folder_may_be_used_and_a_file_may_not(made):
    (made.folder / "out").mkdir()
    made.write("datasets")
    (made.folder / "file").write_text("mine")
    with pytest.raises(SettingsError, match="is a file, and output_format datasets writes a folder"):
        check_replaceable(made.folder / "file")


def test_the_caches_of_datasets_do_not_stand_in_the_way(made):
    (written,) = made.write("datasets")
    datasets.load_from_disk(str(written.path))["train"].map(lambda row: {"length": len(row["query"])})
    made.write("datasets")


# The download


def test_the_download_is_a_zip_that_opens_again(made, tmp_path):
    (written,) = made.write("datasets")
    (tmp_path / "download.zip").write_bytes(b"".join(zipped_folder(written.path, "train_hn")))
    with zipfile.ZipFile(tmp_path / "download.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    assert [each.name for each in (tmp_path / "unpacked").iterdir()] == ["train_hn"]
    found = datasets.load_from_disk(str(tmp_path / "unpacked" / "train_hn"))
    assert found["train"].to_list() == datasets.load_from_disk(str(written.path))["train"].to_list()
