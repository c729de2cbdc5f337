"""Per-example losses: logits and labels in, one unreduced loss per example out.

Reduction and weighting happen elsewhere (`hf_otw.trainer`), so that a loss is never scaled twice. Logits are upcast to
float32 first: in half precision the log-sum-exp of many classes loses digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn import functional as F


class ExampleLoss(Protocol):
    """Any function with this call will do."""

    def __call__(self, logits: Tensor, labels: Tensor, class_prior: Tensor) -> Tensor:
        """Return the loss of each example, shape `(B,)`.

        Shape:
            - logits: `(B, K)`, labels: `(B,)`, class_prior: `(K,)`, sums to 1. For tokens, `B` counts the labelled
              tokens of a batch; for sets of labels and for numbers, labels have the shape of logits.
        """
        ...


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy, with the label smoothing of `TrainingArguments.label_smoothing_factor`."""

    label_smoothing: float = 0.0

    def __call__(self, logits: Tensor, labels: Tensor, class_prior: Tensor) -> Tensor:
        return F.cross_entropy(_upcast(logits), labels, reduction="none", label_smoothing=self.label_smoothing)


@dataclass(frozen=True)
class LogitAdjusted:
    """Cross-entropy of `logits + tau * log prior` (Menon et al. 2021, https://huggingface.co/papers/2007.07314, eq.
    10).

    Minimising it makes the *unadjusted* logits right for balanced accuracy, so evaluation and inference use them as
    they are. The prior is
    that of the weighted training set: each class's share of the total weight.
    """

    tau: float = 1.0
    label_smoothing: float = 0.0

    def __call__(self, logits: Tensor, labels: Tensor, class_prior: Tensor) -> Tensor:
        adjusted = _upcast(logits) + self.tau * class_prior.to(logits.device).clamp_min(1e-12).log()  # (B, K) + (K,)
        return F.cross_entropy(adjusted, labels, reduction="none", label_smoothing=self.label_smoothing)


@dataclass(frozen=True)
class Focal:
    """`(1 - p_y)^gamma * cross-entropy` (Lin et al. 2017, https://huggingface.co/papers/1708.02002, eq. 4)."""

    gamma: float = 2.0
    label_smoothing: float = 0.0

    def __call__(self, logits: Tensor, labels: Tensor, class_prior: Tensor) -> Tensor:
        log_p = _upcast(logits).log_softmax(dim=1).gather(1, labels[:, None]).squeeze(1)  # (B,)
        loss = F.cross_entropy(_upcast(logits), labels, reduction="none", label_smoothing=self.label_smoothing)
        return (1 - log_p.exp()) ** self.gamma * loss


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """Mean over the labels of the binary cross-entropy, for multi-hot labels of the logits' shape."""

    def __call__(self, logits: Tensor, labels: Tensor, class_prior: Tensor) -> Tensor:
        logits = _upcast(logits)
        return F.binary_cross_entropy_with_logits(logits, labels.to(logits), reduction="none").mean(dim=1)


@dataclass(frozen=True)
class SquaredError:
    """Mean over the values of the squared error, for numbers of the logits' shape."""

    def __call__(self, logits: Tensor, labels: Tensor, class_prior: Tensor) -> Tensor:
        logits = _upcast(logits)
        return (logits - labels.to(logits)).square().mean(dim=1)


def _upcast(logits: Tensor) -> Tensor:
    return logits if logits.dtype.itemsize >= 4 else logits.float()
