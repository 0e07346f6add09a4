"""Encoding with the real packaged model, and what is known of a model before and while it is loaded."""

from __future__ import annotations

import copy
import json
import operator
import os
import shutil
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnmine.core.errors import Cancelled, EncodeError, ModelError, SettingsError
from hnmine.models import batching, cards, loading
from hnmine.models.cards import ModelSettings, describe, fetch, fingerprint, packaged_folder
from hnmine.models.encoder import Encoder, FlagEncoder, as_encoder, encode
from hnmine.models.flag_encoder import FlagModelRunner, PromptSpec

ROOT = Path(__file__).parents[2]
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
    return encode(FlagEncoder(flag_model), TEXTS, "passages")


def passages(encoder, texts=TEXTS, **options):
    return encode(encoder, texts, "passages", **options)


def queries(encoder, texts=TEXTS, **options):
    return encode(encoder, texts, "queries", **options)


# Vectors


def test_vectors_agree_with_flagembeddings_own(flag_model, vectors):
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    theirs = flag_model.encode(TEXTS)
    assert (vectors * theirs).sum(axis=1).min() > 0.99999


def needs_bf16(*values):
    missing = loading.precision_on("cpu") != "bf16"
    return pytest.param(*values, marks=pytest.mark.skipif(missing, reason="this CPU has no bf16 instructions"))


MANY = [*TEXTS, "", "y", "z z", *(f"{word} wheel" for word in ("red", "blue", "green", "white")), *("long " * 400 + end for end in "ab")]


@pytest.mark.parametrize("precision", ["fp32", needs_bf16("bf16")])
def test_a_vector_is_a_function_of_its_text_alone(flag_model, precision):
    """Not of its neighbours, their number or its place among them: what is resumed, stored or shuffled must not change a bit."""

    def capped(cap):
        if precision == "fp32":
            return FlagEncoder(flag_model, batch_size=cap)
        return FlagEncoder.load(ModelSettings(devices=("cpu",), precision="bf16", passage_max_length=512, batch_size=cap))

    encoder = capped(None)
    whole = passages(encoder, MANY)
    rng = np.random.default_rng(0)
    for size in (len(MANY), 11, 4, 1, 1, 1):
        some = rng.permutation(len(MANY))[:size]
        assert passages(encoder, [MANY[i] for i in some]).tobytes() == whole[some].tobytes()
    for cap in (1, 2, 3):
        assert passages(capped(cap), MANY).tobytes() == whole.tobytes()


@pytest.mark.skipif(loading.precision_on("cpu") != "bf16", reason="this CPU has no bf16 instructions")
def test_bf16_keeps_the_direction_of_fp32(flag_model):
    in_bf16 = FlagEncoder.load(ModelSettings(devices=("cpu",), precision="bf16", passage_max_length=512))
    theirs = flag_model.encode(MANY)
    assert (passages(in_bf16, MANY) * theirs).sum(axis=1).min() >= 0.9995
    assert in_bf16.describe()["precision"] == "bf16"


def test_padded_batches_of_other_devices_agree_but_for_rounding(flag_model):
    driver = FlagModelRunner(flag_model)
    exact = passages(FlagEncoder(flag_model), MANY)
    driver.exact = False
    answers = list(driver.run(MANY, PromptSpec("passages", None, "{}{}", 512)))
    assert len(answers) == 1, "they are padded to fill the budget"
    padded = answers[0][1][np.argsort(answers[0][0])]
    padded /= np.linalg.norm(padded, axis=1, keepdims=True)
    np.testing.assert_allclose(padded, exact, atol=2e-6)


def test_the_same_text_is_encoded_once(flag_model):
    steps = []
    vectors = passages(FlagEncoder(flag_model), [*TEXTS, *TEXTS[:5], TEXTS[0]], on_progress=lambda *step: steps.append(step))
    assert vectors[len(TEXTS) : -1].tobytes() == vectors[:5].tobytes()
    assert vectors[-1].tobytes() == vectors[0].tobytes()
    assert steps[-1][:2] == (tokens_of(flag_model, TEXTS),) * 2


def tokens_of(model, texts):
    return sum(map(len, model.tokenizer(list(texts), truncation=True, max_length=512)["input_ids"]))


@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta"])
def test_models_that_find_positions_by_their_padding_stay_right(kind, tmp_path):
    import torch
    from FlagEmbedding import FlagModel
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(0)
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = AutoConfig.for_model(kind, vocab_size=30_522, pad_token_id=0, max_position_embeddings=514, **size)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        if (packaged_folder() / name).exists():
            shutil.copy(packaged_folder() / name, tmp_path / name)
    theirs = FlagModel(str(tmp_path), pooling_method="mean", use_fp16=False, devices="cpu").encode(MANY)
    np.testing.assert_allclose(passages(load(tmp_path, pooling_method="mean"), MANY), theirs, atol=1e-5)


