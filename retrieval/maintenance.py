"""Look after a gallery: `vehicle-reid gallery check | backup | restore | reembed | prune`."""

import argparse
import json
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from retrieval.companions import some, take_over
from retrieval.galleries import MILVUS, open_gallery, open_gallery_encoder
from retrieval.gallery.clock import parse_time, parse_zone
from retrieval.local.backup import back_up, restore
from retrieval.local.examination import examine, repair
from retrieval.local.gallery import erase_traces
from retrieval.sources.originals import Originals
from retrieval.sources.reembedding import reembed
from retrieval.sources.retention import find_expired
from zoo.command_line import CommandParser
from zoo.errors import UserError, exit_on_user_error

_REMOVED_AT_ONCE = 1000


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        module="retrieval.maintenance",
        examples=["check --gallery build/gallery", "backup --gallery build/gallery --to backups/monday"],
        description="Look after a gallery: check and mend it, copy it while it is in use, put the copy back, "
        "move it to another model, take out what is old or gone.",
    )
    actions = parser.add_subparsers(dest="action", required=True)

    def add(name: str, action: Any, examples: list[str], what: str, description: str) -> CommandParser:
        added: CommandParser = actions.add_parser(
            name, examples=examples, section=f"gallery_{name}", help=what, description=description
        )
        added.set_defaults(run=action)
        added.add_argument("--json", action="store_true", help="print what was done as one JSON object")
        return added

    check = add(
        "check",
        _check,
        ["--gallery build/gallery", "--gallery build/gallery --repair"],
        "compare everything in it with its checksums",
        "Read the whole gallery, compare it with its checksums and the derived files with it, and decode the "
        "pictures. Others may search and write meanwhile. Ends with exit code 2 where something is damaged.",
    )
    check.add_argument("--gallery", required=True, metavar="DIR", help="the gallery's folder")
    check.add_argument(
        "--repair",
        action="store_true",
        help="take damaged images out, name them, and have derived files made anew; no other may write",
    )
    backup = add(
        "backup",
        _backup,
        ["--gallery build/gallery --to backups/monday"],
        "copy it while it is in use",
        "Copy a gallery as it is at one moment, with checksums, into a new folder. Others may search and "
        "write meanwhile. The copy is read again before it takes its name.",
    )
    backup.add_argument("--gallery", required=True, metavar="DIR", help="the gallery's folder")
    backup.add_argument("--to", required=True, type=Path, metavar="DIR", help="that is not there yet")
    back = add(
        "restore",
        _restore,
        ["--from backups/monday --gallery build/gallery"],
        "make a gallery of a backup",
        "Make a gallery of a backup. It takes its place in one step, when all of it is on the disk.",
    )
    back.add_argument("--from", dest="source", required=True, type=Path, metavar="DIR", help="the backup")
    back.add_argument("--gallery", required=True, metavar="DIR", help="the folder to make")
    back.add_argument(
        "--replace",
        action="store_true",
        help="let a gallery that is there make way; it is kept in DIR.replaced",
    )
    again = add(
        "reembed",
        _reembed,
        ["--gallery build/gallery --to build/gallery-2 --encoder lite0_osnet.real --originals pictures"],
        "encode its images with another model",
        "Encode every image of a gallery with another model, into another gallery. The first one stays as it "
        "is, and in use; run the command again after an interruption, and for what has come meanwhile.",
    )
    kinds = "a folder, milvus[+tls]://HOST:PORT/NAME, or milvus:FILE.db"
    again.add_argument("--gallery", required=True, metavar="GALLERY", help=kinds)
    again.add_argument("--to", required=True, metavar="GALLERY", help=f"{kinds}; made when it is not there")
    again.add_argument(
        "--encoder", metavar="SPEC", help="a model's name, a bundle, or triton:grpc://HOST:PORT"
    )
    again.add_argument(
        "--originals",
        type=Path,
        metavar="DIR",
        help="where the files may be that it was filled from (default: its small pictures are encoded)",
    )
    again.add_argument("--index", metavar="SPEC", help="of the new gallery; see retrieval.ingest")
    prune = add(
        "prune",
        _prune,
        [
            "--gallery build/gallery --older-than 2026-05-01",
            "--gallery build/gallery --missing-from pictures",
        ],
        "take out what is old, or gone where it came from",
        "Take images out for good: those before a time, and those whose files are no longer in the folder "
        "that they came from. No other may write meanwhile.",
    )
    prune.add_argument("--gallery", required=True, metavar="GALLERY", help=kinds)
    prune.add_argument("--older-than", metavar="TIME", help="a date, with a time of day if that matters")
    prune.add_argument("--zone", default="UTC", metavar="NAME", help="that TIME is in (default: UTC)")
    prune.add_argument("--missing-from", type=Path, metavar="DIR", help="a folder that was ingested")
    prune.add_argument("--dry-run", action="store_true", help="only say what would go")
    return parser


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = build_parser().parse_args(argv)
    content = args.run(args)
    if args.json:
        print(json.dumps(content, ensure_ascii=False))
    if fault := content.get("fault"):
        raise UserError(fault)
    return 0


