"""What is deployed is checked by the tools that know its schemas, and its queries by a real server."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from serving.export import export_bundle
from serving.repository_options import read_options
from serving.server import TritonServer
from serving.server_binary import CONTAINER_IMAGE
from serving.triton_repository import install

from .serving.conftest import make_model

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
DASHBOARD = DEPLOY / "grafana" / "vehicle-reid.json"


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_manifests_are_strictly_valid(manifest: Path) -> None:
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", "--quiet", str(manifest)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_file_is_valid(tmp_path: Path) -> None:
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("needs docker-compose: apt-get install docker-compose")
    command = [compose, "-f", str(DEPLOY / "compose.yaml"), "config", "-q"]
    environment = {**os.environ, "MODEL_REPOSITORY": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


def test_image_is_the_release_that_launch_names() -> None:
    assert f"FROM {CONTAINER_IMAGE}\n" in (DEPLOY / "triton.Dockerfile").read_text()


def metric_names(query: str) -> set[str]:
    """List the metrics that a PromQL query reads; one that cannot be parsed raises."""
    names: set[str] = set()

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            names.add(node.name)
        elif isinstance(node, promql_parser.MatrixSelector):
            names.add(node.vector_selector.name)

    promql_parser.walk(promql_parser.parse(query), visit)
    return names


def test_every_query_of_the_dashboard_names_a_metric_of_a_real_server(tmp_path: Path) -> None:
    model, card = make_model()
    bundle = export_bundle(model, card, tmp_path / "bundle")
    repository = install(bundle, tmp_path / "repository", read_options(DEPLOY / "serving.toml"))
    with (
        TritonServer(repository) as server,
        urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=10) as answer,
    ):
        lines = answer.read().decode().splitlines()
    exposed = {line.partition("{")[0].partition(" ")[0] for line in lines if not line.startswith("#")}
    panels = json.loads(DASHBOARD.read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    assert queries
    for query in queries:
        names = metric_names(query)
        assert names, query
        assert names <= exposed, query
