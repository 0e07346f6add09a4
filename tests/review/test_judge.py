"""An LLM as judge against a real server: cost known before, each fault with its message, nothing asked twice, also after a kill."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from examples.served_judge import NAME, completion, grade
from examples.served_models import CHAT, ServedModels
from hnmine.core.errors import Cancelled, EncodeError, LimitError, ModelError, SettingsError, WorkspaceError
from hnmine.data.corpus import Corpus, build_corpus
from hnmine.data.rows import Row
from hnmine.models.served import client
from hnmine.models.served.server import Server
from hnmine.review.judge import STAGE, CallPlan, Judged, judge_pairs, planned
from hnmine.review.judge_pairs import old_pairs
from hnmine.review.judge_prompt import DEFAULT_PROMPT, JudgePrompt, messages
from hnmine.review.judge_settings import JudgeSettings
from hnmine.review.judgements import JudgementStore

ROOT = Path(__file__).parents[2]
WAIT = 120.0  # seconds that a test waits for what must come


class NoModels:
    """For a server that is a judge alone."""

    name, max_tokens = "none", 1


Serve = Callable[..., ServedModels]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers that end with the test."""
    begun: list[ServedModels] = []

    def start(**options: Any) -> ServedModels:
        begun.append(ServedModels(NoModels(), **({"chat": completion} | options)))  # type: ignore[arg-type]
        return begun[-1]

    yield start
    for each in begun:
        each.close()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(client, "PATIENCE", 0.5)
    monkeypatch.setattr(client, "PATIENCE_UNREACHED", 0.1)


@pytest.fixture
def store(tmp_path: Path) -> JudgementStore:
    return JudgementStore(tmp_path / "judgements.sqlite")


def rows_of(count: int = 5, negatives: int = 4) -> list[Row]:
    """Each query has one positive of ten words, and negatives that share 0, 3, 6 and 9 of them."""
    rows = []
    for number in range(count):
        words = [f"word{number}x{place}" for place in range(10)]
        others = [
            " ".join([*words[: 3 * (turn % 4)], *(f"other{number}x{turn}x{place}" for place in range(4))]) for turn in range(negatives)
        ]
        rows.append(Row(number + 1, f"query number {number}", [" ".join(words)], others, {}))
    return rows


def pairs_of(rows: list[Row]) -> tuple[Corpus, np.ndarray, np.ndarray]:
    corpus = build_corpus(rows)
    return corpus, *old_pairs(corpus, rows)


def settings_for(server: ServedModels, **changes: Any) -> JudgeSettings:
    options = {name: changes.pop(name) for name in ("concurrency", "timeout", "key_variable") if name in changes}
    return JudgeSettings(**({"model": NAME, "server": Server(address=server.address, **options)} | changes))


def judge(server: ServedModels, store: JudgementStore | None, rows: list[Row] | None = None, **changes: Any) -> Judged:
    more = {name: changes.pop(name) for name in ("on_progress", "should_stop", "ask_again") if name in changes}
    return judge_pairs(*pairs_of(rows or rows_of()), settings_for(server, **changes), store, **more)


def questions(server: ServedModels) -> dict[str, int]:
    return server.seen.get(CHAT, {"texts": 0, "different": 0, "repeated": 0})


def test_each_pair_gets_the_grade_of_the_judge_in_the_order_of_the_pairs(serve: Serve, store: JudgementStore) -> None:
    server = serve()
    corpus, queries, passages = pairs_of(rows_of())
    told: list[tuple[int, int, str]] = []
    result = judge(server, store, on_progress=lambda *each: told.append(each))
    assert [(each.query, each.passage) for each in result.judgements] == [
        (corpus.queries[query], corpus.passages[passage]) for query, passage in zip(queries.tolist(), passages.tolist(), strict=True)
    ]
    for each in result.judgements:
        positive = next(row.pos for row in rows_of() if row.query == each.query)
        assert each.grade == grade(messages(DEFAULT_PROMPT, each.query, positive, each.passage)[0]["content"])[0]
        assert "%" in each.reason
        assert (each.judge, each.prompt) == (NAME, DEFAULT_PROMPT.version)
    assert {each.grade for each in result.judgements} == {0, 1, 2, 3}
    assert sorted(map(msgspec.json.encode, store.all())) == sorted(map(msgspec.json.encode, result.judgements))
    assert (result.calls, result.ungraded, result.repeated, result.notes) == (20, 0, 0, ())
    assert result.prompt_tokens + result.completion_tokens == sum(each.tokens for each in result.judgements)
    assert told == [(done, 20, STAGE) for done in range(21)]


