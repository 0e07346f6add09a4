"""A judge's grades in a run: dropped, promoted, left out or kept, below people's verdicts, and the same bytes from the manifest."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

import hnmine
from hnmine.analysis.fn_estimates import fn_probabilities
from hnmine.core.errors import SettingsError
from hnmine.data.verdicts import Verdict, match_verdicts
from hnmine.export.formats import FORMATS
from hnmine.review.judgements import Judgement, JudgementStore, judgement_lines
from hnmine.review.relabelling import judged_pairs
from hnmine.runs.manifest import read_manifest
from hnmine.runs.mine import MineSettings, mine, mine_to_file
from hnmine.runs.reviewed import apply_verdicts
from hnmine.selection.settings import SelectionSettings
from tests.conftest import FakeEncoder

SELECTION = SelectionSettings(window_start=0, window_end=8, negative_number=3, strategy="hardest")
ROWS = [{"id": number, "query": f"question {number % 8}", "pos": [f"answer {number}"], "level": number} for number in range(10)]


@pytest.fixture
def train(write_jsonl) -> Path:  # type: ignore[no-untyped-def]
    """Ten rows; two queries are asked twice."""
    return write_jsonl(ROWS)


@pytest.fixture
def pool(write_jsonl) -> Path:  # type: ignore[no-untyped-def]
    return write_jsonl([{"text": f"passage {number} of the pool"} for number in range(30)], name="pool.jsonl")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def written(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def run(train, pool, out, judgements=(), *, verdicts=(), selection=SELECTION, manifest=True, **settings):
    return mine_to_file(
        FakeEncoder,
        train,
        pool,
        out,
        MineSettings(selection=selection, **settings),
        judgements=judgements,
        verdicts=verdicts,
        manifest=manifest,
    )[0]


def graded(query: str, passage: str, grade: int | None = 3) -> Judgement:
    return Judgement(query, passage, grade, "because", "m", "1")


@pytest.fixture
def hardest(train, pool, tmp_path) -> dict[str, list[str]]:
    """The negatives of each query without a judge."""
    run(train, pool, tmp_path / "plain.jsonl", manifest=False)
    return {row["query"]: row["neg"] for row in written(tmp_path / "plain.jsonl")}


def test_kept_the_judge_changes_nothing(train, pool, out, hardest, tmp_path):
    summary = run(train, pool, out, [graded("question 0", hardest["question 0"][0])])
    assert out.read_bytes() == (tmp_path / "plain.jsonl").read_bytes()
    assert summary.judgements == {"pairs": 1, "relevant": 1}
    assert "1 pair judged, 1 relevant" in str(summary)


def test_dropped_is_never_a_negative_and_another_takes_its_place(train, pool, out, hardest):
    gone = hardest["question 0"][0]
    summary = run(train, pool, out, [graded("question 0", gone), graded("question 1", hardest["question 1"][0], 1)], relabel="drop")
    rows = written(out)
    assert [row["id"] for row in rows] == list(range(10))
    for row in rows:
        assert len(row["neg"]) == 3
        assert gone not in row["neg"] or row["query"] != "question 0"
        if row["query"] != "question 0":
            assert row["neg"] == hardest[row["query"]], "a grade below relevant_from, or of another query, changes nothing"
    assert summary.judgements == {"pairs": 2, "relevant": 1, "dropped": 1}
    assert summary.verdicts == {}, "the judge is no reviewer"
    run(train, pool, out, [graded("question 0", gone)], relabel="drop", relevant_from=3)
    assert gone not in written(out)[0]["neg"]
    run(train, pool, out, [graded("question 0", gone, 2)], relabel="drop", relevant_from=3)
    assert gone in written(out)[0]["neg"]


def test_promoted_joins_the_positives_of_every_row_with_the_query(train, pool, out, hardest):
    gained = hardest["question 0"][1]
    summary = run(train, pool, out, [graded("question 0", gained)], relabel="promote")
    for before, row in zip(ROWS, written(out), strict=True):
        assert row["pos"] == before["pos"] + [gained] * (row["query"] == "question 0")
        assert not set(row["pos"]) & set(row["neg"])
    assert summary.judgements["promoted"] == 1


@pytest.mark.parametrize("name", list(FORMATS))
@pytest.mark.parametrize("dev_share", [0.0, 0.4])
def test_a_row_that_is_left_out_is_in_no_format(train, pool, tmp_path, hardest, name, dev_share):
    path = tmp_path / f"out{FORMATS[name].suffix}"
    kwargs = {"output_format": name, "dev_share": dev_share, "manifest": False}
    whole = mine_to_file(FakeEncoder, train, pool, path, MineSettings(selection=SELECTION, output_format=name, dev_share=dev_share))[1]
    summary = run(train, pool, path, [graded("question 1", hardest["question 1"][2])], relabel="leave_out", **kwargs)
    assert summary.judgements["left_out"] == 2
    again = mine_to_file(
        FakeEncoder,
        train,
        pool,
        path,
        MineSettings(selection=SELECTION, output_format=name, dev_share=dev_share, relabel="leave_out"),
        judgements=[graded("question 1", hardest["question 1"][2])],
    )[1]
    assert sum(each.rows for each in again) < sum(each.rows for each in whole)
    held = [each for each in path.parent.rglob("*") if each.is_file() and each.name not in (train.name, pool.name, "plain.jsonl")]
    content = b"".join(each.read_bytes() for each in held if not each.name.endswith((".manifest.json", ".zip", ".parquet")))
    assert b"question 1" not in content
    if FORMATS[name].suffix not in (".zip", ".parquet"):
        assert b"question 2" in content


def test_the_notes_of_a_format_count_the_rows_that_are_written(train, pool, tmp_path, hardest):
    judged = [graded("question 1", hardest["question 1"][0])]
    summary = run(train, pool, tmp_path / "out.jsonl", judged, relabel="leave_out", output_format="st-triplet")
    assert any(note.startswith("1 row has the query of another row") for note in summary.notes), summary.notes


def test_if_no_row_is_left_nothing_is_written(train, pool, out, hardest):
    judged = [graded(query, passages[0]) for query, passages in hardest.items()]
    with pytest.raises(SettingsError, match="none is left; drop or promote"):
        run(train, pool, out, judged, relabel="leave_out")
    assert not out.exists()


@pytest.mark.parametrize("relabel", ["drop", "promote", "leave_out"])
def test_people_win_over_the_judge(train, pool, out, hardest, relabel):
    kept, junk = hardest["question 0"][:2]
    verdicts = [
        Verdict(query="question 0", passage=kept, verdict="negative"),
        Verdict(query="question 0", passage=junk, verdict="junk"),
    ]
    summary = run(train, pool, out, [graded("question 0", kept), graded("question 0", junk)], verdicts=verdicts, relabel=relabel)
    row = written(out)[0]
    assert kept in row["neg"]
    assert junk not in row["neg"] + row["pos"]
    assert row["pos"] == ["answer 0"]
    assert len(written(out)) == 10
    assert summary.judgements["relevant"] == 0
    assert summary.verdicts["negative"] == 1


# The filter


def test_the_filter_rejects_by_grade_and_random_fill_brings_nothing_back(train, pool, out, hardest):
    """Every passage but four has grade 3, inside the window and outside; so at most four are left, whatever fills the row."""
    texts = [f"passage {number} of the pool" for number in range(30)] + [row["pos"][0] for row in ROWS]
    few = texts[:4]
    judged = [graded("question 2", text, 1 if text in few else 3) for text in texts]
    selection = msgspec.structs.replace(SELECTION, judge_grade=2, negative_number=10)
    run(train, pool, out, judged, selection=selection)
    rows = {row["id"]: row for row in written(out)}
    assert sorted(rows[2]["neg"]) == few
    assert len(rows[3]["neg"]) == 10, "candidates without a grade pass"
    confirmed = Verdict(query="question 2", passage=texts[7], verdict="negative")
    run(train, pool, out, judged, selection=selection, verdicts=[confirmed])
    assert set(written(out)[2]["neg"]) <= {*few, texts[7]}


@pytest.mark.parametrize(
    ("settings", "judgements", "message"),
    [
        ({"relabel": "drop"}, [], "relabel needs judgements, and there are none"),
        ({"relabel": "drop"}, [graded("elsewhere", "text")], "relabel needs judgements, and none of the 1 judgements is on this data"),
        ({"selection": msgspec.structs.replace(SELECTION, judge_grade=2)}, [], "judge_grade needs judgements, and there are none"),
        ({"relabel": "delete"}, [], "relabel is 'delete'; it is one of: keep, drop, promote, leave_out"),
        ({"relevant_from": 0}, [], "relevant_from is 0; it is the lowest grade"),
    ],
)
def test_what_needs_a_judge_is_refused_without_one(train, pool, out, settings, judgements, message):
    with pytest.raises(SettingsError, match=message):
        run(train, pool, out, judgements, **settings)


# The manifest


@pytest.mark.parametrize("relabel", ["keep", "drop", "promote", "leave_out"])
def test_the_manifest_has_the_grades_on_this_data_and_repeats_the_run(train, pool, out, tmp_path, hardest, relabel):
    judged = [
        graded("question 0", hardest["question 0"][0]),
        graded("question 1", hardest["question 1"][0], None),
        graded("question 2", hardest["question 2"][0], 0),
        graded("of another", "data set"),
    ]
    selection = msgspec.structs.replace(SELECTION, judge_grade=3) if relabel == "keep" else SELECTION
    summary = run(train, pool, out, judged, relabel=relabel, selection=selection)
    assert "1 judgement is on texts that are not in this data" in summary.notes
    found = read_manifest(tmp_path / "out.manifest.json")
    assert sorted(found.judgements, key=lambda each: each.query) == judged[:3]
    again = msgspec.convert(found.settings, MineSettings)
    mine_to_file(
        FakeEncoder, train, pool, tmp_path / "again.jsonl", again, verdicts=found.verdicts, judgements=found.judgements, manifest=False
    )
    assert (tmp_path / "again.jsonl").read_bytes() == out.read_bytes()


def test_a_manifest_without_grades_has_no_place_for_them(train, pool, out, tmp_path):
    run(train, pool, out)
    content = json.loads((tmp_path / "out.manifest.json").read_text())
    assert "judgements" not in content
    assert content["summary"]["judgements"] == {}
    for name in ("relabel", "relevant_from"):  # as an older version wrote it
        del content["settings"][name]
    del content["settings"]["selection"]["judge_grade"]
    (tmp_path / "old.manifest.json").write_text(json.dumps(content))
    assert msgspec.convert(read_manifest(tmp_path / "old.manifest.json").settings, MineSettings).relabel == "keep"


# Fit and library


def test_the_fit_sees_people_alone(train, pool, hardest):
    """The judge's verdicts, and those promoted in bulk by its grades, move no level; its grades speak as a signal."""
    judged = [graded("question 0", passage) for passage in hardest["question 0"]]
    mined = mine(train, pool, MineSettings(selection=SELECTION), FakeEncoder, signals=True)
    corpus, ranking = mined.inputs.corpus, mined.ranking
    people = [Verdict(query="question 3", passage=passage, verdict="negative") for passage in hardest["question 3"]]
    bulk = [Verdict(query="question 0", passage=each.passage, verdict="positive", who="Ann", note="judge m: grade 3") for each in judged]
    plain = apply_verdicts(mined.inputs, ranking, match_verdicts(corpus, people))
    pairs = judged_pairs(corpus, judged)
    for action in ("keep", "drop", "promote", "leave_out"):
        found = apply_verdicts(mined.inputs, ranking, match_verdicts(corpus, people), pairs).relabelled(action, 2)
        assert found.fn_model == plain.fn_model
        assert found.verdict_pairs.applied == plain.verdict_pairs.applied
    promoted = apply_verdicts(mined.inputs, ranking, match_verdicts(corpus, people + bulk))
    assert promoted.fn_model == plain.fn_model
    assert len(promoted.inputs.corpus.promoted_ids) == 3, "but they are positives"


