"""Encoding with the real packaged model, and what is known of a model before and while it is loaded."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from hnmine import models
from hnmine.encoder import Encoder, FlagEncoder, as_encoder
from hnmine.errors import Cancelled, EncodeError, ModelError, SettingsError
from hnmine.models import ModelSettings, describe, fingerprint, obtain, packaged_folder

ROOT = Path(__file__).parent.parent
BGE_ENGLISH = "Represent this sentence for searching relevant passages: "

# Of very different length, so that sorting and batching have something to do.
TEXTS = [
    "A bicycle.",
    "Where can I leave the bicycle when the dock is full?",
    "café, naïve, 你好, 😀",
    "x",
    *(f"Sentence number {i}: " + "the wheel turns and turns " * (i % 5) for i in range(11)),
    "An aside of many words " * 12,
]


@pytest.fixture
def encoder(flag_model):
    return FlagEncoder(flag_model)


@pytest.fixture(scope="module")
def vectors(flag_model):
    """TEXTS as passages, through the packaged model."""
    return FlagEncoder(flag_model).encode_passages(TEXTS)


def passages(encoder, texts=TEXTS, **options):
    return encoder.encode_passages(texts, **options)


# Vectors


def test_vectors_agree_with_flagembeddings_own(flag_model, vectors):
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    theirs = flag_model.encode(TEXTS)
    assert (vectors * theirs).sum(axis=1).min() > 0.99999


def test_the_order_of_the_texts_changes_no_bit(encoder, vectors):
    order = np.random.default_rng(0).permutation(len(TEXTS))
    assert passages(encoder, [TEXTS[i] for i in order]).tobytes() == vectors[order].tobytes()


def test_batches_are_planned_from_the_set_of_texts_whatever_their_order(flag_model, monkeypatch):
    """Texts of one length too go to the model in the same company, for a bit can depend on it."""
    from FlagEmbedding.utils import tokenizer_compat

    pad, batches = tokenizer_compat.pad_with_compat, []

    def record(tokenizer, features, **options):
        batches.append([tuple(each["input_ids"]) for each in features])
        return pad(tokenizer, features, **options)

    monkeypatch.setattr(tokenizer_compat, "pad_with_compat", record)
    texts = [f"a {colour} wheel" for colour in ("red", "blue", "green", "white", "black", "brown", "grey")]
    encoder = FlagEncoder(flag_model, batch_size=3)
    passages(encoder, texts)
    planned = batches.copy()
    batches.clear()
    passages(encoder, texts[::-1])
    assert [len(batch) for batch in planned] == [3, 3, 1]
    assert batches == planned


def test_the_number_of_threads_changes_no_bit(encoder):
    import torch

    threads = torch.get_num_threads()
    try:
        answers = []
        for count in (1, 2):
            torch.set_num_threads(count)
            answers.append(passages(encoder).tobytes())
    finally:
        torch.set_num_threads(threads)
    assert answers[0] == answers[1]


def test_two_threads_may_encode_at_once(encoder):
    """Hugging Face's tokenizers fail with "Already borrowed" when nobody guards them."""
    expected = passages(encoder, TEXTS[:6]).tobytes()
    answers, failures = [], []

    def work():
        try:
            answers.extend(passages(encoder, TEXTS[:6]).tobytes() for _ in range(3))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failures
    assert answers == [expected] * 9


def test_nothing_to_encode_is_no_error(encoder):
    assert len(encoder.encode_passages([])) == 0
    assert len(encoder.encode_queries([])) == 0


def test_the_instruction_is_for_queries_only(flag_model, vectors):
    plain = FlagEncoder(flag_model)
    model = copy.copy(flag_model)
    model.query_instruction_for_retrieval = "Find the passage: "
    model.query_instruction_format = "{}{}"
    instructed = FlagEncoder(model)
    assert passages(instructed).tobytes() == vectors.tobytes()
    queries = instructed.encode_queries(TEXTS[:4])
    expected = plain.encode_queries([f"Find the passage: {text}" for text in TEXTS[:4]])
    assert queries.tobytes() == expected.tobytes()
    assert (queries * model.encode_queries(TEXTS[:4])).sum(axis=1).min() > 0.99999
    assert (queries * plain.encode_queries(TEXTS[:4])).sum(axis=1).max() < 0.999


