"""Scripts that the stock Trainer trains, over `OTWeightedTrainer`: trained right, or refused with a reason.

For each: with weights of one the gradient of the first step is the stock one, with known weights it is the weighted
one, both against a value by hand; and with all defaults it trains to the end with weights that were solved.
"""

from __future__ import annotations

import pytest
import torch

from tests.host_programs import batches, losses, models, runs, table_rows
from tests.host_programs.script import Script, assert_equal_gradients, known_weights

SCRIPTS: dict[str, Script] = {}
for part in (losses, models, batches, table_rows, runs):
    for name, script in part.SCRIPTS.items():
        assert name not in SCRIPTS, f"two scripts are called {name}"
        SCRIPTS[name] = script
TRAINED = [name for name, script in SCRIPTS.items() if script.refused is None]
REFUSED = [name for name, script in SCRIPTS.items() if script.refused is not None]


def test_the_collection_is_as_large_as_promised():
    assert len(SCRIPTS) >= 61
    assert len(TRAINED) >= 55


@pytest.mark.parametrize("name", TRAINED)
def test_weights_of_one_train_like_stock(name):
    """Kills: a loss of another scale, a term of the model's own that is lost, rows that are counted twice."""
    script = SCRIPTS[name]
    ones = torch.ones(len(script.data()))
    right = script.by_hand(ones)
    stock, stock_gradient = script.stock()
    if script.stock_off_by is not None:
        scaled = {name: value * script.stock_off_by for name, value in stock_gradient.items()}
        assert_equal_gradients(scaled, right, what="stock", tolerance=script.tolerance)
    ours, our_gradient = script.weighted(ones)
    assert_equal_gradients(our_gradient, right, what="ours", tolerance=script.tolerance)
    if script.after is not None:
        script.after(stock, ours)


@pytest.mark.parametrize("name", TRAINED)
def test_known_weights_are_on_their_rows(name):
    """Kills: a weight on another row, a weight that is dropped."""
    script = SCRIPTS[name]
    weights = known_weights(len(script.data()))
    _, found = script.weighted(weights)
    assert_equal_gradients(found, script.by_hand(weights), what="ours", tolerance=script.tolerance)


@pytest.mark.parametrize("name", TRAINED)
def test_the_defaults_train_to_the_end(name):
    """Kills: weights that are never solved, without a word."""
    trainer = SCRIPTS[name].default()
    assert trainer._session.reweighter.solved_at >= 0
    weights = trainer.example_weights
    assert weights.isfinite().all()
    assert (weights >= 0).all()
    assert all(p.isfinite().all() for p in trainer.model.parameters())


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_reason(name):
    """Stock trains it; ours says before the first step why it does not."""
    script = SCRIPTS[name]
    trainer, _ = script.stock()
    assert trainer.state.global_step == 1
    with pytest.raises((ValueError, TypeError), match=script.refused):
        script.default()
