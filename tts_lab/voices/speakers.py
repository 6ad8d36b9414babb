"""Another number of speakers: one voice becomes several, several become one or others, and all keep speaking.

Speakers differ in one embedding row, `emb_g`, which conditioning layers turn into an offset of some layers' inputs
(VITS, section 2.5). So

* one to several: the conditioning layers start at zero, and before the first step every speaker is the one voice, to
  the bit. The embedding's rows are random, so that they part from then on;
* several to one: what a speaker's row comes to in each of those layers is a constant, added to the layer's bias;
* several to others: rows go by the speaker's name, and a new speaker starts as one that is there.
"""

import torch

from tts_lab.errors import UserError
from tts_lab.voices.checkpoints import Checkpoint

EMBEDDING = "model_g.emb_g.weight"  # one row a speaker
State = dict[str, torch.Tensor]


def reseat(
    source: Checkpoint, target: State, names: dict[str, int], like: str | None = None
) -> tuple[State, set[str], list[str]]:
    """The tensors of ``source`` for a model with the speakers ``names``.

    Args:
        target: of the model, with its initial values; it has several speakers if it has an embedding of them.
        names: the model's speakers and their ids.
        like: the source's speaker, by name or id, whom new ones start as; by default the first.

    Returns:
        The tensors; the names of those among them that are not the source's; and in words what was done.

    Raises:
        UserError: the source has no speaker ``like``.
    """
    old, state = source.state_dict.get(EMBEDDING), dict(source.state_dict)
    if old is None:
        if like is not None:
            raise UserError(f"start_speaker is {like!r}, but the start has a single speaker: leave it out")
        if EMBEDDING not in target:
            return state, set(), []
        silent = _silent(target)
        return state | silent, set(silent), [f"{len(target[EMBEDDING])} speakers, who all start as the one voice"]
    if EMBEDDING not in target:
        same = next((name for name in names if name in source.speakers), None)
        number = _number(source, same if like is None else like)
        return _settle(state, old[number]), set(), [f"of {len(old)} speakers, the voice of {_name(source, number)}"]
    rows, words = target[EMBEDDING].clone(), []
    if not names and old.shape == rows.shape:
        return state, set(), []
    if old.shape[1] != rows.shape[1]:
        return state, set(), ["the speakers' rows are of another width: all start fresh"]
    first = _number(source, like)
    for row in range(len(rows)):
        rows[row] = old[first]
    for name, row in names.items():
        if name in source.speakers:
            rows[row] = old[source.speakers[name]]
        words.append(name if name in source.speakers else f"{name} starts as {_name(source, first)}")
    state[EMBEDDING] = rows
    return state, set(), ["speakers: " + ", ".join(words)]


def _silent(target: State) -> State:
    """The layers that a speaker's row goes into, giving zero whatever the row, and the rows as they are."""
    made = {EMBEDDING: target[EMBEDDING]}
    for key, value in target.items():
        if key.endswith((".cond.weight", ".cond.bias", ".cond_layer.weight_g", ".cond_layer.bias")):
            made[key] = torch.zeros_like(value)
        elif key.endswith(".cond_layer.weight_v"):
            made[key] = value  # a direction, whose length is zero
    return made


def _settle(state: State, row: torch.Tensor) -> State:
    """A model of the one speaker with this row: a conditioning layer's output is in the bias of what it is added to."""
    settled = {key: value for key, value in state.items() if key != EMBEDDING and not _conditions(key)}
    for key in state:
        stem = key.rpartition(".")[0]
        if key.endswith(".cond.bias"):
            part = stem.removesuffix(".cond")
            bias = f"{part}.conv_pre.bias" if part.endswith(".dec") else f"{part}.pre.bias"
            settled[bias] = state[bias] + state[f"{stem}.weight"][..., 0] @ row + state[key]
        elif key.endswith(".cond_layer.bias"):
            direction, length = state[f"{stem}.weight_v"][..., 0], state[f"{stem}.weight_g"].flatten()
            offset = (direction @ row) * length / direction.norm(dim=1) + state[key]
            layers = stem.removesuffix(".cond_layer") + ".in_layers"
            width = len(state[f"{layers}.0.bias"])
            for number, part in enumerate(offset.split(width)):
                settled[f"{layers}.{number}.bias"] = state[f"{layers}.{number}.bias"] + part
    return settled


def _conditions(key: str) -> bool:
    return key.startswith("model_g.") and (".cond." in key or ".cond_layer." in key)


def _number(source: Checkpoint, speaker: str | None) -> int:
    count = len(source.state_dict[EMBEDDING])
    if speaker is None:
        return 0
    number = source.speakers.get(str(speaker))
    if number is None and str(speaker).isdigit():
        number = int(speaker)
    if number is None or number >= count:
        names = ", ".join(list(source.speakers)[:20]) or "no names"
        raise UserError(f"start_speaker is {speaker!r}, and the start has no such speaker; it has {count}: {names}")
    return number


def _name(source: Checkpoint, number: int) -> str:
    return next((name for name, i in source.speakers.items() if i == number), f"speaker {number}")
