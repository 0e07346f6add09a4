"""Names of served models: how one is shown, and which a server says it has."""

from __future__ import annotations

from typing import Any

from hnmine.models.served.client import Client, Session
from hnmine.models.served.server import Server

__all__ = ["offered_names", "served_name"]

# A server may list thousands, or lie.
_MOST, _LONGEST = 200, 200


def served_name(name: str, address: str | None) -> str:
    """Return the name of a model as it is shown: "bge-m3 · served at http://127.0.0.1:8000"; of a loaded one as it is."""
    return name if address is None else f"{name} · served at {address}"


def offered_names(server: Server) -> tuple[str, ...]:
    """Return the names by /v1/models (OpenAI, vLLM) or /info (TEI), at most 200; empty if the server has neither page, or does not answer.

    Raises:
        ModelError: the variable of its key is not set.
    """

    async def ask(session: Session) -> tuple[Any, Any]:
        return await session.get("/v1/models"), await session.get("/info")

    models, info = Client(server, "the server").answer(ask)
    listed = models.get("data") if isinstance(models, dict) else None
    found = [each.get("id") for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    found += [info.get("model_id")] if isinstance(info, dict) else []
    names = (name for name in found if isinstance(name, str) and name.strip() and len(name) <= _LONGEST and name.isprintable())
    return tuple(dict.fromkeys(names))[:_MOST]
