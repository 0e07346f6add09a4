"""One flag of the command line and its value in the settings of a run; and the flags of served models."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from hnmine.core.errors import SettingsError
from hnmine.models.cards import PACKAGED_NAME, ModelSettings
from hnmine.models.reranker import RerankerSettings
from hnmine.models.served.server import EMBEDDER_APIS, RERANKER_APIS, Server
from hnmine.runs.manifest import Role
from hnmine.runs.settings import MineSettings

__all__ = [
    "DEFAULTS",
    "REPRODUCE_WITH_SERVERS",
    "SERVER_FLAGS",
    "SHARED",
    "Flag",
    "refuse_flags_of_loaded_models",
    "server_of",
    "server_words",
    "servers_of",
    "unused",
    "value_of",
]


DEFAULTS = MineSettings(model=ModelSettings())
# Settings that model and reranker have in common, as in FlagEmbedding's scripts: one flag sets both.
SHARED = ("devices", "precision", "trust_remote_code", "cache_dir")
_NO_RERANKER = {field.name: None if field.required else field.default for field in msgspec.structs.fields(RerankerSettings)}


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag.

    Attributes:
        name: as hn_mine.py spells it.
        setting: the field of MineSettings that it sets, such as "model.devices"; "" for none.
        kind: how its text is parsed. A "template" is the format of an instruction, with `\\n` for a new line; "columns" are words such as
            `query=question`; a "bare" one is a switch that takes no value.
        fallback: the default of a flag that sets no field.
    """

    name: str
    setting: str
    kind: Literal["text", "template", "switch", "integer", "number", "window", "list", "size", "columns", "paths", "bare"]
    help: str
    metavar: str = ""
    choices: tuple[str, ...] = ()
    fallback: Any = None

    @property
    def default(self) -> Any:
        """The value without the flag."""
        return value_of(DEFAULTS, self) if self.setting else self.fallback


def unused() -> dict[str, Any]:
    """Return the values of SHARED in the settings of a served model."""
    return {name: getattr(ModelSettings(), name) for name in SHARED}


def value_of(settings: MineSettings, flag: Flag) -> Any:
    """Return the value of a flag in `settings`, as the parser returns it. A flag in SHARED is that of the first model that is loaded."""
    if flag.kind == "window":
        return f"{settings.selection.window_start}-{settings.selection.window_end}"
    part, _, name = flag.setting.rpartition(".")
    if part == "reranker" and settings.reranker is None:
        return _NO_RERANKER[name]
    model = settings.model or ModelSettings()
    if part == "model" and name in SHARED and model.server is not None:
        others = (settings.second_model, settings.reranker)
        return getattr(next((each for each in others if each is not None and each.server is None), model), name)
    parts = {"": settings, "selection": settings.selection, "model": model, "reranker": settings.reranker}
    value = getattr(parts[part], name)
    if name == "second_model":
        return None if value is None else value.name_or_path or PACKAGED_NAME
    return value.words() if flag.kind == "columns" else value


_KEY = "environment variable with the key of this server, such as OPENAI_API_KEY; its name ends with _API_KEY, and the key is never stored"
_FORM = "form of its requests; default: by the path of the address, else openai"
SERVER_FLAGS = (
    Flag("embedder_server", "", "text", "address of a server that has the embedding model, such as http://127.0.0.1:8000/v1. "
         "--embedder_name_or_path is then required: the name by which the server knows the model", "ADDRESS"),
    Flag("embedder_api", "", "text", _FORM, choices=EMBEDDER_APIS),
    Flag("embedder_key_variable", "", "text", _KEY, "NAME"),
    Flag("embedder_dimensions", "", "integer", "dimensions to ask for, of a model that can shorten its vectors; default: its own", "N"),
    Flag("second_embedder_server", "", "text", "address of a server that has the second model, which --second_embedder_name_or_path names",
         "ADDRESS"),
    Flag("second_embedder_api", "", "text", _FORM, choices=EMBEDDER_APIS),
    Flag("second_embedder_key_variable", "", "text", _KEY, "NAME"),
    Flag("second_embedder_dimensions", "", "integer", "as embedder_dimensions", "N"),
    Flag("reranker_server", "", "text", "address of a server that has the reranker, which --reranker_name_or_path names", "ADDRESS"),
    Flag("reranker_api", "", "text", "form of its requests: tei (/rerank), jina (/v1/rerank, also of Cohere) or vllm (/score); default: by "
         "the path of the address", choices=RERANKER_APIS),
    Flag("reranker_key_variable", "", "text", _KEY, "NAME"),
    Flag("server_concurrency", "", "integer", "requests at once, to each server; default: 4", "N"),
    Flag("server_timeout", "", "number", "seconds that one request may take; default: 120", "SECONDS"),
)  # fmt: skip
_OF_ALL = ("server_concurrency", "server_timeout")
_NAMES: dict[Role, str] = {"model": "embedder", "second_model": "second_embedder", "reranker": "reranker"}
REPRODUCE_WITH_SERVERS = (*(f"{name}_{part}" for name in _NAMES.values() for part in ("server", "key_variable")), *_OF_ALL)
# Flags of a role that a served model has no use for.
_LOADED: dict[Role, tuple[str, ...]] = {
    "model": ("embedder_model_class", "pooling_method", "examples_for_task", "examples_instruction_format"),
    "second_model": (),
    "reranker": ("reranker_model_class",),
}


