"""The parser of the command line, made from the flags in `flags`, and what its errors and help look like."""

from __future__ import annotations

import argparse
import difflib
import re
import shutil
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from hnmine.cli.flags import (
    CACHE_FLAGS,
    CHECK_FLAGS,
    FLAGS,
    JUDGE_FLAGS,
    PUSH_FLAGS,
    READ_FLAGS,
    REPRODUCE_WITH,
    WORKSPACE_FLAGS,
    Flag,
    preset_defaults,
)
from hnmine.core.errors import SettingsError
from hnmine.core.files import parse_size
from hnmine.core.version import __version__

__all__ = ["parse"]

# Of each command: its flags by the title of their group ("": each is a group of its own).
_FLAGS_OF: dict[str, dict[str, tuple[Flag, ...]]] = {
    "mine": FLAGS,
    "cache": {"": CACHE_FLAGS},
    "workspace": {"": WORKSPACE_FLAGS},
    "check": {"": CHECK_FLAGS},
    "read": {"": READ_FLAGS},
    "judge": {"": JUDGE_FLAGS},
    "push": {"": PUSH_FLAGS},
}
# Flags that must be given. The first is not required of a run that has a manifest, which names it, or of a judge that asks nothing.
_REQUIRED = {
    "mine": ("input_file", "output_file"),
    "judge": ("output_file", "input_file", "judge_model", "judge_server"),
}
# What `add_parser` takes for each command, and `add_argument` for its words without a flag.
_TEXTS: dict[str, dict[str, Any]] = {
    "mine": {
        "help": "mine hard negatives for a training file",
        "description": "Mine hard negatives for every row of a training file. Accepts the flags of FlagEmbedding's scripts/hn_mine.py.",
        "usage": "%(prog)s --input_file FILE [FILE ...] --output_file FILE [--candidate_pool FILE] [more flags]",
        "epilog": "Flags may be written with dashes too: --input-file. Exit status: 0 success, 1 failure, 2 bad usage or bad input, "
        "130 interrupted, 143 ended by SIGTERM. HNMINE_DEBUG=1 in the environment shows warnings and tracebacks.",
    },
    "cache": {
        "help": "show, verify or prune the stored vectors",
        "description": "Show, verify or prune the stored vectors, which avoid encoding a text twice.",
    },
    "workspace": {
        "help": "back up, restore or verify the workspace folder",
        "description": "Back up, restore or verify the workspace: the folder HNMINE_HOME, or ./workspace.",
        "epilog": "Exit status: 0 success, 1 failure or, of verify, any damage, 2 bad usage.",
    },
    "check": {
        "help": "check a training file for problems that trainers fail on",
        "description": "Check a training file for problems that trainers fail on, and report counts, places and remedies.",
        "epilog": "Exit status: 0 no errors (warnings are possible), 1 failure, 2 errors in the file, bad usage or an unreadable file.",
    },
    "read": {
        "help": "show how training data is understood",
        "description": "Read training data and a pool, and print how they are understood: format, fields, counts, first rows, problems.",
        "epilog": "Exit status: 0 nothing is open, 1 failure, 2 a question or a problem is open, bad usage or an unreadable file.",
    },
    "judge": {
        "help": "grade the negatives of a file with an LLM",
        "description": "Ask an LLM behind an OpenAI-compatible address to grade the negatives of mined rows, 0 to 3, and write its grades "
        "and verdicts. The number of calls and tokens is said before the first call. Answers are kept, so nothing is asked twice.",
        "usage": "%(prog)s --input_file FILE --output_file FILE --judge_model NAME --judge_server ADDRESS [more flags]",
        "epilog": "Exit status: 0 success, 1 failure or --max_tokens was reached, 2 bad usage, bad input or more calls than --max_calls, "
        "130 interrupted.",
    },
    "push": {
        "help": "upload an export to the Hugging Face hub",
        "description": "Upload an exported file, or a folder of output_format datasets with its card, to a data set repository of the "
        "Hugging Face hub. Uses the login of `hf auth login`, or HF_TOKEN.",
    },
}
_WORDS: dict[str, dict[str, dict[str, Any]]] = {
    "cache": {
        "action": {
            "nargs": "?",
            "choices": ("show", "verify", "prune"),
            "default": "show",
            "help": "show: list the vectors by model (default); verify: read all and delete damaged ones; prune: delete the least "
            "recently used",
        }
    },
    "workspace": {
        "action": {
            "choices": ("backup", "restore", "verify"),
            "help": "backup: write everything into one file, also while servers run; restore: make the workspace, which must be empty, "
            "from that file; verify: read a workspace, or a backup, and list each damage with its remedy",
        },
        "file": {"nargs": "?", "metavar": "FILE", "help": "the backup, such as backup.tar; verify without it reads the workspace"},
    },
    "check": {"file": {"metavar": "FILE", "help": "training rows, in any format that mine takes"}},
    "read": {"file": {"metavar": "FILE", "nargs": "+", "help": "training rows, in any form that mine takes"}},
    "push": {
        "path": {"metavar": "FILE_OR_FOLDER", "help": "what was exported"},
        "repo_id": {"metavar": "OWNER/NAME", "help": "the data set repository; made if it does not exist"},
    },
}


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
    parsers: dict[str, _Parser] = {}
    for name, tables in _FLAGS_OF.items():
        used = parsers[name] = commands.add_parser(name, **_TEXTS[name], **common)
        for word, options in _WORDS.get(name, {}).items():
            used.add_argument(word, **options)
        for title, flags in tables.items():
            group = used.add_argument_group(title) if title else None
            for flag in flags:
                _add(group or used.add_argument_group(), flag)
    if argv and argv[0].startswith("--") and argv[0] not in ("--help", "--version"):
        parser.error(f"the command is missing; use python -m hnmine mine {argv[0]} ...")
    if argv and argv[0] == "workspace":  # argparse finds an optional FILE only before the flags, which take no values here
        argv = sorted(argv, key=lambda word: word.startswith("-"))
    arguments, unknown = parser.parse_known_args(argv)
    command, used = arguments.command, parsers[arguments.command]
    known = [flag for flags in _FLAGS_OF[command].values() for flag in flags]
    reproduces = command == "mine" and arguments.from_manifest is not None
    if command == "mine" and arguments.preset is not None and not reproduces:
        defaults = preset_defaults(arguments.preset, by_hardness=arguments.hardness is not None)
        used.set_defaults(**defaults)  # parse again: flags override the preset
        arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        names = [f"--{flag.name}" for flag in known]
        close = difflib.get_close_matches(unknown[0].partition("=")[0].replace("-", "_").replace("__", "--", 1), names, n=1)
        used.error(f"unrecognized arguments: {' '.join(unknown)}" + (f" (did you mean {close[0]}?)" if close else ""))
    required = _REQUIRED.get(command, ())[reproduces or (command == "judge" and arguments.dry_run) :]
    if missing := [f"--{name}" for name in required if getattr(arguments, name) is None]:
        used.error(f"the following arguments are required: {', '.join(missing)}")
    given = [flag.name for flag in known if getattr(arguments, flag.name) != flag.default]
    if reproduces and (more := [name for name in given if name not in REPRODUCE_WITH]):
        used.error(f"--{more[0]} cannot be combined with --from_manifest, which repeats the run unchanged; remove one of them")
    return arguments
