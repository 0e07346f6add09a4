"""The table of the command line's flags, and the way between flags and settings.

One table, FLAGS, says which flag sets which field of `MineSettings`. The parser, its help, the settings of a run and
`command_line` (the way back, from settings to flags, which the app shows) are all made from it, so a setting cannot be
in one of them and missing in another. The names are those of FlagEmbedding's scripts/hn_mine.py where it has them.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from hnmine.checks.kinds import OUTPUT_REPAIRS, TRAINERS
from hnmine.core.errors import SettingsError
from hnmine.data.columns import columns_from
from hnmine.data.problems import REPAIRS, repairs_from
from hnmine.export.formats import FORMATS
from hnmine.models.cards import MODEL_CLASSES, PACKAGED_NAME, PRECISIONS, ModelSettings
from hnmine.models.reranker import RERANKER_CLASSES, RerankerSettings
from hnmine.retrieval.retrievers import RETRIEVERS, second_model_settings
from hnmine.runs.mine import SCORE_SOURCES, MineSettings
from hnmine.selection.presets import PRESETS, with_preset
from hnmine.selection.settings import POSITIVE_SCORES, SelectionSettings, parse_window

__all__ = ["CACHE_FLAGS", "CHECK_FLAGS", "FLAGS", "REPRODUCE_WITH", "Flag", "command_line", "preset_defaults", "settings_from"]

DEFAULTS = MineSettings(model=ModelSettings())


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag: `name` as hn_mine.py spells it, and the field of MineSettings it sets ("model.devices"; "" for none).

    `kind` is how its text is read. A "template" is an instruction's format, in which `\\n` stands for a new line; "columns" are words
    such as `query=question`.
    `fallback` counts when a flag that sets no field is not given.
    """

    name: str
    setting: str
    kind: Literal["text", "template", "switch", "integer", "number", "window", "list", "size", "columns"]
    help: str
    metavar: str = ""
    choices: tuple[str, ...] = ()
    fallback: Any = None

    @property
    def default(self) -> Any:
        """What counts when the flag is not given."""
        return _value(DEFAULTS, self) if self.setting else self.fallback


