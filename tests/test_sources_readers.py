"""The readers of the sources, on small made-up files."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from datasets import Array2D, Array3D, ClassLabel

from recipes.catalogue.sources import cifar10, emoji, modelnet10, sst2, trec
from recipes.catalogue.sources.arrays import array_dataset
from recipes.catalogue.sources.emoji import frequent_keywords, read_emoji, read_image
from recipes.catalogue.sources.fashion import read_idx
from recipes.catalogue.sources.points import Mesh, points_of_images, points_of_mesh, read_off, unit_sphere
from recipes.catalogue.sources.reviews import Review, case_of, plain_title, same_films, split_reviews
from recipes.catalogue.sources.rows import first_copies, stratified_split
from recipes.catalogue.sources.speech import VOICES, place, plan_takes


def rng():
    return np.random.default_rng(0)


# Rows and arrays


def test_stratified_split_is_a_partition_with_the_same_share_of_each_stratum():
    strata = ["a"] * 40 + ["b"] * 10 + ["c"]
    train, test = stratified_split(strata)
    assert sorted(train + test) == list(range(51))
    assert [[strata[index] for index in test].count(name) for name in "abc"] == [12, 3, 0]
    assert (train, test) == stratified_split(strata)
    assert test != stratified_split(strata, seed=1)[1]
    assert test != list(range(12)) + [40, 41, 42], "the first rows of each are no draw"


def test_first_copies():
    assert first_copies(["b", "a", "b", "leak"], {"leak"}) == [0, 1]


@pytest.mark.parametrize(("shape", "feature"), [((4, 2, 3), Array2D), ((4, 2, 3, 2), Array3D)])
def test_array_dataset_keeps_values_and_types(shape, feature):
    values = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    found = array_dataset("pixels", values, [1, 0, 1, 1], ["no", "yes"], texts=list("wxyz"))
    assert found.column_names == ["pixels", "text", "label"]
    assert isinstance(found.features["pixels"], feature)
    assert isinstance(found.features["label"], ClassLabel)
    assert found.features["pixels"].dtype == "uint8"
    columns = found.with_format("numpy")[:]
    np.testing.assert_array_equal(columns["pixels"], values)
    assert columns["label"].tolist() == [1, 0, 1, 1]
    assert found[2]["text"] == "y"
    assert found.select([3])[0]["pixels"] == values[3].tolist()


# Fashion-MNIST


def test_read_idx(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6])))
    assert read_idx(path).tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (bytes([0, 0, 13, 1, 0, 0, 0, 1, 7]), r"IDX file of bytes .*, got 00 00 0d 01"),
        (bytes([0, 0, 8, 1, 0, 0, 0, 3, 7]), r"to hold \[3\] bytes, got 1\. Please fetch"),
    ],
)
def test_read_idx_of_something_else(tmp_path, raw, message):
    (tmp_path / "a.gz").write_bytes(gzip.compress(raw))
    with pytest.raises(ValueError, match=message):
        read_idx(tmp_path / "a.gz")


# Points


def test_points_of_images_fall_on_light_in_proportion_to_it():
    pixels = np.zeros((2, 28, 28), dtype=np.uint8)
    pixels[0, 0, 27] = 50  # right, at the top
    pixels[0, 27, 0] = 150  # left, at the bottom
    pixels[1, 14, 14] = 255
    points = points_of_images(pixels, 4000, rng())
    assert points.shape == (2, 4000, 3)
    assert points.dtype == np.float32
    bright = points[0, :, 2] == np.float32(150 / 255)
    assert bright.mean() == pytest.approx(0.75, abs=0.03)
    assert (points[0, bright, 0] <= -1 + 2 / 28).all()
    assert (points[0, bright, 1] <= -1 + 2 / 28).all()
    assert (points[0, ~bright, :2] >= 1 - 2 / 28).all()
    assert points[0, ~bright, 2] == pytest.approx(50 / 255)
    assert points[1, :, 0] == pytest.approx(1 / 28, abs=1 / 28)
    assert points[1, :, 1] == pytest.approx(-1 / 28, abs=1 / 28)


def test_points_of_the_first_images_do_not_depend_on_how_many_follow():
    pixels = rng().integers(1, 255, (1203, 28, 28), dtype=np.uint8)  # more than one chunk
    few, many = points_of_images(pixels[:3], 8, rng()), points_of_images(pixels, 8, rng())
    np.testing.assert_array_equal(few, many[:3])
    assert points_of_images(pixels[:1], 8, np.random.default_rng(1)).tolist() != few[:1].tolist()


def test_points_of_a_black_image():
    with pytest.raises(ValueError, match="got a black one"):
        points_of_images(np.zeros((1, 28, 28), dtype=np.uint8), 8, rng())


SQUARE = "4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2\n3 0 2 3\n"


@pytest.mark.parametrize(
    "text", [f"OFF\n{SQUARE}", f"OFF{SQUARE}", f"OFF # made up\n\n{SQUARE}", f"OFF{SQUARE}".replace("\n", " \r\n")]
)
def test_read_off(tmp_path, text):
    (tmp_path / "a.off").write_text(text)
    mesh = read_off(tmp_path / "a.off")
    assert mesh.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]


def test_read_off_splits_larger_faces(tmp_path):
    (tmp_path / "a.off").write_text("OFF\n4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n")
    assert read_off(tmp_path / "a.off").faces.tolist() == [[0, 1, 2], [0, 2, 3]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("PLY\n", r"to begin with 'OFF', got 'PLY'"),
        ("OFF\n4 2 0\n0 0 0\n", "to hold vertices and faces as its second line says"),
        ("OFF\n1 1 0\n0 0 0\n3 0 0 1\n", "faces over its 1 vertices, got others or none"),
        ("OFF\n1 0 0\n0 0 0\n", "faces over its 1 vertices, got others or none"),
    ],
)
def test_read_off_of_something_else(tmp_path, text, message):
    (tmp_path / "a.off").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_off(tmp_path / "a.off")


def test_points_of_mesh_are_even_over_the_area():
    # Two right triangles far from each other, the second of nine times the area.
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [10, 0, 5], [13, 0, 5], [10, 3, 5]], dtype=float)
    points = points_of_mesh(Mesh(vertices, np.array([[0, 1, 2], [3, 4, 5]])), 8000, rng())
    large = points[:, 2] == 5
    assert large.mean() == pytest.approx(0.9, abs=0.02)
    x, y = (points[large, :2] - [10, 0]).T / 3
    assert (x >= 0).all()
    assert (y >= 0).all()
    assert (x + y <= 1 + 1e-9).all()
    assert [x.mean(), y.mean()] == pytest.approx([1 / 3, 1 / 3], abs=0.02)
    assert (x + y < 0.5).mean() == pytest.approx(0.25, abs=0.03)


def test_points_of_a_mesh_without_area():
    with pytest.raises(ValueError, match="got an area of 0"):
        points_of_mesh(Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]])), 8, rng())


def test_unit_sphere():
    points = unit_sphere(rng().normal(3, 2, (50, 3)))
    assert points.mean(axis=0) == pytest.approx(0, abs=1e-12)
    assert np.linalg.norm(points, axis=1).max() == pytest.approx(1)
    assert unit_sphere(np.ones((4, 3))).tolist() == np.zeros((4, 3)).tolist()


def write_modelnet(folder):
    for name, size in (("sofa", 1), ("bed", 2)):
        for split, count in (("train", 3), ("test", 1)):
            (folder / name / split).mkdir(parents=True)
            for number in range(count):
                text = f"OFF\n{SQUARE}".replace("1 1 0\n0", f"1 {size} {number + (split == 'test')}\n0")
                (folder / name / split / f"{name}_{split}_{number}.off").write_text(text)


def test_modelnet10(tmp_path):
    write_modelnet(tmp_path)
    splits = modelnet10(tmp_path, num_points=16)
    # The mesh of test is also the second of train.
    assert splits.num_rows == {"train": 4, "test": 2}
    assert splits["train"].features["label"].names == ["bed", "sofa"]
    assert splits["train"]["label"][:] == [0, 0, 1, 1]
    points = splits["train"].with_format("numpy")[:]["points"]
    assert points.shape == (4, 16, 3)
    assert points.dtype == np.float32
    assert np.linalg.norm(points, axis=-1).max(axis=-1) == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(
        points, modelnet10(tmp_path, num_points=16)["train"].with_format("numpy")[:]["points"]
    )


@pytest.mark.parametrize("folder", ["nowhere", ""])
def test_modelnet10_that_is_not_there(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match=r"Expected .*/<class>/train/\*\.off, found none\. .*ModelNet10\.zip"):
        modelnet10(tmp_path / folder)


def test_modelnet10_looks_in_the_folder_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_OTW_DATA", str(tmp_path))
    write_modelnet(tmp_path / "ModelNet10")
    assert modelnet10()["test"].num_rows == 2


# Reviews


@pytest.mark.parametrize(
    ("word", "case"),
    [
        ("the", "lower"),
        ("The", "capitalised"),
        ("(The", "capitalised"),
        ("I", "capitalised"),
        ("I'm", "capitalised"),
        ("McDonald's", "capitalised"),
        ("Éric", "capitalised"),
        ("U.S.", "upper"),
        ("NBC's", "capitalised"),
        ("TV,", "upper"),
        ("iPhone", "lower"),
        ("--", "lower"),
        ("2002", "lower"),
        ("電影", "lower"),
    ],
)
def test_case_of(word, case):
    assert case_of(word) == case


@pytest.mark.parametrize(
    ("first", "second"),
    [("the_ring", "ring_the"), ("walk_to_remember_a", "a_walk_to_remember"), ("lilo__stitch", "lilo_stitch")],
)
def test_plain_title_of_the_same_film(first, second):
    assert plain_title(first) == plain_title(second)
    assert plain_title("the_ring") != plain_title("the_ring_2")


def test_same_films_by_shared_texts():
    shared = [Review(text, "fresh", film) for film in ("crime_of_padre", "el_crimen") for text in "abc"]
    chance = [Review("a", "fresh", "other"), Review("b", "fresh", "other")]
    films = same_films([*shared, *chance])
    assert films["crime_of_padre"] == films["el_crimen"] != films["other"]


def test_split_reviews_shares_no_film_and_no_text():
    reviews = [
        Review(f"text {number} of {film}", "plot" if film % 2 else "fresh", f"film_{film}")
        for film in range(20)
        for number in range(3)
    ]
    reviews += [Review("said of every film", "fresh", f"the_film_{film}") for film in range(0, 20, 2)]
    train, test = split_reviews(reviews)
    films = [{plain_title(item.film) for item in part} for part in (train, test)]
    assert films[0].isdisjoint(films[1])
    assert len(films[1]) == 6
    assert {item.text for item in train}.isdisjoint(item.text for item in test)
    assert sum(item.label == "plot" for item in test) == 9
    part_train, part_test = split_reviews([item for item in reviews if item.label == "plot"], reviews)
    assert part_test == [item for item in test if item.label == "plot"]
    assert part_train == [item for item in train if item.label == "plot"]


# Emoji


def test_read_emoji_leaves_components_out(tmp_path):
    entries = [
        {"unified": "1F1E9-1F1EA", "name": "Germany Flag", "category": "Flags", "image": "de.png"},
        {"unified": "1F3FB", "name": "Light Skin", "category": "Component", "image": "x.png"},
    ]
    (tmp_path / "emoji.json").write_text(json.dumps(entries))
    (found,) = read_emoji(tmp_path / "emoji.json")
    assert found == ("🇩🇪", "germany flag", "Flags", "de.png")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_read_image_puts_transparent_parts_on_white(tmp_path, mode):
    Image = pytest.importorskip("PIL.Image", reason="pillow comes with the extra 'recipes'")
    picture = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    picture.putpixel((1, 2), (0, 0, 0, 255))
    picture.convert(mode).save(tmp_path / "a.png", **({"transparency": 0} if mode == "P" else {}))
    found = read_image(tmp_path / "a.png")
    assert found.shape == (4, 4, 3)
    assert found.dtype == np.uint8
    if mode != "P":
        assert found[2, 1].tolist() == [0, 0, 0]
        assert (found.reshape(-1, 3).sum(axis=1) == 3 * 255).sum() == 15


def test_frequent_keywords_take_one_of_those_that_always_come_together():
    rows = [{"flag", "nation", "country"}, {"flag", "nation", "country"}, {"flag"}, {"face"}]
    assert frequent_keywords(rows, 3) == ["flag", "country", "face"]
    assert frequent_keywords(rows, 1) == ["flag"]


def test_emoji_that_were_not_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_OTW_DATA_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"emoji-datasource-google@16\.0\.0, found none.*tools\.fetch emoji`"):
        emoji()


# Files of the user


def write_jsonl(folder, name, **splits):
    (folder / "text").mkdir(exist_ok=True)
    for split, rows in splits.items():
        lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
        (folder / "text" / f"{name}-{split}.jsonl").write_text("\n".join(lines) + "\n")


def test_sst2_removes_copies_from_train(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_OTW_DATA", str(tmp_path))
    write_jsonl(
        tmp_path, "sst2", train=[("bad", 0), ("leak", 1), ("good ", 1), ("good", 1)], test=[("leak", 1), ("x", 0)]
    )
    splits = sst2()
    assert splits["train"][:] == {"text": ["bad", "good"], "label": [0, 1]}
    assert splits["test"].num_rows == 2
    assert splits["train"].features["label"].names == ["negative", "positive"]


def test_text_files_with_other_labels_and_other_columns(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_OTW_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"text/trec-train\.jsonl with one .*0\.\.5.*HF_OTW_DATA"):
        trec()
    write_jsonl(tmp_path, "trec", train=[("a", 1), ("b", 2)], test=[("c", 1)])
    with pytest.raises(ValueError, match=r"trec-train\.jsonl .*0\.\.5.*got the labels \{1: 1, 2: 1\}"):
        trec()
    (tmp_path / "text" / "trec-train.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(ValueError, match=r"text and label in line 1 of .*trec-train\.jsonl, got"):
        trec()


def test_cifar10_reads_images_and_removes_copies(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_OTW_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"cifar10/cifar10-train\.parquet with the 50,000 images.*HF_OTW_DATA"):
        cifar10()
    (tmp_path / "cifar10").mkdir()
    for split, images in (("train", [b"a", b"b", b"c", b"b"]), ("test", [b"c"])):
        rows = {"image": [{"bytes": image, "path": None} for image in images], "label": list(range(len(images)))}
        pa.parquet.write_table(pa.table(rows), tmp_path / "cifar10" / f"cifar10-{split}.parquet")
    splits = cifar10()
    raw = splits["train"].cast_column("image", type(splits["train"].features["image"])(decode=False))
    assert [image["bytes"] for image in raw["image"]] == [b"a", b"b"]
    assert splits["train"]["label"][:] == [0, 1]
    assert splits["test"].num_rows == 1
    pa.parquet.write_table(pa.table({"img": [1]}), tmp_path / "cifar10" / "cifar10-train.parquet")
    with pytest.raises(ValueError, match=r"columns image .* and label 0\.\.9, got the columns \['img'\]"):
        cifar10()


# Speech


def test_no_voice_is_on_both_sides():
    assert set(VOICES["train"]).isdisjoint(VOICES["test"])
    assert [len(set(VOICES[split])) for split in ("train", "test")] == [30, 10]


def test_plan_takes_every_word_by_every_voice():
    takes = plan_takes(["f1", "m1"], 3, rng())
    assert len(takes) == 10 * 2 * 3
    assert sum(take.word == "stop" and take.voice.endswith("+f1") for take in takes) == 3
    assert takes == plan_takes(["f1", "m1"], 3, rng())
    assert len({take.words_per_minute for take in takes}) > 10
    assert [take.word for take in takes] != sorted((take.word for take in takes), key=[t.word for t in takes].index)


@pytest.mark.parametrize("num_samples", [100, 1000, 5000])
def test_place_puts_the_word_over_noise(num_samples):
    silence = np.zeros(50)
    found = place(np.concatenate([silence, np.full(num_samples, 0.2), silence]), 1000, rng())
    assert found.shape == (1000,)
    assert found.dtype == np.float32
    assert np.abs(found).max() == pytest.approx(0.9)
    kept = min(num_samples, 1000)
    power = np.convolve(found**2, np.ones(kept) / kept, mode="valid")  # of every place that the word may have
    start = int(power.argmax())
    noise = np.delete(found, slice(start, start + kept))
    assert found[start : start + kept].mean() > 0.2
    if num_samples == 100:
        # At least 5 dB below the word, and it is there.
        assert 0 < np.mean(noise**2) < 0.5 * power.max()
