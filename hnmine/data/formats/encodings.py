"""The encoding of a text file: UTF-8, UTF-16 by its byte order mark or its zeros, or the one that the user names.

Any other encoding is a guess and therefore a question (`EncodingError`), because cp1252 and cp1250 differ in a few letters only.
The guess is made from the lines that are not ASCII. A file with more UTF-8 characters than wrong bytes is UTF-8 with faults. Text is
transcoded block by block. Bytes without a character become 0xff, which UTF-8 never has, so that they are problems of their line.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from hnmine.core.errors import EncodingError, SettingsError

__all__ = ["encoding_named", "encoding_of", "transcoded"]

_MARKS = {
    codecs.BOM_UTF8: "",
    codecs.BOM_UTF32_LE: "utf-32",  # begins like the mark of UTF-16
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# The encodings that are guessed: those of files that people still have. Rare ones win too often on short texts.
_COMMON = ["cp1252", "gb18030", "big5", "cp932", "euc_jp", "cp949", "cp1251", "koi8_r", "cp1250", "cp1253", "cp1254", "cp1255",
           "cp1256", "cp1257", "cp1258", "cp874", "iso8859_2", "mac_roman", "cp850"]  # fmt: skip
_SAMPLE = 2**16  # bytes of the lines to guess from
_IN_CHARACTERS = bytes(range(0x30, 0x100))  # bytes that can be in a character of several
_FEWEST = 2  # lines: wrong bytes in one of many lines can be damage
_PREVIEWS, _WIDTH = 3, 80


def _no_character(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeDecodeError):
        return "\udfff", error.end
    if isinstance(error, UnicodeEncodeError):
        return b"\xff" * (error.end - error.start), error.end
    raise error


_ERRORS = "hnmine.no_character"
codecs.register_error(_ERRORS, _no_character)


def encoding_named(name: str | None) -> str:
    """Return Python's name of an encoding; "" for None.

    Raises:
        SettingsError: there is no such encoding.
    """
    if name is None:
        return ""
    try:
        b"a".decode(name, "replace")  # refuses codecs that are no encoding of text
        found = codecs.lookup(name).name
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise SettingsError(f"encoding is {name!r}, which Python does not know; use a name such as utf-8, cp1252 or gb18030") from error
    return "utf-8" if found in ("utf-8-sig", "ascii") else found


def encoding_of(head: bytes, given: str, where: str) -> str:
    """Return the encoding of a file that begins with `head`; "" for UTF-8.

    Args:
        given: the encoding that the user named, from `encoding_named`. A byte order mark and UTF-8 letters win over it: one name
            is given for all files of a run, and letters of another encoding are hardly ever valid UTF-8.
        where: the file, for messages.

    Raises:
        EncodingError: the encoding can only be guessed.
    """
    for mark, name in _MARKS.items():
        if head.startswith(mark):
            return name
    if b"\0" in head and (name := _wide(head)):
        return name
    if given in ("utf-16", "utf-32"):  # Python refuses them without a mark; Unicode reads them as big-endian
        given = f"{given}-be"
    if given == "utf-8":
        return ""
    if head.isascii():
        return given
    text = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(head)  # the last character may be cut off
    wrong = len(re.findall("[\udc80-\udcff]", text))
    valid = len(re.findall("[^\0-\x7f]", text)) - wrong
    if given:
        return "" if valid > 10 * wrong else given
    every = [line for line in head.split(b"\n") if line.strip()]
    lines = [line for line in every if not line.isascii()]
    if valid >= wrong or b"\0" in head or len(lines) < min(_FEWEST, len(every)) or not (guess := _guess(lines)):
        return ""
    preview = tuple(_around(line.decode(guess, "replace")) for line in lines[:_PREVIEWS])
    shown = "\n".join(f"  {each}" for each in preview)
    raise EncodingError(
        f"{where}: the file is not UTF-8. Its encoding is probably {guess}; then these are lines of it:\n{shown}\n"
        f'If they are correct, use --encoding {guess} (in Python columns=["encoding={guess}"]). If not, use another encoding, '
        "or save the file as UTF-8.",
        guess,
        preview,
    )


def _wide(head: bytes) -> str:
    """Return UTF-16 in the order of its bytes if each second byte is mostly 0, and the text has no control characters; else ""."""
    even, odd = (head[place::2].count(0) for place in (0, 1))
    if max(even, odd) * (5 if _is_utf8(head) else 40) < len(head) or min(even, odd) * 20 > max(even, odd):
        return ""
    name = "utf-16-le" if odd > even else "utf-16-be"
    try:
        text = codecs.getincrementaldecoder(name)().decode(head)
    except UnicodeDecodeError:
        return ""
    return "" if re.search(r"[\0-\x08\x0e-\x1f]", text) else name


def _is_utf8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _guess(lines: list[bytes]) -> str:
    from charset_normalizer import from_bytes

    sample = b"\n".join(lines)
    if len(sample) > _SAMPLE:  # no character is cut in two
        sample = sample[:_SAMPLE].rstrip(_IN_CHARACTERS) or sample[:_SAMPLE]
    found = from_bytes(sample, cp_isolation=_COMMON)
    best = found.best()
    if best is None:
        return ""
    # Of encodings that fit equally well, cp1252 is by far the most frequent.
    equal = {name for each in found if each.chaos <= best.chaos for name in each.could_be_from_charset}
    return "cp1252" if "cp1252" in equal else best.encoding


def _around(line: str) -> str:
    """Return the part of a line around its first letter that is not ASCII."""
    line = line.strip()
    place = next((place for place, letter in enumerate(line) if letter > "\x7f"), 0)
    begin = max(place - _WIDTH // 2, 0)
    return line[begin : begin + _WIDTH]


def transcoded(blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Yield the text of these blocks as UTF-8; a byte without a character becomes 0xff."""
    decoder = codecs.getincrementaldecoder(encoding)(_ERRORS)
    for block in blocks:
        if text := decoder.decode(block):
            yield text.encode("utf-8", _ERRORS)
    if text := decoder.decode(b"", final=True):
        yield text.encode("utf-8", _ERRORS)
