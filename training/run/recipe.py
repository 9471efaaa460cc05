"""Recipes: how a model is trained, as a small TOML file that refuses what it does not know."""

import dataclasses
import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from training.data.pose_maps import MapSource
from training.data.sampler import Dealing, SamplerKind
from training.data.transforms import Augmentation
from training.losses import LoneAnchors
from training.options import RECIPES, TRAIN_OPTIONS, Level
from training.run.optim import OptimizerOptions
from zoo.errors import UserError
from zoo.typed_table import build

Mining = Literal["global", "rank"]


@dataclass(frozen=True)
class ModelOptions:
    """What is trained: an architecture of the zoo and its options; None leaves one at the architecture's
    default. An architecture refuses an option that it does not have."""

    arch: str = "densenet121"
    multitask: bool = True
    keypoints: bool = False
    heatmaps: bool = False
    segments: bool = False
    embedding_dim: int | None = None
    attribute_dim: int | None = None
    neck: str | None = None
    pool: str | None = None
    last_stride: int | None = None
    ibn: bool | None = None
    width: float | None = None

    def options(self) -> dict[str, Any]:
        """The architecture's options, as far as they are given."""
        given = dataclasses.asdict(self)
        del given["arch"]
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class LossOptions:
    """Weights of the loss's parts; 0 leaves a part out.

    Attributes:
        circle: circle loss on cosine similarities; beside the triplet part or in its place.
        teacher: relations to the other images of the batch, as the recipe's teacher sees them.
        margin: of the triplet part, without `soft_margin`.
        lone_anchors: in the triplet part, an anchor without another image of its identity is left `out`, or
            is its own positive (`self`), as in PAMTRI.
        circle_margin: m of the paper.
        circle_scale: gamma of the paper.
        label_smoothing: of the identity classifier alone.
        triplet_start: epochs before the triplet part sets in. From random weights, batch-hard mining at once
            draws all embeddings to one point, where it and the identity classifier stay.
    """

    identity: float = 1.0
    triplet: float = 1.0
    circle: float = 0.0
    color: float = 0.125
    type: float = 0.125
    teacher: float = 0.0
    margin: float = 0.3
    soft_margin: bool = False
    lone_anchors: LoneAnchors = "out"
    circle_margin: float = 0.25
    circle_scale: float = 64.0
    label_smoothing: float = 0.0
    triplet_start: int = 0


@dataclass(frozen=True)
class RankOptions:
    """What a run of several ranks does otherwise than one of a single rank.

    Attributes:
        dealing: of each global batch to the ranks: `random`, or by `identity`.
        mining: `global` mines and averages over the images of all ranks, `rank` over a rank's own.
        lr_scaling: by the number of ranks, or its square root, or not at all; `auto` is what
            docs/many-cards.md found best: linear from random weights, the square root from pretrained ones.
        warmup_epochs: linear rise of the rate, at most a sixth of the training; the optimiser's own where
            that is longer.
        sync_bn: BatchNorm over the images of all ranks.
    """

    dealing: Dealing = "random"
    mining: Mining = "global"
    lr_scaling: Literal["auto", "linear", "sqrt", "none"] = "auto"
    warmup_epochs: float = 2.0
    sync_bn: bool = False

    def rate_factor(self, world_size: int, *, pretrained: bool) -> float:
        """What the rate is multiplied by, in a training from pretrained or from random weights."""
        scaling = self.lr_scaling
        if scaling == "auto":
            scaling = "sqrt" if pretrained else "linear"
        return {"linear": float(world_size), "sqrt": world_size**0.5, "none": 1.0}[scaling]


