"""A command without the extra that it needs says so in one line."""

import os
import tomllib
from pathlib import Path

import pytest

from zoo.errors import EXTRA_OF, UserError, exit_on_user_error, explain, extra_imports

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
PACKAGES = {"cv2": "opencv-python-headless"}

COMMANDS = [
    ("training.launch", "--data-root d", "torch", "train"),
    ("training.evaluate", "--data-root d --weights w", "torch", "train"),
    ("training.baseline", "--data-root d", "torch", "train"),
    ("training.synthesize", "--out d", "numba", "train"),
    ("serving.export", "", "torch", "train"),
]


@pytest.mark.parametrize(("command", "options", "missing", "extra"), COMMANDS)
def test_command_names_the_extra_that_it_needs(
    command: str, options: str, missing: str, extra: str, run_python
) -> None:
    done = run_python(
        f"import runpy, sys; sys.modules['{missing}'] = None; sys.argv[1:] = {options.split()!r}; "
        f"runpy.run_module('{command}', run_name='__main__', alter_sys=True)"
    )
    cure = f"pip install -e '.[{extra}]'"
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {missing} is not installed; it comes with the extra `{extra}`: {cure}\n"


def test_extras_are_those_of_the_project() -> None:
    extras = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for module, extra in EXTRA_OF.items():
        package = PACKAGES.get(module, module)
        assert any(line.startswith(f"{package}>") for line in extras[extra]), module


def test_other_missing_modules_are_no_user_errors() -> None:
    @exit_on_user_error
    def main() -> int:
        raise ModuleNotFoundError("No module named 'numpi'", name="numpi")

    with pytest.raises(ModuleNotFoundError):
        main()


def test_names_that_no_text_or_file_can_have() -> None:
    with pytest.raises(UnicodeEncodeError) as surrogate:
        os.fsdecode(b"gate\xff").encode()
    assert (
        explain(surrogate.value)
        == "error: a name with 'gate\\udcff' is not in UTF-8; rename the file or folder"
    )
    with pytest.raises(ValueError, match="embedded null") as null:
        os.stat("a\0b")
    assert explain(null.value) == "error: a path with a NUL byte, which no file has; mend it"
    assert explain(ValueError("a mistake of ours")) is None


def test_interrupted_imports_end_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, extra_imports("__main__"):
        raise KeyboardInterrupt
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"
    with pytest.raises(KeyboardInterrupt), extra_imports("training.launch"):
        raise KeyboardInterrupt


def test_importing_without_the_extra_raises_as_ever() -> None:
    with pytest.raises(ModuleNotFoundError), extra_imports("training.launch"):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")


@pytest.mark.parametrize("ending", ["pass", "raise KeyboardInterrupt"])
def test_no_garbage_is_looked_for_in_what_a_command_imports(run_python, ending: str) -> None:
    result = run_python(
        "import atexit, gc; from zoo.errors import extra_imports; "
        "atexit.register(lambda: print(gc.isenabled(), gc.get_freeze_count() > 1000))\n"
        f"with extra_imports('__main__'):\n    assert not gc.isenabled()\n    {ending}"
    )
    assert result.stdout == "True True\n", result.stderr


def test_errors_that_are_each_others_cause() -> None:
    """As gRPC's are. The line is that of the error itself, and it comes."""
    first, second = UserError("cannot be reached; mend the address"), ValueError("refused")
    first.__cause__, second.__context__ = second, first
    assert explain(first) == "error: cannot be reached; mend the address"
    assert explain(second) is None
