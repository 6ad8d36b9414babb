"""Where runs start: other symbols, other speakers, fresh parts, runs and voices, and what `inspect` says of each."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import generator_state
from torch import nn

from tts_lab.cli import main
from tts_lab.corpus.corpus import Corpus
from tts_lab.errors import UserError
from tts_lab.frontend import Frontend
from tts_lab.training.config import TrainConfig
from tts_lab.training.keeping import keep_best
from tts_lab.training.run import train, voice_header
from tts_lab.vits.config import PRESETS, ModelConfig
from tts_lab.vits.discriminators import Discriminators
from tts_lab.vits.synthesizer import Synthesizer
from tts_lab.voices.best import NAME
from tts_lab.voices.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from tts_lab.voices.export import export, load_generator
from tts_lab.voices.inspection import inspect
from tts_lab.voices.start import find_start, read_start
from tts_lab.voices.symbols import NOISE, symbol_map
from tts_lab.voices.warm_start import EMBEDDING, warm_start

pytestmark = pytest.mark.filterwarnings("ignore")
TINY = PRESETS["tiny"]
QUICK = {
    "batch_size": 4, "validate_every": 10, "sample_every": 10, "checkpoint_every": 5, "log_every": 1, "workers": 0,
    "keep": 1, "accelerator": "cpu", "max_steps": 1,
}  # fmt: skip


class Voice(nn.Module):
    def __init__(self, config: ModelConfig = TINY, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.model_g, self.model_d = Synthesizer(config), Discriminators(config.discriminator_divisor)
        for parameter in self.parameters():  # VITS starts many tensors at zero, and zeros would hide a mistake
            if not parameter.any():
                nn.init.normal_(parameter, 0, 0.1)


def sized(**sizes) -> ModelConfig:
    return ModelConfig.from_dict(TINY.to_dict() | sizes)


def checkpoint(config: ModelConfig = TINY, seed: int = 1, speakers=None, frontend: Frontend | None = None):
    state = {key: value.clone() for key, value in Voice(config, seed).state_dict().items()}
    frontend = frontend or Frontend(num_symbols=config.symbols)
    return Checkpoint(config, frontend.to_dict(), state, speakers or {}, 7, {"corpus": {"folder": "here"}})


def spoken(model: Synthesizer, speaker: int | None = None, noise: float = 0.0) -> torch.Tensor:
    ids = torch.randint(3, 100, (1, 40), generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    sid = None if speaker is None else torch.tensor([speaker])
    with torch.no_grad():
        return model.eval().infer(ids, torch.tensor([40]), sid, noise_scale=noise, noise_scale_w=noise)[0]


SYMBOLS = Frontend().phoneme_id_map


def test_every_speaker_starts_as_the_one_voice_to_the_bit():
    source, voice = checkpoint(), Voice(sized(speakers=3, speaker_channels=16), seed=2)
    before = spoken(load_generator(source, Path("x")), noise=0.667)
    assert not torch.equal(spoken(voice.model_g, 0, 0.667)[..., :2000], before[..., :2000])
    done = warm_start(voice, source, SYMBOLS, speakers={"ada": 0, "bob": 1, "cy": 2})
    for speaker in range(3):
        assert torch.equal(spoken(voice.model_g, speaker, 0.667), before)
    assert {key.split(".")[1] for key in done.silent} == {"emb_g", "dp", "enc_q", "flow", "dec"}
    assert "3 speakers, who all start as the one voice" in str(done) and "silent" in str(done)
    rows = voice.model_g.emb_g.weight
    assert not torch.equal(rows[0], rows[1]), "rows alike would never part"


def test_the_speakers_learn_to_part():
    voice = Voice(sized(speakers=2, speaker_channels=16), seed=2)
    warm_start(voice, checkpoint(), SYMBOLS, speakers={"ada": 0, "bob": 1})
    optimizer = torch.optim.SGD(voice.model_g.parameters(), 1e-2)
    z = torch.randn(2, TINY.inter_channels, 20, generator=torch.Generator().manual_seed(0))
    speaker = voice.model_g.emb_g(torch.tensor([0, 1])).unsqueeze(-1)
    flowed = voice.model_g.flow(z, torch.ones(2, 1, 20), g=speaker)
    audio = voice.model_g.dec(flowed, g=speaker)
    (audio[0].square().mean() - audio[1].square().mean()).backward()
    optimizer.step()
    assert not torch.equal(spoken(voice.model_g, 0), spoken(voice.model_g, 1))
    assert voice.model_g.dec.cond.weight.abs().sum() > 0
    assert voice.model_g.flow.flows[0].enc.cond_layer.weight_g.abs().sum() > 0


@pytest.mark.parametrize("like, names, number", [(None, {}, 0), ("bob", {}, 1), ("2", {}, 2), (None, {"cy": 0}, 2)])
def test_one_of_several_speakers_becomes_the_only_one(like, names, number):
    source = checkpoint(sized(speakers=3, speaker_channels=16), speakers={"ada": 0, "bob": 1, "cy": 2})
    theirs = Synthesizer(source.model)
    theirs.load_state_dict(source.part("model_g."))
    voice = Voice(seed=2)
    done = warm_start(voice, source, SYMBOLS, speakers=names, like=like)
    assert done.generator_share == 1 and f"the voice of {['ada', 'bob', 'cy'][number]}" in str(done)
    torch.testing.assert_close(spoken(voice.model_g), spoken(theirs, number), atol=1e-5, rtol=0)
    assert (spoken(theirs, number)[..., :5000] - spoken(theirs, (number + 1) % 3)[..., :5000]).abs().max() > 1e-3


def test_rows_of_speakers_go_by_name_and_new_ones_start_as_another():
    source = checkpoint(sized(speakers=2, speaker_channels=16), speakers={"ada": 0, "bob": 1})
    voice = Voice(sized(speakers=3, speaker_channels=16), seed=2)
    done = warm_start(voice, source, SYMBOLS, speakers={"bob": 0, "dan": 1, "eva": 2}, like="ada")
    rows, old = voice.model_g.emb_g.weight, source.state_dict["model_g.emb_g.weight"]
    assert torch.equal(rows, old[[1, 0, 0]])
    assert "speakers: bob, dan starts as ada, eva starts as ada" in str(done)


def test_speakers_that_are_not_there_are_refused():
    several = checkpoint(sized(speakers=2, speaker_channels=16), speakers={"ada": 0, "bob": 1})
    for source, told in ((several, "has no such speaker; it has 2: ada, bob"), (checkpoint(), "has a single speaker")):
        with pytest.raises(UserError, match=told):
            warm_start(Voice(), source, SYMBOLS, like="zoe")


@pytest.mark.parametrize("named", [True, False])
def test_130_symbols_into_256_and_back(named):
    """The same phonemes sound the same; a checkpoint that names no symbols has Piper's first 130."""
    small = {symbol: ids for symbol, ids in SYMBOLS.items() if max(ids) < 130}
    old = checkpoint(sized(symbols=130), frontend=Frontend(phoneme_id_map=small, num_symbols=130))
    if not named:
        old.frontend = {}
    assert symbol_map(old.frontend, 130) == small
    larger = Voice(seed=2)
    fresh = larger.state_dict()[EMBEDDING].clone()
    done = warm_start(larger, old, SYMBOLS, used={"ˈ": 9, "ɝ": 4, "aɪ": 2})
    rows, before = larger.state_dict()[EMBEDDING], old.state_dict[EMBEDDING]
    assert torch.equal(rows[:130], before) and torch.equal(rows[166:], fresh[166:])
    assert len(done.symbols) == len(SYMBOLS) - 130
    a, i = SYMBOLS["a"][0], SYMBOLS["ɪ"][0]
    assert torch.equal(rows[SYMBOLS["aɪ"][0]], before[[a, i]].mean(0)) and done.symbols["aɪ"] == "a+ɪ"
    mean = before[3:].mean(0)  # padding, begin and end are no phonemes
    assert torch.allclose(rows[SYMBOLS["ɝ"][0]], mean + NOISE * fresh[SYMBOLS["ɝ"][0]], atol=1e-6)
    assert "'ɝ' (4×) starts from the mean, 'aɪ' (2×) starts from a+ɪ" in str(done)
    assert ("taken to be Piper's default ones" in str(done)) is not named
    again = Voice(sized(symbols=130), seed=3)
    assert not warm_start(again, checkpoint(seed=4), small).symbols
    assert torch.equal(again.state_dict()[EMBEDDING], checkpoint(seed=4).state_dict[EMBEDDING][:130])


