"""Runs through a server of models on this machine: the same negatives as the loaded model, a server that is killed, and each fault.

The server is `examples/served_models.py` with the packaged model in float32, a process of its own. Each API must give the negatives and the
scores of the model that is loaded here. A server that is killed in mid-run (SIGKILL) must cost no text that was stored. Each fault must
end in one error, or be got over, and the run after it must give the same bytes. A line is printed for each trial.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import numpy as np

import hnmine
from benchmarks.sets import cranfield
from hnmine import ModelSettings, find_knn_neg
from hnmine.core.errors import EncodeError, HnmineError
from hnmine.models.reranker import RerankerSettings
from hnmine.models.served import client, probe
from hnmine.models.served.server import Server
from tests.campaign.campaign import Outcome
from tests.conftest import ROOT
from tests.rerankers import save_cross_encoder

# Passages of Cranfield.
SIZE = 1_398
# Passages and rows of a trial with a fault, and the seconds that the server may take for anything.
FEW, PATIENT = 40, 600.0
LENGTH, NAME = 256, "all-MiniLM-L6-v2"
EMBEDDERS = {"/v1/embeddings": "OpenAI, vLLM", "/embed": "TEI"}
RERANKERS = {"/rerank": "TEI", "/v1/rerank": "Jina, Cohere", "/score": "vLLM"}
FAULTS: dict[str, dict[str, Any]] = {
    "busy": {"times": 2, "milliseconds": 20}, "failing": {"times": 2}, "cut": {"times": 2}, "wrong_key": {}, "redirect": {}, "hang": {},
    "not_json": {}, "huge": {}, "wrong_dimensions": {}, "nan": {}, "fewer": {}, "duplicated": {}, "swapped": {},
}  # fmt: skip
# These are got over; the others end a run.
PASSING = ("busy", "failing", "cut")


class _Process:
    """The server, as a process."""

    def __init__(self, reranker: Path, port: int = 0) -> None:
        words = [sys.executable, str(ROOT / "examples" / "served_models.py"), "--port", str(port), "--max_tokens", str(LENGTH)]
        self.process = subprocess.Popen([*words, "--reranker", str(reranker)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address, "the server has ended"
        self.port = int(self.address.rpartition(":")[2])

    def ask(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(self.address + path, data, timeout=PATIENT) as answer:
            return json.load(answer)

    def seen(self, path: str) -> tuple[int, int, int]:
        """Return how many texts were answered, how many different ones, and how many of these twice; the latter two without probes."""
        found = self.ask("/seen").get(path, {"texts": 0, "different": 0, "repeated": 0, "first_repeated": []})
        probes = sum(text in probe.TEXTS for text in found["first_repeated"])
        return found["texts"], found["different"] - len(probe.TEXTS), found["repeated"] - probes

    def end(self, number: int = signal.SIGTERM) -> None:
        with self.process:  # which waits for it, and closes its output
            self.process.send_signal(number)


class _Trials:
    """Files, the server, and what came out."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.outcome = folder, Outcome(name="served_runs")
        (folder / "all").mkdir()
        (folder / "few").mkdir()
        self.all = cranfield(folder / "all", size)[:2]
        self.few = cranfield(folder / "few", min(FEW, size))[:2]
        self.reranker = save_cross_encoder(folder / "reranker")
        self.server = _Process(self.reranker)

    def model(self, path: str = "", **more: Any) -> ModelSettings:
        return ModelSettings(name_or_path=NAME, server=Server(address=self.server.address + path, **more))

    def mine(self, model: ModelSettings, name: str, files: tuple[Path, Path], **more: Any) -> tuple[Any, list[dict[str, Any]]]:
        output = self.folder / f"{name}.jsonl"
        summary = find_knn_neg(
            model, *files, output, [2, 40], 7, False, manifest=False, store=more.pop("store", self.folder / f"store {name}"), **more
        )
        return summary, [json.loads(line) for line in output.read_text("utf-8").splitlines()]

    def check(self, name: str, ok: bool, said: str) -> None:
        self.outcome.tried += 1
        print(f"    {name:<28} {'yes' if ok else 'NO':<4} {said}", flush=True)
        if not ok:
            self.outcome.failed.append(f"{name}: {said}")


def run(size: int, seed: int) -> Outcome:
    """Run all trials with so many passages."""
    with tempfile.TemporaryDirectory() as name:
        trials = _Trials(Path(name), size)
        try:
            _equal(trials)
            _killed(trials)
            _faults(trials)
        finally:
            trials.server.end()
    return trials.outcome


