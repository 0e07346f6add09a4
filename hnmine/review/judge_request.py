"""What a judge's server is sent, /v1/chat/completions, and what its reply holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hnmine.review.judge_prompt import SCHEMA

__all__ = ["PATH", "Form", "reply_of"]

PATH = "/v1/chat/completions"
# Tokens that an answer may have; and after one was cut, because a model thinks before it answers.
ANSWER_LIMIT, THINKING_LIMIT = 400, 4_000
# No model reads or writes so many tokens for one question: a count above it says nothing.
MOST_TOKENS = 10_000_000


@dataclass(frozen=True, slots=True)
class Form:
    """What requests have beside the question: what the server is known to take."""

    schema: bool = True
    temperature: bool = True
    limit: str = "max_tokens"
    most: int = ANSWER_LIMIT

    def body(self, model: str, content: list[dict[str, str]]) -> dict[str, Any]:
        found: dict[str, Any] = {"model": model, "messages": content, self.limit: self.most}
        if self.temperature:
            found["temperature"] = 0
        if self.schema:
            schema = {"name": "judgement", "strict": True, "schema": SCHEMA}
            found["response_format"] = {"type": "json_schema", "json_schema": schema}
        return found

    def without(self, reason: str) -> Form | None:
        """Return the form that may be taken where this one was refused, or None."""
        if "max_completion_tokens" in reason and self.limit == "max_tokens":
            return replace(self, limit="max_completion_tokens", most=THINKING_LIMIT)  # of a model that thinks
        if "temperature" in reason and self.temperature:
            return replace(self, temperature=False)
        return replace(self, schema=False) if self.schema else None


def reply_of(reply: Any) -> tuple[str, str, tuple[int, int]]:
    """Return the text of a reply, why it ends, and the tokens of question and answer; of a refusal, its text.

    A count that no model can have, or that is no whole number, is 0, as one that is missing.

    Raises:
        ValueError: the reply is no chat completion.
    """
    try:
        choice = reply["choices"][0]
        message = choice["message"]
        content = message.get("content") or message.get("refusal") or ""
        if isinstance(content, list):  # in parts
            content = "".join(part.get("text") or "" for part in content)
        if not isinstance(content, str):
            raise TypeError
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ValueError from None
    used = reply.get("usage")
    prompt, completion = (_count(used.get(name)) if isinstance(used, dict) else 0 for name in ("prompt_tokens", "completion_tokens"))
    return content, str(choice.get("finish_reason") or ""), (prompt, completion)


def _count(value: Any) -> int:
    return value if type(value) is int and 0 < value <= MOST_TOKENS else 0  # a bool is an int too