@dataclass(frozen=True)
class Recipe:
    """Everything about a training but the data and the machine.

    Attributes:
        name: of the file that it was read from.
        description: one line.
        size: (height, width) of the input.
        antialias: how images are resized to it: all their pixels count, or (as in PAMTRI's own training) the
            four about each place.
        epochs: passes over the data.
        num_identities: P, identities in the batch of one rank.
        num_instances: K, images of each.
        sampler: `identity` for batches of P x K, `even` for such with equal parts of all data sets, `plain`
            for as many images of any identity.
        init: `imagenet`, `none`, or weights to start from.
        teacher: a model of the zoo, or the path of weights, that the loss's part `teacher` learns from.
        amp: the precision of training, as `training.distributed.amp` tells: `O0` is fp32.
        loss_scale: a number, or `dynamic`; used at O1 and O2.
        channels_last: memory layout; faster on CPUs and GPUs.
        ema_decay: of the average of weights that is evaluated and saved in place of the last ones; 0 for
            none.
        progressive: (until_epoch, size) pairs: epochs before `until_epoch` train at size x size; then `size`.
        eval_every: epochs between evaluations; the last epoch is always evaluated.
        cache: keep the decoded training images in memory.
        workers: processes that load images, where they are not cached.
        pose_maps: where heatmaps and segments come from: `folders`, `drawn` from the keypoints, or `auto` for
            the folders of a split that has them.
    """

    name: str = ""
    description: str = ""
    size: tuple[int, int] = (256, 256)
    antialias: bool = True
    epochs: int = 120
    num_identities: int = 8
    num_instances: int = 4
    sampler: SamplerKind = "identity"
    init: str = "imagenet"
    teacher: str = ""
    amp: Level = "O0"
    loss_scale: float | Literal["dynamic"] = "dynamic"
    channels_last: bool = True
    ema_decay: float = 0.0
    progressive: tuple[tuple[int, int], ...] = ()
    eval_every: int = 1
    cache: bool = False
    workers: int = 0
    pose_maps: MapSource = "auto"
    model: ModelOptions = field(default_factory=ModelOptions)
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    loss: LossOptions = field(default_factory=LossOptions)
    augmentation: Augmentation = field(default_factory=Augmentation)
    ranks: RankOptions = field(default_factory=RankOptions)

    def __post_init__(self) -> None:
        for name in ("epochs", "num_identities", "num_instances", "eval_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: must be at least 1")
        if self.loss_scale != "dynamic" and not 0.0 < self.loss_scale < math.inf:
            raise ValueError(f"loss_scale = {self.loss_scale}: must be above 0, or 'dynamic'")
        if not 0.0 <= self.ema_decay < 1.0:
            raise ValueError(f"ema_decay = {self.ema_decay}: must be in 0..1, 1 left out")
        if bool(self.teacher) != bool(self.loss.teacher):
            raise ValueError(
                f"teacher = {self.teacher!r}, and teacher = {self.loss.teacher} in [loss]: a teacher needs a "
                "weight, and a weight a teacher; give both or none"
            )
        if self.teacher and self.num_identities * self.num_instances < 3:
            raise ValueError(
                "a teacher tells how far the images of a batch are apart: it needs three at least; raise "
                "num_identities"
            )
        if min(self.size) < 32 or any(side < 32 for _, side in self.progressive):
            raise ValueError(
                f"size = {self.size}, progressive = {self.progressive}: the network needs 32 pixels"
            )

    def over_ranks(self, world_size: int) -> "Recipe":
        """The recipe as so many ranks follow it: with their learning rate and warm-up."""
        if world_size == 1:
            return self
        warmup = max(self.optimizer.warmup_epochs, min(self.ranks.warmup_epochs, self.epochs / 6))
        factor = self.ranks.rate_factor(world_size, pretrained=self.init != "none")
        return dataclasses.replace(
            self,
            optimizer=dataclasses.replace(
                self.optimizer, lr=self.optimizer.lr * factor, warmup_epochs=warmup
            ),
        )

    def loss_at(self, epoch: int) -> LossOptions:
        """The loss's weights in an epoch, which counts from 0."""
        if epoch >= self.loss.triplet_start:
            return self.loss
        return dataclasses.replace(self.loss, triplet=0.0)

    def size_at(self, epoch: int) -> tuple[int, int]:
        """(height, width) of the batches of an epoch, which counts from 0."""
        for until_epoch, side in self.progressive:
            if epoch < until_epoch:
                return side, side
        return self.size


def load_recipe(name_or_path: str | Path, **overrides: Any) -> Recipe:
    """Read a recipe. One whose file says `base = "NAME"` has that recipe's values where it gives none.

    Args:
        name_or_path: the name of one that comes with the project, or a path of a `.toml` file.
        overrides: fields of `Recipe` to change; None leaves one as the file has it.

    Raises:
        UserError: no such recipe, or it holds an unknown key or a value that does not fit.
    """
    path = _find(name_or_path)
    values = _read(path, ())
    values = {"name": path.stem, **values, **{k: v for k, v in overrides.items() if v is not None}}
    return build(Recipe, values, str(path), TRAIN_OPTIONS)


def _find(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = RECIPES / f"{name_or_path}.toml"
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml")))
        raise UserError(
            f"{name_or_path}: no such recipe; known are {names}, or give the path of a .toml file"
        )
    return path


def _read(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """Read a file's values over those of the recipe that it names as its `base`; `above` are the files that
    led here by their bases."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not TOML ({error}); mend the file") from error
    if "base" not in values:
        return values
    base, above = values.pop("base"), (*above, path)
    if not isinstance(base, str):
        raise UserError(f"{path}: base = {base!r}: expected the name of a recipe")
    try:
        # A path is one as seen from the file that gives it.
        found = _find(path.parent / base if base.endswith(".toml") else base)
    except UserError as error:
        raise UserError(f"{path}: base = {base!r}: {error}") from error
    if found in above:
        raise UserError(f"{path}: base = {base!r}: a recipe cannot be based on itself; name another")
    return _over(_read(found, above), values)


def _over(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Lay one TOML table over another, tables within them too."""
    both = {
        key: _over(base[key], value)
        for key, value in values.items()
        if isinstance(value, dict) and isinstance(base.get(key), dict)
    }
    return {**base, **values, **both}
