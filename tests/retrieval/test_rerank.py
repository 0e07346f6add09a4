"""A reranker's scores: aligned with their pairs, never asked for twice, and on every pair that is written."""

from __future__ import annotations

import io
import json
import random
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hnmine.cli.main import main
from hnmine.core.errors import Cancelled, EncodeError, ModelError, SettingsError
from hnmine.data.corpus import build_corpus
from hnmine.data.rows import Row
from hnmine.data.verdicts import Verdict, match_verdicts
from hnmine.export.formats import FORMATS, write_export
from hnmine.export.scores import teacher_scores, unscored
from hnmine.models.cards import ModelSettings
from hnmine.models.encoder import FlagEncoder
from hnmine.models.reranker import RerankerSettings
from hnmine.retrieval import rerank
from hnmine.retrieval.ranking import Ranking, rank
from hnmine.retrieval.rerank import SIGNAL, Scorer, with_reranker
from hnmine.runs.manifest import read_manifest
from hnmine.runs.mine import Mined, MineSettings, mine, mine_to_file
from hnmine.runs.reproduce import reproduce, settings_of
from hnmine.selection.filters import FILTERS
from hnmine.selection.promotions import apply_promotions
from hnmine.selection.select import select
from hnmine.selection.settings import Reason, SelectionSettings
from hnmine.vectors.store import VectorStore
from tests.conftest import FakeEncoder
from tests.rerankers import FakeReranker, fake_score

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "bikeshare"
ROWS = [
    {"query": f"question {number % 9} about {'xyz'[number % 3]}", "pos": [f"answer {number}", f"reply {number % 4}"]}
    for number in range(12)
]
POOL = [f"passage {number} of the pool, {'abc'[number % 3] * 3}" for number in range(60)]
WINDOW = SelectionSettings(window_start=2, window_end=20, negative_number=4)
RERANKER = RerankerSettings(name_or_path="fake")


@pytest.fixture
def files(write_jsonl) -> tuple[Path, Path]:
    return write_jsonl(ROWS), write_jsonl([{"text": text} for text in POOL], "pool.jsonl")


def run(files: tuple[Path, Path], fake: FakeReranker, *, store: VectorStore | None = None, **changes: Any) -> Mined:
    more = {name: changes.pop(name) for name in ("verdicts", "on_progress", "should_stop", "depth", "signals") if name in changes}
    settings = MineSettings(**({"selection": WINDOW, "reranker": RERANKER} | changes))
    return mine(*files, settings, FakeEncoder, load_reranker=lambda: fake, store=store, **more)


def expected(corpus: Any, query: int, passage: int) -> np.float32:
    return fake_score(corpus.queries[query], corpus.passages[passage])


# The signal


@pytest.mark.parametrize("depth", [None, 7, 500])
@pytest.mark.parametrize("stored", [False, True])
def test_the_signal_is_each_pairs_own_score_as_far_as_it_is_wanted(files, tmp_path: Path, stored: bool, depth: int | None) -> None:
    reranker = FakeReranker()
    settings = RerankerSettings(name_or_path="fake", depth=depth)
    mined = run(files, reranker, store=VectorStore(tmp_path / "store") if stored else None, reranker=settings, depth=40)
    corpus, ranking = mined.inputs.corpus, mined.ranking
    scored = min(depth or WINDOW.window_end, corpus.n_candidates)
    assert ranking.depth == max(40, scored)
    found = ranking.signals["reranker"]
    assert found.dtype == np.float32
    assert found.shape == ranking.ids.shape
    assert np.isnan(found[:, scored:]).all()
    for query in range(len(corpus.queries)):
        for place in range(scored):
            assert found[query, place] == expected(corpus, query, int(ranking.ids[query, place]))
    positives = ranking.positive_signals["reranker"]
    assert positives.dtype == np.float32
    oracle = [expected(corpus, *pair) for pair in zip(corpus.positive_queries.tolist(), corpus.positive_ids.tolist(), strict=True)]
    assert positives.tolist() == oracle
    assert len(set(reranker.asked)) == len(reranker.asked), "no pair twice, though positives are candidates too"
    assert mined.summary.pairs == {"stored": 0, "scored": len(reranker.asked)}
    assert f"reranker     {len(reranker.asked):,} pairs scored, 0 scored before" in str(mined.summary)