def server_of(arguments: argparse.Namespace, role: Role) -> Server | None:
    """Return the server of a model, None for one that is loaded.

    Raises:
        SettingsError: the address or another value is not valid, or there are flags of a server without one.
    """
    name = _NAMES[role]
    parts = ("api", "key_variable", "dimensions") if role != "reranker" else ("api", "key_variable")
    given = {part: value for part in parts if (value := getattr(arguments, f"{name}_{part}")) is not None}
    address = getattr(arguments, f"{name}_server")
    if address is None:
        if given:
            raise SettingsError(f"--{name}_{next(iter(given))} is for a served model, and --{name}_server is not given; give both or none")
        return None
    return Server(
        address=address,
        **given,
        **{part: value for part in ("concurrency", "timeout") if (value := getattr(arguments, f"server_{part}")) is not None},
    )


def servers_of(arguments: argparse.Namespace) -> dict[Role, Server]:
    """Return the servers by the role of their model.

    Raises:
        SettingsError: as `server_of`, or concurrency or timeout is given without a server.
    """
    found = {role: server for role in _NAMES if (server := server_of(arguments, role)) is not None}
    for name in _OF_ALL if not found else ():
        if getattr(arguments, name) is not None:
            raise SettingsError(f"--{name} is for served models, and there is none; give the address of a server, or leave it out")
    return found


def refuse_flags_of_loaded_models(arguments: argparse.Namespace, servers: dict[Role, Server], defaults: dict[str, Any]) -> None:
    """Check that each served model has a name, and that no flag is given which only loaded models have a use for.

    `defaults` are the values of the flags that are not given.

    Raises:
        SettingsError: one has no name, or there is such a flag.
    """
    named = [role for role in _NAMES if role == "model" or getattr(arguments, f"{_NAMES[role]}_name_or_path") is not None]
    for role in servers:
        flag = f"{_NAMES[role]}_name_or_path"
        if not (getattr(arguments, flag) or "").strip():
            raise SettingsError(f"--{_NAMES[role]}_server needs the name by which the server knows the model; give it as --{flag}")
    useless = {flag: role for role in servers for flag in _LOADED[role]}
    if set(named) <= set(servers):
        useless |= dict.fromkeys(SHARED, "model")
    for flag, role in useless.items():
        if getattr(arguments, flag) != defaults[flag]:
            raise SettingsError(
                f"--{flag} is for a model that is loaded here, and --{_NAMES[role]}_server names a served one; leave out one of them"
            )


def server_words(settings: MineSettings) -> list[str]:
    """Return the flags of the servers in `settings`; concurrency and timeout are those of the first one."""
    words: list[str] = []
    models = {"model": settings.model, "second_model": settings.second_model, "reranker": settings.reranker}
    servers = {_NAMES[role]: each.server for role in _NAMES if (each := models[role]) is not None and each.server is not None}
    for name, server in servers.items():
        parts = {"server": server.address, "api": server.api, "key_variable": server.key_variable, "dimensions": server.dimensions}
        words += [word for part, value in parts.items() if value is not None for word in (f"--{name}_{part}", str(value))]
    for first in list(servers.values())[:1]:
        for part in ("concurrency", "timeout"):
            if (value := getattr(first, part)) != getattr(Server(address=first.address), part):
                words += [f"--server_{part}", str(value)]
    return words
