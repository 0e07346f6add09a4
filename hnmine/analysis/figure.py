"""What all charts share: a `Figure`, its theme and colours, and the parts that their specifications are built of.

Altair takes 100 ms to build a specification, so each kind of chart is built once. A `Figure` joins it with the data as
named Arrow tables: when a slider moves, only these change. Screens draw these parts in the app's theme; `Figure.chart`
returns the same as an Altair chart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import altair
    import pyarrow

__all__ = [
    "COLOURS",
    "GREY",
    "GROUPS",
    "LABEL",
    "RULE",
    "THEME",
    "Figure",
    "Spec",
    "colour",
    "columns",
    "figure",
    "short",
    "spec",
    "tooltip_lines",
]

Spec = dict[str, Any]

# "candidates": all in the rank range. Longer names would be cut off in the legend on a phone.
GROUPS = ["positives", "chosen negatives", "candidates"]
# The app's colours, those of a light background; .streamlit/config.toml has these and the ones for a dark background.
COLOURS = ["#0b8475", "#d2691e", "#8588bf", "#3c4454", "#b83a4b", "#a67c00"]
GREY = "#888"
RULE = {"strokeDash": [4, 3], "size": 2, "color": GREY, "clip": True}
# Streamlit's labels are grey, 3.7:1 on white. `background` is a signal of Vega, with the colour that the theme gives to the chart.
TEXT: Spec = {"expr": "luminance(background) > 0.4 ? '#47565a' : '#c3cfd1'"}
LABEL: Spec = {"color": TEXT, "fontSize": 12, "clip": False}
# Theme of all charts.
THEME: Spec = {
    "padding": {"bottom": 4},
    "config": {
        "axis": {"titlePadding": 8, "labelPadding": 8, "labelColor": TEXT, "titleColor": TEXT},
        "legend": {
            "orient": "top",
            "title": None,
            "labelLimit": 300,
            "labelFontSize": 12,
            "labelColor": TEXT,
            "offset": 4,
            "padding": 0,
            "columnPadding": 12,
            "rowPadding": 2,
            "symbolStrokeWidth": 2,
        },
        "title": {"offset": 6, "fontSize": 14},
    },
}


@dataclass(frozen=True)
class Figure:
    """A chart in parts: its Vega-Lite specification, its named tables, and its takeaway in words."""

    spec: Spec
    tables: dict[str, pyarrow.Table]
    description: str

    def chart(self) -> altair.TopLevelMixin:
        """Return the Altair chart with its data."""
        import altair as alt

        rows = {
            name: [{key: None if value != value else value for key, value in row.items()} for row in table.to_pylist()]
            for name, table in self.tables.items()
        }
        config = self.spec["config"] | {"range": {"category": COLOURS}}
        whole = self.spec | {"width": 600, "datasets": rows, "description": self.description, "config": config}
        return (alt.LayerChart if "layer" in whole else alt.Chart).from_dict(whole, validate=False)


def figure(spec: Spec, description: str, values: Mapping[str, Any] | None = None, /, **columns: Mapping[str, Any]) -> Figure:
    """Join a specification with values of its parameters and with its tables, given as columns."""
    import pyarrow as pa

    if values:
        spec = spec | {"params": [each | ({"value": values[each["name"]]} if each["name"] in values else {}) for each in spec["params"]]}
    return Figure(spec, {name: pa.table(dict(each)) for name, each in columns.items()}, description)


def spec(chart: Any, title: str, height: int) -> Spec:
    """Return the specification of an Altair chart in the theme."""
    return dict(chart.properties(title=title, height=height).to_dict()) | THEME


def colour(domain: list[str], legend: Spec | None) -> Spec:
    """Encode the groups as colours, in the order of the domain."""
    return {"field": "group", "type": "nominal", "scale": {"domain": domain}, "legend": legend}


def columns(names: Sequence[str], fewer: int) -> Spec:
    """Return the columns of a legend: all names in one row, or `fewer` where the chart is too narrow for them."""
    return {"expr": f"width < {sum(26 + 6 * len(name) for name in names)} ? {fewer} : {len(names)}"}


def tooltip_lines(*lines: str) -> list[Spec]:
    """Return the lines of a tooltip: "field" for text, "field:format" for numbers."""
    parts = [line.partition(":") for line in lines]
    kinds = [{"type": "quantitative", "format": form} if form else {"type": "nominal"} for _, _, form in parts]
    return [{"field": field, "title": field, **kind} for (field, _, _), kind in zip(parts, kinds, strict=True)]


def short(text: str, letters: int) -> str:
    """Return the start of a text."""
    return text if len(text) <= letters else text[:letters] + " …"
