"""A hub model that cannot be had is found when it is chosen, with the remedy; one in the cache asks nothing."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest

from hnmine.core.errors import ModelError
from hnmine.models.hub import available


class GatedRepoError(Exception):
    """As the hub's client raises it; it is found by its name, which all releases share."""


class RepositoryNotFoundError(Exception):
    response = SimpleNamespace(status_code=404)


def answer(monkeypatch: pytest.MonkeyPatch, *files: str, gated: object = False, error: Exception | None = None) -> None:
    """Make the hub's client answer with these files, or an error."""

    def model_info(self: object, name: str, timeout: float | None = None) -> SimpleNamespace:
        if error is not None and not gated:
            raise error
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=file) for file in files], gated=gated)

    def auth_check(self: object, name: str) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub.HfApi, "auth_check", auth_check)


def test_a_model_that_the_hub_has_is_available(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answer(monkeypatch, "config.json", "model.safetensors")
    available("some/model", cache_dir=str(tmp_path))
    answer(monkeypatch, "config.json", "model.safetensors", gated="manual")
    available("some/model", cache_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("error", "gated", "message"),
    [
        (RepositoryNotFoundError("404"), False, "there is no model some/model on the Hugging Face Hub; check the name"),
        (GatedRepoError("403"), "manual", "accept its terms and log in"),
        (ConnectionError("no route"), False, "huggingface.co cannot be reached .* choose the packaged model"),
    ],
)
def test_a_refusal_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, gated: object, message: str) -> None:
    answer(monkeypatch, error=error, gated=gated)
    with pytest.raises(ModelError, match=message):
        available("some/model", cache_dir=str(tmp_path))


def test_weights_of_another_framework_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answer(monkeypatch, "config.json", "model.onnx")
    with pytest.raises(ModelError, match="no PyTorch weights"):
        available("some/model", cache_dir=str(tmp_path))


def test_without_a_network_the_wait_is_short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: time.sleep(30))
    began = time.monotonic()
    with pytest.raises(ModelError, match="cannot be reached"):
        available("some/model", cache_dir=str(tmp_path), seconds=0.5)
    assert time.monotonic() - began < 25


def test_a_model_in_the_cache_asks_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answer(monkeypatch, error=AssertionError("the hub was asked"))
    folder = tmp_path / "models--some--model"
    snapshot = folder / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    for name in ("config.json", "model.safetensors"):
        (snapshot / name).write_text("{}")
    available("some/model", cache_dir=str(tmp_path))
