"""A linear classifier over fixed features with the losses of the library: the stand-in for a network in `compare`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

STEPS = 60  # of L-BFGS, with line search; the problem is convex


def fit_head(
    features: np.ndarray, labels: np.ndarray, weights: np.ndarray, log_prior: np.ndarray, penalty: float
) -> np.ndarray:
    """Minimise the weighted mean of cross-entropy plus a ridge penalty.

    Args:
        features: `(N, D)`, standardised.
        labels: `(N,)`.
        weights: `(N,)`, mean 1.
        log_prior: `(K,)`, added to the logits in training only (logit adjustment); zeros for plain cross-entropy.
        penalty: of the squared coefficients; the intercept is free.

    Returns:
        `(D + 1, K)`, the intercept last.
    """
    x, y = torch.from_numpy(with_one(features)), torch.from_numpy(labels)
    w, prior = torch.from_numpy(weights), torch.from_numpy(log_prior)
    theta = torch.zeros(x.shape[1], len(log_prior), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([theta], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        losses = F.cross_entropy(x @ theta + prior, y, reduction="none")
        loss = (w * losses).mean() + penalty / 2 * theta[:-1].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return theta.detach().numpy()


def predict(theta: np.ndarray, features: np.ndarray) -> np.ndarray:
    """The class of each row, `(N,)`."""
    return (with_one(features) @ theta).argmax(axis=1)


def with_one(features: np.ndarray) -> np.ndarray:
    """A column of ones for the intercept."""
    return np.concatenate([features, np.ones((len(features), 1))], axis=1)
