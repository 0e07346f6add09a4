"""The drop-in from file to file: any model, the same bytes each time, none of the faults of the miners people use today."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hnmine import find_knn_neg
from hnmine.cli.main import main
from hnmine.core.errors import Cancelled, EncodeError, InputError, ModelError, OutputError, SettingsError
from hnmine.core.text import normalize_text
from hnmine.models.cards import ModelSettings, packaged_folder
from hnmine.runs.mine import MineSettings, mine
from hnmine.selection.presets import with_preset
from hnmine.selection.settings import SelectionSettings

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "bikeshare"


class Model:
    """What FlagEmbedding's models have: `encode` and `encode_queries`, here over given vectors or hashes of the texts."""

    def __init__(self, vectors=None, dimension=16):
        self.vectors = vectors
        self.dimension = dimension
        self.texts = []

    def _vectors(self, texts):
        self.texts += list(texts)
        if self.vectors is not None:
            return np.array([self.vectors[text] for text in texts], dtype=np.float32)
        seeds = [int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little") for text in texts]
        vectors = np.array([np.random.default_rng(seed).standard_normal(self.dimension) for seed in seeds], dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def encode(self, sentences, **_):
        return self._vectors(sentences)

    def encode_queries(self, queries, **_):
        return self._vectors(queries)


def angle(score):
    """A unit vector whose inner product with (1, 0) is `score`."""
    return (score, (1 - score**2) ** 0.5)


def read(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.jsonl"


@pytest.fixture
def train(write_jsonl):
    """Thirty rows; some ask the same, some have negatives and further fields."""
    return write_jsonl(
        [
            {"id": i, "query": f"question {i % 25}", "pos": [f"answer {i}"], **({"neg": [f"old negative {i}"]} if i % 3 == 0 else {})}
            for i in range(30)
        ]
    )


@pytest.fixture
def pool(write_jsonl):
    return write_jsonl([{"_id": str(i), "text": f"passage {i}"} for i in range(80)], "pool.jsonl")


# The call


def test_arguments_have_the_names_and_the_order_of_the_original():
    parameters = inspect.signature(find_knn_neg).parameters
    original = ["model", "input_file", "candidate_pool", "output_file", "sample_range", "negative_number", "use_gpu"]
    assert list(parameters)[:7] == original
    assert {parameters[name].kind for name in original} == {inspect.Parameter.POSITIONAL_OR_KEYWORD}
    assert {each.kind for name, each in parameters.items() if name not in original} == {inspect.Parameter.KEYWORD_ONLY}
    assert (parameters["seed"].default, SelectionSettings().seed) == (None, 42)


def test_what_is_given_goes_before_a_preset_and_settings(train, pool, out):
    def settings(**given):
        find_knn_neg(Model(), train, pool, out, **given)
        return SelectionSettings(**json.loads(out.with_name("out.manifest.json").read_text())["settings"]["selection"])

    assert settings() == SelectionSettings()
    assert settings(preset="balanced", seed=3) == with_preset("balanced", SelectionSettings(seed=3))
    assert settings(preset="percpos", sample_range="0-9", negative_number=4).window_end == 9
    chosen = SelectionSettings(window_start=1, window_end=8, negative_number=3, seed=9, margin=0.1)
    assert settings(selection=chosen) == chosen
    assert settings(selection=chosen, negative_number=2) == msgspec.structs.replace(chosen, negative_number=2)


def test_called_as_the_original_by_position(train, pool, out):
    summary = find_knn_neg(Model(), str(train), str(pool), str(out), [10, 60], 5, False)
    rows = read(out)
    assert len(rows) == summary.rows == 30
    assert all(len(row["neg"]) == 5 for row in rows)
    assert summary.output_file == str(out)
    assert (summary.queries, summary.candidates, summary.window) == (25, 120, (10, 60))
    assert summary.negatives == 150
    assert (summary.random_filled, summary.short_rows) == (0, 0)
    for words in ("30 (25 different queries)", "ranks 10-59", "120 passages", str(out)):
        assert words in str(summary)


@pytest.mark.parametrize("sample_range", [[2, 30], (2, 30), "2-30", np.array([2, 30])])
def test_the_range_may_be_a_list_a_text_or_an_array(train, pool, out, sample_range, tmp_path):
    find_knn_neg(Model(), train, pool, out, sample_range, 5)
    expected = tmp_path / "expected.jsonl"
    find_knn_neg(Model(), train, pool, expected, [2, 30], 5)
    assert out.read_bytes() == expected.read_bytes()


def test_the_pool_may_be_a_file_or_a_list(train, pool, out, tmp_path):
    find_knn_neg(Model(), train, pool, out, [0, 30], 5)
    other = tmp_path / "other.jsonl"
    find_knn_neg(Model(), train, [f"passage {i}" for i in range(80)], other, [0, 30], 5)
    assert out.read_bytes() == other.read_bytes()


def test_extend_and_replace(train, pool, out):
    extended = find_knn_neg(Model(), train, pool, out, [0, 60], 30)
    assert any(text.startswith("answer") for row in read(out) for text in row["neg"])
    replaced = find_knn_neg(Model(), train, pool, out, [0, 60], 30, pool_mode="replace")
    assert all(text.startswith("passage") for row in read(out) for text in row["neg"])
    assert (extended.pool_mode, replaced.pool_mode) == ("extend", "replace")
    assert "the rows' own passages and the pool" in str(extended)
    assert "the pool alone" in str(replaced)


def test_every_setting_reaches_the_selection(train, pool, out):
    values = {"seed": 7, "strategy": "hardest", "max_score": 0.5, "min_score": -0.5, "max_positive_ratio": 0.9, "margin": 0.01}
    values |= {
        "positive_score": "min",
        "max_positive_similarity": 0.9,
        "max_positive_similarity_ratio": 0.95,
        "max_overlap": 0.8,
        "max_fn_probability": 0.7,
        "max_fn_rate": 0.3,
    }
    chosen = SelectionSettings(**values)
    find_knn_neg(Model(), train, pool, out, [1, 50], 5, with_scores=True, manifest=out.with_suffix(".json"), selection=chosen)
    manifest = json.loads(out.with_suffix(".json").read_text())
    assert SelectionSettings(**manifest["settings"]["selection"]) == SelectionSettings(
        window_start=1, window_end=50, negative_number=5, **values
    )
    assert manifest["settings"]["with_scores"] is True
    assert manifest["inputs"]["input_file"]["sha256"] == hashlib.sha256(train.read_bytes()).hexdigest()
    assert manifest["inputs"]["candidate_pool"] == {
        "name": "pool.jsonl",
        "bytes": pool.stat().st_size,
        "sha256": hashlib.sha256(pool.read_bytes()).hexdigest(),
        "path": str(pool.resolve()),
    }
    assert manifest["summary"]["rows"] == 30
    assert {"hnmine", "numpy", "python", "torch", "FlagEmbedding"} <= set(manifest["versions"])
    assert all(-0.5 <= score <= 0.5 for row in read(out) for score in row["neg_scores"])


def test_a_deeper_ranking_writes_the_same_negatives(train, pool, fake_encoder):
    """The app ranks deeper than the command line does."""
    settings = MineSettings(selection=SelectionSettings(window_start=3, window_end=9, negative_number=12))
    least = mine(train, pool, settings, lambda: fake_encoder)
    deeper = mine(train, pool, settings, lambda: fake_encoder, depth=80)
    assert deeper.ranking.depth == 80
    assert least.selection.random_filled.any()
    assert deeper.selection.negatives.tolist() == least.selection.negatives.tolist()


# Models


def test_any_encoder_will_do_and_each_side_is_encoded_once(train, pool, out, fake_encoder):
    find_knn_neg(fake_encoder, train, pool, out, [0, 30], 5)
    assert (fake_encoder.passage_calls, fake_encoder.query_calls) == (1, 1)
    assert len(read(out)) == 30


def test_queries_and_passages_go_to_their_own_methods(train, out):
    class Sides(Model):
        def encode(self, sentences, **_):
            pytest.fail("encode_corpus is there for passages, encode_queries for queries")

        def encode_corpus(self, corpus, **_):
            assert all(text.startswith(("answer", "old")) for text in corpus)
            return self._vectors(corpus)

        def encode_queries(self, queries, **_):
            assert all(text.startswith("question") for text in queries)
            return self._vectors(queries)

    find_knn_neg(Sides(), train, None, out, [0, 20], 5)
    assert len(read(out)) == 30


def test_a_model_with_encode_alone_will_do(train, out, tmp_path):
    class One:
        def encode(self, sentences):
            return Model()._vectors(sentences)

    find_knn_neg(One(), train, None, out, [0, 20], 5)
    find_knn_neg(Model(), train, None, tmp_path / "two", [0, 20], 5)
    assert out.read_bytes() == (tmp_path / "two").read_bytes()


def _answers():
    import torch

    class M3(Model):
        def _vectors(self, texts):
            return {"dense_vecs": super()._vectors(texts), "lexical_weights": None, "colbert_vecs": None}

    class Tensor(Model):
        def _vectors(self, texts):
            return torch.from_numpy(super()._vectors(texts)).requires_grad_()

    class Lists(Model):
        def _vectors(self, texts):
            return super()._vectors(texts).tolist()

    class Unscaled(Model):
        def _vectors(self, texts):
            return super()._vectors(texts) * np.array([[2.0 ** (len(text) % 5)] for text in texts], dtype=np.float32)

    return {"dict of BGE-M3": M3, "tensor": Tensor, "lists": Lists, "not normalised": Unscaled}


@pytest.mark.parametrize("kind", ["dict of BGE-M3", "tensor", "lists", "not normalised"])
def test_every_form_of_answer_gives_the_same_file(train, out, tmp_path, kind):
    find_knn_neg(_answers()[kind](), train, None, out, [0, 20], 5)
    find_knn_neg(Model(), train, None, tmp_path / "plain", [0, 20], 5)
    assert out.read_bytes() == (tmp_path / "plain").read_bytes()


def test_bfloat16_tensors_are_taken(train, out):
    """They have no .numpy()."""
    import torch

    class Half(Model):
        def _vectors(self, texts):
            return torch.from_numpy(super()._vectors(texts)).to(torch.bfloat16)

    summary = find_knn_neg(Half(), train, None, out, [0, 20], 5)
    assert summary.negatives == 150


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda texts: np.zeros(len(texts)), r"shape \(\d+,\) for"),
        (lambda texts: np.ones((len(texts) + 1, 4)), r"shape \(\d+, 4\) for"),
        (lambda texts: np.ones((1, len(texts), 4)), r"shape \(1, "),
        (lambda texts: np.ones((len(texts), 0)), r"shape \(\d+, 0\)"),
        (lambda texts: np.full((len(texts), 4), np.nan), r"NaN or infinity for passage '.*precision fp32"),
        (lambda texts: np.full((len(texts), 4), np.inf), r"NaN or infinity"),
        (lambda texts: None, r"shape \(\) for"),
        (lambda texts: [[1.0] * (1 + i % 2) for i, _ in enumerate(texts)], r"list, which is not an array of numbers"),
        (lambda texts: list(texts), r"list, which is not an array of numbers"),
        (lambda texts: {"lexical_weights": []}, r"without `dense_vecs` \(keys: lexical_weights\)"),
    ],
)
def test_an_answer_that_is_no_set_of_vectors_is_an_encode_error(train, out, answer, message):
    class Wrong(Model):
        def _vectors(self, texts):
            return answer(texts)

    out.write_text("old")
    with pytest.raises(EncodeError, match=message):
        find_knn_neg(Wrong(), train, None, out, [0, 20], 5)
    assert out.read_text() == "old"


