"""Start a model from another's weights, and say in words what came over."""

from dataclasses import dataclass, field

import torch
from torch import nn

from tts_lab.errors import UserError
from tts_lab.voices.checkpoints import Checkpoint

EMBEDDING = "model_g.enc_p.emb.weight"  # one row a phoneme id


@dataclass
class WarmStart:
    """What a warm start did, by state-dict key."""

    copied: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """Key to reason."""
    generator_share: float = 0.0
    """Share of the generator's parameters that were copied or resized, 0 to 1."""

    def __str__(self) -> str:
        lines = [f"warm start: {self.generator_share:.1%} of the generator's parameters taken over"]
        for name, keys in (("copied", self.copied), ("resized", self.resized), ("skipped", list(self.skipped))):
            parts: dict[str, int] = {}
            for key in keys:
                part = ".".join(key.split(".")[:2])
                parts[part] = parts.get(part, 0) + 1
            detail = ", ".join(f"{part} ({count})" for part, count in parts.items()) or "nothing"
            lines.append(f"  {name:8}{detail}")
        lines += [f"    {key}: {reason}" for key, reason in list(self.skipped.items())[:5]]
        return "\n".join(lines)


def warm_start(
    model: nn.Module, source: Checkpoint, symbols: dict[str, list[int]], threshold: float = 0.5
) -> WarmStart:
    """Copy every tensor of ``source`` whose key and shape fit into ``model``.

    Embedding rows go by symbol: phonemes the two id maps share keep their row, whatever their id; rows of
    symbols the source never had stay at their initial values.

    Args:
        model: holds ``model_g`` and ``model_d``.
        symbols: the phoneme id map that the run's corpus was encoded with.
        threshold: least share of the generator's parameters that must come over.

    Raises:
        UserError: less than ``threshold`` fits; ``model`` is then unchanged.
    """
    target, done = model.state_dict(), WarmStart()
    for key, value in source.state_dict.items():
        if key not in target:
            done.skipped[key] = "the model has no such part"
        elif key == EMBEDDING and source.frontend and source.frontend["phoneme_id_map"] != symbols:
            target[key] = _rows_by_symbol(target[key], value, source.frontend["phoneme_id_map"], symbols)
            done.resized.append(key)
        elif value.shape != target[key].shape:
            done.skipped[key] = f"shape {tuple(value.shape)} in the checkpoint, {tuple(target[key].shape)} here"
        else:
            target[key] = value
            done.copied.append(key)
    for key in target.keys() - source.state_dict.keys():
        done.skipped[key] = "not in the checkpoint: starts fresh"
    generator = {key: value.numel() for key, value in target.items() if key.startswith("model_g.")}
    taken = sum(generator.get(key, 0) for key in [*done.copied, *done.resized])
    done.generator_share = taken / sum(generator.values())
    if done.generator_share < threshold:
        raise UserError(
            f"only {done.generator_share:.0%} of the generator fits this checkpoint (at least {threshold:.0%} is "
            "asked for): it is of another size. Leave --preset out to take the checkpoint's sizes, "
            f"or pick a checkpoint of this preset.\n{done}"
        )
    model.load_state_dict(target)
    return done


def _rows_by_symbol(
    fresh: torch.Tensor, old: torch.Tensor, old_map: dict[str, list[int]], new_map: dict[str, list[int]]
) -> torch.Tensor:
    rows = fresh.clone()
    for symbol, ids in new_map.items():
        for new, previous in zip(ids, old_map.get(symbol, []), strict=False):
            if new < len(rows) and previous < len(old):
                rows[new] = old[previous]
    return rows
