"""Compressed files and zip archives, unpacked block by block as they are read.

gzip goes through zlib, Zstandard through Arrow; the first bytes decide, never the file name. The output is bounded: text
compresses at most about 30:1, so a file that has grown 250-fold beyond its first 256 MiB is refused. Unpacking takes 4 ns
a byte (gzip) or 0.5 ns (Zstandard); reading the rows takes 5 ns. A part of an archive is found by its name below the
common folder of all parts (BEIR archives hold `scifact/corpus.jsonl`), and nothing is unpacked to disk.
"""

from __future__ import annotations

import io
import lzma
import posixpath
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

from hnmine.core.errors import InputError

__all__ = ["BLOCK", "Packing", "Parts", "check_growth", "packing_of", "parts_of", "single", "unpacked"]

Packing = Literal["", "gzip", "zstd"]

# Bytes read at once: fits the processor's cache, and the cost of the call is negligible.
BLOCK = 2**20
_GROWTH, _FREE = 250, 256 * 2**20


def packing_of(head: bytes) -> Packing:
    """Return the compression of a file that begins with `head`, or ""."""
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    # 0x184D2A50 to 5F are skippable frames, which may come first.
    if head.startswith(b"\x28\xb5\x2f\xfd") or (len(head) > 3 and head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5):
        return "zstd"
    return ""


def unpacked(packing: Packing, blocks: Iterator[bytes], where: str) -> Iterator[bytes]:
    """Yield the decompressed bytes in blocks; concatenated members count as one.

    Raises:
        InputError: the bytes are damaged, truncated, or grow beyond the limit; `where` is the file.
    """
    taken = given = 0

    def counted() -> Iterator[bytes]:
        nonlocal taken
        for block in blocks:
            taken += len(block)
            yield block

    for block in (_gzip if packing == "gzip" else _zstd)(counted(), where):
        given += len(block)
        check_growth(given, taken, where)
        yield block


def check_growth(given: int, taken: int, where: str) -> None:
    """Check that `taken` compressed bytes have not become too many.

    Raises:
        InputError: the output is beyond the limit.
    """
    if given > _FREE and given > _GROWTH * taken:
        raise InputError(f"{where}: the file grows more than {_GROWTH}-fold when unpacked, unlike text; unpack and inspect it")


def _damaged(where: str, packing: str, error: object) -> InputError:
    return InputError(f"{where}: the {packing} file is damaged ({error}); create or download it again")


def _gzip(blocks: Iterator[bytes], where: str) -> Iterator[bytes]:
    member = zlib.decompressobj(31)
    began = False  # whether the current member has begun
    for block in blocks:
        rest = block
        while rest:
            try:
                out = member.decompress(rest, BLOCK)
            except zlib.error as error:
                raise _damaged(where, "gzip", error) from error
            began = True
            if out:
                yield out
            if not member.eof:
                rest = member.unconsumed_tail
                continue
            rest = member.unused_data.lstrip(b"\0")  # padding after the last member is valid
            member, began = zlib.decompressobj(31), False
    if began:
        raise _damaged(where, "gzip", "unexpected end")


