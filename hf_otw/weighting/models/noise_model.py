"""A Gaussian for each class and a channel that makes labels wrong, fitted to rows whose true classes are unknown."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hf_otw.types import Measure, Shard
from hf_otw.weighting.models.class_scores import ClassScores
from hf_otw.weighting.models.gaussians import Gaussians, Weighted, covariances

#: Expectation maximisation is stopped rather than converged: its first steps settle nearly all labels, its late ones
#: move whole classes to fit what is not Gaussian.
STEPS = 30
#: No mistake is impossible at the start: expectation maximisation could never take it up.
FIRST_RATE = 1e-3
#: A meta example counts as so many rows: its label is right.
META_ROWS = 5.0
#: Rows that the channel of a class is worth before data: noise that hits all classes alike.
PRIOR_ROWS = 100.0
TINY = 1e-9


class NoiseModel(NamedTuple):
    """What a row's class scores and its label as given say of its class.

    Shape:
        - log_mass: `(K,)`, log of the classes' shares `pi`; log_channel: `(K, K)`, `log T`, rows right, columns given.

    Attributes:
        classes: where the classes' scores lie.
    """

    log_mass: Tensor
    classes: Gaussians
    log_channel: Tensor

    @classmethod
    def fit(
        cls,
        scores: ClassScores,
        source: Measure,
        target: Measure,
        num_classes: int,
        log_channel: Tensor | None = None,
        *,
        common_covariance: bool = False,
    ) -> NoiseModel:
        """Maximise the likelihood of scores and labels, of the rows and of the columns, whose labels are right.

        Args:
            scores: of rows and columns.
            source: rows with their given labels.
            target: columns.
            num_classes: `K`.
            log_channel: `(K, K)`, to start from; what the columns show by default.
            common_covariance: let classes differ in their means alone.
        """
        data = _Data(scores, source, target, num_classes, common_covariance=common_covariance)
        model = data.start(log_channel)
        for _ in range(STEPS):
            model = data.improve(model)
        return model

    def plan(self, scores: Tensor, labels: Tensor) -> Tensor:
        """The share of each row's mass that goes to each class, `(o, K)`: softmax of `log pi - C`."""
        return (self.log_mass + self.classes.log_density(scores) + self.log_channel.T[labels]).softmax(dim=1)

    def own_class_mass(self, scores: Tensor, source: Measure) -> Tensor:
        """`w`, before scaling, of all rows, shape `(n,)`."""
        shard = source.shard
        labels = source.labels if shard is None else source.labels[shard.start : shard.stop]
        own = own_entries(self.plan(scores, labels), labels)
        return own if shard is None else shard.gather(own)


def own_entries(values: Tensor, labels: Tensor) -> Tensor:
    """`values[i, labels[i]]`, `(o, K) -> (o,)`."""
    return values.gather(1, labels[:, None]).squeeze(1)


class _Data:
    """Rows and columns, centred, and sums over them."""

    def __init__(
        self,
        scores: ClassScores,
        source: Measure,
        target: Measure,
        num_classes: int,
        *,
        common_covariance: bool = False,
    ) -> None:
        self.shard: Shard | None = source.shard
        self.common_covariance = common_covariance
        self.n, self.num_classes = len(source.labels), num_classes
        self.rows, self.labels = scores.rows, source.labels
        if self.shard is not None:
            self.labels = source.labels[self.shard.start : self.shard.stop]
        self.given = F.one_hot(self.labels, num_classes).double()  # (o, K)
        self.columns = scores.columns  # (m, K)
        self.known = META_ROWS * F.one_hot(target.labels, num_classes).double()  # (m, K)
        self.class_counts = torch.bincount(source.labels, minlength=num_classes).double()

    def start(self, log_channel: Tensor | None = None) -> NoiseModel:
        """Classes lie where their meta examples do, and spread as these do, or, where each has one only, as the rows
        of a label.
        """
        means = self.known.T @ self.columns / self.known.sum(dim=0)[:, None]
        by_label, of_labels = self._labels_as_given()
        left = len(self.columns) - self.num_classes
        apart = self.columns - means[self.known.argmax(dim=1)]  # (m, K)
        covariance = apart.T @ apart / left if left > 0 else of_labels
        log_mass = (self.class_counts / self.n).clamp_min(TINY).log()
        if log_channel is None:
            log_channel = self._seen_by_columns(Gaussians.of(by_label, of_labels[None]), log_mass)
        return NoiseModel(log_mass, Gaussians.of(means, covariance[None]), log_channel)

    def _labels_as_given(self) -> tuple[Tensor, Tensor]:
        """Mean scores of the rows of each label, `(K, K)`, and the covariance about them, `(K, K)`."""
        by_label = self._sum(self.given.T @ self.rows) / self.class_counts.clamp_min(1)[:, None]
        spread = self.rows - by_label[self.labels]
        return by_label, self._sum(spread.T @ spread) / self.n

    def _seen_by_columns(self, by_label: Gaussians, log_mass: Tensor) -> Tensor:
        """`log T` as it looks to a discriminant of the labels as given: the answers that it gives on average to the
        meta examples of a class (Hendrycks et al. 2018, arXiv 1802.05300, eq. 2).

        Where a class is mostly taken for one other, expectation maximisation that starts from noise that is the same
        between all classes stays at an optimum with little noise.
        """
        alike = NoiseModel(log_mass, by_label, torch.zeros_like(by_label.means))  # labels say nothing
        answers = alike.plan(self.columns, self.known.argmax(dim=1))  # (m, K)
        channel = (self.known.T @ answers / self.known.sum(dim=0)[:, None]).clamp_min(FIRST_RATE)
        return (channel / channel.sum(dim=1, keepdim=True)).log()

    def improve(self, model: NoiseModel) -> NoiseModel:
        """One step of expectation maximisation (Dempster, Laird and Rubin 1977)."""
        plan = model.plan(self.rows, self.labels)  # (o, K)
        shipped = self._sum(torch.cat([plan.T @ self.given, plan.T @ self.rows], dim=1))
        joint, moments = shipped.split(self.num_classes, dim=1)  # (K, K) right x given; (K, K)
        mass, known = joint.sum(dim=1), self.known.sum(dim=0)  # (K,)
        totals = mass + known
        means = (moments + self.known.T @ self.columns) / totals[:, None]
        rows, columns = Weighted(self.rows, plan), Weighted(self.columns, self.known)
        spreads = covariances(rows, columns, means, totals, self._sum, shared=self.common_covariance)
        noise_rate = 1 - joint.diagonal().sum() / self.n
        channel = joint + PRIOR_ROWS * self._alike(float(noise_rate))
        return NoiseModel(
            ((mass + 1) / (self.n + self.num_classes)).log(),
            Gaussians.of(means, spreads),
            (channel / channel.sum(dim=1, keepdim=True)).clamp_min(TINY).log(),
        )

    def _alike(self, noise_rate: float) -> Tensor:
        """The channel that takes every class for every other one as often."""
        K = self.num_classes
        identity = torch.eye(K, dtype=torch.float64, device=self.rows.device)
        wrong = noise_rate / max(K - 1, 1)
        return (wrong * (1 - identity) + (1 - noise_rate) * identity).clamp_min(TINY)

    def _sum(self, part: Tensor) -> Tensor:
        return part if self.shard is None else self.shard.sum(part)
