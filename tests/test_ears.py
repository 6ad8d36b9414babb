"""What a run lets hear and see as it goes: clips forced and free, alignments, loggers, throughput, kept checkpoints."""

import json
import os
import re
import time
from pathlib import Path

import lightning as L
import matplotlib.image
import numpy as np
import pytest
import soundfile
import torch
from conftest import python
from piper.train.vits import models
from service_stubs import write_stubs
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tts_lab.analysis.alignment import score
from tts_lab.corpus.corpus import Corpus
from tts_lab.devices import open_device
from tts_lab.errors import UserError
from tts_lab.training import alignments, loggers
from tts_lab.training.clips import chosen_clips, free_running, spoken, teacher_forced
from tts_lab.training.columns import ALIGNMENT, read_metrics
from tts_lab.training.config import TrainConfig
from tts_lab.training.data import CorpusData, TrainSteps
from tts_lab.training.module import VitsTraining
from tts_lab.training.run import train
from tts_lab.training.stages import Place
from tts_lab.training.throughput import DataWait, Throughput
from tts_lab.vits.config import PRESETS
from tts_lab.vits.synthesizer import Synthesizer
from tts_lab.voices.checkpoints import Checkpoint

pytestmark = pytest.mark.filterwarnings("ignore")
TINY, HOP = PRESETS["tiny"], PRESETS["tiny"].spectrogram.hop_length
RUN = {
    "preset": "tiny", "batch_size": 2, "buckets": 1, "limit_utterances": 6, "checkpoint_every": 3, "log_every": 1,
    "workers": 0, "accelerator": "cpu", "sentences": ["Hello."],
}  # fmt: skip


def in_a_process(corpus: Path, folder: Path, *flags: str, **environment: str) -> None:
    """A run in a process of its own, where nothing that other tests did can be felt."""
    own = [f"--{name}={json.dumps(value) if isinstance(value, list) else value}" for name, value in RUN.items()]
    python("-m", "tts_lab.cli", "train", f"--corpus={corpus}", f"--run={folder}", *own, *flags, **environment)


@pytest.fixture(scope="module")
def run(small_corpus, tmp_path_factory) -> Path:
    """Six steps in two stretches, with two clips, validated and heard often."""
    folder = tmp_path_factory.mktemp("run")
    for steps in (3, 6):
        in_a_process(small_corpus, folder, f"--max_steps={steps}", "--sample_every=3", "--sample_clips=2",
                     "--validate_every=2", "--keep=1", "--keep_by=val_kl")  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def elsewhere(small_corpus, tmp_path_factory) -> tuple[Path, list]:
    """The same training in a process with wandb and comet_ml, hardly heard; and what those two were told."""
    folder, stubs = tmp_path_factory.mktemp("elsewhere"), write_stubs(tmp_path_factory.mktemp("stubs"))
    in_a_process(
        small_corpus, folder, "--max_steps=6", "--sample_every=100", "--sample_clips=1", "--validate_every=6",
        "--loggers=[wandb,comet]",
        PYTHONPATH=f".{os.pathsep}{stubs}", STUB_LOG=str(folder / "told"), WANDB_MODE="offline",
    )  # fmt: skip
    return folder, [json.loads(line) for line in (folder / "told").read_text().splitlines()]


@pytest.fixture(scope="module")
def data(small_corpus) -> CorpusData:
    return CorpusData(Corpus.load(small_corpus), TINY, TrainConfig(small_corpus, max_steps=4, **RUN))


def untrained() -> Synthesizer:
    torch.manual_seed(3)
    return Synthesizer(TINY).eval()


