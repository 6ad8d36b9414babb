"""Checkpoints: whole or absent, read without running code, and what comes over in a warm start."""

import os
import resource
import subprocess
import sys
from pathlib import PosixPath

import pytest
import torch
from conftest import Malicious
from torch import nn

from tts_lab.errors import UserError
from tts_lab.vits.config import PRESETS, ModelConfig
from tts_lab.vits.discriminators import Discriminators
from tts_lab.vits.synthesizer import Synthesizer
from tts_lab.voices.checkpoints import (
    Checkpoint,
    newest_checkpoint,
    read_checkpoint,
    save_atomically,
    write_checkpoint,
)
from tts_lab.voices.symbols import NOISE
from tts_lab.voices.warm_start import EMBEDDING, warm_start

TINY = PRESETS["tiny"]
SYMBOLS = {"_": [0], "^": [1], "$": [2], "a": [3], "b": [4]}


class Voice(nn.Module):
    """The two sides under the names that checkpoints use."""

    def __init__(self, config: ModelConfig = TINY, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.model_g, self.model_d = Synthesizer(config), Discriminators(config.discriminator_divisor)


def checkpoint(config: ModelConfig = TINY, seed: int = 0, symbols=SYMBOLS) -> Checkpoint:
    state = {key: value.clone() for key, value in Voice(config, seed).state_dict().items()}
    return Checkpoint(config, {"phoneme_id_map": symbols}, state, {}, 7, {"corpus": "here"})


def test_what_is_written_is_read_back(tmp_path):
    written = checkpoint()
    write_checkpoint(written, tmp_path / "a.ckpt")
    found = read_checkpoint(tmp_path / "a.ckpt")
    assert (found.model, found.frontend, found.step, found.provenance) == (
        written.model, written.frontend, 7, {"corpus": "here"},
    )  # fmt: skip
    assert all(torch.equal(value, found.state_dict[key]) for key, value in written.state_dict.items())
    assert set(found.part("model_g.")) == set(Synthesizer(TINY).state_dict())
    assert os.listdir(tmp_path) == ["a.ckpt"], "no temporary file is left"


def test_a_malicious_pickle_is_refused_and_does_not_run(tmp_path):
    torch.save({"state_dict": {}, "extra": Malicious(tmp_path / "ran")}, tmp_path / "bad.ckpt")
    with pytest.raises(UserError, match=r"bad.ckpt is refused: reading it would unpickle posix.system"):
        read_checkpoint(tmp_path / "bad.ckpt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda path: path.unlink(), "no checkpoint at"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "cut short or no PyTorch file"),
        (lambda path: path.write_bytes(b""), "0 bytes"),
        (lambda path: path.write_text("not a checkpoint"), "cannot be read"),
        (lambda path: torch.save({"weights": 1}, path), "has no state_dict"),
        (lambda path: torch.save([1, 2], path), "has no state_dict"),
        (lambda path: torch.save({"state_dict": {}, "tts_lab": {"format": "tts_lab/9"}}, path), "tts_lab/9"),
        (lambda path: torch.save({"state_dict": {}}, path), "says nothing about its sizes"),
    ],
)
def test_files_that_are_no_checkpoints_are_told_apart(tmp_path, spoil, message):
    path = tmp_path / "x.ckpt"
    write_checkpoint(checkpoint(), path)
    spoil(path)
    with pytest.raises(UserError, match=message) as caught:
        read_checkpoint(path)
    assert "x.ckpt" in str(caught.value)


