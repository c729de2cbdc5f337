"""Features that stay where they are: the weights are those of features in memory, and nothing large is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from hf_otw import learn_weights
from hf_otw.features.memory import FeatureMemory
from hf_otw.features.stored import Standardizer, StoredFeatures
from hf_otw.types import Cost, Measure, Weights
from hf_otw.weighting import ClosedForm, WeightModel
from hf_otw.weighting.base import exact

N, M, D, K = 300, 9, 6, 3


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels, meta_labels = rng.integers(0, K, N), np.arange(M) % K
    features, meta = (
        (np.eye(K, D)[y] * 4 + rng.standard_normal((len(y), D))).astype(np.float16) for y in (labels, meta_labels)
    )
    given = np.where(rng.random(N) < 0.3, (labels + 1) % K, labels)  # some are wrong: else all weights are 1
    return features, given, meta, meta_labels


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("transport.blocks", "features.stored", "weighting.models.class_scores"):
        monkeypatch.setattr(f"hf_otw.{module}.BLOCK_ROWS", 64)


CLOSED = {"weighting": "closed_form", "weighting_kwargs": {"reg": 0.3}}
WAYS = [{}, CLOSED, {"weighting": "agreement", "weighting_kwargs": {"reg": 0.3}}]
#: The first reads through `CostBlocks`; GeomLoss needs all rows.
WAYS += [
    {"weighting": "table", "weighting_kwargs": {"objective": name, "steps": steps, "reg": 0.3}}
    for name, steps in (("kl", 2), ("kl_geomloss", 3))
]


@pytest.mark.parametrize("how", WAYS, ids=lambda how: "-".join(str(value) for value in how.values()))
@pytest.mark.parametrize("kind", ["file", "column", "half", "reversed"])
def test_weights_of_stored_features(data: Any, tmp_path: Path, how: dict[str, Any], kind: str) -> None:
    features, labels, meta, meta_labels = data
    if kind == "file":
        np.save(tmp_path / "z.npy", features)
        given = np.load(tmp_path / "z.npy", mmap_mode="r")
    elif kind == "column":
        column = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), D)
        given = column.flatten().to_numpy().reshape(-1, D)
        assert not given.flags.writeable
    else:
        given = features if kind == "half" else features[::-1].copy()[::-1]
    expected = learn_weights(features.astype(np.float32), labels, meta.astype(np.float32), meta_labels, **how)
    found = learn_weights(given, labels, meta, meta_labels, **how)
    assert np.ptp(expected.weights) > 0.1
    np.testing.assert_allclose(found.weights, expected.weights, atol=1e-6)


def test_a_half_tensor_stays_one(data: Any) -> None:
    features, labels, meta, meta_labels = (torch.from_numpy(x) for x in data)
    found = learn_weights(features.bfloat16(), labels, meta.bfloat16(), meta_labels, **CLOSED)
    expected = learn_weights(features.bfloat16().float(), labels, meta.bfloat16().float(), meta_labels, **CLOSED)
    assert found.weights.dtype == torch.float32
    torch.testing.assert_close(found.weights, expected.weights, rtol=0, atol=1e-6)


class Whole(WeightModel):
    """Notes what it gets."""

    def __init__(self, streams: bool) -> None:
        super().__init__()
        self.streams = streams
        self.seen: list[object] = []

    def forward(self, index: Tensor, source: Measure, target: Measure | None, cost: Cost | None) -> Weights:
        self.seen.append(source.features)
        return exact(torch.ones(len(index)))


@pytest.mark.parametrize("streams", [False, True])
def test_a_model_that_reads_slices_gets_no_copy(data: Any, streams: bool) -> None:
    """Kills a copy of all features for every model, and rows on disk for one that needs a tensor."""
    model = Whole(streams)
    learn_weights(*data, weighting=model)
    assert isinstance(model.seen[0], StoredFeatures if streams else Tensor)
    z = model.seen[0][:]
    torch.testing.assert_close(z.mean(dim=0), torch.zeros(D), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.std(dim=0), torch.ones(D), atol=1e-2, rtol=0)


def test_a_file_that_was_read_leaves_the_memory(tmp_path: Path) -> None:
    """Kills pages that stay: with them a file counts to the resident memory. Numbers must be right all the same."""
    values = np.arange(2**20, dtype=np.float32).reshape(-1, 16)
    np.save(tmp_path / "z.npy", values)
    stored = StoredFeatures(np.load(tmp_path / "z.npy", mmap_mode="r"))

    def resident() -> int:
        lines = Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines()
        at = next((k for k, line in enumerate(lines) if line.endswith("z.npy")), None)
        return 0 if at is None else int(next(x for x in lines[at:] if x.startswith("Rss:")).split()[1])

    if not Path("/proc/self/smaps").exists():
        pytest.skip("no way to see what is resident")
    for _ in range(2):
        for start in range(0, len(values), 1000):
            torch.testing.assert_close(stored[start : start + 1000], torch.from_numpy(values[start : start + 1000]))
            assert resident() < 200  # kB, of 4,096; a block has 64


def test_moments_by_blocks_are_those_of_all_rows() -> None:
    """float64 sums over blocks: a mean of 1,000 beside a spread of 1 must not drown it."""
    g = torch.Generator().manual_seed(0)
    z = torch.randn(1000, 4, generator=g, dtype=torch.float64) + 1000
    z[:, 3] = 7.0
    found = Standardizer.fit(z.float())
    torch.testing.assert_close(found.mean.double(), z.mean(dim=0), rtol=1e-6, atol=0)
    torch.testing.assert_close(found.scale[:3].double(), z[:, :3].std(dim=0, correction=0), rtol=1e-3, atol=0)
    assert found.scale[3] == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_infinite_features_are_refused(data: Any, bad: float) -> None:
    features, *rest = data
    features = features.copy()
    features[[5, 200], [0, 3]] = bad
    with pytest.raises(ValueError, match="2 of 300 rows hold NaN or infinity"):
        learn_weights(features, *rest, **CLOSED)
    assert StoredFeatures(features).count_infinite() == 2


def test_rows_by_number_and_by_range(data: Any) -> None:
    features = data[0]
    whole = torch.from_numpy(features).float()
    assert StoredFeatures(features).shape == (N, D)
    part = StoredFeatures(features, index=range(100, 140))
    assert part.shape == (40, D)
    assert torch.equal(part[5:9], whole[105:109])
    index = torch.tensor([7, 3, 250])
    assert torch.equal(StoredFeatures(torch.from_numpy(features), index=index)[1:], whole[[3, 250]])


@pytest.mark.parametrize("mapped", [False, True])
def test_a_mapped_memory_is_a_memory(mapped: bool) -> None:
    """Kills a file that two memories share, and one that ends before the memory does."""
    memories = [
        FeatureMemory(5, 3, torch.device("cpu"), held=torch.tensor([1, 2, 4]), mapped=mapped) for _ in range(2)
    ]
    rows = torch.arange(6.0).view(2, 3)
    memories[0].write(torch.tensor([4, 0]), rows)
    assert torch.equal(memories[0].read(torch.tensor([1, 4])), torch.stack([torch.zeros(3), rows[0]]))
    assert not memories[1].features.any()
    assert memories[0].features.dtype == torch.bfloat16
    assert memories[0].missing(torch.arange(5)).tolist() == [1, 2, 3]


def test_a_mapped_memory_lies_in_the_folder_for_temporary_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    memory = FeatureMemory(4, 3, torch.device("cpu"), mapped=True)
    memory.write(torch.arange(4), torch.ones(4, 3))
    assert list(tmp_path.iterdir()) == [], "a file that keeps its name outlives a process that is killed"
    assert str(tmp_path) in Path("/proc/self/maps").read_text(encoding="utf-8")
    assert FeatureMemory(4, 0, torch.device("cpu"), mapped=True).features.shape == (4, 0)


def test_closed_form_streams() -> None:
    assert ClosedForm().streams
