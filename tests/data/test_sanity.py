"""Data that is well-formed and improbable is found before anything is encoded, in every source; good data is left alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hnmine.core.errors import InputError
from hnmine.data.columns import Columns
from hnmine.data.dataset import read_files, read_inputs

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"

PLANTS = ["rose", "leek", "kale", "pea", "sage", "mint", "beet", "corn", "dill", "fig", "plum", "pear"]
GOOD = [{"query": f"when do I plant {each}", "pos": [f"Plant {each} in a bed with sun after the last frost of May."]} for each in PLANTS]
POOL = [f"Water the {each} in the early morning, and never at noon in summer." for each in PLANTS]


def improbable(rows, pool=None, **settings):
    """Return (severity, message) of each finding of data in memory; what stops is confirmed, and it stops without."""
    found = [each for each in read_inputs(rows, pool, repair=["improbable-data"], **settings).problems if each.kind == "improbable-data"]
    for each in found:
        assert each.remedy and each.resolution == ("repaired" if each.severity == "error" else "noted")
    if any(each.severity == "error" for each in found):
        with pytest.raises(InputError, match="repair to improbable-data") as refusal:
            read_inputs(rows, pool, repair="all", skip_bad_rows=True, **settings)
        assert "skip_bad_rows" not in str(refusal.value), "a remedy that does not help"
    return [(each.severity, each.message) for each in found]


def test_good_data_has_no_finding():
    assert improbable(GOOD) == improbable(GOOD, POOL) == []
    assert improbable(GOOD, [*POOL, *(row["pos"][0] for row in GOOD)], pool_mode="replace") == []


def short(each):
    return [{**row, "pos": [each.format(number)]} for number, row in enumerate(GOOD)]


@pytest.mark.parametrize(
    ("rows", "pool", "severity", "words"),
    [
        (short("{} weeks"), POOL, "error", "fewer than 3 words, such as '0 weeks', and the pool has texts of 13 words"),
        ([{**row, "neg": [POOL[0], POOL[1]]} for row in short("{} weeks")], None, "error", "fewer than 3 words, .*`neg` has"),
        ([{**row, "context": POOL[0]} for row in short("{} weeks")], None, "error", "fewer than 3 words, .*`context` has"),
        ([{**row, "pos": ["See the manual."]} for row in GOOD], None, "error", "100% of the queries have the same positive"),
        ([{**row, "pos": ["See the manual."], "neg": [POOL[0]]} for row in GOOD], None, "notice", "have the same positive"),
        ([{**row, "query": "how do I plant"} for row in GOOD], POOL, "error", "100% of the queries are the same text, 'how do I plant'"),
        (GOOD, [POOL[0]] * 20, "error", "100% of the passages of the pool are the same text, 'Water the rose"),
        ([{**row, "pos": [row["query"].upper()]} for row in GOOD], POOL, "error", "12 of 12 rows .* have the query itself as a positive"),
        ([{**GOOD[0], "pos": [GOOD[0]["query"]]}, *GOOD[1:]], POOL, "notice", "1 of 12 rows .* have the query itself"),
        (GOOD, [f"d{number}" for number in range(30)], "error", "single words or ids, such as 'd0', and positives have 1. words"),
        (GOOD, PLANTS, "error", "single words or ids, such as 'rose'"),
        (GOOD, [30 * text for text in POOL], "notice", r"no passage of the pool is near the positives in length: 1,\d+ characters against"),
        ([{"query": 3 * row["pos"][0], "pos": [row["query"]]} for row in GOOD], POOL, "notice", "perhaps the columns are swapped"),
        ([{**row, "neg": row["pos"]} for row in GOOD], POOL, "notice", "12 rows have a passage both as positive and as negative"),
        ([*GOOD, {**GOOD[0], "pos": [POOL[0]], "neg": GOOD[0]["pos"]}], POOL, "notice", "1 row has a passage both as"),
    ],
)  # fmt: skip
def test_a_finding_has_its_numbers(rows, pool, severity, words):
    found = improbable(rows, pool)
    assert [each for each, message in found if re.search(words, message)] == [severity]
    others = [message for _, message in found if not re.search(words, message)]
    assert all("fewer than 3 words" in words and "columns are swapped" in message for message in others), "one finding for one cause"


def test_ids_that_are_read_as_texts_are_found():
    """A user may name their column."""
    columns = Columns(query="query", pos=("pos",))
    found = improbable(short("d-{}"), POOL, columns=columns)
    assert ("error", "half of the positives have fewer than 3 words, such as 'd-0', and the pool has texts of 13 words") in found
    assert ("notice", "most positives are single words with digits, such as 'd-0'; perhaps they are ids") in improbable(
        short("d-{}"), columns=columns
    )


def test_positives_outside_a_replacing_pool_are_counted():
    ((severity, message),) = improbable(GOOD, [*POOL, GOOD[0]["pos"][0]], pool_mode="replace")
    assert severity == "notice" and message.startswith("11 of 12 positives are not in the pool that replaces")
    assert improbable(GOOD, POOL) == []


def test_one_object_and_a_beir_folder_are_looked_at_too(tmp_path):
    """Their pool is found to hold ids, and the run stops."""
    passages = {f"p{number}": row["pos"][0] for number, row in enumerate(GOOD)} | {f"x{number}": f"d{number}" for number in range(40)}
    queries = {f"q{number}": row["query"] for number, row in enumerate(GOOD)}
    relevant = {f"q{number}": [f"p{number}"] for number in range(len(GOOD))}
    one = tmp_path / "one.json"
    one.write_text(json.dumps({"queries": queries, "corpus": passages, "relevant_docs": relevant}))
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", passages), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"_id": key, "text": text}) + "\n" for key, text in texts.items()))
    (folder / "qrels" / "train.tsv").write_text("".join(f"{query}\t{found[0]}\t1\n" for query, found in relevant.items()))
    for path in (one, folder):
        with pytest.raises(InputError, match="half of the pool's passages are single words or ids"):
            read_inputs(path)
        assert len(read_inputs(path, repair=["improbable-data"]).rows) == len(GOOD)


def test_texts_without_blanks_are_no_single_words():
    rows = [
        {"query": f"第{each}种植物什么时候播种", "pos": [f"第{each}种植物在五月最后一次霜冻之后播种在阳光充足的地方。"]}
        for each in range(10, 22)
    ]
    assert improbable(rows, [f"第{each}种植物清晨浇水，夏天中午不要浇水。" for each in range(30)]) == []


@pytest.mark.skipif(not DATA.is_dir(), reason="the data sets are not beside the checkout")
def test_real_data_does_not_stop():
    sets = [(path / "train.jsonl", path / "pool.jsonl") for path in sorted(DATA.iterdir()) if (path / "train.jsonl").exists()]
    sets += [(path, None) for path in sorted((DATA / "formats").glob("*.jsonl"))]
    sets += [(DATA / "scifact", None), (ROOT / "examples/bikeshare/train.jsonl", ROOT / "examples/bikeshare/pool.jsonl")]
    stopped = [str(training) for training, pool in sets if any(each.resolution == "open" for each in read_files(training, pool).problems)]
    assert len(sets) > 15 and not stopped
