"""The data of a run: files or objects in memory, read, checked and made into a corpus, with fingerprints."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from hnmine.core.errors import InputError, LabelsError
from hnmine.core.paths import require_possible, shown
from hnmine.core.scratch import temporary_files
from hnmine.core.text import normalize_text
from hnmine.data.beir import BeirFolder, beir_at
from hnmine.data.columns import Columns
from hnmine.data.corpus import Corpus, PoolMode, build_corpus
from hnmine.data.folders import Folder, Part, Paths, files_at
from hnmine.data.formats.unreadable import unreadable_as_input_error
from hnmine.data.joining import join_texts, require_texts, spelled_pool, wanted_ids, wanted_queries
from hnmine.data.objects import are_paths, is_dict_of_tables, path_of, split_of_tables, texts_of
from hnmine.data.problems import InputFile, Problem, repairs_from, require_decided
from hnmine.data.reading import combined, pool_of, read_pool, read_training, training_of
from hnmine.data.rows import Row
from hnmine.data.sanity import ACCEPT, examine, outside_pool
from hnmine.data.several import Reading, Sorted, decide_texts, in_words, sorted_files
from hnmine.data.texts import Texts

__all__ = ["Files", "Inputs", "described", "gather", "read_files", "read_inputs"]


def described(training: InputFile[Row], pool: InputFile[str] | None) -> dict[str, dict[str, Any]]:
    """Return how the training file, and the pool if there is one, were understood.

    `input_file` and `candidate_pool` each have read_as (a sentence), encoding, columns (as in `Columns`), other_columns, counts, and
    problems, grouped by kind and resolution with the first of each. Counts are `rows`, different `queries` (as the corpus counts them),
    `positives` and `old_negatives` of the training file, and `passages` of the pool.
    """
    rows = training.items
    counts = {
        "rows": len(rows),
        "queries": len({normalize_text(row.query) for row in rows}),
        "positives": sum(len(row.pos) for row in rows),
        "old_negatives": sum(len(row.neg) for row in rows),
    }
    found = {"input_file": _file(training, counts)}
    if pool is not None:
        found["candidate_pool"] = _file(pool, {"passages": len(pool.items)})
    return found


def _file(file: InputFile[Any], counts: dict[str, int]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for part, name in msgspec.to_builtins(file.columns).items():
        if part in ("pos", "neg"):  # rows without old negatives have no such field
            name = [each for each in name or () if each in file.names]
        if name and part != "encoding":
            columns[part] = name
    named = [columns.get(part, ()) for part in ("query", "pos", "neg", "label", "text", "id")]
    used = {each for name in named for each in ([name] if isinstance(name, str) else name)}
    return {
        "read_as": file.read_as,
        "encoding": file.encoding or "utf-8",
        "columns": columns,
        "other_columns": [name for name in file.names if name not in used],
        **counts,
        "problems": _grouped(file.problems),
    }


def _grouped(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for each in problems:
        facts = {"kind": each.kind, "severity": each.severity, "resolution": each.resolution, "count": 0}
        first = {"line": each.line, "path": each.path, "message": each.message, "remedy": each.remedy}
        group = groups.setdefault((each.kind, each.resolution), facts | {"first": first})
        group["count"] += 1
    return list(groups.values())


_PATH = (str, os.PathLike)


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """What was read: usable rows, the pool, the corpus built from them, all problems, and the files' fingerprints (name, bytes, sha256).

    `notes` say how each file that is not plain JSON lines was read, `read` how every file was (`described`).
    """

    rows: Sequence[Row]
    pool: Sequence[str] | None
    corpus: Corpus
    problems: tuple[Problem, ...]
    files: dict[str, dict[str, Any]]
    notes: tuple[str, ...] = ()
    read: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Files:
    """The files of a run as read: training rows, and the pool's passages or None. Problems may be open.

    `one`: both are parts of one BEIR data set.
    """

    training: InputFile[Row]
    pool: InputFile[str] | None
    one: bool = False

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Those of both."""
        return (*self.training.problems, *(self.pool.problems if self.pool else ()))

    @property
    def passages(self) -> Sequence[str]:
        """The different passages of the rows and the pool, in their order; of a pool that is not in memory, its own as they are."""
        pool = self.pool.items if self.pool else ()
        if isinstance(pool, Texts):
            return pool
        return list(dict.fromkeys([*(text for row in self.training.items for text in (*row.pos, *row.neg)), *pool]))


def _fingerprint(file: InputFile[Any]) -> dict[str, Any]:
    return {"name": Path(file.path).name, "bytes": file.size, "sha256": file.sha256}


def read_files(
    input_file: Paths,
    candidate_pool: Paths | None = None,
    *,
    columns: Columns | None = None,
    repair: Iterable[str] = (),
    skip_bad_rows: bool = False,
) -> Files:
    """Read a training set and a pool, each one or several files in any format of `data.detect`, or what `folders.files_at` finds.

    Without a pool, the corpus of the training set is the pool, if it has one.

    Raises:
        InputError: a file cannot be read; as ColumnsError, its columns are unknown and must be named. Bad rows do not raise.
    """
    with unreadable_as_input_error(lambda: " and ".join(_shown(each) for each in (input_file, candidate_pool) if each is not None)):
        files = _read(input_file, candidate_pool, columns, repair, skip_bad_rows)
        examine(files.training, files.pool, accepted=ACCEPT in repairs_from(repair))
    return files


