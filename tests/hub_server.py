"""A hub on this machine: what huggingface_hub asks of huggingface.co to upload and to download."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

SHA = "0123456789abcdef0123456789abcdef01234567"
LFS = (".safetensors",)


class Hub:
    """Repositories in memory, for one user.

    Attributes:
        repositories: name -> path -> content.
        private: name -> whether only its owner sees it.
        objects: large files by their sha256.
        status: answered in place of anything else, where it is set.
    """

    def __init__(self, token: str = "hf_right"):
        self.token, self.status = token, 0
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.objects: dict[str, bytes] = {}
        self.messages: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, value, headers = outer.answer(self, body)
                raw = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(status)
                for name, each in {"Content-Length": str(len(raw)), **headers}.items():
                    self.send_header(name, each)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(raw)

            do_GET = do_POST = do_PUT = do_HEAD = answer

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request, body: bytes) -> tuple[int, Any, dict[str, str]]:
        path = unquote(urlsplit(request.path).path)
        if path.startswith("/objects/"):
            self.objects[path.removeprefix("/objects/")] = body
            return 200, {}, {}
        if self.status or request.headers.get("Authorization") != f"Bearer {self.token}":
            return self.status or 401, {"error": "no"}, {}
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}, {}
        if path.endswith("/info/lfs/objects/batch"):
            return 200, {"objects": [self.batch(each) for each in json.loads(body)["objects"]]}, {}
        words = path.strip("/").split("/")
        if words[:2] == ["api", "models"]:
            return self.of_repository("/".join(words[2:4]), words[4:], body)
        return self.file("/".join(words[:2]), "/".join(words[4:]))

    def create(self, wanted: dict) -> tuple[int, Any, dict[str, str]]:
        name = f"{wanted['organization']}/{wanted['name']}"
        if name in self.repositories:
            return 409, {"error": "there is one", "url": f"{self.url}/{name}"}, {}
        self.repositories[name] = {}
        self.private[name] = wanted.get("visibility") == "private"
        return 200, {"url": f"{self.url}/{name}"}, {}

    def batch(self, wanted: dict) -> dict:
        if wanted["oid"] in self.objects:
            return wanted
        return {**wanted, "actions": {"upload": {"href": f"{self.url}/objects/{wanted['oid']}"}}}

    def of_repository(self, name: str, words: list[str], body: bytes):
        files = self.repositories.get(name)
        if files is None:
            return 404, {"error": "no such repository"}, {"X-Error-Code": "RepoNotFound"}
        if words[:1] == ["preupload"]:
            modes = [
                {"path": each["path"], "uploadMode": "lfs" if each["path"].endswith(LFS) else
                 "regular", "shouldIgnore": False, "oid": None}
                for each in json.loads(body)["files"]
            ]  # fmt: skip
            return 200, {"files": modes}, {}
        if words[:1] == ["commit"]:
            for line in body.splitlines():
                self.commit(files, **json.loads(line))
            url = f"{self.url}/{name}/commit/{SHA}"
            return 200, {"success": True, "commitOid": SHA, "commitUrl": url}, {}
        if words[:1] == ["tree"]:
            rows = [
                {"type": "file", "path": p, "size": len(c), "oid": SHA} for p, c in files.items()
            ]
            return 200, rows, {}
        siblings = [{"rfilename": path} for path in sorted(files)]
        about = {"id": name, "sha": SHA, "private": self.private[name], "siblings": siblings}
        return 200, about, {}

    def commit(self, files: dict[str, bytes], key: str, value: dict) -> None:
        if key == "header":
            self.messages.append(value["summary"])
        elif key == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif key == "lfsFile":
            content = self.objects[value["oid"]]
            assert hashlib.sha256(content).hexdigest() == value["oid"]
            files[value["path"]] = content
        elif key == "deletedFile":
            del files[value["path"]]

    def file(self, name: str, path: str) -> tuple[int, Any, dict[str, str]]:
        content = self.repositories[name][path]
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        return 200, content, {"X-Repo-Commit": SHA, "ETag": tag}
