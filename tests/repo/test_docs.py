"""The documentation agrees with the code: links and pictures resolve; screens, controls, flags and formats that the guide names exist."""

from __future__ import annotations

import ast
import functools
import json
import re
import shlex
from pathlib import Path

import pytest

from hnmine.cli import flags
from hnmine.cli.main import parse
from hnmine.data.dataset import read_inputs
from hnmine.data.problems import REPAIRS
from hnmine.data.verdicts import CHOICES
from hnmine.export.formats import FORMATS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = ["README.md", "docs/guide.md", "docs/choosing.md", "docs/scale.md", "docs/serving.md", "benchmarks/RESULTS.md"]
GUIDE = (DOCS / "guide.md").read_text("utf-8")
SCREENS = re.findall(r'st\.Page\(\s*"pages/views/\w+\.py",\s*title="(\w+)"', (ROOT / "app.py").read_text("utf-8"))


def strings_of(path: Path) -> list[str]:
    """The texts of a module, without its docstrings; those with values in them in one piece, {} for a value."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    joined = [node for node in nodes if isinstance(node, ast.JoinedStr)]
    others = {id(node.value) for node in nodes if isinstance(node, ast.Expr)} | {id(part) for node in joined for part in node.values}
    found = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in others]
    return found + ["".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values) for node in joined]


@functools.cache
def shown() -> str:
    """What a reader can see on the screens."""
    paths = [ROOT / "app.py", *(ROOT / "pages").rglob("*.py"), *(ROOT / "hnmine").rglob("*.py")]
    return "\n".join(text for path in paths for text in strings_of(path))


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def prose(text: str) -> str:
    """The text without code blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """The anchors that a site makes of headings: small letters, blanks as dashes, without punctuation."""
    heads = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere_down_to_the_heading(name: str) -> None:
    text = text_of(name)
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), path
        if anchor:
            assert anchor in anchors(target.read_text("utf-8")), f"{path}#{anchor}"


@pytest.mark.parametrize("name", PAGES)
def test_pictures_exist_and_have_a_description(name: str) -> None:
    for alt, path in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", text_of(name)):
        assert ((ROOT / name).parent / path).stat().st_size > 5_000, path
        assert len(alt) > 40, f"{path}: {alt!r} does not describe the picture"


def test_every_picture_is_shown_somewhere_and_together_they_are_small() -> None:
    pictures = [path for path in DOCS.iterdir() if path.suffix in {".png", ".svg", ".webp", ".gif"}]
    texts = "\n".join(map(text_of, PAGES)) + text_of("app.py")
    assert [path.name for path in pictures if path.name not in texts] == []
    assert sum(path.stat().st_size for path in pictures) < 1_500_000


def test_every_page_of_docs_is_reached_from_the_readme() -> None:
    readme = text_of("README.md")
    assert [path.name for path in DOCS.glob("*.md") if f"docs/{path.name}" not in readme] == []


def test_every_screen_has_its_section_in_the_order_of_the_navigation() -> None:
    assert len(SCREENS) >= 4
    sections = [head for head in re.findall(r"^## (\w+)$", GUIDE, re.MULTILINE) if head in SCREENS]
    assert sections == SCREENS


def test_every_heading_of_the_guide_is_in_its_contents() -> None:
    heads = re.findall(r"^## (.+)$", prose(GUIDE), re.MULTILINE)
    listed = re.findall(r"^- \[([^\]]+)\]\(#", GUIDE, re.MULTILINE)
    assert listed == heads


def test_controls_named_in_bold_are_on_the_screens() -> None:
    named = set(re.findall(r"\*\*([^*\n]+)\*\*", prose(GUIDE)))
    assert len(named) > 20
    assert sorted(name for name in named if name not in shown() and name not in SCREENS) == []


def known_flags() -> set[str]:
    tables = [value for name, value in vars(flags).items() if name.endswith("FLAGS")]
    groups = [group for table in tables for group in (table.values() if isinstance(table, dict) else [table])]
    return {flag.name for group in groups for flag in group}


