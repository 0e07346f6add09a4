"""Damages of a workspace: each kind of damage on each of its files, and all seven screens.

A trial fails where a screen ends in an exception or in an error without a sentence, where the damaged file is not named with a remedy,
where the other run opens with other negatives, or where `verify` misses the damage.
"""

from __future__ import annotations

import io
import json
import random
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.models.served.server import Server
from hnmine.review import audit_sample
from hnmine.review.audit_sample import AuditSettings
from hnmine.review.judge_settings import JudgeSettings
from hnmine.review.judgements import Judgement
from hnmine.runs import dataset_notes, selection_files
from hnmine.runs.job_records import JobRecords, Request
from hnmine.runs.judge_setup import write_judge
from hnmine.runs.mine import MineSettings
from hnmine.runs.selection_files import Draft, write_draft
from hnmine.runs.variants import save_note, save_variant
from hnmine.runs.verification import verify
from hnmine.runs.workspace import Workspace
from hnmine.selection.settings import SelectionSettings
from pages.mine import filters, selection
from pages.review import guidelines
from tests.campaign.campaign import Outcome
from tests.conftest import FakeEncoder, mine
from tests.pages.conftest import native_slider, open_app, texts
from tests.worlds import pool_of, rows_of

SIZE = 400
SCREENS = ("data", "mine", "inspect", "review", "quality", "runs", "export")
REMEDIES = ("remove ", "mine again", "move ", "update hnmine", "put ", "delete ", "repair ", "upload", "check ")

Damage = Callable[[bytes], bytes]


class World(NamedTuple):
    """A workspace with every kind of file: its folder, its data set, its runs."""

    root: Path
    dataset: str
    runs: list[str]


def build(root: Path) -> World:
    """Make a workspace with one data set, two runs of it and every kind of small file."""
    space = Workspace(root)
    rows = "".join(json.dumps({"query": row.query, "pos": row.pos, "neg": row.neg}) + "\n" for row in rows_of(12))
    pool = "".join(json.dumps({"text": text}) + "\n" for text in pool_of(60))
    dataset = space.add_dataset("rows.jsonl", io.BytesIO(rows.encode()), "pool.jsonl", io.BytesIO(pool.encode()))
    settings = MineSettings(selection=SelectionSettings(window_start=0, window_end=30, negative_number=4))
    runs = [mine(space, dataset.id, settings, 40, FakeEncoder(size)) for size in (64, 32)]  # arrays of the same shapes
    space.save_decisions(dataset.id, (), False)
    space.save_columns(dataset.id, space.columns(dataset.id))
    other = SelectionSettings(window_start=0, window_end=20, negative_number=4)
    variant = save_variant(space, runs[0], "harder", other)
    write_draft(space, runs[0], Draft(id="draft-01234567", variant=variant.id, settings=other))
    save_note(space, runs[0], variant.id, "a note")
    space.name_run(runs[0], "a name")
    dataset_notes.name_dataset(space, dataset.id, "a data set")
    records = JobRecords(root)
    record = records.begin(Request(dataset_id=dataset.id, settings=settings, depth=40))
    records._locks.pop(record.id).close()  # as a killed server leaves it
    records.save_timings("trigrams", {"encoding": 1.0})
    with served(root):
        opened = resources.open_run(runs[0])
        chosen = resources.selection(opened, settings.selection)
        query = opened.inputs.corpus.queries[0]
        space.reviews().decide([(query, opened.inputs.corpus.passages[int(chosen.negatives[0, 0])])], "relevant", "Ann")
        judged = [Judgement(query, passage, 2, "it answers", "an LLM", "graded-1") for passage in list(opened.inputs.corpus.passages)[:5]]
        resources.judgements().add(judged)
        write_judge(root, JudgeSettings(model="an LLM", server=Server(address="http://127.0.0.1:9/v1")))
        sample = audit_sample.draw(opened.inputs.corpus, opened.ranking, chosen, AuditSettings(size=5))
        selection_files.keep_sample(space, runs[0], sample)
        exported = {"variant": "mined", "file_name": "a.jsonl", "output_format": "flagembedding", "rows": 1, "bytes": 1, "sha256": "0"}
        selection_files.record_export(space, runs[0], selection_files.Exported(selection=settings.selection, **exported))
        guidelines.write_guidelines(dataset.id, "Relevant: it answers.")
        guidelines.write_overlap(dataset.id, 10)
        open_app("runs", run=runs[0])  # computes the figures
    return World(root, dataset.id, runs)


