"""The source-filter decoder, against WORLD's own synthesis, sums written out, SciPy's filters and ONNX Runtime."""

import json

import numpy as np
import pytest
import pyworld
import scipy.signal
import torch
from conftest import generator_state, python

from tts_lab import acoustics
from tts_lab.acoustics import BANDS, PER_FRAME, analyse, kept_analysis
from tts_lab.corpus.corpus import Corpus
from tts_lab.devices.lowering import ENVIRONMENT
from tts_lab.errors import UserError
from tts_lab.features import Spectrogram, SpectrogramSettings
from tts_lab.frontend import Frontend
from tts_lab.training.columns import read_metrics
from tts_lab.training.config import TrainConfig
from tts_lab.training.run import train
from tts_lab.vits import source_filter
from tts_lab.vits.config import PRESETS, ModelConfig
from tts_lab.vits.source_filter import EDGE, SourceFilter, Synthesis, acoustic_loss, envelopes
from tts_lab.voices.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from tts_lab.voices.export import export
from tts_lab.voices.start import model_sizes

SETTINGS = SpectrogramSettings()
TINY = ModelConfig.from_dict(PRESETS["tiny"].to_dict() | {"decoder": "source_filter"})


def described(rows: np.ndarray) -> torch.Tensor:
    """An analysis as a decoder that knows it would describe it, the pitch carried on where there is no voice."""
    rows = rows.astype(np.float32)
    voiced, at = rows[0] > 0, np.arange(rows.shape[1])
    pitch = np.log(np.interp(at, at[voiced], rows[0, voiced]))
    return torch.from_numpy(np.vstack([pitch, np.where(voiced, 30, -30), rows[1:]])).float()[None]


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Mean distance of log-mel spectrograms."""
    length = min(len(one), len(other)) // SETTINGS.hop_length * SETTINGS.hop_length
    spectrogram = Spectrogram(SETTINGS)
    mels = [spectrogram.mel(spectrogram(torch.from_numpy(x[:length]).float()[None])) for x in (one, other)]
    return float((mels[0] - mels[1]).abs().mean())


def test_a_copy_of_real_speech_is_as_near_to_it_as_worlds_own(speech):
    made = Synthesis(SETTINGS)(described(analyse(speech, SETTINGS)))[0, 0].numpy()
    wave, step = speech.astype(np.float64), 1000 * SETTINGS.hop_length / PER_FRAME / SETTINGS.sample_rate
    rough, times = pyworld.harvest(wave, 22050, f0_floor=65.0, f0_ceil=500.0, frame_period=step)
    pitch = pyworld.stonemask(wave, rough, times, 22050)
    parts = (f(wave, pitch, times, 22050, fft_size=1024) for f in (pyworld.cheaptrick, pyworld.d4c))
    worlds = pyworld.synthesize(pitch, *parts, 22050, step)
    near, silence = distance(made, speech), distance(np.zeros_like(speech), speech)
    assert len(made) == len(speech) // 256 * 256
    assert near < 1.1 * distance(worlds, speech) < 0.3 * silence
    loudness = [np.sqrt(np.mean(np.square(x))) for x in (made, worlds, speech)]
    assert loudness[0] == pytest.approx(loudness[1], rel=0.1) and loudness[0] == pytest.approx(loudness[2], rel=0.2)


@pytest.mark.parametrize("hertz", [70.0, 190.0, 441.0])
def test_pulses_are_the_sum_of_their_harmonics(hertz):
    synthesis = Synthesis(SETTINGS)
    made = synthesis._pulses(torch.full((1, 690), hertz), torch.ones(1, 690))[0].numpy()
    count, time = int(22050 / 2 / hertz), np.arange(690 * 64) / 22050
    cosines = sum(np.cos(2 * np.pi * hertz * k * time) for k in range(1, count + 1))
    assert np.abs(made - np.sqrt(2 / count) * cosines).max() < 0.01 * made.max()  # the phase is summed in float32
    assert np.mean(made**2) == pytest.approx(1, rel=0.05)


def test_a_filter_has_its_envelopes_amplitude_and_is_minimum_phase():
    """An unchanging filter, step by step, is SciPy's convolution with the response of its cepstrum, folded by hand."""
    rng, synthesis = np.random.default_rng(1), Synthesis(SETTINGS)
    envelope = np.convolve(rng.normal(-2, 2, BANDS + 8), np.hanning(11)[1:-1] / 5, "valid")
    log = envelope @ acoustics.band_basis(SETTINGS)
    cepstrum = np.fft.irfft(log)
    folded = np.concatenate([cepstrum[:1], 2 * cepstrum[1:512], cepstrum[512:513], np.zeros(511)])
    response = np.fft.irfft(np.exp(np.fft.rfft(folded)))
    assert np.abs(np.fft.rfft(response)) == pytest.approx(np.exp(log), rel=1e-6)
    noise = rng.normal(size=200 * 64)
    expected = scipy.signal.fftconvolve(noise, response)[: len(noise)]
    steps = torch.from_numpy(envelope).float()[None, :, None].expand(1, BANDS, 200)
    spectra = synthesis._filtered(torch.from_numpy(noise).float()[None], steps)
    made = synthesis._overlapped(spectra)[0].numpy()
    inside = slice(1024, -1024)
    assert np.abs(made - expected)[inside].max() < 0.02 * np.abs(expected).max()  # what rings on past 1024 samples


