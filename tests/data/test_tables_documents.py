"""Files that are nearly JSON: objects over several lines are read, other notations are refused with one message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hnmine.core.errors import InputError
from hnmine.data.reading import read_pool, read_training

ROWS = [{"query": f"what is {n}", "pos": [f"It is {n} // no # comment, ]"]} for n in range(5)]
LINES = [json.dumps(row) for row in ROWS]


def written(tmp_path: Path, text: str, name: str = "t.json") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("between", ["\n", ",\n", "\n\n"])
def test_objects_over_several_lines_are_read_with_their_first_line(tmp_path, between):
    text = between.join(json.dumps(row, indent=2) for row in ROWS)
    items = read_training(written(tmp_path, text)).items
    assert [(row.query, row.pos) for row in items] == [(row["query"], row["pos"]) for row in ROWS]
    assert [row.line for row in items] == [1 + n * (6 + (between == "\n\n")) for n in range(5)]


def test_objects_with_a_comma_after_each_line_are_read(tmp_path):
    assert [row.line for row in read_training(written(tmp_path, ",\n".join(LINES) + "\n")).items] == [1, 2, 3, 4, 5]


def test_a_fault_in_objects_over_several_lines_has_its_line(tmp_path):
    text = "\n".join(json.dumps(row, indent=2) for row in ROWS).replace('"what is 3",', '"what is 3"')
    with pytest.raises(InputError, match=r"t\.json:19: the object that begins here is not valid JSON"):
        read_training(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("".join(f"{row!r}\n" for row in ROWS), "written as Python prints it .* json.dumps"),
        ("// rows\n[\n" + ",\n".join(LINES) + "\n]\n", "has comments"),
        ("[\n" + ",\n".join(LINES) + ",\n]\n", "commas before a closing bracket"),
        ("".join(line[:-1] + ",}\n" for line in LINES), "commas before a closing bracket"),
        ("- query: q\n  positive: p\n" * 3, "neither JSON objects nor the columns of a table; its first line is '- query: q'"),
        ("query,positive\n" + "a, b, c, d\n" * 5, "most records have another number of cells; quote the cells"),
    ],
)
def test_what_is_not_json_is_one_message(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        read_training(written(tmp_path, text))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_read_and_named(tmp_path, encoding):
    path = tmp_path / "pool.csv"
    path.write_bytes(("text\n" + "".join(f"Über die Küche {n}\n" for n in range(9))).encode(encoding))
    file = read_pool(path)
    assert file.items[8] == "Über die Küche 8"
    assert f"encoding {encoding}" in file.read_as


def test_numbers_of_two_bytes_are_no_text(tmp_path):
    path = tmp_path / "array.bin"
    path.write_bytes(b"".join(n.to_bytes(2, "little") for n in range(500)))
    with pytest.raises(InputError, match="not text"):
        read_pool(path)
