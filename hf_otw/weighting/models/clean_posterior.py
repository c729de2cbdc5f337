"""The probability that a row's label is right, with the noise estimated: leaves clean data alone by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from hf_otw.types import Cost, Measure, Weights
from hf_otw.weighting.base import Facts, WeightModel, exact, mean_one
from hf_otw.weighting.models.class_scores import alignment, class_scores
from hf_otw.weighting.models.noise_model import NoiseModel
from hf_otw.weighting.statistics import class_totals
from hf_otw.weighting.target import class_prior_mass

#: Times that the scores are computed: without knowing which labels to trust, and then with.
ROUNDS = 3
#: The first of them, in which all classes have the same covariance: one of its own would fit a class that is mostly
#: mislabelled to its mistakes, and later rounds would start from there.
COMMON_ROUNDS = 2
#: Shares of the posterior's doubts that are tried on the meta set.
BELIEFS = (0.0, 0.5, 1.0)
#: Of beliefs that fit as well but for this much, the strongest: a regression hardly minds a few wrong labels, where a
#: network learns them by heart.
SLACK = 0.005
#: Weight of a row whose label is surely wrong, next to one whose label is surely right. A class that all rows left
#: would have no prior.
FLOOR = 0.02
#: Every pair of classes has a price of its own: K^2 numbers from as many rows, and K^3 operations.
MAX_CLASSES = 1000


class CleanPosterior(WeightModel):
    """`w_i` is the posterior probability that label `y_i` is right, as a transport plan with a learned cost has it.

    Each row ships its mass to the classes, by entropic transport of strength 1 that leaves the columns' masses free,

        C_ik = |s_i - mu_k|^2_Sigma_k / 2 + log|Sigma_k| / 2 - log T[k, y_i],
        P_ik = pi_k exp(-C_ik) / sum_k' pi_k' exp(-C_ik'),

    and `w_i = P_i[y_i]` is what arrives at its own class. `s_i` are the row's class scores by a ridge regression that
    has not seen the row (`class_scores`), `T` the probability that an example of class k is given the label y: feature
    cost and label cost of the paper, both learned. Positions `mu`, covariances `Sigma`, masses `pi` and `T`
    are those of the highest likelihood, starting from the meta examples, whose labels are known to be right
    (expectation maximisation, which is alternating minimisation of this transport: Rigollet and Weed 2018, arXiv
    1809.02074). The scores are then computed again with rows weighted by `w`, and in the end with a covariance a class
    in place of a common one.

    How far the posterior is to be believed, the meta examples decide: weights are `1 - belief (1 - P_i[y_i])`, and
    `belief`, out of 0, 1/2 and 1, is the largest with which a regression predicts the meta examples about as well as
    with any (`alignment`). Where classes are not Gaussian that is 0, and where labels are right it makes next to no
    difference; so clean data are left alone, however rare a class. Neither `reg` nor a cost is to be chosen. At last
    every class's weights are scaled to the class's mass.

    Args:
        class_mass: `class totals (K,) -> class mass (K,)`, of the weights found; as they are by default.
        beliefs: those to choose from. `(1.0,)` for who looks for wrong labels rather than trains with them.

    Attributes:
        noise_rate (`Tensor`): `()`, share of the labels that are taken to be wrong.
        belief (`Tensor`): `()`, in [0, 1].
    """

    divisible = True
    streams = True
    learns_cost = True

    def __init__(
        self,
        *,
        class_mass: Callable[[Tensor], Tensor] = class_prior_mass,
        beliefs: Sequence[float] = BELIEFS,
    ) -> None:
        super().__init__()
        self.class_mass, self.beliefs = class_mass, tuple(beliefs)
        self.register_buffer("noise_rate", torch.tensor(0.0, dtype=torch.float64))
        self.register_buffer("belief", torch.tensor(0.0, dtype=torch.float64))

    @classmethod
    def from_facts(cls, facts: Facts, **kwargs: Any) -> WeightModel:
        """With the masses of the classes."""
        return cls(class_mass=facts.class_mass, **kwargs)

    @torch.no_grad()
    def forward(self, index: Tensor, source: Measure, target: Measure, cost: Cost | None = None) -> Weights:
        """Shape as in `WeightModel.forward`; `cost` is not used.

        Raises:
            ValueError: rows with more than a class each, or more than `MAX_CLASSES` classes.
        """
        if source.label_vectors is not None:
            raise ValueError(
                "Expected one class an example for weighting='clean_posterior', got sets of labels or numbers. "
                "Set weighting='agreement' or 'closed_form'."
            )
        num_classes = int(target.labels.max()) + 1
        check_number_of_classes(num_classes)
        doubt = self._doubt(source, target, num_classes)  # (n,)
        fits = [float(alignment(source, target, num_classes, weights_of(doubt, belief))) for belief in self.beliefs]
        about_best = [b for b, fit in zip(self.beliefs, fits, strict=True) if fit >= max(fits) - SLACK]
        self.belief = doubt.new_tensor(max(about_best))
        self.noise_rate = self.belief * doubt.mean()
        weights = weights_of(doubt, self.belief)
        totals = class_totals(weights, source.labels, num_classes)  # (K,)
        scale = self.class_mass(totals) / totals.clamp_min(torch.finfo(totals.dtype).tiny)
        weights = mean_one(weights * scale[source.labels]).to(source.mass)
        return exact(weights)._replace(value=self.noise_rate.to(weights))

    @staticmethod
    def _doubt(source: Measure, target: Measure, num_classes: int) -> Tensor:
        """Posterior probability that a label is wrong, `(n,)`."""
        posterior, log_channel = torch.ones_like(source.mass, dtype=torch.float64), None
        for done in range(ROUNDS):
            scores = class_scores(source, target, num_classes, mean_one(posterior + FLOOR))
            model = NoiseModel.fit(
                scores, source, target, num_classes, log_channel, common_covariance=done < COMMON_ROUNDS
            )
            posterior, log_channel = model.own_class_mass(scores.rows, source), model.log_channel
        return 1 - posterior


def check_number_of_classes(num_classes: int) -> None:
    """Raise a ValueError where there are too many."""
    if num_classes > MAX_CLASSES:
        raise ValueError(
            f"Expected at most {MAX_CLASSES} classes for weighting='clean_posterior', which learns what each pair of "
            f"classes has to do with each other, got {num_classes}. Set weighting='agreement'."
        )


def weights_of(doubt: Tensor, belief: float | Tensor) -> Tensor:
    """`1 - belief * doubt`, but for a small rest. Shape: `(n,)`, before scaling to mean 1."""
    return 1 - belief * (1 - FLOOR) * doubt
