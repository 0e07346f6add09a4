"""Texts in a file are the same sequence as a list of them, and the file goes when nobody needs it."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnmine.core import scratch
from hnmine.core.errors import OutputError
from hnmine.core.scratch import scratch_folder
from hnmine.data import texts as texts_module
from hnmine.data.texts import Texts, TextWriter, sizes_of, take

WORDS = st.text(st.one_of(st.characters(max_codepoint=127), st.sampled_from("é日\ud800\U0001f600\n")), max_size=12)


def in_a_file(texts):
    writer = TextWriter(limit=-1)
    for text in texts:
        writer.append(text)
    found = writer.texts()
    assert isinstance(found, Texts) or not texts
    return found


@given(st.lists(WORDS, min_size=1, max_size=30), st.data())
def test_texts_are_a_list_of_them(known, data):
    texts = in_a_file(known)
    assert len(texts) == len(known)
    assert list(texts) == known
    assert [texts[place] for place in range(-len(known), len(known))] == [*known, *known]
    part = data.draw(st.slices(len(known)))
    assert list(texts[part]) == known[part]
    ids = np.array(data.draw(st.lists(st.integers(0, len(known) - 1))), np.int64)
    assert list(texts.take(ids)) == [known[place] for place in ids] == list(take(known, ids))
    others = known[part]
    if others:
        some = ids % len(others)
        assert list(take(texts[part], some)) == [others[place] for place in some]
    assert sizes_of(texts).tolist() == sizes_of(known).tolist() == [len(text.encode("utf-8", "surrogatepass")) for text in known]
    assert sizes_of(texts[part]).tolist() == sizes_of(others).tolist()
    with pytest.raises(IndexError):
        texts[len(known)]


def test_many_texts_are_read_in_blocks_that_do_not_show(monkeypatch):
    monkeypatch.setattr(texts_module, "_BLOCK_TEXTS", 7)
    monkeypatch.setattr(texts_module, "_BLOCK_BYTES", 40)
    known = ["x" * (place % 90) for place in range(500)]
    texts = in_a_file(known)
    assert list(texts) == known
    assert list(texts[::-3]) == known[::-3]
    mixed = np.array([3, 4, 5, 9, 10, 2, 2, 499, 0])
    assert list(texts.take(mixed)) == [known[place] for place in mixed]


def test_few_texts_stay_a_list():
    writer = TextWriter(limit=10)
    for text in ("12345", "67890"):
        writer.append(text)
    assert writer.texts() == ["12345", "67890"]
    writer = TextWriter(limit=9)
    for text in ("12345", "67890"):
        writer.append(text)
    assert len(writer) == 2
    assert isinstance(writer.texts(), Texts)


def files():
    return sorted(scratch_folder().glob("*.texts"))


def test_the_file_is_removed_with_the_last_texts_of_it():
    before = files()
    texts = in_a_file(["a", "b"])
    part = texts[1:]
    assert len(files()) == len(before) + 1
    del texts
    assert list(part) == ["b"]
    del part
    assert files() == before
    writer = TextWriter(limit=-1)
    writer.append("an error comes before the end")
    del writer
    assert files() == before


def test_another_process_reads_them_by_their_path():
    texts = in_a_file(["zero", "ünö", "two"])[1:]
    code = "import pickle, sys; texts = pickle.load(sys.stdin.buffer); print(list(texts), len(texts))"
    done = subprocess.run([sys.executable, "-X", "utf8", "-c", code], input=pickle.dumps(texts), capture_output=True, check=True)
    assert done.stdout.decode().strip() == "['ünö', 'two'] 2"
    assert list(texts) == ["ünö", "two"], "reading elsewhere removes nothing"


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    code = (
        "import os; from hnmine.data.texts import TextWriter; w = TextWriter(-1); w.append('x'); t = w.texts();"
        "print(t._file.path, flush=True); os._exit(9)"
    )
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    left = Path(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False).stdout.strip())
    assert left.is_file()
    os.utime(left.parent, (0, 0))
    busy = tmp_path / f"{scratch._PREFIX}busy"
    busy.mkdir()
    with scratch.locked(busy / "lock", wait=False):
        os.utime(busy, (0, 0))
        code = code.replace("os._exit(9)", "print(len(list(t)))")
        subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, check=True)
    assert not left.exists()
    assert [path.name for path in tmp_path.iterdir()] == [busy.name], "a folder in use stays, one's own goes at the end"


def test_a_full_disk_is_said_with_a_remedy(monkeypatch, tmp_path):
    monkeypatch.setattr(texts_module, "scratch_folder", lambda: tmp_path / "absent")
    with pytest.raises(OutputError, match="set TMPDIR"):
        in_a_file(["a"])
