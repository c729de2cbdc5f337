"""The one schema of what a configuration may name: weightings, costs, losses, masses, with the arguments of each.

Checks, help texts, the tables of the documentation, the command line and `learn_weights` read it. It imports nothing
heavy: an object is loaded when it is built. To add a weighting, a cost or a loss, write its class and add its entry.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from hf_otw._utils import look_up


@dataclass(frozen=True)
class Argument:
    """One argument of an option. Its default is that of the option's constructor.

    Args:
        name: as in the constructor.
        help: one sentence.
        low, high: range of a number; `low_open` and `high_open` leave the end point out.
        whole: a whole number.
        choices: names, in place of a range.
        kind: `number`, `numbers` (a list), `flag` or `text`.
        may_be_none: whether None is a value too; `help` says what it stands for.
    """

    name: str
    help: str
    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False
    whole: bool = False
    choices: tuple[str, ...] = ()
    kind: str = "number"
    may_be_none: bool = False

    def check(self, value: Any, where: str) -> None:
        """Check a value.

        Raises:
            ValueError: a wrong type, a number out of range, or an unknown name.
        """
        if value is None and self.may_be_none:
            return
        if self.choices:
            look_up(dict.fromkeys(self.choices), value, where)
        elif self.kind in ("text", "flag"):
            kind = str if self.kind == "text" else bool
            if not isinstance(value, kind):
                raise ValueError(f"Expected {where} to be a {kind.__name__}, got {value!r}. {self.help}")
        elif self.kind == "numbers":
            if not isinstance(value, (list, tuple)) or not value:
                raise ValueError(f"Expected {where} to be a list of numbers, got {value!r}. {self.help}")
            for number in value:
                self._check_number(number, where)
        else:
            self._check_number(value, where)

    def _check_number(self, value: Any, where: str) -> None:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        inside = is_number and self.low <= value <= self.high
        inside = inside and not (self.low_open and value == self.low) and not (self.high_open and value == self.high)
        if not inside or (self.whole and not isinstance(value, int)):
            raise ValueError(f"Expected {self.range_of(where)}, got {value!r}. {self.help}")

    def range_of(self, name: str) -> str:
        """The range in words, such as `0 < reg`."""
        left = "" if self.low == -math.inf else f"{self.low:g} {'<' if self.low_open else '<='} "
        right = "" if self.high == math.inf else f" {'<' if self.high_open else '<='} {self.high:g}"
        kind = "a whole number " if self.whole else ("a finite number " if not left and not right else "")
        return f"{kind}{left}{name}{right}"


@dataclass(frozen=True)
class Option:
    """Something that a configuration may name.

    Args:
        name: as in a configuration.
        target: `module:attribute` of the class or function that it stands for.
        help: one sentence.
        arguments: what `*_kwargs` may hold.
        alternatives: names of arguments of which one takes the place of the other.
    """

    name: str
    target: str
    help: str
    arguments: tuple[Argument, ...] = ()
    alternatives: tuple[str, ...] = ()

    def load(self) -> Any:
        """Import the class or function."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)

    def check(self, kwargs: Mapping[str, Any], where: str) -> None:
        """Check the arguments by name and range.

        Raises:
            ValueError: an argument that the option does not take, or a value out of range.
        """
        known = {argument.name: argument for argument in self.arguments}
        for name, value in kwargs.items():
            if name not in known:
                takes = ", ".join(known) or "no arguments"
                raise ValueError(
                    f"Expected {where} for {self.name!r} to hold what it takes ({takes}), got {name!r}. Leave it out."
                )
            known[name].check(value, f"{where}[{name!r}]")
        both = [name for name in self.alternatives if name in kwargs]
        if len(both) > 1:
            raise ValueError(
                f"Expected one of {', '.join(both)} in {where}, as one takes the place of the other, got both. Leave "
                "one out."
            )

    def merged(self, own: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
        """The user's arguments over those of the defaults that the option takes."""
        names = {argument.name for argument in self.arguments}
        if any(name in own for name in self.alternatives):
            names -= set(self.alternatives)
        return {name: value for name, value in defaults.items() if name in names} | dict(own)


@dataclass(frozen=True)
class WeightingOption(Option):
    """A weighting, and what of the shared options it reads.

    Args:
        uses: names of shared options (fields of `WeightingArguments`) that change its weights.
        defaults: shared options that it sets where the user, the task and the preset leave them open.
    """

    uses: frozenset[str] = frozenset()
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def needs_transport(self) -> bool:
        """Whether it needs features and a meta set."""
        return "feature_module" in self.uses

    @property
    def learns_cost(self) -> bool:
        """Whether it finds a cost of its own."""
        return self.needs_transport and "cost" not in self.uses


def _table(*options: Any) -> MappingProxyType[str, Any]:
    return MappingProxyType({option.name: option for option in options})


REG = Argument("reg", "Entropic strength in units of the cost; cosine costs lie in [0, 2].", low=0, low_open=True)
STEPS = Argument("steps", "Gradient steps per solve.", low=1, whole=True)
LABEL_WEIGHT = Argument(
    "label_weight", "Cost of two labels that differ; null for the paper's, 2 / classes.", low=0, may_be_none=True
)
BLOCK_WEIGHTS = Argument(
    "block_weights", "Share of each feature module, one number per module.", low=0, kind="numbers"
)

#: Objectives of a table or a net of weights.
OBJECTIVES: MappingProxyType[str, Option] = _table(
    Option("entropy", "hf_otw.transport.objectives:entropy_objective", "`<T, C> - reg * H(T)`."),
    Option("kl", "hf_otw.transport.objectives:kl_objective", "`<T, C> + reg * KL(T | w x b)`."),
    Option("kl_geomloss", "hf_otw.transport.objectives:kl_geomloss_objective", "The same by GeomLoss."),
    Option("sharp", "hf_otw.transport.objectives:sharp_objective", "`<T, C>` at the `kl` plan: the paper's code."),
)
OBJECTIVE = Argument("objective", "What the gradient steps minimise.", choices=tuple(OBJECTIVES))

_EVERY_STEP = frozenset({"weight_warmup", "meta_loss_coefficient", "meta_batch_size", "meta_examples_per_class"})
_TRANSPORT = _EVERY_STEP | {
    "weight_scope",
    "cost",
    "cost_kwargs",
    "target_mass",
    "target_points",
    "feature_module",
    "feature_memory",
    "standardize_features",
    "weight_refresh_steps",
    "encode_at_solve",
    "head_only_after_warmup",
}
# Plain cross-entropy from the first step, unless the user asks for more.
_PLAIN = {
    "example_loss": "cross_entropy",
    "weight_warmup": 0.0,
    "meta_loss_coefficient": 0.0,
    "head_only_after_warmup": False,
}
# Rows whose mass is free learn of the labels through the cost alone. A weighting that judges labels must not see them.
_FREE_ROWS = {"cost": "combined"}

#: Where weights come from. `none` is the stock Trainer, bit for bit.
WEIGHTINGS: MappingProxyType[str, WeightingOption] = _table(
    WeightingOption("none", "", "The stock Trainer, bit for bit."),
    WeightingOption(
        "uniform",
        "hf_otw.weighting.models.baselines:Uniform",
        "Every example weighs 1.",
        uses=_EVERY_STEP - {"weight_warmup"},
        defaults=_PLAIN,
    ),
    WeightingOption(
        "inverse_frequency",
        "hf_otw.weighting.models.baselines:InverseFrequency",
        "Inverse class frequency.",
        uses=_EVERY_STEP,
        defaults=_PLAIN,
    ),
    WeightingOption(
        "effective_number",
        "hf_otw.weighting.models.baselines:EffectiveNumber",
        "Inverse effective number of examples of the class (Cui et al. 2019).",
        (Argument("beta", "0.9 to 0.9999 in the paper.", low=0, high=1, high_open=True),),
        uses=_EVERY_STEP,
        defaults=_PLAIN,
    ),
    WeightingOption(
        "column",
        "hf_otw.weighting.models.baselines:Column",
        "Weights from a column of the training set.",
        (Argument("column", "Name of the column.", kind="text"),),
        uses=_EVERY_STEP,
        defaults=_PLAIN,
    ),
    WeightingOption(
        "clean_posterior",
        "hf_otw.weighting.models.clean_posterior:CleanPosterior",
        "Probability that the label is right, with the noise rate estimated; learns its cost.",
        uses=_TRANSPORT - {"cost", "cost_kwargs"},
        # Labels are judged once, after the warm-up, by features of one model that has seen each example once. Features
        # stored during the first epoch come from as many models as there are steps; later ones from models that begin
        # to memorise wrong labels. Meta examples count, not their means.
        defaults={
            "weight_scope": "dataset",
            "target_points": "examples",
            "weight_refresh_steps": 0,
            "encode_at_solve": True,
        },
    ),
    WeightingOption(
        "agreement",
        "hf_otw.weighting.models.agreement:Agreement",
        "Share of a softmax over the meta columns that reaches the row's own class.",
        (REG,),
        uses=_TRANSPORT - {"target_mass"},
    ),
    WeightingOption(
        "closed_form",
        "hf_otw.weighting.models.closed_form:ClosedForm",
        "Row masses of semi-relaxed transport (Guo et al. 2022, eq. 4, in closed form).",
        (
            REG,
            Argument(
                "target_ess",
                "Choose reg so that the effective sample size is this fraction of the rows.",
                low=0,
                high=1,
                low_open=True,
                high_open=True,
            ),
        ),
        ("reg", "target_ess"),
        uses=_TRANSPORT,
        defaults=_FREE_ROWS,
    ),
    WeightingOption(
        "table",
        "hf_otw.weighting.models.table:Table",
        "A logit per example, by gradient steps (Guo et al. 2022, eq. 5, explicit).",
        (
            OBJECTIVE,
            REG,
            STEPS,
            Argument("lr", "Learning rate; the default suits the objective, 0 keeps the first weights.", low=0),
            Argument(
                "raw",
                "Multiply the loss by the logits, starting at effective-number class weights, with plain SGD.",
                kind="flag",
            ),
        ),
        uses=_TRANSPORT,
        defaults=_FREE_ROWS,
    ),
    WeightingOption(
        "net",
        "hf_otw.weighting.models.net:WeightNet",
        "A network from features to a logit, by gradient steps (Guo et al. 2022, eq. 6, implicit).",
        (
            OBJECTIVE,
            REG,
            STEPS,
            Argument("lr", "First step length of the line search.", low=0, low_open=True),
            Argument("hidden_dim", "Width of the hidden layer.", low=1, whole=True),
        ),
        uses=_TRANSPORT,
        defaults=_FREE_ROWS,
    ),
)

#: Ground costs between training rows and meta columns.
COSTS: MappingProxyType[str, Option] = _table(
    Option("feature", "hf_otw.transport.costs:FeatureCost", "1 - cosine of the features.", (BLOCK_WEIGHTS,)),
    Option("label", "hf_otw.transport.costs:LabelCost", "Distance of the labels.", (LABEL_WEIGHT,)),
    Option(
        "combined",
        "hf_otw.transport.costs:CombinedCost",
        "Feature cost plus label_weight times label cost.",
        (LABEL_WEIGHT, BLOCK_WEIGHTS),
    ),
)

#: Loss of one example.
EXAMPLE_LOSSES: MappingProxyType[str, Option] = _table(
    Option("cross_entropy", "hf_otw.losses:CrossEntropy", "Cross-entropy."),
    Option(
        "logit_adjusted",
        "hf_otw.losses:LogitAdjusted",
        "Cross-entropy of the logits plus tau times the log of each class's share of the weight (Menon et al. 2021).",
        (Argument("tau", "1 is the published value.", low=0),),
    ),
    Option(
        "focal",
        "hf_otw.losses:Focal",
        "Focal loss (Lin et al. 2017).",
        (Argument("gamma", "2 is the published value; 0 is cross-entropy.", low=0),),
    ),
    Option("binary_cross_entropy", "hf_otw.losses:BinaryCrossEntropy", "Mean over labels of binary cross-entropy."),
    Option("squared_error", "hf_otw.losses:SquaredError", "Mean over values of the squared error."),
)

#: Total mass of each class.
TARGET_MASSES: MappingProxyType[str, Option] = _table(
    Option("balanced", "hf_otw.weighting.target:balanced_class_mass", "1/K for each class."),
    Option("class_prior", "hf_otw.weighting.target:class_prior_mass", "Each class keeps its share."),
    Option("square_root", "hf_otw.weighting.target:square_root_mass", "In proportion to the root of its count."),
)

#: How meta examples become columns of the cost.
TARGET_POINTS: MappingProxyType[str, Option] = _table(
    Option("examples", "hf_otw.weighting.target:examples_target", "Every meta example is a column."),
    Option("prototypes", "hf_otw.weighting.target:prototypes_target", "One column per class: the mean feature."),
)

#: Tasks, by name; `hf_otw.tasks.choose.TASKS` holds the classes.
TASKS = (
    "single_label",
    "multi_label",
    "regression",
    "token_classification",
    "causal_lm",
    "masked_lm",
    "seq2seq_lm",
)
WEIGHT_SCOPES = ("dataset", "batch")
FEATURE_MEMORIES = ("replicated", "sharded", "mapped")

#: Ranges of the shared options that are numbers.
RANGES = (
    Argument("label_bins", "10 is usual.", low=1, whole=True),
    Argument("weight_warmup", "Use 0 for no warm-up, a fraction below 1, or a number of steps.", low=0),
    Argument("weight_refresh_steps", "Use 0 to solve once, or a number of steps.", low=0, whole=True),
    Argument("meta_examples_per_class", "10 is usual.", low=1, whole=True),
    Argument("meta_loss_coefficient", "Use 0 for no meta term.", low=0),
    Argument("meta_batch_size", "Leave it out for the preset's.", low=1, whole=True),
)


def default_target_mass(example_loss: str) -> str:
    """Half of the balance where the loss carries the other half, all of it elsewhere.

    A logit-adjusted loss adds the log of each class's share of the weight, so that weights of square-root mass and the
    loss do half of the work each. Any other loss leaves it to the weights.
    """
    return "square_root" if example_loss == "logit_adjusted" else "balanced"


def own_weighting(name: str, *, needs_transport: bool, learns_cost: bool) -> WeightingOption:
    """The entry of a weight model that is given as an object."""
    if not needs_transport:
        return WeightingOption(name, "", "A weight model of the user's.", uses=_EVERY_STEP)
    if learns_cost:
        like = WEIGHTINGS["clean_posterior"]
        return WeightingOption(name, "", "A weight model of the user's.", uses=like.uses, defaults=like.defaults)
    return WeightingOption(name, "", "A weight model of the user's.", uses=_TRANSPORT)


def load(table: Mapping[str, Option], name: str, what: str) -> Callable[..., Any]:
    """Look up an option by name and import what it stands for."""
    return look_up(table, name, what).load()
