"""A judge by rule, for the server of `served_models.py`: what an LLM would answer to /v1/chat/completions, without one.

The grade is the part of the words of a positive that the passage has too, so the same question always gets the same answer. It is a
stand-in to try and test what asks a judge, not a judge: it knows nothing of meaning.
"""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["CHAT_FAULTS", "NAME", "completion", "grade"]

NAME = "judge-by-rule"
# Each is an answer that judges give, too: one that refuses a part of the request, for every question or for some.
CHAT_FAULTS = ("no_schema", "no_temperature", "no_max_tokens", "content_filter", "refusal", "prose", "no_grade", "two_grades", "thinking",
               "no_usage", "no_choices", "long")  # fmt: skip
# The part of a positive's words from which a passage has the grades 1, 2 and 3.
STEPS = (0.2, 0.4, 0.8)

_BLOCK = re.compile(r"<(query|positive|passage)>\n(.*?)\n</\1>", re.DOTALL)
_WORD = re.compile(r"\w+")


def completion(body: dict[str, Any], fault: str = "") -> tuple[int, dict[str, Any]]:
    """Return the status and the answer to the body of a chat completion; `fault` is one of CHAT_FAULTS, or none."""
    if not str(body.get("model", "")).startswith(NAME):
        return _error(404, f"The model `{body.get('model')}` does not exist.", "NotFoundError")
    if fault == "no_schema" and "response_format" in body:
        return _error(400, "'response_format' of type json_schema is not supported with this model")
    if fault == "no_temperature" and "temperature" in body:
        return _error(400, "Unsupported value: 'temperature' does not support 0 with this model.")
    if fault == "no_max_tokens" and "max_tokens" in body:
        return _error(400, "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.")
    if fault == "content_filter":
        return _error(400, "The response was filtered due to the prompt triggering the content management policy.", "content_filter")
    if fault == "long":
        return _error(400, "This model's maximum context length is 2048 tokens. However, you requested 2460 tokens.")
    if fault == "no_choices":
        return 200, {"object": "list", "data": []}
    question = "\n".join(str(each["content"]) for each in body["messages"])
    found, share = grade(question)
    reason = f"{share:.0%} of the words of a known good passage"
    end, answer = "stop", json.dumps({"reason": reason, "grade": found})
    if fault == "prose" or "response_format" not in body:
        answer = f"Here is my answer:\n```json\n{answer}\n```\nI hope that this helps."
    if fault == "no_grade":
        answer = "It depends on what the person wants to know."
    if fault == "two_grades":
        answer = f'{answer} or else {{"grade": {3 - found}}}'
    limit = int(body.get("max_tokens") or body.get("max_completion_tokens") or 0)
    if fault == "thinking":  # a model that needs more tokens for its thoughts than a short limit has
        end, answer = ("length", "<think>The passage says") if limit < 2_000 else ("stop", f"<think>Grade: 1? No.</think>{answer}")
    message: dict[str, Any] = {"role": "assistant", "content": answer}
    if fault == "refusal":
        message = {"role": "assistant", "content": None, "refusal": "I'm sorry, I can't help with that."}
    prompt, words = len(question.encode()) // 5, len(answer.encode()) // 4
    usage = {"prompt_tokens": prompt, "completion_tokens": words, "total_tokens": prompt + words}
    return 200, {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": end}],
        **({} if fault == "no_usage" else {"usage": usage}),
    }


def grade(question: str) -> tuple[int, float]:
    """Return the grade of the passage in a question, and the part of a positive's words that it has."""
    blocks = [(name, _words(text)) for name, text in _BLOCK.findall(question)]
    passage = next((words for name, words in blocks if name == "passage"), set())
    shares = [len(words & passage) / len(words) for name, words in blocks if name == "positive" and words]
    share = max(shares, default=0.0)
    return sum(share >= step for step in STEPS), share


def _words(text: str) -> set[str]:
    return {word.casefold() for word in _WORD.findall(text)}


def _error(status: int, message: str, code: str = "invalid_request_error") -> tuple[int, dict[str, Any]]:
    return status, {"error": {"message": message, "type": "invalid_request_error", "code": code}}
