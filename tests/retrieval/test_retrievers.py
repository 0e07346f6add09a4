"""Several retrievers and a second model in whole runs: what they rank, what is told of it, and that all of it can be made again."""

from __future__ import annotations

import json
import shutil
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hnmine import FlagEncoder, ModelSettings, find_knn_neg, resources
from hnmine.cli.flags import command_line, settings_from
from hnmine.cli.main import main, parse
from hnmine.core.errors import InputError, ModelError, SettingsError
from hnmine.data.corpus import build_corpus
from hnmine.data.rows import Row
from hnmine.models.cards import PACKAGED_NAME, packaged_folder
from hnmine.models.encoder import encode
from hnmine.models.loading import LazyModel
from hnmine.retrieval.bm25 import LexicalIndex
from hnmine.retrieval.ranking import Ranking, rank
from hnmine.retrieval.retrievers import FUSION_DEPTH, RETRIEVERS, chosen_retrievers, fused, retriever_names, second_model_settings
from hnmine.retrieval.search import top_k
from hnmine.runs.mine import MineSettings, mine, mine_to_file
from hnmine.runs.reproduce import reproduce
from hnmine.runs.workspace import Workspace
from hnmine.selection.settings import SelectionSettings
from hnmine.vectors.store import VectorStore
from pages.inspect.candidates import details, lines
from tests.conftest import FakeEncoder
from tests.pages.conftest import command, native_sliders, open_app, texts  # noqa: F401 - the fixture is used by itself

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "bikeshare"
NAMES, PART = ("train.jsonl", "pool.jsonl"), (45, 110)
ALL = ("model", "bm25", "second_model")


def altered(folder: Path, seed: int) -> Path:
    """The packaged model with noise on its word embeddings: another model, of other opinions."""
    from safetensors.numpy import load_file, save_file

    shutil.copytree(packaged_folder(), folder, dirs_exist_ok=True)
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    name = next(name for name in tensors if name.endswith("word_embeddings.weight"))
    tensors[name] += np.random.default_rng(seed).normal(0, 0.03, tensors[name].shape).astype(tensors[name].dtype)
    save_file(tensors, weights)
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A part of the example, because two models encode it: (training rows, pool)."""
    folder = tmp_path_factory.mktemp("files")
    for name, count in zip(NAMES, PART, strict=True):
        (folder / name).write_text("".join((EXAMPLE / name).read_text("utf-8").splitlines(keepends=True)[:count]))
    return folder / NAMES[0], folder / NAMES[1]


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return altered(tmp_path_factory.mktemp("models") / "other", 3)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vectors that the tests of this file share."""
    return tmp_path_factory.mktemp("store")


def settings(other: Path, *retrievers: str, **selection: object) -> MineSettings:
    return MineSettings(
        model=ModelSettings(),
        second_model=ModelSettings(name_or_path=str(other)),
        retrievers=retrievers or ("model",),
        selection=SelectionSettings(**selection),
    )


def ranking_of(files: tuple[Path, Path], wanted: MineSettings, store: Path, **more: object) -> tuple[Ranking, object]:
    mined = mine(*files, wanted, lambda: FlagEncoder.load(wanted.model), store=VectorStore(store), **more)
    return mined.ranking, mined


# The second model


