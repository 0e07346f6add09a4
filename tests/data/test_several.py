"""Several files as one input: lists, folders, patterns, archives, `save_to_disk`, clones of hub data sets, texts by id in other files."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hnmine
from hnmine.cli.main import main
from hnmine.core.errors import ColumnsError, InputError, LabelsError, SettingsError, TextsError
from hnmine.data.columns import Columns
from hnmine.data.dataset import read_files, read_inputs
from hnmine.data.joining import spelled_pool
from hnmine.data.problems import InputFile
from hnmine.data.rows import Row

QUERIES = {f"q{number}": f"how do I prune plant number {number} in spring" for number in range(10)}
PASSAGES = {f"d{number}": f"Prune plant {number} after the frost, with clean and sharp shears, above a bud." for number in range(30)}
# The positives and old negatives of each query.
JUDGED = {f"q{number}": ([f"d{number}"], [f"d{number + 10}", f"d{number + 20}"]) for number in range(10)}


def lines(records) -> bytes:
    return b"".join((each if isinstance(each, str) else json.dumps(each)).encode() + b"\n" for each in records)


def tsv(records) -> bytes:
    return lines("\t".join(map(str, record)) for record in records)


def put(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def content(inputs):
    return {row.query: (sorted(row.pos), sorted(row.neg)) for row in inputs.rows}


def expected(*, negatives: bool = True):
    return {
        QUERIES[query]: (sorted(PASSAGES[each] for each in pos), sorted(PASSAGES[each] for each in neg) if negatives else [])
        for query, (pos, neg) in JUDGED.items()
    }


def judged_rows():
    return [(query, passage, grade) for query, (pos, neg) in JUDGED.items() for grade, ids in ((1, pos), (0, neg)) for passage in ids]


ROWS = {
    "qrels": lambda: tsv((query, 0, passage, grade) for query, passage, grade in judged_rows()),
    "qrels with a header": lambda: tsv([("query-id", "corpus-id", "score"), *judged_rows()]),
    "judgements": lambda: lines({"query-id": query, "corpus-id": passage, "score": grade} for query, passage, grade in judged_rows()),
    "triples": lambda: tsv((query, pos[0], each) for query, (pos, neg) in JUDGED.items() for each in neg),
    "lists": lambda: lines({"qid": query, "pos": pos, "neg": {"bm25": neg}} for query, (pos, neg) in JUDGED.items()),
    "object": lambda: json.dumps({query: dict.fromkeys(pos, 1) | dict.fromkeys(neg, 0) for query, (pos, neg) in JUDGED.items()}).encode(),
    "named lists": lambda: lines({"query_id": query, "positive_ids": pos, "negative_ids": neg} for query, (pos, neg) in JUDGED.items()),
}
TEXTS = {
    "tsv": lambda texts: tsv(texts.items()),
    "beir": lambda texts: lines({"_id": each, "text": text} for each, text in texts.items()),
    "csv": lambda texts: pd.DataFrame({"id": list(texts), "text": list(texts.values())}).to_csv(index=False).encode(),
    "parquet": lambda texts: pd.DataFrame({"docid": list(texts), "contents": list(texts.values())}).to_parquet(),
    "packed": lambda texts: gzip.compress(lines({"id": each, "text": text} for each, text in texts.items())),
}


@pytest.mark.parametrize("form", ROWS)
@pytest.mark.parametrize("texts", TEXTS)
def test_ids_of_queries_and_passages_are_joined_with_files_of_any_form(tmp_path, form: str, texts: str) -> None:
    files = {"rows.dat.tsv": ROWS[form](), "queries.tsv": TEXTS[texts](QUERIES), "collection.tsv": TEXTS[texts](PASSAGES)}
    folder = put(tmp_path / "set", files)
    inputs = read_inputs(folder)
    assert content(inputs) == expected()
    assert len(inputs.pool) == len(PASSAGES)
    by_name = read_inputs([folder / name for name in files])
    assert content(by_name) == expected()
    apart = read_inputs([folder / "rows.dat.tsv", folder / "queries.tsv"], folder / "collection.tsv")
    assert content(apart) == expected()
    assert "10 queries by their id in queries.tsv" in apart.notes[0]


@settings(max_examples=60)
@given(data=st.data())
def test_names_and_order_of_files_never_give_a_wrong_reading(tmp_path_factory, data) -> None:
    """Files of any name: read right, or one question; ids of both kinds may be the same numbers."""
    form, kind = data.draw(st.sampled_from(sorted(ROWS))), data.draw(st.sampled_from(sorted(TEXTS)))
    names = data.draw(st.lists(st.sampled_from("abcdefgh"), min_size=3, max_size=3, unique=True))
    files = dict(zip(names, (ROWS[form](), TEXTS[kind](QUERIES), TEXTS[kind](PASSAGES)), strict=True))
    folder = put(tmp_path_factory.mktemp("set"), {f"{name}.tsv": content for name, content in files.items()})
    given = data.draw(st.permutations([folder / f"{name}.tsv" for name in names]))
    assert content(read_inputs(given)) == expected()


def test_queries_and_passages_with_the_same_numbers_are_asked_about(tmp_path) -> None:
    numbers = tsv((each, 0, each, 1) for each in range(10))
    texts = tsv((each, f"a text of several words about {each}") for each in range(10))
    folder = put(tmp_path, {"a.tsv": numbers, "b.tsv": texts, "c.tsv": texts.replace(b"several", b"many")})
    with pytest.raises(InputError, match="do not say whether it holds queries or passages; name it queries or corpus"):
        read_inputs(folder)
    (folder / "c.tsv").rename(folder / "queries.tsv")
    assert read_inputs(folder).rows[3].query == "a text of many words about 3"


@pytest.mark.parametrize(("missing", "parts"), [("queries.tsv", ("queries",)), ("collection.tsv", ("passages",))])
def test_a_missing_file_of_texts_is_named(tmp_path, missing: str, parts: tuple[str, ...]) -> None:
    files = {"qrels.tsv": ROWS["qrels"](), "queries.tsv": tsv(QUERIES.items()), "collection.tsv": tsv(PASSAGES.items())}
    del files[missing]
    with pytest.raises(TextsError) as question:
        read_inputs(put(tmp_path, files))
    assert question.value.missing == parts


def test_an_id_without_a_text_is_a_problem_of_its_line(tmp_path) -> None:
    rows = ROWS["triples"]() + b"q1\td99\td3\nq99\td1\td2\n"
    folder = put(tmp_path, {"triples.tsv": rows, "queries.tsv": tsv(QUERIES.items()), "collection.tsv": tsv(PASSAGES.items())})
    files = read_files(folder)
    found = {(each.file, each.line, each.kind, each.message) for each in files.problems if each.severity == "error"}
    assert ("triples.tsv", 22, "no-query", "the query of the row is not there") in found
    assert any("there is no passage 'd99' in collection.tsv" in message for _, _, _, message in found)
    with pytest.raises(InputError, match="set skip_bad_rows"):
        read_inputs(folder)
    kept = read_inputs(folder, repair=["unknown-id"], skip_bad_rows=True)
    assert content(kept)[QUERIES["q1"]][0] == [PASSAGES["d1"]]
    assert len(kept.rows) == 10


def test_ids_of_positives_are_no_labels(tmp_path) -> None:
    rows = lines({"query": QUERIES[query], "pos": pos, "neg": neg} for query, (pos, neg) in JUDGED.items())
    put(tmp_path, {"train.jsonl": rows, "pool.tsv": tsv(PASSAGES.items())})
    inputs = read_inputs(tmp_path / "train.jsonl", tmp_path / "pool.tsv")
    assert content(inputs) == expected()
    assert {tuple(row.fields) for row in inputs.rows} == {("query", "pos", "neg")}


def test_an_id_with_two_texts_is_a_problem(tmp_path) -> None:
    pool = tsv([*PASSAGES.items(), ("d3", "Another text of the third passage.")])
    rows = lines({"query": QUERIES[query], "pos": pos, "neg": neg} for query, (pos, neg) in JUDGED.items())
    put(tmp_path, {"train.jsonl": rows, "pool.tsv": pool})
    with pytest.raises(InputError, match=r"pool\.tsv:31 \$\.column_1  the id 'd3' has another text on an earlier line"):
        read_inputs(tmp_path / "train.jsonl", tmp_path / "pool.tsv")
    kept = read_inputs(tmp_path / "train.jsonl", tmp_path / "pool.tsv", repair=["duplicate-id"])
    assert content(kept) == expected()


# Shards and splits


def pairs(begin: int, end: int) -> list[dict]:
    return [{"query": f"the query with number {each}", "pos": [f"the passage with number {each}"]} for each in range(begin, end)]


def numbers_of(inputs) -> list[int]:
    return [int(row.query.rsplit(" ", 1)[1]) for row in inputs.rows]


def test_shards_are_one_set_in_the_order_of_their_names(tmp_path) -> None:
    for part in range(3):
        put(tmp_path / "set", {f"part-{part}.jsonl": lines(pairs(part * 5, part * 5 + 5))})
    assert numbers_of(read_inputs(tmp_path / "set")) == list(range(15))
    assert numbers_of(read_inputs(str(tmp_path / "set" / "*.jsonl"))) == list(range(15))
    assert numbers_of(read_inputs([str(tmp_path / "set" / f"part-{part}.jsonl") for part in (2, 0)])) == [*range(10, 15), *range(5)]
    packed = tmp_path / "set.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for part in range(3):
            archive.writestr(f"deep/part-{part}.jsonl", lines(pairs(part * 5, part * 5 + 5)))
    assert numbers_of(read_inputs(packed)) == list(range(15))


def test_a_pool_may_have_several_files(tmp_path) -> None:
    put(
        tmp_path,
        {"train.jsonl": lines(pairs(0, 9)), "pool/a.txt": b"one passage\ntwo passages\n", "pool/b.jsonl": lines([{"text": "three"}])},
    )
    for pool in (tmp_path / "pool", [tmp_path / "pool/a.txt", tmp_path / "pool/b.jsonl"], str(tmp_path / "pool/*")):
        assert read_inputs(tmp_path / "train.jsonl", pool).pool == ["one passage", "two passages", "three"]
    assert read_inputs(tmp_path / "train.jsonl", [str(tmp_path / "pool/a.txt")]).pool == ["one passage", "two passages"]
    assert read_inputs(tmp_path / "train.jsonl", ["one passage", "two"]).pool == ["one passage", "two"]


def test_problems_and_repeated_rows_name_their_file(tmp_path) -> None:
    put(tmp_path, {"a.jsonl": lines(pairs(0, 3)), "b.jsonl": lines([*pairs(3, 5), *pairs(1, 2), {"query": "x", "pos": [3]}])})
    files = read_files(tmp_path)
    assert [(each.file, each.line, each.kind) for each in files.problems] == [("b.jsonl", 3, "duplicate-row"), ("b.jsonl", 4, "wrong-type")]
    assert "repeats line 2 of a.jsonl" in files.problems[0].message


def test_files_that_are_read_in_another_way_are_refused_together(tmp_path) -> None:
    labelled = [{"query": each["query"], "passage": each["pos"][0], "label": 1} for each in pairs(0, 5)]
    put(tmp_path, {"a.jsonl": lines(pairs(0, 5)), "b.jsonl": lines(labelled)})
    with pytest.raises(InputError, match=r"b\.jsonl.*(another way|there is no column)"):
        read_inputs(tmp_path)


def test_files_of_several_formats_and_names_are_one_set(tmp_path) -> None:
    named = "question,answer\n" + "".join(f"the query with number {each},the passage with number {each}\n" for each in range(5, 9))
    put(tmp_path, {"a.jsonl": lines(pairs(0, 5)), "b.csv": named.encode()})
    inputs = read_inputs(tmp_path)
    assert numbers_of(inputs) == list(range(9))
    assert "others: CSV, 2 columns: question, answer; read as query = question, pos = answer" in inputs.notes[0]
    put(tmp_path, {"c.csv": b"split,rows\ntrain,9\n"})
    with pytest.raises(InputError, match=r"c\.csv.*is read in another way than .*a\.jsonl.*Give the files that belong together by name"):
        read_inputs(tmp_path)


def test_a_zip_archive_may_have_a_readme_beside_its_file(tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("set/README.md", "# A set")
        archive.writestr("set/train.jsonl", lines(pairs(0, 5)))
    assert numbers_of(read_inputs(tmp_path / "set.zip")) == list(range(5))


def test_products_are_passages_whose_text_is_asked_for(tmp_path) -> None:
    """As in data sets of product search: products have several texts, and the judged pairs name them by id."""
    products = [{"product_id": f"B{each}", "product_title": f"garden shears number {each}", "brand": "Acme"} for each in range(20)]
    judged = [{"query": f"shears for plant {each // 2}", "product_id": f"B{each}", "esci_label": "EI"[each % 2]} for each in range(20)]
    put(tmp_path, {"examples.jsonl": lines(judged), "products.jsonl": lines(products)})
    with pytest.raises(ColumnsError, match=r"products\.jsonl: the columns of the passages are not known.*--columns text=product_title"):
        read_inputs(tmp_path)
    inputs = read_inputs(tmp_path, columns=Columns(text="product_title", positive_labels=("E",)))
    assert content(inputs)["shears for plant 3"] == (["garden shears number 6"], ["garden shears number 7"])


def test_labelled_shards_are_joined_across_files(tmp_path) -> None:
    rows = [{"query": f"query number {each // 4}", "passage": f"passage number {each}", "label": int(each % 4 == 0)} for each in range(40)]
    put(
        tmp_path,
        {
            "a.jsonl": lines(rows[:18]),
            "b.jsonl": lines([row for row in rows[18:] if not row["label"]]),
            "c.jsonl": lines([row for row in rows[18:] if row["label"]]),
        },
    )
    found = content(read_inputs(tmp_path))
    assert len(found) == 10
    assert found["query number 7"] == (["passage number 28"], ["passage number 29", "passage number 30", "passage number 31"])


def test_one_of_several_splits_is_read_and_the_others_are_named(tmp_path) -> None:
    put(tmp_path, {"train.csv": b"query,positive\n" + b"".join(b"query %d,passage %d\n" % (each, each) for each in range(9))})
    put(tmp_path, {"test.csv": b"query,positive\nquery 10,passage 10\n", "README.md": b"# A set\n", "notes.pdf": b"%PDF"})
    inputs = read_inputs(tmp_path)
    assert numbers_of(inputs) == list(range(9))
    assert "left out: notes.pdf, test.csv" in inputs.notes[0]
    assert numbers_of(read_inputs(tmp_path, columns=Columns(split="test"))) == [10]
    assert sorted(numbers_of(read_inputs(tmp_path, columns=Columns(split="all")))) == [*range(9), 10]
    with pytest.raises(InputError, match=r"there is no split `dev`; choose one of `train`, `test`, or all"):
        read_inputs(tmp_path, columns=Columns(split="dev"))
    assert numbers_of(read_inputs([tmp_path / "test.csv", tmp_path / "train.csv"])) == [10, *range(9)]  # named: all are read


def test_folders_of_datasets_are_read_as_saved(tmp_path) -> None:
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_list([{"anchor": each["query"], "positive": each["pos"][0]} for each in pairs(0, 12)])
    table.save_to_disk(tmp_path / "one", num_shards=3)
    (tmp_path / "one" / "cache-0123.arrow").write_bytes(b"left by a map")
    assert numbers_of(read_inputs(tmp_path / "one")) == list(range(12))
    several = datasets.DatasetDict(train=table.select(range(5)), test=table.select(range(5, 12)))
    several.save_to_disk(tmp_path / "dict")
    for source in (tmp_path / "dict", several):
        assert numbers_of(read_inputs(source)) == list(range(5))
        assert numbers_of(read_inputs(source, columns=Columns(split="test"))) == list(range(5, 12))
        with pytest.raises(InputError, match="split"):
            read_inputs(source, columns=Columns(split="dev"))
    (tmp_path / "one" / "data-00001-of-00003.arrow").unlink()
    with pytest.raises(InputError, match=r"the shard data-00001-of-00003\.arrow is missing"):
        read_inputs(tmp_path / "one")


def test_the_names_of_classes_in_memory_are_the_labels() -> None:
    datasets = pytest.importorskip("datasets")
    rows = [{"question": f"question {each // 2}", "sentence2": f"sentence {each}", "label": each % 2} for each in range(20)]
    names = datasets.ClassLabel(names=["entailment", "not_entailment"])
    table = datasets.Dataset.from_list(rows).cast_column("label", names)
    assert content(read_inputs(table))["question 3"] == (["sentence 6"], ["sentence 7"])


@settings(max_examples=100)
@given(
    texts=st.lists(st.text(min_size=1, max_size=80).filter(str.strip), min_size=1, max_size=6),
    title=st.text(max_size=20).filter(lambda title: not title or title.strip()),
    known=st.integers(0, 5),
    join=st.booleans(),
)
def test_a_passage_of_the_pool_is_spelled_as_the_row_that_has_it(texts, title, known, join) -> None:
    """With the first letters compared first or not."""
    row = Row(1, "q", [texts[known % len(texts)].swapcase(), f"{title}  {texts[0]}"], [], {})
    pool = InputFile("pool", texts, titles=[title.strip() or None] * len(texts))
    found = spelled_pool(pool, [row], {}, "join" if join else "ignore")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hnmine.data.joining._beginning", lambda text: None)
        assert spelled_pool(pool, [row], {}, "join" if join else "ignore") == found


README = """---
license: mit
configs:
- config_name: pair
  data_files:
  - split: train
    path: data/train-*
  - split: test
    path: "data/test-*.parquet"
