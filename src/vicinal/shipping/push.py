"""A student's folder to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vicinal.errors import UsageError, VicinalError, one_line

_NEEDED = ("README.md", "class_names.txt")


def push_student(folder: Path, repository: str, private: bool = False) -> str:
    """Make the repository where there is none, put the folder's files into it in one commit, and return its address.

    Raises:
        UsageError: no student, no such name, or nobody that may write there.
        VicinalError: the hub cannot be reached or refuses.
    """
    if not folder.is_dir() or not all((folder / name).is_file() for name in _NEEDED):
        raise UsageError(f"{folder} holds no student (no {' and '.join(_NEEDED)}): vicinal export DIR writes one")
    if repository.count("/") != 1:
        raise UsageError(f"{repository!r} is no OWNER/NAME of the hub, such as me/my-student")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, LocalTokenNotFoundError

    api = HfApi(library_name="vicinal")
    try:
        api.create_repo(repository, private=private, exist_ok=True, repo_type="model")
        api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message="A student of vicinal",
            ignore_patterns=[".*", "*.part"],
        )
    except HFValidationError as error:
        raise UsageError(f"{repository!r} is no name that the hub takes ({one_line(error)})") from None
    except LocalTokenNotFoundError:
        raise UsageError("the hub asks who you are: hf auth login, or set HF_TOKEN to a token that may write") from None
    except Exception as error:  # of requests, of the hub's own, of uploads
        raise _refusal(repository, error) from None
    return f"{api.endpoint}/{repository}"


def _refusal(repository: str, error: Exception) -> VicinalError:
    response: Any = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if status == 401:
        return UsageError(
            f"the hub does not know this token or none was given, so {repository} cannot be written: hf auth login, or set HF_TOKEN"
        )
    if status == 403:
        return UsageError(
            f"this token may not write {repository}: take a name of your own, or a token with write access"
        )
    reason = f"it answers {status}: " if status is not None else ""
    return VicinalError(
        f"{repository} could not be pushed ({reason}{one_line(error)}); the same command pushes again what is missing"
    )
