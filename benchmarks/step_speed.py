"""`python -m benchmarks.step_speed`: images/s of this project's training step beside plain arithmetic.

The plain step is what the published code's family does: fp32 tensors in NCHW, a triplet loss that mines in a
Python loop over the anchors, an optimiser that walks through the parameters one by one. All variants take
turns, step by step, in two processes: one with the C library's own memory settings, one that keeps freed
memory, because that cannot be turned off again. The first steps, in which their memory settles, do not count.
While one process works the other gives its memory back, so that 10 GB suffice.
"""

import argparse
import ctypes
import json
import multiprocessing
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from training.data.batches import Batch
from training.distributed.devices import keep_freed_memory
from training.distributed.ranks import Ranks
from training.losses import batch_hard_triplet
from training.run.recipe import Recipe, load_recipe
from training.run.state import TrainState
from training.run.step import train_step
from zoo.errors import exit_on_user_error
from zoo.inference import Normalisation
from zoo.registry import create_model, make_card

VEHICLES = 575
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Variant:
    """A way to take the step; `product` takes the project's own, whatever it consists of, `half` its O2."""

    name: str
    channels_last: bool = False
    fused: bool = False
    vectorised: bool = False
    keep_memory: bool = False
    bf16: bool = False
    compiled: bool = False
    product: bool = False
    half: bool = False


PLAIN = Variant("plain arithmetic")
OURS = (
    Variant("this project, fp32", keep_memory=True, product=True),
    Variant("this project, bf16", keep_memory=True, bf16=True, product=True),
)
MEASURES = (
    Variant("plain + channels_last", channels_last=True),
    Variant("plain + fused Adam", fused=True),
    Variant("plain + vectorised triplet", vectorised=True),
    Variant("plain + freed memory kept", keep_memory=True),
    Variant("plain + bf16 autocast", bf16=True),
)
COMPILED = Variant("plain + torch.compile", compiled=True)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.step_speed",
        description="Measure the training step beside plain arithmetic.",
    )
    parser.add_argument("--size", type=int, default=256, help="side of the images [%(default)s]")
    parser.add_argument("--batch", type=int, default=32, help="images, 4 of each vehicle [%(default)s]")
    parser.add_argument("--rounds", type=int, default=4, help="timed steps of each variant [%(default)s]")
    parser.add_argument("--warmup", type=int, default=3, help="steps before them [%(default)s]")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of torch [%(default)s]")
    parser.add_argument("--measures", action="store_true", help="what each measure alone brings, too")
    parser.add_argument("--compile", action="store_true", help="torch.compile, too; minutes of compilation")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON line at the end")
    return parser.parse_args(argv)


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Measure and print the table."""
    arguments = parse_arguments(argv)
    variants = [PLAIN, *OURS]
    if arguments.measures:
        variants += MEASURES
    if arguments.compile:
        variants.append(COMPILED)
    rows = measure(variants, arguments)
    print(f"{'':<28}{'images/s':>9}{'ratio':>7}{'CPU s':>7}{'ratio':>7}")
    for row in rows:
        print(
            f"{row['name']:<28}{row['images_per_second']:>9.2f}{row['ratio']:>7.2f}{row['cpu_seconds']:>7.2f}"
            f"{row['cpu_ratio']:>7.2f}"
        )
    if arguments.json:
        machine = f"{platform.machine()}, {arguments.threads} threads, torch {torch.__version__}"
        print(json.dumps({"machine": machine, **vars(arguments), "variants": rows}))
    return 0


def measure(variants: list[Variant], arguments: argparse.Namespace) -> list[dict[str, object]]:
    """Time the variants in turns; medians, and ratios to the first variant's."""
    seconds: dict[str, list[tuple[float, float]]] = {variant.name: [] for variant in variants}
    workers = {keep: Worker(arguments, keep) for keep in (False, True)}
    try:
        for number in tqdm(range(arguments.warmup + arguments.rounds), unit="round"):
            for variant in sorted(variants, key=lambda variant: variant.keep_memory):
                taken = workers[variant.keep_memory].step(variant)
                if number >= arguments.warmup:
                    seconds[variant.name].append(taken)
            workers[True].rest()
    finally:
        for worker in workers.values():
            worker.close()
    medians = {
        name: [statistics.median(values) for values in zip(*pairs, strict=True)]
        for name, pairs in seconds.items()
    }
    wall, cpu = medians[variants[0].name]
    return [
        {
            **asdict(variant),
            "images_per_second": arguments.batch / medians[variant.name][0],
            "ratio": wall / medians[variant.name][0],
            "cpu_seconds": medians[variant.name][1],
            "cpu_ratio": cpu / medians[variant.name][1],
            "seconds": [round(value, 3) for value, _ in seconds[variant.name]],
        }
        for variant in variants
    ]


