"""The arguments of a command: a help that ends with an example and names the command as it was called."""

import argparse
from collections.abc import Sequence
from typing import Any

from vehicle_reid import called_as


class _Formatter(argparse.HelpFormatter):
    """Keeps text that has lines of its own as it is, and wraps the rest."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" not in text:
            return super()._fill_text(text, width, indent)
        return "".join(indent + line for line in text.splitlines(keepends=True))


class CommandParser(argparse.ArgumentParser):
    """A parser whose help ends with examples; subparsers are of the same kind."""

    def __init__(self, *, examples: Sequence[str], module: str = "", **options: Any) -> None:
        """Make one.

        Args:
            examples: arguments that work, one command each.
            module: that `python -m` runs; a subparser is named by the parser above it.
            options: of `argparse.ArgumentParser`.
        """
        if module:
            options["prog"] = called_as(module)
        lines = "\n".join(f"  %(prog)s {example}".rstrip() for example in examples)
        title = "examples" if len(examples) > 1 else "example"
        super().__init__(formatter_class=_Formatter, epilog=f"{title}:\n{lines}", **options)
