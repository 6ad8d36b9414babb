"""The report, the pictures in it, and the comparison they are made from."""

import json
import re
import shutil
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from matplotlib.image import imread
from test_players import Audio, heard

from tts_lab.corpus.corpus import Corpus, Quarantined, Utterance
from tts_lab.errors import UserError
from tts_lab.notebook import comparison, plots
from tts_lab.notebook.picture import WIDTH
from tts_lab.notebook.report import write_report

SAMPLES = Path(__file__).parents[1] / "data_samples"
CLIPS = sorted(SAMPLES.glob("*.flac"))[:4]


@pytest.fixture
def corpus(tmp_path) -> Corpus:
    """Four real clips, two of them kept out of training."""
    folder = tmp_path / "build" / "corpus"
    folder.mkdir(parents=True)
    utterances = []
    for number, clip in enumerate(CLIPS):
        audio, _ = soundfile.read(clip, dtype="float32")
        np.save(folder / f"{number}.npy", audio)
        split = "validation" if number % 2 else "train"
        utterances.append(
            Utterance(clip.stem, f"Text {number}.", None, f"{number}.npy", len(audio), [], [], split, [], clip.name)
        )
    aside = [Quarantined("long<one>", "metadata.csv line 3", "90 s, longer than 20 s")]
    made = Corpus(folder, 16000, utterances, aside, {}, {}, {})
    made.save()
    return made


@pytest.fixture
def workspace(corpus, monkeypatch):
    """A finished workspace: two voices that said two sentences, with the measuring of them stood in for."""
    root = corpus.folder.parent
    monkeypatch.setattr(comparison, "evaluate", lambda label, wavs, texts, human: Measured(label, len(wavs)))
    monkeypatch.setattr(comparison.metrics, "median_pitch", lambda wavs: float("nan") if "0" in wavs[0].name else 180.0)
    monkeypatch.setattr(comparison.metrics, "embeddings", lambda wavs: np.array([[1.0, 0.0], [0.6, 0.8]]))
    made = comparison.Comparison.begin(root, corpus, ["Never <said> before.", "Nor this."])
    for label, step in (("base voice", 0), ("step 60", 60)):
        said = [root / "speech" / label / f"{kind}{n}.wav" for kind in ("unseen", "held") for n in range(2)]
        said[0].parent.mkdir(parents=True)
        for wav in said:
            soundfile.write(wav, soundfile.read(CLIPS[0])[0], 16000)
        made.add(label, said[:2], said[2:], step)
    made.more = {"voice": "en_US-sample-medium.onnx", "parity": [{"phonemes": 20, "difference": 1.4e-6}]}
    made.save()
    (root / "run").mkdir()
    steps = np.arange(1, 61)
    pd.DataFrame(
        {"step": steps, "mel": 1 / steps, "kl": 1.0, "learning_rate_g": 2e-4 / steps,
         "val_mel": np.where(steps % 20, np.nan, 0.5)}
    ).to_csv(root / "run" / "metrics.csv", index=False)  # fmt: skip
    books = [{"name": "01_setup", "seconds": 90.0, "ok": True}]
    run = {"machine": "two cores", "commit": "abc", "versions": {"torch": "2.9.1"}, "started": "today"}
    (root / "run.json").write_text(json.dumps(run | {"notebooks": books}))
    return root


class Measured:
    def __init__(self, label, clips):
        self.row = {"label": label, "wer": 0.125, "mos": 4.1, "similarity": 0.65, "pitch_hz": 172.4,
                    "seconds_per_word": 0.31, "clips": clips}  # fmt: skip

    def to_dict(self):
        return dict(self.row)


def test_the_page_holds_the_whole_story(workspace):
    page = write_report(workspace).read_text()
    text = " ".join(Audio(re.sub(r"<(meta|img|source)[^>]*>|<!doctype html>", "", page)).text)
    for part in ("en_US-sample-medium.onnx", "two cores", "1.5 min", "12.5%", "172 Hz", "Never <said> before.",
                 "1.4e-06", "2 clips to train on, 2 kept out", "long<one>", "90 s, longer than 20 s",
                 "Nothing on it was run on a", "Training: 60 steps"):  # fmt: skip
        assert part in text, part
    assert text.count("What to look for.") >= 6


def test_every_player_of_the_moved_page_finds_its_file(workspace, tmp_path):
    write_report(workspace)
    shutil.move(workspace, tmp_path / "elsewhere")
    page = (tmp_path / "elsewhere" / "report.html").read_text()
    players = "".join(re.findall(r"<audio.*?</audio>", page, re.DOTALL))
    files = heard(players, tmp_path / "elsewhere")
    # Two held-out sentences by the speaker and two voices, two unseen ones by two voices.
    assert len(files) == 2 * 3 + 2 * 2 and all(path.is_file() for path in files)
    # Nothing else is fetched: pictures are in the page, and there is no script and no font from elsewhere.
    addresses = re.findall(r'(?:src|href|srcset)="([^"]{1,90})', page)
    fetched = {address for address in addresses if not address.startswith("data:image")}
    assert fetched == {audio["src"] for audio in Audio(players).found}
    assert "://" not in re.sub(r"data:image/png;base64,[^\"]+", "", page)


def test_every_picture_comes_light_and_dark(workspace):
    page = write_report(workspace).read_text()
    dark = re.findall(r'<source media="\(prefers-color-scheme: dark\)" srcset="data:image/png;base64,([^"]+)', page)
    light = re.findall(r'<img alt="[^"]+" src="data:image/png;base64,([^"]+)', page)
    assert len(dark) == len(light) == 6
    for pair in zip(light, dark, strict=True):
        corners = [imread(BytesIO(b64decode(picture)))[0, 0, :3].mean() for picture in pair]
        assert corners[0] > 0.95 and corners[1] < 0.2