def test_the_signal_of_the_second_model_is_its_similarity_of_every_ranked_pair(files, other: Path, store: Path) -> None:
    ranking, mined = ranking_of(files, settings(other), store)
    corpus = mined.inputs.corpus
    found = ranking.signals["second_model"]
    assert found.dtype == np.float32
    assert found.shape == ranking.ids.shape
    some = [0, 20, 40]  # encoding is slow: of three queries the first and the last candidates, and the positives
    ids, own = ranking.ids[some][:, [*range(6), -2, -1]], [corpus.positives(number) for number in some]
    used = np.unique(np.concatenate([ids.ravel(), *own]))
    encoder = FlagEncoder.load(ModelSettings(name_or_path=str(other)))
    queries = encode(encoder, [corpus.queries[number] for number in some], "queries")
    passages = encode(encoder, [corpus.passages[passage] for passage in used], "passages")
    if encoder.describe()["precision"] != "fp32":  # kept as float16
        queries, passages = (each.astype(np.float16) for each in (queries, passages))
    direct = queries.astype(float) @ passages.astype(float).T
    for row, number in enumerate(some):
        expected = direct[row, np.searchsorted(used, ids[row])]
        np.testing.assert_allclose(found[number, [*range(6), -2, -1]], expected, atol=1e-6)
        places = slice(corpus.positive_starts[number], corpus.positive_starts[number + 1])
        np.testing.assert_allclose(
            ranking.positive_signals["second_model"][places], direct[row, np.searchsorted(used, own[row])], atol=1e-6
        )
    assert len(ranking.positive_signals["second_model"]) == len(corpus.positive_ids)
    assert np.abs(found - ranking.scores).mean() > 0.01, "the two do not say the same"
    assert set(ranking.signals) == {"second_model"}, "the model ranked alone"


def test_a_second_model_changes_no_negative_while_it_does_not_rank(files, other: Path, store: Path, tmp_path: Path) -> None:
    find_knn_neg(ModelSettings(), *files, tmp_path / "alone.jsonl", store=store)
    settings = MineSettings(model=ModelSettings(), second_model=ModelSettings(name_or_path=str(other)))
    summary, _ = mine_to_file(FlagEncoder.load, *files, tmp_path / "two.jsonl", settings, store=store)
    assert (tmp_path / "two.jsonl").read_bytes() == (tmp_path / "alone.jsonl").read_bytes()
    assert f"second model {other}" in str(summary)


def test_the_vectors_of_both_models_are_kept_and_neither_is_loaded_again(other: Path, tmp_path: Path, monkeypatch) -> None:
    train = tmp_path / "train.jsonl"
    train.write_text("".join((EXAMPLE / "train.jsonl").read_text("utf-8").splitlines(keepends=True)[:20]))
    loaded: list[str] = []
    models: list[weakref.ref] = []
    original = LazyModel.load

    def watched(self: LazyModel):
        assert not any(model() for model in models), "one model is in memory at a time"
        loaded.append(self.card.name)
        model = original(self)
        models.append(weakref.ref(model))
        return model

    monkeypatch.setattr(LazyModel, "load", watched)

    def run(output: str):
        settings = MineSettings(
            selection=SelectionSettings(window_start=0, window_end=9, negative_number=3),
            model=ModelSettings(),
            second_model=ModelSettings(name_or_path=str(other)),
            retrievers=ALL,
        )
        return mine_to_file(FlagEncoder.load, train, None, tmp_path / output, settings, store=tmp_path / "vectors")[0]

    first = run("first.jsonl")
    assert sorted(set(loaded)) == sorted([PACKAGED_NAME, str(other)])
    assert first.vectors["stored"] == 0
    loaded.clear()
    again = run("again.jsonl")
    assert again.vectors == {"stored": first.vectors["encoded"], "encoded": 0}
    assert not loaded
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "first.jsonl").read_bytes()


def test_a_released_model_is_loaded_again_and_says_the_same() -> None:
    encoder = FlagEncoder.load(ModelSettings())
    notes: list[str] = []
    before = encode(encoder, ["a bicycle"], "queries", on_progress=lambda *step: notes.append(step[2]))
    encoder.release()
    after = encode(encoder, ["a bicycle"], "queries", on_progress=lambda *step: notes.append(step[2]))
    assert notes.count("loading the model") == 2
    np.testing.assert_array_equal(after, before)


# Fused candidates


