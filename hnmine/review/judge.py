"""An LLM as judge: what a run of it will take, and the run.

Each answer is stored as it comes. After an error or a cancel nothing more is sent, and the answers under way are stored too, because they
are paid for: only a kill loses them, at most as many as requests at once. What a server refuses of the request (a schema, the temperature,
`max_tokens`) is left out for the rest of the run, once one question has found it out. One pair that a server refuses for what its text
says has no grade, as an answer without one; any other fault ends the run.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.core.errors import EncodeError, LimitError, SettingsError
from hnmine.core.progress import OnProgress, Planned, ShouldStop
from hnmine.core.text import counted, shortened
from hnmine.core.time_left import Work
from hnmine.data.corpus import Corpus
from hnmine.models.served.client import Client, Refused, Session
from hnmine.models.served.server import require_path
from hnmine.review.audit_sample import different_pairs
from hnmine.review.judge_prompt import LONGEST_REASON, MOST_POSITIVES, messages, parsed
from hnmine.review.judge_request import PATH, THINKING_LIMIT, Form, reply_of
from hnmine.review.judge_settings import JudgeSettings
from hnmine.review.judgements import Call, Judgement, JudgementStore

__all__ = ["STAGE", "CallPlan", "Judged", "judge_pairs", "planned"]

Ids = npt.NDArray[np.int32]

STAGE = "judging pairs"
# Estimates until the server has counted: bytes of a question for each token, and tokens of an answer.
BYTES_PER_TOKEN, ANSWER_TOKENS = 4, 60
# Seconds of a call, for the time left before it is measured.
CALL_SECONDS = 2.0

# Why a server refuses one pair, for what its text says or for its length.
_OWN_FAULT = re.compile(
    r"content[ _-]?(?:filter|management|policy)|usage polic|flagged|moderation|safety|responsible ai|context (?:length|window)|"
    r"(?:prompt|input|request) (?:is )?too (?:long|large)",
    re.IGNORECASE,
)
# So many answers without a usable grade one after the other are a fault of the server or the settings, and end the run.
UNGRADED = 20
# From this part of the pairs on without a grade, a run says so.
UNGRADED_PART = 0.1


class CallPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of a judge takes, known before it begins; its text is the line that is shown.

    Attributes:
        pairs: different pairs. judged: those that were judged before; without_grade: of them, those that got no usable grade.
        calls: the others.
        prompt_tokens, completion_tokens: estimates for the calls: of four bytes each and 60 an answer, or by what the server counted for
            earlier calls with this model and prompt.
        max_calls, max_tokens: the limits of the settings.
    """

    pairs: int
    judged: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    max_calls: int
    max_tokens: int | None = None
    without_grade: int = 0

    def __str__(self) -> str:
        return f"{counted(self.pairs, 'pair')}: {self.before}, {self.cost}"

    @property
    def cost(self) -> str:
        """The calls and their tokens, with the limits."""
        calls = counted(self.calls, "call")
        if not self.calls:
            return calls
        limits = f"limit {counted(self.max_calls, 'call')}" + (f", {self.max_tokens:,} tokens" if self.max_tokens is not None else "")
        tokens = f"about {_rounded(self.prompt_tokens)} prompt and {_rounded(self.completion_tokens)} answer tokens"
        return f"{calls}, {tokens} ({limits})"

    @property
    def before(self) -> str:
        """How many pairs were judged before, and how many of them without a grade."""
        graded = f"{self.judged - self.without_grade:,} judged before"
        return graded + (f", {self.without_grade:,} judged before without a grade" if self.without_grade else "")


