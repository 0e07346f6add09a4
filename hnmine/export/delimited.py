"""Delimited text: the triples of MS MARCO, and a CSV for a spreadsheet.

Neither can hold every text as it is. MS MARCO's triples have no quoting, so a tab or a line break within a text becomes a
blank. In a CSV a cell that begins like a formula would be run by the spreadsheet that opens it (a passage
`=HYPERLINK("http://...")` comes from whoever wrote the corpus), so it gets an apostrophe in front, which spreadsheets show
as text, as OWASP advises. How many cells were changed is told with the file. Source:
https://owasp.org/www-community/attacks/CSV_Injection
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hnmine.export.examples import ExportPart, names, query_ids

__all__ = ["is_formula", "msmarco", "spreadsheet"]

# What some reader or other takes for the end of a line, and the tab.
_BREAKS = re.compile("\r\n|[\t\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]")
# Full-width signs count in East Asian settings; blanks in front are skipped by some programs.
_FORMULA = re.compile(r"[\t\r\n]|\s*[=+\-@＝＋－＠]")
# Excel cuts longer cells, and reads no further.
CELL_LIMIT, ROW_LIMIT = 32_767, 1_048_576


def msmarco(part: ExportPart) -> Iterator[bytes]:
    """Yield `query <tab> positive <tab> negative`, one line for each triple, without a header and without quotes."""

    def flat(text: str) -> str:
        if text.isprintable():  # the usual text; none of the breaks is printable
            return text
        found, changed = _BREAKS.subn(" ", text)
        part.counted["flattened"] += bool(changed)
        return found

    for example in part.examples():
        part.counted["without"] += not example.negatives
        if not example.negatives:
            continue
        query = flat(example.text)
        negatives = [flat(text) for text in example.negatives]
        for positive in [flat(text) for text in example.positives]:
            part.written += len(negatives)
            yield "".join(f"{query}\t{positive}\t{negative}\n" for negative in negatives).encode()


def is_formula(text: str) -> bool:
    """Whether a spreadsheet might take a cell for a formula."""
    return _FORMULA.match(text) is not None


def spreadsheet(part: ExportPart) -> Iterator[bytes]:
    """Yield a CSV with a line for each pair: query_id, query, label, place, score if wanted, passage_id, passage.

    UTF-8 with a byte order mark, by which Excel knows it, and CRLF.
    """
    queries, docids = query_ids(part), names(part.corpus.passage_hashes)

    def cell(text: str) -> str:
        part.counted["too long"] += len(text) > CELL_LIMIT
        if is_formula(text):
            part.counted["prefixed"] += 1
            text = f"'{text}"
        return '"' + text.replace('"', '""') + '"'

    yield f"\ufeffquery_id,query,label,place,{'score,' if part.with_scores else ''}passage_id,passage\r\n".encode()
    for example in part.examples():
        start = f"{cell(queries[example.query])},{cell(example.text)}"
        lines: list[str] = []
        for label, texts, ids, scores in (
            ("positive", example.positives, example.positive_ids, example.positive_scores),
            ("negative", example.negatives, example.negative_ids, example.negative_scores),
        ):
            for place, (text, passage) in enumerate(zip(texts, ids, strict=True)):
                score = f"{scores[place]}," if part.with_scores else ""
                lines.append(f"{start},{label},{place + 1},{score}{docids[passage]},{cell(text)}\r\n")
        part.written += len(lines)
        yield "".join(lines).encode()
    if part.written >= ROW_LIMIT:
        part.counted["too many"] = part.written
