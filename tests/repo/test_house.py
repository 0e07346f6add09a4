"""How the house is built: imports flow downwards, heavy packages stay out of the doorway, modules stay small."""

from __future__ import annotations

import ast
import functools
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


@functools.cache
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

    visit(tree_of(path))
    return found


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def packages(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def named(paths):
    """The paths as one reads them in a failure: each test looks at all modules, and names those that are at fault."""
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


def test_imports_flow_downwards():
    packages, modules = ([path for path in CORE if (path.name == "__init__.py") is wanted] for wanted in (True, False))
    ours = [path for path in packages if any(name.startswith("hnmine") for name in imports(path))]
    assert not named(ours), "a package's __init__ imports nothing of hnmine"
    without = [path for path in modules if package_of(module_of(path)) not in FLOOR_OF]
    assert not named(without), "these have no floor yet: give their package one in FLOORS"
    assert not {module_of(path): found for path in modules if (found := upwards(module_of(path), imports(path)))}


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


def test_a_screen_uses_its_own_parts_and_the_shared_ones():
    def foreign(path):
        own = path.relative_to(ROOT / "pages").parts[0]
        used = {name.split(".")[1] for name in imports(path) if name.startswith("pages.")}
        return used - {path.stem if own == "views" else own, "shared"}

    assert not named(path for path in PAGES if foreign(path))


def test_the_check_sees_imports_inside_functions_and_skips_those_for_types(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from a import b\nelse:\n    import c\n"
        "def f():\n    import d.e\n    from f import g\n"
    )
    assert imports(path) == {"typing", "typing.TYPE_CHECKING", "c", "d.e", "f", "f.g"}
    assert imports(path, typing=True) >= {"a", "a.b"}


def test_the_core_knows_no_screen():
    assert not named(path for path in CORE if "streamlit" in packages(path) and path.stem != "resources")
    assert not named(path for path in CORE if {"pages", "app", "tests"} & packages(path))


def test_screens_load_nothing_heavy_themselves():
    assert not named(path for path in SCREEN if {"torch", "faiss", "FlagEmbedding", "transformers"} & packages(path))


def test_selection_and_analysis_do_no_input_or_output():
    pure = [path for path in CORE if path.parent.name in ("selection", "analysis")]
    assert len(pure) > 10
    assert not named(path for path in pure if {"os", "io", "pathlib", "shutil", "tempfile", "time", "random"} & packages(path))
    assert not named(path for path in pure if re.search(r"(?<!\.)\bopen\(|\bprint\(", path.read_text("utf-8")))


def loaded_by(code: str) -> set[str]:
    script = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT, timeout=300)
    return set(json.loads(done.stdout))


HEAVY = {"ray", "torch", "faiss", "FlagEmbedding", "transformers", "streamlit", "pandas", "altair", "scipy", "sklearn"}


def test_importing_hnmine_loads_nothing_heavy():
    loaded = loaded_by("import hnmine")
    assert not (HEAVY | {"numpy"}) & loaded


def test_no_module_loads_heavy_packages_before_they_are_needed():
    light = [path for path in CORE if path.stem not in ("__main__", "resources")]
    assert not named(path for path in light if HEAVY & {name.partition(".")[0] for name in imports_at_top(path)})


def imports_at_top(path: Path) -> set[str]:
    """What a module imports when it is imported itself."""
    tree = tree_of(path)
    found = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    return found | {str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom)}


def test_the_public_names_are_there_and_load_the_library_light():
    code = "import hnmine\nfor name in hnmine.__all__: getattr(hnmine, name)"
    assert not HEAVY & loaded_by(code)
    with pytest.raises(AttributeError, match="no attribute 'mine_all'"):
        __import__("hnmine").mine_all  # noqa: B018


def test_a_module_is_small_named_by_its_noun_and_finished():
    texts = {path: path.read_text("utf-8") for path in (*CORE, *SCREEN)}
    assert not named(path for path, text in texts.items() if len(text.splitlines()) > 400)
    assert not named(path for path in texts if path.stem in {"utils", "util", "helpers", "helper", "common", "misc"})
    assert not named(path for path, text in texts.items() if re.search(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError)\b", text))
    assert not named(path for path in texts if not ast.get_docstring(tree_of(path))), "a module says what it is for"


def test_nothing_is_pickled_and_no_set_decides_an_order():
    both = [*CORE, *SCREEN]
    assert not named(path for path in both if {"pickle", "joblib", "dill"} & packages(path))
    assert not named(path for path in both if re.search(r"list\(set\(|allow_pickle=True", path.read_text("utf-8")))


def test_the_library_never_prints_and_never_configures_logging():
    def calls(path):
        return {ast.unparse(node.func) for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)}

    assert not named(path for path in CORE if path.parent.name != "cli" and {"print", "logging.basicConfig"} & calls(path))


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


def test_types_of_ours_are_decoded_where_threads_may_not_meet():
    found = [path for path in (*CORE, *SCREEN) if path.name != "decode.py" and not decoded_types(path.read_text("utf-8")) <= PLAIN]
    assert not named(found), "read it with hnmine.core.decode: two threads at once would end the process"


def test_a_type_of_ours_that_is_given_to_msgspec_is_found():
    assert decoded_types("a = msgspec.json.Decoder(list[Mine]).decode\nb = msgspec.convert(c, type=Other)") == {"list", "Mine", "Other"}
    assert decoded_types("msgspec.convert(given, Third)") == {"Third"}
    assert decoded_types("msgspec.json.decode(a, type=dict[str, Any])") <= PLAIN
