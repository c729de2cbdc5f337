"""Recipes and runs on the Hugging Face Hub: its client does the work, here is what is sent and what errors mean."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi, constants, get_token, hf_hub_download
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
from huggingface_hub.utils import validate_repo_id

from hf_otw.recipe.limits import read_json
from hf_otw.recipe.reading import read_yaml
from hf_otw.recipe.schema import FILE
from hf_otw.recipe.stranger import REPO, unchanged

MODEL = "model"
WEIGHTS = "weights.parquet"
METRICS = "metrics.json"
#: What a run's model folder holds that is not for others: training_args.bin is a pickle of the user's settings.
PRIVATE = ("checkpoint-*", "training_args.bin", "*.pt", "_*", ".*", WEIGHTS)
#: Roles of a token, and of a member of an organisation, that may not write.
READERS = ("read",)
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


def check_public(recipe: Path, name: str, changes: Sequence[str] = ()) -> None:
    """Refuse a stranger's recipe that reads what only the user may read: the user's token opens it.

    Args:
        recipe: path of the YAML file.
        name: repo that it comes from.
        changes: `key.key=value` of the command line; what they replace is not looked at.

    Raises:
        ValueError: a private data set or model.
        ConnectionError: the Hub does not answer.
    """
    if constants.is_offline_mode():
        return
    named = dict(unchanged(read_yaml(recipe), changes))
    checkpoint = named.get("model.options.checkpoint")
    repos = [("dataset", named.get("source.hub")), ("model", checkpoint)]
    if checkpoint is not None:
        repos.append(("model", base_of(checkpoint, named.get("model.options.revision"))))
    for kind, repo in repos:
        if repo is not None and info_of(repo, kind).private:
            raise ValueError(
                f"Expected public repos in {name}, which is a stranger's recipe, got {repo}, which is private. "
                "Name it yourself: --source.hub or --model.options.checkpoint."
            )


def info_of(repo: str, kind: str) -> Any:
    """Ask the Hub about a repo."""
    with explained(repo, None):
        return HfApi().repo_info(repo, repo_type=kind)


def base_of(checkpoint: str, revision: str | None) -> str | None:
    """The model that a checkpoint is an adapter for; None where it is a model itself, or the other one is no repo."""
    with explained(checkpoint, revision):
        try:
            path = hf_hub_download(checkpoint, "adapter_config.json", revision=revision)
        except EntryNotFoundError:
            return None
    found = read_json(Path(path))
    base = found.get("base_model_name_or_path") if isinstance(found, dict) else None
    return base if isinstance(base, str) and REPO.fullmatch(base) and not Path(base).exists() else None


def check_push(repo: str) -> None:
    """Find out before a training run whether its model can be published afterwards. Nothing is made or sent.

    Args:
        repo: `user/name`.

    Raises:
        ValueError: no token, one that may only read, or the name of somebody else.
        ConnectionError: the Hub does not answer.
    """
    with explained(repo, None):
        validate_repo_id(repo)
        if get_token() is None:
            raise ValueError(f"Expected a token, to publish {repo} after the training, found none. {LOGIN}")
        try:
            me = HfApi().whoami()
        except HfHubHTTPError as error:
            if error.response.status_code == 404:  # a mirror that does not say who one is: it refuses later, or not
                return
            raise
    own = [me.get("name"), *(org.get("name") for org in me.get("orgs") or () if org.get("roleInOrg") not in READERS)]
    if repo.split("/")[0] not in own:
        raise ValueError(
            f"Expected --push with a name of yours, {' or '.join(f'{name}/NAME' for name in own)}, got {repo}. {LOGIN}"
        )
    token = (me.get("auth") or {}).get("accessToken") or {}
    if token.get("role") in READERS:
        raise ValueError(f"Expected a token that may write, to publish {repo}, got one that may only read. {LOGIN}")


def links_of(run: Path) -> set[Path]:
    """Symbolic links among what would be published: they may point to anything on this machine."""
    inside = [run / MODEL, run / METRICS, run / WEIGHTS, *sorted((run / MODEL).rglob("*"))]
    return {path for path in inside if path.is_symlink()}


def files_of(run: Path, weights: bool) -> dict[str, Path]:
    """List the files of a run to publish: name in the repo -> file. Leaves out symbolic links and what lies below one.

    Raises:
        ValueError: not the folder of a run, or no weights in it.
    """
    model, links = run / MODEL, links_of(run)
    inside = [path for path in sorted(model.rglob("*")) if path.is_file() and links.isdisjoint({path, *path.parents})]
    names = [path.relative_to(model) for path in inside]
    names = [name for name in names if not any(fnmatch(part, pattern) for part in name.parts for pattern in PRIVATE)]
    found = {name.as_posix(): model / name for name in names}
    if FILE not in found:
        raise ValueError(f"Expected the folder of a run with {MODEL}/{FILE}, found none in {run}. Run `hf-otw train`.")
    if (run / METRICS).is_file() and run / METRICS not in links:
        found[METRICS] = run / METRICS
    if weights:
        if not (run / WEIGHTS).is_file() or run / WEIGHTS in links:
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
            f"Check the network and HF_HUB_OFFLINE; for a dry run, `hf-otw recipes show {repo}` fetches it."
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
