"""What docs/operations.md tells to type into nginx: TLS in front of the service, and a change of model."""

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from retrieval.keys import main as keys_command
from retrieval.maintenance import main as maintenance
from tests.retrieval.conftest import bundle, gallery_folder, images  # noqa: F401 - fixtures
from tests.retrieval.running_app import running_app
from tests.retrieval.small_model import write_bundle

PAGE = Path(__file__).resolve().parents[1] / "docs" / "operations.md"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
OPENSSL = shutil.which("openssl")

pytestmark = pytest.mark.skipif(
    NGINX is None or OPENSSL is None, reason="no nginx or openssl here (apt-get install nginx-light openssl)"
)


CLIENTS = 4
"""Who search while the model changes."""

SECONDS = 120
"""That a part of the change may take."""


class Load:
    """Clients that search without a pause, and what came of it."""

    def __init__(self, client: httpx.Client, query: bytes) -> None:
        self.client, self.query = client, query
        self.told: list[float | str] = []
        """The third result's distance, which tells the model, or what went wrong."""

        self._changed, self._is_over = threading.Condition(), False

    def ask(self) -> None:
        """Search until it is over."""
        while not self._is_over:
            try:
                files = {"image": self.query}
                found = self.client.post("/api/search", files=files, data={"k": "3"})
                told = found.json()["results"][2]["distance"] if found.is_success else found.text
            except httpx.HTTPError as error:
                told = repr(error)
            with self._changed:
                self.told.append(told)
                self._changed.notify_all()

    def wait(self, is_so: Callable[[list[float | str]], bool]) -> None:
        """Wait for something to be so of what was told."""
        with self._changed:
            assert self._changed.wait_for(lambda: is_so(self.told), SECONDS), self.told[-3:]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let the clients search meanwhile."""
        threads = [threading.Thread(target=self.ask) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._is_over = True
            for thread in threads:
                thread.join()


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@contextmanager
def running_nginx(folder: Path, service: str) -> Iterator[tuple[str, str, Callable[[str], None]]]:
    """Run the page's configuration; yield its two addresses, and how it is sent to another service."""
    assert NGINX is not None and OPENSSL is not None
    (block,) = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    plain, secure = free_port(), free_port()
    files = folder / "cert.pem", folder / "cert.key"
    subprocess.run(
        [OPENSSL, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-out", str(files[0]), "-keyout", str(files[1])],
        check=True, capture_output=True,
    )  # fmt: skip
    replaced = {
        "listen 80;": f"listen 127.0.0.1:{plain};",
        "listen 443 ssl;": f"listen 127.0.0.1:{secure} ssl;",
        "/etc/ssl/certs/vehicle-search.pem": str(files[0]),
        "/etc/ssl/private/vehicle-search.key": str(files[1]),
    }
    for old, new in replaced.items():
        assert block.count(old) == 1
        block = block.replace(old, new)
    # Where it may write; and a root's workers have to reach the folder.
    places = "".join(
        f"{name}_temp_path {folder}/{name}; " for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    block = block.replace("http {", f"http {{ access_log off; {places}")
    head = f"daemon off; pid {folder}/pid; error_log {folder}/error.log;"
    head += " user root;" if os.geteuid() == 0 else ""

    def write(address: str) -> None:
        own = block.replace("127.0.0.1:7860", address.removeprefix("http://"))
        (folder / "nginx.conf").write_text(f"{head}\n{own}")

    def send_to(address: str) -> None:
        write(address)
        process.send_signal(signal.SIGHUP)

    write(service)
    process = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")])
    try:
        yield f"http://localhost:{plain}", f"https://localhost:{secure}", send_to
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_tls_and_a_change_of_model(
    tmp_path: Path,
    gallery_folder: Path,  # noqa: F811
    images: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    keys, second = tmp_path / "keys.json", tmp_path / "second"
    assert keys_command(["add", "desk", "--scope", "read", "--keys", str(keys)]) == 0
    headers = {"Authorization": f"Bearer {capsys.readouterr().out.split()[-1]}"}
    other = write_bundle(tmp_path / "other", gain=5.0, metric="cosine")
    reembed = ["reembed", "--gallery", str(gallery_folder), "--to", str(second), "--encoder", str(other)]
    assert maintenance(reembed) == 0
    query = (images / "image_query" / "0003_c001_00003250_0.jpg").read_bytes()
    with (
        ExitStack() as first,
        running_app("--gallery", second, "--keys", keys, "--rate", 0) as new,
        running_nginx(
            tmp_path,
            first.enter_context(running_app("--gallery", gallery_folder, "--keys", keys, "--rate", 0)),
        ) as (plain, secure, send_to),
        httpx.Client(
            base_url=secure,
            headers=headers,
            timeout=30,
            transport=httpx.HTTPTransport(
                verify=ssl.create_default_context(cafile=tmp_path / "cert.pem"), retries=20
            ),
        ) as client,
    ):
        assert client.get("/ready").json()["images"] == 24
        moved = httpx.get(f"{plain}/ready", trust_env=False)
        assert (moved.status_code, moved.headers["location"]) == (301, "https://localhost/ready")
        assert client.get("/", headers={"Authorization": ""}).status_code == 401
        page = client.get("/")
        assert page.status_code == 200
        assert "http://" not in page.text.replace("http://www.w3.org", "").partition("</head>")[0]
        # As a browser sends it, from the page and from another site's.
        for origin, status in ((secure, 200), ("https://elsewhere.example", 403)):
            answer = client.post("/api/search", files={"image": query}, headers={"Origin": origin})
            assert answer.status_code == status, answer.text
        large = client.post("/api/search", files={"image": bytes(34 * 2**20)})
        assert large.status_code == 413
        load = Load(client, query)
        with load.running():
            load.wait(lambda told: len(told) >= 20)
            (before,) = set(load.told)
            send_to(new)
            # Requests that were under way end where they began; then all go to the other service.
            load.wait(lambda told: before not in told[-5 * CLIENTS :])
            first.close()
            at_end = len(load.told)
            load.wait(lambda told: len(told) >= at_end + 20)
        (after,) = {each for each in load.told if each != before}
        assert isinstance(after, float), after
        print(f"{len(load.told)} searches by {CLIENTS} clients, {load.told.count(before)} by the first model")
