"""How the house is built: imports flow downwards, heavy packages stay out of the doorway, modules stay small."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = sorted((ROOT / "hnmine").glob("*.py"))
PAGES = sorted((ROOT / "pages").rglob("*.py"))
SCREEN = [path for path in (ROOT / "app.py", *PAGES) if path.exists()]

# From the ground up. A module imports from floors below its own, never from its own floor or above.
FLOORS = [
    ["errors"],
    ["columns", "streams", "words", "criteria"],
    [
        "progress",
        "presets",
        "problems",
        "hub",
        "chance",
        "memory",
        "pairs",
        "intervals",
        "shards",
        "ledger",
        "blocks",
        "sources",
        "archives",
        "parquet",
    ],
    ["lines", "catalog", "trainers", "fusion", "hardness"],
    ["records", "findings", "schema", "devices"],
    ["jsonl", "shelf", "scores"],
    ["fields"],
    ["rows"],
    ["corpus", "search", "beir"],
    ["models", "tokens", "terminal", "batches", "attention"],
    ["drivers", "loader", "lengths", "retrievers", "reranker"],
    ["encoder", "crossencoder", "survey"],
    ["vectors", "diagnoses"],
    ["ranking", "doctor", "lexical"],
    ["signals"],
    ["verdicts", "mending"],
    ["suspicion", "reviews"],
    ["guards", "backfill"],
    ["select"],
    ["inputs", "datasets", "export", "audit", "suspects"],
    ["splits", "examples", "teacher", "estimates"],
    ["tables", "retrieval", "delimited", "plans"],
    ["formats"],
    ["summary", "quality"],
    ["manifest"],
    ["queue", "listing", "projection", "compare"],
    ["evidence"],
    ["mine", "soundness"],
    ["drop_in", "reproduce"],
    ["workspace", "flags"],
    ["jobs", "checkup", "samples"],
    ["resources", "cli"],
    ["__main__"],
]
FLOOR_OF = {name: number for number, names in enumerate(FLOORS) for name in names}


def imports(path: Path, *, typing: bool = False) -> set[str]:
    """The full names of the modules a file imports, wherever it does; under TYPE_CHECKING only when asked."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING") and not typing:
            for child in node.orelse:
                visit(child)
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno} imports relatively"
            found.add(str(node.module))
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text("utf-8")))
    return found


def packages(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def ids(paths):
    return [path.relative_to(ROOT).as_posix() for path in paths]


@pytest.mark.parametrize("path", CORE, ids=ids(CORE))
def test_imports_flow_downwards(path):
    if path.stem == "__init__":
        assert not {name for name in imports(path) if name.startswith("hnmine")}, "hnmine/__init__.py loads lazily"
        return
    assert path.stem in FLOOR_OF, f"{path.name} has no floor yet: give it one in FLOORS"
    used = {name.split(".")[1] for name in imports(path) if name.startswith("hnmine.")} - {"__version__"}
    upwards = {name for name in used if FLOOR_OF.get(name, len(FLOORS)) >= FLOOR_OF[path.stem]}
    assert not upwards, f"{path.name} is on floor {FLOOR_OF[path.stem]} and imports {sorted(upwards)}"


def test_the_check_sees_imports_inside_functions_and_skips_those_for_types(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from a import b\nelse:\n    import c\n"
        "def f():\n    import d.e\n    from f import g\n"
    )
    assert imports(path) == {"typing", "typing.TYPE_CHECKING", "c", "d.e", "f", "f.g"}
    assert imports(path, typing=True) >= {"a", "a.b"}


@pytest.mark.parametrize("path", CORE, ids=ids(CORE))
def test_the_core_knows_no_screen(path):
    assert "streamlit" not in packages(path) or path.stem == "resources"
    assert not {"pages", "app", "tests"} & packages(path)


@pytest.mark.parametrize("path", SCREEN, ids=ids(SCREEN))
def test_screens_load_nothing_heavy_themselves(path):
    assert not {"torch", "faiss", "FlagEmbedding", "transformers"} & packages(path)


PURE = ["select", "criteria", "guards", "suspicion", "signals", "suspects", "quality", "queue", "evidence", "listing", "compare", "audit"]
PURE += ["estimates", "plans", "intervals", "soundness"]


@pytest.mark.parametrize("name", PURE)
def test_selection_and_statistics_do_no_input_or_output(name):
    assert not {"os", "io", "pathlib", "shutil", "tempfile", "time", "random"} & packages(ROOT / "hnmine" / f"{name}.py")
    assert not re.search(r"\bopen\(|\bprint\(", (ROOT / "hnmine" / f"{name}.py").read_text("utf-8"))


def loaded_by(code: str) -> set[str]:
    script = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60)
    return set(json.loads(done.stdout))


HEAVY = {"torch", "faiss", "FlagEmbedding", "transformers", "streamlit", "pandas"}


def test_importing_hnmine_loads_nothing_heavy():
    loaded = loaded_by("import hnmine")
    assert not (HEAVY | {"numpy"}) & loaded


@pytest.mark.parametrize("module", [path.stem for path in CORE if path.stem not in ("__init__", "__main__", "resources")])
def test_no_module_loads_torch_faiss_or_flagembedding_before_they_are_needed(module):
    assert not HEAVY & {name.partition(".")[0] for name in imports_at_top(ROOT / "hnmine" / f"{module}.py")}


def imports_at_top(path: Path) -> set[str]:
    """What a module imports when it is imported itself."""
    tree = ast.parse(path.read_text("utf-8"))
    found = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    return found | {str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom)}


def test_the_public_names_are_there_and_load_the_library_light():
    code = "import hnmine\nfor name in hnmine.__all__: getattr(hnmine, name)"
    assert not HEAVY & loaded_by(code)
    with pytest.raises(AttributeError, match="no attribute 'mine_all'"):
        __import__("hnmine").mine_all  # noqa: B018


@pytest.mark.parametrize("path", [*CORE, *SCREEN], ids=ids([*CORE, *SCREEN]))
def test_a_module_is_small_named_by_its_noun_and_finished(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 400
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc"}
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError)\b", text)
    assert ast.get_docstring(ast.parse(text)), "a module says what it is for"


@pytest.mark.parametrize("path", [*CORE, *SCREEN], ids=ids([*CORE, *SCREEN]))
def test_nothing_is_pickled_and_no_set_decides_an_order(path):
    assert not {"pickle", "joblib", "dill"} & packages(path)
    assert not re.search(r"list\(set\(|allow_pickle=True", path.read_text("utf-8"))


PRINTING = {"cli"}


@pytest.mark.parametrize("path", [path for path in CORE if path.stem not in PRINTING], ids=lambda path: path.stem)
def test_the_library_never_prints_and_never_configures_logging(path):
    calls = [ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
    assert not {"print", "logging.basicConfig"} & set(calls)
