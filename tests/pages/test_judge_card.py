"""The LLM judge on the Quality screen, against a judge by rule on this machine: before, while, after, agreement and promotion."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from examples.served_judge import NAME, completion
from examples.served_models import ServedModels
from hnmine import resources
from hnmine.models.served import client
from hnmine.models.served.server import Server
from hnmine.review.judge import judge_pairs
from hnmine.review.judge_agreement import by_people
from hnmine.review.judge_pairs import audit_pairs, chosen_pairs, uncertain_pairs
from hnmine.review.judge_prompt import DEFAULT_PROMPT
from hnmine.review.judge_settings import JudgeSettings
from hnmine.review.judgements import Judgement
from hnmine.review.store import ReviewStore
from hnmine.runs.jobs import Job
from hnmine.runs.judge_setup import read_judge, write_judge
from hnmine.runs.selection_files import kept_sample
from hnmine.runs.workspace import Workspace
from pages.quality import judge_form
from pages.shared import judging, servers
from tests.pages.conftest import go, open_app, press, texts

WAIT = 120.0  # seconds until a job must have ended


class NoModels:
    """For a server that is a judge alone."""

    name, max_tokens = "none", 1


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedModels]:
    """A judge by rule."""
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(client, "PATIENCE", 0.5)
    with ServedModels(NoModels(), chat=completion) as found:  # type: ignore[arg-type]
        yield found


@pytest.fixture
def settings(served: ServedModels, run: str, space: Workspace) -> JudgeSettings:
    """The judge that is chosen for the workspace."""
    found = JudgeSettings(model=NAME, server=Server(address=served.address))
    write_judge(space.root, found)
    return found


def ended(space: Workspace, run: str) -> Job:
    """Wait until the job of judging has ended."""
    deadline = time.monotonic() + WAIT
    while (job := judging.latest(space.run(run).dataset_id)) is None or job.active:
        assert time.monotonic() < deadline, "the job does not end"
        time.sleep(0.05)
    return job


def pairs(run: str) -> Iterator[tuple[str, str]]:
    """Queries with passages that are no positives."""
    corpus = resources.open_run(run).inputs.corpus
    for query, text in enumerate(corpus.queries):
        own = set(corpus.positives(query).tolist())
        yield from ((text, corpus.passages[each]) for each in range(10) if each not in own)


def grade(run: str, grades: list[int | None], model: str = NAME) -> list[tuple[str, str]]:
    """Store grades of pairs of a run as answers of the chosen judge; return the pairs."""
    found = list(itertools.islice(pairs(run), len(grades)))
    resources.judgements().add(
        [Judgement(*pair, each, "because", model, DEFAULT_PROMPT.version) for pair, each in zip(found, grades, strict=True)]
    )
    return found


def metrics(at: AppTest) -> dict[str, str]:
    return {each.label: str(each.value) for each in at.metric}


def button(at: AppTest, start: str) -> Any:
    (found,) = [each for each in at.button if each.label.startswith(start)]
    return found


def grades_table(at: AppTest) -> dict[str, list[Any]]:
    (found,) = [each.value for each in at.dataframe if "grade" in each.value]
    return found.to_dict("list")  # type: ignore[no-any-return]


def test_without_an_llm_one_can_be_chosen_and_nothing_is_made(run: str, space: Workspace) -> None:
    at = open_app("quality", run=run)
    assert "never count as verdicts" in texts(at)
    assert not [each for each in at.button if each.key == "judge-start"]
    go(go(at, "review"), "quality")
    assert not (space.root / "judgements.sqlite").exists()


def test_an_llm_is_chosen_by_address_and_name_and_kept_without_a_key(
    run: str, space: Workspace, served: ServedModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_API_KEY", "the-secret")
    at = open_app("quality", run=run)
    at.text_input(key="address-judge").set_value(f"{served.address}/v1")
    at.text_input(key="key-variable-judge").set_value("JUDGE_API_KEY").run()
    assert at.button(key="judge-save").disabled, "without a name"
    monkeypatch.setattr(judge_form, "model_name", lambda *_: NAME)  # AppTest cannot type a new option
    at.run()
    press(at, "judge-save")
    held = read_judge(space.root)
    assert held is not None
    assert (held.model, held.server.address, held.server.key_variable) == (NAME, f"{served.address}/v1", "JUDGE_API_KEY")
    assert "the-secret" not in (space.root / "judge.json").read_text("utf-8") + texts(at)
    assert f"{NAME} · served at {served.address}/v1 · prompt {DEFAULT_PROMPT.version}" in texts(at)
    assert "200 pairs: 0 judged before, 200 calls, about " in texts(at)
    assert button(at, "Judge ").label == "Judge 200 pairs"
    assert served.asked == [], "nothing is asked before it is wanted"


def test_an_edited_prompt_is_another_version_and_a_broken_one_is_refused(run: str, space: Workspace, settings: JudgeSettings) -> None:
    at = open_app("quality", run=run)
    at.text_area(key="judge-prompt").set_value("Grade {passage}").run()
    assert "lacks the placeholder {query}" in texts(at)
    assert at.button(key="judge-save").disabled
    at.text_area(key="judge-prompt").set_value("Be strict. {query} {positives} {passage}").run()
    press(at, "judge-save")
    held = read_judge(space.root)
    assert held is not None
    assert held.prompt.version.startswith("own-")
    assert f"prompt {held.prompt.version}" in texts(at)
    press(at, "judge-prompt-default")
    press(at, "judge-save")
    assert read_judge(space.root) == settings


def test_pairs_are_judged_in_the_background_and_people_have_no_verdict_from_it(
    run: str, space: Workspace, store: ReviewStore, served: ServedModels, settings: JudgeSettings
) -> None:
    at = press(open_app("quality", run=run), "judge-start")
    assert [each.label for each in at.button if each.label.startswith("Judge ")] == [], "while it runs"
    job = ended(space, run)
    assert (job.state, job.name) == ("done", "Judging bikeshare/train.jsonl")
    at.run()
    assert metrics(at)["Judged"] == "200"
    found = resources.judgements().all()
    table = grades_table(at)
    assert table["judged"] == [sum(each.grade == grade for each in found) for grade in (3, 2, 1, 0)]
    assert sum(table["judged"]) == 200
    assert store.verdicts() == []
    asked = served.seen["/v1/chat/completions"]
    assert (asked["texts"], asked["different"], asked["repeated"]) == (200, 200, 0)
    opened = resources.open_run(run)
    chosen = resources.selection(opened, space.run(run).settings.selection)
    estimator = resources.estimator(opened)
    assert estimator is not None
    corpus = opened.inputs.corpus
    wanted = {(corpus.queries[q], corpus.passages[p]) for q, p in zip(*uncertain_pairs(estimator, chosen, 200), strict=True)}
    assert {(each.query, each.passage) for each in found} == wanted
    assert "200 pairs: 0 judged before" in texts(at), "the next ones"


def test_the_cost_is_that_of_the_pairs_and_a_limit_refuses_before_the_first_call(
    run: str, space: Workspace, served: ServedModels, settings: JudgeSettings
) -> None:
    at = open_app("quality", run=run)
    at.radio(key="judge-which").set_value("chosen").run()
    assert "1,815 pairs: 0 judged before, 1,815 calls" in texts(at)
    at.number_input(key="judge-limit").set_value(100).run()
    assert "More calls than the limit of 100. Raise the limit, or choose fewer pairs." in texts(at)
    assert button(at, "Judge 1,815 pairs").disabled
    held = read_judge(space.root)
    assert held is not None
    assert held.max_calls == 100
    go(press(at, "audit-draw"), "quality")
    at.radio(key="judge-which").set_value("audit").run()
    sample = kept_sample(space, run, space.run(run).settings.selection)
    assert sample is not None
    judged = len(audit_pairs(sample, resources.open_run(run).inputs.corpus)[0])
    assert judged > 100
    assert button(at, f"Judge {judged:,} pairs").disabled, "above the limit"
    assert served.asked == []


def test_a_job_that_fails_says_why_once_and_keeps_what_was_judged(
    run: str, space: Workspace, served: ServedModels, settings: JudgeSettings
) -> None:
    served.fail("wrong_key", after=12)
    at = press(open_app("quality", run=run), "judge-start")
    assert ended(space, run).state == "failed"
    at.run()
    said = texts(at)
    assert said.count("Judging ended with an error. What was judged before is stored.") == 1
    assert "401" in said
    kept = len(resources.judgements().all())
    assert kept > 0
    assert metrics(at)["Judged"] == f"{kept}"
    press(at, next(each.key for each in at.button if str(each.key).startswith("judge-dismiss")))
    assert "Judging ended with an error" not in texts(at)


def test_a_cancelled_job_stores_the_answers_under_way(run: str, space: Workspace, served: ServedModels, settings: JudgeSettings) -> None:
    first, go_on = threading.Semaphore(8), threading.Event()

    def held(body: dict[str, Any], fault: str) -> tuple[int, dict[str, Any]]:
        if not first.acquire(blocking=False):
            go_on.wait(WAIT)
        return completion(body, fault)

    served.chat = held
    at = press(open_app("quality", run=run), "judge-start")
    deadline = time.monotonic() + WAIT
    while len(resources.judgements().all()) < 8 or len(served.asked) < 12:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    at.run()
    assert any("tokens so far" in str(each.proto.text) for each in at.get("progress"))
    press(at, next(each.key for each in at.button if str(each.key).startswith("judge-cancel")))
    assert "Stopping. Nothing more is asked, and the answers under way are stored." in texts(at)
    assert not [each for each in at.button if str(each.key).startswith("judge-cancel")]
    go_on.set()
    assert ended(space, run).state == "cancelled"
    at.run()
    assert "Cancelled. What is judged is stored." in texts(at)
    assert (metrics(at)["Judged"], len(served.asked)) == ("12", 12)


def test_pairs_without_a_grade_are_asked_about_again_on_request(
    run: str, space: Workspace, served: ServedModels, settings: JudgeSettings
) -> None:
    corpus = resources.open_run(run).inputs.corpus
    three = np.arange(3, dtype=np.int32), np.full(3, len(corpus.passages) - 1, np.int32)
    served.fail("no_grade", times=3)
    judge_pairs(corpus, *three, settings, resources.judgements())
    grade(run, [3, 0])
    at = open_app("quality", run=run)
    assert metrics(at)["Judged"] == "5"
    assert "3 pairs have no usable grade." in texts(at)
    assert re.search(r"(?<!before, )3 calls, about [\d,]+ prompt and [\d,]+ answer tokens", texts(at))
    assert button(at, "Ask again").label == "Ask again about 3 pairs"
    press(at, "judge-again-start")
    assert ended(space, run).state == "done"
    at.run()
    assert metrics(at)["Judged"] == "5"
    assert "no usable grade" not in texts(at)
    assert not [each for each in at.button if each.label.startswith("Ask again")]
    assert served.seen["/v1/chat/completions"]["texts"] == 6


def test_a_check_asks_once_and_says_what_the_judge_answers(
    run: str, space: Workspace, served: ServedModels, settings: JudgeSettings
) -> None:
    at = press(open_app("quality", run=run), "check-judge")
    assert "The server answers." in texts(at)
    assert re.search(
        rf"Model: {NAME}, prompt {DEFAULT_PROMPT.version}\n"
        r"Grade of a passage that answers its query: [23] \(\d+\.\d s, \d+ tokens\)",
        texts(at),
    )
    assert served.seen["/v1/chat/completions"]["texts"] == 1
    assert not (space.root / "judgements.sqlite").exists() or resources.judgements().all() == []
    served.fail("no_grade")
    press(at, "check-judge")
    assert f"the judge {NAME} gave no usable grade (its answer: It depends on what the person wants to know)" in texts(at)
    served.heal()
    served.fail("wrong_key")
    press(at, "check-judge")
    assert "refuses access with 401" in texts(at)


def test_the_others_of_pairs_that_are_judged_in_part_are_offered(run: str, space: Workspace, settings: JudgeSettings) -> None:
    opened = resources.open_run(run)
    queries, passages = chosen_pairs(resources.selection(opened, space.run(run).settings.selection))
    with ServedModels(NoModels(), chat=completion) as other:  # type: ignore[arg-type]
        there = msgspec.structs.replace(settings, server=Server(address=other.address))
        judge_pairs(opened.inputs.corpus, queries[:15], passages[:15], there, resources.judgements())
    at = open_app("quality", run=run)
    at.radio(key="judge-which").set_value("chosen").run()
    assert "1,815 pairs: 15 judged before, 1,800 calls" in texts(at)
    assert button(at, "Judge ").label == "Judge 1,800 other pairs"


def test_agreement_is_that_with_people_and_20_at_random_are_offered_until_there_are_20(
    run: str, space: Workspace, store: ReviewStore, settings: JudgeSettings
) -> None:
    found = grade(run, [3] * 10 + [0] * 19 + [None])
    at = open_app("quality", run=run)
    assert (metrics(at)["Judged relevant"], metrics(at)["Agreement"], metrics(at)["Cohen's kappa"]) == ("10", "–", "–")
    assert "1 pair has no usable grade." in texts(at)
    assert "No judged pair has a verdict of a reviewer." in texts(at)
    press(at, "judge-review")
    review = at.session_state["review-session"]
    assert len(review.queue) == 20
    assert {review.texts(place) for place in range(20)} <= set(found)

    store.decide(found[:9], "relevant", "Ann")
    store.decide(found[9:15], "negative", "Ann")
    go(at, "quality")
    assert (metrics(at)["Agreement"], metrics(at)["Cohen's kappa"]) == ("93%", "0.86")
    table = grades_table(at)
    assert table["judged"] == [10, 0, 0, 19]
    assert (table["relevant"], table["not"]) == ([9, 0, 0, 0], [1, 0, 0, 5])
    store.decide(found[15:20], "junk", "Ann")
    at.run()
    assert [each for each in at.button if each.key == "judge-review"] == []


def test_judge_positive_pairs_are_promoted_where_people_agree_and_one_undo_reverts_it(
    run: str, space: Workspace, store: ReviewStore, settings: JudgeSettings
) -> None:
    found = grade(run, [3] * 30 + [2] * 5 + [0] * 5)
    at = open_app("quality", run=run, state={"reviewer": "Ann"})
    assert "Promotion needs verdicts of people on 20 judge-positive pairs, to know how often the judge is right. There are 0." in texts(at)
    store.decide(found[:17], "relevant", "Bob")
    store.decide(found[17:20], "negative", "Bob")
    at.run()
    assert "People agree with 85% of the 20 judge-positive pairs they judged. Promotion needs 90%." in texts(at)
    before = {(each.query, each.passage): each.verdict for each in store.verdicts()}
    agreement = metrics(at)["Agreement"]
    at.radio(key="judge-level").set_value(80).run()
    assert "Promotion needs" not in texts(at)
    assert "Adds 15 passages as positives of their queries. These become verdicts of Ann" in texts(at)

    press(at, "judge-promote-go")
    assert "15 pairs added as positives." in texts(at)
    added = {(each.query, each.passage): each for each in store.verdicts() if (each.query, each.passage) not in before}
    assert set(added) == set(found[20:35])
    assert {(each.verdict, each.who, each.note) for each in added.values()} == {("positive", "Ann", f"judge {NAME}: grade 2-3")}
    assert by_people(list(added.values())) == []
    assert metrics(at)["Agreement"] == agreement, "the judge does not agree with itself"

    press(at, "judge-promote-undo")
    assert {(each.query, each.passage): each.verdict for each in store.verdicts()} == before
    assert "added as positives" not in texts(at)


def test_an_undo_of_a_promotion_never_reverts_another_decision(
    run: str, space: Workspace, store: ReviewStore, settings: JudgeSettings
) -> None:
    found = grade(run, [3] * 25)
    store.decide(found[:20], "relevant", "Bob")
    at = open_app("quality", run=run, state={"reviewer": "Ann"})
    at.text_input(key="judge-promote-name-Ann").set_value("Grace").run()
    press(at, "judge-promote-go")
    assert {each.who for each in store.verdicts() if each.verdict == "positive"} == {"Grace"}
    store.decide([("another", "pair")], "junk", "Grace")
    press(at, "judge-promote-undo")
    assert "Other decisions followed." in texts(at)
    assert len(store.verdicts()) == 26


def test_texts_of_the_judge_and_its_server_are_shown_literally(run: str, space: Workspace, store: ReviewStore) -> None:
    name = "**bold** :red[x] <b>m</b>"
    write_judge(space.root, JudgeSettings(model=name, server=Server(address="http://127.0.0.1:9/v1")))
    grade(run, [3, None], name)
    at = open_app("quality", run=run)
    assert any(str(each.value).startswith(f"{name} · served at") for each in at.text)
    assert not any(name in str(each.value) for kind in (at.markdown, at.caption) for each in kind)


@pytest.mark.parametrize("content", [b"\xff" * 5000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_damaged_grades_are_one_error_with_its_remedy(run: str, space: Workspace, settings: JudgeSettings, content: bytes) -> None:
    (space.root / "judgements.sqlite").write_bytes(content)
    at = open_app("quality", run=run)
    assert texts(at).count("judgements.sqlite are damaged") == 1
    assert "move that file away together with the files ending in -wal and -shm, then judge again" in texts(at)


def test_a_shared_app_asks_listed_servers_alone(
    run: str, space: Workspace, served: ServedModels, settings: JudgeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "any_address", lambda: False)
    monkeypatch.setenv(servers.LISTED, "https://judges.example/v1")
    at = press(open_app("quality", run=run), "judge-start")
    assert "The pairs cannot be judged" in texts(at)
    assert f"the server {served.address} may not be asked" in texts(at)
    assert (served.asked, judging.latest(space.run(run).dataset_id)) == ([], None)
    monkeypatch.setenv(servers.LISTED, served.address)
    press(at.run(), "judge-start")
    assert ended(space, run).state == "done"


def test_another_prompt_has_its_own_grades(run: str, space: Workspace, settings: JudgeSettings) -> None:
    grade(run, [3, 2])
    strict = msgspec.structs.replace(settings, prompt=type(DEFAULT_PROMPT)("strict", DEFAULT_PROMPT.text + " Be strict."))
    write_judge(space.root, strict)
    at = open_app("quality", run=run)
    assert metrics(at)["Judged"] == "2"
    assert f"Grades of {NAME}, prompt {DEFAULT_PROMPT.version}, count. The chosen judge has judged no pair of this data" in texts(at)
    (pair, *_) = pairs(run)
    resources.judgements().add([Judgement(*pair, 1, "because", NAME, strict.prompt.version)])
    at.run()
    assert metrics(at)["Judged"] == "1", "from its first grade on, the chosen judge counts alone"
    assert "count." not in texts(at)
    assert f"Grades of {NAME}, prompt {strict.prompt.version}." in texts(at)
    write_judge(space.root, settings)
    at.run()
    assert metrics(at)["Judged"] == "2"