@pytest.mark.parametrize("width", [FUSION_DEPTH, 40])
def test_the_candidates_are_the_fused_lists_of_all_retrievers(files, other: Path, store: Path, monkeypatch, width: int) -> None:
    monkeypatch.setattr("hnmine.retrieval.retrievers.FUSION_DEPTH", width)
    ranking, mined = ranking_of(files, settings(other, *ALL, window_end=40), store)
    corpus = mined.inputs.corpus
    seconds = []
    encoder = FlagEncoder.load(ModelSettings(name_or_path=str(other)))
    space = VectorStore(store)
    for side, held in (("queries", corpus.queries), ("passages", corpus.passages)):
        seconds.append(space.vectors(encoder, held, side))
    width, count = min(width, corpus.n_candidates), corpus.n_candidates
    lists = {
        "model": top_k(ranking.query_vectors, ranking.passage_vectors, width, count=count)[1],
        "bm25": LexicalIndex(corpus.passages).top_k(corpus.queries, width, count)[1],
        "second_model": top_k(seconds[0], seconds[1], width, count=count)[1],
    }
    ids, ranks = fused(list(lists.values()), 40)
    np.testing.assert_array_equal(ranking.ids, ids)
    for name, held in zip(lists, ranks, strict=True):
        np.testing.assert_array_equal(ranking.signals[f"rank_{name}"], np.where(held < 0, np.nan, held))
    owners = np.repeat(np.arange(len(ids)), 40)
    np.testing.assert_array_equal(ranking.scores, ranking.score_pairs(owners, ids.ravel()).reshape(ids.shape))
    assert (np.diff(ranking.scores, axis=1) > 0).any(), "or this would test nothing"


def test_a_deeper_ranking_begins_with_the_shallower_one(files, other: Path, store: Path) -> None:
    shallow, _ = ranking_of(files, settings(other, "model", "bm25", window_end=50), store)
    deep, _ = ranking_of(files, settings(other, "model", "bm25", window_end=50), store, depth=150)
    assert deep.ids.shape[1] == 150
    np.testing.assert_array_equal(deep.ids[:, :50], shallow.ids)
    for name, held in shallow.signals.items():
        np.testing.assert_array_equal(deep.signals[name][:, :50], held)


class Words:
    """A lexical index in plain sight: texts that share words with the query, those that share most first."""

    def __init__(self, passages: list[str]) -> None:
        self.passages = passages

    def top_k(self, queries, k, count, *, on_progress=None, should_stop=None):
        scores, ids = np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1, np.int32)
        for row, query in enumerate(queries):
            shared = [len(set(query.split()) & set(text.split())) for text in self.passages[:count]]
            found = sorted((place for place in range(count) if shared[place]), key=lambda place: (-shared[place], place))[:k]
            scores[row, : len(found)], ids[row, : len(found)] = [shared[place] for place in found], found
            if on_progress is not None:
                on_progress(row, len(queries), "words")
        return scores, ids


def small(shuffle: np.random.Generator | None = None, **more: object):
    rows = [Row(1, f"query number {number % 12}", [f"answer {number}"], [], {}) for number in range(40)]
    pool = [f"passage {number} of number {number % 7}" for number in range(60)]
    if shuffle is not None:
        rows, pool = [rows[place] for place in shuffle.permutation(40)], [pool[place] for place in shuffle.permutation(60)]
    return build_corpus(rows, pool, **more)


@pytest.mark.parametrize("retrievers", [("model", "bm25"), ("bm25",), ALL, ("second_model",), ("bm25", "second_model")])
@pytest.mark.parametrize("mode", ["extend", "replace"])
def test_any_retrievers_give_every_query_as_many_candidates_as_there_are(retrievers, mode) -> None:
    corpus = small(pool_mode=mode)
    ranking = rank(corpus, FakeEncoder(), 10_000, second=FakeEncoder(32), retrievers=retrievers, lexical=Words(corpus.passages))
    assert ranking.ids.shape == (len(corpus.queries), corpus.n_candidates)
    assert (np.sort(ranking.ids, axis=1) == np.arange(corpus.n_candidates)).all()
    assert not np.isnan(ranking.scores).any()
    assert set(ranking.signals) == {"second_model", *(f"rank_{name}" for name in retrievers)}


