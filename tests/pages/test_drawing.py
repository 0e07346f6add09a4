"""Charts of several sessions at once, on a server that has just started."""

from __future__ import annotations

import subprocess
import sys

# A thread has begun to import pandas, and another one draws a chart.
BOTH = """
import importlib.abc, sys, threading
import altair, streamlit
from hnmine.analysis import figure

begun, go_on = threading.Event(), threading.Event()

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "pandas.core":
            begun.set()
            go_on.wait(60)
        return None

sys.meta_path.insert(0, Slow())
threading.Thread(target=lambda: __import__("pandas")).start()
begun.wait(60)
drawn = []

def draw():
    import pages.shared.drawing
    drawn.append(figure.spec(altair.Chart(altair.NamedData("rows")).mark_bar().encode(x="a:Q"), "A", 100))

drawing = threading.Thread(target=draw)
drawing.start()
drawing.join(0.5)
go_on.set()
drawing.join(60)
print(drawn[0]["title"])
"""


def test_a_chart_waits_for_an_import_that_has_begun() -> None:
    done = subprocess.run([sys.executable, "-c", BOTH], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "A", done.stderr
