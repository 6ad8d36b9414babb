"""A published voice is read back whole: the yardsticks are ONNX Runtime and Piper's own model class."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import generator_state
from onnx import TensorProto, helper
from piper.train.vits.mel_processing import mel_spectrogram_torch
from piper.train.vits.models import SynthesizerTrn

from tts_lab.errors import UserError
from tts_lab.frontend import Frontend
from tts_lab.vits.config import PRESETS, ModelConfig
from tts_lab.vits.synthesizer import Synthesizer
from tts_lab.voices import adopt as adopting
from tts_lab.voices import distill
from tts_lab.voices.adopt import adopt, model_config, read_voice
from tts_lab.voices.checkpoints import Checkpoint, read_checkpoint
from tts_lab.voices.distill import DistillSettings
from tts_lab.voices.export import load_generator, voice_config, write_onnx
from tts_lab.voices.graph import VoiceGraph

SENTENCE = "We watched the storm roll over the hills from the porch."


def feeds(ids: list[int]) -> dict[str, np.ndarray]:
    scales = np.array([0, 1, 0], np.float32)
    return {"input": np.array([ids]), "input_lengths": np.array([len(ids)]), "scales": scales}


def test_pipers_own_model_speaks_as_onnx_runtime_does(joe: Path, adopted_joe: Path) -> None:
    checkpoint = read_checkpoint(adopted_joe)
    graph = VoiceGraph(joe)
    stock = SynthesizerTrn(spec_channels=513, segment_size=32, p_dropout=0.1, **graph.sizes()).eval()
    stock.load_state_dict(checkpoint.part("model_g."))
    ids = Frontend.from_voice(f"{joe}.json").encode(SENTENCE).ids
    audio, latent = graph.session(expose_latent=True).run(None, feeds(ids))
    with torch.no_grad():
        ours, _, mask, (z, *_) = stock.infer(
            torch.tensor([ids]), torch.tensor([len(ids)]), noise_scale=0.0, noise_scale_w=0.0
        )
    assert audio.size == ours.numel() > 22050
    assert np.abs(ours.numpy().ravel() - audio.ravel()).max() < 1e-4
    assert np.abs((z * mask).numpy() - latent).max() < 1e-3  # z reaches ±10, samples ±1


def test_sizes_come_from_the_graph(joe: Path, adopted_joe: Path) -> None:
    checkpoint = read_checkpoint(adopted_joe)
    assert checkpoint.model == PRESETS["medium"]
    assert checkpoint.frontend == Frontend.from_voice(f"{joe}.json").to_dict()
    assert checkpoint.provenance["voice"] == "en_US-joe-medium" and checkpoint.provenance["licence"] == "CC0"


def small(**sizes) -> ModelConfig:
    return ModelConfig.from_dict(PRESETS["tiny"].to_dict() | sizes)


@pytest.mark.parametrize(
    "config",
    [
        small(),
        small(sample_rate=22050, speakers=3, speaker_channels=16, text_layers=2, heads=4, symbols=200),
        small(
            resblock="1", resblock_kernel_sizes=(3, 7), resblock_dilation_sizes=((1, 3, 5), (1, 3, 5)),
            upsample_rates=(8, 8, 2, 2), upsample_kernel_sizes=(16, 16, 4, 4),
        ),
    ],
    ids=["tiny", "speakers", "high"],
)  # fmt: skip
def test_voices_of_other_sizes_come_back_to_the_bit(config: ModelConfig, tmp_path: Path) -> None:
    voice, state = save_untrained(config, tmp_path)
    graph = VoiceGraph(voice)
    read, _, _ = model_config(graph)
    assert read.to_dict() == config.to_dict() | {"posterior_layers": 16, "discriminator_divisor": 1}
    checkpoint = read_voice(voice, DistillSettings(steps=0))
    read_back = checkpoint.part("model_g.")
    for name, value in Synthesizer(read).state_dict().items():
        if not name.startswith(("enc_q.", "dp.post_", "dp.flows.1.")):
            assert read_back[name].shape == value.shape
            if name.endswith(("weight_g", "weight_v")):  # g and v are not unique, the kernel they make is
                stem = name.removesuffix("_g").removesuffix("_v")
                torch.testing.assert_close(kernel(read_back, stem), kernel(state, stem), rtol=1e-5, atol=1e-7)
            else:
                torch.testing.assert_close(read_back[name], state[name], rtol=1e-6, atol=1e-7)


def kernel(state: dict[str, torch.Tensor], stem: str) -> torch.Tensor:
    g, v = state[f"{stem}_g"], state[f"{stem}_v"]
    return g * v / v.flatten(1).norm(dim=1).view_as(g)


def save_untrained(config: ModelConfig, folder: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """An ONNX voice with random weights, equal initial tensors and all, as torch's exporter shares them."""
    torch.manual_seed(3)
    frontend = Frontend(num_symbols=config.symbols)
    state = {key: value.clone() for key, value in Synthesizer(config).state_dict().items()}
    checkpoint = Checkpoint(config, frontend.to_dict(), {f"model_g.{key}": value for key, value in state.items()})
    voice = folder / "en_US-untrained-low.onnx"
    write_onnx(load_generator(checkpoint, voice), voice)
    Path(f"{voice}.json").write_text(json.dumps(voice_config(checkpoint, "en_US-untrained-low", voice)))
    return voice, state