FLAGS: dict[str, tuple[Flag, ...]] = {
    "files": (
        Flag("input_file", "", "text", "training rows with query, pos and, if wanted, neg: JSON lines (also gzip, "
             "Zstandard), JSON array, Parquet, CSV, TSV, or a BEIR folder or zip", "FILE"),
        Flag("output_file", "", "text", "where to write the rows with their mined negatives; replaced whole or not at all", "FILE"),
        Flag("candidate_pool", "", "text", "passages that may become negatives, as JSON lines with a text, the other "
             "formats, or plain text with a passage a line", "FILE"),
        Flag("pool_mode", "pool_mode", "text", "extend: the pool joins the rows' own passages; replace: it is ranked alone, as "
             "hn_mine.py does", choices=("extend", "replace")),
        Flag("columns", "columns", "columns", "which columns hold what, where their names do not tell: query=question pos=answer "
             "neg=wrong_1,wrong_2 text=body; qrels=dev names the verdict_pairs of a BEIR data set", "PART=NAME"),
        Flag("manifest_file", "", "text", "where to write the manifest (settings, versions, fingerprints and counts as JSON); left out: "
             "beside the output, out.manifest.json for out.jsonl", "FILE"),
        Flag("no_manifest", "", "switch", "write no manifest", fallback=False),
        Flag("from_manifest", "", "text", "do the run of a manifest again: the same files, weights, settings and verdicts, the same bytes",
             "FILE"),
    ),
    "which negatives": (
        Flag("range_for_sampling", "selection.window", "window", "ranks to take negatives from, counted from 0", "START-END"),
        Flag("negative_number", "selection.negative_number", "integer", "negatives for each row", "N"),
        Flag("preset", "", "text", "a way to choose that has a name; flags given beside it change it: "
             + "; ".join(f"{name}: {preset.label}" for name, preset in PRESETS.items()), choices=tuple(PRESETS)),
        Flag("strategy", "selection.strategy", "text", "random: drawn by seed from the window; hardest: the most similar first",
             choices=("random", "hardest")),
        Flag("seed", "selection.seed", "integer", "the same seed gives the same negatives", "N"),
        Flag("retrievers", "retrievers", "list", "who ranks the candidates: model, bm25, second_model; of several, reciprocal-rank fusion "
             "makes one list", "RETRIEVER", choices=RETRIEVERS),
        Flag("reviews", "", "text", "verdicts of a review, JSONL as the app exports it: what was dropped is never chosen again, what was "
             "promoted joins pos, what was kept comes first", "FILE"),
    ),
    "guards against false negatives": (
        Flag("max_score", "selection.max_score", "number", "reject candidates more similar to the query than this", "X"),
        Flag("min_score", "selection.min_score", "number", "reject candidates less similar to the query than this", "X"),
        Flag("max_positive_ratio", "selection.max_positive_ratio", "number",
             "reject candidates above this share of the positive's score (0.95 in NV-Retriever)", "X"),
        Flag("margin", "selection.margin", "number", "reject candidates that come closer than this below the positive's score", "X"),
        Flag("positive_score", "selection.positive_score", "text", "which score stands for several positives there: ranked (mean of those that are as "
             "near as the window), mean, min, max", choices=POSITIVE_SCORES),
        Flag("max_positive_similarity", "selection.max_positive_similarity", "number", "reject candidates more similar than this to a positive passage", "X"),
        Flag("max_positive_similarity_ratio", "selection.max_positive_similarity_ratio", "number",
             "reject candidates whose similarity to a positive is above this share of the positive's to the query", "X"),
        Flag("max_overlap", "selection.max_overlap", "number",
             "reject near duplicates of a positive: candidates that share more than this part of their three-word runs", "X"),
        Flag("reranker_margin", "selection.reranker_margin", "number",
             "reject candidates that the reranker does not score so much below the positive; 0: above it", "X"),
        Flag("max_fn_probability", "selection.max_fn_probability", "number",
             "reject candidates whose estimated chance to be false negatives is above this", "P"),
        Flag("max_fn_rate", "selection.max_fn_rate", "number",
             "with --strategy hardest: the hardest of which, by that estimate, at most this share is false", "P"),
    ),
    "bad rows and output": (
        Flag("repair", "repair", "list", "kinds of faults to mend: " + "; ".join(f"{kind} ({how})" for kind, how in REPAIRS.items())
             + "; all", "KIND", choices=(*REPAIRS, "all")),
        Flag("skip_bad_rows", "skip_bad_rows", "switch", "leave bad rows out instead of stopping"),
        Flag("output_format", "output_format", "text", "what to write, and for which trainer", choices=tuple(FORMATS)),
        Flag("dev_share", "dev_share", "number", "part of the queries that goes to a file of its own beside the output, such as 0.05", "X"),
        Flag("repair_output", "repair_output", "list", "faults that FlagEmbedding's trainer trips over, to mend in what is written: "
             + "; ".join(f"{kind} ({how})" for kind, how in OUTPUT_REPAIRS.items()) + "; all", "KIND", choices=(*OUTPUT_REPAIRS, "all")),
        Flag("with_scores", "with_scores", "switch", "write pos_scores and neg_scores"),
        Flag("score_source", "score_source", "text", "whose scores: model, similarities of the mining model; reranker, its raw logits, "
             "for distillation", choices=SCORE_SOURCES),
        Flag("json", "", "switch", "print the closing summary as JSON", fallback=False),
        Flag("quiet", "", "switch", "show no progress", fallback=False),
    ),
    "embedding model": (
        Flag("embedder_name_or_path", "model.name_or_path", "text",
             f"hub name or folder; left out: the packaged {PACKAGED_NAME}, which needs no network", "NAME"),
        Flag("second_embedder_name_or_path", "second_model", "text",
             f"a second model, hub name or folder (the packaged one: {PACKAGED_NAME}); its similarities become a signal, and it may rank",
             "NAME"),
        Flag("embedder_model_class", "model.model_class", "text", "FlagEmbedding's class of model; left out: found out",
             choices=MODEL_CLASSES),
        Flag("pooling_method", "model.pooling_method", "text", "left out: as the model's folder says",
             choices=("cls", "mean", "last_token")),
        Flag("normalize_embeddings", "model.normalize_embeddings", "switch", "scale vectors to length 1, so that scores are cosines"),
        Flag("query_instruction_for_retrieval", "model.query_instruction", "text",
             'put before each query; left out: as the model was trained; "" for none', "TEXT"),
        Flag("query_instruction_format_for_retrieval", "model.query_instruction_format", "template",
             "how instruction and query are joined; two {}, and \\n for a new line; left out: {}{}", "FORMAT"),
        Flag("passage_instruction_for_retrieval", "model.passage_instruction", "text", "the same for passages", "TEXT"),
        Flag("passage_instruction_format_for_retrieval", "model.passage_instruction_format", "template", "the same for passages",
             "FORMAT"),
        Flag("examples_for_task", "model.examples_for_task", "text",
             "for decoder-only-icl: JSON list of objects with instruct, query and response", "JSON"),
        Flag("examples_instruction_format", "model.examples_instruction_format", "template", "for decoder-only-icl", "FORMAT"),
        Flag("embedder_query_max_length", "model.query_max_length", "integer", "tokens; left out: as the model's folder says", "N"),
        Flag("embedder_passage_max_length", "model.passage_max_length", "integer", "tokens; left out: as the model's folder says", "N"),
        Flag("trust_remote_code", "model.trust_remote_code", "switch", "run code that comes with the model"),
        Flag("cache_dir", "model.cache_dir", "text", "where models from the hub are kept", "FOLDER"),
    ),
    "reranker": (
        Flag("reranker_name_or_path", "reranker.name_or_path", "text", "hub name or folder of a cross-encoder that scores the candidates; "
             "left out: none. --devices, --precision, --trust_remote_code and --cache_dir are for it too", "NAME"),
        # No choices: the settings say why FlagEmbedding's two others are refused.
        Flag("reranker_model_class", "reranker.model_class", "text",
             f"FlagEmbedding's class of reranker: {' or '.join(RERANKER_CLASSES)}; left out: found out", "CLASS"),
        Flag("rerank_top_k", "reranker.depth", "integer", "candidates scored of each query; left out: to the end of the rank window", "N"),
        Flag("reranker_max_length", "reranker.max_length", "integer", "tokens of a pair; left out: 512", "N"),
        Flag("reranker_batch_size", "reranker.batch_size", "integer", "most pairs in one batch; left out: a budget of tokens", "N"),
        Flag("query_instruction_for_rerank", "reranker.query_instruction", "text", "put before each query", "TEXT"),
        Flag("passage_instruction_for_rerank", "reranker.passage_instruction", "text", "put before each passage", "TEXT"),
    ),
    "devices and speed": (
        Flag("devices", "model.devices", "list", "such as cpu, or cuda:0 cuda:1; left out: the first GPU, else the CPU", "DEVICE"),
        Flag("precision", "model.precision", "text", "auto: half precision where the device is faster in it (fp16 on a GPU, bf16 on a "
             "CPU that has it), else fp32", choices=PRECISIONS),
        Flag("use_fp16", "", "switch", "as in hn_mine.py: false stands for --precision fp32", fallback=True),
        Flag("batch_size", "model.batch_size", "integer", "most texts in one batch; left out: as many as fit a budget of tokens", "N"),
        Flag("use_gpu_for_searching", "use_gpu", "switch", "search on a GPU where there is one"),
        Flag("memory_budget", "", "size", "working memory of the search, such as 2GB; left out: a quarter of what is free", "SIZE"),
        Flag("store", "", "text", "where vectors are kept, so that no text is encoded twice; left out: vectors/ in HNMINE_HOME or "
             "./workspace", "FOLDER"),
        Flag("no_store", "", "switch", "keep no vectors: encode everything anew", fallback=False),
        Flag("search_batch_size", "", "integer", "taken but without effect: one call searches thousands of queries", "N"),
    ),
}  # fmt: skip
_SETTING_FLAGS = tuple(flag for flags in FLAGS.values() for flag in flags if flag.setting)
CACHE_FLAGS = (
    Flag("store", "", "text", "the folder; left out: vectors/ in HNMINE_HOME or ./workspace", "FOLDER"),
    Flag("limit", "", "size", "prune: keep at most this much, the last used", "SIZE"),
    Flag("older_than", "", "number", "prune: remove what was not used for so many days", "DAYS"),
    Flag("everything", "", "switch", "prune: remove all", fallback=False),
    Flag("json", "", "switch", "print what is kept as JSON", fallback=False),
)
# What --from_manifest may be combined with: where things are and how the run is told of, not what is done.
REPRODUCE_WITH = ("input_file", "output_file", "candidate_pool", "manifest_file", "no_manifest", "from_manifest", "embedder_name_or_path",
                  "second_embedder_name_or_path", "reranker_name_or_path", "devices", "memory_budget", "store", "no_store", "json",
                  "quiet")  # fmt: skip
