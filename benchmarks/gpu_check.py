"""On a machine with a GPU: the same results as on the CPU, and the speed of search and encoding.

Search must give the same bits as on the CPU. Encoding is compared with `FlagModel.encode` and sentence-transformers, and
with the device's own matrix products: the packaged model, and a model of bge-base's shape with random weights.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import arguments, best, report
from benchmarks.sets import cranfield, sentences

Row = dict[str, Any]
DEVICE = "cuda:0"
K = 210


def clustered(count: int, seed: int, dimension: int = 384) -> np.ndarray:
    """Return clustered unit vectors."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((2_000, dimension), np.float32)
    found = centres[rng.integers(0, len(centres), count)] + rng.standard_normal((count, dimension), np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def seconds_of(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds and the result of one run."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def gemm_peak(dtype: str) -> float:
    """Return the rate of a square matrix product on the device in FLOP/s."""
    import torch

    left, right = (torch.randn(8_192, 8_192, device=DEVICE).to(getattr(torch, dtype)) for _ in range(2))

    def work() -> None:
        for _ in range(5):
            torch.matmul(left, right)
        torch.cuda.synchronize()

    work()
    return 5 * 2 * 8_192**3 / best(work)


def same_bits(quick: bool) -> list[Row]:
    """Search on the CPU and on the GPU."""
    from hnmine.retrieval.search import GPU_K_LIMIT, SLACK, PassageIndex, top_k

    few = 2_000 if quick else 100_000
    near = clustered(few // 2, 3)
    twins = np.repeat(near[: few // 8], 4, axis=0)
    long = np.random.default_rng(4).standard_normal((few, 1_024), np.float32) * 7
    cases = [
        ("clustered", clustered(few, 1), clustered(300, 2), K),
        ("k at the GPU's limit", clustered(few, 1), clustered(300, 2), GPU_K_LIMIT - SLACK),
        ("k above the GPU's limit", clustered(few, 1), clustered(50, 2), GPU_K_LIMIT + 1),
        ("each passage four times", twins, clustered(300, 2), K),
        ("near copies", near + np.float32(1e-7) * clustered(len(near), 6), clustered(300, 2), K),
        ("1,024 dimensions, not normalised", long, long[:300] + 1, K),
        ("fewer passages than k", clustered(100, 1), clustered(300, 2), K),
        ("all passages equal", np.repeat(near[:1], 5_000, axis=0), clustered(20, 2), K),
    ]
    rows: list[Row] = []
    for name, passages, queries, k in cases:
        expected = top_k(queries, passages, k)
        index = PassageIndex(passages)
        for side, found in (("top_k", top_k(queries, passages, k, use_gpu=True)), ("PassageIndex", index.search(queries, k))):
            same = all(np.array_equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
            rows.append({"what": f"same bits: {name}, k {k:,}", "side": side, "result": "yes" if same else "NO"})
    return rows


def search_speed(quick: bool) -> list[Row]:
    """Search a million passages, against FAISS alone."""
    import faiss

    from hnmine.retrieval.search import PassageIndex, _resources, top_k

    passages, queries = clustered(20_000 if quick else 1_000_000, 1), clustered(2_000 if quick else 10_000, 2)
    flops = 2 * len(queries) * len(passages) * passages.shape[1]
    flat = faiss.GpuIndexFlatIP(_resources(), passages.shape[1])
    flat.add(passages)
    index = PassageIndex(passages)
    metric = faiss.METRIC_INNER_PRODUCT
    sides: list[tuple[str, Callable[[], Any]]] = [
        ("index built: GpuIndexFlatIP.search", lambda: flat.search(queries, K)),
        ("index built: hnmine PassageIndex", lambda: index.search(queries, K)),
        ("from host memory: faiss.knn_gpu", lambda: faiss.knn_gpu(_resources(), queries, passages, K, metric=metric)),
        ("from host memory: hnmine top_k", lambda: top_k(queries, passages, K, use_gpu=True)),
    ]
    rows: list[Row] = []
    for name, work in sides:
        seconds = best(work)
        base = rows[-1]["seconds"] if len(rows) % 2 else seconds
        what = f"search {len(queries):,} x {len(passages):,}"
        rows.append({"what": what, "side": name, "seconds": seconds, "TFLOP/s": flops / seconds / 1e12, "ratio": base / seconds})
    on_cpu = top_k(queries[:1_000], passages, K)
    same = all(np.array_equal(ours[:1_000], theirs) for ours, theirs in zip(sides[-1][1](), on_cpu, strict=True))
    rows.append({"what": f"same bits: 1,000 of these, k {K}", "side": "top_k", "result": "yes" if same else "NO"})
    return rows


def random_base(folder: Path) -> Path:
    """Write a model of bge-base's shape with random weights, and the packaged model's tokenizer."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    from hnmine.models.cards import packaged_folder

    torch.manual_seed(0)
    BertModel(BertConfig(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3_072)).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(packaged_folder())
    tokenizer.model_max_length = 512
    tokenizer.save_pretrained(folder)
    return folder


def flops_a_text(lengths: np.ndarray, folder: Path) -> float:
    """Return the products of all texts without padding, in FLOP."""
    config = json.loads((folder / "config.json").read_text())
    wide, deep, inner = config["hidden_size"], config["num_hidden_layers"], config["intermediate_size"]
    return float((deep * (lengths * (8 * wide**2 + 4 * wide * inner) + 4 * wide * lengths**2)).sum())


def encode_speed(name: str, folder: Path, texts: list[str], precisions: tuple[str, ...], peak: float) -> list[Row]:
    """Encode texts with a model in `folder`, against FlagModel and sentence-transformers."""
    import torch
    from FlagEmbedding import FlagModel
    from sentence_transformers import SentenceTransformer
    from transformers import AutoTokenizer

    from hnmine.models.cards import ModelSettings
    from hnmine.models.encoder import FlagEncoder, encode

    lengths = np.array([min(512, len(ids)) for ids in AutoTokenizer.from_pretrained(folder)(texts)["input_ids"]], np.float64)
    flops = flops_a_text(lengths, folder)
    what = f"encode {len(texts):,} passages, {lengths.mean():.0f} tokens each, {name}"
    rows: list[Row] = []
    theirs: list[np.ndarray] = []

    def add(side: str, work: Callable[[], Any]) -> None:
        seconds, vectors = seconds_of(work)
        theirs.append(np.asarray(vectors, np.float32))
        cosine = np.einsum("ij,ij->i", theirs[0], theirs[-1]) / np.linalg.norm(theirs[0], axis=1) / np.linalg.norm(theirs[-1], axis=1)
        rows.append({
            "what": what, "side": side, "seconds": seconds, "tokens/s": lengths.sum() / seconds, "TFLOP/s": flops / seconds / 1e12,
            "of the peak": flops / seconds / peak, "ratio": (rows[0]["seconds"] if rows else seconds) / seconds,
            "least cosine": float(cosine.min()),
        })  # fmt: skip

    flag = FlagModel(str(folder), pooling_method="mean", use_fp16=True, devices=DEVICE, passage_max_length=512)
    flag.encode_corpus(texts[:512])
    add("FlagModel.encode, batch 256, fp16", lambda: flag.encode_corpus(texts, batch_size=256, max_length=512))
    ours = SentenceTransformer(str(folder), device=DEVICE, model_kwargs={"dtype": torch.float16})
    ours.max_seq_length = 512
    ours.encode(texts[:512])
    add("SentenceTransformer.encode, batch 256, fp16", lambda: ours.encode(texts, batch_size=256))
    for precision in precisions:
        settings = ModelSettings(
            name_or_path=str(folder),
            model_class="encoder-only-base",
            pooling_method="mean",
            precision=precision,
            devices=(DEVICE,),
            passage_max_length=512,
        )
        encoder = FlagEncoder.load(settings)
        encode(encoder, texts[:512], "passages")
        dtype = next(encoder._model.model.parameters()).dtype
        assert str(dtype) == {"fp32": "torch.float32", "fp16": "torch.float16", "bf16": "torch.bfloat16"}[precision], dtype
        add(f"hnmine, {precision}", lambda encoder=encoder: encode(encoder, texts, "passages"))
        encoder.release()
    return rows


def mined(quick: bool, folder: Path) -> list[Row]:
    """Mine Cranfield on the CPU and on the GPU: how many of the negatives are the same."""
    import hnmine

    train, pool, what = cranfield(folder, 200 if quick else None)
    data = hnmine.read(train, pool=pool)
    rows: list[Row] = []
    first: set[tuple[str, str]] = set()
    for device, precision in (("cpu", "fp32"), (DEVICE, "fp32"), (DEVICE, "fp32"), (DEVICE, "bf16"), (DEVICE, "fp16")):
        seconds, ranking = seconds_of(
            lambda device=device, precision=precision: hnmine.rank(data, device=device, precision=precision, store=False)
        )
        table = ranking.select().to_pandas()
        negatives = set(zip(table["query"], table["negative"], strict=True))
        first = first or negatives
        same = len(first & negatives) / len(first)
        rows.append(
            {"what": f"mine {what}", "side": f"{device}, {precision}", "seconds": seconds, "result": f"{same:.1%} of the CPU's negatives"}
        )
    return rows


def million(quick: bool) -> list[Row]:
    """Encode and search a million passages of real length."""
    from hnmine.models.cards import ModelSettings
    from hnmine.models.encoder import FlagEncoder, encode
    from hnmine.retrieval.search import top_k

    passages, queries = sentences(2_000 if quick else 1_000_000, 40, 140, 5), sentences(100 if quick else 10_000, 8, 30, 6)
    encoder = FlagEncoder.load(ModelSettings(devices=(DEVICE,)))
    what = f"{len(passages):,} passages of 90 words, {len(queries):,} queries, fp16"
    encoded, vectors = seconds_of(lambda: encode(encoder, passages, "passages"))
    asked, wanted = seconds_of(lambda: encode(encoder, queries, "queries"))
    searched, _ = seconds_of(lambda: top_k(wanted, vectors, K, use_gpu=True))
    return [
        {"what": what, "side": "encode passages", "seconds": encoded},
        {"what": what, "side": "encode queries", "seconds": asked},
        {"what": what, "side": "search", "seconds": searched},
    ]


def main() -> None:
    quick = arguments(__doc__).quick
    import torch

    from hnmine.models.cards import packaged_folder
    from hnmine.retrieval.search import gpu_count

    if not torch.cuda.is_available() or gpu_count() == 0:
        print(f"no GPU to check: torch sees {torch.cuda.device_count()}, FAISS {gpu_count()}")
        sys.exit(0)
    peaks = {dtype: gemm_peak(dtype) for dtype in ("float32", "float16", "bfloat16")}
    facts: dict[str, Any] = {"device": torch.cuda.get_device_name(0)} | {f"{dtype} TFLOP/s": peak / 1e12 for dtype, peak in peaks.items()}
    texts = sentences(500 if quick else 50_000, 40, 220, 0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        parts: list[Callable[[], list[Row]]] = [
            lambda: same_bits(quick),
            lambda: search_speed(quick),
            lambda: mined(quick, folder),
            lambda: encode_speed("MiniLM", packaged_folder(), texts, ("fp32", "fp16", "bf16"), peaks["bfloat16"]),
            lambda: encode_speed("bge-base's shape", random_base(folder / "base"), texts, ("fp16", "bf16"), peaks["bfloat16"]),
            lambda: million(quick),
        ]
        rows: list[Row] = []
        for part in parts:
            rows += part()
            report("gpu_check", rows, facts)
    assert not any(row.get("result") == "NO" for row in rows), "search on the GPU gave other bits than on the CPU"


if __name__ == "__main__":
    main()
