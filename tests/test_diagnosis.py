"""The diagnosis against real messages, provoked here, every row of the guide's tables, and runs with planted faults."""

import csv
import json
import os
import re
import signal
import traceback
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from torch.nn import functional as F

from tts_lab.cli import main
from tts_lab.corpus.corpus import Corpus, Quarantined, Utterance
from tts_lab.diagnosis import diagnose, signs
from tts_lab.diagnosis.ailment import Ailment
from tts_lab.diagnosis.diagnose import TABLES
from tts_lab.diagnosis.evidence import Evidence
from tts_lab.errors import UserError
from tts_lab.training.columns import COLUMNS

ROWS = {row.name: row for table in TABLES.values() for row in table}


class Dying(torch.utils.data.Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, number):
        os.kill(os.getpid(), signal.SIGKILL)


class WantsFeatures(torch.nn.Module):
    def forward(self, x, feats): ...


def unpack_many():
    first, second = torch.ones(3)
    return first, second


def unpack_few():
    first, second = [1]
    return first, second


def nan_gradient():
    x = torch.zeros(2, requires_grad=True)
    with torch.autograd.detect_anomaly(check_nan=True):
        (torch.sqrt(x) * 0).sum().backward()


def changed_in_place():
    y = torch.ones(2, requires_grad=True).exp()
    y.add_(1)
    y.sum().backward()


def other_sizes(folder):
    torch.nn.Linear(2, 2).load_state_dict(torch.nn.Linear(3, 2).state_dict())


def no_audio(folder):
    (folder / "clip.wav").write_text("a web page")
    soundfile.read(folder / "clip.wav")


def cut_checkpoint(folder):
    torch.save(torch.ones(1000), folder / "x.ckpt")
    (folder / "x.ckpt").write_bytes((folder / "x.ckpt").read_bytes()[:2000])
    torch.load(folder / "x.ckpt")


def pickled_path(folder):
    torch.save({"folder": folder}, folder / "x.ckpt")
    torch.load(folder / "x.ckpt", weights_only=True)


def double_backward():
    x = torch.ones(2, requires_grad=True)
    F.mse_loss(x.double(), torch.ones(2)).backward()


