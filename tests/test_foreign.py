"""Checkpoints as Piper's two trainers write them, made with Piper's own model class, and read without running code."""

import argparse
import json
import pickle
import warnings
from collections import OrderedDict
from pathlib import PosixPath, PureWindowsPath

import numpy as np
import pytest
import torch
from conftest import Malicious
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP
from piper.train.vits.models import MultiPeriodDiscriminator, SynthesizerTrn
from torch.nn.utils import parametrizations, remove_weight_norm

from tts_lab.errors import UserError
from tts_lab.frontend import Frontend
from tts_lab.vits.config import ModelConfig
from tts_lab.vits.discriminators import Discriminators
from tts_lab.voices.checkpoints import read_checkpoint, write_checkpoint
from tts_lab.voices.export import load_generator
from tts_lab.voices.inspection import inspect
from tts_lab.voices.unpickling import load_safely

pytestmark = pytest.mark.filterwarnings("ignore")
SIZES = {
    "inter_channels": 16, "hidden_channels": 24, "filter_channels": 40, "n_heads": 2, "n_layers": 2, "kernel_size": 3,
    "resblock": "2", "resblock_kernel_sizes": (3, 5, 7), "resblock_dilation_sizes": ((1, 2), (2, 6), (3, 12)),
    "upsample_rates": (8, 8, 4), "upsample_initial_channel": 32, "upsample_kernel_sizes": (16, 16, 8),
}  # fmt: skip
HIGH = {
    "resblock": "1", "resblock_kernel_sizes": (3, 7, 11), "resblock_dilation_sizes": ((1, 3, 5),) * 3,
    "upsample_rates": (8, 8, 2, 2), "upsample_kernel_sizes": (16, 16, 4, 4),
}  # fmt: skip


def pipers_model(symbols: int = 256, speakers: int = 1, **sizes) -> SynthesizerTrn:
    torch.manual_seed(5)
    model = SynthesizerTrn(
        n_vocab=symbols, spec_channels=513, segment_size=32, p_dropout=0.1, n_speakers=speakers,
        gin_channels=8 if speakers > 1 else 0, **(SIZES | sizes),
    )  # fmt: skip
    for parameter in model.parameters():  # VITS starts many tensors at zero, and zeros would hide a mistake
        if not parameter.any():
            torch.nn.init.normal_(parameter, 0, 0.1)
    return model.eval()


def rhasspy(model: SynthesizerTrn, symbols: int, speakers: int = 1, **more) -> dict:
    """What pytorch-lightning 1.7 saves of `VitsModel(dataset=[Path], **vars(args))`."""
    settings = SIZES | {
        "num_symbols": symbols, "num_speakers": speakers, "sample_rate": 16000, "sample_bytes": 2, "channels": 1,
        "dataset": [PosixPath("/data/lessac/dataset.jsonl")], "dataset_dir": PosixPath("/data/lessac"),
        "default_root_dir": PosixPath("/data/lessac"), "quality": "medium", "betas": (0.8, 0.99), "accelerator": "gpu",
        "learning_rate": np.float64(2e-4), "seed": np.int64(1234), "p_dropout": 0.1, "logger": True,
    } | more  # fmt: skip
    return {
        "epoch": 2164, "global_step": 1355540, "pytorch-lightning_version": "1.7.7", "hparams_name": "kwargs",
        "state_dict": OrderedDict((f"model_g.{key}", value) for key, value in model.state_dict().items()),
        "hyper_parameters": settings, "loops": {}, "callbacks": {}, "lr_schedulers": [],
        "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": []}],
    }  # fmt: skip


def piper1(model: SynthesizerTrn, symbols: int, speakers: int = 1, **more) -> dict:
    """What lightning 2 saves of `VitsModel` under its command line."""
    settings = SIZES | {
        "num_symbols": symbols, "num_speakers": speakers, "sample_rate": 16000, "learning_rate_d": 1e-4,
        "use_mrd": False, "mos_metric": "utmos", "dataset": None, "_instantiator": "lightning.pytorch.cli.instantiate",
        "resblock_kernel_sizes": "(3, 5, 7)",
    } | more  # fmt: skip
    return rhasspy(model, symbols) | {"pytorch-lightning_version": "2.6.1", "hyper_parameters": settings}


def ids(count: int = 40) -> torch.Tensor:
    return torch.randint(3, 100, (1, count), generator=torch.Generator().manual_seed(1))


def spoken(model, speaker: int | None = None) -> torch.Tensor:
    text = ids()
    sid = None if speaker is None else torch.tensor([speaker])
    with torch.no_grad():
        return model.infer(text, torch.tensor([text.shape[1]]), sid, noise_scale=0.0, noise_scale_w=0.0)[0]


def same_speech(ours, theirs, speaker: int | None = None) -> None:
    """To rounding, which our weight norm does in another order."""
    wanted = spoken(theirs, speaker)
    assert wanted.numel() > 40 * 256 and wanted.abs().max() > 0.01
    torch.testing.assert_close(spoken(ours, speaker), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("written", [rhasspy, piper1])
@pytest.mark.parametrize("symbols, speakers, sizes", [(130, 1, {}), (256, 3, {}), (256, 1, HIGH)])
def test_they_speak_as_in_pipers_own_model(written, symbols, speakers, sizes, tmp_path):
    theirs = pipers_model(symbols, speakers, **sizes)
    torch.save(written(theirs, symbols, speakers, **sizes), tmp_path / "theirs.ckpt")
    found = read_checkpoint(tmp_path / "theirs.ckpt")
    assert (found.model.symbols, found.model.speakers, found.model.sample_rate) == (symbols, speakers, 16000)
    assert (found.step, found.provenance["epoch"]) == (1355540, 2164)
    assert found.provenance["trainer"] == {rhasspy: "rhasspy/piper", piper1: "piper1-gpl"}[written]
    write_checkpoint(found, tmp_path / "ours.ckpt")
    ours = load_generator(read_checkpoint(tmp_path / "ours.ckpt"), tmp_path)
    speaker = 1 if speakers > 1 else None
    same_speech(ours, theirs, speaker)


def test_sizes_are_those_of_the_tensors_whatever_is_said(tmp_path):
    lies = {
        "hidden_channels": 192, "n_layers": 6, "resblock": 1, "upsample_initial_channel": 512, "n_heads": 8,
        "upsample_rates": (4, 4), "resblock_dilation_sizes": ((1,), (1,)), "upsample_kernel_sizes": [1],
    }  # fmt: skip
    torch.save(rhasspy(pipers_model(130), 256, **lies), tmp_path / "a.ckpt")
    found = read_checkpoint(tmp_path / "a.ckpt")
    wanted = ModelConfig(
        symbols=130, sample_rate=16000, inter_channels=16, hidden_channels=24, filter_channels=40, text_layers=2,
        upsample_initial_channel=32,
    )  # fmt: skip
    assert found.model == wanted
    same_speech(load_generator(found, tmp_path), pipers_model(130))


def test_weight_norm_under_its_new_names_or_taken_off(tmp_path):
    plain, new = pipers_model(), pipers_model()
    expected = spoken(plain)
    for module in list(new.modules()):
        if hasattr(module, "weight_g"):
            remove_weight_norm(module)
            parametrizations.weight_norm(module)
    for module in plain.modules():
        if hasattr(module, "weight_g"):
            remove_weight_norm(module)
    for model, name in ((plain, "dec.ups.0.weight"), (new, "dec.ups.0.parametrizations.weight.original0")):
        assert name in model.state_dict() and "dec.ups.0.weight_g" not in model.state_dict()
        torch.save(piper1(model, 256), tmp_path / "a.ckpt")
        found = load_generator(read_checkpoint(tmp_path / "a.ckpt"), tmp_path)
        torch.testing.assert_close(spoken(found), expected, atol=1e-5, rtol=0)


def test_discriminators_come_along(tmp_path):
    torch.manual_seed(0)
    stock, content = MultiPeriodDiscriminator(), rhasspy(pipers_model(), 256)
    content["state_dict"].update({f"model_d.{key}": value for key, value in stock.state_dict().items()})
    torch.save(content, tmp_path / "a.ckpt")
    found = read_checkpoint(tmp_path / "a.ckpt")
    ours = Discriminators(found.model.discriminator_divisor)
    ours.load_state_dict(found.part("model_d."))
    audio = torch.randn(1, 1, 4096)
    with torch.no_grad():
        for a, b in zip(ours(audio, audio)[0], stock(audio, audio)[0], strict=True):
            torch.testing.assert_close(a.flatten().sort().values, b.flatten().sort().values, atol=1e-5, rtol=1e-4)
    told = inspect(tmp_path / "a.ckpt")
    assert told.discriminators and told.optimizer and told.posterior == "present"


def test_the_config_beside_says_how_text_becomes_ids(tmp_path):
    path, letters = tmp_path / "epoch=1-step=2.ckpt", {"_": 0, "^": 1, "$": 2, "п": 3, "р": 4, "я": 200}
    torch.save(rhasspy(pipers_model(130, 2), 130, 2), path)
    assert read_checkpoint(path).frontend == {}
    assert inspect(path).symbols_assumed and inspect(path).symbols[-1] == "ⱱ", "the last of Piper's first 130"
    (tmp_path / "config.json").write_text('{"optimizer": "another program\'s"}')
    assert read_checkpoint(path).frontend == {}
    config = {
        "audio": {"sample_rate": 16000}, "espeak": {"voice": "ru"}, "phoneme_type": "PhonemeType.TEXT",
        "num_symbols": 256, "speaker_id_map": {"ana": 0, "boris": 1},
        "phoneme_id_map": {symbol: [i] for symbol, i in letters.items()},
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "MODEL_CARD").write_text("# Model card\n* License: CC BY 4.0\n")
    found = read_checkpoint(path)
    assert found.frontend["espeak_voice"] == "ru" and found.speakers == {"ana": 0, "boris": 1}
    assert found.frontend["num_symbols"] == 130
    assert "я" not in found.frontend["phoneme_id_map"], "an id beyond the embedding's rows is no symbol of it"
    assert found.provenance["licence"] == "CC BY 4.0"
    assert Frontend.from_dict(found.frontend).encode("пр").ids == [1, 0, 3, 0, 4, 0, 2]
    told = inspect(path)
    assert (told.language, told.symbols, told.symbols_assumed) == ("ru", list("_^$пр"), False)


def test_the_default_map_of_130_is_the_start_of_todays():
    first = [symbol for symbol, (i,) in DEFAULT_PHONEME_ID_MAP.items() if i < 130]
    assert len(first) == 130 and list(DEFAULT_PHONEME_ID_MAP)[:130] == first


class Builtin(Malicious):
    def __reduce__(self):
        return eval, (f"__import__('os').system('touch {self.witness}')",)


@pytest.mark.parametrize("payload, name", [(Malicious, "posix.system"), (Builtin, r"(builtins\.)?eval")])
@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_code_in_the_hyperparameters_is_refused_and_does_not_run(payload, name, form, tmp_path):
    content = rhasspy(pipers_model(), 256, dataset=[PosixPath("a"), payload(tmp_path / "ran")])
    path = tmp_path / "bad.ckpt"
    if form == "pickle":
        path.write_bytes(pickle.dumps({"state_dict": {}, "hyper_parameters": content["hyper_parameters"]}, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    for read in (read_checkpoint, inspect):
        with pytest.raises(UserError, match=rf"bad.ckpt is refused: reading it would unpickle {name}, which can run"):
            read(path)
    assert not (tmp_path / "ran").exists()
    if form == "zip":  # that the trap would have worked
        torch.load(path, weights_only=False)
        assert (tmp_path / "ran").exists()


def test_a_stand_in_cannot_be_made_to_run_code(tmp_path):
    """A numpy object scalar would be unpickled by numpy itself; ours takes plain numbers only."""

    class Scalar:
        def __reduce__(self):
            scalar = np.float32(1).__reduce__()[0]
            return scalar, (np.dtype("O"), pickle.dumps(Malicious(tmp_path / "ran")))

    torch.save({"state_dict": {}, "extra": Scalar()}, tmp_path / "bad.ckpt")
    with pytest.raises(UserError, match="a numpy value of type 'O8'"):
        read_checkpoint(tmp_path / "bad.ckpt")
    assert not (tmp_path / "ran").exists()


def test_plain_data_of_other_classes_is_read_as_plain_data(tmp_path):
    args = argparse.Namespace(dataset_dir=PosixPath("a/b"), rate=np.float32(2.5), nested=argparse.Namespace(n=1))
    content = {
        "args": args,
        "list": [np.int64(-3), np.bool_(True), PureWindowsPath("c:\\x\\y")],
        "big": np.array(7)[()],
    }
    torch.save(content, tmp_path / "a.ckpt")
    assert load_safely(tmp_path / "a.ckpt") == {
        "args": {"dataset_dir": "a/b", "rate": 2.5, "nested": {"n": 1}},
        "list": [-3, True, "c:\\x\\y"],
        "big": 7,
    }


def test_a_whole_pickled_model_and_a_program_are_refused_by_name(tmp_path):
    torch.save(pipers_model(), tmp_path / "generator.pt")  # what piper's export_generator writes
    with pytest.raises(UserError, match="unpickle piper.train.vits"):
        inspect(tmp_path / "generator.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Linear(1, 1)).save(tmp_path / "voice.ts")
    with pytest.raises(UserError, match="TorchScript archive, a program"):
        inspect(tmp_path / "voice.ts")


@pytest.mark.parametrize(
    "spoil, told",
    [
        (lambda c: c["state_dict"].pop("model_g.enc_p.proj.weight"), "lacks the tensor model_g.'enc_p.proj.weight'"),
        (lambda c: c["hyper_parameters"].pop("sample_rate"), "tell its sample rate"),
        (lambda c: c["state_dict"].pop("model_g.dp.flows.0.m"), "not the stochastic one"),
        (lambda c: c["state_dict"].clear(), "no generator"),
    ],
)
def test_what_is_missing_is_told(spoil, told, tmp_path):
    content = rhasspy(pipers_model(), 256)
    spoil(content)
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=told):
        read_checkpoint(tmp_path / "a.ckpt")
