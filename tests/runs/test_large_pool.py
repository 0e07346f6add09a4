"""A pool that is not in memory gives the files of one that is: every format, every signal, with and without a store."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from hnmine.core.scratch import scratch_folder
from hnmine.data import corpus, texts
from hnmine.data.columns import Columns
from hnmine.data.dataset import read_inputs
from hnmine.data.texts import Texts
from hnmine.export.formats import FORMATS
from hnmine.runs.mine import MineSettings, mine
from hnmine.runs.output import write_rows
from hnmine.selection.presets import with_preset
from hnmine.selection.settings import SelectionSettings
from hnmine.vectors.store import StoredVectors, VectorStore
from tests.conftest import EXAMPLE, FakeEncoder


@pytest.fixture
def few(monkeypatch):
    """Makes everything too large for memory."""

    def too_large():
        monkeypatch.setattr(texts, "LARGE", 0)
        monkeypatch.setattr(corpus, "PART_BYTES", 5_000)

    return too_large


def bytes_of(path):
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {each.name: each.read_bytes() for each in files if each.is_file() and each.suffix != ".md"}


@pytest.mark.parametrize("mode", ["extend", "replace"])
def test_every_file_is_the_same(few, tmp_path, mode):
    settings = MineSettings(
        selection=with_preset("balanced", SelectionSettings(), deepest=300), retrievers=("model", "bm25"), pool_mode=mode, with_scores=True
    )
    written = []
    for turn in range(2):
        if turn:
            few()
        mined = mine(EXAMPLE / "train.jsonl", EXAMPLE / "pool.jsonl", settings, FakeEncoder, store=VectorStore(tmp_path / f"vectors{turn}"))
        assert isinstance(mined.inputs.corpus.passages, Texts if turn else list)
        found = {}
        for name, each in FORMATS.items():
            path = tmp_path / f"{turn}" / f"{name}{each.suffix}"
            path.parent.mkdir(exist_ok=True)
            of_format = msgspec.structs.replace(settings, output_format=name, with_scores=bool(each.scores))
            write_rows(path, of_format, mined.reviewed, mined.selection, mined.scores if each.scores else None, {})
            found[name] = bytes_of(path)
        written.append((found, mined.manifest["inputs"], mined.summary.funnel, mined.summary.estimated_fn_rate))
    assert written[0] == written[1]


def pool_lines(kind):
    passages = [json.loads(line)["text"] for line in (EXAMPLE / "pool.jsonl").read_text("utf-8").splitlines()]
    if kind == "a list":
        return passages
    if kind == "a title for some":
        return [{"title": "Bikes" if number % 3 == 2 else None, "text": text} for number, text in enumerate(passages)]
    return [{"text": text} for text in passages]


@pytest.mark.parametrize("kind", ["a list", "a title for some", "dicts"])
@pytest.mark.parametrize("titles", ["join", "ignore"])
def test_any_kind_of_pool_is_read_alike(few, tmp_path, kind, titles):
    pool = pool_lines(kind)
    given = pool
    if kind == "a title for some":
        given = tmp_path / "pool.jsonl"
        given.write_text("".join(json.dumps(line) + "\n" for line in pool), "utf-8")
    known = read_inputs(EXAMPLE / "train.jsonl", given, columns=Columns(titles=titles))
    few()
    found = read_inputs(EXAMPLE / "train.jsonl", given, columns=Columns(titles=titles))
    assert isinstance(found.pool, Texts)
    assert list(found.pool) == list(known.pool)
    assert list(found.corpus.passages) == list(known.corpus.passages)
    assert (found.files, found.read, found.problems) == (known.files, known.read, known.problems)


class Unnamed(FakeEncoder):
    """A model without an identity: nothing of it is stored."""

    def identity(self, side):
        return None


@pytest.mark.parametrize("encoder", [FakeEncoder, Unnamed])
def test_without_a_store_vectors_are_the_same_and_in_files_too(few, encoder):
    known = mine(EXAMPLE / "train.jsonl", EXAMPLE / "pool.jsonl", MineSettings(), encoder)
    few()
    before = sorted(scratch_folder().iterdir())
    found = mine(EXAMPLE / "train.jsonl", EXAMPLE / "pool.jsonl", MineSettings(), encoder)
    assert isinstance(found.ranking.passage_vectors, StoredVectors)
    assert np.array_equal(known.ranking.passage_vectors, found.ranking.passage_vectors[:])
    assert np.array_equal(known.selection.negatives, found.selection.negatives)
    files = set(scratch_folder().iterdir()) - set(before)
    assert sorted(each.suffix for each in files) == ["", ".texts", ".texts"], "vectors, the pool as read, and the passages"
    del found
    assert sorted(scratch_folder().iterdir()) == before
