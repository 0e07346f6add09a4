"""The manifest: all that is needed to reproduce an output, byte for byte.

It holds the settings, the fingerprints of the input files and of the weights, how the files were understood, the applied verdicts and the
grades of a judge (in full, because a review continues after the export), the versions, the counts, and the fingerprints of the output.
Everything that decides a byte is in it or identified by its SHA-256; `hnmine.runs.reproduce` repeats the run and compares. Plain JSON.
Paths are hints.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from hnmine.core.decode import convert, decode
from hnmine.core.errors import InputError, ModelError, OutputError
from hnmine.core.paths import open_input, require_possible
from hnmine.core.version import __version__
from hnmine.data.folders import Paths
from hnmine.data.verdicts import Verdict
from hnmine.export.formats import Written
from hnmine.models.served.client import served_name
from hnmine.models.served.probe import same_model
from hnmine.review.judgements import Judgement

__all__ = [
    "Manifest",
    "check_types",
    "compose",
    "encoded",
    "fingerprints",
    "manifest_path",
    "of_export",
    "read_manifest",
    "versions",
]

PACKAGES = ("FlagEmbedding", "torch", "transformers", "tokenizers", "faiss-gpu", "faiss-cpu", "numpy", "pyarrow")

Role = Literal["model", "second_model", "reranker"]
# Its name in messages, the flag that names another, and the remedy where its weights are unknown.
_LOADED = "it was a loaded model: run again with that model"
ROLES: dict[Role, tuple[str, str, str]] = {
    "model": ("model", "--embedder_name_or_path", _LOADED),
    "second_model": ("second model", "--second_embedder_name_or_path", _LOADED),
    "reranker": ("reranker", "--reranker_name_or_path", "export again"),
}
SERVER_FLAGS: dict[Role, str] = {"model": "--embedder_server", "second_model": "--second_embedder_server", "reranker": "--reranker_server"}


class _File(msgspec.Struct, frozen=True):
    name: str
    sha256: str
    bytes: int = 0
    path: str | None = None
    paths: list[str] | None = None


class _Model(msgspec.Struct, frozen=True):
    name: str | None = None
    precision: str | None = None
    weights_sha256: str | None = None
    address: str | None = None
    probe: list[Any] | None = None


class _Summary(msgspec.Struct, frozen=True):
    negatives: int | None = None
    scores: dict[str, float | None] | None = None
    vectors: dict[str, int] | None = None
    pairs: dict[str, int] | None = None
    timings: dict[str, float] = {}
    notes: list[str] = []


class _Outline(msgspec.Struct, frozen=True):
    """The parts of a manifest that this package reads, with their types."""

    settings: dict[str, Any] = {}
    inputs: dict[str, _File] = {}
    model: _Model = _Model()
    second_model: _Model | None = None
    reranker: _Model | None = None
    summary: _Summary | None = None
    versions: dict[str, str] = {}
    outputs: list[_File] = []


def check_types(manifest: Mapping[str, Any]) -> None:
    """Check the types of the parts of a manifest that this package reads.

    Raises:
        ValidationError: one is wrong; of msgspec, with its place.
    """
    convert(manifest, _Outline)


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest, as far as it is needed to repeat its run.

    Attributes:
        settings: of `MineSettings`, as plain JSON.
        inputs: "input_file" and "candidate_pool", each with name, bytes, sha256 and, where it was a file, path, or paths of several.
        model: `describe()` of the encoder, with weights_sha256 and precision. second_model, reranker: the same, None without.
        outputs: name, bytes, sha256 and rows of each file written.
        verdicts: those that were applied. judgements: a judge's, on this data.
        versions: of hnmine, Python and the packages that affect the bytes.
        audit: the audit of the negatives (`review.audit.AuditRecord`), or None; it affects no byte.
        folder: that of the manifest.
    """

    settings: dict[str, Any]
    inputs: dict[str, dict[str, Any]]
    model: dict[str, Any]
    second_model: dict[str, Any] | None = None
    reranker: dict[str, Any] | None = None
    outputs: list[dict[str, Any]] = []
    verdicts: list[Verdict] = []
    judgements: list[Judgement] = []
    versions: dict[str, str] = {}
    audit: dict[str, Any] | None = None
    folder: str = ""

    def locate(self, argument: str, given: Paths | None) -> Paths | None:
        """Return the path of an input: as given, where it was, or beside the manifest; None when the run had none.

        Raises:
            InputError: it is in none of these places, or the run had no such input.
        """
        file = self.inputs.get(argument)
        if file is None:
            if given is not None:
                raise InputError(f"the manifest's run had no {argument}, and --{argument} {given} would change it; leave it out")
            return None
        if given is not None:
            return given
        if "paths" in file:
            paths = [Path(each) for each in file["paths"]]
            if missing := next((path for path in paths if not _exists(path)), None):
                raise InputError(f"{missing}, a file of the manifest's {argument}, is not there; name all of them with --{argument}")
            return paths
        if str(file.get("path")).startswith("hf://"):
            return str(file["path"])
        places = [Path(file["path"])] if "path" in file else []
        places.append(Path(self.folder) / file["name"])
        for place in places:
            if _exists(place):
                return place
        if "path" not in file:
            raise InputError(f"the manifest's {argument} was in memory; write it to a file and name that as {argument}")
        looked = " or ".join(map(str, places))
        raise InputError(f"the manifest's {argument}, {file['name']}, is not at {looked}; name it with --{argument}")

    def check_inputs(self, files: Mapping[str, Mapping[str, Any]]) -> None:
        """Compare the fingerprints of what was read with those of the manifest.

        Raises:
            InputError: a file has changed.
        """
        for argument, file in self.inputs.items():
            found = files.get(argument, {})
            if found.get("sha256") != file["sha256"]:
                raise InputError(
                    f"the {argument} {found.get('path', found.get('name'))} is not the file of the manifest ({file['name']}, "
                    f"{file['bytes']:,} bytes, sha256 {file['sha256'][:12]}...; this one has {found.get('bytes', 0):,} bytes, sha256 "
                    f"{str(found.get('sha256'))[:12]}...); name the right one with --{argument}"
                )

    def check_weights(self, role: Role, description: Mapping[str, Any] | None) -> None:
        """Compare the weights of a model, or the probe of a served one, with those of the manifest; None: the run has no such model.

        Raises:
            ModelError: they differ, or the manifest lacks them.
        """
        words, flag, remedy = ROLES[role]
        before, now = getattr(self, role) or {}, description or {}
        if before.get("probe") is not None:
            if not same_model(before, dict(now)):
                name = served_name(str(now.get("name")), now.get("address"))
                raise ModelError(
                    f"the {words} {name} is not that of the manifest: it gives other results for the texts of the probe; name the server "
                    f"of the right one with {SERVER_FLAGS[role]}"
                )
            return
        wanted, found = before.get("weights_sha256"), now.get("weights_sha256")
        if wanted is None and (role != "second_model" or found is not None):
            raise ModelError(f"the manifest has no fingerprint of the weights of the {words}; {remedy}")
        if found != wanted:
            raise ModelError(
                f"the weights of the {words} {(description or {}).get('name')} are not those of the manifest (sha256 {str(found)[:12]}... "
                f"instead of {str(wanted)[:12]}...); name the right one with {flag}"
            )

    def check_outputs(self, digests: Sequence[str]) -> None:
        """Compare the SHA-256 of each output, before it takes its place, with those of the manifest.

        Raises:
            OutputError: one differs; the message names the versions that do.
        """
        wanted = [each["sha256"] for each in self.outputs]
        if not wanted or wanted == list(digests):
            return
        here = versions()
        others = [f"{name} {was}, here {here.get(name)}" for name, was in self.versions.items() if here.get(name) != was]
        reason = (
            f"versions differ: {'; '.join(others)}"
            if others
            else "the versions are the same: another kind of processor or device rounds otherwise"
        )
        raise OutputError(
            f"the bytes of this run are not those of the manifest; {reason}. Nothing was written: existing files are unchanged. To get "
            "the new rows, run mine with the manifest's settings in place of --from_manifest"
        )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # no file can have this name
        return False


