"""`read` and what it returns, training rows with their pool; `check` and `repair`, a training file as each trainer would read it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any, Literal

from hnmine.checks import check as checking
from hnmine.checks.kinds import OUTPUT_REPAIRS, Report
from hnmine.checks.repair import repaired
from hnmine.core.errors import SettingsError
from hnmine.core.files import write_atomic
from hnmine.core.progress import Stages
from hnmine.data.columns import Columns
from hnmine.data.corpus import PoolMode
from hnmine.data.dataset import Inputs
from hnmine.data.problems import Problem, repairs_from
from hnmine.data.rows import Row
from hnmine.models.cards import ModelSettings, describe
from hnmine.runs.find_knn_neg import columns_of, skips
from hnmine.runs.mine import read_data
from hnmine.runs.settings import MineSettings

__all__ = ["Dataset", "Shown", "check", "read", "repair"]


class Shown:
    """What a notebook and a prompt show of an object: its facts, one a line."""

    def _facts(self) -> dict[str, str]:
        raise AssertionError("every class has its own")  # pragma: no cover

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}: {value}' for name, value in self._facts().items())})"

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in self._facts().items())
        return f"<table><caption>{type(self).__name__}</caption><tbody>{rows}</tbody></table>"


class Dataset(Shown):
    """Training rows with their pool, read and checked. Make it by `hnmine.read`."""

    def __init__(self, inputs: Inputs, settings: MineSettings) -> None:
        self._inputs, self._settings = inputs, settings

    @property
    def rows(self) -> Sequence[Row]:
        """The usable rows, in their order."""
        return self._inputs.rows

    @property
    def pool(self) -> Sequence[str] | None:
        """The passages of the pool, or None."""
        return self._inputs.pool

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Every problem of the rows and the pool, with its place, remedy and resolution."""
        return self._inputs.problems

    @property
    def notes(self) -> tuple[str, ...]:
        """How each file that is not plain JSON lines was read."""
        return self._inputs.notes

    def __len__(self) -> int:
        return len(self._inputs.rows)

    def _facts(self) -> dict[str, str]:
        corpus = self._inputs.corpus
        facts = {
            "rows": f"{len(self):,}",
            "queries": f"{len(corpus.queries):,}",
            "positives": f"{len(corpus.positive_ids):,}",
            "candidates": f"{corpus.n_candidates:,}",
        }
        return facts | ({"problems": f"{len(self.problems):,}"} if self.problems else {})


def read(
    source: Any,
    *,
    pool: Any = None,
    pool_mode: PoolMode = "extend",
    columns: Columns | Iterable[str] | None = None,
    repair: Iterable[str] = (),
    on_bad_rows: Literal["raise", "skip"] = "raise",
) -> Dataset:
    """Read training rows and a pool.

    Args:
        source: a path (JSON lines, JSON, Parquet, CSV, TSV, plain or packed, a BEIR folder or zip), dicts, a pandas or polars frame, a
            pyarrow table, or a `datasets.Dataset`, with `query`, `pos`, optional `neg`; other fields are carried through.
        pool: the same with `text`, a list of str, or None for the rows' own passages.
        pool_mode: "extend" adds the pool to the rows' passages, "replace" ranks the pool alone.
        columns: which columns hold what: `Columns(query="question", pos=("answer",))` or ["query=question", "pos=answer"]; well-known
            names are found.
        repair: kinds of problems to repair (`hnmine.data.problems.REPAIRS`), or "all".
        on_bad_rows: "raise" refuses the data, "skip" leaves the rows out.

    Raises:
        InputError: a file cannot be read, or rows are bad; `problems` holds all of them.
        SettingsError: a setting is out of range.
    """
    settings = MineSettings(
        pool_mode=pool_mode, columns=columns_of(columns), repair=tuple(sorted(repairs_from(repair))), skip_bad_rows=skips(on_bad_rows)
    )
    return Dataset(read_data(source, pool, settings, stages=Stages(None)), settings)


def check(path: str | os.PathLike[str], *, trainers: Sequence[str] | None = None, model: str | ModelSettings | None = None) -> Report:
    """Return a report of the faults that trainers would stop or stumble on; `print` it, or look at `report.ok`.

    Args:
        path: the training file.
        trainers: such as ["ms-swift"]; None for those that read rows of this form.
        model: a hub name, a folder or `ModelSettings`, whose tokenizer and lengths count; None leaves lengths out.

    Raises:
        InputError: the file cannot be read.
        SettingsError: a trainer is unknown.
        ModelError: there is no such model.
    """
    if isinstance(model, str):
        model = ModelSettings(name_or_path=model)
    return checking.check(path, trainers=trainers, model=None if model is None else describe(model))


def repair(path: str | os.PathLike[str], output: str | os.PathLike[str], repairs: Iterable[str] = "all") -> Report:
    """Write a training file with the chosen faults repaired, and return the report on what was written.

    Args:
        path: the training file; it stays as it is.
        output: where to write JSON lines.
        repairs: keys of `hnmine.checks.kinds.OUTPUT_REPAIRS`, or "all".

    Raises:
        InputError: the file cannot be read.
        SettingsError: a repair is unknown, or the output is the file itself.
        OutputError: the output cannot be written.
    """
    chosen = repairs_from((repairs,) if isinstance(repairs, str) else tuple(repairs), OUTPUT_REPAIRS)
    if Path(output).exists() and Path(path).exists() and Path(output).samefile(path):
        raise SettingsError(f"output is the file that is repaired ({output}); write to another one")
    write_atomic(Path(output), repaired(path, chosen))
    return checking.check(output)
