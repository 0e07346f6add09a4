"""Who may use the app: sections `[auth]` and `[hnmine]` of secrets.toml.

With `[auth]`, people sign in at an identity provider, and `[hnmine]` lists who is let in and who may delete. The lists are read again when
the file changes, so a person who is removed is out at the next message. What is missing, unreadable or unclear lets nobody in.
Without `[auth]` there are no people: everybody who reaches the server may do everything.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import streamlit as st
from streamlit import config
from streamlit.auth_util import validate_auth_credentials
from streamlit.errors import StreamlitAuthError

from hnmine.core.errors import HnmineError, WorkspaceError

CALLBACK = "/oauth2callback"
KEYS = ("allowed", "admins", "provider_verifies_email")
SECRET_LENGTH = 32


class AccessError(HnmineError):
    """A person may not do this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What secrets.toml says.

    Attributes:
        required: people must sign in. allowed, admins: e-mail addresses in lower case, domains ("@firm.example"), or "*" for all.
        provider_verifies_email: an identity without the claim `email_verified` has a verified address.
        address: the address that people open, from `redirect_uri`. providers: their names, None for the one in `[auth]` itself.
        place: the file with `[auth]`.
    """

    required: bool = False
    allowed: tuple[str, ...] = ()
    admins: tuple[str, ...] = ()
    provider_verifies_email: bool = False
    address: str = ""
    providers: tuple[str | None, ...] = ()
    place: Path = Path()


_read: tuple[tuple[object, ...], Rules | HnmineError] | None = None
_required = False  # once people had to sign in, they must until the server ends


def rules() -> Rules:
    """Return what secrets.toml says now.

    Raises:
        WorkspaceError: a file cannot be read, or its sign-in is incomplete; the message says what to do.
    """
    global _read, _required
    paths = [Path(path) for path in config.get_option("secrets.files")]
    signature = tuple(map(_signature, paths))
    if _read is None or _read[0] != signature:
        try:
            found: Rules | HnmineError = _parsed(paths)
        except HnmineError as error:
            found = error
        _read = signature, found
    found = _read[1]
    if isinstance(found, HnmineError):
        raise found
    _required = _required or found.required
    if _required and not found.required:
        read = ", ".join(map(str, paths))
        raise WorkspaceError(f"the section [auth] is gone ({read}); put it back, or start the server again to serve without sign-in")
    return found


def _signature(path: Path) -> object:
    try:
        found = path.stat()
    except OSError as error:
        return type(error).__name__
    return found.st_mtime_ns, found.st_ino, found.st_size


def _parsed(paths: list[Path]) -> Rules:
    """Read the files as Streamlit does: a section of a later file replaces that of an earlier one. Only default paths may be missing."""
    sections: dict[str, Any] = {}
    names: dict[str, Path] = {}
    for path in paths:
        try:
            found = tomllib.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            if config.is_manually_set("secrets.files"):
                raise WorkspaceError(f"{path} does not exist, so nobody is let in; correct --secrets.files, or write the file") from None
            continue
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise WorkspaceError(f"{path} cannot be read ({error}), so nobody is let in; repair the file") from error
        sections |= found
        names |= dict.fromkeys(found, path)
    if "auth" not in sections:
        if sections.get("hnmine"):
            raise WorkspaceError(f"{names['hnmine']}: [hnmine] is there, but no sign-in; add [auth] (docs/serving.md), or remove [hnmine]")
        return Rules()
    auth, ours = sections["auth"], sections.get("hnmine", {})
    place = names["auth"]
    listed = names.get("hnmine", place)
    if not isinstance(auth, dict) or not isinstance(ours, dict):
        raise WorkspaceError(f"{place}: auth and hnmine must be sections: [auth] and [hnmine]")
    uri = auth.get("redirect_uri")
    uri = uri.replace("{port}", str(config.get_option("server.port"))) if isinstance(uri, str) else uri
    if not isinstance(uri, str) or not is_web(uri) or not uri.endswith(CALLBACK):
        found_uri = "is missing" if uri is None else f"is {uri!r}"
        raise WorkspaceError(
            f"{place}: [auth] redirect_uri {found_uri}; it must be the address of the app, ending in {CALLBACK}, "
            f"such as https://hnmine.firm.example{CALLBACK}"
        )
    secret = auth.get("cookie_secret")
    if not isinstance(secret, str) or len(secret) < SECRET_LENGTH:
        raise WorkspaceError(
            f"{place}: [auth] cookie_secret must be a random text of at least {SECRET_LENGTH} characters; make one with "
            'python -c "import secrets; print(secrets.token_hex(32))"'
        )
    for key in ours:
        if key not in KEYS:
            close = difflib.get_close_matches(key, KEYS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(KEYS)}"
            raise WorkspaceError(f"{listed}: [hnmine] has no {key}; {hint}")
    if ours.get("allowed") == []:
        raise WorkspaceError(f'{listed}: [hnmine] allowed is empty, so nobody could enter; list who may, like ["@firm.example"]')
    if "allowed" not in ours:
        raise WorkspaceError(
            f'{listed}: [auth] is there, but not who is let in; add [hnmine] with allowed = ["@firm.example", "ann@other.example"], '
            'or allowed = ["*"] for everybody with an account at the provider'
        )
    verifies = ours.get("provider_verifies_email", False)
    if not isinstance(verifies, bool):
        raise WorkspaceError(f"{listed}: [hnmine] provider_verifies_email is {verifies!r}; it must be true or false")
    return Rules(
        required=True,
        allowed=_entries(ours, "allowed", listed),
        admins=_entries(ours, "admins", listed),
        provider_verifies_email=verifies,
        address=uri.removesuffix(CALLBACK),
        providers=_providers(auth),
        place=place,
    )


def is_web(address: str) -> bool:
    """Return whether a text is an http or https address with a host, and nothing after the path."""
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018 - raises for what is no port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and address.isprintable() and not set("?#@ ") & set(address)


def _providers(auth: dict[str, Any]) -> tuple[str | None, ...]:
    named = tuple(name for name, each in auth.items() if isinstance(each, dict) and "client_id" in each)
    return (None, *named) if "client_id" in auth else named


def _entries(section: dict[str, Any], name: str, place: Path) -> tuple[str, ...]:
    found = section.get(name, [])
    if not isinstance(found, list) or not all(isinstance(each, str) and ("@" in each or each == "*") for each in found):
        raise WorkspaceError(f'{place}: [hnmine] {name} is {found!r}; it must be a list of addresses and domains, like ["@firm.example"]')
    return tuple(_folded(each.strip()) for each in found)


def check() -> None:
    """Refuse a sign-in that is not complete.

    Raises:
        WorkspaceError: secrets.toml is not complete or cannot be read, or Authlib is not installed.
    """
    found = rules()
    if found.required and find_spec("authlib") is None:
        raise WorkspaceError(f"{found.place}: [auth] needs the package Authlib; install it: pip install Authlib")
    if found.required and not found.providers:
        raise WorkspaceError(f"{found.place}: [auth] names no provider; add client_id, client_secret and server_metadata_url")
    for provider in found.providers:
        try:
            validate_auth_credentials(provider or "default")
        except StreamlitAuthError as error:
            said = " ".join(str(error).split()).replace("`.streamlit/secrets.toml`", str(found.place))
            raise WorkspaceError(f"{found.place}: [auth] is not complete: {said}") from error


def _folded(address: str) -> str:
    """Return an address in lower case; one with other letters than ASCII as it is, because they have look-alikes."""
    return address.lower() if address.isascii() else address


def address_of(claims: Mapping[str, Any]) -> str:
    """Return the verified e-mail address of an identity; empty if it has none, or is not signed in."""
    email, verified = claims.get("email"), claims.get("email_verified")
    if verified is None:
        verified = rules().provider_verifies_email
    if claims.get("is_logged_in") is not True or str(verified).lower() != "true" or not isinstance(email, str):
        return ""
    name, at, domain = email.partition("@")
    return _folded(email) if name and at and domain and "@" not in domain and email.isprintable() and " " not in email else ""


def is_allowed(claims: Mapping[str, Any]) -> bool:
    """Return whether an identity is let in."""
    return _listed(address_of(claims), rules().allowed)


def _listed(address: str, entries: tuple[str, ...]) -> bool:
    return bool(address) and any(entry in ("*", address, "@" + address.rpartition("@")[2]) for entry in entries)


def person() -> str:
    """Return the e-mail address of who uses this session; empty without sign-in."""
    return address_of(st.user.to_dict()) if rules().required else ""


def may_delete() -> bool:
    """Return whether this session may delete runs, variants and data sets: an admin, or anybody without sign-in."""
    return not rules().required or (is_allowed(st.user.to_dict()) and _listed(person(), rules().admins))


def require_admin() -> None:
    """Raise unless this session may delete and import.

    Raises:
        AccessError: the person is not in `[hnmine] admins`.
    """
    if not may_delete():
        raise AccessError("only an admin may delete data or import verdicts; the list `admins` in secrets.toml says who is")
