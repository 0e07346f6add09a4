"""Full and read-only disks: the n-th write of an action fails, for each n in turn, and so do all after it.

Python reports each file that it opens to write, each folder, link, rename and removal to audit hooks, so a hook can fail any of them, and
`os.fsync` is replaced. What SQLite and NumPy write is not reported: there a small tmpfs is filled to its last pages. An action has to
succeed, or raise an `HnmineError` with a reason and a remedy. Old files stay whole, new ones are whole or absent, nothing temporary stays,
and the action succeeds when the disk has space again.
"""

from __future__ import annotations

import errno
import io
import itertools
import logging
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from hnmine.core.errors import HnmineError
from hnmine.models.encoder import FlagEncoder
from tests.campaign import disk_screens
from tests.campaign.campaign import Outcome, Tiny
from tests.conftest import EXAMPLE

SIZE = 400
ROWS = 12
# Nothing that begins so, or ends in .tmp, stays after an action.
TEMPORARY = (".new-", ".gone-", "input-", "repair-", "verdicts-")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Disk:
    """A disk below `root` that fails from the write `first` on, as a full one ("full") or a read-only one ("read-only").

    Without `first` it only counts.
    """

    def __init__(self) -> None:
        self.root, self.kind, self.first, self.count = "", "full", None, 0
        self._fsync = os.fsync
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.root:
            return
        if event == "open":
            path, _, flags = arguments
            if not isinstance(path, str | bytes | os.PathLike) or not flags & _WRITES:
                return
            self._write(path, grows=True)
        elif event in ("os.mkdir", "os.link", "os.symlink"):
            self._write(arguments[1] if event != "os.mkdir" else arguments[0], grows=True)
        elif event in ("os.rename", "os.remove", "os.rmdir", "os.truncate"):
            self._write(arguments[0], grows=False)

    def _write(self, path: Any, *, grows: bool) -> None:
        if not os.fsdecode(path).startswith(self.root) or (self.kind == "full" and not grows):
            return
        self.count += 1
        if self.first is not None and self.count > self.first:
            number = errno.ENOSPC if self.kind == "full" else errno.EROFS
            raise OSError(number, os.strerror(number), os.fsdecode(path))

    def _synced(self, file: int) -> None:
        self._write(self.root, grows=True)
        self._fsync(file)

    @contextmanager
    def failing(self, root: Path, kind: str, first: int | None) -> Iterator[None]:
        """Fail the writes below a folder after the first `first`; count them with None."""
        self.kind, self.first, self.count = kind, first, 0
        with mock.patch("os.fsync", self._synced):
            self.root = str(root)
            try:
                yield
            finally:
                self.root = ""


@dataclass(frozen=True)
class Action:
    """What writes: a name, and a function of the folder with the files of `prepared`."""

    name: str
    work: Callable[[Path], object]


def command(*flags: str) -> Callable[[Path], object]:
    """Return an action of the command line; "@" in a flag is the folder."""

    def work(folder: Path) -> None:
        from hnmine.cli.main import main

        said = io.StringIO()
        with redirect_stderr(said), redirect_stdout(io.StringIO()):
            status = main([flag.replace("@", str(folder)) for flag in flags])
        if status:
            message = said.getvalue().rpartition("hnmine: ")[2].strip()
            raise (RuntimeError if message.startswith("unexpected") else HnmineError)(message)

    return work


_FILES = ("--input_file", "@/train.jsonl", "--candidate_pool", "@/pool.jsonl", "--range_for_sampling", "0-30", "--negative_number", "3")
_MINE = ("mine", *_FILES, "--quiet", "--store", "@/vectors", "--output_file")


def _write_data(folder: Path) -> None:
    import hnmine

    data = hnmine.read([{"query": "a query", "pos": ["a passage"]}], pool=["another", "a third", "the fourth"])
    found = hnmine.rank(data, model=Tiny(), depth=3)
    found.select(n=1).write(folder / "library.jsonl")


def _repair(folder: Path) -> None:
    import hnmine

    hnmine.repair(folder / "faulty.jsonl", folder / "repaired.jsonl", "all")


