"""The card (README.md) of a data set folder: what was mined from what, with which settings and counts, and how to reproduce it.

Written from the run's manifest. Its head is the metadata that the Hugging Face hub reads, so `datasets.load_dataset` finds the splits.
The card may become public: names of inputs and models are shown without their folders. It has no time stamp and no timings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import msgspec

from hnmine.core.text import counted, shortened
from hnmine.selection.filters import FILTERS
from hnmine.selection.fn_model import FNRate
from hnmine.selection.targets import TARGETS

__all__ = ["dataset_card", "size_category"]

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
