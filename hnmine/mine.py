"""The pipeline, and `find_knn_neg`, the drop-in for FlagEmbedding's function of that name.

file -> rows -> corpus -> encoder -> search -> Ranking -> select -> Selection -> export. The command line runs it in one
go; the app stops at the Ranking, keeps it, and runs the cheap rest on every move of a slider. Both write through
`export`, so both write the same bytes.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from hnmine.corpus import Corpus, PoolMode, build_corpus
from hnmine.encoder import Encoder, as_encoder
from hnmine.errors import InputError, OutputError, SettingsError
from hnmine.export import flagembedding_lines, stale_scores, write_atomic
from hnmine.models import ModelSettings
from hnmine.progress import OnProgress, ShouldStop, check
from hnmine.ranking import Ranking, rank
from hnmine.rows import InputFile, Problem, Row, read_pool, read_training, repairs_from
from hnmine.search import GPU_K_LIMIT, gpu_count
from hnmine.select import Selection, SelectionSettings, parse_window, positive_anchors, select

__all__ = ["Inputs", "MineSettings", "Summary", "find_knn_neg", "manifest", "read_inputs", "search_device", "summarise"]


class MineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that decides the bytes of the output, beside the input files and the model's weights.

    Attributes:
        selection: window, number, strategy, seed, guards.
        model: which model and how it is used; None when a loaded model was handed over.
        pool_mode: whether the pool extends or replaces the rows' own passages.
        use_gpu: search on a GPU where there is one.
        repair: kinds of problems that may be mended (see `hnmine.rows.REPAIRS`).
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
class Inputs:
    """What was read: usable rows, the pool, the corpus built from them, all problems, and the files' fingerprints (name, bytes, sha256)."""

    rows: Sequence[Row]
    pool: Sequence[str] | None
    corpus: Corpus
    problems: tuple[Problem, ...]
    files: dict[str, dict[str, Any]]


@dataclass(slots=True, kw_only=True)
class Summary:
    """What a run did. Printing it gives the closing summary of the command line.

    Attributes:
        output_file: where it was written; None when nothing was (the app before its download).
        rows, queries, passages, candidates: counts; rows that ask the same share a query.
        pool_mode: "extend", "replace", or None without a pool.
        funnel: candidates left after each step, over all queries (`Selection.funnel`).
        negatives: negatives over all rows; backfilled and short_rows: rows' counts of those.
        scores: mean similarities of "negatives" and "positives", and the share of negatives "above_positive" (0..1).
        problems: counts of input problems, "kind: resolution".
        timings: seconds for each stage.
        notes: what a user should know, in sentences.
    """

    output_file: str | None
    rows: int
    queries: int
    passages: int
    candidates: int
    pool_mode: str | None
    negative_number: int
    window: tuple[int, int]
    funnel: dict[str, int]
    negatives: int
    backfilled: int
    short_rows: int
    scores: dict[str, float | None]
    problems: dict[str, int] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        def number(value: float | None) -> str:
            return "-" if value is None else f"{value:.3f}"

        steps = " -> ".join(
            f"{name.replace('_', ' ')} {count:,}"
            for name, count in self.funnel.items()
            if name in ("ranked", "in_window", "not_positive", "chosen") or (name.startswith("past_") and self._guarded(name))
        )
        pool = {None: "the rows' own passages", "extend": "the rows' own passages and the pool", "replace": "the pool alone"}[
            self.pool_mode
        ]
        above = self.scores["above_positive"]
        lines = [
            f"rows         {self.rows:,} ({self.queries:,} different queries)" + (f" -> {self.output_file}" if self.output_file else ""),
            f"candidates   {self.candidates:,} passages: {pool}",
            f"window       ranks {self.window[0]}-{self.window[1] - 1}",
            f"funnel       {steps}",
            f"negatives    {self.negatives:,}, of which {self.backfilled:,} back-filled; "
            f"{self.short_rows:,} rows short of {self.negative_number}",
            f"similarity   negatives {number(self.scores['negatives'])}, positives {number(self.scores['positives'])} on average; "
            f"{'-' if above is None else f'{above:.1%}'} of the negatives score above their positive",
        ]
        if self.problems:
            lines.append("input        " + ", ".join(f"{count:,} x {name}" for name, count in self.problems.items()))
        if self.timings:
            lines.append("seconds      " + ", ".join(f"{name} {value:.1f}" for name, value in self.timings.items()))
        return "\n".join(lines + [f"note         {note}" for note in self.notes])

    def _guarded(self, name: str) -> bool:
        """Whether the step removed anything; guards that are off, or idle, are not printed."""
        names = list(self.funnel)
        return self.funnel[name] != self.funnel[names[names.index(name) - 1]]


