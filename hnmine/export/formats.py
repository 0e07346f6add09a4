"""The table of output formats, and `write_export`, which writes any of them.

All formats are written from the same selection, streamed; the same inputs, settings and seed give the same bytes (no time
stamp, no path). Files and folders are written atomically; with a split both files are complete before the first is renamed.
What a format cannot represent is reported in its notes.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.checks.kinds import OUTPUT_REPAIRS
from hnmine.checks.repair import repaired
from hnmine.core.decode import decoder
from hnmine.core.errors import SettingsError
from hnmine.core.files import write_all, write_atomic, write_folder
from hnmine.core.scratch import temporary_files
from hnmine.data.corpus import Corpus, find
from hnmine.data.problems import repairs_from
from hnmine.data.rows import Row
from hnmine.export.datasets_folder import CARD, check_replaceable, dataset_files
from hnmine.export.examples import ExportPart, dev_path, dev_queries, merge_counts
from hnmine.export.json_lines import flagembedding_lines, ms_swift
from hnmine.export.notes import (
    list_notes,
    message_notes,
    retrieval_notes,
    row_notes,
    spreadsheet_notes,
    table_notes,
    triple_notes,
)
from hnmine.export.retrieval_sets import beir, dpr, msmarco, spreadsheet, tevatron
from hnmine.export.scores import PairScores
from hnmine.export.sentence_transformers import SHAPES, as_json_lines, as_parquet
from hnmine.selection.select import Selection

__all__ = ["FORMATS", "Format", "Written", "check_export", "write_export"]


# Suffix -> encoding in words, and media type.
ENCODINGS = {
    ".jsonl": ("JSONL", "application/jsonl"),
    ".json": ("JSON", "application/json"),
    ".parquet": ("Parquet", "application/vnd.apache.parquet"),
    ".zip": ("ZIP", "application/zip"),
    ".tsv": ("TSV", "text/tab-separated-values"),
    ".csv": ("CSV", "text/csv"),
    "": ("Folder", "application/zip"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format.

    Attributes:
        name: the value of `output_format`.
        label: name on screens.
        suffix: of a file name, with the dot; a key of ENCODINGS. "" for a folder.
        description: its content, and the trainers or losses that read it.
        scores: where scores are written and their use; empty if the format has no place for them.
        notes: general remarks for users.
        split: whether train and dev are two files, or two parts of one.
        records: the name of its records, in the plural.
        write: yields its bytes; None for a folder.
        folder: returns the files of a folder by their paths, from the part and the manifest; None for a file.
        count_notes: returns notes from the counts of an ExportPart.
    """

    name: str
    label: str
    suffix: str
    description: str
    scores: str
    notes: tuple[str, ...] = ()
    split: Literal["files", "inside"] = "files"
    records: str = "rows"
    write: Callable[[ExportPart], Iterator[bytes]] | None = None
    folder: Callable[[ExportPart, Mapping[str, Any]], dict[str, Iterable[bytes]]] | None = None
    count_notes: Callable[[ExportPart], list[str]]

    @property
    def family(self) -> str:
        """The name that the encodings of one table share."""
        return self.name.removesuffix("-parquet")

    @property
    def encoding(self) -> str:
        """The encoding in words, such as "JSONL"."""
        return ENCODINGS[self.suffix][0]

    @property
    def mime(self) -> str:
        """The media type."""
        return ENCODINGS[self.suffix][1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One written file, or folder.

    Attributes:
        path, bytes, sha256: the file. Of a folder, bytes are those of its data files, without the card, and the digest is that of the
            lines `SHA-256  PATH` of these files, as `sha256sum` prints them, in the order of the paths.
        rows: its records: lines, or rows of a table; the queries of a BEIR data set.
        part: "train", "dev", or "all" without a split or with both parts in one file.
        notes: sentences on what was left out or changed; the first file has those of both parts.
    """

    path: Path
    bytes: int
    sha256: str
    rows: int
    part: Literal["all", "train", "dev"] = "all"
    notes: tuple[str, ...] = ()


class _Query(msgspec.Struct):
    query: str


_decode_query = decoder(_Query)


def _flagembedding(part: ExportPart) -> Iterator[bytes]:
    for line in flagembedding_lines(part.rows, part.corpus, part.selection, scores=part.scores, queries=part.queries):
        part.written += 1
        yield line


_TABLES = {
    "triplet": (
        "sentence-transformers triplet",
        "anchor, positive, negative: one record for each pair of a positive and a negative. For MultipleNegativesRankingLoss, "
        "CachedMultipleNegativesRankingLoss and TripletLoss.",
        "adds `scores` [positive, negative], for MarginMSELoss",
        "triplets",
    ),
    "n-tuple": (
        "sentence-transformers n-tuple",
        "anchor, positive, negative_1 ... negative_n: one record for each positive. For MultipleNegativesRankingLoss with several hard "
        "negatives. Queries with fewer than n negatives are left out, as sentence-transformers' own miner does.",
        "adds `scores`, the positive's first, for MarginMSELoss with several negatives",
        "tuples",
    ),
    "labeled-pair": (
        "sentence-transformers labeled pair",
        "anchor, document, label (1 positive, 0 negative): one record for each passage of a query. For BinaryCrossEntropyLoss of a "
        "CrossEncoder, ContrastiveLoss, OnlineContrastiveLoss.",
        "writes `score` instead of `label`, for CosineSimilarityLoss, CoSENTLoss, MSELoss",
        "pairs",
    ),
    "labeled-list": (
        "sentence-transformers labeled list",
        "anchor, documents, labels: one list for each positive, which comes first. For LambdaLoss, ListNetLoss and the other listwise "
        "losses of a CrossEncoder.",
        "writes `scores` instead of `labels`, for distillation",
        "lists",
    ),
}


def _tables() -> Iterator[Format]:
    for shape, (label, description, scores, records) in _TABLES.items():
        for ending, suffix, write in (("", ".jsonl", as_json_lines), ("-parquet", ".parquet", as_parquet)):
            yield Format(
                name=f"st-{shape}{ending}",
                label=label,
                suffix=suffix,
                description=description,
                scores=scores,
                records=records,
                write=partial(write, SHAPES[shape]),
                count_notes=table_notes,
            )


FORMATS: dict[str, Format] = {
    each.name: each
    for each in (
        Format(
            name="flagembedding",
            label="FlagEmbedding",
            suffix=".jsonl",
            description="Your rows in their order, every field kept, `neg` replaced, hardest negative first. For FlagEmbedding's "
            "fine-tuning and compatible trainers.",
            scores="writes `pos_scores` and `neg_scores` on every row, for knowledge distillation",
            write=_flagembedding,
            count_notes=lambda part: [],
        ),
        *_tables(),
        Format(
            name="ms-swift",
            label="ms-swift",
            suffix=".jsonl",
            description="messages, positive_messages and negative_messages, each text a message of the user: one line for each positive, "
            "because ms-swift takes one a row. For its embedding training with the InfoNCE loss.",
            scores="",
            records="lines",
            write=ms_swift,
            count_notes=message_notes,
        ),
        Format(
            name="dpr",
            label="DPR",
            suffix=".json",
            description="A JSON array of question, answers, positive_ctxs, negative_ctxs and hard_negative_ctxs, each passage with "
            "title and text. For the retriever training of DPR, and trainers that read its files.",
            scores="",
            notes=("Answers and titles are empty, and so are negative_ctxs: mined negatives are hard_negative_ctxs.",),
            records="queries",
            write=dpr,
            count_notes=list_notes,
        ),
        Format(
            name="datasets",
            label="Hugging Face datasets",
            suffix="",
            description="A folder for `datasets.load_from_disk` and for the hub: your rows in their order as a table, with query, pos, neg "
            "and the other fields, the splits train and dev, and a card (README.md) that says how it was mined.",
            scores="adds the columns `pos_scores` and `neg_scores`",
            notes=("A field that some rows lack is null there. Fields whose values have no common type are left out.",),
            split="inside",
            folder=dataset_files,
            count_notes=row_notes,
        ),
        Format(
            name="tevatron",
            label="Tevatron",
            suffix=".jsonl",
            description="query_id, query, positive_passages and negative_passages, each passage with docid, title and text: one line for "
            "each query. For Tevatron's training and distillation.",
            scores="adds `score` to each passage, for distillation",
            notes=("Titles are empty: the title is part of the text.",),
            records="queries",
            write=tevatron,
            count_notes=retrieval_notes,
        ),
        Format(
            name="beir",
            label="BEIR data set",
            suffix=".zip",
            description="corpus.jsonl (every passage of the data set and its pool), queries.jsonl, qrels/train.tsv and, with a split, "
            "qrels/dev.tsv. For BEIR, MTEB, ir_datasets and other retrieval benchmarks.",
            scores="adds `pos_scores` and `neg_scores` to hard_negatives.jsonl",
            notes=("BEIR has no place for negatives: they are in the additional file hard_negatives.jsonl, by docid.",),
            split="inside",
            records="queries",
            write=beir,
            count_notes=retrieval_notes,
        ),
        Format(
            name="msmarco",
            label="MS MARCO triples",
            suffix=".tsv",
            description="query, positive, negative, separated by tabs: one line for each triple, no header, no quotes. For ColBERT and the "
            "trainers that read triples.train.small.tsv.",
            scores="",
            records="triples",
            write=msmarco,
            count_notes=triple_notes,
        ),
        Format(
            name="csv",
            label="Spreadsheet",
            suffix=".csv",
            description="One line for each query and passage, with label, place and ids. For Excel, LibreOffice or pandas; "
            "no trainer reads it.",
            scores="adds a column `score`",
            notes=("Texts that begin like a formula get an apostrophe in front, so that no program runs them.",),
            records="lines",
            write=spreadsheet,
            count_notes=spreadsheet_notes,
        ),
    )
}


def _repaired(part: ExportPart, repair_output: tuple[str, ...]) -> Iterator[bytes]:
    """Yield the repaired lines of a part, in FlagEmbedding's format.

    The type of a field is only known at the end of the file, so all rows are written to a temporary file first; both parts, so that
    train and dev get the same repairs.
    """
    with temporary_files("repair-") as folder:
        plain = folder / "rows.jsonl"
        write_atomic(plain, _flagembedding(replace(part, queries=None)))
        for line in repaired(plain, repair_output):
            if part.queries is not None:
                query = find([_decode_query(line).query], part.corpus.queries, part.corpus.query_hashes)
                if not part.queries[query[0]]:
                    continue
            part.written += 1
            yield line


def check_export(format_name: str, *, with_scores: bool = False, dev_share: float = 0.0, repair_output: Iterable[str] = ()) -> Format:
    """Return the format after checking the options; cheap, so it can be called before mining.

    Raises:
        SettingsError: unknown format, no place for scores, `dev_share` out of range, or unknown repair.
    """
    found = FORMATS.get(format_name)
    if found is None:
        raise SettingsError(f"output_format is {format_name!r}; choose one of: {', '.join(FORMATS)}")
    if with_scores and not found.scores:
        others = ", ".join(name for name, each in FORMATS.items() if each.scores and not name.endswith("-parquet"))
        raise SettingsError(f"output_format {format_name} has no place for scores; unset with_scores, or choose one of: {others}")
    if isinstance(dev_share, bool) or not isinstance(dev_share, (int, float)) or not 0 <= dev_share < 1:
        raise SettingsError(f"dev_share is {dev_share!r}; set a fraction of the queries, such as 0.05, or 0 for no split")
    if repairs_from(repair_output, OUTPUT_REPAIRS) and found.family != "flagembedding":
        raise SettingsError(f"repair_output needs output_format flagembedding, not {format_name}; unset one of them")
    return found


def _of_folder(files: Mapping[str, tuple[int, str]]) -> tuple[int, str]:
    """Return the bytes of a folder without its card, and the SHA-256 of its files' names and digests."""
    data = {name: each for name, each in sorted(files.items()) if name != CARD}
    lines = "".join(f"{digest}  {name}\n" for name, (_, digest) in data.items())
    return sum(size for size, _ in data.values()), hashlib.sha256(lines.encode()).hexdigest()


def write_export(
    path: str | os.PathLike[str],
    format_name: str,
    rows: Sequence[Row],
    corpus: Corpus,
    selection: Selection,
    *,
    scores: PairScores | None = None,
    dev_share: float = 0.0,
    seed: int = 42,
    repair_output: Iterable[str] = (),
    left_out: npt.NDArray[np.bool_] | None = None,
    manifest: Mapping[str, Any] | None = None,
    accept: Callable[[list[str]], None] | None = None,
) -> list[Written]:
    """Write a selection in a format; with a split, train to `path` and dev to `dev_path(path)` unless one file holds both.

    Args:
        path: the output file or folder, written atomically; its name does not affect the bytes.
        rows: the rows the corpus was built from.
        scores: scores to write; None for none.
        dev_share: fraction of the queries in [0, 1) that becomes dev, drawn with `seed`.
        repair_output: faults to repair in the written file, keys of `checks.kinds.OUTPUT_REPAIRS`; FlagEmbedding format only.
        left_out: (q,) bool, queries whose rows are not written; None for none. They count when a split is drawn.
        manifest: of the run, for the card of a folder; it affects no data file.
        accept: called with the SHA-256 of each output before any takes its place; if it raises, existing files are unchanged.

    Raises:
        SettingsError: as `check_export`, or a split of one query, or no row is left, or a folder would replace other files.
        OutputError: a file cannot be written; existing files are unchanged.
    """
    repair_output = tuple(repair_output)
    form = check_export(format_name, with_scores=scores is not None, dev_share=dev_share, repair_output=repair_output)
    path = Path(path)
    dev = dev_queries(corpus, dev_share, seed) if dev_share else None
    kept = None if left_out is None or not left_out.any() else ~left_out
    if kept is not None and not kept.any():
        raise SettingsError("every row has a negative that the judge calls relevant, so none is left; drop or promote them instead")
    whole = ExportPart(rows=rows, corpus=corpus, selection=selection, scores=scores, queries=kept)
    if form.folder is not None:
        check_replaceable(path)
        part = replace(whole, dev=dev)
        check = None if accept is None else lambda found: accept([_of_folder(found)[1]])
        size, digest = _of_folder(write_folder(path, form.folder(part, manifest or {}), accept=check))
        return [Written(path=path, bytes=size, sha256=digest, rows=part.written, notes=tuple(form.count_notes(part)))]
    assert form.write is not None
    parts: list[tuple[Path, Literal["all", "train", "dev"], ExportPart]]
    if dev is None or form.split == "inside":
        parts = [(path, "all", replace(whole, dev=dev))]
    else:
        train, held_out = (~dev, dev) if kept is None else (~dev & kept, dev & kept)
        parts = [(path, "train", replace(whole, queries=train, counts=Counter()))]
        parts.append((dev_path(path), "dev", replace(whole, queries=held_out, counts=Counter())))
    files = [(target, _repaired(part, repair_output) if repair_output else form.write(part)) for target, _, part in parts]
    sizes = write_all(files, accept=None if accept is None else lambda found: accept([digest for _, digest in found]))
    notes = form.count_notes(merge_counts([part for _, _, part in parts]))
    return [
        Written(path=target, bytes=size, sha256=digest, rows=part.written, part=name, notes=() if place else tuple(notes))
        for place, ((target, name, part), (size, digest)) in enumerate(zip(parts, sizes, strict=True))
    ]