# Settings of the model that are the reranker's too, as in FlagEmbedding's scripts: one flag sets both.
SHARED = ("devices", "precision", "trust_remote_code", "cache_dir")
_NO_RERANKER = {field.name: None if field.required else field.default for field in msgspec.structs.fields(RerankerSettings)}
CHECK_FLAGS = (
    Flag("trainer", "", "list", f"whose reading to simulate: {', '.join(TRAINERS)}; left out: all", "TRAINER", choices=tuple(TRAINERS)),
    Flag("negative_number", "", "integer", "negatives that each row should have; left out: as many as most rows have, at most 7", "N"),
    Flag("columns", "", "columns", "which columns hold what, as for mining", "PART=NAME"),
    Flag("embedder_name_or_path", "", "text", f"whose tokenizer counts lengths; left out: the packaged {PACKAGED_NAME}", "NAME"),
    Flag("embedder_query_max_length", "", "integer", "tokens; left out: as the model's folder says", "N"),
    Flag("embedder_passage_max_length", "", "integer", "tokens; left out: as the model's folder says", "N"),
    Flag("no_lengths", "", "switch", "count no tokens: quicker", fallback=False),
    Flag("repair", "", "list", "what to mend, into --output_file: " + "; ".join(f"{kind} ({how})" for kind, how in OUTPUT_REPAIRS.items())
         + "; all", "KIND", choices=(*OUTPUT_REPAIRS, "all")),
    Flag("output_file", "", "text", "where to write the mended rows; replaced whole or not at all", "FILE"),
    Flag("json", "", "switch", "print the report as JSON", fallback=False),
    Flag("quiet", "", "switch", "show no progress", fallback=False),
)  # fmt: skip
_ALWAYS_SHOWN = ("range_for_sampling", "negative_number", "seed")


