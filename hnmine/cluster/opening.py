"""Opening a cluster for a run: the one that was asked for, or one of this machine for several devices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from hnmine.cluster.cluster import Cluster
from hnmine.cluster.ray_workers import RayWorkers
from hnmine.cluster.settings import LOCAL, ClusterSettings, ray_is_installed
from hnmine.core.errors import SettingsError
from hnmine.models.cards import ModelSettings

__all__ = ["opened"]


@contextmanager
def opened(settings: ClusterSettings | None, model: ModelSettings | None, described: Mapping[str, Any]) -> Iterator[Cluster | None]:
    """Yield the cluster of a run, or None for none; its workers start with the first work, and end with the block.

    Args:
        settings: the cluster that was asked for.
        model: a worker of this machine for each of its devices, if they are named one by one ("cuda:0"). Several devices without
            `settings` are workers too, if Ray is installed and hnmine drives the class of the model itself: FlagEmbedding runs the others
            on several devices in a pool of its own.
        described: `describe()` of the model.

    Raises:
        SettingsError: the model is served, so no worker can encode with it.
    """
    devices = (model.devices if model is not None else None) or ()
    named = devices if len(devices) > 1 or ":" in "".join(devices) else ()
    if settings is not None and str(described.get("class")).startswith("served"):
        raise SettingsError(
            f"the model is served by {described.get('address')}, which encodes; leave the cluster out (--cluster), or load the model"
        )
    if settings is not None:
        workers = RayWorkers(settings.address, named if settings.address == LOCAL else ())
        cluster = Cluster(workers, shared_store=settings.shared_store)
    elif len(devices) > 1 and described.get("class") == "encoder-only-base" and ray_is_installed():
        cluster = Cluster(RayWorkers(LOCAL, named), searches=False)
    else:
        yield None
        return
    with closing(cluster):
        yield cluster