def _file_fingerprint(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        with Path(path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return {"name": Path(path).name, "bytes": file.seek(0, os.SEEK_END), "sha256": digest}
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error


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
    files = {"input_file": _file_fingerprint(input_file)}
    training = read_training(input_file, repair=repair, skip_bad_rows=skip_bad_rows)
    pool: Sequence[str] | None = None
    problems = list(training.problems)
    if isinstance(candidate_pool, (str, os.PathLike)):
        files["candidate_pool"] = _file_fingerprint(candidate_pool)
        pool_file = read_pool(candidate_pool, repair=repair, skip_bad_rows=skip_bad_rows)
        pool = pool_file.items
        problems += pool_file.problems
        _require_decided(training, pool_file)
    elif candidate_pool is not None:
        pool = list(candidate_pool)
        for index, text in enumerate(pool):
            if not isinstance(text, str) or not text.strip():
                raise InputError(f"candidate_pool[{index}] is {text!r}; every passage must be a string that is not blank")
        digest = hashlib.sha256(msgspec.json.encode(pool))
        files["candidate_pool"] = {"name": "list", "bytes": sum(map(len, pool)), "sha256": digest.hexdigest()}
    _require_decided(training)
    corpus = build_corpus(training.items, pool, pool_mode=pool_mode)
    return Inputs(training.items, pool, corpus, tuple(problems), files)


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


def search_device(use_gpu: bool, depth: int) -> tuple[bool, str | None]:
    """Return whether the GPU will search, and a note when that is not what was asked for.

    Args:
        use_gpu: what was asked.
        depth: candidates a query; a GPU takes at most 2,048.
    """
    if not use_gpu:
        return False, None
    if gpu_count() == 0:
        return False, "a GPU was asked for, but FAISS finds none here: the CPU searched"
    if depth > GPU_K_LIMIT:
        return False, f"a GPU ranks at most {GPU_K_LIMIT:,} candidates a query and {depth:,} were asked for: the CPU searched"
    return True, None


def summarise(inputs: Inputs, ranking: Ranking, selection: Selection, *, with_scores: bool = False) -> Summary:
    """Count and average what a selection holds."""
    corpus, settings = inputs.corpus, selection.settings
    row_counts = selection.counts[corpus.row_queries]
    held = selection.negatives >= 0
    scores = selection.scores[held]
    above = (selection.scores > positive_anchors(corpus, ranking)[:, None])[held]
    problems: dict[str, int] = {}
    for problem in inputs.problems:
        name = f"{problem.kind} ({problem.resolution})"
        problems[name] = problems.get(name, 0) + 1
    notes = []
    if (stale := stale_scores(inputs.rows)) and not with_scores:
        notes.append(f"{stale:,} rows had neg_scores for the negatives that were replaced: left out (with_scores writes new ones)")
    if inputs.pool is not None and corpus.pool_mode == "extend" and len(inputs.pool) > corpus.n_candidates:
        notes.append("the pool repeats passages: each counts once")
    return Summary(
        output_file=None,
        rows=len(inputs.rows),
        queries=len(corpus.queries),
        passages=len(corpus.passages),
        candidates=corpus.n_candidates,
        pool_mode=corpus.pool_mode,
        negative_number=settings.negative_number,
        window=(settings.window_start, settings.window_end),
        funnel=selection.funnel,
        negatives=int(row_counts.sum()),
        backfilled=int(selection.backfilled.sum(axis=1)[corpus.row_queries].sum()),
        short_rows=int((row_counts < settings.negative_number).sum()),
        scores={
            "negatives": float(scores.mean(dtype=np.float64)) if len(scores) else None,
            "positives": float(ranking.positive_scores.mean(dtype=np.float64)),
            "above_positive": float(above.mean()) if len(scores) else None,
        },
        problems=problems,
        notes=notes,
    )


def manifest(settings: MineSettings, inputs: Inputs, model: dict[str, Any], summary: Summary) -> dict[str, Any]:
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
    }


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
    _check_output(output_file, input_file, candidate_pool)

    timings: dict[str, float] = {}
    clock = time.monotonic()

    def lap(name: str) -> None:
        nonlocal clock
        now = time.monotonic()
        timings[name] = now - clock
        clock = now

    inputs = read_inputs(input_file, candidate_pool, pool_mode=pool_mode, repair=settings.repair, skip_bad_rows=skip_bad_rows)
    lap("read")
    check(should_stop)
    encoder = _encoder(model, on_progress)
    lap("load")
    on_gpu, note = search_device(use_gpu, end)
    ranking = rank(inputs.corpus, encoder, end, use_gpu=on_gpu, on_progress=on_progress, should_stop=should_stop, timings=timings)
    clock = time.monotonic()
    selection = select(inputs.corpus, ranking, settings.selection)
    lap("select")
    summary = summarise(inputs, ranking, selection, with_scores=with_scores)
    check(should_stop)
    write_atomic(output_file, flagembedding_lines(inputs.rows, inputs.corpus, ranking, selection, with_scores=with_scores))
    lap("write")
    description = encoder.describe()
    summary.output_file = str(output_file)
    summary.timings = timings
    summary.notes += [*([note] if note else []), *description.get("notes", ())]
    if manifest_file is not None:
        write_atomic(manifest_file, [msgspec.json.format(msgspec.json.encode(manifest(settings, inputs, description, summary))), b"\n"])
    return summary


def _encoder(model: Any, on_progress: OnProgress | None) -> Encoder:
    if isinstance(model, ModelSettings):
        from hnmine.encoder import FlagEncoder

        return FlagEncoder.load(model, on_progress=on_progress)
    if isinstance(model, str):
        raise SettingsError(f"model is the text {model!r}; hand over a loaded model, or ModelSettings(name_or_path={model!r})")
    return as_encoder(model)


def _window(values: Sequence[int]) -> tuple[int, int]:
    if len(values) != 2 or not all(isinstance(value, (int, np.integer)) for value in values):
        raise SettingsError(f"sample_range is {values!r}; write [START, END] with ranks from 0, such as [10, 210]")
    return int(values[0]), int(values[1])


def _check_output(output_file: str | os.PathLike[str], input_file: object, candidate_pool: object) -> None:
    """Refuse, before hours of encoding, an output that cannot be written or would cost the user a file."""
    output = Path(output_file)
    if not output.parent.is_dir():
        raise OutputError(f"{output.parent} is no folder; make it first, or write elsewhere")
    if output.is_dir() or not os.access(output.parent, os.W_OK):
        raise OutputError(f"{output} cannot be written; check the folder's permissions, or write elsewhere")
    for name, other in (("input_file", input_file), ("candidate_pool", candidate_pool)):
        if isinstance(other, (str, os.PathLike)) and output.exists() and Path(other).exists() and os.path.samefile(output, other):
            raise SettingsError(f"output_file is the {name} itself ({output}); write to another file")
    if output.exists():
        # Newer hn_mine.py has output_file before candidate_pool: swapped by position, this call would overwrite the pool.
        with output.open("rb") as file:
            head = file.readline(2**20)
        try:
            first = msgspec.json.decode(head)
        except msgspec.DecodeError:
            return
        if isinstance(first, dict) and "text" in first and "query" not in first:
            raise SettingsError(
                f"output_file {output} exists and holds a candidate pool; did output_file and candidate_pool change places? "
                "The order is (model, input_file, candidate_pool, output_file, ...): name the arguments"
            )
