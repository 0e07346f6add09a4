"""The first records of an export are those of the file, whole, in every format."""

from __future__ import annotations

import json

import pytest

from hnmine.export.formats import FORMATS
from hnmine.export.preview import first_records


def decoded(text: str) -> list[object]:
    """The JSON values that follow each other in a text."""
    decoder, found, place = json.JSONDecoder(), [], 0
    while place < len(text.rstrip()):
        value, place = decoder.raw_decode(text, place)
        found.append(value)
        place += 1
    return found


@pytest.mark.parametrize("name", ["flagembedding", "st-n-tuple", "ms-swift", "tevatron"])
def test_lines_are_those_of_the_file(made, name):
    (written,) = made.write(name)
    lines = [json.loads(line) for line in written.path.read_bytes().splitlines()]
    assert decoded(first_records(written.path, 2)) == lines[:2]
    assert decoded(first_records(written.path, 100)) == lines


def test_an_array_is_decoded_from_its_beginning(made):
    (written,) = made.write("dpr")
    assert decoded(first_records(written.path, 2)) == json.loads(written.path.read_bytes())[:2]
    assert decoded(first_records(written.path, 100)) == json.loads(written.path.read_bytes())


def test_parquet_and_arrow_have_the_records_of_the_lines(made):
    (lines,) = made.write("st-triplet")
    expected = decoded(first_records(lines.path, 2))
    (table,) = made.write("st-triplet-parquet")
    assert decoded(first_records(table.path, 2)) == expected
    (rows,) = made.write("flagembedding")
    wanted = decoded(first_records(rows.path, 2))
    (folder,) = made.write("datasets", manifest={})
    found = decoded(first_records(folder.path, 2))
    assert [(row["query"], row["pos"], row["neg"]) for row in found] == [(row["query"], row["pos"], row["neg"]) for row in wanted]


def test_a_quoted_cell_with_line_breaks_is_whole(made):
    (written,) = made.write("csv")
    whole = written.path.read_text("utf-8-sig")
    shown = first_records(written.path, 100)
    assert shown.replace("\r\n", "\n") == whole.replace("\r\n", "\n")
    assert shown.startswith(first_records(written.path, 3).splitlines()[0])
    (written,) = made.write("msmarco")
    assert first_records(written.path, 2) == "".join(written.path.read_text("utf-8").splitlines(keepends=True)[:2])


def test_each_file_of_an_archive_has_its_first_lines(made):
    (written,) = made.write("beir")
    shown = first_records(written.path, 1)
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/train.tsv", "hard_negatives.jsonl"):
        assert f"{name}\n" in shown


def test_a_record_as_long_as_a_book_is_cut_and_a_lone_surrogate_is_an_escape(mined, tmp_path):
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps({"query": "\ud800", "pos": ["x" * 100_000]}) + "\n")
    shown = first_records(path)
    assert "\\ud800" in shown
    assert len(shown) < 70_000
    assert shown.encode()


def test_every_format_has_a_preview(made):
    for name in FORMATS:
        options = {"manifest": {}} if name == "datasets" else {}
        written = made.write(name, **options)
        assert first_records(written[0].path, 1).strip(), name
