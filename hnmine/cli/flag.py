"""One flag of the command line, and its value in the settings of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from hnmine.models.cards import PACKAGED_NAME, ModelSettings
from hnmine.models.reranker import RerankerSettings
from hnmine.runs.settings import MineSettings

__all__ = ["DEFAULTS", "SHARED", "Flag", "unused", "value_of"]

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
