"""Which trained weights there are of a net."""

import itertools
import pathlib
import re
import shlex
from dataclasses import dataclass, replace

from dnnh import paths
from dnnh.errors import UserError
from dnnh.nets import configs, model_files
from dnnh.nets.net_config import NetConfig
from dnnh.nets.specs import DEFAULT_TRAIN_SEED, TRIPLET_SAMPLINGS, NetSpec

# What tools say of their --model, as find_weights chooses.
DEFAULT_CHOICE = (
    "the newest snapshot of the net, else the released model, else the newest snapshot of the "
    "net's training runs with another schedule or seed"
)


@dataclass(frozen=True)
class TrainingRun:
    """What the file name of a snapshot or released model tells of its training run.

    Attributes
    ----------
    schedule : str
        A name of the method's, or the number of iterations as text.
    sampling, split : str
    train_seed : int
    bits : int, or None
        None of lengths that are trained together.
    iteration : int, or None
        None of a released model, and of averaged weights.
    """

    schedule: str
    sampling: str
    split: str
    train_seed: int
    bits: int | None
    iteration: int | None


@dataclass(frozen=True)
class Weights:
    """A .caffemodel file of a net, what it is in words, and its training run if that is known."""

    path: pathlib.Path
    description: str
    run: TrainingRun | None = None

    def net(self, spec: NetSpec) -> NetSpec:
        """The net that was asked for, with this schedule: it decides the epsilon of the end."""
        return spec if self.run is None else replace(spec, schedule=self.run.schedule)


@dataclass(frozen=True)
class _Snapshot:
    path: pathlib.Path
    run: TrainingRun
    # Seconds first: a new training run begins again at small iterations.
    age: tuple[float, int]


def all_weights(spec: NetSpec) -> list[Weights]:
    """The weights that there are of a net, whatever schedule and seed they were trained with.

    Returns
    -------
    list of Weights
        Snapshots of this very training run, the newest first; released models, that of the same
        schedule first; snapshots of the net's other training runs, the newest first.
    """
    snapshots = _snapshots(spec)
    own = [snapshot for snapshot in snapshots if _is_of(spec, snapshot.run)]
    others = [snapshot for snapshot in snapshots if not _is_of(spec, snapshot.run)]
    return [
        *_described(spec, own, "snapshot"),
        *_released(spec),
        *_described(spec, others, "snapshot of another training run of this net"),
    ]


def _is_of(spec: NetSpec, run: TrainingRun) -> bool:
    """Whether a training run of a net is the very one that is asked for."""
    return (run.schedule, run.train_seed) == (spec.schedule, spec.train_seed)


def _snapshots(spec: NetSpec) -> list[_Snapshot]:
    """The snapshots of all training runs of a net, the newest first."""
    bits = None if len(spec.lengths) > 1 else spec.bits
    snapshots = []
    for path in (paths.ROOT / spec.snapshot_prefix).parent.glob("*.caffemodel*"):
        run = run_of(spec, path)
        if run is None or run.iteration is None:
            continue
        if (run.sampling, run.split, run.bits) == (spec.sampling, spec.split, bits):
            snapshots.append(_Snapshot(path, run, (path.stat().st_mtime, run.iteration)))
    return sorted(snapshots, key=lambda snapshot: snapshot.age, reverse=True)


def run_in_name(name: str, dataset: str, config: NetConfig, method: str) -> TrainingRun | None:
    """The training run that a file name tells (NetSpec.training_name); None if it is the name of
    something else."""
    schedules = "|".join(map(re.escape, config.schedules))
    samplings = "|".join(TRIPLET_SAMPLINGS)
    match = re.fullmatch(
        rf"{re.escape(f'{dataset}_{method}')}(?:_(?P<schedule>{schedules}|\d{{1,8}}iterations))?"
        rf"(?:_(?P<sampling>{samplings}))?(?P<validation>_validation)?"
        r"(?:_seed(?P<seed>\d{1,10}))?(?:_(?P<bits>\d{1,3})bit)?"
        r"(?:_iter_(?P<iteration>\d{1,10})|_averaged)?\.caffemodel(?:\.h5)?",
        name,
        re.ASCII,
    )
    if not match:
        return None
    schedule = (match["schedule"] or config.default_schedule).removesuffix("iterations")
    if schedule not in config.schedules:
        schedule = str(int(schedule))
        try:
            configs.schedule_of(config, schedule, method)
        except UserError:  # of iterations that the method has not
            return None
    return TrainingRun(
        schedule,
        sampling=match["sampling"] or TRIPLET_SAMPLINGS[0],
        split="validation" if match["validation"] else "test",
        train_seed=int(match["seed"] or DEFAULT_TRAIN_SEED),
        bits=int(match["bits"]) if match["bits"] else None,
        iteration=int(match["iteration"]) if match["iteration"] else None,
    )


def run_of(spec: NetSpec, path: pathlib.Path) -> TrainingRun | None:
    """As :func:`run_in_name`, of a file of a net."""
    return run_in_name(path.name, spec.dataset, spec.config, spec.method)


