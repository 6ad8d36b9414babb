"""How each kind of file is read: by what the commands call, as far as a file can matter.

A reader returns how many things it took and how many it set aside with a reason. What it may raise is `UserError`.
"""

import functools
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.fuzz.healthy import AGAIN
from tts_lab.errors import UserError


class LeftTheFolder(AssertionError):
    """A file outside of the case was taken for one of it."""


def read(kind: str, case: Path, changed: Path) -> tuple[int, int]:
    """Read the healthy case of which one file was `changed`."""
    return _READERS[kind](case, changed)


def _manifests(case: Path, changed: Path) -> tuple[int, int]:
    from tts_lab.corpus.lint import lint
    from tts_lab.corpus.manifest import read_manifest

    source = case if case.name != "recording_studio" else next(case.glob("*.txt"))
    try:
        manifest = read_manifest(source)
    finally:  # lint reads more than prepare does, and writes what it read
        try:
            lint(source, lambda finding: None, fix=True)
        except UserError:
            pass
        for made in case.rglob("*.fixed.*"):
            made.unlink()
    for row in manifest.rows:
        if not row.audio.resolve().is_relative_to(case.resolve()):
            raise LeftTheFolder(f"{row.where}: {row.audio}")
    return len(manifest.rows), len(manifest.problems)


def _audio(case: Path, changed: Path) -> tuple[int, int]:
    from tts_lab.analysis.measuring import measure_file
    from tts_lab.corpus.fetch import decode_g722

    if changed.suffix == ".g722":
        decode_g722(changed)
        return 1, 0
    outcome = _prepared(changed)
    measured = measure_file(changed)
    if measured.problem and outcome is None:
        return 0, 1
    return (0, 1) if outcome else (1, 0)


def _prepared(recording: Path) -> str | None:
    """The reason why `prepare` quarantines a recording; None where it takes it."""
    from tts_lab.corpus.rows import Row
    from tts_lab.corpus.settings import AudioSettings
    from tts_lab.corpus.worker import start_worker, work

    out = recording.parent / "prepared"
    (out / "audio").mkdir(parents=True, exist_ok=True)
    start_worker(AudioSettings(), _letters(), out)
    [(_, outcome)] = work([(0, Row("a", "Some words.", recording.parent, recording.name, "line 1"))])
    for made in (out / "audio").iterdir():
        made.unlink()
    return outcome.reason


@functools.cache
def _letters():
    from tts_lab.frontend import Frontend

    return Frontend(phoneme_type="text")


def _voices(case: Path, changed: Path) -> tuple[int, int]:
    from tts_lab.analysis.recommend import Base
    from tts_lab.evaluation.run import find_voices
    from tts_lab.vits.synthesizer import Synthesizer
    from tts_lab.voices.adopt import model_config
    from tts_lab.voices.graph import VoiceGraph
    from tts_lab.voices.inspection import inspect
    from tts_lab.voices.speak import say

    voice = case / "en_US-untrained-low.onnx"
    looks = [lambda: find_voices(voice), lambda: Base.from_voice("x", voice)]
    if _one_in(25, changed):  # half a second each
        looks += [lambda: str(inspect(voice)), lambda: say(voice, "Yes.", case / "said.wav")]
    graph = VoiceGraph(voice)
    config, _, _ = model_config(graph)
    graph.state_dict({name: tuple(value.shape) for name, value in Synthesizer(config).state_dict().items()})
    return _each(looks)


def _checkpoints(case: Path, changed: Path) -> tuple[int, int]:
    from tts_lab.training.reproduce import reproduce
    from tts_lab.voices.averaging import digest
    from tts_lab.voices.checkpoints import read_checkpoint
    from tts_lab.voices.export import load_generator, voice_config
    from tts_lab.voices.inspection import inspect

    path = case / "voice.ckpt"
    taken = read_checkpoint(path)
    digest(taken)
    looks = [lambda: voice_config(taken, "en_US-x-low", path)]
    if _one_in(5, changed):
        looks += [lambda: load_generator(taken, path), lambda: str(inspect(path)), lambda: reproduce(path)]
    return _each(looks)


