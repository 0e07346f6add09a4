"""The instructions of a training file: a field of each row, such as `prompt`, that says what its query asks for.

Train sets of instruction-tuned models (Qwen3-Embedding, BGE-ICL, E5-instruct) have one. Rows with equal queries are one query, so they must
have one instruction: nothing is guessed where they differ. A row without the field has the model's own instruction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from hnmine.core.errors import InputError, SettingsError
from hnmine.core.text import counted, shortened
from hnmine.data.dataset import Inputs
from hnmine.data.problems import Problem
from hnmine.data.rows import Row
from hnmine.models.encoder import Encoder, FlagEncoder
from hnmine.models.served.embedder import ServedEncoder

__all__ = ["QueryPrompts", "read_query_prompts"]

_decode = msgspec.json.Decoder(str).decode
# Faults that a message lists; the others are counted.
_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryPrompts:
    """The instruction of each query.

    Attributes:
        field: the field of the rows.
        of_queries: one for each query of the corpus; None is the model's own, "" none at all.
        rows, rows_without, rows_empty: how many there are, how many lack the field (or have null), and in how many it is "".
    """

    field: str
    of_queries: Sequence[str | None]
    rows: int
    rows_without: int
    rows_empty: int

    @property
    def record(self) -> dict[str, Any]:
        """What the manifest states: the field, and the number of different prompts."""
        different = len({each for each in self.of_queries if each is not None})
        return {"field": self.field, "different": different, "rows_without": self.rows_without}

    @property
    def notes(self) -> list[str]:
        """What a user should know, in sentences."""
        notes = []
        if self.rows_without:
            of = f"{self.rows_without:,} of {counted(self.rows, 'row')}"
            notes.append(f"no `{self.field}` in {of}: their queries have the model's own instruction")
        if self.rows_empty:
            notes.append(f"`{self.field}` is empty in {counted(self.rows_empty, 'row')}: their queries have no instruction")
        return notes

    def texts(self, encoder: Encoder, queries: Sequence[str]) -> list[str]:
        """Return the queries with their instructions, as `encoder` reads them.

        Raises:
            SettingsError: it takes no instruction for each query.
        """
        if not isinstance(encoder, (FlagEncoder, ServedEncoder)):
            raise SettingsError(
                f"the encoder is a {type(encoder).__name__}, which takes no instruction for each query; "
                "give a FlagEmbedding model or a served one, or leave query_prompt_field out"
            )
        return encoder.instructed(queries, self.of_queries)


def read_query_prompts(inputs: Inputs, field: str) -> QueryPrompts:
    """Read the instruction of each query from a field of its rows.

    Raises:
        SettingsError: no row has the field.
        InputError: a value is not a text, or rows with equal queries have different ones; a row without a value differs from one with it.
    """
    file, corpus = str(inputs.files["input_file"]["name"]), inputs.corpus
    texts: dict[bytes, str | None] = {}  # rows repeat their prompts
    firsts: list[tuple[str | None, Row] | None] = [None] * len(corpus.queries)
    bad: list[Problem] = []
    unlike: list[str] = []
    found = without = empty = 0
    for row, query in zip(inputs.rows, corpus.row_queries.tolist(), strict=True):
        raw = bytes(row.fields[field]) if field in row.fields else b"null"
        found += field in row.fields
        try:
            prompt = texts[raw] if raw in texts else texts.setdefault(raw, None if raw == b"null" else _decode(raw))
        except msgspec.DecodeError:
            message, remedy = f"expected a string, found {shortened(raw.decode(), 40)}", "write it as a string, or leave the field out"
            bad.append(Problem(file=file, line=row.line, path=f"$.{field}", kind="wrong-type", message=message, remedy=remedy))
            continue
        without += prompt is None
        empty += prompt == ""
        first = firsts[query]
        if first is None:
            firsts[query] = (prompt, row)
        elif first[0] != prompt:
            values = " and ".join("none" if each is None else repr(shortened(each, 60)) for each in (first[0], prompt))
            unlike.append(f"{file}:{row.line} $.{field}  the query {shortened(row.query, 60)!r} is in line {first[1].line} too: {values}")
    if not found:
        raise SettingsError(f"query_prompt_field is {field!r}, and no row has this field; {_fields(inputs.rows)}")
    if bad:
        raise InputError(_listed(f"{file}: `{field}` is not a text in {counted(len(bad), 'row')}", map(str, bad), len(bad)), bad)
    if unlike:
        head = (
            f"{file}: equal queries have different instructions (`{field}`) in {counted(len(unlike), 'row')}, but rows with equal queries "
        )
        head += "are mined as one query; give them the same one, or mine each instruction's rows as a file of their own"
        raise InputError(_listed(head, unlike, len(unlike)))
    of_queries = [each[0] if each else None for each in firsts]
    return QueryPrompts(field=field, of_queries=of_queries, rows=len(inputs.rows), rows_without=without, rows_empty=empty)


def _fields(rows: Iterable[Row]) -> str:
    names = dict.fromkeys(name for row in rows for name in row.fields if name not in ("query", "pos", "neg"))
    if not names:
        return "rows have none beside query, pos and neg: leave the setting out"
    return f"name one of: {', '.join(names)}"


def _listed(head: str, faults: Iterable[str], count: int) -> str:
    lines = [head, *(f"  {each}" for each, _ in zip(faults, range(_SHOWN), strict=False))]
    return "\n".join([*lines, f"  ... and {count - _SHOWN:,} more"] if count > _SHOWN else lines)