def test_clips_are_of_the_validation_split_by_the_seed(data, small_corpus):
    held_out = {u.id: u for u in data.corpus.validation}
    chosen = {}
    for seed in (1, 2, 3):
        data.config.seed = seed
        clips = chosen_clips(data)
        chosen[seed] = [clip.id for clip in clips]
        assert len(set(chosen[seed])) == 3 and chosen[seed] == [clip.id for clip in chosen_clips(data)]
        for clip in clips:
            utterance = held_out[clip.id]
            assert len(clip.audio) == utterance.samples // HOP * HOP
            assert [s for s in clip.symbols if s not in "_^$"] == utterance.phonemes
            assert utterance.samples >= np.median([u.samples for u in held_out.values()])
    assert len({tuple(ids) for ids in chosen.values()}) > 1
    data.config.sample_clips = 500
    assert {clip.id for clip in chosen_clips(data)} == set(held_out)
    data.config.sample_clips, data.config.seed = 3, 1234


def test_teacher_forcing_is_pipers_posterior_and_decoder_on_the_recording(data):
    """Piper's own modules on PyTorch's own spectrum, with the same noise."""
    model, (clip, *_) = untrained(), chosen_clips(data)
    encoder = models.PosteriorEncoder(513, 32, 32, 5, 1, TINY.posterior_layers)
    decoder = models.Generator(
        32, TINY.resblock, TINY.resblock_kernel_sizes, TINY.resblock_dilation_sizes, TINY.upsample_rates,
        TINY.upsample_initial_channel, TINY.upsample_kernel_sizes,
    )  # fmt: skip
    for theirs, ours in ((encoder, model.enc_q), (decoder, model.dec)):
        theirs.load_state_dict(ours.state_dict())
        theirs.eval()
    wave = torch.nn.functional.pad(torch.from_numpy(clip.audio)[None, None], (384, 384), mode="reflect")[0]
    spectrum = torch.stft(wave, 1024, 256, window=torch.hann_window(1024), center=False, return_complex=True).abs()
    torch.manual_seed(9)
    with torch.no_grad():
        z, *_, mask = encoder((spectrum.square() + 1e-6).sqrt(), torch.tensor([spectrum.shape[-1]]))
        expected = decoder(z * mask)[0, 0].clamp(-1, 1)
    torch.manual_seed(9)
    forced = teacher_forced(model, clip)
    assert forced.audio.shape == clip.audio.shape and np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(forced.audio, expected.numpy(), atol=1e-5)
    assert forced.durations.sum() * HOP == len(clip.audio) and forced.durations.min() >= 1
    assert len(forced.durations) == len(clip.symbols)


def test_the_search_finds_the_durations_that_were_spoken_with(data):
    """A latent made from the text's own means, each held for known frames, is aligned just so."""
    model, (clip, *_) = untrained(), chosen_clips(data)
    wanted = np.random.default_rng(0).multinomial(
        int(clip.batch.frames) - len(clip.symbols), np.ones(len(clip.symbols)) / len(clip.symbols)
    ) + 1  # fmt: skip
    text, mean, log_scale, mask = model.enc_p(clip.batch.phonemes, clip.batch.phoneme_lengths)
    held = mean.repeat_interleave(torch.tensor(wanted), dim=2)
    ones = torch.ones(1, 1, held.shape[2])
    model._encode = lambda batch: (text, mean, log_scale, mask, held, held, ones, held, None)
    np.testing.assert_array_equal(teacher_forced(model, clip).durations, wanted)


def test_free_speech_is_as_long_as_its_durations(data):
    model, (clip, *_) = untrained(), chosen_clips(data)
    torch.manual_seed(4)
    free = free_running(model, clip)
    torch.manual_seed(4)
    again = spoken(model, clip.batch.phonemes[0].tolist())
    assert len(free.audio) == free.durations.sum() * HOP and len(free.durations) == len(clip.symbols)
    assert np.array_equal(free.audio, again.audio)


