"""The files of a run: what may be written where, and the one way to write the rows and their manifest."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import msgspec

from hnmine.core.errors import InputError, OutputError, SettingsError
from hnmine.core.files import write_atomic
from hnmine.core.paths import require_possible, shown
from hnmine.data.beir import beir_at
from hnmine.data.dataset import Inputs
from hnmine.data.folders import files_at
from hnmine.data.objects import are_paths
from hnmine.export.datasets_folder import check_replaceable
from hnmine.export.examples import dev_path
from hnmine.export.formats import FORMATS, Written, write_export
from hnmine.export.scores import PairScores
from hnmine.retrieval.ranking import Ranking
from hnmine.runs.manifest import encoded, fingerprints, manifest_path
from hnmine.runs.reviewed import Reviewed
from hnmine.runs.settings import MineSettings
from hnmine.runs.summary import Summary
from hnmine.selection.select import Selection

__all__ = ["Mined", "Outputs", "check_output", "write_rows"]

Path_ = str | os.PathLike[str]


@dataclass(frozen=True, slots=True, eq=False)
class Mined:
    """A selection with all that its files need; nothing is written yet. `scores` are those to write, None for none."""

    settings: MineSettings
    reviewed: Reviewed
    selection: Selection
    scores: PairScores | None
    summary: Summary
    manifest: dict[str, Any]

    @property
    def inputs(self) -> Inputs:
        """What was read, with the positives that verdicts add."""
        return self.reviewed.inputs

    @property
    def ranking(self) -> Ranking:
        """The ranking, with the positives that verdicts add."""
        return self.reviewed.ranking


def write_rows(
    path: Path_,
    settings: MineSettings,
    reviewed: Reviewed,
    selection: Selection,
    scores: PairScores | None,
    manifest: Mapping[str, Any] | None = None,
    *,
    accept: Callable[[list[str]], None] | None = None,
) -> list[Written]:
    """Write a selection as `settings` say (format, split, repairs of the output); arguments and errors as `formats.write_export`."""
    return write_export(
        path,
        settings.output_format,
        reviewed.inputs.rows,
        reviewed.inputs.corpus,
        selection,
        scores=scores,
        dev_share=settings.dev_share,
        repair_output=settings.repair_output,
        seed=settings.selection.seed,
        left_out=reviewed.left_out(selection),
        manifest=manifest,
        accept=accept,
    )


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where a run writes: the rows, and the manifest (None for none). Make it by `checked`."""

    path: Path
    manifest: Path | None

    @classmethod
    def checked(cls, path: Path_ | None, inputs: Mapping[str, object], *, settings: MineSettings, manifest: bool | Path_ = True) -> Outputs:
        """Refuse, before hours of encoding, outputs that cannot be written or would cost the user a file.

        Args:
            path: where to write.
            inputs: the input files by their names in messages; what is no path is passed over.
            settings: their format may be a folder; with a dev share there is a second file beside the first.
            manifest: True writes it beside the output, `out.manifest.json` for `out.jsonl`; a path, there; False writes none.

        Raises:
            SettingsError: no path, or one that is an input, a device, a candidate pool, or a folder with other files.
            OutputError: the folder is missing, or not writable.
        """
        if path is None:
            raise SettingsError("output_file is missing; name the file to write")
        require_possible("output_file", path)
        if not isinstance(manifest, bool):
            require_possible("manifest", manifest)
        folder = FORMATS[settings.output_format].folder is not None
        outputs = [Path(path)] + ([dev_path(path)] if settings.dev_share and not folder else [])
        for output in outputs:
            check_output("output_file", output, inputs, folder=folder)
        if manifest is False:
            return cls(Path(path), None)
        file = manifest_path(path) if manifest is True else Path(manifest)
        check_output("manifest", file, inputs)
        if file.resolve() in [output.resolve() for output in outputs]:
            raise SettingsError(f"manifest is the output_file itself ({file}); write to another file")
        return cls(Path(path), file)

    def write(self, mined: Mined, *, accept: Callable[[list[str]], None] | None = None) -> list[Written]:
        """Write the rows, then the manifest; complete the summary of `mined`. `accept`: as in `formats.write_export`.

        Raises:
            SettingsError, OutputError: as `formats.write_export`.
        """
        mined.summary.output_file = str(self.path)
        written = write_rows(self.path, mined.settings, mined.reviewed, mined.selection, mined.scores, mined.manifest, accept=accept)
        mined.summary.notes += [note for each in written for note in each.notes]
        if self.manifest is not None:
            outcome = {"summary": mined.summary, "outputs": fingerprints(written)}
            write_atomic(self.manifest, [encoded(msgspec.to_builtins(mined.manifest | outcome))])
        return written


def _inputs(given: object, *, is_pool: bool) -> list[Path]:
    """Return the files and folders of an input that exist; a pool that is a list of str holds passages."""
    if isinstance(given, list | tuple):
        known = are_paths(given, is_pool=is_pool)
        return [path for each in given for path in _inputs(each, is_pool=is_pool)] if known else []
    if not isinstance(given, str | os.PathLike):
        return []
    path = Path(given)
    require_possible("candidate_pool" if is_pool else "input_file", given, InputError)
    if path.exists() or str(given).startswith("hf://"):
        return [path] if path.exists() else []
    return [part.path for part in folder.parts] if (folder := files_at(given)) else []


def check_output(argument: str, path: Path_, inputs: Mapping[str, object], *, folder: bool = False) -> None:
    """Refuse an output as `Outputs.checked` does; `argument` names it."""
    require_possible(argument, path)
    output = Path(path)
    if not output.parent.is_dir():
        raise OutputError(f"{shown(output.parent)} is no folder; make it first, or write elsewhere", exit_status=2)
    if folder:
        check_replaceable(output)
    elif output.is_dir():
        raise SettingsError(f"{argument} {output} is a folder; name a file, or set output_format to datasets, which writes a folder")
    elif output.exists() and not output.is_file():  # a device or a pipe would be replaced by a file
        raise SettingsError(f"{argument} {output} is no ordinary file; write to a file, and copy it from there")
    if not os.access(output.parent, os.W_OK):
        raise OutputError(f"{output} cannot be written; check the folder's permissions, or write elsewhere", exit_status=2)
    for name, given in inputs.items():
        for other in _inputs(given, is_pool=name == "candidate_pool"):
            if output.exists() and os.path.samefile(output, other):
                raise SettingsError(f"{argument} is the {name} itself ({output}); write to another file")
            if folder and output.exists() and output.resolve() in other.resolve().parents:
                raise SettingsError(f"{argument} {output} holds the {name}, which would be lost; name another folder")
            inside = other.is_dir() and other.resolve() in output.resolve().parents and beir_at(other) is None
            if inside or (isinstance(given, str) and fnmatch(str(output), given)):
                raise SettingsError(f"{argument} {output} would be read as {name} ({given}) the next time; write to another folder")
    if output.is_file():
        # Newer hn_mine.py has output_file before candidate_pool: swapped by position, this call would overwrite the pool.
        try:
            with output.open("rb") as file:
                first = msgspec.json.decode(file.readline(2**20))
        except (OSError, msgspec.DecodeError):
            return
        if isinstance(first, dict) and "text" in first and "query" not in first:
            raise SettingsError(
                f"{argument} {output} exists and holds a candidate pool; did output_file and candidate_pool change places? "
                "The order is (model, input_file, candidate_pool, output_file, ...): name the arguments"
            )
