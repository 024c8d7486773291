"""An api that has been told to stop says so, and still serves."""

import httpx

from api.main import create_app
from api.settings import ApiSettings
from common.draining import Drain
from common.serving import serving
from common.tls import verify
from common.vectors.base import VectorIndex


async def test_it_is_not_ready_and_serves(api_settings: ApiSettings, vectors: VectorIndex) -> None:
    drain, http = Drain(), api_settings.http
    url = f"http://{http.host}:{http.port}"
    async with (
        serving(create_app(api_settings, vectors=vectors, drain=drain), http.host, http.port),
        httpx.AsyncClient(base_url=url, timeout=60, trust_env=False, verify=verify(url)) as client,
    ):
        before = await client.get("/ready")
        drain.began = True
        after = await client.get("/ready")
        served = await client.get("/images")

    assert before.status_code == 200, before.text
    assert after.status_code == 503
    assert [each["name"] for each in after.json()["dependencies"] if not each["ok"]] == ["api"]
    assert (served.status_code, served.headers["Connection"]) == (200, "close")
