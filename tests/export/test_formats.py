"""Every format, read back by what it is for: FlagEmbedding's data set, `datasets` and sentence-transformers' losses, Tevatron's
rules, BEIR's published layout and ir_datasets' reader of it, pandas."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnmine.core.errors import OutputError, SettingsError
from hnmine.core.text import normalize_text
from hnmine.export.examples import dev_path
from hnmine.export.formats import FORMATS, check_export
from hnmine.export.retrieval_sets import is_formula
from tests.export.conftest import PROMOTED, ROWS, Made, N


def fingerprint(path: Path) -> tuple[int, str]:
    """Bytes and SHA-256 of a file; of a folder those of its data files, and of what `sha256sum` prints about them."""
    if path.is_file():
        return path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
    files = sorted(each for each in path.rglob("*") if each.is_file() and each.name != "README.md")
    lines = "".join(f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.relative_to(path)}\n" for each in files)
    return sum(each.stat().st_size for each in files), hashlib.sha256(lines.encode()).hexdigest()


def load(path: Path, kind: str, cache: Path):
    datasets = pytest.importorskip("datasets")
    return datasets.load_dataset(kind, data_files=str(path), split="train", cache_dir=str(cache))


# FlagEmbedding


@pytest.mark.parametrize("distillation", [False, True])
def test_flagembedding_reads_its_format(made, tmp_path, distillation):
    from FlagEmbedding.abc.finetune.embedder.AbsArguments import AbsEmbedderDataArguments
    from FlagEmbedding.abc.finetune.embedder.AbsDataset import AbsEmbedderTrainDataset

    (written,) = made.write("flagembedding", with_scores=distillation)
    arguments = AbsEmbedderDataArguments(
        train_data=[str(written.path)],
        cache_path=str(tmp_path / "cache"),
        train_group_size=N + 1,
        knowledge_distillation=distillation,
        query_instruction_for_retrieval="",
        query_instruction_format="{}{}",
    )
    data = AbsEmbedderTrainDataset(arguments, None)
    assert len(data) == len(ROWS) == written.rows
    random.seed(1)
    seen = set()
    for _ in range(20):
        for number, row in enumerate(made.rows):
            query, passages, scores = data[number]
            assert query == "p: " + row.query
            negatives = {made.corpus.passages[each] for each in made.selection.negatives[made.corpus.row_queries[number]]}
            assert set(passages[1:]) == negatives
            seen.add((number, passages[0]))
            assert (scores is not None) == distillation
            if distillation:
                assert len(scores) == N + 1
                assert all(isinstance(score, float) for score in scores)
    expected = {(number, text) for number, row in enumerate(made.rows) for text in row.pos}
    assert seen == expected | {(0, PROMOTED), (2, PROMOTED)}, "the promoted passage is drawn as a positive of both rows that ask it"


# sentence-transformers


def expected_records(made: Made, shape: str):
    for query, (positives, negatives) in made.examples().items():
        if shape == "triplet":
            yield from ((query, positive, negative) for positive in positives for negative in negatives)
        elif shape == "n-tuple":
            yield from ((query, positive, *negatives) for positive in positives)
        elif shape == "labeled-pair":
            yield from ((query, text, label) for texts, label in ((positives, 1), (negatives, 0)) for text in texts)
        else:
            yield from ((query, [positive, *negatives], [1] + [0] * len(negatives)) for positive in positives)


COLUMNS = {
    "triplet": ["anchor", "positive", "negative"],
    "n-tuple": ["anchor", "positive", "negative_1", "negative_2", "negative_3"],
    "labeled-pair": ["anchor", "document", "label"],
    "labeled-list": ["anchor", "documents", "labels"],
}


@pytest.mark.parametrize("encoding", ["", "-parquet"])
@pytest.mark.parametrize("shape", COLUMNS)
def test_datasets_loads_what_sentence_transformers_expects(made, tmp_path, shape, encoding):
    (written,) = made.write(f"st-{shape}{encoding}")
    data = load(written.path, "parquet" if encoding else "json", tmp_path / "cache")
    assert data.column_names == COLUMNS[shape]
    assert [tuple(record.values()) for record in data] == list(expected_records(made, shape))
    assert written.rows == len(data)
    assert any(note.startswith("1 row has the query") and "joined" in note for note in written.notes)
    assert any("id, prompt" in note for note in written.notes)


@pytest.mark.parametrize("encoding", ["", "-parquet"])
@pytest.mark.parametrize("shape", COLUMNS)
def test_scores_are_those_of_their_pairs(made, tmp_path, shape, encoding):
    (written,) = made.write(f"st-{shape}{encoding}", with_scores=True)
    data = load(written.path, "parquet" if encoding else "json", tmp_path / "cache")
    name = {"labeled-pair": "score"}.get(shape, "scores")
    wanted = [*COLUMNS[shape][: 2 if shape.startswith("labeled") else None], name]
    assert data.column_names == wanted
    assert len(data) == len(list(expected_records(made, shape)))
    for record in data:
        query = next(i for i, text in enumerate(made.corpus.queries) if normalize_text(text) == normalize_text(record["anchor"]))
        inputs = [value for column, value in record.items() if column not in ("anchor", name)]
        texts = inputs[0] if isinstance(inputs[0], list) else inputs
        ids = [next(i for i, each in enumerate(made.corpus.passages) if normalize_text(each) == normalize_text(text)) for text in texts]
        scores = made.ranking.score_pairs(np.full(len(ids), query, np.int32), np.array(ids, np.int32))
        assert np.array_equal(np.float32(np.atleast_1d(record[name])), scores)


def test_sentence_transformers_trains_on_each_shape(made, tmp_path, flag_model):
    """One step of a real loss each, through sentence-transformers' own collators."""
    import torch
    from sentence_transformers import CrossEncoder, SentenceTransformer
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss, LambdaLoss
    from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator
    from sentence_transformers.sentence_transformer.losses import (
        CosineSimilarityLoss,
        MarginMSELoss,
        MultipleNegativesRankingLoss,
        OnlineContrastiveLoss,
    )

    from hnmine.models.cards import packaged_folder

    model = SentenceTransformer(str(packaged_folder()), device="cpu")
    collate = SentenceTransformerDataCollator(model.preprocess if hasattr(model, "preprocess") else model.tokenize)
    for name, loss, with_scores in (
        ("st-triplet", MultipleNegativesRankingLoss(model), False),
        ("st-triplet-parquet", MarginMSELoss(model), True),
        ("st-n-tuple", MultipleNegativesRankingLoss(model), False),
        ("st-n-tuple-parquet", MarginMSELoss(model), True),
        ("st-labeled-pair", OnlineContrastiveLoss(model), False),
        ("st-labeled-pair-parquet", CosineSimilarityLoss(model), True),
    ):
        (written,) = made.write(name, with_scores=with_scores)
        kind = "parquet" if name.endswith("parquet") else "json"
        data = load(written.path, kind, tmp_path / "cache")
        batch = collate([data[number] for number in range(4)])
        label = batch.pop("label", None)
        features = [
            {
                key.removeprefix(f"{column}_"): value
                for key, value in batch.items()
                if key.startswith(f"{column}_") and isinstance(value, torch.Tensor)
            }
            for column in data.column_names
            if f"{column}_input_ids" in batch
        ]
        inputs = [column for column in data.column_names if column not in ("label", "score", "scores")]
        assert len(features) == len(inputs)
        value = loss(features, label)
        assert torch.isfinite(value)
        value.backward()

    reranker = CrossEncoder(str(packaged_folder()), num_labels=1, device="cpu")
    (pairs,) = made.write("st-labeled-pair")
    data = load(pairs.path, "json", tmp_path / "cache")
    value = BinaryCrossEntropyLoss(reranker)(
        [data["anchor"][:4], data["document"][:4]], torch.tensor(data["label"][:4], dtype=torch.float32)
    )
    assert torch.isfinite(value)
    (lists,) = made.write("st-labeled-list-parquet")
    data = load(lists.path, "parquet", tmp_path / "cache")
    labels = [torch.tensor(each, dtype=torch.float32) for each in data["labels"][:3]]
    value = LambdaLoss(reranker)([data["anchor"][:3], data["documents"][:3]], labels)
    assert torch.isfinite(value)
    value.backward()


