"""Scripts whose model is what differs: a loss of its own, tuples, required labels, evaluation mode."""

from __future__ import annotations

import warnings
from typing import Any

import datasets
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig, BertForTokenClassification, MixtralConfig, MixtralForCausalLM

from tests.host_programs.script import BERT, Script, bert, cross_entropy, known_weights, mean_of_own_losses, rows


class Around(nn.Module):
    """A module of the user's own around a body, as people write them: no config, no **kwargs."""

    def __init__(self) -> None:
        super().__init__()
        self.body = bert()

    def logits(self, input_ids: Tensor) -> Tensor:
        return self.body(input_ids=input_ids).logits


class WithAuxiliaryTerm(Around):
    def forward(self, input_ids, labels=None):
        logits = self.logits(input_ids)
        if labels is None:
            return {"logits": logits}
        penalty = self.body.bert.embeddings.word_embeddings.weight.square().mean()
        return {"loss": F.cross_entropy(logits, labels) + 3 * penalty, "logits": logits}


def with_auxiliary_value(script: Script, net: Any, items: list[Any], weights: Tensor) -> Tensor:
    penalty = net.body.bert.embeddings.word_embeddings.weight.square().mean()
    return cross_entropy(script, net, items, weights) + 3 * penalty


class Focal(Around):
    def forward(self, input_ids, labels=None):
        logits = self.logits(input_ids)
        if labels is None:
            return {"logits": logits}
        losses = F.cross_entropy(logits, labels, reduction="none")
        return {"loss": ((1 - (-losses).exp()) ** 2 * losses).mean(), "logits": logits}


class ZLoss(Around):
    """The square of the log-partition, as in Switch Transformers: a term per row."""

    def forward(self, input_ids, labels=None):
        logits = self.logits(input_ids)
        loss = None if labels is None else F.cross_entropy(logits, labels) + 0.1 * logits.logsumexp(-1).square().mean()
        return {"loss": loss, "logits": logits} if loss is not None else {"logits": logits}


class NeedsLabels(Around):
    def forward(self, input_ids, labels):
        logits = self.logits(input_ids)
        return F.cross_entropy(logits, labels), logits


class TupleOfLogits(Around):
    def forward(self, input_ids, labels=None):
        logits = self.logits(input_ids)
        return (logits,) if labels is None else (F.cross_entropy(logits, labels), logits)


class NoneBeforeLogits(Around):
    def forward(self, input_ids, labels=None):
        logits = self.logits(input_ids)
        return (None if labels is None else F.cross_entropy(logits, labels)), logits


class StaysInEval(Around):
    """Fine-tuned without dropout or batch statistics: `train()` changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.eval()

    def train(self, mode=True):
        return super().train(False)

    def forward(self, input_ids, labels=None):
        return self.body(input_ids=input_ids, labels=labels)


class ASecondHead(Around):
    """An auxiliary head, with as many outputs as there are classes, registered after the real one; not called."""

    def __init__(self) -> None:
        super().__init__()
        self.pretraining_head = nn.Linear(16, 3)

    def forward(self, input_ids, labels=None):
        return self.body(input_ids=input_ids, labels=labels)


class ASecondHeadThatIsCalled(ASecondHead):
    """Deep supervision: a head on the embeddings, which adds to the loss."""

    def forward(self, input_ids, labels=None):
        logits = self.logits(input_ids)
        early = self.pretraining_head(self.body.bert.embeddings.word_embeddings(input_ids).mean(1))
        if labels is None:
            return {"logits": logits}
        return {"loss": F.cross_entropy(logits, labels) + 0.5 * F.cross_entropy(early, labels), "logits": logits}


def early_exit_value(script: Script, net: Any, items: list[Any], weights: Tensor) -> Tensor:
    batch = script.collate(items)
    labels = batch["labels"]
    early = net.pretraining_head(net.body.bert.embeddings.word_embeddings(batch["input_ids"]).mean(1))
    losses = F.cross_entropy(net.logits(batch["input_ids"]), labels, reduction="none")
    # What does not go through the logits is a term of the model's own, without a weight.
    return (losses * weights).mean() + 0.5 * F.cross_entropy(early, labels)


class Crf(Around):
    """A linear chain over the tokens: the loss is that of the whole sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.body = BertForTokenClassification(BertConfig(**BERT, num_labels=3))
        self.config = self.body.config
        self.transitions = nn.Parameter(torch.eye(3))

    def forward(self, input_ids, labels=None):
        emissions = self.body(input_ids=input_ids).logits  # (B, T, 3)
        if labels is None:
            return {"logits": emissions}
        score = emissions[:, 0].gather(1, labels[:, :1]).squeeze(1)
        alpha = emissions[:, 0]
        for t in range(1, labels.shape[1]):
            score = score + self.transitions[labels[:, t - 1], labels[:, t]]
            score = score + emissions[:, t].gather(1, labels[:, t : t + 1]).squeeze(1)
            alpha = (alpha[:, :, None] + self.transitions).logsumexp(1) + emissions[:, t]
        return {"loss": (alpha.logsumexp(1) - score).mean(), "logits": emissions}


