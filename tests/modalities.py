"""Toy models and data of every modality but plain text, which `tests.toys` has: small enough for a slow core."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    ASTConfig,
    ASTForAudioClassification,
    BertConfig,
    ConvNextConfig,
    ConvNextForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    ViltConfig,
    ViltForImagesAndTextClassification,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
    ViTConfig,
    ViTForImageClassification,
    Wav2Vec2Config,
    Wav2Vec2ForSequenceClassification,
    WhisperConfig,
    WhisperForAudioClassification,
)

from tests.toys import NUM_CLASSES, PAD, SPREAD, VOCABULARY, llama

COUNTS = (18, 12, 8)  # 38 examples
PIXELS, SAMPLES, BINS, FRAMES, POINTS = 8, 400, 8, 16, 12
NOT_INPUTS = ("label", "labels", "weight", "example_index")
Row = dict[str, Any]


# ---- Models


def transformer(dropout: float, width: int = 16) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": width,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
        "initializer_range": SPREAD,
        "num_labels": NUM_CLASSES,
    }


def text(dropout: float, width: int = 16) -> dict[str, Any]:
    return transformer(dropout, width) | {"vocab_size": VOCABULARY, "max_position_embeddings": 16, "pad_token_id": PAD}


def vit(dropout: float) -> nn.Module:
    return ViTForImageClassification(ViTConfig(**transformer(dropout), image_size=PIXELS, patch_size=4))


def resnet(dropout: float) -> nn.Module:
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=NUM_CLASSES
    )
    return ResNetForImageClassification(config)


def convnext(dropout: float) -> nn.Module:
    config = ConvNextConfig(
        hidden_sizes=[8, 16],
        depths=[1, 1],
        num_stages=2,
        patch_size=2,
        layer_scale_init_value=1.0,
        initializer_range=SPREAD,
        num_labels=NUM_CLASSES,
    )
    return ConvNextForImageClassification(config)


def wav2vec2(dropout: float) -> nn.Module:
    """Frames of 40 samples; masks frames and drops layers where there is dropout."""
    names = ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "layerdrop")
    config = Wav2Vec2Config(
        **{k: v for k, v in transformer(dropout).items() if "dropout" not in k},
        **dict.fromkeys(names, dropout),
        feat_extract_norm="layer",
        conv_dim=[8, 8],
        conv_stride=[8, 5],
        conv_kernel=[8, 5],
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        classifier_proj_size=12,
        apply_spec_augment=dropout > 0,
        mask_time_length=2,
        mask_time_prob=0.2,
    )
    return Wav2Vec2ForSequenceClassification(config)


def ast(dropout: float) -> nn.Module:
    config = ASTConfig(
        **transformer(dropout), patch_size=4, frequency_stride=4, time_stride=4, max_length=FRAMES, num_mel_bins=BINS
    )
    model = ASTForAudioClassification(config)
    # They start at zero, as their positions do: a layer norm over a constant vector has a gradient of 1e6.
    for name in ("cls_token", "distillation_token"):
        nn.init.normal_(getattr(model.audio_spectrogram_transformer.embeddings, name), std=SPREAD)
    return model


def whisper(dropout: float) -> nn.Module:
    config = WhisperConfig(
        vocab_size=VOCABULARY,
        num_mel_bins=BINS,
        d_model=16,
        encoder_layers=1,
        encoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=16,
        max_source_positions=FRAMES // 2,
        dropout=dropout,
        classifier_proj_size=12,
        init_std=SPREAD,
        num_labels=NUM_CLASSES,
        pad_token_id=PAD,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    return WhisperForAudioClassification(config)


class Pair(nn.Module):
    """A head on the two embeddings of a dual encoder, side by side. The encoders differ in width."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        vision = ViTConfig(**transformer(dropout), image_size=PIXELS, patch_size=4)
        language = BertConfig(**text(dropout, 12))
        config = VisionTextDualEncoderConfig.from_vision_text_configs(vision, language, projection_dim=10)
        self.encoder = VisionTextDualEncoderModel(config)
        self.head = nn.Linear(20, NUM_CLASSES)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, pixel_values: Tensor) -> dict[str, Tensor]:
        found = self.encoder(input_ids=input_ids, attention_mask=attention_mask, pixel_values=pixel_values)
        return {"logits": self.head(torch.cat([found.image_embeds, found.text_embeds], dim=1))}


def vilt(dropout: float) -> nn.Module:
    config = ViltConfig(**text(dropout), image_size=PIXELS, patch_size=4, num_images=1)
    return ViltForImagesAndTextClassification(config)


