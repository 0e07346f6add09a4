"""The cost of everything but the model against the size of the corpus: 1,000 to 10,000,000 passages, 10,000 queries.

Each size runs in its own process, with its temporary files in TMPDIR (25 GB for 10,000,000). The peaks of each stage are
resident memory: "MB" with the pages of mapped files, "anonymous" without them, sampled every 10 ms. The encoder is a fake
(a projection of each text's hash), so its time is meaningless; its vectors are stored as float16. A slope is that of
log(seconds) over log(passages) between the two largest sizes: 1 is linear.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import arguments, peak_memory, report
from benchmarks.sets import sentences

DIMENSION, QUERIES = 384, 10_000
SIZES = "1000,10000,100000,1000000,10000000"
STAGES = ("read", "unique", "encode", "search", "select", "export")
# Texts that are generated at a time; in each, some repeat others in capital letters.
CHUNK, REPEATED = 10_000, 200


class Projection:
    """A fake Encoder with negligible cost."""

    def __init__(self) -> None:
        self.matrix = np.random.default_rng(3).standard_normal((64, DIMENSION)).astype(np.float32)

    def encode_batches(self, texts: Sequence[str], side: str, **_: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(texts), 8_192):
            digests = b"".join(hashlib.blake2b(text.encode()).digest() for text in texts[start : start + 8_192])
            vectors = (np.frombuffer(digests, np.uint8).reshape(-1, 64).astype(np.float32) - 127.5) @ self.matrix
            yield np.arange(start, start + len(vectors)), vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def identity(self, side: str) -> str:
        return '{"name": "projection"}'

    def describe(self) -> dict[str, Any]:
        return {"name": "projection", "precision": "bf16"}


class Meter:
    """Seconds, seconds of the processors, and peaks of stages, into `line`."""

    def __init__(self, line: dict[str, Any]) -> None:
        self.line = line

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        self._reset()
        highest, ended = [0], threading.Event()

        def watch() -> None:
            while not ended.wait(0.01):
                highest[0] = max(highest[0], _status("RssAnon:"))

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        began, worked = time.perf_counter(), time.process_time()
        yield
        self.line[stage] = time.perf_counter() - began
        self.line[f"{stage} cpu"] = time.process_time() - worked
        ended.set()
        thread.join()
        self.line[f"{stage} MB"] = peak_memory() / 2**20
        self.line[f"{stage} anonymous"] = max(highest[0], _status("RssAnon:")) / 2**20

    @staticmethod
    def _reset() -> None:
        """Begin a new peak, where the system can."""
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> int:
    try:
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        return 0


def write_inputs(folder: Path, size: int, count: int) -> None:
    """Write a pool of `size` lines, and `count` training rows with a positive each from the beginning of the pool."""
    queries = sentences(min(count, size), 6, 14, 1)
    with (folder / "pool.jsonl").open("w") as pool, (folder / "train.jsonl").open("w") as train:
        for first in range(0, size, CHUNK):
            texts = [f"{first // CHUNK} {text}" for text in sentences(min(CHUNK, size - first), 30, 90, 2 + first // CHUNK)]
            repeated = len(texts) * REPEATED // CHUNK
            texts[len(texts) - repeated :] = [text.upper() for text in texts[:repeated]]
            pool.writelines(json.dumps({"text": text}) + "\n" for text in texts)
            rows = zip(queries[first : first + CHUNK], texts, strict=False)
            train.writelines(json.dumps({"query": query, "pos": [text]}) + "\n" for query, text in rows)


def _bytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def measure(size: int, queries: int) -> dict[str, Any]:
    """Mine a corpus of `size` passages; return seconds and peaks of each stage."""
    from hnmine.core.files import write_atomic
    from hnmine.core.progress import Stages
    from hnmine.core.scratch import scratch_folder
    from hnmine.data.dataset import gather, read_files
    from hnmine.data.verdicts import match_verdicts
    from hnmine.export.json_lines import flagembedding_lines
    from hnmine.runs.mine import MineSettings, finish, rank_data
    from hnmine.runs.reviewed import apply_verdicts
    from hnmine.vectors.store import VectorStore, vectors_of

    line: dict[str, Any] = {"passages": size}
    stage = Meter(line)
    settings = MineSettings()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, size, queries)
        with stage("read"):
            files = read_files(folder / "train.jsonl", folder / "pool.jsonl")
        with stage("unique"):
            inputs = gather(files)
        line["unique passages"] = len(inputs.corpus.passages)
        line["input MB"], line["texts MB"] = _bytes(folder), _bytes(scratch_folder())
        with stage("encode"):
            vectors_of(Projection(), inputs.corpus.passages, "passages", VectorStore(folder / "vectors"))
        line["store MB"] = _bytes(folder / "vectors")
        with stage("search"):
            ranked = rank_data(inputs, settings, Projection, store=VectorStore(folder / "vectors"), stages=Stages(None))
        line["vectors found again"], line["search"] = ranked.timings["encode"], ranked.timings["search"]
        with stage("select"):
            reviewed = apply_verdicts(inputs, ranked.ranking, match_verdicts(inputs.corpus, ()))
            selection = reviewed.select(settings.selection)
            finish(ranked, settings, reviewed, selection, stages=Stages(None))
        with stage("export"):
            write_atomic(folder / "out.jsonl", flagembedding_lines(inputs.rows, inputs.corpus, selection))
    return line | {"all": sum(line[each] for each in STAGES)}


def _slope(lines: list[dict[str, Any]], figure: str) -> float:
    smaller, larger = (max(line[figure], 1e-4) for line in lines)
    return math.log(larger / smaller) / math.log(lines[1]["passages"] / lines[0]["passages"])


def main() -> None:
    if "--size" in sys.argv:
        parser = argparse.ArgumentParser()
        parser.add_argument("--size", type=int, required=True)
        parser.add_argument("--queries", type=int, required=True)
        print(json.dumps(measure(**vars(parser.parse_args()))))
        return
    given = arguments(__doc__, sizes=SIZES, queries=QUERIES)
    sizes = [1_000, 5_000] if given.quick else [int(size) for size in given.sizes.split(",")]
    lines: list[dict[str, Any]] = []
    for size in sizes:
        command = [sys.executable, "-m", "benchmarks.scale", "--size", str(size), "--queries", str(given.queries)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        lines.append(json.loads(done.stdout))
        print(done.stdout, end="", flush=True)
    facts: dict[str, Any] = {"queries": given.queries, "dimension": DIMENSION, "vectors": "float16"}
    for stage in (*STAGES, "vectors found again", "all") if len(lines) > 1 else ():
        facts[f"slope of {stage}"] = _slope(lines[-2:], stage)
        if stage in STAGES:  # of a machine that does other work too, this one says more
            facts[f"slope of {stage}, cpu"] = _slope(lines[-2:], f"{stage} cpu")
    rows: list[dict[str, Any]] = []
    for line in lines:
        for each in STAGES:
            peaks = {"MB": line[f"{each} MB"], "anonymous": line[f"{each} anonymous"]}
            rows.append({"passages": line["passages"], "stage": each, "seconds": line[each], "cpu": line[f"{each} cpu"]} | peaks)
        rows[-1] |= {key: line[key] for key in ("all", "vectors found again", "input MB", "texts MB", "store MB")}
    report("scale", rows, facts)


if __name__ == "__main__":
    main()
