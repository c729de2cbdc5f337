"""Sets of points, drawn from pictures and from surfaces: data for models that read a set and not a grid."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from datasets import DatasetDict

from recipes.catalogue.sources.arrays import array_dataset
from recipes.catalogue.sources.fashion import FASHION_CLASSES, SIDE, read_fashion_mnist
from recipes.catalogue.sources.files import sha256, user_folder
from recipes.catalogue.sources.rows import first_copies

NUM_POINTS = 128
SEED = 0
CHUNK = 1000  # pictures at a time: their tables of 784 float64 fit a processor's cache
MODELNET_REMEDY = (
    "Please unpack ModelNet10.zip from the Princeton ModelNet site (modelnet.cs.princeton.edu, for academic use) and "
    "give the folder ModelNet10, which holds a folder a class, each with the folders train and test."
)


class Mesh(NamedTuple):
    """A surface of triangles: `vertices` (V, 3) float64 and `faces` (F, 3) int64, three vertices each."""

    vertices: np.ndarray
    faces: np.ndarray


def fashion_points(rows: int | None = None) -> DatasetDict:
    """Fashion-MNIST as sets of points: where the light falls, drawn with a probability that grows with it.

    | | classes | train | test | points |
    |---|---|---|---|---|
    | returned | 10 | 60000 | 10000 | 128 a picture |

    Args:
        rows (`int`, *optional*):
            Take only the first pictures of each split, up to this number: their points are the same as among all.

    Returns:
        `DatasetDict`: splits `train` and `test` with the columns `points` (float32, (128, 3): x to the right and y
        upwards, each in [-1, 1], spread evenly within the pixel; intensity in (0, 1]) and `label` (`ClassLabel`). Ask
        for `with_format("numpy")` or `with_format("torch")`: Python lists are slow.
    """
    parts = {}
    for number, (split, (pixels, labels)) in enumerate(sorted(read_fashion_mnist().items())):
        points = points_of_images(pixels[:rows], NUM_POINTS, np.random.default_rng([SEED, number]))
        parts[split] = array_dataset("points", points, labels[:rows], FASHION_CLASSES)
    return DatasetDict(train=parts["train"], test=parts["test"])


def points_of_images(pixels: np.ndarray, num_points: int, rng: np.random.Generator) -> np.ndarray:
    """Draw points from pictures, with replacement, in proportion to their intensity.

    Args:
        pixels (`np.ndarray` of shape `(N, 28, 28)`, uint8):
            Pictures, each with a pixel that is not 0.
        num_points (`int`):
            P, how many points a picture gets.
        rng (`np.random.Generator`):
            Its numbers are used picture by picture, so the first pictures get the same points whatever N is.

    Returns:
        `np.ndarray` of shape `(N, P, 3)`, float32: x, y and intensity.
    """
    points = np.empty((len(pixels), num_points, 3), dtype=np.float32)
    for start in range(0, len(pixels), CHUNK):
        values = pixels[start : start + CHUNK].reshape(-1, SIDE * SIDE)  # (C, 784)
        random = rng.random((len(values), num_points, 3))  # (C, P, 3): which pixel, and where within it
        total = values.sum(axis=1, dtype=np.float64, keepdims=True)  # (C, 1)
        if not total.all():
            raise ValueError("Expected a pixel above 0 in every picture, got a black one. Please leave it out.")
        shares = np.cumsum(values, axis=1, dtype=np.float64) / total  # (C, 784), the last one is 1
        # One search for all pictures: that of number i has its shares in (i, i + 1].
        base = np.arange(len(values), dtype=np.float64)[:, None]  # (C, 1)
        share = random[..., 0] * (1 - 2**-40)  # else the sum could round up to the next picture's first pixel
        found = np.searchsorted((base + shares).ravel(), (base + share).ravel(), side="right")
        pixel = found.reshape(len(values), num_points) - (SIDE * SIDE * base).astype(np.int64)  # (C, P)
        row, column = np.divmod(pixel, SIDE)
        chunk = points[start : start + CHUNK]
        chunk[..., 0] = (column + random[..., 1]) / (SIDE / 2) - 1
        chunk[..., 1] = 1 - (row + random[..., 2]) / (SIDE / 2)
        chunk[..., 2] = np.take_along_axis(values, pixel, axis=1) / 255
    return points


def modelnet10(folder: str | Path | None = None, num_points: int = NUM_POINTS) -> DatasetDict:
    """ModelNet10, shapes of furniture as meshes (Wu et al. 2015): for users who have downloaded it.

    | | classes | train | test | largest : smallest class of train |
    |---|---|---|---|---|
    | published | 10 | 3991 | 908 | 889 : 106 |

    The counts are the published ones: this project was never run on the real files, only on made-up ones.

    Args:
        folder (`str` or `Path`, *optional*, defaults to `ModelNet10` in the folder `$HF_OTW_DATA`):
            The folder with the files `<class>/train/*.off` and `<class>/test/*.off`.
        num_points (`int`, *optional*, defaults to `128`):
            P, how many points are drawn from each surface, evenly by area.

    Returns:
        `DatasetDict`: splits `train` and `test` with the columns `points` (float32, (P, 3), centred and scaled so that
        the farthest point has the distance 1) and `label` (`ClassLabel`, classes in alphabetical order). A file that
        test holds too, and a further copy of one, is not in train.

    Raises:
        FileNotFoundError: the folder has no such files.
    """
    folder = user_folder() / "ModelNet10" if folder is None else Path(folder)
    names = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    files = {
        split: [path for name in names for path in sorted((folder / name / split).glob("*.off"))]
        for split in ("train", "test")
    }
    for split, paths in files.items():
        if not paths:
            raise FileNotFoundError(f"Expected {folder}/<class>/{split}/*.off, found none. {MODELNET_REMEDY}")
    in_test = {sha256(path) for path in files["test"]}
    files["train"] = [
        files["train"][kept] for kept in first_copies([sha256(path) for path in files["train"]], in_test)
    ]
    return DatasetDict(
        {
            split: array_dataset(
                "points",
                np.stack(list(clouds(paths, num_points))),
                [names.index(path.parent.parent.name) for path in paths],
                names,
            )
            for split, paths in files.items()
        }
    )


def clouds(paths: list[Path], num_points: int) -> Iterator[np.ndarray]:
    """The points of each file; the seed depends on the name of the file, not on which others are there."""
    for path in paths:
        rng = np.random.default_rng([SEED, *path.name.encode()])
        yield unit_sphere(points_of_mesh(read_off(path), num_points, rng)).astype(np.float32)


def read_off(path: Path) -> Mesh:
    """Read a mesh in the Object File Format; faces with more than three corners become fans of triangles.

    The counts are on a line of their own after "OFF". Many files of ModelNet lack that line break ("OFF123 456 0").
    """
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="ascii", errors="replace").splitlines())
    words = " ".join(line for line in lines if line)
    if not words.startswith("OFF"):
        raise ValueError(f"Expected {path} to begin with 'OFF', got {words[:20]!r}. {MODELNET_REMEDY}")
    try:
        numbers = np.array(words[3:].split(), dtype=np.float64)
        num_vertices, num_faces = (int(count) for count in numbers[:2])
        vertices = numbers[3 : 3 + 3 * num_vertices].reshape(num_vertices, 3)
        rest = numbers[3 + 3 * num_vertices :]
        triangles, position = [], 0
        for _ in range(num_faces):
            corners = rest[position + 1 : position + 1 + int(rest[position])].astype(np.int64)
            triangles += [(corners[0], corners[i], corners[i + 1]) for i in range(1, len(corners) - 1)]
            # Some files give a colour after the corners; those of ModelNet do not.
            position += 1 + len(corners)
    except (ValueError, IndexError) as error:
        raise ValueError(f"Expected {path} to hold vertices and faces as its second line says: {error}.") from error
    faces = np.array(triangles, dtype=np.int64).reshape(-1, 3)
    if not len(faces) or faces.min() < 0 or faces.max() >= num_vertices:
        raise ValueError(f"Expected {path} to hold faces over its {num_vertices} vertices, got others or none.")
    return Mesh(vertices, faces)


def points_of_mesh(mesh: Mesh, num_points: int, rng: np.random.Generator) -> np.ndarray:
    """Points spread evenly over a surface, (P, 3): a triangle in proportion to its area, then a place within it."""
    corners = mesh.vertices[mesh.faces]  # (F, 3, 3): face, corner, coordinate
    sides = corners[:, 1:] - corners[:, :1]  # (F, 2, 3)
    areas = np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1)  # (F,), twice the area
    if not areas.sum() > 0:
        raise ValueError("Expected a mesh with a surface, got an area of 0. Please leave it out.")
    chosen = rng.choice(len(areas), size=num_points, p=areas / areas.sum())  # (P,)
    share = rng.random((num_points, 2))  # (P, 2), even over a parallelogram
    beyond = share.sum(axis=1) > 1  # the other half of it: turned back into the triangle
    share[beyond] = 1 - share[beyond]
    return corners[chosen, 0] + (share[:, :, None] * sides[chosen]).sum(axis=1)


def unit_sphere(points: np.ndarray) -> np.ndarray:
    """Points (P, 3) moved so that their mean is 0, and scaled so that the farthest one has the distance 1."""
    centred = points - points.mean(axis=0)
    radius = np.linalg.norm(centred, axis=1).max()
    return centred / radius if radius > 0 else centred
