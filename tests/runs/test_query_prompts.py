"""Instructions by row: each query is encoded with the one of its own row, exactly as if it were that of the whole run."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import msgspec
import pytest

import hnmine
from hnmine import ModelSettings, find_knn_neg
from hnmine.cli.main import main
from hnmine.core.errors import InputError, SettingsError
from hnmine.models.encoder import FlagEncoder
from hnmine.runs.mine import Mined, MineSettings, mine
from hnmine.runs.reproduce import reproduce
from hnmine.selection.settings import SelectionSettings
from hnmine.vectors.store import VectorStore
from tests.conftest import EXAMPLE, FakeEncoder

ASK, CLAIM = "Find the answer to the question", "Find a passage that supports the claim"
OWN = "Represent the query"
MODEL = ModelSettings(query_instruction=OWN, query_instruction_format="Instruct: {}\nQuery: {}")
SELECTION = SelectionSettings(window_start=0, window_end=20, negative_number=3)


def lines_of(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


def rows_with(*prompts: object, count: int = 12) -> list[dict[str, object]]:
    """Rows of the bundled example, which take these prompts in turn; None is a row without."""
    rows: dict[str, dict[str, object]] = {}
    for line, prompt in zip(lines_of(EXAMPLE / "train.jsonl")[:count], itertools.cycle(prompts), strict=False):
        row = json.loads(line)
        rows[row["query"]] = {"query": row["query"], "pos": row["pos"]} | ({} if prompt is None else {"prompt": prompt})
    assert len(rows) == count, "no query twice"
    return list(rows.values())


def mined(path: Path, model: ModelSettings = MODEL, *, field: str | None = "prompt", store: Path | None = None) -> Mined:
    settings = MineSettings(selection=SELECTION, model=model, query_prompt_field=field)
    return mine(path, None, settings, lambda: FlagEncoder.load(model), store=None if store is None else VectorStore(store))


def with_instruction(text: str) -> ModelSettings:
    return msgspec.structs.replace(MODEL, query_instruction=text)


@pytest.mark.parametrize("stored", [False, True])
def test_two_prompts_in_a_file_are_the_two_runs_with_one_instruction_each(write_jsonl, tmp_path, stored) -> None:
    train = write_jsonl(rows_with(ASK, CLAIM, ASK))
    store = tmp_path / "vectors" if stored else None
    both = mined(train, store=store)
    asked, claimed = (mined(train, with_instruction(text), field=None, store=store) for text in (ASK, CLAIM))
    assert asked.ranking.query_vectors[:].tobytes() != claimed.ranking.query_vectors[:].tobytes()
    for row, query in zip(both.inputs.rows, both.inputs.corpus.row_queries.tolist(), strict=True):
        alone = asked if json.loads(bytes(row.fields["prompt"])) == ASK else claimed
        for of in ("query_vectors", "ids", "scores"):
            assert getattr(both.ranking, of)[query].tobytes() == getattr(alone.ranking, of)[query].tobytes()
        assert both.selection.negatives[query].tolist() == alone.selection.negatives[query].tolist()
    assert both.ranking.passage_vectors[:].tobytes() == asked.ranking.passage_vectors[:].tobytes()


def test_stored_vectors_are_found_by_the_instruction_too(write_jsonl, tmp_path) -> None:
    rows = rows_with(ASK, CLAIM)
    first = mined(write_jsonl(rows), store=tmp_path / "vectors")
    assert mined(tmp_path / "train.jsonl", store=tmp_path / "vectors").summary.vectors["encoded"] == 0
    rows[0]["prompt"] = CLAIM
    other = mined(write_jsonl(rows), store=tmp_path / "vectors")
    assert other.summary.vectors["encoded"] == 1
    changed = int(other.inputs.corpus.row_queries[0])
    same = [query for query in range(len(rows)) if query != changed]
    assert other.ranking.query_vectors[same].tobytes() == first.ranking.query_vectors[same].tobytes()
    assert other.ranking.query_vectors[changed].tobytes() != first.ranking.query_vectors[changed].tobytes()


def test_rows_without_a_prompt_have_the_models_instruction_and_are_counted(write_jsonl) -> None:
    rows = rows_with(ASK, None, "", ASK)
    rows[5]["prompt"] = None  # as a table has it
    found = mined(write_jsonl(rows))
    runs = {text: mined(write_jsonl(rows), with_instruction(text), field=None).ranking for text in (ASK, OWN, "")}
    for row, query in zip(rows, found.inputs.corpus.row_queries.tolist(), strict=True):
        prompt = row.get("prompt")
        alone = runs[OWN if prompt is None else str(prompt)]
        assert found.ranking.query_vectors[query].tobytes() == alone.query_vectors[query].tobytes()
    assert "no `prompt` in 3 of 12 rows: their queries have the model's own instruction" in found.summary.notes
    assert "`prompt` is empty in 3 rows: their queries have no instruction" in found.summary.notes
    assert found.summary.query_prompts == {"field": "prompt", "different": 2, "rows_without": 3}
    assert "\ninstructions 2 different in the field `prompt` of the rows\n" in str(found.summary)
    every = mined(write_jsonl(rows_with(ASK)))
    assert not [note for note in every.summary.notes if "prompt" in note]


def test_equal_queries_with_different_prompts_are_refused_with_their_lines(write_jsonl) -> None:
    rows = [{"query": "What is a dock?", "pos": ["a"], "prompt": ASK}, {"query": "other", "pos": ["b"], "prompt": CLAIM}]
    twin = {"query": "what is  a DOCK?", "pos": ["c"]}
    assert mined(write_jsonl([*rows, twin | {"prompt": ASK}])).summary.queries == 2
    with pytest.raises(InputError) as caught:
        mined(write_jsonl([*rows, twin | {"prompt": CLAIM}, twin]))
    said = str(caught.value).splitlines()
    assert "train.jsonl: equal queries have different instructions (`prompt`) in 2 rows" in said[0]
    assert said[0].endswith("give them the same one, or mine each instruction's rows as a file of their own")
    assert said[1] == f"  train.jsonl:3 $.prompt  the query 'what is a DOCK?' is in line 1 too: {ASK!r} and {CLAIM!r}"
    assert said[2] == f"  train.jsonl:4 $.prompt  the query 'what is a DOCK?' is in line 1 too: {ASK!r} and none"
    assert len(said) == 3


def test_a_prompt_that_is_not_a_text_is_refused_with_its_line(write_jsonl) -> None:
    rows = rows_with(ASK)
    rows[2]["prompt"], rows[7]["prompt"] = 5, ["a", "b"]
    with pytest.raises(InputError, match="`prompt` is not a text in 2 rows") as caught:
        mined(write_jsonl(rows))
    remedy = "write it as a string, or leave the field out"
    assert f"\n  train.jsonl:3 $.prompt  expected a string, found 5  -> {remedy}\n" in str(caught.value)
    assert [(each.line, each.kind, each.path) for each in caught.value.problems] == [
        (3, "wrong-type", "$.prompt"),
        (8, "wrong-type", "$.prompt"),
    ]
    with pytest.raises(InputError, match=r"not a text in 30 rows\n(.*\n){20}  \.\.\. and 10 more$"):
        mined(write_jsonl(rows_with(1, count=30)))


def test_an_unknown_field_is_refused_with_those_that_exist(write_jsonl) -> None:
    rows = [row | {"id": number} for number, row in enumerate(rows_with(ASK))]
    with pytest.raises(SettingsError, match="query_prompt_field is 'instruct', and no row has this field; name one of: prompt, id"):
        mined(write_jsonl(rows), field="instruct")
    with pytest.raises(SettingsError, match="none beside query, pos and neg: leave the setting out"):
        mined(write_jsonl(rows_with(None)))


@pytest.mark.parametrize("field", ["", "query", "pos", "neg", 5])
def test_a_part_of_the_row_is_no_prompt(field) -> None:
    with pytest.raises(SettingsError, match=r"query_prompt_field is .*; name the field with the instruction of each query"):
        MineSettings(query_prompt_field=field)


class Unknown:
    """A loaded model whose own instruction nobody can see."""

    def encode(self, texts, **_):
        pytest.fail("refused before anything is encoded")


@pytest.mark.parametrize("model", [Unknown(), FakeEncoder()])
def test_a_model_that_takes_no_instruction_for_each_query_is_refused(write_jsonl, tmp_path, model) -> None:
    with pytest.raises(SettingsError, match=f"is a {type(model).__name__}.*give .* leave query_prompt_field out"):
        find_knn_neg(model, write_jsonl(rows_with(ASK)), output_file=tmp_path / "out.jsonl", query_prompt_field="prompt")


def test_a_loaded_model_gives_the_same_vectors_as_its_folder(write_jsonl, flag_model) -> None:
    train, plain = write_jsonl(rows_with(ASK, CLAIM)), ModelSettings(devices=("cpu",), precision="fp32", query_max_length=512)
    data = hnmine.read(train)
    loaded = hnmine.rank(data, model=flag_model, query_prompt_field="prompt", store=False)
    assert loaded.scores.tobytes() == hnmine.rank(data, model=plain, query_prompt_field="prompt", store=False).scores.tobytes()
    assert loaded.scores.tobytes() != hnmine.rank(data, model=flag_model, store=False).scores.tobytes()


def test_every_way_in_writes_the_same_bytes_and_the_manifest_does_it_again(write_jsonl, tmp_path, monkeypatch, capsys) -> None:
    train = write_jsonl(rows_with(ASK, CLAIM, None))
    options = {"selection": SELECTION, "query_prompt_field": "prompt", "store": tmp_path / "vectors"}
    summary = find_knn_neg(MODEL, train, output_file=tmp_path / "call.jsonl", **options)
    flags = ["--query_instruction_for_retrieval", OWN, "--query_instruction_format_for_retrieval", "Instruct: {}\\nQuery: {}"]
    flags += ["--range_for_sampling", "0-20", "--negative_number", "3", "--store", str(tmp_path / "vectors"), "--quiet"]
    flags += ["--query_prompt_field", "prompt", "--output_file", str(tmp_path / "line.jsonl")]
    assert main(["mine", "--input_file", str(train), *flags]) == 0
    assert "instructions 2 different in the field `prompt` of the rows" in capsys.readouterr().out
    ranking = hnmine.rank(hnmine.read(train), model=MODEL, query_prompt_field="prompt", store=tmp_path / "vectors")
    ranking.select(n=3, window=(0, 20)).write(tmp_path / "library.jsonl")
    reproduce(tmp_path / "call.manifest.json", tmp_path / "again.jsonl")
    outputs = {(tmp_path / f"{name}.jsonl").read_bytes() for name in ("call", "line", "library", "again")}
    assert len(outputs) == 1
    for name in ("call", "line", "library", "again"):
        manifest = json.loads((tmp_path / f"{name}.manifest.json").read_text())
        assert manifest["settings"]["query_prompt_field"] == "prompt"
        assert manifest["model"]["query_prompts"] == manifest["summary"]["query_prompts"] == summary.query_prompts
        assert manifest["model"]["query_instruction"] == OWN
    plain = find_knn_neg(MODEL, train, output_file=tmp_path / "plain.jsonl", selection=SELECTION)
    assert plain.query_prompts == {}
    assert (tmp_path / "plain.jsonl").read_bytes() not in outputs


def test_a_manifest_from_before_the_setting_is_done_again(write_jsonl, tmp_path) -> None:
    find_knn_neg(MODEL, write_jsonl(rows_with(ASK, CLAIM)), output_file=tmp_path / "out.jsonl", selection=SELECTION)
    path = tmp_path / "out.manifest.json"
    manifest = json.loads(path.read_text())
    assert "query_prompts" not in manifest["model"]
    del manifest["settings"]["query_prompt_field"]
    path.write_text(json.dumps(manifest))
    assert reproduce(path, tmp_path / "again.jsonl").notes[-1] == "the bytes are those of the manifest"


def test_the_system_message_of_ms_swift_is_a_prompt(write_jsonl) -> None:
    def chat(text: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": text}]

    rows = [
        {
            "messages": [{"role": "system", "content": ASK if number % 2 else CLAIM}, *chat(f"q {number}")],
            "positive_messages": [chat(f"p {number}")],
        }
        for number in range(6)
    ]
    assert mined(write_jsonl(rows)).summary.query_prompts == {"field": "prompt", "different": 2, "rows_without": 0}
