"""Which cluster encodes and searches. It decides no byte of the output, so it is no part of `MineSettings`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import msgspec

from hnmine.core.errors import SettingsError

__all__ = ["LOCAL", "ClusterSettings", "cluster_settings", "ray_is_installed"]

LOCAL = "local"


class ClusterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cluster.

    Attributes:
        address: "local" starts workers on this machine and ends them with the run; "auto" is the cluster that runs on this machine;
            "HOST:PORT" is the head node of a cluster that this machine belongs to.
        shared_store: a folder of a network file system, or an address such as "s3://bucket/folder", that all nodes reach; None is a
            folder inside the vector store. Finished shards stay there.
    """

    address: str
    shared_store: str | None = None

    def __post_init__(self) -> None:
        port = self.address.rpartition(":")[2]
        if self.address not in (LOCAL, "auto") and not (port.isdecimal() and 0 < int(port) < 65_536):
            raise SettingsError(
                f"cluster is {self.address!r}; write local, auto, or the address of the head node with its port, such as 10.0.0.5:6379"
            )
        store = self.shared_store
        if store is not None and "://" not in store and not Path(store).is_absolute():
            raise SettingsError(
                f"shared_store is {store!r}; give the absolute path of a folder, which is the same on all nodes, an address such as "
                "s3://bucket/folder, or leave it out"
            )


def ray_is_installed() -> bool:
    """Return whether Ray is installed; it is not imported."""
    return importlib.util.find_spec("ray") is not None


def cluster_settings(given: str | ClusterSettings | None, shared_store: str | None = None) -> ClusterSettings | None:
    """Return settings from an address, settings, or None.

    Raises:
        SettingsError: the address is malformed, Ray is not installed, or a shared store is given without a cluster.
    """
    if given is None:
        if shared_store is not None:
            raise SettingsError("shared_store is for a cluster, and there is none; set cluster, or leave shared_store out")
        return None
    if not isinstance(given, str | ClusterSettings):
        raise SettingsError(
            f"cluster is {given!r}; give 'local', 'auto', the address of the head node such as '10.0.0.5:6379', or settings"
        )
    if not ray_is_installed():
        raise SettingsError("a cluster needs Ray, which is not installed; run: pip install 'hnmine[cluster]'")
    return given if isinstance(given, ClusterSettings) else ClusterSettings(address=given, shared_store=shared_store)
