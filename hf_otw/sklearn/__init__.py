"""The weights for scikit-learn: a classifier around another, and a function for `sample_weight`."""

from hf_otw.sklearn.classifier import OTWeightedClassifier
from hf_otw.sklearn.weights import sample_weight

__all__ = ["OTWeightedClassifier", "sample_weight"]
