"""A Ray cluster of two nodes on this machine against one process: the same bytes, and what killed workers cost.

Two `ray start` processes make the nodes, each in a network namespace of its own where that is allowed (root on Linux), else on
one address. Then a worker is killed (SIGKILL) at a random moment, `--kills` times, each with an empty store: the bytes must be the
same, and no shard that was finished may be encoded again. Two nodes on one machine show that it works, not how fast a cluster is.
"""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measure import DATA, arguments, report
from benchmarks.sets import cranfield, emptied

PORT = 6_479
NAMESPACES = ("hnmine-head", "hnmine-node")
BRIDGE, ADDRESSES = "hnmine-bridge", ("10.77.41.1", "10.77.41.2")
RAY = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus", "1", "--object-store-memory", str(2**28)]
RAY += ["--disable-usage-stats"]


@contextlib.contextmanager
def namespaces() -> Iterator[bool]:
    """Make two network namespaces on a bridge; yield whether that was allowed."""
    commands = [f"link add {BRIDGE} type bridge", f"link set {BRIDGE} up"]
    for number, (name, address) in enumerate(zip(NAMESPACES, ADDRESSES, strict=True)):
        commands += [f"netns add {name}", f"link add hnmine{number} type veth peer name eth0 netns {name}"]
        commands += [f"link set hnmine{number} master {BRIDGE} up", f"-n {name} addr add {address}/24 dev eth0"]
        commands += [f"-n {name} link set eth0 up", f"-n {name} link set lo up"]
    remove_namespaces()  # of a run that was killed
    try:
        made = all(subprocess.run(["ip", *each.split()], capture_output=True, check=False).returncode == 0 for each in commands)
    except FileNotFoundError:
        made = False
    try:
        yield made
    finally:
        remove_namespaces()


def remove_namespaces() -> None:
    """Remove what `namespaces` makes, as far as it is there."""
    for each in (*(f"netns del {name}" for name in NAMESPACES), f"link del {BRIDGE}"):
        with contextlib.suppress(FileNotFoundError):
            subprocess.run(["ip", *each.split()], capture_output=True, check=False)


@contextlib.contextmanager
def two_nodes(apart: bool) -> Iterator[tuple[list[str], str]]:
    """Start a head node and another; yield what a command on the head node begins with, and the address."""
    prefixes = [["ip", "netns", "exec", name] if apart else [] for name in NAMESPACES]
    hosts = ADDRESSES if apart else ("127.0.0.1", "127.0.0.1")
    address = f"{hosts[0]}:{PORT}"
    roles = [["--head", "--port", str(PORT), "--include-dashboard", "false"], ["--address", address]]
    nodes: list[subprocess.Popen[bytes]] = []
    try:
        for prefix, host, role in zip(prefixes, hosts, roles, strict=True):
            command = [*prefix, *RAY, "--node-ip-address", host, *role]
            nodes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            wait_for_nodes(prefixes[0], address, len(nodes))
        yield prefixes[0], address
    finally:
        for node in reversed(nodes):
            family = psutil.Process(node.pid).children(recursive=True)
            node.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                node.wait(20)
            for each in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()


def wait_for_nodes(prefix: list[str], address: str, count: int) -> None:
    """Wait until so many nodes are there."""
    look = f"from hnmine.cluster.ray_workers import nodes_in_words; print(nodes_in_words({address!r}))"
    for _ in range(60):
        done = subprocess.run([*prefix, sys.executable, "-c", look], capture_output=True, text=True, check=False)
        if done.stdout.startswith(f"{count} node"):
            return
        time.sleep(1)
    raise SystemExit(f"the cluster did not start: {done.stderr[-2000:]}")


