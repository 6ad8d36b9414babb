"""One voice from several checkpoints of a run: the mean of their weights.

Late in training the weights wander about a good place without settling in it; their mean lies nearer to it than any
one of them (Polyak and Juditsky 1992, "Acceleration of stochastic approximation by averaging"). ESPnet does the same
with its n best or last models before they are used (`espnet2/main_funcs/average_nbest_models.py`).
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from tts_lab.errors import UserError
from tts_lab.voices.checkpoints import Checkpoint, read_checkpoint, write_checkpoint

PREFIX = "model_g."
AVERAGED = "averaged"
"""In a checkpoint's provenance: which checkpoints it is the mean of."""
NAMED = 5  # of many differing tensors, how many a message names


def average(checkpoints: Sequence[Path], out: Path) -> Path:
    """Write the arithmetic mean of the generators in `checkpoints` to `out`, and return `out`.

    Sums are in float64, the mean is rounded once to the type the tensor is stored in: the mean of identical
    checkpoints is that checkpoint, bit for bit. Weight-normed convolutions are stored as a length g and a direction v,
    and each is averaged as it is stored; the kernel of the mean is thus not quite the mean of the kernels.

    The result speaks, is exported, and starts another run. It cannot be resumed: the discriminators and the
    optimizers' state belong to one set of weights and are left out. Its step is the last one's.

    Raises:
        UserError: fewer than two checkpoints, or they are not of one voice: every difference in size, front end,
            speakers and tensors is listed. Or `out` lies where a run would resume from it.
    """
    if len(checkpoints) < 2:
        raise UserError(f"A mean needs two checkpoints or more, and there is {len(checkpoints)}: keep more of the run.")
    if out.resolve().parent.name == "checkpoints":
        raise UserError(
            f"{out} would lie among a run's checkpoints, and the run would try to resume from it: name another place, "
            "such as the run folder."
        )
    first = read_checkpoint(checkpoints[0])
    sums = {key: value.to(torch.float64) for key, value in _generator(first).items()}
    problems, newest, steps = _not_finite(checkpoints[0], first), first, [first.step]
    for path in checkpoints[1:]:
        taken = read_checkpoint(path)
        different = _differences(checkpoints[0], first, path, taken)
        problems += different + _not_finite(path, taken)
        if not different:
            for key, value in _generator(taken).items():
                sums[key] += value
        steps.append(taken.step)
        newest = max(newest, taken, key=lambda one: one.step)
    if not sums:
        problems.append(f"{checkpoints[0]} holds no generator")
    if problems:
        raise UserError("these checkpoints have no mean:\n" + "\n".join(f"  - {problem}" for problem in problems))
    kinds = {key: value.dtype for key, value in _generator(first).items()}
    state = {f"{PREFIX}{key}": (total / len(checkpoints)).to(kinds[key]) for key, total in sums.items()}
    sources = [{"file": path.name, "step": step} for path, step in zip(checkpoints, steps, strict=True)]
    provenance = newest.provenance | {AVERAGED: sources}
    mean = Checkpoint(newest.model, newest.frontend, state, newest.speakers, newest.step, provenance)
    write_checkpoint(mean, out)
    return out


def last_checkpoints(run: Path, last: int) -> list[Path]:
    """The last `last` kept checkpoints of a run folder, by step; a file with the weights of another counts once.

    Raises:
        UserError: no run folder, or it has kept fewer, with what it has kept.
    """
    kept = {}
    for path in sorted(run_checkpoints(run)):
        taken = read_checkpoint(path)
        kept.setdefault(digest(taken), (taken.step, path))
    ordered = [path for _, path in sorted(kept.values())]
    if len(ordered) < last:
        names = ", ".join(path.name for path in ordered)
        raise UserError(
            f"{run} has kept {len(ordered)} different checkpoints ({names}), the mean asked for is of {last}: ask for "
            "fewer, or train with a larger `keep` or with `keep_steps`."
        )
    return ordered[-last:] if last else []


def run_checkpoints(run: Path) -> list[Path]:
    """Every checkpoint file of a run folder, by name. Raises `UserError` if there is none."""
    found = sorted((run / "checkpoints").glob("*.ckpt"))
    if not found:
        raise UserError(f"{run} is not the folder of a run that has saved a checkpoint: {run / 'checkpoints'} has none")
    return found


def digest(checkpoint: Checkpoint) -> str:
    """16 hex digits over names, types and values of the generator's tensors: the same for the same voice."""
    total = hashlib.sha256()
    for key, value in sorted(_generator(checkpoint).items()):
        total.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        total.update(value.contiguous().view(torch.uint8).numpy() if value.dim() else str(value.item()).encode())
    return total.hexdigest()[:16]


def _generator(checkpoint: Checkpoint) -> dict[str, Tensor]:
    return checkpoint.part(PREFIX)


def _not_finite(path: Path, checkpoint: Checkpoint) -> list[str]:
    bad = [key for key, value in _generator(checkpoint).items() if not torch.isfinite(value).all()]
    return [f"{path} holds numbers that are not finite, in {_some(bad)}"] if bad else []


def _differences(reference: Path, first: Checkpoint, path: Path, other: Checkpoint) -> list[str]:
    """All that keeps `other` from being averaged with `first`, each in a sentence."""
    found = []
    ours, theirs = first.model.to_dict(), other.model.to_dict()
    sizes = [f"{name} is {theirs[name]}, not {ours[name]}" for name in ours if ours[name] != theirs[name]]
    if sizes:
        found.append(f"{path} is of another size than {reference}: {', '.join(sizes)}")
    if first.frontend != other.frontend:
        names = [name for name in {**first.frontend, **other.frontend}
                 if first.frontend.get(name) != other.frontend.get(name)]  # fmt: skip
        found.append(f"{path} has another front end than {reference}: {_some(names)} differ")
    if first.speakers != other.speakers:
        found.append(f"{path} has the speakers {list(other.speakers)}, {reference} has {list(first.speakers)}")
    a, b = ({key: (tuple(v.shape), v.dtype) for key, v in _generator(one).items()} for one in (first, other))
    unlike = sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key))
    if unlike:
        found.append(f"{path} and {reference} differ in the presence, shape or type of tensors: {_some(unlike)}")
    return found


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
