"""The command line: `python -m hnmine mine`, `read`, `check`, `judge`, `push`, `cache` and `workspace`.

`mine` accepts the flags of FlagEmbedding's scripts/hn_mine.py. The summary is printed to stdout, progress and errors to stderr. The flags
are defined in `flags`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from hnmine.cli.flag import servers_of
from hnmine.cli.flags import paths_of, settings_from
from hnmine.cli.judge import judge_file
from hnmine.cli.parser import parse
from hnmine.cli.reading import FAULTY, check_file, read_report
from hnmine.cli.storage import cache_report, workspace_report
from hnmine.cli.terminal import Interrupts
from hnmine.cluster.settings import cluster_settings
from hnmine.core.errors import Cancelled, HnmineError, SettingsError
from hnmine.core.progress import Progress
from hnmine.core.text import legible
from hnmine.data.verdicts import read_verdicts
from hnmine.export.hub_upload import push
from hnmine.models.opening import load_encoder
from hnmine.review.judgements import read_judgements
from hnmine.runs.mine import mine_to_file
from hnmine.runs.reproduce import reproduce
from hnmine.runs.workspace import vectors_folder

__all__ = ["main", "parse"]


def _silence_libraries() -> None:
    """Silence progress bars and warnings of libraries; must run before they are imported."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TQDM_DELAY", "1000000000")  # FlagEmbedding sets `disable` itself; this delay hides its bars
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker:UserWarning")  # semaphores of FlagEmbedding's process pool
    warnings.simplefilter("ignore")


def _mine(arguments: argparse.Namespace, interrupts: Interrupts) -> None:
    settings = settings_from(arguments)
    several = len(settings.model.devices or ()) > 1 if settings.model else False

    def on_progress(done: int, total: int, note: str) -> None:
        # Ctrl-C ends the workers of FlagEmbedding's process pool too: waiting for their batch would never end.
        interrupts.batches_began |= total > 0 and not several
        interrupts.worked |= total > 0
        if store is not None and "encoding" in note:
            interrupts.kept = ". Finished vectors are kept: the same command continues with them"
        if progress is not None:
            progress(done, total, note)

    if arguments.no_manifest and arguments.manifest_file is not None:
        raise SettingsError(f"--no_manifest and --manifest_file {arguments.manifest_file} contradict each other; leave one of them out")
    manifest = False if arguments.no_manifest else True if arguments.manifest_file is None else arguments.manifest_file
    store = None if arguments.no_store else vectors_folder() if arguments.store is None else arguments.store
    shared: dict[str, Any] = {
        "store": store,
        "memory_budget": arguments.memory_budget,
        "cluster": cluster_settings(arguments.cluster, arguments.shared_store),
        "on_progress": on_progress,
        "should_stop": interrupts.should_stop,
    }
    with _progress(not arguments.quiet) as progress:
        if arguments.from_manifest is not None:
            summary = reproduce(
                arguments.from_manifest,
                arguments.output_file,
                input_file=arguments.input_file and paths_of(arguments.input_file),
                candidate_pool=arguments.candidate_pool and paths_of(arguments.candidate_pool),
                name_or_path=arguments.embedder_name_or_path,
                second_name_or_path=arguments.second_embedder_name_or_path,
                reranker_name_or_path=arguments.reranker_name_or_path,
                servers=servers_of(arguments),
                devices=None if arguments.devices is None else tuple(arguments.devices),
                new_manifest=manifest,
                **shared,
            )
        else:
            summary = mine_to_file(
                lambda: load_encoder(settings.model, on_progress=on_progress, should_stop=interrupts.should_stop),
                paths_of(arguments.input_file),
                arguments.candidate_pool and paths_of(arguments.candidate_pool),
                arguments.output_file,
                settings,
                manifest=manifest,
                verdicts=() if arguments.reviews is None else read_verdicts(arguments.reviews),
                judgements=() if arguments.judgements is None else read_judgements(arguments.judgements),
                **shared,
            )[0]
    if arguments.search_batch_size is not None:
        summary.notes.append("--search_batch_size has no effect: one call searches thousands of queries")
    _print(msgspec.json.encode(summary).decode() if arguments.json else str(summary))


def _check(arguments: argparse.Namespace, interrupts: Interrupts) -> int:
    with _progress(not arguments.quiet and sys.stderr is not None and sys.stderr.isatty()) as progress:
        text, status = check_file(arguments, progress, interrupts.should_stop)
    _print(text)
    return status


def _judge(arguments: argparse.Namespace, interrupts: Interrupts) -> None:
    def on_progress(done: int, total: int, note: str) -> None:
        interrupts.batches_began, interrupts.lost = True, ". Answers under way are lost"
        if done and not arguments.no_store:
            interrupts.kept = ". What was answered is kept: the same command continues with it"
        if progress is not None:
            progress(done, total, note)

    interrupts.waits = f"stopping; the answers under way are waited for{'' if arguments.no_store else ' and kept'}"
    with _progress(not arguments.quiet) as progress:
        text = judge_file(arguments, _print_error, on_progress, interrupts.should_stop)
    _print(text)


@contextlib.contextmanager
def _progress(shown: bool) -> Iterator[Progress | None]:
    if not shown or sys.stderr is None:
        yield None
        return
    with contextlib.closing(Progress(sys.stderr)) as progress:
        yield progress


def _print(text: str) -> None:
    """Print to stdout; a closed pipe (`| head`) is not a failure, because the output file is written."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Python flushes again at exit, and would report an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_error(text: str) -> None:
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            print(f"hnmine: {text}", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0 success, 1 failure, 2 bad usage or bad input, 130 interrupted, 143
    ended by SIGTERM."""
    debug = os.environ.get("HNMINE_DEBUG") == "1"
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may not be printable
    interrupts = Interrupts()
    try:
        with interrupts.installed(), warnings.catch_warnings():
            arguments = parse(sys.argv[1:] if argv is None else argv)
            if not debug:
                _silence_libraries()
            if arguments.command == "cache":
                _print(cache_report(arguments))
            elif arguments.command == "workspace":
                with _progress(not arguments.quiet and sys.stderr is not None and sys.stderr.isatty()) as progress:
                    text, status = workspace_report(arguments, progress)
                _print(text)
                return status
            elif arguments.command == "check":
                return _check(arguments, interrupts)
            elif arguments.command == "read":
                text, decided = read_report(arguments)
                _print(text)
                return 0 if decided else FAULTY
            elif arguments.command == "judge":
                _judge(arguments, interrupts)
            elif arguments.command == "push":
                _print(f"uploaded to {push(arguments.path, arguments.repo_id, private=arguments.private)}")
            else:
                _mine(arguments, interrupts)
    except SystemExit as ended:  # argparse printed the reason
        return ended.code if isinstance(ended.code, int) else 1
    except KeyboardInterrupt:
        _print_error(interrupts.message(at_once=True))
        return interrupts.status
    except Exception as error:  # noqa: BLE001 - a sentence instead of a traceback
        if interrupts.asked:  # as Cancelled, or as what a library made of it
            _print_error(interrupts.message(at_once=not isinstance(error, Cancelled)))
            return interrupts.status
        if isinstance(error, HnmineError):
            _print_error(str(error))
            if debug:
                traceback.print_exc()
            return error.exit_status
        error_text = legible(f"unexpected {type(error).__name__}: {error}")
        _print_error(error_text + ("" if debug else " (set HNMINE_DEBUG=1 for the traceback)"))
        if debug:
            traceback.print_exc()
        return 1
    return 0