@pytest.mark.parametrize("vectors", [lambda n: np.full((n, 64), np.nan, np.float32), lambda n: np.ones((n + 1, 64), np.float32)])
def test_an_encoder_of_ones_own_is_checked_too(train, out, fake_encoder, monkeypatch, vectors):
    """A NaN would leave -1 in the ranked list, which is the last passage of the corpus."""
    sound = fake_encoder.encode_batches

    def wrong(texts, side, **options):
        if side == "passages":
            return sound(texts, side, **options)
        return iter([(np.arange(len(texts)), vectors(len(texts)))])

    monkeypatch.setattr(fake_encoder, "encode_batches", wrong)
    with pytest.raises(EncodeError):
        find_knn_neg(fake_encoder, train, None, out, [0, 20], 5)
    assert not out.exists()


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (object(), SettingsError, "`encode`"),
        (42, SettingsError, "`encode`"),
        ("./no/such/folder", ModelError, "model folder './no/such/folder' does not exist"),
        (EXAMPLE, ModelError, r"bikeshare has no config\.json"),
        (ModelSettings(name_or_path="/no/such/folder"), ModelError, "model folder .* does not exist"),
    ],
)
def test_what_is_no_model_is_refused_before_the_input_is_read(tmp_path, out, model, error, message):
    with pytest.raises(error, match=message):
        find_knn_neg(model, tmp_path / "missing.jsonl", None, out)