ACTIONS = [
    Action("mine", command(*_MINE, "@/out.jsonl")),
    Action("mine with a split and scores", command(*_MINE, "@/out.jsonl", "--dev_share", "0.2", "--with_scores")),
    Action("mine a folder", command(*_MINE, "@/folder", "--output_format", "datasets")),
    Action("mine without a store", command("mine", *_FILES, "--quiet", "--no_store", "--output_file", "@/out.jsonl")),
    Action("check with a repaired file", command("check", "@/faulty.jsonl", "--repair", "all", "--output_file", "@/repaired.jsonl")),
    Action("read", command("read", "@/train.jsonl")),
    Action("cache prune", command("cache", "prune", "--store", "@/vectors", "--everything")),
    Action("cache verify", command("cache", "verify", "--store", "@/vectors")),
    Action("from a manifest", command("mine", "--from_manifest", "@/old.manifest.json", "--output_file", "@/again.jsonl", "--quiet")),
    Action("library: write", _write_data),
    Action("library: repair", _repair),
]


@contextmanager
def prepared() -> Iterator[Path]:
    """Yield a folder with a few rows, a pool, a store that is half full, and an output of before with its manifest."""
    with tempfile.TemporaryDirectory(prefix="campaign-disk-") as name:
        folder = Path(name) / "template"
        (folder / "tmp").mkdir(parents=True)
        for file, number in (("train.jsonl", ROWS), ("pool.jsonl", 60)):
            lines = (EXAMPLE / file).read_text("utf-8").splitlines(keepends=True)[:number]
            (folder / file).write_text("".join(lines), "utf-8")
        (folder / "faulty.jsonl").write_text('{"query": "a", "pos": "b", "neg": ["c"]}\n' * 3)
        command(*_MINE, "@/old.jsonl")(folder)
        (folder / "out.jsonl").write_bytes((folder / "old.jsonl").read_bytes())
        yield folder


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder, without temporary ones and without stores, whose names are random."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    other = ("vectors/", "tmp/", "workspace/")
    return {name: path.read_bytes() for name, path in found.items() if not name.startswith(other) and not name.endswith(".tmp")}


def comparable(name: str, content: bytes) -> object:
    """Return what two runs of an action have in common in a file: manifests name times."""
    return content if ".manifest" not in name and not name.endswith("README.md") else bool(content)


def leftovers(folder: Path) -> list[str]:
    """Return the temporary files and folders that are still there."""
    below = (path for path in folder.rglob("*") if "vectors" not in path.parts or path.suffix == ".tmp")
    return [path.name for path in below if path.name.endswith(".tmp") or path.name.startswith(TEMPORARY)]


def says_enough(message: str) -> bool:
    """Return whether a message has a reason and a remedy."""
    return any(word in message for word in ("free some space", "check the", "choose another", "set TMPDIR", "set HNMINE_HOME", "try again"))


def judge(kind: str, folder: Path, before: dict[str, bytes], wanted: dict[str, bytes], error: BaseException | None) -> str:
    """Return what is wrong after an action, or an empty text."""
    if error is not None and not isinstance(error, HnmineError):
        return f"raised {type(error).__name__}: {error}"
    if error is not None and not says_enough(str(error)):
        return f"gives no remedy: {error}"
    if kind != "read-only" and (left := leftovers(folder)):  # there nothing can be removed either
        return f"leaves {left}"
    for name, content in contents(folder).items():
        known = [comparable(name, each[name]) for each in (before, wanted) if name in each]
        if comparable(name, content) not in known:
            return f"leaves {name} half written"
    if lost := before.keys() & wanted.keys() - contents(folder).keys():
        return f"loses {sorted(lost)}"
    return ""


def attempt(action: Action, folder: Path) -> BaseException | None:
    """Do an action; return what it raised."""
    from hnmine.core import scratch

    scratch._folder.cache_clear()
    with mock.patch.dict(os.environ, {"TMPDIR": str(folder / "tmp")}), mock.patch.object(tempfile, "tempdir", str(folder / "tmp")):
        try:
            action.work(folder)
        except Exception as error:
            return error
    return None


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path | None]:
    """Yield the folder of a small disk of its own, or None where this process may not mount one."""
    with tempfile.TemporaryDirectory(prefix="campaign-tmpfs-") as name:
        mounted = sys.platform == "linux" and os.geteuid() == 0
        if mounted:
            done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", name], capture_output=True, check=False)
            mounted = done.returncode == 0
        try:
            yield Path(name) if mounted else None
        finally:
            if mounted:
                subprocess.run(["umount", "--lazy", name], check=False)  # memory maps are closed later


