"""Every command that a message names as a cure is one: its module, options and arguments are taken."""

import argparse
import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from vehicle_reid import COMMANDS, PACKAGES

ROOT = Path(__file__).parents[1]
_COMMAND = re.compile(
    r"(?:python -m (?P<module>(?:zoo|training|serving|retrieval)[\w.]*)|`vehicle-reid (?P<name>[a-z-]+))"
    r"(?P<rest>[^`;]*)"
)
_END = re.compile(r"\)|</code>|, |\. | \.\.\.| \(|\n|$")
"""Of a command that stands in a sentence without marks around it."""


def _texts(tree: ast.AST) -> Iterator[str]:
    """Every text of a source file but its docstrings, with `X` for what is filled in."""
    docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inside: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside |= set(node.values)
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings | inside
        ):
            yield node.value


def _cures() -> list[str]:
    found = set()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for text in _texts(ast.parse(path.read_text(encoding="utf-8"))):
                for match in _COMMAND.finditer(text):
                    module = match["module"] or COMMANDS[match["name"]][0]
                    rest = match["rest"]
                    if (end := _END.search(rest)) is not None:
                        rest = rest[: end.start()]
                    found.add(f"{module.rstrip('.')} {rest.strip()}".strip())
    return sorted(found)


class _TakenError(Exception):
    pass


@pytest.mark.parametrize("cure", _cures())
def test_a_cure_is_a_command(
    cure: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module, *argv = shlex.split(cure)
    if (ROOT / module.replace(".", "/")).is_dir():
        module = f"{module}.__main__"
    command = importlib.import_module(module)
    if not argv or argv == ["X"]:
        return  # the command itself is named
    if len(argv) == 1 and not argv[0].startswith("-"):
        argv.append("--help")
    real = argparse.ArgumentParser.parse_args

    def parse_args(self, args=None, namespace=None):
        real(self, args, namespace)
        raise _TakenError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    with pytest.raises((_TakenError, SystemExit)) as caught:
        command.main(argv)
    # A value that is filled in is no number, nor one of a few.
    is_filled_in = re.search(r"invalid \w+( value)?: 'X'", capsys.readouterr().err)
    assert isinstance(caught.value, _TakenError) or caught.value.code == 0 or is_filled_in


def test_cures_are_found() -> None:
    assert len(_cures()) > 15
