"""One command for everything: `vehicle-reid search --gallery G --query IMAGE`, and so on for each room.

`vehicle-reid NAME` runs the module that `python -m` runs too, without looking for it in the current folder: a
folder of the user's own named `training` or `serving` does no harm. Under `python -m` such a folder comes
first; importing this module, as every package of the project does, then ends the command with one line.
"""

import difflib
import importlib
import importlib.metadata
import importlib.util
import resource
import sys
from pathlib import Path
from types import TracebackType

COMMANDS = {
    "train": ("training.launch", "train a model by a recipe, on one device or many"),
    "adapt": ("training.adapt", "make a model better on your own cameras, without labels"),
    "doctor": ("training.doctor", "check cards, drivers and settings before a training"),
    "evaluate": ("training.evaluate", "mAP, CMC, colours and types of a model, with a report"),
    "compare": ("training.compare", "can a difference between evaluations be told from chance?"),
    "calibrate": ("training.calibrate", "fit the temperatures of colour and type"),
    "baseline": ("training.baseline", "retrieve by colour histograms"),
    "acceptance": ("training.acceptance", "run the reference's six acceptance checks"),
    "dataset": ("training.dataset", "check a data set: counts, duplicates, suspicious labels"),
    "synthesize": ("training.synthesize.__main__", "draw a data set of synthetic vehicles"),
    "release": ("training.release", "make a run's weights fit to be shipped"),
    "zoo": ("zoo.__main__", "list, show, fetch and import models"),
    "export": ("serving.export", "write a bundle: ONNX, card and Triton repository"),
    "serve": ("serving.launch", "serve a bundle with a real tritonserver"),
    "repository": ("serving.repository", "write a Triton repository with options"),
    "encode": ("serving.encode", "encode a folder of images into one file"),
    "probe": ("serving.probe", "ask a Triton server for a real inference"),
    "ascend": ("serving.ascend", "prepare a bundle for Ascend's ATC and for TensorRT"),
    "benchmark": ("serving.benchmark", "measure how fast a bundle encodes"),
    "ingest": ("retrieval.ingest", "fill a gallery from folders, tables, lists and videos"),
    "link": ("retrieval.link", "join what cameras saw to the journeys of vehicles"),
    "search": ("retrieval.search", "find a vehicle in a gallery"),
    "app": ("retrieval.app", "open the search page and the REST service"),
    "gallery": ("retrieval.maintenance", "check, back up, restore, re-encode and prune a gallery"),
    "transfer": ("retrieval.transfer", "copy a gallery into another one"),
    "keys": ("retrieval.keys", "make and remove API keys"),
    "benchmark-gallery": ("retrieval.benchmark", "measure a gallery on made-up vehicles"),
}
"""Subcommand -> the module that it runs, and what it does."""

_LEAST_ADDRESSES = 350 * 2**20
"""Bytes (`ulimit -v`): with 300 MiB FAISS crashes, with 325 no more."""

PACKAGES = ("zoo", "training", "serving", "retrieval")


def main() -> int:
    """Run a subcommand, or say which there are."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in COMMANDS:
        module, _ = COMMANDS[name]
        sys.excepthook = _explain_or_print
        _refuse_too_few_addresses()
        sys.argv = [f"vehicle-reid {name}", *arguments]
        return int(importlib.import_module(module).main())
    if name in ("-h", "--help", "help"):
        print(_usage())
        return 0
    if name == "--version":
        print(f"vehicle-reid {importlib.metadata.version('vehicle-reid-zoo')}")
        return 0
    if name == "--completion":
        return _print_completion(arguments)
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean {near[0]}?" if near else "`vehicle-reid --help` lists them"
    print(f"error: no command is named {name!r}; {hint}", file=sys.stderr)
    return 2


def called_as(module: str) -> str:
    """What the user typed to run a module, as a help text says it."""
    called = sys.argv[0] if sys.argv else ""
    name = called.removeprefix("vehicle-reid ")
    is_subcommand = (
        called != name and name in COMMANDS and COMMANDS[name][0].removesuffix(".__main__") == module
    )
    return called if is_subcommand else f"python -m {module}"


def is_run(name: str) -> bool:
    """Whether the module with this `__name__` is the command that runs."""
    return name == "__main__" or called_as(name.removesuffix(".__main__")).startswith("vehicle-reid ")


def _usage() -> str:
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:{width}}  {what}" for name, (_, what) in COMMANDS.items())
    return (
        "usage: vehicle-reid COMMAND [OPTIONS] | --version | --completion bash|zsh\n\n"
        f"Vehicle re-identification from pictures to answers.\n\ncommands:\n{commands}\n\n"
        "`vehicle-reid COMMAND --help` says more.\n\n"
        "example:\n"
        "  vehicle-reid ingest --images pictures --gallery build/gallery --encoder lite0_osnet.real\n"
        "  vehicle-reid search --gallery build/gallery --query car.jpg"
    )


def _print_completion(arguments: list[str]) -> int:
    """Print a shell's completion of the commands' names; file names are completed after them."""
    names = " ".join(COMMANDS)
    scripts = {
        "bash": f"complete -o default -F _vehicle_reid vehicle-reid\n_vehicle_reid() {{\n"
        f'  [ "$COMP_CWORD" = 1 ] && COMPREPLY=($(compgen -W "{names}" -- "$2")) || COMPREPLY=()\n}}',
        "zsh": f"_vehicle_reid() {{ if (( CURRENT == 2 )); then compadd {names}; else _files; fi }}\n"
        "compdef _vehicle_reid vehicle-reid",
    }
    if len(arguments) != 1 or arguments[0] not in scripts:
        print("error: --completion takes bash or zsh", file=sys.stderr)
        return 2
    print(scripts[arguments[0]])
    return 0


def hidden_package() -> tuple[str, str] | None:
    """Find a package that another one of the same name hides: its name, and where that one is."""
    home = Path(__file__).resolve().parent
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is None:
            continue
        places = [Path(place).resolve() for place in spec.submodule_search_locations or ()]
        if home / package not in places:
            return package, str(places[0] if places else spec.origin)
    return None


def _refuse_hidden_packages() -> None:
    # `-m` stands there while `python -m` looks for its module.
    if sys.argv[:1] == ["-m"] and (found := hidden_package()) is not None:
        package, place = found
        sys.exit(
            f"error: {place} hides the package `{package}` of this project; run the command elsewhere, or "
            "as `vehicle-reid`, which does not look for packages in the current one"
        )


def _refuse_too_few_addresses() -> None:
    """End a command in which FAISS or OpenBLAS would crash as they are loaded, which no exception tells."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < _LEAST_ADDRESSES:
        print(
            f"error: this process may have {limit // 2**20} MiB of addresses, too few for its libraries; let "
            "it have more with `ulimit -v unlimited`",
            file=sys.stderr,
        )
        sys.exit(2)


def _explain_or_print(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """In the place of `sys.excepthook`: for what fails before `main`, as a command's libraries are loaded."""
    try:
        from zoo.errors import explain

        line = explain(error)
    except (ImportError, MemoryError, OSError):
        line = "error: this process has too few open files, or too little memory: see `ulimit -a`"
    if line is None:
        sys.__excepthook__(kind, error, trace)
    else:
        print(line, file=sys.stderr)
        # The only way for a hook to set the exit code.
        raise SystemExit(2)


_refuse_hidden_packages()
if sys.argv[:1] == ["-m"]:
    sys.excepthook = _explain_or_print
    _refuse_too_few_addresses()

if __name__ == "__main__":
    sys.exit(main())