class Starved:
    """A model in a machine that holds so many tokens at once."""

    def __init__(self, model, room, error):
        self.model, self.room, self.error, self.batches = model, room, error, []

    def __getattr__(self, name):
        return lambda *_: None  # float, to, eval

    def __call__(self, input_ids, **inputs):
        self.batches.append(input_ids.shape)
        if input_ids.numel() > self.room:
            raise self.error
        return self.model(input_ids, **inputs)


@pytest.mark.parametrize("error", [RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"), MemoryError()])
def test_a_batch_that_does_not_fit_is_halved(flag_model, error):
    texts = [f"the {a} {b} wheel" for a in ("red", "blue", "green") for b in ("big", "small", "old")]
    model = copy.copy(flag_model)
    model.model = Starved(flag_model.model, 26, error)
    assert passages(FlagEncoder(model), texts).tobytes() == passages(FlagEncoder(flag_model), texts).tobytes()
    assert [rows for rows, _ in model.model.batches[:1]] == [9]
    assert sorted(rows for rows, _ in model.model.batches[1:]) == [3, 4, 4], "halved once, and the last row repeated to MIN_ROWS"


def test_memory_that_runs_out_for_several_batches_at_once_loses_no_text(flag_model):
    texts = [f"{'red ' * (place % 7)}wheel {place}" for place in range(80)]
    model = copy.copy(flag_model)
    model.model = Starved(flag_model.model, 30, MemoryError())
    assert passages(FlagEncoder(model), texts).tobytes() == passages(FlagEncoder(flag_model), texts).tobytes()


def test_a_single_text_that_does_not_fit_is_reported_with_a_remedy(flag_model):
    model = copy.copy(flag_model)
    model.model = Starved(flag_model.model, 4, MemoryError())
    with pytest.raises(EncodeError, match=r"not enough memory to encode one of the passages of \d+ tokens; lower passage_max_length"):
        passages(FlagEncoder(model))


def test_more_tokens_than_the_model_has_positions_is_reported_with_a_remedy(folder):
    with pytest.raises(EncodeError, match=r"failed on 1 texts of 600 tokens: .*lower the maximum length"):
        passages(load(folder, passage_max_length=600), ["word " * 700])


def test_the_number_of_threads_changes_no_bit(encoder):
    import torch

    threads = torch.get_num_threads()
    try:
        answers = []
        for count in (1, 2):
            torch.set_num_threads(count)
            answers.append(passages(encoder, MANY).tobytes())
    finally:
        torch.set_num_threads(threads)
    assert answers[0] == answers[1]


def test_torchs_threads_are_as_before_when_encoding_ends(encoder):
    """Each batch is computed in one thread; what else the process computes keeps its own number."""
    import torch

    def in_a_new_thread():
        found = []
        thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        return found[0]

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        passages(encoder)
        assert (torch.get_num_threads(), in_a_new_thread()) == (3, 3)
        one, other = encoder.encode_batches(TEXTS, "passages"), encoder.encode_batches(TEXTS, "passages")
        next(one), next(other)
        one.close()
        assert torch.get_num_threads() == 3
        other.close()
        assert (torch.get_num_threads(), in_a_new_thread()) == (3, 3)
    finally:
        torch.set_num_threads(before)


def test_two_threads_may_encode_at_once(encoder):
    """Hugging Face's tokenizers fail with "Already borrowed" without a lock."""
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
    assert len(passages(encoder, [])) == 0
    assert len(queries(encoder, [])) == 0


def test_the_instruction_is_for_queries_only(flag_model, vectors):
    plain = FlagEncoder(flag_model)
    model = copy.copy(flag_model)
    model.query_instruction_for_retrieval = "Find the passage: "
    model.query_instruction_format = "{}{}"
    instructed = FlagEncoder(model)
    assert passages(instructed).tobytes() == vectors.tobytes()
    asked = queries(instructed, TEXTS[:4])
    assert asked.tobytes() == queries(plain, [f"Find the passage: {text}" for text in TEXTS[:4]]).tobytes()
    assert (asked * model.encode_queries(TEXTS[:4])).sum(axis=1).min() > 0.99999
    assert (asked * queries(plain, TEXTS[:4])).sum(axis=1).max() < 0.999


def test_each_query_may_have_its_own_instruction(flag_model):
    """With the vectors of a model that has this instruction for all, batch by batch or through FlagEmbedding's `encode`."""
    sharded = copy.copy(flag_model)
    sharded.__class__ = type("Sharded", (type(flag_model),), {"__del__": lambda self: None})
    for each in (copy.copy(flag_model), sharded):
        each.query_instruction_for_retrieval, each.query_instruction_format = "Own", "Instruct: {}\\nQuery: {}"
        encoder, texts = FlagEncoder(each), TEXTS[:4]
        given = encode(encoder, encoder.instructed(texts, ["One", None, "Two", ""]), "instructed queries")
        assert each.query_instruction_for_retrieval == "Own"
        for place, instruction in enumerate(("One", "Own", "Two", None)):
            each.query_instruction_for_retrieval = instruction
            alone = queries(encoder, texts[place : place + 1])
            if each is sharded:  # which pads
                np.testing.assert_allclose(given[place], alone[0], atol=1e-6)
            else:
                assert given[place].tobytes() == alone[0].tobytes()
        each.query_instruction_for_retrieval = "Own"


def test_processes_with_copies_of_a_model_end_before_its_instruction_changes():
    class Model:
        query_instruction_for_retrieval = "Own"
        query_pool = "workers"
        asked = ()

        def encode_queries(self, texts):
            self.asked += (self.query_instruction_for_retrieval, self.query_pool)
            self.query_pool = self.query_pool or f"workers with {self.query_instruction_for_retrieval}"
            return np.ones((len(texts), 2))

        encode = encode_queries

        def stop_self_query_pool(self):
            self.query_pool = None

    model = Model()
    encoder = FlagEncoder(model)
    encode(encoder, ["a"], "instructed queries")
    queries(encoder, ["a"])
    assert model.asked == (None, None, "Own", None)


def test_instructed_queries_are_stored_by_all_that_decides_their_vectors(folder):
    """Their text has the instruction; but an example without one has the model's own."""

    def identity(side, instruction, **settings):
        return load(folder, query_instruction=instruction, **settings).identity(side)

    assert identity("instructed queries", "Find") == identity("instructed queries", "Ask") == identity("queries", "")
    assert identity("instructed queries", "Find") != identity("queries", "Find")
    icl = {"model_class": "decoder-only-icl", "examples_for_task": '[{"query": "q", "response": "r"}]'}
    assert identity("instructed queries", "Find", **icl) != identity("instructed queries", "Ask", **icl)


def test_hn_mine_knows_no_passage_instruction(flag_model):
    plain = FlagEncoder(flag_model)
    model = copy.copy(flag_model)
    model.kwargs = {**flag_model.kwargs, "passage_instruction_for_retrieval": "doc", "passage_instruction_format": "{}: {}"}
    instructed = FlagEncoder(model)
    assert passages(instructed, TEXTS[:4]).tobytes() == passages(plain, [f"doc: {text}" for text in TEXTS[:4]]).tobytes()
    assert (passages(instructed, TEXTS[:4]) * model.encode_corpus(TEXTS[:4])).sum(axis=1).min() > 0.99999
    assert queries(instructed, TEXTS[:4]).tobytes() == queries(plain, TEXTS[:4]).tobytes()
    assert instructed.describe()["passage_instruction"] == "doc"


def test_progress_counts_tokens_and_ends_exactly(flag_model, monkeypatch):
    monkeypatch.setattr("hnmine.models.batching.CHUNK_TEXTS", 3)
    steps = []
    passages(FlagEncoder(flag_model, batch_size=2), on_progress=lambda *step: steps.append(step))
    total = tokens_of(flag_model, TEXTS)
    done = [step[0] for step in steps]
    assert done == sorted(set(done))
    assert {step[2] for step in steps} == {"encoding passages"}
    assert steps[-1][:2] == (total, total)
    assert all(abs(step[1] - total) < 0.2 * total for step in steps), "what is not tokenised yet is well estimated"
    assert len({step[1] for step in steps}) > 1


def workers():
    return [thread for thread in threading.enumerate() if thread.name == "hnmine-prefetch"]


def test_a_stop_is_heard_within_a_batch(flag_model):
    done = []
    with pytest.raises(Cancelled):
        passages(FlagEncoder(flag_model, batch_size=1), on_progress=lambda *step: done.append(step[0]), should_stop=lambda: len(done) == 2)
    assert len(done) == 2
    assert not workers()
    assert len(passages(FlagEncoder(flag_model), TEXTS[:3])) == 3, "the model can be used again"


def test_the_tokenizing_thread_ends_with_who_listens(flag_model, monkeypatch):
    monkeypatch.setattr("hnmine.models.batching.CHUNK_TEXTS", 1)
    batching = FlagEncoder(flag_model).encode_batches(TEXTS, "passages")
    next(batching)
    assert workers()
    batching.close()
    assert not workers()

    def fail(*_, **__):
        raise ValueError("no such token")

    model = copy.copy(flag_model)
    model.tokenizer = fail
    with pytest.raises(ValueError, match="no such token"):
        passages(FlagEncoder(model))
    assert not workers()


def test_the_process_pool_of_several_devices_is_stopped():
    class Several:
        target_devices = ("cuda:0", "cuda:1")
        pool = None

        def encode(self, texts):
            self.pool = "workers"
            return np.ones((len(texts), 2))

        def stop_self_pool(self):
            self.pool = None

    model = Several()
    passages(FlagEncoder(model))
    assert model.pool is None
    model.pool = "started by its owner"
    passages(FlagEncoder(model))
    assert model.pool == "workers"


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([([0, 1], [[1, 2], [3, np.nan]])], r"NaN or infinity for passage 'b'.*precision fp32"),
        ([([0], [[1, 2]])], r"no vector for passage 'b'"),
        ([([0], [[1, 2]]), ([0], [[1, 2]])], r"two vectors for one of the passages"),
        ([([0, 0], [[1, 2], [1, 2]])], r"two vectors for one of the passages"),
        ([([0, 1], [[1, 2]])], r"shape \(1, 2\) for 2 passages"),
        ([([0, 1], [1, 2])], r"shape \(2,\) for 2 passages"),
        ([([0], [[1, 2]]), ([1], [[1, 2, 3]])], r"shape \(1, 3\) for 1 passages; earlier vectors have 2 dimensions"),
    ],
)
def test_an_answer_that_is_not_one_vector_for_each_text_is_an_error(answers, message):
    class Faulty:
        def encode_batches(self, texts, side, *, on_progress=None, should_stop=None):
            yield from ((np.array(places), np.array(vectors, dtype=np.float32)) for places, vectors in answers)

        def identity(self, side):
            return None

        def describe(self):
            return {}

    with pytest.raises(EncodeError, match=message):
        passages(as_encoder(Faulty()), ["a", "b"])
    if "passage 'b'" in message:
        with pytest.raises(EncodeError, match="for query 'b'"):
            encode(as_encoder(Faulty()), ["a", "b"], "queries")


