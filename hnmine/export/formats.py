"""The formats an export can have, in one table, and the one way to write any of them.

Every format is written from the same selection, streamed, and the same bytes come out for the same inputs, settings and
seed: no time stamp, no set's order, no path. A file is written whole or not at all; with a split both files are complete
before the first takes its place. What a format cannot hold is left out or changed as its notes tell, never in silence.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec

from hnmine.checks.kinds import OUTPUT_REPAIRS
from hnmine.checks.repair import repaired
from hnmine.core.errors import SettingsError
from hnmine.core.files import write_all, write_atomic
from hnmine.data.corpus import Corpus, find
from hnmine.data.problems import repairs_from
from hnmine.data.rows import Row
from hnmine.export.delimited import CELL_LIMIT, ROW_LIMIT, msmarco, spreadsheet
from hnmine.export.examples import ExportPart, merge_counts
from hnmine.export.flagembedding import flagembedding_lines
from hnmine.export.retrieval_sets import beir, tevatron
from hnmine.export.scores import PairScores
from hnmine.export.sentence_transformers import SHAPES, as_json_lines, as_parquet
from hnmine.export.split import dev_path, dev_queries
from hnmine.selection.select import Selection

__all__ = ["FORMATS", "Format", "Written", "check_export", "write_export"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format.

    Attributes:
        name: as on the command line; family: what it has in common with the same table in another encoding.
        label: for people; encoding: "JSONL", "Parquet", "ZIP", "TSV" or "CSV".
        suffix: of a file name, with the dot; mime: its media type.
        description: what is in it, and which trainer or loss reads it.
        scores: whether there is a place for scores, and what they are for; empty when there is none.
        notes: what everybody should know who uses it.
        split: whether train and dev are two files, or two parts within one.
        records: what one record is called, in the plural.
        write: yields its bytes.
        told: notes on what was written, by what `Part.counted` holds.
    """

    name: str
    family: str
    label: str
    encoding: str
    suffix: str
    mime: str
    description: str
    scores: str
    notes: tuple[str, ...] = ()
    split: Literal["files", "inside"] = "files"
    records: str = "rows"
    write: Callable[[ExportPart], Iterator[bytes]]
    told: Callable[[ExportPart], list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One file that was written.

    Attributes:
        path, bytes, sha256: the file.
        rows: records in it: lines, or rows of a table; the queries of a BEIR data set.
        part: "train", "dev", or "all" without a split or with both parts in one file.
        notes: what was left out or changed to fit the format, in sentences; of both parts together, and with the first.
    """

    path: Path
    bytes: int
    sha256: str
    rows: int
    part: Literal["all", "train", "dev"] = "all"
    notes: tuple[str, ...] = ()


class _Asked(msgspec.Struct):
    query: str


_decode_query = msgspec.json.Decoder(_Asked).decode


def _flagembedding(part: ExportPart) -> Iterator[bytes]:
    for line in flagembedding_lines(part.rows, part.corpus, part.selection, scores=part.scores, queries=part.queries):
        part.written += 1
        yield line


def _told_of_tables(part: ExportPart) -> list[str]:
    found = part.notes()
    counted = part.counted
    if counted["without"]:
        found.append(f"{counted['without']:,} queries have no negative, so nothing of them is in the file")
    if counted["alone"]:
        found.append(f"{counted['alone']:,} queries have no negative: their positives stand alone")
    if counted["short"]:
        wanted, fewest = part.selection.settings.negative_number, counted["fewest"]
        remedy = f"; {fewest} for each query would keep all" if fewest else ""
        found.append(f"{counted['short']:,} queries have fewer than {wanted} negatives and are left out: a tuple needs all{remedy}")
    return found


def _told_of_retrieval(part: ExportPart) -> list[str]:
    found = part.notes(ids=True)
    if part.counted["without"]:
        found.append(f"{part.counted['without']:,} queries have no negative: their list is empty")
    if part.counted["respelled"]:
        found.append(f"{part.counted['respelled']:,} positives differ from a passage in case or blanks alone, and share its text here")
    return found


def _told_of_triples(part: ExportPart) -> list[str]:
    found = part.notes()
    if part.counted["without"]:
        found.append(f"{part.counted['without']:,} queries have no negative: there is no triple of them")
    if part.counted["flattened"]:
        found.append(f"{part.counted['flattened']:,} texts held tabs or line breaks, which this format cannot: each is a blank there")
    return found


def _told_of_sheets(part: ExportPart) -> list[str]:
    found = part.notes(ids=True)
    counted = part.counted
    if counted["prefixed"]:
        found.append(f"{counted['prefixed']:,} texts begin like a formula: an apostrophe is put before them, so that no program runs them")
    if counted["too long"]:
        found.append(f"{counted['too long']:,} texts are longer than {CELL_LIMIT:,} characters: Excel cuts them")
    if counted["too many"]:
        found.append(f"{counted['too many']:,} lines are more than the {ROW_LIMIT:,} that Excel reads")
    return found


_TABLES = {
    "triplet": (
        "sentence-transformers triplet",
        "anchor, positive, negative: one record for each pair of a positive and a negative. For MultipleNegativesRankingLoss, "
        "its cached kind, TripletLoss.",
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
        "`score` stands in place of `label`, for CosineSimilarityLoss, CoSENTLoss, MSELoss",
        "pairs",
    ),
    "labeled-list": (
        "sentence-transformers labeled list",
        "anchor, documents, labels: one list for each positive, which is first in it. For LambdaLoss, ListNetLoss and the other listwise "
        "losses of a CrossEncoder.",
        "`scores` stand in place of `labels`, for learning a teacher's order",
        "lists",
    ),
}


def _tables() -> Iterator[Format]:
    for shape, (label, description, scores, records) in _TABLES.items():
        for encoding, suffix, mime, write in (
            ("JSONL", ".jsonl", "application/jsonl", as_json_lines),
            ("Parquet", ".parquet", "application/vnd.apache.parquet", as_parquet),
        ):
            yield Format(
                name=f"st-{shape}" + ("-parquet" if encoding == "Parquet" else ""),
                family=f"st-{shape}",
                label=label,
                encoding=encoding,
                suffix=suffix,
                mime=mime,
                description=description,
                scores=scores,
                records=records,
                write=partial(write, SHAPES[shape]),
                told=_told_of_tables,
            )


FORMATS: dict[str, Format] = {
    each.name: each
    for each in (
        Format(
            name="flagembedding",
            family="flagembedding",
            label="FlagEmbedding",
            encoding="JSONL",
            suffix=".jsonl",
            mime="application/jsonl",
            description="Your rows in their order, every field kept, `neg` replaced, hardest negative first. For FlagEmbedding's "
            "fine-tuning and what reads its files.",
            scores="writes `pos_scores` and `neg_scores` on every row, for knowledge distillation",
            write=_flagembedding,
            told=lambda part: [],
        ),
        *_tables(),
        Format(
            name="tevatron",
            family="tevatron",
            label="Tevatron",
            encoding="JSONL",
            suffix=".jsonl",
            mime="application/jsonl",
            description="query_id, query, positive_passages and negative_passages, each passage with docid, title and text: one line for "
            "each query. For Tevatron's training and distillation.",
            scores="adds `score` to each passage, for distillation",
            notes=("Titles are empty: the title is part of the text here.",),
            records="queries",
            write=tevatron,
            told=_told_of_retrieval,
        ),
        Format(
            name="beir",
            family="beir",
            label="BEIR data set",
            encoding="ZIP",
            suffix=".zip",
            mime="application/zip",
            description="corpus.jsonl (every passage of the data set and its pool), queries.jsonl, qrels/train.tsv and, with a split, "
            "qrels/dev.tsv. For BEIR, MTEB, ir_datasets and what else evaluates retrieval.",
            scores="adds `pos_scores` and `neg_scores` to hard_negatives.jsonl",
            notes=("BEIR has no place for negatives: they stand in hard_negatives.jsonl beside it, by docid.",),
            split="inside",
            records="queries",
            write=beir,
            told=_told_of_retrieval,
        ),
        Format(
            name="msmarco",
            family="msmarco",
            label="MS MARCO triples",
            encoding="TSV",
            suffix=".tsv",
            mime="text/tab-separated-values",
            description="query, positive, negative, separated by tabs: one line for each triple, no header, no quotes. For ColBERT and the "
            "trainers that read triples.train.small.tsv.",
            scores="",
            records="triples",
            write=msmarco,
            told=_told_of_triples,
        ),
        Format(
            name="csv",
            family="csv",
            label="Spreadsheet",
            encoding="CSV",
            suffix=".csv",
            mime="text/csv",
            description="One line for each query and passage, with label, place and ids. To look at in Excel, LibreOffice or pandas; "
            "no trainer reads it.",
            scores="adds a column `score`",
            notes=("A text that begins like a formula gets an apostrophe in front, so that no program runs it.",),
            records="lines",
            write=spreadsheet,
            told=_told_of_sheets,
        ),
    )
}


def _repaired(form: Format, part: ExportPart, target: Path, repair_output: tuple[str, ...]) -> Iterator[bytes]:
    """Yield the lines of a part mended.

    What a field's type is shows at the end of the file, so it is written out first, beside the target; and with both parts, because a
    fault of the one alone would be mended in the one alone, and the two would not fit together any more.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".repair-") as folder:
        plain = Path(folder) / "rows.jsonl"
        write_atomic(plain, form.write(replace(part, queries=None)))
        for line in repaired(plain, repair_output):
            if part.queries is not None:
                query = find([_decode_query(line).query], part.corpus.queries, part.corpus.query_hashes)
                if not part.queries[query[0]]:
                    continue
            part.written += 1
            yield line


