"""100,000 verdicts: seconds of processor time to judge, import, undo and redo them as one batch, and of each new verdict after them.

The way of before is timed beside it where it is still there: all verdicts read, matched and applied again, in place of what has changed.
The times of the other steps before, measured with the same script, are in RESULTS.md.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from benchmarks.inspect import make_world
from benchmarks.measure import arguments, report
from hnmine.data.verdicts import Verdict, match_verdicts
from hnmine.review.store import ReviewStore


def processor_seconds(work: Callable[[], Any]) -> float:
    """Return the processor time of one call, of all threads."""
    began = time.process_time()
    work()
    return time.process_time() - began


def batches(folder: Path, pairs: list[tuple[str, str]]) -> dict[str, float]:
    """Time what is done with all pairs at once."""
    store, other = ReviewStore(folder / "judged.sqlite"), ReviewStore(folder / "imported.sqlite")
    times = {"judge": processor_seconds(lambda: store.decide(pairs, "negative", "Ann"))}
    seen = store.version()
    times["judge again"] = processor_seconds(lambda: store.decide(pairs, "relevant", "Bob", None))
    times["changes"] = processor_seconds(lambda: store.changes(seen))
    times["undo"] = processor_seconds(lambda: store.undo("Bob"))
    times["redo"] = processor_seconds(lambda: store.redo("Bob"))
    when = "2026-05-01T00:00:00Z"
    given = [
        Verdict(query=query, passage=passage, verdict="junk", when=when, who=who) for query, passage in pairs for who in ("Ann", "Bob")
    ]
    times["import of two reviewers"] = processor_seconds(lambda: other.add(given, "Cy"))
    times["the same import again"] = processor_seconds(lambda: other.add(given, "Cy"))
    times["undo of the import"] = processor_seconds(lambda: other.undo("Cy"))
    return times


def new_verdict(run_id: str) -> tuple[float, float, int]:
    """Judge the pairs of a run; return the seconds that one more verdict costs, now and as before, and the number of pairs."""
    from hnmine import resources
    from hnmine.runs.reviewed import apply_verdicts

    opened = resources.open_run(run_id)
    selection = resources.selection(opened, opened.run.settings.selection)
    corpus, store = opened.inputs.corpus, resources.reviews()
    rows, places = np.nonzero(selection.negatives >= 0)
    pairs = [(corpus.queries[row], corpus.passages[passage]) for row, passage in zip(rows, selection.negatives[rows, places], strict=True)]
    for verdict, part in (("positive", pairs[::20]), ("negative", [pair for number, pair in enumerate(pairs) if number % 20])):
        store.decide(part, verdict, "Ann")  # type: ignore[arg-type]
    inputs, ranking = opened.inputs, opened.ranking
    resources.open_run(run_id)
    now = []
    for pair in pairs[1:6]:
        store.decide([pair], "relevant", "Bob")
        now.append(processor_seconds(lambda: resources.open_run(run_id)))
    before = processor_seconds(lambda: apply_verdicts(inputs, ranking, match_verdicts(inputs.corpus, store.verdicts())))
    return min(now), before, len(pairs)


def main() -> None:
    """Run the benchmark."""
    quick = arguments(__doc__).quick
    queries, passages = (60, 300) if quick else (6_600, 20_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run_id = make_world(folder, queries, passages)
        held = os.environ.get("HNMINE_HOME")
        os.environ["HNMINE_HOME"] = str(folder / "workspace")
        st.cache_resource.clear()
        try:
            now, before, count = new_verdict(run_id)
        finally:
            st.cache_resource.clear()
            os.environ.pop("HNMINE_HOME")
            if held is not None:
                os.environ["HNMINE_HOME"] = held
        text = "says something of the usual length, which is three hundred letters for most passages. " * 3
        times = batches(folder, [(f"the query number {number % 9_000}", f"the passage {number} {text}") for number in range(15 * queries)])
    rows = [{"step": step, "seconds": seconds} for step, seconds in times.items()]
    rows.append({"step": "a new verdict: open the run", "seconds": now, "all again": before, "ratio": before / now})
    report("verdicts", rows, {"verdicts": count})


if __name__ == "__main__":
    main()
