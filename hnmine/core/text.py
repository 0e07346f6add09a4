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

__all__ = ["common_words", "counted", "normalize_text", "shared", "shortened", "text_hash", "visible", "words_of"]

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


def _folded(text: str) -> bytes:
    if text.isascii():
        folded = text.encode().translate(_PLAIN)
        if b"  " not in folded and folded[:1] != b" " != folded[-1:]:  # the common case: nothing to split
            return folded
        return b" ".join(folded.split())
    # Case folding can decompose (U+0130), so NFC is applied again after it.
    wide = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
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


def visible(name: str) -> str:
    """Return a name as it is shown: what a reader cannot see, or what turns the direction of what follows, as U+FFFD.

    Joiners (U+200C, U+200D) stay: Persian, Indic scripts and emoji need them.
    """
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", name)


def shortened(text: str, width: int = 90) -> str:
    """Return the beginning of a text on one line, without control characters."""
    text = " ".join(text[: 4 * width].split())
    text = visible(text)
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"
