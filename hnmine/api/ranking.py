"""`rank` and what it returns: the nearest passages of every query, with all signals.

`rank` is slow (encoding, search), and stored vectors make a second call fast. `Ranking.select` takes milliseconds, so it is called again
for every setting.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.api.dataset import Dataset, Shown
from hnmine.api.selection import Selection, query_number, texts_of
from hnmine.cluster.settings import ClusterSettings, cluster_settings
from hnmine.core.errors import SettingsError
from hnmine.core.progress import OnProgress, ShouldStop, Stages, progress_shown
from hnmine.data.verdicts import match_verdicts
from hnmine.models.cards import ModelSettings, Precision
from hnmine.models.encoder import Encoder, as_encoder
from hnmine.models.opening import load_encoder
from hnmine.models.reranker import RerankerSettings
from hnmine.retrieval.approximate import IndexName
from hnmine.retrieval.retrievers import second_model_settings
from hnmine.retrieval.search import gpu_count
from hnmine.review.relabelling import Relabel, judged_pairs
from hnmine.runs.find_knn_neg import changed_selection, judgements_of, verdicts_of
from hnmine.runs.mine import Ranked, rank_data
from hnmine.runs.reviewed import apply_verdicts
from hnmine.runs.workspace import vectors_folder
from hnmine.selection.settings import SelectionSettings
from hnmine.vectors.store import VectorStore

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Ranking", "rank"]


# The settings that `Ranking.select` has arguments of its own for; the others are its `filters`.
OWN = ("window_start", "window_end", "negative_number", "strategy", "seed")
FILTER_NAMES = tuple(name for name in SelectionSettings.__struct_fields__ if name not in OWN)


class Ranking(Shown):
    """The nearest passages of every query, with all signals. Make it by `hnmine.rank`; then `select` from it, as often as you like."""

    def __init__(self, ranked: Ranked) -> None:
        self._ranked = ranked

    @property
    def data(self) -> Dataset:
        """The data that was ranked."""
        return Dataset(self._ranked.inputs, self._ranked.settings)

    @property
    def depth(self) -> int:
        """Ranked candidates a query (k)."""
        return self._ranked.ranking.depth

    @property
    def scores(self) -> npt.NDArray[np.float32]:
        """Similarities of the candidates, best first: (queries, k) float32."""
        return self._ranked.ranking.scores

    @property
    def signals(self) -> Mapping[str, npt.NDArray[np.float32]]:
        """What else is known of the candidates, by name: (queries, k) float32 each, NaN where it is unknown."""
        return self._ranked.ranking.signals

    def candidates(self, query: str | int) -> pd.DataFrame:
        """Return the ranked candidates of a query, given by its text or number: `passage`, `score`, `is_positive`, and the signals.

        Raises:
            InputError: there is no such query.
        """
        import pandas as pd

        corpus, ranking = self._ranked.inputs.corpus, self._ranked.ranking
        number = query_number(corpus, query)
        ids = ranking.ids[number]
        columns = {
            "passage": texts_of(corpus.passages, ids),
            "score": ranking.scores[number],
            "is_positive": np.isin(ids, corpus.positives(number)),
        }
        frame = pd.DataFrame(columns | {name: values[number] for name, values in sorted(ranking.signals.items())})
        return frame.rename_axis("rank")

    def select(
        self,
        preset: str | None = None,
        /,
        *,
        n: int = 15,
        window: tuple[int, int] | str | None = None,
        strategy: Literal["random", "hardest"] | None = None,
        seed: int = 42,
        verdicts: Any = None,
        judgements: Any = None,
        relabel: Relabel = "keep",
        relevant_from: int = 2,
        **filters: Any,
    ) -> Selection:
        """Choose `n` negatives for every query.

        Args:
            preset: one of `hnmine.PRESETS`, such as "balanced"; what is named beside it wins. None: 15 at random from ranks 10 to 209,
                no filter.
            n: negatives for each query; fewer where there are fewer candidates.
            window: ranks from 0, (start, end) or "start-end", cut before anything is removed.
            strategy: "random" by `seed`, or "hardest".
            seed: any integer.
            verdicts: reviewers' verdicts: a path of JSON lines, `Verdict`s, or a `VerdictStore`.
            judgements: a judge's grades: a path of JSON lines, `Judgement`s, or a `JudgementStore`.
            relabel: what is done with candidates that the judge calls relevant, by a grade of at least `relevant_from`: "keep", "drop",
                "promote" or "leave_out" (the row, when it is written); people's verdicts win.
            filters: as in `SelectionSettings`, such as max_positive_ratio=0.95.

        Raises:
            SettingsError: a setting is unknown, out of range, or needs a signal or depth that the ranking lacks.
            InputError: the verdicts or judgements cannot be read.
        """
        for name in filters:
            if name not in FILTER_NAMES:
                close = difflib.get_close_matches(name, FILTER_NAMES, n=1)
                raise SettingsError(
                    f"select has no setting {name!r}"
                    + (f"; did you mean {close[0]!r}?" if close else f"; filters are {', '.join(FILTER_NAMES)}")
                )
        changes = {"negative_number": n, "seed": seed} | ({} if strategy is None else {"strategy": strategy}) | filters
        settings = changed_selection(SelectionSettings(), preset, changes, window, "window")
        # Checked with the other settings of a run, as the command line checks them.
        run = msgspec.structs.replace(self._ranked.settings, selection=settings, relabel=relabel, relevant_from=relevant_from)
        inputs, judged = self._ranked.inputs, judged_pairs(self._ranked.inputs.corpus, judgements_of(judgements))
        run.check_judged(judged)
        reviewed = apply_verdicts(inputs, self._ranked.ranking, match_verdicts(inputs.corpus, verdicts_of(verdicts)), judged)
        reviewed = reviewed.relabelled(relabel, relevant_from)
        return Selection(self._ranked, reviewed, reviewed.select(settings))

    def _facts(self) -> dict[str, str]:
        return {
            "model": str(self._ranked.descriptions["model"].get("name")),
            "queries": f"{len(self._ranked.inputs.corpus.queries):,}",
            "candidates": f"{self._ranked.inputs.corpus.n_candidates:,}",
            "depth": f"{self.depth:,}",
            "signals": ", ".join(sorted(self.signals)),
        }


def rank(
    data: Dataset,
    *,
    model: Any = None,
    depth: int = 300,
    query_prompt_field: str | None = None,
    retrievers: Iterable[str] = ("model",),
    second_model: str | ModelSettings | None = None,
    reranker: str | RerankerSettings | None = None,
    index: IndexName = "exact",
    store: bool | str | os.PathLike[str] = True,
    device: str | Sequence[str] | None = None,
    precision: Precision = "auto",
    cluster: str | ClusterSettings | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> Ranking:
    """Encode all texts, find the nearest passages of every query, and compute all signals.

    Args:
        data: of `read`.
        model: a hub name, a folder, `ModelSettings`, a loaded FlagEmbedding or SentenceTransformer model, or an `Encoder`; None is the
            packaged all-MiniLM-L6-v2.
        depth: candidates a query, at least 300 where the data has so many; a window can end there at most.
        query_prompt_field: the field of the rows with the instruction of each query, such as "prompt"; None: all queries have the model's.
        retrievers: "model", "bm25", "second_model", or several, whose ranks are fused.
        second_model: another model, whose similarities become the signal "second_model".
        reranker: a cross-encoder, whose raw logits of the first `depth` candidates become the signal "reranker".
        index: "exact", or "ivf", "hnsw" or "cagra": approximate search for millions of passages, its recall measured and noted.
        store: True keeps vectors in the workspace, a folder there, False nowhere. Vectors of a loaded model are not kept.
        device: such as "cuda:0", or several; None is the first GPU, else the CPU. FAISS searches on a GPU when the model runs on one.
        precision: "auto", "fp32", "fp16" or "bf16".
        cluster: where to encode and search: "local", the address of a Ray cluster, or `ClusterSettings`; None is this process.
        on_progress, should_stop: called about once a batch. Without `on_progress`, a terminal or notebook shows a bar.

    Raises:
        InputError: values of `query_prompt_field` are not texts, or differ for one query.
        SettingsError: a setting is out of range, or `device` or `precision` is given with a model that has its own.
        ModelError, EncodeError: a model cannot be loaded, or its output is not vectors.
        ClusterError: the cluster cannot be reached, or its workers cannot do the work.
        Cancelled: `should_stop` returned True; vectors encoded so far are stored.
    """
    if not isinstance(data, Dataset):
        raise SettingsError(f"data is a {type(data).__name__}; read it first: hnmine.rank(hnmine.read(source))")
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 1:
        raise SettingsError(f"depth is {depth!r}; it must be an integer of at least 1")
    model, encoder = _model(model, device, precision)
    first = model or ModelSettings()
    if isinstance(second_model, str):
        second_model = second_model_settings(first, second_model)
    if isinstance(reranker, str):
        reranker = RerankerSettings(name_or_path=reranker, devices=first.devices, precision=first.precision)
    if reranker is not None and reranker.depth is None:
        reranker = msgspec.structs.replace(reranker, depth=depth)
    settings = msgspec.structs.replace(
        data._settings,
        model=model,
        query_prompt_field=query_prompt_field,
        second_model=second_model,
        retrievers=(retrievers,) if isinstance(retrievers, str) else tuple(retrievers),
        reranker=reranker,
        index=index,
        selection=SelectionSettings(window_start=0, window_end=depth),
    )
    folder = None if store is False else vectors_folder() if store is True else Path(store)
    with progress_shown(on_progress) as shown:
        encoder = encoder or load_encoder(model, on_progress=shown, should_stop=should_stop)
        devices = encoder.describe().get("devices") or ()
        if any(str(each).startswith("cuda") for each in devices) and gpu_count():
            settings = msgspec.structs.replace(settings, use_gpu=True)
        ranked = rank_data(
            data._inputs,
            settings,
            lambda: encoder,
            depth=depth,
            signals=True,
            store=None if folder is None else VectorStore(folder),
            cluster=cluster_settings(cluster),
            stages=Stages(shown),
            should_stop=should_stop,
        )
    return Ranking(ranked)


def _model(model: Any, device: str | Sequence[str] | None, precision: Precision) -> tuple[ModelSettings | None, Encoder | None]:
    """Return settings, or an encoder for a loaded model."""
    if model is None or isinstance(model, (str, os.PathLike)):
        devices = None if device is None else (device,) if isinstance(device, str) else tuple(device)
        return ModelSettings(name_or_path=None if model is None else os.fspath(model), devices=devices, precision=precision), None
    if device is not None or precision != "auto":
        raise SettingsError(f"device and precision are those of the {type(model).__name__}; set them there, or give the model's name")
    return (model, None) if isinstance(model, ModelSettings) else (None, as_encoder(model))
