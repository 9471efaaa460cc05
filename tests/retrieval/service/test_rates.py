"""Rate limits: what a key may ask at once, and after a while."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from retrieval.app import main
from retrieval.keys import KeyRing, add_key
from retrieval.service.access import Access
from retrieval.service.rates import RateLimit, Rates, is_limited


def test_a_bucket_fills_at_its_rate_up_to_the_burst() -> None:
    now = 100.0
    rates = Rates(4, lambda: now)
    assert [rates.wait("a") for _ in range(9)] == [0.0] * 8 + [0.25]
    assert rates.wait("b") == 0
    now += 0.25
    assert [rates.wait("a"), rates.wait("a")] == [0.0, 0.25]
    now += 1000
    assert [rates.wait("a") for _ in range(9)].count(0.0) == 8


def test_a_slow_rate_lets_one_through() -> None:
    now = 0.0
    rates = Rates(0.1, lambda: now)
    assert [rates.wait("a"), rates.wait("a")] == [0.0, pytest.approx(10)]
    now += 10.001
    assert rates.wait("a") == 0


@pytest.mark.parametrize(
    ("path", "limited"),
    [
        ("/api/search", True),
        ("/api/entries/x", True),
        ("/gradio_api/queue/join", True),
        ("/api/images/x", False),
        ("/health", False),
        ("/gradio_api/queue/data", False),
        ("/", False),
    ],
)
def test_what_takes_a_token(path: str, limited: bool) -> None:
    assert is_limited(path) is limited


def test_each_key_has_its_own(tmp_path: Path) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    secrets = [add_key(tmp_path / "keys.json", name, "read") for name in ("a", "b")]
    limited = Access(RateLimit(app, Rates(1, lambda: 0.0)), KeyRing(tmp_path / "keys.json"))
    client = TestClient(limited)

    def ask(secret: str) -> int:
        answer = client.get("/api/search", headers={"authorization": f"Bearer {secret}"})
        assert answer.headers.get("retry-after") == ("1" if answer.status_code == 429 else None)
        return answer.status_code

    assert [ask(secrets[0]) for _ in range(3)] == [200, 200, 429]
    assert [ask(secrets[1]) for _ in range(3)] == [200, 200, 429]
    assert [ask("x") for _ in range(3)] == [401] * 3


@pytest.mark.parametrize("rate", ["-1", "nan", "inf"])
def test_what_is_no_rate_is_told(gallery_folder: Path, rate: str, capsys) -> None:
    assert main(["--gallery", str(gallery_folder), "--rate", rate]) == 2
    assert "requests a second" in capsys.readouterr().err
