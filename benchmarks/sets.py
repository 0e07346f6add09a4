"""The input of the benchmarks: Cranfield if it is beside the checkout, else generated texts of similar lengths."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from benchmarks.measure import DATA

WORDS = np.array([first + second for first in ("ba", "co", "di", "fu", "ge", "lo", "mi", "na", "pe", "ru", "sa", "ti") for second in (
    "ment", "tion", "ding", "lor", "ster", "ble", "gen", "vas", "rin", "tock", "pel", "mon", "dar", "lix", "quer", "zan",
)])  # fmt: skip


def sentences(count: int, low: int, high: int, seed: int) -> list[str]:
    """Return `count` different texts of `low` to `high` made-up words."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(low, high + 1, count)
    words = WORDS[rng.integers(0, len(WORDS), int(lengths.sum()))]
    ends = np.cumsum(lengths)
    return [f"{number} " + " ".join(words[end - length : end]) for number, (end, length) in enumerate(zip(ends, lengths, strict=True))]


def cranfield(folder: Path, passages: int | None = None) -> tuple[Path, Path, str]:
    """Put a training file and a pool into `folder`; return both paths and what they are.

    Args:
        passages: at most so many pool passages, and rows in proportion; None takes all.
    """
    train, pool = folder / "train.jsonl", folder / "pool.jsonl"
    source = DATA / "cranfield"
    if source.is_dir():
        rows, texts = ((source / name).read_text("utf-8").splitlines() for name in ("train.jsonl", "pool.jsonl"))
        what = "Cranfield"
    else:
        texts = [json.dumps({"text": text}) for text in sentences(1_398, 40, 220, 0)]
        rows = [
            json.dumps({"query": query, "pos": [json.loads(texts[number])["text"]]})
            for number, query in enumerate(sentences(225, 8, 30, 1))
        ]
        what = "generated texts of about Cranfield's lengths"
    if passages is not None and passages < len(texts):
        rows = rows[: max(1, len(rows) * passages // len(texts))]
        texts = texts[:passages]
        what = f"the first {passages:,} passages of {what}"
    train.write_text("".join(f"{row}\n" for row in rows), "utf-8")
    pool.write_text("".join(f"{text}\n" for text in texts), "utf-8")
    return train, pool, what


def emptied(folder: Path) -> Path:
    """Return `folder`, removed with all it holds."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder
