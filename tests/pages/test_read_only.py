"""Every action of a person on a disk that cannot be written: the reason is on the screen, and the choice stays in the session."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.campaign import disk_screens
from tests.campaign.disk import Disk
from tests.campaign.disk_screens import SCREENS, Screen, World


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, World]:
    root = tmp_path_factory.mktemp("read-only") / "workspace"
    return root, disk_screens.prepare(root)


@pytest.fixture(scope="module")
def disk() -> Disk:
    return Disk()


@pytest.mark.parametrize("screen", SCREENS, ids=[screen.name for screen in SCREENS])
def test_nothing_is_lost_on_a_disk_that_cannot_be_written(screen: Screen, made: tuple[Path, World], disk: Disk, tmp_path: Path) -> None:
    root = Path(shutil.copytree(made[0], tmp_path / "workspace"))

    @contextmanager
    def failing() -> Iterator[Callable[[], bool]]:
        with disk.failing(root, "read-only", 0):
            yield lambda: disk.count > 0

    assert disk_screens.trial(screen, root, made[1], failing) == ""
