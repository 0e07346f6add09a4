"""Rows at file speed: reading a pool, training rows and labelled pairs, building the corpus, and writing the rows back.

One million pool lines, 200,000 training rows and one million labelled pairs (CSV; five a query, spread over the file) are written with a
fixed seed to a temporary folder. Each side reads them in its own process, in turns, so that its peak memory is its own. Seconds are CPU
seconds, the least of three turns. *before* is hnmine as committed before it had readers of many formats; *pandas* joins pairs by
`read_csv` and `groupby`. The plain sides do less: they find no problems and keep no original bytes; hnmine checks every line, keeps the
bytes of each row, hashes the file, and normalises texts. A ratio is the seconds of a side over those of hnmine.
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.measure import ROOT, arguments, as_process, peak_memory, report

WORDS = 20_000
NEGATIVES = 15
PAIRS = 5  # of a query: one positive, the others negatives
BEFORE = "e49fbda"


def passages(count: int, seed: int, shortest: int, longest: int) -> Iterator[str]:
    """Yield texts of 300 to 1,000 characters, say: one in four is not ASCII, one in forty repeats another text."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("etaoinshrdlucmfwypvbgkjqxz", k=rng.randint(2, 10))) for _ in range(WORDS)]
    odd = ["café", "Straße", "naïve", "日本語", "“so”", "über", "–", "😀"]
    # A passage is a slice of one random sequence of words, which is much faster than drawing each word.
    walk = " ".join(words[int(WORDS * rng.random() ** 2)] for _ in range(400_000))
    for number in range(count):
        start = rng.randrange(len(walk) - longest)
        text = walk[start : start + rng.randint(shortest, longest)].strip()
        if number % 4 == 0:
            text = f"{odd[number % 7]} {text[: len(text) // 2]} {odd[number % 8]}{text[len(text) // 2 :]}"
        yield f"{text.capitalize()}. {number // 2 * 2 if number % 40 == 1 else number}"


def write_pool(path: Path, count: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for number, text in enumerate(passages(count, 1, 300, 1000)):
            file.write(json.dumps({"_id": f"doc{number}", "title": text[:24], "text": text}, ensure_ascii=False) + "\n")


def write_training(path: Path, count: int) -> None:
    rng = random.Random(2)
    known = list(passages(max(count, 20), 3, 200, 600))
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            texts = rng.sample(known, 10)
            row = {"query": f"{texts[0][:60]} {number}?", "pos": texts[:5], "neg": texts[5:], "prompt": "Find the passage: ", "id": number}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def write_pairs(path: Path, count: int) -> None:
    queries = count // PAIRS
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["query", "passage", "label"])
        for number, text in enumerate(passages(count, 6, 100, 300)):
            rows.writerow([f"which text is the one of number {number * 7919 % queries}?", text, int(number < queries)])


def json_pool(path: Path) -> dict[str, Callable[[], Any]]:
    seen: set[str] = set()

    def read() -> None:
        with path.open(encoding="utf-8") as file:
            for line in file:
                seen.add(json.loads(line)["text"])

    return {"read and unique": read}


def msgspec_pool(path: Path) -> dict[str, Callable[[], Any]]:
    import msgspec

    seen: set[str] = set()

    def read() -> None:
        with path.open("rb") as file:
            for line in file:
                seen.add(msgspec.json.decode(line)["text"])

    return {"read and unique": read}


def our_pool(path: Path) -> dict[str, Callable[[], Any]]:
    from hnmine.data.corpus import build_corpus
    from hnmine.data.reading import read_pool
    from hnmine.data.rows import Row

    texts: list[str] = []

    def unique() -> None:
        build_corpus([Row(1, "a question", ["its answer"], [], {})], texts)

    return {"read": lambda: texts.extend(read_pool(path).items), "unique": unique}


def pool_before(path: Path) -> dict[str, Callable[[], Any]]:
    from hnmine.rows import read_pool

    return {"read": lambda: read_pool(path).items}


def draw(rows: list[dict[str, Any]]) -> None:
    """Give every row negatives, as mining would."""
    rng = random.Random(4)
    known = sorted({text for row in rows for text in (*row["pos"], *row["neg"])})
    for row in rows:
        row["neg"] = rng.sample(known, NEGATIVES)


def json_training(path: Path) -> dict[str, Callable[[], Any]]:
    rows: list[Any] = []

    def read() -> None:
        with path.open(encoding="utf-8") as file:
            rows.extend(map(json.loads, file))

    def write() -> None:
        with path.with_suffix(".json").open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")

    return {"read": read, "": lambda: draw(rows), "write": write}


def msgspec_training(path: Path) -> dict[str, Callable[[], Any]]:
    import msgspec

    rows: list[Any] = []

    def read() -> None:
        with path.open("rb") as file:
            rows.extend(map(msgspec.json.decode, file))

    def write() -> None:
        with path.with_suffix(".msgspec").open("wb") as file:
            for row in rows:
                file.write(msgspec.json.encode(row) + b"\n")

    return {"read": read, "": lambda: draw(rows), "write": write}


