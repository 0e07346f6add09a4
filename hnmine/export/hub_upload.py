"""Upload of an export to the Hugging Face hub, as a data set, with the token of the hub's own login.

The hub is asked who is logged in before anything is created: without a network that ends within HUB_DEADLINE seconds. Of folders only
those of the format `datasets` are uploaded, so that no other file of a folder becomes public by mistake.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from hnmine.core.errors import InputError, OutputError, SettingsError
from hnmine.core.hub import ask, first_line
from hnmine.core.paths import require_possible
from hnmine.export.datasets_folder import check_replaceable

__all__ = ["push"]

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def push(path: str | os.PathLike[str], repo_id: str, *, private: bool = False) -> str:
    """Upload an exported file or folder to a data set repository, which is made if it does not exist; return its address.

    Args:
        path: a file, or a folder of the format `datasets`.
        repo_id: OWNER/NAME.
        private: make a private repository; a public one with this name is refused.

    Raises:
        SettingsError: `repo_id` is malformed.
        InputError: there is no such file, or it is another folder.
        OutputError: no login, no network, no right to write, or the repository is public.
    """
    from huggingface_hub import HfApi, get_token

    path = Path(path)
    if not _REPOSITORY.fullmatch(repo_id):
        raise SettingsError(f"the repository is {repo_id!r}; write OWNER/NAME, such as my-name/my-negatives")
    require_possible("the path", path, InputError)
    if not path.is_dir() and not path.is_file():
        what = "is no file and no folder" if path.exists() else "does not exist"
        raise InputError(f"{path} {what}; name a file or a folder that was exported")
    if path.is_dir():
        if not (path / "dataset_dict.json").is_file():
            raise InputError(f"{path} is not a folder of output_format datasets; export one, or name a file")
        try:
            check_replaceable(path)
        except SettingsError as error:
            raise InputError(f"{path} holds more than a data set, and all of it would be uploaded; move other files away") from error
    if get_token() is None:
        raise OutputError("nobody is logged in to the Hugging Face hub; run `hf auth login`, or set HF_TOKEN to a token that may write")
    api = HfApi()
    try:
        ask(api.whoami)
    except Exception as error:
        remedy = "check the network, HF_HUB_OFFLINE and HF_ENDPOINT, and the login (`hf auth whoami`)"
        raise OutputError(f"the Hugging Face hub cannot be reached: {first_line(error)}; {remedy}") from error
    try:
        address = str(api.create_repo(repo_id, repo_type="dataset", private=private or None, exist_ok=True))
        public = private and not api.repo_info(repo_id, repo_type="dataset").private
        if not public and path.is_dir():
            api.upload_folder(repo_id=repo_id, folder_path=path, repo_type="dataset", commit_message="Upload by hnmine")
        elif not public:
            api.upload_file(
                path_or_fileobj=path, path_in_repo=path.name, repo_id=repo_id, repo_type="dataset", commit_message="Upload by hnmine"
            )
    except Exception as error:
        remedy = "check the name, and that your token may write there (`hf auth whoami`); no file was changed there"
        raise OutputError(f"{path} cannot be uploaded to {repo_id}: {first_line(error)}; {remedy}") from error
    if public:
        raise OutputError(f"{repo_id} exists and is public; make it private in its settings, choose another name, or leave out private")
    return address
