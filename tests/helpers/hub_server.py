"""A Hugging Face Hub of one machine: the part of its API that huggingface_hub uses for models, over real sockets.

Repositories are folders with one folder per commit. Files whose name ends in ``.safetensors`` go the way of large
files (Git LFS), all others inside the commit, as on the Hub.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors",)


class HubServer:
    """Serves until :meth:`close`.

    Args:
        folder: Where repositories are kept.
        gated: Names of repositories that nobody may read.
    """

    def __init__(self, folder: Path, gated: frozenset[str] = frozenset()) -> None:
        self.folder, self.gated = folder, gated
        self.requests: list[str] = []
        self.private: dict[str, bool] = {}
        (folder / "large").mkdir(parents=True, exist_ok=True)
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def refs(self, repo: str) -> dict[str, str]:
        """Branch to commit; empty where there is no such repository."""
        file = self.folder / repo / "refs.json"
        return dict(json.loads(file.read_text())) if file.is_file() else {}

    def point(self, repo: str, branch: str, commit: str) -> None:
        (self.folder / repo / "refs.json").write_text(json.dumps({**self.refs(repo), branch: commit}))

    def commit_of(self, repo: str, revision: str) -> str | None:
        known = (self.folder / repo / revision).is_dir() and re.fullmatch("[0-9a-f]{40}", revision)
        return revision if known else self.refs(repo).get(revision)

    def files(self, repo: str, commit: str) -> dict[str, Path]:
        root = self.folder / repo / commit
        return {p.relative_to(root).as_posix(): p for p in sorted(root.rglob("*")) if p.is_file()}

    def add_commit(self, repo: str, branch: str, files: dict[str, bytes], gone: tuple[str, ...] = ()) -> str:
        """Put files on top of a branch, without any of ``gone``."""
        parent = self.refs(repo).get(branch) or self.refs(repo).get("main")
        kept = {name: p.read_bytes() for name, p in self.files(repo, parent).items()} if parent else {}
        whole = {name: content for name, content in {**kept, **files}.items() if name not in gone}
        digest = hashlib.sha1(f"{parent}{branch}".encode())
        for name, content in sorted(whole.items()):
            digest.update(name.encode() + hashlib.sha1(content).digest())
        commit = digest.hexdigest()
        for name, content in whole.items():
            file = self.folder / repo / commit / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        (self.folder / repo / commit).mkdir(parents=True, exist_ok=True)
        self.point(repo, branch, commit)
        return commit

    def remove(self, repo: str) -> None:
        shutil.rmtree(self.folder / repo)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_hub: HubServer

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._route("HEAD")

    def do_GET(self) -> None:
        self._route("GET")

    def do_POST(self) -> None:
        self._route("POST")

    def do_PUT(self) -> None:
        self._route("PUT")

    def _route(self, method: str) -> None:
        self.url = urlsplit(self.path)
        path = unquote(self.url.path).strip("/")
        self.server_hub.requests.append(f"{method} {path}")
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        for verb, pattern, action in (
            ("POST", r"api/repos/create", self._create),
            ("POST", r"api/models/(?P<repo>[^/]+/[^/]+)/branch/(?P<revision>.+)", self._branch),
            ("POST", r"api/models/(?P<repo>[^/]+/[^/]+)/preupload/(?P<revision>.+)", self._preupload),
            ("POST", r"api/models/(?P<repo>[^/]+/[^/]+)/commit/(?P<revision>.+)", self._commit),
            ("GET", r"api/models/(?P<repo>[^/]+/[^/]+)/tree/(?P<revision>.+)", self._tree),
            ("GET", r"api/models/(?P<repo>[^/]+/[^/]+)/revision/(?P<revision>.+)", self._info),
            ("GET", r"api/models/(?P<repo>[^/]+/[^/]+)", self._info),
            ("POST", r"api/validate-yaml", lambda: self._json({"errors": [], "warnings": []})),
            ("POST", r"(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch", self._batch),
            ("PUT", r"large/(?P<oid>[0-9a-f]{64})", self._store),
            ("HEAD|GET", r"(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)", self._resolve),
        ):
            found = re.fullmatch(pattern, path) if re.fullmatch(verb, method) else None
            if found:
                action(**found.groupdict())
                return
        self._error(404, "EntryNotFound")

    def _create(self) -> None:
        asked = json.loads(self.body)
        repo = f"{asked.get('organization') or 'me'}/{asked['name']}"
        if self.server_hub.refs(repo):
            self._json({"error": "You already created this model repo", "url": f"{self._base}/{repo}"}, 409)
            return
        self.server_hub.private[repo] = bool(asked.get("private") or asked.get("visibility") == "private")
        self.server_hub.add_commit(repo, "main", {".gitattributes": b"*.safetensors filter=lfs\n"})
        self._json({"url": f"{self._base}/{repo}", "id": repo})

    def _branch(self, repo: str, revision: str) -> None:
        if revision in self.server_hub.refs(repo):
            self._json({"error": "Reference already exists"}, 409)
            return
        self.server_hub.point(repo, revision, self.server_hub.refs(repo)["main"])
        self._json({})

    def _preupload(self, repo: str, revision: str) -> None:
        if self._commit_or_error(repo, revision) is None:
            return
        modes = [
            {"path": f["path"], "uploadMode": "lfs" if f["path"].endswith(LARGE) else "regular", "shouldIgnore": False}
            for f in json.loads(self.body)["files"]
        ]
        self._json({"files": modes})

    def _batch(self, repo: str) -> None:
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            upload = {"upload": {"href": f"{self._base}/large/{wanted['oid']}"}}
            there = (self.server_hub.folder / "large" / wanted["oid"]).is_file()
            objects.append({**wanted, **({} if there else {"actions": upload})})
        self._json({"transfer": "basic", "objects": objects})

    def _store(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            self._error(400, "BadRequest")
            return
        (self.server_hub.folder / "large" / oid).write_bytes(self.body)
        self._json({})

    def _commit(self, repo: str, revision: str) -> None:
        lines = [json.loads(line) for line in self.body.splitlines() if line]
        files = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines if line["key"] == "file"
        }
        for line in (line["value"] for line in lines if line["key"] == "lfsFile"):
            files[line["path"]] = (self.server_hub.folder / "large" / line["oid"]).read_bytes()
        gone = tuple(line["value"]["path"] for line in lines if line["key"] == "deletedFile")
        commit = self.server_hub.add_commit(repo, revision, files, gone)
        self._json({"commitUrl": f"{self._base}/{repo}/commit/{commit}", "commitOid": commit, "hookOutput": ""})

    def _info(self, repo: str, revision: str = "main") -> None:
        commit = self._commit_or_error(repo, revision)
        if commit is not None:
            names = [{"rfilename": name} for name in self.server_hub.files(repo, commit)]
            private = self.server_hub.private.get(repo, False)
            self._json(
                {"_id": "0" * 24, "id": repo, "modelId": repo, "sha": commit, "private": private, "siblings": names}
            )

    def _tree(self, repo: str, revision: str) -> None:
        commit = self._commit_or_error(repo, revision)
        if commit is None:
            return
        entries = []
        for name, file in self.server_hub.files(repo, commit).items():
            content = file.read_bytes()
            entry: dict[str, Any] = {"type": "file", "path": name, "size": len(content), "oid": _blob_id(content)}
            if name.endswith(LARGE):
                entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
            entries.append(entry)
        self._json(entries)

    def _resolve(self, repo: str, revision: str, name: str) -> None:
        commit = self._commit_or_error(repo, revision)
        if commit is None:
            return
        file = self.server_hub.files(repo, commit).get(name)
        if file is None:
            self._error(404, "EntryNotFound", {"X-Repo-Commit": commit})
            return
        content = file.read_bytes()
        etag = hashlib.sha256(content).hexdigest() if name.endswith(LARGE) else _blob_id(content)
        self._send(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"})

    def _commit_or_error(self, repo: str, revision: str) -> str | None:
        if repo in self.server_hub.gated:
            self._error(403, "GatedRepo")
        elif not self.server_hub.refs(repo):
            self._error(401, "RepoNotFound")
        elif (commit := self.server_hub.commit_of(repo, revision)) is None:
            self._error(404, "RevisionNotFound")
        else:
            return commit
        return None

    @property
    def _base(self) -> str:
        return self.server_hub.url

    def _error(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": code, **(headers or {})})

    def _json(self, content: Any, status: int = 200) -> None:
        self._send(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def serve(folder: Path, **options: Any) -> Iterator[HubServer]:
    """For a fixture: a server that ends with the test."""
    server = HubServer(folder, **options)
    try:
        yield server
    finally:
        server.close()
