"""The digits of scikit-learn: real data that comes with a package everybody has, for a first run without network."""

from __future__ import annotations

from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from hf_otw.recipe.splits import hold_out


def digits() -> DatasetDict:
    """1,797 handwritten digits of 8 by 8 pixels, ten classes (Alpaydin and Kaynak 1998, UCI).

    Returns:
        `DatasetDict`: splits `train` and `test`, a fifth of each class, with the columns `features` (64 numbers in
        0..16) and `label`.
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    features = Features({"features": List(Value("float32")), "label": ClassLabel(names=[str(k) for k in range(10)])})
    rows = Dataset.from_dict({"features": found.data.tolist(), "label": found.target.tolist()}, features)
    train, test = hold_out(rows)
    return DatasetDict(train=train, test=test)
