"""The verdicts of a server on a run: followed event by event, they are those that are read and matched as a whole."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hnmine.data.corpus import Corpus
from hnmine.data.verdicts import CHOICES, VerdictPairs, match_verdicts
from hnmine.review.store import ReviewStore
from hnmine.runs import reviewed
from hnmine.runs.reviewed import RunVerdicts, apply_verdicts
from tests import worlds


def same(one: VerdictPairs, other: VerdictPairs) -> bool:
    parts = ("negative", "relevant", "positive", "junk", "removed")
    alike = all(np.array_equal(getattr(one, part), getattr(other, part)) for part in parts)
    return alike and (one.applied, one.elsewhere, one.digest) == (other.applied, other.elsewhere, other.digest)


def act(chance: random.Random, store: ReviewStore, corpus: Corpus) -> None:
    """Decide about a few pairs, of the corpus and others, under several spellings; or undo or redo."""
    who = chance.choice(["Ann", "Bob"])
    kind = chance.choice(["decide", "decide", "decide", "undo", "redo"])
    if kind != "decide":
        getattr(store, kind)(who)
        return
    texts = [(corpus.queries[chance.randrange(4)], corpus.passages[chance.randrange(6)]) for _ in range(chance.randrange(1, 5))]
    texts += [("another query", "another passage")] * chance.randrange(2)
    store.decide(
        [(query.upper() if chance.random() < 0.3 else query, passage) for query, passage in texts], chance.choice([*CHOICES, None]), who
    )


@pytest.mark.parametrize("most", [1, 2_000])
def test_verdicts_that_are_followed_are_those_that_are_read_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(reviewed, "MOST_CHANGES", most)
    corpus, ranking = worlds.world()
    inputs: Any = SimpleNamespace(corpus=corpus)
    monkeypatch.setattr(reviewed, "replace", lambda _, corpus: SimpleNamespace(corpus=corpus))
    store, chance = ReviewStore(tmp_path / "reviews.sqlite"), random.Random(5)
    followed = RunVerdicts(inputs, ranking)
    for turn in range(60):
        if turn == 40:  # another file is put in its place
            (tmp_path / "reviews.sqlite").rename(tmp_path / "old.sqlite")
        for _ in range(chance.randrange(4)):
            act(chance, store, corpus)
        found, wanted = followed.pairs(store), match_verdicts(corpus, store.verdicts())
        assert same(found, wanted), turn
        once, whole = followed.apply(found), apply_verdicts(inputs, ranking, wanted)
        assert once.fn_model == whole.fn_model
        assert np.array_equal(once.inputs.corpus.positive_ids, whole.inputs.corpus.positive_ids)
        assert np.array_equal(once.ranking.positive_scores, whole.ranking.positive_scores)
        assert np.array_equal(once.ranking.signals["positive_similarity"], whole.ranking.signals["positive_similarity"], equal_nan=True)
