"""Who is let in by secrets.toml, and which servers do not start."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit import config

from hnmine.core.errors import WorkspaceError
from pages.shared import access, gate
from tests.browser.server import Server
from tests.conftest import ROOT

AUTH = f'[auth]\nredirect_uri = "https://hn.example/mine/oauth2callback"\ncookie_secret = "{"x" * 32}"\nclient_id = "a"\n'
ANN = {"is_logged_in": True, "email": "ann@firm.example", "email_verified": True}


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where secrets.toml is."""
    path = tmp_path / "secrets.toml"
    before = config.get_option("secrets.files"), config.get_where_defined("secrets.files")
    config.set_option("secrets.files", [str(path)])
    monkeypatch.setattr(access, "_read", None)
    monkeypatch.setattr(access, "_required", False)
    yield path
    config.set_option("secrets.files", *before)


@pytest.mark.parametrize(
    ("lists", "claims", "let_in"),
    [
        ('allowed = ["@firm.example"]', {}, True),
        ('allowed = ["@Firm.Example"]', {"email": "Ann@FIRM.example"}, True),
        ('allowed = ["ann@firm.example"]', {}, True),
        ('allowed = ["*"]', {"email": "eve@other.example"}, True),
        ('allowed = ["@firm.example"]', {"email_verified": "true"}, True),
        ('allowed = ["@firm.example"]', {"email": "ann@sub.firm.example"}, False),
        ('allowed = ["@firm.example"]', {"email": "ann@evilfirm.example"}, False),
        ('allowed = ["ann@firm.example"]', {"email": "joann@firm.example"}, False),
        ('allowed = ["@firm.example"]', {"email": "ann@evil.example@firm.example"}, False),
        ('allowed = ["@firm.example"]', {"email": "ann @firm.example"}, False),
        ('allowed = ["@firm.example"]', {"email": "@firm.example"}, False),
        ('allowed = ["mark@firm.example"]', {"email": "mar\u212a@firm.example"}, False),  # a Kelvin sign, "k" in lower case
        ('allowed = ["*"]', {"email": None}, False),
        ('allowed = ["*"]', {"email_verified": False}, False),
        ('allowed = ["*"]', {"email_verified": None}, False),
        ('allowed = ["*"]\nprovider_verifies_email = true', {"email_verified": None}, True),
        ('allowed = ["*"]\nprovider_verifies_email = true', {"email_verified": False}, False),
        ('allowed = ["*"]', {"is_logged_in": False}, False),
        ('allowed = ["*"]', {"is_logged_in": "yes"}, False),
    ],
)
def test_who_is_let_in(secrets: Path, lists: str, claims: dict[str, Any], let_in: bool) -> None:
    secrets.write_text(f"{AUTH}[hnmine]\n{lists}\n", "utf-8")
    assert access.is_allowed(ANN | claims) == let_in


