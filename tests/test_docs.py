"""What the documentation points at exists: pages and headings, files, modules and their members."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_import_rule import PACKAGES, ROOMS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
ROOT_PAGES = tuple(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))
PAGES = (*ROOT_PAGES, *sorted(DOCS.rglob("*.md")))

FENCE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`[^`\n]+`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
OURS = "zoo|training|serving|retrieval|benchmarks|tests|deploy|docs"
FILE = re.compile(rf"(?<![\w./-])(?:{OURS})/[\w./-]*\w")
DOTTED = re.compile(r"(?<![\w./-])(?:zoo|training|serving|retrieval|benchmarks)(?:\.[A-Za-z_]\w*)+")
REFERENCE = re.compile(r"^::: (\S+)$", re.MULTILINE)


def anchors(page: str) -> set[str]:
    """The fragments of a page's headings, as code hosts and the site make them."""
    headings = HEADING.findall(FENCE.sub("", page))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def link_fault(page: Path, link: str) -> str | None:
    """Say what is wrong with a link of a page; None where nothing is.

    Links lead to pages of the documentation and what lies beside them, because the site has nothing else:
    other files are named in code font.
    """
    if re.match(r"(https?|mailto):", link):
        return None
    path, _, fragment = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.is_relative_to(DOCS) and (target not in ROOT_PAGES or page.is_relative_to(DOCS)):
        return "leads out of the documentation"
    if not target.is_file():
        return "no such file"
    if fragment and fragment not in anchors(target.read_text(encoding="utf-8")):
        return "no such heading"
    return None


def members(file: Path) -> set[str]:
    """The names that a module's file defines, methods as `Class.name`; of a package, all words in it."""
    source = file.read_text(encoding="utf-8")
    if file.name == "__init__.py":
        return set(re.findall(r"\w+", source))
    found = set()
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)
            }
    return found


def exists(dotted: str) -> bool:
    """Whether a dotted name is a module or package of ours, or what one defines."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:count])
        file = next((f for f in (place.with_suffix(".py"), place / "__init__.py") if f.is_file()), None)
        if file is not None or place.is_dir():
            return count == len(parts) or (file is not None and ".".join(parts[count:]) in members(file))
    return False


def code_of(text: str) -> str:
    """What a page has in code font, in a line or in blocks, and nothing else."""
    blocks = [match[0] for match in FENCE.finditer(text)]
    return "\n".join([*blocks, *SPAN.findall(FENCE.sub("", text))])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = SPAN.sub("", FENCE.sub("", page.read_text(encoding="utf-8")))
    faults = {f"{link}: {fault}" for link in LINK.findall(text) if (fault := link_fault(page, link))}
    assert not faults, "\n".join(sorted(faults))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_and_modules_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    if page.stem == "CHANGELOG":
        text = re.sub(r"^\|.*?\|", "|", text, flags=re.MULTILINE)  # what has moved away
    code = code_of(text)
    missing = {name for name in FILE.findall(code) if not (ROOT / name).exists()}
    named = [*DOTTED.findall(code), *REFERENCE.findall(text)]
    missing |= {name for name in named if not exists(name)}
    assert not missing, "\n".join(sorted(missing))


@pytest.mark.parametrize(
    ("link", "fault"),
    [
        ("gallery.md#in-milvus", None),
        ("https://example.org/x.md", None),
        ("gallery.md#in-oracle", "no such heading"),
        ("galery.md", "no such file"),
        ("../zoo/card.py", "leads out of the documentation"),
        ("/docs/gallery.md", "leads out of the documentation"),
    ],
)
def test_a_wrong_link_is_found(link: str, fault: str | None) -> None:
    assert link_fault(DOCS / "api.md", link) == fault


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("retrieval.gallery.base.Gallery.browse", True),
        ("training.losses.circle_loss", True),
        ("training.circle_loss", False),
        ("retrieval.gallery.base.Galery", False),
        ("zoo.nothing", False),
    ],
)
def test_a_wrong_name_is_found(name: str, there: bool) -> None:
    assert exists(name) is there


def test_contributors_are_told_of_every_room() -> None:
    told = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for package in PACKAGES:
        for room in ROOMS[package]:
            if (ROOT / package / room).is_dir():
                assert f"| `{package}/{room}` |" in told


@pytest.mark.parametrize("package", PACKAGES)
def test_the_reference_has_every_name_that_a_package_offers(package: str) -> None:
    stub = ast.parse((ROOT / package / "__init__.pyi").read_text(encoding="utf-8"))
    offered = {alias.name for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    page = (DOCS / "reference" / f"{package}.md").read_text(encoding="utf-8")
    assert offered <= {name.rsplit(".", 1)[1] for name in REFERENCE.findall(page)}
    assert offered <= set(re.findall(r"`(\w+)`", page.partition("## ")[0]))


@pytest.mark.slow
def test_the_site_builds_strictly_and_fetches_nothing(tmp_path: Path) -> None:
    for module in ("mkdocs", "material", "mkdocstrings"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: pip install -e '.[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert built.returncode == 0, built.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(PAGES)
    elsewhere = r"=\"?(?:https?:)?//"
    fetched = re.compile(rf"<(?:script|img|iframe)\b[^>]*\bsrc{elsewhere}|<link\b[^>]*\bhref{elsewhere}")
    assert not [page.name for page in pages if fetched.search(page.read_text(encoding="utf-8"))]