def test_promotions_of_people_and_judge_are_those_of_one_list(train, pool, hardest):
    mined = mine(train, pool, MineSettings(selection=SELECTION), FakeEncoder, signals=True)
    corpus = mined.inputs.corpus
    first, second = hardest["question 0"][:2]
    people = [Verdict(query="question 0", passage=first, verdict="positive")]
    both = [*people, Verdict(query="question 0", passage=second, verdict="positive")]
    judged = judged_pairs(corpus, [graded("question 0", second)])
    found = apply_verdicts(mined.inputs, mined.ranking, match_verdicts(corpus, people), judged).relabelled("promote", 2)
    whole = apply_verdicts(mined.inputs, mined.ranking, match_verdicts(corpus, both))
    assert np.array_equal(found.inputs.corpus.positive_ids, whole.inputs.corpus.positive_ids)
    assert np.array_equal(found.inputs.corpus.promoted_ids, whole.inputs.corpus.promoted_ids)
    assert np.array_equal(found.ranking.positive_scores, whole.ranking.positive_scores)
    for name, values in whole.ranking.signals.items():
        assert np.array_equal(found.ranking.signals[name], values, equal_nan=True), name


def test_the_library_selects_and_writes_as_the_drop_in_does(train, pool, out, tmp_path, hardest):
    """From a file, a list and a store; the table of a query says why a candidate is gone."""
    judged = [graded("question 0", hardest["question 0"][0])]
    file, store = tmp_path / "judged.jsonl", JudgementStore(tmp_path / "judgements.sqlite")
    file.write_bytes(b"".join(judgement_lines(judged, 2)))
    store.add(judged)
    ranking = hnmine.rank(hnmine.read(train, pool=pool), model=FakeEncoder(), depth=30, store=False)
    for relabel in ("drop", "promote", "leave_out"):
        hnmine.find_knn_neg(FakeEncoder(), train, pool, out, selection=SELECTION, judgements=file, relabel=relabel, manifest=False)
        for given in (judged, file, store):
            chosen = ranking.select(n=3, window=(0, 8), strategy="hardest", judgements=given, relabel=relabel)
            chosen.write(tmp_path / "library.jsonl", manifest=False)
            assert (tmp_path / "library.jsonl").read_bytes() == out.read_bytes()
        if relabel == "drop":
            statuses = chosen.explain("question 0")["status"].tolist()
            assert "removed: relevant by the judge" in statuses
            assert not any("reviewer" in status for status in statuses)
        assert len(chosen.to_datasets("flagembedding")) == (8 if relabel == "leave_out" else 10)
        of_queries = {row["query"]: len(row["neg"]) for row in written(out)}
        assert len(chosen) == len(chosen.to_pandas()) == sum(of_queries.values())
        assert f"{len(chosen):,} for {len(of_queries):,} queries" in repr(chosen)
        assert chosen.funnel == chosen.summary.funnel
        if relabel == "leave_out":
            table = chosen.query_table()
            assert table["query"][table["left_out"]].tolist() == ["question 0"]
    with pytest.raises(SettingsError, match="give a path, a JudgementStore, or a list"):
        ranking.select(judgements=["relevant"])


