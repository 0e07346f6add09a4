"""Served embedding models: each API gives the vectors of the model, whatever the server's limits, and each fault is one clear error."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.served_models import ServedModels
from hnmine import find_knn_neg
from hnmine.cluster.settings import ClusterSettings
from hnmine.core.errors import Cancelled, EncodeError, ModelError, SettingsError
from hnmine.models import cards
from hnmine.models.cards import PACKAGED_NAME, ModelSettings
from hnmine.models.encoder import Encoder, FlagEncoder, encode
from hnmine.models.opening import load_encoder
from hnmine.models.served import client as client_module
from hnmine.models.served import limits, probe
from hnmine.models.served.client import Refused
from hnmine.models.served.embedder import ServedEncoder
from hnmine.models.served.limits import Limits
from hnmine.models.served.server import Server
from hnmine.runs.manifest import read_manifest
from hnmine.runs.reproduce import reproduce
from hnmine.vectors.store import VectorStore
from tests.conftest import EXAMPLE, FakeEncoder, trigram_vector
from tests.served import FakeModels, asked_twice, fake_server, model_of, secrets_in

TEXTS = [f"text {number} " + "word " * (number % 17) for number in range(150)]
SHAPES = ["", "/v1", "/v1/embeddings", "/embed"]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedModels]:
    monkeypatch.setattr(client_module, "FIRST_PAUSE", 0.01)
    with fake_server() as server:
        yield server


def expected(texts: Sequence[str] = TEXTS) -> np.ndarray:
    return np.array([trigram_vector(text) for text in texts])


def passages(encoder: Encoder, texts: Sequence[str] = TEXTS, **more: Any) -> np.ndarray:
    return encode(encoder, texts, "passages", **more)


def notes(encoder: Encoder) -> str:
    return " | ".join(encoder.describe()["notes"])


@pytest.mark.parametrize("shape", SHAPES)
def test_every_api_gives_the_vectors_of_the_model(served: ServedModels, shape: str) -> None:
    encoder = load_encoder(model_of(served, shape))
    assert isinstance(encoder, Encoder)
    assert passages(encoder).tobytes() == expected().tobytes()
    described = encoder.describe()
    kind, path = ("tei", "/embed") if shape == "/embed" else ("openai", "/v1/embeddings")
    assert (described["class"], described["address"], described["dimensions"]) == (f"served ({kind})", served.address + path, 64)
    assert (described["devices"], described["precision"], described["weights_sha256"]) == ([], "fp32", None)
    assert asked_twice(served, path) == []


def test_equal_texts_are_asked_once(served: ServedModels) -> None:
    texts = [*TEXTS[:20], *TEXTS[:20], TEXTS[0]]
    assert passages(load_encoder(model_of(served)), texts).tobytes() == expected(texts).tobytes()
    assert asked_twice(served, "/v1/embeddings") == []


def test_requests_keep_to_the_batch_size_and_begin_with_the_longest(served: ServedModels) -> None:
    passages(load_encoder(model_of(served, batch_size=8, concurrency=1)))
    sent = [body["input"] for path, body in served.asked if path == "/v1/embeddings"][1:]
    assert {len(each) for each in sent[:-1]} == {8}
    assert all(each[-1] in probe.TEXTS for each in sent)
    lengths = [len(text) for each in sent for text in each[:-1]]
    assert lengths == sorted(lengths, reverse=True)


def test_requests_keep_to_a_number_of_tokens(served: ServedModels) -> None:
    long = [f"{number} " + "x" * 4 * limits.REQUEST_TOKENS for number in range(3)]
    passages(load_encoder(model_of(served)), [*long, "short"])
    assert max(len(body["input"]) for _, body in served.asked[1:]) == 2, "one text and the probe"


def test_a_server_that_takes_fewer_texts_is_asked_for_fewer(served: ServedModels) -> None:
    """Told by TEI's /info, learnt from refusals elsewhere."""
    served.max_batch = 7
    assert passages(load_encoder(model_of(served, "/embed"))).tobytes() == expected().tobytes()
    assert max(len(body["inputs"]) for _, body in served.asked[1:]) == 7
    served.asked.clear()
    encoder = load_encoder(model_of(served, concurrency=1))
    assert passages(encoder).tobytes() == expected().tobytes()
    sizes = [len(body["input"]) for _, body in served.asked[1:]]
    assert sum(size > 7 for size in sizes) <= 5, "a size that was refused is not tried again"
    assert asked_twice(served, "/v1/embeddings") == []


