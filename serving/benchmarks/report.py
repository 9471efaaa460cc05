"""The figures of `serving.benchmark` as Markdown and a plot, and their place in a page."""

from pathlib import Path
from typing import Any

from zoo.errors import UserError
from zoo.files import write_text
from zoo.line_chart import line_chart

BEGIN, END = "<!-- serving benchmark -->", "<!-- end of the serving benchmark -->"
"""The figures' place in docs/export.md."""

PLOT = Path("images") / "serving-latency.svg"
"""Beside the page."""

ROWS = {
    "eager": "JPEGs to embeddings at 256x256, batch 32: the in-process encoder against eager torch",
    "precision_ratio": "ready tensors, batch 8",
    "engines": "ready tensors, batch 8",
    "dealing": "ready tensors, batch 8: dealt among single-threaded runs, against one run of all threads",
    "batches": "ready tensors, by batch size",
    "threads_sweep": "ready tensors, batch 8, by threads",
    "single": "one JPEG in this process",
    "triton": "JPEGs through Triton, 8 requests at a time, against ready tensors in batches of 8",
    "triton_256": "the same at 256x256",
    "transports": "JPEGs through Triton, 8 requests at a time, by transport",
}


def write(page: Path, found: dict[str, Any]) -> None:
    """Put the figures between a page's marks, and the plot beside the page."""
    before, after = around_figures(page)
    if "load" in found:
        (page.parent / PLOT).parent.mkdir(exist_ok=True)
        write_text(page.parent / PLOT, plot(found))
    write_text(page, f"{before}\n\n{render(found)}\n\n{after}")


def render(found: dict[str, Any]) -> str:
    """Write the figures as Markdown."""
    height, width = found["size"]
    lines = [
        f"`{found['model']}`, {height}x{width}, {found['precision']}, {found['threads']} threads, "
        f"{found['machine']}; medians, images/s unless said otherwise. Took {found['minutes']:.1f} minutes.",
        "",
        "| row | what | figures |",
        "|---|---|---|",
    ]
    for name, what in ROWS.items():
        if found.get(name):
            cells = [f"{key.replace('_', ' ')} {_number(value)}" for key, value in found[name].items()]
            lines.append(f"| {name.replace('_', ' ')} | {what} | {', '.join(cells)} |")
    if "instances" in found:
        lines += ["", "By copies of the network and threads of each, the direct side in turns with each:", ""]
        lines += _table(found["instances"])
        lines += ["", "Requests of one image at a time, and their latency:", ""]
        lines += _table(found["load"])
        lines += ["", f"![Latency against throughput]({PLOT})", ""]
        lines += ["Where the time of one image goes, one request at a time:", "", "| stage | ms | share |"]
        lines += ["|---|---|---|"]
        total = found["time"]["total"]
        lines += [f"| {name} | {ms:.2f} | {ms / total:.1%} |" for name, ms in found["time"].items()]
        lines += ["", _perf_analyzer(found["perf_analyzer"])]
    return "\n".join(lines)


def plot(found: dict[str, Any]) -> str:
    """Draw latency against throughput, as SVG."""
    points = found["load"]
    lines = {
        name: [(point["rate"], point[key]) for point in points]
        for name, key in (("median", "p50_ms"), ("99th percentile", "p99_ms"))
    }
    least, most = (points[i]["requests_at_a_time"] for i in (0, -1))
    title = f"Milliseconds of a request, {least} to {most} at a time"
    return line_chart(title, "images/s", lines, log_y=True, log_x=False)


def around_figures(page: Path) -> tuple[str, str]:
    """Read what stands before and after the figures, the marks included.

    Raises:
        UserError: the page cannot be read, or has not got the marks.
    """
    try:
        text = page.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{page}: cannot be read ({error.strerror}); name a page with the marks") from error
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UserError(f"{page}: has not got the marks `{BEGIN}` and `{END}`, between which the figures go")
    return text.partition(BEGIN)[0] + BEGIN, END + text.partition(END)[2]


def _table(rows: list[dict[str, Any]]) -> list[str]:
    names = list(rows[0])
    lines = ["| " + " | ".join(name.replace("_", " ") for name in names) + " |", "|---" * len(names) + "|"]
    return lines + ["| " + " | ".join(_number(row[name]) for name in names) + " |" for row in rows]


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.2f}"


def _perf_analyzer(found: dict[str, Any]) -> str:
    if not found["found"]:
        return "`perf_analyzer` is not on this machine's PATH, and was not run."
    if "failure" in found:
        return f"`perf_analyzer` is here and failed: {found['failure']}"
    return (
        f"`perf_analyzer`, the same server, 8 requests at a time: {found['rate']:.2f} images/s, median "
        f"{found['p50_ms']:.1f} ms, 99th percentile {found['p99_ms']:.1f} ms."
    )
