"""Decoders: SmolLM2 with LoRA (https://huggingface.co/papers/2106.09685), and a small Llama from scratch."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
)

from hf_otw.recipe.base import Facts
from hf_otw.recipe.pretrained import load_pretrained
from hf_otw.recipe.text import class_config, with_lora

LORA_LAYERS = ("q_proj", "v_proj")  # of the attention


def checkpoint_or_smollm2(checkpoint: str | None) -> str:
    """Path of the packaged SmolLM2 where no checkpoint is given."""
    from recipes.catalogue.sources import smollm2_path  # here, as tests pass a checkpoint and need no package

    return checkpoint or str(smollm2_path())


def tokenizer(*, checkpoint: str | None = None, max_tokens: int = 48) -> PreTrainedTokenizerBase:
    """The tokenizer of the checkpoint, with a padding token; texts are cut after `max_tokens`."""
    made = load_pretrained(AutoTokenizer, checkpoint_or_smollm2(checkpoint))
    made.model_max_length = max_tokens
    made.padding_side = "right"
    if made.pad_token is None:
        made.pad_token = made.eos_token
    return made


def lora_classifier(facts: Facts, processor: Any, *, checkpoint: str | None = None, rank: int = 8) -> nn.Module:
    """One class a text, from its last token; the head is trained in full."""
    model = load_pretrained(
        AutoModelForSequenceClassification,
        checkpoint_or_smollm2(checkpoint),
        pad_token_id=processor.pad_token_id,
        dtype="float32",
        **class_config(facts),
    )
    return with_lora(model, "SEQ_CLS", rank, LORA_LAYERS)


def lora_language_model(facts: Facts, processor: Any, *, checkpoint: str | None = None, rank: int = 8) -> nn.Module:
    """Predicts the next token."""
    model = load_pretrained(
        AutoModelForCausalLM, checkpoint_or_smollm2(checkpoint), pad_token_id=processor.pad_token_id, dtype="float32"
    )
    return with_lora(model, "CAUSAL_LM", rank, LORA_LAYERS)


def tiny_llama(
    facts: Facts, processor: Any, *, hidden_size: int = 128, layers: int = 2, heads: int = 4, max_tokens: int = 32
) -> nn.Module:
    """A Llama from scratch over the words of the tokenizer, input and output embeddings shared."""
    config = LlamaConfig(
        vocab_size=len(processor),
        hidden_size=hidden_size,
        intermediate_size=3 * hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=max_tokens,
        pad_token_id=processor.pad_token_id,
        bos_token_id=processor.cls_token_id,
        eos_token_id=processor.sep_token_id,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config)
