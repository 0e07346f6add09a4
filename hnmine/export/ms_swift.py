"""JSON lines for the embedding training of ms-swift (InfoNCE): chats of one message each.

ms-swift takes exactly one positive a row, so a query with several has a row for each. It uses the first INFONCE_HARD_NEGATIVES of the
negatives, which are the hardest. Rows without negatives have no `negative_messages`: ms-swift then takes those of the batch. It replaces
the tags <image>, <video> and <audio> in a text by a file, so texts with them are counted.
Source: https://swift.readthedocs.io/en/latest/BestPractices/Embedding.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from hnmine.export.examples import ExportPart

__all__ = ["ms_swift"]

_TAGS = re.compile("<(image|video|audio)>")
_encode = msgspec.json.Encoder().encode


def ms_swift(part: ExportPart) -> Iterator[bytes]:
    """Yield one line for each positive: `messages`, `positive_messages` and `negative_messages`."""

    def chat(text: str) -> bytes:
        return b'[{"role": "user", "content": ' + _encode(text) + b"}]"

    for example in part.examples():
        part.counts["without"] += not example.negatives
        part.counts["tags"] += sum(_TAGS.search(text) is not None for text in (example.text, *example.positives, *example.negatives))
        head = b'{"messages": ' + chat(example.text) + b', "positive_messages": ['
        tail = b', "negative_messages": [' + b", ".join(map(chat, example.negatives)) + b"]}\n" if example.negatives else b"}\n"
        for positive in example.positives:
            part.written += 1
            yield head + chat(positive) + b"]" + tail
