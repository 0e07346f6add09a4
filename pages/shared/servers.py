"""Which servers of models people may choose.

At home, where one person uses the app on 127.0.0.1, any address. Where others can reach the app, or people sign in, a person must not make
this machine ask addresses inside its network, nor send its keys elsewhere: there only the addresses of HNMINE_SERVERS. Every job is
checked when it starts, because settings also come from earlier runs and interrupted jobs.
"""

from __future__ import annotations

import os

from hnmine.core.errors import SettingsError
from hnmine.models.served.server import Server
from hnmine.runs.settings import MineSettings
from pages.shared import access, gate
from pages.shared.access import AccessError

__all__ = ["LISTED", "any_address", "listed", "refusal", "require", "require_all"]

LISTED = "HNMINE_SERVERS"


def any_address() -> bool:
    """Return whether any address may be asked: nobody else can use this server."""
    return not access.rules().required and os.environ.get(gate.CONSENT) != "1" and not gate.refusal_to_serve()


def listed() -> tuple[Server, ...]:
    """Return the servers of HNMINE_SERVERS: addresses with blanks between them, each with its key variable as ADDRESS=NAME_API_KEY.

    Raises:
        SettingsError: one of them is not valid.
    """
    found = []
    for entry in os.environ.get(LISTED, "").split():
        address, separator, variable = entry.rpartition("=")
        try:
            found.append(Server(address=address if separator else entry, key_variable=variable if separator else None))
        except SettingsError as error:
            raise SettingsError(f"{LISTED}: {error}") from error
    return tuple(found)


def refusal() -> str:
    """Return why no server can be chosen; empty if one can."""
    if any_address():
        return ""
    try:
        return "" if listed() else f"Served models are not offered: several people can use this app, and {LISTED} lists no server."
    except SettingsError as error:
        return str(error)


def require(server: Server | None) -> None:
    """Check that a server may be asked, with the key that it is listed with; None is a loaded model.

    Raises:
        AccessError: it is not listed, and not any address may be asked.
        SettingsError: HNMINE_SERVERS is not valid.
    """
    if server is None or any_address():
        return
    if (server.address, server.key_variable) not in [(each.address, each.key_variable) for each in listed()]:
        key = f" with the key in {server.key_variable}" if server.key_variable else ""
        raise AccessError(
            f"the server {server.address}{key} may not be asked: several people can use this app, and {LISTED} does not list it; choose a "
            "listed server, or add it there and start the app again"
        )


def require_all(settings: MineSettings) -> None:
    """Check the servers of all models of a run.

    Raises:
        As `require`.
    """
    for each in (settings.model, settings.second_model, settings.reranker):
        require(None if each is None else each.server)
