"""Charts outside of a screen: each is a whole, valid Altair chart with its data, and has the app's colours."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from hnmine.analysis import charts
from hnmine.analysis.maps import Kind, neighbourhood
from hnmine.analysis.queries import candidates_of, score_histograms
from hnmine.selection.select import select
from hnmine.selection.settings import SelectionSettings
from tests.worlds import world

CORPUS, RANKING = world()
SELECTION = select(CORPUS, RANKING, SelectionSettings(window_start=2, window_end=30, negative_number=3, max_score=0.8))
DETAILS = candidates_of(CORPUS, RANKING, SELECTION, 0)


def near():
    found = neighbourhood(CORPUS, RANKING, SELECTION, DETAILS, 0)
    return charts.neighbourhood_map(found, ["a text"] * len(found.kinds), ["a state"] * len(found.kinds), "words")


def whole():
    points, kinds = np.array([[0, 1], [1, 0], [1, 1]], np.float32), np.array([Kind.QUERY, Kind.POSITIVE, Kind.CHOSEN], np.int8)
    return charts.set_map(points, np.array([0, 3, 1], np.int8), ["one", "two", "x" * 100], points, kinds, "words")


FIGURES = {
    "similarity": lambda: charts.similarity_histogram(score_histograms(RANKING, SELECTION), SELECTION.settings),
    "brush": lambda: charts.similarity_histogram(
        score_histograms(RANKING, SELECTION), SELECTION.settings, brush=True, range_drawn=(0.25, 0.5)
    ),
    "ranks": lambda: charts.rank_curve(DETAILS, SELECTION.settings, 0.5),
    "lengths": lambda: charts.length_histogram(np.array([3, 5, 900], np.int32), 8, "queries", "words"),
    "values": lambda: charts.values_histogram(np.array([-0.1, 0.3]), "words", title="Values", axis="a value", what="queries"),
    "bands": lambda: charts.band_rates({"up to 60": (0.1, 0.05, 0.2)}, 0.1, by="share of the positive's score", description="words"),
    "neighbourhood": near,
    "set": whole,
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_a_valid_altair_chart_with_its_data_title_tooltips_and_words(name):
    figure = FIGURES[name]()
    found = figure.chart().to_dict(validate=True)
    text = json.dumps(found, allow_nan=False)
    assert found["title"] and found["description"] == figure.description and '"tooltip"' in text
    layers = found.get("layer", [found])
    assert {layer["data"]["name"] for layer in layers} == found["datasets"].keys() == figure.tables.keys()
    for layer in layers:
        fields = {channel["field"] for channel in layer["encoding"].values() if isinstance(channel, dict) and "field" in channel}
        fields |= {line["field"] for line in layer["encoding"].get("tooltip", [])}
        rows = found["datasets"][layer["data"]["name"]]
        assert not rows or fields <= rows[0].keys()
        # Vega reads a dot, a bracket, a backslash and quotes in the name of a field as its own.
        assert not any(set(".[]\\'\"") & set(field) for field in fields)


def test_a_specification_is_built_once_and_holds_no_numbers():
    first, second = (charts.similarity_histogram(score_histograms(RANKING, SELECTION, bins=bins), SELECTION.settings) for bins in (20, 60))
    assert first.spec["layer"] is second.spec["layer"]
    drawn = {each["name"]: each["value"] for each in FIGURES["brush"]().spec["params"]}
    assert drawn["brush"] == {"x": [0.25, 0.5]} and drawn["low"] < drawn["high"]
    assert all("value" not in each for each in charts._similarity_histogram(True)["params"] if each["name"] == "brush")


def test_a_chart_has_the_colours_of_the_app():
    theme = tomllib.loads((Path(__file__).parents[2] / ".streamlit" / "config.toml").read_text("utf-8"))["theme"]
    assert theme["light"]["chartCategoricalColors"] == charts.COLOURS
