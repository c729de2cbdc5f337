"""Recipes and runs on the Hugging Face Hub: its client does the work, here is what is sent and what errors mean."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, constants, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from hf_otw.recipe.schema import FILE

MODEL = "model"
WEIGHTS = "weights.parquet"
METRICS = "metrics.json"
#: What a run's model folder holds that is not for others: training_args.bin is a pickle with the user's token inside.
PRIVATE = ("checkpoint-*", "training_args.bin", "*.pt", "_*", ".*", WEIGHTS)
LOGIN = "Log in with `hf auth login`, or set HF_TOKEN."


def pull_recipe(repo: str, revision: str | None = None) -> Path:
    """Download the recipe of a repo, or take it from the cache, as the Hub's client does.

    Args:
        repo: `user/name`.
        revision: branch, tag or commit; `main` by default.

    Returns:
        where it lies in the cache.

    Raises:
        ValueError: no such repo, revision or recipe, or none that the user may read.
        ConnectionError: the Hub does not answer and the cache has none.
    """
    with explained(repo, revision):
        return Path(hf_hub_download(repo, FILE, revision=revision))


def push_run(
    run: str | Path, repo: str, *, private: bool | None = None, revision: str | None = None, weights: bool = False
) -> str:
    """Publish a run in one commit: model, card, recipe and metrics.

    Args:
        run: folder of a run of `hf-otw train`.
        repo: `user/name`, made where there is none.
        private: whether a new repo is private; the user's default if None.
        revision: branch to commit to, made where there is none.
        weights: whether to publish the weight of every training example too.

    Returns:
        address of the commit.

    Raises:
        ValueError: not the folder of a run, or a repo that the user may not write to.
        ConnectionError: the Hub does not answer.
    """
    api, operations = HfApi(), [CommitOperationAdd(name, path) for name, path in files_of(Path(run), weights).items()]
    with explained(repo, revision), warnings.catch_warnings():
        # The table of weights is of this model, and no data set.
        warnings.filterwarnings("ignore", "It seems that you are about to commit a data file", UserWarning)
        api.create_repo(repo, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo, branch=revision, exist_ok=True)
        done = api.create_commit(repo, operations, commit_message="Upload a model of hf_otw", revision=revision)
    return done.commit_url


def files_of(run: Path, weights: bool) -> dict[str, Path]:
    """What is published of a run: name in the repo -> file.

    Raises:
        ValueError: not the folder of a run, or no weights in it.
    """
    model = run / MODEL
    if not (model / FILE).is_file():
        raise ValueError(f"Expected the folder of a run with {MODEL}/{FILE}, found none in {run}. Run `hf-otw train`.")
    names = [path.relative_to(model) for path in sorted(model.rglob("*")) if path.is_file()]
    names = [name for name in names if not any(fnmatch(part, pattern) for part in name.parts for pattern in PRIVATE)]
    found = {name.as_posix(): model / name for name in names}
    if (run / METRICS).is_file():
        found[METRICS] = run / METRICS
    if weights:
        if not (run / WEIGHTS).is_file():
            raise ValueError(f"Expected {WEIGHTS} in {run}, found none: the run had no weights. Push without them.")
        found[WEIGHTS] = run / WEIGHTS
    return found


@contextmanager
def explained(repo: str, revision: str | None) -> Iterator[None]:
    """Say of the client's errors what was expected, what came, what to do."""
    place = repo if revision is None else f"{repo} at {revision}"
    try:
        yield
    except LocalEntryNotFoundError as error:
        raise ConnectionError(
            f"Expected {FILE} of {place} in the cache, as the Hub ({constants.ENDPOINT}) was not reached; found none. "
            "Check the network and HF_HUB_OFFLINE."
        ) from error
    except RevisionNotFoundError as error:
        raise ValueError(f"Expected the revision {revision!r} of {repo}, found none. See its branches.") from error
    except RepositoryNotFoundError as error:
        raise ValueError(
            f"Expected a repo {repo} that you may read; the Hub knows none of this name, or it is private. {LOGIN}"
        ) from error
    except EntryNotFoundError as error:
        raise ValueError(f"Expected {FILE} in {place}, found none: it holds no recipe of hf_otw.") from error
    except OfflineModeIsEnabled as error:
        raise ConnectionError(
            f"Expected to reach the Hub for {place}, but HF_HUB_OFFLINE is set. Unset it."
        ) from error
    except (HfHubHTTPError, LocalTokenNotFoundError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403) or isinstance(error, LocalTokenNotFoundError):
            raise ValueError(
                f"Expected the right to write to {place}, but the Hub says no ({status}). {LOGIN}"
            ) from error
        raise ConnectionError(f"Expected the Hub to serve {place}, got: {error}") from error
    except HFValidationError as error:
        raise ValueError(f"Expected a repo `user/name`, got {repo!r}: {error}") from error
    except HTTPError as error:
        raise ConnectionError(
            f"Expected an answer of the Hub ({constants.ENDPOINT}) for {place}, got: {error}. Check the network."
        ) from error
