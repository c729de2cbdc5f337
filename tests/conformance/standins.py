"""Tiny models and texts under the names that the tests ask the Hub for: made here, so that the tests run offline.

The tests look at what a Trainer does with a model, not at what the model knows; random weights of the same
architecture serve. A folder of the asked name in the working directory comes before the Hub.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Wav2Vec2FeatureExtractor,
)
from transformers.utils.logging import disable_progress_bar

SPECIAL = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
WORDPIECE = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
TINY = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
DECODER = TINY | {"num_key_value_heads": 2}
WIKITEXT_ROWS = 240


def write_standins(folder: Path, text_file: Path) -> None:
    """Write all of them into `folder`, with the words of `text_file`."""
    text = text_file.read_text(encoding="utf-8")
    disable_progress_bar()
    torch.manual_seed(0)
    bpe = _byte_pairs(text)
    for name, model in (
        (
            "hf-internal-testing/tiny-random-LlamaForCausalLM",
            LlamaForCausalLM(LlamaConfig(vocab_size=len(bpe), **DECODER)),
        ),
        (
            "trl-internal-testing/tiny-Qwen2ForCausalLM-2.5",
            Qwen2ForCausalLM(Qwen2Config(vocab_size=len(bpe), **DECODER)),
        ),
    ):
        model.save_pretrained(folder / name)
        bpe.save_pretrained(folder / name)
    for name in ("bert-base-cased", "bert-base-uncased", "google-bert/bert-base-uncased"):
        _write_bert(folder / name, text)
    Wav2Vec2FeatureExtractor().save_pretrained(folder / "facebook" / "wav2vec2-base-960h")
    _write_wikitext(folder / "Salesforce" / "wikitext", text)


def _byte_pairs(text: str) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=list(SPECIAL.values()), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(text.splitlines(), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL)


def _write_bert(folder: Path, text: str) -> None:
    folder.mkdir(parents=True)
    words = sorted(
        {character for word in text.lower().split() for character in (word[0], *(f"##{c}" for c in word[1:]))}
    )
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join((*WORDPIECE, *words)), encoding="utf-8")
    tokenizer = BertTokenizer(vocab=str(vocabulary), model_max_length=64)
    tokenizer.save_pretrained(folder)
    BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), **TINY)).save_pretrained(folder)


def _write_wikitext(folder: Path, text: str) -> None:
    """Rows of 1 to 24 words: some shorter and some longer than what the tests cut them to."""
    words, rows = text.split(), []
    for row in range(WIKITEXT_ROWS):
        first = row * 3 % (len(words) - 24)
        rows.append(" ".join(words[first : first + 1 + row % 24]))
    folder.mkdir(parents=True)
    (folder / "train.txt").write_text("\n".join(rows), encoding="utf-8")
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: wikitext-2-raw-v1\n  data_files: train.txt\n---\n", encoding="utf-8"
    )
