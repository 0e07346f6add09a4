"""Draw docs/choosing.svg from what `python -m benchmarks.quality` wrote: false negatives against hardness, a line for each way to choose.

Plain SVG, written by hand: one picture is no reason for a plotting library.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from html import escape
from typing import Any

from benchmarks.measure import OUT, ROOT

WIDTH, HEIGHT = 960, 560
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 20, 60
SIMILARITIES = (0.32, 0.57)
RATES = (0.8, 25.0)  # per cent, on a logarithmic axis
NEGATIVES = 15
INK, FAINT = "#1d2b2e", "#d5dddd"
Line = tuple[str, str, Callable[[dict[str, Any]], str | None]]


def _start(choose: str, end: int) -> Callable[[dict[str, Any]], str | None]:
    """Label the lines of a strategy without guards by where the window starts."""

    def label(row: dict[str, Any]) -> str | None:
        start, _, stop = row["window"].partition("-")
        return f"from {start}" if row["choose"] == choose and not row["guard"] and int(stop) == end else None

    return label


def _share(row: dict[str, Any]) -> str | None:
    """Label the lines of PercPos, hardest first from rank 0, by its limit."""
    held = row["choose"] == "hardest" and row["window"] == "0-210" and row["guard"].startswith("max_positive_share")
    return row["guard"].split()[1] if held else None


LINES: tuple[Line, ...] = (
    ("hardest first", "#b83a4b", _start("hardest", 210)),
    ("hardest first, PercPos", "#0b8475", _share),
    ("at random, window to 100", "#74879f", _start("random", 100)),
    ("at random, window to 210", "#d2691e", _start("random", 210)),
)


def place(similarity: float, rate: float) -> tuple[float, float]:
    """Return where a point stands, in pixels from the upper left corner."""
    across = (similarity - SIMILARITIES[0]) / (SIMILARITIES[1] - SIMILARITIES[0])
    low, high = map(math.log, RATES)
    up = (math.log(max(rate, RATES[0])) - low) / (high - low)
    return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def text(x: float, y: float, words: str, *, colour: str = INK, anchor: str = "start", size: int = 13) -> str:
    """Return a piece of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>'


def drawn(rows: list[dict[str, Any]]) -> str:
    """Return the picture."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="Helvetica, Arial, sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    for rate in (1, 2, 5, 10, 20):
        _, y = place(SIMILARITIES[0], rate)
        parts += [f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{FAINT}"/>', text(LEFT - 8, y + 4, f"{rate:g} %", anchor="end")]
    for hundredths in range(35, 60, 5):
        x, _ = place(hundredths / 100, RATES[0])
        parts.append(text(x, HEIGHT - BOTTOM + 20, f"{hundredths / 100:.2f}", anchor="middle"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(text(middle, HEIGHT - 14, "mean similarity of the negatives to their queries (hardness)", anchor="middle", size=14))
    parts.append(text(LEFT, TOP + 2, "false negatives; the bars are 95 % intervals", size=14))
    for number, (name, colour, label) in enumerate(LINES):
        points = [(row, label(row)) for row in rows if row["negatives"] == NEGATIVES and label(row)]
        path = " ".join("{:.1f},{:.1f}".format(*place(row["similarity"], row["false %"])) for row, _ in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5" opacity="0.6"/>')
        for row, said in points:
            x, y = place(row["similarity"], row["false %"])
            low, high = (place(row["similarity"], row[end])[1] for end in ("from", "to"))
            parts.append(f'<path d="M{x:.1f} {low:.1f}V{high:.1f}" stroke="{colour}" stroke-width="1.5"/>')
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>')
            above = name in ("hardest first, PercPos", "at random, window to 210")
            parts.append(
                text(
                    x + (-8 if above else 8),
                    y + (-3 if above else 12),
                    str(said),
                    colour=colour,
                    anchor="end" if above else "start",
                    size=12,
                )
            )
        y = TOP + 34 + 20 * number
        parts += [f'<circle cx="{LEFT + 14}" cy="{y - 4}" r="4.5" fill="{colour}"/>', text(LEFT + 26, y, name)]
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Write the picture."""
    rows = json.loads((OUT / "quality.json").read_text())["rows"]
    (ROOT / "docs" / "choosing.svg").write_text(drawn(rows), "utf-8")


if __name__ == "__main__":
    main()
