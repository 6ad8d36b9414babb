"""Files made to do harm, one named test each, and readers given whatever hypothesis thinks of."""

import io
import json
import math
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import Malicious
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from onnx import TensorProto, helper

from tts_lab.cli import main
from tts_lab.corpus.audio import Unusable, decode
from tts_lab.corpus.corpus import Corpus, Utterance
from tts_lab.corpus.manifest import read_manifest
from tts_lab.corpus.plain import YAML_BYTES, parse_json, parse_yaml, read_yaml, typed
from tts_lab.corpus.settings import AudioSettings
from tts_lab.diagnosis import diagnose
from tts_lab.errors import UserError
from tts_lab.evaluation.evaluation import Evaluation
from tts_lab.training.columns import read_metrics
from tts_lab.training.config import TrainConfig
from tts_lab.training.record import stretches_of
from tts_lab.voice_json import read_voice_json
from tts_lab.voices.checkpoints import read_checkpoint
from tts_lab.voices.onnxfile import Session, read_graph
from tts_lab.voices.sizes import misfits
from tts_lab.voices.unpickling import load_safely

FEW = settings(
    max_examples=40, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
WORD = some.text(max_size=5)
RECORDS = ("metrics.csv", "evaluation.json", "environment.json", "corpus.json")
LITTLE = 40 << 20
"""Bytes that reading a file of some KB may take, and no more."""


@pytest.fixture
def little():
    """No more than a little memory is asked for, by Python or by numpy."""
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < LITTLE


# --- manifests


def test_no_line_of_a_manifest_leads_out_of_the_audio_folder(tmp_path):
    wavs = tmp_path / "corpus" / "wavs"
    wavs.mkdir(parents=True)
    for path in (tmp_path / "secret.wav", wavs / "in.wav", wavs / "also.wav"):
        path.write_bytes(b"RIFF")
    (wavs / "link.wav").symlink_to(tmp_path / "secret.wav")
    (wavs / "folder").symlink_to(tmp_path)
    (wavs / "inner.wav").symlink_to(wavs / "also.wav")
    outside = ["../../secret", "x/../../../secret.wav", str(tmp_path / "secret"), "..\\..\\secret", "C:\\secret.wav",
               "\\\\host\\share\\secret.wav", "link", "folder/secret", "%2e%2e%2f%2e%2e%2fsecret",
               "..%2f..%2fsecret", "．．/．．/secret", "file:///etc/passwd"]  # fmt: skip
    (wavs.parent / "metadata.csv").write_text("".join(f"{name}|Some words.\n" for name in ["in", "inner", *outside]))
    manifest = read_manifest(wavs.parent)
    assert [row.id for row in manifest.rows] == ["in", "inner"]
    kinds = [problem.kind for problem in manifest.problems]
    assert kinds == ["path outside"] * 8 + ["missing audio"] * 4  # what is encoded stays so, and there is no such file
    assert "to " + str(tmp_path / "secret.wav") in manifest.problems[6].reason


@pytest.mark.parametrize(
    "content",
    [
        b"a|b\0c\n" * 3, b"a|" + b"x" * 20_000_000 + b"\n", b"a" + b"|" * 1_000_000 + b"\n",
        b"segment_index,text" + b",x" * 1_000_000 + b"\n1,a\n", b"a|\xe9t\xe9 \xff\n", b"\xff\xfea|b\n",
        b'file_name,text\n"a' + b"\n" * 50_000, b"( a " + b'"' * 100_000, b"\xef\xbb\xbf" * 1000, b"a|b\r" * 1000,
        "a|Wörter\n".encode("utf-16") + b"b|words\n", b"a|" + "\U000e0001".encode() * 1000,
    ],
    ids=["zero bytes", "long field", "many pipes", "many columns", "mixed encodings", "half utf-16", "open quote",
         "quotes", "byte-order marks", "carriage returns", "two encodings", "invisible"],
)  # fmt: skip
def test_a_strange_manifest_is_read_or_refused(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    (tmp_path / "metadata.csv").write_bytes(content)
    try:
        manifest = read_manifest(tmp_path)
    except UserError as error:
        assert len(str(error)) < 2000
    else:
        assert all(len(problem.reason) < 500 and len(problem.id) < 100 for problem in manifest.problems)


def test_json_nested_without_end_is_one_bad_line(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    deep = "[" * 90_000
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.wav", "text": "Words."}\n{"text": ' + deep + "\n")
    manifest = read_manifest(tmp_path)
    assert len(manifest.rows) == 1 and "nested too deep" in manifest.problems[0].reason


@FEW
@given(some.lists(some.text(max_size=60), max_size=6), some.sampled_from(["csv", "jsonl"]))
def test_any_text_is_a_manifest_or_refused(tmp_path, lines, suffix):
    path = tmp_path / f"metadata.{suffix}"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    (tmp_path / "a.wav").touch()
    try:
        assert all(row.audio == tmp_path / "a.wav" for row in read_manifest(path).rows)
    except UserError:
        pass


# --- recordings


def wav(frames: bytes, channels: int = 1, rate: int = 16000, declared: int | None = None) -> bytes:
    size = len(frames) if declared is None else declared
    head = struct.pack("<HHIIHH", 1, channels % 65536, rate, rate * channels * 2 % 2**32, channels * 2 % 65536, 16)
    return b"RIFF" + struct.pack("<I", (36 + size) % 2**32) + b"WAVEfmt " + struct.pack("<I", 16) + head + (
        b"data" + struct.pack("<I", size) + frames
    )  # fmt: skip


def flac(declared: int, rate: int, channels: int) -> bytes:
    """A header that declares so many samples, and not one of them."""
    bits = (rate << 44) | ((channels - 1) << 41) | (15 << 36) | declared
    block = struct.pack(">HH", 4096, 4096) + bytes(6) + bits.to_bytes(8, "big") + bytes(16)
    return b"fLaC" + bytes([0x80, 0, 0, 34]) + block


@pytest.mark.parametrize(
    "data",
    [
        wav(b"\0" * 100, declared=2**30), wav(b"\0" * 100, declared=0x7FFFEFFF), wav(b"\1" * 4000, channels=1000),
        wav(b"\1" * 4000, rate=2**31 - 1), wav(b"\1" * 4000, rate=1), flac(2**36 - 1, 48000, 2),
        flac(190 * 655_350, 655_350, 8), flac(190 * 192_000, 192_000, 8),
    ],
    ids=["1 GB", "2 GB", "a thousand channels", "2 GHz", "1 Hz", "16 days", "655 kHz of flac", "3 minutes of nothing"],
)  # fmt: skip
def test_a_header_that_declares_hours_costs_nothing(data):
    with pytest.raises(Unusable) as refused:
        decode(data, AudioSettings())
    assert any(word in str(refused.value) for word in ("cut off", "damaged", "too low", "long", "no samples"))


@FEW
@given(some.binary(max_size=200), some.integers(0, 70), some.sampled_from([wav(b"\1\2" * 3000), flac(3000, 16000, 1)]))
def test_any_bytes_are_a_recording_or_unusable(noise, at, sound):
    try:
        audio, rate, _ = decode(sound[:at] + noise + sound[at + len(noise) :], AudioSettings())
    except Unusable:
        return
    assert audio.dtype == np.float32 and audio.ndim == 1 and np.isfinite(audio).all() and rate >= 8000


# --- checkpoints


class Nested:
    """Run by an object inside of another one's state."""

    def __init__(self, witness: Path) -> None:
        self.inner = [{"a": (Malicious(witness),)}]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("archive", [False, True], ids=["bare", "in a zip"])
def test_a_malicious_pickle_of_every_protocol_is_refused_by_name(tmp_path, protocol, archive):
    harm = pickle.dumps({"state_dict": {"x": Malicious(tmp_path / "ran")}}, protocol)
    refused(tmp_path, harm, archive, "posix.system")


@pytest.mark.parametrize(
    ("harm", "name"),
    [
        (b"\x80\x02cos\nsystem\nX\x02\0\0\0ls\x85R.", "os.system"),
        (b"(S'ls'\nios\nsystem\n.", "os.system"),
        (b"(cos\nsystem\nS'ls'\no.", "os.system"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02ls\x85R.", "os.system"),
        (b"\x80\x04\x8c\x06system\x94\x8c\x02os\x94h\x01h\x00\x93\x8c\x02ls\x85R.", "os.system"),
        (b"\x80\x02X\x06\0\0\0systemq\x05X\x02\0\0\0osq\x06h\x06h\x05\x93X\x02\0\0\0ls\x85R.", "os.system"),
        (b"\x80\x02c__builtin__\neval\nX\x01\0\0\x001\x85R.", "builtins.eval"),
        (b"\x80\x02\x82\x07.", "extension 7"),
        (b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\0\0\0\0\x10\x85R.", "builtins.bytearray"),
        (b"\x80\x02ctorch\nTensor\n\x8a\x05\0\0\0\0\x10\x85R.", "torch.Tensor"),
        (b"\x80\x02ctorch.serialization\nload\nX\x01\0\0\0x\x85R.", "torch.serialization.load"),
        (b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n.", "numpy.core.multiarray._reconstruct"),
    ],
    ids=["reduce", "inst", "obj", "stack global", "memo", "binput", "py2 name", "extension", "bytearray", "tensor",
         "torch.load", "numpy"],
)  # fmt: skip
@pytest.mark.parametrize("archive", [False, True], ids=["bare", "in a zip"])
def test_every_way_to_name_a_function_is_seen(tmp_path, harm, name, archive):
    refused(tmp_path, harm, archive, name)


def test_what_is_hidden_deeper_is_seen_too(tmp_path):
    refused(tmp_path, pickle.dumps({"state_dict": Nested(tmp_path / "ran")}), True, "posix.system")
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Malicious(tmp_path / "ran"), 2))
    with zipfile.ZipFile(tmp_path / "two.ckpt", "w") as archive:  # the second pickle is the bad one
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
        archive.writestr("archive/data/inner.zip", inner.getvalue())
        archive.writestr("archive/code/data.pkl", pickle.dumps(Malicious(tmp_path / "ran"), 2))
    with pytest.raises(UserError, match=r"two.ckpt is refused: .*posix\.system"):
        load_safely(tmp_path / "two.ckpt")
    assert not (tmp_path / "ran").exists()


def refused(folder: Path, harm: bytes, archive: bool, name: str) -> None:
    path = folder / "bad.ckpt"
    if archive:
        torch.save({"state_dict": {"x": torch.zeros(2)}}, path)
        rewrite(path, {"data.pkl": harm})
    else:
        path.write_bytes(harm)
    with pytest.raises(UserError, match=rf"bad.ckpt is refused: reading it would unpickle .*{name}"):
        read_checkpoint(path)
    assert not (folder / "ran").exists()


def rewrite(path: Path, changed: dict[str, bytes], packed: int = zipfile.ZIP_STORED) -> None:
    """The archive with other content in some of its files."""
    with zipfile.ZipFile(path) as archive:
        files = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", packed) as archive:
        for name, content in files.items():
            archive.writestr(name, changed.get(name.partition("/")[2], content))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, little):
    path = tmp_path / "bomb.ckpt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("archive/data/0", "w") as file:
        for _ in range(300):
            file.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(UserError, match=r"bomb.ckpt is refused: its \d+ bytes would unpack to 314572800"):
        read_checkpoint(path)


def test_an_archive_that_lies_about_its_sizes_is_refused(tmp_path, little):
    path = tmp_path / "lies.ckpt"
    torch.save({"state_dict": {"x": torch.zeros(2)}}, path)
    content = path.read_bytes()
    at = content.rindex(b"PK\x01\x02")  # the last record's size, in the directory
    path.write_bytes(content[: at + 24] + struct.pack("<I", 2**31) + content[at + 28 :])
    with pytest.raises(UserError, match="would unpack to|cannot be read"):
        read_checkpoint(path)


@pytest.mark.parametrize("numbers", [2**20, 2**40], ids=["a little", "a lot"])
def test_a_tensor_is_no_longer_than_what_was_saved(tmp_path, numbers, little):
    """PyTorch alone hands out what lies behind it in memory."""
    path, (tensor, rest) = tmp_path / "long.ckpt", pickled_tensor(numbers)
    torch.save({"state_dict": {"x": torch.zeros(16)}}, path)
    rewrite(path, {"data.pkl": tensor + rest})
    with pytest.raises(UserError, match="cannot be read"):
        read_checkpoint(path)


def test_a_tensor_that_shows_one_number_a_million_times_is_refused(tmp_path, little):
    torch.save({"state_dict": {"x": torch.zeros(1).expand(10_000_000_000)}}, tmp_path / "wide.ckpt")
    with pytest.raises(UserError, match="refused: its tensors come to over 4 times its length"):
        read_checkpoint(tmp_path / "wide.ckpt")


def test_lists_that_hold_each_other_are_counted(tmp_path):
    value = ["lol"]
    for _ in range(30):
        value = [value] * 10
    torch.save({"state_dict": {}, "hyper_parameters": value}, tmp_path / "laughs.ckpt")
    with pytest.raises(UserError, match="refused: it holds over 500000 values"):
        read_checkpoint(tmp_path / "laughs.ckpt")


def pickled_tensor(numbers: int) -> tuple[bytes, bytes]:
    """A state dict of one tensor whose storage is said to hold so many numbers, in two parts."""
    long = pickle.dumps(numbers, 2)[2:-1]
    return (
        b"\x80\x02}X\n\0\0\0state_dict}X\x01\0\0\0xctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storage"
        b"ctorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu" + long + b"tQK\0" + long + b"\x85K\x01\x85\x89"
        b"ccollections\nOrderedDict\n)RtR", b"ss."
    )  # fmt: skip


@FEW
@given(some.integers(0, 400), some.binary(min_size=1, max_size=8))
def test_any_change_to_a_pickle_is_read_or_refused(tmp_path, at, change):
    path = tmp_path / "x.ckpt"
    torch.save({"state_dict": {"model_g.a": torch.zeros(3, 2)}, "hyper_parameters": {"b": [1, "c"]}}, path)
    with zipfile.ZipFile(path) as archive:
        sound = archive.read("x/data.pkl")
    rewrite(path, {"data.pkl": sound[:at] + change + sound[at + len(change) :]})
    with pytest.raises(UserError):  # read, it still lacks the generator
        read_checkpoint(path)


# --- voices


def voice(path: Path, *nodes, tensors=(), **attributes) -> Path:
    value = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("output", TensorProto.FLOAT, None)
    graph = helper.make_graph(list(nodes), "g", [value], [out], list(tensors))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("where", ["/etc/passwd", "../../secret", "secret", "https://example.org/weights", "a\0b", ""])
def test_weights_in_another_file_are_refused(tmp_path, where):
    tensor = TensorProto(name="w", dims=[4], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=where)
    held = helper.make_node("Constant", [], ["c"], value=tensor)
    for path in (
        voice(tmp_path / "a.onnx", helper.make_node("Add", ["input", "w"], ["output"]), tensors=[tensor]),
        voice(tmp_path / "b.onnx", held, helper.make_node("Add", ["input", "c"], ["output"])),
    ):
        with pytest.raises(UserError, match="is refused: its weight .* lies in another file"):
            read_graph(path)


def test_weights_of_any_size_that_are_not_there_are_refused(tmp_path, capsys, little):
    tensor = TensorProto(name="enc_p.w", dims=[2**31, 2**31], data_type=TensorProto.FLOAT, raw_data=b"\0" * 16)
    path = voice(tmp_path / "a.onnx", helper.make_node("Relu", ["input"], ["output"]), tensors=[tensor])
    Path(f"{path}.json").write_text("{}")
    assert main(["inspect", str(path)]) == 1
    assert "the weight 'enc_p.w' has the shape [2147483648, 2147483648] and other numbers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, None),
        ({"resblock_dilation_sizes": ((1,), (2, 6), (3, 12))}, "do not have 2 layers"),
        ({"resblock": "1"}, "do not have 3 layers"),
        ({"upsample_initial_channel": 4}, "fewer channels than it halves"),
        ({"n_heads": 0}, "0 heads for 192 channels"),
        ({"n_heads": 5}, "5 heads for 192 channels"),
    ],
)
def test_sizes_that_no_decoder_or_encoder_can_have_are_told(change, told):
    sound = dict(upsample_rates=(8, 8, 4), use_sdp=True, resblock_dilation_sizes=((1, 2), (2, 6), (3, 12)))
    sound |= dict(resblock="2", upsample_initial_channel=256, n_heads=2, hidden_channels=192)
    problems = misfits(sound | change)
    assert (told in problems[0] and len(problems) == 1) if told else problems == []


def test_a_voice_whose_nodes_lack_an_end_or_whose_names_are_no_text_is_refused(tmp_path):
    path = voice(tmp_path / "a.onnx", helper.make_node("Gather", [], ["output"]))
    with pytest.raises(UserError, match="'Gather' '' lacks an end"):
        read_graph(path)
    tensor = onnx.numpy_helper.from_array(np.zeros(1, np.float32), "weight_x")
    path = voice(tmp_path / "b.onnx", helper.make_node("Relu", ["input"], ["output"]), tensors=[tensor])
    path.write_bytes(path.read_bytes().replace(b"weight_x", b"weight_\xff"))
    with pytest.raises(UserError, match="names that are no text|not a readable ONNX file"):
        read_graph(path)


def test_a_voice_that_loops_or_asks_for_all_memory_is_refused(tmp_path):
    condition = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    body = helper.make_graph([helper.make_node("Identity", ["c"], ["d"])], "b",
                             [helper.make_tensor_value_info("i", TensorProto.INT64, []), condition],
                             [helper.make_tensor_value_info("d", TensorProto.BOOL, [])])  # fmt: skip
    path = voice(tmp_path / "loop.onnx", helper.make_node("Loop", ["", "input"], ["output"], body=body))
    with pytest.raises(UserError, match="is refused: it holds 'Loop'"):
        read_graph(path)
    shape = onnx.numpy_helper.from_array(np.array([1 << 40]), "s")
    nodes = [helper.make_node("ConstantOfShape", ["s"], ["a"]), helper.make_node("Relu", ["a"], ["output"])]
    path = voice(tmp_path / "big.onnx", *nodes, tensors=[shape])
    with pytest.raises(UserError, match="big.onnx (does not speak|is not a model)"):
        Session(read_graph(path), path, seed=0).run(None, {"input": np.zeros(1, np.float32)})


@FEW
@given(
    some.recursive(
        some.none() | some.booleans() | some.integers() | some.floats() | WORD,
        lambda one: some.lists(one, max_size=3) | some.dictionaries(WORD, one, max_size=3),
    ),
    some.sampled_from(["espeak", "phoneme_id_map", "num_symbols", "audio", "inference", "speaker_id_map"]),
)
def test_any_json_is_the_configuration_of_a_voice_or_refused(tmp_path, value, key):
    sound = {"espeak": {"voice": "en-us"}, "phoneme_id_map": {"_": [0]}, "num_symbols": 9}
    path = tmp_path / "v.onnx.json"
    path.write_text(json.dumps(sound | {key: value}))
    try:
        found = read_voice_json(path)
    except UserError as error:
        assert "It is not the configuration of a Piper voice" in str(error)
    else:
        assert isinstance(found["espeak"]["voice"], str) and 0 < found["num_symbols"] < 1 << 20


# --- configs and records


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: &a [lol, lol]\nb: &b [*a, *a]\nc: [*b, *b]\n", "aliases, as \\*a, are not read"),
        ("a: &a [*a]\n", "aliases"),
        ("run: !!python/object/apply:os.system ['touch ran']\n", "could not determine a constructor"),
        ("run: !!python/name:os.system\n", "could not determine a constructor"),
        ("x: " + "[" * 100_000, "nested"),
        ("x: !!timestamp 2024-99-99\n", "month"),
        ("x: !!int ''\n", "cannot be read as YAML"),
        ("- a list\n", "holds no settings"),
        ("x" * (YAML_BYTES + 1), "over 1 MB"),
        (f"learning_rate: 1{400 * '0'}\n", "a whole number has over 18 digits"),
    ],
    ids=["billion laughs", "itself", "python object", "python name", "deep", "date", "number", "list", "long", "great"],
)
def test_a_config_made_to_do_harm_is_refused(tmp_path, monkeypatch, capsys, text, told, little):
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(text)
    with pytest.raises(UserError, match=told):
        read_yaml(Path("run.yaml"))
    assert main(["train", "--config", "run.yaml"]) == 1 and "run.yaml" in capsys.readouterr().err
    assert not Path("ran").exists()