def test_another_language_keeps_the_sound_of_what_it_shares():
    german = {"_": [0], "^": [1], "$": [2], "t": [3], "ç": [4], "ã": [5], "Ω": [6]}
    english = {"_": [0], "^": [1], "$": [2], "a": [3], "t": [4], "c": [5]}
    source = checkpoint(sized(symbols=6), frontend=Frontend(phoneme_id_map=english, num_symbols=6))
    voice = Voice(sized(symbols=7), seed=2)
    done = warm_start(voice, source, german)
    rows, old = voice.state_dict()[EMBEDDING], source.state_dict[EMBEDDING]
    assert torch.equal(rows[[0, 1, 2, 3, 4, 5]], old[[0, 1, 2, 4, 5, 3]])
    assert done.symbols == {"ç": "c", "ã": "a", "Ω": "the mean"}


def test_named_parts_start_fresh():
    voice, source = Voice(seed=2), checkpoint(seed=1)
    before = {key: value.clone() for key, value in voice.state_dict().items()}
    done = warm_start(voice, source, SYMBOLS, threshold=0.99, fresh=["enc_p", "dp.flows.1"])
    for key, value in voice.state_dict().items():
        asked = key.startswith(("model_g.enc_p.", "model_g.dp.flows.1."))
        assert torch.equal(value, (before if asked else source.state_dict)[key]), key
    assert not torch.equal(before[EMBEDDING], source.state_dict[EMBEDDING])
    assert 0 < done.generator_share < 1 and "enc_p, dp.flows.1: fresh weights, as asked" in str(done)
    with pytest.raises(UserError, match="has no part 'encoder', 'dp.flows.77'; its parts are enc_p, dec, enc_q, flow"):
        warm_start(voice, source, SYMBOLS, fresh=["enc_p", "encoder", "dp.flows.77"])