def test_shuffled_rows_keep_their_scores(files, write_jsonl) -> None:
    first = run(files, FakeReranker())
    order = np.random.default_rng(4).permutation(len(ROWS))
    second = run((write_jsonl([ROWS[place] for place in order], "other.jsonl"), files[1]), FakeReranker(batch=7))
    assert first.inputs.corpus.queries == second.inputs.corpus.queries
    assert (first.ranking.signals[SIGNAL] == second.ranking.signals[SIGNAL])[:, : WINDOW.window_end].all()
    assert (first.ranking.positive_signals[SIGNAL] == second.ranking.positive_signals[SIGNAL]).all()


def test_the_signal_is_saved_with_the_run(files, tmp_path: Path) -> None:
    mined = run(files, FakeReranker())
    mined.ranking.save(tmp_path)
    opened = Ranking.open(tmp_path)
    assert np.array_equal(opened.signals[SIGNAL], mined.ranking.signals[SIGNAL], equal_nan=True)
    assert np.array_equal(opened.positive_signals[SIGNAL], mined.ranking.positive_signals[SIGNAL])


def test_without_a_reranker_there_is_no_signal_and_nothing_is_said_of_it(files) -> None:
    mined = run(files, FakeReranker(), reranker=None)
    assert mined.ranking.signals == mined.ranking.positive_signals == {}
    assert mined.manifest.get("reranker") is None
    assert "reranker" not in str(mined.summary)


def test_the_guard_reads_the_signal_and_no_other_signal_is_made_for_it(files) -> None:
    guarded = SelectionSettings(window_start=2, window_end=20, negative_number=4, positive_score="mean", reranker_margin=0.5)
    mined = run(files, FakeReranker(), selection=guarded)
    corpus, ranking, selection = mined.inputs.corpus, mined.ranking, mined.selection
    assert set(ranking.signals) == {"reranker"}
    rejected = 0
    for query in range(len(corpus.queries)):
        limit = np.mean([expected(corpus, query, int(passage)) for passage in corpus.positives(query)]) - 0.5
        for place in range(guarded.window_start, guarded.window_end):
            reason = int(selection.reasons[query, place])
            above = expected(corpus, query, int(ranking.ids[query, place])) > np.float32(limit)
            if reason in (Reason.CHOSEN, Reason.NOT_DRAWN, FILTERS["reranker_margin"].reason):
                assert (reason == FILTERS["reranker_margin"].reason) == above
                rejected += above
    assert rejected == mined.summary.funnel["not_positive"] - mined.summary.funnel["past_reranker_margin"] > 5
    # A deeper ranking of the same depth of scores, as the app has it, chooses the same.
    deeper = run(files, FakeReranker(), selection=guarded, reranker=RerankerSettings(name_or_path="fake", depth=20), depth=60, signals=True)
    assert (deeper.selection.negatives == selection.negatives).all()
    with pytest.raises(SettingsError, match="reranker_margin needs a reranker, and there is none; name one"):
        MineSettings(selection=guarded)


# Nothing twice


def test_a_second_run_scores_nothing_another_window_what_is_new_and_other_weights_all(files, tmp_path: Path) -> None:
    def pairs(reranker: FakeReranker, end: int) -> int:
        before = len(reranker.asked)
        mined = run(
            files, reranker, store=VectorStore(tmp_path), selection=SelectionSettings(window_start=0, window_end=end, negative_number=3)
        )
        assert mined.summary.pairs["scored"] == len(reranker.asked) - before
        return len(reranker.asked) - before

    reranker = FakeReranker()
    first = pairs(reranker, 20)
    assert first > 9 * 20
    assert pairs(reranker, 20) == 0
    assert pairs(reranker, 10) == 0
    deeper = pairs(reranker, 30)
    assert 0 < deeper <= 9 * 10
    assert len(set(reranker.asked)) == len(reranker.asked)
    assert pairs(FakeReranker(name="other"), 20) == first


