"""The map of a query's neighbourhood: vectors projected onto two principal components.

Principal components are deterministic, need no setting and report the variance they keep: an eighth for a small corpus, a
sixth for one neighbourhood (2 of 384 dimensions). UMAP and t-SNE separate clusters better, but their distances between
clusters have no meaning, they take seconds and a large dependency, and they differ between versions.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from hnmine.analysis.figure import GROUPS, Figure, Spec, colour, figure, short, spec, tooltip_lines
from hnmine.analysis.queries import Candidates
from hnmine.data.corpus import Corpus
from hnmine.retrieval.ranking import Ranking
from hnmine.selection.select import Selection
from hnmine.selection.settings import Reason

__all__ = ["Kind", "Neighbourhood", "Plane", "neighbourhood", "plane_of"]


Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """The plane of the two largest principal components.

    Attributes:
        centre: (d,) float64; axes: (2, d) float64, unit length, or 0 where the points have no variance.
        explained: fraction of the variance along each axis, 0..1.
    """

    centre: Doubles
    axes: Doubles
    explained: tuple[float, float]

    def place(self, vectors: npt.ArrayLike) -> Floats:
        """Project vectors (n, d): (n, 2) float32."""
        return ((np.asarray(vectors, dtype=np.float64) - self.centre) @ self.axes.T).astype(np.float32)


def plane_of(vectors: npt.ArrayLike) -> Plane:
    """Return the plane of vectors (n, d), n at least 1; an axis with less variance than the precision of float32 is 0."""
    from sklearn.decomposition import PCA

    points = np.asarray(vectors, dtype=np.float64)
    count, dimension = points.shape
    axes, explained = np.zeros((2, dimension)), np.zeros(2)
    floor = dimension * (np.abs(points).max(initial=0.0) * 1e-7) ** 2
    if points.var(axis=0).sum() > floor:
        found = PCA(min(2, dimension), svd_solver="covariance_eigh" if count > dimension else "full").fit(points)
        spread = np.flatnonzero(found.explained_variance_ * (count - 1) > floor * count)
        axes[spread], explained[spread] = found.components_[spread], found.explained_variance_ratio_[spread]
    return Plane(points.mean(axis=0), axes, (float(explained[0]), float(explained[1])))


class Kind(IntEnum):
    """Kind of a point of a neighbourhood."""

    QUERY = 0
    POSITIVE = 1
    CHOSEN = 2
    NOT_DRAWN = 3
    BEFORE_WINDOW = 4
    REJECTED = 5


@dataclass(frozen=True, slots=True, eq=False)
class Neighbourhood:
    """A query, its positives, its candidates up to the window's end and its random-filled negatives, on their plane.

    `points`: (n, 2); `kinds`: a Kind each; `ids`: passages, -1 for the query; `scores`: similarity to the query; `to_positive`:
    similarity to the nearest positive passage; `order`: index in the candidates, -1 for the query and unranked positives.
    """

    plane: Plane
    points: Floats
    kinds: Codes
    ids: npt.NDArray[np.int32]
    scores: Floats
    to_positive: Floats
    order: Ints

    @property
    def nearer_than_query(self) -> tuple[int, int]:
        """Count the chosen negatives that are more similar to a positive than the query is, and all chosen negatives."""
        chosen = self.to_positive[self.kinds == Kind.CHOSEN]
        return int((chosen > self.to_positive[0]).sum()), len(chosen)

    def nearest_to_positive(self, kind: Kind) -> int | None:
        """Return the point of a kind that is most similar to a positive, or None without one."""
        among = np.flatnonzero(self.kinds == kind)
        return int(among[self.to_positive[among].argmax()]) if len(among) else None


def neighbourhood(corpus: Corpus, ranking: Ranking, selection: Selection, candidates: Candidates, query: int) -> Neighbourhood:
    """Project one query's neighbourhood; `candidates` are those of the query (`queries.candidates_of`)."""
    own = slice(corpus.positive_starts[query], corpus.positive_starts[query + 1])
    positives = corpus.positive_ids[own]
    near = np.flatnonzero((candidates.ranks < selection.settings.window_end) & ~np.isin(candidates.ids, positives))
    ids = np.concatenate([positives, candidates.ids[near]]).astype(np.int32)
    vectors = np.concatenate([np.asarray(ranking.query_vectors[query : query + 1]), np.asarray(ranking.passage_vectors[ids])])
    plane = plane_of(vectors)
    kinds = np.full(len(near), Kind.REJECTED, dtype=np.int8)
    reasons = candidates.reasons[near]
    for reason, kind in ((Reason.NOT_DRAWN, Kind.NOT_DRAWN), (Reason.BEFORE_WINDOW, Kind.BEFORE_WINDOW)):
        kinds[reasons == reason] = kind
    kinds[candidates.chosen[near] > 0] = Kind.CHOSEN
    ranked_at = {int(passage): place for place, passage in enumerate(candidates.ids.tolist())}
    scores = ranking.positive_scores[own]
    return Neighbourhood(
        plane=plane,
        points=plane.place(vectors),
        kinds=np.concatenate([[Kind.QUERY], np.full(len(positives), Kind.POSITIVE), kinds]).astype(np.int8),
        ids=np.concatenate([[-1], ids]).astype(np.int32),
        scores=np.concatenate([[1.0], scores, candidates.scores[near]]).astype(np.float32),
        to_positive=np.concatenate([[scores.max()], np.ones(len(positives)), candidates.to_positive[near]]).astype(np.float32),
        order=np.concatenate([[-1], [ranked_at.get(int(passage), -1) for passage in positives], near]).astype(np.int64),
    )