def test_a_checkpoint_of_pipers_trainer_is_read_paths_and_all(tmp_path):
    generator = Synthesizer(PRESETS["x-low"])
    settings = {
        "num_symbols": 256, "num_speakers": 1, "sample_rate": 16000, "inter_channels": 96, "hidden_channels": 96,
        "filter_channels": 384, "resblock": "2", "resblock_kernel_sizes": (3, 5, 7), "upsample_rates": (8, 8, 4),
        "resblock_dilation_sizes": ((1, 2), (2, 6), (3, 12)), "upsample_initial_channel": 256,
        "upsample_kernel_sizes": (16, 16, 8), "dataset": [PosixPath("somewhere/metadata.csv")],
    }  # fmt: skip
    state = {f"model_g.{key}": value for key, value in generator.state_dict().items()}
    torch.save({"state_dict": state, "hyper_parameters": settings, "global_step": 5}, tmp_path / "piper.ckpt")
    found = read_checkpoint(tmp_path / "piper.ckpt")
    assert found.model == PRESETS["x-low"] and found.step == 5
    Synthesizer(found.model).load_state_dict(found.part("model_g."))


def test_a_full_disk_loses_nothing(tmp_path):
    """The disk is made full for real: the process may write no file above 200 kB."""
    path = tmp_path / "last.ckpt"
    save_atomically({"step": 1, "state_dict": {}}, path)
    script = (
        "import torch, sys; from pathlib import Path\n"
        "from tts_lab.voices.checkpoints import save_atomically; from tts_lab.errors import UserError\n"
        "try: save_atomically({'step': 2, 'state_dict': {'a': torch.zeros(1_000_000)}}, Path(sys.argv[1]))\n"
        "except UserError as error: print(error); sys.exit(1)\n"
    )
    limit = 200_000
    ended = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert ended.returncode == 1, ended.stderr
    assert "last.ckpt could not be written" in ended.stdout and "free some disk space" in ended.stdout
    assert torch.load(path, weights_only=True)["step"] == 1
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_the_newest_checkpoint_is_the_last_written(tmp_path):
    assert newest_checkpoint(tmp_path) is None
    for age, name in ((100, "old.ckpt"), (0, "new.ckpt"), (50, "middle.ckpt")):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    (tmp_path / ".newer.ckpt.1.partial").touch()
    assert newest_checkpoint(tmp_path) == tmp_path / "new.ckpt"


def test_warm_start_copies_everything_that_fits():
    voice, source = Voice(seed=1), checkpoint(seed=2)
    done = warm_start(voice, source, SYMBOLS)
    assert done.generator_share == 1 and not done.skipped and not done.resized
    assert all(torch.equal(value, source.state_dict[key]) for key, value in voice.state_dict().items())
    assert "100.0%" in str(done)


def test_embedding_rows_go_by_symbol():
    other = {"_": [0], "^": [1], "$": [2], "b": [9], "c": [4]}  # b has moved, c is new
    voice, source = Voice(seed=1), checkpoint(seed=2)
    fresh = voice.state_dict()[EMBEDDING].clone()
    done = warm_start(voice, source, other)
    rows, old = voice.state_dict()[EMBEDDING], source.state_dict[EMBEDDING]
    assert done.resized == [EMBEDDING]
    assert torch.equal(rows[9], old[4]) and torch.equal(rows[1], old[1]), "known symbols keep their sound"
    known = old[[3, 4]]  # a and b: padding and ends are not spoken
    assert torch.allclose(rows[4], known.mean(0) + NOISE * fresh[4]), "a new symbol starts near the mean of all"
    assert done.symbols == {"c": "the mean"}


def test_an_adopted_voice_has_no_discriminators_and_that_is_said():
    source = checkpoint(seed=2)
    source.state_dict = {k: v for k, v in source.state_dict.items() if k.startswith("model_g.")}
    done = warm_start(Voice(seed=1), source, SYMBOLS)
    assert done.generator_share == 1
    assert set(done.skipped) == {f"model_d.{key}" for key in Discriminators(TINY.discriminator_divisor).state_dict()}
    assert "not in the checkpoint: starts fresh" in str(done)


def test_a_checkpoint_of_another_size_is_refused_and_changes_nothing():
    voice = Voice(PRESETS["x-low"])
    before = {key: value.clone() for key, value in voice.state_dict().items()}
    with pytest.raises(UserError, match=r"of another size[\s\S]*shape"):
        warm_start(voice, checkpoint(), SYMBOLS)
    assert all(torch.equal(value, before[key]) for key, value in voice.state_dict().items())
