"""What a child of `killed.py` does as a server: the screens in this process, and a line in a file for each thing that they acknowledge."""

from __future__ import annotations

import json
import logging
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

from hnmine import resources
from hnmine.core import small_files
from hnmine.runs.variants import all_variants
from pages.shared import mining
from tests.campaign import disk_screens
from tests.campaign.disk_screens import SCREENS, World, button
from tests.conftest import ROOT

# Each may be done again and again. "mine" begins a job and waits for it.
ACTS = ("slider", "save a variant", "note", "verdicts", "import verdicts", "export a split", "upload", "guidelines", "audit sample", "mine")


def acts(job: dict[str, Any], begin: Callable[[], None]) -> int:
    """Do the actions of `job` on the screens; add what is acknowledged to the file `said`."""
    logging.disable(logging.CRITICAL)
    root, world, said = Path(job["root"]), World(**job["world"]), Path(job["acknowledged"])
    chance = random.Random(job["seed"])
    with disk_screens.server(root):
        resources.open_run(world.run)
        begin()
        for name in job["acts"]:
            screen = next(each for each in SCREENS if each.name == name)
            at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
            if screen.opened:
                at.query_params["run" if screen.opened == "run" else "dataset"] = getattr(world, screen.opened)
            at.run()
            for key, value in screen.state(world).items():
                at.session_state[key] = value
            if screen.page != "data" or screen.opened:
                at.switch_page(f"pages/views/{screen.page}.py").run()
            if name == "save a variant":
                at.number_input(key=f"number-{world.run}").set_value(chance.randrange(5, 14)).run()
                if button(at, "mine-save-variant").disabled:
                    continue
            elif name == "guidelines":
                at.text_area(key=f"review-guidelines-{world.dataset}").set_value(f"Version {chance.random()}").run()
            else:
                screen.ready(at, world)
            screen.act(at, world)
            if at.exception:
                raise RuntimeError(f"{name}: {at.exception[0].value}")
            with said.open("a") as file:  # as a screen that a person has seen
                file.write(json.dumps({"name": name, **stored(world)}) + "\n")
                file.flush()
                os.fsync(file.fileno())
    return 0


def stored(world: World) -> dict[str, Any]:
    """Return what the workspace has now."""
    space = resources.workspace()
    return {
        "verdicts": sorted([each.query, each.passage, each.verdict] for each in resources.reviews().verdicts()),
        "variants": sorted(each.id for each in all_variants(space, world.run)),
        "datasets": sorted(each.id for each in space.datasets()),
        "runs": sorted(each.id for each in space.runs()),
    }


def after(job: dict[str, Any], begin: Callable[[], None]) -> int:
    """Start again after a kill: open everything, resume the interrupted jobs; print what there is."""
    logging.disable(logging.CRITICAL)
    world = World(**job["world"])
    with disk_screens.server(Path(job["root"])):
        space = resources.workspace()
        found = stored(world)
        for run in space.runs():
            resources.selection(resources.open_run(run.id), run.settings.selection)
        found["damaged"] = space.damaged() + space.damaged_settings(world.dataset)
        interrupted = mining.interrupted()
        found["interrupted"] = len(interrupted)
        resumed = [mining.resume(record) for record in interrupted]
        while any(resources.jobs().get(each.id).active for each in resumed):
            pass
        ended = [resources.jobs().get(each.id) for each in resumed]
        found["failed"] = [each.error for each in ended if each.error]
        found["arrays"] = [_arrays(space.run_folder(str(each.result))) for each in ended]
        at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
        for page in ("data", "mine", "inspect", "review", "quality", "runs", "export"):
            at.query_params["run"] = world.run
            at.switch_page(f"pages/views/{page}.py").run()
            if at.exception:
                raise RuntimeError(f"{page}: {at.exception[0].value}")
        for folder in {path.parent for path in space.root.rglob(".*")}:  # the next write in a folder removes what is left there
            small_files.write_text(folder / "swept", "x", "")
        found["left"] = sorted(path.name for path in space.root.rglob(".*"))
    Path(job["found"]).write_text(json.dumps(found))
    return 0


def _arrays(folder: Path) -> str:
    """Return the scores and ids of a run, which are those of every run with these settings."""
    import hashlib

    return hashlib.sha256(b"".join((folder / f"{name}.npy").read_bytes() for name in ("ids", "scores"))).hexdigest()