def test_a_config_names_what_no_system_has_a_name_so_long_for():
    long = "x" * 5000
    with pytest.raises(UserError) as told:
        TrainConfig(corpus=Path(long), run=Path("run"), max_steps=1, resume=long, start_from=long)
    assert all(name in str(told.value) for name in ("resume is", "start_from: there is no", "no corpus.json"))


def test_half_a_character_is_no_text():
    assert parse_json(r'["\ud83d\ude00", "\\ud83d"]') == ["\U0001f600", r"\ud83d"]
    for text in (r'{"id": "\ud800"}', rb'["\udc41"]'):
        with pytest.raises(ValueError, match="half of a character"):
            parse_json(text)


def test_json_of_any_depth_or_length_is_told(tmp_path):
    for text in ("[" * 100_000, '{"a":' * 100_000, "1" * 10_000):
        with pytest.raises(ValueError):
            parse_json(text)


def test_a_corpus_cannot_name_audio_outside_of_its_folder(tmp_path):
    sound = dict(id="a", text="b", speaker=None, audio="audio/a.npy", samples=1, split="train")
    sound |= dict(phonemes=[], phoneme_ids=[])
    assert typed(Utterance, sound, "x").audio == "audio/a.npy"
    for audio in ("/etc/passwd", "../a.npy", "audio/../../a.npy", "a\0.npy"):
        with pytest.raises(UserError, match="x: audio"):
            typed(Utterance, sound | {"audio": audio}, "x")
    for change in ({"samples": 10**400}, {"samples": -1}, {"weight": math.nan}, {"split": "x"}, {"phonemes": [1]}):
        with pytest.raises(UserError, match=f"x: {next(iter(change))}"):
            typed(Utterance, sound | change, "x")


