"""Readiness by a real inference: health endpoints go on saying ready when a backend's worker is dead.

`python -m serving.probe --address HOST:PORT` ends with 0 where the server works. This file stands alone (the
standard library, nothing of ours), because a container of the server runs a copy of it as its probe.
"""

import argparse
import json
import math
import os
import struct
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any

_MODEL = "vehicle_reid"  # serving.triton.configs.ENTRY_MODEL
_BYTES_OF = {"TYPE_UINT8": 1, "TYPE_FP32": 4}
_SIDE = 16

_MALFORMED = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What reading an answer raises that is JSON of another form, or no JSON."""

# Whatever a proxy is for, it is not for asking the server beside us.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def probe(address: str, outputs: Mapping[str, int] | None = None, timeout: float = 30.0) -> str | None:
    """Send one small image through the whole ensemble. No two are alike, so that no cache answers.

    Args:
        address: of the HTTP service, `host:port`.
        outputs: dimensions that are expected, by name; None for those of the server's own config.
        timeout: seconds for the inference.

    Returns:
        None when every output came back whole, otherwise what went wrong.
    """
    try:
        _ask(address, f"v2/models/{_MODEL}/ready", timeout=2.0)
        config = json.loads(_ask(address, f"v2/models/{_MODEL}/config", timeout=2.0))
        if outputs is None:
            outputs = {
                output["name"]: int(output["dims"][0])
                for output in config["output"]
                if output["data_type"] == "TYPE_FP32"
            }
        headers, body = _request(config["input"], list(outputs))
        answer = json.loads(_ask(address, f"v2/models/{_MODEL}/infer", timeout, body, headers))
        found = {output["name"]: output for output in answer["outputs"]}
        for name, dimension in outputs.items():
            shape = found.get(name, {}).get("shape")
            if shape != [1, dimension] or not all(map(_is_finite, found[name]["data"])):
                return f"{name} came back {'missing' if shape is None else f'as {shape}'}"
    except urllib.error.HTTPError as error:
        return f"{_MODEL}: {_message(error)}"
    except (OSError, HTTPException, *_MALFORMED) as error:
        return " ".join(f"{type(error).__name__}: {error}".split())
    return None


def answered(address: str) -> int:
    """Count the requests that the server has computed; 0 where it does not tell."""
    try:
        statistics = json.loads(_ask(address, f"v2/models/{_MODEL}/stats", timeout=2.0))
        each = [model["inference_stats"] for model in statistics["model_stats"]]
        # What the response cache answers goes on being answered when the model is dead.
        return sum(stats["success"]["count"] - stats["cache_hit"]["count"] for stats in each)
    except (OSError, HTTPException, *_MALFORMED):
        return 0


def failure(address: str, timeout: float = 30.0) -> str | None:
    """Ask for a real inference; tell why none is answered, or None where the server works.

    A server that answers others while this question waits is busy, and not broken.

    Args:
        address: see `probe`.
        timeout: see `probe`.
    """
    before = answered(address)
    reason = probe(address, timeout=timeout)
    return None if reason is None or answered(address) > before else reason


def _ask(
    address: str,
    path: str,
    timeout: float,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    request = urllib.request.Request(f"http://{address}/{path}", body, dict(headers or {}))
    with _opener.open(request, timeout=timeout) as answer:
        content: bytes = answer.read()
    return content


def _request(inputs: list[dict[str, Any]], outputs: list[str]) -> tuple[dict[str, str], bytes]:
    """Write a request with a picture of noise, and zeros for whatever else the model takes."""
    described, parts = [], []
    for entry in inputs:
        if entry["data_type"] == "TYPE_STRING":
            image = _bitmap()
            parts.append(struct.pack("<I", len(image)) + image)
            kind, shape = "BYTES", [1, 1]
        else:
            shape = [1, *map(int, entry["dims"])]
            parts.append(bytes(math.prod(shape) * _BYTES_OF[entry["data_type"]]))
            kind = entry["data_type"].removeprefix("TYPE_")
        described.append(
            {
                "name": entry["name"],
                "shape": shape,
                "datatype": kind,
                "parameters": {"binary_data_size": len(parts[-1])},
            }
        )
    wanted = [{"name": name, "parameters": {"binary_data": False}} for name in outputs]
    head = json.dumps({"inputs": described, "outputs": wanted}).encode()
    return {"Inference-Header-Content-Length": str(len(head))}, head + b"".join(parts)


def _bitmap() -> bytes:
    """Encode a small picture of noise as a BMP of 24 bits."""
    pixels = os.urandom(_SIDE * _SIDE * 3)
    start = 14 + 40
    file_header = struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start)
    return (
        file_header
        + struct.pack("<IiiHHIIiiII", 40, _SIDE, _SIDE, 1, 24, 0, len(pixels), 0, 0, 0, 0)
        + pixels
    )


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _message(error: urllib.error.HTTPError) -> str:
    """What the server says of a refusal."""
    try:
        return " ".join(str(json.loads(error.read())["error"]).split())
    except (OSError, HTTPException, *_MALFORMED):
        return f"HTTP status {error.code}"


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit code is 1 where the server does not work."""
    parser = argparse.ArgumentParser(
        description="Ask a Triton server for a real inference.",
        epilog="example: python -m serving.probe --address 127.0.0.1:8000",
    )
    parser.add_argument(
        "--address", default="127.0.0.1:8000", help="of its HTTP service (default: %(default)s)"
    )
    parser.add_argument(
        "--timeout", type=float, default=20.0, metavar="SECONDS", help="for it (default: %(default)g)"
    )
    arguments = parser.parse_args(argv)
    reason = failure(arguments.address, arguments.timeout)
    if reason is not None:
        print(f"{arguments.address}: {reason}", file=sys.stderr)
    return int(reason is not None)


if __name__ == "__main__":
    sys.exit(main())