def tokens() -> datasets.Dataset:
    return datasets.Dataset.from_list(
        [{"input_ids": row["input_ids"], "labels": [min(2, t // 15) for t in row["input_ids"]]} for row in rows()]
    )


def crf_value(script: Script, net: Any, items: list[Any], weights: Tensor) -> Tensor:
    """Weights are on the emissions; the transitions are shared by all sequences and have the mean's gradient."""
    batch = script.collate(items)
    emissions = []

    def weigh(module: Any, args: Any, outputs: Any) -> None:
        outputs.logits.register_hook(lambda g: g * weights[:, None, None])
        emissions.append(outputs.logits)

    handle = net.body.register_forward_hook(weigh)
    loss = net(**batch)["loss"]
    handle.remove()
    return loss


def mixtral() -> nn.Module:
    config = MixtralConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=32,
        num_local_experts=2,
        num_experts_per_tok=1,
        output_router_logits=True,
        router_aux_loss_coef=0.5,
        initializer_range=0.3,
    )
    return MixtralForCausalLM(config)


def texts() -> datasets.Dataset:
    return datasets.Dataset.from_list(
        [{"input_ids": r["input_ids"], "labels": r["input_ids"], "group": "abc"[r["labels"]]} for r in rows()]
    )


def router_value(script: Script, net: Any, items: list[Any], weights: Tensor) -> Tensor:
    """The cross-entropy of each row weighted, the router's loss of the batch as it is."""
    batch = script.collate([{k: v for k, v in item.items() if k != "group"} for item in items])
    outputs = net(**batch)
    logits, labels = outputs.logits[:, :-1], batch["labels"][:, 1:]
    losses = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none").mean(1)
    return (losses * weights).mean() + 0.5 * outputs.aux_loss


def frozen_body() -> nn.Module:
    net = bert()
    for p in net.bert.parameters():
        p.requires_grad_(False)
    return net


def lora() -> nn.Module:
    from peft import LoraConfig, TaskType, get_peft_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_peft_model(bert(), LoraConfig(task_type=TaskType.SEQ_CLS, r=3, lora_alpha=4, lora_dropout=0.0))


def tuples_by_config() -> nn.Module:
    return bert(return_dict=False)


SCRIPTS = {
    "model adds an auxiliary term": Script(loss=None, model=WithAuxiliaryTerm, value=with_auxiliary_value),
    "focal loss in forward": Script(loss=None, model=Focal),
    "z-loss in forward": Script(loss=None, model=ZLoss),
    "CRF in forward": Script(
        loss=None, model=Crf, data=tokens, value=crf_value, options={"task": "token_classification"}
    ),
    "router loss (Mixtral)": Script(
        loss=None, model=mixtral, data=texts, value=router_value, options={"group_column": "group"}
    ),
    "labels are a required argument": Script(model=NeedsLabels),
    "outputs (logits,)": Script(model=TupleOfLogits),
    "outputs (None, logits)": Script(model=NoneBeforeLogits),
    "return_dict=False": Script(model=tuples_by_config),
    "model in eval mode while it trains": Script(model=StaysInEval),
    "model in eval mode, accumulated": Script(
        model=StaysInEval,
        args={"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
        value=mean_of_own_losses,
    ),
    "a second head that is not called": Script(model=ASecondHead),
    "a second head that is called": Script(loss=None, model=ASecondHeadThatIsCalled, value=early_exit_value),
    "frozen body": Script(model=frozen_body),
    "LoRA": Script(model=lora),
}
assert len(known_weights(3)) == 3