def test_a_hub_name_out_of_reach_is_the_same_error_as_on_the_command_line(train, out, monkeypatch, capsys):
    from huggingface_hub import HfApi

    def out_of_reach(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(HfApi, "model_info", out_of_reach)
    monkeypatch.setenv("HF_HUB_CACHE", str(out.parent / "hub"))
    with pytest.raises(ModelError, match=r"cannot load model 'hnmine-test/none': ConnectionError: no route") as refusal:
        find_knn_neg("hnmine-test/none", train, None, out)
    call = ["mine", "--input_file", str(train), "--output_file", str(out), "--embedder_name_or_path", "hnmine-test/none", "--quiet"]
    assert main(call) == refusal.value.exit_status
    assert capsys.readouterr().err == f"hnmine: {refusal.value}\n"
    assert not out.exists()


# What is refused before any encoding


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"sample_range": [210, 10]}, SettingsError, "210-10"),
        ({"sample_range": [10]}, SettingsError, r"\[START, END\]"),
        ({"sample_range": [1.5, 3]}, SettingsError, r"\[START, END\]"),
        ({"sample_range": "ten"}, SettingsError, "START-END"),
        ({"negative_number": 0}, SettingsError, "negative_number is 0"),
        ({"preset": "easy"}, SettingsError, "'easy'"),
        ({"preset": "balanced", "selection": SelectionSettings()}, SettingsError, "preset 'balanced' and selection are both given"),
        ({"on_bad_rows": "ignore"}, SettingsError, "on_bad_rows is 'ignore'"),
        ({"verdicts": ["negative"]}, SettingsError, "verdicts holds 'negative'"),
        ({"pool_mode": "swap"}, SettingsError, "'swap'"),
        ({"pool_mode": "replace"}, SettingsError, "no candidate_pool"),
        ({"repair": ["everything"]}, SettingsError, "'everything'"),
        ({"candidate_pool": ["x", " "]}, InputError, r"candidate_pool\[1\]"),
        ({"candidate_pool": ["x", 3]}, InputError, r"candidate_pool\[1\]"),
        ({"output_file": None}, SettingsError, "output_file is missing"),
    ],
)
def test_a_wrong_argument_costs_no_encoding(train, out, arguments, error, message):
    model = Model()
    with pytest.raises(error, match=message):
        find_knn_neg(model, train, **{"output_file": out, **arguments})
    assert not model.texts
    assert not out.exists()


