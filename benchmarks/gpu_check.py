"""CPU against GPU, on a machine with one: the same ranking, and the speed of encoding and search.

Prints the figures for RESULTS.md: device, encoding against `FlagModel.encode`, search against `GpuIndexFlatIP` and the
device's matrix products, and whether both rank the same (ids may differ where scores are within 1e-3).
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from benchmarks.measure import arguments, best, report
from benchmarks.sets import sentences


def vectors(count: int, seed: int, dimension: int = 384) -> np.ndarray:
    """Return clustered unit vectors."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((2_000, dimension)).astype(np.float32)
    found = centres[rng.integers(0, len(centres), count)] + rng.standard_normal((count, dimension)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def main() -> None:
    quick = arguments(__doc__).quick
    import faiss
    import torch

    from hnmine.retrieval.search import gpu_count, top_k

    if not torch.cuda.is_available() or gpu_count() == 0:
        print(f"no GPU to check: torch sees {torch.cuda.device_count()}, FAISS {gpu_count()}")
        sys.exit(0)
    rows: list[dict[str, Any]] = []
    facts: dict[str, Any] = {"device": torch.cuda.get_device_name(0)}

    def device_peak(dtype: Any) -> float:
        left = torch.randn(8_192, 8_192, device="cuda", dtype=dtype)
        left @ left
        torch.cuda.synchronize()

        def work() -> None:
            for _ in range(5):
                left @ left
            torch.cuda.synchronize()

        return 5 * 2 * 8_192**3 / best(work)

    facts["fp32 GEMM TFLOP/s"] = device_peak(torch.float32) / 1e12
    facts["fp16 GEMM TFLOP/s"] = device_peak(torch.float16) / 1e12

    # Search: parity and speed.
    count, k = (20_000, 210) if quick else (1_000_000, 210)
    passages, queries = vectors(count, 1), vectors(2_000, 2)
    cpu_scores, cpu_ids = top_k(queries[:500], passages, k)
    gpu_scores, gpu_ids = top_k(queries[:500], passages, k, use_gpu=True)
    different = cpu_ids != gpu_ids
    facts["ranking: different ids"] = int(different.sum())
    facts["ranking: worst score difference there"] = float(np.abs(cpu_scores - gpu_scores)[different].max(initial=0))
    assert facts["ranking: worst score difference there"] < 1e-3

    resources = faiss.StandardGpuResources()
    index = faiss.GpuIndexFlatIP(resources, passages.shape[1])
    index.add(passages)
    flops = 2 * len(queries) * count * passages.shape[1]
    flat = best(lambda: index.search(queries, k))
    ours = best(lambda: top_k(queries, passages, k, use_gpu=True))
    what = f"search 2,000 x {count:,}"
    for side, seconds in (("GpuIndexFlatIP.search (index built)", flat), ("hnmine", ours)):
        rows.append({"what": what, "side": side, "seconds": seconds, "TFLOP/s": flops / seconds / 1e12, "ratio": flat / seconds})

    # Encoding.
    from FlagEmbedding import FlagModel

    from hnmine.models.cards import ModelSettings, packaged_folder
    from hnmine.models.encoder import FlagEncoder, encode

    texts = sentences(500 if quick else 20_000, 40, 220, 0)
    flag = FlagModel(str(packaged_folder()), pooling_method="mean", use_fp16=True, devices="cuda:0", passage_max_length=512)
    flag.encode_corpus(texts[:64])
    torch.cuda.synchronize()
    began = time.perf_counter()
    theirs_vectors = np.asarray(flag.encode_corpus(texts, batch_size=256, max_length=512), dtype=np.float32)
    theirs = time.perf_counter() - began
    what = f"encode {len(texts):,} passages"
    rows.append({"what": what, "side": "FlagModel.encode, batch 256, fp16", "seconds": theirs, "ratio": 1.0})
    for precision in ("fp32", "fp16", "bf16"):
        encoder = FlagEncoder.load(ModelSettings(precision=precision, devices=("cuda:0",), passage_max_length=512))
        encode(encoder, texts[:64], "passages")
        began = time.perf_counter()
        found = encode(encoder, texts, "passages")
        seconds = time.perf_counter() - began
        least = float(np.einsum("ij,ij->i", found, theirs_vectors).min())
        rows.append({"what": what, "side": f"hnmine, {precision}", "seconds": seconds, "ratio": theirs / seconds, "least cosine": least})
    report("gpu_check", rows, facts)


if __name__ == "__main__":
    main()
