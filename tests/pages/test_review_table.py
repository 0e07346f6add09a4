"""The Table mode of the Review screen through app.py: which verdicts it lists, search, filters, one change for all, pages, files."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from hnmine import resources
from hnmine.core.errors import WorkspaceError
from hnmine.data.verdicts import read_verdicts
from hnmine.review.store import ReviewStore
from pages.review import table
from tests.pages.conftest import open_app, press, texts


def pairs_of_run(run: str, count: int) -> list[tuple[str, str]]:
    corpus = resources.open_run(run).inputs.corpus
    queries, passages = corpus.queries, corpus.passages
    return [(queries[(place + place // len(passages)) % len(queries)], passages[place % len(passages)]) for place in range(count)]


def open_table(run: str) -> AppTest:
    at = open_app("review", run=run, state={"review-mode": "table"})
    assert not at.exception, [each.value for each in at.exception]
    return at


def rows(at: AppTest) -> pd.DataFrame:
    return at.dataframe[0].value


def listed(at: AppTest) -> str:
    return next(str(each.value) for each in at.markdown if "of" in str(each.value) and "verdict" in str(each.value))


def test_without_verdicts_it_says_how_to_get_some(run: str) -> None:
    assert "No pair of this data set has a verdict." in texts(open_table(run))


def test_it_lists_the_verdicts_of_this_data_set_the_latest_first(run: str, store: ReviewStore) -> None:
    pairs = pairs_of_run(run, 3)
    store.decide([("another data set", "x")], "junk", "Ann")
    store.decide(pairs[:2], "negative", "Ann", note="looks fine")
    store.decide(pairs[1:], "relevant", "Bob")
    at = open_table(run)
    assert listed(at) == "**3** of 3 verdicts"
    found = rows(at)
    assert found["verdict"].tolist() == ["relevant", "relevant", "negative"]
    assert found["note"].tolist() == ["", "", "looks fine"]
    assert found["who"].tolist() == ["Bob", "Bob", "Ann"]
    assert sorted(found["others"]) == ["", "", "Ann: negative"]
    assert set(zip(found["query"], found["passage"], strict=True)) == set(pairs)


def test_search_and_filters_find_query_passage_note_and_reviewer(run: str, store: ReviewStore) -> None:
    pairs = pairs_of_run(run, 40)
    store.decide(pairs, "negative", "Ann")
    store.decide(pairs[:1], "junk", "Bob", note="A Menu of the bar")
    at = open_table(run)
    for words, wanted in (
        ("a menu", pairs[:1]),
        ("bob", pairs[:1]),
        (pairs[5][1].upper(), [pair for pair in pairs if pairs[5][1].casefold() in pair[1].casefold()]),
        (pairs[7][0], [pair for pair in pairs if pairs[7][0].casefold() in " ".join(pair).casefold()]),
        ("nothing has this", []),
    ):
        at.text_input(key="verdict-table-words").set_value(words).run()
        assert listed(at) == f"**{len(wanted)}** of 40 verdicts"
        if wanted:
            assert set(rows(at)["passage"]) == {passage for _, passage in wanted}
    assert "No verdict matches." in texts(at)
    at.text_input(key="verdict-table-words").set_value("").run()
    at.multiselect(key="verdict-table-choices").set_value(["junk"]).run()
    assert rows(at)["verdict"].tolist() == ["junk"]
    at.multiselect(key="verdict-table-names").set_value(["Ann"]).run()
    assert rows(at)["who"].tolist() == ["Bob"]  # Ann has judged it too
    at.multiselect(key="verdict-table-choices").set_value([]).run()
    assert len(rows(at)) == 40


def test_the_rows_found_are_changed_as_one_decision_and_keep_their_notes(run: str, store: ReviewStore) -> None:
    pairs = pairs_of_run(run, 6)
    store.decide(pairs[:4], "negative", "Ann", note="mine")
    store.decide(pairs[4:], "unsure", "Bob")
    at = open_table(run)
    assert next(each for each in at.button if each.label == "Undo").disabled
    at.multiselect(key="verdict-table-choices").set_value(["negative"]).run()
    assert not at.warning
    at.selectbox(key="verdict-table-choice-2").set_value("junk").run()
    press(at, "Change 4 verdicts to: Junk: remove")
    assert {each.passage: (each.verdict, each.note) for each in store.verdicts()} == {
        **{passage: ("junk", "mine") for _, passage in pairs[:4]},
        **{passage: ("unsure", "") for _, passage in pairs[4:]},
    }
    assert rows(at)["verdict"].tolist() == ["junk"] * 4  # the rows stay, though the filter no longer matches
    press(at, "Undo")
    assert rows(at)["verdict"].tolist() == ["negative"] * 4
    assert {each.who for each in store.verdicts()} == {"Ann", "Bob"}
    press(at, "Redo")
    press(at, "Refresh")
    assert "No verdict matches." in texts(at)
    at.multiselect(key="verdict-table-choices").set_value([]).run()
    assert "No filter is set." in texts(at)
    at.selectbox(key="verdict-table-choice-4").set_value("remove").run()
    press(at, "Remove 6 verdicts")
    assert store.verdicts() == []
    assert rows(at)["verdict"].tolist() == ["remove"] * 6
    press(at, "Undo")
    assert len(store.verdicts()) == 6


def test_a_change_that_cannot_be_written_is_told_and_nothing_is_shown_as_changed(
    run: str, store: ReviewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.decide(pairs_of_run(run, 2), "negative", "Ann")
    at = open_table(run)

    def full(*_: object) -> None:
        raise WorkspaceError("the disk is full; free some space")

    monkeypatch.setattr(ReviewStore, "decide", full)
    at.selectbox(key="verdict-table-choice-1").set_value("junk").run()
    press(at, "Change 2 verdicts to: Junk: remove")
    assert "The change was not written" in [str(each.value) for each in at.error]
    assert "the disk is full" in texts(at)
    assert rows(at)["verdict"].tolist() == ["negative"] * 2


def test_what_others_decide_meanwhile_is_shown_and_the_rows_stay_in_place(run: str, store: ReviewStore) -> None:
    pairs = pairs_of_run(run, 5)
    for pair in pairs:
        store.decide([pair], "negative", "Ann")
    at = open_table(run)
    before = rows(at)["passage"].tolist()
    store.decide(pairs[2:3], "junk", "Bob")
    store.decide(pairs_of_run(run, 6)[5:], "relevant", "Bob")
    at.run()
    assert rows(at)["passage"].tolist() == before
    assert sorted(rows(at)["verdict"]) == ["junk", *["negative"] * 4]
    assert listed(at) == "**5** of 6 verdicts"
    press(at, "Refresh")
    assert len(rows(at)) == 6


def test_a_page_has_two_hundred_rows(run: str, store: ReviewStore) -> None:
    store.decide(pairs_of_run(run, 450), "negative", "Ann")
    at = open_table(run)
    assert len(rows(at)) == 200
    assert "1 to 200 of 450" in texts(at)
    at.session_state["verdict-table-page-1"] = 3
    at.run()
    assert len(rows(at)) == 50
    assert "401 to 450 of 450" in texts(at)


def test_the_files_have_each_reviewers_verdict_with_note_time_and_name(run: str, store: ReviewStore, tmp_path: Path) -> None:
    pairs = pairs_of_run(run, 2)
    store.decide([("another data set", "x")], "junk", "Ann")
    store.decide(pairs, "negative", "Ann", note='says "no",\nand more')
    store.decide(pairs[:1], "relevant", "Bob")
    opened = resources.open_run(run)
    file = tmp_path / "verdicts.jsonl"
    file.write_bytes(table.as_lines(opened))
    wanted = [each for each in store.by_reviewer() if each.query != "another data set"]
    assert sorted(map(repr, read_verdicts(file))) == sorted(map(repr, wanted))
    lines = list(csv.DictReader(io.StringIO(table.as_csv(opened).decode("utf-8-sig"), newline="")))
    assert [(each["passage"], each["verdict"], each["who"], each["note"], each["when"]) for each in lines] == [
        (each.passage, each.verdict, each.who, each.note, each.when) for each in wanted
    ]
