"""The verbs for recordings: fetched, linted, prepared, analysed, advised on, reviewed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tts_lab.cli.json_report import write_report
from tts_lab.corpus.settings import PrepareSettings
from tts_lab.errors import UserError


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
    each: Mapping[str, str] | None = None,
) -> None:
    """Recordings and text to a corpus: every utterance ends as kept, or quarantined with a reason.

    Args:
        source: a manifest (comma file with a segment_index column, `id|text`, `id|speaker|text`, Festival's
            txt.done.data, metadata.jsonl), or a folder that holds one as metadata.csv, or name.wav with name.txt, or
            VCTK, or M-AILABS. `--input-csv FILE` says the same. Several corpora are one as `a+b`; audio_dir,
            audio_prefix, speaker and weight then have a part for each, as in `--weight 1+0.5`, and an empty part is
            the default. So may every setting from trim to silence_dbfs, as in `--trim true+false --loudness -23+-20`;
            one value is for all.
        settings: trimming, loudness and limits.
        each: settings of which each corpus has its own.
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
    corpus = make(source, out, settings, frontend, **reading, each=each, decisions=decisions, jobs=jobs)
    amounts = corpus.amounts()
    write_report(
        json,
        {
            "corpus": str(corpus.folder), "fingerprint": corpus.fingerprint, "seconds": corpus.seconds,
            "train": amounts["train"][0], "validation": amounts["validation"][0],
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
    from tts_lab.corpus.corpus import Corpus
    from tts_lab.corpus.wholefile import write_atomically
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
    write_report(json, analysis.to_dict())


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


def recommend(
    corpus: Path,
    base: str | None = None,
    accelerator: Literal["auto", "cpu", "cuda", "neuron"] = "auto",
    json: Path | None = None,
) -> None:
    """Fine-tune or from scratch: a decision table with this corpus's numbers, a recipe, and the command to type.

    Args:
        corpus: a corpus folder, as `tts-lab prepare` makes it.
        base: voice to start from (path or name); the bundled joe if left out, where the joe extra is installed.
        accelerator: where training will run, if not here.
        json: also write table and recipe to this file.
    """
    from importlib.util import find_spec

    from rich.console import Console

    from tts_lab.analysis.recommend import Base
    from tts_lab.analysis.recommend import recommend as choose
    from tts_lab.analysis.recommendation import print_recommendation
    from tts_lab.corpus.corpus import Corpus
    from tts_lab.devices import find_accelerator
    from tts_lab.evaluation.likeness import likeness
    from tts_lab.frontend import Frontend
    from tts_lab.notebook.machine import cores
    from tts_lab.voices.catalogue import BUNDLED, find_voice
    from tts_lab.voices.languages import published

    found = Corpus.load(corpus)
    name = base or ("joe" if find_spec(BUNDLED["joe"]) else None)
    near, voice = likeness(found, name), None
    if name:
        voice = Base.from_voice(name, find_voice(name), near.similarity, near.voice_pitch)
    locales = published(Frontend.from_dict(found.frontend).espeak_voice)
    told = choose(found, find_accelerator(accelerator), cores(), voice, near.pitch, locales)
    print_recommendation(Console(), told)
    write_report(json, told.to_dict())


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
