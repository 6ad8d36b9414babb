"""Two runs beside one another: what they record, what differs between them, and who is ahead since when."""

import json
import os
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from tts_lab.cli import main
from tts_lab.corpus.corpus import Corpus
from tts_lab.errors import UserError
from tts_lab.evaluation.compared import compare_runs
from tts_lab.evaluation.evaluation import Evaluation, Spoken
from tts_lab.evaluation.lead import best, lead, lead_by_time
from tts_lab.training.columns import COLUMNS
from tts_lab.training.config import TrainConfig
from tts_lab.training.metrics import read_metrics
from tts_lab.training.record import NAME, code, lock, stretches_of, write_record
from tts_lab.training.run import train

pytestmark = pytest.mark.filterwarnings("ignore")
SETTINGS = {
    "preset": "tiny", "batch_size": 2, "limit_utterances": 8, "validate_every": 2, "sample_every": 100,
    "checkpoint_every": 2, "log_every": 1, "workers": 0, "keep": 0, "accelerator": "cpu", "sample_clips": 0,
    "sentences": [], "buckets": 1, "adversarial_from": 100,
}  # fmt: skip


@pytest.fixture(scope="module")
def few_clips(small_corpus, tmp_path_factory) -> Path:
    """Twelve clips: training's and validation's."""
    corpus, folder = Corpus.load(small_corpus), tmp_path_factory.mktemp("few")
    corpus.utterances = corpus.train[:8] + corpus.validation[:2]
    (folder / "audio").mkdir()
    for utterance in corpus.utterances:
        shutil.copyfile(small_corpus / utterance.audio, folder / utterance.audio)
    corpus.folder = folder
    corpus.save()
    return folder


@pytest.fixture(scope="module")
def runs(few_clips, tmp_path_factory) -> tuple[Path, Path]:
    """Two runs of the tiny preset that differ in one setting."""
    folder = tmp_path_factory.mktemp("runs")
    for name, rate in (("slow", 2e-4), ("quick", 2e-3)):
        with patch.dict(os.environ):  # libraries leave variables behind, which a second process would not have
            train(TrainConfig(few_clips, folder / name, max_steps=6, learning_rate=rate, **SETTINGS))
    return folder / "slow", folder / "quick"


def written(folder: Path, columns: dict[str, list[tuple[int, float]]], seconds_a_step: float) -> Path:
    """A run folder with a metrics.csv of validations after so many steps."""
    folder.mkdir(parents=True)
    rows: dict[int, dict] = {}
    for name, points in columns.items():
        for step, value in points:
            rows.setdefault(step, {"seconds": step * seconds_a_step})[name] = value
    lines = [",".join(COLUMNS)]
    for step, row in sorted(rows.items()):
        cells = {"step": step - 1} | row
        lines.append(",".join(str(cells.get(name, "")) for name in COLUMNS))
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_a_run_records_what_it_was_made_with(runs, few_clips):
    (made,) = stretches_of(runs[0])
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    assert made["commit"] == head and made["from_step"] == 0 and made["processes"] == 1
    assert made["corpus"]["fingerprint"] == Corpus.load(few_clips).fingerprint
    assert made["corpus"]["train"]["clips"] == 8
    assert made["config"]["learning_rate"] == 2e-4 and made["config"]["accelerator"] == "cpu"
    assert made["lock"]["sha256"] and made["packages"]["torch"].startswith("2.")


def test_stretches_are_kept_where_something_differs_and_undone_ones_are_not(few_clips, tmp_path):
    corpus, settings = Corpus.load(few_clips), {"accelerator": "cpu", "batch_size": 2}
    write_record(tmp_path, settings, corpus, 1, 0)
    write_record(tmp_path, settings, corpus, 1, 10)  # the same again: nothing began
    assert [one["from_step"] for one in stretches_of(tmp_path)] == [0]
    write_record(tmp_path, settings | {"batch_size": 4}, corpus, 1, 20)
    write_record(tmp_path, settings, corpus, 2, 30)
    assert [(one["from_step"], one["config"]["batch_size"], one["processes"]) for one in stretches_of(tmp_path)] == [
        (0, 2, 1), (20, 4, 1), (30, 2, 2)
    ]  # fmt: skip
    write_record(tmp_path, settings | {"batch_size": 8}, corpus, 1, 20)  # killed before its first checkpoint
    assert [(one["from_step"], one["config"]["batch_size"]) for one in stretches_of(tmp_path)] == [(0, 2), (20, 8)]
    content = json.loads((tmp_path / NAME).read_text())
    assert content["config"]["batch_size"] == 8 and len(content["before"]) == 1
    (tmp_path / NAME).write_text("{ cut off")
    write_record(tmp_path, settings, corpus, 1, 40)
    assert [one["from_step"] for one in stretches_of(tmp_path)] == [40]


