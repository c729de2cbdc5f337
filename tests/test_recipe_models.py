"""The recipes' own modules: what the literature says of them, and what the trainer needs of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hf_otw.recipe.schema import ModelConfig
from recipes.catalogue import catalogue
from recipes.catalogue.models import MODELS
from recipes.catalogue.models.resnet32 import augmented
from recipes.catalogue.pipelines import PIPELINES, Facts

torch.set_num_threads(1)
NAMES = tuple("abcdefghij")


def made(name: str, *shape: int, labels: int = 10, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return catalogue().model(ModelConfig(name, options), Facts(labels, NAMES[:labels], shape), None)


def test_every_model_has_a_pipeline() -> None:
    assert {entry.pipeline for entry in MODELS.values()} == set(PIPELINES)


def test_resnet32_is_that_of_the_paper() -> None:
    """He et al. 2015, table 6: 0.46 million parameters, 31 convolutions and a linear layer."""
    model = made("resnet32", 3, 32, 32)
    assert sum(p.numel() for p in model.parameters()) == 464_154
    assert sum(isinstance(m, nn.Conv2d) for m in model.modules()) == 31
    assert model.head.in_features == 64
    assert model.eval()(torch.zeros(2, 3, 32, 32))["logits"].shape == (2, 10)


def test_augmentation_shifts_and_mirrors_images_as_wholes() -> None:
    torch.manual_seed(0)
    one = torch.arange(1.0, 2 * 6 * 6 + 1).view(2, 6, 6)
    images = one.expand(200, 2, 6, 6)
    found = augmented(images, margin=1)
    assert found.shape == images.shape
    padded = nn.functional.pad(one, (1,) * 4)
    crops = [padded[:, i : i + 6, j : j + 6] for i in range(3) for j in range(3)]
    allowed = torch.stack([c for crop in crops for c in (crop, crop.flip(-1))])
    match = (found[:, None] == allowed[None]).flatten(2).all(dim=2)  # (200, 18)
    assert match.any(dim=1).all(), "only crops and mirrored crops"
    assert match.any(dim=0).all(), "every one of them"


def test_augmentation_is_for_training_only() -> None:
    model, images = made("resnet32", 3, 8, 8, width=4, blocks=1).eval(), torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(model(images)["logits"], model(images)["logits"], rtol=0, atol=0)


def test_pointnet_does_not_see_the_order_of_points() -> None:
    model, points = made("pointnet", 16, 3, width=4).eval(), torch.randn(3, 16, 3)
    shuffled = points[:, torch.randperm(16)]
    torch.testing.assert_close(model(points)["logits"], model(shuffled)["logits"])
    assert (model(points)["logits"] - model(points + 1)["logits"]).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("name", "shape", "inputs", "options"),
    [
        ("resnet32", (3, 8, 8), "pixel_values", {"width": 4, "blocks": 1}),
        ("pointnet", (16, 3), "points", {"width": 4, "dropout": 0.0}),
        ("resnet", (1, 28, 28), "pixel_values", {}),
        ("vit", (1, 28, 28), "pixel_values", {}),
        ("ast", (96, 32), "input_values", {}),
    ],
)
def test_loss_is_there_with_labels_only(name: str, shape: tuple[int, ...], inputs: str, options: dict) -> None:
    """The stock Trainer needs the loss; the weighted one passes no labels and makes its own."""
    model, labels = made(name, *shape, **options).eval(), torch.tensor([1, 0, 2, 9])
    x = torch.randn(4, *shape)
    without, found = model(**{inputs: x}), model(**{inputs: x}, labels=labels)
    assert without.get("loss") is None
    assert without["logits"].shape == (4, 10)
    torch.testing.assert_close(found["loss"], nn.functional.cross_entropy(found["logits"], labels))


def test_regressor_loss_pairs_rows_with_their_targets() -> None:
    """Predictions `(B, 1)` less targets `(B,)` would broadcast to `(B, B)`."""
    model, labels = made("mlp", 10, labels=1), torch.tensor([0.0, 5.0, -5.0])
    found = model(torch.randn(3, 10), labels=labels)
    torch.testing.assert_close(found["loss"], (found["logits"][:, 0] - labels).square().mean())


def test_spectrograms_need_no_torchaudio() -> None:
    processor = catalogue().processor(ModelConfig("ast", {"frames": 96, "mel_bins": 32}))
    values = processor([torch.randn(16_000).numpy()], sampling_rate=16_000)["input_values"]
    assert tuple(values[0].shape) == (96, 32)
