"""Maps: vectors laid flat, for one query's neighbourhood and for a whole set.

Principal components, because they are the one projection that is the same every time, needs no setting, and says how
much of the truth it shows: two of 384 dimensions carry an eighth of the variance of a small corpus, and a sixth of that of
one neighbourhood, and the share is stated beside every map. UMAP and t-SNE draw prettier clusters, but distances between
clusters mean nothing there, they take seconds and a large dependency, and differ between versions.

Few points go through a singular value decomposition (250 x 384: a tenth of a second); many through their covariance, summed over
blocks, so that neither the number of points nor where they lie decides the memory: 20,000 x 384 take 1.3 s on two busy
cores, once a run.
A component and its opposite are equally good: the one whose largest loading is positive is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from hnmine.analysis.queries import Candidates
from hnmine.core.hashing import query_keys
from hnmine.data.corpus import Corpus
from hnmine.retrieval.ranking import Ranking
from hnmine.selection.select import Selection
from hnmine.selection.settings import Reason
from hnmine.vectors.similarity import VectorRows, give_back

__all__ = ["MAP_POINTS", "Kind", "Neighbourhood", "Overview", "Plane", "neighbourhood", "overview", "plane_of", "roles", "sample"]

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int8]

# More marks make a browser slow, and a picture no clearer.
MAP_POINTS = 20_000
BLOCK = 4_096
# Up to here the decomposition of the points themselves is the quicker way, and the exact one.
FEW = 2_048


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """The plane of the two largest principal components.

    Attributes:
        centre: (d,) float64; axes: (2, d) float64, unit length, or 0 where the points do not spread that way.
        explained: share of the variance along each axis, 0..1.
    """

    centre: Doubles
    axes: Doubles
    explained: tuple[float, float]

    def place(self, vectors: npt.ArrayLike) -> Floats:
        """Return where vectors (n, d) fall: (n, 2) float32."""
        return ((np.asarray(vectors, dtype=np.float64) - self.centre) @ self.axes.T).astype(np.float32)


def plane_of(vectors: VectorRows, ids: Ints | None = None) -> Plane:
    """Find the plane of vectors (n, d), or of those with the numbers `ids`; read in blocks where they are many."""
    ids = np.arange(len(vectors)) if ids is None else ids
    dimension = int(vectors.shape[1])
    if len(ids) <= FEW:
        points = np.asarray(vectors[ids], dtype=np.float64)
        centre = points.mean(axis=0) if len(points) else np.zeros(dimension)
        _, spread, found = np.linalg.svd(points - centre, full_matrices=False)
        return _plane(centre, spread**2, found, float(np.abs(points).max(initial=0.0)), len(points))
    centre = np.zeros(dimension)
    for block in _blocks(vectors, ids):
        centre += block.sum(axis=0)
    centre /= len(ids)
    covariance, largest = np.zeros((dimension, dimension)), 0.0
    for block in _blocks(vectors, ids):
        covariance += (block - centre).T @ (block - centre)
        largest = max(largest, float(np.abs(block).max()))
    spread, found = np.linalg.eigh(covariance)
    return _plane(centre, spread[::-1], found.T[::-1], largest, len(ids))


def _blocks(vectors: VectorRows, ids: Ints) -> Iterator[Doubles]:
    for first in range(0, len(ids), BLOCK):
        yield np.asarray(vectors[ids[first : first + BLOCK]], dtype=np.float64)
        give_back(vectors)


def _plane(centre: Doubles, spread: Doubles, found: Doubles, largest: float, count: int) -> Plane:
    """Make a plane of variances (descending) and components (rows) of `count` points whose largest coordinate is `largest`."""
    spread = np.maximum(spread, 0.0)
    floor = count * len(centre) * (largest * 1e-7) ** 2  # float32 cannot tell less apart
    axes, explained = np.zeros((2, len(centre))), [0.0, 0.0]
    for number in range(min(2, len(spread))):
        if spread[number] > floor:
            axis = found[number]
            axes[number] = axis if axis[np.abs(axis).argmax()] > 0 else -axis
            explained[number] = float(spread[number] / spread.sum())
    return Plane(centre, axes, (explained[0], explained[1]))


class Kind(IntEnum):
    """What a point of a neighbourhood is."""

    QUERY = 0
    POSITIVE = 1
    CHOSEN = 2
    NOT_DRAWN = 3
    BEFORE_WINDOW = 4
    REJECTED = 5


@dataclass(frozen=True, slots=True, eq=False)
class Neighbourhood:
    """A query, its positives, and its candidates up to the window's end with its back-filled negatives, on their plane.

    `points`: (n, 2); `kinds`: a Kind each; `ids`: passages, -1 for the query; `scores`: similarity to the query; `to_positive`: to
    the nearest positive passage; `order`: entry of the candidates, -1 for the query and for positives that were not ranked.
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
        """How many chosen negatives are more similar to a positive than the query is, and how many are chosen."""
        chosen = self.to_positive[self.kinds == Kind.CHOSEN]
        return int((chosen > self.to_positive[0]).sum()), len(chosen)

    def nearest_to_positive(self, kind: Kind) -> int | None:
        """Return the point of a kind that is most similar to a positive, or None when there is none of that kind."""
        among = np.flatnonzero(self.kinds == kind)
        return int(among[self.to_positive[among].argmax()]) if len(among) else None


def neighbourhood(corpus: Corpus, ranking: Ranking, selection: Selection, candidates: Candidates, query: int) -> Neighbourhood:
    """Lay one query's neighbourhood flat; `candidates` are those of the query (`quality.candidates_of`)."""
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


@dataclass(frozen=True, slots=True, eq=False)
class Overview:
    """Passages of a whole set on their plane: `ids` (m,) ascending, `points` (m, 2) float32; `of` passages in all."""

    plane: Plane
    ids: Ints
    points: Floats
    of: int


def sample(hashes: npt.NDArray[np.uint64], limit: int = MAP_POINTS, *, seed: int = 42) -> Ints:
    """Return the numbers of at most `limit` texts, ascending; which ones depends on their hashes and the seed, not on their order."""
    if len(hashes) <= limit:
        return np.arange(len(hashes))
    lots = query_keys(hashes, seed, 3)
    return np.sort(np.argpartition(lots, limit - 1)[:limit]).astype(np.int64)


def overview(corpus: Corpus, ranking: Ranking, *, limit: int = MAP_POINTS, seed: int = 42) -> Overview:
    """Lay a set's passages flat, a sample of them where they are more than `limit`."""
    ids = sample(corpus.passage_hashes, limit, seed=seed)
    plane = plane_of(ranking.passage_vectors, ids)
    points = np.concatenate([plane.place(block) for block in _blocks(ranking.passage_vectors, ids)])
    return Overview(plane=plane, ids=ids, points=points, of=len(corpus.passages))


def roles(corpus: Corpus, selection: Selection, ids: Ints) -> Codes:
    """Say what passages are for: 0 neither, 1 positive of a query, 2 chosen negative of one, 3 both: (m,) int8."""
    found = np.zeros(len(corpus.passages), dtype=np.int8)
    found[corpus.positive_ids] |= 1
    found[selection.negatives[selection.negatives >= 0]] |= 2
    return found[ids]
