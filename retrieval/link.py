"""Join a gallery's passes to journeys: `vehicle-reid link --gallery G`."""

import argparse
import json
import sys
from pathlib import Path

from retrieval.galleries import MILVUS, open_gallery
from retrieval.gallery.clock import format_time
from retrieval.gallery.entries import format_probability
from retrieval.journeys.journey import Step, journey
from retrieval.journeys.linking import Linked, LinkOptions, link
from retrieval.journeys.passes import Passes, read_passes
from retrieval.journeys.store import LinkStore
from zoo.command_line import CommandParser
from zoo.errors import UserError, exit_on_user_error, from_extra

_PRINTED = 10
"""Journeys for people to see; JSON has them all."""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    defaults = LinkOptions()
    parser = CommandParser(
        module="retrieval.link",
        section="link",
        examples=["--gallery build/gallery", "--gallery build/gallery --undo"],
        description="Join what cameras saw to the journeys of vehicles, without labels: by looks, by the "
        "travel times that the gallery itself tells, and by colours and types. The proposals lie in the "
        "gallery's folder; what a person has confirmed or cut is kept.",
    )
    parser.add_argument("--gallery", required=True, metavar="DIR", help="the gallery's folder")
    parser.add_argument(
        "--within",
        type=float,
        default=defaults.within,
        metavar="SECONDS",
        help="the longest time from one camera to the next [%(default)g]",
    )
    parser.add_argument(
        "--certainty",
        type=float,
        default=defaults.certainty,
        metavar="P",
        help="the least one of a link that is proposed [%(default)g]",
    )
    parser.add_argument(
        "--fastest",
        type=float,
        default=defaults.fastest,
        metavar="KM/H",
        help="what no vehicle exceeds along the straight line, where places are known [%(default)g]",
    )
    parser.add_argument("--undo", action="store_true", help="take the last run's proposals away")
    parser.add_argument("--json", action="store_true", help="print the journeys as one JSON object")
    return parser


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = build_parser().parse_args(argv)
    if args.gallery.startswith(MILVUS):
        raise UserError(
            f"--gallery {args.gallery}: is in Milvus, and journeys are kept in a folder; copy it into one "
            "with `python -m retrieval.transfer`"
        )
    if not 0 < args.within <= 7 * 86_400:
        raise UserError(f"--within {args.within:g}: seconds above 0, at most a week, are expected")
    if not 0 < args.certainty < 1:
        raise UserError(f"--certainty {args.certainty:g}: a number between 0 and 1 is expected, such as 0.5")
    if not args.fastest > 0:
        raise UserError(f"--fastest {args.fastest:g}: kilometres an hour above 0 are expected")
    with open_gallery(args.gallery) as gallery:
        store = LinkStore(Path(args.gallery))
        if args.undo:
            return _undo(store, args)
        options = LinkOptions(args.within, args.certainty, args.fastest)
        passes = read_passes(gallery)
        if not len(passes):
            raise UserError(
                f"{args.gallery}: no image has both a camera and a time, which journeys are made of; name "
                "them when ingesting (--camera, --start)"
            )
        linked = _linked(passes, gallery.model.card.metric, options, store)
        run = store.add_run(passes, linked, options)
        ways = [[passes.images[row][0] for row in way] for way in linked.journeys(len(passes))]
        steps = [journey(gallery, store, way[0]) or [] for way in ways]
        _report(args, run, passes, steps)
    return 0


def _linked(passes: Passes, metric: str, options: LinkOptions, store: LinkStore) -> Linked:
    try:
        return link(passes, metric, options, store.marked("confirmed"), store.marked("cut"))
    except ModuleNotFoundError as error:
        raise UserError(f"linking needs SciPy; it {from_extra('video')}") from error


def _undo(store: LinkStore, args: argparse.Namespace) -> int:
    run = store.undo()
    if run is None:
        raise UserError(f"{args.gallery}: no run is left to take away; `--undo` is needed after a run only")
    print(f"run {run} was taken away; what people confirmed or cut stays")
    if args.json:
        print(json.dumps({"undone": run}))
    return 0


def _report(args: argparse.Namespace, run: int, passes: Passes, ways: list[list[Step]]) -> None:
    linked = sum(len(way) for way in ways)
    left_out = f"; {passes.left_out} images without camera or time were left out" if passes.left_out else ""
    print(f"{len(passes)} passes: {linked} of them make {len(ways)} journeys (run {run}){left_out}")
    for way in ways[:_PRINTED]:
        print("  " + " -> ".join(_text(step) for step in way))
    if len(ways) > _PRINTED:
        print(f"  .. and {len(ways) - _PRINTED} more; --json prints all")
    if args.json:
        found = {
            "run": run,
            "passes": len(passes),
            "linked": linked,
            "left_out": passes.left_out,
            "journeys": [[step.as_json() for step in way] for way in ways],
        }
        print(json.dumps(found, ensure_ascii=False))


def _text(step: Step) -> str:
    where = f"{step.images[0].camera_name} {'' if step.start is None else format_time(step.start)}".strip()
    if step.link is None:
        return where
    if step.link.mark == "confirmed":
        return f"{where} [confirmed]"
    return f"{where} [{format_probability(step.link.certainty or 0)}]"


if __name__ == "__main__":
    sys.exit(main())
