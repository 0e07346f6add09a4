"""Encoding: ours in fp32 and auto against `FlagModel.encode` and sentence-transformers, on Cranfield and on short questions.

Each side encodes the same texts with the same model (the packaged all-MiniLM-L6-v2) and the same maximum length, loaded
beforehand. `FlagModel.encode` takes minutes on Cranfield and runs once; the others run twice, and the best counts. The share of
the peak holds the model's arithmetic (two operations for each weight of a linear layer and token, and the attention)
against the best matrix product of the same run, in the precision that side computes in.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import measure
from hnmine.encoder import FlagEncoder, encode
from hnmine.models import ModelSettings, packaged_folder

Vectors = npt.NDArray[np.float32]
MAX_LENGTH = 512


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


def main() -> None:
    """Measure, and print the table."""
    quick = measure.arguments(__doc__).quick
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
    sets = {
        "Cranfield": texts_of("cranfield", "pool.jsonl", 40 if quick else 10_000, (60, 300)),
        "short questions": texts_of("squad-en-dev", "queries.jsonl", 100 if quick else 2_000, (6, 18)),
    }
    peaks = {"fp32": measure.gemm_peak("float32"), "bf16": measure.gemm_peak("bfloat16")}
    rows = []
    for name, texts in sets.items():
        lengths = [len(ids) for ids in flag.tokenizer(texts, truncation=True, max_length=MAX_LENGTH)["input_ids"]]
        tokens, work = sum(lengths), operations(lengths, flag.model)
        sides: dict[str, tuple[str, Callable[[], Any]]] = {
            "FlagModel.encode, batch 256": ("fp32", lambda texts=texts: flag.encode_corpus(texts)),
            "sentence-transformers, batch 32": ("fp32", lambda texts=texts: other.encode(texts, batch_size=32, normalize_embeddings=True)),
            **{
                f"ours, {precision}": (
                    encoder.describe()["precision"],
                    lambda texts=texts, encoder=encoder: encode(encoder, texts, "passages"),
                )
                for precision, encoder in ours.items()
            },
        }
        reference: Vectors | None = None
        base = baseline = 0.0
        for side, (precision, run) in sides.items():
            kept: list[Vectors] = []
            if reference is not None:
                encode(ours["auto"], texts[:8], "passages")  # the first call loads
                run_once = sides[side][1]
                if side.startswith("ours"):
                    encode(ours[side.removeprefix("ours, ")], texts[:8], "passages")
            else:
                run_once = run
            seconds = measure.best(lambda kept=kept, run_once=run_once: kept.append(run_once()), repeats=1 if reference is None else 2)
            vectors = np.asarray(kept[-1], dtype=np.float32)
            if reference is None:
                reference, base = vectors, seconds
            elif side.startswith("sentence"):
                baseline = seconds
            rows.append(
                {
                    "texts": name,
                    "side": side,
                    "precision": precision,
                    "seconds": seconds,
                    "tokens/s": tokens / seconds,
                    "min cosine": float((vectors * reference).sum(axis=1).min()),
                    "x FlagModel": base / seconds,
                    "x sentence-t.": baseline / seconds if baseline else None,
                    "% of peak": 100 * work / seconds / peaks[precision],
                }
            )
    facts: dict[str, Any] = {f"tokens of {name}": sum(map(len, flag.tokenizer(texts, truncation=True, max_length=MAX_LENGTH)["input_ids"])) for name, texts in sets.items()}
    facts |= {f"GEMM peak {precision}, GFLOP/s": peak / 1e9 for precision, peak in peaks.items()}
    measure.report("encode", rows, facts)


if __name__ == "__main__":
    main()
