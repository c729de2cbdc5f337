"""How a weight logit answers to the objective's gradient."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

#: `(logits (n,), w (n,) on the simplex, grad_a (n,)) -> new logits (n,)`.
LogitUpdate = Callable[[Tensor, Tensor, Tensor], Tensor]


class MirrorStep:
    """Exponentiated gradient: `logits -= lr * grad`.

    The natural geometry of the simplex, at a fixed length. Where classes are well apart `1 / reg` is too long even for
    `entropy`: `Table` finds a length by itself unless it is given this one.

    Args:
        lr: in units of 1 / cost.
    """

    def __init__(self, lr: float) -> None:
        self.lr = lr

    def __call__(self, logits: Tensor, w: Tensor, grad: Tensor) -> Tensor:
        return logits - self.lr * grad


class SoftmaxSGDStep:
    """Plain gradient descent on the logits of `w = softmax(logits)`, the paper's.

        logits -= lr * (w * (grad - <w, grad>) + decay * logits)

    The factor `w`, about `1 / n`, makes it slow: closing the gap between two classes takes 10^5 steps at the paper's
    `lr`.

    Args:
        lr: learning rate.
        weight_decay: pulls the logits to 0.
    """

    def __init__(self, lr: float = 0.01, weight_decay: float = 5e-4) -> None:
        self.lr, self.weight_decay = lr, weight_decay

    def __call__(self, logits: Tensor, w: Tensor, grad: Tensor) -> Tensor:
        return logits - self.lr * (w * (grad - (w * grad).sum()) + self.weight_decay * logits)
