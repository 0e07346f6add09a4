"""Files that people have, dropped in a real browser: they are read with the right counts, and a question is two clicks from negatives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.server import WAIT, Server, page_of, settled

CASES = Path(__file__).parents[3] / "shared" / "cases"

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not beside the checkout")]

# Training file, pool -> how they are read. Of MINED also the button that answers its question.
READ = [
    (
        "01-dpr-json/tevatron-train.jsonl",
        "01-dpr-json/tevatron-corpus.jsonl",
        ("12 rows, 12 queries, 12 positives, 12 old negatives", "72 passages in the pool"),
    ),
    ("02-llamaindex-dataset/train_dataset.json", "", ("12 rows, 12 queries, 12 positives, 0 old negatives", "72 passages in the pool")),
    ("03-msmarco-triples/triples.train.small.tsv", "", ("12 rows, 12 queries, 12 positives, 36 old negatives",)),
    ("08-excel-csv/fragen-utf16.csv", "", ("encoding utf-16", "24 rows, 24 queries, 24 positives, 24 old negatives")),
    ("09-ms-swift/messages.jsonl", "", ("chat messages", "12 rows, 12 queries, 12 positives, 24 old negatives")),
    ("21-question-context-answer/rag.csv", "", ("positives = context", "24 rows, 24 queries, 24 positives, 0 old negatives")),
    ("24-tsv-of-templates/catalogue3.tsv", "", ("TSV", "4 rows, 4 queries, 4 positives, 0 old negatives")),
]
MINED = [
    (
        "08-excel-csv/fragen-cp1252.csv",
        "",
        "Yes, read it as cp1252",
        ("encoding cp1252", "24 rows, 24 queries, 24 positives, 24 old negatives"),
    ),
    (
        "11-ids-for-texts/train.jsonl",
        "11-ids-for-texts/chunks.jsonl",
        "",
        ("12 rows, 12 queries, 12 positives, 12 old negatives", "72 passages in the pool, 24 of them named by id in the rows"),
    ),
    ("12-labelled-pairs/graded.tsv", "", "Use these labels", ("12 rows, 12 queries, 12 positives, 24 old negatives",)),
    (
        "22-json-with-own-names/train.jsonl",
        "22-json-with-own-names/kb.jsonl",
        "Use these columns",
        ("query = ticket · positives = solution", "12 rows, 12 queries, 12 positives, 0 old negatives", "72 passages in the pool"),
    ),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all cases: the model is loaded once."""
    started = Server(tmp_path_factory.mktemp("cases") / "workspace")
    yield started
    started.stop()


@pytest.fixture(scope="module")
def page(browser: Any, server: Server) -> Iterator[Any]:
    """One page for all cases: each opens the app anew in it."""
    opened_page = page_of(browser, server.url)
    yield opened_page
    opened_page.context.close()


def names(cases: list[Any]) -> list[str]:
    return [case[0] for case in cases]


def press(page: Any, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()
    settled(page)


def drop(page: Any, *files: Path) -> None:
    """Drop files into the one zone on the screen."""
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(files)
    settled(page)


def open_files(page: Any, server: Server, *files: str) -> None:
    """Drop the files of a case, all at once; they open by themselves."""
    page.goto(server.url)
    settled(page)
    drop(page, *(CASES / file for file in files if file))
    page.get_by_role("button", name="Open other data").wait_for()
    settled(page)


def facts(page: Any) -> str:
    """Return how the files were read, as the screen says."""
    page.get_by_role("tab", name="Files").click()
    settled(page)
    return str(page.get_by_role("tabpanel").filter(visible=True).inner_text())


@pytest.mark.parametrize(("file", "pool", "counts"), READ, ids=names(READ))
def test_a_file_opens_by_itself_and_says_how_it_was_read(page, server, file, pool, counts) -> None:  # type: ignore[no-untyped-def]
    open_files(page, server, file, pool)
    assert page.get_by_role("button", name="Mine hard negatives").is_enabled()
    said = facts(page)
    assert all(each in said for each in counts), said


def test_several_files_are_uploaded_together(page, server, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Rows by id, queries and passages, as MS MARCO has them."""
    files = {
        "triples.tsv": [f"q{number}\td{number}\td{number + 10}" for number in range(10)],
        "queries.tsv": [f"q{number}\thow do I prune plant {number}" for number in range(10)],
        "collection.tsv": [f"d{number}\tprune plant {number} after the frost, above a bud" for number in range(30)],
    }
    for name, lines in files.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n", "utf-8")
    page.goto(server.url)
    settled(page)
    drop(page, *(tmp_path / name for name in files))
    said = facts(page)
    assert "rows from triples.tsv, queries from queries.tsv, passages from collection.tsv" in said
    assert "10 rows, 10 queries, 10 positives, 10 old negatives" in said
    assert "30 passages in the pool, 20 of them named by id in the rows" in said


def test_a_picker_shows_its_rows_before_they_are_used(page, server) -> None:  # type: ignore[no-untyped-def]
    open_files(page, server, "21-question-context-answer/rag.csv")
    assert page.get_by_role("button", name="Use these columns").count() == 0
    page.get_by_role("combobox", name="Old negatives (optional)").click()
    page.get_by_role("option", name="answer").click()
    page.get_by_text("With these columns, the first rows are").wait_for()
    page.keyboard.press("Escape")
    press(page, "Use these columns")
    page.get_by_text("24 rows · 24 queries · 24 positives · 24 old negatives").wait_for()


@pytest.mark.parametrize(("file", "pool", "answer", "counts"), MINED, ids=names(MINED))
def test_a_question_is_two_clicks_from_negatives(page, server, file, pool, answer, counts) -> None:  # type: ignore[no-untyped-def]
    if answer:
        open_files(page, server, file, pool)
        press(page, answer)  # 1
    else:  # the question is the missing pool
        open_files(page, server, file)
        page.get_by_text("The rows name passages by id, and the file with the texts is missing.").wait_for()
        drop(page, CASES / pool)
    said = facts(page)
    assert all(each in said for each in counts), said
    press(page, "Mine hard negatives")  # 2
    page.get_by_text("Sample queries").wait_for(timeout=WAIT)
