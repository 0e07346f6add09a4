"""The cluster is a field of the Mine screen: a wrong address is found when it is entered, and a job gets the right one."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import streamlit as st

from hnmine.cluster.settings import ClusterSettings
from hnmine.runs.workspace import Workspace
from pages.mine import cluster
from pages.shared import mining
from tests.conftest import add_example
from tests.pages.conftest import open_app, press, texts


def test_an_address_where_nothing_answers_is_said_at_once(fresh: Path) -> None:
    dataset = add_example(Workspace(fresh))
    at = open_app("mine", dataset=dataset)
    at.text_input(key=f"cluster-{dataset}").set_value("127.0.0.1:9").run()
    assert not at.exception
    assert "Cannot use this cluster" in texts(at)
    assert "no cluster answers at 127.0.0.1:9" in texts(at)
    assert at.button(key="mine").disabled
    at.text_input(key=f"cluster-{dataset}").set_value("").run()
    assert not at.button(key="mine").disabled


def test_a_job_encodes_on_the_chosen_cluster_and_the_screen_says_what_it_has(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, began = dict[str, Any](), threading.Event()

    def mine_dataset(*arguments: Any, **more: Any) -> str:
        asked.update(more)
        began.set()
        return "no run"

    st.cache_data.clear()
    monkeypatch.setattr(mining, "mine_dataset", mine_dataset)
    monkeypatch.setattr(cluster, "nodes_in_words", lambda address: "2 nodes, 16 CPUs, 4 GPUs")
    dataset = add_example(Workspace(fresh))
    at = open_app("mine", dataset=dataset)
    at.text_input(key=f"cluster-{dataset}").set_value("10.0.0.5:6379").run()
    at.text_input(key=f"shared-store-{dataset}").set_value("s3://bucket/shards").run()
    assert "The cluster has 2 nodes, 16 CPUs, 4 GPUs." in texts(at)
    press(at, "Mine 121 queries")
    assert began.wait(120)
    assert asked["cluster"] == ClusterSettings(address="10.0.0.5:6379", shared_store="s3://bucket/shards")