def test_a_query_short_of_negatives_is_left_out_of_tuples_and_reported(mined):
    items = [{"query": "a", "pos": ["b"]}, {"query": "c", "pos": ["d", "e"]}]
    made = mined(items, [], negative_number=3)
    assert sorted(made.selection.counts.tolist()) == [1, 2]
    (written,) = made.write("st-n-tuple")
    assert written.path.read_bytes() == b""
    assert any("2 queries have fewer than 3 negatives" in note and "set negative_number to 1 to keep all" in note for note in written.notes)
    (written,) = made.write("st-triplet")
    assert written.rows == 2 + 2
    (written,) = made.write("st-n-tuple-parquet")
    import pyarrow.parquet as pq

    assert pq.read_table(written.path).num_rows == 0


@pytest.mark.parametrize("name", FORMATS)
def test_a_data_set_without_any_negative_is_written_and_reported(mined, name):
    made = mined([{"query": "a", "pos": ["b"]}], None)
    (written,) = made.write(name)
    if name != "flagembedding" and name != "csv":
        assert any("negative" in note for note in written.notes)


def test_parquet_is_written_in_row_groups(made, monkeypatch):
    import pyarrow.parquet as pq

    monkeypatch.setattr("hnmine.export.sentence_transformers._GROUP", 200)
    (written,) = made.write("st-triplet-parquet", with_scores=True)
    file = pq.ParquetFile(written.path)
    assert file.num_row_groups > 3
    assert file.read().column("anchor").to_pylist() == [record[0] for record in expected_records(made, "triplet")]