def test_the_lists_are_read_again_when_the_file_changes_and_sign_in_cannot_vanish(secrets: Path) -> None:
    secrets.write_text(f'{AUTH}[hnmine]\nallowed = ["@firm.example"]\n', "utf-8")
    assert access.is_allowed(ANN)
    secrets.write_text(f'{AUTH}[hnmine]\nallowed = ["@other.example"]\n', "utf-8")
    assert not access.is_allowed(ANN)
    for broken in ("[hnmine]\nallowed = [", '[hnmine]\nallowed = ["*"]\n'):
        secrets.write_text(broken, "utf-8")
        with pytest.raises(WorkspaceError):
            access.rules()
    secrets.write_text("", "utf-8")
    with pytest.raises(WorkspaceError, match=r"the section \[auth\] is gone \(.*secrets.toml\)"):
        access.rules()
    secrets.unlink()
    with pytest.raises(WorkspaceError, match=r"secrets.toml does not exist"):
        access.rules()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[auth", "cannot be read"),
        ("auth = 1", "must be sections"),
        (AUTH, "not who is let in"),
        ('[hnmine]\nadmins = ["*"]', "but no sign-in"),
        ('[oauth]\n[hnmine]\nallowed = ["*"]', "but no sign-in"),
        (AUTH + "[hnmine]\nallowed = []", "nobody could enter"),
        (AUTH + '[hnmine]\nallowed = ["*"]\nadmin = ["a@b"]', "has no admin; did you mean admins?"),
        (AUTH + '[hnmine]\nallowed = ["*"]\nzzz = 1', "has no zzz; there are allowed, admins, provider_verifies_email"),
        (AUTH.replace("redirect_uri", "redirect_url") + '[hnmine]\nallowed = ["*"]', "redirect_uri is missing"),
        (AUTH.replace("https://", "") + '[hnmine]\nallowed = ["*"]', "such as https://hnmine.firm.example/oauth2callback"),
        (AUTH.replace("hn.example", "[hn") + '[hnmine]\nallowed = ["*"]', "ending in /oauth2callback"),
        (AUTH.replace("/oauth2callback", "") + '[hnmine]\nallowed = ["*"]', "ending in /oauth2callback"),
        (AUTH.replace("x" * 32, "xxx") + '[hnmine]\nallowed = ["*"]', "at least 32 characters"),
        (AUTH + '[hnmine]\nallowed = "@firm.example"', "must be a list"),
        (AUTH + '[hnmine]\nallowed = ["firm.example"]', "must be a list"),
        (AUTH + '[hnmine]\nallowed = ["*"]\nadmins = [1]', "must be a list"),
        (AUTH + '[hnmine]\nallowed = ["*"]\nprovider_verifies_email = "yes"', "must be true or false"),
    ],
)
def test_a_sign_in_that_is_not_complete_is_refused_with_the_remedy(secrets: Path, content: str, message: str) -> None:
    secrets.write_text(content, "utf-8")
    with pytest.raises(WorkspaceError, match=re.escape(message)) as refused:
        access.rules()
    assert str(refused.value).startswith(str(secrets))