def test_bm25_alone_ranks_by_words_and_then_the_model_goes_on() -> None:
    corpus = small()
    lexical = Words(corpus.passages)
    ranking = rank(corpus, FakeEncoder(), 1_000, retrievers=("bm25",), lexical=lexical)
    plain = rank(corpus, FakeEncoder(), 1_000)
    _, ids = lexical.top_k(corpus.queries, corpus.n_candidates, corpus.n_candidates)
    for query in range(len(corpus.queries)):
        found = ids[query][ids[query] >= 0]
        rest = [passage for passage in plain.ids[query] if passage not in found]
        assert 0 < len(found) < corpus.n_candidates
        assert ranking.ids[query].tolist() == [*found, *rest]


def test_shuffled_rows_and_blocks_of_queries_change_no_ranking(monkeypatch) -> None:
    def ranked(corpus) -> dict[str, list[tuple]]:
        ranking = rank(corpus, FakeEncoder(), 30, second=FakeEncoder(32), retrievers=ALL, lexical=Words(corpus.passages))
        columns = [ranking.scores, *ranking.signals.values()]
        return {
            query: [
                (corpus.passages[passage], *(str(column[number, place]) for column in columns))
                for place, passage in enumerate(ranking.ids[number])
            ]
            for number, query in enumerate(corpus.queries)
        }

    whole = ranked(small())
    assert ranked(small(np.random.default_rng(5))) == whole
    monkeypatch.setattr("hnmine.retrieval.retrievers.QUERIES", 5)
    monkeypatch.setattr("hnmine.retrieval.retrievers.PAIRS", 40)
    assert ranked(small()) == whole


def test_progress_of_all_retrievers_is_one_stage_that_goes_up_to_its_total(monkeypatch) -> None:
    monkeypatch.setattr("hnmine.retrieval.retrievers.QUERIES", 5)
    corpus, told = small(), []
    rank(
        corpus,
        FakeEncoder(),
        30,
        second=FakeEncoder(32),
        retrievers=ALL,
        lexical=Words(corpus.passages),
        on_progress=lambda *each: told.append(each),
    )
    notes = list(dict.fromkeys(note for *_, note in told))
    sides = ["encoding passages", "encoding queries"]
    assert notes == [*sides, *(f"second model: {note}" for note in sides), "searching"]
    done = [done for done, _, note in told if note == "searching"]
    assert done == sorted(done)
    assert done[0] == 0
    assert done[-1] == len(corpus.queries) == told[-1][1]


# Settings


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"retrievers": ()}, "retrievers is 'empty'"),
        ({"retrievers": ("model", "bm52")}, "retrievers holds 'bm52'; they are model, bm25, second_model"),
        ({"retrievers": ("bm25", "bm25")}, "'bm25 bm25'; name each"),
        ({"retrievers": ("model", "second_model")}, "second_model is not set; set it"),
        (
            {"retrievers": ("model", "bm25"), "selection": SelectionSettings(window_end=1_001)},
            "ends at 1,001, .* end it at 1,000 or before",
        ),
    ],
)
def test_what_cannot_rank_is_refused(changes, words) -> None:
    with pytest.raises(SettingsError, match=words):
        MineSettings(**changes)


def test_retrievers_have_one_order_and_the_model_alone_no_limit() -> None:
    assert MineSettings(retrievers=("bm25", "model")) == MineSettings(retrievers=("model", "bm25"))
    assert chosen_retrievers("model", second=False, window_end=10 * FUSION_DEPTH) == ("model",)
    assert retriever_names(RETRIEVERS) == "by the model, BM25 and the second model, fused"
    assert retriever_names(("bm25",)) == "by BM25"
    assert retriever_names(("model",)) == ""