def our_training(path: Path) -> dict[str, Callable[[], Any]]:
    import numpy as np

    from hnmine.core.files import write_atomic
    from hnmine.data.corpus import build_corpus
    from hnmine.data.reading import read_training
    from hnmine.export.json_lines import flagembedding_lines

    held: dict[str, Any] = {}

    def read() -> None:
        held["rows"] = read_training(path).items

    def unique() -> None:
        held["corpus"] = build_corpus(held["rows"])

    def drawn() -> None:
        shape = (len(held["corpus"].queries), NEGATIVES)
        ids = np.random.default_rng(4).integers(0, len(held["corpus"].passages), shape, dtype=np.int32)
        held["selection"] = SimpleNamespace(negatives=ids)

    def write() -> None:
        write_atomic(path.with_suffix(".ours"), flagembedding_lines(held["rows"], held["corpus"], held["selection"]))

    return {"read": read, "unique": unique, "": drawn, "write": write}


def training_before(path: Path) -> dict[str, Callable[[], Any]]:
    from hnmine.rows import read_training

    return {"read": lambda: read_training(path).items}


def pandas_pairs(path: Path) -> dict[str, Callable[[], Any]]:
    import pandas as pd

    def read() -> list[dict[str, Any]]:
        frame = pd.read_csv(path)
        parts = (frame[frame["label"] == label].groupby("query", sort=False)["passage"].agg(list) for label in (1, 0))
        joined = pd.concat(parts, axis=1, keys=("pos", "neg")).reset_index()
        return joined.to_dict("records")

    return {"read": read}


def our_pairs(path: Path) -> dict[str, Callable[[], Any]]:
    from hnmine.data.reading import read_training

    return {"read": lambda: read_training(path).items}


SIDES = {
    "pool": {"json.loads": json_pool, "msgspec": msgspec_pool, "before": pool_before, "hnmine": our_pool},
    "training": {"json.loads": json_training, "msgspec": msgspec_training, "before": training_before, "hnmine": our_training},
    "pairs": {"pandas": pandas_pairs, "hnmine": our_pairs},
}


def unpack_before(folder: Path) -> bool:
    """Unpack hnmine as it was at BEFORE into a folder; return False where git does not have it."""
    archive = subprocess.run(["git", "archive", BEFORE, "hnmine"], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        return False
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as members:
        members.extractall(folder, filter="data")
    return True


def turn(file: str, side: str, path: Path) -> None:
    """Do one side's work in this process and leave its seconds and peak memory beside the file."""
    if side == "before":
        sys.path.insert(0, str(path.parent / "before"))
    found: dict[str, Any] = {}
    for stage, work in SIDES[file][side](path).items():
        began = time.process_time()
        work()
        found[stage] = time.process_time() - began
        found[f"{stage} peak"] = peak_memory()
    path.with_suffix(".turn").write_text(json.dumps(found))


def main() -> None:
    options = arguments(__doc__, turn="", path="")
    if options.turn:
        turn(*options.turn.split("/"), Path(options.path))
        return
    sizes = {"pool": 1_000_000, "training": 200_000, "pairs": 1_000_000}
    if options.quick:
        sizes = {file: size // 100 for file, size in sizes.items()}
    turns = 1 if options.quick else 3
    rows: list[dict[str, Any]] = []
    facts: dict[str, Any] = {"turns, the least counts": turns, "load before": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as folder:
        if not unpack_before(Path(folder) / "before"):
            facts["before"] = f"left out: this checkout does not have the commit {BEFORE}"
        for file, write in (("pool", write_pool), ("training", write_training), ("pairs", write_pairs)):
            path = Path(folder) / f"{file}.{'csv' if file == 'pairs' else 'jsonl'}"
            write(path, sizes[file])
            size = path.stat().st_size / 1e6
            facts[file] = f"{sizes[file]:,} lines, {size:,.0f} MB"
            best: dict[str, dict[str, float]] = {}
            for _ in range(turns):
                for side in SIDES[file]:
                    if side == "before" and "before" in facts:
                        continue
                    as_process([sys.executable, "-m", "benchmarks.rows", "--turn", f"{file}/{side}", "--path", str(path)])
                    found = json.loads(path.with_suffix(".turn").read_text())
                    known = best.setdefault(side, found)
                    best[side] = {stage: min(value, known[stage]) for stage, value in found.items()}
            ours = best["hnmine"]
            for side, found in best.items():
                for stage, seconds in found.items():
                    if not stage or stage.endswith("peak"):
                        continue
                    same = ours["read"] + ours["unique"] if stage == "read and unique" else ours[stage]
                    written = path.with_suffix({"json.loads": ".json", "msgspec": ".msgspec"}.get(side, ".ours"))
                    moved = written.stat().st_size / 1e6 if stage == "write" else size
                    rows.append(
                        {
                            "file": file,
                            "side": side,
                            "stage": stage,
                            "cpu seconds": seconds,
                            "ratio": seconds / same,
                            "MB/s": moved / seconds,
                            "rows/s": sizes[file] / seconds,
                            "peak MB": found[f"{stage} peak"] / 1e6,
                        }
                    )
            path.unlink()
    report("rows", rows, facts)


if __name__ == "__main__":
    main()