def fill(disk: Path, left: int) -> Path:
    """Fill a disk but for `left` bytes; return the file that fills it."""
    ballast = disk / "ballast"
    free = shutil.disk_usage(disk).free
    with ballast.open("wb") as file, suppress(OSError):
        os.posix_fallocate(file.fileno(), 0, max(1, free - left))
    return ballast


def run(size: int, seed: int) -> Outcome:
    """Try `size` failures of writes, of all actions in turn."""
    outcome, chance, disk = Outcome(name="disk"), random.Random(seed), Disk()
    wrapped = mock.patch.object(FlagEncoder, "load", lambda *_, **__: Tiny(batch=16))
    logging.disable(logging.CRITICAL)  # Streamlit logs the errors that screens show
    with wrapped, prepared() as template, small_disk(96) as mounted:
        counts: dict[str, int] = {}
        turns = itertools.cycle(_turns(template, disk, mounted, chance, counts))
        for _ in range(size):
            outcome.tried += 1
            if failure := next(turns)():
                outcome.failed.append(failure)
    logging.disable(logging.NOTSET)
    outcome.figures = f"{len(counts)} actions, {sum(counts.values()):,} places of writes; tmpfs: {'yes' if mounted else 'not allowed here'}"
    return outcome


def _turns(template: Path, disk: Disk, mounted: Path | None, chance: random.Random, counts: dict[str, int]) -> list[Callable[[], str]]:
    """Return the trials: of each action one place of the hook, one of the small disk; and each action of the screens."""
    wanted: dict[str, dict[str, bytes]] = {}

    def reference(action: Action, root: Path) -> None:
        folder = _copy(template, root)
        with disk.failing(root, "read-only", None):
            error = attempt(action, folder)
        assert error is None, f"{action.name}: {error}"
        counts[action.name], wanted[action.name] = disk.count, contents(folder)

    def trial(action: Action, kind: str) -> str:
        root = template.parent / "trial" if kind != "pages" else mounted
        assert root is not None
        if action.name not in counts:
            reference(action, template.parent / "trial")
        folder = _copy(template, root)
        before = contents(folder)
        place = chance.randrange(counts[action.name] + 1)
        if kind == "pages":
            place = 4096 * chance.choice([0, 1, 2, 3, 5, 9, 20, 50, 120])
            ballast = fill(root, place)
            error = attempt(action, folder)
            ballast.unlink()
        else:
            with disk.failing(root, kind, place):
                error = attempt(action, folder)
        found = judge(kind, folder, before, wanted[action.name], error)
        if not found and (again := attempt(action, folder)) is not None:
            found = f"does not succeed afterwards: {again}"
        if not found and (found := judge("read-only", folder, {}, wanted[action.name], None)):
            found = f"afterwards {found}"
        return f"{action.name}, {kind} after {place:,}: {found}" if found else ""

    def of_screen(screen: disk_screens.Screen, kind: str) -> str:
        root = template.parent / "trial" if kind != "pages" else mounted
        assert root is not None
        folder = _copy(template, root) / "workspace"
        place = chance.choice([0, 0, 1, 2, 3, 5, 8]) if kind != "pages" else 4096 * chance.choice([0, 0, 1, 2, 4, 9, 30])

        @contextmanager
        def failing() -> Iterator[Callable[[], bool]]:
            if kind == "pages":
                ballast = fill(root, place)
                try:
                    yield lambda: place == 0 and not screen.name.startswith("delete")  # which needs no space
                finally:
                    ballast.unlink()
            else:
                with disk.failing(folder, kind, place):
                    yield lambda: place == 0 and disk.count > 0

        found = disk_screens.trial(screen, folder, world, failing)
        if not found and kind != "read-only" and (left := leftovers(folder)):
            found = f"leaves {left}"
        return f"{screen.name}, {kind} after {place:,}: {found}" if found else ""

    world = disk_screens.prepare(template / "workspace")
    kinds = ["full", "read-only", *(["pages"] if mounted else [])]
    turns = [partial(of_screen, screen, kind) for screen in disk_screens.SCREENS for kind in kinds]
    turns += [partial(trial, action, kind) for action in ACTIONS for kind in kinds]
    chance.shuffle(turns)
    return turns


def _copy(template: Path, root: Path) -> Path:
    """Return a fresh copy of the template in a folder."""
    root.mkdir(exist_ok=True)
    for each in root.iterdir():
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    return Path(shutil.copytree(template, root / "work"))
