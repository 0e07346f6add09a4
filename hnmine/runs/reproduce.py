"""Repeat the run of a manifest and compare: the same files, weights, settings and verdicts give the same bytes.

The precision is that of the first run, because `auto` may differ on another machine. Paths may differ, content may not: fingerprints are
checked before encoding.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from hnmine.core.errors import InputError
from hnmine.core.progress import OnProgress, ShouldStop
from hnmine.models.cards import PACKAGED_NAME, ModelSettings
from hnmine.models.encoder import FlagEncoder
from hnmine.models.reranker import RerankerSettings
from hnmine.runs.manifest import Manifest, fingerprints, manifest_path, read_manifest
from hnmine.runs.mine import mine_to_file
from hnmine.runs.settings import MineSettings
from hnmine.runs.summary import Summary

__all__ = ["reproduce", "settings_of"]

S = TypeVar("S", ModelSettings, RerankerSettings)


def settings_of(
    manifest: Manifest,
    *,
    name_or_path: str | None = None,
    second_name_or_path: str | None = None,
    reranker_name_or_path: str | None = None,
    devices: tuple[str, ...] | None = None,
) -> MineSettings:
    """Return the settings of a manifest, with the precision that was used; the models may have moved.

    Raises:
        InputError: a setting of another version of hnmine is unknown, or there is no second model to name.
    """
    try:
        settings = msgspec.convert(manifest.settings, MineSettings)
    except msgspec.ValidationError as error:
        raise InputError(
            f"the manifest's settings cannot be used ({error}); install the version that wrote it, {manifest.versions.get('hnmine')}"
        ) from error
    if second_name_or_path is not None and settings.second_model is None:
        raise InputError(f"the manifest's run had no second model, and {second_name_or_path} would change it; leave it out")
    second, reranker = settings.second_model, settings.reranker
    return msgspec.structs.replace(
        settings,
        model=settings.model and _settled(settings.model, manifest.model, name_or_path, devices),
        second_model=second and _settled(second, manifest.second_model or {}, second_name_or_path, devices),
        reranker=reranker and _settled(reranker, manifest.reranker or {}, reranker_name_or_path, devices),
    )


def _settled(settings: S, described: Mapping[str, Any], name_or_path: str | None, devices: tuple[str, ...] | None) -> S:
    """Return the settings of a model for this run; `described`: its `describe()` in the first one."""
    changes: dict[str, Any] = {}
    if settings.precision == "auto" and described.get("precision"):
        changes["precision"] = described["precision"]
    if name_or_path is not None:
        changes["name_or_path"] = None if name_or_path == PACKAGED_NAME else name_or_path
    if devices is not None:
        changes["devices"] = devices
    return msgspec.structs.replace(settings, **changes)


def reproduce(
    manifest_file: str | os.PathLike[str],
    output_file: str | os.PathLike[str],
    *,
    input_file: str | os.PathLike[str] | None = None,
    candidate_pool: str | os.PathLike[str] | None = None,
    name_or_path: str | None = None,
    second_name_or_path: str | None = None,
    reranker_name_or_path: str | None = None,
    devices: tuple[str, ...] | None = None,
    new_manifest: bool | str | os.PathLike[str] = True,
    store: str | os.PathLike[str] | None = None,
    memory_budget: int | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> Summary:
    """Repeat the run of a manifest, write its rows to `output_file`, and check that the bytes are the same.

    Args:
        manifest_file: of `find_knn_neg`, `Selection.write` or the app.
        output_file: where to write.
        input_file, candidate_pool: where the inputs are now; None: where they were, or beside the manifest.
        name_or_path, second_name_or_path, reranker_name_or_path, devices: where the models are now, and what they run on.
        new_manifest: True writes the manifest of this run beside the output, unless `manifest_file` itself is there; a path, there; False
            writes none.
        store, memory_budget, on_progress, should_stop: as in `find_knn_neg`.

    Raises:
        InputError: the file is not a manifest, or an input is missing or has changed.
        ModelError: the weights have changed.
        OutputError: the bytes differ from the manifest; the message names versions that differ.
    """
    manifest = read_manifest(manifest_file)
    settings = settings_of(
        manifest,
        name_or_path=name_or_path,
        second_name_or_path=second_name_or_path,
        reranker_name_or_path=reranker_name_or_path,
        devices=devices,
    )
    training = manifest.locate("input_file", input_file)
    if training is None:
        raise InputError(f"{manifest_file} names no input_file, so it is not the manifest of a run")
    if new_manifest is True and manifest_path(output_file).resolve() == Path(manifest_file).resolve():
        new_manifest = False  # the old one may hold an audit, and the fingerprint of the right bytes
    summary, written = mine_to_file(
        lambda: FlagEncoder.load(settings.model or ModelSettings(), on_progress=on_progress),
        training,
        manifest.locate("candidate_pool", candidate_pool),
        output_file,
        settings,
        manifest=new_manifest,
        verdicts=manifest.verdicts,
        expected=manifest,
        store=store,
        memory_budget=memory_budget,
        on_progress=on_progress,
        should_stop=should_stop,
    )
    manifest.check_outputs(fingerprints(written))
    summary.notes.append("the bytes are those of the manifest" if manifest.outputs else "the manifest lists no output to compare with")
    return summary