def test_flags_name_them_and_the_way_back_does_too(tmp_path: Path) -> None:
    base = ["mine", "--input_file", "in.jsonl", "--output_file", "out.jsonl"]
    given = ["--retrievers", "bm25", "model", "second_model", "--second_embedder_name_or_path", PACKAGED_NAME, "--precision", "fp32"]
    found = settings_from(parse([*base, *given, "--devices", "cpu", "--pooling_method", "cls"]))
    assert found.retrievers == ALL
    assert found.second_model == ModelSettings(precision="fp32", devices=("cpu",)), "pooling is of its own folder"
    line = command_line(found, input_file="in.jsonl", candidate_pool=None, output_file="out.jsonl")
    assert settings_from(parse(line[3:])) == found
    named = msgspec.structs.replace(found, second_model=second_model_settings(found.model, "some/model"))
    line = command_line(named, input_file="in.jsonl", candidate_pool=None, output_file="out.jsonl")
    assert settings_from(parse(line[3:])) == named
    assert second_model_settings(ModelSettings(), None) is None


# Made again


def test_manifest_names_both_models_and_makes_the_bytes_again(files, other: Path, store: Path, tmp_path: Path, capsys) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(other, tmp_path / "model")
    call = ["mine", "--input_file", str(files[0]), "--candidate_pool", str(files[1]), "--store", str(store), "--quiet"]
    call += ["--second_embedder_name_or_path", str(tmp_path / "model"), "--retrievers", *ALL, "--with_scores"]
    manifest = tmp_path / "out.json"
    assert main([*call, "--output_file", str(tmp_path / "out.jsonl"), "--manifest_file", str(manifest)]) == 0
    told = capsys.readouterr().out
    assert "window       ranks 10-209 by the model, BM25 and the second model, fused" in told
    written = json.loads(manifest.read_text())
    assert written["settings"]["retrievers"] == list(ALL)
    assert written["second_model"]["name"] == str(tmp_path / "model")
    assert len(written["second_model"]["weights_sha256"]) == 64
    assert written["second_model"]["weights_sha256"] != written["model"]["weights_sha256"]
    assert written["summary"]["retrievers"] == list(ALL)
    for row in map(json.loads, (tmp_path / "out.jsonl").read_text("utf-8").splitlines()):
        assert row["neg_scores"] == sorted(row["neg_scores"], reverse=True), "hardest first, though ranks do not descend"

    (tmp_path / "model").rename(moved)
    with pytest.raises(ModelError, match=r"model folder .* does not exist"):
        reproduce(manifest, tmp_path / "again.jsonl", store=store)
    again = ["mine", "--from_manifest", str(manifest), "--output_file", str(tmp_path / "again.jsonl"), "--store", str(store), "--quiet"]
    assert main([*again, "--second_embedder_name_or_path", str(moved)]) == 0
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "out.jsonl").read_bytes()

    altered(moved, 4)
    with pytest.raises(ModelError, match=r"second model .*moved are not those of the manifest .* --second_embedder_name_or_path"):
        reproduce(manifest, tmp_path / "third.jsonl", second_name_or_path=str(moved), store=store)
    assert not (tmp_path / "third.jsonl").exists()


def test_a_second_model_is_not_added_to_a_run_that_had_none(files, store: Path, tmp_path: Path, other: Path) -> None:
    manifest = tmp_path / "out.json"
    find_knn_neg(ModelSettings(), *files, tmp_path / "out.jsonl", store=store, manifest=manifest)
    assert "second_model" not in json.loads(manifest.read_text())
    with pytest.raises(InputError, match="had no second model"):
        reproduce(manifest, tmp_path / "again.jsonl", second_name_or_path=str(other), store=store)


