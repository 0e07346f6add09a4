"""Verdicts on disk: nothing lost between threads, processes and kills; undo and redo without end, each reviewer on their own."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hnmine.core.errors import SettingsError, WorkspaceError
from hnmine.data.verdicts import CHOICES, Choice, Verdict, pair_key, parse_time, read_verdicts, sorted_by_time, verdict_lines
from hnmine.review import batches
from hnmine.review.store import Reverted, ReviewStore
from hnmine.runs.workspace import Workspace

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> ReviewStore:
    return ReviewStore(tmp_path / "reviews.sqlite")


def state(store: ReviewStore) -> dict[tuple[str, str], tuple[str, str]]:
    return {(each.query, each.passage): (each.verdict, each.who) for each in store.verdicts()}


def test_a_verdict_is_there_again_with_who_and_when(store: ReviewStore) -> None:
    assert store.version() == 0
    assert store.verdicts() == []
    batch = store.decide([("a query", "a passage")], "relevant", "Ann")
    (found,) = ReviewStore(store.path).verdicts()
    assert (found.query, found.passage, found.verdict, found.who) == ("a query", "a passage", "relevant", "Ann")
    assert found.when.endswith("+00:00")
    assert store.version() == 1
    assert store.verdict("A  QUERY", " a passage ") == found  # folded texts are the same
    assert store.verdict("a query", "another") is None
    assert store.pairs(batch) == [("a query", "a passage")]


def test_the_latest_verdict_of_a_pair_counts_and_nothing_is_overwritten(store: ReviewStore) -> None:
    store.decide([("q", "p")], "negative", "Ann")
    store.decide([("Q", "p ")], "positive", "Bob")
    assert state(store) == {("Q", "p "): ("positive", "Bob")}
    with sqlite3.connect(store.path) as db:
        assert db.execute("SELECT before, after FROM events ORDER BY id").fetchall() == [(None, "negative"), ("negative", "positive")]
        with pytest.raises(sqlite3.IntegrityError, match="only ever added"):
            db.execute("UPDATE events SET after = 'relevant'")
        with pytest.raises(sqlite3.IntegrityError, match="only ever added"):
            db.execute("DELETE FROM events")


def test_many_pairs_are_one_decision_and_one_undo(store: ReviewStore) -> None:
    pairs = [("q", f"p{number}") for number in range(1_000)]
    store.decide(pairs[:1], "negative", "Ann")
    batch = store.decide([*pairs, ("Q", "P0")], "relevant", "Ann")  # one of them twice
    assert len(store.pairs(batch)) == 1_000
    decision = store.recent(10)[0]
    assert (decision.pairs, decision.verdict.verdict) == (1_000, "relevant")
    undone = store.undo("Ann")
    assert undone is not None
    assert (len(undone.pairs), undone.skipped) == (1_000, 0)
    assert undone.verdicts[:2] == ("negative", None)
    assert state(store) == {("q", "p0"): ("negative", "Ann")}
    assert store.redo("Ann") is not None
    assert len(state(store)) == 1_000
    assert store.decide([], "relevant", "Ann") == 0


def test_undo_leaves_what_somebody_else_has_decided_since(store: ReviewStore) -> None:
    store.decide([("q", "one"), ("q", "two")], "relevant", "Ann")
    store.decide([("q", "one")], "negative", "Bob")
    undone = store.undo("Ann")
    assert undone is not None
    assert (undone.pairs, undone.skipped) == ((("q", "two"),), 1)
    assert state(store) == {("q", "one"): ("negative", "Bob")}
    assert store.undo("Ann") is None
    # Undoing a change of another's verdict puts theirs back, with their name.
    store.decide([("q", "one")], "positive", "Ann")
    store.undo("Ann")
    assert state(store) == {("q", "one"): ("negative", "Bob")}


def test_undo_works_again_once_the_other_has_taken_theirs_back(store: ReviewStore) -> None:
    store.decide([("q", "p")], "relevant", "Ann")
    store.decide([("q", "p")], "negative", "Bob")
    store.undo("Bob")
    assert state(store) == {("q", "p"): ("relevant", "Ann")}
    undone = store.undo("Ann")
    assert undone is not None
    assert undone.skipped == 0
    assert state(store) == {}


def test_a_new_decision_ends_what_can_be_redone_for_that_reviewer_alone(store: ReviewStore) -> None:
    for who in ("Ann", "Bob"):
        store.decide([("q", who)], "relevant", who)
        store.undo(who)
        assert store.history(who) == (False, True)
    store.decide([("q", "new")], "negative", "Ann")
    assert store.history("Ann") == (True, False)
    assert store.redo("Ann") is None
    assert store.history("Bob") == (False, True)
    assert store.redo("Bob") is not None
    assert store.history("nobody") == (False, False)


def test_undo_goes_on_after_a_restart(store: ReviewStore) -> None:
    for number in range(30):
        store.decide([("q", f"p{number}")], "relevant", "Ann")
    for _ in range(30):
        assert ReviewStore(store.path).undo("Ann") is not None
    assert ReviewStore(store.path).undo("Ann") is None
    for _ in range(30):
        assert ReviewStore(store.path).redo("Ann") is not None
    assert len(ReviewStore(store.path).verdicts()) == 30


def test_the_last_decisions_are_those_in_force_newest_first(store: ReviewStore) -> None:
    for number in range(12):
        store.decide([("q", f"p{number}")], CHOICES[number % 5], "Ann" if number % 2 else "Bob")
    store.decide([("q", "p3")], None, "Ann")
    store.decide([("q", "p11")], "negative", "Ann")
    store.undo("Ann")
    assert [each.verdict.passage for each in store.recent(4)] == ["p11", "p10", "p9", "p8"]
    assert [each.verdict.passage for each in store.recent(5, "Ann")] == ["p11", "p9", "p7", "p5", "p1"]
    assert len(store.recent(100)) == 11


def test_a_decision_tells_for_how_many_pairs_it_still_stands(store: ReviewStore) -> None:
    batch = store.decide([("q", f"p{number}") for number in range(5)], "relevant", "Ann")
    store.decide([("q", "p1")], "negative", "Bob")
    store.decide([("q", "p4"), ("q", "p0")], None, "Bob")
    assert [(each.batch, each.pairs) for each in store.recent(5)] == [(batch + 1, 1), (batch, 2)]
    assert store.pairs(batch) == [("q", "p2"), ("q", "p3")]


def test_a_screen_catches_up_from_where_it_was(store: ReviewStore) -> None:
    store.decide([("q", "p")], "relevant", "Ann")
    seen = store.version()
    store.decide([("q", "other")], "negative", "Bob")
    store.undo("Ann")
    changes = store.changes(seen)
    assert [(each.passage, each.verdict, each.who) for each in changes] == [("other", "negative", "Bob"), ("p", None, "Ann")]
    assert store.changes(store.version()) == []


def test_verdicts_travel_as_lines(store: ReviewStore, tmp_path: Path) -> None:
    store.decide([("q", "öl\n\t\0\u2028"), ("q", "b")], "relevant", "Ann")
    store.decide([("q", "c")], "unsure", "Bob")
    file = tmp_path / "verdicts.jsonl"
    file.write_bytes(b"".join(verdict_lines(store.verdicts())))
    other = ReviewStore(tmp_path / "other.sqlite")
    done = other.add(read_verdicts(file), "Cy")
    assert (done.new, done.changed, done.same, done.older) == (3, 0, 0, 0)
    assert other.verdicts() == store.verdicts()  # who and when travel too
    again = other.add(read_verdicts(file), "Cy")
    assert (again.batch, again.new, again.changed, again.same) == (0, 0, 0, 3)
    other.undo("Cy")  # the import as a whole; the one that changed nothing is no step
    assert other.verdicts() == []


def test_an_import_does_not_overwrite_what_was_decided_later(store: ReviewStore) -> None:
    store.decide([("q", "p"), ("q", "r")], "negative", "Ann")
    done = store.add(
        [
            Verdict(query="q", passage="p", verdict="relevant", when="2020-01-01T00:00:00+00:00", who="Old"),
            Verdict(query="q", passage="r", verdict="relevant", when="2999-01-01T00:00:00", who="New"),
            Verdict(query="q", passage="s", verdict="unsure"),
        ],
        "Bob",
    )
    assert (done.new, done.changed, done.same, done.older) == (1, 1, 0, 1)
    assert state(store) == {("q", "p"): ("negative", "Ann"), ("q", "r"): ("relevant", "New"), ("q", "s"): ("unsure", "Bob")}


def said(verdict: Choice, when: str, who: str = "") -> Verdict:
    return Verdict(query="q", passage="p", verdict=verdict, when=when, who=who)


@pytest.mark.parametrize("no_time", ["", "yesterday"])
def test_of_two_verdicts_in_one_import_the_later_counts(store: ReviewStore, no_time: str) -> None:
    done = store.add(
        [said("negative", "2026-05-02T00:30:00+02:00"), said("relevant", "2026-05-01T23:00:00Z"), said("unsure", no_time)], "Ann"
    )
    assert (done.new, done.changed, done.same, done.older) == (1, 0, 0, 0)
    assert state(store) == {("q", "p"): ("relevant", "Ann")}


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_in_whatever_order_files_are_imported_the_same_stands(store: ReviewStore, order: tuple[int, ...]) -> None:
    files = [said("relevant", "2026-05-01T00:00:00Z", "A"), said("relevant", "2026-05-05T00:00:00Z", "B")]
    files += [said("negative", "2026-05-03T00:00:00Z", "C"), said("relevant", "2026-04-01T00:00:00Z", "D")]
    for place in order:
        store.add([files[place]], "Ann")
    assert store.verdicts() == [files[1]]
    again = store.add(files, "Ann")
    assert (again.batch, again.new, again.changed) == (0, 0, 0)


class Plain:
    """What an import means, pair by pair: the current verdict of each pair, and the last of each reviewer, with their times."""

    def __init__(self) -> None:
        self.current: dict[str, Verdict] = {}
        self.own: dict[tuple[str, str], Verdict] = {}

    def add(self, verdicts: list[Verdict], who: str) -> tuple[int, int, int, int]:
        counts = {"new": 0, "changed": 0, "same": 0, "older": 0}
        latest = {(each.passage, each.who or who): each for each in sorted_by_time(verdicts)}
        for passage in {each.passage for each in verdicts}:
            given = sorted_by_time([each for each in sorted_by_time(verdicts) if each.passage == passage])
            last, held = given[-1], self.current.get(passage)
            older = held is not None and bool(last.when) and parse_time(last.when) < parse_time(held.when)
            later = held is None or parse_time(last.when) > parse_time(held.when)
            kind = "new" if held is None else "same" if held.verdict == last.verdict else "older" if older else "changed"
            counts[kind] += 1
            counted = later if kind == "same" else kind != "older"
            for (about, name), each in latest.items():
                before = self.own.get((passage, name))
                if about == passage and ((each is last and counted) or before is None or parse_time(each.when) > parse_time(before.when)):
                    self.own[passage, name] = each
            if counted:
                self.current[passage] = last
        return counts["new"], counts["changed"], counts["same"], counts["older"]


TIMES = ["2026-05-01T00:00:00Z", "2026-05-01T02:00:00+02:00", "2026-05-02T00:00:00Z", "2026-05-03T00:00:00Z"]
GIVEN = st.builds(
    Verdict,
    query=st.just("q"),
    passage=st.sampled_from("abcdef"),
    verdict=st.sampled_from(CHOICES),
    when=st.sampled_from(TIMES),
    who=st.sampled_from(["Ann", "Bob", ""]),
)


@given(files=st.lists(st.lists(GIVEN, max_size=12), min_size=1, max_size=4))
@hypothesis_settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_imports_are_those_of_pair_by_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[list[Verdict]]) -> None:
    monkeypatch.setattr("hnmine.review.batches._AT_ONCE", 2)
    path = tmp_path / "import.sqlite"
    path.unlink(missing_ok=True)
    store, plain = ReviewStore(path), Plain()
    for file in files:
        done = store.add(file, "Cy")
        assert (done.new, done.changed, done.same, done.older) == plain.add(file, "Cy")
        assert {each.passage: (each.verdict, each.when) for each in store.verdicts()} == {
            passage: (each.verdict, each.when) for passage, each in plain.current.items()
        }
        own = {(each.passage, each.who): (each.verdict, each.when) for each in store.by_reviewer()}
        assert own == {key: (each.verdict, each.when) for key, each in plain.own.items()}
    while store.undo("Cy") is not None:
        pass
    assert (store.verdicts(), store.by_reviewer()) == ([], [])
    store.close()


def test_texts_that_are_no_unicode_are_kept(store: ReviewStore) -> None:
    store.decide([("q\ud800", "p")], "relevant", "Ann")
    assert store.verdicts()[0].query == "q\ud800"
    assert store.undo("Ann").pairs == (("q\ud800", "p"),)  # type: ignore[union-attr]


def test_an_unknown_verdict_is_refused(store: ReviewStore) -> None:
    with pytest.raises(SettingsError, match="'maybe'; it must be one of negative, relevant, positive, junk, unsure"):
        store.decide([("q", "p")], "maybe", "Ann")  # type: ignore[arg-type]


def test_what_was_taken_back_does_not_return_when_a_later_decision_is_taken_back_too(store: ReviewStore) -> None:
    store.decide([("q", "p")], "relevant", "Ann")
    store.decide([("q", "p")], "negative", "Bob")
    undone = store.undo("Ann")
    assert undone is not None
    assert (undone.pairs, undone.skipped) == ((), 1)
    assert store.undo("Bob").verdicts == (None,)  # type: ignore[union-attr]
    assert state(store) == {}
    assert store.redo("Ann").verdicts == ("relevant",)  # type: ignore[union-attr]
    assert store.redo("Bob").verdicts == ("negative",)  # type: ignore[union-attr]
    assert state(store) == {("q", "p"): ("negative", "Bob")}
    assert store.undo("Bob").verdicts == ("relevant",)  # type: ignore[union-attr]
    assert state(store) == {("q", "p"): ("relevant", "Ann")}


class UndoModel(RuleBasedStateMachine):
    """Against lists in memory: of each pair the last decision stands that its reviewer has not taken back."""

    def __init__(self) -> None:
        super().__init__()
        UndoModel.number = getattr(UndoModel, "number", 0) + 1

    @initialize(folder=st.just(None))
    def start(self, folder: None) -> None:
        path = Path(os.environ["HNMINE_HOME"]) / f"undo-{UndoModel.number}.sqlite"
        path.unlink(missing_ok=True)
        self.store = ReviewStore(path)
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(batches, "_AT_ONCE", 3)  # a batch takes several statements
        self.decisions: list[tuple[str, set[str], str | None]] = []  # who, which passages, verdict
        self.back: set[int] = set()  # the places of those taken back
        self.undos: dict[str, list[int]] = {"Ann": [], "Bob": []}
        self.redos: dict[str, list[int]] = {"Ann": [], "Bob": []}

    def standing(self) -> dict[str, int]:
        """The place of the decision that stands about each passage."""
        return {each: place for place, (_, about, _) in enumerate(self.decisions) if place not in self.back for each in about}

    @rule(
        who=st.sampled_from(["Ann", "Bob"]),
        passages=st.sets(st.sampled_from("abcd"), min_size=1),
        verdict=st.sampled_from([*CHOICES, None]),
    )
    def decide(self, who: str, passages: set[str], verdict: str | None) -> None:
        self.store.decide([("q", each) for each in sorted(passages)], verdict, who)  # type: ignore[arg-type]
        self.undos[who].append(len(self.decisions))
        self.redos[who].clear()
        self.decisions.append((who, passages, verdict))

    def turn(self, taken: list[int], put: list[int], done: Reverted | None) -> None:
        assert (done is None) == (not taken)
        if done is None:
            return
        before, place = self.standing(), taken.pop()
        put.append(place)
        self.back ^= {place}
        now, about = self.standing(), self.decisions[place][1]
        moved = sorted(each for each in about if now.get(each) != before.get(each))
        assert [passage for _, passage in done.pairs] == moved
        assert done.skipped == len(about) - len(moved)
        assert done.verdicts == tuple(self.decisions[now[each]][2] if each in now else None for each in moved)

    @rule(who=st.sampled_from(["Ann", "Bob"]))
    def undo(self, who: str) -> None:
        self.turn(self.undos[who], self.redos[who], self.store.undo(who))

    @rule(who=st.sampled_from(["Ann", "Bob"]))
    def redo(self, who: str) -> None:
        self.turn(self.redos[who], self.undos[who], self.store.redo(who))

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = ReviewStore(self.store.path)

    def teardown(self) -> None:
        self.patch.undo()

    @invariant()
    def the_same(self) -> None:
        if hasattr(self, "store"):
            stands = {each: self.decisions[place] for each, place in self.standing().items()}
            wanted = {each: (who, verdict) for each, (who, _, verdict) in stands.items() if verdict is not None}
            assert {each.passage: (each.who, each.verdict) for each in self.store.verdicts()} == wanted
            for who in ("Ann", "Bob"):
                assert self.store.history(who) == (bool(self.undos[who]), bool(self.redos[who]))


TestUndo = UndoModel.TestCase
TestUndo.settings = hypothesis_settings(max_examples=25, stateful_step_count=25)


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    script = f"import sys\nfrom hnmine.review.store import ReviewStore\nstore = ReviewStore(sys.argv[1])\n{code}"
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_two_processes_and_many_threads_lose_nothing(tmp_path: Path) -> None:
    """They start at once on a file that is not there yet."""
    path = tmp_path / "reviews.sqlite"
    code = "who = sys.argv[2]\nfor number in range(60): store.decide([('q', f'{who} {number}')], 'relevant', who)\nassert store.undo(who)"
    processes = [start(code, path, name) for name in ("Ann", "Bob", "Cy")]
    store = ReviewStore(path)

    def work(name: int) -> None:
        for number in range(20):
            store.decide([("q", f"{name} {number}")], "negative", f"thread {name}")

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    for process in processes:
        assert process.stdout is not None
        process.stdout.close()
    assert len(store.verdicts()) == 3 * 59 + 80
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT count(DISTINCT batch), count(*) FROM events").fetchone() == (3 * 61 + 80, 3 * 61 + 80)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_writer_has_lost_nothing_that_it_reported(tmp_path: Path) -> None:
    path = tmp_path / "reviews.sqlite"
    code = (
        "for number in range(100000):\n"
        "    store.decide([('q', f'{number} {part}') for part in range(5)], 'relevant', 'Ann')\n"
        "    print(number, flush=True)"
    )
    process = start(code, path)
    assert process.stdout is not None
    for _ in range(20):
        process.stdout.readline()
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    reported = 20 + len(process.stdout.read().splitlines())
    process.stdout.close()
    process.wait(120)
    store = ReviewStore(path)
    found = len(store.verdicts())
    assert found >= 5 * reported
    assert found % 5 == 0  # a batch is there as a whole, or not at all
    assert store.undo("Ann") is not None
    assert len(store.verdicts()) == found - 5


def test_a_damaged_file_is_told_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "reviews.sqlite"
    path.write_bytes(b"this is no database, and it is long enough to be looked at" * 100)
    with pytest.raises(WorkspaceError, match=r"reviews\.sqlite are damaged .*move that file away"):
        ReviewStore(path)
    space = Workspace(tmp_path / "space")
    space.reviews().decide([("q", "p" * 50_000)], "relevant", "Ann")
    file = space.root / "reviews.sqlite"
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with file.open("r+b") as raw:
        raw.seek(4_096)
        raw.write(os.urandom(30_000))
    with pytest.raises(WorkspaceError, match="damaged"):
        space.reviews().decide([("q", "r")], "relevant", "Ann")


def moved_away(path: Path) -> Path:
    folder = path.parent / "old"
    folder.mkdir()
    for each in path.parent.glob(f"{path.name}*"):
        each.rename(folder / each.name)
    return folder / path.name


@pytest.mark.parametrize("waiting", [True, False])
def test_a_file_that_is_moved_away_under_a_running_store_is_begun_anew(store: ReviewStore, waiting: bool) -> None:
    store.decide([("q", "old"), ("q", "older")], "relevant", "Ann")
    seen = store.version()
    assert not store.replaced(seen)
    if not waiting:
        store.close()
    old = moved_away(store.path)
    if waiting:
        assert store.replaced(seen)
    store.decide([("q", "new")], "negative", "Ann")
    assert state(store) == state(ReviewStore(store.path)) == {("q", "new"): ("negative", "Ann")}
    assert {each.passage for each in ReviewStore(old).verdicts()} == {"old", "older"}
    assert store.version() > seen  # what was made from the verdicts of the old file is not taken for that of the new one
    assert store.replaced(seen)
    assert [each.passage for each in store.changes(seen)] == ["new"]
    now = store.version()
    assert not store.replaced(now)
    assert store.changes(now) == []
    store.undo("Ann")
    assert [(each.passage, each.verdict) for each in store.changes(now)] == [("new", None)]


def test_a_file_that_another_process_has_put_in_place_is_used_and_left_whole(store: ReviewStore) -> None:
    """The connections to the old file are closed while the other process has the new one open."""
    store.decide([("q", "old")], "relevant", "Ann")
    moved_away(store.path)
    process = start(
        "store.decide([('q', 'theirs')], 'relevant', 'Bob')\nprint('written', flush=True)\nimport time; time.sleep(600)", store.path
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    assert state(store) == {("q", "theirs"): ("relevant", "Bob")}
    store.decide([("q", "ours")], "negative", "Ann")
    process.kill()
    process.wait(120)
    process.stdout.close()
    assert set(state(ReviewStore(store.path))) == {("q", "theirs"), ("q", "ours")}


def test_a_file_that_is_held_or_too_new_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hnmine.review.event_log.BUSY_SECONDS", 0.2)
    path = tmp_path / "reviews.sqlite"
    store = ReviewStore(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(WorkspaceError, match="locked by another program"):
        store.decide([("q", "p")], "relevant", "Ann")
    other.execute("ROLLBACK")
    store.decide([("q", "p")], "relevant", "Ann")
    other.execute("PRAGMA user_version = 99")
    with pytest.raises(WorkspaceError, match=r"newer version .*update hnmine"):
        ReviewStore(path)
    other.close()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="cannot be opened or written"):
        ReviewStore(tmp_path / "missing" / "reviews.sqlite")


def test_a_hundred_thousand_verdicts_in_one_go_are_all_kept(store: ReviewStore) -> None:
    pairs = [
        (f"the query number {number % 9_000}", f"the passage number {number} says something of the usual length")
        for number in range(100_000)
    ]
    store.decide(pairs, "negative", "Ann")
    assert len(store.verdicts()) == 100_000
    store.decide([("q", "p")], "relevant", "Ann")
    assert len(store.verdicts()) == 100_001
    assert len(store.recent(10)) == 2


def test_the_key_of_a_pair_is_that_of_the_verdicts(store: ReviewStore) -> None:
    store.decide([("q", "p")], "relevant", "Ann")
    with sqlite3.connect(store.path) as db:
        assert db.execute("SELECT pair FROM current").fetchone() == (pair_key("q", "p"),)