def test_bad_rows_of_both_files_are_told_at_once_and_cost_no_encoding(write_jsonl, out):
    train = write_jsonl(['{"query": "", "pos": ["p"]}', '{"query": "q", "pos": "p"}'])
    pool = write_jsonl(['{"text": "y"}', '{"txt": "x"}'], "pool.jsonl")
    model = Model()
    with pytest.raises(InputError) as refusal:
        find_knn_neg(model, train, pool, out)
    assert [(problem.file, problem.line) for problem in refusal.value.problems] == [
        ("train.jsonl", 1),
        ("train.jsonl", 2),
        ("pool.jsonl", 2),
    ]
    assert not model.texts
    summary = find_knn_neg(model, train, pool, out, [0, 5], 1, repair=["string-instead-of-list"], on_bad_rows="skip")
    assert len(read(out)) == 1
    assert summary.problems == {
        "empty-text (skipped)": 1,
        "string-instead-of-list (repaired)": 1,
        "missing-field (skipped)": 1,
    }


@pytest.mark.parametrize("which", ["output_file", "manifest"])
@pytest.mark.parametrize("target", ["train", "pool", "link to train"])
def test_an_output_over_an_input_is_refused(train, pool, out, tmp_path, which, target):
    before = train.read_bytes(), pool.read_bytes()
    paths = {"train": train, "pool": tmp_path / "." / "pool.jsonl", "link to train": tmp_path / "link"}
    (tmp_path / "link").symlink_to(train)
    with pytest.raises(SettingsError, match=rf"{which} is the (input_file|candidate_pool) itself"):
        find_knn_neg(Model(), train, pool, **{"output_file": out, which: paths[target]})
    assert (train.read_bytes(), pool.read_bytes()) == before


