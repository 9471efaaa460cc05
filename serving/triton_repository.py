"""The Triton model repository of a bundle: three models, their configs built through tritonclient's schema.

`vehicle_reid` is the entry: an ensemble of `vehicle_preprocess` (encoded bytes -> pixels, Python backend) and
`vehicle_reid_onnx` (pixels -> embedding and probabilities, onnxruntime backend). Nothing here depends on
where the server comes from; the same repository is for NVIDIA's container.
"""

import os
import shutil
from pathlib import Path

import zoo.preprocess
from serving.bundle import POSE_DTYPES, Bundle, file_hash
from zoo.card import Card
from zoo.errors import UserError

ENTRY_MODEL = "vehicle_reid"
ONNX_MODEL = "vehicle_reid_onnx"
PREPROCESS_MODEL = "vehicle_preprocess"

MAX_BATCH_SIZE = 32

_QUEUE_DELAY_MICROSECONDS = 500
"""How long an execution waits for company: small against the milliseconds that one image takes."""

_LABEL_FILES = {"color_probs": "colors.txt", "type_probs": "types.txt"}


def write_repository(folder: Path, card: Card, onnx_file: Path, model_hash: str) -> None:
    """Write the repository of one model.

    Args:
        folder: the repository's root; made here.
        card: the model's card; it travels in the entry model's parameters.
        onnx_file: the model; hard-linked where the file system can, so that a bundle holds it once.
        model_hash: sha256 of the ONNX file.

    Raises:
        UserError: tritonclient is not installed.
    """
    configs = build_configs(card, model_hash)
    for name, text in configs.items():
        version = folder / name / "1"
        version.mkdir(parents=True)
        (folder / name / "config.pbtxt").write_text(text, encoding="utf-8")

    backend_source = Path(__file__).parent / "triton_models" / "vehicle_preprocess.py"
    shutil.copyfile(backend_source, folder / PREPROCESS_MODEL / "1" / "model.py")
    shutil.copyfile(zoo.preprocess.__file__, folder / PREPROCESS_MODEL / "1" / "preprocess.py")

    onnx_target = folder / ONNX_MODEL / "1" / "model.onnx"
    try:
        os.link(onnx_file, onnx_target)
    except OSError:
        shutil.copyfile(onnx_file, onnx_target)
    for output, names in (("color_probs", card.colors), ("type_probs", card.types)):
        if output in card.outputs:
            label_file = folder / ONNX_MODEL / _LABEL_FILES[output]
            label_file.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def check_repository(bundle: Bundle) -> None:
    """Make sure that a bundle's repository is whole, which a server tells in many words where it is not.

    Raises:
        UserError: a part is missing, or the model is another one or damaged.
    """
    model = f"{ONNX_MODEL}/1/model.onnx"
    parts = [f"{name}/config.pbtxt" for name in (ENTRY_MODEL, ONNX_MODEL, PREPROCESS_MODEL)]
    # The entry's version folder is empty, and some ways of copying lose empty folders.
    parts += [
        f"{ENTRY_MODEL}/1",
        f"{PREPROCESS_MODEL}/1/model.py",
        f"{PREPROCESS_MODEL}/1/preprocess.py",
        model,
    ]
    parts += [f"{ONNX_MODEL}/{_LABEL_FILES[name]}" for name in _LABEL_FILES if name in bundle.card.outputs]
    faults = [f"{part} is missing" for part in parts if not (bundle.repository / part).exists()]
    # A bundle as it was written holds the model once, a copy of it holds it twice.
    twice = not faults and not (bundle.repository / model).samefile(bundle.onnx_file)
    if twice and file_hash(bundle.repository / model) != bundle.model_hash:
        faults.append(f"{model} is damaged or another model")
    if faults:
        raise UserError(
            f"{bundle.repository}: {', '.join(faults)}; copy the bundle again, or export the model again"
        )


def build_configs(card: Card, model_hash: str) -> dict[str, str]:
    """Build the three `config.pbtxt` texts, by model name.

    Raises:
        UserError: tritonclient is not installed.
    """
    try:
        from google.protobuf import text_format
        from tritonclient.grpc import model_config_pb2 as schema
    except ImportError as error:
        raise UserError(
            f"the Triton repository needs tritonclient ({error}); install it with: "
            'pip install "tritonclient[grpc]"'
        ) from error

    image = {"name": "image", "data_type": schema.TYPE_UINT8, "dims": [*card.input_size, 3]}
    image_bytes = {"name": "image_bytes", "data_type": schema.TYPE_STRING, "dims": [1]}
    errors = {"name": "error", "data_type": schema.TYPE_STRING, "dims": [1]}
    types = {"float32": schema.TYPE_FP32, "uint8": schema.TYPE_UINT8}
    pose = [
        {"name": name, "data_type": types[POSE_DTYPES[name]], "dims": list(shape)}
        for name, shape in card.pose_inputs.items()
    ]
    answers = [
        {"name": name, "data_type": schema.TYPE_FP32, "dims": [dimension]}
        for name, dimension in card.outputs.items()
    ]

    preprocess = schema.ModelConfig(
        name=PREPROCESS_MODEL,
        backend="python",
        max_batch_size=MAX_BATCH_SIZE,
        input=[image_bytes],
        output=[image, errors],
        # Decoding is CPU work; without a kind, the server would put it beside each GPU.
        instance_group=[{"count": 1, "kind": schema.ModelInstanceGroup.KIND_CPU}],
        dynamic_batching={},
    )
    network = schema.ModelConfig(
        name=ONNX_MODEL,
        backend="onnxruntime",
        default_model_filename="model.onnx",
        max_batch_size=MAX_BATCH_SIZE,
        input=[image, *pose],
        output=[
            {**answer, "label_filename": _LABEL_FILES[answer["name"]]}
            if answer["name"] in _LABEL_FILES
            else answer
            for answer in answers
        ],
        # No kind: the server takes the GPU where there is one. One instance already uses every core.
        instance_group=[{"count": 1}],
        dynamic_batching={"max_queue_delay_microseconds": _QUEUE_DELAY_MICROSECONDS},
    )
    first_step = {
        "model_name": PREPROCESS_MODEL,
        "model_version": -1,
        "input_map": {"image_bytes": "image_bytes"},
        "output_map": {"image": "image", "error": "error"},
    }
    second_step = {
        "model_name": ONNX_MODEL,
        "model_version": -1,
        "input_map": {name: name for name in ("image", *card.pose_inputs)},
        "output_map": {name: name for name in card.outputs},
    }
    entry = schema.ModelConfig(
        name=ENTRY_MODEL,
        platform="ensemble",
        max_batch_size=MAX_BATCH_SIZE,
        input=[image_bytes, *pose],
        output=[*answers, errors],
        ensemble_scheduling={"step": [first_step, second_step]},
        parameters={
            "card": {"string_value": card.to_json()},
            "model_hash": {"string_value": model_hash},
        },
    )
    return {
        config.name: text_format.MessageToString(config, as_utf8=True)
        for config in (preprocess, network, entry)
    }
