"""The HTTP client: retries, deadlines, cancels, and one clear error for each fault. Every server is ours, on the loopback."""

from __future__ import annotations

import datetime
import email.utils
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from examples.served_models import ServedModels
from hnmine.core.errors import Cancelled, EncodeError, HnmineError, ModelError, SettingsError
from hnmine.models.served import client as client_module
from hnmine.models.served.client import Client, Refused, Session
from hnmine.models.served.server import Server
from tests.served import fake_server

# Far beyond what anything here takes, on a machine however loaded.
LONG = 120.0


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedModels]:
    """A server, and a client without long pauses."""
    monkeypatch.setattr(client_module, "FIRST_PAUSE", 0.01)
    with fake_server() as server:
        yield server


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PATIENCE", "PATIENCE_BROKEN", "PATIENCE_UNREACHED"):
        monkeypatch.setattr(client_module, name, 0.1)


def client_of(served: ServedModels, **more: Any) -> Client:
    return Client(Server(address=served.address, **more), "the model trigrams")


async def embed(session: Session, text: str = "a text") -> Any:
    answer = await session.post("/v1/embeddings", {"model": "trigrams", "input": [text]})
    return len(answer["data"])


def test_a_busy_server_is_asked_again(served: ServedModels) -> None:
    served.fail("busy", times=2)
    served.fail("failing", times=1, status=500)
    client = client_of(served)
    assert client.answer(embed) == 1
    assert client.repeated == 3


