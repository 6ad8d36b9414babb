"""The command ``tts-lab``: one thin function a verb. Heavy imports are inside, so that each verb starts fast."""

import json as files
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, set_parsing_settings

from tts_lab.corpus.settings import PrepareSettings
from tts_lab.errors import UserError
from tts_lab.training.config import TrainConfig
from tts_lab.training.flags import config_parser, underscored


def doctor(json: Path | None = None) -> None:
    """What is here: versions found and expected, devices, espeak, disk, and what to do about each gap.

    Args:
        json: also write the findings to this file.
    """
    from tts_lab.notebook import machine

    findings = machine.checkup()
    for finding in findings:
        print(f"{'ok ' if finding['ok'] else 'GAP'} {finding['what']}: {finding['found']}", finding.get("fix") or "")
    _report(json, findings)
    if not all(finding["ok"] for finding in findings):
        raise UserError("see the lines marked GAP above; each says what to do")


def fetch(name: str, destination: Path = Path("build/corpora")) -> None:
    """Bring a public corpus from Debian's archive: `allison` (English, 16 minutes) or `nsh` (Russian, 100).

    Args:
        name: which corpus.
        destination: folder that gets a folder of that name.
    """
    from tts_lab.corpus.fetch import fetch as bring

    print(bring(name, destination))


def lint(
    source: Path,
    audio_dir: Path | None = None,
    audio_prefix: str | None = None,
    fix: bool = False,
    encoding: str | None = None,
    json: Path | None = None,
) -> None:
    """Every bad line of a manifest with its number, cause and fix.

    Args:
        source: a manifest or a folder, as for `tts-lab prepare`.
        audio_dir: where the manifest's recordings are, if not beside it.
        audio_prefix: recordings are named PREFIX_0001.wav and so on.
        fix: write a corrected copy beside the manifest, metadata.fixed.csv; the manifest stays as it is.
        encoding: what bytes are that are not UTF-8, such as windows-1251 or koi8-r.
        json: also write the findings to this file.
    """
    from tts_lab.corpus.lint_report import print_lint

    options = {"audio_dir": audio_dir, "audio_prefix": audio_prefix, "fix": fix, "encoding": encoding}
    found = print_lint(source, json, **options)
    if found.bad:
        raise UserError(f"{source}: {found.bad} bad lines; see above")


def prepare(
    source: Path,
    settings: PrepareSettings,
    out: Path = Path("build/corpus"),
    audio_dir: Path | None = None,
    audio_prefix: str | None = None,
    speaker: str | None = None,
    weight: str | None = None,
    voice: str | None = None,
    espeak_voice: str = "en-us",
    phoneme_type: str = "espeak",
    decisions: Path | None = None,
    jobs: int | None = None,
    json: Path | None = None,
) -> None:
    """Recordings and text to a corpus: every utterance ends as kept, or quarantined with a reason.

    Args:
        source: a manifest (comma file with a segment_index column, `id|text`, `id|speaker|text`, Festival's
            txt.done.data, metadata.jsonl), or a folder that holds one as metadata.csv, or name.wav with name.txt, or
            VCTK, or M-AILABS. `--input-csv FILE` says the same. Several corpora are one as `a+b`; the next four
            options then have a part for each, as in `--weight 1+0.5`, and an empty part is the default.
        settings: trimming, loudness and limits.
        out: the corpus folder to make or bring up to date.
        audio_dir: where the manifest's recordings are, if not beside it.
        audio_prefix: recordings are named PREFIX_0001.wav and so on.
        speaker: who speaks, if the manifest names nobody.
        weight: how often an epoch of training draws each clip, such as 0.5; once if left out.
        voice: encode with this published voice's symbols and language (path or name).
        espeak_voice: language, when no voice is given.
        phoneme_type: espeak, or text for letters as symbols.
        decisions: file of a review to follow; review.jsonl in the corpus folder if left out and there.
        jobs: processes; all cores by default.
        json: also write the summary to this file.
    """
    from tts_lab.corpus.prepare import prepare as make
    from tts_lab.frontend import Frontend

    if voice:
        from tts_lab.voices.catalogue import find_voice

        frontend = Frontend.from_voice(f"{find_voice(voice)}.json")
    else:
        frontend = Frontend(espeak_voice, phoneme_type)
    reading = {"audio_dir": audio_dir, "audio_prefix": audio_prefix, "speaker": speaker, "weight": weight}
    corpus = make(source, out, settings, frontend, **reading, decisions=decisions, jobs=jobs)
    _report(
        json,
        {
            "corpus": str(corpus.folder), "fingerprint": corpus.fingerprint, "seconds": corpus.seconds,
            "train": len(corpus.train), "validation": len(corpus.validation),
            "quarantined": [vars(item) for item in corpus.quarantined],
        },
    )  # fmt: skip