def test_hn_mine_knows_no_passage_instruction(flag_model):
    plain = FlagEncoder(flag_model)
    model = copy.copy(flag_model)
    model.kwargs = {**flag_model.kwargs, "passage_instruction_for_retrieval": "doc", "passage_instruction_format": "{}: {}"}
    instructed = FlagEncoder(model)
    assert passages(instructed, TEXTS[:4]).tobytes() == passages(plain, [f"doc: {text}" for text in TEXTS[:4]]).tobytes()
    assert (passages(instructed, TEXTS[:4]) * model.encode_corpus(TEXTS[:4])).sum(axis=1).min() > 0.99999
    assert instructed.encode_queries(TEXTS[:4]).tobytes() == plain.encode_queries(TEXTS[:4]).tobytes()
    assert instructed.describe()["passage_instruction"] == "doc"


def test_progress_reaches_the_total_and_counts_upwards(flag_model):
    steps = []
    passages(FlagEncoder(flag_model, batch_size=4), on_progress=lambda *step: steps.append(step))
    done = [step[0] for step in steps if step[2] == "encoding passages"]
    assert done == sorted(set(done))
    assert done[-1] == len(TEXTS)
    assert len(done) >= len(TEXTS) / 4
    assert {step[1] for step in steps if step[2] == "encoding passages"} == {len(TEXTS)}


def test_a_stop_is_heard_within_a_batch(flag_model):
    done = []
    with pytest.raises(Cancelled):
        passages(FlagEncoder(flag_model, batch_size=4), on_progress=lambda *step: done.append(step[0]), should_stop=lambda: len(done) == 2)
    assert done == [4, 8]
    assert len(passages(FlagEncoder(flag_model), TEXTS[:3])) == 3, "the model can be used again"


def test_a_stop_is_heard_between_the_shards_of_a_model_with_its_own_encode(monkeypatch):
    monkeypatch.setattr("hnmine.encoder.SHARD_BATCHES", 2)

    class Other:
        batch_size = 3

        def encode(self, texts):
            assert len(texts) <= 6
            return np.ones((len(texts), 2))

    done = []
    with pytest.raises(Cancelled):
        passages(FlagEncoder(Other()), on_progress=lambda *step: done.append(step[0]), should_stop=lambda: len(done) == 2)
    assert done == [6, 12]
    steps = []
    passages(FlagEncoder(Other()), on_progress=lambda *step: steps.append(step))
    assert steps[-1] == (len(TEXTS), len(TEXTS), "encoding passages")


