"""SIGKILL at random moments: of the command line, of the screens of a server, and of two processes that use one store at once.

After each kill the work is done again. Nothing that was acknowledged is lost, no output is half written, vectors that were stored are not
encoded again, the bytes are those of an undisturbed run, and a day later no temporary file is left.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hnmine.vectors.store import VectorStore
from tests.campaign.campaign import Outcome
from tests.conftest import EXAMPLE, ROOT

SIZE = 140
ROWS, POOL = 25, 150
_INPUTS = ["--input_file", "@/train.jsonl", "--candidate_pool", "@/pool.jsonl"]
_QUIET = ["--quiet", "--json", "--store", "@/vectors", "--output_file"]
_MINE = ["mine", *_INPUTS, "--range_for_sampling", "0-30", "--negative_number", "3", *_QUIET]
COMMANDS: dict[str, list[str]] = {
    "mine": [*_MINE, "@/out.jsonl"],
    "two retrievers": [*_MINE, "@/out.jsonl", "--retrievers", "model", "bm25"],
    "a reranker": [*_MINE, "@/out.jsonl", "--reranker_name_or_path", str(ROOT), "--rerank_top_k", "12"],
    "a folder": [*_MINE, "@/folder", "--output_format", "datasets"],
    "a split with scores": [*_MINE, "@/out.jsonl", "--dev_share", "0.2", "--with_scores"],
    "repaired": [*_MINE, "@/out.jsonl", "--repair_output", "all"],
    "a manifest": ["mine", *_INPUTS, *_QUIET, "@/out.jsonl", "--from_manifest", "@/old.manifest.json"],
}
OLD = 3 * 24 * 60 * 60


class Children:
    """The process that forks the children."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.number = folder, 0
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "HNMINE_HOME": str(folder / "home")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.campaign.killed"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env=environment,
        )

    def run(self, *jobs: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
        """Run children at the same time; return the status of each, and what it wrote at its end."""
        sent = []
        for job in jobs:
            self.number += 1
            named = {"result": str(self.folder / f"result-{self.number}"), "kind": "write", "at": None, "environment": {}}
            sent.append(named | job)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(sent) + "\n")
        self.process.stdin.flush()
        statuses = json.loads(self.process.stdout.readline())
        found = []
        for status, job in zip(statuses, sent, strict=True):
            path = Path(job["result"])
            found.append((status, json.loads(path.read_text()) if path.exists() else {}))
            path.unlink(missing_ok=True)
        return found

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(120)
        self.process.stdout.close()