def analyze(
    corpus: Path,
    base: str | None = None,
    asr: bool = False,
    asr_model: str | None = None,
    jobs: int | None = None,
    cluster: str | None = None,
    figures: Path | None = None,
    json: Path | None = None,
) -> None:
    """Corpus to verdicts in words, pictures, and the clips to listen to, worst first; what is bad is no error.

    Table, verdicts and the list for review go into the folder `analysis` of the corpus, tags into its manifest.

    Args:
        corpus: a corpus folder, as `tts-lab prepare` makes it.
        base: voice that training will start from (path or name): are its symbols those of the corpus?
        asr: listen to every kept clip by speech recognition, and compare with its text (needs the `eval` extra).
        asr_model: a faster-whisper model for that, by name or folder; the bundled one hears English only.
        jobs: processes; all cores by default.
        cluster: address of a Dask scheduler (tcp://host:8786) whose workers measure in place of processes here.
        figures: also draw every picture into this folder, as PNG.
        json: also write everything but the table of clips to this file.
    """
    from contextlib import ExitStack
    from functools import partial

    from rich.console import Console

    from tts_lab.analysis.analysis import analyze as examine
    from tts_lab.analysis.report import print_analysis
    from tts_lab.corpus.corpus import Corpus, write_atomically
    from tts_lab.frontend import Frontend

    found = Corpus.load(corpus)
    frontend = ears = None
    if base:
        from tts_lab.voices.catalogue import find_voice

        frontend = Frontend.from_voice(f"{find_voice(base)}.json")
    if asr or asr_model:
        from tts_lab.evaluation.metrics import transcribe

        language = Frontend.from_dict(found.frontend).espeak_voice.split("-")[0]
        ears = partial(transcribe, model=asr_model, language=language)
    with ExitStack() as stack:
        executor = stack.enter_context(_cluster(cluster)).get_executor() if cluster else None
        console = Console()
        analysis = examine(found, base=frontend, jobs=jobs, executor=executor, ears=ears, console=console)
    folder = analysis.save(found.folder / "analysis")
    print_analysis(console, analysis)
    if figures:
        from tts_lab.notebook.analysis_plots import figures as draw

        for name, picture in draw(analysis).items():
            write_atomically(figures / f"{name}.png", picture.png())
    print(f"Everything is in {folder}." + (f" Pictures are in {figures}." if figures else ""))
    _report(json, analysis.to_dict())


