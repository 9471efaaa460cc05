"""The report as a table, on the terminal and in docs/gpu.md."""

from pathlib import Path
from typing import Any

from benchmarks.gpu.steps import PUBLISHED
from zoo.errors import UserError
from zoo.files import write_text

BEGIN, END = "<!-- figures: python -m benchmarks.gpu --write docs/gpu.md -->", "<!-- end of figures -->"


def table(report: dict[str, Any]) -> str:
    """The report in Markdown."""
    facts, parts = report["facts"], report["parts"]
    packages = facts["packages"]
    lines = [
        f"{facts['device']['name']}, driver {facts['driver'] or 'unknown'}, torch {packages['torch']}, "
        f"Python {facts['python']}, {facts['cpu_cores']} cores; {report['size']}x{report['size']} pixels, "
        f"{report['seconds']:g} s for all of it.",
        "",
        "| step of DenseNet121 multi-task | batch | images/s | against plain | peak GiB |",
        "|---|---|---|---|---|",
    ]
    rows = [*parts["steps"].get("rows", ()), *parts.get("compiled", {}).get("rows", ())[-1:]]
    for row in rows:
        speed = row["images_per_second"]
        lines.append(
            f"| {row['name']} | {row['batch']} | {'does not fit' if speed is None else f'{speed:.1f}'} | "
            f"{row['ratio'] or '-'} | {row['peak_gib'] or '-'} |"
        )
    lines += ["", "| check | published, on other hardware | here |", "|---|---|---|"]
    lines += [f"| {check} | {target} | {measured} |" for check, target, measured in checks(parts)]
    return "\n".join(lines)


def checks(parts: dict[str, dict[str, Any]]) -> list[tuple[str, str, str]]:
    """The acceptance checks and what feeds and follows a training: name, published figure, measured."""
    speed = ", ".join(f"{kind} {value:g}" for kind, value in PUBLISHED.items())
    performance = [
        row["images_per_second"]
        for row in parts["steps"].get("rows", ())
        if row["batch"] == 32 and row["name"].endswith("O2")
    ]
    return [
        (
            "train_performance_1p: images/s, O2, batch 32",
            speed,
            str(performance[0]) if performance else "not run",
        ),
        (
            "train_full_1p: loss on one batch",
            "-",
            _told(parts["learning"], "{first_loss} to {last_loss} in {steps} steps, {skipped_steps} skipped"),
        ),
        ("train_performance_8p: images/s", "GPU 1302, NPU 503", "one card: not run"),
        (
            "eval: images/s, fp32",
            "-",
            _told(
                parts["evaluation"],
                "{images_per_second}; least cosine to the CPU's {least_cosine_to_cpu}",
            ),
        ),
        ("export: ONNX, images/s by provider", "-", _told(parts["onnx"], "{providers}; missing: {missing}")),
        (
            "loader: images/s by processes",
            "-",
            _told(parts["loader"], "{rows}; nvjpeg: {nvjpeg_images_per_second}"),
        ),
    ]


def _told(part: dict[str, Any], text: str) -> str:
    if "error" in part:
        return f"failed: {part['error']}"
    if "skipped" in part:
        return f"not run: {part['skipped']}"
    shown = dict(part)
    if "rows" in part:
        shown["rows"] = ", ".join(f"{row['workers']}: {row['images_per_second']:g}" for row in part["rows"])
    if "providers" in part:
        shown["providers"] = ", ".join(f"{_short(n)}: {v}" for n, v in part["providers"].items()) or "none"
        shown["missing"] = ", ".join(map(_short, part["missing"])) or "none"
    return text.format(**shown)


def _short(provider: str) -> str:
    return provider.removesuffix("ExecutionProvider")


def write_page(page: Path, report: dict[str, Any]) -> None:
    """Put the table between the page's marks.

    Raises:
        UserError: the page has no such marks.
    """
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    if BEGIN not in text or END not in text:
        raise UserError(f"--write {page}: has no lines `{BEGIN}` and `{END}`; give docs/gpu.md")
    before, after = text.split(BEGIN, 1)[0], text.split(END, 1)[1]
    write_text(page, f"{before}{BEGIN}\n\n{table(report)}\n\n{END}{after}")