@contextmanager
def children() -> Iterator[Children]:
    """Yield the process that forks, with a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="campaign-kills-", ignore_cleanup_errors=True) as name:
        started = Children(Path(name))
        try:
            yield started
        finally:
            started.close()


def outputs(folder: Path) -> dict[str, bytes]:
    """Return the files that a command writes, but for times in manifests and cards."""
    known = ("train.jsonl", "pool.jsonl", "old.jsonl", "old.manifest.json")
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and not {"vectors", "tmp"} & set(path.relative_to(folder).parts)]
    return {
        path.relative_to(folder).as_posix(): b"" if path.name.endswith(("manifest.json", "README.md")) else path.read_bytes()
        for path in paths
        if path.name not in known and not any(part.endswith(".tmp") for part in path.relative_to(folder).parts)
    }


def make_older(folder: Path) -> None:
    """Let some days pass."""
    then = time.time() - OLD
    for path in folder.rglob("*"):
        if not path.is_symlink():
            with suppress(OSError):
                os.utime(path, (then, then))


def leftovers(folder: Path) -> list[str]:
    """Return temporary files and folders: all of TMPDIR, and those beside the outputs."""
    beside = [path.name for path in folder.rglob(".*") if "vectors" not in path.relative_to(folder).parts]
    return beside + [path.name for path in (folder / "tmp").iterdir()]


class Commands:
    """The trials of the command line."""

    def __init__(self, run: Children, chance: random.Random) -> None:
        self.run, self.chance = run, chance
        self.template, self.folder = run.folder / "template", run.folder / "trial"
        (self.template / "tmp").mkdir(parents=True)
        for file, number in (("train.jsonl", ROWS), ("pool.jsonl", POOL)):
            lines = (EXAMPLE / file).read_text("utf-8").splitlines(keepends=True)[:number]
            (self.template / file).write_text("".join(lines), "utf-8")
        ((status, said),) = run.run(self.job([*_MINE, "@/old.jsonl"], self.template))
        assert not status, said
        shutil.rmtree(self.template / "vectors")
        self.known: dict[str, tuple[dict[str, bytes], dict[str, int], float]] = {}

    def job(self, flags: list[str], folder: Path) -> dict[str, Any]:
        arguments = [flag.replace("@", str(folder)) for flag in flags]
        return {"work": "command", "arguments": arguments, "environment": {"TMPDIR": str(folder / "tmp")}}

    def fresh(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.template, self.folder)

    def reference(self, name: str) -> tuple[dict[str, bytes], dict[str, int], float]:
        """Return the outputs of an undisturbed run, how many moments it has, and its seconds."""
        if name not in self.known:
            self.fresh()
            ((status, said),) = self.run.run(self.job(COMMANDS[name], self.folder))
            assert not status, (name, said)
            counts = {"write": said["write"], "call": said["call"]}
            self.fresh()
            began = time.monotonic()
            self.run.run(self.job(COMMANDS[name], self.folder) | {"kind": "none", "at": 0})
            self.known[name] = outputs(self.folder), counts, time.monotonic() - began
        return self.known[name]

    def trial(self, name: str, kind: str) -> str:
        """Kill a command at a moment, and run it again; return what is wrong."""
        wanted, counts, seconds = self.reference(name)
        at = self.chance.random() * seconds if kind == "time" else self.chance.randrange(1, counts[kind] + 1)
        where = f"{name}, killed at {kind} {at:.3f}" if kind == "time" else f"{name}, killed at {kind} {at:,} of {counts[kind]:,}"
        self.fresh()
        job = self.job(COMMANDS[name], self.folder)
        ((status, said),) = self.run.run(job | {"kind": kind, "at": at})
        if status not in (0, -9):
            return f"{where}: status {status}: {said.get('said')}"
        for path, content in outputs(self.folder).items():
            if path in wanted and content != wanted[path]:
                return f"{where}: {path} is half written"
            if path not in wanted and not path.startswith("."):
                return f"{where}: {path} is left"
        store = self.folder / "vectors"
        kept = {"vectors": 0, "pairs": 0}
        for each in VectorStore(store).usage() if store.exists() else []:
            kept["pairs" if each.dimension == 1 else "vectors"] += each.rows
        make_older(self.folder)
        ((status, said),) = self.run.run(job | {"kind": "none", "at": 0})
        if status:
            return f"{where}: the next run has status {status}: {said.get('said')}"
        summary = json.loads(said["said"].strip().splitlines()[-1])
        if (found := outputs(self.folder)) != wanted:
            return f"{where}: the next run writes other bytes: {sorted(found.keys() ^ wanted.keys())}"
        for what, number in kept.items():
            if summary[what].get("stored", 0) < number:
                return f"{where}: {number:,} {what} were stored, {summary[what]} are used"
        left = leftovers(self.folder)
        return f"{where}: leaves {left}" if left else ""


class Screens:
    """The trials of a server."""

    def __init__(self, run: Children, chance: random.Random) -> None:
        from tests.campaign import disk_screens

        self.run, self.chance = run, chance
        self.template = run.folder / "screens" / "workspace"
        self.template.parent.mkdir()
        self.world = disk_screens.prepare(self.template)
        self.arrays = ""

    def trial(self, kind: str) -> str:
        """Kill a server that does some actions, start it again, and compare; return what is wrong."""
        from tests.campaign.killed_screens import ACTS

        acts = self.chance.sample(ACTS, 3)
        root, seed = self.run.folder / "server" / "workspace", self.chance.randrange(1_000)
        shutil.rmtree(root.parent, ignore_errors=True)
        shutil.copytree(self.template, root)
        (root.parent / "tmp").mkdir()
        job = {"work": "acts", "acts": acts, "root": str(root), "world": asdict(self.world), "seed": seed}
        job |= {"acknowledged": str(root.parent / "acknowledged"), "environment": {"TMPDIR": str(root.parent / "tmp")}}
        at = self.chance.randrange(1, {"write": 60, "call": 1_500_000}.get(kind, 2)) if kind != "time" else 3 * self.chance.random()
        where = f"{', '.join(acts)} (seed {seed}), killed at {kind} {at:,}"
        ((status, said),) = self.run.run(job | {"kind": kind, "at": at})
        if status not in (0, -9):
            return f"{where}: status {status}: {said.get('said')}"
        path = Path(str(job["acknowledged"]))
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        make_older(root.parent)
        job |= {"work": "after", "found": str(root.parent / "found")}
        ((status, said),) = self.run.run(job | {"kind": "none", "at": 0})
        if status:
            return f"{where}: after a restart: {said.get('said')}"
        found = json.loads((root.parent / "found").read_text())
        if lines:
            for name in ("verdicts", "variants", "datasets", "runs"):
                if lost := [each for each in lines[-1][name] if each not in found[name]]:
                    return f"{where}: acknowledged {name} are lost: {lost[:3]}"
        if found["damaged"] or found["failed"]:
            return f"{where}: {found['damaged'] + found['failed']}"
        for arrays in found["arrays"]:
            self.arrays = self.arrays or arrays
            if arrays != self.arrays:
                return f"{where}: the resumed job has other scores"
        return f"{where}: leaves {found['left']}" if found["left"] else ""


def together(commands: Commands) -> str:
    """Mine the same data twice at the same moment, and prune the store meanwhile; return what is wrong."""
    wanted = commands.reference("mine")[0]
    commands.fresh()
    folder = commands.folder
    (folder / "vectors").mkdir()
    again = [flag.replace("@/out.jsonl", "@/other.jsonl") for flag in COMMANDS["mine"]]
    jobs = [commands.job(COMMANDS["mine"], folder), commands.job(again, folder)]
    jobs += [commands.job(["cache", "prune", "--everything", "--store", "@/vectors"], folder) for _ in range(2)]
    for status, said in commands.run.run(*(job | {"kind": "none", "at": 0} for job in jobs)):
        if status:
            return f"two at once: status {status}: {said.get('said')}"
    found = outputs(folder)
    if not found["out.jsonl"] == found["other.jsonl"] == wanted["out.jsonl"]:
        return "two at once: other bytes"
    ((status, said),) = commands.run.run(commands.job(["cache", "verify", "--store", "@/vectors"], folder) | {"kind": "none", "at": 0})
    return f"two at once: the store is damaged: {said.get('said')}" if status else ""


def run(size: int, seed: int) -> Outcome:
    """Try `size` kills: of the command line, of a server, and two processes at once."""
    outcome, chance = Outcome(name="kills"), random.Random(seed)
    if not hasattr(os, "fork"):
        outcome.figures = "not possible on this system"
        outcome.tried = size
        return outcome
    kinds: dict[str, int] = {}
    with children() as forked:
        commands, screens = Commands(forked, chance), Screens(forked, chance)
        while outcome.tried < size:
            number = outcome.tried
            trial: Callable[[], str]
            kind = ("write", "call", "time")[number // 7 % 3]
            if number % 7 in (2, 5):
                name, trial = "a server", lambda kind=kind: screens.trial(kind)  # type: ignore[misc]
            elif number % 14 == 13:
                name, trial = "two at once", lambda: together(commands)
            else:
                command = chance.choice(list(COMMANDS))
                name, trial = "a command", lambda command=command, kind=kind: commands.trial(command, kind)  # type: ignore[misc]
            outcome.tried += 1
            kinds[name] = kinds.get(name, 0) + 1
            if failure := trial():
                outcome.failed.append(failure)
    outcome.figures = ", ".join(f"{number:,} of {name}" for name, number in kinds.items())
    return outcome
