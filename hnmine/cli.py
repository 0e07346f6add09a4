"""The command line: `python -m hnmine mine`, which takes the flags of FlagEmbedding's scripts/hn_mine.py as they are.

One table, FLAGS, says which flag sets which field of `MineSettings`. The parser, its help, the settings of a run and
`command_line` (the way back, from settings to flags, which the app shows) are all made from it, so a setting cannot be
in one of them and missing in another.

stdout holds the closing summary and nothing else; progress and errors go to stderr.
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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import msgspec

from hnmine import __version__
from hnmine.errors import HnmineError
from hnmine.mine import MineSettings, find_knn_neg
from hnmine.models import MODEL_CLASSES, PACKAGED_NAME, ModelSettings
from hnmine.problems import REPAIRS, repairs_from
from hnmine.select import SelectionSettings, parse_window
from hnmine.terminal import Interrupts, Progress

__all__ = ["FLAGS", "Flag", "command_line", "main", "parse", "settings_from"]

DEFAULTS = MineSettings(model=ModelSettings())


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag: `name` as hn_mine.py spells it, and the field of MineSettings it sets ("model.devices"; "" for none).

    `kind` is how its text is read. A "template" is an instruction's format, in which `\\n` stands for a new line.
    """

    name: str
    setting: str
    kind: Literal["text", "template", "switch", "integer", "number", "window", "list"]
    help: str
    metavar: str = ""
    choices: tuple[str, ...] = ()

    @property
    def default(self) -> Any:
        """What counts when the flag is not given."""
        return _value(DEFAULTS, self) if self.setting else False if self.kind == "switch" else None


