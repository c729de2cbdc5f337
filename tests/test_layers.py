"""Who may import whom, and how long a file may be. A failure names the offender: file, line, name."""

import ast
import re
import subprocess
import sys
from fnmatch import fnmatch
from importlib.util import resolve_name
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAX_FILE_LINES, MAX_FUNCTION_LINES = 400, 60
MAX_ROOT_MODULES = 10

HOSTS = {"transformers", "datasets", "accelerate", "evaluate"}
# Tensors in, tensors out. `hf_otw` itself is here because it re-exports some of them.
MATHEMATICS = [
    "hf_otw",
    "hf_otw._utils",
    "hf_otw.types",
    "hf_otw.learn",
    *(f"hf_otw.features.{name}" for name in ("head", "memory", "pooling", "shards", "stored")),
    "hf_otw.losses",
    "hf_otw.transport*",
    "hf_otw.weighting*",
]

# What a command imports before it knows what to do.
LIGHT = [
    "hf_otw.cli*",
    "hf_otw.config.options",
    *(f"hf_otw.recipe.{name}" for name in ("schema", "reading", "catalogue", "find")),
]
#: A callback of the Trainer's: imported when training starts.
NOT_LIGHT = {"hf_otw.cli.progress"}
HEAVY = HOSTS | {
    "torch",
    "numpy",
    "sklearn",
    "huggingface_hub",
    "hf_otw.config.args",
    "hf_otw.trainer",
    "hf_otw.learn",
}
BELOW = ["hf_otw.trainer", "hf_otw.config*", "hf_otw.data*", "hf_otw.features*", "hf_otw.tasks*", "hf_otw.report*"]
ABOVE = {"hf_otw.recipe", "hf_otw.cli", "hf_otw.audit"}

# Modules (a pattern), what they must not import at module level, and why.
RULES = [
    *((pattern, HOSTS, "mathematics needs torch and nothing of the hosts") for pattern in MATHEMATICS),
    ("hf_otw.types", {"hf_otw"}, "the shared nouns stand below everything else"),
    (
        "hf_otw.transport.costs",
        {"hf_otw.transport.sinkhorn", "hf_otw.transport.objectives", "hf_otw.weighting"},
        "a cost knows nothing of solvers",
    ),
    ("hf_otw.transport*", {"hf_otw.weighting"}, "a solver knows nothing of weights"),
    (
        "hf_otw.weighting.models*",
        {"hf_otw.weighting.reweighter", "hf_otw.learn"},
        "a weight model knows nothing of its callers",
    ),
    ("hf_otw.features*", {"hf_otw.weighting", "hf_otw.config"}, "features know nothing of weights and options"),
    ("hf_otw.tasks*", {"hf_otw.config"}, "a task takes what it needs, not the options"),
    ("hf_otw.data*", {"hf_otw.config"}, "data take what they need, not the options"),
    ("hf_otw*", {"recipes", "benchmarks", "tests", "tools"}, "the library knows nothing of its users"),
    *((pattern, HEAVY, "`hf-otw --help` and reading a recipe take no time") for pattern in LIGHT),
    *((pattern, ABOVE, "the trainer knows nothing of recipes and commands") for pattern in BELOW),
    ("hf_otw.recipe*", {"hf_otw.cli", "typer", "rich"}, "recipes run without a terminal"),
]

Function = (ast.FunctionDef, ast.AsyncFunctionDef)