@pytest.mark.parametrize("shape", SHAPES[2:])
def test_a_server_that_takes_one_text_at_a_time(served: ServedModels, shape: str) -> None:
    served.max_batch = 1
    assert passages(load_encoder(model_of(served, shape)), TEXTS[:12]).tobytes() == expected(TEXTS[:12]).tobytes()


def test_longer_texts_are_cut_by_servers_that_can(served: ServedModels) -> None:
    served.models.max_tokens = 10
    texts = ["a few words", "w " * 30]
    cut = np.array([trigram_vector("a few words"), trigram_vector(" ".join("w" * 10))])
    for shape, words in (("", "truncate_prompt_tokens of vLLM"), ("/embed", "truncate of Text Embeddings Inference")):
        encoder = load_encoder(model_of(served, shape))
        assert passages(encoder, texts).tobytes() == cut.tobytes()
        assert notes(encoder) == f"the server cuts longer texts at 10 tokens ({words})"
        assert encoder.describe()["passage_max_length"] == 10


def test_longer_texts_are_cut_here_where_the_server_refuses_them() -> None:
    """The same text is cut to the same length, whatever else is asked."""
    with fake_server(max_tokens=20, owned_by="openai") as served:
        texts = [*TEXTS, *(f"number {number} " + f"w{number} " * (20 + number) for number in range(12))]
        first = load_encoder(model_of(served))
        found = passages(first, texts)
        assert found[:150].tobytes() == expected().tobytes()
        assert notes(first) == "12 passages are longer than the server reads and were cut"
        other = load_encoder(model_of(served, batch_size=3, concurrency=2))
        shuffled = random.Random(1).sample(range(len(texts)), len(texts))
        assert passages(other, [texts[place] for place in shuffled]).tobytes() == found[shuffled].tobytes()
        assert first.describe()["passage_max_length"] is None


@given(
    st.lists(st.text("ab ", min_size=1, max_size=90), min_size=1, max_size=30, unique=True),
    st.integers(1, 40),
    st.integers(16, 60),
    st.booleans(),
)
def test_whatever_a_server_refuses_each_text_has_its_own_answer(texts: list[str], most: int, characters: int, numbers: bool) -> None:
    """A model of a server: an answer is the text that it read."""
    import asyncio

    async def ask(part: Sequence[str], alone: bool) -> list[str]:
        if len(part) + (not alone) > most:
            raise Refused("refused", 413, "batch size too large")
        if (longest := max(map(len, part))) > characters:
            stated = f"maximum length {characters} tokens. Given: {longest}" if numbers else "too long"
            raise Refused("refused", 400, stated)
        return list(part)

    def answered(order: list[str], batch: int) -> dict[str, str]:
        found: dict[str, str] = {}
        known = Limits(batch, probes=1)
        for part in limits.requests(order, limits.estimated_tokens, lambda: known.texts):
            answers, count = asyncio.run(known.fitted(part, ask, limits.shortened_text))
            assert count == sum(len(text) > characters for text in part)
            found |= zip(part, answers, strict=True)
        return found

    first = answered(texts, 32)
    assert list(first) == texts
    assert all(text.startswith(read) and (read == text) == (len(text) <= characters) for text, read in first.items())
    assert all(len(read) >= 0.5 * characters for text, read in first.items() if read != text), "no more is lost than must be"
    assert answered(texts[::-1], 3) == first


@given(st.lists(st.integers(1, 9_000), max_size=60), st.integers(1, 40))
def test_requests_are_a_partition_within_the_limits(sizes: list[int], most: int) -> None:
    found = list(limits.requests(range(len(sizes)), sizes.__getitem__, lambda: most))
    assert [place for each in found for place in each] == list(range(len(sizes)))
    for each in found:
        assert 1 <= len(each) <= most
        assert len(each) == 1 or sum(sizes[place] for place in each) <= limits.REQUEST_TOKENS


def test_a_refusal_for_another_reason_is_an_error(served: ServedModels) -> None:
    encoder = load_encoder(model_of(served))
    served.post = lambda *_: (_ for _ in ()).throw(KeyError("input"))  # type: ignore[method-assign, assignment]
    with pytest.raises(EncodeError, match=r"refuses a request with 422 \(KeyError: 'input'\)"):
        passages(encoder, TEXTS[:3])