def _cluster(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise UserError(f"--cluster needs Dask, which comes with the cluster extra: {error}.") from error
    try:
        return Client(address, timeout="20s")
    except (OSError, ValueError) as error:
        raise UserError(
            f"--cluster {address}: no Dask scheduler answers there ({error}); start one with `dask scheduler`, and "
            "workers that see the recordings under the same paths."
        ) from error


def adopt(voice: str, cache: Path = Path("build/voices"), posterior_steps: int | None = None) -> None:
    """A published ONNX voice to a training checkpoint, its posterior encoder recovered by self-distillation.

    Args:
        voice: path of a .onnx with its .onnx.json beside it, or a name.
        cache: folder of adopted voices; the same voice and settings are not done twice.
        posterior_steps: training steps of the recovery; the tested default if left out.
    """
    from tts_lab.voices.adopt import adopt as make
    from tts_lab.voices.catalogue import find_voice

    options = {} if posterior_steps is None else {"steps": posterior_steps}
    print(make(find_voice(voice), cache, **options))


def train(config: TrainConfig) -> None:
    """Corpus to run: train, or go on with, the voice that the config describes."""
    from tts_lab.training.run import train as run

    run(config)


def preflight(
    config: TrainConfig,
    instance: str = "trn1.2xlarge",
    processes: int = 1,
    hourly_rate: float | None = None,
    save_hlo: Path | None = None,
    json: Path | None = None,
) -> None:
    """Before trn1 is paid for: every graph of the run traced for Neuron here, checked, and its cost forecast.

    Args:
        config: the run, as for `tts-lab train`.
        instance: AWS instance type: trn1.2xlarge, trn1.32xlarge or trn1n.32xlarge.
        processes: in all, as torchrun would start them, one a core; each trains batch_size utterances a batch.
        hourly_rate: what an hour of it costs; the whole run's price is then forecast, too.
        save_hlo: write every graph there for neuronx-cc, and print the line that compiles it.
        json: also write findings and forecast to this file.
    """
    from tts_lab.devices.instances import check_workers, find_instance
    from tts_lab.preflight import report
    from tts_lab.preflight.run import preflight_run

    core = find_instance(instance)
    nodes = max(1, -(-processes // core.cores))
    check_workers(core.cores, processes // nodes, nodes)
    run = preflight_run(config, processes)
    forecast = report.to_dict(run, core, hourly_rate * nodes if hourly_rate else None)
    report.show(run, forecast)
    if save_hlo:
        print("\n".join(run.preflight.save_hlo(save_hlo)))
    _report(json, forecast)
    if run.preflight.errors:
        raise UserError(
            f"{len(run.preflight.errors)} errors: this run would not compile, or not compute right, on {instance}"
        )


def precompile(config: TrainConfig, processes: int = 1, out: Path = Path("build/graphs")) -> None:
    """Every graph of the run compiled before it on a Neuron machine; on any other, saved for neuronx-cc.

    Args:
        config: the run, as for `tts-lab train`; the cache is its compile_cache.
        processes: on one machine, as torchrun would start them, one a core.
        out: folder for the graphs that are saved.
    """
    from tts_lab.preflight.precompile import precompile as compile_before

    print("\n".join(compile_before(config, processes, out)))


def evaluate(
    checkpoint: Path,
    corpus: Path,
    out: Path = Path("build/evaluation"),
    sentences: int = 20,
    json: Path | None = None,
) -> None:
    """Speak unseen sentences and listen: word error rate, naturalness, similarity to held-out clips, pitch.

    Args:
        checkpoint: a training checkpoint, or an exported .onnx voice.
        corpus: corpus whose validation clips are the person to sound like.
        out: folder for the wavs.
        sentences: how many of the fixed unseen sentences to speak.
        json: also write the scores to this file.
    """
    import soundfile

    from tts_lab.corpus.corpus import Corpus
    from tts_lab.evaluation.listening import evaluate as listen
    from tts_lab.evaluation.sentences import UNSEEN_SENTENCES
    from tts_lab.voices.speak import say, speak_checkpoint

    texts, folder = UNSEEN_SENTENCES[:sentences], out / checkpoint.stem
    if checkpoint.suffix == ".onnx":
        wavs = [say(checkpoint, text, folder / f"{number}.wav") for number, text in enumerate(texts)]
    else:
        wavs = speak_checkpoint(checkpoint, texts, folder)
    clips = Corpus.load(corpus)
    human = [out / "human" / f"{clip.id}.wav" for clip in clips.validation]
    for clip, wav in zip(clips.validation, human, strict=True):
        wav.parent.mkdir(parents=True, exist_ok=True)  # an id may hold folders
        soundfile.write(wav, clips.waveform(clip), clips.sample_rate)
    scores = listen(checkpoint.stem, wavs, texts, human)
    for name, value in scores.to_dict().items():
        print(f"{name:18}{value:.3f}" if isinstance(value, float) else f"{name:18}{value}")
    _report(json, scores.to_dict())


def export(checkpoint: Path, name: str, out: Path = Path("build")) -> None:
    """Checkpoint to LANG-name-QUALITY.onnx with .onnx.json and model card, checked with Piper's own runtime.

    Args:
        checkpoint: a training checkpoint.
        name: such as en_US-sample-medium.
        out: folder for the three files.
    """
    from tts_lab.voices.export import export as make

    print(make(checkpoint, out, name))


def say(voice: str, text: str, wav: Path = Path("said.wav"), speaker: int | None = None) -> None:
    """Voice and text to a wav file, by Piper's runtime.

    Args:
        voice: path of a .onnx voice, or a name.
        text: what to say.
        wav: file to write.
        speaker: speaker id of a multi-speaker voice.
    """
    from tts_lab.voices.catalogue import find_voice
    from tts_lab.voices.speak import say as speak

    print(speak(find_voice(voice), text, wav, speaker=speaker))


def review(corpus: Path, page: Path | None = None, count: int = 50) -> None:
    """The worst clips of an analysed corpus as a page for a browser: look, listen, decide, save review.jsonl.

    Args:
        corpus: a corpus folder that `tts-lab analyze` has been through.
        page: folder for the page; the folder review-page of the corpus if left out.
        count: how many clips.
    """
    from tts_lab.analysis.analysis import Analysis
    from tts_lab.corpus.corpus import Corpus
    from tts_lab.notebook.review_page import write_review_page

    found = Corpus.load(corpus)
    analysis = Analysis.load(found.folder / "analysis")
    if analysis.fingerprint != found.fingerprint:
        print("The corpus was prepared anew since it was analysed; `tts-lab analyze` brings the list up to date.")
    print(write_review_page(analysis.table, page or found.folder / "review-page", found, count))


def _report(path: Path | None, content: Any) -> None:
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files.dumps(content, indent=1, ensure_ascii=False, default=asdict))


def _parser() -> ArgumentParser:
    set_parsing_settings(docstring_parse_attribute_docstrings=True)  # a field's docstring is its help
    parser = ArgumentParser(prog="tts-lab", description="From recordings of a voice to a Piper voice of it.")
    verbs = parser.add_subcommands()
    for function in (doctor, analyze, adopt, evaluate, export, say):
        verbs.add_subcommand(function.__name__, _verb(function))
    corpus = ArgumentParser(description="Public corpora.")
    verbs.add_subcommand("corpus", corpus)
    verbs.add_subcommand("review", _verb(review))
    corpus.add_subcommands().add_subcommand("fetch", _verb(fetch))
    linting = ArgumentParser(description=lint.__doc__.split("Args:")[0])
    linting.add_function_arguments(lint, as_group=False, as_positional=True, skip={"fix"})
    linting.add_argument("--fix", action="store_true", help="write a corrected copy beside it, metadata.fixed.csv")
    verbs.add_subcommand("lint", linting)
    preparing = ArgumentParser(description=prepare.__doc__.split("Args:")[0])
    preparing.add_function_arguments(prepare, as_group=False, as_positional=True, skip={"settings"})
    preparing.add_class_arguments(PrepareSettings, as_group=False, instantiate=False)
    verbs.add_subcommand("prepare", preparing)
    for function in (train, preflight, precompile):
        running = config_parser(function.__doc__.split("Args:")[0])
        running.add_function_arguments(function, as_group=False, skip={"config"})
        verbs.add_subcommand(function.__name__, running)
    return parser


def _verb(function: Callable[..., None]) -> ArgumentParser:
    parser = ArgumentParser(description=function.__doc__.split("Args:")[0])
    parser.add_function_arguments(function, as_group=False, as_positional=True)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one verb. Returns 0, or 1 after saying in a sentence what was wrong with the input."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    # Both spellings of a flag work, --audio-dir and --audio_dir; --input-csv names what is a positional here.
    arguments = [underscored(a) for a in arguments]
    parsed = parser.parse_args([a.removeprefix("--input_csv=") for a in arguments if a != "--input_csv"])
    options = parsed[parsed.subcommand].as_dict()
    try:
        match parsed.subcommand:
            case "train":
                options.pop("config", None)
                train(TrainConfig(**options))
            case "preflight" | "precompile" as verb:
                from tts_lab.devices.environment import COMPILING_TOOL
                from tts_lab.devices.lowering import ENVIRONMENT

                # It must stand before torch is imported, and must not where a real compiler is to get the graphs.
                lowers = verb == "preflight" or shutil.which(COMPILING_TOOL) is None
                if lowers and not ENVIRONMENT.items() <= os.environ.items():
                    again = [sys.executable, "-m", "tts_lab.cli", *arguments]
                    return subprocess.run(again, env=os.environ | ENVIRONMENT).returncode
                options.pop("config", None)
                config = TrainConfig(**{field.name: options.pop(field.name) for field in fields(TrainConfig)})
                globals()[verb](config, **options)
            case "prepare":
                settings = {field.name: options.pop(field.name) for field in fields(PrepareSettings)}
                prepare(settings=PrepareSettings(**settings), **options)
            case "corpus":
                fetch(**options["fetch"])
            case verb:
                globals()[verb](**options)
    except UserError as error:
        print(f"tts-lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("tts-lab: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
