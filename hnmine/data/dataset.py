"""The input files of a run, read and made into a corpus, with fingerprints that tell later whether they are still the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from hnmine.core.errors import InputError, SettingsError
from hnmine.data.beir import beir_at
from hnmine.data.columns import Columns
from hnmine.data.corpus import Corpus, PoolMode, build_corpus
from hnmine.data.problems import InputFile, Problem
from hnmine.data.rows import Row, read_pool, read_training

__all__ = ["Files", "Inputs", "gather", "read_files", "read_inputs"]


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """What was read: usable rows, the pool, the corpus built from them, all problems, and the files' fingerprints (name, bytes, sha256).

    `notes` say how a file was read that was no plain JSON lines.
    """

    rows: Sequence[Row]
    pool: Sequence[str] | None
    corpus: Corpus
    problems: tuple[Problem, ...]
    files: dict[str, dict[str, Any]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Files:
    """The files of a run as they were read, before anybody has to decide: training rows, and the pool's passages if there are any.

    `one` says that both came from one BEIR data set.
    """

    training: InputFile[Row]
    pool: InputFile[str] | None
    one: bool = False

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Those of both."""
        return (*self.training.problems, *(self.pool.problems if self.pool else ()))


def _fingerprint(file: InputFile[Any]) -> dict[str, Any]:
    return {"name": Path(file.path).name, "bytes": file.size, "sha256": file.sha256}


def read_files(
    input_file: str | os.PathLike[str],
    candidate_pool: str | os.PathLike[str] | None = None,
    *,
    columns: Columns | None = None,
    repair: Iterable[str] = (),
    skip_bad_rows: bool = False,
) -> Files:
    """Read a training file and a pool, each in any format of `sources`; of a BEIR data set without a pool, its corpus is the pool.

    Raises:
        InputError: a file cannot be read; as ColumnsError, its columns have to be named. Bad rows do not raise.
    """
    for argument, path in (("input_file", input_file), ("candidate_pool", candidate_pool)):
        if isinstance(path, str) and not path.strip():
            raise InputError(f"{argument} is {path!r}; give the path of a file{', or None' if argument == 'candidate_pool' else ''}")
    if beir := beir_at(input_file):
        training, corpus = beir.read(columns=columns, repair=repair, skip_bad_rows=skip_bad_rows)
        if candidate_pool is None:
            return Files(training, corpus, one=True)
    else:
        training = read_training(input_file, columns=columns, repair=repair, skip_bad_rows=skip_bad_rows)
    if beir is None and columns is not None and columns.qrels is not None:
        raise InputError(f"{input_file} is no BEIR data set: there are no verdict_pairs named `{columns.qrels}`; leave qrels out")
    if candidate_pool is None:
        return Files(training, None)
    if corpus_of := beir_at(candidate_pool):
        return Files(training, corpus_of.read(columns=None, repair=repair, skip_bad_rows=skip_bad_rows)[1])
    return Files(training, read_pool(candidate_pool, columns=columns, repair=repair, skip_bad_rows=skip_bad_rows))


def gather(files: Files, *, pool_mode: PoolMode = "extend") -> Inputs:
    """Build the corpus of files that were read.

    Raises:
        InputError: rows of either are bad and neither repaired nor skipped: then `problems` holds those of both.
        SettingsError: `pool_mode` does not fit.
    """
    training, pool = files.training, files.pool
    _require_decided(training, *([pool] if pool else []))
    prints = {"input_file": _fingerprint(training)}
    if pool is not None and not files.one:
        prints["candidate_pool"] = _fingerprint(pool)
    items = pool.items if pool else None
    corpus = build_corpus(training.items, items, pool_mode=pool_mode)
    told: list[InputFile[Any]] = [training, *([pool] if pool and not files.one else [])]
    notes = tuple(f"{Path(file.path).name}: {file.read_as}" for file in told if not file.plain)
    return Inputs(training.items, items, corpus, files.problems, prints, notes)


def read_inputs(
    input_file: str | os.PathLike[str],
    candidate_pool: str | os.PathLike[str] | Sequence[str] | None = None,
    *,
    pool_mode: PoolMode = "extend",
    columns: Columns | None = None,
    repair: Iterable[str] = (),
    skip_bad_rows: bool = False,
) -> Inputs:
    """Read a training file and a pool (path or list of str) and build their corpus.

    Raises:
        InputError: a file cannot be read, or rows of either file are bad and neither repaired nor skipped: then `problems`
            holds those of both.
        SettingsError: `pool_mode` does not fit.
    """
    listed = candidate_pool is not None and not isinstance(candidate_pool, (str, os.PathLike))
    files = read_files(
        input_file,
        None if listed else candidate_pool,  # type: ignore[arg-type]  # a path, if it is no list
        columns=columns,
        repair=repair,
        skip_bad_rows=skip_bad_rows,
    )
    if not listed:
        return gather(files, pool_mode=pool_mode)
    if not isinstance(candidate_pool, Iterable):
        raise SettingsError(f"candidate_pool is {candidate_pool!r}; give a path, a list of strings, or None")
    pool = [_pool_text(index, text) for index, text in enumerate(candidate_pool)]
    digest = hashlib.sha256(msgspec.json.encode(pool)).hexdigest()
    return gather(Files(files.training, InputFile("list", pool, size=sum(map(len, pool)), sha256=digest)), pool_mode=pool_mode)


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