def test_a_run_keeps_forced_beside_free_beside_real(run, data):
    texts = json.loads((run / "samples" / "texts.json").read_text())
    assert texts["sentences"] == ["Hello."]
    held_out = {u.id: u for u in data.corpus.validation}
    for number, clip in enumerate(texts["clips"]):
        real, rate = soundfile.read(run / "samples" / f"real-{number}.wav", dtype="float32")
        audio = data.corpus.waveform(held_out[clip["id"]])
        assert rate == 16000 and clip["text"] == held_out[clip["id"]].text
        np.testing.assert_allclose(real, audio[: len(audio) // HOP * HOP], atol=1e-4)
        for step in (0, 3, 6):
            folder = run / "samples" / f"step-{step}"
            assert soundfile.info(folder / f"forced-{number}.wav").frames == len(real)
            assert soundfile.info(folder / f"free-{number}.wav").frames % HOP == 0
    assert {path.name for path in (run / "samples" / "step-6").iterdir()} == {
        "0.wav", "forced-0.wav", "free-0.wav", "forced-1.wav", "free-1.wav",
    }  # fmt: skip


def test_scores_go_to_metrics_and_sound_and_picture_to_tensorboard(run):
    rows = [row for row in read_metrics(run / "metrics.csv") if row["align_end"] != ""]
    assert [row["step"] for row in rows] == [0, 2, 5], "before the first step, after 3 and after 6; none twice"
    assert all(0 <= row[name] <= 1 for row in rows for name in ALIGNMENT[:8]) and all(r["rate_ratio"] > 0 for r in rows)
    audio, pictures, scalars = set(), {}, {}
    for file in sorted((run / "tensorboard").glob("events*")):  # one of each stretch
        events = EventAccumulator(str(file), {"audio": 0, "images": 0, "scalars": 0})
        events.Reload()
        audio |= {(tag, e.step) for tag in events.Tags()["audio"] for e in events.Audio(tag)}
        pictures |= {e.step: (e.width, e.height) for e in events.Images("alignment")}
        for tag in events.Tags()["scalars"]:
            scalars |= {(tag, e.step): e.value for e in events.Scalars(tag)}
    names = ("0", "forced-0", "forced-1", "free-0", "free-1")
    assert audio >= {(f"sample/{name}", step) for name in names for step in (0, 2, 5)}
    assert {tag for tag, _ in audio} == {f"sample/{name}" for name in (*names, "real-0", "real-1")}
    for step, shape in pictures.items():
        pixels = matplotlib.image.imread(run / "alignments" / f"step-{step and step + 1}.png")
        assert pixels.shape[1::-1] == shape
    assert sorted(pictures) == [0, 2, 5]
    for row in read_metrics(run / "metrics.csv"):
        for name in ("data_wait", "steps_per_second", "grad_norm_g", "grad_norm_d", "learning_rate_g", "val_kl"):
            if row[name] != "":
                assert scalars[name, row["step"]] == pytest.approx(row[name], rel=1e-4)


def test_listening_and_validating_disturb_nothing(run, elsewhere):
    one, other = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (run, elsewhere[0])
    )
    assert len(one) > 100 and all(torch.equal(value, other[name]) for name, value in one.items())


def test_two_validations_of_the_same_weights_are_alike_bit_for_bit(data):
    torch.manual_seed(0)
    module = VitsTraining(Checkpoint(TINY, {}, {}), Place(data.config, 4), 1, open_device("cpu"))
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False,
    )  # fmt: skip
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)  # whatever was drawn before
        np.random.seed(seed)
        found.append(trainer.validate(module, data, verbose=False)[0])
        module.train()
        module.begin([data.train_dataloader().dataset[0][0]], seed)
    assert set(found[0]) == {"val_mel", "val_kl", "val_duration"} and found[0] == found[1]
    data.config.seed += 1  # the numbers are of noise and segments, so others give others
    assert trainer.validate(module, data, verbose=False)[0] != found[0]
    data.config.seed -= 1


