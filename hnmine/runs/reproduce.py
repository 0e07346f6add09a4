"""Repeat the run of a manifest and compare: the same files, weights, settings and verdicts give the same bytes.

The precision is that of the first run, because `auto` may differ on another machine. Paths may differ, content may not: fingerprints are
checked before encoding.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from hnmine.cluster.settings import ClusterSettings
from hnmine.core.decode import convert
from hnmine.core.errors import HnmineError, InputError
from hnmine.core.paths import require_possible, shown
from hnmine.core.progress import OnProgress, ShouldStop
from hnmine.data.folders import Paths
from hnmine.data.sanity import ACCEPT
from hnmine.models.cards import PACKAGED_NAME
from hnmine.models.opening import load_encoder
from hnmine.models.served.server import Server
from hnmine.runs.manifest import ROLES, SERVER_FLAGS, Manifest, Role, manifest_path, read_manifest
from hnmine.runs.mine import mine_to_file
from hnmine.runs.settings import MineSettings
from hnmine.runs.summary import Summary

__all__ = ["reproduce", "settings_of"]


def settings_of(
    manifest: Manifest,
    names: Mapping[Role, str | None] | None = None,
    devices: tuple[str, ...] | None = None,
    servers: Mapping[Role, Server] | None = None,
) -> MineSettings:
    """Return the settings of a manifest, with the precision that was used; the models may have moved, to other `names` and `servers`.

    Raises:
        InputError: a setting of another version of hnmine is unknown, or one is not valid; there is no second model to name, a server is
            given for a model that was loaded, or the manifest alone says to which other machine texts, or to which address a key, is sent.
    """
    try:
        settings = convert(manifest.settings, MineSettings)
    except msgspec.ValidationError as error:
        unknown = "unknown field" in str(error)  # a setting of another version
        remedy = f"install the version that wrote it, {manifest.versions.get('hnmine')}" if unknown else "correct the file"
        raise InputError(f"the manifest's settings cannot be used ({error}); {remedy}") from error
    names = names or {}
    if names.get("second_model") is not None and settings.second_model is None:
        raise InputError(f"the manifest's run had no second model, and {names['second_model']} would change it; leave it out")
    for role in ROLES:
        model, described, name = getattr(settings, role), getattr(manifest, role) or {}, names.get(role)
        server = (servers or {}).get(role)
        if server is not None and (model is None or model.server is None):
            raise InputError(f"the manifest's run had no served {ROLES[role][0]}, and {SERVER_FLAGS[role]} would change it; leave it out")
        if model is None:
            continue
        if model.server is not None:
            changes: dict[str, Any] = {"server": _moved(role, model.server, server)} | ({} if name is None else {"name_or_path": name})
            settings = msgspec.structs.replace(settings, **{role: msgspec.structs.replace(model, **changes)})
            continue
        changes = {} if devices is None else {"devices": devices}
        if model.precision == "auto" and described.get("precision"):
            changes["precision"] = described["precision"]
        if name is not None:
            changes["name_or_path"] = None if name == PACKAGED_NAME else name
        settings = msgspec.structs.replace(settings, **{role: msgspec.structs.replace(model, **changes)})
    return settings


def _moved(role: Role, before: Server, now: Server | None) -> Server:
    """Return the server of a manifest where it is now. A file must not decide where texts and keys are sent, so the address is given, but
    for a server of this machine without a key."""
    if now is not None:
        key = now.key_variable or before.key_variable
        changes = {"address": now.address, "key_variable": key, "concurrency": now.concurrency, "timeout": now.timeout}
        return msgspec.structs.replace(before, **changes)
    if before.is_local and before.key_variable is None:
        return before
    sent = "the texts" if before.key_variable is None else f"the texts and the key in {before.key_variable}"
    raise InputError(
        f"the manifest's {ROLES[role][0]} is served at {before.address}, which gets {sent}. A file does not decide where they are sent: if "
        f"you trust this address, add {SERVER_FLAGS[role]} {shlex.quote(before.address)} to the command, or "
        f'servers={{"{role}": Server(address="{before.address}")}} in Python'
    )


@contextmanager
def _naming(manifest_file: str | os.PathLike[str]) -> Iterator[None]:
    """Put the manifest's name before an error that is about it."""
    try:
        yield
    except HnmineError as error:
        name = shown(manifest_file)
        if "manifest" in str(error) and name not in str(error):
            error.args = (f"{name}: {error}",)
        raise


def reproduce(
    manifest_file: str | os.PathLike[str],
    output_file: str | os.PathLike[str],
    *,
    input_file: Paths | None = None,
    candidate_pool: Paths | None = None,
    name_or_path: str | None = None,
    second_name_or_path: str | None = None,
    reranker_name_or_path: str | None = None,
    servers: Mapping[Role, Server] | None = None,
    devices: tuple[str, ...] | None = None,
    new_manifest: bool | str | os.PathLike[str] = True,
    store: str | os.PathLike[str] | None = None,
    memory_budget: int | None = None,
    cluster: ClusterSettings | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> Summary:
    """Repeat the run of a manifest, and write its rows to `output_file` if the bytes are the same.

    Args:
        manifest_file: of `find_knn_neg`, `Selection.write` or the app.
        output_file: where to write.
        input_file, candidate_pool: where the inputs are now; None: where they were, or beside the manifest.
        name_or_path, second_name_or_path, reranker_name_or_path, devices: where the models are now, and what they run on.
        servers: where the served models are now; one with a key, or on another machine, must be given.
        new_manifest: True writes the manifest of this run beside the output, unless `manifest_file` itself is there; a path, there; False
            writes none.
        store, memory_budget, cluster, on_progress, should_stop: as in `find_knn_neg`.

    Raises:
        InputError: the file is not a manifest, or an input is missing or has changed.
        ModelError: the weights have changed.
        OutputError: the bytes differ from the manifest, and nothing is written; the message names versions that differ.
    """
    require_possible("output_file", output_file)
    manifest = read_manifest(manifest_file)
    with _naming(manifest_file):
        names: dict[Role, str | None] = {"model": name_or_path, "second_model": second_name_or_path, "reranker": reranker_name_or_path}
        settings = settings_of(manifest, names, devices, servers)
        # The run used its data; an older version may have found nothing improbable.
        settings = msgspec.structs.replace(settings, repair=tuple(sorted({*settings.repair, ACCEPT})))
        training = manifest.locate("input_file", input_file)
        if training is None:
            raise InputError(f"{manifest_file} names no input_file, so it is not the manifest of a run")
        if new_manifest is True and manifest_path(output_file).resolve() == Path(manifest_file).resolve():
            new_manifest = False  # the old one may hold an audit, and the fingerprint of the right bytes
        summary, _ = mine_to_file(
            lambda: load_encoder(settings.model, on_progress=on_progress, should_stop=should_stop),
            training,
            manifest.locate("candidate_pool", candidate_pool),
            output_file,
            settings,
            manifest=new_manifest,
            verdicts=manifest.verdicts,
            judgements=manifest.judgements,
            expected=manifest,
            store=store,
            memory_budget=memory_budget,
            cluster=cluster,
            on_progress=on_progress,
            should_stop=should_stop,
        )
    summary.notes.append("the bytes are those of the manifest" if manifest.outputs else "the manifest lists no output to compare with")
    return summary
