"""Emulated ranks take the very steps of real ones: processes, gloo, the product's gathering and averaging."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.rank_study.arms import Arm, original, ours, switched
from benchmarks.rank_study.emulation import average_statistics, split_batch_norm
from benchmarks.rank_study.run import global_draws, normalise, training_step
from training.data.batches import Batch, TrainingSet, collate, raise_failures
from training.data.even_sampler import make_sampler
from training.data.sampler import Draw, Sampler, rank_draws
from training.datasets import read_split
from training.datasets.records import label_map
from training.distributed.ranks import Ranks, joined
from training.distributed.sync_bn import synchronise
from training.run.recipe import Recipe, load_recipe
from training.run.step import loss_parts
from zoo.models.network import NetworkOutputs
from zoo.registry import create_model

RANKS, STEPS = 2, 3
SWITCHED = switched(RANKS, "pretrained")
ARMS = {
    "ours": ours(RANKS, "pretrained"),
    "original": original(RANKS),
    "original, lone anchors out": dataclasses.replace(original(RANKS), lone_anchors="out"),
    "synchronised BatchNorm": SWITCHED["synchronised BatchNorm"],
    "averaged statistics": SWITCHED["averaged statistics"],
    "dealt by identity": SWITCHED["dealt by identity"],
    "dealt by identity, mined per rank": SWITCHED["dealt by identity, mined per rank"],
}


class Tiny(nn.Module):
    """What a model of the zoo has, at a size for seconds."""

    def __init__(self, num_ids: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, stride=4, bias=False), nn.BatchNorm2d(8)
        self.embed, self.ids = nn.Linear(8, 6), nn.Linear(6, num_ids)
        self.colors, self.types = nn.Linear(8, 10), nn.Linear(8, 9)

    def forward(self, image: Tensor) -> NetworkOutputs:
        feature = F.relu(self.norm(self.conv(image))).mean((2, 3))
        embedding = F.leaky_relu(self.embed(feature))
        return NetworkOutputs(embedding, self.colors(feature), self.types(feature), self.ids(embedding))


def setting(root: Path, arm: Arm, arch: str) -> tuple[Recipe, TrainingSet, Sampler, nn.Module]:
    """The same for every process: chance comes from seeds alone."""
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    recipe = dataclasses.replace(load_recipe("pamtri"), size=(32, 32), num_identities=2, num_instances=2)
    recipe = dataclasses.replace(recipe, loss=dataclasses.replace(recipe.loss, lone_anchors=arm.lone_anchors))
    records = read_split(root, "train")
    data = TrainingSet(records, label_map(records), recipe.size, recipe.augmentation, seed=1)
    labels = [data.labels[record.vehicle_id] for record in records]
    sampler = make_sampler(arm.sampler, labels, RANKS * recipe.num_identities, recipe.num_instances, seed=1)
    torch.manual_seed(1)
    if arch == "tiny":
        model: nn.Module = Tiny(len(data.labels))
    else:
        model = create_model(arch, num_ids=len(data.labels), embedding_dim=16, attribute_dim=8)
    model.register_forward_pre_hook(lambda module, inputs: (inputs[0].double(),))
    return recipe, data, sampler, model.train()


def batch_of(data: TrainingSet, draws: list[Draw]) -> Batch:
    (batch,) = raise_failures([collate([data[draw] for draw in draws])])
    return batch


def descent(model: nn.Module) -> torch.optim.Optimizer:
    """Not Adam, whose division lifts the rounding of the smallest gradients a million times."""
    return torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=5e-4)


def real_rank(rank: int, root: Path, arch: str, folder: Path) -> None:
    """One process of trainings by the product's ranks, an arm after the other."""
    for name, arm in ARMS.items():
        meeting = f"file://{folder / name}.meeting"
        with joined(rank, RANKS, torch.device("cpu"), init_method=meeting) as ranks:
            train(root, arm, arch, ranks, folder / f"{name}.safetensors")


def train(root: Path, arm: Arm, arch: str, ranks: Ranks, out: Path) -> None:
    recipe, data, sampler, model = setting(root, arm, arch)
    if arm.sync_bn:
        synchronise(model, ranks)
    optimizer = descent(model)
    for draws in rank_draws(sampler, 0, arm.dealing, ranks.rank, RANKS)[:STEPS]:
        batch = batch_of(data, draws)
        outputs = model(normalise(batch.image).image)
        parts = loss_parts(outputs, batch, recipe.loss, ranks, arm.mining)
        optimizer.zero_grad()
        torch.stack(list(parts.values())).sum().backward()
        ranks.average_gradients(model.parameters())
        optimizer.step()
    if arm.statistics == "mean":
        ranks.average(buffer for buffer in model.buffers() if buffer.is_floating_point())
    if ranks.is_first:
        save_file(model.state_dict(), out)


@pytest.fixture(scope="module", params=["tiny", pytest.param("densenet121", marks=pytest.mark.slow)])
def real(
    request: pytest.FixtureRequest, veri_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """An architecture, and the folder of what real ranks made of it; they are started once for all arms."""
    folder = tmp_path_factory.mktemp("real")
    torch.multiprocessing.spawn(real_rank, (veri_root, request.param, folder), nprocs=RANKS)
    return request.param, folder


@pytest.fixture
def doubles() -> Iterator[None]:
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.usefixtures("doubles")
def test_equal_to_real_ranks(arm: str, real: tuple[str, Path], veri_root: Path) -> None:
    arch, folder = real
    found = load_file(folder / f"{arm}.safetensors")

    recipe, data, sampler, model = setting(veri_root, ARMS[arm], arch)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    if not ARMS[arm].sync_bn:
        split_batch_norm(model, RANKS)
    optimizer = descent(model)
    for draws in global_draws(sampler, 0, ARMS[arm])[:STEPS]:
        training_step(model, optimizer, batch_of(data, draws), recipe, ARMS[arm])
    if ARMS[arm].statistics == "mean":
        average_statistics(model)
    emulated = model.state_dict()
    assert emulated.keys() == found.keys()
    for name, value in emulated.items():
        # Against how far it was moved: what a wrong rank's statistics or triplets change is of that size, and
        # rounding, which 121 layers of BatchNorm lift, a millionth of it.
        way = (found[name] - start[name]).double().norm()
        assert (value - found[name]).double().norm() <= 1e-6 * way, name
    moved = [name for name in found if not torch.equal(found[name], start[name])]
    assert moved == list(found), "everything is trained"
