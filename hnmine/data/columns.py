"""Which columns hold the query, its positives and negatives, and the passages of a pool.

Data sets use many names: `anchor` and `positive` in sentence-transformers, `positive_passages` in Tevatron,
`hard_negative_ctxs` in DPR, `sentence1` in pairs, `answer` in spreadsheets. Well-known names are detected; a part that the
user names wins. A column is not taken as positives if the file also has a label or score of the pair, because some pairs
are then negatives: the user must name the columns.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Literal

import msgspec

from hnmine.core.errors import InputError, SettingsError
from hnmine.data.names import is_answer, is_retrieved, side

__all__ = [
    "Columns",
    "columns_from",
    "in_words",
    "is_context",
    "is_id",
    "is_label",
    "is_passage",
    "is_positive",
    "is_query",
    "is_reply",
    "is_text",
    "known_name",
    "likely_columns",
    "pool_columns",
    "query_among",
    "training_columns",
]

# Most specific names first; the last ones are used only if none of the others exists. Headers of spreadsheets come in many languages.
_QUERIES = ("query", "question", "anchor", "queries", "questions", "search_query", "query_text", "user_query", "user_input", "q",
            "sentence1", "sentence_0", "sentence_1", "sentence_a", "sent1", "text_a", "text1", "premise", "frage", "anfrage", "suchanfrage",
            "requête", "pregunta", "consulta", "domanda", "pergunta", "vraag", "вопрос",
            "запрос", "问题", "查询", "問題", "質問", "질문")  # fmt: skip
_POSITIVES = ("pos", "positive", "positives", "positive_passages", "positive_passage", "positive_ctxs", "positive_docs", "positive_doc",
              "positive_document", "positive_documents", "positive_text", "positive_texts", "relevant", "relevant_passages",
              "relevant_docs", "reference_contexts", "chosen")  # fmt: skip
# The second text of a pair: a positive, or with a label column perhaps a negative. Before an answer: that is often three words of it.
_PARTNERS = ("context", "contexts", "passage", "passages", "document", "documents", "doc",
             "docs", "sentence2", "sentence_1", "sentence_2", "sentence_b", "sent2", "text_b", "text2", "hypothesis", "support",
             "sentence")  # fmt: skip
_ANSWERS = ("answer", "answers", "correct_answer", "correct_answers", "best_answer", "response", "responses", "reference",
            "ground_truth", "antwort", "réponse", "reponse", "respuesta", "risposta", "resposta", "antwoord",
            "ответ", "答案", "回答", "答え", "답변", "text")  # fmt: skip
_LABELS = ("label", "labels", "score", "scores", "similarity", "similarity_score", "relevance", "relevancy", "relevance_score",
           "is_relevant", "relevant", "is_duplicate", "duplicate", "grade", "rating", "judgement", "judgment", "gold_label", "match",
           "is_match", "qrel", "is_selected", "has_answer", "hasanswer")  # fmt: skip
_NEGATIVES = ("neg", "negative", "negatives", "negative_passages", "negative_passage", "negative_ctxs", "negative_docs", "negative_doc",
              "negative_document", "negative_documents", "negative_text", "negative_texts", "hard_negative", "hard_negatives", "hard_neg",
              "hard_negative_ctxs", "hard_negative_passages", "rejected", "rejected_response", "rejected_responses", "wrong",
              "irrelevant", "falsch", "falsche_antwort", "faux", "incorrecta", "sbagliata", "errada", "fout", "неверно",
              "错误答案", "错误", "不正解", "오답")  # fmt: skip
_TEXTS = ("text", "passage", "contents", "content", "document", "doc", "body", "passage_text", "document_text", "doc_text", "chunk_text",
          "paragraph", "context", "chunk", "sentence", "answer")  # fmt: skip
_IDS = ("_id", "id", "docid", "doc_id", "document_id", "pid", "passage_id", "corpus_id", "chunk_id", "pool_id", "qid", "query_id",
        "question_id", "uid", "uuid", "key")  # fmt: skip
_NUMBERED_POSITIVE = re.compile(r"(pos|positive|answer)_?\d+")
_NUMBERED_NEGATIVE = re.compile(r"(neg|negative|hard_negative|hard_neg|wrong|rejected)_?\d+")
_KNOWN = frozenset((*_QUERIES, *_POSITIVES, *_PARTNERS, *_ANSWERS, *_LABELS, *_NEGATIVES, *_TEXTS, *_IDS, "title", "prompt", "instruction"))


class Columns(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"split": "qrels"}):
    """The columns (in JSON: fields) of the input files; a part that is None is found by well-known names.

    Attributes:
        query: the column of queries.
        pos: the columns of positive passages, one or several per cell.
        neg: the columns of negatives; () for none.
        label: the column that says whether a pair's passage is positive; "" for none.
        positive_labels: the values of it that do, such as ("3", "4"); None: 1, true, "relevant" and the like.
        text: the column of a pool's passages.
        id: the column of their ids, for rows that name passages by id.
        split: of a data set with several, such as "dev"; "all" for every one; None for train, else dev, else test. Stored as "qrels".
        config: the configuration of a data set of the hub that has several.
        titles: "join" the pool's titles with its texts, or "ignore" them; None joins them if the rows' passages have titles.
        encoding: of a text file that is not UTF-8, such as "cp1252".
    """

    query: str | None = None
    pos: tuple[str, ...] | None = None
    neg: tuple[str, ...] | None = None
    label: str | None = None
    positive_labels: tuple[str, ...] | None = None
    text: str | None = None
    id: str | None = None
    split: str | None = None
    config: str | None = None
    titles: Literal["join", "ignore"] | None = None
    encoding: str | None = None

    def words(self) -> tuple[str, ...]:
        """Return the words that `columns_from` parses, such as `neg=wrong_1,wrong_2`; a backslash escapes a comma in a name."""
        found: list[str] = []
        for part in self.__struct_fields__:
            value = getattr(self, part)
            if value is not None:
                names = (value,) if isinstance(value, str) else value
                found.append(f"{part}=" + ",".join(re.sub(r"([\\,])", r"\\\1", name) for name in names))
        return tuple(found)


def columns_from(words: Iterable[str]) -> Columns:
    """Parse columns: `query=question`, `pos=answer`, `neg=wrong_1,wrong_2`, `text=body`.

    Raises:
        SettingsError: a word is malformed, or a part is named twice.
    """
    parts: dict[str, str | tuple[str, ...]] = {}
    for word in words:
        part, equals, value = word.partition("=")
        part = "split" if part == "qrels" else part
        if part not in Columns.__struct_fields__ or not equals:
            raise SettingsError(f"columns has {word!r}; write PART=NAME, where PART is one of {', '.join(Columns.__struct_fields__)}")
        names = tuple(re.sub(r"\\([\\,])", r"\1", name) for name in re.findall(r"(?:\\.|[^,\\])+", value))
        if part in parts:
            raise SettingsError(f"columns names {part!r} twice; write {part}=ONE,OTHER")
        if part in ("pos", "neg", "positive_labels"):
            if part != "neg" and not names:
                raise SettingsError(f"columns names nothing for {part}; leave it out, or write {part}=NAME")
            parts[part] = names
        elif part == "label" and not names:
            parts[part] = ""
        elif len(names) != 1:
            raise SettingsError(f"columns names {len(names)} columns for {part!r}; name one")
        else:
            parts[part] = names[0]
    if parts.get("titles") not in (None, "join", "ignore"):
        raise SettingsError(f"columns has titles={parts['titles']}; write titles=join or titles=ignore")
    return Columns(**parts)  # type: ignore[arg-type]


@lru_cache(maxsize=1024)
def _plain(name: str) -> str:
    return re.sub(r"[\s\-.]+", "_", name.strip()).casefold()


def known_name(name: str) -> bool:
    """Return whether a column name is well known."""
    plain = _plain(name)
    return plain in _KNOWN or any(each.fullmatch(plain) for each in (_NUMBERED_POSITIVE, _NUMBERED_NEGATIVE)) or side(name) != ""


def query_among(names: Sequence[str]) -> str | None:
    """Return the column that is called a query, or None."""
    return _first(names, _QUERIES)


def is_positive(names: Sequence[str] | None) -> bool:
    """Return whether a name says that its passages are positives."""
    return any(_plain(name) in _POSITIVES or _NUMBERED_POSITIVE.fullmatch(_plain(name)) or _is_right(name) for name in names or ())


def _is_right(name: str) -> bool:
    """Return whether a name says that its passages are positives, as "relevant passage" does; answers are judged by a label beside."""
    return side(name) == "pos" and not is_answer(name) and _plain(name) not in _ANSWERS


def is_reply(name: str) -> bool:
    """Return whether a name is that of an answer, which may be shorter than the passage that a label is about."""
    return _plain(name) in _ANSWERS and not is_text(name)


def is_context(name: str) -> bool:
    """Return whether a name is that of the contexts of an answer."""
    return _plain(name) in ("context", "contexts")


def is_text(name: str) -> bool:
    """Return whether a name is that of a pool's passages, such as `text` or `content`."""
    return _plain(name) in _TEXTS and _plain(name) != "answer"


