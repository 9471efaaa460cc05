"""Options: typed, refused when wrong, and written into the configs."""

from pathlib import Path

import pytest
from tritonclient.grpc import model_config_pb2 as schema

from serving.triton.configs import ENTRY_MODEL, ONNX_MODEL, PREPROCESS_MODEL, build_configs
from serving.triton.options import Accelerator, Instances, RateLimit, RepositoryOptions, read_options
from tests.serving.conftest import make_model
from zoo.errors import UserError

WRONG = {
    "colour = 1": "unknown key 'colour'",
    "warm_up = [64]": "warm_up: 64 is not between 1 and max_size = 32",
    "response_cache = 1": "expected bool",
    "keep_versions = 0": "at least 1 is expected",
    "[batching]\npreferred_sizes = [0]": "preferred_sizes: 0 is not between",
    "[batching]\nmax_delay_us = -1": "max_delay_us = -1: at least 0 is expected",
    "[queue]\ntimeout_action = 'drop'": "expected one of 'reject', 'delay'",
    "[queue]\nclient_timeout = true": "has no effect with timeout_us = 0",
    "[priorities]\nlevels = 2": "default = 0 is not between 1 and levels = 2",
    "[instances]\ngpus = [0]": 'set device = "gpu"',
    "[instances]\ndevice = 'npu'\n[runtime]\nthreads = 2": "settings of onnxruntime",
    "[instances]\ndevice = 'npu'\n[accelerator]\nname = 'cuda'": 'needs [instances] device = "gpu"',
    "[runtime]\ngraph_threads = 2": "with parallel = true only",
    "[accelerator]\nname = 'warp'": "expected one of",
    "[accelerator]\nname = 'tensorrt'": 'needs [instances] device = "gpu"',
    "[accelerator]\nprecision = 'fp16'": 'are for name = "tensorrt"',
    "[rate_limit]\nresource = 'cores'\nnetwork = 2": "would never run",
    "= 3": "these options cannot be read",
}


@pytest.mark.parametrize("text", WRONG)
def test_wrong_options_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "options.toml"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        read_options(file)
    assert str(error.value).startswith(str(file))
    assert WRONG[text] in str(error.value)


def test_options_of_gpus_reach_the_config() -> None:
    _, card = make_model(keypoints=True)
    options = RepositoryOptions(
        instances=Instances(network=2, device="gpu", gpus=(0, 1)),
        accelerator=Accelerator("tensorrt", precision="fp16", engine_cache="/engines"),
        warm_up=(1, 8),
    )
    configs = build_configs(card, "0" * 64, options)
    network = configs[ONNX_MODEL]
    (group,) = network.instance_group
    assert (group.count, group.kind, list(group.gpus)) == (2, schema.ModelInstanceGroup.KIND_GPU, [0, 1])
    (accelerator,) = network.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "tensorrt"
    assert dict(accelerator.parameters) == {
        "precision_mode": "FP16",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": "/engines",
    }
    assert [sample.batch_size for sample in network.model_warmup] == [1, 8]
    assert set(network.model_warmup[0].inputs) == {"image", "keypoints"}
    (decoding,) = configs[PREPROCESS_MODEL].instance_group
    assert decoding.kind == schema.ModelInstanceGroup.KIND_CPU


def test_options_of_cpus_reach_the_config() -> None:
    _, card = make_model()
    options = RepositoryOptions(
        instances=Instances(device="cpu"),
        accelerator=Accelerator("openvino"),
        rate_limit=RateLimit("cores", capacity=2),
        response_cache=True,
    )
    configs = build_configs(card, "0" * 64, options)
    (accelerator,) = configs[ONNX_MODEL].optimization.execution_accelerators.cpu_execution_accelerator
    assert accelerator.name == "openvino"
    (resource,) = configs[PREPROCESS_MODEL].instance_group[0].rate_limiter.resources
    assert (resource.name, resource.count) == ("cores", 1)
    assert configs[ENTRY_MODEL].response_cache.enable


def test_an_npu_has_a_backend_of_its_own() -> None:
    _, card = make_model()
    usual = build_configs(card, "0" * 64)[ONNX_MODEL]
    network = build_configs(card, "0" * 64, RepositoryOptions(instances=Instances(device="npu")))[ONNX_MODEL]
    assert network.backend == "npu_ge"
    assert not network.HasField("optimization")
    assert not network.parameters
    assert (network.input, network.output) == (usual.input, usual.output)
    assert (network.dynamic_batching, network.instance_group) == (
        usual.dynamic_batching,
        usual.instance_group,
    )
