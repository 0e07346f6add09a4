"""A repair of the input is offered where it makes rows usable, and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnmine.core.errors import InputError
from hnmine.data.problems import REPAIRS, helpful_repairs, require_decided
from hnmine.data.reading import read_pool, read_training

FAULTY_LINES = [
    '{"query": "q", "pos": ["p"]}',
    '{"query": "q", "pos": "p"}',
    '{"query": "q", "pos": "p", "x": NaN}',
    '{"query": "q", "pos": "p", "neg": ["", 3]}',
    '{"query": "q", "pos": ["p", NaN]}',
    '{"query": 7, "pos": "p", "neg": null}',
    '{"query": "q", "pos": ["p", ""], "neg": null}',
    '{"query": "q", "pos": " "}',
    '{"query": "", "pos": ["p"], "x": [Infinity]}',
    '["q"]',
]


@given(st.lists(st.sampled_from(FAULTY_LINES), min_size=1, max_size=6), st.sets(st.sampled_from(sorted(REPAIRS))))
def test_a_repair_is_offered_if_and_only_if_it_makes_a_row_usable(tmp_path_factory, lines, tried):
    path = tmp_path_factory.getbasetemp() / "offered.jsonl"
    path.write_text("\n".join([FAULTY_LINES[0], *lines]) + "\n")  # the first line says that these are JSON lines
    before = read_training(path, repair=tried)
    offered = {*helpful_repairs(before.open_problems)}
    if not offered:
        assert bad_lines(read_training(path, repair="all")) == bad_lines(before)
        return
    assert not offered <= tried
    with pytest.raises(InputError) as refusal:
        require_decided(before)
    named = str(refusal.value).split("set repair to ")[1].split(",")[0].split()
    after = read_training(path, repair=named)
    assert bad_lines(after) < bad_lines(before), "what was repaired before stays repaired"
    assert not helpful_repairs(after.open_problems)


def bad_lines(file) -> set[int]:
    return {problem.line for problem in file.open_problems}


def test_a_repair_that_leaves_the_row_bad_is_not_offered(tmp_path):
    path = tmp_path / "rows.jsonl"
    for line in ('{"query": "q", "pos": ["p", NaN]}', '{"query": "q", "pos": "p", "neg": ["", null]}'):
        path.write_text(line + "\n")
        with pytest.raises(InputError) as refusal:
            require_decided(read_training(path))
        assert "set repair" not in str(refusal.value) and "set skip_bad_rows" in str(refusal.value)


def test_the_offer_holds_for_all_files_at_once(tmp_path):
    rows, pool = tmp_path / "rows.jsonl", tmp_path / "pool.jsonl"
    rows.write_text('{"query": "q", "pos": "p"}\n')
    pool.write_text('{"text": " "}\n{"text": "t"}\n')
    with pytest.raises(InputError) as refusal:
        require_decided(read_training(rows), read_pool(pool, repair=["blank-passage"]))
    assert str(refusal.value).count("Choose: ") == 1
    assert "set repair to string-instead-of-list blank-passage," in str(refusal.value)