def test_a_request_has_temperature_0_a_schema_and_a_limit_and_no_key_without_a_variable(serve: Serve) -> None:
    server = serve()
    judge(server, None, rows_of(1, 1))
    ((path, body),) = server.asked
    assert path == CHAT
    assert (body["temperature"], body["response_format"]["type"]) == (0, "json_schema")
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["reason", "grade"]
    assert 0 < body["max_tokens"] < 1_000
    assert "Authorization" not in server.headers[0]


def test_the_cost_is_known_before_and_corrected_by_what_the_server_counted(serve: Serve, store: JudgementStore) -> None:
    server = serve()
    settings = settings_for(server, max_tokens=50_000)
    given = pairs_of(rows_of())
    plan = planned(*given, settings, store)
    assert (plan.pairs, plan.judged, plan.calls) == (20, 0, 20)
    shown = [(row.query, row.pos, text) for row in rows_of() for text in row.neg]
    sizes = [len(messages(DEFAULT_PROMPT, *each)[0]["content"].encode()) for each in shown]
    assert plan.prompt_tokens == sum(math.ceil(size / 4) for size in sizes)
    limits = r"\(limit 2,000 calls, 50,000 tokens\)"
    assert re.fullmatch(rf"20 pairs: 0 judged before, 20 calls, about \d,\d00 prompt and 1,200 answer tokens {limits}", str(plan))
    assert questions(server)["texts"] == 0
    corpus, queries, passages = given
    judge_pairs(corpus, queries[:8], passages[:8], settings, store)
    plan = planned(*given, settings, store)
    assert (plan.judged, plan.calls) == (8, 12)
    rest = judge_pairs(*given, settings, store)
    assert plan.prompt_tokens == pytest.approx(rest.prompt_tokens, rel=0.02)
    assert plan.completion_tokens == pytest.approx(rest.completion_tokens, rel=0.1)
    assert str(planned(*given, settings, store)) == "20 pairs: 20 judged before, 0 calls"


@pytest.mark.parametrize(
    ("prompt", "answer", "shown"), [(8, 60, "8 prompt and 60"), (311_499, 22_800, "310,000 prompt and 23,000"), (0, 0, "0 prompt and 0")]
)
def test_estimates_are_rounded_as_estimates(prompt: int, answer: int, shown: str) -> None:
    plan = CallPlan(pairs=500, judged=120, calls=380, prompt_tokens=prompt, completion_tokens=answer, max_calls=2_000)
    assert str(plan) == f"500 pairs: 120 judged before, 380 calls, about {shown} answer tokens (limit 2,000 calls)"


def test_nothing_is_asked_twice_and_what_decides_a_grade_is_asked_anew(serve: Serve, store: JudgementStore) -> None:
    server = serve()
    first = judge(server, store)
    assert judge(server, store).judgements == first.judgements
    asked = questions(server)
    assert (asked["texts"], asked["different"], asked["repeated"]) == (20, 20, 0)
    assert judge(server, store, prompt=JudgePrompt("short", "{query} {positives} {passage}")).calls == 20
    assert judge(server, store, model=f"{NAME}-2").calls == 20
    rows = rows_of()
    rows[0].pos.append("another positive, which is shown too")
    assert judge(server, store, rows).calls == 4
    assert judge(server, store, rows[::-1]).calls == 0  # the order of rows is no part of a question
    # With everything judged, neither a server nor a key is needed.
    server.close()
    assert judge(server, store, key_variable="MISSING_API_KEY").judgements == first.judgements


def test_a_pair_that_is_there_twice_is_judged_once_and_a_missing_one_not_at_all(serve: Serve) -> None:
    server = serve()
    corpus, queries, passages = pairs_of(rows_of(1, 2))
    twice = np.concatenate([queries, queries, np.full(3, -1, np.int32)]), np.concatenate([passages, passages, np.full(3, -1, np.int32)])
    assert len(judge_pairs(corpus, *twice, settings_for(server), None).judgements) == 2


def test_more_calls_than_the_limit_are_refused_before_the_first(serve: Serve, store: JudgementStore) -> None:
    server = serve()
    with pytest.raises(
        SettingsError, match=r"^20 pairs: 0 judged before, 20 calls, .* more than max_calls, .* set max_calls to 20 or more"
    ):
        judge(server, store, max_calls=19)
    assert server.asked == []