@contextmanager
def served(root: Path) -> Iterator[None]:
    """A server that has just started with a workspace; the sliders are Streamlit's own, because AppTest has none for components."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HNMINE_HOME", str(root))
        for module in (selection, filters):
            patch.setattr(module, "slider", native_slider)
        st.cache_resource.clear()
        yield
        st.cache_resource.clear()


def screens_of(at: AppTest) -> str:
    """What all screens say, none of which ends in an exception."""
    said = []
    for screen in SCREENS:
        at.switch_page(f"pages/views/{screen}.py").run()
        assert not at.exception, (screen, [each.value for each in at.exception])
        said.append(texts(at))
    return "\n".join(said)


# Damages of a file's bytes


def mistyped(content: bytes) -> bytes:
    """The same JSON with each of its numbers, texts, lists and objects of another type."""
    value = json.loads(content)
    return json.dumps({key: [[7]] for key in value} if isinstance(value, dict) else {"a": value}).encode()


def with_byte(content: bytes) -> bytes:
    place = content.rindex(b'"') if b'"' in content else len(content) // 2
    return content[:place] + b"\xff" + content[place:]


def nested_within(content: bytes) -> bytes:
    value = json.loads(content)
    return content[:-1] + b',"summary":' + b"[" * 100_000 + b"]" * 100_000 + b"}" if isinstance(value, dict) else b"[" * 100_000


def newer(content: bytes) -> bytes:
    value = json.loads(content)
    return json.dumps({"format": 3} | {key: each for key, each in value.items() if key != "format"}).encode()


JSON: dict[str, Damage] = {
    "a byte": with_byte,
    "deep": lambda content: b"[" * 100_000,
    "deep within": nested_within,
    "mistyped": mistyped,
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "zeros": lambda content: bytes(len(content)),
    "null": lambda content: b"null",
    "newer": newer,
}
DATA: dict[str, Damage] = {
    "edited": lambda content: content.replace(b"ung", b"enk", 1),
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "zeros": lambda content: bytes(len(content)),
}
ARRAY: dict[str, Damage] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[:-4],
    "cut header": lambda content: content[:40],
    "bytes": lambda content: b"\xff" * 500,
    "a zip": lambda content: b"PK\x03\x04" + b"\0" * 500,
    "zeros": lambda content: content[:128] + bytes(len(content) - 128),
    "a hole": lambda content: content[:-256] + bytes(min(256, len(content))),
    "a bit": lambda content: content[:-3] + bytes([content[-3] ^ 4]) + content[-2:],
    "a nan": lambda content: content[:-4] + np.float32("nan").tobytes(),
}
DATABASE: dict[str, Damage] = {
    "bytes": lambda content: b"\xff" * 5000,
    "a header": lambda content: b"SQLite format 3\0" + b"\xff" * 5000,
    "empty page": lambda content: content[:4096] + bytes(len(content) - 4096),
    "cut": lambda content: content[: len(content) // 2],
}


class Trial(NamedTuple):
    """A file, by its path in the workspace, and what happens to it."""

    path: str
    damage: str


def trials(world: World, seed: int) -> list[Trial]:
    """Return every pair of a file and a damage in an order by the seed; the first ones are of different files."""
    chance = random.Random(seed)
    by_file: list[list[Trial]] = []
    for path in sorted(each.relative_to(world.root).as_posix() for each in world.root.rglob("*") if each.is_file()):
        if path.endswith((".lock", "-wal", "-shm")) or "/export-" in path or path.startswith(f"runs/{world.runs[1]}"):
            continue
        kinds = [*_kinds(path), "a folder", "a link"]
        if path.startswith("runs/") and path.endswith(".npy"):
            kinds += ["gone", "of the other run"]
        elif path.startswith("datasets/") or path.endswith("manifest.json"):
            kinds += ["gone"] * path.endswith((".jsonl", "manifest.json", "dataset.json"))
        of_file = [Trial(path, kind) for kind in kinds]
        chance.shuffle(of_file)
        by_file.append(of_file)
    chance.shuffle(by_file)
    longest = max(map(len, by_file))
    return [of_file[turn] for turn in range(longest) for of_file in by_file if turn < len(of_file)]


def _kinds(path: str) -> dict[str, Damage]:
    if path.endswith(".npy"):
        return ARRAY
    if path.endswith(".sqlite"):
        return DATABASE
    if path.endswith(".jsonl"):
        return DATA
    if path.endswith(("run-name", "guidelines.md")) or "/notes/" in path:
        return {}
    return JSON


def inflict(world: World, trial: Trial) -> bool:
    """Damage a file; return whether it is different now."""
    path = world.root / trial.path
    before = path.read_bytes()
    if path.suffix == ".sqlite":
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        before = path.read_bytes()
    path.unlink()
    match trial.damage:
        case "gone":
            return True
        case "a folder":
            path.mkdir()
            return True
        case "a link":
            path.symlink_to(world.root / "nowhere")
            return True
        case "of the other run":
            other = world.root / "runs" / world.runs[1] / path.name
            shutil.copy(other if other.exists() else world.root / trial.path.replace("query_", "passage_"), path)
        case kind:
            path.write_bytes(_kinds(trial.path)[kind](before))
    return path.read_bytes() != before


def negatives(run_id: str) -> bytes:
    opened = resources.open_run(run_id)
    return resources.selection(opened, opened.run.settings.selection).negatives.tobytes()


def faults(world: World, trial: Trial, wanted: bytes) -> list[str]:
    """Damage a file of a workspace, open all screens, and return what went wrong."""
    found = []
    path, of_run = world.root / trial.path, trial.path.startswith("runs/")
    with served(world.root):
        if not inflict(world, trial):
            return []
        verified = verify(Workspace(world.root))
        said_by_verify = "\n".join(verified.damages + verified.other_versions)
        try:
            said = screens_of(open_app(run=world.runs[0], draft="draft-01234567"))
        except AssertionError as error:
            return [f"an exception on {error}"]
        if "unexpected" in said:
            found.append("a generic error")
        name = world.runs[0] if path.suffix == ".npy" else world.dataset if path.suffix == ".jsonl" else path.name
        healed = "/figures/" in trial.path and path.is_file() and path.read_bytes()[:1] == b"{"
        if trial.path.startswith("vectors/"):  # encoding again costs time alone
            pass
        elif not healed and not any(name in line and any(each in line for each in REMEDIES) for line in said.splitlines()):
            found.append("no screen names it with a remedy")
        if path.parent.name not in said_by_verify and path.name not in said_by_verify:
            found.append("verify misses it")
        if of_run or trial.path.startswith("vectors/"):
            with suppress(HnmineError):
                if negatives(world.runs[1]) == wanted:
                    return found
            found.append("the other run does not open with its negatives")
    return found


def run(size: int, seed: int) -> Outcome:
    """Try `size` damages, or all there are."""
    outcome, began = Outcome(name="workspace"), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hnmine-campaign-") as folder:
        made = build(Path(folder) / "made")
        with served(made.root):
            wanted = negatives(made.runs[1])
        for trial in trials(made, seed)[:size]:
            world = made._replace(root=Path(folder) / "damaged")
            shutil.copytree(made.root, world.root)
            outcome.tried += 1
            outcome.failed += [f"{trial.path}, {trial.damage}: {fault}" for fault in faults(world, trial, wanted)]
            shutil.rmtree(world.root)
    outcome.figures = f"{len(SCREENS)} screens each, {time.monotonic() - began:.0f} s"
    return outcome
