"""ms-swift's chats and DPR's array, by the rules of their readers."""

from __future__ import annotations

import json

import pytest


def test_ms_swift_gets_one_positive_a_row_and_all_negatives(made):
    """Its documentation: `messages` is a chat, the others are lists of chats, and `positive_messages` has exactly one."""
    (written,) = made.write("ms-swift")
    lines = [json.loads(line) for line in written.path.read_text("utf-8").splitlines()]

    def chat(text: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": text}]

    assert lines == [
        {"messages": chat(query), "positive_messages": [chat(positive)], "negative_messages": [chat(text) for text in negatives]}
        for query, (positives, negatives) in made.examples().items()
        for positive in positives
    ]
    assert written.rows == len(lines)
    assert any(note.endswith("left out: id, prompt") for note in written.notes)


def test_ms_swift_reads_tags_as_files_so_they_are_counted(mined):
    made = mined([{"query": "what is <image>?", "pos": ["a tag", "see <video>"]}, {"query": "other", "pos": ["<images>"]}], ["<audio>x"])
    (written,) = made.write("ms-swift")
    held = [text for query, (positives, negatives) in made.examples().items() for text in (query, *positives, *negatives)]
    tagged = sum(any(tag in text for tag in ("<image>", "<video>", "<audio>")) for text in held)
    assert tagged >= 3
    assert f"{tagged} texts have <image>, <video> or <audio>, which ms-swift takes for a file: remove these tags" in written.notes


def test_a_query_without_negatives_is_trained_with_those_of_its_batch(mined):
    (written,) = mined([{"query": "a", "pos": ["b"]}], None).write("ms-swift")
    assert list(json.loads(written.path.read_bytes())) == ["messages", "positive_messages"]
    assert any("without `negative_messages`" in note for note in written.notes)


@pytest.mark.parametrize("dev_share", [0.0, 0.4])
def test_dpr_finds_every_list_and_every_title(made, dev_share):
    """Its JsonQADataset reads question, three lists of passages, and of each passage text and title."""
    written = made.write("dpr", dev_share=dev_share)
    found = {}
    for each in written:
        samples = json.loads(each.path.read_bytes())
        assert len(samples) == each.rows
        for sample in samples:
            passages = {
                name: [(each["text"], each["title"]) for each in sample[name]]
                for name in ("positive_ctxs", "negative_ctxs", "hard_negative_ctxs")
            }
            assert sample["answers"] == passages["negative_ctxs"] == []
            assert {title for texts in passages.values() for _, title in texts} == {""}
            found[sample["question"]] = tuple([text for text, _ in passages[name]] for name in ("positive_ctxs", "hard_negative_ctxs"))
    assert found == made.examples()


def test_an_array_without_any_query_is_an_array(made, monkeypatch):
    monkeypatch.setattr("hnmine.export.examples.ExportPart.examples", lambda part: iter(()))
    (written,) = made.write("dpr")
    assert json.loads(written.path.read_bytes()) == []
