"""Copy a gallery into another one, of any kind: `python -m retrieval.transfer --from DIR --to milvus://..`."""

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from retrieval.centring import add_centring
from retrieval.companions import take_over
from retrieval.galleries import open_gallery
from retrieval.gallery.base import Gallery
from zoo.command_line import CommandParser
from zoo.errors import UserError, exit_on_user_error


def transfer(source: Gallery, target: Gallery, bar: "tqdm[None]") -> int:
    """Copy cameras and images; return how many images were new in `target` or replaced something."""
    target.set_cameras(source.cameras())
    changed = 0
    for batch in source.entries():
        changed += target.add(batch)
        bar.update(len(batch))
    return changed


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        module="retrieval.transfer",
        section="transfer",
        examples=["--from build/gallery --to milvus:build/gallery.db"],
        description="Copy every image of a gallery, as it is, into another one, which may be of another kind;"
        " between folders its cases and what people said of links too. Nothing is encoded again, and what the"
        " other one has already stays, so that it can be run again.",
    )
    kinds = "a folder, milvus[+tls]://HOST:PORT/NAME, or milvus:FILE.db"
    parser.add_argument("--from", dest="source", required=True, metavar="GALLERY", help=kinds)
    parser.add_argument(
        "--to", dest="target", required=True, metavar="GALLERY", help=f"{kinds}; made when it is not there"
    )
    parser.add_argument("--index", metavar="SPEC", help="of the target; see retrieval.ingest")
    add_centring(parser, "of the target: ")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    return parser


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = build_parser().parse_args(argv)
    if Path(args.source).resolve() == Path(args.target).resolve():
        raise UserError(f"--to {args.target}: is the gallery to copy from; choose another")
    started = time.monotonic()
    with open_gallery(args.source) as source:
        total = len(source)
        with (
            open_gallery(
                args.target,
                model=source.model,
                writable=True,
                index=args.index,
                camera_centring=args.camera_centring,
            ) as target,
            tqdm(total=total, unit="image", desc="transfer", file=sys.stderr) as bar,
        ):
            changed = transfer(source, target, bar)
            along = take_over(source, target)
            size = len(target)
    seconds = round(time.monotonic() - started, 3)
    print(
        f"{changed} of {total} images were new to {args.target}, which holds {size}; {along}; {seconds:.1f} s"
    )
    if args.json:
        content = {"images": total, "changed": changed, "size": size, "seconds": seconds}
        print(json.dumps(content | asdict(along)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