def test_a_stop_is_heard_between_the_shards_of_a_model_with_its_own_encode(monkeypatch):
    monkeypatch.setattr("hnmine.models.flag_encoder.SHARD_BATCHES", 2)

    class Other:
        batch_size = 3

        def encode(self, texts):
            assert len(texts) <= 6
            return np.ones((len(texts), 2))

    done = []
    with pytest.raises(Cancelled):
        passages(FlagEncoder(Other()), on_progress=lambda *step: done.append(step[0]), should_stop=lambda: len(done) == 2)
    sizes = sorted(map(len, TEXTS), reverse=True)
    assert done == [sum(sizes[:6]), sum(sizes[:12])]
    steps = []
    passages(FlagEncoder(Other()), on_progress=lambda *step: steps.append(step))
    characters = sum(map(len, TEXTS))
    assert steps[-1] == (characters, characters, "encoding passages in shards")


def test_shards_are_planned_from_the_set_of_texts_whatever_their_order(monkeypatch):
    """A model's vectors depend, by a bit, on the other texts of the batch."""
    monkeypatch.setattr("hnmine.models.flag_encoder.SHARD_BATCHES", 1)

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
    monkeypatch.setattr("hnmine.models.flag_encoder.SHARD_BATCHES", 1)

    class Fickle:
        batch_size = 2
        calls = 0

        def encode(self, texts):
            self.calls += 1
            return np.ones((len(texts), 2 + self.calls))

    with pytest.raises(EncodeError, match=r"of shape \(2, 4\) for 2 passages; earlier vectors have 3 dimensions"):
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
    return FlagEncoder.load(ModelSettings(devices=("cpu",), precision="fp32"))


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("side", ["queries", "passages"])
def test_a_model_loaded_without_flagembedding_gives_the_bits_of_its_class(pooling, side):
    from FlagEmbedding import FlagAutoModel

    prompts = {"query_instruction": "Find: ", "query_instruction_format": "{}\\n{}", "passage_instruction": "Doc"}
    theirs = FlagAutoModel.from_finetuned(
        str(packaged_folder()),
        model_class="encoder-only-base",
        pooling_method=pooling,
        use_fp16=False,
        devices=["cpu"],
        query_max_length=20,
        passage_max_length=30,
        query_instruction_for_retrieval="Find: ",
        query_instruction_format="{}\\n{}",
        passage_instruction_for_retrieval="Doc",
        passage_instruction_format="{}{}",
    )
    ours = load(packaged_folder(), pooling_method=pooling, query_max_length=20, passage_max_length=30, precision="fp32", **prompts)
    assert encode(ours, MANY, side).tobytes() == encode(FlagEncoder(theirs), MANY, side).tobytes()
    assert (encode(ours, MANY, side) * (theirs.encode_queries if side == "queries" else theirs.encode_corpus)(MANY)).sum(
        axis=1
    ).min() > 0.99999


