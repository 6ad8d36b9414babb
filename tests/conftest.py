"""Fixtures that several test files share; each is made once a session."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Softmax cancels a key's bias, so its gradient is rounding alone, and AdamW makes a full step of its sign.
ROUNDING_ALONE = "attn_layers.0.conv_k.bias"

LONGEST = ("test_xla.py", "test_notebook_rules.py", "test_processes.py", "test_replay.py", "test_training.py",
           "test_preflight.py")  # fmt: skip
"""Files that take minutes, the longest first: the first two over ten each, of 26 for all the suite on two cores."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that at the end no process waits for another.

    pytest-xdist hands files out in this order where `--no-loadscope-reorder` is given (pyproject.toml); by itself it
    begins with the files of most tests, which says little about their time.
    """
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def own_environment(**environment: str) -> dict[str, str]:
    """This process's without PyTorch/XLA's variables, but for those given."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PJRT_", "XLA_"))}
    return own | {"PYTHONPATH": "."} | environment


def python(*arguments: str, **environment: str) -> str:
    """What Python prints in a process of its own, in its ``own_environment``."""
    done = subprocess.run(
        [sys.executable, *arguments], env=own_environment(**environment), capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


class Malicious:
    """Pickled, a file `witness` appears where it is read without care."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return os.system, (f"touch {self.witness}",)


@pytest.fixture(scope="session")
def joe() -> Path:
    """The published voice en_US-joe-medium."""
    from tts_lab.voices.catalogue import find_voice

    return find_voice("joe")


@pytest.fixture(scope="session")
def adopted_joe(joe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Joe as a checkpoint, its posterior encoder left random."""
    from tts_lab.voices.adopt import adopt

    return adopt(joe, tmp_path_factory.mktemp("adopted"), steps=0)


def generator_state(config):
    """An untrained generator's parameters, under the names that checkpoints use."""
    from tts_lab.vits.synthesizer import Synthesizer

    return {f"model_g.{key}": value for key, value in Synthesizer(config).state_dict().items()}


@pytest.fixture(scope="session")
def two_speakers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a tiny untrained voice with two speakers, ada and bob."""
    import torch

    from tts_lab.frontend import Frontend
    from tts_lab.vits.config import PRESETS, ModelConfig
    from tts_lab.voices.checkpoints import Checkpoint, write_checkpoint

    torch.manual_seed(7)
    config = ModelConfig.from_dict(PRESETS["tiny"].to_dict() | {"speakers": 2, "speaker_channels": 8})
    state = generator_state(config)
    for value in state.values():  # VITS starts many tensors at zero, and zeros would hide a mistake
        if not value.any():
            value.normal_(0, 0.1)
    path = tmp_path_factory.mktemp("two") / "two.ckpt"
    write_checkpoint(Checkpoint(config, Frontend().to_dict(), state, {"ada": 0, "bob": 1}), path)
    return path


@pytest.fixture(scope="session")
def speech():
    """One sentence of Allison at 22.05 kHz: float32 samples."""
    import soundfile
    import soxr

    audio, rate = soundfile.read(Path("data_samples") / "agent-newlocation.flac", dtype="float32")
    return soxr.resample(audio, rate, 22050)


@pytest.fixture(scope="module")
def s3():
    """An imitated S3 with the bucket voices, which this process and those it starts take for AWS's."""
    from imitated_s3 import S3

    server = S3()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        server.make_bucket("voices")
        yield server
    server.stop()


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of data_samples prepared at 16 kHz, for the tiny preset."""
    from tts_lab.corpus.prepare import PrepareSettings, prepare
    from tts_lab.frontend import Frontend

    folder = tmp_path_factory.mktemp("corpus16")
    prepare("data_samples", folder, PrepareSettings(sample_rate=16000), Frontend("en-us"), jobs=2)
    return folder