def _rounded(number: int) -> str:
    """Return a number with two digits that count."""
    unit = 10 ** max(0, len(str(number)) - 2)
    return f"{round(number / unit) * unit:,}"


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a run of a judge.

    Attributes:
        judgements: one for each different pair, in the order of the pairs given.
        plan: what was known before.
        calls: questions that were answered. ungraded: all judgements without a usable grade.
        prompt_tokens, completion_tokens: of the calls, as the server counted them; 0 where it does not.
        repeated: requests that were sent again, because the server was busy or failed.
        seconds: of the calls.
        notes: messages for the user.
    """

    judgements: tuple[Judgement, ...]
    plan: CallPlan
    calls: int
    ungraded: int
    prompt_tokens: int
    completion_tokens: int
    repeated: int
    seconds: float
    notes: tuple[str, ...] = ()


def planned(
    corpus: Corpus, queries: Ids, passages: Ids, settings: JudgeSettings, store: JudgementStore | None, *, ask_again: bool = False
) -> CallPlan:
    """Return what judging these pairs takes; nothing is asked. Arguments as in `judge_pairs`.

    Raises:
        WorkspaceError: the store cannot be read.
    """
    return _Questions(corpus, queries, passages, settings, store, ask_again).plan


def judge_pairs(
    corpus: Corpus,
    queries: Ids,
    passages: Ids,
    settings: JudgeSettings,
    store: JudgementStore | None,
    *,
    ask_again: bool = False,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> Judged:
    """Judge pairs of a corpus; those that were judged before are not asked again.

    Args:
        queries, passages: (p,) int32 each; a pair that is there twice is judged once, one with a -1 not at all.
        store: of the answers; None keeps them in the result alone.
        ask_again: ask those again that got no usable grade before.
        on_progress: calls done, of all.

    Raises:
        SettingsError: more than `settings.max_calls` calls are needed, or the address is that of an embedding model or a reranker; no call
            was made.
        LimitError: `settings.max_tokens` was reached.
        ModelError, EncodeError: as `served.client`; or the server's answer is no chat completion.
        WorkspaceError: the store cannot be read or written; or another run of this model and prompt uses it, and nothing was asked.
        Cancelled: `should_stop` returned True.
    """
    with nullcontext() if store is None else store.one_run(settings.model, settings.prompt.version):
        return _judge(_Questions(corpus, queries, passages, settings, store, ask_again), settings, store, on_progress, should_stop)


def _judge(
    asked: _Questions, settings: JudgeSettings, store: JudgementStore | None, on_progress: OnProgress | None, should_stop: ShouldStop | None
) -> Judged:
    plan = asked.plan
    if plan.calls > settings.max_calls:
        raise SettingsError(
            f"{plan}: that is more than max_calls, and nothing was asked. Judge fewer pairs, or set max_calls to {plan.calls:,} or more"
        )
    found, run = dict(asked.before), _Run(settings)
    began = time.monotonic()
    answered = 0
    if plan.calls:
        client = Client(settings.server, f"the judge {settings.model}")
        if isinstance(on_progress, Planned):
            on_progress.plan([Work(STAGE, plan.calls, CALL_SECONDS * plan.calls / settings.server.concurrency)], f"judge {settings.model}")
        if on_progress is not None:
            on_progress(0, plan.calls, STAGE)
        # Closed at once where storing an answer fails, so that no further call is paid for.
        asking = client.answers(asked.open(run), run.ask, should_stop=should_stop, wait_for_answers=True)
        with closing(asking) as answers:
            for question, answer in answers:
                judgement = Judgement(
                    question.query,
                    question.passage,
                    answer.grade,
                    answer.reason,
                    settings.model,
                    settings.prompt.version,
                    datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
                    answer.prompt_tokens + answer.completion_tokens,
                )
                if store is not None:
                    store.add([judgement], [Call(question.key, question.size, answer.prompt_tokens, answer.completion_tokens)])
                found[question.place] = judgement
                run.count(question, answer)
                answered += 1
                if on_progress is not None:
                    on_progress(answered, plan.calls, STAGE)
        run.repeated = client.repeated
    if len(found) < plan.pairs:
        kept = "What was judged is kept: raise" if store is not None else "No store keeps them: raise"
        raise LimitError(
            f"the judge {settings.model} has used {run.spent:,} tokens, and max_tokens is {settings.max_tokens or 0:,}: "
            f"{len(found):,} of {counted(plan.pairs, 'pair')} are judged. {kept} max_tokens and run again"
        )
    ungraded = sum(each.grade is None for each in found.values())
    return Judged(
        judgements=tuple(found[place] for place in range(plan.pairs)),
        plan=plan,
        calls=answered,
        ungraded=ungraded,
        prompt_tokens=run.prompt_tokens,
        completion_tokens=run.completion_tokens,
        repeated=run.repeated,
        seconds=time.monotonic() - began,
        notes=(*run.notes(), *_ungraded_note(settings.model, ungraded, plan.pairs)),
    )


def _ungraded_note(model: str, ungraded: int, pairs: int) -> Iterator[str]:
    if ungraded > UNGRADED_PART * pairs:
        yield f"the judge {model} gave no usable grade for {ungraded:,} of {counted(pairs, 'pair')}"


@dataclass(frozen=True, slots=True)
class _Question:
    """A pair to ask about: its place among the pairs, what is asked, and the key of that."""

    place: int
    query: str
    passage: str
    content: list[dict[str, str]]
    key: bytes
    size: int


@dataclass(frozen=True, slots=True)
class _Answer:
    grade: int | None
    reason: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    refused: bool = False


class _Questions:
    """The different pairs of a run, those that were judged before, and the plan for the others."""

    def __init__(
        self, corpus: Corpus, queries: Ids, passages: Ids, settings: JudgeSettings, store: JudgementStore | None, ask_again: bool
    ) -> None:
        require_path(settings.server, "a judge")
        self._corpus, self._settings = corpus, settings
        self._queries, self._passages = different_pairs(queries, passages)
        keys, sizes = [], []
        for place in range(len(self._queries)):
            question = self._question(place)
            keys.append(question.key)
            sizes.append(question.size)
        held = {} if store is None else store.held(keys)
        self.before = {place: held[key] for place, key in enumerate(keys) if key in held and not (ask_again and held[key].grade is None)}
        self._open = [place for place in range(len(keys)) if place not in self.before]
        # The count of the server corrects the estimate, once there is one.
        usage = None if store is None else store.usage(settings.model, settings.prompt.version)
        known = usage is not None and usage.calls > 0 and usage.size > 0
        prompts = sum(-(-sizes[place] // BYTES_PER_TOKEN) for place in self._open)
        answers = ANSWER_TOKENS * len(self._open)
        if known and usage is not None:
            prompts = round(sum(sizes[place] for place in self._open) * usage.prompt_tokens / usage.size)
            answers = round(len(self._open) * usage.completion_tokens / usage.calls)
        self.plan = CallPlan(
            pairs=len(keys),
            judged=len(self.before),
            calls=len(self._open),
            prompt_tokens=prompts,
            completion_tokens=answers,
            max_calls=settings.max_calls,
            max_tokens=settings.max_tokens,
            without_grade=sum(each.grade is None for each in self.before.values()),
        )

    def open(self, run: _Run) -> Iterator[_Question]:
        """Yield what is to be asked, until the limit of tokens is reached."""
        for place in self._open:
            if self._settings.max_tokens is not None and run.spent >= self._settings.max_tokens:
                return
            yield self._question(place)

    def _question(self, place: int) -> _Question:
        corpus, query, passage = self._corpus, int(self._queries[place]), int(self._passages[place])
        # Not those that reviewers added, nor by the order of a run: the same question is asked in each run, and its answer found again.
        hidden = {passage, *corpus.promoted(query).tolist()}
        shown = [each for each in corpus.positives(query).tolist() if each not in hidden][:MOST_POSITIVES]
        texts = corpus.queries[query], corpus.passages[passage]
        prompt = self._settings.prompt
        content = messages(prompt, texts[0], [corpus.passages[each] for each in shown], texts[1])
        asked = msgspec.json.encode([self._settings.model, prompt.version, content])
        size = sum(len(each["content"].encode()) for each in content)
        return _Question(place, *texts, content, hashlib.blake2b(asked, digest_size=16).digest(), size)


class _Run:
    """Asks the questions of one run. `ask` runs on the client's event loop, all else in the caller's thread."""

    def __init__(self, settings: JudgeSettings) -> None:
        self._settings, self._form = settings, Form()
        self.prompt_tokens = self.completion_tokens = self.repeated = self.spent = self._uncounted = self._ungraded = 0
        self._refused = False

    async def ask(self, session: Session, question: _Question) -> _Answer:
        prompts = completions = 0
        while True:
            form = self._form
            try:
                reply = await session.post(PATH, form.body(self._settings.model, question.content))
            except Refused as refused:
                if _OWN_FAULT.search(refused.reason):
                    return _Answer(None, shortened(f"refused: {refused.reason}", LONGEST_REASON), prompts, completions, True)
                if self._form == form:  # else another question has found it out meanwhile
                    if (other := form.without(refused.reason)) is None:
                        raise
                    self._form = other
                continue
            text, end, usage = self._read(reply)
            prompts, completions = prompts + usage[0], completions + usage[1]
            grade, reason = parsed(text)
            if grade is None and end == "length":
                if form.most < THINKING_LIMIT:
                    self._form = replace(self._form, most=THINKING_LIMIT)
                    continue
                reason = f"the answer was cut at {form.most:,} tokens"
            elif grade is None and not reason:
                reason = "no grade, or several" if text.strip() else f"an empty answer{f' ({end})' if end else ''}"
            return _Answer(grade, reason, prompts, completions)

    def count(self, question: _Question, answer: _Answer) -> None:
        """Add what an answer took; an estimate where the server counts nothing.

        Raises:
            EncodeError: it is the last of UNGRADED without a grade one after the other.
        """
        self._ungraded = self._ungraded + 1 if answer.grade is None else 0
        self._refused = self._refused and answer.refused if self._ungraded > 1 else answer.refused
        if self._ungraded >= UNGRADED:
            name, reason = f"the judge {self._settings.model}", answer.reason.rstrip(". ")
            if self._refused:
                found = f"{name} has refused {UNGRADED} pairs one after the other ({reason}); check the model and its limits"
            else:
                found = f"{name} gave no usable grade for {UNGRADED} pairs one after the other (the last answer: {reason}); "
                found += "check that the model can answer with a grade, and the text of the prompt"
            raise EncodeError(f"{found}, then run again")
        if answer.refused:
            return
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens
        counted = answer.prompt_tokens + answer.completion_tokens
        self._uncounted += not counted
        self.spent += counted or -(-question.size // BYTES_PER_TOKEN) + ANSWER_TOKENS

    def notes(self) -> Iterator[str]:
        """Yield what the user should know of the run."""
        name = f"the judge {self._settings.model}"
        if not self._form.schema:
            yield f"{name} takes no JSON schema: grades were read from its text"
        if not self._form.temperature:
            yield f"{name} takes no temperature: asked again, it may grade otherwise"
        if self._uncounted and self._settings.max_tokens is not None:
            yield f"{name} did not count the tokens of {counted(self._uncounted, 'call')}: max_tokens was compared with an estimate"

    def _read(self, reply: Any) -> tuple[str, str, tuple[int, int]]:
        """Return what `reply_of` does; what is no chat completion has its message."""
        try:
            return reply_of(reply)
        except ValueError:
            said = shortened(json.dumps(reply), 200)
            where = self._settings.server.url(PATH)
            raise EncodeError(
                f"the judge {self._settings.model}: {where} answers with what is no chat completion: {said}. Check the address and its path"
            ) from None
