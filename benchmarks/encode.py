"""Encoding: hnmine in fp32 and auto against `FlagModel.encode` and sentence-transformers, on Cranfield and short questions.

All sides encode the same texts with the same model (the packaged all-MiniLM-L6-v2) and maximum length, in turns.
`FlagModel.encode` takes minutes on Cranfield and runs once; the others run twice, and the best counts. `--passages 300` takes a
part of it. Where other work runs, the sides whose threads share a batch fall far behind. The fraction of the peak is the model's
arithmetic (two operations per weight of a linear layer and token, and the attention) divided by the fastest matrix product of
the run in the same precision.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import measure
from hnmine.models.cards import ModelSettings, packaged_folder
from hnmine.models.encoder import FlagEncoder, encode

Vectors = npt.NDArray[np.float32]
MAX_LENGTH = 512
FLAG, OTHER = "FlagModel.encode, batch 256", "sentence-transformers, batch 32"


def texts_of(folder: str, name: str, count: int, words: tuple[int, int]) -> list[str]:
    """Return the unique texts of a data set, or generated ones of about its lengths where it is not here."""
    path = measure.DATA / folder / name
    if path.exists():
        lines = path.read_text("utf-8").splitlines()
        return list(dict.fromkeys(json.loads(line)["text"] for line in lines))[:count]
    rng = random.Random(0)
    vocabulary = ["wing", "flow", "pressure", "boundary", "layer", "heat", "transfer", "supersonic", "the", "of", "a", "in", "theory", "at"]
    return [" ".join(rng.choices(vocabulary, k=rng.randint(*words))) + f" {i}" for i in range(count)]


def operations(lengths: Sequence[int], model: Any) -> float:
    """Return the floating-point operations of one forward pass over texts of these lengths."""
    import torch

    weights = sum(
        layer.weight.numel() for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear) and "pooler" not in name
    )
    attention = 4 * model.config.hidden_size * model.config.num_hidden_layers
    return float(sum(2 * weights * length + attention * length * length for length in lengths))


def _keep(kept: list[Any], run: Callable[[list[str]], Any], texts: list[str]) -> None:
    kept.append(run(texts))


def main() -> None:
    """Measure, and print the table."""
    options = measure.arguments(__doc__, only="", repeats=2, passages=10_000)
    quick = options.quick
    from FlagEmbedding import FlagModel
    from sentence_transformers import SentenceTransformer

    folder = str(packaged_folder())
    flag = FlagModel(folder, pooling_method="mean", use_fp16=False, devices="cpu", batch_size=256, passage_max_length=MAX_LENGTH)
    other = SentenceTransformer(folder, device="cpu")
    other.max_seq_length = MAX_LENGTH
    ours = {
        precision: FlagEncoder.load(ModelSettings(devices=("cpu",), precision=precision, passage_max_length=MAX_LENGTH))
        for precision in ("fp32", "auto")
    }
    for encoder in ours.values():
        encode(encoder, ["the first call loads"], "passages")
    sets = {
        "Cranfield": texts_of("cranfield", "pool.jsonl", 40 if quick else options.passages, (60, 300)),
        "short questions": texts_of("squad-en-dev", "queries.jsonl", 100 if quick else 2_000, (6, 18)),
    }
    facts: dict[str, Any] = {}
    peaks = {"fp32": measure.gemm_peak("float32"), "bf16": measure.gemm_peak("bfloat16")}
    facts |= {f"GEMM peak {precision}, GFLOP/s": peak / 1e9 for precision, peak in peaks.items()}
    sides: dict[str, tuple[str, Callable[[list[str]], Any]]] = {
        FLAG: ("fp32", flag.encode_corpus),
        OTHER: ("fp32", lambda texts: other.encode(texts, batch_size=32, normalize_embeddings=True)),
        "ours, fp32": ("fp32", lambda texts: encode(ours["fp32"], texts, "passages")),
        "ours, auto": (ours["auto"].describe()["precision"], lambda texts: encode(ours["auto"], texts, "passages")),
    }
    rows = []
    for name, texts in sets.items():
        if options.only not in name:
            continue
        lengths = [len(ids) for ids in flag.tokenizer(texts, truncation=True, max_length=MAX_LENGTH)["input_ids"]]
        facts[f"tokens of {name}"] = sum(lengths)
        work = operations(lengths, flag.model)
        seconds = dict.fromkeys(sides, float("inf"))
        vectors: dict[str, Vectors] = {}
        for turn in range(options.repeats):
            for side, (_, run) in sides.items():
                if side != FLAG or not turn:
                    kept: list[Any] = []
                    seconds[side] = min(seconds[side], measure.best(partial(_keep, kept, run, texts), repeats=1))
                    vectors[side] = np.asarray(kept[-1], dtype=np.float32)
        for side, (precision, _) in sides.items():
            rows.append(
                {
                    "texts": name,
                    "side": side,
                    "precision": precision,
                    "seconds": seconds[side],
                    "tokens/s": sum(lengths) / seconds[side],
                    "min cosine": f"{(vectors[side] * vectors[FLAG]).sum(axis=1).min():.6f}",
                    "x FlagModel": seconds[FLAG] / seconds[side],
                    "x sentence-transformers": seconds[OTHER] / seconds[side],
                    "% of peak": 100 * work / seconds[side] / peaks[precision],
                }
            )
    measure.report("encode", rows, facts)


if __name__ == "__main__":
    main()