@pytest.mark.parametrize("fault", ["", "no_usage"])
def test_a_run_ends_at_the_limit_of_tokens_and_what_was_judged_is_kept(serve: Serve, store: JudgementStore, fault: str) -> None:
    server = serve()
    if fault:
        server.fail(fault)
    with pytest.raises(
        LimitError, match=r"has used [\d,]+ tokens, and max_tokens is 2,000: (\d+) of 20 pairs .* kept: raise max_tokens"
    ) as error:
        judge(server, store, max_tokens=2_000, concurrency=1)
    kept = len(store.all())
    assert f": {kept} of 20" in str(error.value)
    assert 2 <= kept <= 9
    result = judge(server, store, max_tokens=200_000)
    assert (len(result.judgements), result.calls) == (20, 20 - kept)
    assert questions(server)["repeated"] == 0
    assert (f"did not count the tokens of {result.calls} calls" in " ".join(result.notes)) is bool(fault)


@pytest.mark.parametrize(
    ("fault", "left_out", "note"),
    [
        ("no_schema", "response_format", "takes no JSON schema"),
        ("no_temperature", "temperature", "takes no temperature"),
        ("no_max_tokens", "max_tokens", ""),
    ],
)
def test_what_a_server_refuses_of_the_request_is_left_out_for_the_rest_of_the_run(
    serve: Serve, store: JudgementStore, fault: str, left_out: str, note: str
) -> None:
    server = serve()
    server.fail(fault)
    result = judge(server, store, concurrency=3)
    assert {each.grade for each in result.judgements} == {0, 1, 2, 3}
    refused = [body for _, body in server.asked if left_out in body]
    assert 1 <= len(refused) <= 3
    assert len(server.asked) - len(refused) == 20
    assert note in " ".join(result.notes)
    if fault == "no_max_tokens":
        assert server.asked[-1][1]["max_completion_tokens"] >= 2_000


def test_a_server_that_refuses_everything_at_once_is_asked_in_the_plainest_form(serve: Serve, store: JudgementStore) -> None:
    server = serve()
    for fault in ("no_schema", "no_temperature", "no_max_tokens"):
        server.fail(fault, times=1)
    assert judge(server, store, concurrency=1).ungraded == 0
    assert sorted(server.asked[-1][1]) == ["max_completion_tokens", "messages", "model"]


def test_json_within_prose_has_its_grade(serve: Serve) -> None:
    server = serve()
    server.fail("prose")
    result = judge(server, None)
    assert [each.grade for each in result.judgements] == [each.grade for each in judge(serve(), None).judgements]


def test_a_model_that_thinks_gets_more_tokens_once_it_was_cut(serve: Serve) -> None:
    server = serve()
    server.fail("thinking")
    assert judge(server, None, concurrency=1).ungraded == 0
    assert len(server.asked) == 21
    assert server.asked[1][1]["max_tokens"] > 2_000


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("no_grade", "It depends on what"),
        ("two_grades", "%"),
        ("content_filter", "refused: The response was filtered"),
        ("long", "refused: This model's maximum context length"),
        ("refusal", "I'm sorry"),
    ],
)
def test_a_pair_without_a_grade_is_counted_kept_and_asked_again_only_on_request(
    serve: Serve, store: JudgementStore, fault: str, reason: str
) -> None:
    server = serve()
    server.fail(fault, after=2, times=3)
    result = judge(server, store, concurrency=1)
    without = [each for each in result.judgements if each.grade is None]
    assert (len(without), result.ungraded, result.calls) == (3, 3, 20)
    assert all(reason in each.reason for each in without)
    asked = len(server.asked)
    assert judge(server, store).ungraded == 3
    assert len(server.asked) == asked
    again = judge(server, store, ask_again=True)
    assert (again.ungraded, again.calls) == (0, 3)
    assert not [each for each in store.all() if each.grade is None]


def test_a_server_that_refuses_one_pair_after_the_other_ends_the_run(serve: Serve, store: JudgementStore) -> None:
    server = serve()
    server.fail("content_filter", after=2)
    with pytest.raises(EncodeError, match=r"has refused 20 pairs one after the other \(refused: The response was filtered"):
        judge(server, store, rows_of(20), concurrency=1)
    assert len([each for each in store.all() if each.grade is not None]) == 2


@pytest.mark.parametrize("fault", ["no_grade", "refusal"])
def test_a_judge_that_gives_no_grade_one_pair_after_the_other_ends_the_run(serve: Serve, store: JudgementStore, fault: str) -> None:
    server = serve()
    server.fail(fault, after=2)
    last = {"no_grade": "It depends on what the person wants to know", "refusal": "I'm sorry, I can't help with that"}[fault]
    message = rf"gave no usable grade for 20 pairs one after the other \(the last answer: {last}\); check that the model"
    with pytest.raises(EncodeError, match=message):
        judge(server, store, rows_of(20), concurrency=1)
    assert len([each for each in store.all() if each.grade is not None]) == 2
    plan = planned(*pairs_of(rows_of(20)), settings_for(server), store)
    assert (plan.judged, plan.without_grade, plan.calls) == (22, 20, 58)
    assert str(plan).startswith("80 pairs: 2 judged before, 20 judged before without a grade, 58 calls, ")
    server.heal()
    again = judge(server, store, rows_of(20), ask_again=True)
    assert (again.calls, again.ungraded, again.notes) == (78, 0, ())


