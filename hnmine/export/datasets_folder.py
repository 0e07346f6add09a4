"""A folder as `datasets.DatasetDict.save_to_disk` writes it: the rows with their negatives, split by split, and a card.

Rows are those of FlagEmbedding's format, as a table: `query`, `pos`, `neg`, scores, and each other field whose values pyarrow gives
back as they were. The library would hold the whole table in memory, with each negative of each row (1.5 GB for 100,000 rows); here it is
written batch by batch. The fingerprint that `datasets` caches by is that of the content, so the same rows give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import msgspec

from hnmine.core.errors import SettingsError
from hnmine.core.text import counted, shortened
from hnmine.export.examples import Bools, ExportPart
from hnmine.export.json_lines import flagembedding_lines
from hnmine.export.retrieval_sets import Buffer, zipped
from hnmine.selection.filters import FILTERS
from hnmine.selection.fn_model import FNRate
from hnmine.selection.settings import TARGETS

__all__ = ["CARD", "check_replaceable", "dataset_card", "dataset_files", "size_category", "zipped_folder"]


_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"),
          (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B"))  # fmt: skip


_RELABELLED = {
    "dropped": "{:,} of them dropped from the candidates",
    "promoted": "{:,} of them added as positives",
    "left_out": "{:,} rows with such negatives left out",
}


def size_category(rows: int) -> str:
    """Return the hub's name for a number of rows, such as "1K<n<10K"."""
    return next((name for limit, name in _SIZES if rows < limit), "n>1B")


def dataset_card(manifest: Mapping[str, Any], counts: Mapping[str, int], columns: Sequence[str]) -> str:
    """Return the card.

    Args:
        manifest: of the run, as plain JSON; what it lacks is left out.
        counts: rows of each split.
        columns: of the table.
    """
    return "\n".join([*_metadata(counts), *_content(counts, columns), *_mining(manifest), *_counts(manifest), *_reproduction(manifest)])


def _metadata(counts: Mapping[str, int]) -> Iterator[str]:
    yield from ("---", "configs:", "- config_name: default", "  data_files:")
    for split in counts:
        yield from (f"  - split: {split}", f"    path: {split}/*.arrow")
    yield from ("task_categories:", "- sentence-similarity", "- text-retrieval")
    yield from ("size_categories:", f"- {size_category(sum(counts.values()))}")
    yield from ("tags:", "- hard-negatives", "- embeddings", "- hnmine", "---", "")


def _content(counts: Mapping[str, int], columns: Sequence[str]) -> Iterator[str]:
    yield from ("# Hard negatives", "")
    yield "Rows for training text-embedding models: `query`, its positives `pos`, and mined hard negatives `neg`, hardest first."
    if others := [_code(name) for name in columns if name not in ("query", "pos", "neg")]:
        yield f"Further columns: {', '.join(others)}. A value is null where a row has no such field."
    yield from ("", "| split | rows |", "| --- | --- |")
    for split, rows in counts.items():
        yield f"| {split} | {rows:,} |"
    yield from ("", "```python", "import datasets", "")
    yield 'data = datasets.load_dataset("NAME_ON_THE_HUB")  # of a folder: datasets.load_from_disk("FOLDER")'
    yield from ("```", "")


def _mining(manifest: Mapping[str, Any]) -> Iterator[str]:
    settings = manifest.get("settings")
    if not settings:
        return
    yield from ("## How it was mined", "", "| | |", "| --- | --- |")
    for role in ("model", "second_model", "reranker"):
        if described := manifest.get(role):
            weights = described.get("weights_sha256")
            known = f", SHA-256 of the weights `{weights}`" if weights else ""
            yield f"| {role.replace('_', ' ')} | {_name(described.get('name'))}{known} |"
    selection = settings["selection"]
    yield f"| retrievers | {', '.join(_code(each) for each in settings['retrievers'])} |"
    if (index := settings.get("index", "exact")) != "exact":
        yield f"| search | approximate: {_code(index)} |"
    yield f"| rank window | {selection['window_start']}-{selection['window_end']}, ranks from 0 |"
    how = f"at random, seed {selection['seed']}" if selection["strategy"] == "random" else "the hardest of the window"
    targets = [f"`{each.name}` {value}" for each in TARGETS if (value := selection.get(each.name)) is not None]
    yield f"| negatives a row | {selection['negative_number']}, {', limited by '.join([how, *targets])} |"
    filters = [f"`{each.name}` {value}" for each in FILTERS.values() if (value := selection.get(each.name)) is not None]
    yield f"| false-negative filters | {', '.join(filters) or 'none'} |"
    if settings["with_scores"]:
        yield f"| scores | of the {settings['score_source']} |"
    for argument, file in manifest.get("inputs", {}).items():
        yield f"| {argument.replace('_', ' ')} | {_name(file['name'])}, {file['bytes']:,} bytes, SHA-256 `{file['sha256']}` |"
    yield ""


