"""Start the mining of a data set: with the settings of a screen, or with the recommended ones."""

from __future__ import annotations

from hnmine import resources
from hnmine.data.dataset import Inputs
from hnmine.models import cards, loading
from hnmine.models.cards import ModelSettings
from hnmine.runs.jobs import Job, mine_dataset
from hnmine.runs.mine import MineSettings
from hnmine.selection.presets import RECOMMENDED, with_preset
from hnmine.selection.settings import SelectionSettings
from pages.shared import state

# Candidates ranked for each query, so that the window can be extended: ranking 500 instead of 210 takes 2 ms more per query.
DEPTH = 500


def recommended(dataset_id: str, read: Inputs) -> MineSettings:
    """Return the settings that the Mine screen begins with: the packaged model and the recommended preset."""
    repair, skip = state.decisions(dataset_id)
    return MineSettings(
        selection=with_preset(RECOMMENDED, SelectionSettings(), deepest=min(DEPTH, read.corpus.n_candidates)),
        model=ModelSettings(),
        use_gpu=loading.gpu_here(),
        columns=state.columns(dataset_id),
        repair=repair,
        skip_bad_rows=skip,
    )


def start(dataset_id: str, settings: MineSettings) -> Job:
    """Queue a run; it continues without the page."""
    space = resources.workspace()
    return resources.jobs().submit(
        dataset_id,
        lambda on_progress, should_stop: mine_dataset(
            space,
            dataset_id,
            settings,
            DEPTH,
            lambda tell: resources.encoder(settings.model or cards.ModelSettings(), tell),
            on_progress,
            should_stop,
            load_reranker=lambda tell: resources.cross_encoder(settings.reranker, tell),
        ),
    )
