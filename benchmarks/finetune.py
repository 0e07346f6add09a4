"""One fine-tuning and its evaluation: upper layers of the packaged model are trained on rows of texts, and evaluated on other queries.

The lower layers are frozen, so their output is computed once for each text of a set and kept: with one layer of six trained, a run
takes about a sixth of the time of training all of them. The loss is sentence-transformers' MultipleNegativesRankingLoss; optimiser,
schedule and clipping are as in its trainer. Dropout is off, and every run has so many full batches, whatever the rows.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.data.corpus import Corpus
from hnmine.models.cards import packaged_folder
from hnmine.retrieval.ranking import rank

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float64]
MEASURES = ("nDCG@10", "recall@100")
DEPTH = 100
# Texts of about the same length that are computed together.
TOGETHER = 64


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How a model is trained; the learning rate rises for a tenth of the steps, then falls to nothing along a line.

    Attributes:
        layers: the upper layers that are trained.
        length: tokens of a text that are read, in training and evaluation.
        steps: batches, all of them full.
        batch: rows of a batch.
        negatives: mined negatives of a row.
    """

    layers: int
    length: int
    steps: int
    batch: int
    negatives: int
    rate: float


class SplitModel:
    """The packaged model with the output of its frozen lower layers for some texts; an encoder of these texts."""

    def __init__(self, texts: Sequence[str], recipe: Recipe, device: str) -> None:
        """Load the model and run its lower layers on all texts."""
        import torch
        from transformers import AutoModel, AutoTokenizer

        self.device = device
        tokens = AutoTokenizer.from_pretrained(packaged_folder())(list(texts), truncation=True, max_length=recipe.length)["input_ids"]
        lower = AutoModel.from_pretrained(packaged_folder(), attn_implementation="sdpa").to(device).eval()
        cut = len(lower.encoder.layer) - recipe.layers
        self._packaged = lower.encoder.layer[cut:]
        lower.encoder.layer = lower.encoder.layer[:cut]
        self._states: dict[str, torch.Tensor] = {}
        with torch.no_grad():
            for places in _groups([len(each) for each in tokens]):
                ids = [torch.tensor(tokens[place], device=device) for place in places]
                held = _held(ids)
                states = lower(input_ids=torch.nn.utils.rnn.pad_sequence(ids, batch_first=True), attention_mask=held.long())
                for place, each, state in zip(places, ids, states.last_hidden_state, strict=True):
                    self._states[texts[place]] = state[: len(each)].clone()
        self.upper = copy.deepcopy(self._packaged)

    def restore(self) -> None:
        """Undo all training."""
        self.upper = copy.deepcopy(self._packaged)

    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """Return the vectors of texts, (n, d), L2-normalised; the upper layers' gradients follow."""
        import torch

        order, found = [], []
        for places in _groups([len(self._states[text]) for text in texts]):
            states = [self._states[texts[place]] for place in places]
            held = _held(states)
            hidden = torch.nn.utils.rnn.pad_sequence(states, batch_first=True)
            mask = held[:, None, None, :].expand(-1, -1, hidden.shape[1], -1)
            for layer in self.upper:
                hidden = layer(hidden, mask)
            # The mean over the tokens, but for its length, which is normalised.
            found.append(torch.nn.functional.normalize((hidden * held[..., None]).sum(dim=1), dim=1))
            order += places
        return torch.cat(found)[torch.argsort(torch.tensor(order, device=self.device))]

    def encode_batches(self, texts: Sequence[str], side: str, **_: Any) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
        """Yield all vectors, (n, d), at once."""
        import torch

        with torch.no_grad():
            yield np.arange(len(texts)), self.embed(texts).cpu().numpy()

    def identity(self, side: str) -> str | None:
        """Return None: its vectors are not stored."""
        return None

    def describe(self) -> dict[str, Any]:
        """Return its name."""
        return {"name": "trained"}


def _groups(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the places of texts in groups of about the same length."""
    order = np.argsort(lengths, kind="stable").tolist()
    for first in range(0, len(order), TOGETHER):
        yield order[first : first + TOGETHER]


def _held(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return which places of a padded group hold a token, (n, longest)."""
    import torch

    lengths = torch.tensor([len(each) for each in parts], device=parts[0].device)
    return torch.arange(int(lengths.max()), device=lengths.device)[None] < lengths[:, None]


def measures(corpus: Corpus, ids: npt.NDArray[np.int32]) -> Floats:
    """Return MEASURES of each query, (q, 2): `ids` (q, at least 100 or all) are ranked, the positives of `corpus` relevant, all alike."""
    queries, passages = np.arange(len(corpus.queries)), len(corpus.passages)
    relevant = corpus.positive_queries.astype(np.int64) * passages + corpus.positive_ids
    found = np.isin(queries[:, None] * passages + ids, relevant)
    counts = np.diff(corpus.positive_starts)
    gains = 1 / np.log2(np.arange(2, 12))
    best = np.cumsum(gains)[np.minimum(counts, 10) - 1]
    first = found[:, :10]
    return np.stack([first @ gains[: first.shape[1]] / best, found[:, :100].sum(axis=1) / counts], axis=1)


def judged(corpus: Corpus, model: SplitModel) -> Floats:
    """Return MEASURES of each query of `corpus`, (q, 2), as the model ranks all its passages."""
    return measures(corpus, rank(corpus, model, DEPTH).ids)


def batches_of(rows: Sequence[Sequence[str]], recipe: Recipe, seed: int) -> list[list[int]]:
    """Return the rows of each batch; rows are used alike, as far as the next rule allows.

    No text is twice in a batch: otherwise a row's positive would be a negative of another row. A row that has to wait for that comes in
    the next batch, so that all batches are full, even if many rows share a negative.

    Raises:
        ValueError: too many rows share a text to fill a batch.
    """
    rng = np.random.default_rng(seed)
    batches: list[list[int]] = []
    waiting: list[int] = []
    while len(batches) < recipe.steps:
        batch: list[int] = []
        texts: set[str] = set()
        later: list[int] = []
        drawn = False
        while len(batch) < recipe.batch:
            if not waiting:
                if drawn:
                    raise ValueError(f"{len(rows)} rows share too many texts to fill a batch of {recipe.batch}; take a smaller batch")
                waiting, drawn = rng.permutation(len(rows)).tolist(), True
            row = waiting.pop(0)
            if texts.isdisjoint(rows[row]):
                batch.append(row)
                texts.update(rows[row])
            else:
                later.append(row)
        waiting = later + waiting
        batches.append(batch)
    return batches


def finetune(model: SplitModel, rows: Sequence[Sequence[str]], recipe: Recipe, seed: int) -> None:
    """Train the packaged model anew on rows of query, positive, and as many negatives in each."""
    import torch
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    model.restore()
    loss = MultipleNegativesRankingLoss(None)  # type: ignore[arg-type]  # only its part behind the model is used
    weights = list(model.upper.parameters())
    optimiser = torch.optim.AdamW(weights, lr=recipe.rate, weight_decay=0.0)
    warm = max(1, recipe.steps // 10)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / warm, (recipe.steps - step) / max(1, recipe.steps - warm))
    )
    for batch in batches_of(rows, recipe, seed):
        texts = [rows[row][column] for column in range(len(rows[0])) for row in batch]
        vectors = model.embed(texts).reshape(len(rows[0]), len(batch), -1)
        optimiser.zero_grad()
        loss.compute_loss_from_embeddings(list(vectors), None).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        rate.step()