def is_query(name: str) -> bool:
    """Return whether a name says that its column holds queries."""
    return _plain(name) in _QUERIES


def is_passage(name: str) -> bool:
    """Return whether a name says that its column holds passages: positives, or the second texts of pairs."""
    return is_positive([name]) or _plain(name) in _PARTNERS or is_retrieved(name)


def is_id(name: str) -> bool:
    """Return whether a name says that its column holds ids or numbers of rows."""
    plain = _plain(name)
    return plain in _IDS or plain.endswith("_id") or plain.startswith("unnamed:") or plain in ("", "index", "nr", "no", "row")


_LABEL_WORD = re.compile(r"label|scor|relevan|similar|grade|rating|judg|correct|match|accept|entail|duplicate|bewert|qrel|class$"
                         r"|^(is_)?(selected|clicked|gold|good|positive|pos|choice)$|^click$"
                         r"|^(is_)?(keep|kept|valid|approved?|usable|useful)$")  # fmt: skip
_NOT_A_LABEL = re.compile(
    r"not?_|neg|distance|rank|position|loss|error|spam|wrong|irrelev|incorrect|dissimilar|mismatch|answers?$|(?<!val)id$"
    r"|(^|_)(num|number|idx|index|count)(_|$)"
)


def is_label(name: str) -> bool:
    """Return whether a name says that higher values of its column mean more relevant."""
    plain = _plain(name)
    return plain in _LABELS or (_LABEL_WORD.search(plain) is not None and _NOT_A_LABEL.search(plain) is None)