FLAGS: dict[str, tuple[Flag, ...]] = {
    "files": (
        Flag("input_file", "", "text", "training JSONL: one object a line with query, pos and, if wanted, neg", "FILE"),
        Flag("output_file", "", "text", "where to write the rows with their mined negatives; replaced whole or not at all", "FILE"),
        Flag("candidate_pool", "", "text", "JSONL with a text on each line: passages that may become negatives", "FILE"),
        Flag("pool_mode", "pool_mode", "text", "extend: the pool joins the rows' own passages; replace: it is ranked alone, as "
             "hn_mine.py does", choices=("extend", "replace")),
        Flag("manifest_file", "", "text", "where to write settings, versions, fingerprints and counts as JSON", "FILE"),
    ),
    "which negatives": (
        Flag("range_for_sampling", "selection.window", "window", "ranks to take negatives from, counted from 0", "START-END"),
        Flag("negative_number", "selection.negative_number", "integer", "negatives for each row", "N"),
        Flag("strategy", "selection.strategy", "text", "random: drawn by seed from the window; hardest: the most similar first",
             choices=("random", "hardest")),
        Flag("seed", "selection.seed", "integer", "the same seed gives the same negatives", "N"),
    ),
    "guards against false negatives": (
        Flag("max_score", "selection.max_score", "number", "reject candidates more similar to the query than this", "X"),
        Flag("min_score", "selection.min_score", "number", "reject candidates less similar to the query than this", "X"),
        Flag("max_positive_share", "selection.max_positive_share", "number",
             "reject candidates above this share of the positive's score (0.95 in NV-Retriever)", "X"),
        Flag("margin", "selection.margin", "number", "reject candidates that come closer than this below the positive's score", "X"),
    ),
    "bad rows and output": (
        Flag("repair", "repair", "list", "kinds of faults to mend: " + "; ".join(f"{kind} ({how})" for kind, how in REPAIRS.items())
             + "; all", "KIND", choices=(*REPAIRS, "all")),
        Flag("skip_bad_rows", "skip_bad_rows", "switch", "leave bad rows out instead of stopping"),
        Flag("with_scores", "with_scores", "switch", "write pos_scores and neg_scores, the similarities of the mining model"),
        Flag("json", "", "switch", "print the closing summary as JSON"),
        Flag("quiet", "", "switch", "show no progress"),
    ),
    "embedding model": (
        Flag("embedder_name_or_path", "model.name_or_path", "text",
             f"hub name or folder; left out: the packaged {PACKAGED_NAME}, which needs no network", "NAME"),
        Flag("embedder_model_class", "model.model_class", "text", "FlagEmbedding's class of model; left out: found out",
             choices=MODEL_CLASSES),
        Flag("pooling_method", "model.pooling_method", "text", "left out: as the model's folder says",
             choices=("cls", "mean", "last_token")),
        Flag("normalize_embeddings", "model.normalize_embeddings", "switch", "scale vectors to length 1, so that scores are cosines"),
        Flag("query_instruction_for_retrieval", "model.query_instruction", "text",
             'put before each query; left out: as the model was trained; "" for none', "TEXT"),
        Flag("query_instruction_format_for_retrieval", "model.query_instruction_format", "template",
             "how instruction and query are joined; two {}, and \\n for a new line; left out: {}{}", "FORMAT"),
        Flag("passage_instruction_for_retrieval", "model.passage_instruction", "text", "the same for passages", "TEXT"),
        Flag("passage_instruction_format_for_retrieval", "model.passage_instruction_format", "template", "the same for passages",
             "FORMAT"),
        Flag("examples_for_task", "model.examples_for_task", "text",
             "for decoder-only-icl: JSON list of objects with instruct, query and response", "JSON"),
        Flag("examples_instruction_format", "model.examples_instruction_format", "template", "for decoder-only-icl", "FORMAT"),
        Flag("embedder_query_max_length", "model.query_max_length", "integer", "tokens; left out: as the model's folder says", "N"),
        Flag("embedder_passage_max_length", "model.passage_max_length", "integer", "tokens; left out: as the model's folder says", "N"),
        Flag("trust_remote_code", "model.trust_remote_code", "switch", "run code that comes with the model"),
        Flag("cache_dir", "model.cache_dir", "text", "where models from the hub are kept", "FOLDER"),
    ),
    "devices and speed": (
        Flag("devices", "model.devices", "list", "such as cpu, or cuda:0 cuda:1; left out: the first GPU, else the CPU", "DEVICE"),
        Flag("use_fp16", "model.use_fp16", "switch", "half precision on a GPU; a CPU computes in float32"),
        Flag("batch_size", "model.batch_size", "integer", "most texts in one batch; left out: as many as fit a budget of tokens", "N"),
        Flag("use_gpu_for_searching", "use_gpu", "switch", "search on a GPU where there is one"),
        Flag("search_batch_size", "", "integer", "taken but without effect: one call searches thousands of queries", "N"),
    ),
}  # fmt: skip
_SETTING_FLAGS = tuple(flag for flags in FLAGS.values() for flag in flags if flag.setting)
_REQUIRED = ("input_file", "output_file")
_ALWAYS_SHOWN = ("range_for_sampling", "negative_number", "seed")


def _value(settings: MineSettings, flag: Flag) -> Any:
    """The value that `settings` holds for a flag, as the parser would give it."""
    if flag.kind == "window":
        return f"{settings.selection.window_start}-{settings.selection.window_end}"
    part, _, name = flag.setting.rpartition(".")
    holder = {"": settings, "selection": settings.selection, "model": settings.model or ModelSettings()}[part]
    return getattr(holder, name)


def settings_from(arguments: argparse.Namespace) -> MineSettings:
    """Return the settings that parsed flags stand for.

    Raises:
        SettingsError: a value is out of range, or two contradict each other.
    """
    values: dict[str, dict[str, Any]] = {"": {}, "selection": {}, "model": {}}
    for flag in _SETTING_FLAGS:
        part, _, name = flag.setting.rpartition(".")
        value = getattr(arguments, flag.name)
        if flag.kind == "window":
            values[part]["window_start"], values[part]["window_end"] = parse_window(value)
        else:
            values[part][name] = tuple(value) if isinstance(value, list) else value
    values[""]["repair"] = tuple(sorted(repairs_from(values[""]["repair"])))
    return MineSettings(selection=SelectionSettings(**values["selection"]), model=ModelSettings(**values["model"]), **values[""])


