"""Camera centring as an option of a command."""

import argparse
import sys

from retrieval.gallery.base import Gallery


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


def warn_of_traffic(gallery: Gallery) -> str:
    """Say on stderr where the gallery's cameras see different traffic; return what was said."""
    warning = gallery.traffic_warning()
    if warning:
        print(f"warning: {warning}", file=sys.stderr)
    return warning


def _on_or_off(text: str) -> bool:
    if text not in ("on", "off"):
        raise argparse.ArgumentTypeError(f"{text!r}: on or off is expected")
    return text == "on"