def test_without_authlib_or_a_provider_the_server_does_not_start(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = '[hnmine]\nallowed = ["*"]\n'
    secrets.write_text(AUTH.replace('client_id = "a"\n', "") + lists, "utf-8")
    with pytest.raises(WorkspaceError, match="names no provider"):
        access.check()
    secrets.write_text(AUTH + lists, "utf-8")
    with pytest.raises(WorkspaceError, match=f"{re.escape(str(secrets))}.*missing.*client_secret") as refused:
        access.check()
    assert ".streamlit" not in str(refused.value)
    monkeypatch.setattr(access, "find_spec", lambda name: None)
    with pytest.raises(WorkspaceError, match="needs the package Authlib"):
        access.check()


def test_the_address_of_sign_in_is_a_name_of_the_server(secrets: Path) -> None:
    secrets.write_text(f'{AUTH}[hnmine]\nallowed = ["*"]\n', "utf-8")
    assert "hn.example" in gate.names()
    assert gate.public_url() == "https://hn.example/mine"
    assert gate._secure(b"a=b; Path=/") == b"a=b; Path=/; Secure"


@pytest.mark.parametrize(
    ("options", "variables", "message"),
    [
        (["--server.address", "0.0.0.0"], {}, "has no sign-in"),
        (["--server.address", "::"], {}, "has no sign-in"),
        ([], {"STREAMLIT_SERVER_ADDRESS": "192.168.0.7"}, "has no sign-in"),
        ([], {"HNMINE_PUBLIC_URL": "https://hn.example"}, "has no sign-in"),
        (["--server.address", "0.0.0.0"], {"HNMINE_OPEN_TO_NETWORK": "yes"}, "has no sign-in"),
        (["--secrets.files", "BROKEN"], {}, "cannot be read"),
        (["--secrets.files", "no-such-file.toml"], {}, "no-such-file.toml does not exist"),
        ([], {"STREAMLIT_SECRETS_FILES": "no-such-file.toml"}, "no-such-file.toml does not exist"),
        ([], {"HNMINE_PUBLIC_URL": "hn.lan:18766"}, "such as http://hnmine.lan:8501"),
        (["--server.port", "99999"], {}, "server.port is 99999"),
    ],
)
def test_a_server_that_must_not_serve_does_not_start(tmp_path: Path, options: list[str], variables: dict[str, str], message: str) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("[auth", "utf-8")
    command = [sys.executable, "-m", "pages.shared.serve", *(str(broken) if each == "BROKEN" else each for each in options)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1
    assert done.stderr.startswith("hnmine does not start. ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr and "URL" not in done.stdout


@pytest.mark.parametrize(
    "address",
    ["hn.lan:18766", "hn.lan", "ftp://hn.lan", "http://", "http://:80", "http://hn:port", "http://[hn", "http://hn lan", "https://hn?a"],
)
def test_what_is_no_address_is_no_public_url(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv(gate.PUBLIC_URL, address)
    with pytest.raises(WorkspaceError, match=gate.PUBLIC_URL):
        gate.names()


def test_the_start_names_the_address_that_people_open_and_ctrl_c_ends_it_quietly(tmp_path: Path) -> None:
    server = Server(tmp_path / "workspace", HNMINE_PUBLIC_URL="https://hn.example/mine", HNMINE_OPEN_TO_NETWORK="1")
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(120) == 130
    said = server.log.read_text()
    assert "People open https://hn.example/mine\n" in said
    assert "http://" not in said and "Aborted" not in said and "Traceback" not in said


def test_streamlit_run_answers_with_the_reason_and_only_to_its_own_names(tmp_path: Path) -> None:
    def answer(server: Server, **headers: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(urllib.request.Request(server.url, headers=headers), timeout=120) as found:
                return found.status, found.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    server = Server(tmp_path / "workspace", script=ROOT / "app.py")
    try:
        assert answer(server)[0] == 200
        assert answer(server, Host="evil.example")[0] == 421
        assert answer(server, Origin="http://evil.example")[0] == 403
    finally:
        server.stop()
    server = Server(tmp_path / "workspace", script=ROOT / "app.py", options=["--server.address", "0.0.0.0"], ready=403)
    try:
        assert answer(server) == (403, gate.NOT_OPEN)
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("here", "refused"),
    [(("127.0.0.1", 80), False), (("::1", 80), False), (("::ffff:127.0.0.1", 80), False), (("192.168.0.7", 80), True), (("hn", 80), True)],
)
def test_a_server_that_listens_elsewhere_than_configured_refuses_what_comes_from_there(here: tuple[str, int], refused: bool) -> None:
    assert bool(gate.Gate._from_network({"server": here})) == refused


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("localhost:8501", "localhost"),
        ("LocalHost.", "localhost"),
        ("[::1]:8501", "::1"),
        ("", ""),
        ("evil@localhost", ""),
        ("localhost/", ""),
        ("localhost#", ""),
        ("localhost:port", ""),
        ("[::1", ""),
        ("localhost\t", ""),
    ],
)
def test_the_name_in_a_host_header(header: str, name: str) -> None:
    assert gate.host_of(header) == name


def test_messages_that_streamlit_would_do_for_everybody_are_known_by_their_kind() -> None:
    from streamlit.proto.BackMsg_pb2 import BackMsg

    kinds = {field.name for field in BackMsg.DESCRIPTOR.fields}
    assert {each for each in gate.MESSAGES if each} <= kinds, "Streamlit has renamed a message"
    assert gate._kind(BackMsg(clear_cache=True).SerializeToString()) == "clear_cache"
    assert "clear_cache" not in gate.MESSAGES
    assert gate._kind(b"\xff") == ""
    assert json.dumps(sorted(kinds - {*gate.MESSAGES})) == json.dumps(
        ["clear_cache", "debug_disconnect_websocket", "debug_shutdown_runtime", "load_git_info", "set_run_on_save"]
    )
