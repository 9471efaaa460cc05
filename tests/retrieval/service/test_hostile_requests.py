"""Requests that are broken or made to break something: refused as the caller's fault, never a 500."""

import httpx
import pytest

DEEP = b"[" * 200_000
LONG = "x" * 5000


@pytest.mark.parametrize("body", [DEEP, b'{"a":' * 100_000, b"9" * 100_000, b"\xff", b"null", b'"text"', b""])
@pytest.mark.parametrize(
    "path", ["/api/images", "/api/journeys/confirm", "/gradio_api/queue/join", "/gradio_api/run/search"]
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_json_of_any_kind(service: httpx.Client, method: str, path: str, body: bytes) -> None:
    answer = service.request(method, path, content=body, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500, answer.text[:300]


@pytest.mark.parametrize(
    "event",
    [
        {"data": [], "fn_index": 9999, "session_hash": "abc"},
        {"data": [], "fn_index": -1, "session_hash": "abc"},
        {"data": [], "fn_index": "first", "session_hash": "abc"},
        {"data": [], "session_hash": "abc"},
        {"data": []},
    ],
)
def test_an_unknown_function_of_the_page(service: httpx.Client, event: dict) -> None:
    for path in ("/gradio_api/queue/join", "/gradio_api/run/predict"):
        assert 400 <= service.post(path, json=event).status_code < 500
    assert service.post(f"/gradio_api/run/none-{LONG[:50]}", json=event).status_code in (404, 422)


@pytest.mark.parametrize(
    "key", [LONG, "%00", "%ff%fe", "..%2f..%2fetc%2fpasswd", "%F0%9F%9A%97" * 80, "a%0ab"]
)
def test_names_of_any_kind(service: httpx.Client, key: str) -> None:
    for path in (f"/api/images/{key}.jpg", f"/api/images/{key}", f"/api/similar/{key}"):
        assert 400 <= service.get(path).status_code < 500


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_sites_requests_without_an_origin(service: httpx.Client, site: str) -> None:
    for path in ("/api/images", "/health", "/config", "/gradio_api/info"):
        assert service.get(path, headers={"Sec-Fetch-Site": site}).status_code == 403
