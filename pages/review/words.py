"""The five verdicts as the screens name them."""

from __future__ import annotations

from hnmine.data.verdicts import Choice

LABELS: dict[Choice, str] = {
    "negative": "negative",
    "relevant": "relevant (removed)",
    "positive": "relevant (added as positive)",
    "junk": "junk (removed)",
    "unsure": "unsure",
}
BUTTONS: dict[Choice, str] = {
    "negative": "Negative",
    "relevant": "Relevant: remove",
    "positive": "Relevant: add as positive",
    "junk": "Junk: remove",
    "unsure": "Unsure",
}
