"""The cluster of a run as widgets: its address, and what it has."""

from __future__ import annotations

from typing import NamedTuple

import streamlit as st

from hnmine.cluster.ray_workers import nodes_in_words
from hnmine.cluster.settings import LOCAL, ClusterSettings, cluster_settings
from hnmine.core.errors import HnmineError, SettingsError
from hnmine.models.cards import ModelSettings
from pages.shared import limits
from pages.shared.widgets import failed

__all__ = ["Choice", "choice"]


class Choice(NamedTuple):
    """The chosen cluster, or None, and whether it can be used."""

    settings: ClusterSettings | None
    usable: bool = True


def choice(key: str, model: ModelSettings | None) -> Choice:
    """Draw the address of the cluster, and the shared store of one with several machines; no cluster encodes with a served `model`."""
    address = st.text_input(
        "Cluster",
        placeholder="none: this server encodes and searches",
        key=f"cluster-{key}",
        max_chars=limits.ADDRESS,
        persist_state="session",
        help="A Ray cluster that encodes and searches: 'local' for several processes of this server, or the address of the head node with "
        "its port, such as 10.0.0.5:6379. The result has the same bytes.",
    ).strip()
    answer = st.container()
    shared = None
    if address not in ("", LOCAL):
        shared = st.text_input(
            "Shared store",
            placeholder="the workspace of this server",
            key=f"shared-store-{key}",
            max_chars=limits.ADDRESS,
            persist_state="session",
            help="A folder of a network file system, or an address such as s3://bucket/folder, that all nodes reach. Finished vectors are "
            "kept there.",
        ).strip()
    try:
        settings = cluster_settings(address or None, shared or None)
        if settings is None:
            return Choice(None)
        if model is not None and model.server is not None:
            raise SettingsError("The model is served, so its server encodes. Remove the cluster, or choose a model that is loaded.")
        with answer:
            st.text("Several processes of this server." if address == LOCAL else f"The cluster has {_seen(address)}.")
    except HnmineError as error:
        with answer:
            failed("Cannot use this cluster", error)
        return Choice(None, usable=False)
    return Choice(settings)


@st.cache_data(ttl=60, max_entries=8, show_spinner="Connecting to the cluster")
def _seen(address: str) -> str:
    return nodes_in_words(address)
