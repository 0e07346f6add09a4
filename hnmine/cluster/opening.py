"""Opening a cluster for a run: the one that was asked for, or one of this machine for several devices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from hnmine.cluster.cluster import Cluster
from hnmine.cluster.ray_workers import RayWorkers
from hnmine.cluster.settings import LOCAL, ClusterSettings, ray_is_installed

__all__ = ["opened"]


@contextmanager
def opened(settings: ClusterSettings | None, model: Mapping[str, Any]) -> Iterator[Cluster | None]:
    """Yield the cluster of a run, or None for none; its workers start with the first work, and end with the block.

    Args:
        settings: the cluster that was asked for.
        model: its `describe()`. Without `settings`, each of several devices is a worker on this machine, if Ray is installed and hnmine
            drives the class of the model itself. FlagEmbedding runs other classes in a pool of its own.
    """
    devices = tuple(model.get("devices") or ())
    several = devices if len(devices) > 1 else ()
    if settings is not None:
        workers = RayWorkers(settings.address, several if settings.address == LOCAL else ())
        cluster = Cluster(workers, shared_store=settings.shared_store)
    elif several and model.get("class") == "encoder-only-base" and ray_is_installed():
        cluster = Cluster(RayWorkers(LOCAL, several), searches=False)
    else:
        yield None
        return
    with closing(cluster):
        yield cluster
