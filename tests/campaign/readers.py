"""Bad inputs through every way in: training files, pools, several files, manifests, verdict files, the commands, the Data screen's path.

A trial fails if anything but a HnmineError comes out, a message lacks the name of the file or is beyond 4,000 characters or holds
control characters, an existing output was touched, or it took much longer than files of that size do. `python -m tests.campaign readers
--seed N --size 1` repeats trial N.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import signal
import tempfile
import time
import traceback
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hnmine.checks.check import check
from hnmine.checks.repair import repaired
from hnmine.cli.main import main
from hnmine.core.errors import Cancelled, ColumnsError, HnmineError, SettingsError
from hnmine.data.columns import Columns, columns_from
from hnmine.data.dataset import gather, read_files, read_inputs
from hnmine.data.problems import REPAIRS
from hnmine.data.verdicts import read_verdicts
from hnmine.runs.manifest import read_manifest
from hnmine.runs.received import divided, require_content
from hnmine.runs.uploads import first_rows, inspect_file, sample
from tests.campaign.campaign import Outcome
from tests.campaign.damaged_files import DAMAGES, damaged, made, odd_json
from tests.data.test_shapes import NEGATIVES, POSITIVES, TRIPLES

SIZE = 6_000

LONGEST = 4_000  # characters of a message
# CPU seconds that a trial may take, and that it may take for each MiB. Valid files take 0.02 s a MiB,
# and a screen reads a file several times.
SECONDS, SECONDS_A_MIB = 4.0, 3.0
PATIENCE = 300  # seconds until a trial that waits, such as for a pipe, is stopped
OTHERS = ("good.jsonl", "good-pool.jsonl", "folder", "README.md", "state.json")  # files of a trial beside the bad one
OLD = b"the output of before\n"


class _Hangs(BaseException):
    """A trial did not end."""


def _stopped(*_: object) -> None:
    raise _Hangs


def _good(folder: Path) -> tuple[Path, Path]:
    rows, pool = folder / "good.jsonl", folder / "good-pool.jsonl"
    rows.write_text("".join(json.dumps({"query": q, "pos": [p], "neg": [n]}) + "\n" for q, p, n in TRIPLES), "utf-8")
    pool.write_text("".join(json.dumps({"text": text}) + "\n" for text in POSITIVES + NEGATIVES), "utf-8")
    return rows, pool


def _columns(rng: random.Random) -> Columns | None:
    words = [
        [], [], [], ["query=query"], ["query=question", "pos=answer"], ["query=column_1", "pos=column_2"], ["text=text"], ["pos=pos",
        "neg=neg"],
        ["label=label"], ["positive_labels=>=1"], ["encoding=cp1252"], ["encoding=utf-16"], ["split=train"], ["config=default"],
        ["id=id"],
        ["query=\u202e"], ["query=" + "x" * 5_000], ["titles=join"], ["positive_labels=nan"], ["pos=meta.text"],
    ]  # fmt: skip
    chosen = rng.choice(words)
    return columns_from(chosen) if chosen else None


def _told(code: int, out: str, err: str, output: Path) -> None:
    """Check what a command printed, and its exit status."""
    if "hnmine: unexpected" in err or "Traceback" in err or code not in (0, 2):
        raise AssertionError(f"exit status {code}: {err[-400:]}")
    if code == 0 and err:
        raise AssertionError(f"exit status 0 and an error: {err[-300:]}")
    _fit(err, "")
    _plain(out)


def _command(*arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    return code, out.getvalue(), err.getvalue()


def _plain(text: str) -> None:
    if odd := next((each for each in text if not each.isprintable() and each != "\n" and unicodedata.category(each) != "Zs"), None):
        raise AssertionError(f"a message holds {odd!r}: {text[:300]!r}")


def _fit(message: str, name: str) -> None:
    if len(message) > LONGEST + len("hnmine: \n"):
        raise AssertionError(f"a message of {len(message):,} characters: {message[:200]!r}")
    _plain(message)
    if name and not any(each in message for each in (name, *OTHERS)):
        raise AssertionError(f"a message without {name!r}: {message[:300]!r}")


# The ways in. Each takes a file, and settings by seed.


def _as_rows(path: Path, rng: random.Random, folder: Path) -> None:
    repair = rng.choice([(), "all", tuple(REPAIRS), ("nan", "duplicate-row")])
    files = read_files(path, None, columns=_columns(rng), repair=repair, skip_bad_rows=rng.random() < 0.5)
    gather(files)


def _as_pool(path: Path, rng: random.Random, folder: Path) -> None:
    read_inputs(folder / "good.jsonl", path, columns=_columns(rng), repair=rng.choice([(), "all"]), skip_bad_rows=rng.random() < 0.5)


def _beside_others(path: Path, rng: random.Random, folder: Path) -> None:
    others = [folder / "good.jsonl", path, folder / "good-pool.jsonl"]
    rng.shuffle(others)
    read_inputs(others[: rng.choice([2, 3])], skip_bad_rows=rng.random() < 0.5)


def _in_a_folder(path: Path, rng: random.Random, folder: Path) -> None:
    inside = folder / "folder" / rng.choice(["", "train", "default"])
    inside.mkdir(parents=True)
    shutil.copy(path, inside / path.name)
    for name, content in (("state.json", '{"_data_files": [{"filename": "data-0.arrow"}]}'), ("dataset_dict.json",
        '{"splits": ["train"]}'),
                          ("README.md", "---\nconfigs:\n- config_name: default\n  data_files: '*'\n---\n"), ("dataset_info.json",
                              "{}")):  # fmt: skip
        if rng.random() < 0.3:
            data = content.encode() if rng.random() < 0.6 else DAMAGES[rng.choice(list(DAMAGES))](rng, content.encode())
            (folder / "folder" / name).write_bytes(data)
    read_inputs(folder / "folder", columns=_columns(rng), skip_bad_rows=True)


def _on_the_screen(path: Path, rng: random.Random, folder: Path) -> None:
    role: Any = rng.choice(["training", "pool"])
    for step in (
        lambda: inspect_file(path, path.name, role, _columns(rng)),
        lambda: require_content(path, path.name, role),
        lambda: sample(path, role),
        lambda: first_rows(path, _columns(rng) or Columns(), 5),
    ):
        with contextlib.suppress(HnmineError) if rng.random() < 0.7 else contextlib.nullcontext():
            step()


def _dropped(path: Path, rng: random.Random, folder: Path) -> None:
    with path.open("rb") as file, (folder / "good-pool.jsonl").open("rb") as other:
        role: Any = rng.choice(["training", "pool"])
        with contextlib.suppress(HnmineError):
            divided({path.name: file, "good-pool.jsonl": other})
        with contextlib.suppress(HnmineError):
            inspect_file(file, path.name, role)
        require_content(file if rng.random() < 0.5 else {path.name: file, "good-pool.jsonl": other}, path.name, role)


def _checked(path: Path, rng: random.Random, folder: Path) -> None:
    str(check(path, columns=_columns(rng)))
    for _ in repaired(path, "all"):
        pass


def _commanded(path: Path, rng: random.Random, folder: Path) -> None:
    output = folder / "out.jsonl"
    output.write_bytes(OLD)
    given = [["read", str(path)], ["read", str(folder / "good.jsonl"), "--pool", str(path), "--json"], ["check", str(path),
        "--no_lengths"],
             ["check", str(path), "--no_lengths", "--json"], ["check", str(path), "--no_lengths", "--repair", "all", "--output_file",
             str(output)]]  # fmt: skip
    chosen = rng.choice(given)
    code, out, err = _command(*chosen)
    _told(code, "" if "--json" in chosen else out, err, output)
    if code != 0 and "written" not in out and output.read_bytes() != OLD:
        raise AssertionError("a failed call touched the output")


WAYS: dict[str, Callable[[Path, random.Random, Path], None]] = {
    "rows": _as_rows,
    "pool": _as_pool,
    "several": _beside_others,
    "folder": _in_a_folder,
    "screen": _on_the_screen,
    "upload": _dropped,
    "check": _checked,
    "command": _commanded,
}

# Manifests and verdict files

MANIFEST: dict[str, Any] = {
    "settings": {"selection": {"negative_number": 3, "window_end": 20, "window_start": 0}},
    "inputs": {"input_file": {"name": "good.jsonl", "bytes": 5, "sha256": "00", "path": "good.jsonl"}},
    "model": {"name": "m", "precision": "fp32", "weights_sha256": "00"},
    "outputs": [{"name": "out.jsonl", "bytes": 1, "sha256": "00", "rows": 1}],
    "verdicts": [{"query": "a", "passage": "b", "verdict": "relevant"}],
    "versions": {"hnmine": "1"},
}
VERDICT = {"query": "a", "passage": "b", "verdict": "relevant", "when": "2026-01-01T00:00:00Z", "who": "Ana", "note": ""}


def _with_odd(rng: random.Random, content: Any) -> str:
    """Return JSON with one value replaced by an odd one."""
    whole = json.loads(json.dumps(content))
    at: Any = whole
    while True:
        key = rng.choice(list(at) if isinstance(at, dict) else range(len(at)))
        if not at[key] or not isinstance(at[key], list | dict) or rng.random() < 0.3:
            break
        at = at[key]
    at[key] = "@@"
    if rng.random() < 0.2 and isinstance(at, dict):
        at[rng.choice(["", "\u202e", "paths", "x" * 9_000])] = "@@"
    return json.dumps(whole).replace('"@@"', odd_json(rng))


def _changed(rng: random.Random, content: Any) -> bytes:
    text = _with_odd(rng, content) if rng.random() < 0.7 else json.dumps(content)
    data = text.encode("utf-8", "surrogatepass")
    return DAMAGES[rng.choice(list(DAMAGES))](rng, data) if rng.random() < 0.4 else data


def _manifest(rng: random.Random, folder: Path) -> tuple[Path, str]:
    path, output = folder / "run.manifest.json", folder / "out.jsonl"
    path.write_bytes(_changed(rng, MANIFEST))
    output.write_bytes(OLD)
    if rng.random() < 0.5:
        read_manifest(path)
        return path, ""
    code, out, err = _command("mine", "--from_manifest", str(path), "--output_file", str(output), "--no_store", "--quiet")
    if code == 0 or output.read_bytes() != OLD:
        raise AssertionError(f"exit status {code}, output {output.read_bytes()[:50]!r}")
    _told(code, out, err, output)
    return path, err


def _verdicts(rng: random.Random, folder: Path) -> tuple[Path, str]:
    path, output = folder / "verdicts.jsonl", folder / "out.jsonl"
    path.write_bytes(b"\n".join(_changed(rng, VERDICT) for _ in range(rng.choice([1, 3]))))
    output.write_bytes(OLD)
    if rng.random() < 0.8:
        read_verdicts(path)
        return path, ""
    # A wrong window ends the call after the verdicts are read, before any model is.
    arguments = ["--input_file", str(folder / "none.jsonl"), "--output_file", str(output), "--reviews", str(path), "--no_store", "--quiet"]
    code, out, err = _command("mine", *arguments)
    if code == 0 or output.read_bytes() != OLD:
        raise AssertionError(f"exit status {code}")
    _told(code, out, err, output)
    return path, ""


# Names

ODD_NAMES = ("", " ", "-", ".", "..", "/", "x" * 300, "x" * 300 + ".jsonl", "a\0b", "a\nb.jsonl", "\udc80\udcff.jsonl", "\u202e.jsonl",
    "\x1b[2J.jsonl",
             "none/there.jsonl", "*", "[", "**/x", "hf://", "hf://datasets", "hf://datasets/../x", "folder", "/dev/zero", "/dev/null",
             "fifo",
             "loop", "a/" * 2_000, "~", "train.jsonl/", "good.jsonl/x")  # fmt: skip


def _named(rng: random.Random, folder: Path) -> tuple[Path, str]:
    (folder / "folder").mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "loop").symlink_to("loop")
    output = folder / "out.jsonl"
    output.write_bytes(OLD)
    name, good, pool = rng.choice(ODD_NAMES), str(folder / "good.jsonl"), str(folder / "good-pool.jsonl")
    mine = ["mine", "--no_store", "--quiet", "--embedder_name_or_path", str(folder / "no model")]
    calls = [
        ["read", name],
        ["read", good, "--pool", name],
        ["read", good, name],
        ["check", name, "--no_lengths"],
        ["check", good, "--no_lengths", "--repair", "all", "--output_file", name],
        ["push", name, "owner/name"],
        [*mine, "--input_file", name, "--output_file", str(output)],
        [*mine, "--input_file", good, "--candidate_pool", name, "--output_file", str(output)],
        [*mine, "--input_file", good, "--candidate_pool", pool, "--output_file", name],
        [*mine, "--input_file", good, "--output_file", str(output), "--manifest_file", name],
        [*mine, "--input_file", good, "--output_file", str(output), "--reviews", name],
        ["mine", "--quiet", "--input_file", good, "--output_file", str(output), "--store", name, "--embedder_name_or_path",
        str(folder / "no model")],
        ["mine", "--quiet", "--from_manifest", name, "--output_file", str(output), "--no_store"],
        ["cache", "--store", name],
    ]  # fmt: skip
    if name.startswith("/") or ".." in name:  # a fault must not cost this machine a device or a folder: such names are read alone
        calls = [*calls[:4], *calls[6:8], calls[10], calls[12]]
    call = rng.choice(calls)
    before = Path.cwd()
    try:
        os.chdir(folder)
        code, _, err = _command(*call)
    finally:
        os.chdir(before)
    if output.read_bytes() != OLD:
        raise AssertionError("the output was touched")
    allowed = ("no model", "nobody is logged in")
    if code not in (0, 1, 2) or (code == 1 and not any(each in err for each in allowed)) or "hnmine: unexpected" in err:
        raise AssertionError(f"exit status {code}: {err[-300:]!r} of {call}")
    _fit(err, "")
    return folder, ""


# The campaign


def _trial(seed: str, folder: Path) -> str:
    """Do one trial in an empty folder; return what it was, in words.

    Raises:
        Exception: it failed.
    """
    rng = random.Random(seed)
    good, _ = _good(folder)
    way = rng.random()
    if way < 0.06:
        what, act = "manifest", lambda: _manifest(rng, folder)
    elif way < 0.12:
        what, act = "verdicts", lambda: _verdicts(rng, folder)
    elif way < 0.18:
        what, act = "name", lambda: _named(rng, folder)
    else:
        name, data, done = damaged(rng, *made(rng))
        chosen = rng.choice(list(WAYS))
        what = f"{chosen}, {name[:40]!r}, {len(data):,} bytes, {done}"
        path = folder / name
        path.write_bytes(data)
        act = lambda: WAYS[chosen](path, rng, folder)  # noqa: E731 - as the others
    name = {"manifest": "run.manifest.json", "verdicts": "verdicts.jsonl", "name": ""}.get(what) or (
        path.name if "path" in locals() else ""
    )
    size = sum(each.stat().st_size for each in folder.iterdir() if each.is_file())
    began = time.process_time()
    try:
        act()
    except HnmineError as error:
        if isinstance(error, Cancelled):
            raise AssertionError("cancelled") from error
        _fit(str(error), "" if isinstance(error, SettingsError | ColumnsError) and what.startswith("screen") else name)
        for problem in getattr(error, "problems", ())[:200]:
            _fit(str(problem), "")
    except Exception as error:
        error.add_note(what)
        raise
    took, bound = time.process_time() - began, SECONDS + SECONDS_A_MIB * size / 2**20
    if took > bound:
        raise AssertionError(f"took {took:.1f} s of CPU time, more than {bound:.1f}: {what}")
    return what


def run(size: int, seed: int) -> Outcome:
    """Try `size` bad inputs from the seed on: trial 5 of seed 0 is trial 0 of seed 5."""
    outcome = Outcome(name="readers")
    counts: Counter[str] = Counter()
    before = signal.signal(signal.SIGALRM, _stopped)
    try:
        for number in range(seed, seed + size):
            with tempfile.TemporaryDirectory(prefix="hnmine-readers-") as name:
                signal.alarm(PATIENCE)
                try:
                    counts[_trial(str(number), Path(name)).partition(",")[0]] += 1
                except (Exception, _Hangs) as error:
                    outcome.failed.append(f"--seed {number}: {_where(error)}")
                finally:
                    signal.alarm(0)
            outcome.tried += 1
    finally:
        signal.signal(signal.SIGALRM, before)
    outcome.figures = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
    return outcome


def _where(error: BaseException) -> str:
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if "/hnmine/" in frame.filename and "campaign" not in frame.filename
    ]
    place = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    notes = " ".join(getattr(error, "__notes__", ()))
    return f"{type(error).__name__}{place}: {str(error)[:300]} ({notes})"
