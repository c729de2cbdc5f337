"""Tasks: what carries a weight, its class, its loss. One strategy a file; `find_task` chooses by model and labels."""

from hf_otw.tasks.base import LabelReader, Labels, LabelSource, Task
from hf_otw.tasks.choose import TASKS, find_task
from hf_otw.tasks.classification import SingleLabel
from hf_otw.tasks.language import CausalLM, MaskedLM, Seq2SeqLM
from hf_otw.tasks.multi_label import MultiLabel
from hf_otw.tasks.regression import Regression
from hf_otw.tasks.tokens import Tokens, TokenSequences

__all__ = [
    "TASKS",
    "CausalLM",
    "LabelReader",
    "LabelSource",
    "Labels",
    "MaskedLM",
    "MultiLabel",
    "Regression",
    "Seq2SeqLM",
    "SingleLabel",
    "Task",
    "TokenSequences",
    "Tokens",
    "find_task",
]
