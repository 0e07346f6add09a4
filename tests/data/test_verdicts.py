"""Verdicts: what they are about, how they travel, and what they make of a corpus."""

from __future__ import annotations

import numpy as np
import pytest

from hnmine.core.errors import InputError
from hnmine.data.corpus import build_corpus
from hnmine.data.rows import Row
from hnmine.data.verdicts import Verdict, match_verdicts, pair_key, read_verdicts, verdict_lines
from hnmine.retrieval.ranking import rank
from hnmine.runs.mine import MineSettings, mine
from hnmine.selection.promotions import apply_promotions
from hnmine.selection.settings import SelectionSettings


def row(query, pos, neg=()):
    return Row(1, query, list(pos), list(neg), {})


def said(query, passage, verdict):
    return Verdict(query=query, passage=passage, verdict=verdict, when="2026-01-02T03:04:05Z", who="Ana")


@pytest.fixture
def corpus():
    return build_corpus([row("who", ["a", "b"]), row("WHO", ["c"]), row("what", ["d"])], ["a", "e", "É  f", "g"])


def pairs(corpus, part):
    return [(corpus.queries[query], corpus.passages[passage]) for query, passage in zip(*part, strict=True)]


def test_a_pair_is_the_same_in_any_spelling():
    assert pair_key("Who  is", "\u00c9 f") == pair_key("who is", "E\u0301  F")
    assert pair_key("who", "a") != pair_key("who a", "")
    assert pair_key("a", "b") != pair_key("b", "a")


def test_verdicts_are_found_by_their_texts_and_the_last_one_counts(corpus):
    found = match_verdicts(
        corpus,
        [
            said("who", "e", "relevant"),
            said(" Who ", "E", "negative"),
            said("what", "e\u0301 F", "positive"),
            said("what", "g", "unsure"),
            said("whom", "e", "relevant"),
            said("who", "nowhere", "relevant"),
        ],
    )
    assert [(query.lower(), passage) for query, passage in pairs(corpus, found.negative)] == [("who", "e")]
    assert pairs(corpus, found.positive) == [("what", "É  f")]
    assert found.counts == {"negative": 1, "relevant": 0, "positive": 1, "junk": 0}
    assert found.elsewhere == 2
    assert {each.passage for each in found.applied} == {"E", "e\u0301 F"}


def test_verdicts_on_passages_that_are_not_mined_are_found_too():
    corpus = build_corpus([row("who", ["outside", "a"])], ["a", "b", "c"], pool_mode="replace")
    found = match_verdicts(corpus, [said("who", "outside", "relevant"), said("who", "c", "relevant")])
    assert sorted(passage for _, passage in pairs(corpus, found.relevant)) == ["c", "outside"]


def test_relevant_and_junk_pairs_are_removed_together(corpus):
    found = match_verdicts(corpus, [said("who", "e", "junk"), said("who", "g", "relevant"), said("what", "a", "junk")])
    assert {name: count for name, count in found.counts.items() if count} == {"relevant": 1, "junk": 2}
    assert sorted(pairs(corpus, found.removed)) == sorted(pairs(corpus, found.relevant) + pairs(corpus, found.junk))
    queries, passages = found.removed
    assert (np.diff(queries * len(corpus.passages) + passages) > 0).all(), "sorted by query, then passage"


def test_the_digest_tells_what_bears_on_the_corpus_and_nothing_else(corpus):
    plain = match_verdicts(corpus, [])
    assert plain.digest == match_verdicts(corpus, [said("other", "text", "relevant"), said("who", "e", "unsure")]).digest == ""
    one = match_verdicts(corpus, [said("who", "e", "relevant")])
    assert one.digest == match_verdicts(corpus, [said("WHO", "E", "relevant"), said("who", "g", "unsure")]).digest
    assert len({plain.digest, one.digest, match_verdicts(corpus, [said("who", "e", "negative")]).digest}) == 3


def test_a_promoted_passage_is_a_positive_in_all_respects(corpus, fake_encoder):
    ranking = rank(corpus, fake_encoder, 5)
    verdict_pairs = match_verdicts(corpus, [said("who", "g", "positive"), said("who", "a", "positive"), said("what", "e", "positive")])
    amended, ranked = apply_promotions(corpus, ranking, verdict_pairs)
    who = next(number for number, text in enumerate(corpus.queries) if text.lower() == "who")
    positives = {corpus.passages[passage] for passage in amended.positives(who)}
    assert positives == {"a", "b", "c", "g"}
    assert {corpus.passages[passage] for passage in amended.promoted(who)} == {"a", "g"}
    assert {corpus.passages[passage] for passage in amended.promoted(1 - who)} == {"e"}
    for query in (0, 1):
        assert amended.positives(query).tolist() == sorted(amended.positives(query).tolist())
    expected = ranking.score_pairs(amended.positive_queries, amended.positive_ids)
    assert ranked.positive_scores.tolist() == expected.tolist()
    assert len(corpus.positive_ids) == 4, "what was given is as it was"
    assert not len(corpus.promoted(who))
    assert apply_promotions(corpus, ranking, match_verdicts(corpus, [])) == (corpus, ranking)


