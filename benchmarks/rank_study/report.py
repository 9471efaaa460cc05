"""The study's results as a table in Markdown, with what chance alone could have done."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]

BASELINE = "one@1"
TITLES = {"pretrained": "From a model trained on other vehicles", "random": "From random weights"}


@dataclass(frozen=True)
class ArmResult:
    """An arm's trainings from one start, by seed."""

    name: str
    ranks: int
    rows: dict[int, Row]

    @property
    def cards(self) -> int:
        """What the ranks stand for: those of an arm of groups on one card are run as so many ranks."""
        return 1 if self.name.partition(",")[0] == "one" else self.ranks

    def values(self, figure: str) -> np.ndarray:
        """A figure of all its seeds."""
        return np.array([row[figure] for row in self.rows.values()], float)


def read(path: Path) -> dict[str, list[ArmResult]]:
    """Read results.jsonl: the arms of each start, best first."""
    found: dict[str, dict[str, dict[int, Row]]] = defaultdict(lambda: defaultdict(dict))
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found[row["start"]][row["arm"]][row["seed"]] = row
    results = {}
    for start in TITLES:
        arms = [
            ArmResult(key.rpartition("@")[0], int(key.rpartition("@")[2]), dict(sorted(rows.items())))
            for key, rows in found[start].items()
        ]
        results[start] = sorted(arms, key=lambda arm: -arm.values("mAP").mean())
    return results


def table(arms: list[ArmResult]) -> str:
    """A start's arms, each against the baseline over the seeds that both have."""
    base = next((arm for arm in arms if f"{arm.name}@{arm.ranks}" == BASELINE), None)
    lines = [
        "| arm | ranks | images a step | steps | Adam rate | seeds | mAP | Rank-1 | train-id accuracy "
        "| mAP against `one`, seed by seed | 95% over test vehicles |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for arm in arms:
        row = next(iter(arm.rows.values()))
        cells = [
            f"`{arm.name}`",
            str(arm.cards),
            str(row["global_batch"]),
            str(row["steps"]),
            f"{row['lr']:.2g}",
            str(len(arm.rows)),
            spread(arm.values("mAP")),
            spread(arm.values("rank1")),
            f"{arm.values('train_accuracy').mean():.2f}",
        ]
        cells += ["", ""] if base is None or arm is base else against(arm, base)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: np.ndarray) -> str:
    """Mean and, of several values, sample standard deviation."""
    return f"{values.mean():.1f}" + (f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else "")


def against(arm: ArmResult, base: ArmResult) -> tuple[str, str]:
    """The differences in mAP points of the seeds that both arms have, and an interval for their mean."""
    seeds = sorted(arm.rows.keys() & base.rows.keys())
    if not seeds:
        return "", ""
    differences = [arm.rows[seed]["mAP"] - base.rows[seed]["mAP"] for seed in seeds]
    low, high = interval([arm.rows[seed] for seed in seeds], [base.rows[seed] for seed in seeds])
    shown = ", ".join(f"{difference:+.1f}" for difference in differences)
    return f"{np.mean(differences):+.1f} ({shown})", f"{low:+.1f} .. {high:+.1f}"


def interval(rows: list[Row], base: list[Row], draws: int = 4000) -> tuple[float, float]:
    """Paired bootstrap over the test vehicles of the difference in mAP points, mean over the seeds: what
    other test vehicles could have said about these very trainings."""
    vehicles = sorted(rows[0]["ap_of_vehicles"])

    def sums(of: list[Row]) -> np.ndarray:
        return np.mean([[row["ap_of_vehicles"][vehicle] for vehicle in vehicles] for row in of], axis=0)

    ours, theirs = sums(rows), sums(base)
    chosen = np.random.default_rng(0).integers(len(vehicles), size=(draws, len(vehicles)))
    precision = [values[chosen].sum(1) for values in (ours, theirs)]
    differences = 100 * (precision[0][:, 0] / precision[0][:, 1] - precision[1][:, 0] / precision[1][:, 1])
    low, high = np.percentile(differences, [2.5, 97.5])
    return float(low), float(high)


def fill(page: str, tables: dict[str, list[ArmResult]]) -> str:
    """Put tables between the marks of their names in a page of Markdown."""
    for name, arms in tables.items():
        opening, closing = f"<!-- {name} -->", f"<!-- end of {name} -->"
        head, _, rest = page.partition(opening)
        _, _, tail = rest.partition(closing)
        if not rest or closing not in rest:
            raise ValueError(f"the page has no marks {opening} and {closing}")
        page = f"{head}{opening}\n{table(arms)}\n{closing}{tail}"
    return page
