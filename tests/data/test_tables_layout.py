"""Tables as people have them: titles and comments before the header, totals after the rows, Markdown, stray quotes, unnamed columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from hnmine.core.errors import ColumnsError, InputError, LabelsError, TextsError
from hnmine.data.columns import Columns
from hnmine.data.dataset import read_files
from hnmine.data.problems import InputFile
from hnmine.data.reading import read_pool, read_training
from hnmine.data.rows import Row

QUERIES = (
    "how do I reset my router",
    "what is the warranty on the oven",
    "can I return shoes after a month",
    "why does my battery drain at night",
    "how long does shipping take",
    "which oil fits a diesel van",
)
PASSAGES = (
    "Hold the small button on the back for ten seconds and sign in.",
    "The oven has a two year warranty for parts and labour at home.",
    "Unworn shoes may come back within sixty days if the box is there.",
    "Background sync keeps the radio awake so switch it off in the settings.",
    "Parcels to other countries arrive within seven to fourteen days.",
    "Diesel vans built after 2010 need low ash oil with the C3 approval.",
)
OTHERS = (*PASSAGES[1:], PASSAGES[0])


def lines(*columns: tuple[object, ...], delimiter: str = ",") -> str:
    return "".join(delimiter.join(map(str, cells)) + "\n" for cells in zip(*columns, strict=True))


PAIRS = lines(QUERIES, PASSAGES)


def training(tmp_path: Path, text: str | bytes, name: str = "t.csv") -> InputFile[Row]:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_files(path).training


def pairs(file: InputFile[Row]) -> list[tuple[str, str]]:
    assert not file.open_problems
    return [(row.query, row.pos[0]) for row in file.items]


WANTED = list(zip(QUERIES, PASSAGES, strict=True))


@pytest.mark.parametrize(
    ("before", "header", "count"),
    [
        ("Export of 2024\n\n", "query,positive\n", 2),
        ("# exported by anna, version 3\n# columns: query, positive\n", "query,positive\n", 2),
        ("Export of the FAQ,\nDate: 2024,\n", "question,answer\n", 2),
        ("\n\n", "query,positive\n", 2),
        ("sep=,\n", "query,positive\n", 1),
        ('"sep=,"\n# made by "hand\n', "query,positive\n", 2),
        ("", "#query,positive\n", 0),
        ("", "\ufeff\ufeffquery,positive\n", 0),
        ("", "query , positive\n", 0),
    ],
)
def test_lines_before_the_header_are_left_out_and_counted(tmp_path, before, header, count):
    file = training(tmp_path, before + header + PAIRS)
    assert pairs(file) == WANTED
    assert file.items[0].line == 2 + count
    notices = [each.message for each in file.problems if each.kind == "record-left-out"]
    assert len(notices) == (count > 0) == ("before the table left out" in file.read_as)
    assert not count or notices[0].startswith(f"{count} line")


def test_the_delimiter_of_excel_is_taken(tmp_path):
    text = "sep=;\nFrage;Antwort\n" + lines(QUERIES, PASSAGES, delimiter=";")
    assert pairs(training(tmp_path, text)) == WANTED


def test_a_title_above_unknown_names_is_left_out_and_the_names_are_asked_about(tmp_path):
    with pytest.raises(ColumnsError, match=r"--columns query=utterance pos=article") as question:
        training(tmp_path, "FAQ export\n\nutterance;article\n" + lines(QUERIES, PASSAGES, delimiter=";"))
    assert "FAQ" not in str(question.value)


def test_records_before_the_names_are_not_left_out(tmp_path):
    with pytest.raises(InputError, match=r"line 2 holds the names of columns, 'query,positive', but records come before it"):
        training(tmp_path, PAIRS.split("\n")[0] + "\nquery,positive\n" + PAIRS)


def test_a_faulty_first_record_of_a_table_without_names_is_reported(tmp_path):
    file = training(tmp_path, "what is this\n" + PAIRS)
    assert [(each.line, each.kind) for each in file.open_problems] == [(1, "bad-record")]


def test_hash_tags_in_records_stay(tmp_path):
    tagged = tuple(f"#{query}" for query in QUERIES)
    assert pairs(training(tmp_path, lines(tagged, PASSAGES))) == list(zip(tagged, PASSAGES, strict=True))


@pytest.mark.parametrize("last", ["Total;;21\n", "(6 rows)\n", "\n6 rows\n", "sum;;\n"])
def test_a_line_of_totals_is_left_out_and_counted(tmp_path, last):
    text = "query;positive;clicks\n" + lines(QUERIES, PASSAGES, "123456", delimiter=";")
    file = training(tmp_path, text + last)
    assert pairs(file) == WANTED
    assert [each.kind for each in file.problems] == ["record-left-out"]
    more = training(tmp_path, text + last + "one more query;One more passage.;3\n")
    assert more.open_problems  # in the middle it is a faulty record


def test_a_last_record_about_a_total_stays(tmp_path):
    file = training(tmp_path, "query,positive\n" + PAIRS + "total,The sum of all parts of a bill.\n")
    assert file.items[-1].query == "total"


def test_a_quote_that_swallows_records_is_reported_where_it_opens(tmp_path):
    text = "id,query,positive\n" + lines(tuple(range(6)), QUERIES, PASSAGES)
    text = text.replace("1,what is", '1,"what is').replace("4,how long does shipping take", '4,how long does shipping take"')
    file = training(tmp_path, text)
    (problem,) = file.open_problems
    assert (problem.line, problem.kind) == (3, "bad-record")
    assert "a quote that opens in cell 2 is closed too late" in problem.message
    assert "up to line 6" in problem.message
    assert [row.line for row in file.items] == [2, 7]


def test_cells_of_several_lines_with_commas_stay(tmp_path):
    passages = tuple(f"{text}\nsecond line, with a comma\nthird" for text in PASSAGES)
    quoted = tuple(f'"{text}"' for text in passages)
    assert pairs(training(tmp_path, "query,positive\n" + lines(QUERIES, quoted))) == list(zip(QUERIES, passages, strict=True))


@pytest.mark.parametrize(
    ("header", "record", "end"),
    [
        ("| query | positive |\n|---|:--:|\n", "| {} | {} |\n", ""),
        ("query | positive\n--- | ---\n", "{} | {}\n", "\n"),
        ("# Data\n\nSome words.\n\n| query | positive |\n| -- | -- |\n", "|{}|{}|\n", ""),
        ("  query  |  positive \n---------+---------\n", " {} | {}\n", "(6 rows)\n"),
    ],
)
def test_markdown_tables_are_tables(tmp_path, header, record, end):
    rows = "".join(record.format(query, passage.replace("and", r"\|")) for query, passage in WANTED)
    file = training(tmp_path, header + rows + end, "t.md")
    assert pairs(file) == [(query, passage.replace("and", "|")) for query, passage in WANTED]
    assert "Markdown table" in file.read_as
    assert file.items[0].line == header.count("\n") + 1


def test_a_text_with_a_table_is_a_pool_of_lines(tmp_path):
    path = tmp_path / "pool.md"
    path.write_text("A passage.\n| a | b |\n|---|---|\n| 1 | 2 |\nOne more.\nAnother.\n")
    assert len(read_pool(path).items) == 6


@pytest.mark.parametrize("columns", [(PASSAGES, QUERIES), (PASSAGES, OTHERS, QUERIES), (PASSAGES, QUERIES, OTHERS)])
def test_columns_without_names_are_asked_about_if_the_first_is_not_the_query(tmp_path, columns):
    place = columns.index(QUERIES) + 1
    with pytest.raises(ColumnsError, match=rf"its first column does not look like queries.*query=column_{place} pos=column_1"):
        training(tmp_path, lines(*columns, delimiter="\t"), "t.tsv")
    assert training(tmp_path, lines(QUERIES, PASSAGES, OTHERS, delimiter="\t"), "t.tsv").items[0].neg == [OTHERS[0]]


@pytest.mark.parametrize("header", ["", "query-id corpus-id score\n", "query_id iter doc_id rel\n", "topic iter docno rel\n"])
def test_judgements_with_and_without_names_need_the_texts_and_a_run_is_refused_once(tmp_path, header):
    cells = "q{0} d{0} 1\n" if header.count(" ") == 2 else "q{0}  0 d{0} 1\n"
    with pytest.raises(TextsError, match=r"the rows name queries and passages by id, such as 'q0'"):
        training(tmp_path, header + "".join(cells.format(n) for n in range(6)), "qrels.txt")
    for gap in " \t":
        run = "".join(gap.join((f"q{n}", "Q0", f"d{n}", "1", "0.5", "bm25")) + "\n" for n in range(6))
        with pytest.raises(InputError, match=r"is a TREC run .*give the judgements"):
            training(tmp_path, run, "run.txt")


def test_texts_beside_ids_are_read(tmp_path):
    ids = tuple(f"d{n}" for n in range(6))
    file = training(tmp_path, "query,positive_id,positive,negative_id,negative\n" + lines(QUERIES, ids, PASSAGES, ids, OTHERS))
    assert pairs(file) == WANTED
    assert file.items[0].neg == [OTHERS[0]]
    incomplete = "query,positive_id,positive\n" + lines(QUERIES, ids, (*PASSAGES[:3], "", "", ""))
    with pytest.raises(TextsError, match=r"name passages by id"):
        training(tmp_path, incomplete)


def test_empty_columns_without_a_name_are_left_out_and_a_cell_in_them_is_reported(tmp_path):
    for header in ("query,positive,,\n", "query,positive\n"):
        file = training(tmp_path, header + lines(QUERIES, PASSAGES, ("",) * 6, ("",) * 6))
        assert pairs(file) == WANTED
        assert [*file.items[0].fields] == ["query", "pos"]
        assert "6 records with empty cells after the last column" in file.problems[0].message
        (problem,) = training(tmp_path, header + lines(QUERIES, PASSAGES, ("",) * 6) * 40 + "q,p,more\n").open_problems
        assert (problem.line, problem.message) == (242, "expected 2 cells, found 3")


def test_an_index_is_no_label_and_names_alone_may_be_quoted(tmp_path):
    twice = tuple(QUERIES[n // 2] for n in range(6))
    file = training(tmp_path, ",query,passage\n" + lines(tuple(range(6)), twice, PASSAGES))
    assert len(file.items) == 6
    assert pairs(training(tmp_path, '"query"\t"positive"\n' + lines(QUERIES, PASSAGES, delimiter="\t"), "t.tsv")) == WANTED


def test_cells_may_be_quoted_with_apostrophes(tmp_path):
    quoted = tuple(f"'{query}, please'" for query in QUERIES)
    file = training(tmp_path, "query,positive\n" + lines(quoted, tuple(f"'{text}'" for text in PASSAGES)))
    assert pairs(file) == [(f"{query}, please", text) for query, text in WANTED]


def test_columns_and_labels_are_one_question(tmp_path):
    text = "utterance,article,rating\n" + lines(QUERIES * 2, PASSAGES + OTHERS, (5,) * 6 + (2,) * 6)
    with pytest.raises(ColumnsError) as question:
        training(tmp_path, text)
    for part in ("--columns query=utterance pos=article label=rating", "--positive_labels 5 or", "'5' in 6 rows, '2' in 6 rows"):
        assert part in str(question.value)
    columns = Columns(query="utterance", pos=("article",), label="rating", positive_labels=("5",))
    assert len(read_training(tmp_path / "t.csv", columns=columns).items) == 6


@pytest.mark.parametrize(
    ("name", "values", "said", "unsaid"),
    [
        ("score", (*range(5), 4), "'>=4'", "not known"),
        ("rank", (1, 2, 3, 1, 2, 3), "does not say whether high or low values mean relevant", ">="),
        ("label", (0, 1, 2, 0, 1, 2), "from 0 to 2. The name `label` does not say whether high or low", ">="),
        ("verdict", ("exact", "partial") * 3, "Which of these words mean relevant is not known", ">="),
    ],
)
def test_the_question_for_labels_suggests_a_threshold_only_if_the_direction_is_known(tmp_path, name, values, said, unsaid):
    with pytest.raises(LabelsError, match=f"which values of `{name}`") as question:
        training(tmp_path, f"query,passage,{name}\n" + lines(QUERIES[:2] * 6, PASSAGES * 2, values * 2))
    assert said in str(question.value)
    assert unsaid not in str(question.value)
