"""Recorded runs: what is written from a run folder, and that what is shown is what lies there and nothing else."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tts_lab.errors import UserError
from tts_lab.evaluation.evaluation import Evaluation, Spoken
from tts_lab.notebook import plots, runs
from tts_lab.training.columns import COLUMNS

CLIPS = sorted((Path(__file__).parents[1] / "data_samples").rglob("*.flac"))[:8]


def row(label: str, step: int | None, kind: str, digest: str, wavs: dict, **figures) -> dict:
    measured = {"wer": 0.05, "mos": 3.5, "similarity": 0.6, "pitch_hz": 180.0, "pitch_delta": -8.0, "rate_delta": 1.0}
    known = {"label": label, "step": step, "kind": kind, "digest": digest, "files": [], "wavs": wavs, "heard": {}}
    return known | measured | figures


@pytest.fixture
def run(tmp_path) -> Path:
    """The folder of a run of 40 steps in two minutes and a half, step 20 being the better one to the ear."""
    folder = tmp_path / "run"
    folder.mkdir()
    logged = {9: 30.0, 19: 75.0, 29: 110.0, 39: 150.0}
    lines = [",".join(COLUMNS)]
    for step, seconds in logged.items():
        known = {"step": step, "epoch": 0, "seconds": seconds, "mel": 0.9, "kl": 5.0, "val_mel": 0.8}
        lines.append(",".join(str(known.get(column, "")) for column in COLUMNS))
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    (folder / "environment.json").write_text(json.dumps({"commit": "0123abc"}))
    names = [str(path) for path in CLIPS]
    spoken = Spoken("f", None, "en", None, ["One two three.", "Four five."], ["Six seven.", "Eight nine ten."])
    pairs = [{"held_out": names[n : n + 2], "sentences": names[n + 2 : n + 4]} for n in (0, 2, 4)]
    human = row("the speaker", None, "human", "", {"held_out": names[6:8]}, similarity=0.85)
    rows = [
        row("base voice", None, "base", "b", pairs[0], similarity=0.4),
        row("step 20", 20, "checkpoint", "c", pairs[1], similarity=0.7, wer=0.04),
        row("step 40", 40, "checkpoint", "d", pairs[2], similarity=0.65),
    ]
    Evaluation(folder, spoken, human, rows).save()
    return folder


def write(run: Path, out: Path) -> Path:
    return runs.record(run, out, "Fine-tuned", "tts-lab train --config a.yaml", "joe", "two cores")


def test_a_run_is_recorded_and_read_back(run, tmp_path):
    write(run, tmp_path / "runs" / "one")
    (found,) = runs.recorded(tmp_path / "runs")
    assert (found.commit, found.command) == ("0123abc", "tts-lab train --config a.yaml")
    assert found.minutes == 150 / 60
    assert found.metrics.read_bytes() == (run / "metrics.csv").read_bytes()
    assert found.evaluation.rows == Evaluation.load(run).rows
    assert found.texts == ["Six seven.", "One two three."]


def test_the_sounds_kept_are_those_of_the_chosen_checkpoint_to_the_last_sample(run, tmp_path):
    write(run, tmp_path / "runs" / "one")
    (found,) = runs.recorded(tmp_path / "runs")
    assert list(found.sounds) == ["the speaker", "base voice", "step 20"]  # liker and clearer than the last
    assert found.sounds["the speaker"][1] is None  # nobody recorded an unseen sentence
    kept = [found.sounds["the speaker"][0], *found.sounds["base voice"], *found.sounds["step 20"]]
    for flac, wav in zip(kept, (CLIPS[6], CLIPS[0], CLIPS[2], CLIPS[2], CLIPS[4]), strict=True):
        assert flac.parent == found.folder and flac.suffix == ".flac"
        ours, theirs = soundfile.read(flac, dtype="int16"), soundfile.read(wav, dtype="int16")
        assert ours[1] == theirs[1] and np.array_equal(ours[0], theirs[0])


def test_the_table_says_what_each_checkpoint_cost_and_what_was_measured(run):
    evaluation = Evaluation.load(run)
    rows = runs.decision_rows("joe", run / "metrics.csv", evaluation)
    assert [(r["start"], r["steps"], r["minutes"], r["likeness"]) for r in rows] == [
        ("joe", 20, 75 / 60, 0.7), ("joe", 40, 150 / 60, 0.65)]  # fmt: skip
    assert runs.base_row(evaluation).keys() == rows[0].keys() == runs.human_row(evaluation).keys()
    assert runs.base_row(evaluation)["likeness"] == 0.4 and runs.human_row(evaluation)["likeness"] == 0.85


def test_a_run_that_nobody_listened_to_has_no_figures(run, tmp_path):
    (run / "evaluation.json").unlink()
    write(run, tmp_path / "runs" / "one")
    (found,) = runs.recorded(tmp_path / "runs")
    assert found.evaluation is None and found.sounds == {}
    (only,) = runs.decision_rows("joe", found.metrics, None)
    assert only["steps"] == 40 and only["minutes"] == 150 / 60
    assert [only[name] for name in ("likeness", "words misheard", "naturalness", "pitch off")] == [None] * 4


def test_nothing_recorded_is_nothing_shown(tmp_path):
    assert runs.recorded(tmp_path / "not-there") == []


def test_all_that_is_wrong_with_recorded_runs_is_said_at_once(run, tmp_path):
    for name in ("one", "two", "three"):
        write(run, tmp_path / "runs" / name)
    (tmp_path / "runs/one/2-0.flac").unlink()
    (tmp_path / "runs/two/run.json").write_text('{"title": "x", "files": {"metrics": "metrics.csv"}}')
    with pytest.raises(UserError) as told:
        runs.recorded(tmp_path / "runs")
    assert re.search(r"one/run\.json names files that are not beside it: 2-0\.flac", str(told.value))
    assert re.search(r"two/run\.json .*'command'", str(told.value)) and "three" not in str(told.value)


def test_the_runs_of_the_repository_can_be_shown():
    """Whatever lies in docs/runs is whole, small, and tells the commit that made it."""
    root = Path(__file__).parents[1] / "docs" / "runs"
    shown = runs.recorded(root)
    assert {found.folder.name for found in shown} >= {"staged", "plain", "scratch"}
    for found in shown:
        assert re.fullmatch(r"[0-9a-f]{7,40}", found.commit), found.folder
        assert sum(path.stat().st_size for path in found.folder.iterdir()) < 3_000_000, found.folder
        assert found.minutes > 0 and runs.decision_rows(found.start, found.metrics, found.evaluation)
    voices, said = runs.listening(shown)
    assert voices == ["the speaker", "base voice", *[f"{run.title}, {list(run.sounds)[-1]}" for run in shown]]
    for number, wavs in enumerate(said.values()):
        assert wavs[:2] == [shown[0].sounds[label][number] for label in ("the speaker", "base voice")]
        assert wavs[2:] == [list(run.sounds.values())[-1][number] for run in shown]


def test_each_run_has_a_colour_and_the_clock_is_in_minutes(run):
    metrics = plots.read_metrics(run / "metrics.csv")
    left = plots.starts({"a": metrics, "b": metrics.assign(mel=1.5)}, clock=True).axes[0]
    lines = {line.get_label(): line for line in left.lines if not line.get_label().startswith("_")}
    assert lines["a"].get_color() != lines["b"].get_color()
    assert np.allclose(lines["a"].get_xdata(), [0.5, 1.25, 110 / 60, 2.5]) and set(lines["b"].get_ydata()) == {1.5}
