"""Opening a model: the one that a server answers for, or one that is loaded here."""

from __future__ import annotations

from hnmine.core.progress import OnProgress, ShouldStop
from hnmine.models.cards import ModelSettings
from hnmine.models.encoder import Encoder, FlagEncoder
from hnmine.models.flag_reranker import CrossEncoder
from hnmine.models.reranker import Reranker, RerankerSettings
from hnmine.models.served.embedder import ServedEncoder
from hnmine.models.served.reranker import ServedReranker

__all__ = ["load_encoder", "load_reranker"]


def load_encoder(
    settings: ModelSettings | None = None, *, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None
) -> Encoder:
    """Return the encoder of these settings; None is the packaged model. A server is asked for its probe, and may take its time.

    Raises:
        ModelError: the model, a device or the server is not available.
        SettingsError: a device is unknown, or a setting does not fit the server.
        EncodeError: the server does not answer as an embedding model.
        Cancelled: `should_stop` returned True while the server was waited for.
    """
    settings = settings or ModelSettings()
    if settings.server is not None:
        return ServedEncoder.load(settings, on_progress=on_progress, should_stop=should_stop)
    return FlagEncoder.load(settings, on_progress=on_progress)


def load_reranker(settings: RerankerSettings, *, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None) -> Reranker:
    """Return the reranker of these settings.

    Raises:
        As `load_encoder`.
    """
    if settings.server is not None:
        return ServedReranker.load(settings, on_progress=on_progress, should_stop=should_stop)
    return CrossEncoder.load(settings, on_progress=on_progress)
