"""How the house is built: imports flow downwards, heavy packages stay out of the doorway, modules stay small."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = sorted((ROOT / "hnmine").rglob("*.py"))
PAGES = sorted((ROOT / "pages").rglob("*.py"))
SCREEN = [path for path in (ROOT / "app.py", *PAGES) if path.exists()]

# From the ground up. A package imports from packages below its own, never beside it or above; inside a package, imports form no circle.
FLOORS = [
    ["core"],
    ["data", "models"],
    ["checks", "vectors"],
    ["retrieval"],
    ["selection", "cluster"],
    ["export", "analysis"],
    ["review"],
    ["runs"],
    ["api"],
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


def package_of(module: str) -> str:
    """`hnmine.data.rows` and `hnmine/data/rows.py` are of "data"."""
    return module.removeprefix("hnmine.").partition(".")[0]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def upwards(importer: str, imported: set[str]) -> set[str]:
    """The modules that a module may not import, for the floor that they are on."""
    own = package_of(importer)
    used = {name for name in imported if name.startswith("hnmine.") and not name.startswith("hnmine.__")}
    return {name for name in used if package_of(name) != own and FLOOR_OF.get(package_of(name), len(FLOORS)) >= FLOOR_OF[own]}


@pytest.mark.parametrize("path", CORE, ids=ids(CORE))
def test_imports_flow_downwards(path):
    if path.name == "__init__.py":
        assert not {name for name in imports(path) if name.startswith("hnmine")}, "a package's __init__ imports nothing of hnmine"
        return
    assert package_of(module_of(path)) in FLOOR_OF, f"{path} has no floor yet: give its package one in FLOORS"
    assert not upwards(module_of(path), imports(path))


def test_an_import_upwards_or_beside_is_found():
    assert upwards("hnmine.selection.select", {"hnmine.retrieval.ranking", "hnmine.core.errors"}) == set()
    assert upwards("hnmine.selection.select", {"hnmine.export.scores"}) == {"hnmine.export.scores"}
    assert upwards("hnmine.analysis.queries", {"hnmine.export.scores"}) == {"hnmine.export.scores"}
    assert upwards("hnmine.core.text", {"hnmine.unknown"}) == {"hnmine.unknown"}


def test_no_module_imports_itself_by_way_of_others():
    names = {module_of(path) for path in CORE}
    uses = {module_of(path): imports(path) & names - {module_of(path)} for path in CORE}
    while leaves := {name for name, used in uses.items() if not used & uses.keys()}:
        uses = {name: used for name, used in uses.items() if name not in leaves}
    assert not uses, "these import each other in a circle"


@pytest.mark.parametrize("path", PAGES, ids=ids(PAGES))
def test_a_screen_uses_its_own_parts_and_the_shared_ones(path):
    own = path.relative_to(ROOT / "pages").parts[0]
    used = {name.split(".")[1] for name in imports(path) if name.startswith("pages.")}
    if own == "views":
        own = path.stem
    assert used <= {own, "shared"}


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


PURE = [path for path in CORE if path.parent.name in ("selection", "analysis")]


@pytest.mark.parametrize("path", PURE, ids=ids(PURE))
def test_selection_and_analysis_do_no_input_or_output(path):
    assert not {"os", "io", "pathlib", "shutil", "tempfile", "time", "random"} & packages(path)
    assert not re.search(r"(?<!\.)\bopen\(|\bprint\(", path.read_text("utf-8"))


def loaded_by(code: str) -> set[str]:
    script = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60)
    return set(json.loads(done.stdout))


HEAVY = {"ray", "torch", "faiss", "FlagEmbedding", "transformers", "streamlit", "pandas", "altair", "scipy", "sklearn"}


def test_importing_hnmine_loads_nothing_heavy():
    loaded = loaded_by("import hnmine")
    assert not (HEAVY | {"numpy"}) & loaded


LIGHT = [path for path in CORE if path.stem not in ("__main__", "resources")]


@pytest.mark.parametrize("path", LIGHT, ids=ids(LIGHT))
def test_no_module_loads_heavy_packages_before_they_are_needed(path):
    assert not HEAVY & {name.partition(".")[0] for name in imports_at_top(path)}


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


SILENT = [path for path in CORE if path.parent.name != "cli"]


@pytest.mark.parametrize("path", SILENT, ids=ids(SILENT))
def test_the_library_never_prints_and_never_configures_logging(path):
    calls = [ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
    assert not {"print", "logging.basicConfig"} & set(calls)


PLAIN = {"Any", "Fields", "None", "bool", "bytes", "dict", "float", "int", "list", "msgspec", "object", "str", "tuple"}


def decoded_types(source: str) -> set[str]:
    """The names in the types that a module gives msgspec; a type that it makes itself is nobody else's."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in ("msgspec.convert", "msgspec.json.decode", "msgspec.json.Decoder"):
            place = 0 if called.endswith("Decoder") else 1
            given = [*node.args[place:], *(each.value for each in node.keywords if each.arg == "type")]
            given = [each for each in given if not (isinstance(each, ast.Call) and ast.unparse(each.func) == "msgspec.defstruct")]
            found |= {name.id for each in given for name in ast.walk(each) if isinstance(name, ast.Name)}
    return found


@pytest.mark.parametrize("path", [*CORE, *SCREEN], ids=ids([*CORE, *SCREEN]))
def test_types_of_ours_are_decoded_where_threads_may_not_meet(path):
    if path.name != "decode.py":
        assert decoded_types(path.read_text("utf-8")) <= PLAIN, "read it with hnmine.core.decode: two threads at once would end the process"


def test_a_type_of_ours_that_is_given_to_msgspec_is_found():
    assert decoded_types("a = msgspec.json.Decoder(list[Mine]).decode\nb = msgspec.convert(c, type=Other)") == {"list", "Mine", "Other"}
    assert decoded_types("msgspec.convert(given, Third)") == {"Third"}
    assert decoded_types("msgspec.json.decode(a, type=dict[str, Any])") <= PLAIN
