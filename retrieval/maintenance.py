"""Look after a gallery in a folder: `vehicle-reid gallery check --gallery G`."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from retrieval.galleries import MILVUS
from retrieval.local.examination import examine, repair
from zoo.command_line import CommandParser
from zoo.errors import UserError, exit_on_user_error

_SHOWN = 5


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        module="retrieval.maintenance",
        examples=["check --gallery build/gallery"],
        description="Look after a gallery in a folder.",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    check = actions.add_parser(
        "check",
        examples=["--gallery build/gallery", "--gallery build/gallery --repair"],
        help="compare everything in it with its checksums",
        description="Read the whole gallery and compare it with its checksums. Others may search and write "
        "meanwhile. Ends with exit code 2 where something is damaged.",
    )
    check.add_argument("--gallery", required=True, metavar="DIR", help="the gallery's folder")
    check.add_argument(
        "--repair",
        action="store_true",
        help="take damaged images out, name them, and have derived files made anew; no other may write",
    )
    check.add_argument("--json", action="store_true", help="print what was found as one JSON object")
    return parser


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = build_parser().parse_args(argv)
    if args.gallery.startswith(MILVUS):
        raise UserError(f"--gallery {args.gallery}: is in Milvus, which looks after its files; give a folder")
    folder = Path(args.gallery)
    removed: list[str] = []
    if args.repair:
        # A path that is mistyped must not make a gallery.
        if not (folder / "gallery.sqlite").exists():
            examine(folder)
        removed = repair(folder)
    found = examine(folder)
    if removed:
        print(f"{len(removed)} damaged images were taken out; ingest them again: {', '.join(removed)}")
    if args.json:
        print(json.dumps(asdict(found) | {"removed": removed}))
    if not found.is_whole:
        parts = [*found.database]
        if found.damaged:
            more = ", .." if len(found.damaged) > _SHOWN else ""
            parts.append(f"{len(found.damaged)} images ({', '.join(found.damaged[:_SHOWN])}{more})")
        if found.derived == "damaged":
            parts.append("derived files")
        cure = (
            "ingest the images again into a new folder"
            if args.repair
            else "the same command with --repair mends what can be mended"
        )
        raise UserError(f"{folder}: damaged: {'; '.join(parts)}; {cure}")
    if not args.json:
        print(f"{folder}: {found.images} images, all as they were written; derived files: {found.derived}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
