"""What cannot be read: formats by their first bytes, and whatever a reader raises, as an error with the file and the line."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator

from hnmine.core.errors import HnmineError, InputError
from hnmine.core.text import one_line

__all__ = ["ARROW", "reason_of", "unreadable_as_input_error", "unsupported"]


# First bytes of an Arrow file and an Arrow stream.
ARROW = (b"ARROW1", b"\xff\xff\xff\xff")
_TABLE = "write the table as Parquet, CSV or JSON lines"
# First bytes -> what the file is, and the remedy.
_KNOWN = {
    b"PAR1": "a Parquet file, which is not supported here; write it as JSON lines",
    b"PK\x03\x04": "a zip archive, which is not supported here; unpack it first",
    b"BZh": "compressed with bzip2; unpack it first (bunzip2)",
    b"\xfd7zXZ\0": "compressed with xz; unpack it first (unxz)",
    b"\x04\x22\x4d\x18": "compressed with LZ4; unpack it first (lz4 -d)",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it first (7z x)",
    b"Rar!\x1a\x07": "a RAR archive; unpack it first (unrar x)",
    **dict.fromkeys(ARROW, "an Arrow file, which is not supported here; write it as JSON lines"),
    b"Obj\x01": f"an Avro file; {_TABLE}",
    b"\x89HDF\r\n\x1a\n": f"an HDF5 file; {_TABLE}",
    b"\x93NUMPY": f"an array of NumPy; {_TABLE}",
    b"%PDF-": f"a PDF document; {_TABLE}",
    b"{\\rtf": f"an RTF document; {_TABLE}",
    b"version https://git-lfs": "a pointer of Git LFS in place of the data; fetch the data (git lfs pull)",
    b"SQLite format 3\0": "an SQLite database; export the table as CSV or JSON lines",
    **dict.fromkeys((b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8"), f"an image; {_TABLE}"),
    b"\xd0\xcf\x11\xe0": "an old Office document, such as .xls; save it as .xlsx or CSV",
}
_PICKLE = re.compile(rb"\x80[\x02-\x05](\x95.{6}\0\0|[(}\]c])", re.DOTALL)
_ORC = re.compile(rb"ORC.{1,16}?[\0-\x08]", re.DOTALL)
_HTML = re.compile(rb"(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)?<(!doctype\s+html|html|head|body|table|meta)[\s>]", re.IGNORECASE | re.DOTALL)
_XML = re.compile(rb"(\xef\xbb\xbf)?\s*<\?xml\s", re.IGNORECASE)
_MARK, _PLACE = b"ustar", 257  # of a tar archive


def unsupported(head: bytes) -> str:
    """Return what a file that begins with these bytes is, and how to get at its data; "" if it may be read."""
    if known := next((what for first, what in _KNOWN.items() if head.startswith(first)), ""):
        return known
    if head.startswith(_MARK, _PLACE):
        return "a tar archive; unpack it first (tar -xf), and give the folder"
    if _PICKLE.match(head):
        return f"a pickle, which is never opened because it may run code; {_TABLE}"
    if _ORC.match(head):
        return f"an ORC file; {_TABLE}"
    if _HTML.match(head[:4096]):
        return f"an HTML page: an error page in place of the data, or a table; download it again, or {_TABLE}"
    if _XML.match(head[:4096]):
        return f"an XML document; {_TABLE}"
    return ""


_LONGEST = 200  # characters of a reason


def reason_of(error: Exception) -> str:
    """Return an exception in a few words on one line."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    first = str(error).partition("\n")[0]
    return one_line(f"{type(error).__name__}: {first}" if first else type(error).__name__, _LONGEST)


@contextlib.contextmanager
def unreadable_as_input_error(where: Callable[[], str]) -> Iterator[None]:
    """Raise InputError in place of any exception of a parser; `where` returns the file, and the line where there is one.

    Raises:
        InputError: the code inside raised another exception.
    """
    try:
        yield
    except (HnmineError, MemoryError):
        raise
    except Exception as error:
        remedy = "correct the file there, or write it again as JSON lines, CSV or Parquet"
        raise InputError(f"{where()}: cannot be read ({reason_of(error)}); {remedy}") from error
