"""The batches of an Arrow file or stream (Feather, the cache of `datasets`).

A file on disk is mapped into memory, so that a batch of any size costs nothing until its rows are built, 64 at a time. Arrow trusts
the offsets in a file, so each batch is validated first; texts that are not UTF-8 stay problems of their row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hnmine.core.errors import InputError
from hnmine.data.formats.arrow import Opened
from hnmine.data.formats.streams import check_growth
from hnmine.data.formats.unsupported import ARROW

__all__ = ["opened"]

_ROWS = 64


def opened(handle: Any, size: int, where: str) -> Opened:
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
