"""The user's machine, the Hub, and what counts as harm."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.command_line import Done, hf_otw_process
from tests.hostile.cases import BERT_REPO, CANARY, MARKER, Case
from tests.hostile.worker import Worker
from tests.hub_server import OTHER_TOKEN, TOKEN, Hub, Repo, serving

#: What a terminal would obey, in the bytes that reach it.
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
PRIVATE = {
    "private.csv": f"text,label\nsecret,{CANARY}\nsecret,{CANARY}-2\n" * 20,
    "private.json": f'{{"{CANARY}": 1}}',
    "private.yaml": f"shows: {CANARY}\n",
    "private/config.json": f'{{"{CANARY}": 1}}',
    "data/private/train.csv": f"text,label\nsecret,{CANARY}\nsecret,{CANARY}-2\n" * 20,
    "data/private/test.csv": f"text,label\nsecret,{CANARY}\nsecret,{CANARY}-2\n" * 20,
    "models/private/config.json": f'{{"{CANARY}": 1}}',
}
DIARY = {"README.md": "---\n{}\n---\n", "train.csv": PRIVATE["private.csv"]}


class Arena:
    """One Hub and one worker for many cases."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self.hub, self.folder = hub, folder
        home = str(folder / "hf")
        self.env = {"HF_ENDPOINT": hub.url, "HF_HOME": home, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0"}
        self.env |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        self.worker = Worker(self.env)

    def attack(self, case: Case) -> tuple[Done, list[str]]:
        """Run one case: how the command ended, and the harm that was done."""
        here = self.folder / case.name
        for path, content in {**PRIVATE, **case.local}.items():
            (here / path).parent.mkdir(parents=True, exist_ok=True)
            (here / path).write_text(content.replace("{here}", str(here)), encoding="utf-8")
        for path, target in case.links.items():
            (here / path).parent.mkdir(parents=True, exist_ok=True)
            (here / path).symlink_to(here / target)
        self.publish(case, here)
        before = self.folders_outside(here)
        repo = f"mallory/{case.name}"
        argv = [word.replace("{repo}", repo) for word in case.argv or ("train", repo)]
        own = {"HOME": str(here)}
        done = (
            hf_otw_process(*argv, cwd=here, env=self.env | own)
            if case.fresh
            else self.worker(*argv, cwd=here, env=own)
        )
        return done, self.harm(done, here, before)

    def publish(self, case: Case, here: Path) -> None:
        """The Hub as the attacker left it, with the user's own repos."""
        text = case.recipe if isinstance(case.recipe, bytes) else case.recipe.encode()
        self.hub.repos.clear()
        self.hub.requests.clear()
        self.hub.bodies.clear()
        self.hub.tokens.clear()
        repos = {f"mallory/{case.name}": {"recipe.yaml": text.replace(b"{here}", str(here).encode())}}
        for name, files in {
            **BERT_REPO,
            **case.repos,
            "datasets/ada/diary": DIARY,
            "ada/secret": {"config.json": "{}"},
        }.items():
            repos[name] = {path: content.replace("{here}", str(here)).encode() for path, content in files.items()}
        for name, found in repos.items():
            self.hub.repos[name] = Repo("ada/" in name)
            self.hub.repos[name].commit("main", found)
        self.published = {name: dict(repo.branches) for name, repo in self.hub.repos.items()}

    def folders_outside(self, here: Path) -> set[Path]:
        """What lies beside the folder of the case and the cache."""
        return {path for path in self.folder.iterdir() if path not in (here, self.folder / "hf")}

    def harm(self, done: Done, here: Path, before: set[Path]) -> list[str]:
        """What must not have happened."""
        hub, wrote = self.hub, {"POST", "PUT", "DELETE"}
        sent = [f"{method} {path}" for method, path in hub.requests if method in wrote and "/paths-info/" not in path]
        now = {name: dict(repo.branches) for name, repo in hub.repos.items()}
        found = [f"sent to the Hub: {line}" for line in sent]
        found += ["repos of the Hub have changed"] * (now != self.published)
        found += ["private rows were sent"] * any(CANARY.encode() in body for body in hub.bodies)
        found += ["the attacker's token was used"] * (OTHER_TOKEN in hub.tokens)
        found += ["code ran"] * any(here.rglob(MARKER))
        found += [f"{stream} has {RAW.findall(text)[:3]}" for stream, text in done._asdict().items() if raw_in(text)]
        found += ["a traceback"] * ("Traceback" in done.err)
        found += ["it never ended"] * (done.code == -9)
        found += [f"written outside: {path}" for path in self.folders_outside(here) - before]
        runs = [path for path in (here / "runs").rglob("*") if path.is_file()] if (here / "runs").is_dir() else []
        found += [f"private rows in {path.name}" for path in runs if CANARY.encode() in path.read_bytes()]
        return found


def raw_in(text: object) -> bool:
    """Whether a stream of a command holds what a terminal obeys."""
    return isinstance(text, str) and RAW.search(text) is not None


def judge(case: Case, done: Done, harm: list[str]) -> list[str]:
    """What is wrong with how a case ended: harm, or no refusal with its reason."""
    if case.reason is None:
        return harm
    told = " ".join(done.err.split())
    refused = done.code == 1 and re.search(case.reason, told) is not None
    return harm if refused else [*harm, f"not refused with its reason: {done.code} {told[-400:]}"]


@contextmanager
def arena(folder: Path) -> Iterator[Arena]:
    """A Hub and a worker."""
    with serving() as hub:
        found = Arena(hub, folder)
        try:
            yield found
        finally:
            found.worker.close()
