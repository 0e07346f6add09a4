"""The command line: `python -m hnmine mine`, `read`, `check`, `push`, `cache` and `workspace`.

`mine` accepts the flags of FlagEmbedding's scripts/hn_mine.py. The summary is printed to stdout, progress and errors to stderr. The flags
are defined in `flags`.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import io
import os
import re
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import msgspec

from hnmine.cli.cache import cache_report
from hnmine.cli.check import FAULTY, check_file
from hnmine.cli.flags import (
    CACHE_FLAGS,
    CHECK_FLAGS,
    FLAGS,
    PUSH_FLAGS,
    READ_FLAGS,
    REPRODUCE_WITH,
    WORKSPACE_FLAGS,
    Flag,
    paths_of,
    preset_defaults,
    settings_from,
)
from hnmine.cli.read import read_report
from hnmine.cli.server_flags import servers_of
from hnmine.cli.terminal import Interrupts
from hnmine.cli.workspace import workspace_report
from hnmine.cluster.settings import cluster_settings
from hnmine.core.errors import Cancelled, HnmineError, SettingsError
from hnmine.core.files import parse_size
from hnmine.core.progress_bar import Progress
from hnmine.core.text import legible
from hnmine.core.version import __version__
from hnmine.data.verdicts import read_verdicts
from hnmine.export.hub_upload import push
from hnmine.models.opening import load_encoder
from hnmine.runs.mine import mine_to_file
from hnmine.runs.reproduce import reproduce
from hnmine.runs.workspace import vectors_folder

__all__ = ["main", "parse"]

_REQUIRED = ("input_file", "output_file")


class _Formatter(argparse.HelpFormatter):
    """Help that lists each flag once, with underscores."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=min(shutil.get_terminal_size().columns, 120) - 2)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or "_" not in action.option_strings[0]:
            return super()._format_action_invocation(action)
        values = self._format_args(action, self._get_default_metavar_for_optional(action)) if action.nargs != 0 else ""
        return f"{action.option_strings[0]} {values}".strip()


class _Parser(argparse.ArgumentParser):
    """A parser whose errors omit the usage of fifty flags."""

    def error(self, message: str) -> NoReturn:
        message = re.sub(r"(--\w+)(/--[\w-]+)+", r"\1", message)  # one spelling is enough
        self.exit(2, f"hnmine: {message}\nTry: {self.prog} --help\n")


