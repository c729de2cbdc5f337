"""Write docs/paper.md from the results file.

python -m benchmarks.paper.page
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.paper import cifar
from benchmarks.paper.harvest import RESULTS, read_rows
from benchmarks.paper.job import Row
from benchmarks.paper.tables import (
    Results,
    ablation_table,
    long_tail_table,
    one_problem_table,
    points_table,
    progress_table,
    sst2_table,
    transport_table,
)

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "paper.md"

INTRODUCTION = """# The paper, reproduced

The experiments of [Guo et al. 2022](https://arxiv.org/abs/2208.02951) (CIFAR-10 with a long tail, SST-2 with few \
negative sentences, point clouds), run again with this library on one core of a CPU, each beside what was published. \
This page is written by `python -m benchmarks.paper.page` from \
[benchmarks/results/paper.json](../benchmarks/results/paper.json), which holds the versions, the commit, the seconds \
and the seed of every run. `make paper` goes on with the runs that are missing.

Every figure is that of the model of the *last step* on the official test split, which is looked at once; no setting \
was chosen on it. In tables: mean ± standard error (number of seeds)."""

SST2 = """## SST-2 with few negative sentences

Full fine-tuning, 10 epochs in batches of 25 on 20, 50 or 100 negative and 1,000 positive sentences, with 10 + 10 \
clean meta examples: the protocol of [Hu et al. 2019](https://arxiv.org/abs/1910.12795), which the paper follows. The \
model is MiniLM (all-MiniLM-L6-v2, 6 layers, 22.7 million parameters) at a learning rate of 3e-4, that of the \
comparison of methods in [quality.md](quality.md); theirs is BERT-base, five times as large, so that the published \
figures are context and no contest. Sentences of like length share a batch, which the protocol does not have: half of \
the tokens would be padding otherwise. The second-order method runs on plain attention, the only one with a \
second derivative."""

LONG_TAIL = """## CIFAR-10 with a long tail

ResNet-32, 10 clean meta images a class, an exponential tail. These runs use a shorter schedule than the paper: \
{epochs} epochs in batches of {batch}, a learning rate of 0.1 (that of He et al. 2015 for this network and batch), a \
tenth of it from 64 % of the steps on, where the paper's second stage begins, and a hundredth from 82 % on. It was \
fixed before any run; nothing was chosen by a result. `plain` and the variants of the paper begin with one and the \
same model of the first stage.

The images are a JPEG copy (quality about 75) of CIFAR-10, in training and in test: errors are a little above those \
on the lossless files of the publications."""

PROTOCOL = """### By the protocol of the paper, factor 100

250 epochs in batches of 16; the learning rate 0.1 falls to a hundredth at epoch 160, where the second stage begins, \
and to a hundredth of that at epoch 180."""

HUMAN = """## CIFAR-10 with the labels that people gave

All 50,000 training images with the labels `worse` of [CIFAR-10N](https://arxiv.org/abs/2110.12088), of which 40.2 % \
are wrong, less the 100 meta images, whose labels are the true ones. The short schedule with {epochs} epochs."""

POINTS = """## Point clouds

Fashion-MNIST as sets of 128 points, a PointNet, all training rows of an exponential tail of 100 (14,885), all 10,000 \
test rows, ten epochs. ModelNet, the paper's data, cannot be had as a package; `modelnet10/pointnet` is a recipe for \
users who have downloaded it, and its reader is tested on files made for the test."""

TRANSPORT = """## What the transport itself adds

The paper's method has three parts: class weights by effective number, the loss of the whole meta set, and a step on \
the weights by optimal transport. *Paper without transport* has the first two and the same stages. The default of \
this library without its weights is logit adjustment with a small meta term. Differences are of runs with the same \
seed, data and first model."""

ABLATION = """## Costs, meta set, weights

The paper's preset with one thing changed: the cost (features and labels together, in the preset), the columns \
(prototypes in the preset) and the weights (a number an example in the preset; implicit: a network from features)."""

DIFFERENCES = """## What differs from the paper's own runs

* The meta images are drawn first, the tail from the remaining rows, and copies of images are left out: 12,380 \
training images at factor 100 in place of 12,406.
* Second stages begin with the momentum at zero.
* The preset adds 10/16 of the meta set's mean loss to the mean loss, the paper's own balance at batches of 16. That \
is kept at batches of 128 and 25.
* Prototypes are class means of features; the authors' script averages images.
* No baseline trains on the meta rows, save for the recipes (point clouds), where methods without a meta set do.
* SST-2 has up to 5 seeds in place of 15.
* The backbone of SST-2 and the point clouds are others: see above.

## What is done

Times are processor time of training (`points`: time on the clock), on a machine that did other work at the same \
time."""

HOW = """## Run it

```bash
make data                                   # once: what comes in packages
make paper                                  # all that is missing, in order; then this page
make paper ARGS='--only sst2/20-1000'       # a part
python -m benchmarks.paper.run --list       # what is done, begun, failed and missing
make paper-report                           # take the results that there are, and write this page
```

CIFAR-10 and SST-2 are read from the folder that `--data` or `HF_OTW_DATA` names. A run that is broken off goes on \
from its last checkpoint. The runs of all recipes are part of the queue; their results are in \
[recipes/README.md](../recipes/README.md)."""


def page(rows: Sequence[Row]) -> str:
    """The page as some rows of results have it."""
    results = Results(rows)
    short, human = cifar.SETTINGS["short-100"], cifar.SETTINGS["human-worse"]
    parts = (
        INTRODUCTION,
        SST2,
        sst2_table(results),
        LONG_TAIL.format(epochs=short.epochs, batch=short.batch_size),
        long_tail_table(results),
        PROTOCOL,
        one_problem_table(results, "protocol-100", cifar.LONG_TAIL),
        HUMAN.format(epochs=human.epochs),
        one_problem_table(results, "human-worse", cifar.HUMAN),
        POINTS,
        points_table(results),
        TRANSPORT,
        transport_table(results),
        ABLATION,
        ablation_table(results),
        DIFFERENCES,
        progress_table(results),
        HOW,
    )
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(read_rows(RESULTS)), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