@pytest.mark.parametrize("shape", ["(1099511627776,)", "(2, 2)", "(3,)", "()"])
def test_audio_whose_header_lies_is_refused(tmp_path, shape, little):
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + head.encode() + b"\0" * 16)
    corpus = Corpus(tmp_path, 16000, [], [], {}, {}, {})
    with pytest.raises(UserError, match="a.npy, the audio of a, cannot be read"):
        corpus.waveform(Utterance("a", "b", None, "a.npy", 4, [], [], "train"))


@FEW
@given(some.binary(max_size=120), some.sampled_from(RECORDS))
def test_any_bytes_in_a_run_folder_are_read_or_refused(tmp_path, content, name):
    (tmp_path / name).write_bytes(b"step,mel\n1,0.5\n" * (name == "metrics.csv") + content)
    for read in (Evaluation.load, lambda run: read_metrics(run / "metrics.csv"), stretches_of, Corpus.load):
        try:
            read(tmp_path)
        except UserError:
            pass
    (tmp_path / name).unlink()


@FEW
@given(some.text(max_size=80))
def test_any_text_is_yaml_or_a_value_error(text):
    try:
        parse_yaml(text)
    except ValueError:
        pass


def test_a_diagnosis_does_not_reckon_with_a_setting_that_is_no_number(tmp_path):
    (tmp_path / "config.yaml").write_text("neuron_cores: many\ncheckpoint_every: [often]\nmax_steps: {}\n")
    (tmp_path / "metrics.csv").write_text("step,mel,device_bytes\n" + "".join(f"{n},1,17e9\n" for n in range(30)))
    assert any("15.8 of 16 GiB of device memory" in line for one in diagnose(tmp_path) for line in one.found)
