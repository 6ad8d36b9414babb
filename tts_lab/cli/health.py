"""The verbs for when something is wrong: with the machine, or with a run."""

from pathlib import Path

from tts_lab.cli.json_report import write_report
from tts_lab.errors import UserError


def doctor(workers: int = 1, json: Path | None = None) -> None:
    """Each layer that fails silently, tried: packages, espeak, sound files, devices, Neuron, memory, disk, notebooks.

    Nothing is only looked up: a sentence is spoken in phonemes, a clip decoded, a product and a spectrum computed on
    each device and compared. Every check has a time limit. A gap is told with what to do about it.

    Args:
        workers: data loading processes that shared memory must do for.
        json: also write the findings to this file.
    """
    from tts_lab.doctor.checkup import checkup

    findings = checkup(workers=workers)
    for finding in findings:
        print(f"{'ok ' if finding['ok'] else 'GAP'} {finding['what']}: {finding['found']}")
        if finding["fix"]:
            print(f"      {finding['fix']}")
    write_report(json, findings)
    if not all(finding["ok"] for finding in findings):
        raise UserError("see the lines marked GAP above; each says what to do")


def diagnose(what: str, json: Path | None = None) -> None:
    """What is wrong with a run, a log or a message: what it means, what to try, and what each try costs.

    Args:
        what: a run folder, a log file, or in quotation marks an error message or a symptom, as "skips words".
        json: also write the findings to this file.
    """
    from tts_lab.diagnosis import diagnose as find

    diagnosis = find(what)
    print(diagnosis)
    write_report(json, diagnosis.findings)
