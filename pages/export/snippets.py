"""The same export in other ways: the four calls of the library, and the line that loads the file in a trainer."""

from __future__ import annotations

import json
import shlex
from typing import Any

import msgspec

from hnmine.export.formats import Format
from hnmine.models.cards import ModelSettings
from hnmine.retrieval.retrievers import MODEL_ALONE
from hnmine.runs.mine import MineSettings
from hnmine.selection.presets import PRESETS, with_preset
from hnmine.selection.settings import SelectionSettings

__all__ = ["loader", "python"]

DEPTH = 300  # the default of `hnmine.rank`


def python(
    settings: MineSettings, *, input_file: str, pool: str | None, output_file: str, verdicts: str | None, judgements: str | None = None
) -> str:
    """Return the four calls of the library that write the same bytes."""
    select = settings.selection
    depth = max(DEPTH, select.window_end, (settings.reranker.depth or 0) if settings.reranker else 0)
    rank = {
        "model": None if settings.model in (None, ModelSettings()) else settings.model,
        "depth": None if depth == DEPTH else depth,
        "query_prompt_field": settings.query_prompt_field,
        "retrievers": None if settings.retrievers == MODEL_ALONE else settings.retrievers,
        "second_model": settings.second_model,
        "reranker": settings.reranker,
        "index": None if settings.index == "exact" else settings.index,
    }
    read = {
        "pool": pool,
        "pool_mode": None if settings.pool_mode == "extend" or pool is None else settings.pool_mode,
        "columns": settings.columns.words() or None,
        "repair": settings.repair or None,
        "on_bad_rows": "skip" if settings.skip_bad_rows else None,
    }
    write = {
        "format": settings.output_format,
        "scores": settings.score_source if settings.with_scores else None,
        "dev_share": settings.dev_share or None,
    }
    judged = {
        "verdicts": verdicts,
        "judgements": judgements,
        "relabel": None if settings.relabel == "keep" else settings.relabel,
        "relevant_from": None if settings.relabel == "keep" or settings.relevant_from == 2 else settings.relevant_from,
    }
    lines = [
        "import hnmine",
        "",
        f"data = hnmine.read({_arguments([input_file], read)})",
        f"ranking = hnmine.rank({_arguments(['data'], rank, names=1)})",
        f"negatives = ranking.select({_selected(select, judged)})",
        f"negatives.write({_arguments([output_file], write)})",
    ]
    if settings.repair_output:
        repaired = output_file.replace(".jsonl", ".repaired.jsonl")
        lines.append(f"hnmine.repair({output_file!r}, {repaired!r}, {list(settings.repair_output)!r})")
    return "\n".join(lines)


def _selected(settings: SelectionSettings, judged: dict[str, Any]) -> str:
    """Return the arguments of `select`: the preset that leaves the fewest others, and these."""
    shortest: str | None = None
    for preset in (None, *PRESETS):
        before = SelectionSettings() if preset is None else with_preset(preset, SelectionSettings())
        changed = {
            field: getattr(settings, field)
            for field in settings.__struct_fields__
            if getattr(settings, field) != getattr(before, field) and field not in ("window_start", "window_end", "negative_number")
        }
        window = (settings.window_start, settings.window_end)
        named = {
            "n": settings.negative_number,
            "window": None if window == (before.window_start, before.window_end) else window,
            **judged,
        }
        text = _arguments([] if preset is None else [preset], named | changed, keep=tuple(changed))
        if shortest is None or len(text) < len(shortest):
            shortest = text
    return shortest or ""


def _arguments(first: list[str], named: dict[str, Any], *, names: int = 0, keep: tuple[str, ...] = ()) -> str:
    """Return arguments as source; the first `names` are names. A value of None is left out unless it is in `keep`."""
    parts = [each if place < names else repr(each) for place, each in enumerate(first)]
    parts += [f"{name}={_literal(value)}" for name, value in named.items() if value is not None or name in keep]
    return ", ".join(parts)


def _literal(value: Any) -> str:
    if isinstance(value, msgspec.Struct):
        defaults = {field.name: field.default for field in msgspec.structs.fields(value)}
        changed = {name: held for name in value.__struct_fields__ if (held := getattr(value, name)) != defaults[name]}
        return f"hnmine.{type(value).__name__}({_arguments([], changed, keep=tuple(changed))})"
    return repr(list(value)) if isinstance(value, tuple) and not all(isinstance(each, int) for each in value) else repr(value)


def loader(form: Format, name: str) -> str:
    """Return how the trainers of a format read the file."""
    if form.family.startswith("st-"):
        kind = "parquet" if form.suffix == ".parquet" else "json"
        return (
            f'from datasets import load_dataset\n\ntrain_dataset = load_dataset("{kind}", data_files={name!r}, split="train")\n'
            "# trainer = SentenceTransformerTrainer(model, train_dataset=train_dataset, loss=loss)"
        )
    quoted = json.dumps(name, ensure_ascii=False) if form.family in _IN_PYTHON else shlex.quote(name)
    return _LOADERS[form.family].format(name=quoted)


_IN_PYTHON = ("datasets", "msmarco", "csv")
# Family -> template. Triples have no quotes.
_LOADERS = {
    "flagembedding": "torchrun --nproc_per_node 1 -m FlagEmbedding.finetune.embedder.encoder_only.base \\\n"
    "  --train_data {name} --train_group_size 8 --model_name_or_path MODEL --output_dir OUTPUT",
    "ms-swift": "swift sft --model MODEL --task_type embedding --loss_type infonce --dataset {name}",
    "dpr": "python train_dense_encoder.py train_datasets=[{name}]",
    "datasets": 'from datasets import load_from_disk\n\ntrain_dataset = load_from_disk({name})["train"]',
    "tevatron": "python -m tevatron.retriever.driver.train --dataset_name json --dataset_path {name} --output_dir OUTPUT",
    "beir": "from beir.datasets.data_loader import GenericDataLoader\n\n# after: unzip {name} -d data\n"
    'corpus, queries, qrels = GenericDataLoader("data").load(split="train")',
    "msmarco": 'from datasets import load_dataset\n\ntrain_dataset = load_dataset("csv", data_files={name}, sep="\\t", quoting=3,\n'
    '                             column_names=["query", "positive", "negative"], split="train")',
    "csv": "import pandas as pd\n\nframe = pd.read_csv({name})",
}