def _counts(manifest: Mapping[str, Any]) -> Iterator[str]:
    summary = manifest.get("summary")
    if not summary:
        return
    yield from ("## Counts", "")
    left_out = f", {number:,} left out" if (number := summary.get("judgements", {}).get("left_out")) else ""
    yield f"- {counted(summary['rows'], 'row')} with {counted(summary['queries'], 'different query', 'different queries')}{left_out}"
    yield f"- {counted(summary['candidates'], 'candidate passage')}"
    yield (
        f"- {counted(summary['negatives'], 'negative')}, {summary['random_filled']:,} of them filled at random, "
        f"{counted(summary['short_rows'], 'row')} with fewer than {summary['negative_number']:,}"
    )
    scores = summary["scores"]
    if scores["negatives"] is not None:
        yield f"- mean similarity to the query: negatives {scores['negatives']:.3f}, positives {scores['positives']:.3f}"
    if verdicts := {name: count for name, count in summary["verdicts"].items() if count and name != "elsewhere"}:
        yield f"- verdicts of reviewers applied: {', '.join(f'{count:,} {name}' for name, count in verdicts.items())}"
    if judged := summary.get("judgements"):
        judges = sorted({each["judge"] for each in manifest.get("judgements", [])})
        done = [words.format(judged[name]) for name, words in _RELABELLED.items() if name in judged]
        said = f"{counted(judged['pairs'], 'pair')} graded by a judge ({', '.join(map(_name, judges))}), {judged['relevant']:,} relevant"
        yield f"- {', '.join([said, *done])}"
    rate = summary["estimated_fn_rate"]
    if rate is None:
        yield "- estimated false-negative rate: not computed"
    else:
        yield f"- estimated false-negative rate: {FNRate(**rate)} of the negatives; a model's estimate, not a measurement"
    yield ""


def _reproduction(manifest: Mapping[str, Any]) -> Iterator[str]:
    if not manifest:
        return
    version = manifest.get("versions", {}).get("hnmine")
    yield from ("## How to reproduce", "")
    yield (
        f"hnmine{f' {version}' if version else ''} writes the same data files from the same inputs, weights and settings. They are in the "
        "manifest that it writes beside this folder:"
    )
    yield from ("", "```bash", "python -m hnmine mine --from_manifest FOLDER.manifest.json --output_file again", "```", "")
    yield "The same settings in full:"
    kept = {name: value for name, value in manifest["settings"].items() if name in ("selection", "retrievers", "pool_mode", "dev_share")}
    yield from ("", "```json", msgspec.json.format(msgspec.json.encode(kept)).decode(), "```", "")


def _name(name: object) -> str:
    """Return a name of a model or a file, without the folders of a path; hub names keep their owner."""
    text = str(name)
    path = PurePath(text)
    local = path.is_absolute() or len(path.parts) > 2 or text.startswith(("~", ".")) or "\\" in text
    return _code(text.replace("\\", "/").rstrip("/").rpartition("/")[2] if local else text)


def _code(text: str) -> str:
    """Return a text of the data as code in a cell of a table."""
    shown = shortened(text).replace("`", "'").replace("|", "/")
    return f"`{shown}`"


CARD = "README.md"
_DATA = "data-00000-of-00001.arrow"
# What this module and the caches of `datasets` write into such a folder; nothing else is ever replaced.
_OWN = re.compile(r"README\.md|dataset_dict\.json|(train|dev)(/([\w.-]+\.arrow|dataset_info\.json|state\.json))?")
# Characters of a batch of rows.
_BATCH = 2**24


