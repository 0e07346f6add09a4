"""`push`: what is uploaded, and every refusal before anything is; the hub is a fake."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from hnmine.cli.main import main
from hnmine.core.errors import InputError, OutputError, SettingsError
from hnmine.export.hub_upload import push


class FakeHub:
    """Stands in for `huggingface_hub.HfApi`: notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict]] = []
        self.public = False

    def whoami(self):
        return {"name": "ann"}

    def create_repo(self, repo_id, **options):
        self.asked.append(("create", {"repo_id": repo_id, **options}))
        return f"https://huggingface.co/datasets/{repo_id}"

    def repo_info(self, repo_id, **options):
        return SimpleNamespace(private=not self.public)

    def upload_folder(self, **options):
        self.asked.append(("folder", options))

    def upload_file(self, **options):
        self.asked.append(("file", options))


@pytest.fixture
def hub(monkeypatch) -> FakeHub:
    fake = FakeHub()
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: fake)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_token")
    return fake


def test_a_folder_goes_to_a_data_set_repository(hub, made, capsys):
    (written,) = made.write("datasets")
    assert main(["push", str(written.path), "ann/negatives", "--private"]) == 0
    assert capsys.readouterr().out == "uploaded to https://huggingface.co/datasets/ann/negatives\n"
    (_, created), (kind, uploaded) = hub.asked
    assert created == {"repo_id": "ann/negatives", "repo_type": "dataset", "private": True, "exist_ok": True}
    assert kind == "folder"
    assert (uploaded["repo_id"], uploaded["folder_path"], uploaded["repo_type"]) == ("ann/negatives", written.path, "dataset")


def test_a_file_goes_there_under_its_name(hub, made):
    (written,) = made.write("flagembedding")
    assert push(written.path, "ann/negatives").endswith("/ann/negatives")
    (_, created), (kind, uploaded) = hub.asked
    assert created["private"] is None, "the owner's default"
    assert kind == "file"
    assert (uploaded["path_or_fileobj"], uploaded["path_in_repo"]) == (written.path, "out.jsonl")


def test_private_rows_never_go_to_a_public_repository(hub, made):
    (written,) = made.write("flagembedding")
    hub.public = True
    with pytest.raises(OutputError, match="ann/negatives exists and is public; make it private"):
        push(written.path, "ann/negatives", private=True)
    assert [kind for kind, _ in hub.asked] == ["create"]


def test_what_is_no_export_is_not_uploaded(hub, made, tmp_path):
    with pytest.raises(SettingsError, match="write OWNER/NAME"):
        push(tmp_path, "negatives")
    with pytest.raises(InputError, match="does not exist"):
        push(tmp_path / "nowhere", "ann/negatives")
    with pytest.raises(InputError, match="is not a folder of output_format datasets"):
        push(tmp_path, "ann/negatives")
    (written,) = made.write("datasets")
    (written.path / ".env").write_text("SECRET=1")
    with pytest.raises(InputError, match="holds more than a data set, and all of it would be uploaded"):
        push(written.path, "ann/negatives")
    assert not hub.asked


def test_without_a_login_the_remedy_is_named(hub, made, monkeypatch, capsys):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    (written,) = made.write("flagembedding")
    assert main(["push", str(written.path), "ann/negatives"]) == 1
    assert "run `hf auth login`, or set HF_TOKEN" in capsys.readouterr().err
    assert not hub.asked


def test_without_a_network_it_ends_soon_and_creates_nothing(hub, made, monkeypatch):
    (written,) = made.write("flagembedding")
    never = threading.Event()
    monkeypatch.setattr("hnmine.core.hub.HUB_DEADLINE", 0.2)
    monkeypatch.setattr(hub, "whoami", never.wait)
    began = time.monotonic()
    with pytest.raises(OutputError, match=r"cannot be reached: the hub did not respond .* check the network"):
        push(written.path, "ann/negatives")
    assert time.monotonic() - began < 10
    never.set()
    assert not hub.asked


def test_a_refused_connection_is_a_sentence(made, monkeypatch):
    """The real client, and an address where nobody listens."""
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_token")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    (written,) = made.write("flagembedding")
    with pytest.raises(OutputError, match="the Hugging Face hub cannot be reached"):
        push(written.path, "ann/negatives")


def test_a_refusal_of_the_hub_says_why(hub, made, monkeypatch):
    def refuse(**options):
        raise PermissionError("403 Forbidden: your token may not write")

    monkeypatch.setattr(hub, "upload_file", refuse)
    (written,) = made.write("flagembedding")
    with pytest.raises(OutputError, match=r"cannot be uploaded to ann/negatives: PermissionError: 403 .* no file was changed there"):
        push(written.path, "ann/negatives")
