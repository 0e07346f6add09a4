"""Batches of Arrow as JSON lines, in bounded memory.

Two kilobytes of Parquet can repeat one long text a million times, so lengths are checked in Arrow before any text is built, and a
row beyond the limit is reported unbuilt. Rows are built a batch at a time, and one by one if a batch is large; this takes 10 of the
40 µs for an ordinary row. Times become ISO 8601 texts with nanoseconds, which Python's types lack. Values without a text form are
problems of their row. `arrow_files` makes the batches.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

__all__ = ["BATCH_BYTES", "Fault", "Opened", "lines", "texts_in"]

BATCH_BYTES = 8 * 2**20  # of texts built at once
_PER = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_encode = msgspec.json.Encoder(decimal_format="number").encode

Spell = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a row cannot be read: a kind of `problems`, with message and remedy, or `size` for "line-too-long"."""

    kind: str
    message: str = ""
    remedy: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class Opened:
    """An open file: its schema, and a function that yields the batches of the columns of these names."""

    schema: Any
    batches: Callable[[list[str]], Iterator[Any]]


def texts_in(schema: Any) -> list[str]:
    """Return the names of the columns without binary values, which JSON can represent."""
    return [field.name for field in schema if not _is_binary(field.type)]


def lines(file: Opened, names: list[str], limit: int) -> Iterator[bytes | Fault]:
    """Yield each row as a JSON object, or a Fault.

    Args:
        file: as returned by `parquet.opened` or `ipc.opened`.
        names: the columns to read.
        limit: most bytes of a row.

    Raises:
        ArrowException, OSError, ValueError: the file is damaged.
    """
    import pyarrow as pa

    fields = [file.schema.field(name) for name in names]
    floats = any(_has(pa.types.is_floating, field.type) for field in fields)
    classes = _classes(file.schema)
    spells = {field.name: spell for field in fields if (spell := _named(classes.get(field.name)) or _spell(field.type))}
    raws = pa.schema([(field.name, _raw(field.type)) for field in fields])

    def built(part: Any) -> Iterator[bytes]:
        for record in part.cast(raws).to_pylist():
            for name, spell in spells.items():
                if record[name] is not None:
                    record[name] = spell(record[name])
            # NaN must be reported, but msgspec writes it as null.
            yield json.dumps(record, ensure_ascii=False, default=msgspec.to_builtins).encode() if floats else _encode(record)

    for batch in file.batches(names):
        if _min_bytes(batch.to_struct_array()) <= min(BATCH_BYTES, limit):
            try:
                yield from list(built(batch))
                continue
            except (ValueError, OverflowError, TypeError, pa.ArrowException):
                pass  # row by row, to find the bad one
        for number in range(batch.num_rows):
            row = batch.slice(number, 1)
            if (size := _min_bytes(row.to_struct_array())) > limit:
                yield Fault("line-too-long", size=size)
                continue
            try:
                (line,) = built(row)
            except (ValueError, OverflowError, TypeError, pa.ArrowException) as error:
                yield _fault(row, built, error)
            else:
                yield line


def _fault(row: Any, built: Callable[[Any], Iterator[bytes]], error: Exception) -> Fault:
    """Return the Fault of a row that could not be built: its first bad column."""
    name = next((name for place, name in enumerate(row.schema.names) if not _is_valid(row.column(place), row.schema.field(place))), "")
    where = f"in the column `{name}`" if name else "in the row"
    if isinstance(error, UnicodeDecodeError):
        return Fault("not-utf8", f"not UTF-8: byte 0x{error.object[error.start]:02x} {where}", "save the texts as UTF-8")
    reason = str(error).split("\n")[0].rstrip(".")
    return Fault("bad-record", f"a value {where} cannot be read ({reason})", "correct the value, or write the column as text")


def _is_valid(column: Any, field: Any) -> bool:
    import pyarrow as pa

    try:
        spell = _spell(field.type)
        for value in column.cast(_raw(field.type)).to_pylist():
            _encode(spell(value) if spell and value is not None else value)
    except (ValueError, OverflowError, TypeError, pa.ArrowException):
        return False
    return True


