"""The experiments of Guo et al. 2022 (https://arxiv.org/abs/2208.02951), run again: a queue of training runs."""
