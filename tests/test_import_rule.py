"""Who may import whom: data flows one way, from package to package and from room to room inside each."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# The leaves of the zoo need no torch; a search node may know these and no more.
ZOO_LEAVES = frozenset(
    f"zoo.{leaf}"
    for leaf in (
        "camera_means",
        "camera_traffic",
        "card",
        "command_line",
        "errors",
        "files",
        "hub.cache",
        "hub.remote",
        "labels",
        "line_chart",
        "numbers",
        "preprocess",
        "decoding_memory",
        "sameness",
    )
)
PACKAGES = {
    "zoo": frozenset[str](),
    "training": frozenset({"zoo"}),
    "serving": frozenset({"zoo"}),
    "retrieval": frozenset({"serving.encoders"}) | ZOO_LEAVES,
}
"""What a package may import of the others."""

ROOMS = {
    "zoo": {
        "models": {"."},
        "hub": {"errors"},
    },
    "training": {
        "options": set[str](),
        "datasets": set[str](),
        "distributed": {"options"},
        "data": {"datasets"},
        "losses": {"distributed", "datasets"},
        "evaluation": {"data", "datasets", "distributed", "options"},
        "report": {"evaluation", "data", "datasets"},
        "run": {"options", "data", "datasets", "distributed", "evaluation", "losses"},
        "adaptation": {"options", "data", "datasets", "distributed", "evaluation", "run"},
        "diagnosis": {"options", "data", "distributed", "run"},
        "synthesize": set[str](),
    },
    "training/synthesize": {
        "renderer": {"randomness", "difficulty"},
        "vehicle": {"renderer", "randomness"},
        "street": {"renderer", "randomness", "difficulty"},
    },
    "serving": {
        "bundle": set[str](),
        "probe": set[str](),
        "shipped": {"bundle"},
        "engines": {"bundle"},
        "triton": {"bundle"},
        "encoders": {"engines", "triton", "bundle", "shipped"},
        "conversion": {"engines", "triton", "bundle"},
        "server": {"triton", "bundle", "probe"},
        "benchmarks": {"bundle", "probe", "engines", "triton", "encoders", "conversion", "server"},
    },
    "retrieval": {
        "keys": set[str](),
        "gallery": set[str](),
        "local": {"gallery"},
        "milvus": {"gallery"},
        "sources": {"gallery"},
        "query": {"gallery", "sources"},
        "results": {"gallery"},
        "journeys": {"gallery"},
        "cases": {"query", "results", "journeys", "gallery"},
        "service": {"query", "results", "cases", "journeys", "sources", "gallery", "keys"},
        "page": {"service", "results", "cases", "journeys", "query", "sources", "gallery"},
    },
}
"""What a room may import of its own package, beside itself: rooms and leaves by name, `.` for all of the
package's root. What is not named here is the package's root, which may import everything."""

PROCESSES = {
    "serving.conversion.training_command": "training.evaluate",
    "training.acceptance": "serving.export",
    "zoo.fetch": "serving.export",
}
"""The modules that run another package's command, and the command."""

_MODULE = re.compile(r"(zoo|training|serving|retrieval)(\.\w+)+")

TORCH_FREE = (
    *sorted(ZOO_LEAVES),
    "serving",
    "serving.encoders.encoder",
    "retrieval",
    "retrieval.gallery.base",
    "retrieval.app",
    "retrieval.search",
)


def imported_modules(source: str) -> Iterator[str]:
    """Yield the dotted name of every import in a file's text, `from a import b` as `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def named_modules(source: str) -> Iterator[str]:
    """Yield each string of a file's text that names a module, as of a process to run: a hidden import."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _MODULE.fullmatch(node.value):
            yield node.value


def is_inside(name: str, place: str) -> bool:
    """Whether a dotted name is a module or package, or lies in it."""
    return name == place or name.startswith(f"{place}.")


