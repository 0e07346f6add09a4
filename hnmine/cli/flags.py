"""The flags of the command line, and their conversion to settings and back.

FLAGS maps each flag to a field of `MineSettings`. The parser, its help, the settings of a run and `command_line` (which the app shows) are
made from it, so that no setting can be missing in one of them. The flags of the filters come from `selection.filters`. Names are those of
FlagEmbedding's scripts/hn_mine.py where it has them.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import msgspec

from hnmine.checks.kinds import OUTPUT_REPAIRS, TRAINERS
from hnmine.cli.flag import (
    DEFAULTS,
    REPRODUCE_WITH_SERVERS,
    SERVER_FLAGS,
    SHARED,
    Flag,
    refuse_flags_of_loaded_models,
    server_words,
    servers_of,
    unused,
    value_of,
)
from hnmine.core.errors import SettingsError
from hnmine.data.columns import Columns, columns_from
from hnmine.data.folders import Paths
from hnmine.data.problems import REPAIRS, repairs_from
from hnmine.export.formats import FORMATS
from hnmine.models.cards import MODEL_CLASSES, PACKAGED_NAME, PRECISIONS, ModelSettings
from hnmine.models.reranker import RERANKER_CLASSES, RerankerSettings
from hnmine.retrieval.approximate import INDEXES
from hnmine.retrieval.retrievers import RETRIEVERS, second_model_settings
from hnmine.review.relabelling import RELABELS
from hnmine.runs.settings import SCORE_SOURCES, MineSettings
from hnmine.selection.filters import FILTERS
from hnmine.selection.presets import PRESETS, with_preset
from hnmine.selection.settings import HARDNESS, MAX_FN_RATE, POSITIVE_SCORES, TARGETS, SelectionSettings, parse_window

__all__ = [
    "CACHE_FLAGS",
    "CHECK_FLAGS",
    "FLAGS",
    "JUDGE_FLAGS",
    "PUSH_FLAGS",
    "REPRODUCE_WITH",
    "WORKSPACE_FLAGS",
    "Flag",
    "command_line",
    "filter_table",
    "preset_defaults",
    "settings_from",
]

FLAGS: dict[str, tuple[Flag, ...]] = {
    "files": (
        Flag("input_file", "", "paths", "training rows with query, pos and, if any, neg, in any form of docs/guide.md: files, a "
             "folder, a zip archive, a pattern such as 'data/*.jsonl', or hf://datasets/OWNER/NAME; files with the texts of ids belong "
             "to it", "FILE"),
        Flag("output_file", "", "text", "where to write the rows with their mined negatives, a file or (output_format datasets) a folder; "
             "replaced as a whole or not at all", "FILE"),
        Flag("candidate_pool", "", "paths", "passages that may become negatives: JSON lines with a text, the other formats, or plain text "
             "with one passage per line", "FILE"),
        Flag("pool_mode", "pool_mode", "text", "extend: add the pool to the passages of the rows; replace: rank the pool only, as "
             "hn_mine.py does", choices=("extend", "replace")),
        Flag("columns", "columns", "columns", "which columns to read, if their names are not recognised: query=question pos=answer "
             "neg=wrong_1,wrong_2 text=body; split=dev and config=NAME choose a part of a data set", "PART=NAME"),
        Flag("positive_labels", "", "text", "of labelled pairs: the labels that make a passage positive, such as 3,4 or '>=3'; default: "
             "1, true, relevant and the like", "LABELS"),
        Flag("encoding", "", "text", "of text files that are not UTF-8, such as cp1252; default: detected, asked if it is a guess", "NAME"),
        Flag("manifest_file", "", "text", "where to write the manifest (settings, versions, fingerprints and counts as JSON); default: "
             "next to the output, out.manifest.json for out.jsonl", "FILE"),
        Flag("no_manifest", "", "switch", "write no manifest", fallback=False),
        Flag("from_manifest", "", "text", "repeat the run of a manifest: same files, weights, settings and verdicts, same bytes",
             "FILE"),
    ),
    "selection of negatives": (
        Flag("range_for_sampling", "selection.window", "window", "rank window from which negatives are taken, counted from 0", "START-END"),
        Flag("negative_number", "selection.negative_number", "integer", "negatives per row", "N"),
        Flag("preset", "", "text", "a named set of selection settings; flags override it: "
             + "; ".join(f"{name}: {preset.label}" for name, preset in PRESETS.items()), choices=tuple(PRESETS)),
        Flag("strategy", "selection.strategy", "text", "random: sample from the window by seed; hardest: take the highest similarities",
             choices=("random", "hardest")),
        Flag("seed", "selection.seed", "integer", "the same seed gives the same negatives", "N"),
        Flag("retrievers", "retrievers", "list", "retrievers of the candidates: model, bm25, second_model; several are combined by "
             "reciprocal-rank fusion", "RETRIEVER", choices=RETRIEVERS),
        Flag("reviews", "", "text", "verdicts as the app exports them (JSON lines): passages to remove are never chosen, passages to "
             "add as positives join pos, confirmed negatives are chosen first", "FILE"),
        Flag("judgements", "", "text", "grades of a judge as python -m hnmine judge writes them (JSON lines), for --judge_grade, --relabel "
             "and the estimate", "FILE"),
        Flag("relabel", "relabel", "text", "candidates that the judge calls relevant: keep changes nothing; drop: never a negative of the "
             "query, others take their place; promote: added to pos; leave_out: rows with such a negative are not written. Verdicts of "
             "people win", choices=RELABELS),
        Flag("relevant_from", "relevant_from", "integer", "the lowest grade that counts as relevant, for --relabel", "GRADE"),
    ),
    "false-negative filters": (
        *(Flag(each.name, f"selection.{each.name}", "number", each.action, each.metavar) for each in (*FILTERS.values(), MAX_FN_RATE)),
        Flag(HARDNESS.name, f"selection.{HARDNESS.name}", "text", HARDNESS.action, HARDNESS.metavar),
        Flag("positive_score", "selection.positive_score", "text", "which score represents several positives in the filters: in_window "
             "(mean of those that score at least as high as the last candidate of the window), mean, min, max", choices=POSITIVE_SCORES),
    ),
    "bad rows and output": (
        Flag("repair", "repair", "list", "problems of the input to repair: " + "; ".join(f"{kind} ({how})" for kind, how in REPAIRS.items())
             + "; all", "KIND", choices=(*REPAIRS, "all")),
        Flag("skip_bad_rows", "skip_bad_rows", "switch", "skip bad rows instead of stopping"),
        Flag("output_format", "output_format", "text", "format of the output, by trainer", choices=tuple(FORMATS)),
        Flag("dev_share", "dev_share", "number", "fraction of the queries to write to a separate dev file next to the output, such as 0.05",
             "X"),
        Flag("repair_output", "repair_output", "list", "problems for FlagEmbedding's trainer to repair in the output: "
             + "; ".join(f"{kind} ({how})" for kind, how in OUTPUT_REPAIRS.items()) + "; all", "KIND", choices=(*OUTPUT_REPAIRS, "all")),
        Flag("with_scores", "with_scores", "switch", "write pos_scores and neg_scores"),
        Flag("score_source", "score_source", "text", "scores to write: model (similarities of the mining model) or reranker (raw logits, "
             "for distillation)", choices=SCORE_SOURCES),
        Flag("json", "", "switch", "print the summary as JSON", fallback=False),
        Flag("quiet", "", "switch", "show no progress", fallback=False),
    ),
    "embedding model": (
        Flag("embedder_name_or_path", "model.name_or_path", "text",
             f"hub name or folder; default: the packaged {PACKAGED_NAME}, which needs no network", "NAME"),
        Flag("second_embedder_name_or_path", "second_model", "text",
             f"a second model, hub name or folder (the packaged one: {PACKAGED_NAME}); its similarities become a signal, and it can be a "
             "retriever", "NAME"),
        Flag("embedder_model_class", "model.model_class", "text", "FlagEmbedding's class of model; default: detected",
             choices=MODEL_CLASSES),
        Flag("pooling_method", "model.pooling_method", "text", "default: from the model's folder",
             choices=("cls", "mean", "last_token")),
        Flag("normalize_embeddings", "model.normalize_embeddings", "switch", "scale vectors to length 1, so that scores are cosines"),
        Flag("query_instruction_for_retrieval", "model.query_instruction", "text",
             'prefix of each query; default: the one that the model was trained with; "" for none', "TEXT"),
        Flag("query_instruction_format_for_retrieval", "model.query_instruction_format", "template",
             "how instruction and query are joined: two {}, and \\n for a new line; default: {}{}", "FORMAT"),
        Flag("query_prompt_field", "query_prompt_field", "text", "field of the rows with the instruction of each query, such as prompt, "
             "joined with the query in the model's format; default: one instruction for all", "FIELD"),
        Flag("passage_instruction_for_retrieval", "model.passage_instruction", "text", "the same for passages", "TEXT"),
        Flag("passage_instruction_format_for_retrieval", "model.passage_instruction_format", "template", "the same for passages",
             "FORMAT"),
        Flag("examples_for_task", "model.examples_for_task", "text",
             "for decoder-only-icl: JSON list of objects with instruct, query and response", "JSON"),
        Flag("examples_instruction_format", "model.examples_instruction_format", "template", "for decoder-only-icl", "FORMAT"),
        Flag("embedder_query_max_length", "model.query_max_length", "integer", "tokens; default: from the model's folder", "N"),
        Flag("embedder_passage_max_length", "model.passage_max_length", "integer", "tokens; default: from the model's folder", "N"),
        Flag("trust_remote_code", "model.trust_remote_code", "switch", "run code that comes with the model"),
        Flag("cache_dir", "model.cache_dir", "text", "folder of the models from the hub", "FOLDER"),
    ),
    "reranker": (
        Flag("reranker_name_or_path", "reranker.name_or_path", "text", "hub name or folder of a cross-encoder that scores the candidates; "
             "default: none. --devices, --precision, --trust_remote_code and --cache_dir apply to it too", "NAME"),
        # No choices: the settings explain why FlagEmbedding's two others are refused.
        Flag("reranker_model_class", "reranker.model_class", "text",
             f"FlagEmbedding's class of reranker: {' or '.join(RERANKER_CLASSES)}; default: detected", "CLASS"),
        Flag("rerank_top_k", "reranker.depth", "integer", "candidates per query to score; default: to the end of the rank window", "N"),
        Flag("reranker_max_length", "reranker.max_length", "integer", "tokens of a pair; default: 512", "N"),
        Flag("reranker_batch_size", "reranker.batch_size", "integer", "maximum pairs in a batch; default: limited by tokens", "N"),
        Flag("query_instruction_for_rerank", "reranker.query_instruction", "text", "prefix of each query", "TEXT"),
        Flag("passage_instruction_for_rerank", "reranker.passage_instruction", "text", "prefix of each passage", "TEXT"),
    ),
    "served models": SERVER_FLAGS,
    "devices and speed": (
        Flag("devices", "model.devices", "list", "such as cpu, or cuda:0 cuda:1, a process each; default: the first GPU, else the CPU",
             "DEVICE"),
        Flag("precision", "model.precision", "text", "auto: half precision where it is faster on the device (fp16 on a GPU, bf16 on a CPU "
             "that supports it), else fp32", choices=PRECISIONS),
        Flag("use_fp16", "", "switch", "as in hn_mine.py; false means --precision fp32", fallback=True),
        Flag("batch_size", "model.batch_size", "integer", "maximum texts in a batch; default: limited by tokens", "N"),
        Flag("use_gpu_for_searching", "use_gpu", "switch", "search on a GPU if there is one"),
        Flag("index", "index", "text", "exact: compare each query with all passages; ivf, hnsw, and cagra (on a GPU) are approximate, for "
             "millions of passages: their recall is measured and noted", choices=INDEXES),
        Flag("memory_budget", "", "size", "working memory of the search, such as 2GB; default: a quarter of the free memory", "SIZE"),
        Flag("store", "", "text", "folder of stored vectors, so that no text is encoded twice; default: vectors/ in HNMINE_HOME or "
             "./workspace", "FOLDER"),
        Flag("cluster", "", "text", "encode and search on a Ray cluster: local (workers on this machine), auto, or the address of the head "
             "node; the output has the same bytes. Needs hnmine[cluster]", "ADDRESS"),
        Flag("shared_store", "", "text", "folder or address (s3://bucket/folder) that all nodes of the cluster reach, for finished shards; "
             "default: a folder inside the store", "PATH|URL"),
        Flag("no_store", "", "switch", "store no vectors and encode everything again", fallback=False),
        Flag("search_batch_size", "", "integer", "accepted without effect: one call searches thousands of queries", "N"),
    ),
}  # fmt: skip
_SETTING_FLAGS = tuple(flag for flags in FLAGS.values() for flag in flags if flag.setting)
READ_FLAGS = (
    Flag("pool", "", "paths", "further passages, or the texts of the ids in FILE", "FILE"),
    *(flag for flag in FLAGS["files"] if flag.name in ("columns", "positive_labels", "encoding")),
    *(flag for flags in FLAGS.values() for flag in flags if flag.name in ("repair", "skip_bad_rows")),
    Flag("json", "", "switch", "print it as JSON, as a manifest has it", fallback=False),
)
JUDGE_FLAGS = (
    Flag("input_file", "", "paths", "mined rows with query, pos and neg, in any form that mine takes; their negatives are judged", "FILE"),
    Flag("output_file", "", "text", "where to write the judgements, a JSON object on each line; replaced as a whole or not at all", "FILE"),
    *(flag for flag in READ_FLAGS if flag.name in ("columns", "positive_labels", "encoding", "repair", "skip_bad_rows")),
    Flag("judge_model", "", "text", "the name by which the server knows the model", "NAME"),
    Flag("judge_server", "", "text", "address of a server that answers /v1/chat/completions, such as http://127.0.0.1:8000/v1", "ADDRESS"),
    Flag("judge_key_variable", "", "text", "environment variable with the key of the server, such as OPENAI_API_KEY; its name ends with "
         "_API_KEY, and the key is never stored", "NAME"),
    *(flag for flag in SERVER_FLAGS if flag.name in ("server_concurrency", "server_timeout")),
    Flag("prompt_file", "", "text", "another question than hnmine's, a text file with {query}, {positives} and {passage}", "FILE"),
    Flag("relevant_from", "", "integer", "the lowest grade that counts as relevant, 1 to 3", "GRADE", fallback=2),
    Flag("sample", "", "integer", "judge a random sample of so many pairs; default: all", "N"),
    Flag("seed", "", "integer", "of the sample; the same seed gives the same pairs", "N", fallback=42),
    Flag("max_calls", "", "integer", "ask nothing if more calls are needed", "N", fallback=2_000),
    Flag("max_tokens", "", "integer", "stop when the server has counted so many tokens, of questions and answers; what was judged is kept. "
         "Default: no limit", "N"),
    Flag("ask_again", "", "switch", "ask again about pairs that got no usable grade before", fallback=False),
    Flag("store", "", "text", "file that keeps the answers, so that nothing is asked twice; default: judgements.sqlite in HNMINE_HOME or "
         "./workspace", "FILE"),
    Flag("no_store", "", "switch", "keep no answers and ask everything again", fallback=False),
    Flag("dry_run", "", "switch", "print the number of calls and tokens, and ask nothing", fallback=False),
    Flag("json", "", "switch", "print the summary as JSON", fallback=False),
    Flag("quiet", "", "switch", "show no progress", fallback=False),
)  # fmt: skip
CACHE_FLAGS = (
    Flag("store", "", "text", "the folder; default: vectors/ in HNMINE_HOME or ./workspace", "FOLDER"),
    Flag("limit", "", "size", "prune: keep at most this much, the most recently used", "SIZE"),
    Flag("older_than", "", "number", "prune: delete vectors that were not used for this many days", "DAYS"),
    Flag("everything", "", "switch", "prune: delete all", fallback=False),
    Flag("json", "", "switch", "print the contents as JSON", fallback=False),
)
# Flags that may be combined with --from_manifest: they change where things are and what is shown, not what is mined.
REPRODUCE_WITH = ("input_file", "output_file", "candidate_pool", "manifest_file", "no_manifest", "from_manifest", "embedder_name_or_path",
                  "second_embedder_name_or_path", "reranker_name_or_path", "devices", "memory_budget", "store", "no_store", "cluster",
                  "shared_store", *REPRODUCE_WITH_SERVERS, "json",
                  "quiet")  # fmt: skip
CHECK_FLAGS = (
    Flag("trainer", "", "list", f"trainers to simulate: {', '.join(TRAINERS)}; default: those that read rows of this form", "TRAINER",
         choices=tuple(TRAINERS)),
    Flag("negative_number", "", "integer", "negatives that each row should have; default: as many as most rows have, at most 7", "N"),
    Flag("columns", "", "columns", "which columns to read, as for mine", "PART=NAME"),
    Flag("embedder_name_or_path", "", "text", f"model whose tokenizer counts lengths; default: the packaged {PACKAGED_NAME}", "NAME"),
    Flag("embedder_query_max_length", "", "integer", "tokens; default: from the model's folder", "N"),
    Flag("embedder_passage_max_length", "", "integer", "tokens; default: from the model's folder", "N"),
    Flag("no_lengths", "", "switch", "count no tokens, which is faster", fallback=False),
    Flag("repair", "", "list", "problems to repair in --output_file: "
         + "; ".join(f"{kind} ({how})" for kind, how in OUTPUT_REPAIRS.items()) + "; all", "KIND", choices=(*OUTPUT_REPAIRS, "all")),
    Flag("output_file", "", "text", "where to write the repaired rows; replaced as a whole or not at all", "FILE"),
    Flag("json", "", "switch", "print the report as JSON", fallback=False),
    Flag("quiet", "", "switch", "show no progress", fallback=False),
)  # fmt: skip
WORKSPACE_FLAGS = (
    Flag("vectors", "", "bare", "backup: include the vector store, which can be computed again; runs have their own vectors in any case",
         fallback=False),
    Flag("quiet", "", "bare", "show no progress", fallback=False),
)  # fmt: skip
PUSH_FLAGS = (Flag("private", "", "switch", "make a private repository; a public one with this name is refused", fallback=False),)
_ALWAYS_SHOWN = ("range_for_sampling", "negative_number", "seed")


def preset_defaults(name: str, *, by_hardness: bool = False) -> dict[str, Any]:
    """Return the defaults of the selection flags under a preset, by flag name; `by_hardness` leaves its `max_fn_rate` out.

    Raises:
        SettingsError: the preset is unknown.
    """
    settings = msgspec.structs.replace(DEFAULTS, selection=with_preset(name, DEFAULTS.selection))
    found = {flag.name: value_of(settings, flag) for flag in _SETTING_FLAGS if flag.setting.startswith("selection.")}
    return found | ({MAX_FN_RATE.name: None} if by_hardness else {})


def columns_of(arguments: argparse.Namespace) -> Columns:
    """Return the columns of parsed flags; `--positive_labels` and `--encoding` are parts of them.

    Raises:
        SettingsError: a part is malformed, or given twice.
    """
    own = {name: getattr(arguments, name) for name in ("positive_labels", "encoding")}
    return columns_from([*(arguments.columns or ()), *(f"{name}={value}" for name, value in own.items() if value is not None)])


def settings_from(arguments: argparse.Namespace) -> MineSettings:
    """Return the settings of parsed flags.

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
            values[part][name] = columns_of(arguments)
        else:
            values[part][name] = tuple(value) if isinstance(value, list) else value
    values[""]["repair"] = tuple(sorted(repairs_from(values[""]["repair"])))
    values[""]["repair_output"] = tuple(sorted(repairs_from(values[""]["repair_output"], OUTPUT_REPAIRS)))
    if not arguments.use_fp16:
        if values["model"]["precision"] == "fp16":
            raise SettingsError("--precision fp16 and --use_fp16 false contradict each other; remove one of them")
        if values["model"]["precision"] == "auto":
            values["model"]["precision"] = "fp32"
    servers = servers_of(arguments)
    if arguments.from_manifest is None:  # which has the names
        refuse_flags_of_loaded_models(arguments, servers, {flag.name: flag.default for flag in _SETTING_FLAGS})
    shared = {name: values["model"][name] for name in SHARED}
    loaded = ModelSettings(**values["model"])
    values[""]["second_model"] = second_model_settings(loaded, values[""]["second_model"], servers.get("second_model"))
    for part in ("model", "reranker"):
        values[part] |= shared if part not in servers else {"server": servers[part], **unused()}
    return MineSettings(
        selection=SelectionSettings(**values["selection"]),
        model=ModelSettings(**values["model"]),
        reranker=_reranker(values["reranker"]),
        **values[""],
    )


