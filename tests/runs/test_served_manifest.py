"""A manifest whose models are served: repeated by the same model wherever it is, and no file decides where a key is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from examples.served_models import ServedModels
from hnmine.cli.main import main
from hnmine.core.errors import InputError, ModelError
from hnmine.models.cards import ModelSettings
from hnmine.models.opening import load_encoder
from hnmine.models.reranker import RerankerSettings
from hnmine.models.served.server import Server
from hnmine.runs.manifest import Manifest, read_manifest
from hnmine.runs.mine import MineSettings, mine_to_file
from hnmine.runs.reproduce import reproduce, settings_of
from hnmine.selection.settings import SelectionSettings
from tests.served import fake_server, model_of, secrets_in

KEY, SECRET = "HNMINE_TEST_API_KEY", "sk-never-to-be-seen"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedModels]:
    """A server that wants a key."""
    monkeypatch.setenv(KEY, SECRET)
    with fake_server(key_variable=KEY) as found:
        yield found


@pytest.fixture
def mined(tmp_path: Path, write_jsonl: Any, served: ServedModels) -> Path:
    """A folder with a run by served models: train.jsonl, out.jsonl, out.manifest.json."""
    write_jsonl([{"query": f"question {number}", "pos": [f"answer {number}"]} for number in range(20)])
    settings = MineSettings(
        selection=SelectionSettings(window_start=0, window_end=12, negative_number=4),
        model=model_of(served, key_variable=KEY, concurrency=2),
        second_model=model_of(served, "/embed", key_variable=KEY),
    )
    mine_to_file(lambda: load_encoder(settings.model), tmp_path / "train.jsonl", None, tmp_path / "out.jsonl", settings)
    return tmp_path


def again(folder: Path, **more: Any) -> str:
    summary = reproduce(folder / "out.manifest.json", folder / "again.jsonl", **more)
    assert (folder / "again.jsonl").read_bytes() == (folder / "out.jsonl").read_bytes()
    return str(summary)


def both(served: ServedModels) -> dict[str, Server]:
    return {"model": Server(address=served.address), "second_model": Server(address=f"{served.address}/embed")}


def test_a_run_is_done_again_where_the_server_was_and_where_it_is_now(mined: Path, served: ServedModels) -> None:
    again(mined, servers=both(served))
    with fake_server(key_variable=KEY) as moved:
        again(mined, servers=both(moved))
        assert moved.seen["/v1/embeddings"]["texts"] > 40


def test_a_manifest_alone_sends_no_key(mined: Path, served: ServedModels) -> None:
    served.headers.clear()
    with pytest.raises(InputError, match=f"--embedder_server {served.address}") as caught:
        again(mined)
    assert KEY in str(caught.value)
    with pytest.raises(InputError, match=f"--second_embedder_server {served.address}/embed"):
        again(mined, servers={"model": Server(address=served.address)})
    assert served.headers == []


def test_no_file_of_the_run_holds_the_key(mined: Path) -> None:
    assert secrets_in(SECRET, [mined]) == []
    assert read_manifest(mined / "out.manifest.json").settings["model"]["server"]["key_variable"] == KEY


def test_another_model_at_the_address_is_refused_and_nothing_is_written(mined: Path, served: ServedModels) -> None:
    served.fail("swapped")
    with pytest.raises(ModelError, match=r"served at .* is not that of the manifest.*--embedder_server"):
        again(mined, servers=both(served))
    assert not (mined / "again.jsonl").exists()


def test_the_command_takes_the_address_and_says_when_it_must(mined: Path, served: ServedModels, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["mine", "--from_manifest", str(mined / "out.manifest.json"), "--output_file", str(mined / "again.jsonl"), "--quiet"]
    assert main(command) == 2
    assert f"add --embedder_server {served.address} to the command" in capsys.readouterr().err
    given = ["--embedder_server", served.address, "--second_embedder_server", f"{served.address}/embed", "--no_store"]
    assert main([*command, *given]) == 0
    assert "the bytes are those of the manifest" in capsys.readouterr().out


SERVED = MineSettings(
    model=ModelSettings(name_or_path="m", server=Server(address="http://a.example/v1", dimensions=64)),
    reranker=RerankerSettings(name_or_path="r", server=Server(address="http://r.example/score", key_variable=KEY)),
)


def manifest_of(settings: MineSettings, **more: Any) -> Manifest:
    return Manifest(settings=msgspec.to_builtins(settings), inputs={}, **{"model": {"precision": "fp32"}, **more})


def test_what_decides_the_vectors_stays_and_where_they_come_from_may_change() -> None:
    moved = {"model": Server(address="http://b.example", concurrency=9, timeout=3.0), "reranker": Server(address="http://c.example/score")}
    found = settings_of(manifest_of(SERVED), {"model": "as-there"}, ("cpu",), moved)  # type: ignore[arg-type, dict-item]
    assert found.model == ModelSettings(
        name_or_path="as-there", server=Server(address="http://b.example", dimensions=64, concurrency=9, timeout=3.0)
    )
    assert found.reranker is not None
    assert found.reranker.server == Server(address="http://c.example/score", key_variable=KEY), "the person gave the address"
    other = moved | {"reranker": Server(address="http://c.example/score", key_variable="OTHER_API_KEY")}
    found = settings_of(manifest_of(SERVED), None, None, other)  # type: ignore[arg-type]
    assert found.reranker is not None
    assert found.reranker.server is not None
    assert found.reranker.server.key_variable == "OTHER_API_KEY"


@pytest.mark.parametrize(
    ("address", "key", "sent"),
    [
        ("http://a.example/v1", None, "gets the texts. A file"),
        ("http://10.0.0.7:8000", None, "gets the texts. A file"),
        ("http://127.0.0.1:8000", KEY, f"gets the texts and the key in {KEY}. A file"),
        ("http://127.0.0.1:8000/v1", None, ""),
        ("http://[::1]:8000/v1", None, ""),
        ("http://localhost:8000/v1", None, ""),
    ],
)
def test_a_manifest_alone_sends_texts_to_this_machine_only(address: str, key: str | None, sent: str) -> None:
    server = Server(address=address, key_variable=key)
    manifest = manifest_of(MineSettings(model=ModelSettings(name_or_path="m", server=server)))
    if sent:
        given = re.escape(address)
        both = rf"""add --embedder_server '?{given}'? to the command, or servers={{"model": Server\(address="{given}"\)}} in Python"""
        with pytest.raises(InputError, match=rf"served at .*{sent}.*{both}"):
            settings_of(manifest)
    else:
        assert settings_of(manifest).model == ModelSettings(name_or_path="m", server=server)
    found = settings_of(manifest, None, None, {"model": Server(address=address)}).model
    assert found is not None
    assert found.server == server


def test_settings_that_are_not_valid_are_named_and_no_version_is() -> None:
    manifest = manifest_of(SERVED)
    manifest.settings["model"]["server"]["address"] = "http://127.0.0.1:7997@10.9.8.7/"
    with pytest.raises(InputError, match=r"cannot be used \(the server's address has a user name.*model.server`\); correct the file$"):
        settings_of(manifest)


def test_a_server_for_a_model_that_was_loaded_is_refused() -> None:
    with pytest.raises(InputError, match="had no served model, and --embedder_server would change it"):
        settings_of(manifest_of(MineSettings(model=ModelSettings())), None, None, {"model": Server(address="http://b.example")})


@pytest.mark.parametrize("probe", [None, [], [[0.1, 0.2]], [0.1], "x", [[0.1, 0.2], [0.3, 0.5]], [[0.1, 0.2], [0.3, float("nan")]]])
def test_only_a_near_probe_is_the_same_model(probe: object) -> None:
    manifest = manifest_of(SERVED, model={"probe": [[0.1, 0.2], [0.3, 0.4]]})
    manifest.check_weights("model", {"name": "m", "probe": [[0.11, 0.2], [0.3, 0.39]]})
    with pytest.raises(ModelError, match="is not that of the manifest"):
        manifest.check_weights("model", {"name": "m", "probe": probe})


def test_a_manifest_with_a_probe_can_be_read(mined: Path) -> None:
    content = json.loads((mined / "out.manifest.json").read_text("utf-8"))
    assert content["model"]["probe"]
    assert read_manifest(mined / "out.manifest.json").model["probe"] == content["model"]["probe"]
