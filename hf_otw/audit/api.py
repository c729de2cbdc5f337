"""`audit`: label errors of rows in memory or in a file, from Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from datasets import ClassLabel, Dataset
from scipy import sparse

from hf_otw.audit.columns import Columns
from hf_otw.audit.decisions import Decision, decided, read_decisions
from hf_otw.audit.findings import findings
from hf_otw.audit.fix import Changes, changes
from hf_otw.audit.judge import judge_rows
from hf_otw.audit.labelled import Labelled, label_frame, load_labelled
from hf_otw.audit.output import weights_table
from hf_otw.audit.page import write_page
from hf_otw.audit.suggest import rows_to_review
from hf_otw.audit.weigh import weigh_rows
from hf_otw.data.files import logger
from hf_otw.data.frame import Frame, frame_of
from hf_otw.data.reading.files import Tell, plain_columns
from hf_otw.data.words import class_words

LABEL, TEXT, FEATURES = "label", "text", "features"
#: Numbers that a sparse matrix is reduced to.
WIDTH = 256


class Audit:
    """What an audit found.

    Attributes:
        issues (`pandas.DataFrame`): a row for each example that was judged, in the order of the data; the index is its
            number there. Columns: `is_label_issue`, `is_far`, `label`, `suggested`, `probability` (of the suggested
            class), `quality` (probability that the label is right) and `distance` (to the nearest rows).
        rate (`float`): share of all labels that is wrong by estimate.
        precision (`float`): share of the label issues that is wrong by estimate.
        set_aside (`dict[str, numpy.ndarray]`): reason -> numbers of the rows that were not judged.
    """

    def __init__(self, data: Any, given: Any, rows: Labelled, decisions: list[Decision], seed: int) -> None:
        self._data, self._given, self._decisions, self._seed = data, given, decisions, seed
        self._rows = decided(rows, decisions) if decisions else rows
        self._verdicts = judge_rows(self._rows, seed=seed)
        self.rate, self.precision = self._verdicts.rate, self._verdicts.precision
        self.set_aside = {part.reason: part.rows for part in rows.set_aside}
        verdicts, names = self._verdicts, np.array(self._rows.class_names)
        self.issues = pd.DataFrame(
            {
                "is_label_issue": verdicts.is_doubted,
                "is_far": verdicts.is_far,
                "label": names[self._rows.labels],
                "suggested": names[verdicts.suggested],
                "probability": verdicts.probability,
                "quality": verdicts.quality,
                "distance": verdicts.distance,
            },
            index=pd.Index(self._rows.index, name="example_index"),
        )

    def __repr__(self) -> str:
        return (
            f"Audit({int(self.issues.is_label_issue.sum()):,} of {len(self.issues):,} labels doubted, "
            f"{100 * self.rate:.1f} % wrong by estimate)"
        )

    @cached_property
    def weights(self) -> np.ndarray:
        """A weight for every row of the data, `(N,)`, for `sample_weight`: equal totals of the classes.

        0 for rows without a label or content, 1 for the only row of a class. With `max_rows`, of the drawn rows.
        """
        return weights_table(self._rows, weigh_rows(self._rows, seed=self._seed)).column("weight").to_numpy()

    def review(self, count: int = 20) -> pd.DataFrame:
        """The rows of `issues` whose review helps most, best first."""
        return self.issues.iloc[rows_to_review(self._rows, self._verdicts, count)]

    def clean(self, how: Literal["decided", "drop", "relabel"] = "drop") -> Any:
        """A cleaned copy of the data, of their own kind: a DataFrame, a data set, or a pair of arrays.

        Args:
            how: what is done about doubted labels nobody decided on: leave, drop, or relabel where the suggestion is
                sure.

        Raises:
            TypeError: data that were read from a file; the command `hf-otw audit --fix` writes a copy of these.
        """
        made = changes(self._rows, self._verdicts, self._decisions, how)
        return cleaned(self._data, self._given, self._rows.label, made)

    def report(self, path: str | Path, *, title: str = "Audit", limit: int = 100) -> Path:
        """Write the worst rows as a page on which a person decides; see `decisions` of `audit`."""
        return write_page(
            path, self._rows, self._verdicts, findings(self._rows, self._verdicts), title=title, limit=limit
        )


def audit(
    data: Any,
    labels: Any = None,
    *,
    label: str = LABEL,
    text: str | Sequence[str] = (),
    image: str | None = None,
    features: str | Sequence[str] = (),
    model: str | None = None,
    trusted: Any = None,
    decisions: str | Path | None = None,
    max_rows: int | None = None,
    seed: int = 0,
    tell: Tell = logger.info,
) -> Audit:
    """Find labels that are probably wrong.

    Args:
        data: a `pandas.DataFrame`, a `datasets.Dataset`, the path of a file or folder, or, with `labels`: features
            `(N, D)`, dense or sparse, or a list of texts.
        labels: `(N,)`, words or whole numbers; None, NaN or blank where a row has none.
        label, text, image, features: columns, where data have them; see `hf_otw.audit.columns.Columns`.
        model: path or name of a pretrained model for texts or pictures; texts are taken by their words by default.
        trusted: examples whose labels are right: of the same kind as `data`, or, with `labels`, a pair like these.
        decisions: file of the page of `report`.
        max_rows: judge no more than so many, drawn at random.
        seed: of all draws.
        tell: is given what was set aside and assumed.

    Raises:
        TypeError: data of another kind.
        ValueError: columns that are not there, labels that are none, or fewer than two classes.

    Example:
        >>> found = audit(frame, label="queue", text="body")
        >>> frame_without_errors = found.clean()
    """
    columns = Columns(label, names(text), image, names(features))
    options: dict[str, Any] = {"model": model, "max_rows": max_rows, "tell": tell}
    if isinstance(data, (str, Path)):
        if labels is not None or not isinstance(trusted, (str, Path, type(None))):
            raise TypeError("Expected no `labels`, and a path for `trusted`, with the path of a file.")
        rows = load_labelled(str(data), columns, meta=None if trusted is None else str(trusted), **options)
    else:
        reduce = reducer(data)
        meta = None
        if trusted is not None:
            pair = trusted if labels is not None else (trusted, None)
            meta = as_frame(pair[0], pair[1], reduce)
        if labels is not None:
            columns = Columns(LABEL)
        rows = label_frame(as_frame(data, labels, reduce), columns, meta=meta, **options)
    return Audit(data, labels, rows, read_decisions(Path(decisions)) if decisions is not None else [], seed)


def names(given: str | Sequence[str]) -> tuple[str, ...]:
    """One name or several."""
    return (given,) if isinstance(given, str) else tuple(given)


def reducer(data: Any) -> Callable[[Any], np.ndarray]:
    """Makes dense features of a matrix: a sparse one is reduced to its main directions."""
    if not sparse.issparse(data):
        return lambda values: np.asarray(values, dtype=np.float64)
    from sklearn.decomposition import TruncatedSVD

    width = min(WIDTH, min(data.shape) - 1)
    if width < 1:
        return lambda values: np.asarray(values.todense(), dtype=np.float64)
    directions = TruncatedSVD(width, random_state=0).fit(data)
    return lambda values: np.asarray(directions.transform(values), dtype=np.float64)


def as_frame(data: Any, labels: Any, reduce: Callable[[Any], np.ndarray]) -> Frame:
    """Rows in memory as columns.

    Raises:
        TypeError: data of another kind, or a DataFrame column of mixed types.
        ValueError: as many labels as there are not rows.
    """
    if labels is None:
        if isinstance(data, Dataset):
            return frame_of(data)
        if isinstance(data, pd.DataFrame):
            try:
                return Frame(plain_columns(pa.Table.from_pandas(data, preserve_index=False)))
            except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                raise TypeError(f"Expected one type a column, got a mixture: {error}. Convert that column.") from error
        raise TypeError(f"Expected a DataFrame, a Dataset, a path, or features and labels, got {type(data).__name__}.")
    words = pa.array([None if pd.isna(value) else value for value in list(labels)], from_pandas=True)
    is_text = not sparse.issparse(data) and len(data) > 0 and all(isinstance(row, str) or row is None for row in data)
    if is_text:
        column: pa.Array = pa.array(list(data), pa.string())
    else:
        matrix = reduce(data)
        if matrix.ndim != 2:
            raise ValueError(f"Expected features of shape (N, D), or texts, got the shape {matrix.shape}.")
        column = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
    if len(words) != len(column):
        raise ValueError(f"Expected {len(column)} labels, one a row, got {len(words)}.")
    return Frame(pa.table({TEXT if is_text else FEATURES: column, LABEL: words}))


def cleaned(data: Any, given: Any, label: str, made: Changes) -> Any:
    """The data with the changes, of their own kind."""
    if isinstance(data, (str, Path)):
        raise TypeError("Expected data in memory for `clean`. Of a file, `hf-otw audit --fix` writes a copy.")
    total = data.shape[0] if hasattr(data, "shape") else len(data)
    keep = np.array([row for row in range(total) if row not in made.dropped], dtype=np.int64)
    if given is not None:
        labels = np.asarray(replaced(list(given), made.labels), dtype=getattr(given, "dtype", None))[keep]
        rows = data[keep] if hasattr(data, "shape") else [data[row] for row in keep]
        return rows, labels
    if isinstance(data, Dataset):
        feature, order = data.features[label], data.column_names
        values = data.with_format(None)[label][:]
        if isinstance(feature, ClassLabel):
            codes = {row: feature.str2int(name) for row, name in made.labels.items()}
            values = [codes.get(row, value) for row, value in enumerate(values)]
        else:
            values = replaced(values, made.labels)
        copy = data.remove_columns(label).add_column(label, values, feature=feature).select_columns(order)
        return copy.select(keep)
    copy = data.copy()
    copy[label] = pd.Series(replaced(data[label].tolist(), made.labels), index=data.index, dtype=data[label].dtype)
    return copy.iloc[keep]


def replaced(values: list[Any], labels: dict[int, str]) -> list[Any]:
    """Labels with some replaced by other classes, each written as the data write that class."""
    words = class_words([None if pd.isna(value) else value for value in values])
    of_class = dict(zip(words, values, strict=True))
    return [of_class[labels[row]] if row in labels else value for row, value in enumerate(values)]
