"""Every kept checkpoint of a run speaks and is listened to."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import soundfile

from tts_lab.corpus.corpus import Corpus, Utterance
from tts_lab.corpus.plain import read_yaml
from tts_lab.errors import UserError
from tts_lab.evaluation import metrics
from tts_lab.evaluation.evaluation import BASE, Evaluation, Spoken
from tts_lab.evaluation.listening import evaluate, first_clips
from tts_lab.evaluation.sentences import UNSEEN_SENTENCES
from tts_lab.voice_json import read_voice_json, sample_rate
from tts_lab.voices.averaging import AVERAGED, digest, run_checkpoints
from tts_lab.voices.catalogue import find_voice
from tts_lab.voices.checkpoints import read_checkpoint
from tts_lab.voices.speak import say, speak_checkpoint

FOLDER = "evaluation"
"""Where the recordings lie, in the folder of the evaluation."""
HELD_OUT = 8
"""Held-out clips at most: each costs every checkpoint a second or two."""
SHORTEST = 2.0
"""Seconds; Whisper is unreliable on shorter clips, so longer ones are taken first."""


@dataclass(frozen=True)
class Voice:
    """Something that speaks."""

    label: str
    path: Path
    kind: str
    """base, checkpoint or averaged"""
    step: int | None
    digest: str
    frame_rate: float
    """Hz: how often the model makes a frame."""
    names: tuple[Path, ...]
    """Every file with these weights."""


def evaluate_run(
    voices: Sequence[Voice],
    corpus: Corpus,
    out: Path,
    spoken: Spoken,
    clips: Sequence[Utterance],
    tell: Callable[[str], None] = print,
) -> Evaluation:
    """Have each voice say what `spoken` lists and measure it; a voice measured before is not done again.

    Saved after every voice, so that an interrupted evaluation goes on where it was. Rows of checkpoints that are no
    longer there are kept, with `files` empty.

    Args:
        clips: the corpus's held-out clips whose texts are `spoken.held_out` (`choose_clips`).

    Raises:
        UserError: the `eval` extra or the Whisper model is missing, or a voice cannot speak.
    """
    before = Evaluation.load(out)  # speaks up about a file that is something else
    metrics.check_ready(spoken.asr_model, spoken.language)
    same = before is not None and before.spoken == spoken
    if before is not None and not same:
        tell("The evaluation that was there said other things or was heard with other ears: it is done anew.")
    done = before if same else Evaluation(out, spoken)
    human = _record(corpus, clips, out / FOLDER / "human")
    if not done.human:
        done.human = _human(human, spoken, done, voices[-1].frame_rate)
        done.save()
    found = {voice.digest for voice in voices}
    for row in done.rows:
        if row["digest"] not in found:
            row["files"] = []
    for number, voice in enumerate(voices, 1):
        row = done.find(voice.digest)
        if row is None:
            tell(f"{number} of {len(voices)}: {voice.label}")
            row = _row(voice, done, human)
        else:
            tell(f"{number} of {len(voices)}: {voice.label}, measured before")
        row |= {"label": voice.label, "kind": voice.kind, "step": voice.step}
        row["files"] = [_relative(path, out) for path in voice.names]
        done.put(row)
        done.save()
    done.save()
    return done


def find_voices(where: Path, base: str | None = None) -> list[Voice]:
    """What speaks in a run folder, or the one checkpoint or .onnx voice at `where`; before it the voice `base`.

    Files with the same weights, as last.ckpt and the best often are, are one voice. Means of checkpoints that
    `tts-lab average` wrote into the run folder are among them.

    Raises:
        UserError: nothing there, or a file that is no voice: all of them are told.
    """
    if where.is_dir():
        paths = [*run_checkpoints(where), *sorted(where.glob("*.ckpt"))]
    elif where.is_file():
        paths = [where]
    else:
        raise UserError(f"there is neither a run folder nor a checkpoint at {where}")
    voices: dict[str, Voice] = {}
    problems = []
    if base is not None:
        # A checkpoint, or whatever `tts-lab say` would take.
        path = Path(base) if base.endswith(".ckpt") else find_voice(base)
        voice = replace(_voice(path), kind="base", step=None, label=BASE)
        voices[voice.digest] = voice
    for path in paths:
        try:
            voice = _voice(path)
        except UserError as error:
            problems.append(str(error))
            continue
        if known := voices.get(voice.digest):
            voices[voice.digest] = replace(known, names=(*known.names, path))
        elif any(other.label == voice.label for other in voices.values()):  # two runs' checkpoints of one step
            voices[voice.digest] = replace(voice, label=f"{voice.label} ({path.stem})")
        else:
            voices[voice.digest] = voice
    if problems:
        raise UserError("these cannot be listened to:\n" + "\n".join(f"  - {problem}" for problem in problems))
    return sorted(voices.values(), key=lambda v: (v.kind != "base", v.step or 0, v.label))


def find_corpus(run: Path) -> Path:
    """The corpus folder that a run's config.yaml, or else its checkpoints, name.

    Raises:
        UserError: they name none that is still there; the caller has then to be told one.
    """
    named = []
    if (config := run / "config.yaml").is_file():
        named.append(read_yaml(config).get("corpus"))
    elif run.is_dir() or run.suffix == ".ckpt":
        taken = read_checkpoint(run_checkpoints(run)[0] if run.is_dir() else run)
        corpus = taken.provenance.get("corpus")
        named.append(corpus.get("folder") if isinstance(corpus, dict) else None)
    for folder in named:
        if isinstance(folder, str) and "\0" not in folder and (Path(folder) / "corpus.json").is_file():
            return Path(folder)
    known = f"the corpus it was trained on, {named[0]}, is not there" if any(named) else "it names no corpus"
    raise UserError(f"{run}: {known}: name one whose held-out clips are the person to sound like, with --corpus.")


def choose_clips(corpus: Corpus, at_most: int = HELD_OUT, speaker: str | None = None) -> list[Utterance]:
    """The held-out clips to compare with: the first that are long enough to be understood, else the first.

    Raises:
        UserError: fewer than two are held out; or several speakers, and none or an unknown one named.
    """
    names = list(corpus.speakers)
    if len(names) > 1 and speaker not in names:
        said = f"has no speaker {speaker!r}" if speaker else "has several speakers"
        raise UserError(f"{corpus.folder} {said}: name one with --speaker: {', '.join(names[:10])}.")
    clips = [clip for clip in corpus.validation if speaker is None or clip.speaker == speaker]
    long = [clip for clip in clips if clip.samples >= SHORTEST * corpus.sample_rate]
    return first_clips(corpus, long if len(long) >= 2 else clips, at_most)


def what_is_said(
    corpus: Corpus,
    clips: Sequence[Utterance],
    sentences: int | None = None,
    texts: Path | None = None,
    speaker: str | None = None,
    asr_model: str | None = None,
) -> Spoken:
    """What the voices will say: the first `sentences` unseen ones, or the lines of the file `texts`.

    Raises:
        UserError: nothing to say, or a voice that is not English and no `texts` in its language.
    """
    language = corpus.frontend["espeak_voice"].split("-")[0]
    if texts is not None:
        try:
            lines = [line.strip() for line in texts.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{texts} cannot be read as sentences, one a line: {error}") from error
        unseen = [line for line in lines if line][:sentences]
    elif language == "en":
        unseen = list(UNSEEN_SENTENCES[:sentences])
    else:
        raise UserError(
            f"the voice speaks {language!r} and the sentences that come with tts_lab are English: give sentences of "
            "its language, one a line, with --texts FILE."
        )
    if not unseen:
        raise UserError("there is no sentence to say: at least one is needed.")
    return Spoken(corpus.fingerprint, speaker, language, asr_model, unseen, [clip.text for clip in clips])


def _voice(path: Path) -> Voice:
    """What the file at `path` is. Raises `UserError` where it does not speak."""
    if path.suffix == ".onnx":
        config = path.with_name(f"{path.name}.json")
        frame_rate = sample_rate(config) / read_voice_json(config).get("hop_length", 256)
        weights = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        return Voice(path.stem, path, "checkpoint", 0, weights, frame_rate, (path,))
    taken = read_checkpoint(path)
    averaged = taken.provenance.get(AVERAGED)
    steps = ", ".join(str(source["step"]) for source in averaged or [])
    label = f"mean of steps {steps}" if averaged else f"step {taken.step}"
    frame_rate = taken.model.sample_rate / taken.model.spectrogram.hop_length
    kind = "averaged" if averaged else "checkpoint"
    return Voice(label, path, kind, taken.step, digest(taken), frame_rate, (path,))


def _speak(voice: Voice, texts: Sequence[str], folder: Path, speaker: str | None) -> list[Path]:
    if voice.path.suffix == ".onnx":
        wavs = [folder / f"{number:02}.wav" for number in range(len(texts))]
        return [say(voice.path, text, wav) for text, wav in zip(texts, wavs, strict=True)]
    return speak_checkpoint(voice.path, texts, folder, speaker=speaker)


def _row(voice: Voice, done: Evaluation, human: Sequence[Path]) -> dict[str, Any]:
    """Every figure of one voice."""
    spoken, folder = done.spoken, done.folder / FOLDER / f"{voice.label.replace(' ', '-')}-{voice.digest[:6]}"
    speaker = spoken.speaker if voice.kind != "base" else None
    unseen = _speak(voice, spoken.sentences, folder / "sentences", speaker)
    held_out = _speak(voice, spoken.held_out, folder / "held_out", speaker)
    first, heard = _scores(voice.label, unseen, spoken.sentences, human, spoken)
    second, heard_too = _scores(voice.label, held_out, spoken.held_out, human, spoken)
    seconds = metrics.speaking_seconds(held_out)
    return first | {
        "step": voice.step,
        "kind": voice.kind,
        "digest": voice.digest,
        "files": [],
        "held_out": second,
        "pitch_delta": _percent(second["pitch_hz"], done.human["pitch_hz"]),
        "rate_delta": _percent(done.human["speaking_seconds"], seconds) if seconds else None,
        "speaking_seconds": seconds,
        "frame_rate_share": metrics.known(metrics.frame_rate_share([*unseen, *held_out], voice.frame_rate)),
        "wavs": {"sentences": _relatives(unseen, done.folder), "held_out": _relatives(held_out, done.folder)},
        "heard": {"sentences": heard, "held_out": heard_too},
    }


def _human(wavs: Sequence[Path], spoken: Spoken, done: Evaluation, frame_rate: float) -> dict[str, Any]:
    """The speaker's own clips, measured like a voice."""
    scores, heard = _scores("the speaker", wavs, spoken.held_out, wavs, spoken)
    return scores | {
        "similarity": metrics.similarity_to_the_others(wavs),
        "speaking_seconds": metrics.speaking_seconds(wavs),
        "frame_rate_share": metrics.known(metrics.frame_rate_share(wavs, frame_rate)),
        "wavs": {"held_out": _relatives(wavs, done.folder)},
        "heard": {"held_out": heard},
    }


def _scores(
    label: str, wavs: Sequence[Path], texts: Sequence[str], human: Sequence[Path], spoken: Spoken
) -> tuple[dict[str, Any], list[str]]:
    """A row of figures, and what Whisper understood of each clip."""
    heard = metrics.transcribe(wavs, spoken.asr_model, spoken.language)
    return evaluate(label, wavs, texts, human, heard=heard).to_dict(), heard


def _record(corpus: Corpus, clips: Sequence[Utterance], folder: Path) -> list[Path]:
    """The held-out clips as WAV files, numbered: an id may hold anything."""
    folder.mkdir(parents=True, exist_ok=True)
    wavs = [folder / f"{number:02}.wav" for number in range(len(clips))]
    for clip, wav in zip(clips, wavs, strict=True):
        soundfile.write(wav, corpus.waveform(clip), corpus.sample_rate, subtype="PCM_16")
    return wavs


def _percent(value: float | None, reference: float | None) -> float | None:
    return 100 * (value / reference - 1) if value and reference else None


def _relatives(paths: Sequence[Path], folder: Path) -> list[str]:
    return [_relative(path, folder) for path in paths]


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()