@pytest.fixture(scope="module")
def run(small_corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train(TrainConfig(small_corpus, folder, preset="tiny", **QUICK))
    return folder


@pytest.fixture(scope="module")
def onnx(run, tmp_path_factory) -> Path:
    """The run's voice, exported."""
    return export(run / "checkpoints" / "last.ckpt", tmp_path_factory.mktemp("voice"), "en_US-tiny-x_low").path


@pytest.fixture(scope="module")
def duo(small_corpus, tmp_path_factory) -> Path:
    """A corpus of two speakers."""
    corpus = Corpus.load(small_corpus)
    for number, utterance in enumerate(corpus.utterances):
        utterance.speaker = "ada" if number % 2 else "bob"
    corpus = replace(corpus, folder=tmp_path_factory.mktemp("duo"), speakers={"ada": 0, "bob": 1})
    (corpus.folder / "audio").symlink_to(small_corpus / "audio")
    corpus.save()
    return corpus.folder


def test_a_runs_best_checkpoint_is_taken_and_that_is_said(tmp_path):
    folder = tmp_path / "run" / "checkpoints"
    with pytest.raises(UserError, match="there is no .*run"):
        find_start(tmp_path / "run")
    folder.mkdir(parents=True)
    with pytest.raises(UserError, match="holds no checkpoint"):
        find_start(tmp_path / "run")
    for name in ("last.ckpt", "best-step=10-val_mel=0.7012.ckpt", "best-step=9-val_mel=0.6987.ckpt", "step-3.ckpt"):
        (folder / name).touch()
    start = find_start(tmp_path / "run")
    assert start.file.name == "best-step=9-val_mel=0.6987.ckpt" and "its best by validation mel (0.6987)" in start.words
    for best in folder.glob("best*"):
        best.unlink()
    assert find_start(str(tmp_path / "run")).file.name == "last.ckpt"
    assert find_start("scratch") is None
    assert (find_start("joe").kind, find_start("de_DE-thorsten-medium").file) == ("voice", "de_DE-thorsten-medium")


def test_a_runs_best_is_the_best_by_its_own_measure(tmp_path):
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    for name in (
        "best-step=10-val_mel=0.1012.ckpt", "best-step=9-val_duration=-0.5.ckpt", "best-step=7-val_duration=1.25.ckpt",
        "best-step=8-val_duration=-1.5.ckpt", "best-step=6-val_duration=nan.ckpt",
    ):  # fmt: skip
        (folder / name).touch()
    assert "its best by validation mel (0.1012)" in find_start(tmp_path / "run").words, "nothing says which"
    config = tmp_path / "run" / "config.yaml"
    config.write_text("keep_by: val_duration\nkeep: 3\n")
    for named in (tmp_path / "run", folder):
        start = find_start(named)
        assert start.file.name == "best-step=8-val_duration=-1.5.ckpt"
        assert "its best by validation duration (-1.5)" in start.words
    config.write_text("keep_by: val_kl\n")
    (folder / "last.ckpt").touch()
    start = find_start(tmp_path / "run")
    assert start.file.name == "last.ckpt" and "it kept none by validation kl" in start.words
    config.unlink()
    next(folder.glob("*val_mel*")).unlink()
    assert find_start(tmp_path / "run").file.name == "best-step=8-val_duration=-1.5.ckpt", "all names say the same"
    config.write_text("keep_by: [")
    with pytest.raises(UserError, match="what says how the run keeps its best: .*config.yaml cannot be read"):
        find_start(tmp_path / "run")


@pytest.mark.parametrize("keep_by", ["val_mel", "val_kl", "val_mos"])
def test_the_names_of_the_best_are_read_as_the_trainer_writes_them(keep_by, small_corpus, tmp_path):
    config = TrainConfig(small_corpus, tmp_path, preset="tiny", **(QUICK | {"keep": 1, "keep_by": keep_by}))
    (keeping,) = keep_best(config, tmp_path)
    name = Path(keeping.format_checkpoint_name({"step": torch.tensor(9), keep_by: torch.tensor(-0.25)})).name
    assert NAME.match(name).groups() == (keep_by, "-0.2500")


def test_a_run_starts_from_a_run_and_resumes_without_it(run, duo, tmp_path, capsys):
    base = shutil.copytree(run, tmp_path / "base")
    config = TrainConfig(duo, tmp_path / "new", start_from=base, **QUICK)
    last = train(config)
    said = capsys.readouterr().out
    assert f"starting from the run {base}, its last checkpoint, for it kept none by validation mel" in said
    assert "2 speakers, who all start as the one voice" in said
    made = read_checkpoint(last)
    assert made.speakers == {"ada": 0, "bob": 1} and made.model.speakers == 2
    first = made.provenance["base"]
    for file in (base / "checkpoints").glob("*.ckpt"):
        file.write_bytes(b"lost")
    resumed = read_checkpoint(train(replace(config, max_steps=2)))
    assert resumed.step == 2 and resumed.provenance["base"] == first and resumed.model == made.model


def test_a_run_starts_from_an_onnx_voice_which_is_adopted_once(onnx, small_corpus, tmp_path, capsys):
    settings = QUICK | {"voice_cache": tmp_path / "cache", "posterior_steps": 0, "reinitialise": ["enc_q"]}
    train(TrainConfig(small_corpus, tmp_path / "a", start_from=onnx, **settings))
    said = capsys.readouterr().out
    assert f"starting from the voice {onnx}" in said and "enc_q: fresh weights, as asked" in said
    (adopted,) = (tmp_path / "cache").glob("*.ckpt")
    last = train(TrainConfig(small_corpus, tmp_path / "b", start_from=str(onnx), **settings))
    assert f"was adopted before: {adopted}" in capsys.readouterr().out
    assert read_checkpoint(last).provenance["base"]["voice"] == "en_US-tiny-x_low"


def test_how_far_a_voice_speaks_from_the_mean_goes_with_it(small_corpus, tmp_path):
    """From a checkpoint into an exported voice, from there into a run, unless that names its own."""
    write_checkpoint(replace(checkpoint(sized(noise_scale=0.25)), provenance={}), tmp_path / "tiny.ckpt")
    voice = export(tmp_path / "tiny.ckpt", tmp_path / "voice", "en_US-tiny-x_low").path
    assert json.loads(Path(f"{voice}.json").read_text())["inference"]["noise_scale"] == 0.25
    source, corpus = read_start(find_start(voice), cache=None), Corpus.load(small_corpus)
    for given, expected in ((None, 0.25), (0.0, 0.0)):
        config = TrainConfig(small_corpus, tmp_path, preset="tiny", noise_scale=given, **QUICK)
        assert voice_header(config, corpus, source).model.noise_scale == expected
    with pytest.raises(UserError, match="noise_scale is 1.5; it must be 0 to 1(.|\n)*free_running is a share"):
        TrainConfig(small_corpus, tmp_path, noise_scale=1.5, stages=[{"free_running": 2}], **QUICK)


def test_what_cannot_start_is_said_with_all_else(small_corpus, run, tmp_path):
    (tmp_path / "lone.onnx").touch()
    last = run / "checkpoints" / "last.ckpt"
    cases = [
        ({"start_from": "nowhere.ckpt"}, "there is no nowhere.ckpt. It is scratch, a voice"),
        ({"start_from": tmp_path / "lone.onnx"}, "lone.onnx has no lone.onnx.json beside it"),
        ({"start_from": tmp_path}, "holds no checkpoint"),
        ({"reinitialise": ["dec"]}, "reinitialise names dec, but from scratch all parts are fresh"),
        ({"start_from": last, "posterior_steps": 9}, "only a start from an .onnx voice lacks a posterior encoder"),
        ({"start_speaker": "ada"}, "a start from scratch has no speakers"),
        ({"start_from": last, "reinitialise": ["dec"], "freeze": ["dec.ups"]}, "names dec and freeze dec.ups"),
    ]
    for settings, told in cases:
        with pytest.raises(UserError, match="cannot run") as caught:
            TrainConfig(small_corpus, **(QUICK | settings))
        assert told in str(caught.value)


def test_inspect_tells_a_run_and_whether_it_fits(run, duo, small_corpus, tmp_path, capsys):
    report = tmp_path / "found.json"
    assert main(["inspect", str(run), "--corpus", str(duo), "--json", str(report)]) == 0
    said, found = capsys.readouterr().out, json.loads(report.read_text())
    assert found["kind"].startswith("run of tts_lab; its last checkpoint") and found["quality"] == "tiny"
    assert (found["step"], found["language"], found["symbols_assumed"]) == (1, "en-us", False)
    assert found["optimizer"] and found["discriminators"] and found["posterior"] == "present"
    assert found["model"]["sample_rate"] == 16000 and found["differs"] == []
    assert found["fit"]["can_start"] and 0.5 < found["fit"]["generator_share"] < 1
    assert "can start a run   yes" in said and "2 speakers, who all start as the one voice" in said
    whole = inspect(run, small_corpus).fit
    assert whole.can_start and whole.generator_share == 1 and not whole.new_symbols


def test_inspect_tells_a_voice(onnx, small_corpus):
    told = inspect(onnx, small_corpus)
    assert (told.kind, told.step, told.discriminators) == ("published voice (ONNX)", None, False)
    assert told.posterior.startswith("absent") and told.fit.can_start and told.fit.generator_share == 1
    assert "the posterior encoder is not in the file: the run recovers it first" in told.fit.report
    assert told.quality == "tiny" and told.differs == ["posterior_layers 16 (there 2)"]


def test_inspect_says_why_a_corpus_does_not_fit(small_corpus, tmp_path):
    write_checkpoint(checkpoint(sized(sample_rate=22050)), tmp_path / "a.ckpt")
    fit = inspect(tmp_path / "a.ckpt", small_corpus).fit
    assert not fit.can_start and "prepare it with --sample-rate 22050" in fit.problems[0]


def test_inspect_knows_pipers_qualities(tmp_path):
    assert inspect_sizes(PRESETS["medium"], tmp_path) == ("medium", [])
    assert inspect_sizes(replace(PRESETS["medium"], sample_rate=16000, symbols=130), tmp_path) == ("low", [])
    near = inspect_sizes(replace(PRESETS["medium"], text_layers=4), tmp_path)
    assert near == ("medium", ["text_layers 4 (there 6)"])


def inspect_sizes(config: ModelConfig, folder: Path) -> tuple[str, list[str]]:
    write_checkpoint(Checkpoint(config, {}, generator_state(config)), folder / "a.ckpt")
    told = inspect(folder / "a.ckpt")
    return told.quality, told.differs


@pytest.mark.parametrize(
    "name, told",
    [
        ("notes.txt", "neither a voice"),
        ("corpus", "a prepared corpus, not a run"),
        ("empty", "a folder without checkpoints"),
        ("voice.onnx.json", "inspect the voice, voice.onnx"),
        ("gone", "there is no"),
        ("other.zip", "cut short or no PyTorch file"),
    ],
)
def test_inspect_refuses_what_it_does_not_know(name, told, small_corpus, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("PS: buy milk")
    (tmp_path / "empty").mkdir()
    (tmp_path / "voice.onnx.json").write_text("{}")
    shutil.make_archive(str(tmp_path / "other"), "zip", tmp_path / "empty")
    assert main(["inspect", str(small_corpus if name == "corpus" else tmp_path / name)]) == 1
    said = capsys.readouterr().err
    assert told in said and "Traceback" not in said