def test_an_old_exporter_without_module_names_is_read_too(joe: Path) -> None:
    graph = VoiceGraph(joe)
    expected = {key: tuple(value.shape) for key, value in Synthesizer(PRESETS["medium"]).state_dict().items()}
    named = graph.state_dict(expected)
    for number, node in enumerate(graph._nodes):
        node.name = f"{node.op_type}_{number}"
    graph.weights = graph._named_weights()
    nameless = graph.state_dict(expected)
    assert named.keys() == nameless.keys() and all(np.array_equal(named[key], nameless[key]) for key in named)


def test_the_cache_is_found_by_fingerprint(joe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def read(voice: Path, settings: DistillSettings) -> Checkpoint:
        made.append(settings)
        return Checkpoint(PRESETS["tiny"], {}, generator_state(PRESETS["tiny"]))

    monkeypatch.setattr(adopting, "read_voice", read)
    first = adopt(joe, tmp_path, steps=0)
    assert adopt(joe, tmp_path, steps=0) == first and len(made) == 1
    assert adopt(joe, tmp_path, steps=5) != first and len(made) == 2
    first.write_bytes(first.read_bytes()[:100])  # a copy cut short is made anew
    assert adopt(joe, tmp_path, steps=0) == first and len(made) == 3
    other = tmp_path / joe.name
    shutil.copy(joe, other)
    Path(f"{other}.json").write_text(Path(f"{joe}.json").read_text().replace("en-us", "en-gb"))
    assert adopt(other, tmp_path, steps=0) != first and len(made) == 4


def test_the_posterior_encoder_is_recovered_and_nothing_else_touched(joe: Path, adopted_joe: Path) -> None:
    settings = DistillSettings(steps=25, minutes=0.4, batch_size=4)
    recovered = read_voice(joe, settings)
    posterior = recovered.provenance["posterior"]
    assert posterior["mel_before"] > 1.5 and posterior["mel_after"] < 0.7 * posterior["mel_before"]
    assert 24 <= posterior["speech_seconds"] < 35
    bare = read_checkpoint(adopted_joe)
    for key, value in recovered.state_dict.items():
        assert torch.equal(value, bare.state_dict[key]) != key.startswith("model_g.enc_q."), key


def test_the_mel_distance_is_pipers(joe: Path, adopted_joe: Path) -> None:
    graph, checkpoint = VoiceGraph(joe), read_checkpoint(adopted_joe)
    model = load_generator(checkpoint, adopted_joe)
    frontend = Frontend.from_dict(checkpoint.frontend)
    settings = DistillSettings(minutes=0.05)
    spoken, again = (distill._read_aloud(model, graph, frontend, settings) for _ in range(2))
    assert all(torch.equal(a.audio, b.audio) for a, b in zip(spoken, again, strict=True)), "the seed decides the noise"
    one = spoken[0]
    with torch.no_grad():
        # The latent that made the audio, in the place of a posterior: its decoding is the audio itself.
        heard = model.dec(one.latent[None])
        assert (heard.view(-1) - one.audio).abs().max() < 1e-4
        mean = model.enc_q(one.spectrogram[None], torch.tensor([one.latent.shape[1]]))[1]
        both = model.dec(mean)[:, 0], heard[:, 0]
        mels = [mel_spectrogram_torch(audio, 1024, 80, 22050, 256, 1024, 0, None) for audio in both]
    assert distill.mel_distance(model, [one]) == pytest.approx(float((mels[0] - mels[1]).abs().mean()), rel=1e-3)


def test_a_voice_that_reads_no_english_still_gets_its_symbols() -> None:
    letters = {"_": [0], "^": [1], "$": [2], "α": [3], "β": [4]}
    greek = Frontend(phoneme_type="text", phoneme_id_map=letters, num_symbols=5)
    ids = next(distill._phoneme_ids(greek, seed=1))
    assert ids[0] == 1 and ids[-1] == 2 and {3, 4} <= set(ids) and len(ids) > 50


def not_onnx(folder: Path, joe: Path) -> Path:
    path = folder / "words.onnx"
    path.write_text("this is a shopping list")
    return path


def truncated(folder: Path, joe: Path) -> Path:
    path = folder / "half.onnx"
    path.write_bytes(joe.read_bytes()[:1_000_000])
    return path


def another_model(folder: Path, joe: Path) -> Path:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [value])
    path = folder / "relu.onnx"
    onnx.save(helper.make_model(graph), path)
    return path