def breach(importer: str, imported: str) -> str | None:
    """Say which rule an import breaks; None where it breaks none.

    Args:
        importer: dotted name of the module that imports.
        imported: dotted name of what it imports.
    """
    package, other = importer.split(".", maxsplit=1)[0], imported.split(".", maxsplit=1)[0]
    if other in ("tests", "deploy", "benchmarks"):
        return f"{package} is shipped, {other} is not"
    if other not in PACKAGES:
        return None
    if other != package:
        allowed = PACKAGES[package]
        return (
            None
            if any(is_inside(imported, place) for place in allowed)
            else f"{package} may not know {imported}"
        )
    for place, rooms in ROOMS.items():
        base = place.replace("/", ".")
        room = next((room for room in rooms if is_inside(importer, f"{base}.{room}")), None)
        if room is None or not is_inside(imported, base) or is_inside(imported, f"{base}.{room}"):
            continue
        inside = imported.removeprefix(f"{base}.").split(".")[0]
        if inside in rooms[room] or (inside not in rooms and "." in rooms[room]):
            continue
        return f"{base}.{room} may not know {base}.{inside}"
    return None


def module_name(path: Path) -> str:
    """The dotted name of a file of the repository."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_import_only_what_they_may(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    found = {
        f"{path.relative_to(ROOT)}: {wrong}"
        for path in files
        for name in imported_modules(path.read_text(encoding="utf-8"))
        if (wrong := breach(module_name(path), name))
    }
    assert not found, "\n".join(sorted(found))


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_reach_into_no_other_by_a_string(package: str) -> None:
    found = {
        (module_name(path), name)
        for path in (ROOT / package).rglob("*.py")
        for name in named_modules(path.read_text(encoding="utf-8"))
        if not is_inside(name, package) and breach(module_name(path), name)
    }
    assert found == {seam for seam in PROCESSES.items() if is_inside(seam[0], package)}


@pytest.mark.parametrize("place", ROOMS)
def test_rooms_of_the_table_exist(place: str) -> None:
    folder = ROOT / place
    for room in ROOMS[place]:
        assert (folder / room / "__init__.py").is_file() or (folder / f"{room}.py").is_file(), room
    folders = {path.parent.name for path in folder.glob("*/__init__.py")}
    assert folders <= set(ROOMS[place]), "a folder that no rule speaks of"


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("retrieval.gallery.base", "training.losses", False),
        ("retrieval.app", "serving.export.export_bundle", False),
        ("retrieval.query.searcher", "serving.encoders.encoder.Encoder", True),
        ("retrieval.query.searcher", "zoo.loading.load_model", False),
        ("retrieval.gallery.entries", "retrieval.local.store.Store", False),
        ("retrieval.local.store", "retrieval.gallery.entries.Entry", True),
        ("retrieval.local.store", "retrieval.milvus.rows", False),
        ("retrieval.page.cards", "retrieval.app", False),
        ("retrieval.app", "retrieval.page.cards", True),
        ("training.data.sampler", "training.run.trainer", False),
        ("training.report.page", "training.distributed.devices", False),
        ("training.synthesize.vehicle.wheels", "training.synthesize.street.weather", False),
        ("serving.engines.openvino", "serving.encoders.encoder", False),
        ("serving.bundle", "serving.engines.selection", False),
        ("zoo.registry", "zoo.models.densenet121", True),
        ("zoo.models.osnet_ain", "zoo.registry.register", True),
        ("zoo.models.osnet_ain", "zoo.hub.cache", False),
        ("zoo.card", "tests.conftest", False),
        ("zoo.card", "numpy.ndarray", True),
    ],
)
def test_the_rule_can_fail(importer: str, imported: str, allowed: bool) -> None:
    assert (breach(importer, imported) is None) is allowed


def test_a_command_of_another_package_is_seen() -> None:
    source = 'run([sys.executable, "-m", "training.launch"])  # not "training.evaluate"'
    assert list(named_modules(source)) == ["training.launch"]


@pytest.mark.parametrize("module", TORCH_FREE)
def test_search_node_needs_no_torch(module: str, run_python) -> None:
    result = run_python(f"import sys; sys.modules['torch'] = None; import {module}")
    assert result.returncode == 0, result.stderr
