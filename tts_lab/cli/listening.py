"""The verbs for ears: checkpoints listened to, advised on, averaged."""

from pathlib import Path

from tts_lab.cli.json_report import write_report
from tts_lab.errors import UserError


def evaluate(
    run: Path,
    corpus: Path | None = None,
    out: Path | None = None,
    base: str | None = None,
    sentences: int = 20,
    clips: int | None = None,
    texts: Path | None = None,
    speaker: str | None = None,
    asr_model: str | None = None,
    json: Path | None = None,
) -> None:
    """Every kept checkpoint speaks and is listened to: figures in evaluation.json, one page to hear them on.

    Word and character error rate, naturalness, likeness, pitch and speaking rate beside the person's held-out clips.
    A checkpoint that was listened to before is not done again.

    Args:
        run: a run folder, or a single checkpoint or exported .onnx voice.
        corpus: corpus whose validation clips are the person to sound like; left out, the one the run was trained on.
        out: folder for evaluation.json, evaluation.html and recordings; left out, the run folder, or build/evaluation.
        base: the voice the run started from, to measure against: a checkpoint, an .onnx or a name.
        sentences: how many of the fixed unseen sentences to speak.
        clips: how many of the person's held-out clips to speak after, 8 if left out; pitch and rate are told by these.
        texts: a file with unseen sentences in the voice's language, one a line, in the place of the English ones.
        speaker: of a multi-speaker corpus, the one to listen to.
        asr_model: any faster-whisper model, by name or folder; left out, tiny.en.
        json: also write the figures to this file.
    """
    from tts_lab.corpus.corpus import Corpus
    from tts_lab.evaluation.advice import advise as advise_on
    from tts_lab.evaluation.choice import choose
    from tts_lab.evaluation.run import HELD_OUT, choose_clips, evaluate_run, find_corpus, find_voices, what_is_said
    from tts_lab.notebook.advice_plot import advice_plot
    from tts_lab.notebook.evaluation_page import write_evaluation_page

    clips_of = Corpus.load(corpus or find_corpus(run))
    chosen = choose_clips(clips_of, HELD_OUT if clips is None else clips, speaker)
    spoken = what_is_said(clips_of, chosen, sentences, texts, speaker, asr_model)
    done = evaluate_run(
        find_voices(run, base), clips_of, out or (run if run.is_dir() else Path("build/evaluation")), spoken, chosen
    )
    advised = advise_on(run, done) if (run / "metrics.csv").is_file() else None
    picture = advice_plot(run, done, advised) if advised else None
    judged = choose(done.rows, done.human, spoken.words)
    for row, one in zip(done.rows, judged, strict=True):
        print(
            f"{f'* {one.place}' if one.place else '   '} {row['label']:22} words misheard {row['wer']:6.1%}  "
            f"naturalness {row['mos']:.2f}  likeness {row['similarity']:.2f}  pitch {_off(row['pitch_delta'])}  "
            f"rate {_off(row['rate_delta'])}\n    {one.reason}"
        )
    if advised:
        print(advised.headline)
    print(write_evaluation_page(done, run.resolve().name, advised, picture))
    write_report(json, {"human": done.human, "rows": done.rows, "choice": judged})


def advise(run: Path, plot: Path | None = None, json: Path | None = None) -> None:
    """Go on, stop, or take an earlier checkpoint: what metrics.csv and evaluation.json of a run say, and why.

    Args:
        run: a run folder, at work or done; `tts-lab evaluate` first makes the advice a strong one.
        plot: write the evidence as a picture (.png) there.
        json: also write advice and evidence to this file.
    """
    from tts_lab.evaluation.advice import advise as advise_on
    from tts_lab.evaluation.evaluation import Evaluation

    heard = Evaluation.load(run)
    advice = advise_on(run, heard)
    print(f"{advice.headline}\n  because {advice.because}")
    for one in advice.evidence:
        print(f"  {one.signal}: {one.told}")
    for warning in advice.warnings:
        print(f"  mind: {warning}")
    if plot:
        from tts_lab.corpus.wholefile import write_atomically
        from tts_lab.notebook.advice_plot import advice_plot

        write_atomically(plot, advice_plot(run, heard, advice).png())
        print(plot)
    write_report(json, advice.to_dict())


def compare(first: Path, second: Path, plot: Path | None = None, json: Path | None = None) -> None:
    """Two runs beside one another: what differs in settings, environment, corpus and code, and who is ahead since when.

    Args:
        first: a run folder, at work or done.
        second: another one.
        plot: write the curves of both over each other as a picture (.png) there.
        json: also write everything to this file.
    """
    from tts_lab.evaluation.compared import compare_runs

    compared = compare_runs(first, second)
    print("\n".join(compared.lines()))
    if plot:
        from tts_lab.corpus.wholefile import write_atomically
        from tts_lab.notebook.compared_plot import compared_plot

        write_atomically(plot, compared_plot(compared).png())
        print(plot)
    write_report(json, compared.to_dict())


def average(checkpoints: list[Path], last: int | None = None, out: Path | None = None) -> None:
    """One checkpoint from several: the mean of their generators' weights, to be spoken with, exported, started from.

    Args:
        checkpoints: a run folder, of which the last few are taken, or the checkpoints themselves.
        last: how many of a run folder's kept checkpoints.
        out: file to write; left out, averaged-last-K.ckpt in the run folder, where `tts-lab evaluate` finds it.
    """
    from tts_lab.voices.averaging import average as make
    from tts_lab.voices.averaging import last_checkpoints

    run = checkpoints[0]
    if run.is_dir() and len(checkpoints) == 1:
        if last is None or last < 2:
            raise UserError("say with --last how many of the run's checkpoints to average, two or more")
        chosen, out = last_checkpoints(run, last), out or run / f"averaged-last-{last}.ckpt"
    elif any(path.is_dir() for path in checkpoints) or last is not None or out is None:
        raise UserError("give either one run folder and --last K, or checkpoint files and --out FILE")
    else:
        chosen = checkpoints
    print(f"{make(chosen, out)}: the mean of {', '.join(path.name for path in chosen)}")


def _off(percent: float | None) -> str:
    return "   – " if percent is None else f"{percent:+4.0f} %"
