"""The figure of docs/choosing.md: false negatives against hardness (`benchmarks.quality`).

Plain SVG, written directly: one figure does not need a plotting library.
"""

from __future__ import annotations

import json
import math
from html import escape
from typing import Any

from benchmarks.measure import OUT, ROOT

WIDTH, HEIGHT = 960, 560
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 20, 60
SIMILARITIES = (0.28, 0.68)
RATES = (0.2, 80.0)  # per cent, on a logarithmic axis
NEGATIVES = 5
INK, FAINT = "#1d2b2e", "#d5dddd"
# Method, colour, and the settings that are labelled.
LINES = (
    ("top-k", "#1d2b2e", ("",)),
    ("hn_mine", "#d2691e", ("10-210", "100-300")),
    ("PercPos (sentence-transformers)", "#b83a4b", ("0.95", "0.8", "0.6")),
    ("margin (sentence-transformers)", "#74879f", ("0.2",)),
    ("ours", "#0b8475", ("0.001", "0.0025", "0.005", "0.01", "0.02", "0.05", "0.1")),
)


def place(similarity: float, rate: float) -> tuple[float, float]:
    """Return the position of a point in pixels from the upper left corner."""
    across = (similarity - SIMILARITIES[0]) / (SIMILARITIES[1] - SIMILARITIES[0])
    low, high = map(math.log, RATES)
    up = (math.log(max(rate, RATES[0])) - low) / (high - low)
    return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def text(x: float, y: float, words: str, *, colour: str = INK, anchor: str = "start", size: int = 13) -> str:
    """Return a piece of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>'


def frame(title: str, across: str, rates: tuple[float, ...]) -> list[str]:
    """Return the beginning of a picture with its axes."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="Helvetica, Arial, sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    for rate in rates:
        _, y = place(SIMILARITIES[0], rate)
        parts += [f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{FAINT}"/>', text(LEFT - 8, y + 4, f"{rate:g}%", anchor="end")]
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, across, anchor="middle", size=14))
    parts.append(text(LEFT, TOP + 2, title, size=14))
    return parts


def legend(names: list[tuple[str, str]]) -> list[str]:
    """Return a line for each name and colour."""
    parts = []
    for number, (name, colour) in enumerate(names):
        y = TOP + 26 + 20 * number
        parts += [f'<circle cx="{LEFT + 14}" cy="{y - 4}" r="4.5" fill="{colour}"/>', text(LEFT + 26, y, name)]
    return parts


def frontier(rows: list[dict[str, Any]]) -> str:
    """Return the picture of rates against hardness, each point the mean of the sets."""
    parts = frame(
        f"false negatives among {NEGATIVES} a query, mean of {len({row['set'] for row in rows})} judged sets",
        "mean similarity of the negatives to their queries (hardness)",
        (0.3, 1, 3, 10, 30),
    )
    for hundredths in range(30, 66, 5):
        x, _ = place(hundredths / 100, RATES[0])
        parts.append(text(x, HEIGHT - BOTTOM + 20, f"{hundredths / 100:.2f}", anchor="middle"))
    for name, colour, labelled in LINES:
        dials = list(dict.fromkeys(row["dial"] for row in rows if row["method"] == name))
        points = []
        for dial in dials:
            own = [row for row in rows if row["method"] == name and row["dial"] == dial and row["negatives"] == NEGATIVES]
            mean = [sum(row[column] for row in own) / len(own) for column in ("similarity", "false %")]
            points.append((dial, *place(mean[0], mean[1])))
        path = " ".join(f"{x:.1f},{y:.1f}" for _, x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5" opacity="0.6"/>')
        for dial, x, y in points:
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>')
            if dial in labelled:
                label = f"{100 * float(dial):g}%" if name == "ours" else dial
                below = name in ("ours", "hn_mine")
                parts.append(text(x + (8 if below else -8), y + (13 if below else -4), label, colour=colour,
                                  anchor="start" if below else "end", size=12))  # fmt: skip
    parts += legend([(f"{name}, by the estimated rate wanted" if name == "ours" else name, colour) for name, colour, _ in LINES])
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Write the picture."""
    rows = json.loads((OUT / "quality-curves.json").read_text())["rows"]
    (ROOT / "docs" / "choosing.svg").write_text(frontier(rows), "utf-8")


if __name__ == "__main__":
    main()
