"""JSON and plain values into types of ours, by msgspec, safely from several threads.

At the first use of a class msgspec fills in what it knows of its fields, and another thread that needs the class meanwhile ends the whole
process with a segmentation fault (msgspec 0.22). So the first use of each type is under a lock, and nothing else of this project gives
msgspec a class of ours.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

__all__ = ["convert", "decode", "decoder"]

T = TypeVar("T")

_lock = threading.RLock()
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def decoder(kind: type[T]) -> Callable[[bytes | str], T]:
    """Return the function that reads JSON of a type.

    It raises:
        msgspec.DecodeError: the text is no JSON; as msgspec.ValidationError, its value is not of the type.
    """
    return _decoder(kind).decode


def decode(content: bytes | str, kind: type[T]) -> T:
    """Return the value of a JSON text; errors as for `decoder`."""
    return decoder(kind)(content)


def convert(value: Any, kind: type[T]) -> T:
    """Return a value of dictionaries, lists and plain values as one of a type.

    Raises:
        msgspec.ValidationError: it is not of the type.
    """
    _decoder(kind)
    return msgspec.convert(value, kind)


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    found = _decoders.get(kind)
    if found is None:
        with _lock:
            found = _decoders.setdefault(kind, msgspec.json.Decoder(kind))
    return found