# The app


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Offer models by name: AppTest cannot type one that is not in the list."""
    return lambda *names: monkeypatch.setattr("pages.mine.model.KNOWN", names)


def test_the_app_writes_the_bytes_of_the_command_line(files, fresh: Path, tmp_path: Path, other: Path, store: Path, offered) -> None:
    """The screen's choices, its deeper ranking and its window against the command that the Export screen shows."""
    from hnmine import resources

    offered(str(other))
    shutil.copytree(store, fresh / "vectors")  # what was encoded above
    dataset = Workspace(fresh).add_dataset(NAMES[0], files[0], NAMES[1], files[1]).id
    at = open_app("mine", dataset=dataset)
    at.multiselect(key=f"retrievers-{dataset}").set_value(list(ALL)).run()
    assert "Choose a second model" in texts(at)
    assert at.button(key="mine").disabled
    at.selectbox(key=f"second-model-{dataset}").set_value(str(other)).run()
    assert not at.exception
    assert "ranks by the model, BM25 and the second model, fused" in texts(at)
    at.button(key="mine").click().run()
    assert not at.exception
    job, deadline = resources.jobs().latest(dataset), time.monotonic() + 120
    while resources.jobs().get(job.id).active:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert resources.jobs().get(job.id).error is None
    run_id = str(resources.jobs().get(job.id).result)
    at = open_app("mine", run=run_id)
    assert "Candidates ranked by the model, BM25 and the second model, fused." in texts(at)
    assert at.button(key="mine").label == "Mine again", "the choices are those of the run"
    at.slider(key=f"window-{run_id}").set_range(5, 60).run()
    at.switch_page("pages/views/export.py").run()
    shown = command(at)
    assert shown[shown.index("--retrievers") + 1 :][:3] == list(ALL)
    assert shown[shown.index("--max_fn_rate") + 1] == "0.01", "balanced, unless somebody says otherwise"
    run = resources.open_run(run_id)
    assert run.ranking.depth > 60
    (written,) = resources.export(run, msgspec.structs.replace(run.run.settings, selection=at.session_state[f"draft-{run_id}"].settings))
    out = tmp_path / "cli.jsonl"
    for flag, value in (("--input_file", files[0]), ("--candidate_pool", files[1]), ("--output_file", out)):
        shown[shown.index(flag) + 1] = str(value)
    assert main([*shown[3:], "--store", str(store), "--quiet"]) == 0
    assert written.path.read_bytes() == out.read_bytes()


def test_the_inspect_screen_shows_where_each_retriever_ranked_a_candidate(files, fresh: Path, other: Path, store: Path) -> None:
    from hnmine.runs.jobs import mine_dataset

    shutil.copytree(store, fresh / "vectors")
    space = Workspace(fresh)
    dataset = space.add_dataset(NAMES[0], files[0], NAMES[1], files[1])
    wanted = settings(other, *ALL)
    run_id = mine_dataset(space, dataset.id, wanted, 500, lambda tell: FlagEncoder.load(), lambda *each: None, lambda: False)
    run = resources.open_run(run_id)
    found = details(run, resources.selection(run, wanted.selection), 0)
    assert {"rank_model", "rank_bm25", "rank_second_model", "second_model"} <= set(found.signals)
    (line,) = lines(run, found, 0, np.array([0]), str(found.ids[0]))
    signals = line.more[0]
    assert "rank by BM25" in signals, signals


def test_a_second_model_that_cannot_be_used_is_told(fresh: Path, offered) -> None:
    offered("/no/such/folder")
    at = open_app()
    at.button(key="open-example").click().run()
    at.switch_page("pages/views/mine.py").run()
    dataset = at.session_state["dataset"]
    at.selectbox(key=f"second-model-{dataset}").set_value("/no/such/folder").run()
    assert not at.exception
    assert "model folder" in texts(at)
    assert at.button(key="mine").disabled
    at.selectbox(key=f"second-model-{dataset}").set_value(f"{PACKAGED_NAME} (packaged, no download)").run()
    assert "has no effect" in texts(at)