def without_a_layer(folder: Path, joe: Path) -> Path:
    model = onnx.load(joe)
    for tensor in model.graph.initializer:
        if tensor.name == "flow.flows.2.pre.weight":
            tensor.name = "renamed"
    for node in model.graph.node:
        node.name = ""
        node.input[:] = [name.replace("flow.flows.2.pre.", "other.") for name in node.input]
    path = folder / "gap.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (not_onnx, "not a readable ONNX file"),
        (truncated, "not a readable ONNX file"),
        (another_model, "not a Piper voice: it lacks the input 'input'.*the text encoder.*the decoder"),
        (without_a_layer, r"flow\.flows\.2\.pre\.weight"),
    ],
)
def test_what_cannot_be_adopted_is_told(make, told: str, joe: Path, tmp_path: Path) -> None:
    voice = make(tmp_path, joe)
    shutil.copy(f"{joe}.json", f"{voice}.json")
    with pytest.raises(UserError, match=told):
        adopt(voice, tmp_path / "cache", steps=0)
    assert not (tmp_path / "cache").exists()


def test_a_voice_without_its_config_is_refused(joe: Path, tmp_path: Path) -> None:
    shutil.copy(joe, tmp_path / joe.name)
    with pytest.raises(UserError, match=r"cannot be read.*onnx\.json"):
        adopt(tmp_path / joe.name, tmp_path / "cache", steps=0)


def test_a_voice_that_torch_would_speak_differently_is_refused(joe: Path, tmp_path: Path) -> None:
    model = onnx.load(joe)
    for node in model.graph.node:  # a decoder with another activation than Piper trains
        if node.op_type == "LeakyRelu":
            node.attribute[0].f = 0.3
    voice = tmp_path / joe.name
    onnx.save(model, voice)
    shutil.copy(f"{joe}.json", f"{voice}.json")
    with pytest.raises(UserError, match="speaks differently from ONNX Runtime"):
        adopt(voice, tmp_path / "cache", steps=0)
