"""The advisor against curves whose answer is known, and the rule that chooses the best few."""

import json
from pathlib import Path

import numpy as np
import pytest

from tts_lab.cli import main
from tts_lab.evaluation.advice import GO_ON, STOP, TAKE, advise, advise_on
from tts_lab.evaluation.choice import best, choose, limits
from tts_lab.evaluation.discrimination import discrimination
from tts_lab.evaluation.evaluation import Evaluation, Spoken
from tts_lab.evaluation.trend import trend
from tts_lab.notebook.advice_plot import advice_plot, evidence_plot

STEPS = np.linspace(0, 1, 16)
FALLING, SETTLED = 0.3 + 0.2 * np.exp(-STEPS), 0.3 + 0.2 * np.exp(-20 * STEPS)
TURNING = 0.4 + 0.4 * (STEPS - 0.4) ** 2
ALLISON = {"wer": 0.03, "mos": 4.3, "similarity": 0.9, "frame_rate_share": 0.06}
GOOD = {"wer": 0.03, "mos": 4.1, "similarity": 0.75, "pitch_delta": -5.0, "rate_delta": 3.0, "frame_rate_share": 0.06}


def logged(validation, noise: float = 0.002, seed: int = 0, **columns) -> list[dict]:
    """Rows as `read_metrics` gives them: a validation every 100 steps, the training mel falling between them."""
    scatter = 1 + noise * np.random.default_rng(seed).normal(size=len(validation))
    rows = []
    for number, value in enumerate(np.asarray(validation) * scatter):
        rows += [{"step": 100 * number + 49 + 50 * half, "mel": 0.6 - 0.004 * number, "learning_rate_g": 2e-4,
                  **{name: float(column[number]) for name, column in columns.items()}} for half in (0, 1)]  # fmt: skip
        rows.append({"step": 100 * number + 99, "val_mel": float(value), "mel": ""})
    return rows


def heard(*changes: dict, base: bool = True, human: dict = ALLISON) -> Evaluation:
    """An evaluation of checkpoints at 100, 200, …: each differs from a good voice as told. 200 words were said."""
    spoken = Spoken("f", None, "en", None, ["one two three four five six seven eight nine ten"] * 20, ["a", "b"])
    rows = [{**GOOD, "similarity": 0.47, "label": "base voice", "kind": "base", "step": None, "files": [], "wer": 0.03}]
    rows = rows if base else []
    for number, change in enumerate(changes, 1):
        files = [f"checkpoints/step-{100 * number}.ckpt"]
        rows.append({**GOOD, "label": f"step {100 * number}", "kind": "checkpoint", "step": 100 * number,
                     "files": files, **change})  # fmt: skip
    return Evaluation(Path("nowhere"), spoken, human, rows)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("curve", "verdict", "step"),
    [(FALLING, GO_ON, None), (SETTLED, STOP, None), (TURNING, TAKE, 700), (FALLING[:2], GO_ON, None)],
)
def test_without_ears_the_validation_mel_decides_weakly(curve, verdict, step, seed: int) -> None:
    advice = advise_on(logged(curve, seed=seed), None, [f"checkpoints/best-step={n}-val_mel=0.4.ckpt" for n in (700,)])
    assert advice.verdict == verdict and not advice.strong and "nobody has listened" in advice.headline
    if step:
        assert abs(advice.step - step) <= 200
        assert (advice.file is not None) == (advice.step == 700)
        assert any(one.signal == "overfitting" for one in advice.evidence)


def judged(validation, mos) -> list[dict]:
    """The same, where every validation was listened to as well."""
    rows = logged(validation)
    for row, value in zip(rows[2::3], mos, strict=True):
        row["val_mos"] = float(value)
    return rows


