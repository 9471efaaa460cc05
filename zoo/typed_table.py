"""TOML tables to dataclasses that refuse what they do not know."""

import contextlib
import dataclasses
import difflib
import types
import typing
from collections.abc import Collection
from typing import Any, Literal

from zoo.errors import UserError


def build(cls: Any, values: dict[str, Any], where: str, options: Collection[str] = ()) -> Any:
    """Make a dataclass of a TOML table, checking every key and type.

    Args:
        cls: the dataclass; its fields may be dataclasses, tuples, literals and unions of such.
        values: the table; dataclasses in it are taken as they are.
        where: the table comes from, for messages.
        options: of the command that reads the file, which some write into it.

    Raises:
        UserError: an unknown key, or a value that does not fit.
    """
    hints = typing.get_type_hints(cls)
    for key in values:
        if key not in hints:
            raise UserError(f"{where}: unknown key {key!r}; {_hint(key, hints, options)}")
    converted = {key: _convert(hints[key], value, f"{where}: {key}") for key, value in values.items()}
    try:
        return cls(**converted)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error


def _hint(key: str, hints: dict[str, Any], options: Collection[str]) -> str:
    """Say where a key belongs that a table does not have, or what may be meant by it."""
    option = key.lstrip("-").replace("-", "_")
    if option in options:
        return f"it is an option of the command: --{option.replace('_', '-')}"
    homes = [
        name
        for name, hint in hints.items()
        if dataclasses.is_dataclass(hint) and option in {field.name for field in dataclasses.fields(hint)}
    ]
    if homes:
        return f"it belongs into [{homes[0]}]"
    near = difflib.get_close_matches(key, hints, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(hints)}"


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _convert_union(arguments, value, where)
    if dataclasses.is_dataclass(hint):
        if dataclasses.is_dataclass(value):
            return value
        if isinstance(value, dict):
            return build(hint, value, where)
    elif origin is Literal:
        if value in arguments:
            return value
        raise UserError(f"{where} = {value!r}: expected one of {', '.join(map(repr, arguments))}")
    elif origin is tuple:
        if isinstance(value, list | tuple):
            inner = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
            if len(inner) == len(value):
                return tuple(_convert(h, v, where) for h, v in zip(inner, value, strict=True))
    elif type(value) is hint or (hint is float and type(value) is int):
        return hint(value)
    raise UserError(f"{where} = {value!r}: expected {_name(hint)}")


def _convert_union(choices: tuple[Any, ...], value: Any, where: str) -> Any:
    # None is what a file leaves out, because TOML has no null.
    named = [choice for choice in choices if choice is not types.NoneType]
    if value is None and len(named) < len(choices):
        return None
    if len(named) == 1:
        return _convert(named[0], value, where)
    for choice in named:
        with contextlib.suppress(UserError):
            return _convert(choice, value, where)
    raise UserError(f"{where} = {value!r}: expected {' or '.join(map(_name, named))}")


def _name(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return " or ".join(map(repr, typing.get_args(hint)))
    return hint.__name__ if isinstance(hint, type) and not isinstance(hint, types.GenericAlias) else str(hint)
