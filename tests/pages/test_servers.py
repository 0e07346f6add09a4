"""Which servers of models may be asked, and which lists of them do not start."""

from __future__ import annotations

import subprocess
import sys

import pytest
from streamlit import config

from hnmine.core.errors import SettingsError
from hnmine.models.served.server import Server
from pages.shared import servers
from pages.shared.access import AccessError
from tests.conftest import ROOT

ANY = Server(address="http://169.254.169.254/latest/meta-data")


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (servers.LISTED, "HNMINE_OPEN_TO_NETWORK", "HNMINE_PUBLIC_URL"):
        monkeypatch.delenv(name, raising=False)


def test_on_this_machine_alone_any_address_may_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert servers.any_address()
    assert servers.refusal() == ""
    servers.require(ANY)
    monkeypatch.setenv(servers.LISTED, "http://10.0.0.7")
    servers.require(ANY)


@pytest.mark.parametrize("how", ["consent", "public", "bound"])
def test_where_others_reach_the_app_only_listed_ones_may(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = config.get_option("server.address")
    if how == "consent":
        monkeypatch.setenv("HNMINE_OPEN_TO_NETWORK", "1")
    elif how == "public":
        monkeypatch.setenv("HNMINE_PUBLIC_URL", "https://hnmine.firm.example")
    else:
        config.set_option("server.address", "0.0.0.0")
    try:
        assert not servers.any_address()
        assert "HNMINE_SERVERS lists no server" in servers.refusal()
        servers.require(None)
        with pytest.raises(AccessError, match="may not be asked"):
            servers.require(ANY)
        monkeypatch.setenv(servers.LISTED, "http://A.example:8080/ https://b.example/v1=B_API_KEY")
        assert servers.refusal() == ""
        servers.require(Server(address="http://a.example:8080", api="tei", dimensions=8, timeout=3))
        servers.require(Server(address="https://b.example/v1", key_variable="B_API_KEY"))
        for other in (
            ANY,
            Server(address="http://a.example:8081"),
            Server(address="http://a.example:8080/v1"),
            Server(address="http://a.example:8080", key_variable="B_API_KEY"),
            Server(address="https://b.example/v1", key_variable="OTHER_API_KEY"),
            Server(address="https://b.example/v1"),
        ):
            with pytest.raises(AccessError):
                servers.require(other)
    finally:
        config.set_option("server.address", before)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("10.0.0.7:8080", "no http:// or no host"),
        ("http://10.0.0.7=sk-12345", "never the key itself"),
        ("http://user:word@10.0.0.7", "user name, a password or a query"),
        ("http://10.0.0.7=", "ends with _API_KEY"),
    ],
)
def test_a_list_that_is_not_valid_is_said_and_the_app_does_not_start(entry: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(servers.LISTED, f"http://10.0.0.8 {entry}")
    with pytest.raises(SettingsError, match="HNMINE_SERVERS: .*" + said.replace("(", r"\(")):
        servers.listed()
    command = [sys.executable, "-m", "pages.shared.serve", "--server.port", "1"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode != 0
    assert "hnmine does not start. HNMINE_SERVERS" in ended.stderr
    assert "sk-12345" not in ended.stderr, "it may be a key"
