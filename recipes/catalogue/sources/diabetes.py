"""Diabetes progression: the regression data that scikit-learn ships (Efron et al. 2004, BSD-3 package)."""

import numpy as np
from datasets import Dataset, DatasetDict, Features, List, Value

from recipes.catalogue.sources.files import PackagedFile, locate
from recipes.catalogue.sources.rows import stratified_split

REMEDY = "Please install scikit-learn with `pip install -c constraints.txt scikit-learn`."
FILES = [
    PackagedFile("scikit-learn", "1.9.1", f"sklearn/datasets/data/diabetes_{part}.csv.gz", digest, REMEDY)
    for part, digest in (
        ("data_raw", "7fc0ded571454b1982210d3bb43f0aca44eae01a0b8654a3b24022bdb6b38009"),
        ("target", "8e53f65eb811df43c206f3534bb3af0e5fed213bc37ed6ba36310157d6023803"),
    )
]


def diabetes() -> DatasetDict:
    """442 patients, ten measurements each, and how far their diabetes went within a year: regression, skewed.

    | | rows | smallest | median | mean | largest | above 250 | skewness |
    |---|---|---|---|---|---|---|---|
    | train | 309 | 25 | 141 | 152.1 | 346 | 46 | 0.46 |
    | test | 133 | 39 | 140 | 152.1 | 341 | 19 | 0.39 |

    Large values are rare: what rare classes are to classification. No row is there twice.

    Returns:
        `DatasetDict`: splits `train` and `test` with the columns `features` (`list` of 10 floats: age, sex, body mass
        index, blood pressure, six blood values, each centred and scaled over all patients to a sum of squares of 1)
        and `labels` (`float`). The split is drawn with a fixed seed, 30 per cent of each quarter of the target.
    """
    from sklearn.datasets import load_diabetes

    for file in FILES:
        locate(file)
    measurements, target = load_diabetes(return_X_y=True)  # (442, 10), (442,)
    quarters = np.searchsorted(np.quantile(target, [0.25, 0.5, 0.75]), target)  # (442,)
    train, test = stratified_split(quarters.tolist())
    features = Features({"features": List(Value("float32"), length=10), "labels": Value("float32")})
    return DatasetDict(
        {
            split: Dataset.from_dict({"features": measurements[part].tolist(), "labels": target[part]}, features)
            for split, part in (("train", train), ("test", test))
        }
    )