# Group, shape and size of each kind of point of a neighbourhood. The first three groups have the same colours in all charts.
NEAR = [*GROUPS, "before the window", "rejected", "query"]
SHAPES = ["triangle-up", "circle", "circle", "square", "cross", "diamond"]
SIZES = [140, 90, 30, 50, 60, 260]
KINDS = [Kind.POSITIVE, Kind.CHOSEN, Kind.NOT_DRAWN, Kind.BEFORE_WINDOW, Kind.REJECTED, Kind.QUERY]


def neighbourhood_map(near: Neighbourhood, texts: list[str], statuses: list[str], description: str) -> Figure:
    """Draw a query, its positives and candidates on their plane; `texts` and `statuses` are those of the points."""
    places = np.array([KINDS.index(Kind(kind)) for kind in near.kinds.tolist()])
    order = np.lexsort((-places, np.isin(near.kinds, (Kind.POSITIVE, Kind.QUERY, Kind.CHOSEN))))  # the last points are drawn on top
    points = _marks(near.points[order], near.kinds[order])
    points |= {"similarity to the query": near.scores[order], "similarity to a positive": near.to_positive[order]}
    points |= {"status": [statuses[point] for point in order], "text": [short(texts[point], 160) for point in order]}
    return figure(_neighbourhood_map(), description, points=points)


@functools.cache
def _neighbourhood_map() -> Spec:
    points = _map("points", NEAR, "status", "similarity to the query:.3f", "similarity to a positive:.3f", "text", opacity=0.85)
    return spec(points.encode(**LOOKS), "Neighbourhood of the query", 420)


# Encodings of the columns of `_marks`.
LOOKS: Spec = {
    "shape": {"field": "group", "type": "nominal", "scale": {"domain": NEAR, "range": SHAPES}, "legend": None},
    "size": {"field": "size", "type": "quantitative", "scale": None, "legend": None},
}


def _marks(points: Floats, kinds: npt.NDArray[np.int8]) -> Spec:
    places = [KINDS.index(Kind(kind)) for kind in kinds.tolist()]
    return {"x": points[:, 0], "y": points[:, 1], "group": [NEAR[place] for place in places], "size": [SIZES[place] for place in places]}


def _map(data: str, domain: list[str], *tooltip: str, **mark: Any) -> Any:
    """Build points on a plane. Only distances are meaningful, so the axes have no numbers."""
    import altair as alt

    plain = {"scale": alt.Scale(zero=False), "axis": alt.Axis(labels=False, ticks=False, grid=False, domain=False)}
    x, y = alt.X("x:Q", title="first principal component", **plain), alt.Y("y:Q", title="second principal component", **plain)
    chart = alt.Chart(alt.NamedData(data)).mark_point(filled=True, **mark)
    legend = {"columns": 2, "symbolOpacity": 1, "symbolStrokeWidth": 0, "values": [each for each in domain if each]}
    return chart.encode(x, y, color=colour(domain, legend), tooltip=tooltip_lines(*tooltip))