def test_a_part_that_is_missing_says_so(workspace):
    shutil.rmtree(workspace / "corpus")
    (workspace / "run" / "metrics.csv").unlink()
    page = write_report(workspace).read_text()
    assert "No corpus/corpus.json in this workspace" in page and "No run/metrics.csv in this workspace" in page
    (workspace / "evaluation.json").unlink()
    with pytest.raises(UserError, match="no evaluation.json, so there is nothing to report"):
        write_report(workspace)


def test_a_voice_that_was_not_scored_in_full_is_shown_with_dashes(workspace):
    content = json.loads((workspace / "evaluation.json").read_text())
    content["scores"][1] |= {"mos": None, "pitch_hz": None, "wavs": ["gone.wav", "gone2.wav"]}
    (workspace / "evaluation.json").write_text(json.dumps(content))
    page = write_report(workspace).read_text()
    assert "<td>–</td>" in page and "step 60 · not said" in page


def test_the_comparison_keeps_to_its_file(workspace, corpus):
    again = comparison.Comparison.load(workspace)
    assert [row["label"] for row in again.scores] == ["base voice", "step 60"] and again.more["voice"]
    assert again.human["similarity"] == pytest.approx(0.6), "a clip was compared with itself"
    assert again.human["pitches"] == [180.0, 180.0] and again.scores[0]["pitches"] == [None, 180.0]
    # The speaker's clips are those kept out of training, sample for sample but for 16 bits.
    for wav, clip in zip(again.human["wavs"], corpus.validation, strict=True):
        written, rate = soundfile.read(workspace / wav)
        assert rate == corpus.sample_rate and np.abs(written - corpus.waveform(clip)).max() < 1e-4
    # Scoring a voice again replaces its row.
    again.add("step 60", [workspace / w for w in again.scores[1]["wavs"]], [], 61)
    assert [(row["label"], row["step"]) for row in again.scores] == [("base voice", 0), ("step 60", 61)]


def test_a_comparison_needs_clips_kept_out_of_training(corpus):
    for clip in corpus.utterances[1:]:
        clip.split = "train"
    with pytest.raises(UserError, match="keeps 0 clips out of training"):
        comparison.Comparison.begin(corpus.folder.parent, corpus, ["a"])


def test_trimming_is_drawn_where_it_was_done():
    """Cut a real clip by known amounts: the shading covers just those."""
    audio, rate = soundfile.read(CLIPS[0], dtype="float32")
    start, end = int(0.6 * rate), int(0.9 * rate)
    picture = plots.trimming(CLIPS[0], 0.4 * audio[start:-end], rate)
    spans = [patch.get_extents().transformed(picture.axes[0].transData.inverted()) for patch in picture.axes[0].patches]
    assert [span.x0 for span in spans] == pytest.approx([0, (len(audio) - end) / rate], abs=0.02)
    assert [span.x1 for span in spans] == pytest.approx([start / rate, len(audio) / rate], abs=0.02)


def test_padding_is_counted_as_it_is_drawn():
    picture = plots.padding([10, 20, 30, 40], [20, 40])
    assert "2 fixed shapes; 16.7%" in picture.axes[0].get_title(loc="left")  # 100 of 120 are speech


def test_losses_draw_only_what_was_measured():
    frame = pd.DataFrame({"step": range(1, 31), "mel": 1.0, "kl": 2.0, "adversarial": 0.0, "val_mel": np.nan})
    left, right = plots.losses(frame).axes
    labels = [text.get_text() for axes in (left, right) for text in axes.get_legend().get_texts()]
    assert labels == ["training", "text against sound (KL)"]


def test_an_outlier_does_not_flatten_the_curve_and_is_told():
    frame = pd.DataFrame({"step": range(1, 101), "mel": 1.0, "kl": [6e17, *[2.0] * 99]})
    left, right = plots.losses(frame).axes
    assert 2 < right.get_ylim()[1] < 10 and "up to 6e+17" in right.texts[0].get_text()
    assert not left.texts


def test_a_picture_shows_itself_in_a_notebook_without_pyplot():
    png = plots.durations({"training": [1.0, 2.0], "validation": []})._repr_png_()
    assert imread(BytesIO(png)).shape[1] == pytest.approx(WIDTH * 110, abs=1)


def test_runs_that_train_alike_lie_on_one_another():
    runs = {name: pd.DataFrame({"step": range(4), "mel": 1.0, "kl": [4.0, 3, 2, 1]}) for name in ("one", "two", "own")}
    picture = plots.compared(runs, resumed=2)
    assert [text.get_text() for text in picture.legends[0].get_texts()] == [*runs, "went on after it had ended"]
    broad, thin = picture.axes[1].lines[:2]
    assert broad.get_linewidth() > 3 * thin.get_linewidth() and list(thin.get_ydata()) == [4, 3, 2, 1]


def test_graphs_leave_out_rows_of_validations():
    frame = pd.DataFrame({"step": [0, 1, 1], "graphs_compiled": [1, 2, np.nan], "steps_traced": [1, 3, np.nan],
                          "host_seconds": [20, 0.5, np.nan]})  # fmt: skip
    left, right = plots.graphs(frame).axes
    assert [bar.get_height() for bar in right.patches] == [20, 0.5] and right.get_yscale() == "log"
    assert [list(line.get_ydata()) for line in left.lines] == [[1, 3], [1, 2]]
