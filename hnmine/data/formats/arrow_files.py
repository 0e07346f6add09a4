"""Parquet files, and Arrow IPC files and streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hnmine.core.errors import InputError
from hnmine.data.formats.arrow import BATCH_BYTES, Opened
from hnmine.data.formats.streams import check_growth
from hnmine.data.formats.unreadable import ARROW

__all__ = ["opened_ipc", "opened_parquet"]


_BUFFER = 2**16  # bytes read at once: the first rows need the first page of each column, not the whole group
_ROWS = 64
_SMALL = 4 * 2**20  # uncompressed column chunk up to which a dictionary is cheap
_DENSE = 30  # highest compression ratio of ordinary texts


def opened_parquet(handle: Any, size: int, where: str) -> Opened:
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


def opened_ipc(handle: Any, size: int, where: str) -> Opened:
    """Open an Arrow file or stream.

    Args:
        handle: a seekable file; one of Arrow that maps memory is read without a copy.
        size: its bytes.
        where: the file, for messages.

    Raises:
        InputError: a column has a type without a JSON form.
        ArrowException, OSError: the file is damaged.
    """
    import pyarrow as pa

    handle.seek(0)
    is_file = handle.read(len(ARROW[0])) == ARROW[0]
    handle.seek(0)
    reader = pa.ipc.open_file(handle) if is_file else pa.ipc.open_stream(handle)
    for field in reader.schema:
        if (odd := _unsupported(field.type)) is not None:
            raise InputError(f"{where}: the column `{field.name}` has the type {odd}, which is not supported; write it as text or a list")

    def batches(names: list[str]) -> Iterator[Any]:
        unpacked = 0
        for number in range(reader.num_record_batches) if is_file else iter(int, 1):
            try:
                batch = reader.get_batch(number) if is_file else reader.read_next_batch()
            except StopIteration:
                return
            unpacked += batch.get_total_buffer_size()
            check_growth(unpacked, size, where)
            batch = batch.select(names)
            for column in batch.columns:
                _validate(column)
            for begin in range(0, batch.num_rows, _ROWS):
                yield batch.slice(begin, _ROWS)

    return Opened(reader.schema, batches)


def _validate(column: Any) -> None:
    import pyarrow as pa

    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        flat = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        if not (flat and "UTF8" in str(error)):  # the offsets of a flat column are valid then
            raise


def _unsupported(kind: Any) -> Any:
    """Return the first type within `kind` that is not read, or None."""
    import pyarrow as pa

    types = pa.types
    if isinstance(kind, pa.BaseExtensionType) or types.is_union(kind) or types.is_run_end_encoded(kind):
        return kind
    if types.is_list_view(kind) or types.is_large_list_view(kind):
        return kind
    if types.is_dictionary(kind):
        return _unsupported(kind.value_type)
    return next((odd for place in range(kind.num_fields) if (odd := _unsupported(kind.field(place).type)) is not None), None)
