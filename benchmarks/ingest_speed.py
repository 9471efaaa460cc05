"""Images a second of an ingest, by those of its encoder alone: `python -m benchmarks.ingest_speed`.

Both take the same images in turns, several rounds in one process; the encoder's own speed is that of images
which lie in memory. The median of the rounds' ratios is the figure.
"""

import argparse
import io
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from retrieval.galleries import open_gallery, open_gallery_encoder
from retrieval.sources.folder import list_images
from retrieval.sources.pipeline import BATCH_SIZE, ingest
from zoo.errors import UserError, exit_on_user_error

SIZE = (320, 240)


def draw_images(folder: Path, count: int) -> None:
    """JPEGs with as much detail as a photograph's: coarse areas and fine noise."""
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(SIZE)
        noisy = np.asarray(coarse) + rng.normal(0, 12, (SIZE[1], SIZE[0], 3))
        buffer = io.BytesIO()
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
        (folder / f"{number:06}.jpg").write_bytes(buffer.getvalue())


def measure(images: Path, spec: str, rounds: int, scratch: Path, threads: int | None) -> dict[str, float]:
    """Medians over the rounds: images a second of either, and their ratio."""
    files = list_images(images)
    encoder, model = open_gallery_encoder(scratch / "none", spec, threads)
    data = [file.path.read_bytes() for file in files]
    encoder.encode(data[:BATCH_SIZE])
    alone, whole = [], []
    try:
        for number in tqdm(range(rounds), unit="round", file=sys.stderr):
            begun = time.perf_counter()
            for start in range(0, len(data), BATCH_SIZE):
                encoder.encode(data[start : start + BATCH_SIZE])
            alone.append(len(data) / (time.perf_counter() - begun))
            begun = time.perf_counter()
            with open_gallery(scratch / f"gallery-{number}", model=model, writable=True) as gallery:
                summary = ingest(files, gallery, encoder)
            whole.append(len(data) / (time.perf_counter() - begun))
            if summary.added != len(files):
                raise UserError(f"{images}: {len(summary.bad)} images cannot be used; take them out")
    finally:
        encoder.close()
    return {
        "encoder_images_per_second": statistics.median(alone),
        "ingest_images_per_second": statistics.median(whole),
        "ratio": statistics.median(one / other for one, other in zip(whole, alone, strict=True)),
    }


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ingest_speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--encoder", default="build/bundle", metavar="SPEC", help="default: build/bundle")
    parser.add_argument("--images", type=Path, metavar="DIR", help="default: drawn, 320x240 pixels")
    parser.add_argument("--count", type=int, default=512, help="of drawn images (default: 512)")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--threads", type=int, help="of an encoder in this process (default: every core)")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line")
    args = parser.parse_args(argv)
    if args.rounds < 1 or args.count < BATCH_SIZE:
        raise UserError(f"--rounds and --count: at least 1 and {BATCH_SIZE}")
    with tempfile.TemporaryDirectory(prefix="ingest-speed-") as folder:
        scratch = Path(folder)
        images = args.images
        if images is None:
            images = scratch / "images"
            images.mkdir()
            draw_images(images, args.count)
        result = measure(images, args.encoder, args.rounds, scratch, args.threads)
    print(
        f"ingest {result['ingest_images_per_second']:.1f} images/s, the encoder alone "
        f"{result['encoder_images_per_second']:.1f}: {result['ratio']:.3f} of it"
    )
    if args.json:
        print(json.dumps({**result, "cpus": os.cpu_count()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
