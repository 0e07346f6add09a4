"""Models of the Hugging Face hub: always loaded from a local snapshot, looked up under a deadline.

A snapshot that is already in the hub's cache is used without asking the hub; otherwise the hub has HUB_DEADLINE seconds to answer at
all, so one that does not answer cannot hang a run.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hnmine.core.errors import ModelError

__all__ = ["HUB_DEADLINE", "read_json", "snapshot"]

# The hub must answer within this many seconds; the transfer that follows may take as long as it needs.
HUB_DEADLINE = 20.0


def read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {path} ({error}); the model folder looks damaged, copy or save it again") from error
    return value if isinstance(value, dict) else {}


def _complete(folder: Path) -> bool:
    """Whether a snapshot holds its config and all its weights (an interrupted download leaves a part)."""
    if not (folder / "config.json").exists():
        return False
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if shards := set(read_json(folder / index).get("weight_map", {}).values()):
            return all((folder / shard).exists() for shard in shards)
    return any((folder / weights).exists() for weights in ("model.safetensors", "pytorch_model.bin"))


def snapshot(name: str, *, cache_dir: str | None, on_note: Callable[[str], None] | None, instead: str) -> Path:
    """Return the local folder of a hub model, fetched where it is not in the cache.

    Args:
        name: such as "BAAI/bge-small-en-v1.5".
        cache_dir: where hub models are kept; None is the hub's own default.
        on_note: called before a transfer begins, which may take as long as it needs.
        instead: what a user can do without this model; ends the message of the error.

    Raises:
        ModelError: no such model, no network, or no PyTorch weights; within HUB_DEADLINE seconds when the hub is out of reach.
    """
    from huggingface_hub import HfApi, snapshot_download

    def refuse(reason: str) -> ModelError:
        return ModelError(f"cannot load model {name!r}: {reason}. Check the name and the network, {instead}")

    try:
        folder = Path(snapshot_download(name, cache_dir=cache_dir, local_files_only=True))
        if _complete(folder):
            return folder
    except Exception:  # noqa: BLE001 - not in the cache, in whichever way this release of the hub's client says so
        folder = None

    answer: list[Any] = []

    def ask() -> None:
        try:
            answer.append(HfApi().model_info(name, timeout=HUB_DEADLINE / 2))
        except Exception as error:  # noqa: BLE001 - raised below
            answer.append(error)

    # A name server that does not answer is not covered by the client's own timeout, so the wait is bounded from outside.
    thread = threading.Thread(target=ask, name="hub-lookup", daemon=True)
    thread.start()
    thread.join(HUB_DEADLINE)
    if not answer:
        raise refuse(f"the hub did not answer within {HUB_DEADLINE:.0f} seconds")
    if isinstance(answer[0], Exception):
        raise refuse(_first_line(answer[0])) from answer[0]

    files = [each.rfilename for each in answer[0].siblings or ()]
    patterns = ["*.json", "*.txt", "*.model", "*.pt", "*.py", "*.tiktoken"]
    patterns.append("*.safetensors" if any(each.endswith(".safetensors") for each in files) else "*.bin")
    if on_note is not None:
        on_note(f"fetching {name} from the hub")
    try:
        folder = Path(snapshot_download(name, cache_dir=cache_dir, allow_patterns=patterns, ignore_patterns=["onnx/*", "openvino/*"]))
    except Exception as error:
        raise refuse(_first_line(error)) from error
    if not _complete(folder):
        raise refuse("the hub has no PyTorch weights for it")
    return folder


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