def _first(names: Sequence[str], known: Sequence[str], taken: Sequence[str] = ()) -> str | None:
    by_name = {_plain(name): name for name in reversed(names) if name not in taken}
    return next((by_name[each] for each in known if each in by_name), None)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:20])
    return shown + (f" and {len(names) - 20:,} more" if len(names) > 20 else "") if names else "no column"


def _check(names: Sequence[str], wanted: Iterable[str], where: str) -> None:
    for name in wanted:
        if name not in names:
            raise InputError(f"{where}: there is no column `{name}`; the file has {_listed(names)}")


def training_columns(names: Sequence[str], given: Columns, where: str, *, unread: Collection[str] = ()) -> Columns | None:
    """Return the columns of query, positives, negatives and label, or None if they must be named by the user.

    Args:
        names: of all columns.
        given: the columns that the user names.
        where: the file, for messages.
        unread: columns whose values are no texts, whatever their names: flags, numbers, ids.

    Raises:
        InputError: a named column does not exist, or is named for two parts.
    """
    single = [name for name in (given.query, given.label) if name]
    named = [*single, *(given.pos or ()), *(given.neg or ())]
    _check(names, named, where)
    if twice := next((name for name in named if named.count(name) > 1), None):
        raise InputError(f"{where}: the column `{twice}` is named for two parts; name it once")
    texts = [name for name in names if name not in unread and name not in named]
    query = given.query or _first(texts, _QUERIES) or _only([name for name in texts if side(name) == "query"])
    taken = [*named, *([query] if query else [])]
    pos, label = given.pos, given.label
    if pos is None:
        pos = _positives(names, [name for name in texts if name != query])
        if len(pos) == 1 and not is_positive(pos) and label is None:
            label = _first(names, _LABELS, [*taken, *pos])
    if query is None or not pos:
        return None
    taken += [*pos, *([label] if label else [])]
    neg = given.neg
    if neg is None:
        third = ("sentence_2",) if _plain(query) == "sentence_0" else ()
        # Wrong answers are negatives of an answer; where a context is the positive, they are no passages at all.
        partner = any(_plain(name) in _PARTNERS for name in pos)
        found = [name for name in texts if name not in taken]
        neg = tuple(
            name
            for name in found
            if _plain(name) in (*_NEGATIVES, *third)
            or _NUMBERED_NEGATIVE.fullmatch(_plain(name))
            or (side(name) == "neg" and not (partner and is_answer(name)))
        )
    return Columns(query=query, pos=pos, neg=neg, label=label, positive_labels=given.positive_labels)