# Tevatron


@pytest.mark.parametrize("with_scores", [False, True])
def test_tevatron_finds_the_fields_its_documentation_names(made, tmp_path, with_scores):
    (written,) = made.write("tevatron", with_scores=with_scores)
    data = load(written.path, "json", tmp_path / "cache")
    assert data.column_names == ["query_id", "query", "positive_passages", "negative_passages"]
    expected = made.examples()
    assert [group["query"] for group in data] == list(expected)
    assert [group["query_id"] for group in data] == ["7", "8", "10", "11"]
    texts: dict[str, str] = {}
    for group in data:
        positives, negatives = expected[group["query"]]
        assert list(map(normalize_text, (each["text"] for each in group["positive_passages"]))) == list(map(normalize_text, positives))
        assert [each["text"] for each in group["negative_passages"]] == negatives
        for passage in group["positive_passages"] + group["negative_passages"]:
            assert list(passage) == ["docid", "title", "text"] + (["score"] if with_scores else [])
            assert passage["title"] == ""
            assert texts.setdefault(passage["docid"], passage["text"]) == passage["text"], "one docid, one text"
            if with_scores:
                assert isinstance(passage["score"], float)


# BEIR


class Beir:
    """A plain reader of the published layout (the rules of beir.datasets.data_loader.GenericDataLoader)."""

    def __init__(self, folder: Path) -> None:
        self.corpus = {each["_id"]: each for each in self._lines(folder / "corpus.jsonl")}
        self.queries = {each["_id"]: each["text"] for each in self._lines(folder / "queries.jsonl")}
        self.qrels: dict[str, dict[str, dict[str, int]]] = {}
        for path in sorted((folder / "qrels").glob("*.tsv")):
            with path.open(encoding="utf-8", newline="") as file:
                reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_MINIMAL)
                assert next(reader) == ["query-id", "corpus-id", "score"]
                part = self.qrels.setdefault(path.stem, {})
                for query, passage, score in reader:
                    part.setdefault(query, {})[passage] = int(score)

    @staticmethod
    def _lines(path: Path):
        with path.open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]


def unpacked(path: Path) -> Path:
    folder = path.with_suffix("")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        archive.extractall(folder)
    return folder


def test_beir_is_read_by_the_published_rules(made):
    (written,) = made.write("beir", with_scores=True)
    data = Beir(unpacked(written.path))
    assert {each["text"] for each in data.corpus.values()} == set(made.corpus.passages)
    assert all(each["title"] == "" for each in data.corpus.values())
    assert list(data.queries.values()) == list(made.examples())
    assert list(data.qrels) == ["train"]
    assert data.qrels["train"].keys() == data.queries.keys()
    assert written.rows == len(data.queries)
    negatives = {each["qid"]: each for each in Beir._lines(written.path.with_suffix("") / "hard_negatives.jsonl")}
    for identity, query in data.queries.items():
        positives, expected = made.examples()[query]
        relevant = data.qrels["train"][identity]
        assert {normalize_text(data.corpus[docid]["text"]) for docid in relevant} == set(map(normalize_text, positives))
        assert set(relevant.values()) == {1}
        assert [data.corpus[docid]["text"] for docid in negatives[identity]["neg"]["hnmine"]] == expected
        assert len(negatives[identity]["neg_scores"]["hnmine"]) == len(expected)
        assert len(negatives[identity]["pos_scores"]) == len(negatives[identity]["pos"]) == len(positives)


