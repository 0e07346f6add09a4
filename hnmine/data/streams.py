"""Packed bytes, unpacked block by block as they are read: gzip through zlib, Zstandard through Arrow, which is there anyway.

Packing is told by the first bytes, never by a file's name. What comes out is bounded: texts pack at most some thirty to one, so a file
that has grown 250-fold beyond its first 256 MiB is damaged or was made to fill a disk, and is refused. Unpacking takes 4 ns a byte
(gzip) or 0.5 (Zstandard); reading the rows behind it takes 5.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from typing import Any, Literal

from hnmine.core.errors import InputError

__all__ = ["BLOCK", "Packing", "grown", "packing_of", "unpacked"]

Packing = Literal["", "gzip", "zstd"]

# Read at once: fits the processor's cache, and is large enough that the call costs nothing.
BLOCK = 2**20
_GROWTH, _FREE = 250, 256 * 2**20


def packing_of(head: bytes) -> Packing:
    """Return how a file that begins with `head` is packed; "" for not at all."""
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    # 0x184D2A50 to 5F are skippable frames, which a file of several may begin with.
    if head.startswith(b"\x28\xb5\x2f\xfd") or (len(head) > 3 and head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5):
        return "zstd"
    return ""


def unpacked(packing: Packing, blocks: Iterator[bytes], where: str) -> Iterator[bytes]:
    """Yield in blocks what `blocks` hold unpacked; several members one behind the other count as one.

    Raises:
        InputError: the bytes are damaged, end too early, or grow without measure; `where` is the file.
    """
    taken = given = 0

    def counted() -> Iterator[bytes]:
        nonlocal taken
        for block in blocks:
            taken += len(block)
            yield block

    for block in (_gzip if packing == "gzip" else _zstd)(counted(), where):
        given += len(block)
        grown(given, taken, where)
        yield block


def grown(given: int, taken: int, where: str) -> None:
    """Check that `taken` bytes have not become too many.

    Raises:
        InputError: they have.
    """
    if given > _FREE and given > _GROWTH * taken:
        raise InputError(f"{where}: it grows more than {_GROWTH}-fold when unpacked, as no text does; unpack it and look inside")


def _damaged(where: str, packing: str, error: object) -> InputError:
    return InputError(f"{where}: the {packing} file is damaged ({error}); make or download it again")


def _gzip(blocks: Iterator[bytes], where: str) -> Iterator[bytes]:
    member = zlib.decompressobj(31)
    began = False  # whether the present member has had a byte
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
            rest = member.unused_data.lstrip(b"\0")  # padding behind the last member is legal
            member, began = zlib.decompressobj(31), False
    if began:
        raise _damaged(where, "gzip", "it ends too early")


class _File(io.RawIOBase):
    """What Arrow reads blocks from."""

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