def test_the_code_is_told_by_commit_and_changes(tmp_path):
    package = tmp_path / "repository" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    assert code(package)["commit"] is None, "no repository"
    subprocess.run([*git, "init", "-q"], cwd=package.parent, check=True)
    assert code(package)["commit"] is None, "in a repository, but not part of it"
    subprocess.run([*git, "add", "."], cwd=package.parent, check=True)
    subprocess.run([*git, "commit", "-qm", "one"], cwd=package.parent, check=True)
    clean = code(package)
    assert len(clean["commit"]) == 40 and clean["dirty"] == [] and clean["changes"] is None
    (package / "__init__.py").write_text("x = 1\n")
    changed = code(package)
    assert changed["dirty"] == ["package/__init__.py"] and changed["commit"] == clean["commit"]
    (package / "new.py").write_text("y = 1\n")
    assert code(package)["changes"] not in (None, changed["changes"])
    (package.parent / "notes.txt").write_text("not code")
    assert code(package)["dirty"] == ["package/__init__.py", "package/new.py"]


def test_the_lock_names_what_was_installed_otherwise(tmp_path):
    path = tmp_path / "requirements.lock"
    path.write_text("torch==2.9.1 \\\n    --hash=sha256:0\npiper-tts==1.8.0 ; x\nPyYAML==6.0\n    # via torch==9\n")
    found = lock(path, {"torch": "2.9.1", "piper_tts": "1.7.0", "pyyaml": "6.0", "mine": "0"})
    assert found["differs"] == {"piper_tts": "1.7.0, locked 1.8.0"}
    assert lock(tmp_path / "none", {}) is None


def test_two_runs_differ_in_the_one_setting(runs, tmp_path, capsys):
    picture, report = tmp_path / "curves.png", tmp_path / "compared.json"
    assert main(["compare", *map(str, runs), "--plot", str(picture), "--json", str(report)]) == 0
    said = capsys.readouterr().out
    found = json.loads(report.read_text())
    assert found["settings"] == [["learning_rate", 2e-4, 2e-3]]
    assert found["corpus"] == found["code"] == found["environment"] == []
    assert "learning_rate" in said and "environment: no difference" in said and "batch_size" not in said
    rows = [read_metrics(run / "metrics.csv") for run in runs]
    values = [{row["step"] + 1: row["val_mel"] for row in one if row["val_mel"] != ""} for one in rows]
    moments = found["curves"]["val_mel"]["by step"]["moments"]
    assert moments == [[step, values[0][step], values[1][step]] for step in (2, 4, 6)]
    ahead = "slow" if values[0][6] < values[1][6] else "quick"
    assert f"At the same step, {ahead} is ahead" in said
    assert "not evaluated" in said
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_what_is_not_a_run_is_told_all_at_once(runs, tmp_path, capsys):
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    said = capsys.readouterr().err
    assert str(tmp_path / "a") in said and str(tmp_path / "b") in said
    with pytest.raises(UserError, match="same folder"):
        compare_runs(runs[0], runs[0].parent / "quick" / ".." / "slow")


def test_runs_with_nothing_in_common_say_so_in_one_sentence(tmp_path):
    a = written(tmp_path / "a", {"val_mel": [(10, 0.5)]}, 1)
    b = written(tmp_path / "b", {"val_kl": [(10, 1.5)]}, 1)
    (b / "evaluation.json").write_text("[")
    compared = compare_runs(a, b)
    assert compared.curves == []
    (note,) = (note for note in compared.notes if "no curve in common" in note)
    for part in ("b did not measure val_mel", "a did not measure val_kl", "a was not evaluated", "cannot be read"):
        assert part in note
    assert not any(row for row in compared.settings)


def test_naturalness_while_training_is_compared_where_it_was_measured_and_more_is_better(tmp_path):
    quick = written(tmp_path / "quick", {"val_mos": [(10, 1.5), (20, 2.5)]}, 1)
    slow = written(tmp_path / "slow", {"val_mos": [(10, 1.4), (20, 1.9)]}, 1)
    (curve,) = compare_runs(quick, slow).curves
    assert curve.name == "val_mos" and "At the same step, quick is ahead" in curve.told(("quick", "slow"))
    without = compare_runs(quick, written(tmp_path / "deaf", {"val_mel": [(10, 0.5)]}, 1))
    assert any("deaf did not measure val_mos" in note for note in without.notes)


def test_runs_of_one_name_are_told_apart_and_corpora_are_compared(few_clips, small_corpus, tmp_path):
    points = {"val_mel": [(10, 0.5), (20, 0.4)]}
    a, b = (written(tmp_path / side / "run", points, 1) for side in ("one", "two"))
    shutil.copyfile(few_clips / "corpus.json", a / "corpus.json")
    shutil.copyfile(small_corpus / "corpus.json", b / "corpus.json")
    compared = compare_runs(a, b)
    assert compared.names == ("one/run", "two/run")
    more = {split: len(getattr(Corpus.load(small_corpus), split)) for split in ("train", "validation")}
    assert ("train clips only here", 0, more["train"] - 8) in compared.corpus
    assert any("validation clips are not the same" in note for note in compared.notes)
    assert "level at all 2 steps" in compared.lines()[-1 - len(compared.notes)]