ones = torch.ones
PROVOKED = {
    "indices of floats": (lambda _: F.embedding(ones(3), ones(4, 2)), "Indices have the wrong type"),
    "index of floats": (lambda _: ones(3)[ones(2)], "Indices have the wrong type"),
    "id too large": (lambda _: F.embedding(torch.tensor([9]), ones(4, 2)), "An id is beyond the table"),
    "double linear": (lambda _: F.linear(ones(2, 3).double(), ones(3, 3)), "float64 among float32"),
    "double conv": (lambda _: F.conv1d(ones(1, 2, 3).double(), ones(3, 2, 1), ones(3)), "float64 among float32"),
    "double bmm": (lambda _: torch.bmm(ones(1, 2, 2).double(), ones(1, 2, 2)), "float64 among float32"),
    "double loss": (lambda _: double_backward(), "float64 among float32"),
    "half conv": (lambda _: F.conv1d(ones(1, 2, 3).half(), ones(3, 2, 1), ones(3)), "Half precision meets float32"),
    "half linear": (lambda _: F.linear(ones(2, 3), ones(3, 3).half()), "Half precision meets float32"),
    "half bmm": (lambda _: torch.bmm(ones(1, 2, 2), ones(1, 2, 2).half()), "Half precision meets float32"),
    "too many": (lambda _: unpack_many(), "More or fewer values than names"),
    "too few": (lambda _: unpack_few(), "More or fewer values than names"),
    "no file": (lambda folder: open(folder / "absent.wav"), "A file is not there"),
    "no module": (lambda _: __import__("no_such_package"), "A package is missing"),
    "no Cython": (lambda _: __import__("piper.train.vits.monotonic_align.monotonic_align.core"),
                  "The alignment's compiled module is not here"),
    "no neuronx-cc": (lambda _: __import__("neuronxcc"), "The Neuron packages are missing or mixed"),
    "no speaker": (lambda _: {"text": "a"}["speaker_id"], "No speaker id"),
    "no key": (lambda _: {"text": "a"}["audio"], "A key is not there"),
    "other sizes": (other_sizes, "The checkpoint is of another model"),
    "no keys": (lambda _: torch.nn.Linear(2, 2).load_state_dict({}), "The checkpoint is of another model"),
    "pickled path": (pickled_path, "The checkpoint holds more than numbers"),
    "cut checkpoint": (cut_checkpoint, "The checkpoint is broken"),
    "page for audio": (no_audio, "An audio file cannot be read"),
    "not padded": (lambda _: torch.stack([ones(2), ones(3)]), "Shapes do not fit"),
    "other lengths": (lambda _: ones(2) + ones(3), "Shapes do not fit"),
    "other matrices": (lambda _: ones(2, 3) @ ones(2, 3), "Shapes do not fit"),
    "no memory": (lambda _: torch.empty(10**14), "The machine's memory is full"),
    "dead worker": (lambda _: list(torch.utils.data.DataLoader(Dying(), num_workers=1)), "A data worker died"),
    "nothing to draw": (lambda _: torch.utils.data.RandomSampler([]), "The corpus came out empty or too small"),
    "NaN": (lambda _: nan_gradient(), "A loss or a gradient is not a number"),
    "in place": (lambda _: changed_in_place(), "A tensor was changed that the backward pass needs"),
    "no feats": (lambda _: WantsFeatures()(1), "A call lacks an argument"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("which", PROVOKED)
def test_an_error_provoked_here_is_recognised_first(which: str, tmp_path: Path) -> None:
    provoke, name = PROVOKED[which]
    with pytest.raises(Exception) as caught:
        provoke(tmp_path)
    error = caught.value
    assert diagnose(error)[0].name == name
    # As a person would paste it: its last words, the whole of it, and a log that it ends.
    message = traceback.format_exception_only(error)[-1]
    assert diagnose(message)[0].name == name
    log = tmp_path / "train.log"
    log.write_text("2026-11-22 step 10/100  mel 0.53\n" * 50 + "".join(traceback.format_exception(error)))
    assert diagnose(log)[0].name == name and diagnose(str(log))[0].name == name


CUDA = (  # as torch 2.9 words it; the first from its CUDA notes
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {} MiB. GPU 0 has a total capacity of 15.73 GiB of "
    "which 8.12 MiB is free. Including non-PyTorch memory, this process has 15.71 GiB memory in use. Of the allocated "
    "memory 12.02 GiB is allocated by PyTorch, and {} is reserved by PyTorch but unallocated. If reserved but "
    "unallocated memory is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
)
GUIDE = [
    # 7.1, error messages
    ("RuntimeError: CUDA out of memory", "The GPU's memory is full"),
    ("RuntimeError: Expected tensor for argument #1 'indices' to have scalar type Long", "Indices have the wrong type"),
    ("ValueError: too many values to unpack", "More or fewer values than names"),
    ("FileNotFoundError: [Errno 2] No such file or directory", "A file is not there"),
    ("KeyError: 'speaker_id'", "No speaker id"),
    ("Loss is NaN", "A loss or a gradient is not a number"),
    ("step 12: mel is nan. Its utterances: a, b", "A loss or a gradient is not a number"),
    ("ModuleNotFoundError: No module named 'X'", "A package is missing"),
    ("RuntimeError: expected scalar type Float but found Double", "float64 among float32"),
    # 7.2, what is heard and how it goes
    ("Robotic/Buzzy Audio", "Robotic or buzzy sound"), ("robotic", "Robotic or buzzy sound"),
    ("it sounds buzzy", "Robotic or buzzy sound"),
    ("Word Skipping/Repetition", "Words are skipped or repeated"), ("skips words", "Words are skipped or repeated"),
    ("it repeats the last syllable", "Words are skipped or repeated"),
    ("Incorrect Pronunciation", "Wrong pronunciation"), ("it mispronounces names", "Wrong pronunciation"),
    ("Speaker Identity Loss", "The speaker's identity is lost"),
    ("it does not sound like her", "The speaker's identity is lost"),
    ("Slow Convergence", "Slow convergence"), ("Unstable Training", "Unstable training"),
    # 7.3, frameworks
    ("RuntimeError: Error in applying gradient to param_name", "Coqui: a gradient could not be applied"),
    ("ValueError: Tacotron training requires `r` > 1", "Coqui: Tacotron wants a reduction factor"),
    ("TypeError: forward() missing 1 required positional argument: 'feats'", "A call lacks an argument"),
    ("RuntimeError: expected scalar type Half but found Float", "Half precision meets float32"),
    # 7.4, hardware and environment
    ("OOM errors after training for several hours despite sufficient VRAM", "GPU memory is in pieces"),
    ("GPU memory fragmentation", "GPU memory is in pieces"),
    ("GPU utilization fluctuates or stays low", "The device waits for the processor that prepares data"),
    ("CPU bottleneck", "The device waits for the processor that prepares data"),
    ("Training stalls periodically during data loading", "The disk does not keep up"),
    ("disk I/O bottleneck", "The disk does not keep up"),
    ("mysterious crashes or import errors", "Libraries of different builds"),
    # what the guides get wrong
    ('python -c "import torch; torch.autograd.set_detect_anomaly(True)"', "Anomaly detection in another process"),
    ("model = model.half()", "model.half() for VITS"),
    ("the total loss goes up, should I stop", "Stopping on the total loss"),
    ("python3 -m piper.download_voices en_US-lessac-medium", "A published voice where a checkpoint is asked for"),
    # Trainium, as AWS documents it or people have posted it
    ("Got a cached failed neff at /var/tmp/neuron-compile-cache/neuronxcc-2.27/MODULE_1+2/model.neff",
     "A failed compilation was cached"),
    ("[F137] neuronx-cc was forcibly killed - This most commonly occurs due to insufficient system memory.",
     "The compiler ran out of memory on the host"),
    ("[ERROR] [NCC_EVRF004] Complex data types are not supported", "The compiler refuses the graph"),
    ("[ITEN404] Internal tensorizer error", "The compiler refuses the graph"),
    ("[NCC_EOOM002] the graph does not fit", "The NeuronCore's memory is full"),
    ("RESOURCE_EXHAUSTED: Failed to allocate 2.1GB on ND0:NC0", "The NeuronCore's memory is full"),
    ("NCCL WARN Timeout waiting for RX (waited 120 sec) - retrying", "Processes wait for one another on Trainium"),
    ("F0000 Expected 2 threads to join the rendezvous, but only 1 of them arrived on time",
     "Processes wait for one another on Trainium"),
    ("NRT:nrt_infodump INFER_ERROR_SUBTYPE_NUMERICAL", "Not-a-number on the device"),
    ("ERROR NRT:nrt_allocate_neuron_cores NeuronCore(s) not available - Requested:2 Available:0",
     "The NeuronCores are taken"),
    ("RuntimeError: No neuron device available", "No Neuron device is seen"),
    ("warning: 3 more graphs compiled for a training batch of known shape ((16, 96) phonemes)",
     "Graphs change from step to step"),
    ("it recompiles every step", "Graphs change from step to step"),
    ("graph drift", "Graphs change from step to step"),
    ("aten::_fft_r2c falls back to the CPU", "An operation falls back to the host"),
    ("long compilation times", "Long compilations"), ("it compiles for hours", "Long compilations"),
    ("Expect ap datatype to be of type float32 float16 bfloat16 uint8", "A wide integer reached the device"),
    ("all losses are exactly zero", "All losses are zero"),
    ("neuron-top shows 3 % core utilization, idle", "The core is idle while the host works"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "name"), GUIDE, ids=[text[:40] for text, _ in GUIDE])
def test_every_row_of_the_guides_is_found_by_its_text(text: str, name: str) -> None:
    found = diagnose(text)
    assert found[0].name == name
    seen = found[0].found[0]
    assert seen in text or seen.startswith("NCC_EVRF004: complex numbers")
    assert found[0].means and all(t["what"] and t["cost"] for t in found[0].tries)


def test_a_full_gpu_and_one_in_pieces_are_told_apart_by_the_figures() -> None:
    assert diagnose(CUDA.format("512.00", "3.51 GiB"))[0].name == "GPU memory is in pieces"
    assert "3.51 GiB lay reserved" in diagnose(CUDA.format("512.00", "3.51 GiB"))[0].found[0]
    assert [one.name for one in diagnose(CUDA.format("512.00", "20.11 MiB"))] == ["The GPU's memory is full"]


def test_a_code_of_the_compiler_is_told_with_the_preflights_rule() -> None:
    (seen,) = diagnose("ERROR: [NCC_EVRF010] and later NCC_EABC999")[0].found
    assert "NCC_EVRF010: convolution, both dilated" in seen and seen.endswith("NCC_EABC999")


@pytest.mark.parametrize(
    "name",
    ["A loss or a gradient is not a number", "Half precision meets float32", "Coqui: a gradient could not be applied",
     "The clips are learnt by heart", "Words are skipped or repeated", "Robotic or buzzy sound", "Long compilations"],
)  # fmt: skip
def test_where_the_guides_are_wrong_the_right_thing_is_said(name: str) -> None:
    assert ROWS[name].mind
    said = " ".join(what for row in ROWS.values() for what, _ in row.tries)
    assert "model.half()" not in said and ".float() on the model" not in said


def test_every_row_can_be_recognised_and_says_means_tries_and_costs() -> None:
    assert len(ROWS) == sum(map(len, TABLES.values()))  # names are names
    for row in ROWS.values():
        assert row.said or row.asked or row.read or row.shown, row.name
        assert not (row.said and row.read), row.name
        assert row.means.endswith(".") and row.tries, row.name
        for _, cost in row.tries:
            assert cost == "nothing" or re.match(r"(time|quality|money|memory|disk): ", cost), (row.name, cost)
    shown = {name for name, sign in vars(signs).items() if getattr(sign, "__module__", "") == signs.__name__}
    source = "".join(path.read_text() for path in Path(signs.__file__).parent.glob("*.py"))
    assert all(f"signs.{name}" in source for name in shown if not name.startswith("_"))


def test_the_last_exception_counts_before_what_stands_above_it() -> None:
    first = "Traceback (most recent call last):\nFileNotFoundError: [Errno 2] No such file or directory: 'a.wav'\n"
    text = f"{first}\nDuring handling, another:\n\nValueError: too many values to unpack\n"
    assert [one.name for one in diagnose(text)] == ["More or fewer values than names", "A file is not there"]


def test_two_symptoms_come_in_the_order_they_were_named() -> None:
    names = [one.name for one in diagnose("it skips words and is a bit robotic")]
    assert names == ["Words are skipped or repeated", "Robotic or buzzy sound"]
    assert [one.name for one in diagnose("a bit robotic, and skips words")] == names[::-1]


@pytest.mark.parametrize("text", ["the flux capacitor hums in B flat", "hello", "ok", "{", "-9", "null"])
def test_unknown_text_says_that_nothing_matched_and_what_to_send(text: str, capsys) -> None:
    found = diagnose(text)
    assert len(found) == 0 and "Nothing in the tables matches" in str(found) and "config.yaml" in str(found)
    assert main(["diagnose", "--", text]) == 0
    assert "Nothing in the tables matches" in capsys.readouterr().out


def test_everyday_words_in_a_log_are_no_symptoms(tmp_path: Path) -> None:
    log = tmp_path / "good.log"
    log.write_text(
        "the text 'a robotic, noisy, slow voice' was spoken; skipped nothing; silence trimmed\n"
        "recompiles_in_200_steps 0 graphs\n + audioread==3.1.0\nneuron_parallel_compile is found\n" * 9
    )
    assert len(diagnose(log)) == 0 and "No line of" in str(diagnose(log))


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    for nothing in (tmp_path / "absent", str(tmp_path / "absent.log"), "runs/typo"):
        with pytest.raises(UserError, match="nothing of that name"):
            diagnose(nothing)
    with pytest.raises(UserError, match="not the folder of a run"):
        diagnose(tmp_path)
    with pytest.raises(UserError, match="nothing to diagnose"):
        diagnose("  ")


# Runs -----------------------------------------------------------------------------------------------------------------

STEPS = 200
NOISE = np.random.default_rng(3).normal(size=(STEPS, 4))
GONE = np.arange(STEPS) / STEPS


def healthy_columns() -> dict[str, np.ndarray]:
    """As a fine-tune of this project logs them: every tenth step a row, every twentieth row a validation."""
    validated = np.full(STEPS, np.nan)
    validated[19::20] = (0.48 + 0.12 * np.exp(-3 * GONE))[19::20]
    scored = {
        name: np.where(np.isfinite(validated), value, np.nan)
        for name, value in {"align_diagonality": 0.93, "align_skipped": 0.03, "free_skipped": 0.02,
                            "duration_correlation": 0.8}.items()
    }  # fmt: skip
    return {
        "loss_d": 2.6 + 0.1 * NOISE[:, 0], "mel": 0.5 + 0.35 * np.exp(-6 * GONE) + 0.01 * NOISE[:, 1],
        "kl": 6 + 30 * np.exp(-12 * GONE) + 0.3 * NOISE[:, 2], "duration": np.full(STEPS, 1.2),
        "loss_g": 40 + NOISE[:, 3], "grad_norm_g": 80 + 300 * np.exp(-30 * GONE) + 10 * np.abs(NOISE[:, 0]),
        "grad_norm_d": 5 + np.abs(NOISE[:, 1]), "learning_rate_g": np.full(STEPS, 2e-4),
        "learning_rate_d": np.full(STEPS, 1e-4), "val_mel": validated, **scored,
        "steps_per_second": 2 + 0.05 * NOISE[:, 2], "data_wait": np.full(STEPS, 0.01),
        "graphs_compiled": np.minimum(np.arange(STEPS), 8), "fallbacks": np.zeros(STEPS),
        "steps_traced": np.minimum(np.arange(STEPS), 8),
    }  # fmt: skip


def write_run(folder: Path, log: str = "", corpus: Corpus | None = None, **changes) -> Path:
    config = {"max_steps": 10 * STEPS, "checkpoint_every": 500, "log_every": 10, "workers": 1, "clip": None}
    config |= changes.pop("config", {})
    columns = healthy_columns() | changes
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").touch()
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "log.txt").write_text(log or "2026-11-22 10:00:00 starting from joe\n2026-11-22 12:00:00 done: step 2000")
    if corpus:
        corpus.folder = folder
        corpus.save()
    with open(folder / "metrics.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in range(STEPS):
            cells = {name: values[row] for name, values in columns.items()}
            kept = {name: f"{value:.6g}" for name, value in cells.items() if not _absent(name, value)}
            writer.writerow({"step": 10 * row + 9, **kept})
    return folder


def _absent(name: str, value: float) -> bool:
    return np.isnan(value) and name.startswith(("val_", "align_", "free_", "duration_c"))


def test_a_healthy_run_gives_nothing(tmp_path: Path, capsys) -> None:
    run = write_run(tmp_path / "run")
    found = diagnose(run)
    assert [one.name for one in found] == []
    assert "Nothing is wrong" in str(found) and "200 logged rows" in str(found)
    assert main(["diagnose", str(run), "--json", str(tmp_path / "found.json")]) == 0
    assert "Nothing is wrong" in capsys.readouterr().out
    assert json.loads((tmp_path / "found.json").read_text()) == []


def late(column: str, values: np.ndarray, begin: float = 0.6) -> np.ndarray:
    """The healthy column, but for its end."""
    return np.where(GONE < begin, healthy_columns()[column], values)


FAULTS = {
    "A loss or a gradient is not a number": ({"kl": late("kl", np.full(STEPS, np.nan))}, "kl is nan at step 1210"),
    "Unstable training": ({"kl": late("kl", 6 * np.exp(6 * (GONE - 0.6)))}, "kl had come down to 6"),
    "Unstable training ": ({"grad_norm_g": late("grad_norm_g", 5000 * (np.arange(STEPS) % 9 == 0) + 80.0)}, "5.08e+03"),
    "The clips are learnt by heart": (
        {"val_mel": np.where(np.isfinite(healthy_columns()["val_mel"]), 0.5 + 0.3 * (GONE - 0.3) ** 2, np.nan),
         "mel": 0.8 - 0.4 * GONE}, "learnt by heart"),
    "The discriminators teach nothing": ({"loss_d": np.full(STEPS, 3.0)}, "3.0"),
    "Slow convergence": (
        {"mel": 0.9 + 0.005 * NOISE[:, 1], "learning_rate_g": np.full(STEPS, 1e-6)}, "learning rate was 1.0e-06"),
    "The device waits for the processor that prepares data": ({"data_wait": np.full(STEPS, 0.45)}, "45% of the time"),
    "The disk does not keep up": ({"data_wait": np.where(np.arange(STEPS) % 12, 0.01, 0.7)}, "up to 70%"),
    "It gets slower and slower": ({"steps_per_second": 2 - 1.5 * GONE}, "steps a second"),
    "The alignment does not move": (
        {"align_skipped": np.where(np.isfinite(healthy_columns()["val_mel"]), 0.6, np.nan)}, "60% of the sounds"),
    "Words are skipped or repeated": (
        {"free_skipped": np.where(np.isfinite(healthy_columns()["val_mel"]), 0.2, np.nan)}, "skips 20%"),
    "Graphs change from step to step": ({"graphs_compiled": np.arange(STEPS)}, "199 by step 2000"),
    "Steps are traced anew": ({"steps_traced": 10 * np.arange(STEPS)}, "1990 by step 2000"),
    "An operation falls back to the host": ({"fallbacks": 300 * np.arange(STEPS)}, "59700 by step 2000"),
    "Not-a-number on the device": ({"numerical_errors": np.minimum(np.arange(STEPS), 3)}, "3 executions"),
    "Executions fail on the device": ({"other_errors": np.full(STEPS, 2)}, "2 executions"),
    "The device or its memory has a fault": ({"ecc_uncorrected": np.full(STEPS, 1)}, "1 memory errors"),
    "The NeuronCore's memory is full": ({"device_bytes": np.full(STEPS, 15.5 * 2**30)}, "15.5 of 16 GiB"),
    "The core is idle while the host works": ({"core_utilization": np.full(STEPS, 12.0)}, "busy 12 %"),
    "No checkpoint is kept": ({}, "no checkpoint is there"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_planted_in_a_run_is_found_and_nothing_else(name: str, tmp_path: Path) -> None:
    changes, figures = FAULTS[name]
    run = write_run(tmp_path / "run", **changes)
    if name == "No checkpoint is kept":
        (run / "checkpoints" / "last.ckpt").unlink()
    found = diagnose(run)
    assert [one.name for one in found] == [name.strip()]
    assert figures in found[0].found[0] and found[0].tries


def corpus_of(clips: list[tuple[str | None, float]], quarantined: int = 0, phonemes: str = "a") -> Corpus:
    """Clips of (speaker, seconds), at 16 kHz."""
    utterances = [
        Utterance(id=str(n), text="a", speaker=speaker, audio="a.npy", samples=int(16000 * seconds),
                  phonemes=list(phonemes), phoneme_ids=[1, 2], split="train", notes=[])
        for n, (speaker, seconds) in enumerate(clips)
    ]  # fmt: skip
    bad = [Quarantined(f"q{n}", "m.csv:1", "the recording is silent") for n in range(quarantined)]
    speakers = {name: n for n, name in enumerate(sorted({s for s, _ in clips if s}))}
    frontend = {"espeak_voice": "en-us", "phoneme_type": "espeak", "phoneme_id_map": {"a": [3]}, "num_symbols": 256}
    return Corpus(Path(), 16000, utterances, bad, speakers, frontend, {"few_minutes": 5.0}, {"notes": []})


CORPORA = [
    (corpus_of([(None, 10.0)] * 60), []),
    (corpus_of([(None, 10.0)] * 12), [("Too little data", "2.0 minutes")]),
    (corpus_of([("ada", 10.0)] * 60 + [("bob", 10.0)] * 4), [("The speaker's identity is lost", "0.7 of bob")]),
    (corpus_of([(None, 10.0)] * 60, 20), [("Much of the corpus was set aside", "20 of 80")]),
    (corpus_of([(None, 10.0)] * 60, phonemes="aʎ"), [("Wrong pronunciation", "'ʎ' (60×)")]),
]


@pytest.mark.parametrize(("corpus", "expected"), CORPORA, ids=["fit", "little", "unbalanced", "quarantined", "unknown"])
def test_the_corpus_of_a_run_is_looked_at_too(corpus: Corpus, expected: list, tmp_path: Path) -> None:
    found = diagnose(write_run(tmp_path / "run", corpus=corpus))
    assert [one.name for one in found] == [name for name, _ in expected]
    assert all(figures in one.found[0] for one, (_, figures) in zip(found, expected, strict=True))


def test_a_rare_speaker_who_is_drawn_more_often_is_not_lost(tmp_path: Path) -> None:
    corpus = corpus_of([("ada", 10.0)] * 60 + [("bob", 10.0)] * 4)
    for utterance in corpus.utterances[60:]:
        utterance.weight = 4.0
    assert [one.name for one in diagnose(write_run(tmp_path / "run", corpus=corpus))] == []


def test_a_log_in_the_folder_is_read_and_figures_come_first(tmp_path: Path) -> None:
    log = "10:00:00 ok\nOSError: [Errno 28] No space left on device: 'last.ckpt'\n"
    found = diagnose(write_run(tmp_path / "run", log, data_wait=np.full(STEPS, 0.5)))
    assert [one.name for one in found] == ["The device waits for the processor that prepares data", "The disk is full"]
    assert found[1].found == ["log: OSError: [Errno 28] No space left on device: 'last.ckpt'"]


def test_what_is_broken_in_a_run_folder_does_not_stop_the_rest(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", data_wait=np.full(STEPS, 0.5))
    (run / "config.yaml").write_text("{a: [")
    (run / "corpus.json").write_text("{")
    (run / "evaluation.json").write_text("nonsense")
    (run / "log.txt").write_bytes(b"\xff\x00\xfe")
    assert diagnose(run)[0].name.startswith("The device waits")
    (run / "metrics.csv").write_text("step,mel\n1,abc\n")
    with pytest.raises(UserError, match="metrics.csv cannot be read"):
        diagnose(run)


def test_nothing_is_said_of_a_run_that_has_hardly_begun(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", mel=np.full(STEPS, 2.0), learning_rate_g=np.full(STEPS, 1e-7))
    lines = (run / "metrics.csv").read_text().splitlines()
    (run / "metrics.csv").write_text("\n".join(lines[:6]) + "\n")
    assert len(diagnose(run)) == 0


def test_an_evaluation_that_heard_a_buzz_or_lost_words_is_evidence() -> None:
    from tests.test_advice import heard

    good, lost = {"similarity": 0.7}, {"similarity": 0.6, "wer": 0.2}
    names = ("mispronounces", "skips", "buzzes", "likeness_lost")
    told = {name: getattr(signs, name)(Evidence(evaluation=heard(good, lost))) for name in names}
    assert "20.0% of the words are misheard" in told["skips"] and "0.70 at step 100" in told["likeness_lost"]
    assert told["buzzes"] is None
    assert "it buzzes" in signs.buzzes(Evidence(evaluation=heard(good, {"frame_rate_share": 0.5})))
    assert all(getattr(signs, name)(Evidence(evaluation=heard(good, good))) is None for name in names)


def test_a_cell_shows_it_as_a_table_and_a_terminal_as_lines(tmp_path: Path, capsys) -> None:
    found = diagnose("KeyError: 'speaker_id'")
    assert isinstance(ROWS[found[0].name], Ailment)
    page = found._repr_markdown_()
    assert page.startswith("**No speaker id**") and "| try | cost |" in page
    assert "id\\|speaker\\|text" in page  # a bar within a cell
    assert main(["diagnose", "KeyError: 'speaker_id'", "--json", str(tmp_path / "found.json")]) == 0
    said = capsys.readouterr().out
    assert "No speaker id (error message)" in said and "Cost: time: minutes." in said and "try 1:" in said
    written = json.loads((tmp_path / "found.json").read_text())
    assert written[0]["name"] == "No speaker id" and written[0]["tries"][0].keys() == {"what", "cost"}