def _shown(given: Paths) -> str:
    """Return an input in words."""
    if isinstance(given, _PATH):
        return shown(given)
    return ", ".join(map(shown, given[:3])) + (f" and {len(given) - 3:,} more" if len(given) > 3 else "")


def _read(
    input_file: Paths,
    candidate_pool: Paths | None,
    columns: Columns | None,
    repair: Iterable[str],
    skip_bad_rows: bool,
) -> Files:
    for argument, given in (("input_file", input_file), ("candidate_pool", candidate_pool)):
        if isinstance(given, str) and not given.strip():
            raise InputError(f"{argument} is {given!r}; give the path of a file{', or None' if argument == 'candidate_pool' else ''}")
        for path in [given] if isinstance(given, _PATH) else given or ():
            require_possible(argument, path, InputError)
    reading = Reading(columns or Columns(), repair, skip_bad_rows)
    if beir := _beir(input_file):
        training, all_passages = beir.read(columns=columns, repair=repair, skip_bad_rows=skip_bad_rows)
        pool = None if candidate_pool is None else _pool(candidate_pool, reading, None)
        return Files(training, pool or all_passages, one=pool is None)
    training, held = _training(input_file, reading)
    own = held.passages if held else []
    require_texts(training, queries=bool(held and held.queries), passages=candidate_pool is not None or bool(own))
    wanted = wanted_ids(training)
    queries: InputFile[str] | None = None
    passages: InputFile[str] | None = None
    corpus: InputFile[str] | None = None
    if held and held.queries and training.ids[0]:
        queries = _queries(held, reading, wanted_queries(training))
    if candidate_pool is not None:
        passages = _pool(candidate_pool, reading, wanted)
    if own and (passages is None or wanted is not None):
        corpus = pool_of([reading.reader(part, "pool") for part in own], _label(own), wanted=wanted)
        if passages is None:
            passages = corpus
        else:  # the ids are those of the training set's own corpus
            passages.by_id = corpus.by_id | passages.by_id
    if passages is None and training.pool is not None:
        passages = InputFile(
            training.path, training.pool, size=training.size, sha256=training.sha256, read_as=training.read_as, plain=False
        )
    if passages is not None and training.pool is None:
        passages.items = spelled_pool(passages, training.items, training.titled, columns.titles if columns else None)
    if queries is not None or wanted is not None:
        join_texts(training, queries, passages if wanted is not None else None, repair=repair, skip_bad_rows=skip_bad_rows)
    if corpus is not None or queries is not None:
        training.problems += [
            problem for file in (queries, corpus) if file is not None and file is not passages for problem in file.problems
        ]
        # By what they hold, not by the folder's name, so that a manifest finds a moved folder again.
        held_by = {"rows": training, "queries": queries, "passages": corpus}
        training.size, training.sha256 = combined([(what, file) for what, file in held_by.items() if file is not None])
    return Files(training, passages, one=candidate_pool is None and passages is not None)


def _beir(given: Paths) -> BeirFolder | None:
    return beir_at(given) if isinstance(given, _PATH) else None


def _training(given: Paths, reading: Reading) -> tuple[InputFile[Row], Sorted | None]:
    """Return the rows of an input, and the files with texts that it has besides."""
    folder = files_at(given, config=reading.columns.config)
    if folder is None:
        assert isinstance(given, _PATH)
        columns = reading.columns
        if columns.split is not None or columns.config is not None:
            raise InputError(f"{given} is one file and has no {'split' if columns.split else 'config'} to choose; leave it out")
        return read_training(given, columns=columns, repair=reading.repair, skip_bad_rows=reading.skip_bad_rows), None
    held = sorted_files(folder, reading)
    if not held.rows:
        there = in_words(held) or "none that are known"
        raise InputError(f"{folder.name}: no file has training rows; give one with queries and positives. There are {there}")
    training = training_of([reading.reader(part, "training") for part in held.rows], folder.name)
    _ask_classes(folder, training, reading.columns)
    decide_texts(held, wanted_queries(training), wanted_ids(training), reading)
    training.path, training.read_as = folder.name, f"{in_words(held)}; {training.read_as}"
    training.plain, training.splits = False, held.splits
    return training, held


def _ask_classes(folder: Folder, training: InputFile[Row], given: Columns) -> None:
    """Ask which classes are positive where the README names them, and the files have their numbers.

    Raises:
        LabelsError: so it is.
    """
    label = training.columns.label or ""
    names = folder.classes.get(label, ())
    if names and given.positive_labels is None and not any(part.name.endswith((".parquet", ".arrow")) for part in folder.parts):
        said = ", ".join(f"{number} is {name!r}" for number, name in enumerate(names))
        raise LabelsError(
            f"{folder.name}: which values of `{label}` make a passage positive? The README says that {said}. Set positive_labels, such as "
            "--positive_labels 0",
            label,
            {str(number): 0 for number in range(len(names))},
        )


