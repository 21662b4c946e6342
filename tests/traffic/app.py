"""A patient app: it sends a request again, a POST under the same key, until it is answered."""

import asyncio
import time
from collections import Counter
from types import TracebackType
from typing import Self

import httpx

PATIENCE_SECONDS = 180.0
REQUEST_SECONDS = 45.0
PAUSE_SECONDS = 0.1

Body = dict[str, str | int]


class PatientApp:
    """Calls the API with a key of a client. Lost connections and 503 are repeated; `troubles` counts them.

    Any other answer that is not a success fails the test: nothing that dies behind the API may show as that.
    """

    def __init__(self, url: str, api_key: str) -> None:
        headers = {"Authorization": f"Bearer {api_key}"}
        self._http = httpx.AsyncClient(base_url=url, headers=headers, timeout=REQUEST_SECONDS, trust_env=False)
        self.troubles: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def post(self, path: str, body: Body, key: str) -> bytes:
        """The answer to a POST, after as many repetitions as it takes. Raises AssertionError."""
        return await self._insist("POST", path, {"Idempotency-Key": key}, body)

    async def get(self, path: str) -> bytes:
        """The answer to a GET, likewise."""
        return await self._insist("GET", path, {}, None)

    async def _insist(self, method: str, path: str, headers: dict[str, str], body: Body | None) -> bytes:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            trouble = ""
            try:
                response = await self._http.request(method, path, headers=headers, json=body)
            except httpx.TransportError as error:
                trouble = type(error).__name__
            else:
                if response.is_success:
                    return response.content
                if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
                    trouble = str(response.json()["code"])
                assert trouble, f"{method} {path} {body}: {response.status_code} {response.text}"
            self.troubles[trouble] += 1
            assert time.monotonic() < deadline, f"{method} {path} {body}: no answer, last {trouble}"
            await asyncio.sleep(PAUSE_SECONDS)
