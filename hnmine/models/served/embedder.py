"""An embedding model behind an address as `Encoder`: OpenAI's /v1/embeddings, or /embed of Text Embeddings Inference.

Each request has a probe (`probe`) beside its texts, and its vector must be the first one's: a server that changes its model in mid-run
stops the run, and nothing wrong is stored. Equal texts are asked once, the longest first, as `batching.blocks` has them.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.core.errors import EncodeError, SettingsError
from hnmine.core.progress import OnProgress, ShouldStop, check_cancelled
from hnmine.core.text import counted, shortened
from hnmine.models import cards
from hnmine.models.batching import Block, blocks
from hnmine.models.cards import ModelSettings
from hnmine.models.encoder import ONE, Places, Side, Vectors, with_instructions
from hnmine.models.served import probe
from hnmine.models.served.client import Client, Refused, Session, stopped, tokens_in
from hnmine.models.served.limits import BATCH_SIZE, Limits, estimated_tokens, requests, shortened_text
from hnmine.models.served.server import embedder_api

__all__ = ["ServedEncoder"]

# What is sent for a text of white space alone, which servers refuse.
EMPTY = "."
# Vectors whose length differs less from 1 are left as they are: a server's bits are those of the model.
_UNIT = 1e-5
# Settings of a model that is loaded here.
_UNUSED = ("model_class", "pooling_method", "devices", "examples_for_task", "trust_remote_code", "cache_dir")
_PATHS = {"openai": "/v1/embeddings", "tei": "/embed"}

# A block of texts, and the offsets in it of those of one request.
Work = tuple[Block, npt.NDArray[np.int64]]


class ServedEncoder:
    """An embedding model that a server runs."""

    def __init__(self, settings: ModelSettings, *, should_stop: ShouldStop | None = None) -> None:
        """Ask the server for its limits and for the vectors of the probe.

        Raises:
            SettingsError: the settings name no server or no model, or do not fit the server.
            ModelError: the key is missing or wrong, or the server has no such path or model.
            EncodeError: it cannot be reached, or does not answer with one vector for each text.
        """
        if settings.server is None:
            raise SettingsError("the model's settings name no server; use load_encoder, which loads a model then")
        self.settings = settings
        self._api = embedder_api(settings.server)
        if self._api == "openai" and not settings.name_or_path:
            raise SettingsError(
                f"the model of {settings.server.address} has no name; set it (--embedder_name_or_path) as the server has it"
            )
        self._card = cards.describe(settings)
        self._path = _PATHS[self._api]
        self._url = settings.server.url(self._path)
        self._client = Client(settings.server, f"the embedding model {settings.name_or_path or 'of this server'}")
        self._limits = Limits(settings.batch_size or BATCH_SIZE, probes=1)
        self._turns = itertools.count()
        self._counts: dict[Side, Counter[str]] = {}
        self._tokens = 0
        self._dimensions = settings.server.dimensions
        first = self._client.answer(self._begin, should_stop=should_stop)
        self._probes = first / np.linalg.norm(first, axis=1, keepdims=True)

    @classmethod
    def load(
        cls, settings: ModelSettings, *, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None
    ) -> ServedEncoder:
        """Return the encoder; errors as above, and Cancelled. Both are called while the server is waited for."""
        return cls(settings, should_stop=stopped("asking the server of the model", on_progress, should_stop))

    def encode_batches(
        self, texts: Sequence[str], side: Side, *, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None
    ) -> Iterator[tuple[Places, Vectors]]:
        """Yield vectors, L2-normalised unless `normalize_embeddings` is False; progress counts estimated tokens.

        Raises:
            ModelError: the key is no longer valid, or the model is gone.
            EncodeError: the server cannot be reached, its answer is not one finite vector for each text, or its model has changed.
            Cancelled: `should_stop` returned True; requests that run are ended.
        """
        if not len(texts):
            return
        check_cancelled(should_stop)
        counts = self._counts[side] = Counter()
        done = total = read = 0

        def works() -> Iterator[Work]:
            nonlocal total, read
            for block in blocks(texts):
                sizes = {offset: estimated_tokens(self._sent(block.texts[offset], side)) for offset in block.order.tolist()}
                read += sum(sizes.values())
                total = read + round(read * block.later / (block.first + len(block.texts)))
                for offsets in requests(sizes, sizes.__getitem__, lambda: self._limits.texts):
                    yield block, np.array(offsets, dtype=np.int64)

        async def ask(session: Session, work: Work) -> Vectors:
            block, offsets = work
            wanted = [self._sent(block.texts[offset], side) for offset in offsets.tolist()]

            async def checked(part: Sequence[str], alone: bool) -> Sequence[Vectors]:
                return await self._checked(session, part, alone, side)

            rows, cut = await self._limits.fitted(wanted, checked, shortened_text)
            counts["cut"] += cut
            counts["empty"] += sum(text == EMPTY != block.texts[offset] for text, offset in zip(wanted, offsets.tolist(), strict=True))
            return np.array(rows, dtype=np.float32)

        with closing(self._client.answers(works(), ask, should_stop=should_stop)) as answers:
            for (block, offsets), vectors in answers:
                done += sum(estimated_tokens(self._sent(block.texts[offset], side)) for offset in offsets.tolist())
                if on_progress is not None:
                    on_progress(done, max(done, total), f"encoding {'passages' if side == 'passages' else 'queries'}")
                yield block.answered(offsets, self._scaled(vectors))

    def instructed(self, queries: Sequence[str], instructions: Sequence[str | None]) -> list[str]:
        """Return the texts of queries with an instruction each, in the model's format, as `FlagEncoder.instructed`."""
        return with_instructions(queries, instructions, self._card.query_instruction, self._card.query_instruction_format)

    def identity(self, side: Side) -> str | None:
        """Return canonical JSON that identifies the vectors; its `probe` is a sketch, which is compared by `probe.near`."""
        instruction, template = self._instruction(side)
        parts = {
            "served": self._api,
            "address": self._url,
            "name": self.settings.name_or_path,
            "dimensions": self._dimensions,
            "instruction": [template, instruction] if instruction is not None else None,
            "normalize_embeddings": self.settings.normalize_embeddings,
            "truncation": self._limits.record | self._body(side),
            "probe": probe.sketch(self._probes),
        }
        return msgspec.json.encode(parts, order="sorted").decode()

    def describe(self) -> dict[str, Any]:
        """Return name, address, dimensions, lengths, instructions, probe, notes, and what was asked; never the key."""
        card, limits = self._card, self._limits
        lengths = {side: self._body(side).get("truncate_prompt_tokens", -1) for side in ("queries", "passages")}
        return {
            "name": self.settings.name_or_path or limits.model or self._url,
            "weights_sha256": None,
            "probe": probe.sketch(self._probes),
            "class": f"served ({self._api})",
            "address": self._url,
            "dimensions": self._dimensions,
            "pooling_method": None,
            "query_max_length": lengths["queries"] if lengths["queries"] > 0 else limits.tokens,
            "passage_max_length": lengths["passages"] if lengths["passages"] > 0 else limits.tokens,
            "query_instruction": card.query_instruction,
            "query_instruction_format": card.query_instruction_format,
            "passage_instruction": card.passage_instruction,
            "passage_instruction_format": card.passage_instruction_format,
            "devices": [],
            "precision": "fp32",
            "server": {key: value for key, value in limits.record.items() if value is not None},
            "tokens": self._tokens,
            "repeated_requests": self._client.repeated,
            "notes": list(self._notes()),
        }

    def release(self) -> None:
        """Do nothing: no memory here is the model's."""

    def _notes(self) -> Iterator[str]:
        yield from self._limits.notes
        unused = [name for name in _UNUSED if getattr(self.settings, name) not in (None, False)]
        if self._limits.cuts is None or self._api == "tei":
            unused += [name for name in ("query_max_length", "passage_max_length") if getattr(self.settings, name) is not None]
        if unused:
            yield f"{', '.join(unused)}: without effect, because a server runs the model"
        for side, counts in self._counts.items():
            which = "passage" if side == "passages" else "query"
            if count := counts["cut"]:
                yield f"{_many(count, which)} longer than the server reads and {'was' if count == 1 else 'were'} cut"
            if count := counts["empty"]:
                yield f"{_many(count, which)} without a letter and {'was' if count == 1 else 'were'} sent as {EMPTY!r}"

    async def _begin(self, session: Session) -> Vectors:
        await self._limits.ask(session, self._api, self.settings.name_or_path)
        wanted = self._dimensions
        try:
            found = await self._vectors(session, probe.TEXTS, "passages")
        except Refused:  # a server that takes fewer texts; what else it refuses, it refuses again
            found = np.concatenate([await self._vectors(session, [text], "passages") for text in probe.TEXTS])
        if not np.isfinite(found).all() or not np.linalg.norm(found, axis=1).all():
            raise EncodeError(f"{self._client.name}: {self._url} answers a short text with NaN, infinity or zeros; check how it is run")
        if probe.all_alike(found):
            raise EncodeError(f"{self._client.name}: {self._url} answers different texts with the same vector; check which model it serves")
        if wanted is not None and found.shape[1] != wanted:
            raise EncodeError(
                f"{self._client.name}: {self._url} was asked for {wanted:,} dimensions and answers with {found.shape[1]:,}; "
                "leave the dimensions out, or serve a model that can shorten its vectors"
            )
        self._dimensions = found.shape[1]
        return found

    async def _checked(self, session: Session, texts: Sequence[str], alone: bool, side: Side) -> Sequence[Vectors]:
        """Return the vectors of texts, after their probe's."""
        number = next(self._turns) % len(probe.TEXTS)
        if alone:
            rows = await self._vectors(session, texts, side)
            own = (await self._vectors(session, [probe.TEXTS[number]], side))[0]
        else:
            both = await self._vectors(session, [*texts, probe.TEXTS[number]], side)
            rows, own = both[:-1], both[-1]
        if rows.shape[1] != self._dimensions:
            raise EncodeError(
                f"{self._client.name}: {self._url} answers with {rows.shape[1]:,} dimensions, and with {self._dimensions:,} before; "
                "vectors that are finished are kept. Check what the server runs, and run again"
            )
        finite = np.isfinite(np.vstack([rows, own])).all(axis=1)
        if not finite.all():
            text = shortened([*texts, probe.TEXTS[number]][int(np.argmin(finite))], 80)
            raise EncodeError(
                f"{self._client.name}: {self._url} answers with NaN or infinity for {ONE[side]} {text!r}; vectors that are finished are "
                "kept. Try another precision of the server, or check its weights"
            )
        length = float(np.linalg.norm(own))
        cosine = float(own @ self._probes[number]) / length if length > 0 else 0.0
        if not cosine >= probe.SAME_COSINE:
            raise EncodeError(
                f"{self._client.name}: the model behind {self._url} has changed in mid-run: the vector of {probe.TEXTS[number]!r} has a "
                f"cosine of {cosine:.3f} with that of the start. Vectors that are finished are kept. Serve the first model and run "
                "again, or run with the new one, which encodes all texts"
            )
        return list(rows)

    async def _vectors(self, session: Session, texts: Sequence[str], side: Side) -> Vectors:
        """Return the vectors of one request, (n, d) float32, of any numbers.

        Raises:
            EncodeError: the answer is not one vector for each text.
        """
        body: dict[str, Any] = self._body(side)
        if self._api == "tei":
            body |= {"inputs": list(texts), "normalize": self.settings.normalize_embeddings}
        else:
            body |= {"model": self.settings.name_or_path, "input": list(texts), "encoding_format": "float"}
            if self.settings.server is not None and self.settings.server.dimensions is not None:
                body["dimensions"] = self.settings.server.dimensions
        answer = await session.post(self._path, body)
        rows: list[Any] = []
        if self._api == "tei":
            rows = answer if isinstance(answer, list) else []
        elif isinstance(answer, dict) and isinstance(answer.get("data"), list):
            data = [each for each in answer["data"] if isinstance(each, dict)]
            places = [each.get("index", place) for place, each in enumerate(data)]
            if not all(isinstance(place, int) for place in places) or sorted(places) != list(range(len(data))):
                raise EncodeError(
                    f"{self._client.name}: {self._url} answers {counted(len(texts), 'text')} with vectors that are not numbered from 0, "
                    "each once (index), so not with one vector for each; vectors that are finished are kept. Check the server"
                )
            rows = [each.get("embedding") for _, each in sorted(zip(places, data, strict=True), key=lambda numbered: numbered[0])]
            self._tokens += tokens_in(answer)
        try:
            found = np.array(rows, dtype=np.float32)
        except (TypeError, ValueError, OverflowError):
            found = np.zeros((0, 0), dtype=np.float32)
        if found.ndim != 2 or len(found) != len(texts) or not found.shape[1]:
            got = f"{counted(len(rows), 'vector')}" if rows else f"{shortened(str(answer), 80)!r}"
            if len(rows) == len(texts):
                got = "lists that are no vectors of one length"
            raise EncodeError(
                f"{self._client.name}: {self._url} answers {counted(len(texts), 'text')} with {got}, not with one vector for each; "
                "vectors that are finished are kept. Check the address and the form of its questions (api)"
            )
        return found

    def _scaled(self, vectors: Vectors) -> Vectors:
        if self.settings.normalize_embeddings:
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors /= np.where((np.abs(lengths - 1) > _UNIT) & (lengths > 0), lengths, 1)
        return vectors

    def _instruction(self, side: Side) -> tuple[str | None, str]:
        card = self._card
        if side == "passages":
            return card.passage_instruction, card.passage_instruction_format
        return card.query_instruction if side == "queries" else None, card.query_instruction_format

    def _sent(self, text: str, side: Side) -> str:
        """Return a text as it is sent: with its instruction, and never empty."""
        instruction, template = self._instruction(side)
        if instruction is not None:
            text = template.replace("\\n", "\n").format(instruction, text)
        return text if text.strip() else EMPTY

    def _body(self, side: str) -> dict[str, Any]:
        """Return what a request says about lengths."""
        more = dict(self._limits.more)
        length = self.settings.passage_max_length if side == "passages" else self.settings.query_max_length
        if "truncate_prompt_tokens" in more and length is not None:
            more["truncate_prompt_tokens"] = length
        return more


def _many(count: int, which: str) -> str:
    return f"{counted(count, which, 'queries' if which == 'query' else '')} {'is' if count == 1 else 'are'}"