def test_the_kept_checkpoint_is_the_one_with_the_smallest(run):
    rows = [row for row in read_metrics(run / "metrics.csv") if row["val_kl"] != ""]
    assert [row["step"] for row in rows] == [1, 3, 5]
    best = min(rows, key=lambda row: row["val_kl"])
    (kept,) = (run / "checkpoints").glob("best-*")
    step, value = re.fullmatch(r"best-step=(\d+)-val_kl=([\d.]+)\.ckpt", kept.name).groups()
    assert int(step) == best["step"] + 1 and float(value) == pytest.approx(best["val_kl"], abs=1e-4)


def test_an_adversarial_total_is_refused_with_the_reason(small_corpus):
    with pytest.raises(UserError, match="keep_by is loss_g: generator and discriminators pull it both ways"):
        TrainConfig(small_corpus, max_steps=1, keep_by="loss_g")


def test_services_are_told_everything(elsewhere):
    folder, told = elsewhere
    identity = (folder / "logged_as.txt").read_text().strip()
    by = {}
    for name, *said in told:
        by.setdefault(name, []).append(said)
    assert by["wandb.init"][0][0]["id"] == identity and by["comet.start"] == [["tts_lab", identity, folder.name]]
    assert by["wandb.config"][0][0]["max_steps"] == by["comet.config"][0][0]["max_steps"] == 6
    rows = [row for row in read_metrics(folder / "metrics.csv") if row["grad_norm_g"] != ""]
    for logged in (
        {said["trainer/global_step"]: said for (said,) in by["wandb.log"] if "grad_norm_g" in said},
        {step: said for said, step in by["comet.log"] if "grad_norm_g" in said},
    ):
        for row in rows:
            for name in ("mel", "grad_norm_g", "learning_rate_d", "data_wait"):
                assert logged[row["step"]][name] == pytest.approx(row[name], rel=1e-4)
    real = soundfile.info(folder / "samples" / "real-0.wav").frames
    assert ["sample/real-0.wav", real, 16000, 0] in by["comet.audio"]
    assert {"sample/real-0": [{"samples": real, "rate": 16000}], "trainer/global_step": 0} in [
        s for (s,) in by["wandb.log"]
    ]
    for step, row in ((0, 0), (6, 5)):
        height, width, _ = matplotlib.image.imread(folder / "alignments" / f"step-{step}.png").shape
        assert ["alignment", [height, width, 3], row] in by["comet.image"]
        assert {"alignment": [{"shape_": [height, width, 3]}], "trainer/global_step": row} in [
            s for (s,) in by["wandb.log"]
        ]
    assert sum("align_skipped" in said for (said,) in by["wandb.log"]) == 2


def test_a_service_that_is_not_here_is_said_before_the_first_step(small_corpus, monkeypatch):
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(UserError) as caught:
        TrainConfig(small_corpus, max_steps=1, loggers=["wandb", "comet"])
    assert "`pip install wandb`" in str(caught.value) and "`pip install comet-ml`" in str(caught.value)


def test_a_service_that_does_not_open_ends_in_words(small_corpus, tmp_path, monkeypatch):
    def refuse(**_):
        raise RuntimeError("api_key not configured (no-tty)\nsee the manual")

    monkeypatch.setattr(loggers, "find_spec", lambda name: True)
    monkeypatch.setattr("lightning.pytorch.loggers.WandbLogger", refuse)
    with pytest.raises(UserError, match=r"wandb could not be opened \(api_key.*no-tty\)\): .*WANDB_MODE=offline"):
        loggers.run_loggers(TrainConfig(small_corpus, tmp_path, max_steps=1, loggers=["wandb"]), 1, 0)