@pytest.mark.parametrize("name", ["docs/guide.md", "docs/choosing.md"])
def test_flags_named_in_the_docs_exist(name: str) -> None:
    others = {"data", "server", "help"}  # of the benchmarks, of Streamlit, of every command
    named = set(re.findall(r"(?<![\w-])--([a-z][a-z_]+)", text_of(name)))
    assert sorted(named - known_flags() - others) == []


@pytest.mark.parametrize("page", ["docs/guide.md", "docs/served.md"])
def test_commands_of_a_page_can_be_parsed(page: str) -> None:
    blocks = re.findall(r"^```bash\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    commands = [line for line in lines if "-m hnmine" in line and "--help" not in line]
    assert len(commands) >= 3
    for command in commands:
        words = shlex.split(command, comments=True)
        assert parse(words[words.index("hnmine") + 1 :]).command


def test_formats_verdicts_and_repairs_are_all_described() -> None:
    families = {form.family for form in FORMATS.values()}
    for word in (*families, *CHOICES, *REPAIRS):
        assert f"`{word}`" in GUIDE or f"*{word}*" in GUIDE, word


def test_keys_of_the_review_are_those_of_the_guide() -> None:
    desk = (ROOT / "pages" / "review" / "desk.html").read_text("utf-8")
    there = re.findall(r"<b>([^<]+)</b>", desk)
    assert set(re.findall(r"<kbd>([^<]+)</kbd>", desk)) <= {*there}
    described = re.findall(r"^\| `([^`]+)` \|", GUIDE.partition("### Keys")[2].partition("\n#")[0], re.MULTILINE)
    assert described == there


SHAPES = re.findall(
    r"^\| [\w ,]+ \| (`\{.*?`|`\[.*?`)(?:,| \|)", GUIDE.split("### Shapes of training data")[1].split("\n## ")[0], re.MULTILINE
)


def test_the_guide_has_a_record_of_each_shape() -> None:
    assert len(SHAPES) >= 37


@pytest.mark.parametrize("record", [shape.strip("`") for shape in SHAPES])
def test_a_record_of_the_guide_is_read_as_it_says(record: str, tmp_path: Path) -> None:
    """Each letter of the example is a text of several words, numbered, in 12 records."""
    texts = {
        "q": "the question {n} of a person",
        "p": "the passage {n} that answers it",
        "n": "another passage {n} of the pool",
        "t": "Title",
    }
    lines = []
    for number in range(12):
        line = re.sub(r'"([qpnt])"', lambda found: f'"{texts[found[1]].format(n=number)}"', record)  # noqa: B023
        lines.append(re.sub(r'"d([12])"', rf'"d{number}-\1"', line))
    if '"label"' in record:
        others = (line.replace('"label": 1', '"label": 0').replace('"label": true', '"label": false') for line in list(lines))
        lines += [line.replace("the passage", "another passage") for line in others]
    path, pool = tmp_path / "data.jsonl", tmp_path / "pool.jsonl"
    path.write_text("\n".join(lines[:1] if "relevant_docs" in record else lines) + "\n", "utf-8")
    passages = [{"id": f"d{n}-{kind}", "text": texts["pn"[kind - 1]].format(n=n)} for n in range(12) for kind in (1, 2)]
    pool.write_text("".join(json.dumps(each) + "\n" for each in passages), "utf-8")
    rows = read_inputs(path, pool if '"d1"' in record and "corpus" not in record else None).rows
    assert [row.query for row in rows] == [texts["q"].format(n=n) for n in range(len(rows))]
    assert [[text.removeprefix("Title ") for text in row.pos] for row in rows] == [[texts["p"].format(n=n)] for n in range(len(rows))]
    assert len(rows) == (1 if "relevant_docs" in record else 12)
    if '"n"' in record or '"d2"' in record or '"label"' in record:
        assert all(len(row.neg) == 1 for row in rows)