def test_a_promoted_passage_is_as_if_the_row_had_named_it(write_jsonl, fake_encoder):
    """The same negatives as of a file in which the passage stands in `pos`, guards and all."""
    pool = [f"passage number {number}" for number in range(60)]
    settings = MineSettings(selection=SelectionSettings(window_start=0, window_end=40, negative_number=8, max_positive_ratio=0.9))
    plain = write_jsonl([{"query": "passage number 7 please", "pos": ["passage number 7"]}])
    named = write_jsonl([{"query": "passage number 7 please", "pos": ["passage number 7", "passage number 17"]}], "named.jsonl")
    promoted = mine(
        plain, pool, settings, lambda: fake_encoder, verdicts=[said("Passage number 7 please", "passage number 17", "positive")]
    )
    wanted = mine(named, pool, settings, lambda: fake_encoder)
    assert promoted.selection.negatives.tolist() == wanted.selection.negatives.tolist()
    assert promoted.selection.reasons.tolist() == wanted.selection.reasons.tolist()
    assert promoted.summary.verdicts == {"negative": 0, "relevant": 0, "positive": 1, "junk": 0, "elsewhere": 0}


def test_verdicts_travel_as_json_lines(tmp_path):
    given = [said("who\n", 'a\u2028"b\\', "relevant"), Verdict(query="ж", passage="日本", verdict="positive")]
    path = tmp_path / "verdicts.jsonl"
    path.write_bytes(b"".join(verdict_lines(given)))
    assert read_verdicts(path) == given[::-1]  # one without a time is older than all
    path.write_text('{"query": "q", "passage": "p", "verdict": "negative", "remark": "another tool\'s"}\n\n')
    assert read_verdicts(path) == [Verdict(query="q", passage="p", verdict="negative")]


def test_of_two_verdicts_in_a_file_the_later_counts_wherever_it_stands(tmp_path, corpus):
    times = ["2026-05-02T00:30:00+02:00", "2026-05-01T23:00:00Z", "not a time", "", "2026-05-01T22:59:59", "0001-01-01T00:00:00+14:00"]
    given = [Verdict(query="who", passage="e", verdict="unsure", when=when) for when in times]
    given[1] = Verdict(query="WHO", passage="E", verdict="relevant", when=times[1])
    path = tmp_path / "verdicts.jsonl"
    path.write_bytes(b"".join(verdict_lines(given)))
    found = read_verdicts(path)
    assert [each.when for each in found] == [times[5], times[2], times[3], times[0], times[4], times[1]]
    assert match_verdicts(corpus, found).counts == {"negative": 0, "relevant": 1, "positive": 0, "junk": 0}
    tied = [said("who", "e", "relevant"), said("who", "e", "negative")]
    path.write_bytes(b"".join(verdict_lines(tied)))
    assert read_verdicts(path) == tied


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"query": "q", "passage": "p", "verdict": "keep"}', "allowed verdicts: negative, relevant, positive, junk, unsure"),
        ('{"query": "q", "passage": "p", "verdict": "maybe"}', "maybe"),
        ('{"query": "q", "verdict": "negative"}', "passage"),
        ('{"query": " ", "passage": "p", "verdict": "negative"}', "`query` is empty"),
        ("negative", "verdicts.jsonl:2"),
        ('["q", "p", "negative"]', "write one object per line"),
    ],
)
def test_a_line_that_is_no_verdict_is_named_with_its_remedy(tmp_path, line, words):
    path = tmp_path / "verdicts.jsonl"
    path.write_text('{"query": "q", "passage": "p", "verdict": "negative"}\n' + line + "\n")
    with pytest.raises(InputError, match=r"verdicts\.jsonl:2 is not a valid verdict") as error:
        read_verdicts(path)
    assert words in str(error.value)


def test_a_missing_file_of_verdicts_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_verdicts(tmp_path / "none.jsonl")


def test_many_verdicts_are_found_in_one_go():
    corpus = build_corpus([row(f"query {number}", [f"p{number}"]) for number in range(300)], [f"x{number}" for number in range(300)])
    verdicts = [said(f"query {number}", f"x{other}", "relevant") for number in range(300) for other in range(10)]
    found = match_verdicts(corpus, verdicts)
    assert len(found.relevant[0]) == 3_000
    assert (np.diff(found.relevant[0]) >= 0).all()