def _value(settings: MineSettings, flag: Flag) -> Any:
    """The value that `settings` holds for a flag, as the parser would give it."""
    if flag.kind == "window":
        return f"{settings.selection.window_start}-{settings.selection.window_end}"
    part, _, name = flag.setting.rpartition(".")
    if part == "reranker" and settings.reranker is None:
        return _NO_RERANKER[name]
    parts = {"": settings, "selection": settings.selection, "model": settings.model or ModelSettings(), "reranker": settings.reranker}
    value = getattr(parts[part], name)
    if name == "second_model":
        return None if value is None else value.name_or_path or PACKAGED_NAME
    return value.words() if flag.kind == "columns" else value


def preset_defaults(name: str) -> dict[str, Any]:
    """Return what a preset makes the defaults of the flags that it sets, by their names.

    Raises:
        SettingsError: there is no such preset.
    """
    settings = msgspec.structs.replace(DEFAULTS, selection=with_preset(name, DEFAULTS.selection))
    return {flag.name: _value(settings, flag) for flag in _SETTING_FLAGS if flag.setting.startswith("selection.")}


def settings_from(arguments: argparse.Namespace) -> MineSettings:
    """Return the settings that parsed flags stand for.

    Raises:
        SettingsError: a value is out of range, or two contradict each other.
    """
    values: dict[str, dict[str, Any]] = {"": {}, "selection": {}, "model": {}, "reranker": {}}
    for flag in _SETTING_FLAGS:
        part, _, name = flag.setting.rpartition(".")
        value = getattr(arguments, flag.name)
        if flag.kind == "window":
            values[part]["window_start"], values[part]["window_end"] = parse_window(value)
        elif flag.kind == "columns":
            values[part][name] = columns_from(value)
        else:
            values[part][name] = tuple(value) if isinstance(value, list) else value
    values[""]["repair"] = tuple(sorted(repairs_from(values[""]["repair"])))
    values[""]["repair_output"] = tuple(sorted(repairs_from(values[""]["repair_output"], OUTPUT_REPAIRS)))
    if not arguments.use_fp16:
        if values["model"]["precision"] == "fp16":
            raise SettingsError("--precision fp16 and --use_fp16 false contradict each other; leave one of them out")
        if values["model"]["precision"] == "auto":
            values["model"]["precision"] = "fp32"
    model = ModelSettings(**values["model"])
    values[""]["second_model"] = second_model_settings(model, values[""]["second_model"])
    return MineSettings(
        selection=SelectionSettings(**values["selection"]),
        model=model,
        reranker=_reranker(values["reranker"], {name: values["model"][name] for name in SHARED}),
        **values[""],
    )