def test_an_empty_text_is_sent_as_a_full_stop() -> None:
    with fake_server(owned_by="openai") as served:
        encoder = load_encoder(model_of(served))
        assert passages(encoder, ["", "a", " \n"]).tobytes() == expected([".", "a", "."]).tobytes()
        assert notes(encoder) == "2 passages are without a letter and were sent as '.'"


def test_fewer_dimensions_are_asked_for(served: ServedModels) -> None:
    found = passages(load_encoder(model_of(served, dimensions=16)))
    assert found.shape == (150, 16)
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-6)
    with pytest.raises(EncodeError, match=r"refuses a request with 400 \(dimensions must be 1 to 64\)"):
        load_encoder(model_of(served, dimensions=128))
    with pytest.raises(EncodeError, match="was asked for 16 dimensions and answers with 64; leave the dimensions out"):
        load_encoder(model_of(served, "/embed", dimensions=16))


def test_vectors_of_another_length_are_scaled_unless_the_settings_say_no(served: ServedModels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeModels, "vectors", lambda self, texts: 3 * np.array([trigram_vector(text) for text in texts]))
    assert np.allclose(passages(load_encoder(model_of(served))), expected(), atol=1e-6)
    assert np.allclose(passages(load_encoder(model_of(served, normalize_embeddings=False))), 3 * expected(), atol=1e-6)


def test_instructions_are_those_of_the_loaded_model() -> None:
    with fake_server() as served:
        served.models.name = "BAAI/bge-small-en-v1.5"
        encoder = load_encoder(model_of(served))
        bge = "Represent this sentence for searching relevant passages: "
        assert encode(encoder, ["a"], "queries").tobytes() == expected([bge + "a"]).tobytes()
        assert encode(encoder, ["a"], "passages").tobytes() == expected(["a"]).tobytes()
        assert encode(encoder, ["a"], "instructed queries").tobytes() == expected(["a"]).tobytes()
        assert isinstance(encoder, ServedEncoder)
        assert encoder.instructed(["a", "b", "c"], [None, "", "Find "]) == [bge + "a", "b", "Find c"]
        assert encoder.identity("queries") != encoder.identity("passages") == encoder.identity("instructed queries")
        own = load_encoder(model_of(served, query_instruction="Ask: ", query_instruction_format="{}<{}>"))
        assert encode(own, ["a"], "queries").tobytes() == expected(["Ask: <a>"]).tobytes()


