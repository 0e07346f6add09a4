"""`read` and what it returns: training rows with their pool, checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from hnmine.api.shown import Shown
from hnmine.core.progress import Stages
from hnmine.data.columns import Columns
from hnmine.data.corpus import PoolMode
from hnmine.data.dataset import Inputs
from hnmine.data.problems import Problem, repairs_from
from hnmine.data.rows import Row
from hnmine.runs.find_knn_neg import columns_of, skips
from hnmine.runs.mine import read_data
from hnmine.runs.settings import MineSettings

__all__ = ["Dataset", "read"]


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
