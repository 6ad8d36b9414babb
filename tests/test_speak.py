"""What is said through tts_lab is what Piper's runtime says."""

import io
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
from piper import PiperVoice
from piper.config import SynthesisConfig

from tts_lab.errors import UserError
from tts_lab.voices.export import export
from tts_lab.voices.speak import say, speak_checkpoint

TEXT = "A cold wind pushed the boats back. Nobody noticed."


def samples(wav) -> np.ndarray:
    return soundfile.read(wav, dtype="int16")[0]


def test_say_is_pipers_synthesis(joe: Path, tmp_path: Path) -> None:
    wav = say(joe, TEXT, tmp_path / "new" / "said.wav", length_scale=1.2, noise_scale=0.0, duration_noise=0.0)
    quiet = SynthesisConfig(length_scale=1.2, noise_scale=0.0, noise_w_scale=0.0)
    stream = io.BytesIO()
    with wave.open(stream, "wb") as reference:
        PiperVoice.load(joe).synthesize_wav(TEXT, reference, quiet)
    stream.seek(0)
    assert np.array_equal(samples(wav), samples(stream))
    info = soundfile.info(wav)
    assert (info.samplerate, info.channels, info.subtype) == (22050, 1, "PCM_16")


def test_a_checkpoint_speaks_like_the_voice_it_came_from(joe: Path, adopted_joe: Path, tmp_path: Path) -> None:
    said = speak_checkpoint(adopted_joe, [TEXT, "Thank you."], tmp_path / "a")
    again = speak_checkpoint(adopted_joe, [TEXT], tmp_path / "b")
    other = speak_checkpoint(adopted_joe, [TEXT], tmp_path / "c", seed=2)
    assert [wav.name for wav in said] == ["00.wav", "01.wav"]
    assert np.array_equal(samples(said[0]), samples(again[0]))
    assert not np.array_equal(samples(said[0]), samples(other[0]))
    published = samples(say(joe, TEXT, tmp_path / "joe.wav"))
    assert len(samples(said[0])) == pytest.approx(len(published), rel=0.15)
    spectra = [np.log(np.abs(np.fft.rfft(x, 1 << 18)).reshape(-1)[: 1 << 17].reshape(128, -1).mean(1)) for x in
               (samples(said[0]) / 1.0, published / 1.0)]  # fmt: skip
    assert np.corrcoef(*spectra)[0, 1] > 0.95


def test_speakers_go_by_name_and_by_number(two_speakers: Path, tmp_path: Path) -> None:
    voice = export(two_speakers, tmp_path, "en_US-duo-x_low").path
    quiet = {"noise_scale": 0.0, "duration_noise": 0.0}
    ada, bob, second = (
        samples(say(voice, TEXT, tmp_path / "x.wav", speaker=speaker, **quiet)) for speaker in (None, "bob", 1)
    )
    assert np.array_equal(bob, second) and not np.array_equal(ada, bob)
    for unknown in ("carol", 2):
        with pytest.raises(UserError, match="has no speaker.*ada, bob"):
            say(voice, TEXT, tmp_path / "y.wav", speaker=unknown)
        with pytest.raises(UserError, match="has no speaker"):
            speak_checkpoint(two_speakers, [TEXT], tmp_path / "z", speaker=unknown)
    assert not (tmp_path / "y.wav").exists()
    assert speak_checkpoint(two_speakers, ["Bob speaks."], tmp_path / "z", speaker="bob")[0].stat().st_size > 1000


@pytest.mark.parametrize("text", ["", "   "])
def test_nothing_to_say_is_told(joe: Path, tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match="gives no phonemes"):
        say(joe, text, tmp_path / "silence.wav")
    assert not (tmp_path / "silence.wav").exists()


def test_a_wav_that_cannot_be_written_is_told(joe: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written"):
        say(joe, "Hello.", tmp_path / "file" / "said.wav")
