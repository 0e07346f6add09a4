"""A reranker behind an address as `Reranker`: /rerank of Text Embeddings Inference, /v1/rerank of Jina and Cohere, /score of vLLM.

A request has passages of one query. So a probe cannot be in it: after every few requests the five probe pairs are scored again, and the
scores of those requests count only if the probe's are the first ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import msgspec
import numpy as np

from hnmine.core.errors import EncodeError, ModelError, SettingsError
from hnmine.core.progress import OnProgress, ShouldStop, check_cancelled
from hnmine.core.text import counted, shortened
from hnmine.models.flag_reranker import STAGE
from hnmine.models.reranker import Pair, Places, RerankerSettings, Scores
from hnmine.models.served import probe
from hnmine.models.served.client import Client, Refused, Session, stopped, tokens_in
from hnmine.models.served.limits import BATCH_SIZE, Limits, estimated_tokens, requests, shortened_text
from hnmine.models.served.server import RERANKER_APIS, reranker_api

__all__ = ["ServedReranker"]

# Requests between two probes, which are a short request more.
REQUESTS = 8
_PATHS = {"tei": "/rerank", "jina": "/v1/rerank", "vllm": "/score"}
_SCORES = {"tei": (None, "score"), "jina": ("results", "relevance_score"), "vllm": ("data", "score")}
_LARGEST = float(np.finfo(np.float32).max)
_UNUSED = ("model_class", "max_length", "devices", "trust_remote_code", "cache_dir")

# Requests of one work: the query, and the places of its pairs.
Work = list[tuple[str, list[int]]]


class ServedReranker:
    """A reranker that a server runs."""

    def __init__(self, settings: RerankerSettings, *, should_stop: ShouldStop | None = None) -> None:
        """Ask the server for its limits and for the scores of the probe.

        Raises:
            SettingsError: the settings name no server, or the form of its questions is unknown.
            ModelError: the key is missing or wrong, the server has no such path or model, or it refuses the form of the request.
            EncodeError: it cannot be reached, or does not answer with one score for each pair.
        """
        if settings.server is None:
            raise SettingsError("the reranker's settings name no server; use load_reranker, which loads a reranker then")
        self.settings = settings
        self._api = reranker_api(settings.server)
        self._path = _PATHS[self._api]
        self._url = settings.server.url(self._path)
        self._client = Client(settings.server, f"the reranker {settings.name_or_path}")
        self._limits = Limits(settings.batch_size or BATCH_SIZE, probes=0)
        self._cut = self._tokens = 0
        self._probes = self._client.answer(self._begin, should_stop=should_stop)

    @classmethod
    def load(
        cls, settings: RerankerSettings, *, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None
    ) -> ServedReranker:
        """Return the reranker; errors as above, and Cancelled. Both are called while the server is waited for."""
        return cls(settings, should_stop=stopped("asking the server of the reranker", on_progress, should_stop))

    def score(
        self, pairs: Sequence[Pair], *, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None
    ) -> Iterator[tuple[Places, Scores]]:
        """Yield scores as the server gives them (see the notes for their scale), the pairs of one query together; progress counts pairs.

        Raises:
            ModelError: the key is no longer valid, or the model is gone.
            EncodeError: the server cannot be reached, its answer is not one finite score for each pair, or its model has changed.
            Cancelled: `should_stop` returned True; requests that run are ended.
        """
        if not len(pairs):
            return
        check_cancelled(should_stop)
        self._cut, done = 0, 0
        by_query: dict[str, list[int]] = {}
        for place, (query, _) in enumerate(pairs):
            by_query.setdefault(query, []).append(place)

        def works() -> Iterator[Work]:
            def tokens(place: int) -> int:
                return sum(map(estimated_tokens, pairs[place]))

            work: Work = []
            for query, places in by_query.items():
                longest = sorted(places, key=lambda place: -len(pairs[place][1]))
                for part in requests(longest, tokens, lambda: self._limits.texts):
                    work.append((query, part))
                    if len(work) == REQUESTS:
                        yield work
                        work = []
            if work:
                yield work

        async def ask(session: Session, work: Work) -> Scores:
            found: list[float] = []
            for query, places in work:
                found += await self._fitted(session, query, [pairs[place][1] for place in places])
            await self._check_probe(session)
            return np.array(found, dtype=np.float32)

        with closing(self._client.answers(works(), ask, should_stop=should_stop)) as answers:
            for work, scores in answers:
                places = np.array([place for _, own in work for place in own], dtype=np.int64)
                done += len(places)
                if on_progress is not None:
                    on_progress(done, len(pairs), STAGE)
                yield places, scores

    def identity(self) -> str | None:
        """Return canonical JSON that identifies the scores; its `probe` is compared by `probe.near`."""
        parts = {
            "served_reranker": self._api,
            "address": self._url,
            "name": self.settings.name_or_path,
            "query_instruction": self.settings.query_instruction,
            "passage_instruction": self.settings.passage_instruction,
            "truncation": self._limits.record | self._limits.more,
            "probe": self._rounded(),
        }
        return msgspec.json.encode(parts, order="sorted").decode()

    def describe(self) -> dict[str, Any]:
        """Return name, address, length, instructions, probe, notes, and what was asked; never the key."""
        return {
            "name": self.settings.name_or_path,
            "weights_sha256": None,
            "probe": self._rounded(),
            "class": f"served ({self._api})",
            "address": self._url,
            "max_length": self._limits.tokens,
            "query_instruction": self.settings.query_instruction,
            "passage_instruction": self.settings.passage_instruction,
            "devices": [],
            "precision": "fp32",
            "server": {key: value for key, value in self._limits.record.items() if value is not None},
            "tokens": self._tokens,
            "repeated_requests": self._client.repeated,
            "notes": list(self._notes()),
        }

    def _notes(self) -> Iterator[str]:
        yield from (f"reranker: {each}" for each in self._limits.notes)
        if unused := [name for name in _UNUSED if getattr(self.settings, name) not in (None, False)]:
            yield f"reranker: {', '.join(unused)}: without effect, because a server runs it"
        if all(0 <= score <= 1 for score in self._probes):
            yield "the reranker's scores are probabilities between 0 and 1, not raw logits: margins and filters mean differences of those"
        if self._cut:
            verbs = ("is", "was") if self._cut == 1 else ("are", "were")
            yield f"{counted(self._cut, 'passage')} {verbs[0]} longer than the reranker reads and {verbs[1]} cut"

    def _rounded(self) -> list[float]:
        return [round(each, 3) for each in self._probes]

    async def _begin(self, session: Session) -> list[float]:
        await self._limits.ask(session, self._api, self.settings.name_or_path)
        try:
            return await self._scores(session, probe.QUERY, probe.PASSAGES)
        except Refused:  # a server that takes fewer texts; what else it refuses, it refuses again
            try:
                return [(await self._scores(session, probe.QUERY, [each]))[0] for each in probe.PASSAGES]
            except Refused as error:
                others = " or ".join(each for each in RERANKER_APIS if each != self._api)
                raise ModelError(
                    f"{error}; the request has the form {self._api}: if the server expects another one, set --reranker_api to {others}"
                ) from error

    async def _fitted(self, session: Session, query: str, passages: Sequence[str]) -> list[float]:
        async def ask(part: Sequence[str], _: bool) -> list[float]:
            return await self._scores(session, query, part)

        scores, cut = await self._limits.fitted(passages, ask, shortened_text)
        self._cut += cut
        return scores

    async def _check_probe(self, session: Session) -> None:
        again = await self._scores(session, probe.QUERY, probe.PASSAGES)
        if not probe.near(again, self._probes):
            raise EncodeError(
                f"{self._client.name}: the model behind {self._url} has changed in mid-run: it scores the same pairs {_listed(again)} "
                f"instead of {_listed(self._probes)}. Scores that are finished are kept. Serve the first model and run again, or "
                "run with the new one, which scores all pairs"
            )

    async def _scores(self, session: Session, query: str, passages: Sequence[str]) -> list[float]:
        """Return the scores of one request.

        Raises:
            EncodeError: the answer is not one finite number for each passage.
        """
        settings = self.settings
        query = (settings.query_instruction or "") + query
        passages = [(settings.passage_instruction or "") + each or "." for each in passages]  # servers refuse an empty text
        body: dict[str, Any] = dict(self._limits.more)
        if self._api == "tei":
            body |= {"query": query, "texts": passages, "raw_scores": True}
        elif self._api == "jina":
            body |= {"model": settings.name_or_path, "query": query, "documents": passages, "top_n": len(passages)}
        else:
            body |= {"model": settings.name_or_path, "text_1": query, "text_2": passages, "use_activation": False}  # raw logits
        answer = await session.post(self._path, body)
        key, name = _SCORES[self._api]
        listed = answer.get(key) if key is not None and isinstance(answer, dict) else answer
        self._tokens += tokens_in(answer)
        results = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
        scores = {each["index"]: each.get(name) for each in results if isinstance(each.get("index"), int)}
        if len(results) != len(passages) or set(scores) != set(range(len(passages))):
            got = f"{counted(len(results), 'score')} that are not numbered from 0 on" if len(results) == len(passages) else None
            got = got or f"{counted(len(results), 'score')}" if results else f"{shortened(str(answer), 80)!r}"
            raise EncodeError(
                f"{self._client.name}: {self._url} answers {counted(len(passages), 'pair')} with {got}, not with one score for each; "
                "scores that are finished are kept. Check the address and the form of its questions (api)"
            )
        found: list[float] = []
        for place, passage in enumerate(passages):
            score = scores[place]
            if isinstance(score, bool) or not isinstance(score, (int, float)) or not abs(score) <= _LARGEST:
                is_large = isinstance(score, int) or (isinstance(score, float) and np.isfinite(score))
                got = "a number beyond float32" if is_large and not isinstance(score, bool) else shortened(repr(score), 40)
                raise EncodeError(
                    f"{self._client.name}: {self._url} answers with {got} for the query {shortened(query, 80)!r} and the passage "
                    f"{shortened(passage, 80)!r}; scores that are finished are kept. Check how the server runs the model"
                )
            found.append(float(score))
        return found


def _listed(scores: Sequence[float]) -> str:
    return ", ".join(f"{each:.3f}" for each in scores)
