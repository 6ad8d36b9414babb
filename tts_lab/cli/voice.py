"""The verbs for voices: adopted, trained, checked for Neuron, exported, spoken with."""

from pathlib import Path

from tts_lab.cli.json_report import write_report
from tts_lab.errors import UserError
from tts_lab.training.config import TrainConfig
from tts_lab.voices.best import HEARD


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


def inspect(file: Path, corpus: Path | None = None, json: Path | None = None) -> None:
    """What a file is: a voice, a checkpoint of ours or Piper's, or a run; and whether a run can start from it.

    Args:
        file: a .onnx voice, a checkpoint, or the folder of a run.
        corpus: a prepared corpus: say what a run on it would take over.
        json: also write what was found to this file.
    """
    from tts_lab.voices.inspection import inspect as look

    found = look(file, corpus)
    print(found)
    write_report(json, found)


def train(config: TrainConfig) -> None:
    """Corpus to run: train, or go on with, the voice that the config describes."""
    from tts_lab.training.run import train as run

    judge = None
    if config.keep_by == HEARD:
        from tts_lab.evaluation.metrics import judge_of_naturalness

        judge = judge_of_naturalness()
    run(config, judge)


def reproduce(file: Path, json: Path | None = None) -> None:
    """A step whose numbers went bad, done again from the file the run wrote of it, and where it went bad first.

    Args:
        file: bad-STEP.pt in the run's folder.
        json: also write what was found to this file.
    """
    from tts_lab.training.reproduce import reproduce as again

    found = again(file)
    print("\n".join(found.lines()))
    write_report(json, found)
    if not found.same:
        raise UserError(f"{file}: the step did not go bad as it did in the run, which was on {found.device}")


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
    write_report(json, forecast)
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
