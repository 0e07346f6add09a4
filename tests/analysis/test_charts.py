"""Charts outside of a screen: each is a whole, valid Altair chart with its data, in colours that everybody can tell apart."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from hnmine.analysis import charts, count_charts, maps
from hnmine.analysis.compare import Side
from hnmine.analysis.figure import COLOURS, GROUPS, TEXT
from hnmine.analysis.histograms import overlay, run_bins, score_histograms
from hnmine.analysis.maps import neighbourhood
from hnmine.analysis.queries import candidates_of
from hnmine.selection.select import select
from hnmine.selection.settings import SelectionSettings
from tests.worlds import world

CORPUS, RANKING = world()
SELECTION = select(CORPUS, RANKING, SelectionSettings(window_start=2, window_end=30, negative_number=3, max_score=0.8))
DETAILS = candidates_of(CORPUS, RANKING, SELECTION, 0)


def near():
    found = neighbourhood(CORPUS, RANKING, SELECTION, DETAILS, 0)
    return maps.neighbourhood_map(found, ["a text"] * len(found.kinds), ["a state"] * len(found.kinds), "words")


OTHER = select(CORPUS, RANKING, SelectionSettings(window_start=0, window_end=30, negative_number=3))
EASY = select(CORPUS, RANKING, SelectionSettings(window_start=40, window_end=60, negative_number=3))
BINS = run_bins(RANKING)


def histogram(selection=SELECTION, **more):
    return charts.similarity_histogram(score_histograms(RANKING, selection, BINS), selection.settings, **more)


def query(**more):
    return charts.query_histogram(CORPUS, RANKING, SELECTION.settings, DETAILS, 0, BINS.edges, **more)


def overlaid(same_model=True, **more):
    sides = (Side(CORPUS, RANKING, each) for each in (SELECTION, OTHER))
    return charts.overlaid(overlay(*sides, same_model=same_model), **more)


FIGURES = {
    "similarity": histogram,
    "before": lambda: histogram(before=score_histograms(RANKING, OTHER, BINS)),
    "query": lambda: query(highlight=3, select="picked"),
    "overlaid": overlaid,
    "ratios": lambda: overlaid(same_model=False),
    "funnel": lambda: charts.funnel([("ranked", 1800), ("in the rank range", 900), ("selected", 3)]),
    "ranks": lambda: count_charts.rank_curve(DETAILS, SELECTION.settings, 0.5),
    "lengths": lambda: count_charts.length_histogram(np.array([3, 5, 900], np.int32), 8, "queries", "words"),
    "values": lambda: count_charts.values_histogram(np.array([-0.1, 0.3]), "words", title="Values", axis="a value", what="queries"),
    "bands": lambda: count_charts.band_rates({"up to 60": (0.1, 0.05, 0.2)}, 0.1, by="share of the positive's score", description="words"),
    "neighbourhood": near,
}


def data_of(layer, chart):
    return layer.get("data", chart.get("data"))["name"]


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_a_valid_altair_chart_with_its_data_title_tooltips_and_words(name):
    figure = FIGURES[name]()
    found = figure.chart().to_dict(validate=True)
    text = json.dumps(found, allow_nan=False)
    assert found["title"] and found["description"] == figure.description and '"tooltip"' in text
    layers = found.get("layer", [found])
    assert {data_of(layer, found) for layer in layers} == found["datasets"].keys() == figure.tables.keys()
    for layer in layers:
        fields = {channel["field"] for channel in layer["encoding"].values() if isinstance(channel, dict) and "field" in channel}
        fields |= {line["field"] for line in layer["encoding"].get("tooltip", [])}
        rows = found["datasets"][data_of(layer, found)]
        assert not rows or fields <= rows[0].keys()
        # Vega reads a dot, a bracket, a backslash and quotes in the name of a field as its own.
        assert not any(set(".[]\\'\"") & set(field) for field in fields)


def test_a_specification_is_built_once_and_holds_no_numbers():
    first, second = histogram(), histogram(OTHER)
    assert first.spec["layer"] is second.spec["layer"] and first.spec == second.spec  # the browser keeps the chart
    drawn = {each["name"]: each["value"] for each in first.spec["params"]}
    assert [drawn["low"], drawn["high"]] == BINS.edges[[0, -1]].tolist()
    assert query().spec == charts.query_histogram(CORPUS, RANKING, OTHER.settings, DETAILS, 1, BINS.edges).spec


def test_the_takeaway_of_a_histogram_is_in_its_description():
    found, before = histogram(before=score_histograms(RANKING, OTHER, BINS)), score_histograms(RANKING, OTHER, BINS)
    numbers = score_histograms(RANKING, SELECTION, BINS)
    words = f"Chosen negatives: mean similarity {numbers.means[1]:.3f}, {100 * numbers.above_positive:.1f}% score above their positive."
    assert found.description.startswith(words) and f"Before: mean {before.means[1]:.3f}" in found.description
    assert "before" in json.dumps(found.spec) and "before" not in histogram().tables
    nobody = select(CORPUS, RANKING, SelectionSettings(window_start=2, window_end=30, negative_number=3, max_score=-1))
    assert histogram(nobody).description.startswith("No negatives are chosen.")


def test_an_outline_ends_where_its_group_ends():
    rows = histogram(EASY).tables["outlines"].to_pylist()
    for group, counts in zip(GROUPS, (BINS.positives, None, None), strict=True):
        part = [row for row in rows if row["group"] == group]
        assert part[0]["of the group (%)"] == part[-1]["of the group (%)"] == 0
        assert sum(row["of the group (%)"] for row in part) == pytest.approx(100)
        assert counts is None or part[0]["from"] == BINS.edges[np.flatnonzero(counts)[0]]


def test_the_histogram_of_a_query_has_each_negative_with_rank_status_and_text():
    rows = query().tables["marks"].to_pylist()
    chosen = np.flatnonzero(DETAILS.chosen).tolist()
    assert sorted(row["place"] for row in rows) == chosen
    for row in rows:
        place = row["place"]
        assert row["similarity"] == pytest.approx(float(DETAILS.scores[place])) and row["status"] == DETAILS.statuses[place]
        assert row["text"].startswith(CORPUS.passages[DETAILS.ids[place]][:100])
        assert row["rank"] == (str(DETAILS.ranks[place]) if DETAILS.ranks[place] >= 0 else "not ranked")
    bars = query().tables["bars"].to_pylist()
    assert sum(row["candidates"] for row in bars) == 28
    assert query().tables["positives"].num_rows == len(CORPUS.positives(0))
    assert [row["place"] for row in query(highlight=7).tables["highlight"].to_pylist()] == [7]
    assert query().tables["highlight"].num_rows == 0


def test_points_of_nearly_equal_similarity_are_stacked_and_not_on_each_other():
    crowded = candidates_of(CORPUS, RANKING, OTHER, 0)
    crowded.scores[:] = 0.5
    rows = charts.query_histogram(CORPUS, RANKING, OTHER.settings, crowded, 0, BINS.edges).tables["marks"].to_pylist()
    assert len({row["height"] for row in rows}) == len(rows) == 3


def test_a_funnel_gives_each_count_and_its_part_of_all():
    figure = FIGURES["funnel"]()
    assert figure.tables["steps"].column("label").to_pylist() == ["1,800", "900 (50%)", "3 (0.17%)"]
    assert "ranked 1,800, in the rank range 900, selected 3. 0.2% of all are left." in figure.description
    assert charts.funnel([("ranked", 0)]).tables["steps"].column("label").to_pylist() == ["0"]


THEME = tomllib.loads((Path(__file__).parents[2] / ".streamlit" / "config.toml").read_text("utf-8"))["theme"]
# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
VISION = {
    "all cones": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> np.ndarray:
    parts = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(colour: str, vision: str) -> np.ndarray:
    xyz = TO_XYZ @ np.clip(np.array(VISION[vision]) @ linear(colour), 0, 1) / np.array([0.9505, 1, 1.089])
    bent = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * bent[1] - 16, 500 * (bent[0] - bent[1]), 200 * (bent[1] - bent[2])])


def contrast(one: str, other: str) -> float:
    dark, light = sorted(float(TO_XYZ[1] @ linear(each)) + 0.05 for each in (one, other))
    return light / dark


def test_a_chart_has_the_colours_of_the_app():
    assert THEME["light"]["chartCategoricalColors"] == COLOURS


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_groups_that_touch_can_be_told_apart_by_everybody(mode):
    colours, background = THEME[mode]["chartCategoricalColors"], THEME[mode]["backgroundColor"]
    assert min(contrast(each, background) for each in colours) >= 3
    # The histograms have the first four; further ones are points with shapes of their own.
    for vision in VISION:
        for place in range(4):
            for other in range(place):
                assert np.linalg.norm(lab(colours[place], vision) - lab(colours[other], vision)) >= 20, (vision, place, other)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_labels_of_charts_are_legible(mode):
    colours = dict(zip(("light", "dark"), TEXT["expr"].split("'")[1::2], strict=True))
    assert contrast(colours[mode], THEME[mode]["backgroundColor"]) >= 7
    for name in ("similarity", "funnel", "bands"):
        config = FIGURES[name]().spec["config"]
        assert config["axis"]["labelColor"] == config["axis"]["titleColor"] == config["legend"]["labelColor"] == TEXT