def test_the_validation_mos_goes_before_the_validation_mel() -> None:
    rough = np.random.default_rng(0).normal(size=16)
    rising, turning = 2 + STEPS + 0.02 * rough, 3 - 4 * (STEPS - 0.4) ** 2 + 0.01 * rough
    advice = advise_on(judged(TURNING, rising), None)  # further from the recordings, and more natural all the way
    assert advice.verdict == GO_ON and advice.step >= 1500 and "MOS still rises" in advice.because
    assert [one.signal for one in advice.evidence][:2] == ["validation MOS", "validation mel"]
    advice = advise_on(judged(FALLING, turning), None)  # nearer and nearer, and no longer natural
    assert advice.verdict == TAKE and abs(advice.step - 700) <= 200
    advice = advise_on(judged(SETTLED, np.full(16, 3) + 0.001 * rough), None)
    assert advice.verdict == STOP and "validation mel" in advice.because  # level MOS: the mel is asked
    assert len(evidence_plot(judged(FALLING, rising), None, None).axes) == 2


def test_flat_curves_are_seldom_taken_for_rising() -> None:
    verdicts = [advise_on(logged(np.full(12, 0.5), 0.005, seed), None).verdict for seed in range(100)]
    assert verdicts.count(TAKE) <= 10  # two looks at five in a hundred
    falls = [trend(range(12), 0.5 * (1 + 0.005 * np.random.default_rng(seed).normal(size=12))).word
             for seed in range(200)]  # fmt: skip
    assert sum(word in ("falls", "rises") for word in falls) <= 20


def test_a_rough_curve_is_not_called_flat() -> None:
    rough = advise_on(logged(np.full(6, 0.5), 0.03), None)
    assert rough.verdict == GO_ON and "nothing clear" in rough.because


def test_trend_agrees_with_an_interval_done_by_hand() -> None:
    x, y = np.array([0.0, 1, 2, 3, 4]), np.array([5.0, 4.1, 2.9, 2.1, 0.9])
    slope = ((x - 2) * (y - 3)).sum() / 10
    scatter = np.sqrt(((y - 3 - slope * (x - 2)) ** 2).sum() / 3 / 10)
    found = trend(x, y, after=-1)
    assert found.change == pytest.approx(4 * slope) and found.noise == pytest.approx(4 * 3.18245 * scatter, rel=1e-5)
    assert found.word == "falls" and (found.first, found.last, found.points) == (0, 4, 5)


def test_a_voice_from_scratch_that_never_spoke_has_not_collapsed() -> None:
    silent = {"wer": 1.0, "mos": 1.5, "similarity": 0.47}
    for curve, verdict in ((FALLING, GO_ON), (SETTLED, STOP)):
        advice = advise_on(logged(curve), heard(silent, silent, base=False))
        assert advice.verdict == verdict and "collapsed" not in advice.because
    assert "collapsed" in advise_on(logged(FALLING), heard(silent, silent)).because  # its base voice spoke


