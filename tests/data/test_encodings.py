"""Text files that are not UTF-8: transcoded where the encoding is known, one question where it is a guess."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import hashlib
import json
from pathlib import Path

import pytest

from hnmine.core.errors import ColumnsError, EncodingError, SettingsError
from hnmine.data.formats import encodings, lines
from hnmine.data.formats.jsonl import Reader
from hnmine.data.formats.tables import RecordReader
from hnmine.data.reading import read_training

GERMAN = "Frage;Antwort;Falsch\r\n" + "".join(
    f'Wie oft gieße ich {plant}?;"Täglich früh {n} Liter für {plant}; nie über die Blätter – sonst Fäule.";'
    f"{plant} im März zurückschneiden, „scharf“ und schräg.\r\n"
    for n, plant in enumerate(("tomato", "basil", "rose", "lavender"), 1)
)
CHINESE = "问题,答案\r\n" + "".join(f"番茄多久浇一次水{n}？,每{n}天清晨浇水一升，不要淋到叶子\r\n" for n in range(2, 6))


def records(path: Path, encoding: str | None = None, role: str = "training") -> tuple[list[dict[str, object]], RecordReader]:
    reader = RecordReader(path, encoding=encoding, role=role)
    with contextlib.suppress(ColumnsError):  # which are the query and so on is asked elsewhere
        reader.open()
    return [json.loads(line) for line in reader.lines()], reader


def written(tmp_path: Path, data: bytes, name: str = "fragen.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "cp1252", "utf-16-le"])
def test_a_table_is_the_same_in_every_encoding(tmp_path, encoding, packed):
    wanted, _ = records(written(tmp_path, GERMAN.encode()))
    assert wanted[0]["Antwort"] == "Täglich früh 1 Liter für tomato; nie über die Blätter – sonst Fäule."
    data = (codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b"") + GERMAN.encode(encoding)
    stored = gzip.compress(data, mtime=0) if packed else data
    given = encoding if encoding in ("cp1252", "utf-16-le") else None
    found, reader = records(written(tmp_path, stored, "t"), given)
    assert found == wanted
    assert reader.source.names == ("Frage", "Antwort", "Falsch")
    file = reader.file([])
    assert (file.size, file.sha256) == (len(stored), hashlib.sha256(stored).hexdigest())
    assert ("encoding" in file.read_as) == (not encoding.startswith("utf-8"))


@pytest.mark.parametrize(("text", "encoding"), [(GERMAN, "cp1252"), (CHINESE, "gb18030")])
def test_a_guessed_encoding_is_one_question_with_a_preview(tmp_path, text, encoding):
    path = written(tmp_path, text.encode(encoding))
    with pytest.raises(EncodingError) as question:
        read_training(path)
    assert question.value.guess == encoding
    assert codecs.lookup(question.value.guess)
    assert all(line in text for line in question.value.preview)
    assert all(not line.isascii() for line in question.value.preview)
    for words in (str(path), question.value.preview[0], f"--encoding {encoding}", f"encoding={encoding}"):
        assert words in str(question.value)
    found, reader = records(path, encoding)
    assert found == records(written(tmp_path, text.encode()))[0]
    assert reader.source.header


def test_a_chinese_table_without_a_header_keeps_its_first_row(tmp_path):
    text = "中国的首都是哪里,北京\n法国的首都,巴黎是法国的首都，也是最大的城市\n日本的首都是哪个城市,东京\n"
    found, _ = records(written(tmp_path, text.encode()))
    assert found[0]["column_2"] == "北京"


def test_one_line_of_json_is_asked_about_too(tmp_path):
    rows = [{"query": f"Grüße {n}", "pos": ["schöne Straße"]} for n in range(3)]
    path = written(tmp_path, json.dumps(rows, ensure_ascii=False).encode("cp1252"), "rows.json")
    with pytest.raises(EncodingError):
        read_training(path)
    assert records(path, "cp1252")[0] == rows


def test_utf8_with_a_few_wrong_bytes_stays_utf8(tmp_path):
    good = [f'{{"query": "größe {n}", "pos": ["süß"]}}\n'.encode() for n in range(20)]
    bad = [b'{"query": "caf\xe9", "pos": ["p"]}\n', b'{"query": "na\xefve", "pos": ["p"]}\n']
    path = written(tmp_path, b"".join([*good, *bad]), "rows.jsonl")
    reader = RecordReader(path, encoding="cp1252")  # that of another file of the run
    reader.open()
    assert reader.encoding == ""
    file = read_training(path)
    assert [(each.line, each.kind) for each in file.problems] == [(21, "not-utf8"), (22, "not-utf8")]
    assert "name its encoding" in file.problems[0].remedy
    assert len(file.items) == 20


def test_a_file_that_is_utf8_is_not_read_by_the_encoding_of_another(tmp_path):
    for data in (GERMAN.encode(), GERMAN.encode("utf-16")):
        assert records(written(tmp_path, data), "cp1252")[0] == records(written(tmp_path, data))[0]


def test_bytes_beyond_the_sample_are_problems_of_their_line(tmp_path):
    data = b"one passage\n" * 200_000 + b"caf\xe9\nna\xefve\n"
    reader = RecordReader(written(tmp_path, data, "pool.txt"), role="pool")
    assert sum(1 for _ in reader.lines()) == 200_000
    assert [each.line for each in reader.problems] == [200_001, 200_002]


@pytest.mark.parametrize(
    ("encoding", "damaged"),
    [("cp1252", b"\x81"), ("gb18030", b"\xff"), ("utf-16", b"\x00\xd8"), ("shift_jis", b"\xfd"), ("gb18030", b"\x81\xc3\xa4\xff")],
)
@pytest.mark.parametrize("name", ["pool.txt", "pool.csv", "pool.jsonl"])
def test_undecodable_bytes_are_problems_of_their_line(tmp_path, monkeypatch, encoding, damaged, name):
    monkeypatch.setattr(lines, "BLOCK", 7)
    form = {"pool.txt": "%s", "pool.csv": '"%s",x', "pool.jsonl": '{"text": "%s"}'}[name]
    texts = ["é one", "two @", "ü"] if encoding == "cp1252" else ["日本 one", "two @", "日本"]
    text = "".join(form % each + "\n" for each in texts)
    if name == "pool.csv":
        text = "text,other\n" + text
    data = text.encode(encoding).replace("@".encode(encoding.replace("utf-16", "utf-16-le")), damaged)
    reader = Reader(written(tmp_path, data, name), role="pool", encoding=encoding)
    reader.open()
    assert [json.loads(bytes(fields["text"])) for fields, _, _ in reader.objects(text="text", whole=True)] == [texts[0], texts[2]]
    (problem,) = reader.problems
    assert (problem.kind, problem.line) == ("not-utf8", 3 if name == "pool.csv" else 2)
    assert f"not {reader.encoding}" in problem.message


def test_an_unknown_encoding_is_refused_by_name(tmp_path):
    for name in ("cp12525", "base64", "", "a\0b"):
        with pytest.raises(SettingsError, match=r"encoding is .*use a name such as"):
            RecordReader(tmp_path / "t.csv", encoding=name)
    assert encodings.encoding_named("latin1") == "iso8859-1"
    assert encodings.encoding_named("UTF8") == encodings.encoding_named("utf-8-sig") == "utf-8"


def test_naming_utf8_answers_the_question_too(tmp_path):
    path = written(tmp_path, b'{"query": "caf\xe9", "pos": ["p"]}\n{"query": "na\xefve", "pos": ["p"]}\n', "rows.jsonl")
    with pytest.raises(EncodingError):
        records(path)
    reader = RecordReader(path, encoding="utf-8")
    reader.open()
    assert reader.encoding == ""


def test_a_large_file_is_transcoded_in_bounded_memory(tmp_path, monkeypatch):
    sizes = []
    real = encodings.transcoded

    def watched(blocks, encoding):
        for block in real(blocks, encoding):
            sizes.append(len(block))
            yield block

    monkeypatch.setattr(lines, "transcoded", watched)
    line = "Täglich früh gießen, nie über die Blätter\n"
    reader = RecordReader(written(tmp_path, (line * 150_000).encode("utf-16"), "pool.txt"), role="pool")
    assert sum(1 for _ in reader.lines()) == 150_000
    assert len(sizes) > 5
    assert max(sizes) < 2**21


@pytest.mark.parametrize("text", ['{"query": "a\0b", "pos": ["p"]}\n', '{"query": "größer \0", "pos": ["p"]}\n' * 3])
def test_a_zero_byte_in_utf8_does_not_make_it_utf16(text, tmp_path):
    assert encodings.encoding_of(text.encode(), "", "rows.jsonl") == ""
