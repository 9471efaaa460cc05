"""Triton's `vehicle_preprocess`: encoded image bytes -> uint8 pixels, inside the server's own interpreter.

A request of one image that cannot be used is answered with an error. In a request of several, each bad image
has a text in its row of `error` (empty for good ones) and black pixels in `image`, so that the others are
answered. The model computes numbers for the black image too: a client must not use a row with an error.
(Which outputs a client asked the ensemble for is not told to the models inside it.)
"""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from preprocess import ImageError, prepare  # the copy of zoo/preprocess.py that lies beside this file

BAD_IMAGE = "bad image: "
"""Begins the error of a request whose images cannot be used; so clients tell it from a failing server."""

SMALL_BYTES = 2**16
"""Files below, as crops of vehicles are, are decoded by one thread: threads that take turns at the
interpreter's lock cost an eighth more, which a busy server has not."""


class TritonPythonModel:
    """What the Python backend makes one of per instance."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the image size from the config's `image` output, and the filter from its parameters."""
        config = json.loads(args["model_config"])
        dims = {output["name"]: output["dims"] for output in config["output"]}["image"]
        self.size = (int(dims[0]), int(dims[1]))
        self.antialias = config.get("parameters", {}).get("antialias", {}).get("string_value") != "false"
        # Pillow lets go of the interpreter lock while it decodes and resizes.
        self.pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="decode")

        images = pb_utils.MetricFamily(
            name="vehicle_reid_images_total",
            description="Images that were decoded (good) or refused (bad)",
            kind=pb_utils.MetricFamily.COUNTER,
        )
        seconds = pb_utils.MetricFamily(
            name="vehicle_reid_decode_seconds_total",
            description="Time spent on decoding and resizing, waiting included",
            kind=pb_utils.MetricFamily.COUNTER,
        )
        # The families are kept too: a metric goes with its family.
        self.families = (images, seconds)
        self.good = images.Metric(labels={"outcome": "good"})
        self.bad = images.Metric(labels={"outcome": "bad"})
        self.seconds = seconds.Metric()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer a batch of requests, each for itself."""
        began = time.perf_counter()
        batches = [
            [
                bytes(data)
                for data in pb_utils.get_input_tensor_by_name(request, "image_bytes").as_numpy().flat
            ]
            for request in requests
        ]
        files = [data for batch in batches for data in batch]
        deal = map if all(len(data) < SMALL_BYTES for data in files) else self.pool.map
        rows = list(deal(self._prepare, files))
        bad = sum(isinstance(row, str) for row in rows)
        # Once an execution, and not at all for nothing: each count is a message to the server.
        self.good.increment(len(rows) - bad)
        if bad:
            self.bad.increment(bad)
        self.seconds.increment(time.perf_counter() - began)
        decoded = iter(rows)
        return [self._respond([next(decoded) for _ in batch]) for batch in batches]

    def finalize(self) -> None:
        """Let the decoding threads go."""
        self.pool.shutdown(wait=False)

    def _prepare(self, data: bytes) -> np.ndarray | str:
        try:
            return prepare(data, self.size, antialias=self.antialias)
        except ImageError as error:
            return str(error)

    def _respond(self, rows: list[np.ndarray | str]) -> Any:
        errors = [row if isinstance(row, str) else "" for row in rows]
        if len(rows) == 1 and errors[0]:
            error = pb_utils.TritonError(BAD_IMAGE + errors[0], pb_utils.TritonError.INVALID_ARG)
            return pb_utils.InferenceResponse(error=error)
        black = np.zeros((*self.size, 3), np.uint8)
        images = np.stack([black if isinstance(row, str) else row for row in rows])
        texts = np.array([error.encode() for error in errors], dtype=np.object_).reshape(-1, 1)
        return pb_utils.InferenceResponse(
            output_tensors=[pb_utils.Tensor("image", images), pb_utils.Tensor("error", texts)]
        )
