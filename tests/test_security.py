"""What SECURITY.md promises, line by line."""

from __future__ import annotations

import ast
import json
import logging
import pickle
import re
import subprocess
import sys
import warnings
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from transformers import TrainingArguments

from hf_otw import OTWeightedTrainingArguments
from hf_otw.audit.findings import safe
from hf_otw.cli import terminal
from hf_otw.recipe.hub import files_of
from hf_otw.recipe.limits import MAX_BYTES, check_yaml, read_text
from hf_otw.recipe.pretrained import is_here, settings
from hf_otw.recipe.printable import printable
from hf_otw.recipe.reading import Loader, load_recipe
from hf_otw.recipe.schema import without_secrets
from hf_otw.recipe.source import is_of
from hf_otw.recipe.stranger import LEARNING, allowed_arguments
from tests.command_line import ROOT, hf_otw, hf_otw_process
from tests.hostile.arena import RAW
from tests.hostile.cases import ESCAPES, recipe
from tests.hub_server import TOKEN, Repo, serving

LINES = re.findall(r"^- (.*?)(?=^- |^#|\Z)", (ROOT / "SECURITY.md").read_text(encoding="utf-8"), re.M | re.S)
#: Arguments that would do harm in a stranger's recipe; those that come new are not on the allowlist by themselves.
HARMFUL = {
    *(
        "push_to_hub",
        "hub_token",
        "hub_model_id",
        "hub_strategy",
        "hub_private_repo",
        "hub_always_push",
        "hub_revision",
    ),
    *("push_example_weights", "report_to", "run_name", "project", "trackio_space_id", "output_dir", "deepspeed"),
    *("fsdp", "fsdp_config", "accelerator_config", "parallelism_config", "resume_from_checkpoint", "debug"),
    *("torch_compile", "torch_compile_backend", "dataloader_num_workers", "dataloader_multiprocessing_context"),
    *("ddp_backend", "use_liger_kernel", "liger_kernel_config", "local_rank", "log_level"),
}


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[:40])
def test_each_line_names_tests_that_are_there(line: str) -> None:
    """Kills: a promise without a test, and a test that was renamed."""
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", line)
    assert named
    for path, name in named:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert f"def {name}(" in text if name else text


def test_the_allowlist_holds_learning_alone() -> None:
    """Kills: a harmful argument on the list, and names that are none and hide a typing error."""
    known = {field.name for field in fields(TrainingArguments)}
    assert known >= LEARNING
    assert not allowed_arguments() & HARMFUL
    assert allowed_arguments() <= {field.name for field in fields(OTWeightedTrainingArguments) if field.init}
    assert {"max_steps", "weighting", "learning_rate"} <= allowed_arguments()


@pytest.mark.parametrize("name", sorted(name for name in HARMFUL if name.startswith(("hub_", "push_"))))
def test_no_argument_publishes(name: str, tmp_path: Path) -> None:
    """Kills: a way to publish beside --push, in a file of the user's or on the command line; a token that is shown."""
    path = tmp_path / "mine.yaml"
    path.write_text(recipe(arguments={name: TOKEN}), encoding="utf-8")
    with pytest.raises(ValueError, match="`--push USER/NAME` alone|Expected .*bool") as told:
        load_recipe(path)
    assert TOKEN not in str(told.value)