def test_evaluations_are_compared_where_they_said_the_same(tmp_path):
    spoken = Spoken("f", None, "en", None, ["one two"], ["three"])
    folders = [written(tmp_path / name, {"val_mel": [(s, 0.5) for s in (10, 20)]}, 2) for name in ("a", "b")]
    figures = {"a": [(0.3, 3.0, -8.0), (0.1, 3.5, 4.0)], "b": [(0.2, 3.1, 2.0), (0.2, 3.4, -5.0)]}
    for folder in folders:
        rows = [
            {"kind": "checkpoint", "step": step, "label": f"{step}", "digest": f"{step}", "wer": wer, "mos": mos,
             "similarity": 0.5, "pitch_delta": pitch, "rate_delta": None, "files": [], "wavs": {}, "heard": {}}
            for step, (wer, mos, pitch) in zip((10, 20), figures[folder.name], strict=True)
        ]  # fmt: skip
        Evaluation(folder, spoken, {}, rows).save()
    curves = {curve.name: curve for curve in compare_runs(*folders).curves}
    assert curves.keys() == {"val_mel", "wer", "mos", "similarity", "pitch_delta"}
    ahead = {name: [m.ahead for m in curve.by_step.moments] for name, curve in curves.items()}
    level = {"val_mel": [0, 0], "similarity": [0, 0]}
    assert ahead == level | {"wer": [2, 1], "mos": [2, 1], "pitch_delta": [2, 1]}
    assert curves["mos"].by_step.told("a", "b") == "a is ahead since step 20 (at 1 of 2 steps, b at 1)"
    other = asdict(spoken) | {"sentences": ["else"]}
    Evaluation(folders[0], Spoken(**other), {}, Evaluation.load(folders[0]).rows).save()
    apart = compare_runs(*folders)
    assert [curve.name for curve in apart.curves] == ["val_mel"] and any("other sentences" in n for n in apart.notes)


def test_who_leads_equals_brute_force():
    draw = np.random.default_rng(5)
    for _ in range(300):
        smaller = bool(draw.integers(2))
        curves = []
        for _ in range(2):
            places = draw.choice(30, draw.integers(1, 15), replace=False)
            values = draw.integers(0, 4, len(places)).astype(float)
            values[draw.random(len(places)) < 0.1] = np.nan
            curves.append([(int(at), float(value)) for at, value in zip(places, values, strict=True)])
        known = [{at: v for at, v in curve if v == v} for curve in curves]

        def winner(a: float, b: float, sign: int = 1 if smaller else -1) -> int:
            return {True: 1, False: 2}[a * sign < b * sign] if a != b else 0

        found = lead(*curves, smaller)
        expected = [(at, winner(known[0][at], known[1][at])) for at in range(30) if all(at in k for k in known)]
        assert [(m.at, m.ahead) for m in found.moments] == expected
        if expected:
            final = expected[-1][1]
            others = [n for n, (_, who) in enumerate(expected) if who != final]
            assert found.since == expected[others[-1] + 1 if others else 0][0] and found.ahead == final
            led = "".join(str(who) for _, who in expected if who)
            assert found.changes == led.count("12") + led.count("21")
        by_time = lead_by_time(*curves, smaller)
        latest = [{t: max((at for at in k if at <= t), default=None) for t in range(30)} for k in known]
        expected = [
            (t, winner(known[0][latest[0][t]], known[1][latest[1][t]]))
            for t in range(30)
            if all(known) and any(t in k for k in known) and all(one[t] is not None for one in latest)
            and t <= min(max(k) for k in known)
        ]  # fmt: skip
        assert [(m.at, m.ahead) for m in by_time.moments] == expected
        top = (min if smaller else max)(known[0].values(), default=None)
        assert best(curves[0], smaller) == (
            None if top is None else (min(at for at, value in known[0].items() if value == top), top)
        )


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ([3, 2, 1], [4, 3, 2], "a is ahead at all 3 steps that both have"),
        ([3, 3, 1], [2, 2, 2], "a is ahead since step 3 (at 1 of 3 steps, b at 2)"),
        ([1, 3, 1, 3], [2, 2, 2, 2], "b is ahead since step 4 (at 2 of 4 steps, a at 2; the lead changed 3 times)"),
        ([2, 2], [2, 2], "level at all 2 steps that both have"),
        ([1, 2], [2, 2], "level since step 2; before, ahead: a at 1, of 2 steps"),
        ([1], [2], "a is ahead at the one step that both have"),
        ([], [2], "no step at which both were measured"),
    ],
)
def test_the_sentence_says_who_is_ahead_since_when(first, second, said):
    points = [[(n + 1, float(value)) for n, value in enumerate(values)] for values in (first, second)]
    assert lead(*points, smaller=True).told("a", "b") == said