@pytest.mark.parametrize("how", ["cancelled", "killed"])
def test_what_was_scored_before_a_stop_is_not_scored_again(files, tmp_path: Path, how: str) -> None:
    whole = run(files, FakeReranker())
    total = whole.summary.pairs["scored"]
    first = FakeReranker(fail_after=64 if how == "killed" else None)
    with pytest.raises((Cancelled, RuntimeError)):
        run(files, first, store=VectorStore(tmp_path), should_stop=lambda: how == "cancelled" and len(first.asked) >= 64)
    assert 64 <= len(first.asked) < total
    second = FakeReranker()
    mined = run(files, second, store=VectorStore(tmp_path))
    assert len(second.asked) == total - len(first.asked)
    assert not set(first.asked) & set(second.asked)
    assert mined.summary.pairs == {"stored": len(first.asked), "scored": len(second.asked)}
    assert np.array_equal(mined.ranking.signals[SIGNAL], whole.ranking.signals[SIGNAL], equal_nan=True)


def test_blocks_change_nothing_and_progress_counts_every_pair_once(files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(files, FakeReranker())
    monkeypatch.setattr(rerank, "BLOCK", 50)
    for store in (None, VectorStore(tmp_path)):
        told: list[tuple[int, int]] = []
        reranker = FakeReranker(batch=8)
        note = "scoring pairs"
        mined = run(files, reranker, store=store, on_progress=lambda *each: told.append(each[:2]) if each[2] == note else None)  # noqa: B023
        assert np.array_equal(mined.ranking.signals[SIGNAL], whole.ranking.signals[SIGNAL], equal_nan=True)
        assert [done for done, _ in told] == sorted({done for done, _ in told})
        assert {total for _, total in told} == {len(reranker.asked)} == {told[-1][0]}


def test_a_score_that_is_no_number_is_refused(files, tmp_path: Path) -> None:
    class Broken(FakeReranker):
        def score(self, pairs, **more):
            for places, scores in super().score(pairs, **more):
                yield places, np.where(places == 5, np.float32("nan"), scores)

    for store in (None, VectorStore(tmp_path)):
        with pytest.raises(EncodeError, match=r"for the query 'question .* and the passage '"):
            run(files, Broken(), store=store)

    class Lazy(FakeReranker):
        def score(self, pairs, **more):
            yield from list(super().score(pairs, **more))[1:]

    for store in (None, VectorStore(tmp_path)):
        with pytest.raises(EncodeError, match=r"the query 'question .* and the passage '"):
            run(files, Lazy(), store=store)


def test_a_reranker_that_cannot_say_what_decides_its_scores_is_not_stored_for(files, tmp_path: Path) -> None:
    class Unknown(FakeReranker):
        def identity(self) -> None:
            return None

    first, second = Unknown(), Unknown()
    for reranker in (first, second):
        run(files, reranker, store=VectorStore(tmp_path))
    assert sorted(first.asked) == sorted(second.asked)


# Teacher scores


TEACHER = {"with_scores": True, "score_source": "reranker"}


def far(reranker_depth: int = 5) -> dict[str, Any]:
    """Settings by which most negatives lie behind what was scored, and some are back-filled."""
    selection = SelectionSettings(window_start=8, window_end=12, negative_number=9)
    return {"selection": selection, "reranker": RerankerSettings(name_or_path="fake", depth=reranker_depth), **TEACHER}


def test_every_pair_that_is_written_has_its_own_score(files, tmp_path: Path) -> None:
    promoted = Verdict(query="question 3 about x", passage=POOL[50], verdict="positive")
    reranker = FakeReranker()
    mined = run(files, reranker, verdicts=[promoted], store=VectorStore(tmp_path), **far())
    corpus, selection, scores = mined.inputs.corpus, mined.selection, mined.scores
    assert selection.random_filled.any()
    assert scores is not None
    held = selection.negatives >= 0
    assert np.isnan(scores.negatives[~held]).all()
    for query, place in zip(*np.nonzero(held), strict=True):
        assert scores.negatives[query, place] == expected(corpus, query, selection.negatives[query, place])
    oracle = [expected(corpus, *pair) for pair in zip(corpus.positive_queries.tolist(), corpus.positive_ids.tolist(), strict=True)]
    assert scores.positives.tolist() == oracle
    assert len(set(reranker.asked)) == len(reranker.asked)
    # The signal itself stays as it was: a guard sees the same whether scores are written or not.
    assert np.isnan(mined.ranking.signals[SIGNAL][:, 5:]).all()


def test_a_stored_run_asks_only_for_what_its_signal_and_the_store_lack(files, tmp_path: Path) -> None:
    """As the app exports: the promotion came after the run, the window moved."""
    store = VectorStore(tmp_path)
    mined = run(files, FakeReranker(), store=store)
    corpus, ranking = apply_promotions(
        mined.inputs.corpus,
        mined.ranking,
        match_verdicts(mined.inputs.corpus, [Verdict(query=ROWS[3]["query"], passage=POOL[50], verdict="positive")]),
    )
    near = select(corpus, ranking, SelectionSettings(window_start=0, window_end=20, negative_number=2))
    wide = select(corpus, ranking, SelectionSettings(window_start=0, window_end=20, negative_number=40))
    lacking = int(np.isnan(ranking.positive_signals[SIGNAL]).sum())
    assert [len(part) for part in unscored(ranking, corpus, near)] == [lacking, lacking]
    queries, passages = unscored(ranking, corpus, wide)
    reranker = FakeReranker()
    scorer = Scorer(reranker, corpus, store)
    assert scorer.missing(queries, passages) == len(queries) > 9
    first = teacher_scores(ranking, corpus, wide, lambda: scorer)
    assert len(reranker.asked) == len(queries)
    assert scorer.missing(queries, passages) == 0
    again = teacher_scores(ranking, corpus, wide, lambda: Scorer(FakeReranker(fail_after=0), corpus, store))
    assert np.array_equal(first.negatives, again.negatives, equal_nan=True)
    plain = select(mined.inputs.corpus, mined.ranking, SelectionSettings(window_start=0, window_end=20, negative_number=2))
    teacher_scores(mined.ranking, mined.inputs.corpus, plain, lambda: pytest.fail("nothing is lacking"))


@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if form.scores])
def test_every_format_with_a_place_for_scores_gets_them(files, tmp_path: Path, name: str) -> None:
    mined = run(files, FakeReranker(), **far())
    path = tmp_path / f"out{FORMATS[name].suffix}"
    corpus = mined.inputs.corpus
    write_export(path, name, mined.inputs.rows, corpus, mined.selection, scores=mined.scores)
    if name.endswith("-parquet"):
        from pyarrow import parquet

        records = parquet.read_table(path).to_pylist()
        values = [value for record in records for value in (record["scores"] if "scores" in record else [record["score"]])]
        known = {float(fake_score(query, passage)) for query in corpus.queries for passage in corpus.passages}
        assert values
        assert set(values) <= known
        return
    if name == "datasets":
        import datasets

        rows = datasets.load_from_disk(str(path))["train"]
        content = json.dumps([[row["pos_scores"], row["neg_scores"]] for row in rows]).encode()
    else:
        content = path.read_bytes()
    if name == "beir":
        content = zipfile.ZipFile(io.BytesIO(content)).read("hard_negatives.jsonl")
    text = content.decode("utf-8-sig")
    assert "nan" not in text.lower()
    found = re.findall(r"(?<![\w.-])-?\d+\.\d{3,}(?![\w.])", text)
    assert found
    assert {np.float32(number) for number in found} <= {
        fake_score(query, passage) for query in corpus.queries for passage in corpus.passages
    }


