"""The words that a passage shares with other texts, so that a screen can mark them.

Words are runs of letters and digits, compared after case folding. Writing without blanks between words (Chinese, Japanese,
Thai) is compared by pairs of neighbouring characters. What stands in many texts of a corpus ("the", "of", "die") says
nothing and is left out: counted from a sample of the corpus, so no list of stop words for some languages is needed.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

__all__ = ["common_words", "normalize_text", "shared", "text_hash", "words_of"]

SAMPLE = 1_000
# Words of more than this share of the sampled texts are common; in fewer texts than this no word is.
COMMON_SHARE, COMMON_LEAST = 0.08, 20

_RUN = re.compile(r"[^\W_]+")
_NO_BLANKS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


def words_of(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, folded) of each word of a text; of writing without blanks, of each two neighbouring characters."""
    for run in _RUN.finditer(text):
        if _NO_BLANKS.search(run[0]) and len(run[0]) > 2:
            for start in range(run.start(), run.end() - 1):
                yield start, start + 2, text[start : start + 2].casefold()
        else:
            yield run.start(), run.end(), run[0].casefold()


def common_words(texts: Sequence[str]) -> frozenset[str]:
    """Return the words that are too frequent in these texts to tell anything; of many texts, evenly spread ones are read."""
    step = max(1, len(texts) // SAMPLE)
    sample = texts[::step][:SAMPLE]
    counts = Counter(word for text in sample for word in {word for _, _, word in words_of(text)})
    least = max(COMMON_LEAST, COMMON_SHARE * len(sample))
    return frozenset(word for word, number in counts.items() if number >= least)


def shared(text: str, others: Iterable[str], common: frozenset[str] = frozenset()) -> list[tuple[int, int]]:
    """Return (start, end) of the words of `text` that stand in any of `others` too, without common ones; none overlap."""
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


# Of the bytes of UTF-8, those of ASCII: small letters, and a blank for what `str.split` calls white space.
_PLAIN = bytes(32 if chr(code).isspace() else ord(chr(code).lower()) for code in range(128)) + bytes(range(128, 256))


def _folded(text: str) -> bytes:
    if text.isascii():
        folded = text.encode().translate(_PLAIN)
        if b"  " not in folded and folded[:1] != b" " != folded[-1:]:  # the usual text: no need to split it
            return folded
        return b" ".join(folded.split())
    # Case folding can decompose (U+0130), so NFC is needed again behind it.
    wide = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    if not wide.isprintable() or "  " in wide or wide[:1] == " " or wide[-1:] == " ":  # white space is not printable, but for the blank
        wide = " ".join(wide.split())
    return wide.encode("utf-8", "surrogatepass")


def _hash(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def normalize_text(text: str) -> str:
    """Return the form under which two texts count as the same: NFC, case-folded, white space as single blanks."""
    return _folded(text).decode("utf-8", "surrogatepass")


def text_hash(text: str) -> int:
    """Return a 64-bit hash of `text` that is the same in every process and on every machine (BLAKE2b)."""
    return _hash(text.encode("utf-8", "surrogatepass"))
