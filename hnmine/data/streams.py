"""Compressed files and zip archives, unpacked block by block as they are read.

gzip goes through zlib, Zstandard through Arrow; the first bytes decide, never the file name. The output is bounded: text
compresses at most about 30:1, so a file that has check_growth 250-fold beyond its first 256 MiB is refused. Unpacking takes 4 ns
a byte (gzip) or 0.5 ns (Zstandard); reading the rows takes 5 ns. A part of an archive is found by its name below the
common folder of all parts (BEIR archives hold `scifact/corpus.jsonl`), and nothing is unpacked to disk.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from typing import Any, Literal

from hnmine.core.errors import InputError

__all__ = ["BLOCK", "Packing", "check_growth", "packing_of", "unpacked"]

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