def test_flagembedding_trains_from_the_file_by_distillation(files, tmp_path: Path) -> None:
    from FlagEmbedding.abc.finetune.embedder.AbsArguments import AbsEmbedderDataArguments
    from FlagEmbedding.abc.finetune.embedder.AbsDataset import AbsEmbedderTrainDataset

    out = tmp_path / "out.jsonl"
    settings = MineSettings(**far())
    mine_to_file(FakeEncoder, *files, out, settings, load_reranker=FakeReranker)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    for row in rows:
        assert [np.float32(score) for score in row["pos_scores"]] == [fake_score(row["query"], text) for text in row["pos"]]
        assert [np.float32(score) for score in row["neg_scores"]] == [fake_score(row["query"], text) for text in row["neg"]]
    arguments = AbsEmbedderDataArguments(
        train_data=[str(out)],
        cache_path=str(tmp_path / "cache"),
        train_group_size=5,
        knowledge_distillation=True,
        query_instruction_for_retrieval="",
        query_instruction_format="{}{}",
    )
    data = AbsEmbedderTrainDataset(arguments, None)
    random.seed(2)
    for number, row in enumerate(rows):
        query, passages, scores = data[number]
        assert query == row["query"]
        assert [np.float32(score) for score in scores] == [fake_score(query, passage) for passage in passages]


