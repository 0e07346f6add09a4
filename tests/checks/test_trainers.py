"""The effects that findings predict, checked with the readers of the trainers."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

from hnmine.checks.check import check
from hnmine.checks.field_types import CHUNK
from hnmine.checks.kinds import TRAINERS

FAULTY = Path(__file__).parent / "faulty"
# A row is nearly 1 kB, so that 11,500 of them reach behind the part that decides on types.
FILLER = "x" * 900
MANY = 11_500


@pytest.fixture(scope="module")
def flagembedding():
    """FlagEmbedding's two data sets, with their arguments."""
    from FlagEmbedding.abc.finetune.embedder import AbsDataset
    from FlagEmbedding.abc.finetune.embedder.AbsArguments import AbsEmbedderDataArguments

    return AbsDataset, AbsEmbedderDataArguments


@pytest.fixture
def read(flagembedding, tmp_path, monkeypatch):
    """Read all rows of a file as FlagEmbedding does: (query, passages, scores) of each; or of each batch within one data set."""
    module, arguments = flagembedding
    monkeypatch.setattr("datasets.utils.logging.get_verbosity", lambda: 50, raising=False)

    def run(path, *, within_batch=False, batch=2, **settings):
        wanted = arguments(train_data=[str(path)], cache_path=str(tmp_path / "cache"), **settings)
        random.seed(1)
        if within_batch:
            found = module.AbsEmbedderSameDatasetTrainDataset(wanted, batch, 1, None)
            return [found[place] for place in range(len(found))]
        found = module.AbsEmbedderTrainDataset(wanted, None)
        return [found[place] for place in range(len(found))]

    return run


def load(path, tmp_path):
    import datasets

    return datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))


def consequence(name: str) -> str:
    return " ".join(finding.message for finding in check(FAULTY / f"{name}.jsonl").findings)


def test_a_sound_file_is_read(read, write_jsonl):
    rows = [{"query": f"q{n}", "pos": ["p"], "neg": [f"n{k}" for k in range(7)], "prompt": ""} for n in range(4)]
    path = write_jsonl(rows)
    assert check(path).findings == ()
    assert [query for query, _, _ in read(path, query_instruction_for_retrieval="say: ")] == ["q0", "q1", "q2", "q3"]
    assert len(read(path, within_batch=True)) == 2


def test_no_negatives_stop_it(read, write_jsonl):
    assert "ZeroDivisionError" in consequence("empty-negatives")
    with pytest.raises(ZeroDivisionError):
        read(FAULTY / "empty-negatives.jsonl")
    with pytest.raises(ZeroDivisionError):
        read(FAULTY / "empty-negatives.jsonl", within_batch=True)
    path = write_jsonl([{"query": "a", "pos": ["b"], "neg": ["c"]}, {"query": "d", "pos": ["e"]}])
    with pytest.raises(AssertionError):
        read(path)
    with pytest.raises(KeyError):
        read(write_jsonl([{"query": "a", "pos": ["b"]}]))


def test_few_negatives_are_repeated(read):
    passages = read(FAULTY / "short-negatives.jsonl")[2][1]
    assert len(passages) == 8 and len(set(passages)) == 4


def test_a_missing_prompt_is_none(read, write_jsonl):
    path = FAULTY / "missing-prompt.jsonl"
    queries = [query for query, _, _ in read(path, query_instruction_for_retrieval="say: ")]
    assert [line for line, query in enumerate(queries, 1) if query.startswith("None")] == [2, 5, 10, 11]
    batches = read(path, within_batch=True)
    assert sum(query.startswith("None") for queries, *_ in batches for query in queries) == 4
    without = write_jsonl([{"query": "q", "pos": ["p"], "neg": ["n"]}] * 2)
    assert "no-prompt" in [note.kind for note in check(without).notes]
    assert read(without, within_batch=True)[0][0] == ["Noneq", "Noneq"]
    assert read(without)[0][0] == "q"


def test_several_types_stop_it(read):
    with pytest.raises(AssertionError, match="type is not consistent"):
        read(FAULTY / "type-not-constant.jsonl", within_batch=True, batch=12)
    assert len(read(FAULTY / "type-not-constant.jsonl")) == 12


def test_scores_are_read_by_place(read):
    for name, error in [
        ("scores-on-some-rows", AssertionError),
        ("scores-not-numbers", ValueError),
        ("one-kind-of-scores", ValueError),
    ]:
        with pytest.raises(error):
            read(FAULTY / f"{name}.jsonl", knowledge_distillation=True, train_group_size=9)
        assert len(read(FAULTY / f"{name}.jsonl")) == 12, "without distillation scores are not read"
    with pytest.raises(IndexError):
        read(FAULTY / "scores-length.jsonl", knowledge_distillation=True, train_group_size=9)
    scores = [each for *_, found in read(FAULTY / "scores-nan.jsonl", knowledge_distillation=True, train_group_size=9) for each in found]
    assert any(score != score for score in scores), "NaN goes through"


def test_a_string_becomes_its_characters(read, write_jsonl):
    with pytest.raises(AssertionError):
        read(FAULTY / "string-instead-of-list.jsonl")
    path = write_jsonl([{"query": "q", "pos": "abc", "neg": ["n"], "prompt": ""}] * 2)
    assert all(passage in "abcn" for _, passages, *_ in read(path, within_batch=True) for passage in passages)


def test_rows_without_positives_stop_it(read):
    for name in ("no-positive", "missing-field"):
        with pytest.raises((IndexError, AssertionError)):
            read(FAULTY / f"{name}.jsonl")


