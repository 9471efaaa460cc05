"""What docs/python.md prints runs as it is printed, and so does the notebook."""

import io
import re
import shutil
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SNIPPETS = re.findall(
    r"^## (.+?)\n.*?^```python\n(.*?)^```",
    (ROOT / "docs/python.md").read_text("utf-8"),
    re.MULTILINE | re.DOTALL,
)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the page speaks of: a small data set, and pictures from it."""
    folder = tmp_path_factory.mktemp("python")
    made = ["--out", "data/synthetic", "--train-ids", "8", "--test-ids", "3", "--images-per-id", "4"]
    subprocess.run(
        [sys.executable, "-m", "training.synthesize", *made, "--size", "96"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    shutil.copytree(folder / "data/synthetic/image_test", folder / "pictures")
    for name, file in zip(
        ("car.jpg", "other.jpg"), sorted((folder / "data/synthetic/image_query").iterdir()), strict=False
    ):
        shutil.copy(file, folder / name)
    return folder


def test_the_page_has_its_sections() -> None:
    assert [title for title, _ in SNIPPETS] == [
        "Embed", "Compare", "Search", "Evaluate", "Fine-tune", "Export"
    ]  # fmt: skip
    assert all(code.count("\n") <= 12 for _, code in SNIPPETS)


def test_the_readme_begins_with_python_that_runs(workplace: Path) -> None:
    code = re.search(
        r"^```python\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert code is not None
    shutil.copytree(workplace / "pictures", workplace / "photos")
    done = subprocess.run(
        [sys.executable, "-c", code[1]],
        cwd=workplace,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == min(10, len(list((workplace / "photos").iterdir())))


@pytest.mark.parametrize(("title", "code"), SNIPPETS, ids=[title for title, _ in SNIPPETS])
def test_snippet_runs_as_printed(title: str, code: str, workplace: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=workplace, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_notebook_shows_query_and_results(workplace: Path) -> None:
    notebook = nbformat.read(ROOT / "docs/search.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "the notebook is kept without outputs"
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(workplace)}}).execute()
    html = next(
        output["data"]["text/html"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "text/html" in output.get("data", {})
    )
    pictures = re.findall(r"data:image/jpeg;base64,([\w+/=]+)", html)
    assert len(pictures) == 7
    for encoded in pictures:
        with Image.open(io.BytesIO(b64decode(encoded))) as image:
            assert image.format == "JPEG"
