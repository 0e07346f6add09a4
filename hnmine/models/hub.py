"""Models of the Hugging Face hub: always loaded from a local snapshot, with a time limit on requests.

A snapshot in the hub's cache is used without a request; otherwise the hub has HUB_DEADLINE seconds to respond, so an
unreachable hub cannot block a run.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hnmine.core import hub
from hnmine.core.errors import ModelError
from hnmine.core.hub import ask, first_line

__all__ = ["available", "read_json", "snapshot"]


def read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {path} ({error}); the model folder seems damaged; copy or save it again") from error
    return value if isinstance(value, dict) else {}


def _complete(folder: Path) -> bool:
    """Return whether a snapshot has its config and all weights (an interrupted download has a part of them)."""
    if not (folder / "config.json").exists():
        return False
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if shards := set(read_json(folder / index).get("weight_map", {}).values()):
            return all((folder / shard).exists() for shard in shards)
    return any((folder / weights).exists() for weights in ("model.safetensors", "pytorch_model.bin"))


def available(name: str, *, cache_dir: str | None = None, seconds: float = 5.0) -> None:
    """Check that a hub model can be loaded: its snapshot is in the cache (nothing is requested), or the hub lists its weights.

    Raises:
        ModelError: no such model, no access to it, no network within `seconds`, or no PyTorch weights; with the remedy.
    """
    from huggingface_hub import HfApi, snapshot_download

    try:
        if _complete(Path(snapshot_download(name, cache_dir=cache_dir, local_files_only=True))):
            return
    except Exception:  # noqa: BLE001 - not in the cache; the class differs between releases of the client
        pass
    try:
        found = ask(lambda: HfApi().model_info(name, timeout=seconds), seconds)
        if found.gated:  # its description is public, its files are not
            ask(lambda: HfApi().auth_check(name), seconds)
    except Exception as error:
        raise ModelError(_refused(name, error)) from error
    if not any(each.rfilename.endswith((".safetensors", ".bin")) for each in found.siblings or ()):
        raise ModelError(f"{name} has no PyTorch weights on the Hugging Face Hub; choose another model")


def _refused(name: str, error: Exception) -> str:
    """Return why the hub does not give a model, and what to do, from the class and status of the client's error."""
    kind, status = type(error).__name__, getattr(getattr(error, "response", None), "status_code", None)
    if kind == "GatedRepoError" or status in (401, 403):
        return f"{name} is private, gated or does not exist; check the name, or accept its terms and log in with `hf auth login`"
    if kind in ("RepositoryNotFoundError", "HFValidationError") or status == 404:
        return f"there is no model {name} on the Hugging Face Hub; check the name, or enter the path of a folder on the server"
    return (
        f"{name} is not on this machine, and huggingface.co cannot be reached ({first_line(error)}); connect to the network, "
        "enter the path of a local folder, or choose the packaged model"
    )


def snapshot(name: str, *, cache_dir: str | None, on_note: Callable[[str], None] | None, instead: str) -> Path:
    """Return the local folder of a hub model, downloaded if it is not in the cache; `instead` ends an error message.

    Raises:
        ModelError: no such model, no network (within HUB_DEADLINE seconds), or no PyTorch weights.
    """
    from huggingface_hub import HfApi, snapshot_download

    def refuse(reason: str) -> ModelError:
        return ModelError(f"cannot load model {name!r}: {reason}. Check the name and the network, {instead}")

    try:
        folder = Path(snapshot_download(name, cache_dir=cache_dir, local_files_only=True))
        if _complete(folder):
            return folder
    except Exception:  # noqa: BLE001 - not in the cache; the class differs between releases of the client
        folder = None

    try:
        found = ask(lambda: HfApi().model_info(name, timeout=hub.HUB_DEADLINE / 2))
    except Exception as error:
        raise refuse(first_line(error)) from error

    files = [each.rfilename for each in found.siblings or ()]
    patterns = ["*.json", "*.txt", "*.model", "*.pt", "*.py", "*.tiktoken"]
    patterns.append("*.safetensors" if any(each.endswith(".safetensors") for each in files) else "*.bin")
    if on_note is not None:
        on_note(f"downloading {name} from the hub")
    try:
        folder = Path(snapshot_download(name, cache_dir=cache_dir, allow_patterns=patterns, ignore_patterns=["onnx/*", "openvino/*"]))
    except Exception as error:
        raise refuse(first_line(error)) from error
    if not _complete(folder):
        raise refuse("the hub has no PyTorch weights for it")
    return folder
