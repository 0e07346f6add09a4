"""The input files of a run, read and made into a corpus, with fingerprints that tell later whether they are still the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from hnmine.corpus import Corpus, PoolMode, build_corpus
from hnmine.errors import InputError, SettingsError
from hnmine.problems import InputFile, Problem
from hnmine.rows import Row, read_pool, read_training

__all__ = ["Inputs", "read_inputs"]


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """What was read: usable rows, the pool, the corpus built from them, all problems, and the files' fingerprints (name, bytes, sha256)."""

    rows: Sequence[Row]
    pool: Sequence[str] | None
    corpus: Corpus
    problems: tuple[Problem, ...]
    files: dict[str, dict[str, Any]]


def _fingerprint(file: InputFile[Any]) -> dict[str, Any]:
    return {"name": Path(file.path).name, "bytes": file.size, "sha256": file.sha256}


def read_inputs(
    input_file: str | os.PathLike[str],
    candidate_pool: str | os.PathLike[str] | Sequence[str] | None = None,
    *,
    pool_mode: PoolMode = "extend",
    repair: Iterable[str] = (),
    skip_bad_rows: bool = False,
) -> Inputs:
    """Read a training file and a pool (path or list of str) and build their corpus.

    Raises:
        InputError: a file cannot be read, or rows of either file are bad and neither repaired nor skipped: then `problems`
            holds those of both.
        SettingsError: `pool_mode` does not fit.
    """
    for argument, path in (("input_file", input_file), ("candidate_pool", candidate_pool)):
        if isinstance(path, str) and not path.strip():
            raise InputError(f"{argument} is {path!r}; give the path of a file{', or None' if argument == 'candidate_pool' else ''}")
    training = read_training(input_file, repair=repair, skip_bad_rows=skip_bad_rows)
    files = {"input_file": _fingerprint(training)}
    pool: Sequence[str] | None = None
    problems = list(training.problems)
    if isinstance(candidate_pool, (str, os.PathLike)):
        pool_file = read_pool(candidate_pool, repair=repair, skip_bad_rows=skip_bad_rows)
        files["candidate_pool"] = _fingerprint(pool_file)
        pool = pool_file.items
        problems += pool_file.problems
        _require_decided(training, pool_file)
    elif candidate_pool is not None:
        if not isinstance(candidate_pool, Iterable):
            raise SettingsError(f"candidate_pool is {candidate_pool!r}; give a path, a list of strings, or None")
        pool = [_pool_text(index, text) for index, text in enumerate(candidate_pool)]
        digest = hashlib.sha256(msgspec.json.encode(pool))
        files["candidate_pool"] = {"name": "list", "bytes": sum(map(len, pool)), "sha256": digest.hexdigest()}
    _require_decided(training)
    corpus = build_corpus(training.items, pool, pool_mode=pool_mode)
    return Inputs(training.items, pool, corpus, tuple(problems), files)


def _pool_text(index: int, text: object) -> str:
    """Check one passage of a pool given as a list; NumPy's own strings become plain ones."""
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"candidate_pool[{index}] is {text!r}; every passage must be a string that is not blank")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"candidate_pool[{index}] holds half a surrogate pair and cannot be written as UTF-8; mend the text") from error
    return str(text)


def _require_decided(*files: InputFile[Any]) -> None:
    """As InputFile.require_decided, for several files at once."""
    refusals: list[InputError] = []
    for file in files:
        try:
            file.require_decided()
        except InputError as error:
            refusals.append(error)
    if refusals:
        raise InputError("\n".join(map(str, refusals)), [problem for each in refusals for problem in each.problems])
