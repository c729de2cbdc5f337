from __future__ import annotations

import pytest
import torch

from hf_otw._utils import look_up
from hf_otw.config.options import TARGET_MASSES, TARGET_POINTS
from hf_otw.weighting.statistics import class_totals, effective_sample_size, effective_sample_size_per_class
from hf_otw.weighting.target import (
    balanced_class_mass,
    check_classes,
    class_prior_mass,
    examples_target,
    prototypes_target,
    square_root_mass,
)
from tests.compare import assert_equal_values

COUNTS = torch.tensor([6.0, 3.0, 1.0])
Z = torch.tensor([[1.0, 0], [3, 0], [0, 2], [5, 5]])
Y = torch.tensor([0, 0, 2, 1])


def test_class_masses_by_hand():
    assert_equal_values(balanced_class_mass(COUNTS), torch.full((3,), 1 / 3), atol=1e-7)
    assert_equal_values(class_prior_mass(COUNTS), torch.tensor([0.6, 0.3, 0.1]), atol=1e-7)
    counts = torch.tensor([16.0, 4.0, 1.0])
    assert_equal_values(square_root_mass(counts), torch.tensor([4 / 7, 2 / 7, 1 / 7]), atol=1e-7)


def test_every_named_mass_sums_to_one_and_every_named_target_has_that_mass():
    """Kills an entry of the schema that names another function."""
    masses = {name: option.load()(COUNTS) for name, option in TARGET_MASSES.items()}
    expected = {"balanced": [1 / 3, 1 / 3, 1 / 3], "class_prior": [0.6, 0.3, 0.1]}
    roots = COUNTS.sqrt()
    expected["square_root"] = (roots / roots.sum()).tolist()
    assert masses.keys() == expected.keys()
    for name, mass in masses.items():
        assert_equal_values(mass, torch.tensor(expected[name]), atol=1e-6)
    columns = {name: option.load()(Z, Y, masses["class_prior"]) for name, option in TARGET_POINTS.items()}
    assert {name: len(target.mass) for name, target in columns.items()} == {"examples": 4, "prototypes": 3}
    for target in columns.values():
        assert_equal_values(class_totals(target.mass, target.labels, 3), masses["class_prior"], atol=1e-7)


def test_a_class_shares_its_mass_among_its_examples():
    """Kills `1 / m` a column: class 0 has two examples, the others one."""
    target = examples_target(Z, Y, class_prior_mass(COUNTS))
    assert_equal_values(target.mass, torch.tensor([0.3, 0.3, 0.1, 0.3]), atol=1e-7)
    assert torch.equal(target.features, Z)
    assert torch.equal(target.labels, Y)


def test_prototypes_are_class_means_in_class_order():
    target = prototypes_target(Z, Y, class_prior_mass(COUNTS))
    assert_equal_values(target.features, torch.tensor([[2.0, 0], [5, 5], [0, 2]]), atol=1e-7)
    assert target.labels.tolist() == [0, 1, 2]
    assert_equal_values(target.mass, torch.tensor([0.6, 0.3, 0.1]), atol=1e-7)


def test_check_classes_accepts_what_is_right():
    check_classes(torch.tensor([0, 1, 1]), torch.tensor([1, 0]), 2)


@pytest.mark.parametrize(
    ("labels", "meta", "names", "message"),
    [
        ([0, 1, 3], [0, 1, 2], None, r"labels 0\.\.2 in the training set, got 0\.\.3"),
        ([0, 1, 2], [0, -1, 2], None, r"labels 0\.\.2 in the meta set, got -1\.\.2"),
        ([0, 0, 2], [0, 1, 2], None, r"every class in the training set, but 1 of 3 are absent \(1\)"),
        ([0, 1, 2], [0, 0, 0], ["a", "b", "c"], r"every class in the meta set, but 2 of 3 are absent \(b, c\)"),
    ],
)
def test_check_classes_refuses(labels, meta, names, message):
    with pytest.raises(ValueError, match=message):
        check_classes(torch.tensor(labels), torch.tensor(meta), 3, names)


def test_class_totals_by_hand():
    w, y = torch.tensor([1.0, 2, 3, 2]), torch.tensor([0, 2, 2, 0])
    expected = torch.tensor([3 / 8, 0, 5 / 8])
    assert_equal_values(class_totals(w, y, 3), expected, atol=1e-7)


def test_effective_sample_size_by_hand():
    w, y = torch.tensor([1.0, 1, 4, 0]), torch.tensor([0, 0, 1, 1])
    assert effective_sample_size(torch.ones(5)).item() == pytest.approx(5)
    assert effective_sample_size(w).item() == pytest.approx(36 / 18)
    assert_equal_values(effective_sample_size_per_class(w, y, 3), torch.tensor([2.0, 1, 0]), atol=1e-6)


def test_a_name_that_is_nearly_right_gets_a_hint():
    table = {"feature": 1, "label": 2}
    assert look_up(table, "label", "cost") == 2
    with pytest.raises(ValueError, match=r"cost to be one of 'feature', 'label', got 'lable'. Did you mean `label`\?"):
        look_up(table, "lable", "cost")
    with pytest.raises(ValueError, match=r"got 'zzz'\.$"):
        look_up(table, "zzz", "cost")
