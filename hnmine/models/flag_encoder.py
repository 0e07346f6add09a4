"""Running a loaded model: directly, or through FlagEmbedding's `encode`.

An encoder-only model on one device is run through its tokenizer, network and pooling, in batches of a token budget, on a CPU with a
batch in each thread. Other classes, and several devices, go through FlagEmbedding's `encode`, in shards.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hnmine.core.errors import EncodeError, HnmineError, SettingsError
from hnmine.core.progress import OnProgress, ShouldStop, check_cancelled
from hnmine.models.batching import MIN_ROWS, blocks, prefetch, run_batches, token_chunks
from hnmine.models.loading import EncoderOnly, pooled, reproducible_products

__all__ = ["ARITHMETIC", "TOKEN_BUDGET_CPU", "TOKEN_BUDGET_GPU", "FlagModelRunner", "PromptSpec", "model_threads", "padded", "run_model"]

# Part of the identity of stored vectors: increase it with every change that changes their bits.
ARITHMETIC = 2
# Tokens in one batch. In fp32, batches of 512 to 4,096 tokens take the same time in one thread; small ones hear a cancel sooner and
# take less memory. In bf16, with the two cores on one batch, 1,024 / 2,048 / 4,096 / 8,192 tokens gave 9.6 / 9.6 / 10.1 / 10.3
# thousand a second at 400 tokens a text. A GPU needs larger batches.
TOKEN_BUDGET_CPU = {"bf16": 4_096, "fp32": 1_024}
TOKEN_BUDGET_GPU = 65_536
# Batches per call of FlagEmbedding's encode: bounds the delay of a cancel.
SHARD_BATCHES = 8
# Methods of FlagEmbedding's models and of SentenceTransformer (which apply the prompts of each side), best first.
_METHODS = {"queries": ("encode_queries", "encode_query", "encode"), "passages": ("encode_corpus", "encode_document", "encode")}


Places = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]
Batch = tuple[Places, Vectors]


class PromptSpec(NamedTuple):
    """How the texts of a side are encoded: its name, the instruction and its format, and the maximum length in tokens."""

    side: str
    instruction: str | None
    template: str
    max_length: int | None


class FlagModelRunner:
    """A loaded model with its locks: a fast tokenizer fails if two threads use it ("Already borrowed").

    Attributes:
        model: the loaded model.
        exact: True on a CPU: a batch has texts of one length in tokens, without padding.
    """

    def __init__(self, model: Any, *, batch_size: int | None = None, precision: str = "fp32") -> None:
        """Wrap a loaded model; `batch_size` is the most texts in a batch.

        Raises:
            SettingsError: the object has no method to encode queries or passages.
        """
        if not _is_plain_encoder(model) and not all(any(_method(model, name) for name in names) for names in _METHODS.values()):
            raise SettingsError(
                f"the model is a {type(model).__name__} without `encode`, or `encode_queries` and `encode_corpus`; "
                "pass a FlagEmbedding model such as FlagModel(...)"
            )
        reproducible_products()  # a wrapped model is loaded but has usually not computed yet
        self.model = model
        self.exact = str((getattr(model, "target_devices", None) or [""])[0]).partition(":")[0] == "cpu"
        self._batch_size = batch_size
        self._precision = precision
        self._lock = threading.Lock()
        self._tokenizing = threading.Lock()

    def run(
        self,
        texts: Sequence[str],
        prompt: PromptSpec,
        *,
        on_progress: OnProgress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> Generator[Batch, None, None]:
        """Yield (places (b,) int64, vectors (b, d) float32) of all texts, not normalised; equal texts of a block are encoded once.

        Raises:
            EncodeError: the model failed, or did not return an (n, d) array of numbers.
            Cancelled: `should_stop` returned True; called once a batch.
        """
        ask = self._directly if _is_plain_encoder(self.model) else self._in_shards
        return ask(texts, prompt, on_progress, should_stop)

    def _directly(
        self, texts: Sequence[str], prompt: PromptSpec, on_progress: OnProgress | None, should_stop: ShouldStop | None
    ) -> Generator[Batch, None, None]:
        """Run tokenizer, model and pooling in batches of a token budget."""
        import torch

        model, device = self.model, self.model.target_devices[0]
        max_length = prompt.max_length or 512  # FlagEmbedding's default

        def tokenise(part: list[str]) -> list[list[int]]:
            if prompt.instruction is not None:
                template = prompt.template.replace("\\n", "\n")  # as FlagEmbedding reads it
                part = [template.format(prompt.instruction, text) for text in part]
            with self._tokenizing:
                answer = model.tokenizer(
                    part, truncation=True, max_length=max_length, return_attention_mask=False, return_token_type_ids=False
                )
            ids: list[list[int]] = answer["input_ids"]
            return ids

        with self._lock:
            if self.exact and self._precision == "fp32":  # a wrapped model may be in half precision
                model.model.float()
            model.model.to(device)
            model.model.eval()
        done = seen = 0
        chunks = token_chunks(texts, tokenise, max_length, should_stop=should_stop)
        with closing(prefetch(chunks)) as ready, model_threads(torch, self.exact) as (workers, start_worker):
            last = None
            batches = run_batches(
                ready,
                lambda ids, length: self._forward(torch, ids, length),
                lambda length: EncodeError(
                    f"not enough memory to encode one of the {prompt.side} of {length:,} tokens; "
                    f"lower {'query' if prompt.side == 'queries' else 'passage'}_max_length, or use a smaller model"
                ),
                budget=TOKEN_BUDGET_CPU[self._precision] if self.exact else TOKEN_BUDGET_GPU,
                most_texts=self._batch_size,
                exact=self.exact,
                max_length=max_length,
                workers=workers,
                start_worker=start_worker,
                should_stop=should_stop,
            )
            with closing(batches):
                for chunk, start, end, vectors in batches:
                    if chunk is not last:
                        seen, last = seen + int(chunk.lengths.sum()), chunk
                    done += int(chunk.lengths[start:end].sum())
                    if on_progress is not None:
                        on_progress(done, seen + chunk.estimate, f"encoding {prompt.side}")
                    assert chunk.block is not None  # `token_chunks` sets it
                    yield chunk.block.answered(chunk.places[start:end], vectors)

    def _forward(self, torch: Any, ids: Sequence[npt.NDArray[np.int32]], length: int) -> Vectors | None:
        """Return the vectors of one batch, (b, d) float32, or None if memory ran out."""
        model, device, count = self.model, self.model.target_devices[0], len(ids)
        tokens, mask = padded(ids, length, model.tokenizer, self.exact)

        def forward() -> Vectors:
            # transformers drops a mask that is all ones
            inputs = {"input_ids": torch.from_numpy(tokens).to(device), "attention_mask": torch.from_numpy(mask).to(device)}
            hidden = model.model(**inputs, return_dict=True).last_hidden_state
            vectors = pooled(hidden, inputs["attention_mask"], model.pooling_method)[:count, : getattr(model, "truncate_dim", None)]
            return np.array(vectors.float().cpu().numpy())  # a copy: the pooled vectors may be a view of all tokens

        with nullcontext() if self.exact else self._lock:
            return run_model(torch, device, forward, f"the model failed on {count} texts of {length} tokens", "the maximum length")

    def _in_shards(
        self, texts: Sequence[str], prompt: PromptSpec, on_progress: OnProgress | None, should_stop: ShouldStop | None
    ) -> Generator[Batch, None, None]:
        """Encode shards with the model's `encode`."""
        model = self.model
        encode = next(method for name in _METHODS[prompt.side] if (method := _method(model, name)))
        batch = self._batch_size or getattr(model, "batch_size", None) or 256
        devices = getattr(model, "target_devices", None) or [None]
        shard = int(batch) * SHARD_BATCHES * len(devices)
        own_pool = len(devices) > 1 and getattr(model, "pool", None) is None
        done = read = 0
        try:
            for block in blocks(texts):
                read += sum(len(block.texts[offset]) for offset in block.order)
                total = read + round(read * block.later / (block.first + len(block.texts)))
                for start in range(0, len(block.order), shard):
                    check_cancelled(should_stop)
                    offsets = block.order[start : start + shard]
                    part = [block.texts[offset] for offset in offsets]
                    with self._lock, _query_instruction(model, prompt):
                        vectors = _as_array(encode(part), len(part), type(model).__name__)
                    done += sum(map(len, part))
                    if on_progress is not None:
                        on_progress(done, total, f"encoding {prompt.side} in shards")
                    yield block.answered(offsets, vectors)
        finally:
            if own_pool and (stop := _method(model, "stop_self_pool")):
                stop()  # FlagEmbedding keeps its workers, each with the model, until the interpreter ends


