"""A run that listens to itself: kept and ended by how natural it sounds."""

import pytest
import soundfile

from tts_lab.errors import UserError
from tts_lab.evaluation import metrics
from tts_lab.training.columns import read_metrics
from tts_lab.training.config import TrainConfig
from tts_lab.training.run import train

TINY = {
    "preset": "tiny", "batch_size": 2, "buckets": 1, "limit_utterances": 6, "log_every": 1, "workers": 0, "keep": 1,
    "sample_clips": 0, "accelerator": "cpu", "keep_by": "val_mos", "sentences": ["Hello there.", "Good morning."],
}  # fmt: skip


def test_the_most_natural_checkpoint_is_kept_and_the_run_ends_when_it_sounds_no_better(small_corpus, tmp_path):
    scores, heard = iter([1.5, 2.5, 2.0, 1.0, 3.0]), []

    def judge(wavs):
        heard.append([soundfile.read(wav)[0] for wav in wavs])
        return next(scores)

    config = TrainConfig(small_corpus, tmp_path, max_steps=20, validate_every=1, patience=2, sample_every=2, **TINY)
    train(config, judge)
    assert len(heard) == 4, "two validations in a row were no better than the second"
    assert [path.name for path in (tmp_path / "checkpoints").glob("best*")] == ["best-step=2-val_mos=2.5000.ckpt"]
    rows = [row["val_mos"] for row in read_metrics(tmp_path / "metrics.csv") if row["val_mos"] != ""]
    assert rows == [1.5, 2.5, 2.0, 1.0]
    for number, audio in enumerate(heard[1]):  # what it judged is what the person is given to hear
        assert (audio == soundfile.read(tmp_path / f"samples/step-2/{number}.wav")[0]).all()


@pytest.mark.filterwarnings("ignore")
def test_the_judge_of_the_command_is_distillmos(small_corpus, tmp_path):
    config = TrainConfig(small_corpus, tmp_path, max_steps=1, validate_every=1, sample_every=1, **TINY)
    train(config, metrics.judge_of_naturalness())
    (row,) = (row for row in read_metrics(tmp_path / "metrics.csv") if row["val_mos"] != "")
    spoken = [tmp_path / f"samples/step-1/{number}.wav" for number in range(2)]
    assert row["val_mos"] == pytest.approx(metrics.mos(spoken), abs=1e-4)
    assert 1 <= row["val_mos"] <= 5


def test_where_nobody_listens_it_says_so_before_anything_is_made(small_corpus, tmp_path):
    with pytest.raises(UserError, match="nobody listens here"):
        train(TrainConfig(small_corpus, tmp_path / "run", max_steps=1, **TINY))
    assert not (tmp_path / "run").exists()