def test_scores_of_the_model_stay_what_they_were(files, tmp_path: Path) -> None:
    plain = run(files, FakeReranker(), reranker=None, with_scores=True)
    beside = run(files, FakeReranker(), with_scores=True)
    assert np.array_equal(plain.scores.negatives, beside.scores.negatives, equal_nan=True)
    assert np.array_equal(beside.scores.positives, beside.ranking.positive_scores)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"score_source": "reranker", "with_scores": True}, "there is no reranker; name one, or leave score_source out"),
        ({"score_source": "reranker", "reranker": RERANKER}, "no scores are written; set with_scores, or leave score_source out"),
        ({"score_source": "teacher"}, "'teacher'; it is one of: model, reranker"),
    ],
)
def test_a_source_without_scores_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        MineSettings(**values)


# Whole runs of a real cross-encoder


def command(folder: Path, cross_encoder: Path, output: str, *more: str) -> list[str]:
    files = [
        "--input_file",
        str(folder / "train.jsonl"),
        "--candidate_pool",
        str(folder / "pool.jsonl"),
        "--output_file",
        str(folder / output),
    ]
    named = ["--reranker_name_or_path", str(cross_encoder), "--with_scores", "--score_source", "reranker", "--store", str(folder / "store")]
    window = ["--range_for_sampling", "3-12", "--negative_number", "5", "--quiet", "--json"]
    return ["mine", *files, *named, *window, *more]


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """A folder with the first rows and passages of the example."""
    for name, count in (("train", 10), ("pool", 40)):
        lines = (EXAMPLE / f"{name}.jsonl").read_text("utf-8").splitlines()[:count]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return tmp_path


def test_the_command_line_scores_resumes_and_does_it_again_from_the_manifest(few: Path, cross_encoder: Path, capsys) -> None:
    from FlagEmbedding import FlagReranker

    out, manifest = few / "out.jsonl", few / "out.json"
    assert main(command(few, cross_encoder, "out.jsonl", "--manifest_file", str(manifest), "--precision", "fp32")) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["pairs"]["stored"] == 0
    assert summary["pairs"]["scored"] >= summary["queries"] * 12
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    pairs = [(row["query"], text) for row in rows for text in (*row["pos"], *row["neg"])]
    scores = [score for row in rows for score in (*row["pos_scores"], *row["neg_scores"])]
    oracle = np.array(FlagReranker(str(cross_encoder), devices="cpu").compute_score(pairs))
    assert np.abs(np.array(scores) - oracle).max() < 1e-4
    assert read_manifest(manifest).reranker["precision"] == "fp32"

    # Nothing is left to be done: in a process of its own, neither torch nor a model is loaded.
    code = (
        "import sys; from hnmine.cli.main import main; main(sys.argv[1:]); "
        "print([n for n in ('torch', 'FlagEmbedding') if n in sys.modules])"
    )
    again = command(few, cross_encoder, "again.jsonl", "--precision", "fp32")
    done = subprocess.run([sys.executable, "-c", code, *again], capture_output=True, text=True, cwd=ROOT, timeout=240, check=True)
    told, loaded = done.stdout.splitlines()
    assert json.loads(told)["pairs"] == {"stored": summary["pairs"]["scored"], "scored": 0}
    assert loaded == "[]"
    assert (few / "again.jsonl").read_bytes() == out.read_bytes()

    assert main(["cache", "--store", str(few / "store")]) == 0
    assert f"{summary['pairs']['scored']:,} scores of pairs, float32" in capsys.readouterr().out
    third = few / "third.jsonl"
    assert main(["mine", "--from_manifest", str(manifest), "--output_file", str(third), "--no_store", "--quiet"]) == 0
    assert third.read_bytes() == out.read_bytes()