def _equal(trials: _Trials) -> None:
    """Mine with each API, and with the models loaded here."""
    loaded = {"devices": ("cpu",), "precision": "fp32"}
    model = ModelSettings(query_max_length=LENGTH, passage_max_length=LENGTH, **loaded)
    _, wanted = trials.mine(model, "loaded", trials.all)
    for path, api in EMBEDDERS.items():
        began = time.monotonic()
        summary, found = trials.mine(trials.model(path), f"of {api}", trials.all)
        same = sum(one["neg"] == other["neg"] for one, other in zip(wanted, found, strict=True))
        seconds = f"{summary.vectors['encoded']:,} texts in {time.monotonic() - began:,.0f} s"
        repeated = trials.server.seen(path)[2]
        said = f"{same:,} of {len(wanted):,} rows have equal negatives; {seconds}; {repeated} texts asked twice"
        trials.check(f"{path} ({api})", found == wanted and repeated == 0, said)
    data = hnmine.read(trials.few[0], pool=trials.few[1])

    def scores(reranker: RerankerSettings) -> np.ndarray:
        found = hnmine.rank(data, model=model, reranker=reranker, store=trials.folder / "store loaded").signals["reranker"]
        return found[np.isfinite(found)]

    logits = scores(RerankerSettings(name_or_path=str(trials.reranker), max_length=LENGTH, depth=10, **loaded))
    for path, api in RERANKERS.items():
        found = scores(RerankerSettings(name_or_path=NAME, depth=10, server=Server(address=trials.server.address + path)))
        raw = path != "/v1/rerank"  # the others are asked for logits
        wanted = logits if raw else (1 / (1 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
        same = int((found == wanted).sum()) if found.shape == wanted.shape else 0
        said = f"{same:,} of {len(wanted):,} scores are equal ({'raw logits' if raw else 'probabilities'})"
        trials.check(f"{path} ({api})", same == len(wanted) > 0, said)


def _killed(trials: _Trials) -> None:
    """Kill the server in mid-run, start it again, and run again."""
    path, store = "/v1/embeddings", trials.folder / "store killed"
    server, before = trials.server, trials.server.seen(path)[0]
    part = len(trials.all[1].read_text("utf-8").splitlines()) // 3
    settings = msgspec.structs.replace(trials.model(concurrency=2), batch_size=8)
    ended = threading.Event()

    def kill() -> None:
        while not ended.is_set() and server.seen(path)[0] - before < part:
            time.sleep(0.05)
        server.end(signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    said = "no error"
    try:
        with mock.patch.object(client, "PATIENCE_UNREACHED", 1.0):
            trials.mine(settings, "killed", trials.all, store=store)
    except EncodeError as error:
        said = str(error)
    ended.set()
    killer.join()
    trials.check("killed in mid-run", "cannot be reached" in said and "Start it or wait, then run again" in said, said)
    trials.server = _Process(trials.reranker, server.port)
    summary, found = trials.mine(settings, "killed", trials.all, store=store)
    _, asked, repeated = trials.server.seen(path)
    stored, encoded = summary.vectors["stored"], summary.vectors["encoded"]
    _, wanted = trials.mine(trials.model(), "of OpenAI, vLLM", trials.all)
    wrote = stored > 0 or part < FEW  # vectors are stored every 5 s, so a small run may have none when it is killed
    ok = found == wanted and wrote and asked == encoded and repeated == 0
    trials.check(
        "started and run again", ok, f"{stored:,} vectors stored before, {encoded:,} encoded now, {asked:,} texts asked, {repeated} twice"
    )


def _faults(trials: _Trials) -> None:
    """Switch each fault on in mid-run, then off, and run again."""
    _, wanted = trials.mine(trials.model(), "few", trials.few)
    for kind, more in FAULTS.items():
        settings = trials.model(concurrency=1, timeout=2.0 if kind == "hang" else PATIENT)
        settings = msgspec.structs.replace(settings, batch_size=8)
        trials.server.ask("/faults", {"kind": kind, "after": 3, **more})
        said = "got over"
        store = trials.folder / f"store {kind}"
        with mock.patch.multiple(client, FIRST_PAUSE=0.05, PATIENCE=5.0, PATIENCE_BROKEN=5.0, MOST_BYTES=2**24):
            try:
                trials.mine(settings, kind, trials.few, store=store)
            except HnmineError as error:
                said = f"{type(error).__name__}: {error}"
        trials.server.ask("/faults", {"kind": "none"})
        before = trials.server.seen("/v1/embeddings")[0]
        summary, found = trials.mine(settings, kind, trials.few, store=store)
        ok = found == wanted and (said == "got over") == (kind in PASSING) and summary.vectors["stored"] >= 14
        asked = trials.server.seen("/v1/embeddings")[0] - before
        trials.check(kind, ok, f"{said}\n{'':<37}then {summary.vectors['stored']} stored, {asked} asked, with probes")
