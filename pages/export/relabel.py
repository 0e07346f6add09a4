"""What an export does with pairs that the judge calls relevant: the choice, with what each option would do to this selection."""

from __future__ import annotations

from collections.abc import Sequence

from hnmine.core.text import counted, shortened, visible
from hnmine.resources import OpenRun
from hnmine.review.judgements import Judgement
from hnmine.review.relabelling import RELABELS, Relabel, effects
from hnmine.selection.select import Selection
from pages.shared.widgets import choice

__all__ = ["LABELS", "choose", "done"]

LABELS: dict[Relabel, str] = {"keep": "Keep", "drop": "Drop", "promote": "Promote", "leave_out": "Leave out the row"}
_HELP = (
    "What to do with queries and passages that the judge calls relevant. Keep changes nothing. Drop takes the passages out of the "
    "candidates, and others take the place of those that are selected. Promote adds them to the positives of the query. Leave out the row "
    "omits each row with such a negative. Verdicts of reviewers win over the judge."
)


def choose(run: OpenRun, selection: Selection) -> Relabel:
    """Draw the choice, with what each option would do; "keep", and nothing drawn, where the run has no grades."""
    if not len(run.judged.queries):
        return "keep"
    options = {name: LABELS[name] for name in RELABELS}
    found = effects(run.inputs.corpus, selection.negatives, run.judge_positive)
    counts: dict[Relabel, str] = {
        "keep": "no change",
        "drop": f"{counted(found.pairs, 'pair')}, {found.negatives:,} selected in {counted(found.rows, 'row')}",
        "promote": f"{counted(found.pairs, 'pair')} in {counted(found.grown, 'row')}",
        "leave_out": counted(found.rows, "row"),
    }
    captions = [counts[name] for name in options]
    return choice("Judge-positive pairs", options, "export-relabel", run.run.settings.relabel, _HELP, captions=captions)


def done(counts: dict[str, int], judgements: Sequence[Judgement]) -> str:
    """Return what a relabelled selection has, from `Reviewed.judge_counts`, and the judge; empty without grades."""
    if not counts:
        return ""
    words = {"dropped": "pairs dropped from the candidates", "promoted": "pairs added as positives", "left_out": "rows left out"}
    said = [f"{counts[name]:,} {text}" for name, text in words.items() if name in counts]
    names = [
        f"{visible(shortened(model, 60))}, prompt {prompt}"
        for model, prompt in dict.fromkeys((each.judge, each.prompt) for each in judgements)
    ]
    graded = f"{counted(counts['pairs'], 'pair')} graded", f"{counts['relevant']:,} relevant candidates without a verdict"
    return f"{'; '.join(names)}: " + ", ".join([*graded, *said])
