"""Sign-in in a real browser, with an identity provider of our own: who sees what, and who may do what."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hnmine.runs.workspace import Workspace
from tests.browser.identity import Provider, write
from tests.browser.reviewing import events, press, ready, saved
from tests.browser.server import Server, page_of, settled
from tests.conftest import Mined

pytestmark = pytest.mark.browser

ADMIN, PERSON = "ann@firm.example", "bob@firm.example"


class Place:
    """A server with sign-in, its provider and its workspace."""

    def __init__(self, folder: Path, mined: Mined) -> None:
        self.provider, self.mined = Provider(), mined
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.port, self.secrets = port, folder / "secrets.toml"
        self.allow("@firm.example")
        root = Path(shutil.copytree(mined.root, folder / "workspace"))
        self.space = Workspace(root)
        self.server = Server(root, port=port, options=["--secrets.files", str(self.secrets)])

    def allow(self, *allowed: str, admin: str = ADMIN) -> None:
        write(self.secrets, self.provider.secrets_toml(self.port, allowed=list(allowed), admins=[admin]))

    def page(self, browser: Any, path: str = "") -> Any:
        page = page_of(browser, f"{self.server.url}/{path}")
        settled(page)
        return page

    def entered(self, browser: Any, email: str = PERSON, path: str = "", **claims: Any) -> Any:
        """Sign in, and open a screen."""
        self.provider.claims = {"email": email, "email_verified": True, "name": "A name that anybody may choose"} | claims
        page = self.page(browser)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(re.compile(r"/$"))
        page.get_by_role("button", name=re.compile(r"Sign out|person")).first.wait_for()
        if path:
            page.goto(f"{self.server.url}/{path}")
        settled(page)
        return page


@pytest.fixture(scope="module")
def place(mined: Mined, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("sign-in"), mined)
    yield made
    made.server.stop()
    made.provider.stop()


def words(page: Any) -> str:
    return str(page.inner_text("body"))


def test_a_deep_link_shows_nothing_before_sign_in(browser: Any, place: Place) -> None:
    page = place.page(browser, f"inspect?run={place.mined.run}")
    assert page.get_by_role("button").all_inner_texts() == ["login\n\nSign in"]
    assert page.title() == "hnmine"
    assert not re.search("Inspect|bikeshare|query|negative|not found", words(page))


@pytest.mark.parametrize(
    ("email", "claims"),
    [
        ("eve@other.example", {}),
        (PERSON, {"email_verified": False}),
    ],
)
def test_who_is_not_in_the_list_sees_only_that_and_may_sign_out(browser: Any, place: Place, email: str, claims: dict[str, Any]) -> None:
    page = place.entered(browser, email, **claims)
    assert "You have no access to this server." in words(page)
    page.goto(f"{place.server.url}/runs")
    settled(page)
    assert "You have no access to this server." in words(page)
    assert "bikeshare" not in words(page)
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign in").wait_for()


def test_a_verdict_has_the_name_of_who_signed_in_whatever_the_browser_sends(browser: Any, place: Place) -> None:
    page = place.entered(browser)
    page.evaluate("localStorage.setItem('hnmine-reviewer', 'ann@firm.example')")
    page.goto(f"{place.server.url}/review?run={place.mined.run}")
    settled(page)
    who = page.locator(".desk .who")
    who.wait_for()
    assert who.inner_text() == PERSON
    assert who.is_disabled()
    ready(page)
    press(page, "k")
    page.get_by_text(re.compile("^1 of ")).wait_for()
    saved(page)
    assert [who for who, *_ in events(place.space.root)] == [PERSON]


def test_a_person_who_is_removed_from_the_list_is_out_at_the_next_click(browser: Any, place: Place) -> None:
    page = place.entered(browser, path=f"inspect?run={place.mined.run}")
    assert "bikeshare" in words(page)
    place.allow("@other.example")
    try:
        page.get_by_role("link", name="Runs").click()
        page.get_by_text("You have no access to this server.").wait_for()
        assert "bikeshare" not in words(page)
    finally:
        place.allow("@firm.example")


def test_a_provider_that_cannot_be_reached_has_its_reason_and_a_way_back(browser: Any, place: Place) -> None:
    reachable = place.secrets.read_text("utf-8")
    with socket.socket() as closed:  # bound, and nobody listens
        closed.bind(("127.0.0.1", 0))
        write(place.secrets, reachable.replace(f"{place.provider.url}/.well", f"http://127.0.0.1:{closed.getsockname()[1]}/.well"))
        try:
            page = place.page(browser)
            page.get_by_role("button", name="Sign in").click()
            page.get_by_text("The identity provider cannot be reached. Try again later.").wait_for()
            page.get_by_role("link", name="Back to the start page").click()
            page.get_by_role("button", name="Sign in").wait_for()
        finally:
            write(place.secrets, reachable)
    said = place.server.log.read_text()
    assert "OAuth authorization redirect. ConnectError" in said
    assert "Traceback" not in said


def test_sign_out_ends_the_session(browser: Any, place: Place) -> None:
    page = place.entered(browser, path="runs")
    page.get_by_role("button", name=re.compile(PERSON)).click()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign in").wait_for()
    page.goto(f"{place.server.url}/runs")
    settled(page)
    assert page.get_by_role("button").all_inner_texts() == ["login\n\nSign in"]


def test_only_an_admin_deletes(browser: Any, place: Place) -> None:
    page = place.entered(browser, path=f"runs?run={place.mined.run}")
    assert page.get_by_role("button", name="Delete run").is_disabled()
    for admin, left in ((PERSON, [place.mined.run]), (ADMIN, [])):  # another one is made admin while the dialog is open
        place.allow("@firm.example")
        page = place.entered(browser, ADMIN, path=f"runs?run={place.mined.run}")
        page.get_by_role("button", name="Delete run").click()
        page.get_by_role("dialog").wait_for()
        place.allow("@firm.example", admin=admin)
        page.get_by_role("dialog").get_by_role("button", name="Delete run").click()
        page.get_by_role("dialog").wait_for(state="detached")
        settled(page)
        assert ("only an admin may delete" in words(page)) == (admin == PERSON)
        assert [run.id for run in place.space.runs()] == left


def test_with_consent_every_screen_says_that_the_server_is_open(browser: Any, mined: Mined, tmp_path: Path, serve: Any) -> None:
    root = Path(shutil.copytree(mined.root, tmp_path / "workspace"))
    server = serve(root, options=["--server.address", "0.0.0.0"], HNMINE_OPEN_TO_NETWORK="1")
    page = page_of(browser, f"{server.url}/runs")
    settled(page)
    assert "everybody who reaches it can see and change everything" in words(page)
