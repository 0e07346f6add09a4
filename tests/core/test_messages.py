"""Messages: at most 4,000 characters with place and remedy, and nothing in them that could rearrange a terminal or a screen."""

from __future__ import annotations

import json

import pytest

from hnmine.cli.main import main
from hnmine.core.errors import HnmineError, InputError, LabelsError
from hnmine.core.text import legible, normalize_text, one_line
from hnmine.data.dataset import read_inputs
from hnmine.data.formats.literals import literal_in, looks_like_list
from hnmine.data.problems import LONGEST, Problem

ODD = "\u202egnp.exe \x1b[2J\x07 \x00 \u200e \ud83d \x9b31m \u2028"


def test_control_characters_directions_and_half_pairs_are_escaped_and_letters_stay():
    text = legible(f"train.jsonl: {ODD}")
    assert text.isprintable()
    assert r"\u202egnp.exe \x1b[2J\x07 \x00 \u200e \ud83d \x9b31m \u2028" in text
    assert legible("Größe 数 été\u3000naïve\nsecond line") == "Größe 数 été\u3000naïve\nsecond line"
    assert one_line("a\nb", 90) == r"a\nb"


@pytest.mark.parametrize("length", [5_000, 500_000])
def test_a_long_message_keeps_its_place_and_its_remedy(length):
    for error in (HnmineError, InputError, lambda text: LabelsError(text, "label", {})):
        said = str(error(f"train.jsonl:17 $.{'x' * length} is wrong; remove it"))
        assert len(said) <= 4_000
        assert said.startswith("train.jsonl:17 $.x")
        assert said.endswith("x is wrong; remove it")
        assert "…" in said
    assert len(str(HnmineError("a line\n" * length))) <= 4_000


def test_a_problem_is_short_on_one_line_and_its_path_stays_whole():
    found = Problem(file=f"a\n{ODD}", line=3, path="$." + "y" * 5_000, kind="nan", message="z\n" * 5_000, remedy=ODD)
    assert len(str(found)) < 4 * LONGEST
    assert str(found).isprintable()
    assert len(found.path) == 5_002  # a repair finds the field by it


@pytest.mark.parametrize("name", ["\u202e", "x" * 50_000, "a\nb", "\x1b[31m"], ids=range(4))
def test_odd_names_and_values_of_a_file_do_not_get_into_a_message_as_they_are(tmp_path, capsys, name):
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps({"query": name, "pos": [name], name: float("nan")}) + "\n" + '{"query": 5}\n' for _ in range(60)))
    with pytest.raises(InputError, match=r"train\.jsonl") as refusal:
        read_inputs(path)
    text = str(refusal.value)
    assert len(text) <= 4_000
    assert text.replace("\n", "").isprintable()
    assert "set skip_bad_rows" in text
    for command in ("read", "check"):
        assert main([command, str(path), *(["--no_lengths"] if command == "check" else [])]) == 2
        out, err = capsys.readouterr()
        assert (out + err).replace("\n", "").isprintable()


def test_a_file_without_a_usable_row_is_named(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text('{"query": "q", "pos": []}\n')
    with pytest.raises(InputError, match=r"train\.jsonl: there is no usable training row"):
        read_inputs(path, skip_bad_rows=True)


def test_very_many_marks_on_a_letter_are_normalised_in_parts():
    assert normalize_text("e\u0301" * 3_000) == "é" * 3_000
    marks = "\u0300\u0316" * 100_000  # by the square of their number, this took minutes
    assert normalize_text("a" + marks) == normalize_text("A" + marks)
    assert len(normalize_text("a" + marks)) >= 200_000


@pytest.mark.parametrize(
    "cell",
    [
        "['" + "\\'" * 200_000 + "]",
        "['" + "'],dtype=" * 100_000,
        "[" + "array(" * 100_000 + "'a']",
        "[{" + "} " * 200_000 + "}]",
        "['a' " * 200_000 + "]",
    ],
    ids=range(5),
)
def test_crafted_cells_are_looked_at_once(cell):
    """Each of these took time by the square of its length: hours here."""
    assert literal_in(cell) in (None, ["a"])
    assert looks_like_list(cell) in (True, False)