@pytest.mark.parametrize("header", ["seconds", "milliseconds", "date"])
def test_the_pause_is_at_least_what_the_server_asks_for(served: ServedModels, header: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def pause(_: Session, seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(Session, "pause", pause)
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=200)
    served.fail("busy", times=1, **{header: {"seconds": 60, "milliseconds": 60_000, "date": email.utils.format_datetime(later)}[header]})
    assert client_of(served).answer(embed) == 1
    assert [each for each in pauses if 50 <= each <= 201] == pauses != []


def test_a_server_that_asks_to_wait_too_long_is_an_error(served: ServedModels) -> None:
    served.fail("busy", seconds=3_600)
    with pytest.raises(
        EncodeError, match=r"answers 429 \(Model is overloaded\) and asks to wait 3,600 s. Start it or wait, then run again$"
    ):
        client_of(served).answer(embed)


def test_busy_for_ever_ends(served: ServedModels, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with "Retry-After: 0"."""
    impatient(monkeypatch)
    served.fail("busy", seconds=0)
    with pytest.raises(EncodeError, match="answers 429"):
        client_of(served).answer(embed)


def test_failing_for_ever_ends(served: ServedModels, monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch)
    served.fail("failing")
    with pytest.raises(EncodeError, match=r"answers 503 \(the engine has died\)"):
        client_of(served).answer(embed)


def test_a_wrong_address(monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(EncodeError, match="cannot be reached"):
        Client(Server(address=address), "the model").answer(embed)


def test_a_wrong_path(served: ServedModels) -> None:
    with pytest.raises(ModelError, match=r"answers 404 .*check the address, its path and the name of the model"):
        Client(Server(address=served.address + "/other/path"), "the model").answer(embed)


def test_a_server_of_another_kind_answers_what_is_no_json(served: ServedModels) -> None:
    served.fail("not_json")
    with pytest.raises(EncodeError, match="answered with what is no JSON: '<html>"):
        client_of(served).answer(embed)


def test_a_request_that_hangs_ends_at_its_deadline(served: ServedModels) -> None:
    served.fail("hang")
    with pytest.raises(EncodeError, match=r"did not answer within 0.3 s \(raise the timeout if it needs more\)"):
        client_of(served, timeout=0.3).answer(embed)
    assert len(served.headers) == 2, "asked once more, in case it was a connection that died"


def test_an_answer_that_breaks_off_is_asked_again(served: ServedModels, monkeypatch: pytest.MonkeyPatch) -> None:
    served.fail("cut", times=2)
    assert client_of(served).answer(embed) == 1
    impatient(monkeypatch)
    served.fail("cut")
    with pytest.raises(EncodeError, match="cannot be reached"):
        client_of(served).answer(embed)


def test_a_body_without_end_is_not_read(served: ServedModels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MOST_BYTES", 2**20)
    served.fail("huge", bytes=2**40)
    with pytest.raises(EncodeError, match="is larger than 1,048,576 bytes"):
        client_of(served).answer(embed)


def test_redirects_are_not_followed(served: ServedModels, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key must not go elsewhere."""
    monkeypatch.setenv("OTHER_API_KEY", "sk-4711")
    with fake_server() as other:
        served.fail("redirect", location=other.address + "/v1/embeddings")
        with pytest.raises(ModelError, match="redirects elsewhere with 307; give the address that it redirects to"):
            client_of(served, key_variable="OTHER_API_KEY").answer(embed)
        assert other.headers == []


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "[::1]"])
def test_what_is_for_this_machine_goes_to_no_proxy(served: ServedModels, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    server = Server(address=f"http://{address}:8000/v1")
    assert server.is_local
    if address != "[::1]":
        assert Client(Server(address=served.address.replace("127.0.0.1", address)), "the model").answer(embed) == 1
    assert not Server(address="http://127.0.0.1.example.com/v1").is_local


def test_a_broken_server_is_asked_for_less_long_than_a_busy_one(served: ServedModels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "PATIENCE_BROKEN", 0.05)
    served.fail("failing", status=500)
    with pytest.raises(EncodeError, match="answers 500"):
        client_of(served).answer(embed)


def test_half_a_surrogate_pair_can_be_sent(served: ServedModels) -> None:
    async def ask(session: Session) -> Any:
        return await embed(session, "half \ud800")

    assert client_of(served).answer(ask) == 1


def test_a_proxy_of_the_environment_is_used(served: ServedModels, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", served.address)
    assert Client(Server(address="http://models.invalid/v1"), "the model").answer(embed) == 1


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "ftp://host/v1", "http://", "http://me:secret@host/v1", "http://host/v1?key=1"])
def test_addresses_that_are_refused(address: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Server(address=address)
    assert "secret" not in str(raised.value).replace("a password", "")


def test_the_key_is_sent_and_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELS_API_KEY", "sk-right-4711")
    with fake_server(key_variable="MODELS_API_KEY") as served:
        client = client_of(served, key_variable="MODELS_API_KEY")
        assert client.answer(embed) == 1
        assert "4711" not in repr(client) + repr(client.server)
        monkeypatch.setenv("MODELS_API_KEY", "sk-wrong-4712")
        with pytest.raises(
            ModelError, match=r"refuses access with 401 .*check the key in the environment variable MODELS_API_KEY"
        ) as raised:
            client_of(served, key_variable="MODELS_API_KEY").answer(embed)
        assert "4712" not in str(raised.value), "this server repeats the key that it refuses"
        assert "***" in str(raised.value)
        with pytest.raises(ModelError, match="name the environment variable that holds its key"):
            client_of(served).answer(embed)
    monkeypatch.delenv("MODELS_API_KEY")
    with pytest.raises(ModelError, match="MODELS_API_KEY is not set"):
        client_of(served, key_variable="MODELS_API_KEY")


def test_a_refusal_keeps_its_status_and_reason(served: ServedModels) -> None:
    served.max_batch = 1

    async def ask(session: Session) -> Any:
        return await session.post("/v1/embeddings", {"model": "trigrams", "input": ["a", "b"]})

    with pytest.raises(Refused, match="refuses a request with 413") as raised:
        client_of(served).answer(ask)
    assert (raised.value.status, raised.value.reason) == (413, "batch size 2 > maximum allowed batch size 1")


def test_a_cancel_ends_requests_that_hang_at_once(served: ServedModels) -> None:
    served.fail("hang")
    began = time.monotonic()
    with pytest.raises(Cancelled):
        list(
            client_of(served, timeout=3_600.0).answers(
                range(3), lambda session, _: embed(session), should_stop=lambda: len(served.headers) == 3
            )
        )
    assert time.monotonic() - began < LONG
    assert [each.name for each in threading.enumerate() if each.name == "hnmine-http"] == []


def test_what_is_finished_comes_before_the_error(served: ServedModels, monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch)
    served.fail("failing", after=5)
    done = []
    with pytest.raises(EncodeError):
        for work, answer in client_of(served, concurrency=1).answers(range(9), lambda session, _: embed(session)):
            done.append((work, answer))
    assert done == [(work, 1) for work in range(5)]


def test_works_are_taken_as_they_can_begin(served: ServedModels) -> None:
    taken = 0

    def works() -> Iterator[int]:
        nonlocal taken
        for work in range(20):
            taken += 1
            yield work

    answers = client_of(served, concurrency=2).answers(works(), lambda session, _: embed(session))
    next(answers)
    assert taken <= 4
    answers.close()


@pytest.mark.parametrize("kind", ["failing", "not_json", "redirect", "wrong_key", "cut"])
def test_every_fault_is_an_error_of_ours(served: ServedModels, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch)
    served.fail(kind)
    with pytest.raises(HnmineError, match=r"the model trigrams: http://127\.0\.0\.1:\d+/v1/embeddings "):
        client_of(served).answer(embed)


def test_the_server_of_the_examples_is_for_this_machine_alone() -> None:
    with pytest.raises(ValueError, match=r"0\.0\.0\.0 can be reached from other machines"):
        fake_server(host="0.0.0.0")
