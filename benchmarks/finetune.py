"""One fine-tuning and its evaluation: the packaged model is trained on rows of texts and evaluated on held-out queries.

sentence-transformers trains with its trainer, MultipleNegativesRankingLoss and batches without duplicate texts (otherwise
another row's positive would be a negative). Dropout is off: it costs a third of the time on a CPU, and only the data and
their order depend on the seed. Weights are float32, products bfloat16 (autocast), attention is eager: 1.7 s of one core for a
step of 32 texts of 128 tokens, against 3.4 s in float32 with torch's SDPA. The saved model is evaluated with the library's
encoder, at full length and in the fastest precision of the machine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.data.corpus import Corpus
from hnmine.models.cards import ModelSettings, packaged_folder
from hnmine.models.encoder import FlagEncoder
from hnmine.retrieval.ranking import rank
from hnmine.vectors.store import VectorStore

Floats = npt.NDArray[np.float64]
MEASURES = ("nDCG@10", "recall@10", "recall@100")
DEPTH = 100


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How a model is trained; the learning rate rises for a tenth of the steps, then falls to nothing along a line.

    Attributes:
        negatives: mined negatives of a row.
        length: tokens of a text that training reads.
    """

    epochs: int
    rate: float
    batch: int
    negatives: int
    length: int


def measures(corpus: Corpus, ids: npt.NDArray[np.int32]) -> Floats:
    """Return MEASURES of each query, (q, 3): `ids` (q, at least 100 or all) are ranked, the positives of `corpus` relevant, all alike."""
    queries, passages = np.arange(len(corpus.queries)), len(corpus.passages)
    relevant = corpus.positive_queries.astype(np.int64) * passages + corpus.positive_ids
    found = np.isin(queries[:, None] * passages + ids, relevant)
    counts = np.diff(corpus.positive_starts)
    gains = 1 / np.log2(np.arange(2, 12))
    best = np.cumsum(gains)[np.minimum(counts, 10) - 1]
    first = found[:, :10]
    return np.stack([first @ gains[: first.shape[1]] / best, first.sum(axis=1) / counts, found[:, :100].sum(axis=1) / counts], axis=1)


def judged(corpus: Corpus, folder: Path | None, device: str, store: VectorStore | None = None) -> Floats:
    """Return MEASURES of each query of `corpus`, (q, 3), as the model in `folder` ranks its passages (None is the packaged model)."""
    encoder = FlagEncoder.load(ModelSettings(name_or_path=folder and str(folder), devices=(device,)))
    return measures(corpus, rank(corpus, encoder, DEPTH, store=store).ids)


def finetune(rows: Sequence[Sequence[str]], folder: Path, recipe: Recipe, *, seed: int, device: str) -> None:
    """Train the packaged model on rows of query, positive, and as many negatives in each, and save it in `folder`."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    dropout = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), 0.0)
    model = SentenceTransformer(str(packaged_folder()), device=device, config_kwargs=dropout, model_kwargs={"attn_implementation": "eager"})
    reads = model.max_seq_length
    model.max_seq_length = recipe.length
    names = ["anchor", "positive", *(f"negative_{number}" for number in range(1, len(rows[0]) - 1))]
    with tempfile.TemporaryDirectory() as scratch:
        settings = SentenceTransformerTrainingArguments(
            output_dir=scratch,
            num_train_epochs=recipe.epochs,
            per_device_train_batch_size=recipe.batch,
            learning_rate=recipe.rate,
            warmup_steps=0.1,
            batch_sampler="no_duplicates",
            seed=seed,
            bf16=True,
            use_cpu=device == "cpu",
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        texts = Dataset.from_dict(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
        SentenceTransformerTrainer(model=model, args=settings, train_dataset=texts, loss=MultipleNegativesRankingLoss(model)).train()
    model.max_seq_length = reads
    model.save(str(folder), create_model_card=False)