def _reranker(own: dict[str, Any]) -> RerankerSettings | None:
    if own["name_or_path"] is not None:
        return RerankerSettings(**own)
    for flag in FLAGS["reranker"]:
        if own[flag.setting.removeprefix("reranker.")] is not None:
            raise SettingsError(f"--{flag.name} needs a reranker; set --reranker_name_or_path")
    return None


def paths_of(given: list[str]) -> Paths:
    """Return the files of a flag: one path as it is, several as a list of paths."""
    return given[0] if len(given) == 1 else [Path(each) for each in given]


def command_line(
    settings: MineSettings,
    *,
    input_file: Paths,
    candidate_pool: Paths | None,
    output_file: str | os.PathLike[str],
    reviews: str | os.PathLike[str] | None = None,
    judgements: str | os.PathLike[str] | None = None,
) -> list[str]:
    """Return the arguments, `python -m hnmine mine ...`, of a run with these settings; join them with `shlex.join`.

    Defaults are omitted, except window, number and seed. A `settings.model` of None is the packaged model. A second model is given by name
    and server only, with the other settings of `retrievers.second_model_settings`; the flags in SHARED are those of the first loaded model,
    concurrency and timeout those of the first server. A backslash followed by n in the format of an instruction has no spelling: it means a
    new line, as in hn_mine.py.
    """
    line = ["python", "-m", "hnmine", "mine"]

    def add(name: str, value: str) -> None:
        # "--margin -1e-05", or an instruction that begins with a dash, would be parsed as a flag.
        line.extend([f"--{name}={value}"] if value.startswith("-") else [f"--{name}", value])

    for name, given in (("input_file", input_file), ("candidate_pool", candidate_pool)):
        if isinstance(given, str | os.PathLike):
            add(name, os.fspath(given))
        elif given is not None:
            line += [f"--{name}", *(os.fspath(each) for each in given)]
    add("output_file", os.fspath(output_file))
    if reviews is not None:
        add("reviews", os.fspath(reviews))
    if judgements is not None:
        add("judgements", os.fspath(judgements))
    for flag in _SETTING_FLAGS:
        value = value_of(settings, flag)
        if value == flag.default and flag.name not in _ALWAYS_SHOWN:
            continue
        if flag.kind == "switch":
            line += [f"--{flag.name}"] if value else [f"--{flag.name}", "false"]
        elif flag.kind in ("list", "columns"):
            line += [f"--{flag.name}", *(["all"] if flag.name == "repair" and set(value) == repairs_from("all") else value)]
        else:
            add(flag.name, str(value).replace("\n", "\\n") if flag.kind == "template" else str(value))
    return line + server_words(settings)


def filter_table() -> str:
    """Return the rows of the filters in the Markdown table of flags: flag, meaning, default."""
    return "\n".join(f"| `--{each.name}` | {each.action} | off |" for each in (*FILTERS.values(), *TARGETS))