def test_ir_datasets_reads_its_parts(made):
    """Its readers of BEIR's files, on ours."""
    beir = pytest.importorskip("ir_datasets.datasets.beir")
    from ir_datasets.formats import GenericQuery

    (written,) = made.write("beir", dev_share=0.5)
    folder = unpacked(written.path)

    class Local:
        def __init__(self, name: str) -> None:
            self.name = name

        def stream(self):
            return (folder / self.name).open("rb")

    documents = list(beir.BeirDocs("local", Local("corpus.jsonl"), beir.BeirTitleDoc)._docs_iter())
    queries = list(beir.BeirQueries("local", Local("queries.jsonl"), GenericQuery).queries_iter())
    assert {each.doc_id for each in documents} == {f"{value:016x}" for value in made.corpus.passage_hashes.tolist()}
    judged = {part: list(beir.BeirQrels(Local(f"qrels/{part}.tsv"), {}).qrels_iter()) for part in ("train", "dev")}
    asked = {part: {each.query_id for each in lines} for part, lines in judged.items()}
    assert asked["train"] | asked["dev"] == {each.query_id for each in queries}
    assert not asked["train"] & asked["dev"]
    assert len(asked["dev"]) == 2


# MS MARCO, pandas


def test_msmarco_triples_hold_three_fields_a_line(made):
    import pandas as pd

    (written,) = made.write("msmarco")
    table = pd.read_csv(written.path, sep="\t", header=None, quoting=csv.QUOTE_NONE, keep_default_na=False, dtype=str)
    expected = [
        tuple(text.replace("\r\n", " ").replace("\t", " ").replace("\n", " ") for text in record)
        for record in expected_records(made, "triplet")
    ]
    assert list(table.itertuples(index=False, name=None)) == expected
    assert all(line.count(b"\t") == 2 for line in written.path.read_bytes().splitlines())
    changed = sum(
        any(char in text for char in "\t\r\n") for query, (positives, _) in made.examples().items() for text in [query, *positives]
    )
    assert any(f"{changed} texts have tabs or line breaks" in note for note in written.notes)


def test_pandas_reads_the_spreadsheet_and_no_cell_is_a_formula(made):
    import pandas as pd

    (written,) = made.write("csv", with_scores=True)
    raw = written.path.read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf"), "Excel takes it for UTF-8"
    table = pd.read_csv(written.path, keep_default_na=False, dtype={"query_id": str, "passage_id": str})
    assert list(table) == ["query_id", "query", "label", "place", "score", "passage_id", "passage"]
    back = [
        (q.removeprefix("'"), label, place, p.removeprefix("'"))
        for q, label, place, p in table[["query", "label", "place", "passage"]].itertuples(index=False)
    ]
    assert back == [
        (query, label, place, text)
        for query, (positives, negatives) in made.examples().items()
        for label, texts in (("positive", positives), ("negative", negatives))
        for place, text in enumerate(texts, 1)
    ]
    cells = [cell for row in csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline="")) for cell in row]
    assert not [cell for cell in cells if cell.lstrip()[:1] in {"=", "+", "-", "@"} and not cell.replace(".", "").lstrip("-").isdigit()]
    prefixed = (table["query"].str.startswith("'").groupby(table["query"]).first().sum()) + table["passage"].str.startswith("'").sum()
    assert prefixed >= 3
    assert any(f"{prefixed} texts begin like a formula" in note for note in written.notes)
    assert table["score"].dtype == float


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "＝1", '=cmd|" /C calc"!A0', "﻿".strip("﻿") + "=1"]
)
def test_what_a_spreadsheet_would_run_is_known(cell):
    assert is_formula(cell)


@pytest.mark.parametrize("cell", ["", "a=1", "'=1", "1-1", "“=1”"])
def test_what_it_would_not_run_is_left_alone(cell):
    assert not is_formula(cell)


# Ids


