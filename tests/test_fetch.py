"""Fetching, without a network: the archive's own forms, apt's failures, and what is committed."""

import gzip
import os
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from tts_lab.corpus import fetch as fetching
from tts_lab.corpus.fetch import choose, decode_g722, fetch, read_festival, read_prompts, write_samples
from tts_lab.errors import UserError

SAMPLES = Path(__file__).parent.parent / "data_samples"


def test_prompts_less_comments_and_noises():
    lines = [
        "; Core Sounds",
        "",
        "beep: [a tone]",
        "x/y: Two  words: here. ",
        "a: <silence>",
        "b: (beep)",
        "c:",
        "d",
    ]
    assert list(read_prompts(lines)) == [("x/y", "Two words: here.")]


def test_festival_lines_without_stress_marks():
    text = '( ru_0001 "Прядь вол+ос, - она." )\n(ru_0002 "Он сказал \\"да\\".")\nnonsense\n'
    assert list(read_festival(text)) == [("ru_0001", "Прядь волос, - она."), ("ru_0002", 'Он сказал "да".')]


def write_g722(path: Path, audio: np.ndarray) -> None:
    with av.open(str(path), "w", format="g722") as container:
        stream = container.add_stream("g722", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(audio[None], format="s16", layout="mono")
        frame.sample_rate = 16000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def test_g722_gives_the_speech_back(tmp_path):
    audio = soundfile.read(SAMPLES / "conf-invalid.flac", dtype="int16")[0]
    audio = audio[: len(audio) // 2 * 2]
    write_g722(tmp_path / "a.g722", audio)
    decoded = decode_g722(tmp_path / "a.g722")
    assert decoded.dtype == np.int16 and abs(len(decoded) - len(audio)) < 400
    lag = np.argmax(np.correlate(decoded[:20000].astype(float), audio[100:16000].astype(float), "valid")) - 100
    a, b = (decoded[lag:], audio) if lag >= 0 else (decoded, audio[-lag:])
    n = min(len(a), len(b))
    assert np.corrcoef(a[:n], b[:n])[0, 1] > 0.99


def install(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A pretended apt, whose lists were never fetched, and the packages that it would bring."""
    root, tools = tmp_path / "root", tmp_path / "tools"
    sounds, docs = root / "usr/share/asterisk/sounds/en_US_f_Allison", root / "usr/share/doc"
    for folder in (
        sounds / "digits",
        docs / "asterisk-core-sounds-en",
        docs / "asterisk-core-sounds-en-g722",
        tools,
    ):
        folder.mkdir(parents=True)
    speech = soundfile.read(SAMPLES / "conf-invalid.flac", dtype="int16")[0]
    write_g722(sounds / "conf-invalid.g722", speech)
    write_g722(sounds / "digits" / "long.g722", speech[:32000])
    write_g722(sounds / "short.g722", speech[:8000])
    listing = "; head\nconf-invalid: That is  not it.\ndigits/long: One.\nshort: A.\ngone: No.\nbeep: [tone]\n"
    with gzip.open(docs / "asterisk-core-sounds-en/core-sounds-en.txt.gz", "wt") as file:
        file.write(listing)
    (docs / "asterisk-core-sounds-en-g722/copyright").write_text("the licence")
    log = tmp_path / "log"
    apt = f"""
        echo "$2" >> {log}
        [ "$2" = update ] && touch {log}.lists && exit 0
        [ -e {log}.lists ] || {{ echo "E: Unable to locate package" >&2; exit 100; }}
        touch p.deb
    """
    install(tools, "apt-get", apt)
    install(tools, "dpkg-deb", f'cp -r {root} "$3"\n')
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return log


def test_fetch_updates_the_lists_once_and_writes_a_corpus(archive, tmp_path):
    folder = fetch("allison", tmp_path / "corpora")
    assert archive.read_text().split() == ["download", "update", "download"]
    assert (folder / "metadata.csv").read_text() == "conf-invalid|That is not it.\ndigits_long|One.\n"
    assert sorted(p.name for p in (folder / "wavs").iterdir()) == ["conf-invalid.wav", "digits_long.wav"]
    info = soundfile.info(folder / "wavs/conf-invalid.wav")
    assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
    assert (folder / "LICENSE").read_text() == "the licence" and "Allison Smith" in (folder / "CREDITS").read_text()
    assert {p.name for p in folder.iterdir()} == {"metadata.csv", "wavs", "LICENSE", "CREDITS"}
    fetch("allison", tmp_path / "corpora")
    assert len(archive.read_text().split()) == 3  # complete, so left alone


def test_a_fetch_that_stops_halfway_starts_over(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching.soundfile, "write", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        fetch("allison", tmp_path / "corpora")
    monkeypatch.undo()
    monkeypatch.setenv("PATH", f"{tmp_path / 'tools'}:{os.environ['PATH']}")
    assert not (tmp_path / "corpora/allison/metadata.csv").exists()
    assert (fetch("allison", tmp_path / "corpora") / "metadata.csv").exists()


def test_no_network_no_apt_no_such_corpus(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no corpus named 'lj'.*allison: English"):
        fetch("lj", tmp_path)
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(UserError, match="needs apt-get, which Debian"):
        fetch("nsh", tmp_path)
    install(tools, "dpkg-deb", "")
    install(tools, "apt-get", 'echo "E: Failed to fetch" >&2\nexit 100\n')
    with pytest.raises(UserError, match="could not download festvox-ru: E: Failed to fetch"):
        fetch("nsh", tmp_path)
    assert not (tmp_path / "nsh" / "metadata.csv").exists()


def test_the_choice_is_of_new_whole_sentences():
    rows = [
        ("a", "Please hold the line.", 3.0),
        ("b", "Please hold the line.", 3.1),  # said already
        ("c", "Please hold the line for me now.", 4.0),
        ("d", "A sentence of its own.", 3.0),
        ("e", "no capital.", 3.0),
        ("f", "Press # now.", 3.0),
        ("g", "Too short to be taken.", 1.9),
        ("h", "Far too long to be taken here.", 8.1),
    ]
    assert [name for name, _ in choose(rows, 10, 60.0)] == ["c", "d"]
    assert choose(rows[::-1], 10, 60.0) == choose(rows, 10, 60.0)
    assert [name for name, _ in choose(rows, 1, 60.0)] == ["c"]
    assert [name for name, _ in choose(rows, 10, 3.5)] in (["a"], ["d"], ["b"])


def test_data_samples_are_what_they_should_be():
    lines = (SAMPLES / "metadata.csv").read_text(encoding="utf-8").splitlines()
    names = [line.split("|")[0] for line in lines]
    assert 60 <= len(lines) <= 80 and len(set(names)) == len(set(line.split("|")[1] for line in lines)) == len(lines)
    assert {path.stem for path in SAMPLES.glob("*.flac")} == set(names)
    for name in names:
        info = soundfile.info(SAMPLES / f"{name}.flac")
        assert (info.samplerate, info.channels, info.format) == (16000, 1, "FLAC") and 2 <= info.duration <= 8
    assert sum(path.stat().st_size for path in SAMPLES.iterdir()) <= 6_000_000
    credit = (SAMPLES / "README.md").read_text() + (SAMPLES / "CREDITS").read_text()
    assert all(word in credit for word in ("Allison Smith", "Digium", "CC-BY-SA-3.0", "write_samples"))
    assert "CREATIVE COMMONS PUBLIC LICENSE" in (SAMPLES / "LICENSE").read_text()


def test_samples_are_the_fetched_clips_bit_for_bit(tmp_path):
    source = tmp_path / "allison"
    (source / "wavs").mkdir(parents=True)
    rows = [line for line in (SAMPLES / "metadata.csv").read_text(encoding="utf-8").splitlines()][:3]
    for name in (row.split("|")[0] for row in rows):
        audio, rate = soundfile.read(SAMPLES / f"{name}.flac", dtype="int16")
        soundfile.write(source / "wavs" / f"{name}.wav", audio, rate)
    (source / "metadata.csv").write_text("\n".join(reversed(rows)) + "\n", encoding="utf-8")
    for name in ("LICENSE", "CREDITS"):
        (source / name).write_text(name)
    out = write_samples(source, tmp_path / "out")
    assert (out / "metadata.csv").read_text(encoding="utf-8").splitlines() == sorted(rows)
    for name in (row.split("|")[0] for row in rows):
        assert (out / f"{name}.flac").read_bytes() == (SAMPLES / f"{name}.flac").read_bytes()
