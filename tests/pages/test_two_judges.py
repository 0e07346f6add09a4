"""Two judges that contradict each other: the grades of one count, everywhere the same, and each place names it."""

from __future__ import annotations

import re

import msgspec
import numpy as np

from hnmine import resources
from hnmine.models.served.server import Server
from hnmine.review.audit_sample import pairs_in
from hnmine.review.judge_settings import JudgeSettings
from hnmine.review.judged_audit import to_judge
from hnmine.review.judgements import Judgement
from hnmine.review.store import ReviewStore
from hnmine.runs.judge_setup import write_judge
from hnmine.runs.selection_files import kept_sample
from hnmine.runs.workspace import Workspace
from pages.shared import audit, judging
from tests.pages.conftest import go, open_app, press, texts


def counted(run: str, judge: str, grade: int, pairs: int) -> None:
    """Check that one judge counts on all screens, with one grade on some pairs."""
    opened = resources.open_run(run)
    found = judging.graded(opened)
    assert found.judge[0] == judge
    assert len(found.by_pair) == len(opened.judged.queries) == pairs
    assert set(found.grades.tolist()) == set(opened.judged.grades.tolist()) == {float(grade)}
    signal = opened.ranking.signals["judge"]
    assert set(np.unique(signal[~np.isnan(signal)]).tolist()) == {float(grade)}
    chosen = resources.selection(opened, opened.run.settings.selection)
    audited = audit.current(opened, chosen)
    assert audited is not None
    assert audited.judged is not None
    assert [name for name, _ in audited.judged.judges] == [judge]
    assert set(audited.judged.grades.tolist()) == {float(grade)}
    at = open_app("quality", run=run)
    shown = {each.label: str(each.value) for each in at.metric}
    assert shown["Judged"] == f"{pairs:,}"
    assert shown["Judged relevant"] == (f"{pairs:,}" if grade >= 2 else "0")
    said = texts(go(at, "export"))
    assert re.search(rf"Judge: {judge}, prompt \S+: {pairs:,} pairs graded", said)
    assert f"Judge: {judge}." in said, "the audit"


def test_one_judge_counts_everywhere(run: str, space: Workspace, store: ReviewStore) -> None:
    press(open_app("quality", run=run), "audit-draw")
    sample = kept_sample(space, run, space.run(run).settings.selection)
    assert sample is not None
    opened = resources.open_run(run)
    corpus = opened.inputs.corpus
    drawn = dict.fromkeys(zip(*(ids.tolist() for ids in pairs_in(to_judge(sample), corpus)), strict=True))
    pairs = [(corpus.queries[query], corpus.passages[passage]) for query, passage in drawn]
    store.decide(pairs[:60], "negative", "Ann")
    settings = JudgeSettings(model="generous", server=Server(address="http://127.0.0.1:9/v1"))
    resources.judgements().add([Judgement(*pair, 3, "yes", "generous", settings.prompt.version) for pair in pairs])
    resources.judgements().add([Judgement(*pair, 0, "no", "strict", "1") for pair in pairs[:-5]])
    counted(run, "strict", 0, len(pairs) - 5)
    write_judge(space.root, msgspec.structs.replace(settings, model="has judged nothing"))
    counted(run, "strict", 0, len(pairs) - 5)
    write_judge(space.root, settings)
    counted(run, "generous", 3, len(pairs))
