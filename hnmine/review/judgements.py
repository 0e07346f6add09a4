"""The grades of LLM judges: their own SQLite file, their JSON lines, and the pairs of a corpus that they are about.

They are in another file than the verdicts of people, so that neither can be taken for the other. Rows are only added, each in a transaction
that is on the disk when `add` returns: a killed process loses the answers that were under way, and no other. The key of an answer is a hash
of all that was asked (prompt, model, texts), so nothing is asked twice, in any run or data set.
"""

from __future__ import annotations

import json
import os
import platform
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.core.decode import convert, decoder
from hnmine.core.errors import InputError, WorkspaceError
from hnmine.core.files import cannot_write, locked
from hnmine.core.paths import require_possible
from hnmine.core.text import text_hash
from hnmine.data.corpus import Corpus
from hnmine.data.formats.lines import LineReader
from hnmine.data.formats.unreadable import reason_of
from hnmine.data.verdicts import Choice, pair_keys, pairs_of, parse_time
from hnmine.review.batches import as_stored, as_text
from hnmine.review.event_log import EventLog

__all__ = [
    "FILE",
    "FORMAT",
    "Call",
    "Judgement",
    "JudgementStore",
    "Usage",
    "counting",
    "judgement_lines",
    "matched",
    "read_judgements",
    "verdict_of",
]

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

# The file in the workspace.
FILE = "judgements.sqlite"
FORMAT = 1
# As in the store of verdicts: versions of different files are never equal.
_GENERATION = 1 << 40
# Values of one question to SQLite.
_AT_ONCE = 500


class Judgement(msgspec.Struct, frozen=True):
    """One judge's grade of one pair.

    Attributes:
        query, passage: the texts as the judge saw them.
        grade: 0 to 3 (`judge_prompt.GRADES`); None where the judge gave no usable grade.
        reason: the judge's own words, or why there is no grade.
        judge: the name of the model. prompt: the version of the prompt.
        when: ISO 8601 time in UTC. tokens: of the question and the answer, as the server counts them; 0 where it does not.
    """

    query: str
    passage: str
    grade: int | None
    reason: str = ""
    judge: str = ""
    prompt: str = ""
    when: str = ""
    tokens: int = 0


class Call(msgspec.Struct, frozen=True):
    """What a judgement took: the key of the question, its bytes, and the server's count of tokens (0 for none)."""

    key: bytes
    size: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Usage(msgspec.Struct, frozen=True):
    """What earlier calls took together, of those whose tokens the server counted."""

    calls: int
    size: int
    prompt_tokens: int
    completion_tokens: int


class _Log(EventLog):
    holds = "judgements"
    restore = "judge again"
    tables = (
        "CREATE TABLE judgements (id INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL, pair BLOB NOT NULL, judge TEXT NOT NULL, "
        "prompt TEXT NOT NULL, query TEXT NOT NULL, passage TEXT NOT NULL, grade INTEGER, reason TEXT NOT NULL, at TEXT NOT NULL, "
        "size INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, tokens INTEGER NOT NULL)",
        "CREATE INDEX judgements_key ON judgements (key)",
        "CREATE INDEX judgements_pair ON judgements (judge, prompt, pair)",
        "CREATE TRIGGER judgements_stay BEFORE UPDATE ON judgements BEGIN SELECT RAISE(ABORT, 'judgements are only ever added'); END",
        "CREATE TRIGGER judgements_keep BEFORE DELETE ON judgements BEGIN SELECT RAISE(ABORT, 'judgements are only ever added'); END",
    )
    format = FORMAT