CASES = {
    "likeness still rises": (FALLING, [{"similarity": 0.6}, {"similarity": 0.7}, {"similarity": 0.75}], GO_ON, 300),
    "nothing gets better": (SETTLED, [{"similarity": 0.6}, {"similarity": 0.745}, {"similarity": 0.75}], STOP, 300),
    "two later ones bring nothing": (
        FALLING, [{"similarity": 0.8}, {"similarity": 0.79, "mos": 4.0}, {"similarity": 0.78, "mos": 4.0}], TAKE, 100),
    "one later one, mel falls": (FALLING, [{"similarity": 0.8}, {"similarity": 0.78, "mos": 4.0}], GO_ON, 100),
    "one later one, mel rests": (SETTLED, [{"similarity": 0.8}, {"similarity": 0.78, "mos": 4.0}], TAKE, 100),
    "words lost for good": (FALLING, [{}, {"wer": 0.4}], TAKE, 100),
    "words come back": (FALLING, [{"wer": 0.64}, {"wer": 0.49}, {"wer": 0.22}], GO_ON, None),
    "collapsed from the start": (FALLING, [{"frame_rate_share": 0.4, "mos": 1.5}], STOP, None),
    "buzzes in the end": (FALLING, [{}, {"frame_rate_share": 0.45, "similarity": 0.9}], TAKE, 100),
    "overfits, the best is old": (TURNING, [{"similarity": 0.8}, {"similarity": 0.78, "mos": 4.0}], TAKE, 100),
    "overfits, the best is new": (TURNING, [{"similarity": 0.6}, {"similarity": 0.8}], STOP, 200),
    "naturalness fades": (SETTLED, [{}, {"mos": 3.7}, {"mos": 3.5}], TAKE, 100),
    "none passes, nothing moves": (SETTLED, [{"wer": 0.12}, {"wer": 0.12}], STOP, None),
    "none passes, it gets better": (SETTLED, [{"mos": 3.0}, {"mos": 3.4}], GO_ON, None),
    "one evaluation": (SETTLED, [{}], GO_ON, 100),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_with_ears_the_voice_decides(name: str) -> None:
    curve, rows, verdict, step = CASES[name]
    advice = advise_on(logged(curve), heard(*rows))
    assert (advice.verdict, advice.step) == (verdict, step), advice
    assert advice.strong and advice.file == (f"checkpoints/step-{step}.ckpt" if step else None)
    assert any(f"step {100 * len(rows)}" == one.signal for one in advice.evidence)


def test_the_adversarial_losses_decide_nothing() -> None:
    plain = logged(FALLING)
    wild = logged(FALLING, loss_g=np.linspace(20, 90, 16), adversarial=np.linspace(1, 9, 16), loss_d=2.5 + STEPS / 5)
    told = {one.signal: one.told for one in advise_on(wild, None).evidence}
    assert "are not read" in told["adversarial losses"]
    for rows in (heard({}, {"similarity": 0.8}), None):
        a, b = advise_on(plain, rows), advise_on(wild, rows)
        assert (a.verdict, a.step, a.because) == (b.verdict, b.step, b.because)


@pytest.mark.parametrize(
    ("loss", "word"),
    [(2.7, "working"), (3.0, "blind"), (6.0, "constant"), (0.05, "overpowering"), (None, "off")],
)
def test_discriminators_that_teach_nothing_are_told(loss: float | None, word: str) -> None:
    columns = {} if loss is None else {"loss_d": np.full(16, loss) + (0.3 * (STEPS - 0.5) if loss == 2.7 else 0)}
    rows = logged(FALLING, **columns)
    found = discrimination(rows)
    assert found.word == word
    assert bool(advise_on(rows, None).warnings) == (word in ("blind", "constant", "overpowering"))


def test_the_landmarks_are_those_of_our_own_loss() -> None:
    import torch

    from tts_lab.evaluation.discrimination import BLIND, CONSTANT, DISCRIMINATORS
    from tts_lab.vits.discriminators import Discriminators
    from tts_lab.vits.losses import discriminator_loss

    scores = {value: [torch.full((2, 5), value)] * DISCRIMINATORS for value in (0.0, 0.5, 1.0)}
    assert len(Discriminators(16).discriminators) == DISCRIMINATORS
    assert float(discriminator_loss(scores[0.5], scores[0.5])) == BLIND
    assert float(discriminator_loss(scores[0.0], scores[0.0])) == float(discriminator_loss(scores[1.0], scores[1.0]))
    assert float(discriminator_loss(scores[0.0], scores[0.0])) == CONSTANT
    assert float(discriminator_loss(scores[1.0], scores[0.0])) == 0


def test_a_rate_that_ran_out_is_told() -> None:
    rows = logged(FALLING)
    for row in rows:
        row["learning_rate_g"] = 2e-4 * 0.5 * (1 + np.cos(np.pi * row["step"] / 1599))
    advice = advise_on(rows, None)
    assert advice.verdict == GO_ON and "longer schedule" in advice.warnings[0]


def test_a_run_that_went_on_is_to_be_heard_again() -> None:
    assert "step 1600" in advise_on(logged(FALLING), heard({}, {"similarity": 0.8})).warnings[0]


def test_the_best_keep_words_and_naturalness_and_are_then_the_most_like_her() -> None:
    evaluation = heard(
        {"similarity": 0.85, "wer": 0.08},  # more like her than all, but the words are lost
        {"similarity": 0.84, "mos": 3.7},  # the same with naturalness
        {"similarity": 0.80},
        {"similarity": 0.70, "wer": 0.01},
        {"similarity": 0.69, "wer": 0.02},  # beaten by the one before in all
        {"similarity": 0.804, "pitch_delta": -20.0, "mos": 4.05},  # as like as the third, its pitch further off
    )
    judged = {one.label: one for one in choose(evaluation.rows, evaluation.human, evaluation.spoken.words)}
    assert {label: one.place for label, one in judged.items()} == {
        "base voice": None, "step 100": None, "step 200": None, "step 300": 1, "step 400": 3, "step 500": None,
        "step 600": 2,
    }  # fmt: skip
    assert "8.0% of the words are misheard, at most 6.0% may be" in judged["step 100"].reason
    assert "naturalness 3.70 is below 3.80" in judged["step 200"].reason
    assert "the most like the speaker of the 4 that pass" in judged["step 300"].reason
    assert "fewer words misheard (1.0% against 3.0%)" in judged["step 400"].reason
    assert "step 400 is at least as like" in judged["step 500"].reason
    assert best(list(judged.values())).label == "step 300"


def test_the_limits_say_where_they_are_from() -> None:
    with_base, without = heard({"wer": 0.04}), heard({"wer": 0.04}, {"wer": 0.06, "mos": 4.2}, base=False)
    found = limits(with_base.rows, with_base.human, 200)
    assert found.wer == pytest.approx(0.06) and found.mos == pytest.approx(3.8) and "starting voice" in found.because
    assert limits(with_base.rows, with_base.human, 20).wer == pytest.approx(0.08)  # one word of twenty
    found = limits(without.rows, without.human, 200)
    assert found.wer == pytest.approx(0.07) and found.mos == pytest.approx(3.9) and "best checkpoint" in found.because
    # A deep voice lies at the frame rate of itself; and three words in ten lost is too much whatever came before.
    assert limits(with_base.rows, {"frame_rate_share": 0.2}, 200).buzz == pytest.approx(0.5)
    assert limits([{**GOOD, "kind": "base", "wer": 0.5}], {}, 200).wer == 0.30


def test_the_picture_shows_the_evidence() -> None:
    evaluation = heard({"similarity": 0.6}, {"similarity": 0.7, "pitch_delta": None}, {"similarity": 0.75})
    rows = logged(FALLING)
    picture = evidence_plot(rows, evaluation, advise_on(rows, evaluation))
    titles = [axes.get_title(loc="left") for axes in picture.axes]
    assert len(titles) == 6 and "Likeness to the speaker" in titles
    likeness = picture.axes[titles.index("Likeness to the speaker")]
    dots, *levels = likeness.get_lines()
    assert list(dots.get_xdata()) == [100, 200, 300] and list(dots.get_ydata()) == [0.6, 0.7, 0.75]
    assert {float(line.get_ydata()[0]) for line in levels} == {0.9, 0.47, 0}  # hers, the base voice's; the advised step
    assert levels[-1].get_xdata()[0] == 300
    validation = picture.axes[0].get_lines()[1]
    assert list(validation.get_xdata()) == list(range(100, 1700, 100))
    assert len(evidence_plot(rows, None, None).axes) == 1


def test_the_command_reads_a_real_run(tmp_path: Path, capsys) -> None:
    """metrics.csv of a fine-tune of this project, from joe to Allison, 60 steps with discriminators."""
    source = Path(__file__).parent / "recorded" / "fine_tune_60_steps.csv"
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step-60.ckpt").touch()
    assert main(["advise", str(tmp_path)]) == 1 and "no logged step" in capsys.readouterr().err
    (tmp_path / "metrics.csv").write_bytes(source.read_bytes())
    told = tmp_path / "advice.json"
    assert main(["advise", str(tmp_path), "--plot", str(tmp_path / "p.png"), "--json", str(told)]) == 0
    out, advice = capsys.readouterr().out, json.loads(told.read_text())
    assert advice["verdict"] == GO_ON and not advice["strong"] and advice["file"] == "checkpoints/step-60.ckpt"
    assert "2 points, too few to tell" in out and "2.72" in out and "they work" in out and "longer schedule" in out
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert advise(tmp_path).to_dict() == advice
    assert advice_plot(tmp_path, None, None).axes[0].get_lines()[1].get_xdata().tolist() == [30, 60]
