"""Scores of a reranker and of a second embedding model for judged sets; both are trained here, because none is packaged.

Both start from the packaged model. The models that score a set are trained on other sets. A step takes texts of one set, the sets in
turn, so that all have the same weight. Trained models and scores stay in a folder, so that a repeated command continues: use another
folder for another recipe. To score 32 pairs of 128 tokens takes 0.8 s of one core, a training step with them 2.2 s.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from benchmarks.sets import emptied
from benchmarks.turns import Turn
from hnmine.models.cards import ModelSettings, packaged_folder
from hnmine.models.encoder import FlagEncoder
from hnmine.vectors.similarity import pair_scores
from hnmine.vectors.store import VectorStore, vectors_of

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]

RERANKER, SECOND = "reranker", "second_model"
# Negatives of a training group: ranked candidates that are not relevant, and random passages.
RANKED, RANDOM = 4, 1
GROUPS_A_STEP = 5
RATE, SHARPNESS = 1e-4, 10.0
NO_DROPOUT = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), 0.0)


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How the models are trained and what they score.

    Attributes:
        steps, second_steps: of the reranker and the second model.
        batch: pairs of a step of the second model.
        length: tokens of a text, or of a pair, that both read.
        depth: candidates of a query that the reranker scores.
    """

    steps: int
    second_steps: int
    batch: int
    length: int
    depth: int


class Set:
    """A judged set: its name, its turns, and the relevant and the ranked passages of each query.

    The turns differ in the visible positives alone: texts and ranked candidates are the same.
    """

    def __init__(self, name: str, turns: list[Turn]) -> None:
        self.name, self.turns = name, turns
        first = turns[0]
        assert all(np.array_equal(first.ranking.ids, turn.ranking.ids) for turn in turns)
        self.corpus, self.ids, count = first.corpus, first.ranking.ids, len(first.corpus.passages)
        owners, passages = np.divmod(first.relevant, count)
        self.relevant = [passages[owners == query] for query in range(len(self.corpus.queries))]

    def groups(self, rng: np.random.Generator, count: int, depth: int) -> Iterator[tuple[str, list[str]]]:
        """Yield training groups: a query, and a relevant passage before others."""
        for query in rng.integers(len(self.corpus.queries), size=count).tolist():
            relevant = self.relevant[query]
            known = np.append(relevant, self.corpus.query_passages[query])
            ranked = np.setdiff1d(self.ids[query, :depth], known)
            anywhere = np.setdiff1d(rng.integers(len(self.corpus.passages), size=9 * RANDOM), known)
            others = anywhere if len(ranked) < RANKED else ranked
            places = [rng.choice(relevant), *rng.choice(others, RANKED), *rng.choice(anywhere, RANDOM)]
            yield self.corpus.queries[query], [self.corpus.passages[place] for place in places]

    def batch(self, rng: np.random.Generator, count: int) -> tuple[list[str], list[str], npt.NDArray[np.bool_]]:
        """Return queries, a relevant passage of each, and which passages of other queries are relevant too: (count, count)."""
        queries = rng.permutation(len(self.corpus.queries))[:count].tolist()
        places = np.array([rng.choice(self.relevant[query]) for query in queries])
        relevant = np.array([np.isin(places, self.relevant[query]) for query in queries])
        np.fill_diagonal(relevant, False)
        return [self.corpus.queries[query] for query in queries], [self.corpus.passages[place] for place in places.tolist()], relevant


