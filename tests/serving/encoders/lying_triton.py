"""A server that says what it is told to, as Triton, as a proxy before it, or as something else there."""

import copy
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as messages

from serving.triton.configs import HASH_KEY
from zoo.card import Card

CARD = Card("tiny.one", (32, 32), {"embedding": 4, "color_probs": 10})
CONFIG = {
    "name": "vehicle_reid",
    "max_batch_size": 8,
    "parameters": {"card": {"string_value": CARD.to_json()}, HASH_KEY: {"string_value": "abc"}},
}
EMBEDDING = np.array([[0.5, -1.0, 2.0, 0.25]], np.float32)
ANSWER: dict[str, Any] = {
    "model_name": "vehicle_reid",
    "model_version": "1",
    "outputs": [
        {"name": "embedding", "datatype": "FP32", "shape": [1, 4], "data": EMBEDDING[0].tolist()},
        {"name": "color_probs", "datatype": "FP32", "shape": [1, 10], "data": [0.1] * 10},
        {"name": "error", "datatype": "BYTES", "shape": [1, 1], "data": [""]},
    ],
}
"""What the model says of an image."""


def changed(**changes: Any) -> dict[str, Any]:
    """The right answer with another embedding."""
    answer = copy.deepcopy(ANSWER)
    answer["outputs"][0] |= changes
    return answer


@contextmanager
def http_server(config: bytes, answer: bytes) -> Iterator[str]:
    """Serve these bodies; yield `host:port`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.reply(config)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.reply(answer)

        def reply(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Inference-Header-Content-Length", str(len(body.rstrip(b"\0"))))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.block_on_close = False  # connections that a client keeps open
        threading.Thread(target=server.serve_forever).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def grpc_server(
    config: bytes, answer: bytes, code: grpc.StatusCode | None = None, text: str = ""
) -> Iterator[str]:
    """Serve these messages, whatever is in them, or that status in place of an answer; yield `host:port`."""

    def reply(body: bytes, code: grpc.StatusCode | None = None) -> grpc.RpcMethodHandler:
        def respond(request: bytes, context: grpc.ServicerContext) -> bytes:
            if code is not None:
                context.set_code(code)
                context.set_details(text)
            return body

        return grpc.unary_unary_rpc_method_handler(respond)

    server = grpc.server(ThreadPoolExecutor(2))
    methods = {"ModelConfig": reply(config), "ModelInfer": reply(answer, code)}
    handler = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", methods)
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def as_json(value: object) -> bytes:
    """A body of HTTP. Texts that are empty, as a sound answer's are, follow the JSON as Triton sends them."""
    if isinstance(value, bytes):
        return value
    value, tail = copy.deepcopy(value), b""
    if isinstance(value, dict) and isinstance(value.get("outputs"), list):
        for output in value["outputs"]:
            if output["datatype"] == "BYTES":
                raw = b"".join(len(text).to_bytes(4, "little") for text in output.pop("data"))
                output["parameters"] = {"binary_data_size": len(raw)}
                tail += raw
    return json.dumps(value).encode() + tail


def as_message(answer: dict[str, Any]) -> bytes:
    """An answer of gRPC."""
    message = messages.ModelInferResponse(
        model_name=answer["model_name"], model_version=answer["model_version"]
    )
    for output in answer["outputs"]:
        message.outputs.add(name=output["name"], datatype=output["datatype"], shape=output["shape"])
        if output["datatype"] == "BYTES":
            raw = b"".join(len(text).to_bytes(4, "little") + text.encode() for text in output["data"])
        else:
            kind = np.float64 if output["datatype"] == "FP64" else np.float32
            raw = np.asarray(output["data"], kind).tobytes()
        message.raw_output_contents.append(raw)
    return bytes(message.SerializeToString())
