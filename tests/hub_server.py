"""A Hub on loopback: enough of its protocol for the real client to upload, commit, branch and download.

What it refuses is what the real one refuses: writing without a token, reading a private repo without one, metadata of
a card that do not parse or break its rules, a revision or a file that is not there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from tests.card_rules import problems

TOKEN, USER = "hf_secretoftest", "ada"
#: A second user, whose recipes are not to be trusted.
OTHER_TOKEN, OTHER_USER = "hf_tokenofmallory", "mallory"
#: A token of the first user's that may not write.
READ_TOKEN = "hf_readsonly"
USERS = {TOKEN: USER, OTHER_TOKEN: OTHER_USER, READ_TOKEN: USER}


@dataclass
class Repo:
    """Branches point to commits, commits hold files."""

    private: bool
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        """Add files on top of a branch."""
        whole = {**self.commits.get(self.branches.get(branch, ""), {}), **files}
        oid = hashlib.sha1(repr((len(self.commits), sorted(whole.items()))).encode()).hexdigest()
        self.commits[oid], self.branches[branch] = whole, oid
        return oid

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """A commit by branch or by its own name."""
        oid = self.branches.get(revision, revision)
        return (oid, self.commits[oid]) if oid in self.commits else None


class Hub:
    """State of the server, and the requests that came in."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.bodies: list[bytes] = []
        self.tokens: set[str] = set()  # that came with any request
        self.broken = False  # cut every connection in the middle of an answer
        self.url = ""


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args: Any) -> None:
        """Stay silent."""

    def handle_request(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.hub.bodies.append(body)
        self.hub.tokens.add(self.token)
        if self.hub.broken:
            self.close_connection = True
            self.connection.close()
            return
        for pattern, method, action in ROUTES:
            found = re.fullmatch(pattern, path)
            if found and self.command in method:
                action(self, body, **found.groupdict())
                return
        self.answer(404, {"error": f"no route {self.command} {path}"})

    do_GET = do_HEAD = do_POST = do_PUT = handle_request  # noqa: N815

    def answer(self, status: int, content: Any = None, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content or {}).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    @property
    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    @property
    def user(self) -> str | None:
        return USERS.get(self.token)

    def may_write(self, repo: str) -> bool:
        """A repo, `datasets/` before its name or not, of the user whose token may write."""
        return self.token != READ_TOKEN and self.user == repo.split("/")[-2]

    def readable(self, name: str) -> Repo | None:
        repo = self.hub.repos.get(name)
        return None if repo is None or (repo.private and self.user != name.split("/")[-2]) else repo

    def whoami(self, body: bytes) -> None:
        if self.user is None:
            return self.refuse(401, "Unauthorized")
        role = "read" if self.token == READ_TOKEN else "write"
        return self.answer(200, {"name": self.user, "orgs": [], "auth": {"accessToken": {"role": role}}})

    def refuse(self, status: int, code: str) -> None:
        self.answer(status, {"error": code}, {"X-Error-Code": code, "X-Error-Message": code})

    def create(self, body: bytes) -> None:
        wanted = json.loads(body)
        name = f"{wanted.get('organization') or self.user}/{wanted['name']}"
        if not self.may_write(name):
            return self.refuse(401, "Unauthorized")
        status = 409 if name in self.hub.repos else 200
        private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
        self.hub.repos.setdefault(name, Repo(private, {}, {}))
        return self.answer(status, {"url": f"{self.hub.url}/{name}", "name": name})

    def branch(self, body: bytes, repo: str, branch: str) -> None:
        found = self.hub.repos[repo]
        if branch in found.branches:
            return self.refuse(409, "Conflict")
        if not found.branches:
            found.commit("main", {})
        found.branches[branch] = found.branches["main"]
        return self.answer(200)

    def validate(self, body: bytes) -> None:
        content = json.loads(body)["content"]
        head = re.match(r"---\n(.*?)\n---\n", content, flags=re.DOTALL)
        try:
            found = yaml.safe_load(head.group(1)) if head else None
        except yaml.YAMLError as error:
            return self.answer(400, {"errors": [{"message": str(error)}]})
        errors = [{"message": problem} for problem in problems(found)]
        return self.answer(400 if errors else 200, {"errors": errors, "warnings": []})

    def preupload(self, body: bytes, repo: str, revision: str) -> None:
        if not self.may_write(repo):
            return self.refuse(403, "Forbidden")
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith((".safetensors", ".parquet")) else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(body)["files"]
        ]
        return self.answer(200, {"files": files})

    def lfs_batch(self, body: bytes, repo: str) -> None:
        objects = [
            {**wanted, "actions": {"upload": {"href": f"{self.hub.url}/lfs/{wanted['oid']}"}}}
            for wanted in json.loads(body)["objects"]
        ]
        self.answer(200, {"transfer": "basic", "objects": objects})

    def lfs_put(self, body: bytes, oid: str) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            return self.answer(400, {"error": "digest"})
        self.hub.objects[oid] = body
        return self.answer(200)

    def commit(self, body: bytes, repo: str, revision: str) -> None:
        files = {}
        for line in body.splitlines():
            item = json.loads(line)
            if item["key"] == "file":
                files[item["value"]["path"]] = base64.b64decode(item["value"]["content"])
            elif item["key"] == "lfsFile":
                files[item["value"]["path"]] = self.hub.objects[item["value"]["oid"]]
        oid = self.hub.repos[repo].commit(revision, files)
        self.answer(200, {"commitUrl": f"{self.hub.url}/{repo}/commit/{oid}", "commitOid": oid, "success": True})

    def resolve(self, body: bytes, repo: str, revision: str, path: str) -> None:
        found = self.readable(repo)
        if found is None:
            return self.refuse(401 if self.user is None else 404, "RepoNotFound")
        at = found.at(revision)
        if at is None:
            return self.refuse(404, "RevisionNotFound")
        oid, files = at
        if path not in files:
            return self.answer(404, {}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": oid})
        digest = hashlib.sha1(files[path]).hexdigest()
        return self.answer(200, files[path], {"X-Repo-Commit": oid, "ETag": f'"{digest}"'})

    def info(self, body: bytes, repo: str, revision: str = "main") -> None:
        """What a repo is; data sets have their kind before their name."""
        name = repo.removeprefix("models/")
        found = self.readable(name)
        at = None if found is None else found.at(revision)
        if found is None or at is None:
            return self.refuse(404, "RepoNotFound" if found is None else "RevisionNotFound")
        files = [{"rfilename": path} for path in at[1]]
        return self.answer(
            200, {"id": name.removeprefix("datasets/"), "sha": at[0], "siblings": files, "private": found.private}
        )

    def entries(self, repo: str, revision: str) -> dict[str, dict[str, Any]] | None:
        """Files and folders of a commit as the real one lists them."""
        found = self.readable(repo.removeprefix("models/"))
        at = None if found is None else found.at(revision)
        if at is None:
            self.refuse(404, "RepoNotFound")
            return None
        listed: dict[str, dict[str, Any]] = {}
        for path, content in at[1].items():
            digest = hashlib.sha1(content).hexdigest()
            listed[path] = {"type": "file", "path": path, "size": len(content), "oid": digest}
            for folder in [str(above) for above in PurePosixPath(path).parents][:-1]:
                listed[folder] = {"type": "directory", "path": folder, "oid": digest, "size": 0}
        return listed

    def tree(self, body: bytes, repo: str, revision: str, below: str = "") -> None:
        listed = self.entries(repo, revision)
        if listed is not None:
            wanted = [entry for path, entry in listed.items() if not below or path.startswith(f"{below}/")]
            self.answer(200, wanted) if wanted else self.refuse(404, "EntryNotFound")

    def paths_info(self, body: bytes, repo: str, revision: str) -> None:
        form = parse_qs(body.decode())
        asked = form.get("paths") or (json.loads(body).get("paths", []) if body.startswith(b"{") else [])
        listed = self.entries(repo, revision)
        if listed is not None:
            self.answer(200, [listed[path] for path in asked if path in listed])


NAME = r"(?P<repo>(?:datasets/)?[^/]+/[^/]+)"
KIND = r"(?P<repo>(?:models|datasets)/[^/]+/[^/]+)"
ROUTES = [
    (r"/api/whoami-v2", ("GET",), Handler.whoami),
    (rf"/api/{KIND}", ("GET", "HEAD"), Handler.info),
    (rf"/api/{KIND}/revision/(?P<revision>[^/]+)", ("GET", "HEAD"), Handler.info),
    (rf"/api/{KIND}/tree/(?P<revision>[^/]+)/?(?P<below>.*)", ("GET",), Handler.tree),
    (rf"/api/{KIND}/paths-info/(?P<revision>[^/]+)", ("POST",), Handler.paths_info),
    (r"/api/repos/create", ("POST",), Handler.create),
    (r"/api/validate-yaml", ("POST",), Handler.validate),
    (rf"/api/models/{NAME}/branch/(?P<branch>.+)", ("POST",), Handler.branch),
    (rf"/api/models/{NAME}/preupload/(?P<revision>.+)", ("POST",), Handler.preupload),
    (rf"/api/models/{NAME}/commit/(?P<revision>.+)", ("POST",), Handler.commit),
    (rf"/{NAME}\.git/info/lfs/objects/batch", ("POST",), Handler.lfs_batch),
    (r"/lfs/(?P<oid>\w+)", ("PUT",), Handler.lfs_put),
    (rf"/{NAME}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", ("GET", "HEAD"), Handler.resolve),
]


@contextmanager
def serving() -> Iterator[Hub]:
    """A Hub of one's own, at a free port of loopback."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OfOneHub", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
