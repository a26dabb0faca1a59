"""Send an exported folder to the Hugging Face hub: private unless asked, the token never shown.

The token is huggingface_hub's own (`hf auth login`, or HF_TOKEN): none is taken on the command
line, where shells and other users would see it. What a library's message says of it is cut out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hfllm.export.place import size_in_words
from hfllm.recipe.errors import first_line
from hfllm.recipe.hub import why_unreachable

LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


def check_hub() -> None:
    """Raise ValueError if the hub does not answer within two seconds, or no token is there."""
    if why := why_unreachable():
        raise ValueError(f"--to hub: {why}; connect, or see with --dry-run what would be sent")
    if not _token():
        raise ValueError(f"--to hub: no token of the hub on this machine; {LOG_IN}")


def listing(folder: Path, repository: str, public: bool) -> Iterator[str]:
    """What is sent, one line a file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    total = size_in_words(sum(path.stat().st_size for path in files))
    kind = "public" if public else "private"
    yield f"{repository}, a {kind} repository of the hub: {len(files)} files, {total}"
    for path in files:
        yield f"  {path.relative_to(folder)}  {size_in_words(path.stat().st_size)}"


def send(folder: Path, repository: str, public: bool, force: bool, api: Any = None) -> str:
    """Make the repository and upload the folder; return what was done.

    Args:
        folder: what to send.
        repository: OWNER/NAME.
        public: whether everybody may read it.
        force: send to a repository that exists.
        api: a HfApi; None: huggingface_hub's.

    Raises:
        ValueError: the repository exists, or the hub refuses (one line, without the token).
    """
    if api is None:
        from huggingface_hub import HfApi

        api = HfApi()
    try:
        exists = api.repo_exists(repository)
        if exists and not force:
            raise ValueError("it exists: name another, or replace its files with --force")
        if not exists:
            api.create_repo(repository, private=not public)
        is_private = api.model_info(repository).private
        if exists and public == bool(is_private):
            kind = "private" if is_private else "public"
            raise ValueError(f"it exists and is {kind}: change that on its page, or name another")
        done = api.upload_folder(
            repo_id=repository,
            folder_path=str(folder),
            commit_message="Upload by hfllm export",
            delete_patterns=["*.safetensors"],  # of another number of parts; it keeps what is sent
        )
    except Exception as error:  # of many types, from the network up
        raise ValueError(f"{repository}: {_without_token(first_line(error))}") from None
    return f"sent: {getattr(done, 'commit_url', done)}"


def _token() -> str | None:
    from huggingface_hub import get_token

    return get_token()


def _without_token(text: str) -> str:
    token = _token()
    return text.replace(token, "hf_...") if token else text