class _File(io.RawIOBase):
    """A file object over an iterator of blocks, for Arrow."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._rest = self._rest or next(self._blocks, b"")
        part, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


def _zstd(blocks: Iterator[bytes], where: str) -> Iterator[bytes]:
    import pyarrow as pa

    stream = pa.CompressedInputStream(pa.PythonFile(_File(blocks), "r"), "zstd")
    while True:
        try:
            block: bytes = stream.read(BLOCK)
        except OSError as error:
            raise _damaged(where, "Zstandard", str(error).rstrip(".")) from error
        if not block:
            return
        yield block


# Detection reads the first block, and of the second only whether there is one.
_SECOND = 2**16


# The files of a folder or zip archive by relative name ("qrels/test.tsv"), each with a function that opens it. Reading raises OSError
# if the archive is damaged.
Parts = dict[str, Callable[[], BinaryIO]]


def parts_of(path: Path, file: BinaryIO | None = None) -> Parts | None:
    """Return the parts of a folder or zip archive, or None if the path is neither.

    `file` has the archive's bytes if `path` is only a name.

    Raises:
        InputError: the archive is damaged.
    """
    if file is None and path.is_dir():
        found = sorted(each for each in (*path.iterdir(), *path.glob("qrels/*")) if each.is_file())
        return {each.relative_to(path).as_posix(): partial(io.FileIO, each) for each in found}
    if file is None:
        if not path.is_file():  # a pipe can be read only once
            return None
        with path.open("rb") as probe:
            if probe.read(4) != b"PK\x03\x04":
                return None
    archive = _opened(path if file is None else file, str(path))
    # Some archivers write absolute names; nothing is unpacked, so they are treated as relative.
    infos = {info.filename.lstrip("/"): info for info in archive.infolist() if not info.is_dir() and not _is_clutter(info.filename)}
    inner = posixpath.commonpath([posixpath.dirname(name) or "." for name in infos]) if infos else ""
    if inner not in ("", ".") and all(name.startswith(f"{inner}/") for name in infos):
        infos = {name.removeprefix(f"{inner}/"): info for name, info in infos.items()}
    return {name: partial(_member, archive, info, str(path)) for name, info in sorted(infos.items())}


def single(file: BinaryIO, where: str) -> Iterator[bytes]:
    """Yield the bytes of the only file in an archive.

    Raises:
        InputError: the archive is damaged, or does not hold exactly one file.
    """
    with file:
        archive = _opened(file, where)
        names = [info.filename for info in archive.infolist() if not info.is_dir() and not _is_clutter(info.filename)]
        if "[Content_Types].xml" in names:
            raise InputError(f"{where}: the file is an Office document; save the table as CSV")
        if len(names) != 1:
            raise InputError(
                f"{where}: the zip archive holds {len(names):,} files; it must hold one, or a BEIR data set "
                "(corpus.jsonl, queries.jsonl, qrels/*.tsv)"
            )
        with _member(archive, archive.getinfo(names[0]), where) as stream:
            try:
                yield stream.read(BLOCK)
                yield stream.read(_SECOND)
                while block := stream.read(BLOCK):
                    yield block
            except OSError as error:
                raise InputError(f"{where}: cannot be read ({error.strerror or error})") from error


def _is_clutter(name: str) -> bool:
    return name.startswith("__MACOSX/") or name.rsplit("/", 1)[-1].startswith(".")


def _opened(file: Path | BinaryIO, where: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError) as error:  # also undecodable names and newer formats
        raise InputError(f"{where}: the zip archive is damaged ({error}); create or download it again") from error


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> BinaryIO:
    try:
        return io.BufferedReader(_Member(archive.open(info), info, where), _SECOND)
    # A password, an unsupported method, a wrong offset.
    except (zipfile.BadZipFile, RuntimeError, OSError, EOFError, ValueError, lzma.LZMAError, zlib.error) as error:
        raise InputError(f"{where}: {info.filename} cannot be unpacked ({error}); create the archive again") from error


class _Member(io.RawIOBase):
    """A part of an archive while it is unpacked: damage raises OSError, and growth is bounded."""

    def __init__(self, stream: Any, info: zipfile.ZipInfo, where: str) -> None:
        self._stream, self._info, self._where = stream, info, where
        self._given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            block = self._stream.read(len(buffer))
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError, IndexError, struct.error) as error:
            raise OSError(f"the archive is damaged: {error}") from error
        buffer[: len(block)] = block
        self._given += len(block)
        check_growth(self._given, self._info.compress_size, f"{self._where}, {self._info.filename}")
        return len(block)

    def close(self) -> None:
        self._stream.close()
        super().close()
