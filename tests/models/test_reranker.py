"""A FlagEmbedding reranker: known before it is loaded, the same scores as FlagEmbedding's, whatever else is scored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hnmine.core.errors import Cancelled, EncodeError, ModelError, SettingsError
from hnmine.models import flag_reranker, loading
from hnmine.models.flag_reranker import CrossEncoder
from hnmine.models.reranker import RERANKER_CLASSES, Reranker, RerankerSettings, describe, files_signature
from tests.rerankers import FakeReranker, save_cross_encoder, save_decoder

WORDS = ["the", "a", "naïve", "café", "漢字", "don't", "state-of-the-art", "[SEP]", "😀", "embedding", "x=1", "ﬀ", "##foo", "a/b?c=1", "İs"]


def text(rng: np.random.Generator, words: int) -> str:
    return " ".join(rng.choice(WORDS, words))


@pytest.fixture(scope="module")
def pairs() -> list[tuple[str, str]]:
    """Short and long ones, and such as are cut on either side."""
    rng = np.random.default_rng(1)
    found = [(text(rng, int(rng.integers(1, 9))), text(rng, int(rng.integers(1, 14)))) for _ in range(45)]
    return [*found, (text(rng, 400), text(rng, 9)), (text(rng, 5), text(rng, 500)), (text(rng, 400), text(rng, 500))]


def load(folder: Path, **changes: Any) -> CrossEncoder:
    settings = {"precision": "fp32", "devices": ("cpu",)} | changes
    return CrossEncoder.load(RerankerSettings(name_or_path=str(folder), **settings))


@pytest.fixture(scope="module")
def loaded(cross_encoder: Path) -> CrossEncoder:
    return load(cross_encoder)


def scores_of(reranker: Reranker, pairs: list[tuple[str, str]], **more: Any) -> np.ndarray:
    found = np.full(len(pairs), np.nan, dtype=np.float32)
    for places, scores in reranker.score(pairs, **more):
        assert scores.dtype == np.float32
        assert np.isnan(found[places]).all(), "a pair is scored once"
        found[places] = scores
    return found


def test_raw_logits_are_those_of_flagembedding(cross_encoder: Path, loaded: CrossEncoder, pairs) -> None:
    from FlagEmbedding import FlagReranker

    expected = np.array(FlagReranker(str(cross_encoder), devices="cpu").compute_score(pairs))
    assert expected.std() > 0.2
    assert (expected < 0).any(), "raw, not through a sigmoid"
    assert np.abs(scores_of(loaded, pairs) - expected).max() < 1e-4


def test_instructions_and_length_are_used_as_flagembedding_uses_them(cross_encoder: Path, pairs) -> None:
    from FlagEmbedding import FlagReranker

    words = {"query_instruction_for_rerank": "question: ", "passage_instruction_for_rerank": "answer: "}
    expected = FlagReranker(str(cross_encoder), devices="cpu", max_length=64, **words).compute_score(pairs)
    found = scores_of(load(cross_encoder, query_instruction="question: ", passage_instruction="answer: ", max_length=64), pairs)
    assert np.abs(found - expected).max() < 1e-4
    assert np.abs(found - scores_of(load(cross_encoder), pairs)).max() > 0.01


no_bf16 = pytest.mark.skipif(loading.precision_on("cpu") != "bf16", reason="this CPU has no bf16 instructions")


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=no_bf16)])
def test_a_score_depends_on_its_pair_alone(cross_encoder: Path, pairs, precision: str) -> None:
    """Bit for bit: alone, among others, in another order, in other batches, twice in one run."""
    reranker = load(cross_encoder, precision=precision)
    whole = scores_of(reranker, pairs)
    order = np.random.default_rng(2).permutation(len(pairs))
    assert (scores_of(reranker, [pairs[place] for place in order]) == whole[order]).all()
    for count in (1, 3, 13, 33):
        assert (scores_of(reranker, pairs[:count]) == whole[:count]).all(), count
    same = [pairs[0]] * 17 + [pairs[1]] * 7
    assert (scores_of(reranker, same) == whole[[0] * 17 + [1] * 7]).all()
    assert (scores_of(load(cross_encoder, precision=precision, batch_size=3), pairs) == whole).all()


def test_windows_change_nothing(cross_encoder: Path, loaded: CrossEncoder, pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scores_of(loaded, pairs)
    monkeypatch.setattr(flag_reranker, "CHUNK_PAIRS", 20)
    monkeypatch.setattr(flag_reranker, "TOKENIZER_PAIRS", 7)
    assert (scores_of(loaded, pairs) == whole).all()


def test_memory_that_runs_out_makes_batches_smaller(loaded: CrossEncoder, pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scores_of(loaded, pairs)
    sizes: list[int] = []
    forward = CrossEncoder._forward

    def tight(self: CrossEncoder, torch: Any, model: Any, part: Any, length: int) -> Any:
        sizes.append(len(part) * length)
        return None if len(part) > 1 else forward(self, torch, model, part, length)

    monkeypatch.setattr(CrossEncoder, "_forward", tight)
    assert (scores_of(loaded, pairs) == whole).all()
    monkeypatch.setattr(CrossEncoder, "_forward", lambda *_: None)
    with pytest.raises(EncodeError, match=r"not enough memory to score one pair of 512 tokens; lower the reranker's max_length"):
        scores_of(loaded, pairs)


def test_progress_counts_pairs_and_a_stop_ends_it(loaded: CrossEncoder, pairs) -> None:
    calls: list[tuple[int, int, str]] = []
    scores_of(loaded, pairs, on_progress=lambda *each: calls.append(each))
    assert [done for done, _, _ in calls] == sorted({done for done, _, _ in calls})
    assert calls[-1] == (len(pairs), len(pairs), "scoring pairs")
    with pytest.raises(Cancelled):
        scores_of(loaded, pairs, should_stop=lambda: len(calls) > 0)
    assert list(loaded.score([])) == []


def test_a_decoder_only_reranker_gives_flagembeddings_scores_pair_by_pair(tmp_path: Path, pairs) -> None:
    from FlagEmbedding import FlagLLMReranker

    folder = save_decoder(tmp_path / "decoder")
    reranker = load(folder)
    assert reranker.describe()["class"] == "decoder-only-base"
    found = scores_of(reranker, pairs[:20])
    expected = np.array(FlagLLMReranker(str(folder), devices="cpu").compute_score(pairs[:20]))
    assert expected.std() > 0.01
    assert np.abs(found - expected).max() < 1e-4
    assert (scores_of(reranker, pairs[5:6]) == found[5:6]).all()
    calls: list[int] = []
    with pytest.raises(Cancelled):
        scores_of(
            reranker, pairs * 2, on_progress=lambda done, total, note: calls.append(done), should_stop=lambda: max(calls, default=0) > 0
        )
    assert 0 < max(calls) < len(pairs * 2)


# What is known before loading


def test_what_decides_a_score_is_reported_before_torch_is_needed(
    cross_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text("flags : avx512_bf16\n")
    monkeypatch.setattr(loading, "_CPU", tmp_path / "cpuinfo")
    first = load(cross_encoder)
    assert isinstance(first, Reranker)
    assert isinstance(FakeReranker(), Reranker)
    assert first.describe()["class"] == "encoder-only-base"
    assert first.describe()["max_length"] == 512
    other = save_cross_encoder(tmp_path / "other", seed=8)
    identities = {
        load(cross_encoder).identity(),
        load(other).identity(),
        *(
            load(cross_encoder, **change).identity()
            for change in ({"max_length": 128}, {"query_instruction": "q: "}, {"passage_instruction": "q: "}, {"precision": "bf16"})
        ),
    }
    assert len(identities) == 6
    assert load(cross_encoder, depth=5, batch_size=9).identity() == first.identity(), "these decide nothing"
    moved = shutil.copytree(cross_encoder, tmp_path / "moved")
    assert load(moved).identity() == first.identity(), "weights count, not names"
    assert files_signature(RerankerSettings(name_or_path=str(moved))) != files_signature(RerankerSettings(name_or_path=str(other)))


def test_a_checkpoint_that_changes_before_it_is_loaded_is_noticed(tmp_path: Path) -> None:
    folder = save_cross_encoder(tmp_path / "reranker")
    reranker = load(folder)
    save_cross_encoder(folder, seed=9)
    with pytest.raises(ModelError, match="changed while it was loaded"):
        scores_of(reranker, [("a", "b")])


def change(folder: Path, target: Path, **values: Any) -> Path:
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | values))
    return target


def test_what_is_no_reranker_is_refused_with_a_remedy(cross_encoder: Path, tmp_path: Path) -> None:
    from hnmine.models.cards import packaged_folder

    with pytest.raises(ModelError, match=r"has a BertModel, .* needs a ForSequenceClassification; .* as BAAI/bge-reranker-v2-m3"):
        load(packaged_folder())
    with pytest.raises(ModelError, match=r"returns 3 scores per pair; a reranker returns one"):
        load(change(cross_encoder, tmp_path / "three", id2label={"0": "a", "1": "b", "2": "c"}))
    with pytest.raises(ModelError, match="does not run with transformers 5"):
        load(change(cross_encoder, tmp_path / "layers", architectures=["LayerWiseMiniCPMForCausalLM"]))
    with pytest.raises(ModelError, match=r"needs a ForCausalLM"):
        load(cross_encoder, model_class="decoder-only-base")
    with pytest.raises(ModelError, match=r"model folder '/no/such/folder' does not exist; check the path, or give the folder or hub name"):
        load(Path("/no/such/folder"))
    # Two labels are transformers' default, which a config does not spell out: the first answer tells.
    two = save_cross_encoder(tmp_path / "two", labels=2)
    with pytest.raises(ModelError, match=r"2 scores per pair; a reranker returns one"):
        scores_of(load(two), [("a", "b")])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name_or_path": " "}, "name is empty"),
        ({"name_or_path": "x", "model_class": "decoder-only-layerwise"}, "does not run with transformers 5; use bge-reranker-v2-m3"),
        ({"name_or_path": "BAAI/bge-reranker-v2.5-gemma2-lightweight"}, "does not run with transformers 5"),
        ({"name_or_path": "x", "model_class": "cross"}, "'cross' is unknown; choose one of: encoder-only-base, decoder-only-base"),
        ({"name_or_path": "x", "max_length": 31}, "max_length is 31; it must be at least 32"),
        ({"name_or_path": "x", "depth": 0}, "depth is 0; it must be at least 1"),
        ({"name_or_path": "x", "batch_size": 0}, "batch_size is 0"),
        ({"name_or_path": "x", "precision": "int8"}, "precision 'int8' is unknown"),
    ],
)
def test_settings_are_checked_when_made(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        RerankerSettings(**settings)


def test_a_hub_model_is_known_by_name_and_its_absence_reported_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import HfApi

    assert describe(RerankerSettings(name_or_path="BAAI/bge-reranker-v2-gemma")).model_class == "decoder-only-base"
    card = describe(RerankerSettings(name_or_path="BAAI/bge-reranker-v2-m3"))
    assert (card.folder, card.model_class, card.max_length) == (None, "encoder-only-base", 512)
    assert set(RERANKER_CLASSES) == {"encoder-only-base", "decoder-only-base"}

    def out_of_reach(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr(HfApi, "model_info", out_of_reach)
    with pytest.raises(ModelError, match=r"cannot load model 'BAAI/bge-reranker-v2-m3': ConnectionError: no route .* mine without one"):
        CrossEncoder.load(RerankerSettings(name_or_path="BAAI/bge-reranker-v2-m3", cache_dir=str(tmp_path)))