def test_a_process_killed_while_it_scores_has_kept_what_it_scored(few: Path, cross_encoder: Path) -> None:
    code = (
        "import sys; from hnmine.vectors import store as vectors; from hnmine.models import flag_reranker as crossencoder; "
        "from hnmine.cli.main import main; vectors.FLUSH_SECONDS = 0.0; "
        "vectors.FLUSH_FRACTION = 0.0; crossencoder.TOKEN_BUDGET_CPU = {'fp32': 128}; sys.exit(main(sys.argv[1:]))"
    )
    arguments = command(few, cross_encoder, "killed.jsonl", "--precision", "fp32")
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)

    def kept() -> int:
        store = few / "store"
        return sum(each.rows for each in VectorStore(store).usage() if each.dimension == 1) if store.exists() else 0

    try:
        deadline = time.monotonic() + 120
        while not kept() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = kept()
    assert before > 0
    settings = MineSettings(
        selection=SelectionSettings(window_start=3, window_end=12, negative_number=5),
        model=ModelSettings(precision="fp32"),
        reranker=RerankerSettings(name_or_path=str(cross_encoder), precision="fp32"),
        **TEACHER,
    )
    files = few / "train.jsonl", few / "pool.jsonl", few / "out.jsonl"
    summary, _ = mine_to_file(lambda: FlagEncoder.load(settings.model), *files, settings, store=few / "store")
    assert summary.pairs["stored"] == before
    assert summary.pairs["scored"] > 0


# Manifests


@pytest.fixture
def manifested(files, tmp_path: Path) -> Path:
    mine_to_file(
        Weighed, *files, tmp_path / "out.jsonl", MineSettings(model=ModelSettings(), **far()), load_reranker=FakeReranker,
        manifest=tmp_path / "out.json",
    )  # fmt: skip
    return tmp_path


class Weighed(FakeEncoder):
    def describe(self) -> dict[str, Any]:
        return super().describe() | {"weights_sha256": "aa" * 32}


def test_a_manifest_knows_the_reranker_and_refuses_other_weights(manifested: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hnmine.models.encoder import FlagEncoder
    from hnmine.models.flag_reranker import CrossEncoder

    asked: list[RerankerSettings] = []
    given = FakeReranker()

    def load(settings: RerankerSettings, **_: Any) -> FakeReranker:
        asked.append(settings)
        return given

    monkeypatch.setattr(FlagEncoder, "load", lambda settings, **_: Weighed())
    monkeypatch.setattr(CrossEncoder, "load", load)
    assert read_manifest(manifested / "out.json").reranker == FakeReranker().describe()
    summary = reproduce(manifested / "out.json", manifested / "again.jsonl", reranker_name_or_path="elsewhere", devices=("cpu",))
    assert (manifested / "again.jsonl").read_bytes() == (manifested / "out.jsonl").read_bytes()
    assert summary.notes[-1] == "the bytes are those of the manifest"
    assert asked == [RerankerSettings(name_or_path="elsewhere", depth=5, devices=("cpu",), precision="fp32")]
    given.weights = "dd" * 32
    with pytest.raises(ModelError, match=r"weights of the reranker fake are not those .* name the right one with --reranker_name_or_path"):
        reproduce(manifested / "out.json", manifested / "third.jsonl")
    unknown = json.loads((manifested / "out.json").read_text()) | {"reranker": None}
    (manifested / "unknown.json").write_text(json.dumps(unknown))
    with pytest.raises(ModelError, match="has no fingerprint of the weights of the reranker"):
        reproduce(manifested / "unknown.json", manifested / "third.jsonl")


def test_a_manifest_without_a_reranker_is_read_as_before(manifested: Path) -> None:
    older = json.loads((manifested / "out.json").read_text())
    del older["reranker"], older["settings"]["reranker"], older["settings"]["score_source"]
    (manifested / "older.json").write_text(json.dumps(older))
    settings = settings_of(read_manifest(manifested / "older.json"))
    assert settings.reranker is None
    assert settings.score_source == "model"


def test_a_corpus_of_few_candidates_is_scored_whole(fake_encoder: FakeEncoder) -> None:
    corpus = build_corpus([Row(query="a", pos=["b"], neg=[], fields={}, line=1)], ["c"])
    ranking = with_reranker(rank(corpus, fake_encoder, 10), corpus, Scorer(FakeReranker(), corpus, None), 10)
    assert ranking.signals[SIGNAL].shape == (1, 2)
    assert np.isfinite(ranking.signals[SIGNAL]).all()
