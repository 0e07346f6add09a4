"""The pipeline, and `find_knn_neg`, the drop-in for FlagEmbedding's function of that name.

file -> rows -> corpus -> encoder -> search -> Ranking -> select -> Selection -> export. The command line runs it in one
go; the app keeps the Ranking and runs the cheap rest on every move of a slider. Both come through `mine` and write through
`export`, so both write the same bytes.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from hnmine.corpus import PoolMode
from hnmine.encoder import Encoder, FlagEncoder, as_encoder
from hnmine.errors import OutputError, SettingsError
from hnmine.export import flagembedding_lines, write_atomic
from hnmine.inputs import Inputs, read_inputs
from hnmine.models import ModelSettings
from hnmine.problems import repairs_from
from hnmine.progress import OnProgress, ShouldStop, Stages, check
from hnmine.ranking import Ranking, rank
from hnmine.search import GPU_K_LIMIT, SLACK, gpu_count
from hnmine.select import Selection, SelectionSettings, parse_window, select
from hnmine.summary import Summary, summarise
from hnmine.vectors import VectorStore

__all__ = ["MineSettings", "Mined", "find_knn_neg", "mine", "search_device"]


class MineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that decides the bytes of the output, beside the input files and the model's weights.

    Attributes:
        selection: window, number, strategy, seed, guards.
        model: which model and how it is used; None when a loaded model was handed over.
        pool_mode: whether the pool extends or replaces the rows' own passages.
        use_gpu: search on a GPU where there is one.
        repair: kinds of problems that may be mended (see `hnmine.problems.REPAIRS`).
        skip_bad_rows: leave out rows that stay bad.
        with_scores: write `pos_scores` and `neg_scores`.
    """

    selection: SelectionSettings = SelectionSettings()
    model: ModelSettings | None = None
    pool_mode: PoolMode = "extend"
    use_gpu: bool = False
    repair: tuple[str, ...] = ()
    skip_bad_rows: bool = False
    with_scores: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Mined:
    """Everything a run made; nothing is written yet."""

    inputs: Inputs
    ranking: Ranking
    selection: Selection
    summary: Summary
    manifest: dict[str, Any]


def search_device(use_gpu: bool, depth: int) -> tuple[bool, str | None]:
    """Return whether the GPU will search, and a note when that is not what was asked for.

    Args:
        use_gpu: what was asked.
        depth: candidates a query; a GPU finds at most 2,048, of which `top_k` needs SLACK to be sure of the rest.
    """
    if not use_gpu:
        return False, None
    if gpu_count() == 0:
        return False, "a GPU was asked for, but FAISS finds none here: the CPU searched"
    if depth > GPU_K_LIMIT - SLACK:
        return False, f"a GPU ranks at most {GPU_K_LIMIT - SLACK:,} candidates a query and {depth:,} were asked for: the CPU searched"
    return True, None