def check_split(spec: NetSpec, model: pathlib.Path) -> None:
    """Raise UserError if weights were trained on another split, by their name.

    Those of all training images were trained on what the validation split holds out; those of
    the validation split are of another training run.
    """
    run = run_of(spec, model)
    if run is not None and run.split != spec.split:
        raise UserError(
            f"{model} was trained with --split {run.split}, by its name; pass that, or name other "
            "weights with --model"
        )


def last_snapshots(spec: NetSpec, count: int) -> list[pathlib.Path]:
    """The last so many snapshots of this very training run, the last one last.

    Raises
    ------
    UserError
        If there are not so many, or some are of an earlier training run under the same name.
    """
    of_training = [snapshot for snapshot in _snapshots(spec) if _is_of(spec, snapshot.run)]
    if not 1 <= count <= len(of_training):
        raise UserError(
            f"there are {len(of_training)} snapshots {spec.snapshot_prefix}_iter_*.caffemodel, not "
            f"{count}; train the net, or name fewer, 1 or more"
        )
    last = of_training[:count]
    for later, earlier in itertools.pairwise(last):
        if later.age[1] <= earlier.age[1]:
            raise UserError(
                f"{later.path.name} is newer than {earlier.path.name}: they seem to be of two "
                "training runs; move the snapshots of one of them away"
            )
    return [snapshot.path for snapshot in reversed(last)]


def _described(spec: NetSpec, snapshots: list[_Snapshot], what: str) -> list[Weights]:
    weights = []
    for i, snapshot in enumerate(snapshots):
        which = "an older" if i else "the newest"
        name = snapshot.path.relative_to(paths.ROOT)
        weights.append(Weights(snapshot.path, f"{name}, {which} {what}", snapshot.run))
    return weights


def release_path(spec: NetSpec) -> pathlib.Path:
    """Where the released model of a training run lies."""
    return paths.MODELS / f"{spec.training_name}{model_files.HDF5_SUFFIX}"


def _released(spec: NetSpec) -> list[Weights]:
    config = spec.config
    schedules = dict.fromkeys([spec.schedule, *config.schedules])
    weights = []
    for schedule in schedules:
        if schedule not in config.schedules:
            continue
        released = replace(spec, schedule=schedule, train_seed=DEFAULT_TRAIN_SEED)
        path = release_path(released)
        if path.is_file():
            description = f"{path.relative_to(paths.ROOT)}, the released model"
            if schedule != spec.schedule:
                description += f" (schedule {schedule})"
            weights.append(Weights(path, description, run_of(spec, path)))
    return weights


def find_weights(spec: NetSpec, model: pathlib.Path | None = None) -> Weights:
    """Choose the weights of a net.

    Parameters
    ----------
    spec : NetSpec
    model : path, optional
        Weights that the user names; by default the first of :func:`all_weights`.

    Raises
    ------
    UserError
        If there are none.
    """
    if model is not None:
        if not model.is_file():
            problem = "is not a file" if model.exists() else "does not exist"
            raise UserError(
                f"{model} {problem}; give a .caffemodel file, or leave --model out for "
                + DEFAULT_CHOICE
            )
        return Weights(model, f"{model}, as given", run_of(spec, model))
    if weights := all_weights(spec):
        return weights[0]
    raise UserError(
        f"there is no trained net '{spec.training_name}': no snapshot "
        f"{spec.snapshot_prefix}_iter_*.caffemodel and no released model. Train it with "
        f"{_how_to_train(spec)}, or name weights with --model"
    )


def _how_to_train(spec: NetSpec) -> str:
    path = spec.files["solver"]
    train = f"'caffe train -solver {path.relative_to(paths.ROOT)}'"
    return train if path.exists() else f"'{make_command(spec)}' and {train}"


def make_command(spec: NetSpec) -> str:
    """The command that writes the prototxt files of a net."""
    words = ["python tools/make_prototxt.py", *_net_options(spec)]
    if spec.sampling != TRIPLET_SAMPLINGS[0]:
        words.append(f"--sampling {spec.sampling}")
    if spec.train_seed != DEFAULT_TRAIN_SEED:
        words.append(f"--train-seed {spec.train_seed}")
    return " ".join(words)


def export_command(spec: NetSpec) -> str:
    """The command that writes a net as an ONNX model."""
    return " ".join(["python tools/export.py", *_net_options(spec)])


def evaluate_command(spec: NetSpec, model: pathlib.Path) -> str:
    """The command that evaluates weights of a net."""
    name = model.relative_to(paths.ROOT) if model.is_relative_to(paths.ROOT) else model
    options = [*_net_options(spec), f"--model {shlex.quote(str(name))}"]
    return " ".join(["python tools/evaluate.py", *options])


def _net_options(spec: NetSpec) -> list[str]:
    words = [f"--dataset {spec.dataset}", f"--method {spec.method}", f"--bits {spec.bits}"]
    if spec.schedule != spec.config.default_schedule:
        words.append(f"--schedule {spec.schedule}")
    if spec.split != "test":
        words.append(f"--split {spec.split}")
    return words
