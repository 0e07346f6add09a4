"""The command `python -m hnmine judge`: grade the negatives of a mined file with an LLM, after its cost was said."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from hnmine.cli.flags import columns_of, paths_of
from hnmine.core.errors import Cancelled, EncodeError, HnmineError, InputError, LimitError, ModelError, SettingsError, WorkspaceError
from hnmine.core.files import write_atomic
from hnmine.core.paths import require_possible
from hnmine.core.progress import OnProgress, ShouldStop
from hnmine.core.text import counted
from hnmine.data.dataset import read_inputs
from hnmine.models.served.server import Server
from hnmine.review.judge import Judged, judge_pairs, planned
from hnmine.review.judge_pairs import old_pairs, random_pairs
from hnmine.review.judge_prompt import DEFAULT_PROMPT, GRADES, read_prompt
from hnmine.review.judge_settings import JudgeSettings
from hnmine.review.judgements import FILE, JudgementStore, judgement_lines, verdict_of
from hnmine.runs.output import check_output
from hnmine.runs.workspace import home

__all__ = ["judge_file"]

# Flags by the library's names of what they set; and phrases of messages that can quote a server, which has such names too.
_FLAGS = {"the variable with the key": "judge_key_variable", "concurrency": "server_concurrency", "timeout": "server_timeout"} | {
    name: name for name in ("max_calls", "max_tokens", "relevant_from", "prompt_file")
}
_NAMES = re.compile(rf"(?<![\w./-])(?:{'|'.join(_FLAGS)})(?![\w./-]*[/\w-])")
_PHRASES = {"raise the timeout": "raise --server_timeout"}


def _by_flags(text: str) -> str:
    """Return a text of the library with the flags of this command in place of its settings."""
    return _NAMES.sub(lambda found: f"--{_FLAGS[found[0]]}", text)


def _asking_again(text: str) -> str:
    """Add to a text on pairs without a grade how they are asked again."""
    return f"{text}; --ask_again asks about them again" if "no usable grade" in text or "has refused" in text else text


def judge_file(arguments: argparse.Namespace, say: Callable[[str], None], on_progress: OnProgress, should_stop: ShouldStop) -> str:
    """Judge the negatives of a file, write the judgements, and return the text to print.

    Args:
        say: prints a line at once: the cost before the first call, and after an error what is kept.

    Raises:
        HnmineError: as `judge_pairs`; or no pair got a usable grade, the file cannot be read or written, or flags contradict each other.
    """
    try:
        return _judged(arguments, say, on_progress, should_stop)
    except (SettingsError, LimitError) as error:
        error.args = (_by_flags(str(error)),)
        raise
    except (EncodeError, ModelError) as error:
        text = str(error)
        for phrase, flag in _PHRASES.items():
            text = text.replace(phrase, flag)
        error.args = (_asking_again(text),)
        raise


def _judged(arguments: argparse.Namespace, say: Callable[[str], None], on_progress: OnProgress, should_stop: ShouldStop) -> str:
    settings = _settings(arguments)
    if not arguments.dry_run:
        settings.server.key()  # a variable that is not set is found before files are read
    if arguments.no_store and arguments.store is not None:
        raise SettingsError(f"--no_store and --store {arguments.store} contradict each other; leave one of them out")
    if arguments.output_file is not None:
        check_output("--output_file", arguments.output_file, {"input_file": paths_of(arguments.input_file)})
    inputs = read_inputs(
        paths_of(arguments.input_file),
        columns=columns_of(arguments),
        repair=arguments.repair or (),
        skip_bad_rows=arguments.skip_bad_rows,
    )
    pairs = old_pairs(inputs.corpus, inputs.rows)
    if not len(pairs[0]):
        raise InputError(f"{' '.join(arguments.input_file)} has no row with negatives; mine them first: python -m hnmine mine")
    if arguments.sample is not None:
        pairs = random_pairs(inputs.corpus, pairs, arguments.sample, arguments.seed)
    store = _store(arguments)
    plan = planned(inputs.corpus, *pairs, settings, store, ask_again=arguments.ask_again)
    if arguments.dry_run:
        return msgspec.json.encode(plan).decode() if arguments.json else str(plan)
    if plan.calls <= settings.max_calls:  # else the error says it
        say(str(plan))
    done = 0

    def progress(now: int, total: int, note: str) -> None:
        nonlocal done
        done = now
        on_progress(now, total, note)

    try:
        judged = judge_pairs(
            inputs.corpus, *pairs, settings, store, ask_again=arguments.ask_again, on_progress=progress, should_stop=should_stop
        )
    except (Cancelled, LimitError):  # which say it themselves
        raise
    except HnmineError:
        if done and store is not None:
            say(f"{counted(done, 'new judgement')} kept in {store.path}: the same command continues with them")
        raise
    if judged.judgements and judged.ungraded == len(judged.judgements):
        reason = judged.judgements[-1].reason.rstrip(". ")
        raise EncodeError(
            f"the judge {settings.model} gave no usable grade for any of {counted(judged.ungraded, 'pair')} (the last answer: {reason}), "
            f"and {arguments.output_file} was not written; check that the model can answer with a grade, and the text of the prompt"
        )
    write_atomic(Path(arguments.output_file), judgement_lines(judged.judgements, settings.relevant_from))
    return _report(judged, settings, arguments)


def _settings(arguments: argparse.Namespace) -> JudgeSettings:
    given = {name: getattr(arguments, f"server_{name}") for name in ("concurrency", "timeout")}
    server = Server(
        address=arguments.judge_server,
        key_variable=arguments.judge_key_variable,
        **{name: value for name, value in given.items() if value is not None},
    )
    return JudgeSettings(
        model=arguments.judge_model,
        server=server,
        prompt=DEFAULT_PROMPT if arguments.prompt_file is None else read_prompt(arguments.prompt_file),
        relevant_from=arguments.relevant_from,
        max_calls=arguments.max_calls,
        max_tokens=arguments.max_tokens,
    )


def _store(arguments: argparse.Namespace) -> JudgementStore | None:
    """Return the store of answers; None without one, and where it would only be made to be read."""
    if arguments.no_store:
        return None
    if arguments.store is not None:
        require_possible("--store", arguments.store)
    path = Path(arguments.store or home() / FILE)
    if arguments.dry_run and not path.exists():
        return None
    if arguments.store is None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkspaceError(f"{path.parent} cannot be made ({error.strerror}); set HNMINE_HOME to another folder") from error
    return JudgementStore(path)


def _report(judged: Judged, settings: JudgeSettings, arguments: argparse.Namespace) -> str:
    grades = Counter(each.grade for each in judged.judgements)
    graded = len(judged.judgements) - judged.ungraded
    relevant = sum(verdict_of(each.grade, settings.relevant_from) == "relevant" for each in judged.judgements)
    if arguments.json:
        found: dict[str, Any] = {
            "judge": settings.model,
            "prompt": settings.prompt.version,
            "relevant_from": settings.relevant_from,
            "pairs": judged.plan.pairs,
            "judged_before": judged.plan.judged,
            "judged_before_without_grade": judged.plan.without_grade,
            "calls": judged.calls,
            "grades": {str(grade): grades[grade] for grade in range(len(GRADES))},
            "ungraded": judged.ungraded,
            "relevant": relevant,
            "prompt_tokens": judged.prompt_tokens,
            "completion_tokens": judged.completion_tokens,
            "repeated": judged.repeated,
            "seconds": round(judged.seconds, 3),
            "output_file": arguments.output_file,
            "notes": [_asking_again(_by_flags(note)) for note in judged.notes],
        }
        return msgspec.json.encode(found).decode()
    share = f" ({relevant / graded:.1%})" if graded else ""
    rate = f", {judged.calls / judged.seconds:,.1f} a second" if judged.calls and judged.seconds > 0 else ""
    repeated = f", {counted(judged.repeated, 'request')} repeated" if judged.repeated else ""
    lines = [
        f"judge      {settings.model}, prompt {settings.prompt.version}",
        f"pairs      {judged.plan.pairs:,}: {judged.plan.before}, {counted(judged.calls, 'call')}",
        *(f"grade {grade}    {grades[grade]:,} ({meaning})" for grade, meaning in enumerate(GRADES)),
        *([f"no grade   {judged.ungraded:,}; --ask_again asks about them again"] if judged.ungraded else []),
        f"relevant   {relevant:,} of {graded:,} graded{share}, from grade {settings.relevant_from}",
        f"tokens     {judged.prompt_tokens:,} of questions, {judged.completion_tokens:,} of answers",
        f"time       {judged.seconds:,.1f} s{rate}{repeated}",
        *(f"note       {_asking_again(_by_flags(note))}" for note in judged.notes),
        f"written    {arguments.output_file}",
    ]
    return "\n".join(lines)