def command_line(
    settings: MineSettings,
    *,
    input_file: str | os.PathLike[str],
    candidate_pool: str | os.PathLike[str] | None,
    output_file: str | os.PathLike[str],
) -> list[str]:
    """Return the arguments, `python -m hnmine mine ...`, that do a run with these settings; `shlex.join` makes a line of them.

    Settings at their defaults are left out, except window, number and seed. `settings.model` None stands for the packaged
    model. A backslash before an n in an instruction's format cannot be said: there it means a new line, as in hn_mine.py.
    """
    line = ["python", "-m", "hnmine", "mine"]

    def add(name: str, value: str) -> None:
        # "--seed -1" would do, "--margin -1e-05" or an instruction that begins with a dash would be taken for a flag.
        line.extend([f"--{name}={value}"] if value.startswith("-") else [f"--{name}", value])

    add("input_file", os.fspath(input_file))
    if candidate_pool is not None:
        add("candidate_pool", os.fspath(candidate_pool))
    add("output_file", os.fspath(output_file))
    for flag in _SETTING_FLAGS:
        value = _value(settings, flag)
        if value == flag.default and flag.name not in _ALWAYS_SHOWN:
            continue
        if flag.kind == "switch":
            line += [f"--{flag.name}"] if value else [f"--{flag.name}", "false"]
        elif flag.kind == "list":
            line += [f"--{flag.name}", *(["all"] if flag.name == "repair" and set(value) == REPAIRS.keys() else value)]
        else:
            add(flag.name, str(value).replace("\n", "\\n") if flag.kind == "template" else str(value))
    return line


class _Formatter(argparse.HelpFormatter):
    """Help that shows each flag once, with underscores."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=min(shutil.get_terminal_size().columns, 120) - 2)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or "_" not in action.option_strings[0]:
            return super()._format_action_invocation(action)
        values = self._format_args(action, self._get_default_metavar_for_optional(action)) if action.nargs != 0 else ""
        return f"{action.option_strings[0]} {values}".strip()


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are short: fifty flags of usage would bury them."""

    def error(self, message: str) -> NoReturn:
        message = re.sub(r"(--\w+)(/--[\w-]+)+", r"\1", message)  # one spelling is enough
        self.exit(2, f"hnmine: {message}\nTry: {self.prog} --help\n")


def _switch(text: str) -> bool:
    # As transformers.HfArgumentParser reads them, which hn_mine.py uses.
    if text.lower() in ("yes", "true", "t", "y", "1"):
        return True
    if text.lower() in ("no", "false", "f", "n", "0"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None


def _template(text: str) -> str:
    return text.replace("\\n", "\n")


_READERS: dict[str, Callable[[str], Any]] = {"switch": _switch, "integer": _integer, "number": _number, "template": _template}


def _add(group: argparse._ArgumentGroup, flag: Flag) -> None:
    names = list(dict.fromkeys([f"--{flag.name}", f"--{flag.name.replace('_', '-')}"]))
    options: dict[str, Any] = {"dest": flag.name, "default": flag.default, "required": flag.name in _REQUIRED}
    options["type"] = _READERS.get(flag.kind, str)
    text = flag.help
    if flag.kind == "switch":
        options |= {"nargs": "?", "const": True, "metavar": "true|false"}
        if flag.default:
            text += f" (default: true; --no_{flag.name} turns it off)"
    else:
        options |= {"metavar": flag.metavar or None, "choices": flag.choices or None, "nargs": "+" if flag.kind == "list" else None}
        if flag.default not in (None, ()):
            text += f" (default: {flag.default})"
    group.add_argument(*names, **options, help=text.replace("%", "%%"))
    if flag.kind == "switch" and flag.default:
        negated = list(dict.fromkeys([f"--no_{flag.name}", f"--no-{flag.name.replace('_', '-')}"]))
        group.add_argument(*negated, dest=flag.name, action="store_false", default=True, help=argparse.SUPPRESS)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse; wrong usage ends in SystemExit(2), as argparse does, and `--help` in SystemExit(0)."""
    parser = _Parser(
        prog="python -m hnmine",
        description="Mine hard negatives for text-embedding models.",
        allow_abbrev=False,
        formatter_class=_Formatter,
    )
    parser.add_argument("--version", action="version", version=f"hnmine {__version__}")
    mine = parser.add_subparsers(dest="command", metavar="COMMAND", required=True).add_parser(
        "mine",
        help="mine hard negatives for a training file",
        description="Mine hard negatives for every row of a training file. Takes the flags of FlagEmbedding's scripts/hn_mine.py.",
        usage="%(prog)s --input_file FILE --output_file FILE [--candidate_pool FILE] [more flags]",
        epilog="Every flag may be written with dashes too: --input-file. Exit status: 0 done, 1 failure, 2 bad usage or bad input, "
        "130 interrupted. HNMINE_DEBUG=1 in the environment shows warnings and tracebacks.",
        allow_abbrev=False,
        formatter_class=_Formatter,
    )
    for title, flags in FLAGS.items():
        group = mine.add_argument_group(title)
        for flag in flags:
            _add(group, flag)
    if argv and argv[0].startswith("--") and argv[0] not in ("--help", "--version"):
        parser.error(f"the command is missing; write: python -m hnmine mine {argv[0]} ...")
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        known = [f"--{flag.name}" for flags in FLAGS.values() for flag in flags]
        close = difflib.get_close_matches(unknown[0].partition("=")[0].replace("-", "_").replace("__", "--", 1), known, n=1)
        mine.error(f"unrecognized arguments: {' '.join(unknown)}" + (f" (did you mean {close[0]}?)" if close else ""))
    return arguments


def _silence_libraries() -> None:
    """Keep bars, advice and warnings of the libraries off stderr; must run before they are imported."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TQDM_DELAY", "1000000000")  # FlagEmbedding passes `disable` itself; a bar due in 30 years is not drawn
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker:UserWarning")  # FlagEmbedding's process pool leaves semaphores
    warnings.simplefilter("ignore")


