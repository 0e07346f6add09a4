"""A wanted hardness: of all penalties that keep to it, the one with the lowest estimated rate; whatever the order or the depth."""

from __future__ import annotations

import re

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnmine.core.errors import SettingsError
from hnmine.data.verdicts import Verdict, match_verdicts
from hnmine.selection import select as selecting
from hnmine.selection.fn_model import FN_DEPTH
from hnmine.selection.presets import PRESETS, with_preset
from hnmine.selection.select import PENALTIES, select
from hnmine.selection.settings import HARDNESS, SelectionSettings
from tests.selection.test_fn_rate import estimates, named, taken, tiny, totals
from tests.worlds import world


def hard(hardness, number=3, end=8, **more):
    return SelectionSettings(window_start=0, window_end=end, negative_number=number, strategy="hardest", hardness=hardness, **more)


def hardness_of(selection):
    return float(np.nanmean(selection.scores, dtype=float))


@given(st.integers(0, 40), st.sampled_from([-1.0, 0.0, 0.2, 0.3, 0.4, 0.6, 5.0]), st.integers(1, 5), st.integers(0, 3))
def test_of_all_penalties_the_lowest_estimated_rate_that_is_hard_enough(seed, wanted, number, start):
    """By a loop over all penalties and queries; ties go to the nearer one."""
    corpus, ranking = tiny(6, 9, seed)
    chance = estimates(corpus, ranking)
    found = []
    for penalty in PENALTIES:
        places = []
        for query in range(6):
            value = ranking.scores[query] - penalty * chance[query]
            running = range(start, min(8, ranking.depth))
            places += sorted((query, rank) for rank in sorted(running, key=lambda rank: (-value[rank], rank))[:number])
        found.append((np.mean([float(chance[place]) for place in places]), np.mean([float(ranking.scores[place]) for place in places])))
    selection = select(corpus, ranking, msgspec.structs.replace(hard(wanted, number), window_start=start))
    places = tuple(np.array(taken(selection)).T)
    enough = [rate for rate, hardness in found if hardness >= wanted - 1e-6]
    assert float(chance[places].mean(dtype=float)) == pytest.approx(min(enough) if enough else found[0][0], abs=1e-6)
    assert bool(selection.out_of_reach) == (not enough)
    if enough:
        assert hardness_of(selection) >= wanted - 1e-6


def test_harder_negatives_never_have_a_lower_estimate():
    corpus, ranking = world(60, 320, depth=120)
    hardest = totals(corpus, ranking, select(corpus, ranking, hard(None, 8, 120)))
    wanted = [hardest[1] * part for part in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)]
    found = [totals(corpus, ranking, select(corpus, ranking, hard(each, 8, 120))) for each in wanted]
    assert all(count == 60 * 8 and score >= each - 1e-6 for (count, score, _), each in zip(found, wanted, strict=True))
    for column in (1, 2):
        assert [each[column] for each in found] == sorted(each[column] for each in found)
    assert found[0][2] < found[-1][2] / 2, "and the hardness has a say"
    assert found[-1][:2] == pytest.approx(hardest[:2], abs=1e-4), "ties go to the lower estimate"
    assert found[-1][2] <= hardest[2]


@pytest.mark.parametrize("name", HARDNESS.presets)
def test_a_name_means_the_hardness_of_that_preset_with_a_lower_estimate(name):
    corpus, ranking = world(60, 320, depth=300)
    settings = msgspec.structs.replace(hard(name, 8, 300), seed=3)
    preset = select(corpus, ranking, with_preset(name, settings))
    selection = select(corpus, ranking, settings)
    assert not selection.out_of_reach
    assert 0 <= hardness_of(selection) - hardness_of(preset) < 0.01
    assert totals(corpus, ranking, selection)[2] < totals(corpus, ranking, preset)[2]
    number = msgspec.structs.replace(settings, hardness=hardness_of(preset))
    assert select(corpus, ranking, number).negatives.tolist() == selection.negatives.tolist()


