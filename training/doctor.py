"""`python -m training.doctor`: whether a machine is fit to train, one line a check, each with its cure."""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import get_args

from training.options import Level, add_device_arguments
from zoo.command_line import CommandParser
from zoo.errors import UserError, exit_on_user_error, extra_imports


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        module="training.doctor",
        examples=["--npus 8", "--npus 8 --nnodes 2 --rdzv-endpoint first-host:29500", "--bundle doctor.zip"],
        description="Check releases, drivers, settings, memory, cards, their links, disk and loader before "
        "a training. Exit code 1 where something would stop it.",
    )
    add_device_arguments(parser)
    nodes = parser.add_argument_group("several machines", "start the same command on each")
    nodes.add_argument("--nnodes", type=int, default=1, metavar="M", help="number of machines [%(default)s]")
    nodes.add_argument(
        "--rdzv-endpoint", default="", metavar="HOST:PORT", help="where they meet: one of them"
    )
    parser.add_argument(
        "--amp", nargs="+", choices=get_args(Level), default=get_args(Level), help="levels to try [all]"
    )
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where runs are kept [%(default)s]")
    parser.add_argument(
        "--patience",
        type=float,
        default=60.0,
        metavar="S",
        help="seconds without a sign of life after which a card is given up [%(default)s]",
    )
    parser.add_argument(
        "--bundle", type=Path, metavar="FILE", help="write a .zip for a maintainer, without personal data"
    )
    parser.add_argument("--json", action="store_true", help="print the report as one JSON line at the end")
    return parser


with extra_imports(__name__, build_parser):
    from training.diagnosis.archive import write_archive
    from training.diagnosis.cards import Log, check_cards
    from training.diagnosis.clocks import check_clocks
    from training.diagnosis.finding import Finding
    from training.diagnosis.machine import (
        check_disk,
        check_loader,
        check_memory,
        check_releases,
        check_variables,
    )
    from training.distributed.devices import Devices, choose_devices
    from training.distributed.elastic import Nodes
    from training.distributed.facts import host_facts


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Check, and tell as it goes; exit code 1 where a check failed."""
    arguments = build_parser().parse_args(argv)
    if arguments.nnodes < 1 or (arguments.nnodes > 1 and not arguments.rdzv_endpoint):
        raise UserError(f"--nnodes {arguments.nnodes}: give --rdzv-endpoint HOST:PORT for several machines")
    if arguments.patience <= 0:
        raise UserError(f"--patience {arguments.patience:g}: must be above 0")
    findings: list[Finding] = []
    logs: list[Log] = []

    def tell(*found: Finding) -> None:
        findings.extend(found)
        for finding in found:
            print(finding.line(), flush=True)

    kind = _wished_kind(arguments)
    tell(check_disk(arguments.out))
    try:
        devices: Devices | None = choose_devices(arguments.gpus, arguments.npus, arguments.cpus)
    except UserError as error:
        devices = None
        text, _, cure = str(error).partition("; ")
        tell(Finding("devices", "fail", text, cure))
    if devices is not None:
        kind, count = devices.kind.type, devices.count
        nodes = Nodes(arguments.nnodes, arguments.rdzv_endpoint, "doctor")
        tell(
            *check_releases(kind),
            *check_variables(kind, count),
            check_memory(count),
            check_loader(kind, count),
        )
        if nodes.count > 1:
            tell(check_clocks(nodes, arguments.patience))
        if findings[-1].status != "fail":
            found, logs = check_cards(devices, nodes, arguments.amp, arguments.patience)
            tell(*found)
    failed = any(finding.status == "fail" for finding in findings)
    report = {
        "fit": not failed,
        "findings": [dataclasses.asdict(finding) for finding in findings],
        "facts": host_facts(kind),
    }
    if arguments.bundle:
        write_archive(arguments.bundle, report, {str(card): log for card, log in enumerate(logs)})
        print(f"for a maintainer: {arguments.bundle}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(report))
    return int(failed)


def _wished_kind(arguments: argparse.Namespace) -> str:
    return "npu" if arguments.npus else "cuda" if arguments.gpus else "cpu"


if __name__ == "__main__":
    sys.exit(main())