def test_other_names_are_passed_over(read, write_jsonl):
    path = write_jsonl([{"query": "q", "pos": ["p"], "neg": ["n"]}], "rows.txt")
    assert "file-name" in [finding.kind for finding in check(path).findings]
    with pytest.raises((ValueError, IndexError)):
        read(path)


@pytest.mark.parametrize("name", ["not-json", "not-an-object", "duplicate-key", "empty-file"])
def test_broken_files_cannot_be_loaded(name, tmp_path):
    from datasets.exceptions import DatasetGenerationError

    with pytest.raises((DatasetGenerationError, StopIteration)):
        load(FAULTY / f"{name}.jsonl", tmp_path)


def test_what_is_no_utf8_stops_at_its_row(tmp_path):
    rows = load(FAULTY / "not-utf8.jsonl", tmp_path)
    assert len(rows) == 12
    with pytest.raises(UnicodeDecodeError):
        rows[7]


def test_the_first_part_decides_on_types(tmp_path, write_jsonl):
    from datasets.packaged_modules.json.json import JsonConfig

    assert JsonConfig(name="json").chunksize == CHUNK
    for name in ("mixed-types-number-and-text", "mixed-types-list-and-text"):
        features = load(FAULTY / f"{name}.jsonl", tmp_path).features
        assert "Json" in str(features), "bare JSON values instead of a type"


def test_a_field_of_several_types_cannot_be_joined_with_another_file(read, write_jsonl, tmp_path):
    assert "cannot be joined" in consequence("mixed-types-number-and-text")
    folder = tmp_path / "both"
    folder.mkdir()
    (folder / "mixed.jsonl").write_bytes((FAULTY / "mixed-types-number-and-text.jsonl").read_bytes())
    sound = [json.loads(line) | {"id": 7} for line in (FAULTY / "mixed-types-number-and-text.jsonl").read_text().splitlines()]
    (folder / "sound.jsonl").write_text("".join(json.dumps(row) + "\n" for row in sound))
    with pytest.raises(ValueError, match="features can't be aligned"):
        read(folder)


LATE = {
    "a text behind numbers": (7, "seven", "mixed-types"),
    "a text behind lists": (["a"], "b", "mixed-types"),
    "true behind numbers": (7, True, "mixed-types"),
    "a fraction behind whole numbers": (7, 7.5, "late-fraction"),
    "a field behind none": ("", "b", "late-field"),
    "a text behind null": (None, "b", "late-field"),
    "a new key": ({"a": 1}, {"b": "x"}, "late-field"),
}
FINE = {
    "null behind numbers": (7, None),
    "a whole number behind fractions": (7.5, 7),
    "1.0 behind whole numbers": (7, 1.0),
    "nothing behind texts": ("a", ""),
}


def long_file(write_jsonl, first, last) -> Path:
    row = {"query": "q", "pos": ["p"], "neg": [FILLER]}
    head = json.dumps(row if first == "" else {**row, "field": first})
    end = json.dumps(row if last == "" else {**row, "field": last})
    path: Path = write_jsonl([*[head] * MANY, end])
    assert path.stat().st_size > CHUNK
    return path


@pytest.mark.parametrize("name", LATE)
def test_what_comes_late_stops_the_loading(name, tmp_path, write_jsonl):
    first, last, kind = LATE[name]
    path = long_file(write_jsonl, first, last)
    found = [(each.kind, each.count, [example.line for example in each.examples]) for each in check(path).findings]
    assert (kind, 1, [MANY + 1]) in found
    from datasets.exceptions import DatasetGenerationError

    with pytest.raises(DatasetGenerationError):
        load(path, tmp_path)


@pytest.mark.parametrize("name", FINE)
def test_what_fits_is_loaded(name, tmp_path, write_jsonl):
    path = long_file(write_jsonl, *FINE[name])
    assert not {"mixed-types", "late-fraction", "late-field"} & {each.kind for each in check(path).findings}
    assert len(load(path, tmp_path)) == MANY + 1


@pytest.mark.parametrize("name", ["garden[v2].jsonl", "[1]/rows.jsonl", "a::b.jsonl"])
def test_a_name_that_is_a_pattern_finds_no_file(name, tmp_path):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"query": "q", "pos": ["p"], "neg": ["n"]}\n')
    for trainer in TRAINERS:
        assert "file-pattern" in [each.kind for each in check(path, trainers=[trainer]).findings]
    with pytest.raises((FileNotFoundError, StopIteration)):
        load(path, tmp_path)


@pytest.mark.parametrize("name", ["what?.jsonl", "a*b.jsonl"])
def test_a_name_that_is_a_pattern_finds_other_files_too(name, tmp_path):
    path = tmp_path / name
    for each in (path, tmp_path / re.sub(r"[*?]", "x", name)):
        each.write_text('{"query": "q", "pos": ["p"], "neg": ["n"]}\n')
    assert [each.kind for each in check(path).findings] == ["file-pattern"]
    assert len(load(path, tmp_path)) == 2


@pytest.mark.parametrize("name", ["a[b.jsonl", "a]b.jsonl", "a{b}.jsonl", "a b#c!.jsonl", "a:b.jsonl"])
def test_other_names_are_loaded(name, tmp_path):
    path = tmp_path / name
    path.write_text('{"query": "q", "pos": ["p"], "neg": ["n"]}\n')
    assert check(path).findings == ()
    assert len(load(path, tmp_path)) == 1
