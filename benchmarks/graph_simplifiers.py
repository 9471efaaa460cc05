"""What graph simplifiers would gain: `python -m benchmarks.graph_simplifiers --bundle build/bundle`.

Each makes its file of the bundle's `model.onnx`. Counted are the nodes, as written and as onnxruntime leaves
them when it has opened the file; opening and inference are timed, the files in turns. The bundle's own file
takes part twice, so that the table shows what a difference means. `onnxslim` and `onnxsim` are no
dependencies: one that is not installed is left out, and named.
"""

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from serving.bundle import Bundle
from serving.conversion.parity import compare
from serving.engines.timing import Work, in_turns
from zoo.card import Card
from zoo.errors import exit_on_user_error
from zoo.onnx_export import sample_inputs
from zoo.onnx_model import OnnxModel

BATCHES = (1, 8)
OPENINGS = 3


@dataclass
class Row:
    """What one simplifier came to.

    Attributes:
        name: of the simplifier.
        nodes: of its file.
        nodes_opened: that onnxruntime runs, after its own optimisation at opening.
        portable: every operator is ONNX's own, at the opset that was exported.
        megabytes: of its file.
        opening_ms: median time until onnxruntime has opened it.
        images_per_second: median, by batch size.
        difference: largest of any output from the bundle's file, relative to the output's largest value.
    """

    name: str
    nodes: int
    nodes_opened: int
    portable: bool
    megabytes: float
    opening_ms: float
    images_per_second: dict[int, float]
    difference: float


def by_onnxruntime(level: str, source: Path, target: Path) -> None:
    """Save what onnxruntime makes of the graph."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


def by_onnxslim(source: Path, target: Path) -> None:
    """Write the graph as onnxslim leaves it."""
    import onnxslim

    onnx.save(onnxslim.slim(onnx.load(source)), target)


def by_onnxsim(source: Path, target: Path) -> None:
    """Write the graph as onnxsim leaves it."""
    import onnxsim

    proto, right = onnxsim.simplify(onnx.load(source))
    if not right:
        raise RuntimeError("onnxsim's own check fails")
    onnx.save(proto, target)


SIMPLIFIERS: dict[str, Callable[[Path, Path], None]] = {
    "onnxruntime, basic": partial(by_onnxruntime, "BASIC"),
    "onnxruntime, extended": partial(by_onnxruntime, "EXTENDED"),
    "onnxslim": by_onnxslim,
    "onnxsim": by_onnxsim,
}


def measure(bundle: Bundle, threads: int, seconds: float) -> tuple[list[Row], dict[str, str]]:
    """Try each simplifier on a bundle's graph.

    Args:
        bundle: its model.
        threads: of onnxruntime.
        seconds: that each batch size is timed for.

    Returns:
        The rows, that of the bundle's own file first, and the simplifiers that gave none, with the reason.
    """
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        files = {"as exported": bundle.onnx_file, "the same again": bundle.onnx_file}
        for number, (name, simplify) in enumerate(SIMPLIFIERS.items()):
            file = Path(scratch) / f"{number}.onnx"
            if name.startswith("onnxs") and importlib.util.find_spec(name) is None:
                failed[name] = "not installed"
                continue
            try:
                simplify(bundle.onnx_file, file)
                files[name] = file
            except Exception as error:
                # Whatever somebody else's tool raises is its result here.
                failed[name] = " ".join(str(error).split())[:200]
        sessions = {name: _open(file, threads) for name, file in files.items()}
        feeds = {batch: _feed(bundle.card, batch) for batch in BATCHES}
        speeds = {
            batch: in_turns({name: _work(sessions[name], feed) for name in files}, seconds)
            for batch, feed in feeds.items()
        }
        opening = _time_openings(files, threads)
        expected = OnnxModel(bundle.onnx_file, threads).run(feeds[8])
        rows = []
        for name, file in files.items():
            proto = onnx.load(file)
            found = sessions[name].run(list(expected), feeds[8])
            rows.append(
                Row(
                    name=name,
                    nodes=len(proto.graph.node),
                    nodes_opened=_nodes_opened(file, Path(scratch) / "opened.onnx"),
                    portable=_portable(proto, onnx.load(bundle.onnx_file, load_external_data=False)),
                    megabytes=file.stat().st_size / 1e6,
                    opening_ms=opening[name],
                    images_per_second={batch: speeds[batch][name] for batch in BATCHES},
                    difference=max(
                        compare(output, expected[output], value, expected[output].shape)["relative"]
                        for output, value in zip(expected, found, strict=True)
                    ),
                )
            )
    return rows, failed


def _open(file: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def _feed(card: Card, batch: int) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in sample_inputs(card, batch).items()}


def _work(session: onnxruntime.InferenceSession, feed: dict[str, np.ndarray]) -> Work:
    def work() -> int:
        session.run(None, feed)
        return len(feed["image"])

    return work


def _time_openings(files: dict[str, Path], threads: int) -> dict[str, float]:
    """Open each file some times, in turns; medians in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in files}
    for _ in range(OPENINGS):
        for name, file in files.items():
            start = time.perf_counter()
            _open(file, threads)
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def _nodes_opened(file: Path, scratch: Path) -> int:
    by_onnxruntime("ALL", file, scratch)
    return len(onnx.load(scratch).graph.node)


def _portable(proto: onnx.ModelProto, exported: onnx.ModelProto) -> bool:
    versions = {opset.version for opset in proto.opset_import if opset.domain == ""}
    wanted = {opset.version for opset in exported.opset_import if opset.domain == ""}
    own = all(node.domain in ("", "ai.onnx") for node in proto.graph.node)
    return own and versions == wanted and proto.ir_version <= exported.ir_version


def table(rows: list[Row]) -> str:
    """Write the rows in Markdown, speeds as ratios to the bundle's own file."""
    lines = [
        "| | nodes: file / as run | portable | MB | opening | speed at batch "
        f"{' / '.join(map(str, BATCHES))} | difference |",
        "|---|---|---|---|---|---|---|",
    ]
    first = rows[0]
    for row in rows:
        speeds = " / ".join(
            f"{row.images_per_second[batch] / first.images_per_second[batch]:.2f}" for batch in BATCHES
        )
        lines.append(
            f"| {row.name} | {row.nodes} / {row.nodes_opened} | {'yes' if row.portable else 'no'} | "
            f"{row.megabytes:.1f} | {row.opening_ms:.0f} ms | {speeds} | {row.difference:.0e} |"
        )
    return "\n".join(lines)


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.graph_simplifiers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", type=Path, default=Path("build/bundle"))
    parser.add_argument("--threads", type=int, default=1, help="of onnxruntime (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each batch size (default: 20)")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line")
    arguments = parser.parse_args(argv)
    bundle = Bundle.open(arguments.bundle)
    rows, failed = measure(bundle, arguments.threads, arguments.seconds)
    print(f"{bundle.card.name}, {bundle.precision}, {arguments.threads} threads\n\n{table(rows)}")
    for name, reason in failed.items():
        print(f"{name}: no result ({reason})", file=sys.stderr)
    if arguments.json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "failed": failed}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