def test_a_manifest_is_written_beside_the_output_unless_it_is_not_wanted(train, out):
    find_knn_neg(Model(), train, None, out, [0, 20], 5)
    manifest = out.with_name("out.manifest.json")
    (written,) = json.loads(manifest.read_text())["outputs"]
    assert (written["name"], written["sha256"]) == ("out.jsonl", hashlib.sha256(out.read_bytes()).hexdigest())
    find_knn_neg(Model(), train, None, out.with_name("other.jsonl"), [0, 20], 5, manifest=False)
    find_knn_neg(Model(), train, None, out.with_name("third.jsonl"), [0, 20], 5, manifest=out.with_name("named.json"))
    assert sorted(path.name for path in out.parent.glob("*.json")) == ["named.json", "out.manifest.json"]
    assert out.with_name("other.jsonl").read_bytes() == out.read_bytes()


def test_the_command_line_is_not_asked_for_a_manifest_and_for_none(train, out, capsys):
    call = ["mine", "--input_file", str(train), "--output_file", str(out), "--no_manifest", "--manifest_file", "named.json"]
    assert main(call) == 2
    assert "--no_manifest and --manifest_file named.json contradict each other" in capsys.readouterr().err


def test_a_manifest_over_the_output_is_refused(train, out):
    with pytest.raises(SettingsError, match=r"manifest is the output_file itself"):
        find_knn_neg(Model(), train, None, out, [0, 5], 1, manifest=out.parent / "." / "out.jsonl")
    assert not out.exists()


def test_a_pool_in_the_place_of_the_output_is_refused(train, pool, tmp_path):
    """Newer hn_mine.py has output_file before candidate_pool; by position the pool would be lost."""
    before = pool.read_bytes()
    existing = tmp_path / "earlier.jsonl"
    existing.write_text('{"query": "q", "pos": ["p"]}\n')
    with pytest.raises(SettingsError, match=r"change places.*candidate_pool, output_file"):
        find_knn_neg(Model(), str(train), str(existing), str(pool), [0, 5], 1, False)
    assert pool.read_bytes() == before


def test_an_earlier_output_is_no_pool_and_is_replaced(train, out):
    find_knn_neg(Model(), train, None, out, [0, 20], 5)
    first = out.read_bytes()
    find_knn_neg(Model(), train, None, out, [0, 20], 5, seed=1)
    assert out.read_bytes() != first


@pytest.mark.parametrize("which", ["output_file", "manifest"])
def test_a_missing_folder_is_told_before_any_encoding(train, out, tmp_path, which):
    model = Model()
    with pytest.raises(OutputError, match=r"nowhere is no folder"):
        find_knn_neg(model, train, None, **{"output_file": out, which: tmp_path / "nowhere" / "x"})
    assert not model.texts


# Stopping


@pytest.mark.parametrize(
    "stage", ["reading the files", "looking at the model", "encoding passages", "encoding queries", "searching", "selecting"]
)
def test_a_stop_at_any_stage_leaves_the_old_output(train, pool, out, fake_encoder, stage):
    out.write_text("old")
    seen = []
    with pytest.raises(Cancelled):
        find_knn_neg(
            fake_encoder,
            train,
            pool,
            out,
            [0, 30],
            5,
            on_progress=lambda done, total, note: seen.append(note),
            should_stop=lambda: stage in seen,
        )
    assert seen[-1] == stage
    assert out.read_text() == "old"
    assert sorted(each.name for each in out.parent.iterdir()) == ["out.jsonl", "pool.jsonl", "train.jsonl"]


