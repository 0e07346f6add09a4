"""Text: normalisation and hashes, and the words that a passage shares with other texts, for highlighting.

Two texts are equal if they agree after Unicode NFC, case folding and white-space folding. Words are runs of letters and
digits; scripts without spaces (Chinese, Japanese, Thai) use pairs of neighbouring characters. Words that are frequent in
a sample of the corpus ("the", "of", "die") are left out, so no stop-word list per language is needed.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

__all__ = [
    "common_words",
    "counted",
    "legible",
    "line_of",
    "normalize_text",
    "one_line",
    "shared",
    "shortened",
    "text_hash",
    "visible",
    "words_of",
]

SAMPLE = 1_000
# A word is common if it occurs in more than this share of the sampled texts, and in at least so many of them.
COMMON_SHARE, COMMON_LEAST = 0.08, 20

# Controls, separators of lines, marks and overrides of direction, lone surrogates.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]")
_RUN = re.compile(r"[^\W_]+")
_NO_BLANKS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


def words_of(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, folded) of each word of a text; for scripts without spaces, of each two neighbouring characters."""
    blankless = _NO_BLANKS.search(text) is not None  # asked once: of each word, it takes as long as all else
    for run in _RUN.finditer(text):
        if blankless and len(run[0]) > 2 and _NO_BLANKS.search(run[0]):
            for start in range(run.start(), run.end() - 1):
                yield start, start + 2, text[start : start + 2].casefold()
        else:
            yield run.start(), run.end(), run[0].casefold()


def common_words(texts: Sequence[str]) -> frozenset[str]:
    """Return the words that are too frequent in these texts to be informative; at most SAMPLE evenly spaced texts are read."""
    step = max(1, len(texts) // SAMPLE)
    sample = texts[::step][:SAMPLE]
    counts = Counter(word for text in sample for word in {word for _, _, word in words_of(text)})
    least = max(COMMON_LEAST, COMMON_SHARE * len(sample))
    return frozenset(word for word, number in counts.items() if number >= least)


def shared(text: str, others: Iterable[str], common: frozenset[str] = frozenset()) -> list[tuple[int, int]]:
    """Return the (start, end) spans of the words of `text` that occur in any of `others` and are not common; no overlaps."""
    wanted = {word for other in others for _, _, word in words_of(other)} - common
    spans: list[tuple[int, int]] = []
    for start, end, word in words_of(text):
        if word not in wanted:
            continue
        if spans and start < spans[-1][1]:
            spans[-1] = spans[-1][0], end  # pairs of neighbouring characters overlap
        else:
            spans.append((start, end))
    return spans


# ASCII bytes to lower case, and what `str.split` treats as white space to a space; other bytes of UTF-8 unchanged.
_PLAIN = bytes(32 if chr(code).isspace() else ord(chr(code).lower()) for code in range(128)) + bytes(range(128, 256))


# More marks on one letter than any script has: sorting them takes time by the square of their number.
_MARKS = 1_000
_MANY_MARKS = re.compile(rf"[^\w\s!-~]{{{_MARKS}}}")  # marks, and what else is no letter


def _composed(text: str) -> str:
    """Return the NFC of a text; of a letter with very many marks, in parts."""
    if not _MANY_MARKS.search(text):
        return unicodedata.normalize("NFC", text)
    parts, begin, marks = [], 0, 0
    for place, letter in enumerate(text):
        marks = marks + 1 if unicodedata.combining(letter) else 0
        if marks == _MARKS:
            parts.append(text[begin:place])
            begin, marks = place, 0
    return "".join(unicodedata.normalize("NFC", part) for part in (*parts, text[begin:]))


def _folded(text: str) -> bytes:
    if text.isascii():
        folded = text.encode().translate(_PLAIN)
        if b"  " not in folded and folded[:1] != b" " != folded[-1:]:  # the common case: nothing to split
            return folded
        return b" ".join(folded.split())
    # Case folding can decompose (U+0130), so NFC is applied again after it.
    wide = _composed(_composed(text).casefold())
    if not wide.isprintable() or "  " in wide or wide[:1] == " " or wide[-1:] == " ":  # no white space but the space is printable
        wide = " ".join(wide.split())
    return wide.encode("utf-8", "surrogatepass")


def _hash(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def normalize_text(text: str) -> str:
    """Return the normal form that decides whether two texts are equal: NFC, case-folded, white space as single spaces."""
    return _folded(text).decode("utf-8", "surrogatepass")


def text_hash(text: str) -> int:
    """Return a 64-bit BLAKE2b hash of `text`, the same in every process and on every machine."""
    return _hash(text.encode("utf-8", "surrogatepass"))


def counted(number: int, one: str, many: str = "") -> str:
    """Return "1 row", "1,200 rows"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def legible(text: str, *, line: int = 1_000, longest: int = 4_000) -> str:
    """Return a message that a terminal or a screen shows as it is written.

    Characters that could rearrange it (control characters, marks of direction, halves of surrogate pairs) are escaped, as `\\u202e`. Line
    breaks stay. A line beyond `line` characters and a message beyond `longest` lose their middle: place and remedy are at the ends.
    """
    if not text.isprintable():
        text = "".join(map(_escaped, text))
    if len(text) > line:
        text = "\n".join(_without_middle(each, line) for each in text.split("\n"))
    return _without_middle(text, longest)


def one_line(text: str, longest: int) -> str:
    """Return a value as `legible` does, with its line breaks escaped too."""
    return legible(text.replace("\n", "\\n"), line=longest, longest=longest)


def _escaped(letter: str) -> str:
    if letter == "\n" or letter.isprintable() or unicodedata.category(letter) == "Zs":
        return letter
    return letter.encode("unicode_escape").decode()


def _without_middle(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    end = longest // 3
    return f"{text[: longest - end - 3]} … {text[-end:]}"


def visible(name: str) -> str:
    """Return a name as it is shown: what a reader cannot see, or what turns the direction of what follows, as U+FFFD.

    Joiners (U+200C, U+200D) stay: Persian, Indic scripts and emoji need them.
    """
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", name)


def line_of(text: str, longest: int) -> str:
    """Return a name or note of a user as one visible line of at most so many characters, to be stored."""
    return visible(" ".join(text.split()))[:longest].strip()


def shortened(text: str, width: int = 90) -> str:
    """Return the beginning of a text on one line, without control characters."""
    text = " ".join(text[: 4 * width].split())
    text = visible(text)
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"
