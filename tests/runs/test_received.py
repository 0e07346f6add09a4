"""Files that are dropped together are told apart, and a file without content is refused."""

from __future__ import annotations

import base64
import io
import json

import pytest

from hnmine.core.errors import ColumnsError, InputError
from hnmine.runs.received import divided, require_content

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==")


def lines(*records: object) -> io.BytesIO:
    return io.BytesIO("".join(json.dumps(record) + "\n" for record in records).encode())


ROWS = [{"query": f"how do I mend {n}", "pos": [f"Mend {n} by hand."]} for n in range(9)]
OWN = [{"ticket": f"why is {n} so slow", "fix": f"because {n} waits for the disk"} for n in range(9)]
TEXTS = [{"id": n, "text": f"Paint {n} twice a year."} for n in range(9)]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (("pool.jsonl", lines(*TEXTS)), ("train.jsonl", lines(*ROWS)), ("train.jsonl", "pool.jsonl")),
        (("train.jsonl", lines(*ROWS)), ("kb.txt", io.BytesIO(b"a passage\nanother one\n")), ("train.jsonl", "kb.txt")),
        (("kb.jsonl", lines(*TEXTS)), ("own.jsonl", lines(*OWN)), ("own.jsonl", "kb.jsonl")),
    ],
    ids=["by their fields", "plain text", "own names"],
)
def test_a_training_file_and_its_pool_are_told_apart(first, second, expected):  # type: ignore[no-untyped-def]
    assert divided(dict([first, second])) == expected


def test_files_of_one_data_set_stay_together():  # type: ignore[no-untyped-def]
    assert divided({"train.jsonl": lines(*ROWS[:5]), "dev.jsonl": lines(*ROWS[5:])}) is None
    assert divided({"a.jsonl": lines(*ROWS[:3]), "b.jsonl": lines(*ROWS[3:6]), "c.jsonl": lines(*ROWS[6:])}) is None


def test_two_files_with_names_of_their_own_are_a_question():  # type: ignore[no-untyped-def]
    with pytest.raises(ColumnsError):
        divided({"a.jsonl": lines(*OWN), "b.jsonl": lines(*[{"nr": n, "advice": f"Mend {n} by hand."} for n in range(9)])})


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("image.jsonl", PNG, "an image"),
        ("empty.jsonl", b"", "no usable training row"),
        ("blank.csv", b"\n \n", "no usable training row"),
        ("heading.csv", b"query,pos\n", "no usable training row"),
        ("list.json", b"[]", "no usable training row"),
        ("bad.jsonl", b"{nothing}\n" * 300, "no usable training row\nline 1, .*: not JSON"),
        ("rows.jsonl", b'{"query": "q", "pos": []}\n', "`pos` has no passage"),
    ],
)
def test_a_file_without_a_row_is_refused(name, content, words):  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=words) as refusal:
        require_content(io.BytesIO(content), name)
    assert name in str(refusal.value)


def test_a_file_with_one_good_row_anywhere_passes():  # type: ignore[no-untyped-def]
    require_content(io.BytesIO(b"{nothing}\n" * 300 + b'{"query": "q", "pos": ["p"]}\n'), "rows.jsonl")
    require_content(io.BytesIO(b'{"query": "q", "pos": "p"}\n'), "rows.jsonl")  # a repair makes it a row
    require_content(lines(*OWN), "own.jsonl")  # its columns are a question
    with pytest.raises(InputError, match="no usable passage"):
        require_content(io.BytesIO(b""), "pool.jsonl", "pool")


def test_of_several_files_each_has_content():  # type: ignore[no-untyped-def]
    good = {"train.jsonl": lines(*ROWS)}
    require_content(good | {"kb.jsonl": lines(*TEXTS), "own.jsonl": lines(*OWN)}, "three files")
    for name, content, words in (
        ("more.jsonl", b"", "more.jsonl: the file has no usable"),
        ("more.jsonl", PNG, "an image"),
        ("pool.zip", b"PK\x03\x04 nothing", "pool.zip: cannot be read together with other files"),
    ):
        with pytest.raises(InputError, match=words):
            require_content(good | {name: io.BytesIO(content)}, "two files")
