"""The batches of a Parquet file, in bounded memory.

Columns that could grow when they are unpacked are read as dictionaries. Rows are read in batches by the mean size of their group.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hnmine.data.formats.arrow import BATCH_BYTES, Opened
from hnmine.data.formats.streams import check_growth

__all__ = ["opened"]

_BUFFER = 2**16  # bytes read at once: the first rows need the first page of each column, not the whole group
_ROWS = 64
_SMALL = 4 * 2**20  # uncompressed column chunk up to which a dictionary is cheap
_DENSE = 30  # highest compression ratio of ordinary texts


def opened(handle: Any, size: int, where: str) -> Opened:
    """Open a Parquet file; columns that could grow are read as dictionaries.

    Args:
        handle: a seekable file.
        size: its bytes.
        where: the file, for messages.

    Raises:
        InputError: its uncompressed size is beyond the limit.
        ArrowException, OSError: it is damaged.
    """
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(handle)
    risky, claimed = set(), 0
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(place)
            claimed += max(chunk.total_uncompressed_size, chunk.num_values)
            if chunk.physical_type == "BYTE_ARRAY" and chunk.has_dictionary_page and _may_grow(chunk):
                risky.add(chunk.path_in_schema)
    check_growth(claimed, size, where)
    file = pq.ParquetFile(handle, metadata=metadata, read_dictionary=sorted(risky), buffer_size=_BUFFER, pre_buffer=False)

    def batches(names: list[str]) -> Iterator[Any]:
        for group in range(metadata.num_row_groups):
            yield from file.iter_batches(_batch_rows(metadata.row_group(group)), [group], names, use_threads=False)

    return Opened(file.schema_arrow, batches)


def _may_grow(chunk: Any) -> bool:
    unpacked: int = chunk.total_uncompressed_size
    if unpacked * chunk.num_values <= BATCH_BYTES:
        return False
    dictionary: int = chunk.data_page_offset - (chunk.dictionary_page_offset or 0)
    return unpacked <= _SMALL or unpacked > _DENSE * int(chunk.total_compressed_size) or dictionary > _SMALL


def _batch_rows(group: Any) -> int:
    """Return the number of rows of a group to read at once."""
    rows = BATCH_BYTES * 4 * group.num_rows // max(group.total_byte_size, 1)
    for place in range(group.num_columns):
        chunk = group.column(place)
        if "DELTA_BYTE_ARRAY" in chunk.encodings:  # each value may repeat a prefix of the one before
            rows = min(rows, BATCH_BYTES * 4 // max(chunk.total_uncompressed_size, 1))
    return int(min(max(rows, 1), _ROWS))
