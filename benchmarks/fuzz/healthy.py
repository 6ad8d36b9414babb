"""Small sound files of every kind, each in a folder of its own with all that belongs to it."""

import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

SAMPLES = Path("data_samples")
AGAIN = "again"
"""The folder of a case into which its readers write."""


def make(kind: str, folder: Path) -> None:
    """Write every healthy case of `kind` into a folder of its own below `folder`."""
    sys.path.append("tests")  # whose makers of files these are
    _MAKERS[kind](folder)


def to_spoil(kind: str, case: Path) -> list[Path]:
    """Which files of a case are spoilt, by turns."""
    found = [path for pattern in SPOILT[kind] for path in sorted(case.rglob(pattern))]
    return [path for path in found if path.is_file() and AGAIN not in path.parts]


SPOILT = {
    "manifests": ("*.csv", "*.jsonl", "*.txt", "*.data"),
    "audio": ("*.wav", "*.flac", "*.ogg", "*.opus", "*.mp3", "*.g722", "*.aiff", "*.w64", "*.rf64", "*.caf", "*.au"),
    "voices": ("*.onnx", "*.onnx.json"),
    "checkpoints": ("*.ckpt", "config.json"),
    "configs": ("config.yaml", "config.json"),
    "corpora": ("corpus.json", "clip.npy"),
    "decisions": ("review.jsonl",),
    "runs": ("metrics.csv", "config.yaml", "environment.json", "evaluation.json", "corpus.json", "log.txt"),
}
"""The files of each kind."""


def _manifests(folder: Path) -> None:
    from test_layouts import CLIPS, LAYOUTS, place, write

    for build, *_ in LAYOUTS:
        build(folder / build.__name__)
    for number, (name, _) in enumerate(CLIPS):
        place(name, folder / "segments", f"talk_{number:04d}")
        place(name, folder / "speakers")
    lines = [f'{number},"{text}",1 0 {30 + number} 0 2\n' for number, (_, text) in enumerate(CLIPS)]
    write(folder / "segments" / "metadata.csv", "segment_index,text,phoneme_ids\n" + "".join(lines))
    lines = [f"{name}|{'zoe' if at % 2 else 'adam'}|{text}\n" for at, (name, text) in enumerate(CLIPS)]
    write(folder / "speakers" / "metadata.csv", "id|speaker|text\n" + "".join(lines))


def _audio(folder: Path) -> None:
    import av
    import soundfile

    audio, rate = soundfile.read(SAMPLES / "agent-user.flac", frames=14000, start=2000)
    forms = {
        "pcm16.wav": ("WAV", "PCM_16"), "pcm24.wav": ("WAVEX", "PCM_24"), "float.wav": ("WAV", "FLOAT"),
        "ulaw.wav": ("WAV", "ULAW"), "adpcm.wav": ("WAV", "IMA_ADPCM"), "gsm.wav": ("WAV", "GSM610"),
        "pcm16.flac": ("FLAC", "PCM_16"), "pcm24.flac": ("FLAC", "PCM_24"), "vorbis.ogg": ("OGG", "VORBIS"),
        "opus.opus": ("OGG", "OPUS"), "layer3.mp3": ("MP3", "MPEG_LAYER_III"), "big.aiff": ("AIFF", "PCM_16"),
        "wide.w64": ("W64", "PCM_16"), "long.rf64": ("RF64", "PCM_16"), "alac.caf": ("CAF", "ALAC_16"),
        "sun.au": ("AU", "PCM_16"),
    }  # fmt: skip
    for name, (form, subtype) in forms.items():
        where = folder / name.replace(".", "_")
        where.mkdir(parents=True)
        soundfile.write(where / name, audio, rate, format=form, subtype=subtype)
    packed = io.BytesIO()
    with av.open(packed, "w", format="g722") as container:
        stream = container.add_stream("g722", rate=16000, layout="mono")
        samples = (audio * 32767).astype("int16").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = 16000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    (folder / "g722").mkdir()
    (folder / "g722" / "phone.g722").write_bytes(packed.getvalue())


def _voices(folder: Path) -> None:
    from test_adopt import save_untrained, small

    sizes = {"filter_channels": 32, "upsample_initial_channel": 32}
    for name, more in (("one", {}), ("several", {"speakers": 3, "speaker_channels": 16})):
        (folder / name).mkdir(parents=True)
        save_untrained(small(**sizes, **more), folder / name)


def _checkpoints(folder: Path) -> None:
    import pickle

    import torch
    from conftest import Malicious
    from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP
    from test_checkpoints import checkpoint
    from test_foreign import piper1, pipers_model, rhasspy

    from tts_lab.vits.config import PRESETS, ModelConfig
    from tts_lab.voices.checkpoints import write_checkpoint

    def case(name: str) -> Path:
        (folder / name).mkdir(parents=True)
        return folder / name / "voice.ckpt"

    tiny = PRESETS["tiny"].to_dict() | {"filter_channels": 16}
    write_checkpoint(checkpoint(ModelConfig.from_dict(tiny)), case("ours"))
    for name, write in (("rhasspy", rhasspy), ("piper1", piper1)):
        torch.save(write(pipers_model(130), 130), path := case(name))
        config = {"audio": {"sample_rate": 16000}, "espeak": {"voice": "en-us"}, "num_symbols": 256}
        config |= {"phoneme_id_map": DEFAULT_PHONEME_ID_MAP, "speaker_id_map": {}}
        path.with_name("config.json").write_text(json.dumps(config))
    torch.save(piper1(pipers_model(130), 130), case("old"), _use_new_zipfile_serialization=False)
    for protocol in range(6):
        content = pickle.dumps({"state_dict": {"x": Malicious(Path("canary"))}}, protocol)
        case(f"malicious{protocol}").write_bytes(content)
    torch.save({"state_dict": {"x": Malicious(Path("canary"))}}, case("malicious"))