def _reranker(own: dict[str, Any], shared: dict[str, Any]) -> RerankerSettings | None:
    if own["name_or_path"] is not None:
        return RerankerSettings(**own, **shared)
    for flag in FLAGS["reranker"]:
        if own[flag.setting.removeprefix("reranker.")] is not None:
            raise SettingsError(f"--{flag.name} is for a reranker, and there is none; name it with --reranker_name_or_path")
    return None


def command_line(
    settings: MineSettings,
    *,
    input_file: str | os.PathLike[str],
    candidate_pool: str | os.PathLike[str] | None,
    output_file: str | os.PathLike[str],
    reviews: str | os.PathLike[str] | None = None,
) -> list[str]:
    """Return the arguments, `python -m hnmine mine ...`, that do a run with these settings; `shlex.join` makes a line of them.

    Settings at their defaults are left out, except window, number and seed. `settings.model` None stands for the packaged
    model. Of a second model its name alone is said: the rest is taken to be as `retrievers.second_model_settings` makes it; and what is in SHARED is
    said once, by the embedding model's. A backslash before an n in an instruction's format cannot be said: there it means a new line, as
    in hn_mine.py.
    """
    line = ["python", "-m", "hnmine", "mine"]

    def add(name: str, value: str) -> None:
        # "--seed -1" would do, "--margin -1e-05" or an instruction that begins with a dash would be taken for a flag.
        line.extend([f"--{name}={value}"] if value.startswith("-") else [f"--{name}", value])

    add("input_file", os.fspath(input_file))
    if candidate_pool is not None:
        add("candidate_pool", os.fspath(candidate_pool))
    add("output_file", os.fspath(output_file))
    if reviews is not None:
        add("reviews", os.fspath(reviews))
    for flag in _SETTING_FLAGS:
        value = _value(settings, flag)
        if value == flag.default and flag.name not in _ALWAYS_SHOWN:
            continue
        if flag.kind == "switch":
            line += [f"--{flag.name}"] if value else [f"--{flag.name}", "false"]
        elif flag.kind in ("list", "columns"):
            line += [f"--{flag.name}", *(["all"] if flag.name == "repair" and set(value) == REPAIRS.keys() else value)]
        else:
            add(flag.name, str(value).replace("\n", "\\n") if flag.kind == "template" else str(value))
    return line