def test_the_first_text_does_not_wait_for_flagembeddings_import(folder):
    code = (
        "import sys\nfrom hnmine.models.encoder import FlagEncoder, encode\nfrom hnmine.models.cards import ModelSettings\n"
        "encode(FlagEncoder.load(ModelSettings(name_or_path=sys.argv[1], devices=('cpu',))), ['a'], 'queries')\n"
        "print({'FlagEmbedding', 'datasets', 'pandas', 'sklearn', 'streamlit', 'altair'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout == "set()\n"


def test_a_pooling_method_that_encoders_do_not_have_is_refused_before_loading(folder):
    with pytest.raises(SettingsError, match=r"last_token \(set by you\) is for decoder-only models.*set pooling_method to cls or mean"):
        load(folder, pooling_method="last_token")


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
    assert (description["devices"], description["precision"]) == (["cpu"], "fp32")
    assert description["weights_sha256"] == fingerprint(packaged_folder())


def test_a_packaged_model_with_other_weights_is_not_trusted(tmp_path, monkeypatch):
    (tmp_path / "model.safetensors").write_bytes(b"something else")
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr(cards, "packaged_folder", lambda: tmp_path)
    with pytest.raises(ModelError, match=r"checksum mismatch for the packaged model .*reinstall"):
        fetch(ModelSettings())


# Folders


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A BERT of one layer with random weights, saved as a trainer saves it: no word about its pooling."""
    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(0)
    BertModel(BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        if (packaged_folder() / name).exists():
            shutil.copy(packaged_folder() / name, folder / name)
    return folder


@pytest.fixture
def folder(tiny, tmp_path):
    """A copy that a test may change."""
    return Path(shutil.copytree(tiny, tmp_path / "tiny"))


def load(folder, **settings):
    settings = {"precision": "fp32", **settings}
    return FlagEncoder.load(ModelSettings(name_or_path=str(folder), devices=("cpu",), **settings))


def test_a_folder_is_a_model(folder):
    encoder = load(folder)
    assert queries(encoder, ["a", "b c"]).shape == (2, 32)
    description = encoder.describe()
    assert (description["name"], description["pooling_method"]) == (str(folder), "cls")
    assert description["weights_sha256"] == fingerprint(folder)
    assert describe(ModelSettings(name_or_path=str(folder))).origins["pooling_method"] == "FlagEmbedding's default"


def test_what_the_folder_says_is_used_and_what_the_user_says_wins(folder):
    cls = passages(load(folder), TEXTS[:5])
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}')
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 12}')
    (folder / "config_sentence_transformers.json").write_text('{"prompts": {"query": "ask: ", "document": "tell: "}}')
    mean = load(folder)
    card = describe(ModelSettings(name_or_path=str(folder)))
    assert (card.pooling_method, card.query_max_length, card.passage_max_length) == ("mean", 12, 12)
    assert (card.query_instruction, card.passage_instruction) == ("ask: ", "tell: ")
    assert card.origins["query_instruction"] == "config_sentence_transformers.json"
    assert not np.allclose(passages(mean, TEXTS[:5]), cls, atol=1e-3)
    mine = load(folder, pooling_method="cls", passage_max_length=512, query_instruction="", passage_instruction="")
    description = mine.describe()
    assert (description["query_instruction"], description["passage_instruction"], description["passage_max_length"]) == (None, None, 512)
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
    with pytest.raises(ModelError, match=r"has no config\.json"):
        fetch(ModelSettings(name_or_path=str(folder)))
    for name in (str(tmp_path / "nowhere"), "./nowhere", "a/b/c"):
        with pytest.raises(ModelError, match=r"model folder .* does not exist.*packaged all-MiniLM-L6-v2"):
            describe(ModelSettings(name_or_path=name))
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=r"is a file"):
        describe(ModelSettings(name_or_path=str(tmp_path / "file")))


def test_a_damaged_folder_is_reported_as_such(folder):
    (folder / "sentence_bert_config.json").write_text("{")
    with pytest.raises(ModelError, match=r"cannot read .*sentence_bert_config\.json .*damaged"):
        describe(ModelSettings(name_or_path=str(folder)))
    (folder / "sentence_bert_config.json").unlink()
    (folder / "model.safetensors").write_bytes(b"cut off")
    encoder = load(folder)
    with pytest.raises(ModelError, match=r"cannot load model .* as encoder-only-base"):
        passages(encoder)


@pytest.mark.parametrize(("device", "error"), [("cuda:99", ModelError), ("abacus", SettingsError)])
def test_a_device_that_is_not_here_is_refused(folder, device, error):
    with pytest.raises(error, match=device):
        FlagEncoder.load(ModelSettings(name_or_path=str(folder), devices=(device,)))


# Known before it is loaded


def test_everything_is_known_before_torch_is_imported(folder):
    code = (
        "import sys\nfrom hnmine.models.encoder import FlagEncoder, encode\nfrom hnmine.models.cards import ModelSettings\n"
        "encoder = FlagEncoder.load(ModelSettings(name_or_path=sys.argv[1]))\n"
        "print(encoder.identity('queries') == encoder.identity('passages'), encoder.describe()['weights_sha256'])\n"
        "encode(encoder, [], 'queries')\nprint({'torch', 'transformers', 'FlagEmbedding'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout == f"True {fingerprint(folder)}\nset()\n"


def test_loading_is_reported_and_happens_once(folder):
    encoder, steps = load(folder), []
    for _ in range(2):
        passages(encoder, ["a"], on_progress=lambda *step: steps.append(step))
    assert [step for step in steps if step[2] == "loading the model"] == [(0, 0, "loading the model")]
    assert steps[0][2] == "loading the model"


def test_an_identity_says_all_that_decides_a_vector(folder, monkeypatch, tmp_path):
    a_machine(monkeypatch, tmp_path, flags="avx512_bf16")
    plain = load(folder)
    seen = [plain.identity("passages")]
    assert plain.identity("queries") == seen[0], "nothing sets them apart"
    changes = ({"passage_max_length": 99}, {"passage_instruction": "tell: "}, {"pooling_method": "mean"}, {"normalize_embeddings": False})
    changes = (*changes, {"precision": "bf16"}, {"passage_instruction": "tell: ", "passage_instruction_format": "{} {}"})
    seen += [load(folder, **settings).identity("passages") for settings in changes]
    asking = load(folder, query_instruction="ask: ")
    assert asking.identity("passages") == seen[0]
    seen.append(asking.identity("queries"))
    assert load(folder, batch_size=3).identity("passages") == seen[0], "no bit depends on it"
    with (folder / "config.json").open("a") as file:
        file.write(" ")
    seen.append(load(folder).identity("passages"))
    assert len(set(seen)) == len(seen)
    assert str(folder) not in seen[0], "a name decides nothing"


def test_queries_of_an_in_context_model_are_no_passages(folder):
    """It puts a mark of its own behind every query, with or without examples."""
    encoder = load(folder, model_class="decoder-only-icl")
    assert encoder.identity("queries") != encoder.identity("passages")
    other = load(folder, model_class="decoder-only-icl", examples_for_task='[{"instruct": "a", "query": "b", "response": "c"}]')
    assert other.identity("queries") != encoder.identity("queries")
    assert other.identity("passages") == encoder.identity("passages")


def test_a_model_that_was_handed_over_has_no_identity(flag_model):
    assert FlagEncoder(flag_model).identity("passages") is None
    assert FlagEncoder(flag_model).describe()["weights_sha256"] is None


def test_a_checkpoint_that_changes_before_it_is_loaded_is_never_taken_for_the_old_one(folder):
    encoder = load(folder)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    os.utime(folder / "model.safetensors", ns=(1, 1))
    with pytest.raises(ModelError, match=r"changed while it was loaded; run again"):
        passages(encoder, ["a"])
    with pytest.raises(ModelError, match=r"changed while it was loaded"):
        passages(encoder, ["a"])
    assert passages(load(folder), ["a"]).shape == (1, 32)


# Device and precision


def a_machine(monkeypatch, tmp_path, *, flags="", cuda=None, driver=False):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: fpu {flags}\nbugs\t\t: none\n")
    monkeypatch.setattr(loading, "_CPU", tmp_path / "cpuinfo")
    monkeypatch.setattr(loading, "_DRIVER", (tmp_path,) if driver else ())
    (tmp_path / "version.py").write_text(f"cuda: Optional[str] = {cuda!r}\nhip: Optional[str] = None\n")
    spec = type("Spec", (), {"origin": str(tmp_path / "__init__.py")})
    monkeypatch.setattr(loading.importlib.util, "find_spec", lambda _: spec)
    monkeypatch.setattr(loading.platform, "system", lambda: "Linux")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("machine", "device", "precision"),
    [
        ({"flags": "avx512f avx512_bf16"}, "cpu", "bf16"),
        ({"flags": "amx_bf16 amx_tile"}, "cpu", "bf16"),
        ({"flags": "avx2 avx512f"}, "cpu", "fp32"),
        ({"flags": "avx2", "driver": True}, "cpu", "fp32"),
        ({"flags": "avx2", "cuda": "12.8"}, "cpu", "fp32"),
        ({"flags": "avx512_bf16", "cuda": "12.8", "driver": True}, "cuda:0", "fp16"),
    ],
)
def test_device_and_precision_are_reported_without_torch(monkeypatch, tmp_path, machine, device, precision):
    a_machine(monkeypatch, tmp_path, **machine)
    assert loading.default_device() == device
    assert loading.precision_on(device) == precision
    assert loading.precision_on(device, "fp32") == "fp32"
    assert (device if device != "cpu" else precision) in loading.in_words()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert loading.default_device() == "cpu"


def test_fp16_on_a_cpu_is_refused(folder):
    with pytest.raises(SettingsError, match=r"fp16 needs a GPU.*use auto or fp32"):
        load(folder, precision="fp16")


@pytest.mark.parametrize("flags", ["avx2", "avx2 avx512f avx512bw"])
def test_bf16_is_refused_on_a_cpu_without_bf16_instructions(folder, monkeypatch, tmp_path, flags):
    """Emulated, its bits depend on the other texts of a batch."""
    a_machine(monkeypatch, tmp_path, flags=flags)
    with pytest.raises(SettingsError, match=r"bf16 needs a CPU with bf16 instructions.*use auto or fp32"):
        load(folder, precision="bf16")
    assert load(folder, precision="auto").describe()["precision"] == "fp32"


def test_bf16_is_refused_where_flagembedding_would_compute_in_fp32(folder):
    with pytest.raises(SettingsError, match=r"not encoder-only-m3 on cpu.*use auto or fp32"):
        load(folder, precision="bf16", model_class="encoder-only-m3")
    assert load(folder, precision="auto", model_class="encoder-only-m3").describe()["precision"] == "fp32"


def test_a_gpu_that_torch_cannot_use_gives_way_to_the_cpu(folder, monkeypatch):
    monkeypatch.setattr(loading, "default_device", lambda: "cuda:0")
    monkeypatch.setattr(loading, "torch_has_cuda", lambda: True)
    settings = ModelSettings(name_or_path=str(folder))
    encoder = FlagEncoder.load(settings)
    assert passages(encoder, ["a"]).shape == (1, 32)
    assert (encoder.describe()["devices"], encoder.describe()["notes"]) == (
        ["cpu"],
        ["torch cannot use cuda:0, so the model runs on the CPU"],
    )
    used = FlagEncoder.load(settings)
    assert '"cuda"' in used.identity("passages"), "and from then on it must be true"
    with pytest.raises(ModelError, match=r"torch cannot use cuda:0.*run again with devices set to cpu"):
        passages(used, ["a"])
    assert '"cpu"' in used.identity("passages")
    assert passages(used, ["a"]).shape == (1, 32), "who runs again gets what it says now"


# Batches


@given(
    st.lists(st.text("ab ", max_size=30), max_size=40),
    st.integers(1, 60),
    st.none() | st.integers(1, 4),
    st.booleans(),
    st.tuples(st.integers(1, 12), st.integers(1, 50), st.integers(1, 200)),
)
def test_every_text_is_in_one_batch_within_the_budget(texts, budget, most, exact, sizes):
    chunk_texts, block_texts, block_characters = sizes
    seen, blocks = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batching, "CHUNK_TEXTS", chunk_texts)
        patch.setattr(batching, "TOKENIZER_TEXTS", 2)
        patch.setattr(batching, "BLOCK_TEXTS", block_texts)
        patch.setattr(batching, "BLOCK_CHARACTERS", block_characters)
        for chunk in batching.token_chunks(texts, lambda part: [[1] * min(20, len(text) + 2) for text in part], 20):
            block = chunk.block
            if block not in blocks:
                blocks.append(block)
            assert len(chunk.places) <= chunk_texts
            assert chunk.lengths.tolist() == [min(20, len(block.texts[offset]) + 2) for offset in chunk.places]
            start = 0
            while start < len(chunk.places):
                end, length = batching.next_batch(chunk, start, budget=budget, most_texts=most, exact=exact, max_length=20)
                lengths = chunk.lengths[start:end]
                assert start < end
                assert lengths.max() <= length <= 20
                assert end - start == 1 or (end - start) * length <= budget
                assert most is None or end - start <= most
                assert not exact or set(lengths) == {length}
                places, rows = block.answered(chunk.places[start:end], chunk.places[start:end])
                assert [texts[place] for place in places] == [block.texts[row] for row in rows]
                seen += places.tolist()
                start = end
    assert sorted(seen) == list(range(len(texts)))
    assert [text for block in blocks for text in block.texts] == texts
    for block in blocks:
        assert len(block.texts) <= block_texts
        assert sum(map(len, block.texts[:-1])) < block_characters
        lengths = [len(block.texts[offset]) for offset in block.order]
        assert lengths == sorted(lengths, reverse=True)
        assert len(lengths) == len(set(block.texts)), "equal texts are encoded once"


class OnDisk(Sequence):
    """A corpus with nothing but a length and one text at a time; `high` is the most texts that were alive at once."""

    def __init__(self, texts):
        self.texts, self.alive, self.high = texts, 0, 0

    def __len__(self):
        return len(self.texts)

    def __getitem__(self, place):
        text = Text(self.texts[operator.index(place)])
        self.alive += 1
        self.high = max(self.high, self.alive)
        weakref.finalize(text, self.gone)
        return text

    def gone(self):
        self.alive -= 1


class Text(str):
    """A str that can be followed until it is freed."""


def test_a_corpus_on_disk_is_read_in_blocks_and_gives_the_same_bits(flag_model, monkeypatch):
    texts = [f"{text} {i}" for i in range(5) for text in TEXTS]
    expected = passages(FlagEncoder(flag_model), texts)
    monkeypatch.setattr(batching, "BLOCK_TEXTS", len(TEXTS))
    corpus, steps = OnDisk(texts), []
    assert passages(FlagEncoder(flag_model), corpus, on_progress=lambda *step: steps.append(step)).tobytes() == expected.tobytes()
    assert corpus.high <= 4 * len(TEXTS), "the blocks that are computed, tokenised and read"
    total = tokens_of(flag_model, texts)
    assert steps[-1][:2] == (total, total)
    assert all(abs(step[1] - total) < 0.2 * total for step in steps), "blocks that are not read yet are as long as the others"
    assert sorted(step[0] for step in steps) == [step[0] for step in steps]


def test_progress_of_shards_is_right_over_blocks(monkeypatch):
    class Other:
        def encode(self, texts):
            return np.ones((len(texts), 2))

    monkeypatch.setattr(batching, "BLOCK_TEXTS", 10)
    steps, texts = [], [f"text {i:02}" for i in range(35)]
    assert passages(FlagEncoder(Other()), texts, on_progress=lambda *step: steps.append(step[:2])).shape == (35, 2)
    assert steps == [(70, 245), (140, 245), (210, 245), (245, 245)]


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
        ({"precision": "int8"}, r"'int8' is unknown; choose one of: auto, fp32"),
        ({"query_max_length": -1}, r"query_max_length is -1"),
        ({"query_instruction_format": "{}"}, r"needs two \{\}"),
    ],
)
def test_wrong_model_settings_are_refused(settings, message):
    with pytest.raises(SettingsError, match=message):
        ModelSettings(**settings)


# The hub


def test_a_hub_model_that_does_not_exist_is_an_error(tmp_path):
    """Whether the hub says no or cannot be reached."""
    with pytest.raises(ModelError, match=r"cannot load model 'hnmine-test/does-not-exist': .*packaged all-MiniLM-L6-v2"):
        FlagEncoder.load(ModelSettings(name_or_path="hnmine-test/does-not-exist", cache_dir=str(tmp_path)))


def test_a_hub_that_never_answers_does_not_hang_the_run(tmp_path, monkeypatch):
    from huggingface_hub import HfApi

    release = threading.Event()
    answered = []
    monkeypatch.setattr(HfApi, "model_info", lambda *_, **__: answered.append(release.wait(300)))
    monkeypatch.setattr("hnmine.core.hub.HUB_DEADLINE", 0.2)
    try:
        with pytest.raises(ModelError, match=r"cannot load model 'org/name': the hub did not respond .*all-MiniLM-L6-v2"):
            fetch(ModelSettings(name_or_path="org/name", cache_dir=str(tmp_path)))
        assert not answered, "the run did not wait for the answer"
    finally:
        release.set()


def test_offline_mode_is_reported_at_once(tmp_path):
    code = (
        "import sys\nfrom hnmine.models.cards import ModelSettings, fetch\nfrom hnmine.core.errors import ModelError\n"
        "try:\n    fetch(ModelSettings(name_or_path='org/name', cache_dir=sys.argv[1]))\nexcept ModelError as error:\n    print(error)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], env=environment, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300
    )
    assert "cannot load model 'org/name': OfflineModeIsEnabled" in done.stdout
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
    card = fetch(ModelSettings(name_or_path="org/name", cache_dir=str(tmp_path)))
    assert (card.name, card.folder) == ("org/name", snapshot)


def test_half_a_download_is_not_taken_for_a_model(tmp_path, tiny, monkeypatch):
    from huggingface_hub import HfApi

    def refuse(*_, **__):
        raise ConnectionError("no route\nto host")

    cached(tmp_path, tiny, weights=False)
    monkeypatch.setattr(HfApi, "model_info", refuse)
    with pytest.raises(ModelError, match=r"cannot load model 'org/name': ConnectionError: no route\. Check the name and the network"):
        fetch(ModelSettings(name_or_path="org/name", cache_dir=str(tmp_path)))


def test_the_table_of_known_models_is_flagembeddings():
    """hn_mine.py finds class, pooling and query format of a model by its name; so must we, for all it knows."""
    from FlagEmbedding.inference.embedder.model_mapping import AUTO_EMBEDDER_MAPPING, EMBEDDER_CLASS_MAPPING

    names = {model: kind.value for kind, model in EMBEDDER_CLASS_MAPPING.items()}
    for name, config in AUTO_EMBEDDER_MAPPING.items():
        card = describe(ModelSettings(name_or_path=f"owner/{name}"))
        found = (card.model_class, card.pooling_method, card.query_instruction_format)
        assert found == (names[config.model_class], config.pooling_method.value, config.query_instruction_format), name