def _queries(held: Sorted, reading: Reading, wanted: set[str]) -> InputFile[str]:
    """Return the texts of the queries in `by_id`."""
    readers = []
    for part in held.queries:
        given = msgspec.structs.replace(Columns(encoding=reading.columns.encoding), text=held.text_columns.get(part.name))
        readers.append(reading.reader(part, "pool", given))
    return pool_of(readers, _label(held.queries), wanted=wanted)


def _pool(given: Paths, reading: Reading, wanted: set[str] | None) -> InputFile[str]:
    if corpus_of := _beir(given):
        return corpus_of.read(columns=None, repair=reading.repair, skip_bad_rows=reading.skip_bad_rows)[1]
    folder = files_at(given, config=None)
    if folder is None:
        assert isinstance(given, _PATH)
        return read_pool(given, columns=reading.columns, repair=reading.repair, skip_bad_rows=reading.skip_bad_rows, wanted=wanted)
    parts = [part for part in folder.parts if part.role == "corpus"] or folder.parts
    return pool_of([reading.reader(part, "pool") for part in parts], folder.name, wanted=wanted)


def _label(parts: Sequence[Part]) -> str:
    return str(parts[0].path) + (f" and {len(parts) - 1:,} more" if len(parts) > 1 else "")


def gather(files: Files, *, pool_mode: PoolMode = "extend") -> Inputs:
    """Build the corpus of files that were read.

    Raises:
        InputError: rows of either are bad and neither repaired nor skipped: then `problems` holds those of both.
        SettingsError: `pool_mode` does not fit.
    """
    training, pool = files.training, files.pool
    require_decided(training, *([pool] if pool else []))
    prints = {"input_file": _fingerprint(training)}
    if pool is not None and not files.one:
        prints["candidate_pool"] = _fingerprint(pool)
    items = pool.items if pool else None
    try:
        corpus = build_corpus(training.items, items, pool_mode=pool_mode)
    except InputError as error:
        raise InputError(f"{_shown([file.path for file in (training, pool) if file is not None])}: {error}") from error
    separate: list[InputFile[Any]] = [training, *([pool] if pool and not files.one else [])]
    notes = tuple(f"{Path(file.path).name}: {file.read_as}" for file in separate if not file.plain)
    training = replace(training, problems=[*training.problems, *outside_pool(corpus, training)])
    problems = Files(training, pool).problems
    return Inputs(training.items, items, corpus, problems, prints, notes, described(training, pool))


def read_inputs(
    input_file: Any,
    candidate_pool: Any = None,
    *,
    pool_mode: PoolMode = "extend",
    columns: Columns | None = None,
    repair: Iterable[str] = (),
    skip_bad_rows: bool = False,
) -> Inputs:
    """Read training rows and a pool, and build their corpus.

    Args:
        input_file: a path or several (see `folders.files_at`), or rows in memory: dicts, a pandas or polars frame, a pyarrow table, a
            `datasets.Dataset` or `DatasetDict`, of which one split is read.
        candidate_pool: the same, a list of str (passages), or None; a list of files is one of `Path`, or of names that exist.
        pool_mode, columns, repair, skip_bad_rows: as in `read_files` and `gather`.

    Raises:
        InputError: the data cannot be read, or rows are bad and neither repaired nor skipped: then `problems` holds those of both.
        SettingsError: an object in memory is not a table, or `pool_mode` is unknown.
    """
    listed = None if candidate_pool is None or are_paths(candidate_pool, is_pool=True) else texts_of(candidate_pool)
    with temporary_files("input-") as folder:
        if is_dict_of_tables(input_file):
            input_file, columns = split_of_tables(input_file, columns), columns and msgspec.structs.replace(columns, split=None)
        rows = path_of(input_file, folder / "rows")
        passages = None if candidate_pool is None or listed is not None else path_of(candidate_pool, folder / "pool")
        try:
            files = read_files(rows, passages, columns=columns, repair=repair, skip_bad_rows=skip_bad_rows)
        except InputError as error:
            error.args = (str(error).replace(f"{folder}{os.sep}", ""),)
            raise
        for file in (files.training, files.pool):
            if file is not None and Path(file.path).parent == folder:
                file.path = Path(file.path).name
    if listed is not None:
        digest = hashlib.sha256()
        for number, text in enumerate(listed):  # as JSON has the list
            digest.update((b"," if number else b"[") + msgspec.json.encode(text))
        digest.update(b"]" if listed else b"[]")
        files = Files(files.training, InputFile("list", listed, size=sum(map(len, listed)), sha256=digest.hexdigest()))
        examine(files.training, files.pool, accepted=ACCEPT in repairs_from(repair))
    return gather(files, pool_mode=pool_mode)
