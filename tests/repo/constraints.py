"""Prints constraints.txt from what is installed: `python -m tests.repo.constraints > constraints.txt` in a fresh environment."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
HEAD = """\
# The dependencies of the dependencies, as tested on Linux, with the packages that require them. Whoever sets up with `make setup` or builds
# the container gets these versions. Made by `python -m tests.repo.constraints > constraints.txt`.
"""


def constraints() -> str:
    """Return the file: each package that requirements.txt brings along and does not name."""
    lines = [line for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines() if line and not line.startswith("#")]
    wanted = [(Requirement(line), "") for line in lines]
    named, by = {canonicalize_name(each.name) for each, _ in wanted}, dict[str, set[str]]()
    while wanted:
        requirement, parent = wanted.pop()
        name = canonicalize_name(requirement.name)
        new = name not in by
        by.setdefault(name, set()).add(parent)
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:  # of another platform
            del by[name]
            continue
        for each in map(Requirement, needs):
            asked = each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in requirement.extras or {""})
            if asked and (new or canonicalize_name(each.name) not in by):
                wanted.append((each, name))
    found = [
        f"{name}=={importlib.metadata.version(name)}  # {', '.join(sorted(parents))}\n"
        for name, parents in sorted(by.items())
        if name not in named
    ]
    return HEAD + "".join(found)


if __name__ == "__main__":
    print(constraints(), end="")