def test_waiting_is_for_data_and_for_nothing_else(small_corpus, tmp_path, monkeypatch):
    """Batches that take 0.2 s to fetch, and after each step a validation that sleeps, which is no step."""
    fetch, validate, seconds, slept = TrainSteps.__getitem__, VitsTraining.validate, [], []

    def slowly(steps, number):
        time.sleep(0.2)
        seconds.append(sum(float(batch.frames.sum()) for batch in fetch(steps, number)) * HOP / 16000)
        return fetch(steps, number)

    monkeypatch.setattr(TrainSteps, "__getitem__", slowly)
    monkeypatch.setattr(VitsTraining, "validate", lambda *a: time.sleep(0.2) or slept.append(0.2) or validate(*a))
    train(TrainConfig(small_corpus, tmp_path, max_steps=4, sample_every=100, sample_clips=0, validate_every=1,
                      keep=0, **RUN))  # fmt: skip
    rows = [row for row in read_metrics(tmp_path / "metrics.csv") if row["data_wait"] != ""]
    assert len(rows) == 4 and not (tmp_path / "alignments").exists()
    for row, heard in zip(rows, seconds, strict=True):
        step = 1 / row["steps_per_second"]
        assert row["data_wait"] * step > 0.2
        assert row["audio_per_second"] * step == pytest.approx(heard, abs=2 * HOP / 16000)  # whole frames of each clip
    # From the first row to the last are three steps and three validations of the four.
    apart, steps = rows[-1]["seconds"] - rows[0]["seconds"], sum(1 / row["steps_per_second"] for row in rows[1:])
    assert steps < apart - 0.75 * sum(slept) + 0.05 and sum(slept) > 1


def test_throughput_is_over_all_steps_since_it_was_last_told():
    waiting, told = DataWait(), []
    watch = Throughput(waiting, log_every=3)
    dataset = type("Dataset", (), {"seconds": staticmethod(lambda step: 10.0 + step)})
    trainer = type("Trainer", (), {"train_dataloader": type("Loader", (), {"dataset": dataset})})
    module = type("Module", (), {"log_dict": staticmethod(told.append)})
    for step in range(1, 7):
        waiting.start("[loop].train_dataloader_next")
        time.sleep(0.03)
        waiting.stop("[loop].train_dataloader_next")
        waiting.start("[callback]on_validation_end")
        waiting.stop("[callback]on_validation_end")
        watch.on_train_batch_start()
        time.sleep(0.01)
        trainer.global_step = step
        watch.on_train_batch_end(trainer, module)
    assert len(told) == 2
    for measured, audio in zip(told, (33.0, 42.0), strict=True):
        seconds = 3 / measured["steps_per_second"]
        assert seconds >= 0.12 and measured["data_wait"] * seconds >= 0.09
        assert measured["data_wait"] < 0.9 and measured["audio_per_second"] * seconds == pytest.approx(audio)


def test_the_picture_shows_what_was_long():
    """A sound that takes 60 of 100 frames is a bar of 60 % of the panel, in its own row, and named in red."""
    symbols = ["^", "_", "a", "_", "b", "_", "c", "_", "$"]
    recorded = np.array([5, 5, 5, 5, 55, 5, 5, 5, 10])
    even = np.array([11, 11, 11, 11, 11, 11, 11, 11, 12])
    pixels = alignments.picture([alignments.Aligned("abc", symbols, recorded, even)], 0.01)
    blue = (np.abs(pixels.astype(int) - [0x0F, 0x7A, 0xC0]).sum(2) < 12)[: int(0.6 * len(pixels))]  # not the legend
    widest = blue.sum(1).max()
    span = np.flatnonzero(blue.any(0))
    assert widest / (span[-1] - span[0] + 1) == pytest.approx(0.6, abs=0.02)
    red = np.abs(pixels.astype(int) - [0xB0, 0x00, 0x20]).sum(2) < 60
    rows = np.flatnonzero(red[: int(0.6 * len(pixels)), : pixels.shape[1] // 8].any(1))
    assert len(rows) and blue[rows.min() - 5 : rows.max() + 6].sum(1).max() == widest  # the longest bar's row
    assert score(recorded, symbols).stretched == pytest.approx(1 / 3)
    assert alignments.mean_scores([alignments.Aligned("abc", symbols, recorded, even)]).keys() == set(ALIGNMENT)
