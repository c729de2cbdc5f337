"""The configurations in hf_otw/accelerate_configs, read as `accelerate launch` reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command_parser
from accelerate.utils import DistributedType

FOLDER = Path(__file__).resolve().parents[1] / "hf_otw" / "accelerate_configs"
KINDS = {
    "cpu_ddp": DistributedType.MULTI_GPU,  # MULTI_CPU starts one process unless there is MPI
    "ddp": DistributedType.MULTI_GPU,
    "fsdp2": DistributedType.FSDP,
    "zero2": DistributedType.DEEPSPEED,
    "zero3": DistributedType.DEEPSPEED,
}
OPTIONS = {option.lstrip("-").replace("-", "_") for option in launch_command_parser()._option_string_actions}


def test_every_configuration_is_tested():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_accelerate_reads_it(name):
    """Kills: a key that accelerate does not know, at the top (it refuses) or below (it would say nothing)."""
    path = FOLDER / f"{name}.yaml"
    config = load_config_from_file(str(path))
    assert DistributedType(config.distributed_type) == KINDS[name]
    assert config.num_processes > 1
    given = yaml.safe_load(path.read_text(encoding="utf-8"))
    below = [*given.get("fsdp_config", {}), *given.get("deepspeed_config", {})]
    assert bool(below) == (KINDS[name] != DistributedType.MULTI_GPU)
    assert not set(below) - OPTIONS


def test_an_unknown_key_is_refused(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text((FOLDER / "ddp.yaml").read_text(encoding="utf-8") + "num_procesess: 2\n", encoding="utf-8")
    with pytest.raises(ValueError, match="num_procesess"):
        load_config_from_file(str(path))