def _configs(folder: Path) -> None:
    import yaml

    for number, recipe in enumerate(sorted(Path("recipes").glob("*.yaml"))):
        content = yaml.safe_load(recipe.read_text(encoding="utf-8"))
        content |= {"corpus": f"{recipe.stem}/corpus", "start_from": "scratch", "reinitialise": []}
        content.pop("posterior_steps", None)
        where = folder / recipe.stem
        (where / "corpus").mkdir(parents=True)
        (where / "corpus" / "corpus.json").write_text("{}")
        if number % 2:
            (where / "config.json").write_text(json.dumps(content))
        else:
            (where / "config.yaml").write_text(yaml.safe_dump(content))


def _corpora(folder: Path) -> None:
    from tts_lab.corpus.prepare import prepare
    from tts_lab.corpus.settings import PrepareSettings
    from tts_lab.frontend import Frontend

    with _few_recordings(folder) as source:
        prepare(source, folder / "plain", PrepareSettings(sample_rate=16000), Frontend("en-us"), jobs=1)
        lines = (source / "metadata.csv").read_text().splitlines()
        several = [f"{line.partition('|')[0]}|{'ab'[at % 2]}|{line.partition('|')[2]}" for at, line in enumerate(lines)]
        (source / "metadata.csv").write_text("\n".join(several) + "\n")
        prepare(source, folder / "speakers", PrepareSettings(sample_rate=16000), Frontend("en-us"), jobs=1)
    for case in (folder / "plain", folder / "speakers"):
        content = (case / "corpus.json").read_text()
        audio = json.loads(content)["utterances"][0]["audio"]
        shutil.move(case / audio, case / "audio" / "clip.npy")
        (case / "corpus.json").write_text(content.replace(audio, "audio/clip.npy"))


class _few_recordings:
    """A folder of ten recordings with their list, gone at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "source"

    def __enter__(self) -> Path:
        self.folder.mkdir(parents=True)
        lines = (SAMPLES / "metadata.csv").read_text(encoding="utf-8").splitlines()[:10]
        for line in lines:
            shutil.copy(SAMPLES / f"{line.partition('|')[0]}.flac", self.folder)
        (self.folder / "metadata.csv").write_text("\n".join(lines) + "\n")
        return self.folder

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder)


def _decisions(folder: Path) -> None:
    from tts_lab.corpus.decisions import Decisions

    for name in ("one", "two"):
        _few_recordings(folder / name).__enter__()
        lines = (folder / name / "source" / "metadata.csv").read_text().splitlines()
        decisions = Decisions(folder / name / "review.jsonl")
        for at, line in enumerate(lines):
            id, _, text = line.partition("|")
            told = {"about": text, "recording": f"{id}.flac"}
            match at % 4:
                case 0:
                    decisions.decide(id, "keep", **told)
                case 1:
                    decisions.decide(id, "text", **told, text="Something else.")
                case 2:
                    decisions.decide(id, "cut", **told, begin=0.1, end=1.0)
                case 3:
                    decisions.decide(id, "reject", **told, reason="noise")
        decisions.undo(lines[0].partition("|")[0])


def _runs(folder: Path) -> None:
    import numpy as np
    import yaml
    from test_advice import FALLING, TURNING, heard

    from tts_lab.corpus.corpus import Corpus
    from tts_lab.training.columns import COLUMNS
    from tts_lab.training.config import TrainConfig
    from tts_lab.training.record import write_record

    corpora = folder / ".corpora"
    _corpora(corpora)
    rng = np.random.default_rng(0)
    for name, curve in (("falling", FALLING), ("turning", TURNING)):
        run = folder / name
        (run / "checkpoints").mkdir(parents=True)
        corpus = Corpus.load(corpora / "plain")
        config = TrainConfig(corpus.folder, run, max_steps=100, preset="tiny")
        settings = config.to_dict() | {"corpus": name}  # of which the run folder keeps a copy
        (run / "config.yaml").write_text(yaml.safe_dump(settings))
        write_record(run, config.to_dict(), corpus, 1, 0)
        shutil.copy(corpus.folder / "corpus.json", run)
        rows = [",".join(COLUMNS)]
        for step, value in enumerate(np.repeat(curve, 3)):
            cells = {column: f"{value * (1 + 0.01 * rng.normal()):.6g}" for column in COLUMNS}
            cells |= {"step": 30 * step + 29}
            rows.append(",".join(str(cells[column]) for column in COLUMNS))
        (run / "metrics.csv").write_text("\n".join(rows) + "\n")
        (run / "log.txt").write_text("step 1\nRuntimeError: CUDA out of memory.\nstep 900: done\n")
        evaluation = heard({"similarity": 0.6}, {"similarity": 0.7}, {"wer": 0.3})
        evaluation.folder = run
        for row in evaluation.rows:
            row |= {"digest": row["label"], "wavs": {"sentences": [], "held_out": []}}
            row |= {"heard": {"sentences": [], "held_out": []}, "held_out": {}, "cer": 0.02}
        evaluation.save()
    shutil.rmtree(corpora)


_MAKERS: dict[str, Callable[[Path], None]] = {
    "manifests": _manifests, "audio": _audio, "voices": _voices, "checkpoints": _checkpoints, "configs": _configs,
    "corpora": _corpora, "decisions": _decisions, "runs": _runs,
}  # fmt: skip
KINDS = tuple(_MAKERS)


def cases(folder: Path) -> Iterator[Path]:
    """The healthy cases in a folder, in order."""
    yield from sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
