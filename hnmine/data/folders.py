"""The files of an input: several, a folder, a zip archive, a pattern such as `data/*.jsonl`, or a data set of the hub.

A folder of `datasets` (`save_to_disk`) gives its shards, a clone of a hub data set the files of one configuration, as its README
says. The split of a file is that of the README, of the folder of a DatasetDict, or a word of its name (`train`, `dev`, `test`).
"""

from __future__ import annotations

import fnmatch
import glob
import io
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from hnmine.core import hub
from hnmine.core.errors import InputError
from hnmine.core.hub import ask, first_line
from hnmine.data.formats.streams import Parts, parts_of

__all__ = ["Folder", "Part", "Paths", "files_at", "folder_of", "split_of"]

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_MOST = 20_000  # files of a folder
_DATA = re.compile(
    r".+\.(jsonl|json|ndjson|jsonlines|csv|tsv|tab|txt|parquet|arrow|feather|xlsx|trec|qrels?)(\.(gz|zst))?|(.*[._-])?(qrels?|queries|topics|corpus|collection)",
    re.IGNORECASE,
)
_ABOUT = re.compile(
    r"readme.*|license.*|dataset_infos?\.json|dataset_dict\.json|state\.json|requirements.*\.txt|.*\.manifest\.json", re.IGNORECASE
)
_HUB = "hf://"
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "valid", "validation", "val"), "dev"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_ROLES = ("corpus", "queries", "qrels")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A file of an input.

    Attributes:
        name: for messages, relative to the input.
        path: the same with the input; of an archive, no path of the disk.
        opener: opens a file of an archive.
        split: "" where the file is of no split.
        role: "corpus", "queries" or "qrels" where the data set says so, else "".
    """

    name: str
    path: Path
    opener: Callable[[], BinaryIO] | None = None
    split: str = ""
    role: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """The files of an input.

    Attributes:
        name: for messages.
        parts: sorted by name; those of an explicit list in its order.
        left_out: the names of files that hold no data, or are of another configuration.
        about: the names of files that say what the others are, such as a README.
        named: whether the user named each file, so that all are read.
        classes: of columns with numbers for classes, what the README calls 0, 1 and so on.
    """

    name: str
    parts: tuple[Part, ...]
    left_out: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    named: bool = False
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)


def files_at(given: Paths, *, config: str | None = None, file: BinaryIO | None = None) -> Folder | None:
    """Return the files of an input, or None if it is a single file.

    Args:
        given: a path, a pattern, an address of the hub (`hf://datasets/OWNER/NAME`), or several of them.
        config: the configuration of a data set of the hub.
        file: the bytes of an archive if `given` is only a name.

    Raises:
        InputError: there is no file, the configuration must be named, an archive is damaged, or the hub does not answer.
    """
    if not isinstance(given, str | os.PathLike):
        return _listed(given, config)
    text = os.fspath(given)
    if text.startswith(_HUB):
        found = files_at(_downloaded(text, config), config=config)
        return found and replace(found, name=text)
    path = Path(text)
    if file is None and not path.exists() and any(letter in text for letter in "*?["):
        paths = sorted(each for each in glob.iglob(text, recursive=True) if Path(each).is_file())  # noqa: PTH207 - may be absolute
        if not paths:
            raise InputError(f"{text}: no file has such a name; check the folder and the pattern")
        return replace(_listed(paths, config), name=text)
    if file is None and path.is_dir():
        return folder_of(str(path), path, _below(path), config)
    try:
        parts = parts_of(path, file)
    except OSError:  # the reader of single files reports the reason
        return None
    if parts is None or "xl/workbook.xml" in parts or len(parts) < 2 or not any(map(_is_data, parts)):
        return None
    return folder_of(str(path), path, parts, config)


def _listed(given: Sequence[str | os.PathLike[str]], config: str | None) -> Folder:
    parts: list[Part] = []
    left_out: list[str] = []
    for each in given:
        inside = files_at(each, config=config)
        parts += inside.parts if inside else [Part(name=Path(each).name, path=Path(each))]
        left_out += inside.left_out if inside else ()
    if not parts:
        raise InputError("no input file is given; name one or more")
    names = [part.name for part in parts]
    parts = [replace(part, name=str(part.path)) if names.count(part.name) > 1 else part for part in parts]
    more = f" and {len(parts) - 1:,} more" if len(parts) > 1 else ""
    return Folder(name=f"{parts[0].path}{more}", parts=tuple(parts), left_out=tuple(left_out), named=True)


def _below(folder: Path) -> Parts:
    found: Parts = {}
    paths: list[Path] = []
    for path in folder.rglob("*"):
        paths.append(path)
        if len(paths) > _MOST:
            raise InputError(f"{folder}: the folder has over {_MOST:,} files; name the folder or the files of the data")
    for path in sorted(paths):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not any(part.startswith(".") for part in name.split("/")):
            found[name] = partial(io.FileIO, path)
    return found


def _is_data(name: str) -> bool:
    base = posixpath.basename(name)
    return _DATA.fullmatch(base) is not None and not _is_about(base)


def _is_about(name: str) -> bool:
    return _ABOUT.fullmatch(posixpath.basename(name)) is not None


def folder_of(where: str, path: Path, parts: Parts, config: str | None = None) -> Folder:
    """Return the files of a folder, an archive or several uploads that hold data, with their splits and roles."""
    card = _card(parts)
    known = _saved(parts) or _of_configs(where, list(parts), _configs(card), config)
    if known is None:
        known = {name: (split_of(name), "") for name in parts if _is_data(name)}
    if not known:
        raise InputError(f"{where}: there is no data file in it; a folder has JSON lines, JSON, CSV, TSV, Parquet, Arrow or Excel files")
    on_disk = path.is_dir()
    files = tuple(
        Part(name=name, path=path / name, opener=None if on_disk else parts[name], split=split, role=role)
        for name, (split, role) in sorted(known.items())
    )
    others = [name for name in parts if name not in known]
    left_out = tuple(name for name in others if not _is_about(name))
    about = tuple(filter(_is_about, others))
    return Folder(name=where, parts=files, left_out=left_out, about=about, classes=_classes(card))


def split_of(name: str) -> str:
    """Return "train", "dev" or "test" by the last such word of a name, or ""."""
    words = re.split(r"[^a-z]+", name.casefold())
    return next((_SPLITS[word] for word in reversed(words) if word in _SPLITS), "")


def _saved(parts: Parts) -> dict[str, tuple[str, str]] | None:
    """Return the shards of `save_to_disk`, each with its split, or None."""
    found: dict[str, tuple[str, str]] = {}
    for name in parts:
        folder, base = posixpath.split(name)
        if base != "state.json" or posixpath.join(folder, "dataset_info.json") not in parts:
            continue
        state = _json(parts[name])
        for each in state.get("_data_files") or ():
            shard = posixpath.join(folder, str(each.get("filename"))) if isinstance(each, dict) else ""
            if shard not in parts:
                raise InputError(f"{name}: the shard {shard} is missing; copy the whole folder of save_to_disk")
            found[shard] = (folder if "dataset_dict.json" in parts else "", "")
    return found or None


def _json(opener: Callable[[], BinaryIO]) -> dict[str, Any]:
    with opener() as file:
        try:
            value = msgspec.json.decode(file.read())
        except (msgspec.DecodeError, UnicodeDecodeError, OSError):
            return {}
    return value if isinstance(value, dict) else {}


def _card(parts: Parts) -> dict[str, Any]:
    """Return what the README of a hub data set describes, or {}."""
    readme = next((name for name in parts if name.casefold() == "readme.md"), None)
    if readme is None:
        return {}
    with parts[readme]() as file:
        return _described(file.read(2**20).decode("utf-8", "replace"))


def _described(readme: str) -> dict[str, Any]:
    from huggingface_hub import DatasetCard

    if not readme.startswith("---"):
        return {}
    try:
        found: dict[str, Any] = DatasetCard(readme, ignore_metadata_errors=True).data.to_dict()  # type: ignore[no-untyped-call]
    except Exception:  # noqa: BLE001 - a README that is no data card describes no files; the class differs between releases
        return {}
    return found


def _classes(card: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the names of the classes of each column, by their numbers."""
    info = card.get("dataset_info")
    found: dict[str, list[str]] = {}
    for each in info if isinstance(info, list) else [info]:
        for column in (each.get("features") or ()) if isinstance(each, dict) else ():
            kind = column.get("dtype") if isinstance(column, dict) else None
            names = kind.get("class_label", {}).get("names") if isinstance(kind, dict) else None
            if isinstance(names, dict):
                found[str(column.get("name"))] = [str(name) for _, name in sorted(names.items(), key=lambda item: str(item[0]))]
    return found


