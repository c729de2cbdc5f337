"""How many labels are wrong, and which: class probabilities calibrated by the labels as they are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

ROUNDS = 10
STEPS = 10  # of L-BFGS in a round
#: Rows' worth of a uniform channel in each class's own one, so that a small class does not invent one.
STRENGTH = 50.0
#: Weight of the squared class shifts.
SHRINKAGE = 1e-3
SLOPES, SHIFTS = (0.05, 200.0), (-5.0, 5.0)
#: Log of the odds of the best class against the second that the calibration starts from, in the median row. Where
#: classes are far apart, a vague classifier and wrong labels explain the labels as well; the start decides for the
#: second.
FIRST_ODDS = 6.0
FIRST_RATE = 0.1
TINY = 1e-9


class NoiseFit(NamedTuple):
    """What the labels say of themselves.

    Attributes:
        posterior: `(N, K)`, probability that an example is of each class, given its features and its label.
        rate: share of labels that are wrong.
        loss: mean negative log-likelihood of the labels.
        criterion: Bayesian information criterion, smaller is better.
    """

    posterior: np.ndarray
    rate: float
    loss: float
    criterion: float


def fit_noise(probabilities: np.ndarray, labels: np.ndarray, is_right: np.ndarray) -> NoiseFit:
    """Estimate the noise twice and keep what the labels support.

    Either wrong labels fall on all other classes alike, with one rate for all; or each pair of classes has a rate of
    its own, which takes `K (K - 1)` numbers and is kept only where the likelihood grows by more than that costs.

    Args:
        probabilities: `(N, K)`, of the classes, by a classifier that has not seen the row.
        labels: `(N,)`, in `0..K-1`.
        is_right: `(N,)` bool, labels that are known to be right.
    """
    found = [fit_channel(probabilities, labels, is_right, own_rates=own) for own in (False, True)]
    return min(found, key=lambda fit: fit.criterion)


def fit_channel(probabilities: np.ndarray, labels: np.ndarray, is_right: np.ndarray, *, own_rates: bool) -> NoiseFit:
    """Maximise the likelihood of the labels over a calibration of the probabilities and the rates of the noise.

    With `p_ik` proportional to `exp(slope * log P_ik + shift_k)`, and `T[k, y]` the probability that an example of
    class k is given the label y, a label has the likelihood `sum_k p_ik T[k, y_i]`. Alternates between `slope`,
    `shift` and `T`. The posterior is the plan of an entropic transport of strength 1 from rows to classes, of the cost
    `-log p_ik - log T[k, y_i]` and with free column masses. Rows that are known to be right tell errors of the
    classifier from errors of the labels.

    Args:
        probabilities, labels, is_right: as in `fit_noise`.
        own_rates: estimate a rate for each pair of classes.
    """
    num_rows, num_classes = probabilities.shape
    log_p = np.log(probabilities + TINY)
    channel = uniform_channel(FIRST_RATE, num_classes)
    parameters = np.concatenate([[first_slope(log_p)], np.zeros(num_classes)])
    bounds = [SLOPES] + [SHIFTS] * num_classes
    if not is_right.any():
        is_right = np.zeros(num_rows, dtype=bool)
    loss = np.inf
    for _ in range(ROUNDS):
        seen = seen_through(channel, labels, is_right)

        def objective(values: np.ndarray, seen: np.ndarray = seen) -> tuple[float, np.ndarray]:
            return negative_log_likelihood(values, log_p, seen)

        step = minimize(objective, parameters, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS})
        parameters, before, loss = step.x, loss, float(step.fun)
        posterior = calibrated(parameters, log_p) * seen
        posterior /= posterior.sum(axis=1, keepdims=True)
        open_rows = ~is_right
        counts = np.zeros((num_classes, num_classes))
        np.add.at(counts.T, labels[open_rows], posterior[open_rows])
        rate = 1 - np.trace(counts) / max(counts.sum(), TINY)
        channel = uniform_channel(rate, num_classes)
        if own_rates:
            channel = counts + STRENGTH * channel
            channel /= channel.sum(axis=1, keepdims=True)
        if abs(before - loss) < 1e-5:
            break
    free = num_classes * (num_classes - 1) if own_rates else 1
    return NoiseFit(posterior, float(rate), loss, 2 * num_rows * loss + free * float(np.log(num_rows)))


def first_slope(log_p: np.ndarray) -> float:
    """The slope with which the median row has `FIRST_ODDS`, at least 1."""
    best = np.partition(log_p, -2, axis=1)[:, -2:]
    gap = float(np.median(best[:, 1] - best[:, 0]))
    return min(max(1.0, FIRST_ODDS / max(gap, TINY)), SLOPES[1])


def uniform_channel(rate: float, num_classes: int) -> np.ndarray:
    """`(K, K)`: a label is right with probability `1 - rate`, and else any other."""
    rate = min(max(rate, 1e-6), 1 - 1e-6)
    channel = np.full((num_classes, num_classes), rate / max(1, num_classes - 1))
    np.fill_diagonal(channel, 1 - rate)
    return channel


def seen_through(channel: np.ndarray, labels: np.ndarray, is_right: np.ndarray) -> np.ndarray:
    """`(N, K)`: probability of each row's label, were the example of each class."""
    seen = channel[:, labels].T
    if is_right.any():
        seen = seen.copy()
        seen[is_right] = np.eye(len(channel))[labels[is_right]]
    return seen


def calibrated(parameters: np.ndarray, log_p: np.ndarray) -> np.ndarray:
    """Class probabilities with their sharpness and their class shares corrected, `(N, K)`."""
    scores = parameters[0] * log_p + parameters[1:]
    return np.exp(scores - logsumexp(scores, axis=1, keepdims=True))


def negative_log_likelihood(parameters: np.ndarray, log_p: np.ndarray, seen: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean over the rows, with a penalty on the shifts; and its gradient, `(K + 1,)`."""
    p = calibrated(parameters, log_p)
    joint = p * seen
    likelihood = joint.sum(axis=1) + 1e-300
    gap = joint / likelihood[:, None] - p
    shifts = parameters[1:]
    value = -float(np.log(likelihood).mean()) + SHRINKAGE * float((shifts**2).sum())
    gradient = np.concatenate([[(gap * log_p).sum()], gap.sum(axis=0)]) / len(log_p)
    gradient[1:] -= 2 * SHRINKAGE * shifts
    return value, -gradient


def most_doubted(error: np.ndarray, precision: float) -> np.ndarray:
    """The largest set of rows of which a share of `precision` is wrong by estimate, `(N,)` bool.

    Args:
        error: `(N,)`, probability that a label is wrong.
        precision: share.
    """
    order = np.argsort(-error, kind="stable")
    means = np.cumsum(error[order]) / np.arange(1, len(order) + 1)
    chosen = np.zeros(len(error), dtype=bool)
    chosen[order[: int((means >= precision).sum())]] = True
    return chosen & (error > 0.5)