def test_a_few_pairs_without_a_grade_among_others_do_not_end_a_run(serve: Serve, store: JudgementStore) -> None:
    server = serve()
    server.fail("no_grade", after=3, times=19)
    result = judge(server, store, rows_of(20), concurrency=1)
    assert (result.calls, result.ungraded) == (80, 19)
    assert [each for each in result.notes if "no usable grade for 19 of 80 pairs" in each]


@pytest.mark.parametrize("count", [10**30, 2**63, -5, True, 12.5, "12", None, float("inf")])
def test_a_count_of_tokens_beyond_reason_is_unknown_and_loses_no_answer(serve: Serve, store: JudgementStore, count: Any) -> None:
    def counting(body: dict[str, Any], fault: str = "") -> tuple[int, dict[str, Any]]:
        status, answer = completion(body, fault)
        return status, answer | {"usage": {"prompt_tokens": count, "completion_tokens": count}}

    result = judge(serve(chat=counting), store)
    assert (result.ungraded, result.prompt_tokens, result.completion_tokens) == (0, 0, 0)
    assert len(store.all()) == 20
    assert {each.tokens for each in store.all()} == {0}


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ({"kind": "failing"}, EncodeError, r"/v1/chat/completions answers 503 \(the engine has died\). Start it or wait, then run again$"),
        ({"kind": "busy", "seconds": 9_999}, EncodeError, r"answers 429 .* asks to wait 9,999 s"),
        ({"kind": "wrong_key"}, ModelError, "refuses access with 401"),
        ({"kind": "not_json"}, EncodeError, "answered with what is no JSON"),
        ({"kind": "hang"}, EncodeError, r"did not answer within 0\.5 s"),
        ({"kind": "no_choices"}, EncodeError, r'is no chat completion: \{"object": "list".*Check the address'),
    ],
)
def test_a_fault_of_the_server_is_one_clear_error_and_what_was_judged_is_kept(
    serve: Serve, store: JudgementStore, fault: dict[str, Any], error: type[Exception], message: str
) -> None:
    server = serve()
    server.fail(**fault, after=5)
    timeout = 0.5 if fault["kind"] == "hang" else 60.0
    with pytest.raises(error, match=f"^the judge {NAME}: .*{message}"):
        judge(server, store, concurrency=1, timeout=timeout)
    assert len(store.all()) == 5
    server.heal()
    assert judge(server, store).calls == 15
    assert questions(server)["different"] == 20


@pytest.mark.parametrize("fault", [{"kind": "failing"}, {"kind": "busy", "seconds": 0}, {"kind": "cut"}])
def test_a_fault_that_passes_costs_a_repeated_request(serve: Serve, store: JudgementStore, fault: dict[str, Any]) -> None:
    server = serve()
    server.fail(**fault, after=3, times=2)
    result = judge(server, store, concurrency=1)
    assert (result.ungraded, result.repeated) == (0, 2)