- config_name: triplet
  data_files: more/*.jsonl
---
# A data set
"""


def clone(folder: Path, readme: str = README) -> Path:
    def table(begin: int, end: int) -> bytes:
        rows = pairs(begin, end)
        return pd.DataFrame({"anchor": [row["query"] for row in rows], "positive": [row["pos"][0] for row in rows]}).to_parquet()

    return put(
        folder,
        {
            "README.md": readme.encode(),
            ".gitattributes": b"*.parquet filter=lfs\n",
            "data/train-00000-of-00002.parquet": table(0, 5),
            "data/train-00001-of-00002.parquet": table(5, 9),
            "data/test-00000-of-00001.parquet": table(20, 25),
            "more/x.jsonl": lines(pairs(50, 53)),
        },
    )


def test_a_clone_of_a_hub_data_set_is_read_by_its_readme(tmp_path) -> None:
    folder = clone(tmp_path)
    with pytest.raises(InputError, match=r"several configurations; name one of `pair`, `triplet`: --columns config=pair"):
        read_inputs(folder)
    assert numbers_of(read_inputs(folder, columns=Columns(config="pair"))) == list(range(9))
    assert numbers_of(read_inputs(folder, columns=Columns(config="pair", split="test"))) == list(range(20, 25))
    assert numbers_of(read_inputs(folder, columns=Columns(config="triplet"))) == [50, 51, 52]
    with pytest.raises(InputError, match=r"there is no configuration `x`; name one of `pair`, `triplet`"):
        read_inputs(folder, columns=Columns(config="x"))
    default = README.replace("- config_name: triplet", "- config_name: triplet\n  default: true")
    assert numbers_of(read_inputs(clone(tmp_path, default))) == [50, 51, 52]
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"
    put(tmp_path, {"data/train-00001-of-00002.parquet": pointer})
    with pytest.raises(InputError, match=r"a pointer of Git LFS in place of the data; fetch the data \(git lfs pull\)"):
        read_inputs(folder, columns=Columns(config="pair"))


def test_classes_that_the_readme_names_are_asked_about(tmp_path) -> None:
    names = "        names:\n          '0': relevant\n          '1': irrelevant\n"
    readme = f"---\ndataset_info:\n  features:\n  - name: label\n    dtype:\n      class_label:\n{names}---\n"
    rows = "query,passage,label\n" + "".join(f"the query number {each // 2},the passage number {each},{each % 2}\n" for each in range(20))
    put(tmp_path, {"README.md": readme.encode(), "data.csv": rows.encode()})
    with pytest.raises(LabelsError, match=r"The README says that 0 is 'relevant', 1 is 'irrelevant'"):
        read_inputs(tmp_path)
    found = content(read_inputs(tmp_path, columns=Columns(positive_labels=("0",))))
    assert found["the query number 3"] == (["the passage number 6"], ["the passage number 7"])


def test_rows_with_unknown_names_are_no_file_of_queries(tmp_path) -> None:
    named = "question,good,bad\n" + "".join(
        f"the query with number {each},the good passage with number {each},the bad passage with number {each}\n" for each in range(9)
    )
    put(tmp_path, {"part1.jsonl": lines(pairs(0, 9)), "part2.csv": named.encode()})
    with pytest.raises(ColumnsError, match=r"part2\.csv.*query=question pos=good neg=bad"):
        read_inputs(tmp_path)


def test_a_retrieval_set_of_the_hub_has_a_configuration_for_each_part(tmp_path) -> None:
    readme = "---\nconfigs:\n" + "".join(
        f"- config_name: {name}\n  data_files:\n  - split: {split}\n    path: {path}\n"
        for name, split, path in (
            ("default", "test", "qrels/test.jsonl"),
            ("corpus", "corpus", "corpus.jsonl"),
            ("queries", "queries", "q.jsonl"),
        )
    )
    rows = lines({"query-id": query, "corpus-id": passage, "score": grade} for query, passage, grade in judged_rows())
    put(tmp_path, {"README.md": f"{readme}---\n".encode(), "qrels/test.jsonl": rows})
    put(tmp_path, {"corpus.jsonl": TEXTS["beir"](PASSAGES), "q.jsonl": TEXTS["beir"](QUERIES)})
    inputs = read_inputs(tmp_path)
    assert content(inputs) == expected()
    assert len(inputs.pool) == len(PASSAGES)


def test_a_hub_data_set_without_a_network_is_refused_in_time(monkeypatch) -> None:
    monkeypatch.setattr("hnmine.core.hub.HUB_DEADLINE", 0.5)
    with pytest.raises(InputError, match=r"hf://datasets/owner/name: cannot be read from the hub: .*Check the name, the network"):
        read_inputs("hf://datasets/owner/name")
    with pytest.raises(InputError, match=r"write hf://datasets/OWNER/NAME"):
        read_inputs("hf://models/owner/name")


def test_a_hub_data_set_is_the_files_of_its_configuration(monkeypatch, tmp_path) -> None:
    import huggingface_hub

    asked = []

    def snapshot(repo, *, allow_patterns, repo_type, revision):
        asked.append((repo, repo_type, revision, tuple(allow_patterns)))
        return str(clone(tmp_path))

    names = [each.relative_to(tmp_path).as_posix() for each in clone(tmp_path).rglob("*") if each.is_file()]
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    info = SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in names])
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda self, repo, **options: info)
    assert numbers_of(read_inputs("hf://datasets/owner/name@main", columns=Columns(config="pair"))) == list(range(9))
    assert asked[-1][:3] == ("owner/name", "dataset", "main")
    assert set(asked[-1][3]) == {"README.md", *(name for name in names if name.startswith("data/"))}


def test_a_pattern_or_a_folder_without_files_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="no file has such a name"):
        read_inputs(str(tmp_path / "*.jsonl"))
    put(tmp_path, {"picture.png": b"\x89PNG"})
    with pytest.raises(InputError, match="there is no data file in it"):
        read_inputs(tmp_path)


def test_a_file_that_does_not_belong_is_named(tmp_path) -> None:
    put(tmp_path, {"train.jsonl": lines(pairs(0, 9)), "statistics.json": json.dumps({"mean": {"x": 1}}).encode()})
    with pytest.raises(InputError, match=r"statistics\.json"):
        read_inputs(tmp_path)


# Runs


def test_a_run_of_several_files_has_a_manifest_that_repeats_it(tmp_path, monkeypatch) -> None:
    put(tmp_path / "set", {f"{part}.jsonl": lines(pairs(part * 20, part * 20 + 20)) for part in range(2)})

    class Model:
        def encode(self, texts, **_):
            return np.array([[hash(text) % 7 + 1, len(text) % 5 + 1, sum(text.encode()) % 11] for text in texts], dtype=np.float32)

    for number, source in enumerate([tmp_path / "set", [tmp_path / "set" / "0.jsonl", tmp_path / "set" / "1.jsonl"]]):
        output = tmp_path / f"out{number}.jsonl"
        hnmine.find_knn_neg(Model(), source, None, output, "0-20", 3)
        manifest = json.loads((tmp_path / f"out{number}.manifest.json").read_text("utf-8"))
        assert ("paths" in manifest["inputs"]["input_file"]) == isinstance(source, list)
        assert len(output.read_text("utf-8").splitlines()) == 40
    assert (tmp_path / "out0.jsonl").read_bytes() == (tmp_path / "out1.jsonl").read_bytes()


def test_a_folder_that_was_renamed_is_the_same_input(tmp_path) -> None:
    files = {"qrels.tsv": ROWS["qrels"](), "queries.tsv": tsv(QUERIES.items()), "collection.tsv": tsv(PASSAGES.items())}
    one, other = (read_inputs(put(tmp_path / name, files)).files["input_file"]["sha256"] for name in ("one", "other"))
    assert one == other
    changed = {**files, "queries.tsv": tsv([*QUERIES.items(), ("q99", "one query more")])}
    assert read_inputs(put(tmp_path / "changed", changed)).files["input_file"]["sha256"] != one


def test_an_output_among_the_inputs_is_refused(tmp_path) -> None:
    put(tmp_path / "set", {"a.jsonl": lines(pairs(0, 20)), "b.jsonl": lines(pairs(20, 40))})
    for source, output in (
        (tmp_path / "set", "set/a.jsonl"),
        (tmp_path / "set", "set/new.jsonl"),
        ([tmp_path / "set/a.jsonl", tmp_path / "set/b.jsonl"], "set/b.jsonl"),
        (str(tmp_path / "set/*.jsonl"), "set/new.jsonl"),
    ):
        with pytest.raises(SettingsError, match=r"is the input_file itself|the next time"):
            hnmine.find_knn_neg(type("Model", (), {"encode": lambda self, texts: None})(), source, None, tmp_path / output)


def test_the_command_line_takes_several_files(tmp_path, capsys) -> None:
    put(tmp_path, {"rows.tsv": ROWS["triples"](), "q.tsv": tsv(QUERIES.items()), "corpus.tsv": tsv(PASSAGES.items())})
    assert main(["read", str(tmp_path / "rows.tsv"), str(tmp_path / "q.tsv"), "--pool", str(tmp_path / "corpus.tsv")]) == 0
    shown = capsys.readouterr().out
    assert "10 rows, 10 queries, 10 positives, 20 old negatives" in shown
    assert "30 passages in the pool" in shown
    assert main(["read", str(tmp_path / "rows.tsv")]) == 2
    assert "--input_file ROWS QUERIES" in capsys.readouterr().err