@contextmanager
def _query_instruction(model: Any, prompt: PromptSpec) -> Iterator[None]:
    """Give the instruction of `prompt` to a model of FlagEmbedding, whose `encode_queries` applies its own, and put that back after."""
    own = getattr(model, "query_instruction_for_retrieval", None)
    if prompt.side != "queries" or prompt.instruction == own:
        yield
        return

    def change(instruction: str | None) -> None:
        if getattr(model, "query_pool", None) is not None:  # its processes have copies of the model
            model.stop_self_query_pool()
        model.query_instruction_for_retrieval = instruction

    change(prompt.instruction)
    try:
        yield
    finally:
        change(own)


def _method(model: Any, name: str) -> Any:
    method = getattr(model, name, None)
    return method if callable(method) else None


def _as_array(answer: Any, count: int, name: str) -> Vectors:
    """Return the output of a model's encode (array, tensor, BGE-M3's dict) as (count, d) float32."""
    if isinstance(answer, dict):
        if answer.get("dense_vecs") is None:
            raise EncodeError(f"{name}.encode returned a dict without `dense_vecs` (keys: {', '.join(answer)}); enable its dense vectors")
        answer = answer["dense_vecs"]
    if hasattr(answer, "detach"):  # a tensor; bfloat16 has no .numpy()
        answer = answer.detach().float().cpu().numpy()
    try:
        vectors = np.array(answer, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise EncodeError(f"{name}.encode returned a {type(answer).__name__}, which is not an array of numbers ({error})") from error
    if vectors.ndim != 2 or len(vectors) != count or not vectors.shape[1]:
        raise EncodeError(f"{name}.encode returned an array of shape {vectors.shape} for {count} texts; expected (texts, dimension)")
    return vectors


def padded(batch: Sequence[npt.NDArray[np.int32]], length: int, tokenizer: Any, exact: bool) -> npt.NDArray[np.int64]:
    """Return token ids, token types if the texts of the batch have them, and mask: (2 or 3, rows, length); see MIN_ROWS for `exact`."""
    texts = [np.atleast_2d(each) for each in batch]
    if exact:
        texts *= -(-MIN_ROWS // max(1, len(texts) * length))
    inputs = np.zeros((len(texts[0]) + 1, len(texts), length), dtype=np.int64)
    inputs[0] = getattr(tokenizer, "pad_token_id", None) or 0
    for row, each in enumerate(texts):
        inputs[:-1, row, : each.shape[1]] = each
        inputs[-1, row, : each.shape[1]] = 1
    return inputs


def run_model(torch: Any, device: str, forward: Callable[[], Vectors], failure: str, setting: str) -> Vectors | None:
    """Return the output of `forward`, or None if memory ran out; `failure` and the `setting` to lower are for the error message."""
    try:
        with torch.inference_mode():
            return forward()
    except HnmineError:
        raise
    except Exception as error:
        # torch has a class of its own on a GPU, and raises RuntimeError on a CPU.
        words = ("can't allocate memory", "not enough memory") if isinstance(error, RuntimeError) else ()
        memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
        if not memory and not any(each in str(error) for each in words):
            reason = f"{type(error).__name__}: {error}"
            raise EncodeError(f"{failure}: {reason}; if the model supports fewer tokens, lower {setting}") from error
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    return None


_threads = {"encodings": 0, "torch": 1}
_threads_lock = threading.Lock()


@contextmanager
def model_threads(torch: Any, exact: bool) -> Iterator[tuple[int, Callable[[], None]]]:
    """Yield the number of batches to compute at once, and what each of their threads calls first.

    On a CPU (`exact`) torch computes each batch in one thread, and there are as many batches as torch had threads. A new thread
    takes torch's number of threads from the last one that was set in the process, so the last encoding restores it.
    """
    if not exact:
        yield 1, lambda: None
        return
    with _threads_lock:
        if not _threads["encodings"]:
            _threads["torch"] = torch.get_num_threads()
        _threads["encodings"] += 1
    try:
        yield _threads["torch"], lambda: torch.set_num_threads(1)
    finally:
        with _threads_lock:
            _threads["encodings"] -= 1
            if not _threads["encodings"]:
                torch.set_num_threads(_threads["torch"])


def _is_plain_encoder(model: Any) -> bool:
    """Return whether a model can be run directly: an `EncoderOnly`, or FlagEmbedding's encoder-only class on one device."""
    if isinstance(model, EncoderOnly):
        return True
    module = sys.modules.get("FlagEmbedding.inference.embedder.encoder_only.base")  # if not imported, the model cannot be one
    return module is not None and type(model) is module.BaseEmbedder and len(model.target_devices) == 1