class JudgementStore:
    """The judgements in an SQLite file, which is created if missing; safe to use from many threads and processes.

    Raises:
        WorkspaceError: the file cannot be opened or created, is damaged, or has another format; so do all methods.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._log = _Log(path)

    def version(self) -> int:
        """Return the id of the last judgement, 0 before the first; it grows if the file is replaced."""
        with self._log.connection() as db:
            return self._log.generation * _GENERATION + int(db.execute("SELECT max(id) FROM judgements").fetchone()[0] or 0)

    def all(self, judge: str | None = None, prompt: str | None = None) -> list[Judgement]:
        """Return the latest judgement of each model, prompt and pair, of one model or prompt or of all; the latest last."""
        given = {"judge": judge, "prompt": prompt}
        names = [each for each in given.values() if each is not None]
        where = " AND ".join(f"{column} = ?" for column, each in given.items() if each is not None)
        where = f"WHERE {where} " if where else ""
        with self._log.connection() as db:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM judgements WHERE id IN (SELECT max(id) FROM judgements {where}GROUP BY judge, prompt, pair) "
                "ORDER BY id",
                names,
            )
            return [_judgement(row) for row in rows]

    def judges(self) -> list[tuple[str, str, int]]:
        """Return each model and version of the prompt, with the number of their pairs; the one that judged last is last."""
        with self._log.connection() as db:
            rows = db.execute("SELECT judge, prompt, count(DISTINCT pair) FROM judgements GROUP BY judge, prompt ORDER BY max(id)")
            return [(str(judge), str(prompt), int(count)) for judge, prompt, count in rows]

    def held(self, keys: Iterable[bytes]) -> dict[bytes, Judgement]:
        """Return the latest judgement of each of these keys (`Call.key`) that has one."""
        found: dict[bytes, Judgement] = {}
        asked = list(dict.fromkeys(keys))
        with self._log.connection() as db:
            for first in range(0, len(asked), _AT_ONCE):
                some = asked[first : first + _AT_ONCE]
                marks = ", ".join("?" * len(some))
                rows = db.execute(f"SELECT {_COLUMNS}, key FROM judgements WHERE key IN ({marks}) ORDER BY id", some)
                found |= {bytes(row[-1]): _judgement(row[:-1]) for row in rows}
        return found

    def usage(self, judge: str, prompt: str) -> Usage:
        """Return what the calls of a model with one prompt took so far."""
        with self._log.connection() as db:
            row = db.execute(
                "SELECT count(*), sum(size), sum(prompt_tokens), sum(completion_tokens) FROM judgements "
                "WHERE judge = ? AND prompt = ? AND prompt_tokens > 0",
                (judge, prompt),
            ).fetchone()
        return Usage(*(int(each or 0) for each in row))

    def add(self, judgements: Sequence[Judgement], calls: Sequence[Call] = ()) -> None:
        """Add judgements in one transaction; they are on the disk when this returns.

        Args:
            calls: what each of them took; without, they are never found by `held`.
        """
        held = calls or [Call(b"")] * len(judgements)
        pairs = pair_keys((each.query, each.passage) for each in judgements)
        with self._log.writing() as (db, now):
            db.executemany(
                f"INSERT INTO judgements ({_COLUMNS}, key, pair, size, prompt_tokens, completion_tokens) VALUES ({', '.join('?' * 13)})",
                (
                    (
                        as_stored(each.query),
                        as_stored(each.passage),
                        each.grade,
                        as_stored(each.reason),
                        each.judge,
                        each.prompt,
                        each.when or now,
                        each.tokens,
                        call.key,
                        pair,
                        call.size,
                        call.prompt_tokens,
                        call.completion_tokens,
                    )
                    for each, call, pair in zip(judgements, held, pairs, strict=True)
                ),
            )

    @contextmanager
    def one_run(self, judge: str, prompt: str) -> Iterator[None]:
        """Hold a lock by which one run at a time, of all processes, asks a model with one prompt: else two would ask the same pairs.

        Raises:
            WorkspaceError: another run has it; or its file cannot be written.
        """
        path = self.path.with_name(f"judge-{text_hash(f'{judge} {prompt}'):016x}.lock")
        with ExitStack() as stack:
            try:
                if not stack.enter_context(locked(path, wait=False)):
                    who = path.read_text("utf-8", "replace") or "another process"
                    raise WorkspaceError(
                        f"another run asks the judge {judge} with the prompt {prompt}, and keeps its answers in {self.path} ({who}); wait "
                        "until it ends or cancel it, then judge again"
                    )
                path.write_text(f"process {os.getpid()} on {platform.node()}", "utf-8")
            except OSError as error:
                raise WorkspaceError(cannot_write(path, error)) from error
            yield

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._log.close()


_COLUMNS = "query, passage, grade, reason, judge, prompt, at, tokens"


def _judgement(row: tuple[Any, ...]) -> Judgement:
    query, passage, grade, reason, *rest = row
    if grade is not None and grade not in range(4):
        raise sqlite3.DatabaseError(f"a judgement holds the grade {grade!r}")
    return Judgement(as_text(query), as_text(passage), grade, as_text(reason), *rest)


def verdict_of(grade: int | None, relevant_from: int) -> Choice:
    """Return the verdict that a grade stands for: "relevant" from `relevant_from`, else "negative"; "unsure" without a grade."""
    return "unsure" if grade is None else "relevant" if grade >= relevant_from else "negative"


def judgement_lines(judgements: Iterable[Judgement], relevant_from: int) -> Iterator[bytes]:
    """Yield one line of JSON for each judgement, newline included: a verdict (`data.verdicts`) whose key `judge` says that it is none
    of a person, with `grade`, `reason`, `prompt` and `tokens`."""
    encode = msgspec.json.Encoder().encode
    for each in judgements:
        who = f"judge {each.judge} (prompt {each.prompt})"
        first = {"query": each.query, "passage": each.passage, "verdict": verdict_of(each.grade, relevant_from)}
        line = first | {"who": who} | msgspec.structs.asdict(each)
        try:
            yield encode(line) + b"\n"
        except UnicodeEncodeError:  # a lone surrogate, which JSON can escape
            yield json.dumps(line).encode() + b"\n"


class _Line(msgspec.Struct):
    """A line of a file; what else it has is ignored."""

    query: str
    passage: str
    judge: str
    grade: int | None
    reason: str = ""
    prompt: str = ""
    when: str = ""
    tokens: int = 0


def read_judgements(path: str | os.PathLike[str]) -> list[Judgement]:
    """Read the lines that `judgement_lines` yields; `verdict` and `who` are ignored: the grade decides.

    Returns:
        The judgements, oldest first; of several on one pair the last counts.

    Raises:
        InputError: the file cannot be read, or a line is no judgement; nothing is read then.
    """
    require_possible("judgements", path, InputError)
    reader = LineReader(path)
    decode = decoder(_Line)
    found: list[Judgement] = []
    for raw in reader.lines():
        try:
            line = convert(json.loads(raw), _Line) if b"\\ud" in raw.lower() else decode(raw)
            if empty := next((name for name in ("query", "passage", "judge") if not getattr(line, name).strip()), None):
                raise msgspec.ValidationError(f"`{empty}` is empty")
            if line.grade is not None and line.grade not in range(4):
                raise msgspec.ValidationError(f"`grade` is {line.grade}, and not 0 to 3 or null")
        except (msgspec.DecodeError, ValueError, RecursionError, TypeError) as error:
            raise InputError(
                f"{reader.where}:{reader.line} is not a valid judgement ({reason_of(error)}); write one object per line, as "
                'python -m hnmine judge does: {"query": "...", "passage": "...", "grade": 2, "judge": "the model"}'
            ) from error
        found.append(Judgement(line.query, line.passage, line.grade, line.reason, line.judge, line.prompt, line.when, line.tokens))
    return sorted(found, key=lambda each: parse_time(each.when))


def matched(corpus: Corpus, judgements: Iterable[Judgement]) -> tuple[Ids, Ids, Floats]:
    """Return the pairs of a corpus that were judged: queries (p,) int32, passages (p,) int32, grades (p,) float32.

    Sorted by query, then passage, each pair once: of several judgements the last one counts. NaN where it has no grade. Texts match as
    those of verdicts do; judgements on other texts are left out.
    """
    given = list(judgements)
    queries, passages = pairs_of(corpus, [each.query for each in given], [each.passage for each in given])
    places = {(query, passage): place for place, (query, passage) in enumerate(zip(queries.tolist(), passages.tolist(), strict=True))}
    last = np.array([place for (_, passage), place in sorted(places.items()) if passage >= 0], dtype=np.int64)
    grades = [np.nan if (grade := given[place].grade) is None else grade for place in last.tolist()]
    return queries[last], passages[last], np.array(grades, dtype=np.float32)


def counting(corpus: Corpus, judgements: Sequence[Judgement], chosen: tuple[str, str] | None) -> list[Judgement]:
    """Return the judgements that count for a corpus, in their order: those of one model and prompt, so that two judges are never mixed.

    Args:
        judgements: the latest last (`JudgementStore.all`).
        chosen: a model and a prompt, which count once they have judged a pair of the corpus; else those that judged one last.
    """
    _, passages = pairs_of(corpus, [each.query for each in judgements], [each.passage for each in judgements])
    judges = [(judgements[place].judge, judgements[place].prompt) for place in np.flatnonzero(passages >= 0).tolist()]
    judge = chosen if chosen in judges else judges[-1] if judges else None
    return [each for each in judgements if (each.judge, each.prompt) == judge]
