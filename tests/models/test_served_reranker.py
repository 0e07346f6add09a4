"""Served rerankers: each API gives the scores of the model, restored by index, and each fault is one clear error."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.served_models import ServedModels
from hnmine import find_knn_neg
from hnmine.core.errors import Cancelled, EncodeError, ModelError, SettingsError
from hnmine.data.corpus import Corpus, build_corpus
from hnmine.data.rows import Row
from hnmine.models import reranker as reranker_module
from hnmine.models.opening import load_reranker
from hnmine.models.reranker import Pair, Reranker
from hnmine.models.served import client as client_module
from hnmine.models.served import probe
from hnmine.retrieval.rerank import Scorer
from hnmine.vectors.store import VectorStore
from tests.conftest import EXAMPLE, FakeEncoder
from tests.rerankers import FakeReranker, fake_score
from tests.served import asked_twice, fake_server, reranker_of, secrets_in

PAIRS = [(f"query {number % 13}", f"passage {number} " + "word " * (number % 9)) for number in range(300)]
SHAPES = ["/rerank", "/v1/rerank", "/score"]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedModels]:
    monkeypatch.setattr(client_module, "FIRST_PAUSE", 0.01)
    with fake_server() as server:
        yield server


def scores(found: Reranker, pairs: Sequence[Pair] = PAIRS, **more: Any) -> np.ndarray:
    values = np.full(len(pairs), np.nan, dtype=np.float32)
    for places, part in found.score(pairs, **more):
        assert np.isnan(values[places]).all()
        values[places] = part
    return values


def logits(pairs: Sequence[Pair] = PAIRS) -> np.ndarray:
    return np.array([fake_score(*pair) for pair in pairs], dtype=np.float32)


def expected(shape: str, pairs: Sequence[Pair] = PAIRS) -> np.ndarray:
    """Raw logits of TEI and vLLM, which are asked for them, probabilities of the others."""
    return logits(pairs) if shape != "/v1/rerank" else (1 / (1 + np.exp(-logits(pairs).astype(np.float64)))).astype(np.float32)


def corpus_of(count: int) -> Corpus:
    return build_corpus([Row(number, f"query {number}", [f"answer {number}"], [], {}) for number in range(count)])


def notes(found: Reranker) -> str:
    return " | ".join(found.describe()["notes"])


@pytest.mark.parametrize("shape", SHAPES)
def test_every_api_gives_the_scores_of_the_model(served: ServedModels, shape: str) -> None:
    found = load_reranker(reranker_of(served, shape))
    assert isinstance(found, Reranker)
    assert scores(found).tobytes() == expected(shape).tobytes()
    assert asked_twice(served, shape) == []
    assert served.texts(shape)[PAIRS[0]] == 1
    assert ("probabilities between 0 and 1, not raw logits" in notes(found)) == (shape == "/v1/rerank")
    assert found.describe()["address"] == served.address + shape


@pytest.mark.parametrize("shape", SHAPES)
def test_the_api_is_told_by_the_setting_or_the_path(served: ServedModels, shape: str) -> None:
    api = {"/rerank": "tei", "/v1/rerank": "jina", "/score": "vllm"}[shape]
    assert load_reranker(reranker_of(served, "/v1", api=api)).describe()["class"] == f"served ({api})"
    with pytest.raises(SettingsError, match=r"end it with /rerank, /v1/rerank or /score, or set --reranker_api to tei, jina, vllm"):
        load_reranker(reranker_of(served, "/v1"))
    with pytest.raises(SettingsError, match=r"for a reranker, and this is the path of an embedding model; end it with /rerank or /score"):
        load_reranker(reranker_of(served, "/v1/embeddings", api=api))
    with pytest.raises(SettingsError, match="is 'openai', which is no reranker's"):
        load_reranker(reranker_of(served, api="openai"))
    with pytest.raises(ModelError, match=r"refuses a request with 422 .* has the form jina: .* set --reranker_api to tei or vllm"):
        load_reranker(reranker_of(served, "/rerank", api="jina"))


@pytest.mark.parametrize("shape", SHAPES)
def test_requests_have_one_query_and_keep_to_the_servers_batch(served: ServedModels, shape: str) -> None:
    served.max_batch = 5
    found = load_reranker(reranker_of(served, shape))
    assert scores(found).tobytes() == expected(shape).tobytes()
    bodies = [body for _, body in served.asked]
    sent = [body.get("texts") or body.get("documents") or body.get("text_2") for body in bodies]
    assert sum(len(each) > 5 for each in sent) <= (0 if shape == "/rerank" else 8)
    assert len({json.dumps(body) for body in bodies}) > 300 / 13 / 5


def test_instructions_are_put_before(served: ServedModels) -> None:
    found = load_reranker(reranker_of(served, query_instruction="Q: ", passage_instruction="P: "))
    assert scores(found, [("a", "b")]).tobytes() == logits([("Q: a", "P: b")]).tobytes()


def test_longer_pairs_are_cut_here_where_the_server_refuses_them() -> None:
    pairs = [*PAIRS[:20], *(("query", f"number {number} " + "word " * 40) for number in range(3))]
    with fake_server(max_tokens=25, owned_by="openai") as served:
        found = load_reranker(reranker_of(served, "/v1/rerank"))
        values = scores(found, pairs)
        assert values[:20].tobytes() == expected("/v1/rerank", PAIRS[:20]).tobytes()
        assert notes(found).endswith("3 passages are longer than the reranker reads and were cut")
        assert scores(found, pairs[::-1]).tobytes() == values[::-1].tobytes(), "whatever the order"
    with fake_server(max_tokens=25) as served:
        served.asked.clear()
        assert np.isfinite(scores(load_reranker(reranker_of(served, "/score")), pairs)).all()
        assert all(body["truncate_prompt_tokens"] == -1 for _, body in served.asked)


def test_an_empty_passage_has_a_score(served: ServedModels) -> None:
    assert scores(load_reranker(reranker_of(served)), [("a", "")]).tobytes() == logits([("a", ".")]).tobytes()


def test_progress_counts_pairs_and_a_cancel_ends_it(served: ServedModels) -> None:
    steps: list[tuple[int, int, str]] = []
    found = load_reranker(reranker_of(served, timeout=3_600.0))
    scores(found, on_progress=lambda *step: steps.append(step))
    assert [step[0] for step in steps] == sorted(step[0] for step in steps)
    assert steps[-1] == (300, 300, "scoring pairs")
    count = len(served.headers)
    served.fail("hang")
    with pytest.raises(Cancelled):
        scores(found, should_stop=lambda: len(served.headers) > count)
    assert scores(found, []).shape == (0,)


FAULTS = {
    "nan": "answers with nan for the query 'query .*' and the passage '.*scores that are finished are kept",
    "not_json": "answered with what is no JSON",
    "fewer": r"answers \d+ pairs with \d+ scores, not with one score for each; scores that are finished are kept",
    "duplicated": r"answers \d+ pairs with \d+ scores that are not numbered from 0 on, not with one score for each",
    "swapped": "has changed in mid-run: it scores the same pairs .* instead of .*. Scores that are finished are kept",
    "failing": r"answers 503 \(the engine has died\). Start it or wait, then run again$",
    "wrong_key": "refuses access with 401",
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_in_mid_run_is_one_clear_error_and_nothing_wrong_is_kept(
    served: ServedModels, kind: str, shape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "PATIENCE", 0.1)
    corpus = corpus_of(40)
    pairs = np.repeat(np.arange(40, dtype=np.int32), 3), np.tile(np.arange(3, dtype=np.int32), 40)
    settings = reranker_of(served, shape, concurrency=1)
    served.fail(kind, after=1 + 9 + 3)  # the probe, a work of eight requests with its probe, and three more requests
    with pytest.raises((EncodeError, ModelError), match=FAULTS[kind]) as raised:
        Scorer(load_reranker(settings), corpus, VectorStore(tmp_path)).score(*pairs)
    assert str(raised.value).startswith("the reranker trigrams: ")
    served.heal()
    scorer = Scorer(load_reranker(settings), corpus, VectorStore(tmp_path))
    found = scorer.score(*pairs)
    wanted = [(corpus.queries[query], corpus.passages[passage]) for query, passage in zip(*pairs, strict=True)]
    assert found.tobytes() == expected(shape, wanted).tobytes()
    assert (scorer.stored, scorer.scored) == (24, 96)


@pytest.mark.parametrize("kind", ["not_json", "fewer", "duplicated", "wrong_key"])
def test_a_fault_at_the_start_is_the_same_error(served: ServedModels, kind: str) -> None:
    served.fail(kind)
    with pytest.raises((EncodeError, ModelError), match=FAULTS[kind]):
        load_reranker(reranker_of(served))


def test_a_reranker_that_was_swapped_has_scores_of_its_own(served: ServedModels, tmp_path: Path) -> None:
    corpus = corpus_of(10)
    pairs = np.arange(10, dtype=np.int32), np.arange(10, dtype=np.int32)
    Scorer(load_reranker(reranker_of(served)), corpus, VectorStore(tmp_path)).score(*pairs)
    served.fail("swapped")
    store = VectorStore(tmp_path)
    scorer = Scorer(load_reranker(reranker_of(served)), corpus, store)
    scorer.score(*pairs)
    assert (scorer.stored, scorer.scored) == (0, 10)
    assert store.notes == ["the model behind the address of trigrams has changed: 10 stored vectors or scores of it are not used"]
    served.heal()
    scorer = Scorer(load_reranker(reranker_of(served)), corpus, VectorStore(tmp_path))
    scorer.score(*pairs)
    assert (scorer.stored, scorer.scored) == (10, 0)


def test_the_identity_is_what_decides_a_score(served: ServedModels) -> None:
    same = [reranker_of(served), reranker_of(served, concurrency=1, timeout=9.0), reranker_of(served, depth=7)]
    others = [reranker_of(served, "/score"), reranker_of(served, query_instruction="Q: ")]
    assert len({load_reranker(each).identity() for each in same}) == 1
    assert len({load_reranker(each).identity() for each in [*same, *others]}) == 3


@pytest.mark.parametrize("shape", SHAPES)
def test_a_run_is_that_of_the_model_itself(served: ServedModels, shape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mined(settings: Any, name: str) -> tuple[bytes, dict[str, Any]]:
        find_knn_neg(
            FakeEncoder(), EXAMPLE / "train.jsonl", EXAMPLE / "pool.jsonl", tmp_path / name, [5, 30], 5, False,
            reranker=settings, store=tmp_path / "store",
        )  # fmt: skip
        return (tmp_path / name).read_bytes(), json.loads((tmp_path / name).with_suffix(".manifest.json").read_bytes())

    with monkeypatch.context() as patch:
        patch.setattr("hnmine.models.opening.CrossEncoder.load", lambda *_, **__: FakeReranker())
        wanted, _ = mined(reranker_module.RerankerSettings(name_or_path="fake"), "loaded.jsonl")
    monkeypatch.setenv("MODELS_API_KEY", "sk-secret-4711")
    settings = reranker_of(served, shape, key_variable="MODELS_API_KEY")
    found, manifest = mined(settings, "served.jsonl")
    assert found == wanted
    assert manifest["summary"]["pairs"]["scored"] == served.seen[shape]["different"] - len(probe.PASSAGES)
    assert asked_twice(served, shape) == []
    assert mined(settings, "again.jsonl")[1]["summary"]["pairs"]["scored"] == 0
    assert secrets_in("sk-secret", [tmp_path]) == []
