"""FlagEmbedding rerankers as `Reranker`: loaded with the first pair, run in batches of a token budget.

On a CPU the bits of a score do not depend on other pairs, for which the rows of the head are filled up to multiples of MIN_ROWS.
Decoder-only rerankers and several devices use `compute_score`, in shards; on a CPU one pair at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, nullcontext
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.core.errors import EncodeError, ModelError
from hnmine.core.progress import OnProgress, ShouldStop, check_cancelled
from hnmine.models import reranker
from hnmine.models.batching import MIN_ROWS, TokenChunk, prefetch, run_batches
from hnmine.models.flag_encoder import TOKEN_BUDGET_CPU, TOKEN_BUDGET_GPU, model_threads, padded, run_model
from hnmine.models.loading import LazyModel
from hnmine.models.reranker import Pair, Places, RerankerSettings, Scores

__all__ = ["STAGE", "CrossEncoder"]

STAGE = "scoring pairs"
# Part of the identity of stored scores: increase it with every change that changes their bits.
ARITHMETIC = 2
# Pairs tokenised at once: more of them share a length.
CHUNK_PAIRS = 16_384
# Pairs per call of the tokenizer: a cancel is checked in between.
TOKENIZER_PAIRS = 1_024
# Batches per call of FlagEmbedding's compute_score: bounds the delay of a cancel.
SHARD_BATCHES = 8
# Pairs per batch of a decoder-only reranker, whose logits over the vocabulary take 100 MB a pair.
DECODER_BATCH = 16

Tokens = npt.NDArray[np.int32]
Answers = Generator[tuple[Places, Scores], None, None]


def _load(lazy: LazyModel) -> Any:
    """Load a reranker with FlagEmbedding."""
    from FlagEmbedding import FlagAutoReranker

    settings, card = lazy.settings, lazy.card
    arguments: dict[str, Any] = {
        "model_class": card.model_class,
        "use_fp16": lazy.precision == "fp16",
        "devices": list(lazy.devices),
        "trust_remote_code": settings.trust_remote_code,
        "max_length": card.max_length,
    }
    if card.model_class == "decoder-only-base":  # the other class has no such argument
        arguments["use_bf16"] = lazy.precision == "bf16"
    if settings.query_instruction is not None:  # FlagLLMReranker's defaults are "A: " and "B: "
        arguments["query_instruction_for_rerank"] = settings.query_instruction
    if settings.passage_instruction is not None:
        arguments["passage_instruction_for_rerank"] = settings.passage_instruction
    return FlagAutoReranker.from_finetuned(str(card.folder), **arguments)


class CrossEncoder:
    """A FlagEmbedding reranker as a Reranker."""

    def __init__(self, lazy: LazyModel) -> None:
        self._lazy = lazy
        self._model: Any = None
        self._lock = threading.Lock()
        self._tokenizing = threading.Lock()

    @classmethod
    def load(cls, settings: RerankerSettings, *, on_progress: OnProgress | None = None) -> CrossEncoder:
        """Download a reranker if needed and compute the fingerprint of its weights; torch and the weights load with the first pair.

        Raises:
            ModelError: the reranker or a device is not available, or the model is not a reranker.
            SettingsError: a device is unknown, or does not support the precision.
        """
        return cls(LazyModel(settings, reranker.fetch, _load, on_progress=on_progress))

    def score(
        self, pairs: Sequence[Pair], *, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None
    ) -> Iterator[tuple[Places, Scores]]:
        """Yield raw logits; progress counts pairs.

        Raises:
            ModelError: the reranker cannot be loaded, or its files have changed since the fingerprint was computed.
            EncodeError: it failed, or returned NaN or infinity.
            Cancelled: `should_stop` returned True; called once a batch.
        """
        if not len(pairs):  # compute_score raises IndexError for an empty list
            return
        check_cancelled(should_stop)
        model = self._loaded(on_progress)
        lazy, done = self._lazy, 0
        directly = lazy.card.model_class == "encoder-only-base" and len(lazy.devices) == 1
        with closing((self._directly if directly else self._in_shards)(model, pairs, should_stop)) as answered:
            for places, scores in answered:
                if not np.isfinite(scores).all():
                    query, passage = pairs[places[int(np.argmin(np.isfinite(scores)))]]
                    raise EncodeError(
                        f"the reranker returned NaN or infinity for the query {query[:80]!r} and the passage {passage[:80]!r}; "
                        "try precision fp32, or check the weights"
                    )
                done += len(places)
                if on_progress is not None:
                    on_progress(done, len(pairs), STAGE)
                yield places, scores

    def identity(self) -> str | None:
        """Return canonical JSON that identifies the scores."""
        lazy = self._lazy
        lazy.identity_used = True
        parts = {
            "reranker": lazy.card.model_class,
            "arithmetic": ARITHMETIC,
            "weights_sha256": lazy.weights_sha256,
            "max_length": lazy.card.max_length,
            "query_instruction": lazy.settings.query_instruction,
            "passage_instruction": lazy.settings.passage_instruction,
            "precision": lazy.precision,
            "device": lazy.devices[0].partition(":")[0],
        }
        return msgspec.json.encode(parts, order="sorted").decode()

    def describe(self) -> dict[str, Any]:
        """Return name, class, fingerprint of the weights, length, instructions, devices and precision."""
        lazy = self._lazy
        lazy.identity_used = True
        return {
            "name": lazy.card.name,
            "weights_sha256": lazy.weights_sha256,
            "class": lazy.card.model_class,
            "max_length": lazy.card.max_length,
            "query_instruction": lazy.settings.query_instruction,
            "passage_instruction": lazy.settings.passage_instruction,
            "devices": list(lazy.devices),
            "precision": lazy.precision,
            "notes": list(lazy.notes),
        }

    def _loaded(self, on_progress: OnProgress | None) -> Any:
        with self._lock:
            if self._model is None:
                if on_progress is not None:
                    on_progress(0, 0, "loading the reranker")
                self._model = self._lazy.load()
            return self._model

    def _directly(self, model: Any, pairs: Sequence[Pair], should_stop: ShouldStop | None) -> Answers:
        """Run tokenizer and model in batches of a token budget."""
        import torch

        lazy = self._lazy
        exact = lazy.devices[0] == "cpu"
        with self._lock:
            model.model.to(lazy.devices[0], dtype={"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[lazy.precision])
            model.model.eval()
            if exact:
                _fill_rows(torch, model.model)
        chunks = self._chunks(model.tokenizer, pairs, should_stop)
        with closing(prefetch(chunks)) as ready, model_threads(torch, exact) as (workers, start_worker):
            batches = run_batches(
                ready,
                lambda ids, length: self._forward(torch, model, ids, length),
                lambda length: EncodeError(
                    f"not enough memory to score one pair of {length:,} tokens; lower the reranker's max_length, or use a smaller reranker"
                ),
                budget=TOKEN_BUDGET_CPU[lazy.precision] if exact else TOKEN_BUDGET_GPU,
                most_texts=lazy.settings.batch_size,
                exact=exact,
                max_length=lazy.card.max_length,
                workers=workers,
                start_worker=start_worker,
                should_stop=should_stop,
            )
            with closing(batches):
                for chunk, start, end, scores in batches:
                    yield chunk.places[start:end], scores

    def _chunks(self, tokenizer: Any, pairs: Sequence[Pair], should_stop: ShouldStop | None) -> Iterator[TokenChunk]:
        """Tokenise a chunk of pairs at a time: (m, length) each, token ids and, if the model has them, token types."""
        for first in range(0, len(pairs), CHUNK_PAIRS):
            stop = min(first + CHUNK_PAIRS, len(pairs))
            tokens: list[Tokens] = []
            for start in range(first, stop, TOKENIZER_PAIRS):
                check_cancelled(should_stop)
                tokens += self._tokenised(tokenizer, pairs[start : min(start + TOKENIZER_PAIRS, stop)])
            lengths = np.fromiter((each.shape[1] for each in tokens), np.int64, len(tokens))
            longest = np.argsort(-lengths, kind="stable")
            yield TokenChunk(first + longest, [tokens[i] for i in longest], lengths[longest], 0)

    def _tokenised(self, tokenizer: Any, pairs: Sequence[Pair]) -> list[Tokens]:
        """Tokenise as FlagEmbedding: the query is truncated at three quarters of the length, then the passage at the rest."""
        settings, length = self._lazy.settings, self._lazy.card.max_length
        most = length * 3 // 4
        queries = [(settings.query_instruction or "") + query for query, _ in pairs]
        passages = [(settings.passage_instruction or "") + passage for _, passage in pairs]
        unique = list(dict.fromkeys(queries))
        with self._tokenizing:
            ids = tokenizer(unique, add_special_tokens=False, truncation=True, max_length=most + 1)["input_ids"]
            cut = {
                query: tokenizer.decode(own[:most], skip_special_tokens=False, clean_up_tokenization_spaces=False)
                for query, own in zip(unique, ids, strict=True)
                if len(own) > most
            }
            found = tokenizer([cut.get(query, query) for query in queries], passages, truncation="only_second", max_length=length)
        names = [name for name in ("input_ids", "token_type_ids") if name in found]
        return [np.array(each, dtype=np.int32) for each in zip(*(found[name] for name in names), strict=True)]

    def _forward(self, torch: Any, model: Any, pairs: Sequence[Tokens], length: int) -> Scores | None:
        """Return the logits of one batch, (b,) float32, or None if memory ran out."""
        device, count = self._lazy.devices[0], len(pairs)
        inputs = padded(pairs, length, model.tokenizer, device == "cpu")
        names = ("input_ids", "token_type_ids", "attention_mask") if len(inputs) == 3 else ("input_ids", "attention_mask")

        def forward() -> Scores:
            given = {name: torch.from_numpy(values).to(device) for name, values in zip(names, inputs, strict=True)}
            logits = model.model(**given, return_dict=True).logits
            if logits.shape[1:] != (1,):
                raise ModelError(f"the model returns {logits.shape[-1]} scores per pair; a reranker returns one. Use another model")
            return np.array(logits[:count, 0].float().cpu().numpy())

        with nullcontext() if device == "cpu" else self._lock:
            return run_model(
                torch, device, forward, f"the reranker failed on {count} pairs of {length} tokens", "the reranker's max_length"
            )

    def _in_shards(self, model: Any, pairs: Sequence[Pair], should_stop: ShouldStop | None) -> Answers:
        """Score shards with the reranker's `compute_score`."""
        devices, decoder = self._lazy.devices, self._lazy.card.model_class == "decoder-only-base"
        batch = self._lazy.settings.batch_size or (DECODER_BATCH if decoder else 128)
        if devices == ("cpu",):
            batch = 1
        shard = max(64, batch * SHARD_BATCHES) * len(devices)
        try:
            for start in range(0, len(pairs), shard):
                check_cancelled(should_stop)
                part = [list(pair) for pair in pairs[start : start + shard]]
                try:
                    with self._lock:
                        scores = np.asarray(model.compute_score(part, batch_size=batch), dtype=np.float32)
                except Exception as error:
                    raise EncodeError(f"the reranker failed on {len(part)} pairs: {type(error).__name__}: {error}") from error
                yield np.arange(start, start + len(part)), scores
        finally:
            if len(devices) > 1:
                model.stop_self_pool()  # FlagEmbedding keeps its workers, each with the model, until the interpreter ends


def _fill_rows(torch: Any, model: Any) -> None:
    """Make each linear layer with one row per pair compute multiples of MIN_ROWS rows, on which its bits do not depend."""
    own = threading.local()  # rows without the filled ones; batches are computed in several threads

    def before(_: Any, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        rows = given[0]
        own.rows = None
        if rows.dim() != 2 or len(rows) % MIN_ROWS == 0:
            return None
        own.rows = len(rows)
        return (torch.nn.functional.pad(rows, (0, 0, 0, -len(rows) % MIN_ROWS)), *given[1:])

    def after(_: Any, __: tuple[Any, ...], answer: Any) -> Any:
        return answer[: own.rows]

    if not getattr(model, "_hnmine_fills_rows", False):
        model._hnmine_fills_rows = True
        for layer in model.modules():
            if isinstance(layer, torch.nn.Linear):
                layer.register_forward_pre_hook(before)
                layer.register_forward_hook(after)