class Worker:
    """A process that takes steps when it is told to."""

    def __init__(self, arguments: argparse.Namespace, keep_memory: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, arguments, keep_memory), daemon=True)
        self.process.start()

    def step(self, variant: Variant) -> tuple[float, float]:
        """Take a step; its seconds, and CPU seconds of all threads."""
        self.pipe.send(variant)
        seconds: tuple[float, float] = self.pipe.recv()
        return seconds

    def rest(self) -> None:
        """Give freed memory back. A step that nobody times comes before the next one, to get it again."""
        self.pipe.send(None)
        self.pipe.recv()

    def close(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.join()


def work(pipe: Connection, arguments: argparse.Namespace, keep_memory: bool) -> None:
    """Serve a `Worker`."""
    torch.set_num_threads(arguments.threads)
    if keep_memory:
        keep_freed_memory()
    batch = make_batch(arguments.batch, arguments.size)
    steps: dict[Variant, Callable[[], object]] = {}
    rested = False
    while True:
        variant: Variant | None = pipe.recv()
        if variant is None:
            rested = True
            ctypes.CDLL(None).malloc_trim(0)
            pipe.send((0.0, 0.0))
            continue
        if variant not in steps:
            steps[variant] = product_step(variant, batch) if variant.product else plain_step(variant, batch)
        if rested:
            steps[variant]()
            rested = False
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        steps[variant]()
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        pipe.send((time.perf_counter() - start, cpu))


def make_batch(count: int, size: int) -> Batch:
    """Make a batch of noise, 4 images of each vehicle."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=generator)
    label = torch.arange(count) // 4
    return Batch(image, label, label % 10, label % 9)


def product_step(variant: Variant, batch: Batch, device: torch.device = CPU) -> Callable[[], object]:
    """Prepare the project's step by the recipe `pamtri`; it starts from bytes."""
    recipe: Recipe = load_recipe("pamtri", amp="O2" if variant.half else "bf16" if variant.bf16 else "O0")
    model = create_model(recipe.model.arch, num_ids=VEHICLES, **recipe.model.options()).train()
    card = make_card(model, f"{recipe.model.arch}.{recipe.name}", recipe.size)
    state = TrainState(model, card, recipe, Ranks(device=device))
    if variant.compiled:
        state.amp.network = torch.compile(state.amp.network)  # type: ignore[assignment]
    return lambda: train_step(state, batch, progress=0.0)


def plain_step(variant: Variant, batch: Batch, device: torch.device = CPU) -> Callable[[], object]:
    """Prepare the plain step, with the measures that the variant adds; it starts from normalised floats."""
    recipe = load_recipe("pamtri")
    model = create_model(recipe.model.arch, num_ids=VEHICLES, **recipe.model.options()).train()
    card = make_card(model, f"{recipe.model.arch}.{recipe.name}", recipe.size)
    image = Normalisation(card, channels_last=False)(batch.image.cpu()).image.to(device)
    model, batch = model.to(device), batch.to(device)
    if variant.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        image = image.contiguous(memory_format=torch.channels_last)
    options = recipe.optimizer
    optimizer = torch.optim.Adam(
        model.parameters(), options.lr, weight_decay=options.weight_decay, fused=variant.fused, foreach=False
    )
    network = torch.compile(model) if variant.compiled else model
    triplet = batch_hard_triplet if variant.vectorised else looped_triplet

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=variant.bf16):
            outputs = network(image)
        loss = F.cross_entropy(outputs.id_logits, batch.label)
        loss = loss + triplet(outputs.embedding, batch.label, recipe.loss.margin)
        loss = loss + recipe.loss.color * F.cross_entropy(outputs.color_logits, batch.color)
        loss = loss + recipe.loss.type * F.cross_entropy(outputs.type_logits, batch.type)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def looped_triplet(embeddings: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Batch-hard triplet loss as it is often written: all distances by |a|^2 + |b|^2 - 2ab with gradient,
    then the hardest pair of one anchor after the other."""
    embeddings = embeddings.float()
    squares = embeddings.pow(2).sum(1)
    distances = torch.addmm(squares[:, None] + squares[None, :], embeddings, embeddings.t(), alpha=-2)
    distances = distances.clamp(min=1e-12).sqrt()
    positive, negative = [], []
    for anchor in range(len(labels)):
        same = labels == labels[anchor]
        positive.append(distances[anchor][same].max())
        negative.append(distances[anchor][~same].min())
    farther, nearer = torch.stack(negative), torch.stack(positive)
    return F.margin_ranking_loss(farther, nearer, torch.ones_like(farther), margin)


if __name__ == "__main__":
    sys.exit(main())
