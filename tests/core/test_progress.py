"""Progress that tells the truth: what is counted, how fast, for how long; and amounts of memory as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hnmine.core import files
from hnmine.core.errors import Cancelled, SettingsError
from hnmine.core.progress import Stages, check_cancelled, unit_of


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_stages_pass_on_what_they_hear_and_remember_it(monkeypatch) -> None:
    clock, heard = Clock(), []
    stages = Stages(lambda *update: heard.append(update))
    monkeypatch.setattr("hnmine.core.progress.time.monotonic", clock)
    stages(0, 0, "reading the files")
    clock.now += 2
    stages(0, 1_000, "encoding passages")
    clock.now += 4
    stages(1_000, 1_000, "encoding passages")
    clock.now += 1
    report = stages.report()
    assert heard == [(0, 0, "reading the files"), (0, 1_000, "encoding passages"), (1_000, 1_000, "encoding passages")]
    assert report == [
        {"stage": "reading the files", "done": 0, "unit": "", "seconds": 2.0, "per_second": 0.0},
        {"stage": "encoding passages", "done": 1_000, "unit": "tokens", "seconds": 5.0, "per_second": 200.0},
    ]
    assert stages.report() == report, "asking twice counts nothing twice"


def test_stages_work_without_a_listener() -> None:
    assert Stages(None).report() == []


def test_encoding_counts_tokens_and_an_unknown_stage_nothing_in_particular() -> None:
    assert unit_of("encoding queries") == "tokens"
    assert unit_of("reading tea leaves") == ""


def test_check_stops_when_asked() -> None:
    check_cancelled(None)
    check_cancelled(lambda: False)
    with pytest.raises(Cancelled):
        check_cancelled(lambda: True)


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GB", 2 * 2**30), ("512 MiB", 2**29), ("1.5g", 3 * 2**29), ("1000", 1000), ("64k", 2**16), ("1tb", 2**40), ("10b", 10)],
)
def test_amounts_of_memory(text: str, size: int) -> None:
    assert files.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "plenty", "-1GB", "0", "2 GBs", "1,5GB", "GB"])
def test_no_amount_of_memory(text: str) -> None:
    with pytest.raises(SettingsError, match="2GB"):
        files.parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 bytes"), (1_536, "2 kB"), (3 * 2**19, "1.5 MB"), (20 * 2**30, "20.0 GB"), (2**42, "4.0 TB")]
)
def test_memory_in_words(size: int, text: str) -> None:
    assert files.in_words(size) == text


def test_free_memory_is_what_the_container_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CGROUP", tmp_path)
    without = files.available()
    assert without >= 2**26
    (tmp_path / "memory.max").write_text("200000000\n")
    (tmp_path / "memory.current").write_text("100000000\n")
    assert files.available() == 100_000_000
    (tmp_path / "memory.current").write_text("199999999\n")
    assert files.available() == 2**26, "never less than work needs"
    (tmp_path / "memory.max").write_text("max\n")
    assert files.available() > 2**26
