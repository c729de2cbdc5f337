"""Names that arguments may take, where no table of objects has them, and ranges of numbers."""

from __future__ import annotations

import math

WEIGHTINGS = (
    "none",
    "uniform",
    "inverse_frequency",
    "effective_number",
    "column",
    "closed_form",
    "relaxed_rows",
    "bounded_rows",
    "clean_posterior",
    "own_class",
    "agreement",
    "table",
    "net",
)
EXAMPLE_LOSSES = ("cross_entropy", "logit_adjusted", "focal", "binary_cross_entropy", "squared_error")
TASKS = (
    "single_label",
    "multi_label",
    "regression",
    "token_classification",
    "causal_lm",
    "masked_lm",
    "seq2seq_lm",
)

#: Arguments that mean nothing to a weighting that learns its cost.
OF_A_GIVEN_COST = ("cost", "label_weight", "reg", "feature_weights")

#: Name, smallest value, what it must stay below, and a remedy.
RANGES = (
    ("weight_warmup", 0, math.inf, "Use 0 for no warm-up, a fraction below 1, or a number of steps."),
    ("weight_smoothing", 0, 1, "Use 0 for no smoothing."),
    ("weight_refresh_steps", 0, math.inf, "Use 0 to solve once, or a number of steps."),
    ("meta_examples_per_class", 1, math.inf, "10 is usual."),
    ("meta_loss_coefficient", 0, math.inf, "Use 0 for no meta term."),
    ("meta_batch_size", 1, math.inf, "Leave it unset for the preset's."),
    ("weight_steps", 1, math.inf, "20 is usual."),
    ("label_weight", 0, math.inf, "1 is usual."),
    ("label_bins", 1, math.inf, "10 is usual."),
)
