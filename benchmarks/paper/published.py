"""Figures of publications that stand beside ours, as their tables give them, in per cent."""

from __future__ import annotations

#: Problem -> test error of ResNet-32 on long-tailed CIFAR-10, by Guo et al. 2022 (arXiv 2208.02951).
CIFAR10_ERROR: dict[str, dict[str, float]] = {
    "plain": {"200": 34.3, "100": 29.6, "50": 25.2, "20": 17.8},
    "Meta-Weight-Net": {"200": 32.8, "100": 26.4, "50": 20.9, "20": 15.6},
    "paper": {"200": 21.5, "100": 18.1, "50": 15.5, "20": 12.5},
    "ProCo (a modern recipe)": {"100": 14.1},
}
#: Problem -> accuracy of BERT-base on SST-2 with few negative sentences. Plain: Hu et al. 2019 (arXiv 1910.12795);
#: paper: Guo et al. 2022.
SST2_ACCURACY: dict[str, dict[str, float]] = {
    "plain": {"20-1000": 54.9, "50-1000": 67.7, "100-1000": 75.0},
    "paper": {"20-1000": 75.1, "50-1000": 79.4, "100-1000": 81.8},
}
