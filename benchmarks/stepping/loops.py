"""Training steps of other methods, written for this comparison after their papers, on the same Trainer.

They do what their authors' loops do in a step, no less and no more; what is learned is of no interest here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from transformers import Trainer

REG, PASSES, WEIGHT_LR, META_COEFFICIENT = 0.1, 5, 0.01, 10.0
VIRTUAL_LR = 1e-3


class WithMetaSet(Trainer):
    """A Trainer with a clean set.

    Args:
        meta_batch: the whole meta set, collated.
    """

    def __init__(self, *args: Any, meta_batch: dict[str, Tensor], **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.meta = {name: value.to(self.args.device) for name, value in meta_batch.items()}

    def meta_examples(self, size: int | None = None) -> dict[str, Tensor]:
        """The first examples of the meta set, or all."""
        return {name: value[:size] for name, value in self.meta.items()}


class ReferenceTrainer(WithMetaSet):
    """Guo et al. 2022 as their script has it, second stage: https://arxiv.org/abs/2208.02951.

    Two extra forward passes for features, transport between the batch and the class means solved by unrolled Sinkhorn
    passes, one step on the batch's weight logits, and the whole meta set in the loss. Images are averaged by class
    before they are encoded, tokens cannot be.
    """

    def compute_loss(self, model: nn.Module, inputs: dict[str, Tensor], *args: Any, **keywords: Any) -> Tensor:
        labels = inputs["labels"]
        with torch.no_grad():
            source = self._features(model, inputs)
            columns = self._columns()
            target = self._features(model, columns)
        feature = 1 - F.normalize(source) @ F.normalize(target).T  # (B, m)
        one_hot = [F.one_hot(y, model.config.num_labels).float() for y in (labels, columns["labels"])]
        C = (feature + torch.cdist(*one_hot).square() / model.config.num_labels) / 2
        logits = torch.ones(len(labels), device=C.device, requires_grad=True)
        (gradient,) = torch.autograd.grad(self._transport(logits.softmax(dim=0), C), logits)
        weights = (logits - WEIGHT_LR * gradient).detach()
        losses = F.cross_entropy(self._logits(model, inputs), labels, reduction="none")
        meta = F.cross_entropy(self._logits(model, self.meta), self.meta["labels"])
        return (weights * losses).sum() + META_COEFFICIENT * meta

    def _columns(self) -> dict[str, Tensor]:
        if "pixel_values" not in self.meta:
            return self.meta
        labels, classes = self.meta["labels"], self.meta["labels"].unique()
        means = torch.stack([self.meta["pixel_values"][labels == k].mean(dim=0) for k in classes])
        return {"pixel_values": means, "labels": classes}

    @staticmethod
    def _transport(a: Tensor, C: Tensor) -> Tensor:
        b = torch.full_like(C[0], 1 / C.shape[1])
        f, g = torch.zeros_like(a), torch.zeros_like(b)
        for _ in range(PASSES):
            f = f + REG * (a.log() - ((f[:, None] + g - C) / REG).logsumexp(dim=1))
            g = g + REG * (b.log() - ((f[:, None] + g - C) / REG).logsumexp(dim=0))
        return (((f[:, None] + g - C) / REG).exp() * C).sum()

    @staticmethod
    def _features(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        found: list[Tensor] = []
        hook = model.classifier.register_forward_pre_hook(lambda module, args: found.append(args[0]))
        model(**{name: value for name, value in batch.items() if name != "labels"})
        hook.remove()
        return found[0].float()

    @staticmethod
    def _logits(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return model(**{name: value for name, value in batch.items() if name != "labels"}).logits.float()


class Bilevel(WithMetaSet):
    """A virtual step on weighted losses, differentiated through; the meta batch is as large as the batch."""

    def compute_loss(self, model: nn.Module, inputs: dict[str, Tensor], *args: Any, **keywords: Any) -> Tensor:
        labels = inputs["labels"]
        parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        losses = self._losses(model, parameters, inputs)
        virtual = (self.virtual_weights(losses) * losses).sum()
        gradients = torch.autograd.grad(virtual, list(parameters.values()), create_graph=True)
        moved = {name: p - VIRTUAL_LR * g for (name, p), g in zip(parameters.items(), gradients, strict=True)}
        meta = self._losses(model, moved, self.meta_examples(len(labels))).mean()
        self.learn(meta)
        losses = self._losses(model, parameters, inputs)
        return (self.weights(losses.detach()) * losses).sum()

    @staticmethod
    def _losses(model: nn.Module, parameters: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        logits = functional_call(model, parameters, kwargs=inputs).logits
        return F.cross_entropy(logits.float(), batch["labels"], reduction="none")


class L2RWTrainer(Bilevel):
    """Learning to reweight (Ren et al. 2018, https://arxiv.org/abs/1803.09050, algorithm 1)."""

    def virtual_weights(self, losses: Tensor) -> Tensor:
        """Zeros to be differentiated in."""
        self.epsilon = torch.zeros_like(losses, requires_grad=True)
        return self.epsilon

    def learn(self, meta: Tensor) -> None:
        """Weights against the gradient, cut at zero."""
        (gradient,) = torch.autograd.grad(meta, self.epsilon)
        self.learned = (-gradient).clamp_min(0)

    def weights(self, losses: Tensor) -> Tensor:
        """Summing to one, unless all are zero."""
        return self.learned / self.learned.sum().clamp_min(1e-12)


class MetaWeightNetTrainer(Bilevel):
    """Meta-Weight-Net (Shu et al. 2019, https://arxiv.org/abs/1902.07379): a network from loss to weight."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        layers = nn.Linear(1, 100), nn.ReLU(), nn.Linear(100, 1), nn.Sigmoid()
        self.net = nn.Sequential(*layers).to(self.args.device)
        self.net_optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-3)

    def virtual_weights(self, losses: Tensor) -> Tensor:
        """From the losses, without a path through them."""
        return self.weights(losses.detach())

    def learn(self, meta: Tensor) -> None:
        """One step of the network."""
        parameters = list(self.net.parameters())
        for parameter, gradient in zip(parameters, torch.autograd.grad(meta, parameters), strict=True):
            parameter.grad = gradient
        self.net_optimizer.step()

    def weights(self, losses: Tensor) -> Tensor:
        """As shares of the batch."""
        found = self.net(losses[:, None]).squeeze(1)
        return found / found.sum().clamp_min(1e-12)
