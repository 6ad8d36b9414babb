"""The pace of a start: the factor on durations against texts spoken by Piper's own `infer`."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tts_lab.corpus.corpus import Corpus
from tts_lab.corpus.prepare import PrepareSettings, prepare
from tts_lab.frontend import Frontend
from tts_lab.training.config import TrainConfig
from tts_lab.training.run import train
from tts_lab.vits.synthesizer import Synthesizer
from tts_lab.voices.checkpoints import read_checkpoint
from tts_lab.voices.pace import match_pace
from tts_lab.voices.speak import say

SENTENCES = (
    "The last bus had gone, so we walked home along the river in the dark.",
    "Nobody could remember who had planted the three old apple trees.",
    "If the wind turns before noon, the boats will not leave the harbour today.",
    "She wrote the number on her hand and forgot about it until the evening.",
)


@pytest.fixture(scope="module")
def own_speech(joe, tmp_path_factory) -> Path:
    """Joe's own readings, at a third slower, as a corpus at 16 kHz."""
    folder = tmp_path_factory.mktemp("own")
    for number, sentence in enumerate(SENTENCES * 3):
        wav = say(joe, sentence, folder / f"r{number}.wav", length_scale=4 / 3)
        audio, rate = soundfile.read(wav)
        soundfile.write(wav, audio + 1e-4 * np.random.default_rng(number).standard_normal(len(audio)), rate)
        wav.with_suffix(".txt").write_text(sentence)
    settings = PrepareSettings(sample_rate=16000, trim=False, validation_share=0.25)
    prepare(folder, folder / "corpus", settings, Frontend.from_voice(Path(f"{joe}.json")), jobs=1)
    return folder / "corpus"


def voice(path: Path, sample_rate: int) -> Synthesizer:
    taken = read_checkpoint(path)
    model = Synthesizer(replace(taken.model, sample_rate=sample_rate))
    model.load_state_dict(taken.part("model_g."))
    return model.eval()


def seconds(model: Synthesizer, clips) -> float:
    """By Piper's `infer`, with the scales that voices speak with."""
    total = 0
    for clip in clips:
        torch.manual_seed(clip.samples)
        ids = torch.tensor([clip.phoneme_ids])
        total += model.infer(ids, torch.tensor([ids.shape[1]]), None, 0.667, 1.0, 0.8)[0].shape[-1]
    return total / model.config.sample_rate


def test_texts_last_as_long_as_their_recordings(adopted_joe, own_speech):
    """Of another sample rate and another pace at once; clips that it was not matched to, too."""
    corpus, model = Corpus.load(own_speech), voice(adopted_joe, 16000)
    recorded = [sum(clip.samples for clip in part) / 16000 for part in (corpus.train, corpus.validation)]
    as_it_was = seconds(model, corpus.train) / recorded[0]
    assert not 0.9 < as_it_was < 1.1, "the test needs a voice of another pace"
    match_pace(model, corpus.train, {})
    assert seconds(model, corpus.train) / recorded[0] == pytest.approx(1, abs=0.03)
    assert seconds(model, corpus.validation) / recorded[1] == pytest.approx(1, abs=0.05)


def test_the_rhythm_stays_and_nothing_else_is_touched(adopted_joe, own_speech):
    corpus, model = Corpus.load(own_speech), voice(adopted_joe, 16000)

    def durations() -> torch.Tensor:
        ids = torch.tensor([corpus.train[0].phoneme_ids])
        text, _, _, mask = model.enc_p(ids, torch.tensor([ids.shape[1]]))
        torch.manual_seed(3)
        return model.dp(text, mask, reverse=True, noise_scale=0.8).exp()

    with torch.no_grad():
        before, state = durations(), {key: value.clone() for key, value in model.state_dict().items()}
        factor = match_pace(model, corpus.train, {})
        torch.testing.assert_close(durations(), before * factor, rtol=1e-4, atol=1e-6)
    changed = [key for key, value in model.state_dict().items() if not torch.equal(value, state[key])]
    assert changed == ["dp.flows.0.m"]


def test_a_run_matches_the_pace_before_its_first_step(adopted_joe, own_speech, tmp_path, capsys):
    """A medium voice goes on as a low one, at the recordings' 16 kHz; its frozen durations are the matched ones."""
    config = TrainConfig(
        corpus=own_speech, run=tmp_path / "run", preset="low", start_from=adopted_joe, match_pace=True,
        freeze=["enc_p", "dp", "enc_q", "flow"], max_steps=1, batch_size=1, segment_frames=16, discriminator_divisor=16,
        workers=0, sample_clips=0, sentences=["Yes."], accelerator="cpu",
    )  # fmt: skip
    trained = read_checkpoint(train(config))
    corpus, model = Corpus.load(own_speech), voice(adopted_joe, 16000)
    factor = match_pace(model, corpus.train, {})
    assert f"pace: all durations times {factor:.2f}" in capsys.readouterr().out
    assert trained.model.sample_rate == 16000
    torch.testing.assert_close(trained.part("model_g.")["dp.flows.0.m"], model.state_dict()["dp.flows.0.m"])
