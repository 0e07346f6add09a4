"""A served model is chosen by its address: asked by Check alone, mined with, shown again, and not chosen where others use the app."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from streamlit.testing.v1 import AppTest

from examples.served_models import ServedModels
from hnmine import resources
from hnmine.models.cards import ModelSettings
from hnmine.models.reranker import RerankerSettings
from hnmine.models.served.server import Server
from hnmine.runs.settings import MineSettings
from hnmine.runs.workspace import Workspace
from pages.mine import cluster
from pages.shared import mining, served, servers
from pages.shared.access import AccessError
from tests.pages.conftest import open_app, press, texts
from tests.pages.test_hostile_names import RAW
from tests.pages.test_inspect_screen import open_tab
from tests.served import FakeModels, fake_server

KEY, SECRET = "HNMINE_TEST_API_KEY", "sk-never-to-be-seen"
ROWS = [{"query": f"question {number}", "pos": [f"answer {number}"]} for number in range(30)]


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """One person on this machine, unless a test says otherwise."""
    for name in (servers.LISTED, "HNMINE_OPEN_TO_NETWORK", "HNMINE_PUBLIC_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def answering() -> Iterator[ServedModels]:
    with fake_server() as found:
        yield found


@pytest.fixture
def dataset(fresh: Path, write_jsonl: Any) -> str:
    return Workspace(fresh).add_dataset("rows.jsonl", write_jsonl(ROWS)).id


def mine_screen(dataset: str, address: str) -> AppTest:
    at = open_app("mine", dataset=dataset)
    at.selectbox(key=f"model-{dataset}").set_value(served.SERVED).run()
    at.text_input(key=f"address-model-{dataset}").set_value(address).run()
    assert not at.exception
    return at


def finished(dataset: str) -> None:
    deadline = time.monotonic() + 120
    while resources.jobs().latest(dataset).active and time.monotonic() < deadline:  # type: ignore[union-attr]
        time.sleep(0.02)
    assert resources.jobs().latest(dataset).state == "done", resources.jobs().latest(dataset)  # type: ignore[union-attr]


def labels(at: AppTest) -> list[str]:
    return [str(each.label) for kind in (at.selectbox, at.text_input, at.number_input, at.button) for each in kind]


def test_nothing_is_asked_before_the_check_which_finds_name_dimensions_and_time(dataset: str, answering: ServedModels) -> None:
    at = open_app("mine", dataset=dataset)
    at.selectbox(key=f"model-{dataset}").set_value(served.SERVED).run()
    assert at.button(key="mine").disabled
    assert [str(each.value) for each in at.info] == ["Model: enter the address of the server."]
    assert not at.error, "nothing was entered yet"
    at.text_input(key=f"address-model-{dataset}").set_value(f"{answering.address}/v1").run()
    at.run()
    assert answering.headers == []
    assert at.button(key="mine").disabled, "the name is missing"
    assert "Model: enter the name of the model." in texts(at)
    press(at, f"check-model-{dataset}")
    at.run()
    assert "The server answers." in texts(at)
    for line in ("Model: trigrams", "Dimensions: 64", "Time of one text:", "Longest text: 10,000 tokens"):
        assert line in texts(at)
    asked = len(answering.headers)
    assert at.selectbox(key=f"name-model-{dataset}").value == "trigrams"
    assert f"trigrams · served at {answering.address}/v1" in texts(at)
    assert not at.button(key="mine").disabled
    at.run()
    assert len(answering.headers) == asked, "not asked again by a rerun"
    at.text_input(key=f"address-model-{dataset}").set_value("http://127.0.0.1:9").run()
    assert "The server answers." not in texts(at), "that was another server"


def test_the_fields_of_three_servers_have_names_of_their_own(dataset: str) -> None:
    at = open_app("mine", dataset=dataset)
    for kind in ("model", "second-model", "reranker"):
        at.selectbox(key=f"{kind}-{dataset}").set_value(served.SERVED).run()
    for kind in ("model", "second", "reranker"):
        at.text_input(key=f"address-{kind}-{dataset}").set_value(f"http://127.0.0.1:9/{'rerank' if kind == 'reranker' else 'v1'}").run()
    named = labels(at)
    assert {"Address of the server (second model)", "Name of the second model", "Form of the API (reranker)", "Check the model"} <= set(
        named
    )
    assert sorted(named) == sorted(set(named))


def test_a_cluster_is_refused_beside_a_served_model(dataset: str, answering: ServedModels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "nodes_in_words", lambda address: "2 nodes, 16 CPUs, 4 GPUs")
    at = mine_screen(dataset, f"{answering.address}/v1")
    press(at, f"check-model-{dataset}")
    at.run()
    assert not at.button(key="mine").disabled
    at.text_input(key=f"cluster-{dataset}").set_value("10.0.0.5:6379").run()
    assert "Cannot use this cluster" in texts(at)
    assert "Remove the cluster, or choose a model that is loaded." in texts(at)
    assert at.button(key="mine").disabled
    at.text_input(key=f"cluster-{dataset}").set_value("").run()
    assert not at.button(key="mine").disabled


def test_a_name_that_the_next_server_lacks_is_said() -> None:
    def screen() -> None:
        from hnmine.models.served.server import Server
        from pages.shared.served import model_name

        model_name("it", "old", Server(address="http://127.0.0.1:9/v1"))

    at = AppTest.from_function(screen).run()
    assert "lacks this name" not in texts(at), "its list is not known before the check"
    at.session_state["checked-it"] = served.Answer(Server(address="http://127.0.0.1:9/v1"), "old", names=("new", "newer"))
    assert "The server's list of models lacks this name." in texts(at.run())
    at.selectbox(key="name-it").set_value("new").run()
    assert "lacks this name" not in texts(at)


def test_one_choice_that_is_missing_does_not_hide_one_that_is_wrong(dataset: str) -> None:
    at = mine_screen(dataset, "127.0.0.1:8000")
    at.selectbox(key=f"reranker-{dataset}").set_value(served.SERVED).run()
    assert "A choice cannot be used. See Change." in texts(at)


def test_it_is_mined_with_and_shown_again_and_a_change_of_the_server_is_seen(dataset: str, answering: ServedModels, fresh: Path) -> None:
    at = mine_screen(dataset, f"{answering.address}/v1")
    press(at, f"check-model-{dataset}")
    at.selectbox(key=f"reranker-{dataset}").set_value(served.SERVED).run()
    assert at.button(key="mine").disabled, "the reranker has no address"
    at.text_input(key=f"address-reranker-{dataset}").set_value(f"{answering.address}/rerank").run()
    press(at, f"check-reranker-{dataset}")
    assert "Time of one pair:" in texts(at)
    at.selectbox(key=f"second-model-{dataset}").set_value(served.SERVED).run()
    at.text_input(key=f"address-second-{dataset}").set_value(f"{answering.address}/embed").run()
    press(at, f"check-second-{dataset}")
    assert not at.exception
    press(at, "mine")
    finished(dataset)
    run = Workspace(fresh).runs(dataset)[0]
    assert run.settings.model == ModelSettings(name_or_path="trigrams", server=Server(address=f"{answering.address}/v1"))
    assert run.settings.second_model == ModelSettings(name_or_path="trigrams", server=Server(address=f"{answering.address}/embed"))
    assert run.settings.reranker is not None
    assert run.settings.reranker.server == Server(address=f"{answering.address}/rerank")
    asked = len(answering.headers)
    at = open_app("mine", run=run.id)
    assert not at.exception
    assert "Changed:" not in texts(at)
    assert at.text_input(key=f"address-model-{dataset}").value == f"{answering.address}/v1"
    said = texts(at)
    for each in ("trigrams · served at", f"second model trigrams · served at {answering.address}/embed", "reranker trigrams · served at"):
        assert each in said
    assert f"Model: trigrams · served at {answering.address}/v1/embeddings" in said, "the context bar"
    assert len(answering.headers) == asked, "opening a run asks nothing"
    at.number_input(key=f"dimensions-model-{dataset}").set_value(32).run()
    assert "Changed: model. Mine again" in texts(at)
    assert f"Model: trigrams · served at {answering.address}/v1/embeddings" in texts(open_app("export", run=run.id))


FAULTS = {"wrong_key": "key", "not_json": "JSON", "nan": "NaN", "fewer": "vector"}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_check_that_fails_says_the_one_reason_and_mining_stays_possible(dataset: str, answering: ServedModels, fault: str) -> None:
    at = mine_screen(dataset, answering.address)
    press(at, f"check-model-{dataset}")
    answering.fail(fault)
    press(at, f"check-model-{dataset}")
    assert "The check failed" in texts(at)
    assert FAULTS[fault].lower() in texts(at).lower()
    assert "The server answers." not in texts(at)
    assert not at.button(key="mine").disabled


def test_an_address_that_is_none_and_a_variable_that_is_not_set_are_said_at_once(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at = mine_screen(dataset, "127.0.0.1:8000")
    assert "Cannot use this server" in texts(at)
    assert "no http://" in texts(at)
    at.text_input(key=f"address-model-{dataset}").set_value("http://127.0.0.1:8000/rerank").run()
    assert "Cannot use this server" in texts(at)
    assert "this is the path of a reranker" in texts(at)
    at.text_input(key=f"address-model-{dataset}").set_value("http://127.0.0.1:8000").run()
    at.text_input(key=f"key-variable-model-{dataset}").set_value(KEY).run()
    assert f"the environment variable {KEY} is not set" in texts(at)
    at.text_input(key=f"key-variable-model-{dataset}").set_value("HOME").run()
    assert "the variable with the key must be the name of an environment variable" in texts(at)
    assert at.button(key="mine").disabled
    monkeypatch.setenv(KEY, SECRET)
    at.text_input(key=f"key-variable-model-{dataset}").set_value(KEY).run()
    assert "Cannot use this server" not in texts(at)


def test_a_key_is_sent_and_nowhere_shown(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, SECRET)
    with fake_server(key_variable=KEY) as answering:
        at = mine_screen(dataset, answering.address)
        at.text_input(key=f"key-variable-model-{dataset}").set_value(KEY).run()
        press(at, f"check-model-{dataset}")
        assert "The server answers." in texts(at)
        assert any(SECRET in str(each) for each in answering.headers)
        answering.fail("wrong_key")
        press(at, f"check-model-{dataset}")
    assert "The check failed" in texts(at)
    sent = b"".join(each.proto.SerializeToString() for each in at if getattr(each, "proto", None) is not None)  # type: ignore[attr-defined]
    assert SECRET.encode() not in sent
    assert SECRET not in repr(at.session_state)


def test_the_form_of_a_reranker_is_detected_or_has_to_be_chosen(dataset: str, answering: ServedModels) -> None:
    at = open_app("mine", dataset=dataset)
    at.selectbox(key=f"reranker-{dataset}").set_value(served.SERVED).run()
    at.text_input(key=f"address-reranker-{dataset}").set_value(answering.address).run()
    assert "Choose the form of the API." in texts(at)
    assert f"check-reranker-{dataset}" not in [each.key for each in at.button]
    at.selectbox(key=f"api-reranker-{dataset}-{answering.address}").set_value("jina").run()
    press(at, f"check-reranker-{dataset}")
    assert "The server answers." in texts(at)
    assert list(answering.seen) == ["/v1/rerank"]


def test_what_a_server_says_is_shown_as_it_is(dataset: str) -> None:
    class Hostile(FakeModels):
        name = "[click](http://evil.example) **bold** $x$ :red[r] \u202egnp"

    with fake_server() as answering:
        answering.models = Hostile()
        at = mine_screen(dataset, answering.address)
        press(at, f"check-model-{dataset}")
        at.run()
    marked = [str(each.value) for kind in (at.markdown, at.caption, at.error, at.warning, at.info, at.success) for each in kind]
    assert not any("evil.example" in each for each in marked)
    assert not any(RAW.search(each.proto.SerializeToString()) for each in at if getattr(each, "proto", None) is not None)  # type: ignore[attr-defined]


# Where several people use the app.


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HNMINE_OPEN_TO_NETWORK", "1")


def test_a_shared_app_offers_no_server_and_says_why(dataset: str, shared: None) -> None:
    at = open_app("mine", dataset=dataset)
    for key in (f"model-{dataset}", f"second-model-{dataset}", f"reranker-{dataset}"):
        assert served.SERVED not in at.selectbox(key=key).options
    assert "HNMINE_SERVERS lists no server" in at.selectbox(key=f"model-{dataset}").help


def test_a_shared_app_offers_the_listed_servers_alone(
    dataset: str, shared: None, answering: ServedModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(servers.LISTED, f"http://10.0.0.7:8080  {answering.address}/v1={KEY}")
    monkeypatch.setenv(KEY, SECRET)
    at = open_app("mine", dataset=dataset)
    at.selectbox(key=f"model-{dataset}").set_value(served.SERVED).run()
    assert f"address-model-{dataset}" not in [each.key for each in at.text_input]
    assert f"key-variable-model-{dataset}" not in [each.key for each in at.text_input]
    choice = at.selectbox(key=f"listed-model-{dataset}")
    assert choice.options == ["http://10.0.0.7:8080", f"{answering.address}/v1 (key in {KEY})"]
    choice.set_value(choice.options[1]).run()
    press(at, f"check-model-{dataset}")
    assert "The server answers." in texts(at)
    assert {each.get("Authorization") for each in answering.headers} == {f"Bearer {SECRET}"}


def settings_with(server: Server) -> list[MineSettings]:
    model = ModelSettings(name_or_path="m", server=server)
    return [
        MineSettings(model=model),
        MineSettings(second_model=model),
        MineSettings(reranker=RerankerSettings(name_or_path="r", server=msgspec.structs.replace(server, api="tei"))),
    ]


def test_no_job_of_a_shared_app_asks_an_address_that_is_not_listed(
    dataset: str, shared: None, answering: ServedModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings of an earlier run, or of a job that a crash interrupted, do not come from the widgets."""
    monkeypatch.setenv(KEY, SECRET)
    monkeypatch.setenv("OTHER_API_KEY", SECRET)
    monkeypatch.setenv(servers.LISTED, f"{answering.address}={KEY}")
    for server in (
        Server(address="http://169.254.169.254/latest"),
        Server(address=f"{answering.address}/v1", key_variable=KEY),
        Server(address=answering.address, key_variable="OTHER_API_KEY"),
        Server(address=answering.address),
    ):
        for settings in settings_with(server):
            with pytest.raises(AccessError, match="may not be asked"):
                mining.start(dataset, settings, 30)
    assert resources.jobs().latest(dataset) is None
    assert answering.headers == []
    (settings, *_) = settings_with(Server(address=answering.address, key_variable=KEY, dimensions=32))
    assert mining.start(dataset, settings, 30)


def test_a_run_of_before_whose_server_is_no_longer_listed_is_opened_and_not_mined_again(
    dataset: str, fresh: Path, answering: ServedModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = mine_screen(dataset, answering.address)
    press(at, f"check-model-{dataset}")
    press(at, "mine")
    finished(dataset)
    run = Workspace(fresh).runs(dataset)[0].id
    monkeypatch.setenv("HNMINE_OPEN_TO_NETWORK", "1")
    asked = len(answering.headers)
    at = open_app("mine", run=run)
    assert "The server of the last run cannot be chosen" in texts(at)
    assert at.button(key="mine").disabled
    at = open_tab(open_app("inspect", run=run), "Search passages")
    at.text_input(key="inspect-ask").set_value("a question").run()
    assert "Cannot use the model" in texts(at)
    monkeypatch.setenv(servers.LISTED, "http://10.0.0.7:8080")
    at = open_app("mine", run=run)
    assert at.button(key="mine").disabled
    assert "may not be asked" in texts(at)
    assert len(answering.headers) == asked