def _positives(names: Sequence[str], texts: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of positives among the columns of texts, the surest names first; () if several columns may be it."""
    one = _first(texts, _POSITIVES, _label_names(names))
    if one is not None:
        return (one,)
    if numbered := tuple(name for name in texts if _NUMBERED_POSITIVE.fullmatch(_plain(name))):
        return numbered
    right = [name for name in texts if _is_right(name) and name not in _label_names(names)]
    if right:
        return tuple(right) if len({re.sub(r"[\W\d_]", "", name).casefold() for name in right}) == 1 else ()
    one = _first(texts, _PARTNERS) or _only([name for name in texts if side(name) == "pos" and _plain(name) not in _ANSWERS])
    one = one or _first(texts, _ANSWERS)
    return () if one is None else (one,)


def _only(names: Sequence[str]) -> str | None:
    return names[0] if len(names) == 1 else None


def _label_names(names: Sequence[str]) -> list[str]:
    """Return `relevant` if it must be a label, because another column holds the passages."""
    return [name for name in names if _plain(name) == "relevant" and _first(names, (*_PARTNERS, *_ANSWERS)) is not None]


def pool_columns(names: Sequence[str], given: Columns, where: str) -> Columns | None:
    """Return the column of a pool's passages, or None if it must be named by the user.

    Raises:
        InputError: the named column does not exist; `where` is the file.
    """
    _check(names, [given.text] if given.text else [], where)
    text = given.text or _first(names, _TEXTS)
    return None if text is None else Columns(text=text, id=given.id)


def likely_columns(names: Sequence[str], examples: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return the most likely columns of query and passage by an example of each: the first text, and the longest other one.

    It is a suggestion to confirm: nothing is read by it.
    """
    texts = [name for name in names if " " in examples.get(name, "").strip()] or list(names)
    query = texts[0] if len(texts) > 1 else None
    return query, max((name for name in texts if name != query), key=lambda name: len(examples.get(name, "")), default=None)


def in_words(columns: Columns) -> str:
    """Return the columns as text, such as "query = question, pos = answer"."""
    parts = [("query", (columns.query,)), ("pos", columns.pos), ("neg", columns.neg), ("label", (columns.label,))]
    parts += [("text", (columns.text,)), ("id", (columns.id,))]
    return ", ".join(f"{part} = {' + '.join(str(name) for name in names)}" for part, names in parts if names and names[0] is not None)