class PointNet(nn.Module):
    """Logits as they are. No configuration, no labels."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Conv1d(3, 16, 1), nn.BatchNorm1d(16), nn.ReLU())
        self.all = nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(dropout))
        self.head = nn.Linear(16, NUM_CLASSES)

    def forward(self, points: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.head(self.all(self.each(points.transpose(1, 2)).amax(dim=2)))


class PointNetTuple(PointNet):
    def forward(self, points: Tensor) -> tuple[Tensor, ...]:
        z = self.all(self.each(points.transpose(1, 2)).amax(dim=2))
        return self.head(z), z


def llama_lora(dropout: float) -> nn.Module:
    """The rank is the number of classes."""
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(
        task_type="SEQ_CLS", r=NUM_CLASSES, lora_alpha=8, lora_dropout=dropout, target_modules=["q_proj", "v_proj"]
    )
    with warnings.catch_warnings():
        # peft 0.21 asks transformers 5.23 for a name that it has deprecated; to go with the next peft.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        return peft.get_peft_model(llama(dropout), config)


# ---- Inputs: of class k, with noise, so that weights have something to tell -----------------------------------------

_PATTERNS = np.random.default_rng(100)
_IMAGES = _PATTERNS.normal(size=(NUM_CLASSES, 3, PIXELS, PIXELS))
_SPECTRA = _PATTERNS.normal(size=(NUM_CLASSES, FRAMES, BINS))
_SHAPES = np.array([[1, 1, 1], [2, 1, 0.5], [0.5, 1, 2]])


def image(rng: np.random.Generator, k: int) -> Row:
    return {"pixel_values": tensor(_IMAGES[k] + rng.normal(size=_IMAGES[k].shape))}


def wave(rng: np.random.Generator, k: int) -> Row:
    length = int(rng.integers(SAMPLES // 2, SAMPLES))
    sound = np.sin((k + 1) * np.arange(length) / 10 + rng.uniform(0, 6)) + 0.5 * rng.normal(size=length)
    return {"input_values": tensor(sound), "attention_mask": torch.ones(length, dtype=torch.long)}


def spectrum(rng: np.random.Generator, k: int) -> Row:
    return {"input_values": tensor(_SPECTRA[k] + rng.normal(size=_SPECTRA[k].shape))}


def mel(rng: np.random.Generator, k: int) -> Row:
    return {"input_features": spectrum(rng, k)["input_values"].T}


def words(rng: np.random.Generator, k: int) -> Row:
    ids = torch.as_tensor(np.r_[1, 5 + 10 * k + rng.integers(0, 14, size=5)])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def points(rng: np.random.Generator, k: int) -> Row:
    return {"points": tensor(rng.normal(size=(POINTS, 3)) * _SHAPES[k])}


def tensor(values: np.ndarray) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32)


@dataclass(frozen=True)
class Toy:
    """A model with its inputs; `head` is the path of its head, `normed` says that it has batch normalisation."""

    build: Callable[[float], nn.Module]
    inputs: tuple[Callable[[np.random.Generator, int], Row], ...]
    head: str
    normed: bool = False


TOYS = {
    "vit": Toy(vit, (image,), "classifier"),
    "resnet": Toy(resnet, (image,), "classifier.1", normed=True),
    "convnext": Toy(convnext, (image,), "classifier"),
    "wav2vec2": Toy(wav2vec2, (wave,), "classifier"),
    "ast": Toy(ast, (spectrum,), "classifier.dense"),
    "whisper": Toy(whisper, (mel,), "classifier"),
    "pair": Toy(Pair, (words, image), "head"),
    "vilt": Toy(vilt, (words, image), "classifier.3"),
    "pointnet": Toy(PointNet, (points,), "head", normed=True),
    "pointnet_tuple": Toy(PointNetTuple, (points,), "head", normed=True),
    "llama_lora": Toy(llama_lora, (words,), "base_model.model.score.modules_to_save.default"),
}
NORMED = [name for name, toy in TOYS.items() if toy.normed]
PLAIN_NETS = [name for name, toy in TOYS.items() if not toy.normed]


@dataclass
class Rows(torch.utils.data.Dataset):
    """A plain torch data set of dictionaries."""

    items: list[Row] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> Row:
        return self.items[i]


def net(name: str, *, dropout: float = 0.0, seed: int = 0) -> nn.Module:
    """The same parameters for the same seed, and the global random state as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return TOYS[name].build(dropout)


def rows(name: str, counts: tuple[int, ...] = COUNTS, *, seed: int = 0, weights: Any = None) -> Rows:
    """Classes in random order; with a column of weights where some are given."""
    rng = np.random.default_rng(seed)
    items = []
    for i, k in enumerate(rng.permutation(np.repeat(np.arange(len(counts)), counts))):
        item = {key: value for make in TOYS[name].inputs for key, value in make(rng, k).items()}
        items.append(item | {"label": int(k)} | ({} if weights is None else {"weight": float(weights[i])}))
    return Rows(items)


def stack(items: list[Row]) -> dict[str, Tensor]:
    """Pad with zeros where lengths differ; keep what the model takes."""
    batch = {
        key: pad_sequence([torch.as_tensor(item[key]) for item in items], batch_first=True)
        for key in items[0]
        if key not in NOT_INPUTS
    }
    return batch | {"labels": torch.tensor([int(item["label"]) for item in items])}


def logits_of(outputs: Any) -> Tensor:
    return outputs["logits"] if isinstance(outputs, dict) else outputs if isinstance(outputs, Tensor) else outputs[0]


def mean_loss(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
    """For the stock Trainer over models that compute no loss."""
    return F.cross_entropy(logits_of(outputs), labels)