def test_no_call_lets_a_checkpoint_bring_code() -> None:
    """Kills: a call of `from_pretrained` that would ask, or be told to trust."""
    for path in [*(ROOT / "hf_otw").rglob("*.py"), *(ROOT / "recipes" / "models").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called.endswith(".from_pretrained") and called != "WordFeatures.from_pretrained":  # reads numbers
                assert isinstance(node, ast.Call)
                given = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
                assert given.get("trust_remote_code") is False, f"{path}:{node.lineno}"


def test_settings_that_name_a_file_here_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: a file by its name alone, in a list or deep inside, or by a folder; plain words taken for one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.txt").write_text("x", encoding="utf-8")
    (tmp_path / "bert").mkdir()
    (tmp_path / "models" / "own").mkdir(parents=True)
    found = {"a": [{"vocab": "secret.txt"}], "b": str(tmp_path / "secret.txt"), "c": "models/own", "d": "/dev/null"}
    assert [key for key, value in settings(found) if is_here(value)] == ["vocab", "b", "c", "d"]
    harmless = {
        "model_type": "bert",
        "x": "/",
        "y": "..",
        "z": "gone/away",
        "_name_or_path": "models/own",
        "n": "a\0b",
    }
    assert [key for key, value in settings({**harmless, "long": "x" * 5000}) if is_here(value)] == []


@pytest.mark.parametrize(
    ("file", "is_own"),
    [
        ("hf://datasets/a/b@0123/train.csv", True),
        ("zip://train.csv::hf://datasets/a/b@0123/rows.zip", True),
        ("hf://datasets/a/bc@0123/train.csv", False),
        ("hf://datasets/ada/diary@0123/train.csv", False),
        ("/home/ada/private.csv", False),
        ("http://127.0.0.1/private.csv", False),
        ("file:///home/ada/private.csv::hf://datasets/a/b@0123/rows.zip", False),
        ("hf://datasets/a/b@0123/../../../ada/diary@1/train.csv", False),
    ],
)
def test_files_of_a_data_set_lie_in_its_repo(file: str, is_own: bool) -> None:
    assert is_of(file, "a/b") == is_own


@pytest.mark.slow
def test_a_dry_run_connects_to_nothing(tmp_path: Path) -> None:
    """Kills: a request of any kind, a tracker that looks for its server, a repo or a folder that is made."""
    with serving() as hub:
        env = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0"}
        env |= {"HF_HUB_DISABLE_TELEMETRY": "1"}
        hub.repos["ada/toy"] = Repo(False)
        hub.repos["ada/toy"].commit("main", {"recipe.yaml": recipe().encode()})
        unknown = hf_otw_process("train", "ada/toy", "--dry-run", cwd=tmp_path, env=env)
        assert (unknown.code, hub.requests) == (1, [])
        assert "`hf-otw recipes show ada/toy` fetches it" in unknown.err
        assert hf_otw_process("recipes", "show", "ada/toy", cwd=tmp_path, env=env).code == 0
        hub.requests.clear()
        own = ("--report_to", "all", "--push", "ada/new")
        done = hf_otw_process("train", "ada/toy", "--dry-run", *own, cwd=tmp_path, env=env)
        assert (done.code, hub.requests) == (0, []), done.err
        assert "training rows" in done.out
        assert [path.name for path in tmp_path.iterdir()] == ["hf"]


def test_no_connection_is_let_through_in_a_dry_run() -> None:
    """Kills: a library that does not listen to HF_HUB_OFFLINE, and a network that stays closed afterwards."""
    program = """
import socket, threading
from hf_otw.cli.offline import without_network
server = socket.create_server(("127.0.0.1", 0))
connect = lambda: socket.create_connection(server.getsockname()).close()
send = lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9))
connect()
for call in (connect, lambda: socket.getaddrinfo("localhost", 1), send):
    try:
        with without_network():
            call()
    except ConnectionRefusedError:
        continue
    raise SystemExit("connected")
connect()
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def run_of(folder: Path, *extra: str) -> Path:
    """The folder of a run, with more files in its model."""
    for name in ("model/recipe.yaml", "model/model.safetensors", "metrics.json", "weights.parquet", *extra):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "name",
    [
        *("checkpoint-3/model.safetensors", "training_args.bin", "deep/training_args.bin", "scheduler.pt"),
        *("_private.json", ".env", ".cache/x", "weights.parquet"),
    ],
)
def test_private_files_are_not_published(name: str, tmp_path: Path) -> None:
    """Kills: each of the patterns, one at a time; and one that keeps everything back."""
    found = files_of(run_of(tmp_path, f"model/{name}", "model/sub/tokenizer.json"), weights=False)
    assert sorted(found) == ["metrics.json", "model.safetensors", "recipe.yaml", "sub/tokenizer.json"]


def test_symbolic_links_are_not_published(tmp_path: Path) -> None:
    """Kills: a link to a file, to a folder, in place of metrics, weights, recipe or model."""
    run, private = run_of(tmp_path / "run"), run_of(tmp_path / "private")
    (run / "model" / "vocab.txt").symlink_to(private / "metrics.json")
    (run / "model" / "sub").symlink_to(private)
    assert sorted(files_of(run, weights=True)) == [
        "metrics.json",
        "model.safetensors",
        "recipe.yaml",
        "weights.parquet",
    ]
    for name in ("metrics.json", "weights.parquet"):
        (run / name).unlink()
        (run / name).symlink_to(private / name)
    assert sorted(files_of(run, weights=False)) == ["model.safetensors", "recipe.yaml"]
    with pytest.raises(ValueError, match=r"Expected weights\.parquet"):
        files_of(run, weights=True)
    (run / "model" / "recipe.yaml").unlink()
    (run / "model" / "recipe.yaml").symlink_to(private / "model" / "recipe.yaml")
    with pytest.raises(ValueError, match="Expected the folder of a run"):
        files_of(run, weights=False)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model").symlink_to(private / "model")
    with pytest.raises(ValueError, match="Expected the folder of a run"):
        files_of(tmp_path / "other", weights=False)


@pytest.mark.parametrize(
    "name",
    [
        *("token", "hub_token", "Password", "db_passwd", "secret", "client_secret", "api_key", "apikey"),
        *("credentials", "credential", "my_CREDENTIAL"),
    ],
)
def test_keys_that_name_a_secret_are_left_out(name: str) -> None:
    """Kills: each of the words, in any case; and words that only contain one."""
    kept = {"max_tokens": 1, "tokenizer": 2, "secretary": 3, "keypoints": 4}
    assert without_secrets({"a": [{name: "x", **kept}], name: "y"}) == {"a": [kept]}


def test_no_pickle_holds_the_token(tmp_path: Path) -> None:
    """Kills: a token in training_args.bin, and copies in the process that lose it."""
    args = OTWeightedTrainingArguments(str(tmp_path), hub_token=TOKEN, use_cpu=True)
    assert TOKEN.encode() not in pickle.dumps(args)
    assert pickle.loads(pickle.dumps(args)).hub_token is None
    import copy

    assert (copy.copy(args).hub_token, copy.deepcopy(args).hub_token, args.hub_token) == (TOKEN, TOKEN, TOKEN)
    assert copy.deepcopy(args) == args


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: " + "[" * 21 + "]" * 21, "at most 20 levels"),
        ("a: " + "[" * 100_000, "at most 20 levels"),
        ("[" + "x, " * 10_001 + "]", "10,000 keys and values"),
        (f"a: &a [{'x, ' * 200}]\nb: [{'*a, ' * 60}]", "10,000 keys and values"),
        (f"a: &a {'x' * 30_000}\nb: [{'*a, ' * 10}]", "10,000 keys and values"),
        ("a: &a {b: *a}", "no alias inside"),
    ],
)
def test_yaml_is_measured_before_it_is_built(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_yaml(text, "here", Loader)


def test_yaml_of_an_ordinary_size_is_read(tmp_path: Path) -> None:
    """Kills: bounds that refuse an alias, or a file of just the largest size."""
    check_yaml("a: &a [1, 2]\nb: [*a, *a]\nc: " + "[" * 19 + "]" * 19, "here", Loader)
    (tmp_path / "x").write_text("x" * MAX_BYTES, encoding="utf-8")
    assert len(read_text(tmp_path / "x")) == MAX_BYTES
    (tmp_path / "x").write_text("x" * (MAX_BYTES + 1), encoding="utf-8")
    with pytest.raises(ValueError, match="at most 100,000 bytes"):
        read_text(tmp_path / "x")
    assert yaml.load("1.5e-3", Loader) == 0.0015
    assert [yaml.load(text, Loader) for text in ("1e3", "-.5E2", "2.e1", "1e", "e1")] == [
        1000.0,
        -50.0,
        20.0,
        "1e",
        "e1",
    ]


def test_what_a_terminal_obeys_is_written_out() -> None:
    """Kills: each range of characters, and text that is changed although it is harmless."""
    assert printable(f"a{ESCAPES}b") == r"a\x1b[2J\x1b]0;owned\x07\x9b31m\u202eb"
    obeyed = (
        "\x00\x08\x0b\r\x1f\x7f\x80\x9f\u061c\u200e\u200f\u2028\u2029\u202a\u2066\u2069\ud800\udfff\ufff9\U000e0041"
    )
    assert printable(obeyed).isascii()
    assert len(re.findall(r"\\[xuU]|\\r", printable(obeyed))) == len(obeyed)
    harmless = "tab\tline\n é ß 日本 \u200b👩\u200d🔬 \\x1b [b]"
    assert printable(harmless) == harmless
    assert printable("a\tb\nc", one_line=True) == r"a\tb\nc"


def test_no_stream_gets_raw_escapes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Kills: a label, text or path that is printed as it is; a label that makes rows of its own."""
    rows = [{"text": f"w{k % 5} {ESCAPES}", "label": f"{'ab'[k % 2]}{ESCAPES}\nforged"} for k in range(40)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for argv in (("audit", path, "--text", "text"), ("weights", path, "--output", tmp_path / "w.parquet")):
        done = hf_otw(capsys, *argv)
        assert done.code == 0, done.err
        assert RAW.search(done.out + done.err) is None
        assert r"\x1b[2J" in done.out
        assert "\nforged" not in done.out
    missing = hf_otw(capsys, "audit", tmp_path / f"x{ESCAPES}.csv")
    assert (missing.code, RAW.search(missing.err)) == (1, None)


def test_warnings_logs_and_tracebacks_are_written_out_too(capsys: pytest.CaptureFixture) -> None:
    """Kills: a way to the terminal that nobody thought of, and a change that outlives the command."""
    handler = logging.StreamHandler(sys.stderr)
    logger = logging.getLogger("tests.security")
    logger.addHandler(handler)
    before = (logging.getLogRecordFactory(), warnings.formatwarning)
    with terminal.guarded():
        logger.error("see %s", ESCAPES)
        logger.error(f"%d {ESCAPES}", "no number")
        sys.stderr.write(warnings.formatwarning(ESCAPES, UserWarning, "x.py", 1))
    assert (logging.getLogRecordFactory(), warnings.formatwarning) == before
    logger.removeHandler(handler)
    try:
        raise RuntimeError(ESCAPES)
    except RuntimeError as error:
        terminal.tell_uncaught(type(error), error, error.__traceback__)
    told = capsys.readouterr().err
    assert RAW.search(told) is None
    assert told.count(r"\x1b[2J") == 4


def test_commands_print_through_one_helper() -> None:
    """Kills: a command or recipe that writes to a stream by itself."""
    allowed = {"hf_otw/cli/terminal.py": {"echo"}, "hf_otw/cli/main.py": {"write"}, "hf_otw/cli/tables.py": {"print"}}
    for path in [*(ROOT / "hf_otw" / "cli").glob("*.py"), *(ROOT / "hf_otw" / "recipe").glob("*.py")]:
        name = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                writes = called in ("print", "typer.echo", "click.echo", "console.print", "typer.secho")
                writes |= re.fullmatch(r"sys\.(stdout|stderr)\.\w+", called) is not None
                assert not writes or called.split(".")[-1] in allowed.get(name, set()), f"{name}:{node.lineno}"


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "＝", "＋", "－", "＠", "−", "﹢", "﹣", "﹦", "﹫"])
def test_formulas_are_guarded(sign: str) -> None:
    """Kills: each sign, and white space or what is not seen before it."""
    for before in ("", " ", "\n", "\t", "\r", "\u00a0", "\u3000", "\ufeff", "\u200b", " \t "):
        assert safe(f"{before}{sign}cmd()") == f"'{before}{sign}cmd()"
    assert safe(f"a{sign}b") == f"a{sign}b"


@pytest.mark.parametrize("text", ["\tx", "\rx", "\nx"])
def test_a_cell_that_moves_to_the_next_is_guarded(text: str) -> None:
    assert safe(text) == f"'{text}"
    assert [safe(harmless) for harmless in ("", " ", "a", " a", "1")] == ["", " ", "a", " a", "1"]
