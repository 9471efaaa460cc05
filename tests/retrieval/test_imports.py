"""A search node has no torch, and a script that asks a gallery does not wait for Gradio."""

from pathlib import Path

import retrieval


def test_every_module_imports_without_torch(run_python) -> None:
    folder = Path(retrieval.__file__).parent
    files = (path.relative_to(folder.parent) for path in sorted(folder.rglob("*.py")))
    modules = [".".join(path.with_suffix("").parts) for path in files if path.stem != "__init__"]
    assert "retrieval.page.page" in modules
    result = run_python(f"import sys; sys.modules['torch'] = None; import {', '.join(modules)}")
    assert result.returncode == 0, result.stderr
    assert list(folder.rglob("*.pyi")) == [folder / "__init__.pyi"], "Gradio wrote stubs into the package"


def test_search_command_does_not_import_gradio(run_python) -> None:
    result = run_python("import sys, retrieval.search, retrieval.ingest; sys.exit('gradio' in sys.modules)")
    assert result.returncode == 0


def test_gradio_neither_reads_nor_writes_its_stubs(run_python) -> None:
    """Which it does at every import otherwise; what asks for a class's file afterwards is told."""
    result = run_python(
        "import inspect, sys; from retrieval.page.stubs import unwritten; opened = []; "
        "sys.addaudithook(lambda event, told: event == 'open' and opened.append(str(told[0])))\n"
        "with unwritten():\n    import gradio\n"
        "assert inspect.getfile(gradio.Image).endswith('image.py'); "
        "print([path for path in opened if path.endswith('.pyi')], len(opened) > 100)"
    )
    assert (result.returncode, result.stdout) == (0, "[] True\n"), result.stderr


def test_triton_encoder_names_its_extra(run_python) -> None:
    result = run_python(
        "import sys; sys.modules['tritonclient'] = None; from retrieval.search import main; "
        "sys.exit(main(['--gallery', 'none', '--query', 'none.jpg', '--encoder', 'triton:grpc://127.0.0.1:1']))"
    )
    assert result.returncode == 2
    assert result.stderr.startswith("error: a Triton server needs tritonclient")
    assert result.stderr.endswith("it comes with the extra `triton`: pip install -e '.[triton]'\n")