# What the summary counts


def test_the_summary_of_a_run_that_leaves_out_rows_counts_what_is_written(train, pool, out, tmp_path, hardest):
    """As the summary of a run on the written rows alone, with the same candidates and positives."""
    judged = [graded(f"question {number}", hardest[f"question {number}"][0]) for number in (1, 4, 5)]
    summary = run(train, pool, out, judged, relabel="leave_out")
    rows = written(out)
    assert (summary.rows, summary.queries, summary.judgements["left_out"]) == (len(rows), 5, 4) == (6, 5, 4)
    assert summary.negatives == sum(len(row["neg"]) for row in rows) == 18
    assert summary.funnel["written"] == 15, "of the queries"
    assert f"rows         6 (5 different queries), 4 left out -> {out}" in str(summary)
    assert "negatives    18, 0 of them" in str(summary)
    assert "chosen 24 -> written 15" in str(summary)
    ranked = mine(train, pool, MineSettings(selection=SELECTION), FakeEncoder, signals=True)
    corpus, selection = ranked.inputs.corpus, ranked.selection
    kept = np.array([query not in ("question 1", "question 4", "question 5") for query in corpus.queries])
    assert summary.hardness == pytest.approx(selection.scores[kept].mean())
    assert summary.scores["positives"] == pytest.approx(ranked.ranking.positive_scores[kept[corpus.positive_queries]].mean())
    found = json.loads((tmp_path / "out.manifest.json").read_bytes())["summary"]
    assert (found["rows"], found["negatives"], found["judgements"]["left_out"]) == (6, 18, 4)
    folder = tmp_path / "folder"
    run(train, pool, folder, judged, relabel="leave_out", output_format="datasets")
    card = (folder / "README.md").read_text("utf-8")
    assert "- 6 rows with 5 different queries, 4 left out" in card
    assert "- 18 negatives, 0 of them" in card