def _min_bytes(array: Any) -> int:
    """Return a lower bound of the bytes of these values as JSON: those of the texts, and one for anything else."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if pa.types.is_string_view(kind):  # Arrow has no length kernel; each 16-byte view begins with its length
        views = memoryview(array.buffers()[1] or b"").cast("B").cast("i")
        return sum(views[4 * array.offset : 4 * (array.offset + len(array)) : 4]) + len(array)
    if _is_string(kind):
        return int(pc.sum(pc.binary_length(array)).as_py() or 0) + len(array)
    if pa.types.is_dictionary(kind):
        if not _is_string(kind.value_type):
            return len(array)
        lengths = pc.cast(pc.binary_length(array.dictionary), pa.int64())
        return int(pc.sum(lengths.take(array.indices)).as_py() or 0) + len(array)
    if pa.types.is_struct(kind):
        return sum(map(_min_bytes, array.flatten())) + len(array)
    if pa.types.is_map(kind):
        begin, end = array.offsets[0].as_py(), array.offsets[len(array)].as_py()
        return sum(_min_bytes(part.slice(begin, end - begin)) for part in (array.keys, array.items)) + len(array)
    if kind.num_fields:  # any type of list
        return _min_bytes(array.flatten()) + len(array)
    return len(array)


def _raw(kind: Any) -> Any:
    """Return the type that values are cast to: no dictionaries, and integers for times."""
    import pyarrow as pa

    types = pa.types
    if types.is_null(kind):  # casting a slice of a struct aborts the process if one of its fields keeps this type (Arrow 26)
        return pa.bool_()
    if types.is_dictionary(kind):
        return _raw(kind.value_type)
    if types.is_date32(kind) or types.is_time32(kind):
        return pa.int32()
    if types.is_temporal(kind) and not types.is_interval(kind):
        return pa.int64()
    if types.is_struct(kind):
        return pa.struct([field.with_type(_raw(field.type)) for field in kind])
    if types.is_map(kind):
        return pa.map_(_raw(kind.key_type), _raw(kind.item_type))
    if types.is_fixed_size_list(kind):
        return pa.list_(_raw(kind.value_type), kind.list_size)
    if types.is_list(kind):
        return pa.list_(_raw(kind.value_type))
    if types.is_large_list(kind):
        return pa.large_list(_raw(kind.value_type))
    return kind


def _classes(schema: Any) -> dict[str, Any]:
    """Return the features that `datasets` keeps in a schema, by column."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _named(feature: Any) -> Spell | None:
    """Return a function that converts the integers of a ClassLabel to their names, also in lists and objects, or None if there are none."""
    if isinstance(feature, list) and len(feature) == 1:
        feature = {"_type": "List", "feature": feature[0]}
    if not isinstance(feature, dict):
        return None
    names = feature.get("names")
    if feature.get("_type") == "ClassLabel" and isinstance(names, list):
        return lambda value: None if value == -1 else names[value] if isinstance(value, int) and 0 <= value < len(names) else value
    if "_type" in feature:
        inside = _named(feature.get("feature"))
        # A sequence of objects is stored as an object of lists.
        return None if inside is None else lambda value: [_by(inside, each) for each in value] if isinstance(value, list) else inside(value)
    inner = {name: spell for name, each in feature.items() if (spell := _named(each))}
    return (lambda value: {k: _listed(inner[k], v) if k in inner else v for k, v in value.items()}) if inner else None


def _listed(spell: Spell, value: Any) -> Any:
    return [_by(spell, each) for each in value] if isinstance(value, list) else _by(spell, value)


def _spell(kind: Any) -> Spell | None:
    """Return a function that converts times within a value of `_raw(kind)` to text, or None if there are none."""
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        return _spell(kind.value_type)
    if types.is_struct(kind):
        inner = {field.name: spell for field in kind if (spell := _spell(field.type))}
        return (lambda value: {k: inner[k](v) if k in inner and v is not None else v for k, v in value.items()}) if inner else None
    if types.is_map(kind):
        key, item = _spell(kind.key_type), _spell(kind.item_type)
        return (lambda value: [(_by(key, k), _by(item, v)) for k, v in value]) if key or item else None
    if kind.num_fields == 1 and (element := _spell(kind.field(0).type)):
        return lambda value: [_by(element, each) for each in value]
    if types.is_date(kind):
        per = 1 if types.is_date32(kind) else 86_400_000
        return lambda value: (date(1970, 1, 1) + timedelta(days=value // per)).isoformat()
    if types.is_timestamp(kind):
        zone = pa.lib.string_to_tzinfo(kind.tz) if kind.tz else None
        return lambda value: _instant(value, _PER[kind.unit], zone)
    if types.is_time(kind):
        return lambda value: _instant(value, _PER[kind.unit], None).split("T")[1]
    if types.is_duration(kind):
        return lambda value: _span(value, _PER[kind.unit])
    return None


def _by(spell: Spell | None, value: Any) -> Any:
    return value if spell is None or value is None else spell(value)


def _instant(value: int, per: int, zone: Any) -> str:
    seconds, rest = divmod(value, per)
    nanoseconds = rest * (10**9 // per)
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    local = moment.astimezone(zone) if zone else moment
    offset = local.isoformat()[19:].replace("+00:00", "Z") if zone else ""
    fraction = "" if not nanoseconds else f".{nanoseconds // 1000:06}" if nanoseconds % 1000 == 0 else f".{nanoseconds:09}"
    return local.isoformat()[:19] + fraction + offset


def _span(value: int, per: int) -> str:
    """Return a duration, such as P1DT3.5S."""
    days, rest = divmod(abs(value), 86_400 * per)
    seconds, part = divmod(rest, per)
    fraction = f".{part * (10**9 // per):09}".rstrip("0").rstrip(".")
    text = (f"{days}D" if days or not rest else "") + (f"T{seconds}{fraction}S" if rest else "")
    return ("-P" if value < 0 else "P") + text


def _is_string(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _has(test: Callable[[Any], bool], kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _has(test, kind.value_type)
    return bool(test(kind)) or any(_has(test, kind.field(place).type) for place in range(kind.num_fields))


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    types = pa.types
    tests = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    return _has(lambda each: any(test(each) for test in tests), kind)