def test_rows_with_instructions_are_mined(served: ServedModels, tmp_path: Path) -> None:
    rows = [{"query": f"question {number}", "pos": [f"answer {number}"], "prompt": f"Find {number % 2}: "} for number in range(30)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    find_knn_neg(model_of(served), tmp_path / "train.jsonl", None, tmp_path / "out.jsonl", [2, 20], 3, False, query_prompt_field="prompt")
    assert served.texts("/v1/embeddings")["Find 1: question 3"] == 1


def test_the_lengths_of_the_settings_are_vllms(served: ServedModels) -> None:
    encoder = load_encoder(model_of(served, passage_max_length=5, query_max_length=3))
    passages(encoder, ["a b c"])
    encode(encoder, ["a"], "queries")
    assert [body["truncate_prompt_tokens"] for _, body in served.asked[1:]] == [5, 3]
    described = encoder.describe()
    assert (described["query_max_length"], described["passage_max_length"]) == (3, 5)
    other = load_encoder(model_of(served, "/embed", passage_max_length=5, pooling_method="cls"))
    assert notes(other).endswith("pooling_method, passage_max_length: without effect, because a server runs the model")


def test_progress_and_tokens_are_counted(served: ServedModels) -> None:
    steps: list[tuple[int, int, str]] = []
    encoder = load_encoder(model_of(served), on_progress=lambda *step: steps.append(step))
    assert set(steps) == {(0, 0, "asking the server of the model")}
    steps.clear()
    passages(encoder, on_progress=lambda *step: steps.append(step))
    done = [step[0] for step in steps]
    assert done == sorted(done)
    assert steps[-1][0] == steps[-1][1] > 0
    assert {step[2] for step in steps} == {"encoding passages"}
    assert encoder.describe()["tokens"] > sum(len(text.split()) for text in TEXTS), "of the probes too"


def test_a_cancel_ends_it(served: ServedModels) -> None:
    encoder = load_encoder(model_of(served, timeout=3_600.0))
    count = len(served.headers)
    served.fail("hang")
    with pytest.raises(Cancelled):
        passages(encoder, should_stop=lambda: len(served.headers) > count)
    assert passages(encoder, []).shape == (0, 0)


def test_a_cancel_ends_the_first_question_too(served: ServedModels, tmp_path: Path) -> None:
    served.fail("hang")
    model = model_of(served, timeout=3_600.0)
    with pytest.raises(Cancelled):
        load_encoder(model, should_stop=lambda: len(served.headers) == 1)

    def tell(*_: object) -> None:
        if len(served.headers) == 2:
            raise Cancelled("the job is stopped")

    with pytest.raises(Cancelled, match="the job is stopped"):
        load_encoder(model, on_progress=tell)
    with pytest.raises(Cancelled):
        mined(model, tmp_path, "out.jsonl", should_stop=lambda: len(served.headers) == 3)


FAULTS = {
    "wrong_dimensions": "answers with 63 dimensions, and with 64 before; vectors that are finished are kept",
    "nan": "answers with NaN or infinity for passage 'text .*vectors that are finished are kept",
    "not_json": "answered with what is no JSON",
    "fewer": r"answers \d+ texts with \d+ vectors, not with one vector for each; vectors that are finished are kept",
    "duplicated": r"answers \d+ texts with vectors that are not numbered from 0, each once \(index\), so not with one",
    "swapped": "has changed in mid-run: the vector of '.*' has a cosine of .* with that of the start. Vectors that are finished are kept",
    "failing": r"answers 503 \(the engine has died\). Start it or wait, then run again$",
    "wrong_key": "refuses access with 401",
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_in_mid_run_is_one_clear_error_and_what_is_finished_is_kept(
    served: ServedModels, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "PATIENCE", 0.1)
    settings = model_of(served, concurrency=1, batch_size=16)
    served.fail(kind, after=5)  # the probe, and four requests
    with pytest.raises((EncodeError, ModelError), match=FAULTS[kind]) as raised:
        VectorStore(tmp_path).vectors(load_encoder(settings), TEXTS, "passages")
    assert str(raised.value).startswith("the embedding model trigrams: ")
    served.heal()
    answered = served.texts("/v1/embeddings")
    store = VectorStore(tmp_path)
    assert store.vectors(load_encoder(settings), TEXTS, "passages")[:].tobytes() == expected().tobytes()
    assert (store.found, store.encoded) == (60, 90)
    again = served.texts("/v1/embeddings") - answered
    assert sum(count for text, count in again.items() if text not in probe.TEXTS) == 90


@pytest.mark.parametrize("kind", ["nan", "not_json", "fewer", "duplicated", "wrong_key"])
def test_a_fault_at_the_start_is_the_same_error(served: ServedModels, kind: str) -> None:
    served.fail(kind)
    words = {"nan": "answers a short text with NaN, infinity or zeros"}.get(kind, FAULTS[kind])
    with pytest.raises((EncodeError, ModelError), match=words):
        load_encoder(model_of(served))


@pytest.mark.parametrize("row", [[0.5, 0.5, 0.5], [True, True, True]])
def test_a_model_that_answers_all_texts_alike_is_refused(served: ServedModels, row: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served.models, "vectors", lambda texts: np.array([row] * len(texts), dtype=np.float32))
    with pytest.raises(EncodeError, match="answers different texts with the same vector"):
        load_encoder(model_of(served))


def test_what_cannot_be_asked_is_refused_before(served: ServedModels) -> None:
    with pytest.raises(SettingsError, match=r"has no name; set it \(--embedder_name_or_path\) as the server has it"):
        load_encoder(model_of(served, name_or_path=None))
    assert load_encoder(model_of(served, "/embed", name_or_path=None)).describe()["name"] == "trigrams", "as /info has it"
    with pytest.raises(
        SettingsError, match=r"for an embedding model, and this is the path of a reranker; end it with /embeddings or /embed"
    ):
        load_encoder(model_of(served, "/rerank"))
    with pytest.raises(SettingsError, match="is 'vllm', which is a reranker's; set openai or tei"):
        load_encoder(model_of(served, api="vllm"))
    with pytest.raises(ModelError, match=r"answers 404 .*does not exist.*the name of the model"):
        load_encoder(model_of(served, name_or_path="other"))


# The store's key.


def test_the_identity_is_what_decides_a_vector(served: ServedModels) -> None:
    base = model_of(served)
    same = [base, model_of(served, "/v1"), model_of(served, concurrency=2, timeout=9.0), model_of(served, batch_size=4)]
    assert len({load_encoder(each).identity("passages") for each in same}) == 1
    others = [model_of(served, "/embed"), model_of(served, dimensions=32), model_of(served, normalize_embeddings=False)]
    others += [model_of(served, passage_instruction="p: "), model_of(served, passage_max_length=7)]
    assert len({load_encoder(each).identity("passages") for each in (base, *others)}) == 6


def test_a_server_whose_last_digits_vary_is_the_same_model(served: ServedModels, tmp_path: Path) -> None:
    served.models.noise = 1e-4  # type: ignore[attr-defined]
    first, again = load_encoder(model_of(served)), load_encoder(model_of(served))
    assert first.identity("passages") != again.identity("passages"), "else this test shows nothing"
    VectorStore(tmp_path).vectors(first, TEXTS, "passages")
    store = VectorStore(tmp_path)
    store.vectors(again, TEXTS, "passages")
    assert (store.found, store.encoded, store.notes) == (150, 0, [])


def test_a_model_that_was_swapped_has_vectors_of_its_own(served: ServedModels, tmp_path: Path) -> None:
    VectorStore(tmp_path).vectors(load_encoder(model_of(served)), TEXTS, "passages")
    served.fail("swapped")
    store = VectorStore(tmp_path)
    found = store.vectors(load_encoder(model_of(served)), TEXTS, "passages")[:]
    assert not np.allclose(found, expected())
    assert (store.found, store.encoded) == (0, 150)
    assert store.notes == ["the model behind the address of trigrams has changed: 150 stored vectors or scores of it are not used"]
    served.heal()
    store = VectorStore(tmp_path)
    assert store.vectors(load_encoder(model_of(served)), TEXTS, "passages")[:].tobytes() == expected().tobytes()
    assert (store.found, store.notes) == (150, []), "the first model is back"


def test_sketches_tell_models_apart() -> None:
    vectors = expected(probe.TEXTS)
    noisy = vectors + np.float32(3e-4) * np.random.default_rng(3).standard_normal(vectors.shape).astype(np.float32)
    assert probe.near(probe.sketch(noisy), probe.sketch(vectors))
    assert probe.near(probe.sketch(5 * vectors), probe.sketch(vectors))
    for other in (vectors[::-1], -vectors, vectors[:, ::-1], np.roll(vectors, 1, axis=1)):
        assert not probe.near(probe.sketch(other), probe.sketch(vectors))
    assert not probe.near(None, probe.sketch(vectors))
    assert not probe.near("damaged", probe.sketch(vectors))
    assert not probe.near([], [])


# Whole runs.


def mined(model: Any, folder: Path, name: str, **more: Any) -> tuple[Any, bytes, dict[str, Any]]:
    summary = find_knn_neg(model, EXAMPLE / "train.jsonl", EXAMPLE / "pool.jsonl", folder / name, [10, 60], 7, False, **more)
    return summary, (folder / name).read_bytes(), json.loads((folder / name).with_suffix(".manifest.json").read_bytes())


@pytest.mark.parametrize("shape", SHAPES[2:])
def test_a_run_is_that_of_the_model_itself(served: ServedModels, shape: str, tmp_path: Path) -> None:
    _, wanted, _ = mined(FakeEncoder(), tmp_path, "loaded.jsonl")
    summary, found, manifest = mined(model_of(served, shape), tmp_path, "served.jsonl", store=tmp_path / "store")
    assert found == wanted
    assert manifest["model"]["probe"] and manifest["model"]["address"] == served.address + shape
    seen = served.seen[shape]
    assert summary.vectors["encoded"] == seen["different"] - len(probe.TEXTS)
    assert asked_twice(served, shape) == []
    summary, found, _ = mined(model_of(served, shape), tmp_path, "again.jsonl", store=tmp_path / "store")
    assert (found, summary.vectors["encoded"]) == (wanted, 0)
    assert served.seen[shape]["different"] == seen["different"]


def test_a_run_that_was_cut_short_goes_on(served: ServedModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "PATIENCE", 0.1)
    _, wanted, _ = mined(FakeEncoder(), tmp_path, "loaded.jsonl")
    served.fail("failing", after=9)
    with pytest.raises(EncodeError, match="answers 503"):
        mined(model_of(served, concurrency=1), tmp_path, "out.jsonl", store=tmp_path / "store")
    served.heal()
    summary, found, _ = mined(model_of(served), tmp_path, "out.jsonl", store=tmp_path / "store")
    assert found == wanted
    assert summary.vectors["stored"] >= 8 * 31
    assert asked_twice(served, "/v1/embeddings") == []


def test_a_manifest_is_repeated_by_the_same_model_alone(served: ServedModels, tmp_path: Path) -> None:
    _, wanted, _ = mined(model_of(served), tmp_path, "out.jsonl")
    reproduce(tmp_path / "out.manifest.json", tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == wanted
    served.fail("swapped")
    with pytest.raises(ModelError, match="is not that of the manifest: it gives other results for the texts of the probe"):
        reproduce(tmp_path / "out.manifest.json", tmp_path / "other.jsonl")
    assert read_manifest(tmp_path / "out.manifest.json").model["weights_sha256"] is None


def test_the_key_is_in_no_file_and_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELS_API_KEY", "sk-secret-4711")
    with fake_server(key_variable="MODELS_API_KEY") as served:
        model = model_of(served, key_variable="MODELS_API_KEY")
        mined(model, tmp_path, "out.jsonl", store=tmp_path / "store")
        encoder = load_encoder(model)
        assert "4711" not in repr([encoder, vars(encoder), encoder.describe(), encoder.identity("queries"), model])
        monkeypatch.setenv("MODELS_API_KEY", "sk-secret-4712")
        with pytest.raises(ModelError) as raised:
            load_encoder(model)
        assert "secret" not in str(raised.value)
    assert len(list(tmp_path.rglob("*"))) > 5
    assert secrets_in("sk-secret", [tmp_path]) == []
    assert secrets_in("MODELS_API_KEY", [tmp_path]) == [tmp_path / "out.manifest.json"]


def test_a_cluster_cannot_encode_for_a_server(served: ServedModels, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"is served by .*leave the cluster out \(--cluster\), or load the model"):
        mined(model_of(served), tmp_path, "out.jsonl", cluster=ClusterSettings(address="local"))


def test_a_second_model_may_be_served(served: ServedModels, tmp_path: Path) -> None:
    from hnmine import rank, read

    data = read(EXAMPLE / "train.jsonl", pool=EXAMPLE / "pool.jsonl")
    ranking = rank(data, model=FakeEncoder(), second_model=model_of(served), store=False)
    assert np.allclose(ranking.signals["second_model"], ranking.scores, atol=1e-6)


def test_the_card_of_a_served_model_needs_no_folder(served: ServedModels) -> None:
    card = cards.describe(model_of(served, name_or_path="BAAI/bge-large-zh"))
    assert card.folder is None
    assert card.query_instruction
    assert cards.files_signature(model_of(served, name_or_path="./no/such/folder")) == ""


def test_the_name_of_the_packaged_model_is_the_packaged_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ModelSettings(name_or_path=PACKAGED_NAME) == ModelSettings()
    server = Server(address="http://127.0.0.1:1/v1")
    assert ModelSettings(name_or_path=PACKAGED_NAME, server=server).name_or_path == PACKAGED_NAME
    (tmp_path / PACKAGED_NAME).mkdir()
    monkeypatch.chdir(tmp_path)
    assert ModelSettings(name_or_path=PACKAGED_NAME).name_or_path == PACKAGED_NAME, "such a folder comes first"


def test_without_a_model_the_packaged_one_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[ModelSettings | None] = []
    monkeypatch.setattr(FlagEncoder, "load", lambda settings, **_: loaded.append(settings) or FakeEncoder())
    mined(None, tmp_path, "out.jsonl")
    assert loaded == [ModelSettings()]


def test_settings_are_json_and_back(served: ServedModels) -> None:
    settings = model_of(served, "/embed", dimensions=8, key_variable="MODELS_API_KEY", concurrency=2)
    assert msgspec.json.decode(msgspec.json.encode(settings), type=ModelSettings) == settings
