"""`python -m benchmarks.model_cost`: parameters, multiplications and CPU latency of the zoo's models.

All models are exported and run by onnxruntime in turns, round after round, so that other work on the machine
falls on all of them alike; the median of the rounds is what counts, and the best round tells how far other
work disturbed it. 1 MAC is 2 FLOPs; the MACs are those of convolutions and linear layers, of one image. With
--write, what was measured goes into the models' cards.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from serving.engines.timing import machine
from zoo.card import Card
from zoo.errors import UserError, exit_on_user_error
from zoo.onnx_export import DeployedModel, export_onnx, sample_inputs
from zoo.registry import MEASURED, PRETRAINED, create_model, list_models, make_card

COMMON_SIZE = (256, 256)
THREADS = (1, 2)
BATCHES = (1, 8)


@dataclass
class Case:
    """A model at one size: its graph, and the milliseconds of each round by (threads, batch)."""

    card: Card
    macs: int
    sessions: dict[int, onnxruntime.InferenceSession] = field(default_factory=dict)
    inputs: dict[int, dict[str, np.ndarray]] = field(default_factory=dict)
    rounds: dict[tuple[int, int], list[float]] = field(default_factory=dict)


def parameters_of(model: nn.Module) -> int:
    """Count a model's parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def macs_of(model: nn.Module, card: Card) -> int:
    """Count the multiplications of one image through the whole model, heads included."""
    deployed = DeployedModel(model, card)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        deployed(*sample_inputs(card, 1).values())
    return counter.get_total_flops() // 2


def prepare(card: Card, size: tuple[int, int], folder: Path, threads: Sequence[int]) -> Case:
    """Export a model of random weights at a size, and open it with each number of threads."""
    model = create_model(card).eval()
    sized = make_card(model, card.name, size, colors=card.colors, types=card.types)
    case = Case(sized, macs_of(model, sized))
    if not threads:
        return case
    path = folder / f"{card.name}-{size[0]}x{size[1]}.onnx"
    export_onnx(DeployedModel(model, sized), sized, path)
    for count in threads:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = count
        case.sessions[count] = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    for batch in BATCHES:
        case.inputs[batch] = {name: value.numpy() for name, value in sample_inputs(sized, batch).items()}
    return case


def run_rounds(cases: Sequence[Case], rounds: int) -> None:
    """Time every case, all in each round; the first round warms up and does not count."""
    for number in tqdm(range(rounds + 1), "rounds", leave=False):
        for case in cases:
            for threads, session in case.sessions.items():
                for batch, inputs in case.inputs.items():
                    start = time.perf_counter()
                    session.run(None, inputs)
                    if number:
                        times = case.rounds.setdefault((threads, batch), [])
                        times.append(1e3 * (time.perf_counter() - start))


def cost_of(case: Case, device: str) -> dict[str, Any]:
    """Give a case as a card's `costs` has it."""
    latency = [
        {
            "threads": threads,
            "batch": batch,
            "median_ms": round(statistics.median(times), 2),
            "best_ms": round(min(times), 2),
        }
        for (threads, batch), times in sorted(case.rounds.items())
    ]
    return {"size": list(case.card.input_size), "macs": case.macs, "device": device, "latency": latency}


def write_costs(folder: Path, card: Card, parameters: int, costs: list[dict[str, Any]]) -> None:
    """Put the costs into the card in a folder; where no latency was measured, the earlier one is kept."""
    path = folder / f"{card.name}.json"
    earlier = {tuple(cost["size"]): cost for cost in Card.read(path).costs}
    kept = [
        {**cost, **{key: earlier[tuple(cost["size"])][key] for key in ("device", "latency")}}
        if not cost["latency"] and tuple(cost["size"]) in earlier
        else cost
        for cost in costs
    ]
    Card.read(path).replace(parameters=parameters, costs=kept).write(path)


def print_table(results: Sequence[dict[str, Any]]) -> None:
    """Print a row for each model and size."""
    print(f"{'model':<28} {'size':>9} {'parameters':>11} {'MACs':>9}  ms by threads x batch, median (best)")
    for result in results:
        for cost in result["costs"]:
            times = "  ".join(
                f"{entry['threads']}x{entry['batch']}: {entry['median_ms']:.1f} ({entry['best_ms']:.1f})"
                for entry in cost["latency"]
            )
            size = "x".join(map(str, cost["size"]))
            parameters, macs = f"{result['parameters'] / 1e6:.3f} M", f"{cost['macs'] / 1e9:.3f} G"
            print(f"{result['name']:<28} {size:>9} {parameters:>11} {macs:>9}  {times}")


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.model_cost", description=__doc__)
    parser.add_argument("models", nargs="*", help="names of models with a card in the zoo [all]")
    parser.add_argument("--rounds", type=int, default=10, help="of timing [10]; 0 counts and times nothing")
    parser.add_argument("--write", action="store_true", help="put the figures into the models' cards")
    parser.add_argument("--json", action="store_true", help="end with one JSON object on one line")
    arguments = parser.parse_args(argv)
    homes = {card.name: folder for folder in (PRETRAINED, MEASURED) for card in list_models(folder)}
    for name in arguments.models:
        if name not in homes:
            raise UserError(f"{name}: no card of that name in the zoo; known are {', '.join(homes)}")
    cards = [card for folder in (PRETRAINED, MEASURED) for card in list_models(folder)]
    cards = [card for card in cards if not arguments.models or card.name in arguments.models]
    threads = THREADS if arguments.rounds else ()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        cases = {
            card.name: [
                prepare(card, size, Path(folder), threads) for size in sorted({card.input_size, COMMON_SIZE})
            ]
            for card in tqdm(cards, "export", leave=False)
        }
        run_rounds([case for several in cases.values() for case in several], arguments.rounds)
    device, results = machine(), []
    for card in cards:
        parameters = parameters_of(create_model(card))
        costs = [cost_of(case, device) for case in cases[card.name]]
        results.append({"name": card.name, "parameters": parameters, "costs": costs})
        if arguments.write:
            write_costs(homes[card.name], card, parameters, costs)
    print_table(results)
    if arguments.json:
        print(json.dumps({"models": results, "rounds": arguments.rounds, "device": device}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
