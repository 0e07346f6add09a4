"""What the tests of the formats share: rows with difficult texts, mined with the fake encoder."""

from __future__ import annotations

from pathlib import Path

import pytest

from hnmine.core.text import normalize_text
from hnmine.data.corpus import build_corpus
from hnmine.data.reading import read_training
from hnmine.data.verdicts import Verdict, match_verdicts
from hnmine.export.formats import FORMATS, write_export
from hnmine.export.scores import model_scores
from hnmine.retrieval.ranking import rank
from hnmine.selection.promotions import apply_promotions
from hnmine.selection.select import select
from hnmine.selection.settings import SelectionSettings

N = 3
ROWS = [
    {"query": "why is the sky blue?", "pos": ["light scatters", "Rayleigh\tscattering\nof light"], "id": 7, "prompt": "p: "},
    {"query": "=1+1", "pos": ["two"], "id": 8, "prompt": "p: "},
    {"query": "Why is  the sky BLUE?", "pos": ["Light  scatters", "short waves scatter more"], "id": 9, "prompt": "p: "},
    {"query": 'say "hi", or\r\nnot', "pos": ["-2 degrees"], "id": 10, "prompt": "p: "},
    {"query": "naïve café 東京", "pos": ["été — 100 %"], "id": 11, "prompt": "p: "},
]
POOL = ['=HYPERLINK("http://evil")', "@SUM(A1)", "plain text", "null", "NaN", "007", "a, b; c", " +1", "x" * 40, "emoji 🚲"]
PROMOTED = "plain text"


class Made:
    """What was mined, and where it may be written."""

    def __init__(self, folder: Path, rows, corpus, ranking, selection) -> None:
        self.folder, self.rows, self.corpus, self.ranking, self.selection = folder, rows, corpus, ranking, selection

    def write(self, name: str, **options):
        path = self.folder / f"out{FORMATS[name].suffix}"
        scores = model_scores(self.ranking, self.selection) if options.pop("with_scores", False) else None
        return write_export(path, name, self.rows, self.corpus, self.selection, scores=scores, **options)

    def examples(self):
        """The brute-force account: {query text as its first row has it: (positives, negatives)}."""
        found = {}
        for number, row in enumerate(self.rows):
            query = int(self.corpus.row_queries[number])
            negatives = [self.corpus.passages[each] for each in self.selection.negatives[query] if each >= 0]
            first = next(each.query for each in self.rows if normalize_text(each.query) == normalize_text(row.query))
            positives = found.setdefault(first, ([], negatives))[0]
            for text in row.pos:
                if normalize_text(text) not in map(normalize_text, positives):
                    positives.append(text)
        for query, (positives, _) in found.items():
            number = next(each for each, text in enumerate(self.corpus.queries) if normalize_text(text) == normalize_text(query))
            positives += [
                text
                for each in self.corpus.promoted(number)
                if normalize_text(text := self.corpus.passages[each]) not in map(normalize_text, positives)
            ]
        return found


@pytest.fixture
def mined(write_jsonl, fake_encoder, tmp_path):
    def run(items=ROWS, pool=POOL, *, verdicts=(), **settings) -> Made:
        rows = read_training(write_jsonl(items)).items
        corpus = build_corpus(rows, pool)
        settings = SelectionSettings(**{"window_start": 0, "window_end": 50, "negative_number": N, **settings})
        ranking = rank(corpus, fake_encoder, settings.window_end)
        judged = match_verdicts(corpus, verdicts)
        corpus, ranking = apply_promotions(corpus, ranking, judged)
        return Made(tmp_path, rows, corpus, ranking, select(corpus, ranking, settings, judged))

    return run


@pytest.fixture
def made(mined) -> Made:
    return mined(verdicts=[Verdict(query="why is the sky blue?", passage=PROMOTED, verdict="positive")])