def test_the_hardness_of_the_same_settings_is_in_reach():
    """Random-filled negatives count on both sides."""
    corpus, ranking = world(20, 240, depth=300)
    settings = with_preset("percpos", SelectionSettings(negative_number=210))
    preset = select(corpus, ranking, settings)
    assert preset.random_filled.any()
    selection = select(corpus, ranking, msgspec.structs.replace(settings, hardness="percpos"))
    assert not selection.out_of_reach
    assert hardness_of(selection) >= hardness_of(preset) - 1e-6


def test_a_hardness_out_of_reach_gives_the_hardest_and_says_what_they_have():
    corpus, ranking = world(40, 200, depth=100)
    hardest = select(corpus, ranking, hard(None, 6, 100))
    selection = select(corpus, ranking, hard(0.99, 6, 100))
    assert selection.negatives.tolist() == hardest.negatives.tolist()
    assert selection.out_of_reach == (
        f"a mean similarity of 0.9900 is out of reach: the hardest possible negatives have {hardness_of(hardest):.4f}"
    )
    corpus, ranking = world(40, 200, depth=300)
    late = select(corpus, ranking, msgspec.structs.replace(hard("percpos", 6, 100), window_start=60))
    assert re.match(r"a mean similarity of 0\.\d{4}, the hardness of percpos, is out of reach: ", late.out_of_reach)


def test_confirmed_negatives_are_always_in_and_count():
    corpus, ranking = world(40, 200, depth=100)
    last = [(query, next(r for r in range(99, 0, -1) if ranking.ids[query, r] not in corpus.positives(query))) for query in range(40)]
    kept = [Verdict(query=corpus.queries[q], passage=corpus.passages[ranking.ids[q, r]], verdict="negative") for q, r in last]
    wanted = hardness_of(select(corpus, ranking, hard(None, 6, 100))) - 0.1
    selection = select(corpus, ranking, hard(wanted, 6, 100), match_verdicts(corpus, kept))
    assert set(last) <= set(taken(selection))
    assert hardness_of(selection) >= wanted - 1e-6


@pytest.mark.parametrize("mode", ["extend", "replace"])
@pytest.mark.parametrize("hardness", [0.3, "percpos", "hn_mine"])
def test_neither_the_order_of_rows_nor_a_deeper_ranking_changes_a_negative(mode, hardness):
    settings = hard(hardness, 6, 80)
    corpus, ranking = world(50, 300, depth=210, mode=mode)
    expected = select(corpus, ranking, settings)
    for shuffle, depth in ((3, 210), (None, 290), (4, 250)):
        again, deeper = world(50, 300, depth=depth, mode=mode, shuffle=shuffle)
        assert named(again, select(again, deeper, settings)) == named(corpus, expected)


def test_the_ranking_must_hold_the_window_of_the_preset():
    corpus, ranking = world(30, 300, depth=100)
    with pytest.raises(SettingsError, match=r"hardness is 'percpos': its rank window ends at 210, but only 100 .*; mine again"):
        select(corpus, ranking, hard("percpos", 6, 80))
    assert all(PRESETS[name].fields["window_end"] <= FN_DEPTH for name in HARDNESS.presets), "the least that the command line ranks"


def test_the_hardness_is_kept_on_the_sample(monkeypatch):
    """Of 20 queries, four decide, for the preset too."""
    corpus, ranking = tiny(20, 12, 5)
    monkeypatch.setattr(selecting, "SAMPLE", 4)
    for hardness in (0.2, 0.3, "hn_mine"):
        wanted = hardness
        if isinstance(hardness, str):
            wanted = float(select(corpus, ranking, with_preset(hardness, hard(hardness), deepest=12)).scores[:4].mean(dtype=float))
        assert float(select(corpus, ranking, hard(hardness)).scores[:4].mean(dtype=float)) >= wanted - 1e-6


def test_a_number_may_be_text_and_settings_survive_json():
    for value, kept in (("0.45", 0.45), (1, 1.0), (np.float32(0.5), 0.5), ("percpos", "percpos")):
        settings = hard(value)
        assert settings.hardness == kept and type(settings.hardness) is type(kept)
        assert msgspec.json.decode(msgspec.json.encode(settings), type=SelectionSettings) == settings
