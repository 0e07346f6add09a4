"""The settings of an LLM judge: which model answers where, what it is asked, and what a run of it may cost."""

from __future__ import annotations

import msgspec

from hnmine.core.errors import SettingsError
from hnmine.models.served.server import Server
from hnmine.review.judge_prompt import DEFAULT_PROMPT, GRADES, JudgePrompt

__all__ = ["JudgeSettings"]


class JudgeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An LLM as judge. What decides a grade: model, prompt, and the texts.

    Attributes:
        model: the name by which the server knows it.
        server: where it answers /v1/chat/completions.
        prompt: the question.
        relevant_from: the lowest grade that counts as relevant, 1 to 3.
        max_calls: a run that needs more calls is refused before the first one.
        max_tokens: a run ends when the server has counted so many tokens, of prompts and answers; None for no limit. Calls that are
            under way then end too, so it can be exceeded by as many calls as `server.concurrency`.
    """

    model: str
    server: Server
    prompt: JudgePrompt = DEFAULT_PROMPT
    relevant_from: int = 2
    max_calls: int = 2_000
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        if not self.model.strip() or len(self.model) > 200 or not self.model.isprintable():
            raise SettingsError(f"the name of the judge's model is {self.model!r}; give the name that the server knows it by")
        msgspec.structs.force_setattr(self, "model", self.model.strip())
        if self.server.api not in (None, "openai"):
            raise SettingsError(f"the judge's server has the api {self.server.api!r}; a judge answers /v1/chat/completions: openai")
        if not 1 <= self.relevant_from < len(GRADES):
            raise SettingsError(f"relevant_from is {self.relevant_from!r}; it must be 1 to {len(GRADES) - 1}")
        if self.max_calls < 1:
            raise SettingsError(f"max_calls is {self.max_calls!r}; it must be 1 or more")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise SettingsError(f"max_tokens is {self.max_tokens!r}; it must be 1 or more, or None for no limit")
