"""The tables of docs/paper.md, from rows of results."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.paper import cifar, recipe_runs, sst2
from benchmarks.paper.job import Row
from benchmarks.paper.parts import queue
from benchmarks.paper.published import CIFAR10_ERROR, SST2_ACCURACY
from benchmarks.quality.statistics import mean_se, paired_difference
from benchmarks.quality.tables import estimate, markdown

NOT_RUN = "not run yet"
#: A problem of the short schedule -> the number of its publication.
LONG_TAILS = {"short-200": "200", "short-100": "100", "short-50": "50", "short-20": "20"}
TITLES = {
    "stage_one": "first stage alone, the model that the next ones begin with",
    "plain": "plain cross-entropy",
    "class_balanced": "class weights by effective number",
    "class_weights": "class weights by inverse frequency",
    "effective_number": "class weights by effective number",
    "l2rw": "L2RW (Ren et al. 2018)",
    "paper": 'paper (`preset="paper"`)',
    "paper_without_transport": "paper without transport",
    "paper_whole_meta": "paper, whole meta set in place of prototypes",
    "paper_feature_cost": "paper, feature cost alone",
    "paper_label_cost": "paper, label cost alone",
    "paper_implicit": "paper, implicit weights (a network)",
    "default": "default of this library",
    "ot": "default of this library",
    "logit_adjustment_meta": "logit adjustment + meta term, no weights",
}


class Results:
    """Scores by part, problem, method and seed.

    Args:
        rows: of the results file.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows

    def seeds(self, part: str, problem: str, method: str, metric: str = "accuracy") -> dict[int, float]:
        """Seed -> score in [0, 1]."""
        wanted = (part, problem, method)
        chosen = (row for row in self.rows if (row["part"], row["problem"], row["method"]) == wanted)
        return {row["seed"]: row["metrics"][metric] for row in chosen}

    def shown(self, part: str, problem: str, method: str, metric: str = "accuracy", *, error: bool = False) -> str:
        """Mean ± standard error in per cent and the number of seeds, or that it was not run."""
        values = list(self.seeds(part, problem, method, metric).values())
        if not values:
            return NOT_RUN
        return f"{estimate(mean_se([1 - v if error else v for v in values]))} ({len(values)})"

    def difference(self, part: str, problem: str, method: str, other: str) -> str:
        """Points of accuracy of a method above another on the seeds that both have."""
        first, second = (self.seeds(part, problem, name) for name in (method, other))
        if not first.keys() & second.keys():
            return NOT_RUN
        found = paired_difference(first, second)
        spread = f" ± {100 * found.standard_error:.1f}" if found.count > 1 else ""
        return f"{100 * found.mean:+.1f}{spread} ({found.count})"


def sst2_table(results: Results) -> str:
    """Accuracy, ours and published."""
    methods = [*sst2.METHODS, sst2.L2RW, *sst2.WITHOUT_TRANSPORT]
    lines = [
        [TITLES[method], *(results.shown(sst2.PART, problem, method) for problem in sst2.PROBLEMS)]
        for method in methods
    ]
    lines += [
        [f"*published, BERT-base: {name}*", *(f"*{found[problem]:.1f}*" for problem in sst2.PROBLEMS)]
        for name, found in SST2_ACCURACY.items()
    ]
    return markdown(["accuracy, %", *(problem.replace("-", " : ") for problem in sst2.PROBLEMS)], lines)


def long_tail_table(results: Results) -> str:
    """Error on the short schedule and published."""
    lines = [
        [TITLES[method], *(results.shown(cifar.PART, problem, method, error=True) for problem in LONG_TAILS)]
        for method in cifar.LONG_TAIL
    ]
    lines += [
        [f"*published, 250 epochs: {name}*", *(f"*{found[f]:.1f}*" if f in found else "" for f in LONG_TAILS.values())]
        for name, found in CIFAR10_ERROR.items()
    ]
    return markdown(["error, %; imbalance factor", *LONG_TAILS.values()], lines)


def one_problem_table(results: Results, problem: str, methods: Sequence[str]) -> str:
    """Error and balanced accuracy on one problem of CIFAR-10."""
    lines = [[TITLES[method], results.shown(cifar.PART, problem, method, error=True)] for method in methods]
    return markdown(["", "error, %"], lines)


def points_table(results: Results) -> str:
    """Accuracy and balanced accuracy of the point clouds."""
    where = (recipe_runs.POINTS, "fashion_points")
    lines = [
        [TITLES[name], results.shown(*where, name, "balanced_accuracy"), results.shown(*where, name)]
        for name in ("plain", "class_balanced", "paper", "ot")
    ]
    return markdown(["point clouds, %", "balanced accuracy", "accuracy"], lines)


def transport_table(results: Results) -> str:
    """What the transport itself adds, to the paper's method and to the default."""
    places = [
        *((sst2.PART, problem, f"SST-2, {problem.replace('-', ' : ')}") for problem in sst2.PROBLEMS),
        (cifar.PART, "short-100", "CIFAR-10, factor 100, short schedule"),
        (cifar.PART, "protocol-100", "CIFAR-10, factor 100, protocol of the paper"),
        (cifar.PART, "human-worse", "CIFAR-10, human labels `worse`"),
    ]
    lines = []
    for part, problem, name in places:
        paper = results.difference(part, problem, "paper", "paper_without_transport")
        ours = results.difference(part, problem, "default", "logit_adjustment_meta")
        lines.append([name, "not part of it" if problem == "human-worse" else paper, ours])
    return markdown(["points of accuracy", "paper − paper without transport", "default − its losses alone"], lines)


def ablation_table(results: Results) -> str:
    """The paper's preset with one thing changed."""
    problem = sst2.PROBLEMS[1]
    head = ["accuracy, %", f"SST-2, {problem.replace('-', ' : ')}", "CIFAR-10, factor 100, short schedule"]
    names = ("paper", *sst2.ABLATION, "paper_without_transport")
    lines = [
        [TITLES[n], results.shown(sst2.PART, problem, n), results.shown(cifar.PART, "short-100", n)] for n in names
    ]
    return markdown(head, lines)


def progress_table(results: Results) -> str:
    """Runs that are done, out of the queue's, and what one costs."""
    lines = []
    whole = [job for job in queue() if job.part != recipe_runs.RECIPES]
    for part, problem in dict.fromkeys((job.part, job.problem) for job in whole):
        wanted = [job for job in whole if (job.part, job.problem) == (part, problem)]
        done = [row for row in results.rows if (row["part"], row["problem"]) == (part, problem)]
        hours = sum(seconds_of(row) for row in done) / 3600
        plain = [row for row in done if row["method"] == "plain"]
        step = sum(seconds_of(row) for row in plain) / sum(row["steps"] for row in plain) if plain else None
        cells = [f"{len(done)} of {len(wanted)}", f"{hours:.1f}", NOT_RUN if step is None else f"{step:.2f}"]
        lines.append([f"`{part}/{problem}`", *cells])
    return markdown(["runs", "done", "hours of one core", "seconds a step of `plain`"], lines)


def seconds_of(row: Row) -> float:
    """Processor time of training where it was taken, else time on the clock."""
    return row.get("cpu_seconds", row["seconds"])
