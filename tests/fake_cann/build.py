"""Compile the fake driver: `python -m tests.fake_cann.build FOLDER`, with the Python that has torch_npu.

The headers are those of torch and of the wheel of torch_npu. What torch_npu wants of CANN and is not written
here becomes a stub, which says its name and returns an error.
"""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parent
DRIVER = ("runtime.cpp", "operators.cpp", "hccl.cpp")
LIBRARIES = ("hccl", "acl_op_compiler", "ge_runner", "graph", "acl_tdt_channel")
"""The libraries of CANN that torch_npu is linked against, beside libascendcl: here they are one."""

OF_CANN = re.compile(r"acl[A-Z]|acl(rt|op|mdl)[A-Z]|rt[A-Z]|Msprof|Hccl")

REFUSAL = """#include <cstdio>
static long refuse(const char *name) {
    fprintf(stderr, "fake CANN: %s is not served\\n", name);
    return 200006; // ACL_ERROR_FEATURE_UNSUPPORTED
}
"""


def symbols(library: Path, which: str) -> set[str]:
    """Names that a library has, or wants of others, as nm tells."""
    argv = ["nm", "--dynamic", "--no-weak", which, str(library)]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.split()[-1].partition("@")[0] for line in lines}


def stubs(package: Path) -> str:
    """The source of what is wanted of CANN and not written."""
    wanted = symbols(package / "lib" / "libtorch_npu.so", "--undefined-only")
    written = "".join((SOURCES / name).read_text() for name in DRIVER)
    missing = [
        name for name in sorted(wanted) if OF_CANN.match(name) and not re.search(rf"\b{name}\(", written)
    ]
    return REFUSAL + "".join(f'extern "C" long {name}() {{ return refuse("{name}"); }}\n' for name in missing)


def package_folder(name: str) -> Path:
    """Where an installed package lies; nothing is imported, because torch_npu needs what is built here."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        sys.exit(f"error: this environment has no {name}; `make test-npu` makes one that has")
    return Path(spec.origin).parent


def build(out: Path) -> None:
    """Compile into a folder."""
    package, torch = package_folder("torch_npu"), package_folder("torch")
    out.mkdir(parents=True, exist_ok=True)
    (out / "stubs.cpp").write_text(stubs(package))
    include = package / "include"
    driver = [*(SOURCES / name for name in DRIVER), out / "stubs.cpp", "-lrt", "-Wl,--no-undefined"]
    compile_library(out / "libascendcl.so", [include, include / "third_party/hccl/inc"], driver)
    for name in LIBRARIES:
        link = out / f"lib{name}.so"
        link.unlink(missing_ok=True)
        link.symlink_to("libascendcl.so")
    headers = [torch / "include", torch / "include/torch/csrc/api/include"]
    libraries = [f"-L{torch / 'lib'}", "-ltorch", "-ltorch_cpu", "-lc10"]
    compile_library(out / "libkernels.so", headers, [SOURCES / "kernels.cpp", *libraries])


def compile_library(out: Path, include: list[Path], inputs: list) -> None:
    """Make a shared library of sources."""
    folders = [f"-I{folder}" for folder in include]
    argv = ["g++", "-std=c++20", "-O1", "-fPIC", "-shared", "-w", *folders, *map(str, inputs), "-o", str(out)]
    subprocess.run(argv, check=True)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
