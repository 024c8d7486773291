"""A small MinIO: a bucket, users, and the part of its administrators' interface by which users are made.

It knows who asks by the key id of the request's signature, which it does not verify; who is not known is refused as
MinIO refuses. What comes encrypted is decrypted with the administrator's secret, as the real one does.
"""

import io
import json
import re
from typing import Any

from minio.crypto import decrypt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from urllib3 import HTTPResponse

_ERROR = "<Error><Code>{}</Code><Message/><Resource/><RequestId/><HostId/></Error>"
_LISTING = "<ListBucketResult><Name/><IsTruncated>false</IsTruncated></ListBucketResult>"


class MinioServer:
    """Buckets and users in memory."""

    def __init__(self, admin: str, secret: str) -> None:
        self.buckets: dict[str, dict[str, bytes]] = {}
        self.policies: dict[str, Any] = {}
        self.secrets: dict[str, str] = {}
        self.granted: dict[str, str] = {}
        """Which policy a user has."""
        self._admin = admin
        self._secret = secret

    def app(self) -> Starlette:
        """Return the HTTP app."""
        methods = ["GET", "HEAD", "PUT", "DELETE"]
        return Starlette(
            routes=[
                Route("/minio/admin/v3/{command}", self._administer, methods=methods),
                Route("/{bucket}", self._bucket, methods=methods),
                Route("/{bucket}/{key:path}", self._object, methods=methods),
            ]
        )

    async def _administer(self, request: Request) -> Response:
        if _asking(request) != self._admin:
            return JSONResponse({"Code": "AccessDenied"}, 403)
        asked, body = request.query_params, await request.body()
        match request.path_params["command"]:
            case "info":
                return JSONResponse({"mode": "online"})
            case "add-canned-policy":
                self.policies[asked["name"]] = json.loads(body)
            case "add-user":
                wanted = decrypt(HTTPResponse(io.BytesIO(body), preload_content=False), self._secret)
                self.secrets[asked["accessKey"]] = json.loads(wanted)["secretKey"]
            case "set-user-or-group-policy":
                self.granted[asked["userOrGroup"]] = asked["policyName"]
        return JSONResponse({})

    async def _bucket(self, request: Request) -> Response:
        name = request.path_params["bucket"]
        if not self._may(request):
            return _refused("AccessDenied", 403)
        if request.method == "PUT":
            self.buckets[name] = {}
        elif name not in self.buckets:
            return _refused("NoSuchBucket", 404)
        return Response(_LISTING, media_type="application/xml")

    async def _object(self, request: Request) -> Response:
        if not self._may(request):
            return _refused("AccessDenied", 403)
        objects, key = self.buckets[request.path_params["bucket"]], request.path_params["key"]
        if request.method == "PUT":
            objects[key] = await request.body()
        elif request.method == "DELETE":
            del objects[key]
            return Response(status_code=204)
        return Response(objects[key], headers={"ETag": '"1"', "Last-Modified": "Sat, 01 Nov 2025 00:00:00 GMT"})

    def _may(self, request: Request) -> bool:
        who = _asking(request)
        return who == self._admin or self.granted.get(who, "none") in self.policies


def _asking(request: Request) -> str:
    found = re.search(r"Credential=([^/]+)/", request.headers.get("Authorization", ""))
    return found[1] if found else ""


def _refused(code: str, status: int) -> Response:
    return Response(_ERROR.format(code), status, media_type="application/xml")