def descend(name: str, parameters: Iterable[Any], steps: int, loss_of: Callable[[int], Any]) -> None:
    """Lower a loss of each step; the learning rate rises for a tenth of the steps, then falls to nothing along a line."""
    import torch
    from transformers import get_linear_schedule_with_warmup

    given = list(parameters)
    optimizer = torch.optim.AdamW(given, lr=RATE)
    schedule = get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
    losses, began = [], time.perf_counter()
    for step in range(steps):
        loss = loss_of(step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(given, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if step % 20 == 19:
            print(f"{name}: step {step + 1} of {steps}, {time.perf_counter() - began:.0f} s, loss {np.mean(losses[-20:]):.3f}", flush=True)


class JointReader:
    """A cross-encoder: it reads query and passage together; the score is the cosine of the mean states of both, times SHARPNESS.

    With a new linear head the loss is 1.79 before training and after 40 steps; with this one it is 1.39 after 40 (at twice the rate).
    """

    def __init__(self, folder: Path, length: int) -> None:
        from transformers import AutoModel, AutoTokenizer

        self._tokenizer, self._length = AutoTokenizer.from_pretrained(folder), length
        self.model = AutoModel.from_pretrained(folder, **NO_DROPOUT)

    def logits(self, pairs: Sequence[tuple[str, str]]) -> Any:
        """Return the scores of pairs, a tensor (p,)."""
        from torch.nn.functional import cosine_similarity

        inputs = self._tokenizer(
            *map(list, zip(*pairs, strict=True)), truncation=True, max_length=self._length, padding=True, return_tensors="pt"
        )
        states, second = self.model(**inputs).last_hidden_state, inputs["token_type_ids"]  # (p, tokens, d), (p, tokens)
        # Sums instead of means: a cosine has no scale.
        halves = [(states * part.unsqueeze(-1)).sum(1) for part in (inputs["attention_mask"] * (1 - second), second)]
        return SHARPNESS * cosine_similarity(*halves)

    def save(self, folder: Path) -> None:
        """Write the folder that the constructor reads."""
        temporary = emptied(folder.with_suffix(".part"))
        self.model.save_pretrained(temporary)
        self._tokenizer.save_pretrained(temporary)
        os.replace(temporary, folder)


def train_reranker(sets: Sequence[Set], folder: Path, recipe: Recipe) -> None:
    """Train as FlagEmbedding trains rerankers, by cross-entropy over groups; each step takes groups of one set, the sets in turn."""
    import torch

    rng = np.random.default_rng(0)
    reader = JointReader(packaged_folder(), recipe.length)

    def loss_of(step: int) -> Any:
        groups = list(sets[step % len(sets)].groups(rng, GROUPS_A_STEP, recipe.depth))
        logits = reader.logits([(query, passage) for query, passages in groups for passage in passages]).view(len(groups), -1)
        return torch.nn.functional.cross_entropy(logits, torch.zeros(len(groups), dtype=torch.long))

    descend(folder.name, reader.model.parameters(), recipe.steps, loss_of)
    reader.save(folder)


def train_second(sets: Sequence[Set], folder: Path, recipe: Recipe) -> None:
    """Fine-tune the packaged model on relevant pairs, with the other passages of the batch, all of one set, as negatives."""
    import torch
    from sentence_transformers import SentenceTransformer

    rng = np.random.default_rng(0)
    model = SentenceTransformer(str(packaged_folder()), device="cpu", config_kwargs=NO_DROPOUT)
    reads, model.max_seq_length = model.max_seq_length, recipe.length

    def loss_of(step: int) -> Any:
        queries, passages, others = sets[step % len(sets)].batch(rng, recipe.batch)
        left, right = (model(model.preprocess(texts))["sentence_embedding"] for texts in (queries, passages))
        similar = (
            20 * torch.nn.functional.normalize(left) @ torch.nn.functional.normalize(right).T
        )  # 1 / 20: sentence-transformers' default
        return torch.nn.functional.cross_entropy(similar.masked_fill(torch.from_numpy(others), -torch.inf), torch.arange(len(queries)))

    descend(folder.name, model.parameters(), recipe.second_steps, loss_of)
    model.max_seq_length = reads
    temporary = emptied(folder.with_suffix(".part"))
    model.save(str(temporary), create_model_card=False)
    os.replace(temporary, folder)


@dataclass
class Opinion:
    """One model's scores of a set: of candidates (q, k), NaN where not scored, and of each turn's positives (t, q)."""

    candidates: Floats
    positives: Floats

    def below_positive(self, turn: int) -> Floats:
        """Return the scores of candidates less that of the positive, in standard deviations of all scored candidates: (q, k)."""
        return (self.candidates - self.positives[turn][:, None]) / np.float32(np.nanstd(self.candidates))

    @classmethod
    def kept(cls, name: str, folder: Path, work: Callable[[], Opinion]) -> Opinion:
        """Return the scores in the folder's files of that name; they are made if there are none."""
        files = {each.name: folder / f"{name}-{each.name}.npy" for each in fields(cls)}
        if not all(file.is_file() for file in files.values()):
            made = work()
            for part, file in files.items():
                temporary = file.with_suffix(".part.npy")
                np.save(temporary, getattr(made, part))
                os.replace(temporary, file)
        return cls(**{part: np.load(file) for part, file in files.items()})


def opinion_of(each: Set, score: Callable[[Ids, Ids], Floats], depth: int) -> Opinion:
    """Score the first `depth` candidates of each query, and the positives; `score` takes queries and passages, (p,) each."""
    count, (queries, ranked) = len(each.corpus.passages), each.ids.shape
    depth, began = min(depth, ranked), time.perf_counter()
    candidates = (np.arange(queries)[:, None] * count + each.ids[:, :depth]).ravel()
    positives = [turn.corpus.positive_queries.astype(np.int64) * count + turn.corpus.positive_ids for turn in each.turns]
    pairs, places = np.unique(np.concatenate([candidates, *positives]), return_inverse=True)
    scores = score(*(part.astype(np.int32) for part in np.divmod(pairs, count)))[places]
    print(f"{each.name}: {len(pairs):,} pairs in {time.perf_counter() - began:.0f} s", flush=True)
    found = np.full(each.ids.shape, np.nan, np.float32)
    found[:, :depth] = scores[: len(candidates)].reshape(queries, depth)
    return Opinion(found, scores[len(candidates) :].reshape(len(positives), -1))


def reranker_opinion(each: Set, folder: Path, recipe: Recipe) -> Opinion:
    """Score with a trained reranker, in batches of similar lengths."""
    import torch

    reader = JointReader(folder, recipe.length)

    def score(queries: Ids, passages: Ids) -> Floats:
        found = np.empty(len(queries), np.float32)
        sizes = np.array([len(text) for text in each.corpus.passages])[passages]
        with torch.inference_mode():
            for part in np.array_split(np.argsort(sizes, kind="stable"), -(-len(queries) // 64)):
                texts = zip(queries[part].tolist(), passages[part].tolist(), strict=True)
                found[part] = reader.logits([(each.corpus.queries[query], each.corpus.passages[place]) for query, place in texts]).numpy()
        return found

    return opinion_of(each, score, recipe.depth)


def second_opinion(each: Set, folder: Path, recipe: Recipe, store: VectorStore | None) -> Opinion:
    """Compare with a fine-tuned embedding model."""
    encoder = FlagEncoder.load(ModelSettings(name_or_path=str(folder), passage_max_length=recipe.length, devices=("cpu",)))
    queries = vectors_of(encoder, each.corpus.queries, "queries", store)
    passages = vectors_of(encoder, each.corpus.passages, "passages", store)
    return opinion_of(each, lambda owners, ids: pair_scores(queries, owners, passages, ids), each.ids.shape[1])


def opinions_of(groups: Sequence[Sequence[Set]], kept: Path, recipe: Recipe, store: VectorStore | None) -> dict[str, dict[str, Opinion]]:
    """Train two models on each of two groups of sets, and return their scores of the other group, by set and model."""
    found: dict[str, dict[str, Opinion]] = {}
    for number, (seen, scored) in enumerate(zip(groups, reversed(groups), strict=True)):
        reranker, second = kept / f"reranker-{number}", kept / f"second-model-{number}"
        if not reranker.is_dir():
            train_reranker(seen, reranker, recipe)
        if not second.is_dir():
            train_second(seen, second, recipe)
        for each in scored:
            found[each.name] = {
                RERANKER: Opinion.kept(f"{each.name}-reranker-{recipe.depth}", kept, partial(reranker_opinion, each, reranker, recipe)),
                SECOND: Opinion.kept(f"{each.name}-second-model", kept, partial(second_opinion, each, second, recipe, store)),
            }
    return found