def versions() -> dict[str, str]:
    """Return the versions of hnmine, Python, and the packages that affect the bytes."""

    found = {"hnmine": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def compose(
    *,
    settings: Mapping[str, Any],
    inputs: Mapping[str, Mapping[str, Any]],
    model: Mapping[str, Any],
    second_model: Mapping[str, Any] | None = None,
    reranker: Mapping[str, Any] | None = None,
    verdicts: Iterable[Verdict],
    judgements: Iterable[Judgement] = (),
    summary: Any,
    read: Mapping[str, Any] | None = None,
    fn_model: Any = None,
    stages: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return a run's manifest as plain JSON types.

    `read` is how the files were understood (`data.dataset.described`), `fn_model` the false-negative model, where it was used.
    """
    return _plain(
        {
            "settings": settings,
            "inputs": inputs,
            "read": read,
            "model": model,
            "second_model": second_model,
            "reranker": reranker,
            "verdicts": list(verdicts),
            "judgements": list(judgements) or None,
            "versions": versions(),
            "summary": summary,
            "fn_model": fn_model,
            "stages": stages,
            "outputs": [],
        }
    )


def _plain(content: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins({name: each for name, each in content.items() if each is not None})
    return found


def fingerprints(written: Iterable[Written]) -> list[dict[str, Any]]:
    """Return the entries of a manifest for written files."""
    return [
        {"name": Path(each.path).name, "bytes": each.bytes, "sha256": each.sha256, "rows": each.rows, "part": each.part} for each in written
    ]


def of_export(
    run: Mapping[str, Any],
    *,
    settings: Any,
    names: Mapping[str, str | None],
    verdicts: Iterable[Verdict],
    judgements: Iterable[Judgement] = (),
    summary: Any,
    fn_model: Any,
    outputs: Sequence[Mapping[str, Any]],
    audit: Any = None,
) -> dict[str, Any]:
    """Return the manifest of an export from a stored run.

    Args:
        run: the run's own manifest, with the model, the versions and the inputs as the workspace stores them.
        settings: `MineSettings` as they are now; summary: counted now.
        names: the names of "input_file" and "candidate_pool" before the workspace stored them.
        verdicts, judgements, fn_model: as in `compose`.
        outputs: of `fingerprints`; audit: a `review.audit.AuditRecord`, or None.
    """
    inputs = {argument: {**file, "name": names.get(argument) or file["name"]} for argument, file in run.get("inputs", {}).items()}
    now = {"settings": settings, "inputs": inputs, "verdicts": list(verdicts), "summary": summary, "fn_model": fn_model}
    now["judgements"] = list(judgements) or None
    return _plain({**run, **now, "outputs": outputs, "audit": audit})


def encoded(manifest: Mapping[str, Any]) -> bytes:
    """Return a manifest as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(manifest)) + b"\n"


def manifest_path(output: str | os.PathLike[str]) -> Path:
    """Return the default path of the manifest of an output: `out.manifest.json` for `out.jsonl`."""
    output = Path(output)
    return output.parent / f"{output.stem}.manifest.json"


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read a manifest.

    Raises:
        InputError: the file cannot be read, or is not a manifest.
    """
    require_possible("the manifest", path, InputError)
    try:
        with open_input(path) as handle:
            content = handle.read()
        found = decode(content, Manifest)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(
            f"{path} is not a manifest of hnmine ({error}); each run writes one beside its output, and the Export screen offers one"
        ) from error
    for argument, file in found.inputs.items():
        if missing := [name for name in ("name", "bytes", "sha256") if name not in file]:
            raise InputError(
                f"{path} is not a complete manifest: $.inputs.{argument} lacks {', '.join(missing)}; export again, or find the original"
            )
    try:
        check_types(msgspec.json.decode(content, type=dict[str, Any]))
    except msgspec.ValidationError as error:
        raise InputError(f"{path} is damaged ({error}); export again, or find the original") from error
    inputs = {name: {key: value for key, value in file.items() if value is not None} for name, file in found.inputs.items()}
    return msgspec.structs.replace(found, inputs=inputs, folder=str(Path(path).resolve().parent))