def _configs(case: Path, changed: Path) -> tuple[int, int]:
    import tts_lab.voices.start  # noqa: F401  which some configs bring: numba then tries whether it can write its cache
    from tts_lab.training.config import TrainConfig
    from tts_lab.training.flags import check_config

    arguments = ["--config", str(changed)]
    check_config(arguments)
    try:
        parsed = _config_parser().parse_args(arguments).as_dict()
    except SystemExit as error:  # the parser has said what is wrong, as it does of flags
        raise UserError("the parser of the command refuses it") from error
    parsed.pop("config")
    TrainConfig(**parsed).save(case / AGAIN / "config.yaml")
    return 1, 0


@functools.cache
def _config_parser():
    from tts_lab.training.flags import config_parser

    return config_parser("a run")


def _corpora(case: Path, changed: Path) -> tuple[int, int]:
    from tts_lab.corpus.corpus import Corpus
    from tts_lab.frontend import Frontend

    corpus = Corpus.load(case)
    corpus.amounts()
    corpus.symbol_counts()
    str(corpus.fingerprint)
    Frontend.from_dict(corpus.frontend)
    kept = aside = 0
    for utterance in corpus.stream():
        try:
            audio = corpus.waveform(utterance)
            assert audio.dtype == np.float32 and audio.ndim == 1
            kept += 1
        except UserError:
            aside += 1
    corpus.folder = case / AGAIN
    corpus.save(list(corpus.stream()))
    assert Corpus.load(corpus.folder).fingerprint == corpus.fingerprint
    return kept, aside


def _decisions(case: Path, changed: Path) -> tuple[int, int]:
    from tts_lab.corpus.decisions import Decisions, follow
    from tts_lab.corpus.manifest import read_manifest

    decisions = Decisions.load(changed)
    follow(decisions, read_manifest(case / "source"))
    return len(decisions), len(decisions.problems)


def _runs(case: Path, changed: Path) -> tuple[int, int]:
    from tts_lab.diagnosis import diagnose
    from tts_lab.evaluation.advice import advise
    from tts_lab.evaluation.choice import choose
    from tts_lab.evaluation.compared import compare_runs
    from tts_lab.evaluation.evaluation import Evaluation
    from tts_lab.evaluation.run import find_corpus
    from tts_lab.voices.start import find_start

    other = case.with_name("turning" if case.name == "falling" else "falling")

    def judge():
        if evaluation := Evaluation.load(case):
            choose(evaluation.rows, evaluation.human, evaluation.spoken.words)

    looks = (
        lambda: advise(case, Evaluation.load(case)).to_dict(),
        judge,
        lambda: (lambda compared: (compared.lines(), compared.to_dict()))(compare_runs(case, other)),
        lambda: str(diagnose(case)),
        lambda: find_corpus(case),
        lambda: find_start(case),
    )
    return _each(looks)


def _each(looks: Sequence[Callable[[], object]]) -> tuple[int, int]:
    """How many of them took the case, and how many refused it; raises what the last one did if none took it."""
    refused = None
    problems = 0
    for look in looks:
        try:
            look()
        except UserError as error:
            problems, refused = problems + 1, error
    if problems == len(looks):
        raise refused
    return len(looks) - problems, problems


def _one_in(number: int, path: Path) -> bool:
    """Of so many files one, told by what it holds."""
    return zlib.crc32(path.read_bytes()) % number == 0


_READERS: dict[str, Callable[[Path, Path], tuple[int, int]]] = {
    "manifests": _manifests, "audio": _audio, "voices": _voices, "checkpoints": _checkpoints, "configs": _configs,
    "corpora": _corpora, "decisions": _decisions, "runs": _runs,
}  # fmt: skip
