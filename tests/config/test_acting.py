"""Every shared option that a weighting reads changes a training, or what the training keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hf_otw.config.options import WEIGHTINGS
from hf_otw.config.settings import SHARED
from tests.toys import mislabelled, parameters, toy_dataset, toy_trainer

#: Where the features lie changes no number.
KEPT_ELSEWHERE = "feature_memory"
OTHER: dict[str, Any] = {
    "weight_scope": "batch",
    "cost": "combined",
    "cost_kwargs": {"label_weight": 2.0},
    "target_mass": "balanced",
    "target_points": "examples",
    "feature_module": ["bert.pooler.dense"],
    "standardize_features": False,
    "weight_warmup": 2,
    "weight_refresh_steps": 1,
    "encode_at_solve": True,
    "head_only_after_warmup": True,
    "meta_loss_coefficient": 2.0,
    "meta_batch_size": 2,
    "meta_examples_per_class": 4,
}


def outcome(tmp_path: Path, **settings: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    data = mislabelled(toy_dataset()).add_column("weight", [1 + i % 3 for i in range(48)])
    trainer = toy_trainer(tmp_path, data=data, **settings)
    trainer.train()
    return trainer.example_weights, parameters(trainer)


def differ(one: tuple[torch.Tensor, dict[str, torch.Tensor]], other: tuple[torch.Tensor, Any]) -> bool:
    weights = (one[0] - other[0]).abs().max() > 1e-6
    return bool(weights) or any((one[1][name] - other[1][name]).abs().max() > 1e-6 for name in one[1])


@pytest.mark.slow
@pytest.mark.parametrize("weighting", [name for name in WEIGHTINGS if name != "none"])
def test_each_option_that_passes_acts(tmp_path: Path, weighting: str) -> None:
    """Kills: an option that the schema says is read, and nothing reads."""
    option = WEIGHTINGS[weighting]
    term = {"meta_loss_coefficient": 1.0}
    plain: dict[tuple[str, ...], Any] = {}
    idle = []
    for name in SHARED:
        if name not in option.uses or name == KEPT_ELSEWHERE:
            continue
        if option.learns_cost and name in ("weight_scope", "target_points"):
            continue  # the one is fixed, the other is at this value by default
        base = dict(term) if name in ("meta_batch_size", "meta_examples_per_class") else {}
        if name == "cost_kwargs":
            base["cost"] = "combined"
        if name == "encode_at_solve":  # the first solve at step 0 encodes everything in any case
            base["weight_refresh_steps"] = 2
        if option.learns_cost and name in ("weight_refresh_steps", "encode_at_solve"):
            change: Any = {"weight_refresh_steps": 1, "encode_at_solve": False}[name]
        else:
            change = OTHER[name]
        key = tuple(sorted(map(str, base.items())))
        if key not in plain:
            plain[key] = outcome(tmp_path, weighting=weighting, **base)
        found = outcome(tmp_path, weighting=weighting, **base | {name: change})
        if not differ(plain[key], found):
            idle.append(name)
    assert idle == []


def test_mapped_features_are_kept_in_a_file(tmp_path: Path) -> None:
    """Kills: an option that changes no number and does nothing else either."""
    trainer = toy_trainer(tmp_path, feature_memory="mapped")
    trainer.train()
    plain = toy_trainer(tmp_path)
    plain.train()
    memories = [found._session.reweighter.memory.features for found in (trainer, plain)]
    torch.testing.assert_close(*memories, rtol=0, atol=0)
    assert memories[0].untyped_storage().filename is not None
    assert memories[1].untyped_storage().filename is None