def test_progress_tells_every_stage_and_reaches_its_totals(train, pool, out, fake_encoder):
    steps = []
    find_knn_neg(fake_encoder, train, pool, out, [0, 30], 5, on_progress=lambda *step: steps.append(step))
    stages = list(dict.fromkeys(note for _, _, note in steps))
    assert stages == ["reading the files", "looking at the model", "encoding passages", "encoding queries", "searching", "selecting"]
    for stage, total in (("encoding passages", 120), ("encoding queries", 25), ("searching", 25)):
        assert [step for step in steps if step[2] == stage][-1] == (total, total, stage)


# The same bytes


SCRIPT = """
import hashlib, sys
import numpy as np
from hnmine import find_knn_neg

class Model:
    def encode(self, texts):
        seeds = [int.from_bytes(hashlib.blake2b(t.encode(), digest_size=4).digest(), "little") for t in texts]
        return np.array([np.random.default_rng(seed).standard_normal(16) for seed in seeds], dtype=np.float32)

find_knn_neg(Model(), sys.argv[1], sys.argv[2], sys.argv[3], [10, 20], 25, with_scores=True)
"""


def test_hn_mine_back_fill_depends_on_pythonhashseed(train, pool, tmp_path):
    """Here three seeds of Python's own hashing give the same bytes, although 15 negatives of each row are back-filled."""
    written = []
    for seed in ("0", "1", "31337"):
        path = tmp_path / f"{seed}.jsonl"
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", SCRIPT, train, pool, path], check=True, env=environment, cwd=ROOT, timeout=300)
        written.append(path.read_bytes())
    assert written[0] == written[1] == written[2]
    assert all(len(json.loads(line)["neg"]) == 25 for line in written[0].splitlines())


def test_shuffled_rows_and_pool_keep_each_rows_negatives(train, pool, out, write_jsonl):
    find_knn_neg(Model(), train, pool, out, [10, 20], 25, with_scores=True)
    before = {row["id"]: row for row in read(out)}
    rows, passages = read(train), read(pool)
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        random.Random(seed).shuffle(passages)
        find_knn_neg(Model(), write_jsonl(rows, "t2"), write_jsonl(passages, "p2"), out, [10, 20], 25, with_scores=True)
        after = read(out)
        assert [row["id"] for row in after] == [row["id"] for row in rows], "the order of the rows is the order of the output"
        assert {row["id"]: row for row in after} == before


# The faults of today's miners, one test each


@pytest.fixture
def faults(write_jsonl):
    """Forty rows over a small corpus in which queries are passages too: most negatives have to be back-filled."""
    rows = [{"query": f"what is thing {i}?", "pos": [f"thing {i} is a thing", f"what is thing {(i + 1) % 40}?"]} for i in range(40)]
    return write_jsonl(rows)


def test_hn_mine_back_fill_repeats_negatives(faults, out):
    summary = find_knn_neg(Model(), faults, None, out, [10, 20], 60)
    assert summary.random_filled > 1_000
    assert all(len(row["neg"]) == len({normalize_text(text) for text in row["neg"]}) == 60 for row in read(out))


def test_hn_mine_back_fill_puts_the_query_itself_among_the_negatives(faults, out):
    find_knn_neg(Model(), faults, None, out, [10, 20], 80)
    assert all(normalize_text(row["query"]) not in map(normalize_text, row["neg"]) for row in read(out))


def test_hn_mine_raises_value_error_on_a_small_corpus(write_jsonl, out):
    train = write_jsonl([{"query": "a", "pos": ["b"]}, {"query": "c", "pos": ["d"]}])
    summary = find_knn_neg(Model(), train, None, out)
    assert [row["neg"] for row in read(out)] == [["d"], ["b"]]
    assert summary.short_rows == 2
    assert "2 rows short of 15" in str(summary)


def test_hn_mine_makes_one_character_negatives_of_a_string_pos(write_jsonl, out):
    train = write_jsonl([{"query": "a", "pos": "a whole passage"}, {"query": "c", "pos": ["another"]}])
    with pytest.raises(InputError, match=r"train\.jsonl:1 \$\.pos .*string"):
        find_knn_neg(Model(), train, None, out, [0, 5], 3)
    find_knn_neg(Model(), train, None, out, [0, 5], 3, repair=["string-instead-of-list"])
    assert read(out)[0] == {"query": "a", "pos": ["a whole passage"], "neg": ["another"]}
    assert read(out)[1]["neg"] == ["a whole passage"]


