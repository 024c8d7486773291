"""`/docs`: the description of the API in a viewer, which comes from a public network; the only page that needs one."""

import base64
import hashlib
import re

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

_VIEWER = "https://cdn.jsdelivr.net/npm/swagger-ui-dist@5"
_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def add_documentation(app: FastAPI) -> None:
    """Serve the page; its policy allows the viewer's files, the one script within the page, and calls of this API."""
    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title=app.title,
        swagger_js_url=f"{_VIEWER}/swagger-ui-bundle.js",
        swagger_css_url=f"{_VIEWER}/swagger-ui.css",
        swagger_favicon_url="/web/icon.svg",
    )
    scripts = " ".join(_hash(script) for script in _INLINE_SCRIPT.findall(bytes(page.body).decode()))
    policy = (
        f"default-src 'none'; script-src {_VIEWER}/ {scripts}; style-src {_VIEWER}/ 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    page.headers["Content-Security-Policy"] = policy

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return page


def _hash(script: str) -> str:
    """Name a script by its content, as policies do."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
