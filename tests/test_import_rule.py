"""Who may import whom: data flows one way through the rooms."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("zoo", "training", "serving", "retrieval")
# The leaves of the zoo need no torch; a search node may know these and no more.
ZOO_LEAVES = ("zoo.card", "zoo.errors", "zoo.files", "zoo.labels", "zoo.line_chart", "zoo.preprocess")
ALLOWED = {
    "zoo": ("zoo",),
    "training": ("training", "zoo"),
    "serving": ("serving", "zoo"),
    "retrieval": ("retrieval", "serving.encoder", *ZOO_LEAVES),
}
TORCH_FREE = (*ZOO_LEAVES, "serving.encoder", "retrieval.gallery", "retrieval.app", "retrieval.search")


def imported_modules(path: Path, room: str) -> Iterator[str]:
    """Yield the dotted name of every import in a file, `from a import b` as both `a.b` and nothing less."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = f"{room}.{base}".rstrip(".")
            yield from (f"{base}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", ROOMS)
def test_room_imports_only_what_it_may(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    for path in files:
        for name in imported_modules(path, room):
            if name.split(".")[0] in (*ROOMS, "tests", "deploy"):
                assert any(name == allowed or name.startswith(f"{allowed}.") for allowed in ALLOWED[room]), (
                    f"{path.relative_to(ROOT)} imports {name}"
                )


def test_the_rule_can_fail(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text("from training import metrics\nimport serving.export\nfrom .store import Store\n")
    names = list(imported_modules(path, "retrieval"))
    assert names == ["training.metrics", "serving.export", "retrieval.store.Store"]
    verdicts = [any(n == a or n.startswith(f"{a}.") for a in ALLOWED["retrieval"]) for n in names]
    assert verdicts == [False, False, True]


@pytest.mark.parametrize("module", TORCH_FREE)
def test_search_node_needs_no_torch(module: str, run_python) -> None:
    result = run_python(f"import sys; sys.modules['torch'] = None; import {module}")
    assert result.returncode == 0, result.stderr
