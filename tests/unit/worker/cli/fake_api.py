"""The HTTP API as the import sees it, in memory."""

import hashlib
import json
from dataclasses import dataclass, field
from email import message_from_bytes
from uuid import UUID, uuid4

import httpx

from common.api_client import ApiClient, Patience


@dataclass
class FakeApi:
    """Takes `image…` as images and nothing else; `answers` come before its own, each once."""

    max_files: int = 100
    answers: list[httpx.Response | Exception] = field(default_factory=list)
    images: dict[str, UUID] = field(default_factory=dict)
    states: dict[UUID, str] = field(default_factory=dict)
    uploads: list[list[str]] = field(default_factory=list)
    fields: list[dict[str, list[str]]] = field(default_factory=list)

    def client(self) -> ApiClient:
        return ApiClient("http://likeness", Patience(0), httpx.MockTransport(self.handle))

    def handle(self, request: httpx.Request) -> httpx.Response:
        content = request.read()
        if request.url.path == "/images/status":
            return self._status(json.loads(content)["ids"])
        assert request.url.path == "/images/upload"
        files, fields = parse_multipart(request.headers["Content-Type"], content)
        self.uploads.append([name for name, _ in files])
        self.fields.append(fields)
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        if len(files) > self.max_files:
            return problem(413, "too_many_files")
        return self._upload(files)

    def _upload(self, files: list[tuple[str, bytes]]) -> httpx.Response:
        images, rejected = [], []
        for name, data in files:
            sha256 = hashlib.sha256(data).hexdigest()
            if not data.startswith(b"image"):
                rejected.append({"filename": name, "code": "unsupported_media", "detail": f"{name} is no image"})
                continue
            duplicate = sha256 in self.images
            image_id = self.images.setdefault(sha256, uuid4())
            self.states.setdefault(image_id, "pending")
            images.append(
                {
                    "id": str(image_id),
                    "status": "pending",
                    "filename": name,
                    "sha256": sha256,
                    "duplicate": duplicate,
                }
            )
        lists = {"images": images, "rejected": rejected}
        return httpx.Response(202, json=lists) if images else problem(415, "unsupported_media", **lists)

    def _status(self, ids: list[str]) -> httpx.Response:
        error = {"code": "image_corrupt", "detail": "it is broken"}
        images = [
            {"id": id_, "status": status, "error": error if status == "error" else None}
            for id_ in ids
            if (status := self.states.get(UUID(id_)))
        ]
        return httpx.Response(200, json={"images": images})


def problem(status: int, code: str, **more: object) -> httpx.Response:
    return httpx.Response(status, json={"status": status, "code": code, "detail": f"because of {code}", **more})


def parse_multipart(content_type: str, body: bytes) -> tuple[list[tuple[str, bytes]], dict[str, list[str]]]:
    message = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    files, fields = [], dict[str, list[str]]()
    for part in message.get_payload():
        assert not isinstance(part, str)
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        name = part.get_param("name", header="content-disposition")
        filename = part.get_filename()
        if filename is None:
            fields.setdefault(str(name), []).append(content.decode())
        else:
            files.append((filename, content))
    return files, fields