def _mine(arguments: argparse.Namespace, interrupts: Interrupts) -> None:
    settings = settings_from(arguments)
    several = len(settings.model.devices or ()) > 1 if settings.model else False
    progress = None if arguments.quiet or sys.stderr is None else Progress(sys.stderr)

    def on_progress(done: int, total: int, note: str) -> None:
        # Ctrl-C reaches the workers of FlagEmbedding's process pool too: waiting for the batch of a dead one would never end.
        interrupts.batches_began |= total > 0 and not several
        if progress is not None:
            progress(done, total, note)

    choices = msgspec.structs.asdict(settings.selection)
    window = [choices.pop("window_start"), choices.pop("window_end")]
    try:
        summary = find_knn_neg(
            settings.model,
            arguments.input_file,
            arguments.candidate_pool,
            arguments.output_file,
            window,
            use_gpu=settings.use_gpu,
            **choices,
            pool_mode=settings.pool_mode,
            repair=settings.repair,
            skip_bad_rows=settings.skip_bad_rows,
            with_scores=settings.with_scores,
            manifest_file=arguments.manifest_file,
            on_progress=on_progress,
            should_stop=interrupts.should_stop,
        )
    finally:
        if progress is not None:
            progress.close()
    if arguments.search_batch_size is not None:
        summary.notes.append("--search_batch_size has no effect: one call searches thousands of queries")
    _say(msgspec.json.encode(summary).decode() if arguments.json else str(summary))


def _say(text: str) -> None:
    """Print to stdout. Nobody reading it any more (`| head`) is no failure: the output file is written."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Python would flush once more on leaving, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(text: str) -> None:
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            print(f"hnmine: {text}", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0 done, 1 failure, 2 bad usage or bad input, 130 interrupted."""
    debug = os.environ.get("HNMINE_DEBUG") == "1"
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name need not be printable
    interrupts = Interrupts()
    try:
        with interrupts.installed(), warnings.catch_warnings():
            arguments = parse(sys.argv[1:] if argv is None else argv)
            if not debug:
                _silence_libraries()
            _mine(arguments, interrupts)
    except SystemExit as leaving:  # argparse has said why
        return leaving.code if isinstance(leaving.code, int) else 1
    except HnmineError as error:
        _complain(str(error))
        return error.exit_status
    except KeyboardInterrupt:
        _complain("stopped on request; nothing was written")
        return 130
    except Exception as error:  # noqa: BLE001 - the last resort: a sentence instead of a traceback
        _complain(f"unexpected {type(error).__name__}: {error}" + ("" if debug else " (HNMINE_DEBUG=1 shows where)"))
        if debug:
            traceback.print_exc()
        return 1
    return 0