def _manifest(
    settings: MineSettings, inputs: Inputs, model: dict[str, Any], summary: Summary, stages: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return what is needed to say, and to do again, how an output came about; plain JSON types."""
    from hnmine import __version__

    versions = {"hnmine": __version__, "python": platform.python_version()}
    for package in ("FlagEmbedding", "torch", "transformers", "faiss-gpu", "faiss-cpu", "numpy"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "settings": msgspec.to_builtins(settings),
        "inputs": inputs.files,
        "model": model,
        "versions": versions,
        "summary": msgspec.to_builtins(summary),
        "stages": stages,
    }


def mine(
    input_file: str | os.PathLike[str],
    candidate_pool: str | os.PathLike[str] | Sequence[str] | None,
    settings: MineSettings,
    load_encoder: Callable[[], Encoder],
    *,
    depth: int | None = None,
    store: VectorStore | None = None,
    memory_budget: int | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> Mined:
    """Read, encode, search and select; write nothing.

    Args:
        input_file, candidate_pool: as in `find_knn_neg`.
        settings: everything else that decides the result.
        load_encoder: gives the encoder, asked after the input has been found good: a bad row should not cost a model's loading.
        depth: candidates to rank for each query, when more than the window's end is wanted (a slider may move there later).
        store: where vectors are kept between runs; with all of them there, neither torch nor the model is loaded.
        memory_budget: bytes for the search's working arrays; None takes a part of what is free.
        on_progress, should_stop: called about once a batch.

    Raises:
        As `find_knn_neg`.
    """

    stages = Stages(on_progress)

    def tell(note: str) -> None:
        check(should_stop)
        stages(0, 0, note)

    timings: dict[str, float] = {}
    tell("reading the files")
    began = time.monotonic()
    inputs = read_inputs(
        input_file, candidate_pool, pool_mode=settings.pool_mode, repair=settings.repair, skip_bad_rows=settings.skip_bad_rows
    )
    timings["read"] = time.monotonic() - began
    tell("looking at the model")
    encoder = load_encoder()
    depth = max(depth or 0, settings.selection.window_end)
    on_gpu, note = search_device(settings.use_gpu, depth)
    ranking = rank(
        inputs.corpus,
        encoder,
        depth,
        store=store,
        use_gpu=on_gpu,
        memory_budget=memory_budget,
        on_progress=stages,
        should_stop=should_stop,
        timings=timings,
    )
    tell("selecting")
    began = time.monotonic()
    selection = select(inputs.corpus, ranking, settings.selection)
    timings["select"] = time.monotonic() - began
    description = encoder.describe()
    summary = summarise(inputs, ranking, selection, with_scores=settings.with_scores)
    summary.timings = timings
    summary.notes += [*([note] if note else []), *description.get("notes", ()), *(store.notes if store is not None else ())]
    if store is not None:
        summary.vectors = {"stored": store.found, "encoded": store.encoded}
    return Mined(inputs, ranking, selection, summary, _manifest(settings, inputs, description, summary, stages.report()))


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
    max_positive_share: float | None = None,
    margin: float | None = None,
    repair: Iterable[str] = (),
    skip_bad_rows: bool = False,
    with_scores: bool = False,
    manifest_file: str | os.PathLike[str] | None = None,
    store: str | os.PathLike[str] | None = None,
    memory_budget: int | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> Summary:
    """Mine hard negatives for every row of a training file and write the rows with them.

    Args:
        model: a FlagEmbedding model, anything with its `encode` / `encode_queries` / `encode_corpus`, an `Encoder`, or
            `ModelSettings` to load one.
        input_file: training JSONL with `query` and `pos`; `neg` and other fields are welcome.
        candidate_pool: JSONL with `text`, a list of str, or None for the rows' own passages.
        output_file: where to write; replaced whole, or not at all.
        sample_range: rank window, `[10, 210]` or "10-210": ranks from 0, the slice before anything is removed.
        negative_number: negatives for each row.
        use_gpu: search on a GPU; where there is none the CPU does, and the summary says so.
        seed, strategy, max_score, min_score, max_positive_share, margin: as in `SelectionSettings`.
        pool_mode: "extend" adds the pool to the rows' passages; "replace" ranks the pool alone, as hn_mine.py does.
        repair, skip_bad_rows: what to do with bad rows; without either they raise.
        with_scores: write `pos_scores` and `neg_scores`.
        manifest_file: where to write settings, fingerprints, versions and counts as JSON.
        store: folder where vectors are kept, so that no text is encoded twice and a killed run goes on where it was. Needs `model`
            to be `ModelSettings`: what a loaded model's weights are cannot be told for sure.
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
            max_positive_share=max_positive_share,
            margin=margin,
        ),
        model=model if isinstance(model, ModelSettings) else None,
        pool_mode=pool_mode,
        use_gpu=use_gpu,
        repair=tuple(sorted(repairs_from(repair))),
        skip_bad_rows=skip_bad_rows,
        with_scores=with_scores,
    )
    if output_file is None:
        raise SettingsError("output_file is missing; name the file to write")
    inputs = {"input_file": input_file, "candidate_pool": candidate_pool}
    _check_output("output_file", output_file, inputs)
    if manifest_file is not None:
        _check_output("manifest_file", manifest_file, inputs)
        if Path(manifest_file).resolve() == Path(output_file).resolve():
            raise SettingsError(f"manifest_file is the output_file itself ({manifest_file}); write to another file")

    mined = mine(
        input_file,
        candidate_pool,
        settings,
        lambda: _encoder(model, on_progress),
        store=None if store is None else VectorStore(store),
        memory_budget=memory_budget,
        on_progress=on_progress,
        should_stop=should_stop,
    )
    check(should_stop)
    mined.summary.output_file = str(output_file)
    if manifest_file is not None:  # first: if it cannot be written, the old output is still the old one
        write_atomic(manifest_file, [msgspec.json.format(msgspec.json.encode(mined.manifest)), b"\n"])
    write_atomic(
        output_file,
        flagembedding_lines(mined.inputs.rows, mined.inputs.corpus, mined.ranking, mined.selection, with_scores=with_scores),
    )
    return mined.summary


def _encoder(model: Any, on_progress: OnProgress | None) -> Encoder:
    if isinstance(model, ModelSettings):
        return FlagEncoder.load(model, on_progress=on_progress)
    if isinstance(model, str):
        raise SettingsError(f"model is the text {model!r}; hand over a loaded model, or ModelSettings(name_or_path={model!r})")
    return as_encoder(model)


def _window(values: Sequence[int]) -> tuple[int, int]:
    if (
        not isinstance(values, (Sequence, np.ndarray))
        or len(values) != 2
        or not all(isinstance(value, (int, np.integer)) for value in values)
    ):
        raise SettingsError(f"sample_range is {values!r}; write [START, END] with ranks from 0, such as [10, 210]")
    return int(values[0]), int(values[1])


def _check_output(argument: str, path: str | os.PathLike[str], inputs: Mapping[str, object]) -> None:
    """Refuse, before hours of encoding, an output that cannot be written or would cost the user a file."""
    output = Path(path)
    if not output.parent.is_dir():
        raise OutputError(f"{output.parent} is no folder; make it first, or write elsewhere")
    if output.exists() and not output.is_file():  # a device or a pipe would be replaced by a file
        raise SettingsError(f"{argument} {output} is no ordinary file; write to a file, and copy it from there")
    if not os.access(output.parent, os.W_OK):
        raise OutputError(f"{output} cannot be written; check the folder's permissions, or write elsewhere")
    for name, other in inputs.items():
        if isinstance(other, (str, os.PathLike)) and output.exists() and Path(other).exists() and os.path.samefile(output, other):
            raise SettingsError(f"{argument} is the {name} itself ({output}); write to another file")
    if output.exists():
        # Newer hn_mine.py has output_file before candidate_pool: swapped by position, this call would overwrite the pool.
        try:
            with output.open("rb") as file:
                first = msgspec.json.decode(file.readline(2**20))
        except (OSError, msgspec.DecodeError):
            return
        if isinstance(first, dict) and "text" in first and "query" not in first:
            raise SettingsError(
                f"{argument} {output} exists and holds a candidate pool; did output_file and candidate_pool change places? "
                "The order is (model, input_file, candidate_pool, output_file, ...): name the arguments"
            )