def test_hn_mine_mines_the_positive_of_another_row_with_the_same_query(write_jsonl, out):
    rows = [{"query": "Who?", "pos": ["first"]}, {"query": " who? ", "pos": ["second"]}, {"query": "x", "pos": ["third"]}]
    find_knn_neg(Model(), write_jsonl(rows), ["First ", "SECOND", "other"], out, [0, 9], 9)
    for row in read(out)[:2]:
        assert set(row["neg"]) == {"third", "other"}


def test_hn_mine_loses_the_negatives_that_were_there(write_jsonl, out):
    """They are candidates, as hn_mine.py's corpus drops them; `neg` is mined anew from all of them."""
    train = write_jsonl([{"query": "q", "pos": ["p"], "neg": ["judged wrong"]}, {"query": "r", "pos": ["s"]}])
    find_knn_neg(Model(), train, None, out, [0, 9], 9)
    assert "judged wrong" in read(out)[0]["neg"]
    assert "judged wrong" in read(out)[1]["neg"]


def test_hn_mine_discards_the_scores(train, pool, out):
    find_knn_neg(Model(), train, pool, out, [0, 30], 5, with_scores=True)
    for row in read(out):
        assert len(row["neg_scores"]) == len(row["neg"]) == 5
        assert row["neg_scores"] == sorted(row["neg_scores"], reverse=True)
        assert len(row["pos_scores"]) == len(row["pos"])


def test_hn_mine_searches_in_small_batches(train, pool, out, fake_encoder):
    """One search over all the queries: 64 at a time cost ten times as much."""
    steps = []
    find_knn_neg(fake_encoder, train, pool, out, [0, 30], 5, on_progress=lambda *step: steps.append(step))
    assert [step for step in steps if step[2] == "searching"] == [(25, 25, "searching")]


def test_hn_mine_mines_a_positive_in_another_spelling(write_jsonl, out):
    train = write_jsonl([{"query": "q", "pos": ["Café au lait"]}])
    find_knn_neg(Model(), train, ["cafe\u0301  AU lait ", "tea"], out, [0, 9], 5)
    assert read(out)[0]["neg"] == ["tea"]


def test_sentence_transformers_reuses_the_vectors_of_another_model(train, pool, out, tmp_path):
    """Two models of the same class and name are two models."""
    find_knn_neg(Model(dimension=16), train, pool, out, [0, 10], 5)
    find_knn_neg(Model(dimension=17), train, pool, tmp_path / "other", [0, 10], 5)
    assert out.read_bytes() != (tmp_path / "other").read_bytes()


def test_sentence_transformers_returns_the_query_as_its_own_negative(write_jsonl, out):
    train = write_jsonl([{"query": "Is it so?", "pos": ["p"]}])
    find_knn_neg(Model(), train, ["is it  SO?", "x", "y"], out, [0, 1], 5)
    assert set(read(out)[0]["neg"]) == {"x", "y"}


def test_sentence_transformers_is_unseeded(train, pool, out):
    written = []
    for seed in (1, 1, 2):
        find_knn_neg(Model(), train, pool, out, [0, 60], 5, seed=seed)
        written.append(out.read_bytes())
    assert written[0] == written[1] != written[2]


def scored(write_jsonl, positives, candidates):
    """A file with one query, and a model that gives each passage the score it is named after."""
    train = write_jsonl([{"query": "q", "pos": [f"right {score}" for score in positives]}])
    vectors = {"q": (1.0, 0.0)} | {f"right {score}": angle(score) for score in positives} | {f"{s}": angle(s) for s in candidates}
    return train, [f"{score}" for score in candidates], Model(vectors)


def test_sentence_transformers_anchors_the_margin_at_the_worst_positive(write_jsonl, out):
    """One bad positive (0.1) must not empty the query; the mean of the positives (0.5) is the anchor."""
    train, pool, model = scored(write_jsonl, [0.9, 0.1], [0.8, 0.44, 0.3, 0.2])
    find_knn_neg(model, train, pool, out, [0, 9], 4, selection=SelectionSettings(margin=0.05))
    assert read(out)[0]["neg"] == ["0.44", "0.3", "0.2"]