def check_export(format_name: str, *, with_scores: bool = False, dev_share: float = 0.0, repair_output: Iterable[str] = ()) -> Format:
    """Return the format, or refuse what it cannot do; cheap, so it can be asked before the mining.

    Raises:
        SettingsError: there is no such format, it has no place for scores, the share is no share, or what is to be mended is unknown.
    """
    found = FORMATS.get(format_name)
    if found is None:
        raise SettingsError(f"output_format is {format_name!r}; known are: {', '.join(FORMATS)}")
    if with_scores and not found.scores:
        others = ", ".join(name for name, each in FORMATS.items() if each.scores and not name.endswith("-parquet"))
        raise SettingsError(f"output_format {format_name} has no place for scores; leave with_scores out, or take one of: {others}")
    if isinstance(dev_share, bool) or not isinstance(dev_share, (int, float)) or not 0 <= dev_share < 1:
        raise SettingsError(f"dev_share is {dev_share!r}; it is a share of the queries, such as 0.05, or 0 for no split")
    if repairs_from(repair_output, OUTPUT_REPAIRS) and found.family != "flagembedding":
        raise SettingsError(f"repair_output is for FlagEmbedding's rows, and output_format is {format_name}; leave repair_output out")
    return found


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
) -> list[Written]:
    """Write a selection in a format; with a split, train to `path` and dev to `dev_path(path)` unless one file holds both.

    Args:
        path: where to write; replaced whole, or not at all. Its name has no say in the bytes.
        format_name: one of FORMATS.
        rows: the rows the corpus was built from.
        corpus, selection: what was mined for them, promotions included.
        scores: written where the format has a place for them; None for none.
        dev_share: part of the queries, 0 to below 1, that becomes dev; drawn by `seed`.
        repair_output: faults to repair in the written file, keys of `checks.kinds.OUTPUT_REPAIRS`; FlagEmbedding format only.

    Raises:
        SettingsError: as `check_export`, or a split of one query.
        OutputError: a file cannot be written; what was there before is untouched.
    """
    repair_output = tuple(repair_output)
    form = check_export(format_name, with_scores=scores is not None, dev_share=dev_share, repair_output=repair_output)
    path = Path(path)
    dev = dev_queries(corpus, dev_share, seed) if dev_share else None
    parts: list[tuple[Path, Literal["all", "train", "dev"], ExportPart]] = []

    def add(target: Path, name: Literal["all", "train", "dev"], **masks: Any) -> None:
        part = ExportPart(rows=rows, corpus=corpus, selection=selection, scores=scores, **masks)
        parts.append((target, name, part))

    if dev is None or form.split == "inside":
        add(path, "all", dev=dev)
    else:
        add(path, "train", queries=~dev)
        add(dev_path(path), "dev", queries=dev)
    files = [(target, _repaired(form, part, target, repair_output) if repair_output else form.write(part)) for target, _, part in parts]
    sizes = write_all(files)
    notes = form.told(merge_counts([part for _, _, part in parts]))
    return [
        Written(path=target, bytes=size, sha256=digest, rows=part.written, part=name, notes=() if place else tuple(notes))
        for place, ((target, name, part), (size, digest)) in enumerate(zip(parts, sizes, strict=True))
    ]
