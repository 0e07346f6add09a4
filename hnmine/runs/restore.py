"""Reading a backup (`hnmine.runs.backup`) that anybody may have made: verify it, or restore it as a workspace.

Nothing in it is trusted: an archive with a link, a device, a name that leads out or a name twice is refused as a whole, only listed files
are written, their sizes and SHA-256 are compared, and nothing appears before all of it is right and on the disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any

from hnmine.core import small_files
from hnmine.core.array_files import sync_folder
from hnmine.core.errors import VersionError, WorkspaceError
from hnmine.core.files import in_words
from hnmine.core.progress import OnProgress
from hnmine.core.text import counted
from hnmine.runs.backup import LIST, Backup, FileList, Listed, bad_name, described
from hnmine.runs.uploads import below

__all__ = ["restore", "verify_backup"]

# A list of a million files has 200 MB.
LONGEST_LIST = 2**28
_BLOCK = 2**22


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[tarfile.TarFile, dict[str, tarfile.TarInfo], dict[str, Listed]]]:
    """Yield the archive, its members and its list.

    Raises:
        WorkspaceError: it is no backup, is damaged, or holds what no backup holds.
    """
    try:
        with tarfile.open(path, mode="r:") as archive:
            members: dict[str, tarfile.TarInfo] = {}
            for member in archive:
                if fault := _fault(member, members):
                    raise WorkspaceError(f"{path} is not a backup of a workspace ({member.name[:200]!r} {fault}); nothing was read from it")
                members[member.name] = member
            if LIST not in members:
                raise WorkspaceError(f"{path} is not a whole backup (it has no {LIST}); use another one")
            yield archive, members, _listed(path, archive, members[LIST])
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise WorkspaceError(f"{path} is not a backup of a workspace, or is damaged ({error}); use another one") from error
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be read ({error.strerror or error}); check the path") from error


def _fault(member: tarfile.TarInfo, known: dict[str, Any]) -> str | None:
    """Return what is wrong with a member of an archive that anybody may have made, or None."""
    if not member.isreg() or member.issparse():
        return "is not an ordinary file"
    return "is there twice" if member.name in known else bad_name(member.name)


def _listed(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> dict[str, Listed]:
    if member.size > LONGEST_LIST:
        raise WorkspaceError(f"{path} is not a backup of a workspace ({LIST} has {in_words(member.size)})")
    with tempfile.TemporaryDirectory(prefix="hnmine-backup-") as folder:
        copy = Path(folder) / LIST
        copy.write_bytes(_content(archive, member).read())
        try:
            files = small_files.read(copy, FileList, "", remedy="use another backup").files
        except VersionError as error:
            raise VersionError(str(error).replace(str(copy), str(path))) from error
        except WorkspaceError as error:
            raise WorkspaceError(str(error).replace(str(copy), f"{path}: {LIST}")) from error
    for name, each in files.items():
        same = files.get(each.same_as)
        wrong = each.same_as and (same is None or (same.bytes, same.sha256, same.same_as) != (each.bytes, each.sha256, ""))
        if fault := bad_name(name) or ("has the content of a file that is not listed" if wrong else None):
            raise WorkspaceError(f"{path} is not a backup of a workspace ({name[:200]!r} {fault})")
    return files


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    found = archive.extractfile(member)
    assert found is not None  # it is an ordinary file
    return found


def _damages(
    archive: tarfile.TarFile,
    members: dict[str, tarfile.TarInfo],
    files: dict[str, Listed],
    folder: Path | None,
    on_progress: OnProgress | None,
) -> Iterator[str]:
    """Yield what is wrong with the listed files, while they are written into a folder, if there is one."""
    for done, (name, each) in enumerate(files.items()):
        if on_progress is not None and done % 64 == 0:
            on_progress(done, len(files), "reading files")
        if each.same_as:
            continue
        member = members.get(name)
        if member is None or member.size != each.bytes:
            yield f"{name} is missing" if member is None else f"{name} has {member.size:,} bytes, and had {each.bytes:,}"
            continue
        digest = hashlib.sha256()
        with contextlib.ExitStack() as stack:
            out = None
            if folder is not None:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                out = stack.enter_context((folder / name).open("xb"))
            source = stack.enter_context(_content(archive, member))
            while block := source.read(_BLOCK):
                digest.update(block)
                if out is not None:
                    out.write(block)
            if out is not None:
                out.flush()
                os.fsync(out.fileno())
        if digest.hexdigest() != each.sha256:
            yield f"{name} is not what was backed up (sha256)"


def verify_backup(path: Path, *, on_progress: OnProgress | None = None) -> tuple[Backup, list[str]]:
    """Read a backup; return what it holds, and a message for each damage.

    Raises:
        WorkspaceError: it is no backup, or cannot be read as one.
    """
    with _opened(path) as (archive, members, files):
        damages = [f"{path}: {each}; use another backup" for each in _damages(archive, members, files, None, on_progress)]
        return _held(path, members, files), damages


def restore(path: Path, root: Path, *, on_progress: OnProgress | None = None) -> Backup:
    """Restore a backup as the workspace `root`, which must be missing or without a file: all of it appears, or nothing.

    Raises:
        WorkspaceError: the backup is damaged or none, there are files in `root`, or the disk is full.
    """
    inside = root.is_dir() and (os.path.ismount(root) or not os.access(root.absolute().parent, os.W_OK))
    base = root if inside else root.absolute().parent
    folder = base / f".restore-{root.absolute().name}"
    held = (each for each in below(root) if folder not in each.parents)
    if root.is_symlink() or (root.exists() and not root.is_dir()) or any(not each.is_dir() for each in held):
        raise WorkspaceError(f"{root} is not empty; set HNMINE_HOME to a new folder, or move the old one away first")
    with _opened(path) as (archive, members, files):
        parent = _existing(root.absolute())
        needed = sum(each.bytes for each in files.values() if not each.same_as)
        if (free := shutil.disk_usage(parent).free) < needed:
            raise WorkspaceError(f"the backup needs {in_words(needed)}, and {parent} has {in_words(free)} free; free some space")
        try:
            shutil.rmtree(folder, ignore_errors=True)  # of a restore that was killed
            base.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
            if damage := next(_damages(archive, members, files, folder, on_progress), None):
                raise WorkspaceError(f"{path}: {damage}; nothing was restored: use another backup")
            for name, each in files.items():
                if each.same_as:
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    try:
                        os.link(folder / each.same_as, folder / name)
                    except OSError:  # the disk has no links
                        shutil.copyfile(folder / each.same_as, folder / name)
            _appear(folder, root, inside=inside)
        except OSError as error:
            raise WorkspaceError(f"{root} cannot be written ({error.strerror or error}); nothing was restored") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return _held(path, members, files)


def _held(path: Path, members: Collection[str], files: dict[str, Listed]) -> Backup:
    more = len(set(members) - {LIST} - set(files))
    left_out = (f"{counted(more, 'file')} of the archive, not in its list",) if more else ()
    return described(files, path.stat().st_size, left_out)


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def _appear(folder: Path, root: Path, *, inside: bool) -> None:
    """Give the restored folder its name; in a mounted folder, which cannot be replaced, give each of its parts its name."""
    for each in (path for path in folder.rglob("*") if path.is_dir()):
        sync_folder(each)
    sync_folder(folder)
    if not inside:
        if root.exists():
            shutil.rmtree(root)  # folders without a file
        folder.rename(root)
        sync_folder(root.absolute().parent)
        return
    for each in folder.iterdir():
        if (root / each.name).exists():
            shutil.rmtree(root / each.name)
        each.rename(root / each.name)
    sync_folder(root)