def test_sentence_transformers_margins_are_wrong_for_negative_scores(write_jsonl, out):
    """At a positive of -0.4 a share of 0.75 allows what is below -0.5; the plain product, -0.3, would let harder ones pass."""
    train, pool, model = scored(write_jsonl, [-0.4], [-0.2, -0.35, -0.45, -0.6, -0.8])
    find_knn_neg(model, train, pool, out, [0, 9], 5, selection=SelectionSettings(max_positive_ratio=0.75))
    assert read(out)[0]["neg"] == ["-0.6", "-0.8"]
    find_knn_neg(model, train, pool, out, [0, 9], 5, selection=SelectionSettings(margin=0.3))
    assert read(out)[0]["neg"] == ["-0.8"]


def test_sentence_transformers_drops_a_query_with_too_few_candidates(write_jsonl, out):
    train = write_jsonl([{"query": f"q{i}", "pos": [f"p{i}"], "id": i} for i in range(3)])
    summary = find_knn_neg(Model(), train, None, out, [0, 9], 5)
    assert [(row["id"], len(row["neg"])) for row in read(out)] == [(0, 2), (1, 2), (2, 2)]
    assert (summary.rows, summary.short_rows) == (3, 3)


def test_sentence_transformers_failed_when_k_is_larger_than_the_corpus(write_jsonl, out):
    """FAISS answers -1 there, which Python reads as the last passage."""
    train = write_jsonl([{"query": "q", "pos": ["p"]}])
    find_knn_neg(Model(), train, ["x", "y"], out, [0, 10_000], 50)
    assert sorted(read(out)[0]["neg"]) == ["x", "y"]


def test_nemo_lets_masked_candidates_come_back(write_jsonl, out):
    """What a guard rejected, or is a positive, is not back-filled either: the row stays short."""
    train, pool, model = scored(write_jsonl, [0.5], [0.9, 0.8, 0.7, 0.2, 0.1])
    summary = find_knn_neg(model, train, pool, out, [0, 2], 5, selection=SelectionSettings(max_positive_ratio=0.95))
    assert read(out)[0]["neg"] == ["0.2", "0.1"]
    assert (summary.random_filled, summary.short_rows) == (2, 1)


# The real model


@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder_named_as_the_model_is_loaded_from_there(out, kind):
    folder = packaged_folder()
    find_knn_neg(kind(folder), EXAMPLE / "train.jsonl", ["one", "two"], out, [0, 40], 3)
    model = json.loads(out.with_name("out.manifest.json").read_text())["model"]
    assert (model["name"], model["pooling_method"]) == (str(folder), "mean")


def test_the_bundled_example_with_the_packaged_model(flag_model, out):
    """The main job: 124 rows, 308 passages, and the traps that the example's notes describe."""
    summary = find_knn_neg(flag_model, EXAMPLE / "train.jsonl", EXAMPLE / "pool.jsonl", out, [0, 40], 8, with_scores=True)
    source, rows = read(EXAMPLE / "train.jsonl"), read(out)
    pool = {row["_id"]: row["text"] for row in read(EXAMPLE / "pool.jsonl")}
    assert (summary.rows, summary.queries, summary.candidates) == (124, 121, 397)
    assert [row["id"] for row in rows] == [row["id"] for row in source]
    known = {normalize_text(text) for row in source for text in (*row["pos"], *row.get("neg", ()))} | {
        normalize_text(text) for text in pool.values()
    }
    positives: dict[str, set[str]] = {}
    for row in source:
        positives.setdefault(normalize_text(row["query"]), set()).update(map(normalize_text, row["pos"]))
    for before, row in zip(source, rows, strict=True):
        assert {key: row[key] for key in before if key != "neg"} == {key: value for key, value in before.items() if key != "neg"}
        folded = [normalize_text(text) for text in row["neg"]]
        assert len(set(folded)) == 8
        assert set(folded) <= known
        assert not positives[normalize_text(row["query"])] & set(folded)
        assert normalize_text(row["query"]) not in folded
        assert len(row["neg_scores"]) == 8
    assert -1 <= summary.scores["negatives"] < summary.scores["positives"] <= 1