def test_a_wrong_model_a_wrong_address_and_a_key_that_is_not_set_have_their_message(
    serve: Serve, store: JudgementStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    with pytest.raises(ModelError, match=r"the judge gpt: .* answers 404 \(The model `gpt` does not exist\.\).* name of the model"):
        judge(server, store, model="gpt")
    with pytest.raises(ModelError, match="MISSING_API_KEY is not set"):
        judge(server, store, key_variable="MISSING_API_KEY")
    server.close()
    with pytest.raises(EncodeError, match="cannot be reached"):
        judge(server, store)
    monkeypatch.setenv("SOME_API_KEY", "secret-of-a-person")
    server = serve(key_variable="SOME_API_KEY")
    judge(server, store, key_variable="SOME_API_KEY")
    monkeypatch.setenv("OTHER_API_KEY", "another-secret")
    with pytest.raises(ModelError) as error:
        judge(server, None, key_variable="OTHER_API_KEY")
    assert "another-secret" not in str(error.value)
    assert b"secret-of-a-person" not in store.path.read_bytes()


def test_a_cancel_sends_nothing_more_and_keeps_the_answers_under_way(serve: Serve, store: JudgementStore) -> None:
    first, stop = threading.Semaphore(4), threading.Event()

    def held(body: dict[str, Any], fault: str) -> tuple[int, dict[str, Any]]:
        if not first.acquire(blocking=False):
            assert stop.wait(WAIT)
            time.sleep(0.3)  # until after the cancel
        return completion(body, fault)

    server = serve(chat=held)
    with pytest.raises(Cancelled):
        judge(server, store, concurrency=2, on_progress=lambda done, *_: done == 4 and stop.set(), should_stop=stop.is_set)
    assert len(store.all()) == questions(server)["texts"] == len(server.asked)
    assert 4 <= len(server.asked) <= 6
    judge(server, store)
    assert (questions(server)["texts"], questions(server)["repeated"]) == (20, 0)


def test_a_cancel_waits_for_a_call_that_hangs_until_its_deadline_and_does_not_ask_again(serve: Serve, store: JudgementStore) -> None:
    server = serve()
    server.fail("hang", after=4)
    stop = threading.Event()
    with pytest.raises(Cancelled):
        judge(server, store, concurrency=2, timeout=2.0, on_progress=lambda done, *_: done == 4 and stop.set(), should_stop=stop.is_set)
    assert len(store.all()) == 4
    assert len(server.asked) == 4, "what hangs is asked once"


@pytest.mark.parametrize("fault", ["wrong_key", "busy"])
def test_answers_under_way_at_an_error_or_in_a_pause_before_another_try_are_kept_too(
    serve: Serve, store: JudgementStore, fault: str
) -> None:
    server = serve(chat=lambda body, fault: (time.sleep(0.2), completion(body, fault))[1])
    server.fail(fault, after=3, times=1)
    stop = threading.Event()
    with pytest.raises(ModelError if fault == "wrong_key" else Cancelled):
        judge(server, store, concurrency=4, on_progress=lambda done, *_: done == 3 and stop.set(), should_stop=stop.is_set)
    server.heal()
    judge(server, store)
    assert (questions(server)["texts"], questions(server)["repeated"]) == (20, 0)


def test_of_two_runs_at_once_one_asks_and_the_other_says_who_does(serve: Serve, store: JudgementStore) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def held(body: dict[str, Any], fault: str) -> tuple[int, dict[str, Any]]:
        begun.set()
        assert go_on.wait(WAIT)
        return completion(body, fault)

    server = serve(chat=held)
    results: list[Judged] = []
    thread = threading.Thread(target=lambda: results.append(judge(server, JudgementStore(store.path), rows_of(12))))
    thread.start()
    assert begun.wait(WAIT)
    with pytest.raises(WorkspaceError, match=f"another run asks the judge {NAME} with the prompt .* \\(process {os.getpid()} on .*; wait"):
        judge(server, store, rows_of(12))
    go_on.set()
    judge(server, store, model=f"{NAME}-2")  # another judge
    assert judge(server, None, rows_of(2)).calls == 8, "without a store nothing is shared"
    thread.join()
    again = judge(server, store, rows_of(12))
    assert (again.calls, again.judgements) == (0, results[0].judgements)
    assert [each.judge for each in store.all()].count(NAME) == 48


CLIENT = """
import sys
from tests.review.test_judge import judge_there
judge_there(*sys.argv[1:])
"""


def judge_there(address: str, path: str) -> None:
    settings = JudgeSettings(model=NAME, server=Server(address=address, concurrency=4))
    judge_pairs(*pairs_of(rows_of(125)), settings, JudgementStore(path))


def test_a_killed_run_continues_where_it_was(serve: Serve, store: JudgementStore) -> None:
    """500 pairs, SIGKILL in the middle: only the answers under way are asked again."""

    def slowly(body: dict[str, Any], fault: str) -> tuple[int, dict[str, Any]]:
        time.sleep(0.01)
        return completion(body, fault)

    server = serve(chat=slowly)
    command = [sys.executable, "-c", CLIENT, server.address, str(store.path)]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    end = time.monotonic() + WAIT
    while questions(server)["texts"] < 200:
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait(WAIT)
    assert process.returncode == -signal.SIGKILL
    kept = len(store.all())
    answered = questions(server)["texts"]
    assert 150 < kept < 500
    lost = answered - kept
    assert lost <= 8  # under way, or answered and not yet stored
    result = judge(server, store, rows_of(125))
    assert (result.plan.judged, result.calls) == (kept, 500 - kept)
    seen = questions(server)
    print(f"killed after {answered} answers: {kept} kept, {lost} lost under way; the server saw {seen}")
    assert seen["different"] == 500
    assert seen["repeated"] <= 8
