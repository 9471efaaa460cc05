"""Options of a command from a file and from the environment, beside those that are typed.

A typed option goes before an environment variable, that before the file, and the file before the default.
"""

import argparse
import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.errors import UserError

PREFIX = "VEHICLE_REID_"
_OWN = ("help", "config", "print_config", "json")
"""What is of one call, and not of a service."""


@dataclass(frozen=True)
class _Setting:
    """A value that was not typed, and where it stands, for messages."""

    value: Any
    where: str


def add_configuration(parser: argparse.ArgumentParser, section: str) -> None:
    """Add the options that say where the others come from."""
    group = parser.add_argument_group("configuration")
    group.add_argument(
        "--config",
        metavar="FILE",
        help=f"TOML whose table [{section}] has options by their long names, such as port = 7860 (default: "
        f"${PREFIX}CONFIG); variables such as {PREFIX}{section.upper()}_PORT go before it, and options that "
        "are typed before both",
    )
    group.add_argument(
        "--print-config", action="store_true", help="print what all options come to, as such a file, and end"
    )


def with_configuration(
    parser: argparse.ArgumentParser, section: str, arguments: Sequence[str], environment: Mapping[str, str]
) -> list[str]:
    """Put what the file and the environment say before what was typed, as if it had been typed first.

    Raises:
        UserError: a file that cannot be read, an option that is not known, or a value that does not fit.
    """
    options = _options(parser)
    finder = argparse.ArgumentParser(add_help=False)
    finder.add_argument("--config")
    file = finder.parse_known_args(list(arguments))[0].config or environment.get(f"{PREFIX}CONFIG")
    settings = _of_file(file, section, options) if file else {}
    settings |= _of_environment(environment, section, options)
    first: list[str] = []
    for name, setting in settings.items():
        first.extend(_as_typed(options[name], setting))
    return [*first, *arguments]


def as_toml(parser: argparse.ArgumentParser, section: str, values: argparse.Namespace) -> str:
    """What the options come to, as a file that `--config` takes; what is not set is a comment."""
    lines = [f"[{section}]"]
    for name, action in _options(parser).items():
        value = getattr(values, action.dest)
        if value is None:
            lines.append(f"# {name} =")
        else:
            plain = value if isinstance(value, bool | int | float) else str(value)
            lines.append(f"{name} = {json.dumps(plain, ensure_ascii=False)}")
    return "\n".join(lines)


def _options(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """The options of a service by their long names, with `_` for `-`."""
    named = {
        action.option_strings[-1].lstrip("-").replace("-", "_"): action
        for action in parser._actions
        if action.option_strings
    }
    return {name: action for name, action in named.items() if name not in _OWN}


def _of_file(path: str, section: str, options: Mapping[str, argparse.Action]) -> dict[str, _Setting]:
    try:
        with open(path, "rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"--config {path}: cannot be read ({reason}); mend the path") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"--config {path}: not TOML that can be read ({error}); mend the file") from error
    # Tables of other names may be other commands'.
    table = content.get(section, {})
    if not isinstance(table, dict) or any(not isinstance(value, dict) for value in content.values()):
        raise UserError(
            f"{path}: options stand in a table of the command's name; write [{section}] above them"
        )
    found = {}
    for name, value in table.items():
        known = _known(name.replace("-", "_"), options, f"{path}: [{section}] {name}")
        found[known] = _Setting(value, f"{path}: [{section}] {name}")
    return found


def _of_environment(
    environment: Mapping[str, str], section: str, options: Mapping[str, argparse.Action]
) -> dict[str, _Setting]:
    found = {}
    start = f"{PREFIX}{section.upper()}_"
    for variable, text in environment.items():
        if variable.startswith(start):
            known = _known(variable.removeprefix(start).lower(), options, variable)
            is_flag = options[known].nargs == 0
            flags = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}
            value = flags.get(text.lower(), text) if is_flag else text
            found[known] = _Setting(value, variable)
    return found


def _known(name: str, options: Mapping[str, argparse.Action], where: str) -> str:
    if name in options:
        return name
    near = difflib.get_close_matches(name, options, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(options)}"
    raise UserError(f"{where}: no option has this name; {hint}")


def _as_typed(action: argparse.Action, setting: _Setting) -> list[str]:
    """The arguments that say the same."""
    option, value = action.option_strings[-1], setting.value
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise UserError(
                f"{setting.where}: {value!r} is neither true nor false, which is all that {option} is"
            )
        return [option] if value else []
    if isinstance(value, bool):
        value = "on" if value else "off"
    if not isinstance(value, str | int | float):
        raise UserError(f"{setting.where}: {value!r} is not a value of {option}; write one text or number")
    text = str(value)
    try:
        read = action.type(text) if callable(action.type) else text
    except (ValueError, TypeError, argparse.ArgumentTypeError):
        raise UserError(f"{setting.where}: {text!r} is not a value that {option} takes; see --help") from None
    if action.choices is not None and read not in action.choices:
        choices = ", ".join(map(str, action.choices))
        raise UserError(f"{setting.where}: {text!r} is not a value that {option} takes; there are {choices}")
    return [f"{option}={text}"]
