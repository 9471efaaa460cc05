"""Camera centring as an option of a command."""

import argparse


def add_centring(parser: argparse.ArgumentParser, whose: str = "") -> None:
    """Add `--camera-centring`, whose value is True, False, or None where nothing is said.

    Args:
        parser: of the command.
        whose: what the help begins with.
    """
    parser.add_argument(
        "--camera-centring",
        choices=(True, False),
        type=_on_or_off,
        metavar="on|off",
        help=f"{whose}take each camera's mean embedding away before comparing; a gallery that is written to "
        "remembers it (default: what the gallery remembers, at first off)",
    )


def _on_or_off(text: str) -> bool:
    if text not in ("on", "off"):
        raise argparse.ArgumentTypeError(f"{text!r}: on or off is expected")
    return text == "on"
