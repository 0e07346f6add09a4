"""Files that people have, beside the checkout: each opens as its table says, or asks its one question; from Python and the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from hnmine.checks.check import check
from hnmine.cli.main import main
from hnmine.core.errors import ColumnsError, EncodingError, InputError, LabelsError, TextsError
from hnmine.data.columns import columns_from
from hnmine.data.dataset import read_inputs

CASES = Path(__file__).parents[3] / "shared" / "cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not beside the checkout")

# File, pool, columns -> rows, positives, old negatives, passages of the pool.
OPEN = [
    ("01-dpr-json/tevatron-train.jsonl", "01-dpr-json/tevatron-corpus.jsonl", "", (12, 12, 12, 72)),
    ("02-llamaindex-dataset/train_dataset.json", "", "", (12, 12, 0, 72)),
    ("03-msmarco-triples/triples.train.small.tsv", "", "", (12, 12, 36, 0)),
    ("03-msmarco-triples/triples-quotes.tsv", "", "", (12, 12, 24, 0)),
    ("08-excel-csv/fragen-utf8-bom.csv", "", "", (24, 24, 24, 0)),
    ("08-excel-csv/fragen-utf16.csv", "", "", (24, 24, 24, 0)),
    ("08-excel-csv/fragen-cp1252.csv", "", "encoding=cp1252", (24, 24, 24, 0)),
    ("08-excel-csv/fragen-gb18030.csv", "", "encoding=gb18030", (24, 24, 0, 0)),
    ("09-ms-swift/messages.jsonl", "", "", (12, 12, 24, 0)),
    ("09-ms-swift/messages-pos-only.jsonl", "", "", (12, 12, 0, 0)),
    ("09-ms-swift/rejected.jsonl", "", "", (12, 12, 24, 0)),
    ("09-ms-swift/cosine-label.jsonl", "", "positive_labels=1", (12, 12, 12, 0)),
    ("11-ids-for-texts/train.jsonl", "11-ids-for-texts/chunks.jsonl", "", (12, 12, 12, 72)),
    ("11-ids-for-texts/tevatron.jsonl", "11-ids-for-texts/tevatron-corpus.jsonl", "", (12, 12, 12, 72)),
    ("11-ids-for-texts/int-ids.jsonl", "01-dpr-json/psgs.tsv", "", (12, 12, 12, 72)),
    ("11-ids-for-texts/automodel.json", "11-ids-for-texts/chunks.jsonl", "", (12, 12, 12, 72)),
    ("12-labelled-pairs/pairs.csv", "", "", (12, 12, 24, 0)),
    ("12-labelled-pairs/pairs-label.csv", "", "", (12, 12, 24, 0)),
    ("12-labelled-pairs/tiny.csv", "", "", (1, 1, 1, 0)),
    ("12-labelled-pairs/rag-list.json", "", "", (12, 12, 12, 0)),
    ("12-labelled-pairs/rag-list.jsonl", "", "", (12, 12, 12, 0)),
    ("12-labelled-pairs/jobs.json", "", "query=job pos=resume", (12, 12, 12, 0)),
    ("12-labelled-pairs/graded.tsv", "", "positive_labels=4", (12, 12, 24, 0)),
    ("18-brackets-in-name/garden[v2].jsonl", "", "", (12, 12, 12, 0)),
    ("21-question-context-answer/rag.csv", "", "", (24, 24, 0, 0)),
    ("21-question-context-answer/ragas.jsonl", "", "", (24, 48, 0, 0)),
    ("21-question-context-answer/nested-docs.json", "", "", (12, 12, 0, 0)),
    ("22-json-with-own-names/train.jsonl", "22-json-with-own-names/kb.jsonl", "query=ticket pos=solution", (12, 12, 0, 72)),
    ("24-tsv-of-templates/catalogue.tsv", "", "", (4, 4, 0, 0)),
    ("24-tsv-of-templates/catalogue3.tsv", "", "", (4, 4, 0, 0)),
]
ASK = [
    ("03-msmarco-triples/qidpidtriples.train.tsv", TextsError, "queries and passages by id"),
    ("08-excel-csv/fragen-cp1252.csv", EncodingError, "probably cp1252"),
    ("08-excel-csv/fragen-gb18030.csv", EncodingError, "probably gb18030"),
    ("08-excel-csv/fragen.xlsx", InputError, "Excel workbook is damaged"),
    ("09-ms-swift/cosine-label.jsonl", LabelsError, "'0.2' in 12 rows"),
    ("11-ids-for-texts/train.jsonl", TextsError, "such as 'tomato#0'"),
    ("11-ids-for-texts/int-ids.jsonl", TextsError, "passages by id, such as '0'"),
    ("11-ids-for-texts/tevatron.jsonl", TextsError, "passages by id"),
    ("11-ids-for-texts/automodel.json", TextsError, "passages by id"),
    ("11-ids-for-texts/hard_negatives.jsonl", TextsError, "queries and passages by id"),
    ("11-ids-for-texts/st-msmarco.jsonl", TextsError, "queries and passages by id"),
    ("12-labelled-pairs/jobs.json", ColumnsError, "--columns query=job pos=resume"),
    ("12-labelled-pairs/graded.tsv", LabelsError, "'4' in 12 rows, '1' in 12 rows, '2' in 12 rows"),
    ("17-positives-not-strings/query_pos_neg.jsonl", InputError, "6 bad rows"),
    ("22-json-with-own-names/train.jsonl", ColumnsError, "--columns query=ticket pos=solution"),
]


@pytest.mark.parametrize(("file", "pool", "words", "counts"), OPEN, ids=[f"{file} {words}" for file, _, words, _ in OPEN])
def test_a_file_reads_as_the_table_says(file, pool, words, counts, capsys):
    given = read_inputs(CASES / file, CASES / pool if pool else None, columns=columns_from(words.split()))
    found = (len(given.rows), sum(len(row.pos) for row in given.rows), sum(len(row.neg) for row in given.rows), len(given.pool or ()))
    assert found == counts
    assert all(" " in text or not text.isascii() for row in given.rows for text in (row.query, *row.pos)), "an id, or an answer of a word"
    flags = [*(["--pool", str(CASES / pool)] if pool else []), *(["--columns", *words.split()] if words else [])]
    assert main(["read", str(CASES / file), *flags]) == 0
    printed = capsys.readouterr().out
    assert f"{counts[0]} row" in printed and f"{counts[2]} old negative" in printed


@pytest.mark.parametrize(("file", "error", "words"), ASK, ids=[file for file, _, _ in ASK])
def test_a_file_asks_its_question(file, error, words, capsys):
    with pytest.raises(error) as question:
        read_inputs(CASES / file)
    assert words in str(question.value)
    assert main(["read", str(CASES / file)]) == 2
    ended = capsys.readouterr()
    assert words in ended.err or "bad rows" in words


def test_no_row_of_titles_gets_its_own_positive():
    given = read_inputs(CASES / "01-dpr-json/tevatron-train.jsonl", CASES / "01-dpr-json/tevatron-corpus.jsonl")
    assert len(given.corpus.passages) == 72


def test_a_name_with_brackets_is_a_finding_of_the_check():
    assert "file-pattern" in {finding.kind for finding in check(CASES / "18-brackets-in-name/garden[v2].jsonl").findings}
