"""The flags of served models: they make a server of each role, come back from its settings, and refuse what has no effect."""

from __future__ import annotations

import argparse

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hnmine.cli.flag import SERVER_FLAGS
from hnmine.cli.flags import command_line, settings_from
from hnmine.cli.main import main, parse
from hnmine.core.errors import SettingsError
from hnmine.models.cards import PACKAGED_NAME, ModelSettings
from hnmine.models.reranker import RerankerSettings
from hnmine.models.served.server import EMBEDDER_APIS, RERANKER_APIS, Server
from hnmine.retrieval.retrievers import second_model_settings
from hnmine.runs.settings import MineSettings

ADDRESS = "http://127.0.0.1:8000/v1"


def parsed(*flags: str) -> argparse.Namespace:
    return parse(["mine", "--input_file", "in.jsonl", "--output_file", "out.jsonl", *flags])


def read(*flags: str) -> MineSettings:
    return settings_from(parsed(*flags))


def test_each_role_has_a_server_of_its_own() -> None:
    found = read(
        *("--embedder_name_or_path", "bge-m3", "--embedder_server", f"{ADDRESS}/", "--embedder_key_variable", "OPENAI_API_KEY"),
        *("--embedder_api", "openai", "--embedder_dimensions", "256", "--server_concurrency", "9", "--server_timeout", "7.5"),
        *("--second_embedder_name_or_path", PACKAGED_NAME, "--second_embedder_server", "http://10.0.0.5:80/embed"),
        *("--reranker_name_or_path", "r", "--reranker_server", "https://r.example", "--reranker_api", "tei", "--batch_size", "16"),
    )
    both = {"concurrency": 9, "timeout": 7.5}
    assert found.model == ModelSettings(
        name_or_path="bge-m3",
        batch_size=16,
        server=Server(address=ADDRESS, api="openai", key_variable="OPENAI_API_KEY", dimensions=256, **both),
    )
    assert found.second_model is not None
    assert found.second_model.server == Server(address="http://10.0.0.5:80/embed", **both)
    assert found.second_model.batch_size == 16
    assert found.reranker == RerankerSettings(name_or_path="r", server=Server(address="https://r.example", api="tei", **both))


NAMED = ("--embedder_server", ADDRESS, "--embedder_name_or_path", "m")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ("--embedder_server", ADDRESS),
            "--embedder_server needs the name by which the server knows the model; give it as --embedder_name_or",
        ),
        (("--second_embedder_server", ADDRESS), "give it as --second_embedder_name_or_path"),
        (("--reranker_server", ADDRESS), "give it as --reranker_name_or_path"),
        (("--embedder_api", "tei"), "--embedder_server is not given"),
        (("--reranker_key_variable", "A_API_KEY"), "--reranker_server is not given"),
        (("--server_timeout", "9"), "there is none"),
        ((*NAMED, "--pooling_method", "cls"), "--pooling_method is for a model that is loaded here, and --embedder_server"),
        ((*NAMED, "--embedder_model_class", "encoder-only-m3"), "--embedder_model_class is for a model that is loaded"),
        ((*NAMED, "--devices", "cpu"), "--devices is for a model that is loaded"),
        ((*NAMED, "--precision", "bf16"), "--precision is for a model that is loaded"),
        ((*NAMED, "--trust_remote_code"), "--trust_remote_code is for a model that is loaded"),
        ((*NAMED, "--cache_dir", "there"), "--cache_dir is for a model that is loaded"),
        (
            ("--reranker_server", ADDRESS, "--reranker_name_or_path", "r", "--reranker_model_class", "encoder-only-base"),
            "--reranker_model_class is for a model that is loaded here, and --reranker_server",
        ),
        ((*NAMED, "--embedder_key_variable", "sk-12345"), "the variable with the key must be the name of"),
        (("--embedder_name_or_path", "m", "--embedder_server", "127.0.0.1:8000"), "no http:// or no host"),
        ((*NAMED, "--server_concurrency", "0"), "concurrency is 0"),
    ],
)
def test_what_has_no_effect_or_no_sense_is_refused(flags: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SettingsError, match=said.replace("(", r"\(")):
        read(*flags)
    assert main(["mine", "--input_file", "in.jsonl", "--output_file", "out.jsonl", *flags]) == 2
    assert said in capsys.readouterr().err


def test_flags_of_loaded_models_are_those_of_the_one_that_is_loaded() -> None:
    found = read(*NAMED, "--devices", "cpu", "--precision", "fp32", "--reranker_name_or_path", "r")
    assert found.model == ModelSettings(name_or_path="m", server=Server(address=ADDRESS))
    assert found.reranker == RerankerSettings(name_or_path="r", devices=("cpu",), precision="fp32")
    assert read(*NAMED, "--use_fp16", "false").model == found.model, "scripts of hn_mine.py may have it"


def servers(apis: tuple[str, ...]) -> st.SearchStrategy[Server]:
    hosts = st.sampled_from(["http://127.0.0.1:8000", "https://models.example/v1", "http://[::1]:1/embed"])
    keys = st.none() | st.sampled_from(["OPENAI_API_KEY", "MY_2_API_KEY"])
    dimensions = st.none() | st.integers(1, 4096) if apis == EMBEDDER_APIS else st.none()
    return st.builds(Server, address=hosts, api=st.none() | st.sampled_from(apis), key_variable=keys, dimensions=dimensions)


@st.composite
def served(draw: st.DrawFn) -> MineSettings:
    shared = {"devices": draw(st.none() | st.just(("cpu",))), "precision": draw(st.sampled_from(["auto", "fp32"]))}
    first = draw(st.none() | servers(EMBEDDER_APIS))
    loaded = ModelSettings(name_or_path="m", batch_size=draw(st.none() | st.just(7)), **shared)
    model = loaded if first is None else ModelSettings(name_or_path="m", batch_size=loaded.batch_size, server=first)
    second = draw(st.none() | servers(EMBEDDER_APIS))
    ranks = draw(st.none() | servers(RERANKER_APIS))
    reranker = RerankerSettings(name_or_path="r", server=ranks, **({} if ranks is not None else shared))
    found = MineSettings(
        model=model,
        second_model=second_model_settings(loaded, draw(st.none() | st.just("s")), second),
        reranker=draw(st.none() | st.just(reranker)),
    )
    all_of = [each for each in (found.model, found.second_model, found.reranker) if each is not None]
    more = {"concurrency": draw(st.integers(1, 9)), "timeout": draw(st.floats(1, 99))}
    changed = {
        name: msgspec.structs.replace(each, server=msgspec.structs.replace(each.server, **more))
        for name in ("model", "second_model", "reranker")
        if (each := getattr(found, name)) in all_of and each.server is not None
    }
    return msgspec.structs.replace(found, **changed)


@given(wanted=served())
@settings(max_examples=200, deadline=None)
def test_the_command_line_names_the_same_servers(wanted: MineSettings) -> None:
    line = command_line(wanted, input_file="in.jsonl", candidate_pool=None, output_file="out.jsonl")
    assert settings_from(parse(line[3:])) == wanted


def test_no_key_is_on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "sk-secret")
    found = read(*NAMED, "--embedder_key_variable", "SOME_API_KEY")
    assert "sk-secret" not in repr(found)
    assert "sk-secret" not in str(command_line(found, input_file="a", candidate_pool=None, output_file="b"))


def test_no_flag_of_a_server_has_a_default() -> None:
    assert {flag.default for flag in SERVER_FLAGS} == {None}