def test_the_estimate_is_of_the_negatives_that_are_written(train, pool, hardest):
    """Of one row that is left: as the estimates of its negatives."""
    judged = [graded(query, passages[0]) for query, passages in hardest.items() if query != "question 3"]
    settings = MineSettings(selection=SELECTION, relabel="leave_out")
    mined = mine(train, pool, settings, FakeEncoder, signals=True, judgements=judged)
    query = mined.inputs.corpus.queries.index("question 3")
    expected = fn_probabilities(mined.reviewed.estimator(), mined.selection)[query]
    assert mined.summary.estimated_fn_rate.estimate == pytest.approx(float(expected.mean()))
    assert (mined.summary.rows, mined.summary.negatives) == (1, 3)


def test_grades_of_several_judges_are_said_and_the_latest_counts(train, pool, out, hardest):
    first, second = hardest["question 0"][:2]
    judged = [
        graded("question 0", first, 3),
        graded("question 0", second, 0),
        Judgement("question 0", first, 0, "because", "other", "strict-2"),
        Judgement("of another", "data set", 0, "because", "third", "1"),
    ]
    summary = run(train, pool, out, judged, relabel="drop")
    judges = "pairs graded by 2 judges: m (prompt 1) 2, other (prompt strict-2) 1"
    note = f"{judges}; 1 pair has grades that differ; the latest grade of a pair counts"
    assert note in summary.notes
    assert f"note         {note}" in str(summary)
    assert first in written(out)[0]["neg"]
    assert not [each for each in run(train, pool, out, judged[:2], relabel="drop").notes if "judges" in each]