def test_shards_are_planned_from_the_set_of_texts_whatever_their_order(monkeypatch):
    """A model's vectors depend, by a bit, on what is encoded beside them."""
    monkeypatch.setattr("hnmine.encoder.SHARD_BATCHES", 1)

    class Recorder:
        batch_size = 4

        def __init__(self):
            self.shards = []

        def encode(self, texts):
            self.shards.append(list(texts))
            return np.ones((len(texts), 2))

    one, other = Recorder(), Recorder()
    passages(FlagEncoder(one))
    passages(FlagEncoder(other), TEXTS[::-1])
    assert one.shards == other.shards
    assert sorted(map(len, one.shards)) == [len(TEXTS) % 4 or 4, *[4] * (-(-len(TEXTS) // 4) - 1)]


def test_shards_of_different_dimensions_are_an_error(monkeypatch):
    monkeypatch.setattr("hnmine.encoder.SHARD_BATCHES", 1)

    class Fickle:
        batch_size = 2
        calls = 0

        def encode(self, texts):
            self.calls += 1
            return np.ones((len(texts), 2 + self.calls))

    with pytest.raises(EncodeError, match=r"3 and of 4 dimensions"):
        passages(FlagEncoder(Fickle()))


def test_an_encoder_stays_itself_and_a_model_is_wrapped(fake_encoder, flag_model):
    assert as_encoder(fake_encoder) is fake_encoder
    assert isinstance(as_encoder(flag_model), FlagEncoder)
    assert isinstance(FlagEncoder(flag_model), Encoder)
    with pytest.raises(SettingsError, match=r"int without `encode`"):
        as_encoder(3)


# The packaged model as it is loaded without a name


@pytest.fixture(scope="module")
def packaged():
    return FlagEncoder.load(ModelSettings(devices=("cpu",)))


def test_pooling_and_length_come_from_the_folder():
    """FlagEmbedding's own defaults, "cls" and 512, would be silently wrong."""
    card = describe(ModelSettings())
    assert (card.name, card.pooling_method, card.query_max_length, card.passage_max_length) == ("all-MiniLM-L6-v2", "mean", 256, 256)
    assert card.origins["pooling_method"] == "1_Pooling/config.json"
    assert card.origins["passage_max_length"] == "sentence_bert_config.json"
    assert card.query_instruction is None


def test_the_loaded_model_is_used_as_its_folder_says(packaged, encoder):
    assert passages(packaged, TEXTS[:8]).tobytes() == passages(encoder, TEXTS[:8]).tobytes()
    start = "word " * 300
    one, other = passages(packaged, [start + "about trains", start + "about onions"])
    assert one.tobytes() == other.tobytes(), "what is behind 256 tokens is not read"
    description = packaged.describe()
    assert description["pooling_method"] == "mean"
    assert (description["query_max_length"], description["passage_max_length"]) == (256, 256)
    assert (description["devices"], description["precision"]) == (["cpu"], "float32")
    assert description["weights_sha256"] == fingerprint(packaged_folder())


def test_a_packaged_model_with_other_weights_is_not_trusted(tmp_path, monkeypatch):
    (tmp_path / "model.safetensors").write_bytes(b"something else")
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr(models, "packaged_folder", lambda: tmp_path)
    with pytest.raises(ModelError, match=r"not the one we trust .*reinstall"):
        obtain(ModelSettings())


# Folders


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A BERT of one layer with random weights, saved as a trainer saves it: no word about its pooling."""
    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(0)
    BertModel(BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        if (packaged_folder() / name).exists():
            shutil.copy(packaged_folder() / name, folder / name)
    return folder


@pytest.fixture
def folder(tiny, tmp_path):
    """A copy that a test may change."""
    return Path(shutil.copytree(tiny, tmp_path / "tiny"))


def load(folder, **settings):
    return FlagEncoder.load(ModelSettings(name_or_path=str(folder), devices=("cpu",), **settings))


def test_a_folder_is_a_model(folder):
    encoder = load(folder)
    assert encoder.encode_queries(["a", "b c"]).shape == (2, 16)
    assert encoder.card.pooling_method == "cls"
    assert encoder.card.origins["pooling_method"] == "FlagEmbedding's default"
    assert encoder.describe()["name"] == str(folder)
    assert encoder.describe()["weights_sha256"] == fingerprint(folder)


def test_what_the_folder_says_is_used_and_what_the_user_says_wins(folder):
    cls = passages(load(folder), TEXTS[:5])
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}')
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 12}')
    (folder / "config_sentence_transformers.json").write_text('{"prompts": {"query": "ask: ", "document": "tell: "}}')
    mean = load(folder)
    card = mean.card
    assert (card.pooling_method, card.query_max_length, card.passage_max_length) == ("mean", 12, 12)
    assert (card.query_instruction, card.passage_instruction) == ("ask: ", "tell: ")
    assert card.origins["query_instruction"] == "config_sentence_transformers.json"
    assert not np.allclose(passages(mean, TEXTS[:5]), cls, atol=1e-3)
    mine = load(folder, pooling_method="cls", passage_max_length=512, query_instruction="", passage_instruction="")
    assert (mine.card.query_instruction, mine.card.passage_instruction) == (None, None)
    assert mine.card.origins["pooling_method"] == "set by you"
    assert passages(mine, TEXTS[:5]).tobytes() == cls.tobytes()


def test_vectors_are_left_unscaled_when_asked(folder):
    raw = passages(load(folder, normalize_embeddings=False), TEXTS[:5])
    lengths = np.linalg.norm(raw, axis=1, keepdims=True)
    assert (np.abs(lengths - 1) > 0.1).all()
    np.testing.assert_allclose(raw / lengths, passages(load(folder), TEXTS[:5]), atol=1e-6)


def test_training_again_into_the_same_folder_gives_another_fingerprint(folder):
    before = fingerprint(folder)
    (folder / "optimizer.pt").write_bytes(b"state of the trainer")
    (folder / "README.md").write_text("read me")
    assert fingerprint(folder) == before
    assert fingerprint(Path(shutil.copytree(folder, folder.parent / "renamed"))) == before, "a name is no part of it"
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    assert fingerprint(folder) != before


@pytest.mark.parametrize(
    ("modes", "words"),
    [
        ({"pooling_mode_max_tokens": True}, "max_tokens"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, r"cls \+ mean"),
        ({"pooling_mode_cls_token": False}, "no pooling"),
        ({"pooling_mode": "weightedmean"}, "weightedmean"),
    ],
)
def test_a_pooling_that_flagembedding_lacks_is_refused_and_can_be_overridden(folder, modes, words):
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(modes))
    with pytest.raises(ModelError, match=rf"{words}.*cls, mean or last_token"):
        describe(ModelSettings(name_or_path=str(folder)))
    assert describe(ModelSettings(name_or_path=str(folder), pooling_method="mean")).pooling_method == "mean"


@pytest.mark.parametrize(
    ("modes", "expected"),
    [({"pooling_mode_lasttoken": True}, "last_token"), ({"pooling_mode": "cls"}, "cls"), ({"pooling_mode_mean_tokens": True}, "mean")],
)
def test_both_spellings_of_the_pooling_file_are_read(folder, modes, expected):
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({**modes, "word_embedding_dimension": 16}))
    assert describe(ModelSettings(name_or_path=str(folder))).pooling_method == expected


def test_a_layer_that_flagembedding_does_not_apply_is_mentioned(folder):
    (folder / "modules.json").write_text('[{"type": "sentence_transformers.models.Dense"}]')
    assert "does not apply" in describe(ModelSettings(name_or_path=str(folder))).notes[0]


def test_what_is_no_model_folder_is_refused(folder, tmp_path):
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        obtain(ModelSettings(name_or_path=str(folder)))
    for name in (str(tmp_path / "nowhere"), "./nowhere", "a/b/c"):
        with pytest.raises(ModelError, match=r"there is no model folder .*packaged all-MiniLM-L6-v2"):
            describe(ModelSettings(name_or_path=name))
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=r"is a file"):
        describe(ModelSettings(name_or_path=str(tmp_path / "file")))


def test_a_damaged_folder_is_told_as_such(folder):
    (folder / "sentence_bert_config.json").write_text("{")
    with pytest.raises(ModelError, match=r"sentence_bert_config\.json cannot be read .*damaged"):
        describe(ModelSettings(name_or_path=str(folder)))
    (folder / "sentence_bert_config.json").unlink()
    (folder / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(ModelError, match=r"cannot be loaded as encoder-only-base"):
        load(folder)


@pytest.mark.parametrize(("device", "error"), [("cuda:99", ModelError), ("abacus", SettingsError)])
def test_a_device_that_is_not_here_is_refused(folder, device, error):
    with pytest.raises(error, match=device):
        FlagEncoder.load(ModelSettings(name_or_path=str(folder), devices=(device,)))


# Names


@pytest.mark.parametrize(
    ("name", "instruction", "model_class"),
    [
        ("BAAI/bge-small-en-v1.5", BGE_ENGLISH, "encoder-only-base"),
        ("BAAI/bge-base-en", BGE_ENGLISH, "encoder-only-base"),
        ("BAAI/bge-large-zh-v1.5", "为这个句子生成表示以用于检索相关文章：", "encoder-only-base"),
        ("BAAI/bge-m3", None, "encoder-only-m3"),
        ("intfloat/e5-base", None, "encoder-only-base"),
    ],
)
def test_the_instruction_of_a_bge_model_is_filled_in_by_its_name(name, instruction, model_class):
    card = describe(ModelSettings(name_or_path=name))
    assert (card.query_instruction, card.model_class, card.folder) == (instruction, model_class, None)
    assert describe(ModelSettings(name_or_path=name, query_instruction="mine: ")).query_instruction == "mine: "
    assert describe(ModelSettings(name_or_path=name, query_instruction="")).query_instruction is None


def test_a_checkpoint_of_a_bge_model_keeps_its_instruction(folder):
    checkpoint = folder.parent / "bge-small-en-v1.5-mine" / "checkpoint-500"
    shutil.copytree(folder, checkpoint)
    assert describe(ModelSettings(name_or_path=f"{checkpoint}/")).query_instruction == BGE_ENGLISH


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_class": "encoder"}, r"'encoder' is unknown; choose one of: encoder-only-base"),
        ({"pooling_method": "max"}, r"'max' is unknown; choose cls, mean or last_token"),
        ({"batch_size": 0}, r"batch_size is 0"),
        ({"query_max_length": -1}, r"query_max_length is -1"),
        ({"query_instruction_format": "{}"}, r"needs two \{\}"),
    ],
)
def test_wrong_model_settings_are_refused(settings, message):
    with pytest.raises(SettingsError, match=message):
        ModelSettings(**settings)


# The hub


def test_a_hub_model_that_cannot_be_had_is_told_within_half_a_minute(tmp_path):
    """Whether the hub says no or cannot be reached."""
    began = time.monotonic()
    with pytest.raises(ModelError, match=r"'hnmine-test/does-not-exist' cannot be had: .*packaged all-MiniLM-L6-v2"):
        FlagEncoder.load(ModelSettings(name_or_path="hnmine-test/does-not-exist", cache_dir=str(tmp_path)))
    assert time.monotonic() - began < 30


def test_a_hub_that_never_answers_does_not_hang_the_run(tmp_path, monkeypatch):
    from huggingface_hub import HfApi

    release = threading.Event()
    monkeypatch.setattr(HfApi, "model_info", lambda *_, **__: release.wait(60))
    monkeypatch.setattr("hnmine.hub.HUB_DEADLINE", 0.2)
    began = time.monotonic()
    try:
        with pytest.raises(ModelError, match=r"'org/name' cannot be had: the hub did not answer .*all-MiniLM-L6-v2"):
            obtain(ModelSettings(name_or_path="org/name", cache_dir=str(tmp_path)))
    finally:
        release.set()
    assert time.monotonic() - began < 20


def test_offline_mode_is_told_at_once(tmp_path):
    code = (
        "import sys\nfrom hnmine.models import ModelSettings, obtain\nfrom hnmine.errors import ModelError\n"
        "try:\n    obtain(ModelSettings(name_or_path='org/name', cache_dir=sys.argv[1]))\nexcept ModelError as error:\n    print(error)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], env=environment, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    assert "'org/name' cannot be had: OfflineModeIsEnabled" in done.stdout
    assert "all-MiniLM-L6-v2" in done.stdout


def cached(tmp_path, tiny, *, weights=True):
    """A hub cache that holds `tiny` as org/name; without weights, as an interrupted download leaves it."""
    snapshot = tmp_path / "models--org--name" / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(tiny, snapshot)
    (tmp_path / "models--org--name" / "refs").mkdir()
    (tmp_path / "models--org--name" / "refs" / "main").write_text(snapshot.name)
    if not weights:
        (snapshot / "model.safetensors").unlink()
    return snapshot


def test_a_model_in_the_hubs_cache_is_used_without_asking_the_hub(tmp_path, tiny, monkeypatch):
    from huggingface_hub import HfApi

    snapshot = cached(tmp_path, tiny)
    monkeypatch.setattr(HfApi, "model_info", lambda *_, **__: pytest.fail("the hub was asked"))
    card = obtain(ModelSettings(name_or_path="org/name", cache_dir=str(tmp_path)))
    assert (card.name, card.folder) == ("org/name", snapshot)


def test_half_a_download_is_not_taken_for_a_model(tmp_path, tiny, monkeypatch):
    from huggingface_hub import HfApi

    def refuse(*_, **__):
        raise ConnectionError("no route\nto host")

    cached(tmp_path, tiny, weights=False)
    monkeypatch.setattr(HfApi, "model_info", refuse)
    with pytest.raises(ModelError, match=r"cannot be had: ConnectionError: no route\. Check the name and the network"):
        obtain(ModelSettings(name_or_path="org/name", cache_dir=str(tmp_path)))


def test_the_table_of_known_models_is_flagembeddings():
    """hn_mine.py finds class, pooling and query format of a model by its name; so must we, for all it knows."""
    from FlagEmbedding.inference.embedder.model_mapping import AUTO_EMBEDDER_MAPPING, EMBEDDER_CLASS_MAPPING

    names = {model: kind.value for kind, model in EMBEDDER_CLASS_MAPPING.items()}
    for name, config in AUTO_EMBEDDER_MAPPING.items():
        card = describe(ModelSettings(name_or_path=f"owner/{name}"))
        found = (card.model_class, card.pooling_method, card.query_instruction_format)
        assert found == (names[config.model_class], config.pooling_method.value, config.query_instruction_format), name
