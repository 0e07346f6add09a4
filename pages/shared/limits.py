"""The longest texts that the fields of the screens and the desk take, in characters.

A browser can send any text: one of 10 MB would be kept by the session, searched and drawn.
"""

from __future__ import annotations

WORDS = 500  # of a search
ASKED = 5_000  # a query of one's own, and the instruction of a model
ADDRESS = 1_000  # of a cluster or a store, and each value in the address of a screen
GUIDELINES = 50_000
NAME = 200  # of a desk, a reviewer, a run or a pair
NOTE = 2_000  # as in desk.html
