"""`OTWeightedClassifier`: any classifier of scikit-learn that takes `sample_weight`, trained with learned weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, has_fit_parameter, validate_data

from hf_otw.sklearn.weights import sample_weight as learn_sample_weight


def _inner_has(name: str) -> Callable[[Callable[..., Any]], Any]:
    """A method that is there where the inner classifier has it."""

    def check(self: OTWeightedClassifier) -> bool:
        getattr(self.estimator_ if hasattr(self, "estimator_") else self._inner(), name)
        return True

    return cast(Callable[[Callable[..., Any]], Any], available_if(check))


class OTWeightedClassifier(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """Train a classifier with example weights that optimal transport learns from the rows.

    Args:
        estimator: takes `sample_weight` in `fit`; `LogisticRegression(max_iter=1000)` by default.
        trusted: a pair `(X, y)` of examples whose labels are right, of every class; these judge the rows and are not
            trained on. By default some rows are set aside as judges, and trained on.
        target_mass: total weight of the classes: `balanced` (the same), `square_root` or `class_prior`.
        weighting: `clean_posterior` or `agreement`.
        meta_per_class: rows of each class to set aside where nothing is trusted.
        random_state: seed of the draw, a number or None for 0.

    Attributes:
        estimator_: the fitted classifier.
        classes_ (`numpy.ndarray`): `(K,)`.
        sample_weight_ (`numpy.ndarray`): `(N,)`, weights of the rows of `fit`.
        n_features_in_ (`int`): number of columns.
    """

    def __init__(
        self,
        estimator: Any = None,
        *,
        trusted: tuple[Any, Any] | None = None,
        target_mass: str = "balanced",
        weighting: str = "clean_posterior",
        meta_per_class: int = 10,
        random_state: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.trusted = trusted
        self.target_mass = target_mass
        self.weighting = weighting
        self.meta_per_class = meta_per_class
        self.random_state = random_state

    def _inner(self) -> Any:
        return LogisticRegression(max_iter=1000) if self.estimator is None else self.estimator

    def __sklearn_tags__(self) -> Any:
        """Tags of the inner classifier, as far as they are about inputs."""
        tags = super().__sklearn_tags__()
        inner = get_tags(self._inner())
        tags.input_tags.sparse = inner.input_tags.sparse
        tags.classifier_tags.multi_class = inner.classifier_tags.multi_class
        return tags

    def fit(self, X: Any, y: Any) -> OTWeightedClassifier:
        """Learn the weights and fit the classifier.

        Args:
            X: `(N, D)`, dense or sparse.
            y: `(N,)`, classes.

        Raises:
            TypeError: an inner classifier without `sample_weight`.
        """
        inner = self._inner()
        if not has_fit_parameter(inner, "sample_weight"):
            raise TypeError(f"Expected a classifier whose fit takes sample_weight, got {type(inner).__name__}.")
        X, y = validate_data(self, X, y, accept_sparse="csr")
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        trusted = self._trusted()
        found = learn_sample_weight(
            X,
            y,
            trusted=trusted,
            target_mass=self.target_mass,
            weighting=self.weighting,
            meta_per_class=self.meta_per_class,
            seed=self.random_state or 0,
        )
        self.sample_weight_ = found
        self.estimator_ = clone(inner).fit(X, y, sample_weight=found)
        return self

    def _trusted(self) -> tuple[Any, Any] | None:
        """The trusted examples, checked."""
        if self.trusted is None:
            return None
        examples = validate_data(self, self.trusted[0], reset=False, accept_sparse="csr")
        return examples, np.asarray(self.trusted[1])

    def _checked(self, X: Any) -> Any:
        check_is_fitted(self)
        return validate_data(self, X, reset=False, accept_sparse="csr")

    def predict(self, X: Any) -> np.ndarray:
        """Classes, `(N,)`."""
        X = self._checked(X)
        return np.asarray(self.estimator_.predict(X))

    @_inner_has("predict_proba")
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes, `(N, K)`."""
        X = self._checked(X)
        return np.asarray(self.estimator_.predict_proba(X))

    @_inner_has("decision_function")
    def decision_function(self, X: Any) -> np.ndarray:
        """Scores of the classes, `(N, K)`, or `(N,)` of two classes."""
        X = self._checked(X)
        return np.asarray(self.estimator_.decision_function(X))