def _configs(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data files of each configuration."""
    found = card.get("configs")
    return {
        str(each.get("config_name", "default")): each
        for each in (found if isinstance(found, list) else ())
        if isinstance(each, dict) and each.get("data_files")
    }


def _of_configs(where: str, names: Sequence[str], configs: Mapping[str, Any], wanted: str | None) -> dict[str, tuple[str, str]] | None:
    if not configs:
        if wanted is not None:
            raise InputError(f"{where}: there is no configuration `{wanted}`: its README describes none; leave config out")
        return None
    # Retrieval sets have one configuration each for the corpus, the queries and the judgements, perhaps for each language.
    roles = {name: next((role for role in _ROLES if re.search(rf"(^|[-_]){role}$", name.casefold())), "") for name in configs}
    groups: dict[str, list[str]] = {}
    for name, role in roles.items():
        base = re.sub(rf"[-_]?{role}$", "", name.casefold()) if role else name.casefold()
        groups.setdefault("" if base == "default" else base, []).append(name)
    if wanted is not None:
        chosen = next((group for group in groups.values() if wanted in group), None)
    else:
        first = next((name for name, each in configs.items() if each.get("default")), None)
        chosen = next((group for group in groups.values() if first in group), None) or groups.get("")
        chosen = chosen or (next(iter(groups.values())) if len(groups) == 1 else None)
    if chosen is None:
        there = ", ".join(f"`{name}`" for name in list(configs)[:20])
        problem = f"there is no configuration `{wanted}`" if wanted else "the data set has several configurations"
        raise InputError(f"{where}: {problem}; name one of {there}: --columns config={next(iter(configs))}")
    found: dict[str, tuple[str, str]] = {}
    for name in chosen:
        for split, pattern in _patterns(configs[name]):
            # As in `datasets`, a pattern never means the README.
            matched = [each for each in names if each == pattern or (fnmatch.fnmatch(each, pattern) and not _is_about(each))]
            if not matched:
                raise InputError(f"{where}: the README names {pattern} for `{name}`, and there is no such file; fetch it (git lfs pull)")
            found |= dict.fromkeys(matched, ("" if roles[name] in ("corpus", "queries") else split, roles[name]))
    return found


def _patterns(config: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    files = config["data_files"]
    for each in files if isinstance(files, list) else [files]:
        split, paths = (each.get("split", ""), each.get("path")) if isinstance(each, dict) else ("", each)
        for path in paths if isinstance(paths, list) else [paths]:
            pattern = posixpath.normpath(posixpath.join(str(config.get("data_dir") or ""), str(path)))
            yield str(split) or split_of(pattern), pattern.replace("**/", "*")


def _downloaded(address: str, config: str | None) -> str:
    """Return the folder or file of a data set of the hub, downloaded to the hub's cache."""
    from huggingface_hub import HfApi, snapshot_download

    match = re.fullmatch(r"hf://datasets/([^/@]+/[^/@]+|[^/@]+)(?:@([^/]+))?(?:/(.+))?", address)
    if match is None:
        raise InputError(f"{address} is no address of a data set of the hub; write hf://datasets/OWNER/NAME")
    repo, revision, inside = match.groups()
    options: dict[str, Any] = {"repo_type": "dataset", "revision": revision}
    try:
        found = ask(lambda: HfApi().dataset_info(repo, revision=revision, timeout=hub.HUB_DEADLINE / 2))
        names = [each.rfilename for each in found.siblings or ()]
        wanted = [name for name in names if _is_data(name) or _ABOUT.fullmatch(posixpath.basename(name))]
        if inside:
            wanted = [name for name in names if name == inside or name.startswith(f"{inside}/") or fnmatch.fnmatch(name, inside)]
        else:
            about = snapshot_download(repo, allow_patterns=["README.md"], **options)
            readme = Path(about) / "README.md"
            card = _described(readme.read_text("utf-8", "replace") if readme.exists() else "")
            described = _of_configs(address, names, _configs(card), config)
            wanted = ["README.md", *described] if described else wanted
        if not wanted:
            raise InputError(f"{address}: there is no such file in the data set; it has {', '.join(names[:10])}")
        folder = snapshot_download(repo, allow_patterns=wanted, **options)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{address}: cannot be read from the hub: {first_line(error)}. Check the name, the network and the login (hf auth login), or "
            "download the data set and give its folder"
        ) from error
    return str(Path(folder) / inside) if inside and (Path(folder) / inside).exists() else folder