def test_the_analysis_is_kept_and_one_that_is_broken_is_made_again(speech, tmp_path, monkeypatch):
    first = kept_analysis(speech, SETTINGS, tmp_path)
    (kept,) = tmp_path.iterdir()
    assert first.shape == (1 + 2 * BANDS, len(speech) // 256 * PER_FRAME) and first.dtype == np.float16
    whole = kept.read_bytes()
    kept.write_bytes(whole[:1000])
    assert np.array_equal(kept_analysis(speech, SETTINGS, tmp_path), first) and kept.read_bytes() == whole
    monkeypatch.setattr(acoustics, "analyse", lambda *_: pytest.fail("made again"))
    assert np.array_equal(kept_analysis(speech, SETTINGS, tmp_path), first)
    monkeypatch.undo()
    kept_analysis(speech[::-1].copy(), SETTINGS, tmp_path)  # other audio of the same length
    assert len(list(tmp_path.iterdir())) == 2


def test_losses_are_zero_for_the_recording_itself_and_count_what_is_heard(speech):
    rows = analyse(speech, SETTINGS)[:, 576:832]  # with a stop in it
    real = torch.from_numpy(rows).float()[None]
    right = described(rows)
    assert all(float(term) < 1e-3 for term in acoustic_loss(right, real).values())
    voiced = rows[0, EDGE:-EDGE] > 0
    assert 0.2 < voiced.mean() < 0.9
    wrong = right.clone()
    wrong[:, 2 : 2 + BANDS] += 1  # pulses twice as loud and more, which counts where there is a voice
    assert float(acoustic_loss(wrong, real)["mel"]) == pytest.approx(voiced.mean() / 2, rel=1e-3)
    wrong = right.clone()
    wrong[:, 2 + BANDS :] += 1
    assert float(acoustic_loss(wrong, real)["mel"]) == pytest.approx(0.5, rel=1e-3)
    wrong = right.clone()
    wrong[:, :1] += np.log(2)  # an octave
    octave = acoustic_loss(wrong, real)
    count = (rows[0] > 0).sum()
    assert float(octave["source"]) == pytest.approx(2 * np.log(2) * count / (count + 1), rel=2e-2)
    assert torch.equal(envelopes(right, real), envelopes(real, real))
    assert (envelopes(right, real)[0, 0][:, ~voiced] == -1).all()


def test_what_is_exported_speaks_as_the_checkpoint_does(tmp_path):
    """In ONNX Runtime at three lengths, and in Piper's own runtime: `export` compares, and refuses what differs."""
    torch.manual_seed(3)
    state = generator_state(TINY)
    for value in state.values():
        if not value.any():
            value.normal_(0, 0.1)
    state["model_g.dec.conv_post.weight"].mul_(10)
    path = tmp_path / "tiny.ckpt"
    write_checkpoint(Checkpoint(TINY, Frontend("en-us").to_dict(), state), path)
    done = export(path, tmp_path / "voice", "en_US-tiny-low")
    assert len(done.parity) == 3 and all(0 < row["difference"] < 2e-3 for row in done.parity)
    write_checkpoint(Checkpoint(PRESETS["tiny"], Frontend("en-us").to_dict(), state), path)
    with pytest.raises(UserError, match="decoder is hifigan, its tensors' source_filter"):
        read_checkpoint(path)


@pytest.mark.slow
def test_a_run_learns_to_describe_and_starts_its_decoder_anew_from_another(small_corpus, tmp_path):
    """From a HiFi-GAN checkpoint: text side, flow and posterior encoder come over. In 60 steps it learns the most."""
    torch.manual_seed(4)
    start = tmp_path / "start.ckpt"
    frontend = Frontend("en-us").to_dict()
    write_checkpoint(Checkpoint(PRESETS["tiny"], frontend, generator_state(PRESETS["tiny"])), start)
    config = TrainConfig(
        small_corpus, tmp_path / "run", start_from=start, decoder="source_filter", max_steps=60, batch_size=8,
        segment_frames=48, learning_rate=3e-3, adversarial_from=40, validate_every=10, log_every=5, sample_every=60,
        buckets=1, accelerator="cpu", keep=0, sentences=["A short one."],
    )  # fmt: skip
    last = train(config)
    rows = read_metrics(config.run / "metrics.csv")
    mels = [row["val_mel"] for row in rows if row["val_mel"] != ""]
    assert len(mels) == 6 and mels[-1] < 0.8 * mels[0]
    sources = [row["source"] for row in rows if row["source"] != ""]
    assert sources[-1] < 0.7 * sources[0]
    assert [row["adversarial"] != "" for row in rows if row["mel"] != ""][-1]
    made = read_checkpoint(last)
    assert model_sizes("low", made.model, Corpus.load(small_corpus)).decoder == "source_filter"  # not the preset's
    assert made.model.decoder == "source_filter" and "model_g.dec.split.weight" in made.state_dict
    log = (config.run / "log.txt").read_text()
    assert "model_g.dec.conv_pre.weight: shape" in log
    analysed = list((small_corpus / "acoustics").iterdir())
    assert analysed and all(np.load(path).shape[0] == 1 + 2 * BANDS for path in analysed)


PREFLIGHT = """
import json, sys
from pathlib import Path
from tts_lab.preflight.run import preflight_run
from tts_lab.training.config import TrainConfig
config = TrainConfig(Path(sys.argv[1]), preset="tiny", decoder=sys.argv[2], batch_size=2, buckets=1, max_steps=1,
                     validate_every=1, limit_utterances=4)
result = preflight_run(config).preflight
findings = sorted({(f.severity, f.rule) for f in result.findings})
print(json.dumps([findings, sum(graph.instructions for graph in result.graphs)]))
"""


@pytest.mark.slow
def test_on_trainium_its_step_is_smaller_and_breaks_no_rule_that_hifigans_does_not(small_corpus):
    found = {}
    for decoder in ("source_filter", "hifigan"):
        printed = python("-c", PREFLIGHT, str(small_corpus), decoder, **ENVIRONMENT)
        findings, instructions = json.loads(printed.splitlines()[-1])
        found[decoder] = {tuple(finding) for finding in findings}, instructions
    (ours, few), (theirs, many) = found["source_filter"], found["hifigan"]
    assert not any(severity == "error" for severity, _ in ours)
    assert ours < theirs and few < many, (ours, theirs)


def test_several_speakers_have_their_own_voices():
    torch.manual_seed(5)
    decoder = SourceFilter(16, 24, SETTINGS, speaker_channels=8)
    z, rows = torch.randn(1, 16, 12), torch.randn(2, 8, 1)
    one, other = (decoder.describe(z, row[None]) for row in rows)
    assert one.shape == (1, 2 + 2 * BANDS, 12 * PER_FRAME) and (one - other).abs().max() > 1e-2
    assert decoder(z, rows[:1]).shape == (1, 1, 12 * 256)
    assert not any(key.startswith("synthesis") for key in decoder.state_dict())
    assert float(one[:, 0].detach().exp().median()) == pytest.approx(source_filter.MIDDLE_PITCH, rel=0.2)
