"""Each layer of the checkup made to fail: the finding must name it and what to do, and the rest must go on."""

import base64
import json
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tts_lab.cli import main
from tts_lab.devices import trial
from tts_lab.doctor import computing, kernel, limited, neuron, packages, room, speech
from tts_lab.doctor.checkup import checkup
from tts_lab.frontend import Frontend


def program(path: Path, text: str) -> Path:
    """An executable script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def seconds(script: str) -> float:
    """A limit that a busy machine keeps, short only where it is to be passed."""
    return 1 if "sleep" in script else 60


def missing(name):
    raise PackageNotFoundError(name)


@pytest.fixture(scope="module")
def here() -> dict[str, dict]:
    """The whole checkup of this machine, as `tts-lab doctor --json` writes it."""
    return {row["what"]: row for row in checkup()}


def test_the_checkup_of_this_machine_finds_no_gap_but_of_room(here):
    gaps = {what: row for what, row in here.items() if not row["ok"]}
    assert gaps.keys() <= {"disk", "memory", "shared memory"}
    assert "vˈɔɪs" in here["espeak front end"]["found"] and "to the sample" in here["sound files"]["found"]
    assert "matrix product, convolution" in here["torch-xla"]["found"] or "not installed" in here["torch-xla"]["found"]
    assert "FFT" in here["computing on the processor"]["found"]
    assert "is this Python" in here["notebook kernel"]["found"] and "as locked" in here["lock"]["found"]


def test_every_check_that_raises_is_a_finding_and_the_next_goes_on(monkeypatch, capsys, tmp_path):
    def broken(*_, **__):
        raise OSError("libespeak-ng.so.1: cannot open\n  shared object file")

    for module, name in (
        (packages, "packages"), (packages, "lock"), (packages, "voice"), (speech, "espeak"), (speech, "decoding"),
        (computing, "processor"), (computing, "elsewhere"), (neuron, "driver"), (neuron, "tools"),
        (neuron, "packages"), (room, "main_memory"), (room, "shared_memory"), (room, "disk"), (kernel, "kernel"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, broken)
    monkeypatch.setattr(neuron, "on_neuron", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    rows = checkup()
    assert len(rows) == 15 and not any(row["ok"] for row in rows) and all(row["fix"] for row in rows)
    assert {row["found"] for row in rows} == {"OSError: libespeak-ng.so.1: cannot open shared object file"}
    assert main(["doctor", "--json", str(tmp_path / "found.json")]) == 1
    said = capsys.readouterr()
    assert said.out.count("GAP ") == 15 and "GAP espeak front end: OSError" in said.out and "each says" in said.err
    assert json.loads((tmp_path / "found.json").read_text()) == rows


def test_a_check_that_hangs_is_left_behind_and_the_next_goes_on(monkeypatch):
    monkeypatch.setattr(speech, "espeak", lambda: time.sleep(60))
    monkeypatch.setattr(computing, "elsewhere", lambda device, seconds: ("works", ""))
    monkeypatch.setattr(kernel, "kernel", lambda seconds: ("works", ""))
    began = time.monotonic()
    found, fix = limited.limited(speech.espeak, 0.3, "")
    assert found == "no answer in 0 seconds" and "driver" in fix and time.monotonic() - began < 20


def test_a_second_process_that_hangs_dies_or_fails_is_told_in_words(tmp_path):
    with pytest.raises(limited.Failed, match="no answer in 1 seconds"):
        limited.program("sh", "-c", "sleep 60 & sleep 60", seconds=1)
    with pytest.raises(limited.Failed, match="SIGABRT"):
        limited.second_process("-c", "import os; os.abort()", seconds=120)
    with pytest.raises(limited.Failed, match="exit status 3: a reason"):
        limited.program("sh", "-c", "echo more; echo a reason >&2; exit 3", seconds=60)
    with pytest.raises(limited.Failed, match="cannot be started"):
        limited.program(str(tmp_path / "absent"), seconds=60)
    assert "sleep 60" not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout.split("sh -c")


# Packages -------------------------------------------------------------------------------------------------------------


def test_versions_are_read_from_the_project_and_compared(monkeypatch):
    rows = {row["package"]: row for row in packages.versions()}
    assert (rows["torch"]["expected"], rows["torch"]["fits"]) == ("==2.9.1", "yes")
    found = {"torch": "2.8.0", "lightning": "2.6.2"}
    monkeypatch.setattr(packages, "version", lambda name: found.get(name) or missing(name))
    rows = {row["package"]: row for row in packages.versions()}
    assert rows["torch"]["fits"] == "no" and rows["lightning"]["fits"] == "no"
    assert rows["piper-tts"]["fits"] == "no" and rows["piper-tts"]["found"] == "missing"
    assert rows["jiwer"]["fits"] == "needs tts-lab[eval]"
    said, fix = packages.packages()
    assert "torch 2.8.0 (expected ==2.9.1)" in said and "requirements.lock" in fix


def test_a_version_other_than_the_locked_one_is_named(tmp_path, monkeypatch):
    locked = {"numpy": "1.0.0", "torch": "2.9.1", "no-such-package": "3.1"}
    lines = [f"{name}=={version} \\\n    --hash=sha256:00\n    # via x" for name, version in locked.items()]
    other = "elsewhere==1.0 ; sys_platform == 'win32' \\"
    path = tmp_path / "requirements.lock"
    path.write_text("\n".join([*lines, other]))
    said, fix = packages.lock(path)
    assert f"numpy {np.__version__} (locked 1.0.0)" in said and "no-such-package missing" in said
    assert "torch" not in said and "elsewhere" not in said and "requirements.lock" in fix
    path.write_text(lines[0])
    assert packages.lock(path)[1] and "locked 1.0.0" in packages.lock(path, strict=False)[0]
    assert packages.lock(path, strict=False)[1] == ""  # beside AWS's packages
    path.write_text(lines[1])
    monkeypatch.setattr(packages, "version", lambda name: "2.9.1+cpu")  # of another index, and the same
    assert packages.lock(path) == ("all 1 as locked", "")
    assert packages.lock(tmp_path / "absent")[1] == ""


def test_without_a_published_voice_it_says_how_to_get_one(monkeypatch):
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    assert "tts-lab[joe]" in packages.voice()[1]


# Speech ---------------------------------------------------------------------------------------------------------------


def test_other_phonemes_than_the_known_ones_are_told(monkeypatch):
    assert speech.espeak() == (f"en-us, de, pt-br speak as they should: {speech.SPOKEN['en-us'][1]}", "")
    monkeypatch.setitem(speech.SPOKEN, "de", ("Guten Morgen.", "ɡˈuːtən mˈɔʁɡən."))
    said, fix = speech.espeak()
    assert "de says 'Guten Morgen.' as ɡˈuːtən mˈɔɾɡən., not" in said and "piper-tts" in fix


def test_a_voice_that_espeak_lacks_is_a_finding(monkeypatch):
    monkeypatch.setitem(speech.SPOKEN, "xx-none", ("A.", "a"))
    said, fix = limited.limited(speech.espeak, 60, speech.ESPEAK)
    assert "espeak has no voice named 'xx-none'" in said and "piper-tts" in fix


def test_the_kept_flac_is_what_it_is_said_to_be():
    import io

    info = soundfile.info(io.BytesIO(base64.b64decode(speech.FLAC)))
    assert (info.format, info.samplerate, info.frames) == ("FLAC", 16000, 800)
    assert speech.decoding()[1] == ""


@pytest.mark.parametrize("fault", ["sample", "resampler", "formats", "library"])
def test_sound_that_is_decoded_wrongly_is_a_finding(fault, monkeypatch):
    read, resample = speech.soundfile.read, speech.soxr.resample
    if fault == "sample":
        monkeypatch.setattr(speech.soundfile, "read", lambda *a, **k: ((r := read(*a, **k))[0] + 1, r[1]))
    elif fault == "resampler":
        monkeypatch.setattr(speech.soxr, "resample", lambda x, *rates: 0.99 * resample(x, *rates))
    elif fault == "formats":
        monkeypatch.setattr(speech.soundfile, "available_formats", lambda: {"WAV": "", "FLAC": "", "OGG": ""})
    else:
        monkeypatch.setattr(speech, "FLAC", base64.b64encode(b"a web page").decode())
    said, fix = limited.limited(speech.decoding, 60, speech.LIBRARIES)
    known = {"sample": "other samples", "resampler": "away from", "formats": "no MP3", "library": "LibsndfileError"}
    assert known[fault] in said and "soundfile" in fix


# Computing ------------------------------------------------------------------------------------------------------------


def test_the_trial_agrees_with_the_host_and_would_see_a_fault(monkeypatch):
    off = trial.trial(torch.device("cpu"))
    assert off.keys() == trial.LIMITS.keys() and all(value < trial.LIMITS[name] for name, value in off.items())
    right = torch.fft.rfft
    monkeypatch.setattr(torch.fft, "rfft", lambda x: right(x).roll(1))
    said, fix = computing.processor()
    assert said.startswith("FFT is off by") and "torch" in fix
    monkeypatch.setattr(torch.fft, "rfft", lambda x: right(x) * float("nan"))
    assert "FFT is off by nan" in computing.processor()[0]


@pytest.mark.parametrize(
    ("script", "told"),
    [("sleep 60", "no answer in 1 seconds"), ("kill -SEGV $$", "SIGSEGV"), ("echo Warning", "no numbers"),
     ("true", "no numbers"), ("echo 'RuntimeError: no kernel image' >&2; exit 1", "no kernel image"),
     ("""echo '{"matrix product": 0.5, "FFT": 1e-9}'""", "matrix product is off by 0.5")],
)  # fmt: skip
@pytest.mark.parametrize("device", ["cuda", "xla"])
def test_a_device_that_hangs_dies_or_computes_wrongly_is_a_finding(script, told, device, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(program(tmp_path / "python", script)))
    monkeypatch.setattr(computing, "find_spec", lambda name: True)
    said, fix = computing.elsewhere(device, seconds(script))
    assert told in said and "torch" in fix
    monkeypatch.setattr(computing, "find_spec", lambda name: None)
    assert device == "cuda" or computing.elsewhere(device, 1)[1] == ""  # torch-xla is not needed everywhere


# Neuron ---------------------------------------------------------------------------------------------------------------

LISTED = [
    {"neuron_device": 0, "nc_count": 2, "memory_size": 34359738368,
     "neuron_processes": [{"pid": 17, "command": "python train", "neuron_runtime_version": "2"}]},
    {"neuron_device": 1, "nc_count": 2, "memory_size": 34359738368, "neuron_processes": []},
]  # fmt: skip


def test_without_anything_of_neuron_it_says_so_and_asks_for_nothing(here, monkeypatch):
    assert here["Neuron"]["ok"] and "no Trainium" in here["Neuron"]["found"]
    monkeypatch.setattr(neuron, "glob", lambda pattern: ["/dev/neuron0"])
    assert neuron.on_neuron()


def test_tools_without_a_device_are_a_driver_that_is_not_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(program(tmp_path / "bin" / "neuron-ls", "true").parent))
    assert neuron.on_neuron()
    said, fix = neuron.driver()
    assert "no /dev/neuron*" in said and "aws-neuronx-dkms" in fix and "--device=/dev/neuron0" in fix
    monkeypatch.setattr(neuron, "glob", lambda pattern: ["/dev/neuron0", "/dev/neuron1"])
    assert neuron.driver() == ("2 devices, driver unknown", "")


@pytest.mark.parametrize(
    ("script", "told", "fix"),
    [(f"echo '{json.dumps(LISTED)}'", "2 devices, 4 cores, held by 17 (python train)", ""),
     ("echo '[]'", "0 devices, 0 cores, all free", ""),
     ("echo not a list", "no list of devices", "one release"), ("""echo '{"error": 1}'""", "no list", "one release"),
     ("exec sleep 60", "no answer in 1 seconds", "modprobe"), ("echo nrt_init >&2; exit 1", "nrt_init", "modprobe")],
)  # fmt: skip
def test_what_neuron_ls_says_or_fails_to_say(script, told, fix, tmp_path, monkeypatch):
    monkeypatch.setattr(neuron, "tool", lambda name: str(program(tmp_path / name, script)))
    found = neuron.tools(seconds(script))
    assert told in found[0] and (fix in found[1] if fix else found[1] == "")
    monkeypatch.setattr(neuron, "tool", lambda name: None)
    assert neuron.tools(1)[0] == "neuron-ls is not found" and "/opt/aws/neuron/bin" in neuron.tools(1)[1]


def test_missing_old_and_placeholder_packages_of_neuron_are_named(tmp_path, monkeypatch):
    found = {"torch-neuronx": "1.13.0", "neuronx-cc": "2.27.5334.0"}
    monkeypatch.setattr(neuron, "version", lambda name: found.get(name) or missing(name))
    said, fix = neuron.packages(60)
    assert said == "torch-neuronx 1.13.0, libneuronxla missing" and "pip.repos.neuron.amazonaws.com" in fix
    found |= {"torch-neuronx": "2.9.0.2.15.32035", "libneuronxla": "2.2.17544.0"}
    monkeypatch.setattr(neuron, "tool", lambda name: None)
    assert "placeholder" in neuron.packages(60)[0]
    monkeypatch.setattr(neuron, "tool", lambda name: str(program(tmp_path / name, "exit 2")))
    assert "neuronx-cc: exit status 2" in neuron.packages(60)[0]
    monkeypatch.setattr(neuron, "tool", lambda name: str(program(tmp_path / name, "echo NeuronX Compiler 2.27")))
    assert neuron.packages(60)[1] == ""


# Room -----------------------------------------------------------------------------------------------------------------


def test_too_little_memory_is_told_also_where_a_container_sets_the_limit(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(room, "CGROUP", limit)
    limit.write_text("max\n")
    whole = room.memory()
    limit.write_text(f"{4 * 2**30}\n")
    assert whole > room.memory() == 4 and "8 GB are advised" in room.main_memory()[1]


def test_shared_memory_is_taken_and_must_do_for_the_workers(tmp_path, monkeypatch):
    assert room.batch_bytes(0) == 0 and room.batch_bytes(4) == 3 * room.batch_bytes(1)
    batch = torch.zeros(room.ROWS, 513, int(12 * 22050 / 256)).element_size() * 16 * 513 * int(12 * 22050 / 256)
    assert room.batch_bytes(1) == 3 * batch
    monkeypatch.setattr(room, "SHARED", tmp_path)
    assert room.shared_memory(1)[1] == "" and list(tmp_path.iterdir()) == []
    assert room.shared_memory(0)[1] == ""
    said, fix = room.shared_memory(10**6)
    assert "are needed with 1000000 workers" in said and "--shm-size" in fix and list(tmp_path.iterdir()) == []
    monkeypatch.setattr(room, "SHARED", tmp_path / "absent")
    assert room.shared_memory(1)[1] == ""


def test_a_full_or_locked_disk_is_told(tmp_path, monkeypatch):
    from collections import namedtuple

    monkeypatch.setattr(room.shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(2**30))
    assert room.disk(tmp_path / "not" / "yet") == ("1 GB free", "10 GB free are advised. A checkpoint has up to 1 GB.")

    def refuses(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(room.tempfile, "NamedTemporaryFile", refuses)
    said, fix = room.disk(tmp_path)
    assert said == f"{tmp_path} cannot be written to (Read-only file system)" and fix


# Notebook kernel ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "told"),
    [("""echo '["/opt/other", true]'""", "the Python of /opt/other"),
     ("echo there is no kernel python3 >&2; exit 1", "no kernel"), ("sleep 60", "no answer in 1 seconds"),
     ("echo nothing", "gave no answer"),
     (f"""echo '["{sys.prefix}", false]'""", "without tts_lab")],
)  # fmt: skip
def test_a_kernel_that_is_missing_hangs_or_is_anothers_is_a_finding(script, told, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(program(tmp_path / "python", script)))
    said, fix = kernel.kernel(seconds(script))
    assert told in said and fix


def test_a_kernel_registered_under_the_same_name_by_another_python_is_found_out(tmp_path, monkeypatch):
    """For real: a kernelspec of the user's that starts a Python of another prefix."""
    spec = tmp_path / "kernels" / "python3"
    spec.mkdir(parents=True)
    shim = program(tmp_path / "other" / "bin" / "python", f'exec "{sys.executable}" -c "{SHIM}" "$@"')
    argv = [str(shim), "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "other", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.delenv("JUPYTER_PREFER_ENV_PATH", raising=False)
    said, fix = kernel.kernel(120)
    assert said.startswith("notebooks get the Python of /opt/other") and "--sys-prefix" in fix


SHIM = "import sys; sys.prefix = '/opt/other'; from ipykernel.kernelapp import launch_new_instance as f; f()"


def test_frontends_hint_names_voices_that_there_are():
    for voice in ("en-us", "en-gb-x-rp", "de", "ru", "pt-br"):
        assert Frontend(voice).encode("a").ids