def _switch(text: str) -> bool:
    # As transformers.HfArgumentParser reads them, which hn_mine.py uses.
    if text.lower() in ("yes", "true", "t", "y", "1"):
        return True
    if text.lower() in ("no", "false", "f", "n", "0"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is not true or false")


def _number(kind: Callable[[str], float], words: str) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {words}") from None

    return read


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except SettingsError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


_READERS: dict[str, Callable[[str], Any]] = {
    "switch": _switch,
    "integer": _number(int, "an integer"),
    "number": _number(float, "a number"),
    "template": lambda text: text.replace("\\n", "\n"),
    "size": _size,
}


def _add(group: argparse._ArgumentGroup, flag: Flag) -> None:
    names = list(dict.fromkeys([f"--{flag.name}", f"--{flag.name.replace('_', '-')}"]))
    if flag.kind == "bare":
        group.add_argument(*names, dest=flag.name, action="store_true", help=flag.help)
        return
    options: dict[str, Any] = {"dest": flag.name, "default": flag.default}
    options["type"] = _READERS.get(flag.kind, str)
    text = flag.help
    if flag.kind == "switch":
        options |= {"nargs": "?", "const": True, "metavar": "true|false"}
        if flag.default:
            text += f" (default: true; --no_{flag.name} turns it off)"
    else:
        several = flag.kind in ("list", "columns", "paths")
        options |= {"metavar": flag.metavar or None, "choices": flag.choices or None, "nargs": "+" if several else None}
        if flag.default not in (None, ()):
            text += f" (default: {flag.default})"
    group.add_argument(*names, **options, help=text.replace("%", "%%"))
    if flag.kind == "switch" and flag.default:
        negated = list(dict.fromkeys([f"--no_{flag.name}", f"--no-{flag.name.replace('_', '-')}"]))
        group.add_argument(*negated, dest=flag.name, action="store_false", default=True, help=argparse.SUPPRESS)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments; as in argparse, wrong usage raises SystemExit(2) and `--help` SystemExit(0)."""
    common: dict[str, Any] = {"allow_abbrev": False, "formatter_class": _Formatter}
    parser = _Parser(prog="python -m hnmine", description="Mine hard negatives for text-embedding models.", **common)
    parser.add_argument("--version", action="version", version=f"hnmine {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    mine = commands.add_parser(
        "mine",
        help="mine hard negatives for a training file",
        description="Mine hard negatives for every row of a training file. Accepts the flags of FlagEmbedding's scripts/hn_mine.py.",
        usage="%(prog)s --input_file FILE [FILE ...] --output_file FILE [--candidate_pool FILE] [more flags]",
        epilog="Flags may be written with dashes too: --input-file. Exit status: 0 success, 1 failure, 2 bad usage or bad input, "
        "130 interrupted, 143 ended by SIGTERM. HNMINE_DEBUG=1 in the environment shows warnings and tracebacks.",
        **common,
    )
    for title, flags in FLAGS.items():
        group = mine.add_argument_group(title)
        for flag in flags:
            _add(group, flag)
    cache = commands.add_parser(
        "cache",
        help="show, verify or prune the stored vectors",
        description="Show, verify or prune the stored vectors, which avoid encoding a text twice.",
        **common,
    )
    cache.add_argument(
        "action",
        nargs="?",
        choices=("show", "verify", "prune"),
        default="show",
        help="show: list the vectors by model (default); verify: read all and delete damaged ones; prune: delete the least recently used",
    )
    for flag in CACHE_FLAGS:
        _add(cache.add_argument_group(), flag)
    workspace = commands.add_parser(
        "workspace",
        help="back up, restore or verify the workspace folder",
        description="Back up, restore or verify the workspace: the folder HNMINE_HOME, or ./workspace.",
        epilog="Exit status: 0 success, 1 failure or, of verify, any damage, 2 bad usage.",
        **common,
    )
    workspace.add_argument(
        "action",
        choices=("backup", "restore", "verify"),
        help="backup: write everything into one file, also while servers run; restore: make the workspace, which must be empty, from that "
        "file; verify: read a workspace, or a backup, and list each damage with its remedy",
    )
    workspace.add_argument("file", nargs="?", metavar="FILE", help="the backup, such as backup.tar; verify without it reads the workspace")
    for flag in WORKSPACE_FLAGS:
        _add(workspace.add_argument_group(), flag)
    check = commands.add_parser(
        "check",
        help="check a training file for problems that trainers fail on",
        description="Check a training file for problems that trainers fail on, and report counts, places and remedies.",
        epilog="Exit status: 0 no errors (warnings are possible), 1 failure, 2 errors in the file, bad usage or an unreadable file.",
        **common,
    )
    check.add_argument("file", metavar="FILE", help="training rows, in any format that mine takes")
    for flag in CHECK_FLAGS:
        _add(check.add_argument_group(), flag)
    read = commands.add_parser(
        "read",
        help="show how training data is understood",
        description="Read training data and a pool, and print how they are understood: format, fields, counts, first rows, problems.",
        epilog="Exit status: 0 nothing is open, 1 failure, 2 a question or a problem is open, bad usage or an unreadable file.",
        **common,
    )
    read.add_argument("file", metavar="FILE", nargs="+", help="training rows, in any form that mine takes")
    for flag in READ_FLAGS:
        _add(read.add_argument_group(), flag)
    upload = commands.add_parser(
        "push",
        help="upload an export to the Hugging Face hub",
        description="Upload an exported file, or a folder of output_format datasets with its card, to a data set repository of the "
        "Hugging Face hub. Uses the login of `hf auth login`, or HF_TOKEN.",
        **common,
    )
    upload.add_argument("path", metavar="FILE_OR_FOLDER", help="what was exported")
    upload.add_argument("repo_id", metavar="OWNER/NAME", help="the data set repository; made if it does not exist")
    for flag in PUSH_FLAGS:
        _add(upload.add_argument_group(), flag)
    if argv and argv[0].startswith("--") and argv[0] not in ("--help", "--version"):
        parser.error(f"the command is missing; use python -m hnmine mine {argv[0]} ...")
    if argv and argv[0] == "workspace":  # argparse finds an optional FILE only before the flags, which take no values here
        argv = sorted(argv, key=lambda word: word.startswith("-"))
    arguments, unknown = parser.parse_known_args(argv)
    if arguments.command == "mine" and arguments.preset is not None and arguments.from_manifest is None:
        defaults = preset_defaults(arguments.preset, by_hardness=arguments.hardness is not None)
        mine.set_defaults(**defaults)  # parse again: flags override the preset
        arguments, unknown = parser.parse_known_args(argv)
    if arguments.command == "mine" and not unknown:
        known_file = arguments.from_manifest is not None  # the manifest has the input file
        if missing := [f"--{name}" for name in _REQUIRED[known_file:] if getattr(arguments, name) is None]:
            mine.error(f"the following arguments are required: {', '.join(missing)}")
        given = [flag for flags in FLAGS.values() for flag in flags if getattr(arguments, flag.name) != flag.default]
        if arguments.from_manifest is not None and (more := [flag.name for flag in given if flag.name not in REPRODUCE_WITH]):
            mine.error(f"--{more[0]} cannot be combined with --from_manifest, which repeats the run unchanged; remove one of them")
    if unknown:
        others = {"cache": cache, "check": check, "read": read, "push": upload, "workspace": workspace}
        used = others.get(arguments.command, mine)
        own = {"cache": CACHE_FLAGS, "check": CHECK_FLAGS, "read": READ_FLAGS, "push": PUSH_FLAGS, "workspace": WORKSPACE_FLAGS}
        table = {"": own[arguments.command]} if arguments.command in own else FLAGS
        known = [f"--{flag.name}" for flags in table.values() for flag in flags]
        close = difflib.get_close_matches(unknown[0].partition("=")[0].replace("-", "_").replace("__", "--", 1), known, n=1)
        used.error(f"unrecognized arguments: {' '.join(unknown)}" + (f" (did you mean {close[0]}?)" if close else ""))
    return arguments


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
