"""`find_knn_neg`, the drop-in for FlagEmbedding's function of that name: same arguments, same order, one call.

More settings than these (other formats, retrievers, a split): `hnmine.read`, `rank`, `select`, `write`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np

from hnmine.cluster.settings import ClusterSettings, cluster_settings
from hnmine.core.errors import SettingsError
from hnmine.core.progress import OnProgress, ShouldStop, progress_shown
from hnmine.data.columns import Columns, columns_from
from hnmine.data.corpus import PoolMode
from hnmine.data.folders import Paths
from hnmine.data.problems import repairs_from
from hnmine.data.verdicts import Verdict, read_verdicts
from hnmine.models.cards import ModelSettings
from hnmine.models.encoder import as_encoder
from hnmine.models.opening import load_encoder
from hnmine.models.reranker import RerankerSettings
from hnmine.retrieval.approximate import IndexName
from hnmine.review.judgements import Judgement, read_judgements
from hnmine.review.relabelling import Relabel
from hnmine.runs.mine import mine_to_file
from hnmine.runs.settings import MineSettings
from hnmine.runs.summary import Summary
from hnmine.selection.presets import with_preset
from hnmine.selection.settings import SelectionSettings, parse_window

__all__ = ["changed_selection", "columns_of", "find_knn_neg", "judgements_of", "skips", "verdicts_of"]

T = TypeVar("T")


def find_knn_neg(
    model: Any,
    input_file: Paths,
    candidate_pool: Paths | None = None,
    output_file: str | os.PathLike[str] | None = None,
    sample_range: Sequence[int] | str | None = None,
    negative_number: int | None = None,
    use_gpu: bool = False,
    *,
    seed: int | None = None,
    preset: str | None = None,
    hardness: float | str | None = None,
    selection: SelectionSettings | None = None,
    reranker: RerankerSettings | None = None,
    query_prompt_field: str | None = None,
    pool_mode: PoolMode = "extend",
    index: IndexName = "exact",
    columns: Columns | Iterable[str] | None = None,
    repair: Iterable[str] = (),
    on_bad_rows: Literal["raise", "skip"] = "raise",
    verdicts: Any = None,
    judgements: Any = None,
    relabel: Relabel = "keep",
    relevant_from: int = 2,
    with_scores: bool = False,
    store: str | os.PathLike[str] | None = None,
    cluster: str | ClusterSettings | None = None,
    manifest: bool | str | os.PathLike[str] = True,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> Summary:
    """Mine hard negatives for every row of a training file and write the rows with them.

    Args:
        model: a hub name or a folder, `ModelSettings` (with `server` for a served model), a loaded FlagEmbedding model, anything with its
            `encode` / `encode_queries` / `encode_corpus`, or an `Encoder`; None is the packaged all-MiniLM-L6-v2.
        input_file: training rows with `query`, `pos`, optional `neg`, and any other fields, in any of the shapes of docs/guide.md. A
            file, a list of files, a folder, a pattern such as "data/*.jsonl", or "hf://datasets/OWNER/NAME". Its corpus is the pool, if
            it has one, as BEIR does.
        candidate_pool: the same with `text`, plain text with a passage a line, a list of str (passages), or None for the rows' own
            passages. Several files are a list of `Path`.
        output_file: where to write; replaced whole, or not at all.
        sample_range: rank window, `[10, 210]` or "10-210": ranks from 0, cut before anything is removed. None: as `selection` or `preset`
            have it, else "10-210".
        negative_number: negatives for each row. None: as `selection` has it, else 15.
        use_gpu: search on a GPU; without one the CPU searches, and the summary notes it.
        seed: seed of the random choice. None: as `selection` has it, else 42.
        preset: one of `hnmine.PRESETS`, such as "balanced".
        hardness: the wanted mean similarity of the negatives, or "percpos" or "hn_mine", instead of the preset's `max_fn_rate`.
        selection: strategy and filters; instead of a preset.
        reranker: a cross-encoder that scores the candidates and the positives, for `selection.reranker_margin`.
        query_prompt_field: the field of the rows with the instruction of each query, such as "prompt"; None: all queries have the model's.
        pool_mode: "extend" adds the pool to the rows' passages; "replace" ranks the pool alone, as hn_mine.py does.
        index: "exact", or "ivf", "hnsw" or "cagra": approximate search for millions of passages, its recall measured and noted.
        columns: which columns hold what: `Columns(query="question", pos=("answer",))` or `["query=question", "pos=answer"]`. Well-known
            names are found.
        repair: kinds of problems to repair when reading, or "all" (`hnmine.data.problems.REPAIRS`).
        on_bad_rows: "raise" refuses the file, "skip" leaves the rows out.
        verdicts: reviewers' verdicts: a path of JSON lines, `Verdict`s, or a `VerdictStore`.
        judgements: a judge's grades, the signal "judge": a path of JSON lines, `Judgement`s, or a `JudgementStore`.
        relabel: what is done with candidates that the judge calls relevant, by a grade of at least `relevant_from`: "keep", "drop",
            "promote" or "leave_out" (the row); people's verdicts win.
        with_scores: write `pos_scores` and `neg_scores`, similarities of the model.
        store: folder where vectors and scores of pairs are kept, so that nothing is encoded twice and a killed run continues. Vectors of a
            loaded model are not kept: its weights are unknown.
        cluster: where to encode and search: "local", the address of a Ray cluster, or `ClusterSettings`; the bytes are the same. None is
            this process.
        manifest: True writes settings, fingerprints, verdicts, versions and counts beside the output (`out.manifest.json` for
            `out.jsonl`), for `hnmine.reproduce`; a path, there; False writes none.
        on_progress, should_stop: called about once a batch. Without `on_progress`, a terminal or notebook shows a bar.

    Returns:
        The summary; `print` it.

    Raises:
        SettingsError: a setting is out of range, or the output would overwrite an input.
        InputError: a file cannot be read, or holds bad rows.
        ModelError, EncodeError: the model cannot be loaded, or its output is not vectors.
        ClusterError: the cluster cannot be reached, or its workers cannot do the work.
        OutputError: the output cannot be written; an old one is untouched.
        Cancelled: `should_stop` returned True.

    Source: the algorithm of FlagEmbedding's scripts/hn_mine.py, without its faults.
    """
    if model is None or isinstance(model, (str, os.PathLike)):
        model = ModelSettings(name_or_path=None if model is None else os.fspath(model))
    encoder = None if isinstance(model, ModelSettings) else as_encoder(model)
    if preset is not None and selection is not None:
        raise SettingsError(f"preset {preset!r} and selection are both given; a preset is a selection: leave one of them out")
    given = {"negative_number": negative_number, "seed": seed, "hardness": hardness}
    changes = {name: value for name, value in given.items() if value is not None}
    settings = MineSettings(
        selection=changed_selection(selection or SelectionSettings(), preset, changes, sample_range, "sample_range"),
        model=model if isinstance(model, ModelSettings) else None,
        query_prompt_field=query_prompt_field,
        reranker=reranker,
        pool_mode=pool_mode,
        use_gpu=use_gpu,
        index=index,
        columns=columns_of(columns),
        repair=tuple(sorted(repairs_from(repair))),
        skip_bad_rows=skips(on_bad_rows),
        with_scores=with_scores,
        relabel=relabel,
        relevant_from=relevant_from,
    )
    with progress_shown(on_progress) as shown:
        return mine_to_file(
            lambda: encoder or load_encoder(model, on_progress=shown, should_stop=should_stop),
            input_file,
            candidate_pool,
            output_file,
            settings,
            manifest=manifest,
            verdicts=verdicts_of(verdicts),
            judgements=judgements_of(judgements),
            store=store,
            cluster=cluster_settings(cluster),
            on_progress=shown,
            should_stop=should_stop,
        )[0]


def changed_selection(
    base: SelectionSettings, preset: str | None, changes: dict[str, Any], window: Sequence[int] | str | None, name: str
) -> SelectionSettings:
    """Return `base`, or a preset, with other values of some fields and another window: (start, end) or "start-end"; `name` in errors.

    Raises:
        SettingsError: the preset is unknown, or a value is wrong.
    """
    if preset is not None:
        base = with_preset(preset, base)
        if changes.get("hardness") is not None:  # the preset's rate gives way, one that is named too does not
            changes = {"max_fn_rate": None} | changes
    if isinstance(window, str):
        changes["window_start"], changes["window_end"] = parse_window(window)
    elif window is not None:
        is_pair = isinstance(window, (Sequence, np.ndarray)) and len(window) == 2
        if not is_pair or not all(isinstance(rank, (int, np.integer)) for rank in window):
            raise SettingsError(f"{name} is {window!r}; write [START, END] with ranks from 0, such as [10, 210]")
        changes["window_start"], changes["window_end"] = map(int, window)
    # Not msgspec.structs.replace: what is given may be any number, which __post_init__ checks.
    return SelectionSettings(**msgspec.structs.asdict(base) | changes)


def columns_of(given: Columns | Iterable[str] | None) -> Columns:
    """Return columns given as such, as words ("query=question"), or not at all (None)."""
    if given is None or isinstance(given, Columns):
        return given or Columns()
    return columns_from([given] if isinstance(given, str) else given)


def skips(on_bad_rows: str) -> bool:
    """Return whether bad rows are left out.

    Raises:
        SettingsError: `on_bad_rows` is neither "raise" nor "skip".
    """
    if on_bad_rows not in ("raise", "skip"):
        raise SettingsError(f"on_bad_rows is {on_bad_rows!r}; it must be 'raise' or 'skip'")
    return on_bad_rows == "skip"


def verdicts_of(given: Any) -> Sequence[Verdict]:
    """Return verdicts given as a path of JSON lines, as a store, as `Verdict`s, or not at all (None).

    Raises:
        InputError: the file cannot be read.
        SettingsError: an element is not a Verdict.
    """
    return _given(given, Verdict, read_verdicts, "verdicts")


def judgements_of(given: Any) -> Sequence[Judgement]:
    """Return judgements given as a path of JSON lines, as a store, as `Judgement`s, or not at all (None).

    Raises:
        InputError: the file cannot be read.
        SettingsError: an element is not a Judgement.
    """
    return _given(given, Judgement, read_judgements, "all")


def _given(given: Any, kind: type[T], read: Callable[[Any], Sequence[T]], of_store: str) -> Sequence[T]:
    """Return what is given as a path, as a store with a method `of_store`, as a list, or not at all."""
    if given is None:
        return ()
    if isinstance(given, (str, os.PathLike)):
        return read(given)
    found = list(getattr(given, of_store)() if hasattr(given, of_store) else given)
    if other := next((each for each in found if not isinstance(each, kind)), None):
        name = kind.__name__
        raise SettingsError(f"{name.lower()}s holds {other!r}; give a path, a {name}Store, or a list of hnmine.{name}")
    return found
