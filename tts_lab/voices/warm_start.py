"""Start a model from another's weights, and say in words what came over."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from tts_lab.errors import UserError
from tts_lab.voices.checkpoints import Checkpoint
from tts_lab.voices.speakers import reseat
from tts_lab.voices.symbols import carry_over, symbol_map

EMBEDDING = "model_g.enc_p.emb.weight"  # one row a phoneme id


@dataclass
class WarmStart:
    """What a warm start did, by state-dict key."""

    copied: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    """Parts for several speakers that the checkpoint of a single one lacks: they start without any effect."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Key to reason."""
    symbols: dict[str, str] = field(default_factory=dict)
    """Each symbol the checkpoint never had, and what it starts from: other symbols, or the mean of all."""
    used: Mapping[str, int] = field(default_factory=dict)
    """How often the corpus says each symbol."""
    remarks: list[str] = field(default_factory=list)
    """On speakers, symbols and parts, in words."""
    generator_share: float = 0.0
    """Share of the generator's parameters that were copied or resized, 0 to 1."""

    def __str__(self) -> str:
        lines = [f"warm start: {self.generator_share:.1%} of the generator's parameters taken over"]
        groups = {"copied": self.copied, "resized": self.resized, "silent": self.silent, "skipped": list(self.skipped)}
        for name, keys in groups.items():
            parts: dict[str, int] = {}
            for key in keys:
                part = ".".join(key.split(".")[:2])
                parts[part] = parts.get(part, 0) + 1
            detail = ", ".join(f"{part} ({count})" for part, count in parts.items()) or "nothing"
            if keys or name != "silent":
                lines.append(f"  {name:8}{detail}")
        lines += [f"    {key}: {reason}" for key, reason in list(self.skipped.items())[:5]]
        return "\n".join([*lines, *(f"  {remark}" for remark in [*self.remarks, *self._of_symbols()])])

    def _of_symbols(self) -> list[str]:
        if not self.symbols:
            return []
        said = {symbol: start for symbol, start in self.symbols.items() if symbol in self.used}
        starts = ", ".join(f"{symbol!r} ({self.used[symbol]}×) starts from {start}" for symbol, start in said.items())
        others = ", ".join(repr(symbol) for symbol in self.symbols if symbol not in said)
        lines = [f"{len(self.symbols)} symbols are new to the voice, {len(said)} of them in the corpus"]
        return lines + [f"  {starts}"] * bool(starts) + [f"  not in the corpus: {others}"] * bool(others)


def warm_start(
    model: nn.Module,
    source: Checkpoint,
    symbols: dict[str, list[int]],
    threshold: float = 0.5,
    speakers: dict[str, int] | None = None,
    like: str | None = None,
    fresh: Sequence[str] = (),
    used: Mapping[str, int] | None = None,
) -> WarmStart:
    """Copy every tensor of ``source`` whose key and shape fit into ``model``.

    Embedding rows go by symbol and by speaker, whatever their ids: ``tts_lab.voices.symbols`` and ``.speakers`` say
    how those start that the source never had.

    Args:
        model: holds ``model_g`` and ``model_d``.
        symbols: the phoneme id map that the run's corpus was encoded with.
        threshold: least share of the generator's parameters that must come over, those of ``fresh`` parts aside.
        speakers: of the model, to their ids.
        like: of the source's speakers, by name or id, the one whom new speakers, or the only one, start as.
        fresh: parts of the generator that keep their initial weights, such as ``enc_p``.
        used: how often the corpus says each symbol, for the report.

    Raises:
        UserError: less than ``threshold`` fits, or there is no such part or speaker; ``model`` is then unchanged.
    """
    target, done = model.state_dict(), WarmStart(used=used or {})
    anew = _keys(model.model_g, fresh)
    state, ours, words = reseat(source, target, speakers or {}, like)
    done.remarks += words
    old_map = symbol_map(source.frontend, source.model.symbols)
    for key, value in state.items():
        if key in anew:
            done.skipped[key] = "starts fresh, as asked"
        elif key not in target:
            done.skipped[key] = "the model has no such part"
        elif key == EMBEDDING and value.shape[1:] == target[key].shape[1:] and (
            old_map != symbols or value.shape != target[key].shape
        ):  # fmt: skip
            target[key], done.symbols = carry_over(target[key], value, old_map, symbols)
            done.resized.append(key)
        elif value.shape != target[key].shape:
            done.skipped[key] = f"shape {tuple(value.shape)} in the checkpoint, {tuple(target[key].shape)} here"
        elif key in ours:
            target[key] = value
            done.silent.append(key)
        else:
            target[key] = value
            done.copied.append(key)
    if EMBEDDING in done.resized and not source.frontend:
        done.remarks.append("the checkpoint names no symbols: taken to be Piper's default ones")
    for key in target.keys() - state.keys():
        done.skipped[key] = "not in the checkpoint: starts fresh"
    generator = {key: value.numel() for key, value in target.items() if key.startswith("model_g.")}
    taken = sum(generator.get(key, 0) for key in [*done.copied, *done.resized])
    done.generator_share = taken / sum(generator.values())
    if fresh:
        part = sum(generator[key] for key in anew) / sum(generator.values())
        done.remarks.append(f"{', '.join(fresh)}: fresh weights, as asked ({part:.1%} of the generator)")
    asked = sum(size for key, size in generator.items() if key not in anew and key not in done.silent)
    if taken < threshold * asked:
        raise UserError(
            f"only {taken / asked:.0%} of the generator fits this checkpoint (at least {threshold:.0%} is "
            "asked for): it is of another size. Leave --preset out to take the checkpoint's sizes, "
            f"or pick a checkpoint of this preset.\n{done}"
        )
    model.load_state_dict(target)
    return done


def _keys(generator: nn.Module, parts: Collection[str]) -> set[str]:
    """Keys of the model's state dict under these parts of its generator."""
    modules = dict(generator.named_modules())
    if unknown := [part for part in parts if not part or part not in modules]:
        known = ", ".join(name for name, _ in generator.named_children())
        raise UserError(
            f"reinitialise: the generator has no part {', '.join(map(repr, unknown))}; its parts are {known}, "
            "and longer names within them"
        )
    names = [f"model_g.{name}" for name in generator.state_dict()]
    return {name for name in names if any(name.startswith(f"model_g.{part}.") for part in parts)}
