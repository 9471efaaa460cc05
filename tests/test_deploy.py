"""What is deployed is checked by the tools that know its schemas, and its queries by a real server."""

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from retrieval.app import build_parser
from serving.conversion.bundling import export_bundle
from serving.server.binary import CONTAINER_IMAGE, find_server
from serving.server.server import TritonServer
from serving.triton.options import read_options
from serving.triton.repository import install
from tests.serving.conftest import make_model

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DEPLOY = ROOT / "deploy"
KUSTOMIZATIONS = sorted((DEPLOY / "kubernetes").glob("*/kustomization.yaml"))
MANIFESTS = sorted(set((DEPLOY / "kubernetes").glob("*/*.yaml")) - set(KUSTOMIZATIONS))
DOCKERFILES = sorted(DEPLOY.glob("*.Dockerfile"))
DASHBOARD = DEPLOY / "grafana" / "vehicle-reid.json"

OTHER_QUESTIONS_SECONDS = 8
"""What `serving.probe` may spend beside the inference that its --timeout is for."""


def check_schemas(*files: Path) -> None:
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", "--quiet", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_manifests_are_strictly_valid() -> None:
    assert len(MANIFESTS) >= 4
    check_schemas(*MANIFESTS)


@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS, ids=lambda path: path.parent.name)
def test_kustomizations_are_rendered_and_whole(kustomization: Path, tmp_path: Path) -> None:
    """Rendered by kubectl, valid, and each reference leads to something that is there."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("needs kubectl, which renders kustomizations offline")
    command = [kubectl, "kustomize", str(kustomization.parent)]
    rendered = subprocess.run(command, capture_output=True, text=True, check=False)
    assert rendered.returncode == 0, rendered.stderr
    file = tmp_path / "rendered.yaml"
    file.write_text(rendered.stdout)
    check_schemas(file)
    objects = list(yaml.safe_load_all(rendered.stdout))
    workloads = {
        (each["kind"], each["metadata"]["name"]): each["spec"]["template"]
        for each in objects
        if each["kind"] in ("Deployment", "StatefulSet")
    }
    services = {each["metadata"]["name"]: each for each in objects if each["kind"] == "Service"}
    for service in services.values():
        ports = {
            port["name"]
            for template in workloads.values()
            if service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
            for container in template["spec"]["containers"]
            for port in container["ports"]
        }
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for each in objects:
        assert each["kind"] == "Namespace" or each["metadata"]["namespace"] == "vehicle-reid"
        if each["kind"] == "HorizontalPodAutoscaler":
            target = each["spec"]["scaleTargetRef"]
            assert (target["kind"], target["name"]) in workloads
        if each["kind"] == "NetworkPolicy":
            wanted = each["spec"]["podSelector"]["matchLabels"].items()
            assert any(wanted <= template["metadata"]["labels"].items() for template in workloads.values())
    (search,) = workloads["StatefulSet", "vehicle-reid-search"]["spec"]["containers"]
    variables = {variable["name"]: variable["value"] for variable in search["env"]}
    in_milvus = variables["GALLERY"].startswith("milvus://")
    assert in_milvus == (kustomization.parent.name == "milvus")
    hosts = [search["args"][1].removeprefix("--encoder=triton:grpc://")]
    hosts += [variables["GALLERY"].removeprefix("milvus://").partition("/")[0]] * in_milvus
    for host, _, port in (host.partition(":") for host in hosts):
        assert int(port) in [offered["port"] for offered in services[host]["spec"]["ports"]]


def containers() -> dict[str, dict[str, Any]]:
    """Collect the containers of the manifests, by name."""
    documents = [each for file in MANIFESTS for each in yaml.safe_load_all(file.read_text())]
    return {
        container["name"]: container
        for each in documents
        if each["kind"] in ("Deployment", "StatefulSet")
        for container in each["spec"]["template"]["spec"]["containers"]
    }


def compose_services() -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    return services


def test_images_are_pinned_and_the_same_everywhere() -> None:
    images = {name: container["image"] for name, container in containers().items()}
    assert images == {name: service["image"] for name, service in compose_services().items()}
    assert all(image.rpartition(":")[2] not in ("", "latest") for image in images.values())
    first = {file.name: file.read_text().partition("FROM ")[2].split()[0] for file in DOCKERFILES}
    assert first["triton.Dockerfile"] == CONTAINER_IMAGE
    assert first["search.Dockerfile"].startswith("python:3.12.")
    # Equal pixels need equal decoders.
    (pillow,) = {word for file in DOCKERFILES for word in file.read_text().split() if "pillow==" in word}
    assert pillow


def test_probes_ask_for_an_inference_and_are_given_the_time() -> None:
    triton = containers()["triton"]
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = triton[kind]
        *command, timeout = probe["exec"]["command"]
        assert command == ["python3", "/opt/vehicle-reid/probe.py"]
        assert probe["timeoutSeconds"] >= int(timeout.removeprefix("--timeout=")) + OTHER_QUESTIONS_SECONDS
    assert "COPY serving/probe.py /opt/vehicle-reid/probe.py" in (DEPLOY / "triton.Dockerfile").read_text()


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_what_an_image_is_made_of_is_sent_to_the_builder(dockerfile: Path) -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert all((ROOT / name).exists() for name in allowed)
    assert {f"{module}.py" for module in PROJECT["tool"]["setuptools"]["py-modules"]} <= set(allowed)
    for line in dockerfile.read_text().splitlines():
        if line.startswith("COPY "):
            source = shlex.split(line)[1]
            assert (ROOT / source).exists()
            assert source == "." or any(fnmatch.fnmatch(source, f"{name}*") for name in allowed)


@pytest.mark.parametrize("place", ["kubernetes", "compose"])
def test_search_service_takes_its_arguments(place: str) -> None:
    arguments = (
        containers()["search"]["args"] if place == "kubernetes" else compose_services()["search"]["command"]
    )
    parsed = build_parser().parse_args(arguments)
    assert parsed.host == "0.0.0.0"
    assert parsed.keys is not None, "it listens beyond loopback with keys only"
    assert parsed.writable


@pytest.mark.parametrize(
    "variables", [{}, {"GALLERY": "milvus://milvus:19530/cars"}], ids=["folder", "milvus"]
)
def test_compose_file_is_valid(variables: dict[str, str], tmp_path: Path) -> None:
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("needs docker-compose: apt-get install docker-compose")
    command = [compose, "-f", str(DEPLOY / "compose.yaml"), "config"]
    environment = {**os.environ, "MODEL_REPOSITORY": str(tmp_path), "KEYS": str(tmp_path), **variables}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert services["search"]["command"][0] == f"--gallery={variables.get('GALLERY', '/gallery/cars')}"
    for name in ("triton", "search"):
        build = services[name]["build"]
        assert Path(build["context"]) == ROOT
        assert (ROOT / build["dockerfile"]).is_file()


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


def adapter_queries() -> list[str]:
    """Fill in the adapter's queries as it would for two pods."""
    rules = yaml.safe_load((DEPLOY / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
    autoscaled = [
        metric["pods"]["metric"]["name"]
        for file in MANIFESTS
        for each in yaml.safe_load_all(file.read_text())
        if each["kind"] == "HorizontalPodAutoscaler"
        for metric in each["spec"]["metrics"]
    ]
    assert autoscaled == [rule["name"]["as"] for rule in rules]
    return [
        rule["metricsQuery"]
        .replace("<<.Series>>", rule["seriesQuery"].partition("{")[0])
        .replace("<<.LabelMatchers>>", 'namespace="vehicle-reid",pod=~"a|b"')
        .replace("<<.GroupBy>>", "pod")
        for rule in rules
    ]


def test_queries_and_flags_are_known_to_a_real_server(tmp_path: Path) -> None:
    """Each metric that dashboard, autoscaler and documentation name, and each flag."""
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
    for query in [*queries, *adapter_queries()]:
        names = metric_names(query)
        assert names, query
        assert names <= exposed, query
    page = (ROOT / "docs" / "serving.md").read_text().partition("## Metrics\n")[2].partition("\n## ")[0]
    listed = set(re.findall(r"`((?:nv|vehicle_reid)_\w+)[`{]", page))
    assert len(listed) >= 8
    assert listed <= exposed
    (tmp_path / "run").mkdir()
    binary = find_server(repository.path, tmp_path / "run")
    help_text = subprocess.run(
        [binary.command[0], "--help"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **binary.environment},
    )
    for command in (containers()["triton"]["args"], compose_services()["triton"]["command"]):
        assert command[0] == "tritonserver"
        for argument in command[1:]:
            assert argument.partition("=")[0] in help_text.stdout + help_text.stderr