def test_ids_come_from_the_rows_only_when_every_query_has_its_own(mined):
    base = [{"query": f"question {i}", "pos": [f"answer {i}"]} for i in range(3)]

    def ids(values, name="id"):
        items = [{**row, name: value} if value is not None else row for row, value in zip(base, values, strict=True)]
        (written,) = mined(items).write("tevatron")
        return [json.loads(line)["query_id"] for line in written.path.read_bytes().splitlines()]

    assert ids(["a", "b", "c"]) == ["a", "b", "c"]
    assert ids([3, 1, 2], "query_id") == ["3", "1", "2"]
    made = mined(base)
    hashed = [f"q{value:016x}" for value in made.corpus.query_hashes[made.corpus.row_queries].tolist()]
    for values in (
        ["a", "a", "b"],
        ["a", "b", None],
        ["a b", "c", "d"],
        ["a\tb", "c", "d"],
        [1.5, 2.5, 3.5],
        [True, False, None],
        ["", "x", "y"],
        [1, "1", 2],
    ):
        assert ids(values) == hashed, values


# All of them


@pytest.mark.parametrize("with_scores", [False, True])
@pytest.mark.parametrize("dev_share", [0.0, 0.4])
@pytest.mark.parametrize("name", FORMATS)
def test_the_same_bytes_twice_and_a_fingerprint_that_is_true(made, name, dev_share, with_scores):
    if with_scores and not FORMATS[name].scores:
        pytest.skip("no place for scores")
    options = {"with_scores": with_scores, "dev_share": dev_share}
    first = made.write(name, **options)
    content = [fingerprint(each.path) for each in first]
    again = made.write(name, **options)
    assert again == first
    assert [fingerprint(each.path) for each in again] == content
    assert [(each.bytes, each.sha256) for each in first] == content
    expected = ["all"] if not dev_share or FORMATS[name].split == "inside" else ["train", "dev"]
    assert [each.part for each in first] == expected
    if len(first) == 2:
        assert first[1].path == dev_path(first[0].path)
        (whole,) = made.write(name, with_scores=with_scores)
        assert sum(each.rows for each in first) == whole.rows


SCRIPT = """
import hashlib, sys
from pathlib import Path
sys.path[:0] = ["tests"]
from conftest import FakeEncoder
from hnmine.data.corpus import build_corpus
from hnmine.export.scores import model_scores
from hnmine.export.formats import FORMATS, write_export
from hnmine.retrieval.ranking import rank
from hnmine.data.reading import read_training
from hnmine.selection.settings import SelectionSettings
from hnmine.selection.select import select
rows = read_training(sys.argv[1]).items
corpus = build_corpus(rows, ["x", "y", "z", "=w"])
settings = SelectionSettings(window_start=0, window_end=50, negative_number=3)
ranking = rank(corpus, FakeEncoder(), 50)
selection = select(corpus, ranking, settings)
for name, form in FORMATS.items():
    path = Path(sys.argv[2]) / f"{name}{form.suffix}"
    scores = model_scores(ranking, selection) if form.scores else None
    for each in write_export(path, name, rows, corpus, selection, scores=scores, dev_share=0.3):
        print(name, each.sha256, each.notes)
"""


def test_another_process_with_other_hashes_writes_the_same_bytes(write_jsonl, tmp_path):
    path = write_jsonl(ROWS)
    digests = []
    for seed in ("0", "1"):
        (tmp_path / seed).mkdir()
        environment = os.environ | {"PYTHONHASHSEED": seed, "TZ": f"UTC+{seed}"}
        arguments = [sys.executable, "-c", SCRIPT, str(path), str(tmp_path / seed)]
        digests.append(
            subprocess.run(arguments, env=environment, cwd=Path(__file__).parents[2], check=True, capture_output=True, text=True).stdout
        )
    assert digests[0] == digests[1]
    assert len(digests[0].splitlines()) == sum(2 - (form.split == "inside") for form in FORMATS.values())


@pytest.mark.parametrize("name", FORMATS)
def test_a_failure_in_the_dev_part_leaves_both_files_as_they_were(made, name, monkeypatch):
    form = FORMATS[name]
    if form.split == "inside":
        pytest.skip("one file")
    before = [each.path.write_bytes(b"old") for each in made.write(name, dev_share=0.4)]
    assert before == [3, 3]

    def failing(part):
        yield b"new"
        if part.queries is not None and part.queries.sum() <= 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setitem(FORMATS, name, replace(form, write=failing))
    with pytest.raises(OutputError, match="No space left"):
        made.write(name, dev_share=0.4)
    assert (made.folder / f"out{form.suffix}").read_bytes() == b"old"
    assert (made.folder / f"out.dev{form.suffix}").read_bytes() == b"old"
    assert not [each for each in made.folder.iterdir() if each.name.endswith(".tmp")]


