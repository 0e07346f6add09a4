"""`find_knn_neg`, the drop-in for FlagEmbedding's function of that name: same argument names, same order, one call.

All it does is to make `MineSettings` of its arguments and hand them to `mine_to_file`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from hnmine.checks.kinds import OUTPUT_REPAIRS
from hnmine.core.errors import SettingsError
from hnmine.core.progress import OnProgress, ShouldStop
from hnmine.data.columns import Columns, columns_from
from hnmine.data.corpus import PoolMode
from hnmine.data.problems import repairs_from
from hnmine.data.verdicts import Verdict, read_verdicts
from hnmine.models.cards import ModelSettings
from hnmine.models.encoder import FlagEncoder, as_encoder
from hnmine.models.reranker import RerankerSettings
from hnmine.retrieval.retrievers import MODEL_ALONE
from hnmine.runs.mine import MineSettings, ScoreSource, mine_to_file
from hnmine.runs.summary import Summary
from hnmine.selection.settings import SelectionSettings, parse_window

__all__ = ["find_knn_neg"]


def find_knn_neg(
    model: Any,
    input_file: str | os.PathLike[str],
    candidate_pool: str | os.PathLike[str] | Sequence[str] | None = None,
    output_file: str | os.PathLike[str] | None = None,
    sample_range: Sequence[int] | str = "10-210",
    negative_number: int = 15,
    use_gpu: bool = False,
    *,
    seed: int = 42,
    pool_mode: PoolMode = "extend",
    strategy: str = "random",
    max_score: float | None = None,
    min_score: float | None = None,
    max_positive_ratio: float | None = None,
    margin: float | None = None,
    positive_score: str = "in_window",
    max_positive_similarity: float | None = None,
    max_positive_similarity_ratio: float | None = None,
    max_overlap: float | None = None,
    reranker_margin: float | None = None,
    max_fn_probability: float | None = None,
    max_fn_rate: float | None = None,
    second_model: ModelSettings | None = None,
    retrievers: Iterable[str] = MODEL_ALONE,
    columns: Columns | Iterable[str] = (),
    repair: Iterable[str] = (),
    skip_bad_rows: bool = False,
    with_scores: bool = False,
    reranker: RerankerSettings | None = None,
    score_source: ScoreSource = "model",
    reviews: str | os.PathLike[str] | Iterable[Verdict] | None = None,
    output_format: str = "flagembedding",
    dev_share: float = 0.0,
    repair_output: Iterable[str] = (),
    manifest: bool = True,
    manifest_file: str | os.PathLike[str] | None = None,
    store: str | os.PathLike[str] | None = None,
    memory_budget: int | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> Summary:
    """Mine hard negatives for every row of a training file and write the rows with them.

    Args:
        model: a hub name or a folder, `ModelSettings`, a loaded FlagEmbedding model, anything with its `encode` / `encode_queries` /
            `encode_corpus`, or an `Encoder`.
        input_file: training rows with `query` and `pos`; `neg` and other fields are welcome. JSON lines (plain, gzip, Zstandard), a
            JSON array, Parquet, CSV, TSV, or a BEIR folder or zip, which brings its own pool.
        candidate_pool: the same with `text`, plain text with a passage a line, a list of str, or None for the rows' own passages.
        output_file: where to write; replaced whole, or not at all.
        sample_range: rank window, `[10, 210]` or "10-210": ranks from 0, the slice before anything is removed.
        negative_number: negatives for each row.
        use_gpu: search on a GPU; where there is none the CPU does, and the summary says so.
        seed, strategy, and the guards from max_score to max_fn_rate: as in `SelectionSettings`. For a preset write
            `**hnmine.selection.presets.arguments("balanced")`.
        second_model: another model, whose similarity of every candidate becomes a signal of the ranking.
        retrievers: who ranks the candidates: "model", "bm25", "second_model", or several, whose ranks are fused.
        pool_mode: "extend" adds the pool to the rows' passages; "replace" ranks the pool alone, as hn_mine.py does.
        columns: which columns hold what, where their names do not tell: `Columns(query="question", pos=("answer",))`, or as on the
            command line `["query=question", "pos=answer"]`.
        repair, skip_bad_rows: what to do with bad rows; without either they raise.
        with_scores: write `pos_scores` and `neg_scores`.
        reranker: a cross-encoder that scores the candidates and positives, for guards and as a teacher.
        score_source: whose scores are written: "model", similarities of the mining model, or "reranker", its raw logits, for distillation.
        reviews: verdicts of a review, as JSON lines or `Verdict`s: dropped passages are never chosen for their query again, promoted
            ones join its `pos`, kept ones come first.
        output_format: one of `hnmine.export.formats.FORMATS`.
        dev_share: part of the queries that goes to a file of its own beside the output (`out.dev.jsonl`), drawn by the seed.
        repair_output: faults to repair in the written file, keys of `hnmine.checks.kinds.OUTPUT_REPAIRS` or "all"; FlagEmbedding's
            format only.
        manifest: write settings, fingerprints, verdicts, versions and counts as JSON; `reproduce` does the run again.
        manifest_file: where; None is beside the output: `out.manifest.json` for `out.jsonl`.
        store: folder where vectors and pairs' scores are kept, so that nothing is encoded or scored twice and a killed run goes on
            where it was. A loaded model's vectors are not kept: nothing says which weights it has.
        memory_budget: bytes for the search's working arrays; None takes a part of what is free.
        on_progress, should_stop: called about once a batch.

    Returns:
        The summary; `print` it.

    Raises:
        SettingsError: a setting is out of range, or the output would overwrite an input.
        InputError: a file cannot be read, or holds bad rows.
        ModelError, EncodeError: the model cannot be had, or answers with no vectors.
        OutputError: the output cannot be written; an old one is untouched.
        Cancelled: `should_stop` said so.

    Source: the algorithm of FlagEmbedding's scripts/hn_mine.py, without its faults.
    """
    if isinstance(model, (str, os.PathLike)):
        model = ModelSettings(name_or_path=os.fspath(model))
    encoder = None if isinstance(model, ModelSettings) else as_encoder(model)
    start, end = parse_window(sample_range) if isinstance(sample_range, str) else _window(sample_range)
    settings = MineSettings(
        selection=SelectionSettings(
            window_start=start,
            window_end=end,
            negative_number=negative_number,
            strategy=strategy,  # type: ignore[arg-type]  # checked when made
            seed=seed,
            max_score=max_score,
            min_score=min_score,
            max_positive_ratio=max_positive_ratio,
            margin=margin,
            positive_score=positive_score,  # type: ignore[arg-type]  # checked when made
            max_positive_similarity=max_positive_similarity,
            max_positive_similarity_ratio=max_positive_similarity_ratio,
            max_overlap=max_overlap,
            reranker_margin=reranker_margin,
            max_fn_probability=max_fn_probability,
            max_fn_rate=max_fn_rate,
        ),
        model=model if isinstance(model, ModelSettings) else None,
        second_model=second_model,
        retrievers=(retrievers,) if isinstance(retrievers, str) else tuple(retrievers),  # type: ignore[arg-type]  # checked when made
        pool_mode=pool_mode,
        use_gpu=use_gpu,
        columns=columns if isinstance(columns, Columns) else columns_from([columns] if isinstance(columns, str) else columns),
        repair=tuple(sorted(repairs_from(repair))),
        skip_bad_rows=skip_bad_rows,
        with_scores=with_scores,
        reranker=reranker,
        score_source=score_source,
        output_format=output_format,
        dev_share=dev_share,
        repair_output=tuple(sorted(repairs_from(repair_output, OUTPUT_REPAIRS))),
    )
    return mine_to_file(
        lambda: encoder or FlagEncoder.load(model, on_progress=on_progress),
        input_file,
        candidate_pool,
        output_file,
        settings,
        manifest=manifest,
        manifest_file=manifest_file,
        verdicts=read_verdicts(reviews) if isinstance(reviews, (str, os.PathLike)) else reviews or (),
        store=store,
        memory_budget=memory_budget,
        on_progress=on_progress,
        should_stop=should_stop,
    )[0]


def _window(values: Sequence[int]) -> tuple[int, int]:
    if (
        not isinstance(values, (Sequence, np.ndarray))
        or len(values) != 2
        or not all(isinstance(value, (int, np.integer)) for value in values)
    ):
        raise SettingsError(f"sample_range is {values!r}; write [START, END] with ranks from 0, such as [10, 210]")
    return int(values[0]), int(values[1])