class Miner:
    """Runs the command line on one pair of files, in one process or on the cluster."""

    def __init__(self, folder: Path, train: Path, pool: Path, prefix: list[str], address: str) -> None:
        self.folder, self.shared = folder, folder / "shared"
        self._command = [*prefix, sys.executable, "-m", "hnmine", "mine", "--input_file", str(train), "--candidate_pool", str(pool)]
        self._command += ["--json", "--quiet"]
        self._address = address

    def start(self, name: str, *, cluster: bool) -> subprocess.Popen[str]:
        """Start a run with an empty store of its own."""
        command = [*self._command, "--store", str(emptied(self.folder / "vectors")), "--output_file", str(self.folder / name)]
        if cluster:
            command += ["--cluster", self._address, "--shared_store", str(emptied(self.shared))]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, name: str, *, cluster: bool) -> tuple[float, dict[str, Any]]:
        """Run to the end; return seconds and the summary."""
        began = time.perf_counter()
        process = self.start(name, cluster=cluster)
        summary = self.ended(process)
        return time.perf_counter() - began, summary

    def ended(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """Wait for a run; return the summary."""
        out, errors = process.communicate()
        if process.returncode:
            raise SystemExit(f"the run failed: {errors[-2000:]}")
        found: dict[str, Any] = json.loads(out)
        return found

    def finished(self) -> dict[str, int]:
        """Return the finished shards, each with the time of its record."""
        return {path.name: path.stat().st_mtime_ns for path in self.shared.glob("*.json")}

    def same(self, one: str, other: str) -> bool:
        """Return whether two outputs have the same bytes."""
        return filecmp.cmp(self.folder / one, self.folder / other, shallow=False)


def encoders() -> list[psutil.Process]:
    """Return the processes of the workers of our nodes that encode."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "ShardEncoder" in "".join(process.cmdline()):
                found.append(process)
    return found


def squad(folder: Path, queries: int) -> tuple[Path, Path]:
    """Put SQuAD's first rows and its passages into `folder`."""
    source = DATA / "squad-en-dev"
    train, pool = folder / "train.jsonl", folder / "pool.jsonl"
    lines = (source / "train.jsonl").read_text("utf-8").splitlines(keepends=True)
    train.write_text("".join(lines[:queries]), "utf-8")
    pool.write_bytes((source / "pool.jsonl").read_bytes())
    return train, pool


def main() -> None:
    options = arguments(__doc__, kills=10)
    quick = options.quick
    rows: list[dict[str, Any]] = []
    rng = random.Random(7)
    kills, identical, again = 1 if quick else options.kills, 0, 0
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # end the nodes
    with tempfile.TemporaryDirectory() as name, namespaces() as apart, two_nodes(apart) as (prefix, address):
        root = Path(name)
        sets: dict[str, tuple[Path, Path]] = {}
        for each in ("cranfield", "squad"):
            (root / each).mkdir()
        train, pool, what = cranfield(root / "cranfield", 300 if quick else None)
        sets[what] = (train, pool)
        if not quick and (DATA / "squad-en-dev").is_dir():
            sets["SQuAD, English"] = squad(root / "squad", 2_000)
        for title, (train, pool) in sets.items():
            miner = Miner(train.parent, train, pool, prefix, address)
            one, summary = miner.run("one.jsonl", cluster=False)
            rows.append({"data": title, "run": "one process", "seconds": one, "encoded": summary["vectors"]["encoded"]})
            seconds, summary = miner.run("cluster.jsonl", cluster=True)
            same = miner.same("one.jsonl", "cluster.jsonl")
            rows.append({"data": title, "run": "two nodes", "seconds": seconds, "encoding": summary["timings"]["encode"],
                         "encoded": summary["vectors"]["encoded"], "shards": len(miner.finished()), "same bytes": str(same)})  # fmt: skip
        train, pool = sets[what]
        miner = Miner(train.parent, train, pool, prefix, address)
        for _ in range(kills):
            process = miner.start("killed.jsonl", cluster=True)
            while not (found := encoders()) and process.poll() is None:
                time.sleep(0.05)
            time.sleep(rng.uniform(0, rows[1]["encoding"]))
            before, found = miner.finished(), encoders()
            victim = rng.choice(found) if found else None
            if victim is not None:
                victim.kill()
            summary = miner.ended(process)
            after, same = miner.finished(), miner.same("one.jsonl", "killed.jsonl")
            repeated = sum(after.get(shard) != moment for shard, moment in before.items())
            identical, again = identical + same, again + repeated
            rows.append({"data": what, "run": "a worker killed" if victim else "no worker was left to kill", "finished before": len(before),
                         "encoded again": repeated, "encoded": summary["vectors"]["encoded"], "same bytes": str(same)})  # fmt: skip
        facts = {"kills": kills, "byte-identical": identical, "finished shards encoded again": again, "nodes in namespaces": str(apart)}
        report("cluster", rows, facts)


if __name__ == "__main__":
    main()
