"""The arguments of a command: a help that ends with an example and names the command as it was called."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from vehicle_reid import called_as
from zoo.configuration import add_configuration, as_toml, with_configuration
from zoo.numbers import plain


class _Formatter(argparse.HelpFormatter):
    """Keeps text that has lines of its own as it is, and wraps the rest."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" not in text:
            return super()._fill_text(text, width, indent)
        return "".join(indent + line for line in text.splitlines(keepends=True))


class CommandParser(argparse.ArgumentParser):
    """A parser whose help ends with examples; subparsers are of the same kind."""

    def __init__(
        self, *, examples: Sequence[str], module: str = "", section: str = "", **options: Any
    ) -> None:
        """Make one.

        Args:
            examples: arguments that work, one command each.
            module: that `python -m` runs; a subparser is named by the parser above it.
            section: of a configuration file and of the environment that may give the options as well, see
                `zoo.configuration`; empty for a command that has none.
            options: of `argparse.ArgumentParser`.
        """
        if module:
            options["prog"] = called_as(module)
        lines = "\n".join(f"  %(prog)s {example}".rstrip() for example in examples)
        title = "examples" if len(examples) > 1 else "example"
        super().__init__(formatter_class=_Formatter, epilog=f"{title}:\n{lines}", **options)
        for kind in (int, float):
            self.register("type", kind, lambda text, kind=kind: kind(plain(text)))
        self._section = section
        if section:
            add_configuration(self, section)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Read the arguments, and what a file and the environment say where the command asks them.

        Whole command lines and those of subcommands come through here.

        Raises:
            UserError: see `zoo.configuration.with_configuration`.
        """
        typed = sys.argv[1:] if args is None else list(args)
        if not self._section or {"-h", "--help"} & set(typed):
            return super().parse_known_args(typed, namespace)
        given = with_configuration(self, self._section, typed, os.environ)
        found, unknown = super().parse_known_args(given, namespace)
        if found.print_config and not unknown:
            print(as_toml(self, self._section, found))
            self.exit()
        return found, unknown
