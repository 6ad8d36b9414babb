"""The mean of checkpoints, against sums done by numpy alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import generator_state

from tts_lab.cli import main
from tts_lab.errors import UserError
from tts_lab.frontend import Frontend
from tts_lab.vits.config import PRESETS, ModelConfig
from tts_lab.voices.averaging import average, digest, last_checkpoints
from tts_lab.voices.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from tts_lab.voices.export import export
from tts_lab.voices.speak import speak_checkpoint


@pytest.fixture
def run(two_speakers: Path, tmp_path: Path) -> Path:
    """A run folder with checkpoints of steps 100, 200 and 300, wandering about one voice; the last is there twice."""
    start, draw = read_checkpoint(two_speakers), torch.Generator().manual_seed(3)
    for step in (100, 200, 300):
        state = {key: value + 0.01 * torch.randn(value.shape, generator=draw)
                 for key, value in start.state_dict.items()}  # fmt: skip
        state["model_d.weight"] = torch.ones(2)
        one = replace(start, state_dict=state, step=step, provenance={"base": {"voice": "duo"}})
        write_checkpoint(one, tmp_path / "run" / "checkpoints" / f"step-{step}.ckpt")
    write_checkpoint(one, tmp_path / "run" / "checkpoints" / "last.ckpt")
    return tmp_path / "run"


def test_the_mean_is_the_mean(run: Path, tmp_path: Path) -> None:
    paths = [run / "checkpoints" / f"step-{step}.ckpt" for step in (100, 200, 300)]
    mean = read_checkpoint(average(paths, tmp_path / "mean.ckpt"))
    parts = [read_checkpoint(path).state_dict for path in paths]
    assert any(key.endswith("weight_g") for key in mean.state_dict)
    assert set(mean.state_dict) == {key for key in parts[0] if key.startswith("model_g.")}
    for key, value in mean.state_dict.items():
        expected = np.mean([part[key].numpy().astype(np.float64) for part in parts], axis=0).astype(np.float32)
        assert value.dtype == torch.float32 and np.array_equal(value.numpy(), expected), key
    assert mean.step == 300 and [one["step"] for one in mean.provenance["averaged"]] == [100, 200, 300]
    assert mean.provenance["base"] == {"voice": "duo"} and mean.speakers == {"ada": 0, "bob": 1}


@pytest.mark.parametrize("count", [2, 3, 7])
def test_the_mean_of_one_voice_is_that_voice_bit_for_bit(two_speakers: Path, tmp_path: Path, count: int) -> None:
    before = read_checkpoint(two_speakers)
    after = read_checkpoint(average([two_speakers] * count, tmp_path / "same.ckpt"))
    assert digest(after) == digest(before)
    for key, value in before.state_dict.items():
        assert torch.equal(value.view(torch.int32), after.state_dict[key].view(torch.int32)), key


def test_it_is_kept_in_half_precision_where_it_was(two_speakers: Path, tmp_path: Path) -> None:
    taken = read_checkpoint(two_speakers)
    for number, value in enumerate((1.0, 1.0078125)):  # neighbours in bfloat16
        state = {key: torch.full_like(tensor, value, dtype=torch.bfloat16) for key, tensor in taken.state_dict.items()}
        write_checkpoint(replace(taken, state_dict=state), tmp_path / f"{number}.ckpt")
    paths = [tmp_path / "0.ckpt", tmp_path / "1.ckpt", tmp_path / "1.ckpt"]
    mean = read_checkpoint(average(paths, tmp_path / "mean.ckpt"))
    assert {(v.dtype, float(v.flatten()[0])) for v in mean.state_dict.values()} == {(torch.bfloat16, 1.0078125)}


def test_the_last_of_a_run_are_different_voices_in_order(run: Path) -> None:
    chosen = last_checkpoints(run, 2)
    assert [read_checkpoint(path).step for path in chosen] == [200, 300]  # last.ckpt and step-300 count once
    with pytest.raises(UserError, match="has kept 3 different checkpoints .*the mean asked for is of 4"):
        last_checkpoints(run, 4)
    with pytest.raises(UserError, match="has none"):
        last_checkpoints(run / "checkpoints", 2)


def test_the_command_writes_what_speaks_and_is_exported(run: Path, tmp_path: Path, capsys) -> None:
    assert main(["average", str(run), "--last", "2"]) == 0
    mean = run / "averaged-last-2.ckpt"
    assert str(mean) in capsys.readouterr().out
    [wav] = speak_checkpoint(mean, ["Hello there."], tmp_path / "said", speaker="bob")
    assert wav.stat().st_size > 1000
    assert export(mean, tmp_path / "voice", "en_US-mean-x_low").path.is_file()
    files = [str(run / "checkpoints" / f"step-{step}.ckpt") for step in (200, 300)]
    assert main(["average", *files, "--out", str(tmp_path / "same.ckpt")]) == 0
    assert digest(read_checkpoint(tmp_path / "same.ckpt")) == digest(read_checkpoint(mean))


def test_every_reason_against_a_mean_is_told_at_once(run: Path, two_speakers: Path, tmp_path: Path, capsys) -> None:
    first, taken = run / "checkpoints" / "step-100.ckpt", read_checkpoint(two_speakers)
    sizes = ModelConfig.from_dict(PRESETS["tiny"].to_dict() | {"hidden_channels": 48})
    state = generator_state(sizes)
    write_checkpoint(Checkpoint(sizes, Frontend("de").to_dict(), state), tmp_path / "other.ckpt")
    spoilt = {key: value.clone() for key, value in taken.state_dict.items()}
    name = next(key for key in spoilt if key.endswith("weight_v"))
    spoilt[name][0] = torch.nan
    spoilt.pop("model_g.enc_q.proj.bias")
    write_checkpoint(replace(taken, state_dict=spoilt), tmp_path / "spoilt.ckpt")
    with pytest.raises(UserError) as refused:
        average([first, tmp_path / "other.ckpt", tmp_path / "spoilt.ckpt"], tmp_path / "out.ckpt")
    told = str(refused.value)
    not_finite = f"not finite, in {name.removeprefix('model_g.')}"
    for part in ("other.ckpt is of another size", "hidden_channels is 48, not 32", "another front end", "espeak_voice",
                 "has the speakers []", "enc_q.proj.bias", not_finite):  # fmt: skip
        assert part in told, part
    assert not (tmp_path / "out.ckpt").exists()
    with pytest.raises(UserError, match="two checkpoints or more"):
        average([first], tmp_path / "out.ckpt")
    with pytest.raises(UserError, match="resume from it"):  # the newest file there is what a run goes on from
        average([first, first], run / "checkpoints" / "mean.ckpt")
    assert main(["average", str(first), str(first)]) == 1 and "--out" in capsys.readouterr().err
    assert main(["average", str(run)]) == 1 and "--last" in capsys.readouterr().err