def test_what_a_format_cannot_do_is_refused_with_a_remedy(made):
    with pytest.raises(SettingsError, match=r"output_format is 'jsonl'; choose one of: flagembedding, st-triplet"):
        check_export("jsonl")
    with pytest.raises(SettingsError, match=r"msmarco has no place for scores; unset with_scores, or choose one of: flagembedding"):
        made.write("msmarco", with_scores=True)
    for share in (-0.1, 1.0, float("nan"), True, "0.1"):
        with pytest.raises(SettingsError, match="dev_share is"):
            check_export("flagembedding", dev_share=share)


def test_the_table_tells_people_what_they_get():
    assert next(iter(FORMATS)) == "flagembedding"
    for name, form in FORMATS.items():
        assert form.name == name
        assert form.suffix.startswith(".") if form.folder is None else form.suffix == ""
        assert len(form.description) > 60
        assert form.name == form.family or form.name == f"{form.family}-parquet"


@given(st.text(max_size=30))
def test_no_text_reaches_a_spreadsheet_as_a_formula(text):
    shown = f"'{text}" if is_formula(text) else text
    assert not shown or shown.lstrip()[:1] not in {"=", "+", "-", "@"} or not shown.lstrip()


def test_notes_count_both_parts_of_a_split_together(mined):
    items = [{"query": f"question {i % 5}", "pos": [f"answer\t{i}"], "extra": i} for i in range(6)]
    made = mined(items, [])
    whole = made.write("msmarco")
    parts = made.write("msmarco", dev_share=0.4)
    assert parts[0].notes == whole[0].notes
    assert parts[1].notes == ()
    assert any(note.startswith("1 row has the query") for note in whole[0].notes)
    assert any(note.endswith("left out: extra") for note in whole[0].notes)
    short = mined([{"query": f"q{i}", "pos": ["a" if i < 2 else "b"]} for i in range(5)], ["a"], negative_number=2)
    (whole,) = short.write("st-n-tuple")
    assert short.write("st-n-tuple", dev_share=0.4)[0].notes == whole.notes
    assert "5 queries have fewer than 2 negatives" in whole.notes[0]


# Mending


def test_repairing_sees_both_parts_of_a_split(mined):
    """A field of two types, one of them in dev alone, becomes text in train too."""
    items = [{"query": f"question {i}", "pos": [f"answer {i}"], "level": i} for i in range(20)]
    made = mined(items)
    _, dev = made.write("flagembedding", dev_share=0.1)
    odd = json.loads(dev.path.read_bytes().splitlines()[0])["level"]
    items[odd]["level"] = "high"
    items[3]["pos_scores"] = [0.5]
    made = mined(items)
    (whole,) = made.write("flagembedding", repair_output=["mixed-types", "scores"])
    wholly = whole.path.read_bytes().splitlines()
    parts = made.write("flagembedding", repair_output=["mixed-types", "scores"], dev_share=0.1)
    assert [each.rows for each in (whole, *parts)] == [20, 18, 2]
    assert sorted(line for each in parts for line in each.path.read_bytes().splitlines()) == sorted(wholly)
    found = [json.loads(line) for line in wholly]
    assert [row["level"] for row in found] == [str(item["level"]) for item in items]
    assert not any("pos_scores" in row for row in found)
    plain = [json.loads(line) for line in made.write("flagembedding")[0].path.read_bytes().splitlines()]
    assert [row["neg"] for row in plain] == [row["neg"] for row in found]
    assert not [each for each in made.folder.iterdir() if each.name.startswith(".repair")]


def test_rows_that_repairing_leaves_out_are_not_counted(mined):
    made = mined([{"query": "a", "pos": ["b"]}, {"query": "a", "pos": ["b", "c"]}, {"query": "d", "pos": ["b"]}], None, negative_number=1)
    (plain,) = made.write("flagembedding")
    empty = sum(not json.loads(line)["neg"] for line in plain.path.read_bytes().splitlines())
    assert empty == 2
    (written,) = made.write("flagembedding", repair_output=["empty-negatives"])
    assert written.rows == 1
    assert json.loads(written.path.read_bytes())["neg"] == ["c"]


def test_repairing_is_for_rows_that_keep_their_fields(made):
    with pytest.raises(SettingsError, match="repair_output needs output_format flagembedding"):
        made.write("csv", repair_output=["scores"])
    with pytest.raises(SettingsError, match="unknown repair 'all of it'"):
        made.write("flagembedding", repair_output=["all of it"])
