"""An exported voice is the checkpoint, in Piper's clothes: judged by ONNX Runtime and Piper's runtime."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from piper import PiperVoice

from tts_lab.errors import UserError
from tts_lab.frontend import Frontend
from tts_lab.voices import export as exporting
from tts_lab.voices.checkpoints import read_checkpoint, write_checkpoint
from tts_lab.voices.export import Exported, export, phoneme_ids
from tts_lab.voices.languages import language_block

NAME = "en_US-again-medium"


@pytest.fixture(scope="module")
def exported(adopted_joe: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    scores = {"wer": 0.021, "mos": 4.31, "similarity": 0.47, "pitch_hz": 125.0}
    return export(
        adopted_joe, tmp_path_factory.mktemp("voice"), NAME, licence="CC0", credits=["Voice: Joe."], scores=scores
    )


@pytest.fixture(scope="module")
def duo(two_speakers: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(two_speakers, tmp_path_factory.mktemp("duo"), "en_US-duo-x_low")


@pytest.fixture
def mine(duo: Exported, tmp_path: Path) -> Path:
    """A folder with the exported duo, to do harm in."""
    return Path(shutil.copytree(duo.path.parent, tmp_path / "mine"))


@pytest.fixture(scope="module")
def sessions(joe: Path, exported: Exported) -> list[onnxruntime.InferenceSession]:
    """The published voice and ours."""
    return [onnxruntime.InferenceSession(str(voice)) for voice in (joe, exported.path)]


@pytest.mark.parametrize("length", [20, 80, 200])
def test_adopt_then_export_gives_the_published_voice_back(joe: Path, sessions, length: int) -> None:
    ids = phoneme_ids(Frontend.from_voice(f"{joe}.json"), length)
    assert len(ids) == length
    published, ours = (
        session.run(
            None,
            {
                "input": np.array([ids]),
                "input_lengths": np.array([length]),
                "scales": np.array([0, 1, 0], np.float32),
            },
        )[0]
        for session in sessions
    )
    assert published.shape == ours.shape and np.abs(published).max() > 0.05
    assert np.abs(published - ours).max() < 1e-5


def test_parity_is_measured_at_several_lengths(exported: Exported) -> None:
    assert [row["phonemes"] for row in exported.parity] == [20, 80, 200]
    assert all(0 < row["difference"] < 1e-4 for row in exported.parity)


def test_the_configuration_is_complete(joe: Path, exported: Exported) -> None:
    published, ours = (json.loads(Path(f"{voice}.json").read_text()) for voice in (joe, exported.path))
    assert published.keys() <= ours.keys()
    same = ("audio", "espeak", "inference", "phoneme_type", "phoneme_id_map", "num_symbols", "num_speakers", "language")
    assert {key: ours[key] for key in same} == {key: published[key] for key in same}
    assert ours["dataset"] == "again" and ours["piper_version"] == "1.8.0"


def test_the_file_has_pipers_opset_and_inputs(exported: Exported) -> None:
    model = onnx.load(exported.path)
    assert model.opset_import[0].version == 15
    assert [value.name for value in model.graph.input] == ["input", "input_lengths", "scales"]
    assert [value.name for value in model.graph.output] == ["output"]
    assert not any("enc_q" in tensor.name or "post_" in tensor.name for tensor in model.graph.initializer)


def test_pipers_runtime_speaks_it(exported: Exported) -> None:
    chunks = list(PiperVoice.load(exported.path).synthesize("The baker opened his shop. It was early."))
    assert len(chunks) == 2 and all(chunk.sample_rate == 22050 for chunk in chunks)
    assert all(0.5 < len(chunk.audio_int16_array) / 22050 < 5 for chunk in chunks)


def test_the_model_card_says_where_it_came_from(exported: Exported) -> None:
    card = exported.card.read_text()
    assert card.startswith(f"# Model card for {NAME}\n")
    for told in ("License: CC0", "Voice: Joe.", "Base voice: en_US-joe-medium", "Word error rate: 2.1%", "Steps: 0"):
        assert told in card, told
    assert "PosixPath" not in card and str(exported.path.parent) not in card


def test_a_second_export_replaces_the_first(two_speakers: Path, mine: Path) -> None:
    voice = mine / "en_US-duo-x_low.onnx"
    good, names = voice.read_bytes(), sorted(file.name for file in mine.iterdir())
    assert names == ["MODEL_CARD", "en_US-duo-x_low.onnx", "en_US-duo-x_low.onnx.json"]
    voice.write_bytes(b"an older voice")
    export(two_speakers, mine, "en_US-duo-x_low")
    assert voice.read_bytes() == good and sorted(file.name for file in mine.iterdir()) == names


def test_a_voice_of_two_keeps_its_speakers(duo: Exported) -> None:
    config = json.loads(duo.config.read_text())
    assert config["num_speakers"] == 2 and config["speaker_id_map"] == {"ada": 0, "bob": 1}
    ids = phoneme_ids(Frontend(), 30)
    feeds = {
        "input": np.array([ids]),
        "input_lengths": np.array([30]),
        "scales": np.array([0, 1, 0], np.float32),
    }
    session = onnxruntime.InferenceSession(str(duo.path))
    ada, bob = (session.run(None, feeds | {"sid": np.array([speaker])})[0].ravel() for speaker in (0, 1))
    assert ada.shape != bob.shape or np.abs(ada - bob).max() > 1e-3


@pytest.mark.parametrize(
    "name", ["sample", "en-sample-medium", "en_US-two-words-medium", "en_US-x-best", "../en_US-a-low"]
)
def test_a_name_that_is_not_pipers_is_refused(two_speakers: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="no name for a Piper voice.*en_US-sample-medium"):
        export(two_speakers, tmp_path / "out", name)
    assert not (tmp_path / "out").exists()


def test_languages_are_pipers_blocks() -> None:
    assert language_block("ru_RU")["name_english"] == "Russian"
    assert language_block("xx_YY") == {
        "code": "xx_YY", "family": "xx", "region": "YY",
        "name_native": "xx", "name_english": "xx", "country_english": "YY",
    }  # fmt: skip
    with pytest.raises(UserError, match="language and the country"):
        language_block("english")


def test_a_checkpoint_that_knows_no_phonemes_is_refused(two_speakers: Path, tmp_path: Path) -> None:
    mute = tmp_path / "mute.ckpt"
    write_checkpoint(replace(read_checkpoint(two_speakers), frontend={}), mute)
    with pytest.raises(UserError, match="does not say how text becomes phoneme ids"):
        export(mute, tmp_path / "out", "en_US-mute-low")


def test_a_checkpoint_with_a_hole_is_refused(two_speakers: Path, tmp_path: Path) -> None:
    torn = read_checkpoint(two_speakers)
    del torn.state_dict["model_g.dec.conv_pre.weight"]
    write_checkpoint(torn, tmp_path / "torn.ckpt")
    with pytest.raises(UserError, match=r"dec\.conv_pre\.weight"):
        export(tmp_path / "torn.ckpt", tmp_path / "out", "en_US-torn-low")


def test_a_file_that_speaks_differently_is_never_put_in_place(two_speakers: Path, mine: Path, monkeypatch) -> None:
    before = contents(mine)
    honest = exporting.write_onnx

    def write_another(model, path: Path) -> None:
        with torch.no_grad():
            model.dec.conv_post.weight.mul_(1.5)
        honest(model, path)

    monkeypatch.setattr(exporting, "write_onnx", write_another)
    with pytest.raises(UserError, match="speaks differently from the checkpoint"):
        export(two_speakers, mine, "en_US-duo-x_low")
    assert contents(mine) == before


def test_a_full_disk_loses_nothing(two_speakers: Path, mine: Path, monkeypatch) -> None:
    before = contents(mine)

    def full(_model, path: Path) -> None:
        path.write_bytes(b"half a voice")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting, "write_onnx", full)
    with pytest.raises(UserError, match="No space left on device"):
        export(two_speakers, mine, "en_US-duo-x_low")
    assert contents(mine) == before


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_another_voices_model_card_is_left_alone(joe: Path, two_speakers: Path, tmp_path: Path) -> None:
    shutil.copy(joe.with_name("MODEL_CARD"), tmp_path)
    with pytest.raises(UserError, match="belongs to another voice"):
        export(two_speakers, tmp_path, "en_US-duo-x_low")
    (tmp_path / "MODEL_CARD").unlink()
    (tmp_path / "en_US-duo-x_low.onnx").mkdir()
    with pytest.raises(UserError, match="is not a file"):
        export(two_speakers, tmp_path, "en_US-duo-x_low")
