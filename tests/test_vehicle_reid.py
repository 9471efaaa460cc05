"""The one command: what it runs, and what a folder of the user's own does to it."""

import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import vehicle_reid
from zoo.command_line import CommandParser

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = Path(sys.executable).with_name("vehicle-reid")
NO_TORCH = "import sys; sys.modules['torch'] = sys.modules['gradio'] = None; "


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the console script, as pip installed it."""
    command = [str(SCRIPT), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)


def test_every_command_of_the_packages_has_a_name() -> None:
    named = {module for module, _ in vehicle_reid.COMMANDS.values()}
    found = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for package in vehicle_reid.PACKAGES
        for path in [*(ROOT / package).glob("*.py"), *(ROOT / package).glob("*/__main__.py")]
        if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
    }
    assert named == found


def test_the_readme_lists_every_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ((?:`[\w-]+`[^`|]*)+) \|$", readme, re.MULTILINE)
    listed = {f"{package}.{name}" for package, row in rows for name in re.findall(r"`([\w-]+)`", row)}
    modules = {module.removesuffix(".__main__") for module, _ in vehicle_reid.COMMANDS.values()}
    assert {name for name in listed if not name.startswith("zoo.")} == modules - {"zoo"}


@pytest.mark.parametrize("name", vehicle_reid.COMMANDS)
def test_help_has_an_example_and_needs_no_torch(name: str, run_python) -> None:
    result = run_python(
        f"{NO_TORCH}sys.argv[1:] = [{name!r}, '--help']; import vehicle_reid; vehicle_reid.main()"
    )
    assert result.returncode == 0, result.stderr
    assert "example" in result.stdout
    assert name == "probe" or f"usage: vehicle-reid {name} " in result.stdout


def examples(parser: CommandParser) -> Iterator[list[str]]:
    """The examples of a parser's help, as arguments."""
    assert parser.epilog is not None
    for line in parser.epilog.splitlines()[1:]:
        yield shlex.split(line.strip().removeprefix("%(prog)s"))


@pytest.mark.parametrize("name", [name for name in vehicle_reid.COMMANDS if name != "probe"])
def test_examples_are_understood(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, _ = vehicle_reid.COMMANDS[name]
    seen = []

    class SeenError(Exception):
        pass

    def parse(parser: CommandParser, *_: object) -> None:
        seen.append(parser)
        raise SeenError

    monkeypatch.setattr(CommandParser, "parse_args", parse)
    with pytest.raises(SeenError):
        importlib.import_module(module).main([])
    monkeypatch.undo()
    for arguments in examples(seen[0]):
        seen[0].parse_args(arguments)


def test_an_unknown_command_names_the_near_one() -> None:
    result = run("serach")
    assert result.returncode == 2
    assert result.stderr == "error: no command is named 'serach'; did you mean search?\n"


def test_version_and_completion() -> None:
    assert run("--version").stdout.startswith("vehicle-reid ")
    complete = f'eval "$("{SCRIPT}" --completion bash)"; COMP_CWORD=1; _vehicle_reid vehicle-reid ing'
    completed = subprocess.run(
        ["bash", "-c", f'{complete}; echo "${{COMPREPLY[@]}}"'],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert completed.stdout == "ingest\n"
    assert run("--completion", "fish").returncode == 2


@pytest.mark.parametrize("hidden", vehicle_reid.PACKAGES)
@pytest.mark.parametrize("kind", ["package", "folder", "module"])
def test_a_folder_of_the_users_own_does_no_harm(hidden: str, kind: str, tmp_path: Path) -> None:
    if kind == "module":
        (tmp_path / f"{hidden}.py").write_text("")
    else:
        (tmp_path / hidden).mkdir()
        if kind == "package":
            (tmp_path / hidden / "__init__.py").write_text("")
    assert run("search", "--help", cwd=tmp_path).returncode == 0
    result = subprocess.run(
        [sys.executable, "-m", "retrieval.search", "--help"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    if result.returncode:
        assert "Traceback" not in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert hidden == "retrieval" or f"hides the package `{hidden}` of this project" in result.stderr
