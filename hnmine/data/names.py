"""What the words of a column's name say: "wrong answer", `downvoted_answer`, "falsche Antwort" and 错误答案 are negatives.

A name counts only if all its words are known, so that `negative_score` and `good_natured` are no passages. Inflected words are matched by
their beginning. Scripts without blanks between words are searched for the word.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import Literal

__all__ = ["is_answer", "is_retrieved", "says_negative", "side"]

_NEGATIVE = re.compile(
    r"neg|negativ\w*|hardneg\w*|wrong|incorrect\w*|irrelevan\w*|nonrelevant|unrelated|rejected\w*|dispreferred|downvoted|distract\w*|bad|false"
    r"|falsch\w*|unpassend\w*|неверн\w*|неправильн\w*|нерелевантн\w*|негативн\w*|отрицательн\w*|faux|fausses?|mauvaises?|erron\w*"
    r"|sbagliat\w*|errad\w*|fout|foute|onjuiste?|verkeerde?|błędn\w*|niepoprawn\w*|yanlış|hatalı"
)
_POSITIVE = re.compile(
    r"pos|positiv\w*|relevant(e[nmrs]?)?s?|correct[aeo]?s?|right|good|best|accepted|upvoted|gold|golden|chosen|preferred|richtig\w*|korrekt\w*|passend\w*"
    r"|правильн\w*|верн\w*|релевантн\w*|позитивн\w*|положительн\w*|bonnes?|juste|pertinent\w*|corrett\w*|giust\w*|juiste?|poprawn\w*|doğru"
)
_NOT = re.compile(r"non?|not|nicht|не|pas|niet|nie")
_QUERY = re.compile(
    r"quer(y|ies)|questions?|anchor|\w*fragen?|вопрос\w*|запрос\w*|requêtes?|preguntas?|consultas?|domand[ae]|perguntas?|vraag|pytanie|soru"
)
_ANSWER = re.compile(
    r"(answer|response|repl(y|ie)|completion|output)s?|antwort\w*|ответ\w*|réponses?|reponses?|respuestas?|rispost[ae]|respostas?|antwoord\w*"
    r"|odpowied\w*|cevap|yanıt|distractors?"
)
_PASSAGE = re.compile(
    r"(passage|document|doc|text|ctx|context|chunk|paragraph|sentence|example|sample|result|article|content|psg|snippet)s?|abschnitte?"
    r"|dokumente?|passagen?|texte?|beispiele?|документ\w*|текст\w*|пассаж\w*|documentos?|textos?|testo|dokument\w*|belge|metin"
)
_TEXT = re.compile(r"te[xs]t[eos]*|текст\w*")
_BESIDE = re.compile(r"hard|random|easy|mined|bm|top|user|search|customer|our|the|an?|original|in|batch|first|second|third")
# Alone, these words name a label rather than passages, or a place ("right").
_CLEAR = re.compile(
    r"neg|pos|negativ\w*|positiv\w*|hardneg\w*|wrong|incorrect\w*|irrelevan\w*|rejected\w*|falsch\w*|неверн\w*|отрицательн\w*"
)
_RETRIEVED = re.compile(r"(retriev(ed|al)|search|hits?|top_?k|ranked|reranked)(_\w+)?")

_DENSE = re.compile(r"[\u0e00-\u0eff\u2e80-\u9fff\uac00-\ud7af]")
_DENSE_NEGATIVE = re.compile(r"错|誤|不正|不相关|不相關|无关|無関|負例|负例|负样本|ネガティブ|오답|틀린")
_DENSE_POSITIVE = re.compile(r"正确|正確|正解|正答|正例|正样本|相关|關連|関連|ポジティブ|정답")
_DENSE_OTHER = re.compile(r"分|数|得点|스코어|점수|标签|标注|ラベル|编号|番号")
_DENSE_QUERY = re.compile(r"(用户|検索|搜索)?(问题|查询|問題|質問|クエリ|질문|질의)(文|文本)?")


@lru_cache(maxsize=8192)
def _words(name: str) -> tuple[str, ...]:
    parted = re.sub(r"(?<=[^\W\d_A-Z])(?=[A-Z])", " ", name).casefold()
    return tuple(re.findall(r"[^\W\d_]+", parted))


def says_negative(name: str) -> bool:
    """Return whether any word of a name says negative; to suggest a column, not to read it."""
    words = _words(name)
    denied = any(_NOT.fullmatch(word) and _POSITIVE.fullmatch(after) for word, after in pairwise(words))
    return denied or any(map(_NEGATIVE.fullmatch, words)) or _DENSE_NEGATIVE.search(name) is not None


@lru_cache(maxsize=8192)
def side(name: str) -> Literal["query", "pos", "neg", ""]:
    """Return what a column holds by all words of its name, or ""."""
    if _DENSE.search(name):
        if _DENSE_QUERY.fullmatch(name.strip()):
            return "query"
        if _DENSE_OTHER.search(name):
            return ""
        return "neg" if _DENSE_NEGATIVE.search(name) else "pos" if _DENSE_POSITIVE.search(name) else ""
    words = _words(name)
    markers = [word for word in words if _NEGATIVE.fullmatch(word) or _POSITIVE.fullmatch(word)]
    nouns = [word for word in words if any(each.fullmatch(word) for each in (_QUERY, _ANSWER, _PASSAGE))]
    denials = [word for word in words if _NOT.fullmatch(word)]
    if len(markers) + len(nouns) + len(denials) + sum(bool(_BESIDE.fullmatch(word)) for word in words) < len(words) or not words:
        return ""
    if not markers:
        plain = [word for word in nouns if not _QUERY.fullmatch(word)]
        return "query" if nouns and not denials and len(plain) < len(nouns) and all(map(_TEXT.fullmatch, plain)) else ""
    if not nouns and not any(map(_CLEAR.fullmatch, markers)):
        return ""
    if words[0] == "false" and len(markers) > 1:  # a false negative is no negative
        return ""
    if nouns and all(map(_QUERY.fullmatch, nouns)):  # a negative query is no passage
        return ""
    return "neg" if says_negative(name) else "" if denials else "pos"


def is_answer(name: str) -> bool:
    """Return whether a name says that its column holds answers, which may be shorter than passages."""
    return any(map(_ANSWER.fullmatch, _words(name))) or re.search("答|回答|답", name) is not None


def is_retrieved(name: str) -> bool:
    """Return whether a name says that its column holds the results of a search, relevant or not."""
    return _RETRIEVED.fullmatch("_".join(_words(name))) is not None and side(name) == ""