def _check(args: argparse.Namespace) -> dict[str, Any]:
    folder = _folder(args.gallery, "looks after its files itself")
    removed: list[str] = []
    if args.repair:
        # A path that is mistyped must not make a gallery.
        if not (folder / "gallery.sqlite").exists():
            examine(folder)
        removed = repair(folder)
    found = examine(folder)
    content = asdict(found) | {"removed": removed}
    if removed:
        _say(args, f"{len(removed)} damaged images were taken out; ingest them again: {', '.join(removed)}")
    if found.is_whole:
        _say(
            args, f"{folder}: {found.images} images, all as they were written; derived files: {found.derived}"
        )
        return content
    parts = [*found.database]
    if found.damaged:
        parts.append(f"{len(found.damaged)} images ({some(found.damaged)})")
    if found.derived == "damaged":
        parts.append("derived files")
    cure = (
        "ingest the images again into a new folder"
        if args.repair
        else "the same command with --repair mends what can be mended"
    )
    return content | {"fault": f"{folder}: damaged: {'; '.join(parts)}; {cure}"}


def _backup(args: argparse.Namespace) -> dict[str, Any]:
    folder = _folder(args.gallery, "is copied into a folder by `python -m retrieval.transfer`")
    with _Progress("page") as bar:
        backup = back_up(folder, args.to, bar.show)
    _say(args, f"{args.to}: {backup.images} images of {folder}, {backup.bytes / 2**20:.1f} MB, read again")
    return asdict(backup)


def _restore(args: argparse.Namespace) -> dict[str, Any]:
    folder = _folder(args.gallery, "is filled from a folder by `python -m retrieval.transfer`")
    with _Progress("B") as bar:
        kept = restore(args.source, folder, replace=args.replace, advance=bar.show)
    with open_gallery(folder) as gallery:
        images = len(gallery)
    _say(args, f"{folder}: {images} images" + (f"; the gallery that was there is in {kept}" if kept else ""))
    return {"images": images, "gallery": str(folder), "replaced": None if kept is None else str(kept)}


def _reembed(args: argparse.Namespace) -> dict[str, Any]:
    if Path(args.gallery).resolve() == Path(args.to).resolve():
        raise UserError(f"--to {args.to}: is the gallery to read; name another, and use it when it is whole")
    originals = None if args.originals is None else Originals(args.originals)
    with open_gallery(args.gallery) as source:
        encoder, model = open_gallery_encoder(args.to, args.encoder)
        with (
            closing(encoder),
            open_gallery(
                args.to,
                model=model,
                writable=True,
                index=args.index,
                camera_centring=source.camera_centring,
            ) as target,
            tqdm(total=len(source), unit="image", desc="reembed", file=sys.stderr) as bar,
        ):
            done = reembed(source, target, encoder, originals, bar.update)
            size = len(target)
            along = take_over(source, target)
    _say(
        args,
        f"{args.to}: holds {size} images of {model.card.name}; {done.from_originals} encoded from originals, "
        f"{done.from_pictures} from kept pictures, {done.known} there before, {done.removed} removed, in "
        f"{done.seconds:.1f} s; {along}",
    )
    content = asdict(done) | asdict(along) | {"gallery": args.to, "size": size, "model": model.card.name}
    if done.bad:
        first = next(iter(done.bad.values()))
        content["fault"] = (
            f"{args.to}: lacks {len(done.bad)} of {done.images} images, which cannot be encoded ({first}); "
            "ingest them again"
        )
    return content


def _prune(args: argparse.Namespace) -> dict[str, Any]:
    if args.older_than is None and args.missing_from is None:
        raise UserError("nothing says what should go; give --older-than TIME, --missing-from DIR, or both")
    before = None if args.older_than is None else parse_time(args.older_than, parse_zone(args.zone))
    with open_gallery(args.gallery, writable=not args.dry_run) as gallery:
        with tqdm(total=len(gallery), unit="image", desc="prune", file=sys.stderr) as bar:
            found = find_expired(gallery, before, args.missing_from, bar.update)
        removed = 0
        if not args.dry_run:
            for start in range(0, len(found.keys), _REMOVED_AT_ONCE):
                removed += gallery.remove(found.keys[start : start + _REMOVED_AT_ONCE])
        size = len(gallery)
    if removed and not args.gallery.startswith(MILVUS):
        erase_traces(Path(args.gallery))
    what = (
        f"{len(found.keys)} of {found.images} images would go" if args.dry_run else f"{removed} images went"
    )
    _say(
        args,
        f"{args.gallery}: {what}: {len(found.old)} old, {len(found.missing)} missing"
        + (f" ({some(found.keys)})" if found.keys else "")
        + (f"; {found.undated} have no time and stay" if found.undated else "")
        + (f"; {found.elsewhere} come from elsewhere and stay" if found.elsewhere else ""),
    )
    return asdict(found) | {"removed": removed, "size": size, "dry_run": args.dry_run}


def _folder(name: str, instead: str) -> Path:
    if name.startswith(MILVUS):
        raise UserError(f"--gallery {name}: is in Milvus, which {instead}; give a folder")
    return Path(name)


def _say(args: argparse.Namespace, text: str) -> None:
    """Print for people, where no program reads."""
    if not args.json:
        print(text)


class _Progress(tqdm):  # type: ignore[misc]
    """A bar that is told what is done and how much there is."""

    def __init__(self, unit: str) -> None:
        super().__init__(unit=unit, unit_scale=True, delay=0.5, file=sys.stderr)

    def show(self, done: int, total: int) -> None:
        """Show it."""
        self.total = total
        self.update(done - self.n)


if __name__ == "__main__":
    sys.exit(main())
