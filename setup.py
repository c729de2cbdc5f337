"""Packaging of hf_otw. Metadata lives here and nowhere else; `pyproject.toml` only configures tools."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent


def read_version() -> str:
    """Read `__version__` from the package without importing it: an import would need torch at build time."""
    init = ROOT / "hf_otw" / "_version.py"
    match = re.search(r'^__version__ = "([^"]+)"$', init.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if match is None:
        raise RuntimeError(f'Expected a line like `__version__ = "0.1.0"` in {init}, found none. Please restore it.')
    return match.group(1)


INSTALL_REQUIRES = [
    # transformers from 5.20 on ignores a torch older than 2.6 and then has no Trainer.
    "torch>=2.6",
    # The seams of the Trainer that hf_otw overrides are tested from 5.19 on; a new major may move them.
    "transformers>=5.19,<6",
    # From 1.3 to 1.6 a resumed run is not equal to one that was not interrupted.
    "accelerate>=1.7.0",
    # Older versions do not accept the huggingface_hub that transformers 5.19 requires.
    "datasets>=4.4.0",
    # The minimum of `datasets` 4.4.
    "pyarrow>=21.0.0",
    "evaluate>=0.4.6",
    # 0.3 rewrote the solvers; 0.3.1 is the first version that `hf_otw.transport` was checked against.
    "geomloss>=0.3.1",
    "scikit-learn>=1.5",
    # scikit-learn asks for it too; `hf-otw compare` takes a quantile from it.
    "scipy>=1.10",
    "numpy>=1.26",
    # datasets asks for it too; the audit returns its tables.
    "pandas>=2.2",
    # requests, which datasets asks for, wants it too; it detects the encoding of files that are not UTF-8.
    "charset-normalizer>=3.2",
    "safetensors>=0.8.0",
    "jinja2>=3.1",
    "markupsafe>=2.1",
    "huggingface_hub>=1.31.0",
    # transformers and accelerate ask for it too; `hf-otw doctor` compares versions.
    "packaging>=23.0",
    # transformers and accelerate ask for it too; recipes are YAML.
    "pyyaml>=6.0",
]

EXTRAS_REQUIRE = {
    "report": ["matplotlib>=3.8"],
    "cli": ["typer>=0.12", "rich>=13.0"],
    # For the recipes of the checkout. peft: the minimum of transformers. gguf: turns packaged weights into floats.
    "recipes": ["peft>=0.20.0", "gguf>=0.10", "pillow>=10.0"],
    # For the comparisons of learning quality, whose pictures need the extra `report` too.
    "benchmarks": ["cleanlab>=2.7"],
    # setuptools: the packaging test builds the wheel without network, hence without build isolation.
    "test": [
        "pytest>=8.0",
        "pytest-xdist>=3.6",
        "hypothesis>=6.100",
        "optuna>=4.0",
        "tensorboard>=2.16",
        "setuptools>=77.0.3",
    ],
    "docs": ["mkdocs-material>=9.5,<10", "mkdocstrings[python]>=0.26"],
    # types-PyYAML: PyYAML has no types of its own, and mypy would take everything from it for Any.
    "dev": ["ruff>=0.15", "mypy>=2.0", "types-PyYAML>=6.0", "build>=1.2"],
}

setup(
    name="hf_otw",
    version=read_version(),
    description="Hugging Face Trainer that weights training examples by optimal transport",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The hf_otw authors",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    keywords=[
        "class imbalance",
        "fine-tuning",
        "example reweighting",
        "long-tailed recognition",
        "optimal transport",
        "transformers",
    ],
    packages=find_packages(include=["hf_otw", "hf_otw.*"]),
    # The directories hf_otw/metrics/<name>/ are no packages: they hold scripts that `evaluate.load` copies elsewhere.
    package_data={
        "hf_otw": [
            "py.typed",
            "report/templates/*",
            "audit/templates/*",
            "metrics/**/*.py",
            "accelerate_configs/*.yaml",
            "recipe/library/*.yaml",
        ]
    },
    entry_points={"console_scripts": ["hf-otw = hf_otw.cli.main:main"]},
    zip_safe=False,
    python_requires=">=3.10",
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS_REQUIRE,
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