def check_replaceable(path: Path) -> None:
    """Check that a folder may be written at `path`: nothing is there, an empty folder, or a data set of this kind.

    Raises:
        SettingsError: a file is there, or a folder with other files, which would be lost.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise SettingsError(f"{path} is a file, and output_format datasets writes a folder; name another folder, or remove the file")
    names = sorted(each.relative_to(path).as_posix() for each in path.rglob("*"))
    foreign = [name for name in names if not _OWN.fullmatch(name)]
    if foreign or (names and "dataset_dict.json" not in names):
        raise SettingsError(f"the folder {path} holds other files ({(foreign or names)[0]}), which would be lost; name a new folder")


def dataset_files(part: ExportPart, manifest: Mapping[str, Any]) -> dict[str, Iterable[bytes]]:
    """Return the files of the folder by their paths in it, each written as it is read; they must be read in this order.

    Args:
        part: the rows; with `dev` there is a split dev beside train.
        manifest: of the run, for the card; may be empty.
    """
    schema = _schema(part)
    splits: dict[str, Bools | None] = {"train": part.queries} if part.dev is None else {"train": ~part.dev, "dev": part.dev}
    if part.dev is not None and part.queries is not None:
        splits = {name: queries & part.queries for name, queries in splits.items() if queries is not None}
    counts: dict[str, int] = {}
    files: dict[str, Iterable[bytes]] = {"dataset_dict.json": [_json({"splits": list(splits)})]}
    for name, queries in splits.items():
        digest = hashlib.sha256()
        files[f"{name}/{_DATA}"] = _table(part, schema, queries, name, counts, digest)
        files[f"{name}/dataset_info.json"] = [_json({"citation": "", "description": "", "features": _features(schema), "homepage": "",
                                                     "license": ""})]  # fmt: skip
        files[f"{name}/state.json"] = _state(name, digest)
    files[CARD] = _card(manifest, counts, schema)
    return files


def zipped_folder(folder: Path, name: str) -> Iterator[bytes]:
    """Yield the bytes of a zip archive with the files of a folder, below `name`."""

    def chunks(path: Path) -> Iterator[bytes]:
        with path.open("rb") as file:
            while block := file.read(2**20):
                yield block

    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return zipped({f"{name}/{path.relative_to(folder).as_posix()}": chunks(path) for path in paths})


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2).encode()


def _card(manifest: Mapping[str, Any], counts: dict[str, int], schema: Any) -> Iterator[bytes]:
    yield dataset_card(manifest, counts, schema.names).encode()


def _state(split: str, digest: Any) -> Iterator[bytes]:
    yield _json(
        {
            "_data_files": [{"filename": _DATA}],
            "_fingerprint": digest.hexdigest()[:16],
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": split,
        }
    )


def _features(schema: Any) -> dict[str, Any]:
    import datasets  # type: ignore[import-untyped]

    found: dict[str, Any] = datasets.Features.from_arrow_schema(schema).to_dict()
    return found


def _schema(part: ExportPart) -> Any:
    """Return the columns: query, pos and neg, scores, and the other fields that have one type; those without go to `part.untyped`."""
    import pyarrow as pa

    texts, numbers = pa.list_(pa.string()), pa.list_(pa.float32())
    columns = {"query": pa.string(), "pos": texts, "neg": texts}
    if part.with_scores:
        columns |= {"pos_scores": numbers, "neg_scores": numbers}
    part.untyped.clear()
    for name in dict.fromkeys(name for row in part.rows for name in row.fields):
        if name in columns or name in ("pos_scores", "neg_scores"):  # those of the input belong to the negatives that are replaced
            continue
        kind = _type([row.fields.get(name) for row in part.rows])
        if kind is None:
            part.untyped.append(name)
        else:
            columns[name] = kind
    return pa.schema(list(columns.items()))


def _type(found: list[msgspec.Raw | None]) -> Any:
    """Return the type of a column that gives every value back as it was; None if there is none."""
    import pyarrow as pa

    try:
        values = [None if raw is None else msgspec.json.decode(raw) for raw in found]
        column = pa.array(values)
    except (ValueError, TypeError, OverflowError, pa.ArrowException):
        return None
    return column.type if column.to_pylist() == values else None


def _table(part: ExportPart, schema: Any, queries: Bools | None, name: str, counts: dict[str, int], digest: Any) -> Iterator[bytes]:
    """Yield the rows of a split as an Arrow stream, with the features of `datasets` in its metadata."""
    import pyarrow as pa

    about = {"info": {"features": _features(schema)}}
    described = schema.with_metadata({"huggingface": json.dumps(about)})
    sink = Buffer()

    def taken() -> bytes:
        found = sink.taken()
        digest.update(found)
        return found

    counts[name] = 0
    with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), described) as writer:
        rows: list[dict[str, Any]] = []
        held = 0
        for line in flagembedding_lines(part.rows, part.corpus, part.selection, scores=part.scores, queries=queries):
            row = msgspec.json.decode(line)
            rows.append(row)
            held += len(line)
            counts[name] += 1
            part.written += 1
            part.counts["without"] += not row["neg"]
            if held >= _BATCH:
                writer.write_batch(pa.RecordBatch.from_pylist(rows, schema))
                yield taken()
                rows, held = [], 0
        if rows:
            writer.write_batch(pa.RecordBatch.from_pylist(rows, schema))
    yield taken()
