"""Files that are no text are named by their first bytes, with a remedy."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile

import pyarrow as pa
import pytest
from pyarrow import orc

from hnmine.core.errors import InputError
from hnmine.data.reading import read_pool, read_training

LINE = b'{"query": "q", "pos": ["p"]}\n'


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("train.jsonl")
        info.size = len(LINE)
        archive.addfile(info, io.BytesIO(LINE))
    return out.getvalue()


def as_orc() -> bytes:
    out = io.BytesIO()
    orc.write_table(pa.table({"query": ["q"]}), out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (tar(), "a tar archive; unpack it first"),
        (gzip.compress(tar()), "a tar archive; unpack it first"),
        *((pickle.dumps([{"query": "q"}], protocol), "a pickle, which is never opened") for protocol in (2, 3, 4, 5)),
        (as_orc(), "an ORC file; write the table as"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(40), "a 7z archive"),
        (b"Rar!\x1a\x07\x01\x00" + bytes(40), "a RAR archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(40), "an old Office document, such as .xls; save it as .xlsx"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "an HDF5 file"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(40), "an image"),
        (b"<!DOCTYPE html>\n<html><body>404</body></html>\n", "an HTML page: an error page in place of the data"),
        (b"<table><tr><td>query</td><td>positive</td></tr></table>\n", "an HTML page"),
        (b'<?xml version="1.0"?>\n<topics></topics>\n', "an XML document"),
    ],
    ids=lambda value: "bytes" if isinstance(value, bytes) else None,
)
def test_a_file_that_is_no_text_is_one_message(tmp_path, data, words):
    path = tmp_path / "data.bin"
    path.write_bytes(data)
    for read in (read_training, read_pool):
        with pytest.raises(InputError, match=words) as refusal:
            read(path)
        assert str(path) in str(refusal.value)


def test_texts_that_begin_alike_are_read(tmp_path):
    path = tmp_path / "pool.txt"
    texts = ["ORC is a format of columns.", "<b>bold</b> words", "7z is an archive."]
    for first in range(3):
        path.write_text("\n".join(texts[first:] + texts[:first]))
        assert read_pool(path).items == texts[first:] + texts[:first]


def test_bytes_of_a_program_are_not_text(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\x7fELF\x02\x01\x01\0\n" + bytes(range(256)))
    for read in (read_training, read_pool):
        with pytest.raises(InputError, match=r"rows\.jsonl: the file is not text"):
            read(path)