def module_name(path):
    """`hf_otw.learn` for hf_otw/learn.py, `hf_otw.transport` for hf_otw/transport/__init__.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted((ROOT / "hf_otw").rglob("*.py"))}


def where(module, line):
    return f"{MODULES[module].relative_to(ROOT)}:{line}"


def tree_of(module):
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imports(tree, package="", *, lazy):
    """Pairs (line, dotted name) of what is imported: at module level, and with `lazy` in functions too."""
    if isinstance(tree, ast.Import):
        yield from ((tree.lineno, alias.name) for alias in tree.names)
    elif isinstance(tree, ast.ImportFrom):
        base = resolve_name("." * tree.level + (tree.module or ""), package or None)
        yield from ((tree.lineno, f"{base}.{alias.name}") for alias in tree.names)
    elif lazy or not isinstance(tree, Function):
        only_for_type_checkers = isinstance(tree, ast.If) and ast.unparse(tree.test) == "TYPE_CHECKING"
        for node in tree.orelse if only_for_type_checkers else ast.iter_child_nodes(tree):
            yield from imports(node, package, lazy=lazy)


def imports_of(module, *, lazy=False):
    is_package = MODULES[module].name == "__init__.py"
    return imports(tree_of(module), module if is_package else module.rpartition(".")[0], lazy=lazy)


def lies_in(name, parents):
    """Whether a dotted name is one of `parents` or lies below one."""
    return any(f"{name}.".startswith(f"{parent}.") for parent in parents)


def long_functions(tree, limit=MAX_FUNCTION_LINES):
    """Pairs (line, name and length) of the functions of more than `limit` lines, without their docstring."""
    for node in ast.walk(tree):
        if isinstance(node, Function):
            doc = node.body[0] if ast.get_docstring(node, clean=False) is not None else None
            length = node.end_lineno - node.lineno + 1 - (0 if doc is None else doc.end_lineno - doc.lineno + 1)
            if length > limit:
                yield node.lineno, f"{node.name}, {length} lines"


@pytest.mark.parametrize(("pattern", "forbidden", "reason"), RULES)
def test_module_level_imports(pattern, forbidden, reason):
    modules = [module for module in MODULES if fnmatch(module, pattern) and module not in NOT_LIGHT]
    assert modules, f"No module matches {pattern!r}: the rule checks nothing. Please update it."
    found = [(where(module, line), name) for module in modules for line, name in imports_of(module)]
    assert [(place, name) for place, name in found if lies_in(name, forbidden)] == [], reason


def test_nobody_imports_the_trainer():
    # hf_otw/__init__.py names it in a string, for the first use. The runner of recipes and the doctor stand above.
    trainer = {"hf_otw.trainer", "hf_otw.OTWeightedTrainer"}
    others = [module for module in MODULES if module not in ("hf_otw.recipe.run", "hf_otw.cli.checkup")]
    found = [(where(module, line), name) for module in others for line, name in imports_of(module, lazy=True)]
    assert [(place, name) for place, name in found if lies_in(name, trainer)] == [], "it is the composition root"
    assert "hf_otw.trainer" in MODULES


def circles(edges):
    """Modules that import each other in a circle: what is left when those without a way on or back are removed."""
    left = {module: set(others) for module, others in edges.items()}
    while True:
        targets = set().union(*left.values()) if left else set()
        ends = {module for module, others in left.items() if not others & set(left) or module not in targets}
        if not ends:
            return sorted(left)
        left = {module: others - ends for module, others in left.items() if module not in ends}


def edges_between(modules):
    """Module -> modules of ours that it imports anywhere: at the top, in functions, for type checkers."""
    for module in modules:
        is_package = MODULES[module].name == "__init__.py"
        package = module if is_package else module.rpartition(".")[0]
        found = set()
        for node in ast.walk(tree_of(module)):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                for _, name in imports(node, package, lazy=True):
                    known = name if name in MODULES else name.rpartition(".")[0]
                    found |= {known} & set(MODULES)
        yield module, found - {module}


def test_no_module_imports_itself_by_way_of_others():
    """Kills: a lazy import, or one under TYPE_CHECKING, that hides a circle."""
    assert circles(dict(edges_between(MODULES))) == []


def test_the_search_for_circles_finds_one():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == ["b", "c"]
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []


def test_contributing_names_every_room():
    """Kills: a package or a module at the root that the table of CONTRIBUTING does not explain."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| (`[^|]*`) \|", text, flags=re.MULTILINE)
    named = set(re.findall(r"`(?:hf_otw/)?([\w/]+?)(?:\.py|/)`", " ".join(cells)))
    modules = {path.stem for path in (ROOT / "hf_otw").glob("*.py")}
    packages = {path.name for path in (ROOT / "hf_otw").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert modules | packages <= named, sorted((modules | packages) - named)
    assert {name for name in named if "/" not in name} <= modules | packages | {"recipes", "tools", "benchmarks"}


def test_few_modules_stand_at_the_root():
    found = sorted(path.name for path in (ROOT / "hf_otw").glob("*.py"))
    assert len(found) <= MAX_ROOT_MODULES, found


def test_importing_the_mathematics_loads_no_host():
    # In one process, as torch takes seconds: the first module that loads a host is the one that is printed.
    modules = [module for module in MODULES if any(fnmatch(module, pattern) for pattern in MATHEMATICS)]
    code = f"""
import importlib, sys
for module in {modules}:
    importlib.import_module(module)
    loaded = {HOSTS} & set(sys.modules)
    if loaded:
        sys.exit(f"import {{module}} loads {{sorted(loaded)}}")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_imported_package_is_declared():
    assignments = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body
    tables = {ast.unparse(node.targets[0]): node.value for node in assignments if isinstance(node, ast.Assign)}
    extras = ast.literal_eval(tables["EXTRAS_REQUIRE"])
    declared = ast.literal_eval(tables["INSTALL_REQUIRES"]) + extras["report"] + extras["cli"] + extras["recipes"]
    names = {re.match(r"[\w-]+", requirement).group().replace("-", "_") for requirement in declared}
    known = names | {"sklearn", "yaml", "PIL", "hf_otw"} | sys.stdlib_module_names
    found = [(where(module, line), name) for module in MODULES for line, name in imports_of(module, lazy=True)]
    assert [(place, name) for place, name in found if name.split(".")[0] not in known] == [], "not in setup.py"


@pytest.mark.parametrize("module", MODULES)
def test_files_and_functions_are_short(module):
    num_lines = len(MODULES[module].read_text(encoding="utf-8").splitlines())
    assert num_lines <= MAX_FILE_LINES, f"{where(module, num_lines)} is the last line, {MAX_FILE_LINES} are allowed"
    assert [(where(module, line), text) for line, text in long_functions(tree_of(module))] == []


SAMPLE = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import accelerate
else:
    import evaluate
try:
    from . import costs
except ImportError:
    pass
class A:
    import datasets.features
    async def f():
        from transformers import Trainer
"""


@pytest.mark.parametrize(("lazy", "more"), [(False, []), (True, [(14, "transformers.Trainer")])])
def test_walk_finds_every_import_that_runs(lazy, more):
    found = list(imports(ast.parse(SAMPLE), "hf_otw", lazy=lazy))
    expected = [(2, "typing.TYPE_CHECKING"), (6, "evaluate"), (8, "hf_otw.costs"), (12, "datasets.features")]
    assert found == expected + more


def test_names_are_compared_by_their_parts():
    assert lies_in("datasets.features", HOSTS)
    assert lies_in("datasets", HOSTS)
    assert not lies_in("datasets_of_ours", HOSTS)


def test_walk_finds_long_functions():
    source = "class A:\n    def f():\n        pass\n    def g():\n        pass\n        pass\n"
    assert list(long_functions(ast.parse(source), limit=2)) == [(4, "g, 3 lines")]
