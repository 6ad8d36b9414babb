"""The page of a run's checkpoints, and blind listening on it, in a browser without a screen."""

import io
import json
import re
from base64 import b64decode
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from browsing import browse, needs_chromium

from tts_lab.evaluation.advice import advise_on
from tts_lab.evaluation.evaluation import Evaluation, Spoken
from tts_lab.notebook.advice_plot import evidence_plot
from tts_lab.notebook.blind import trials
from tts_lab.notebook.evaluation_page import SEED, write_evaluation_page

CLIPS = sorted((Path(__file__).parent.parent / "data_samples").glob("*.flac"))
EVIL = '</script><script>document.title = "taken"</script> & <b>"bold"</b>'


@pytest.fixture
def evaluation(tmp_path: Path) -> Evaluation:
    """A base voice and three checkpoints that said two sentences and two held-out texts; each wav is another clip."""
    said = iter(CLIPS)

    def wavs(label: str, kind: str) -> list[str]:
        names = [f"evaluation/{label}/{kind}-{number}.wav" for number in range(2)]
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            samples, rate = soundfile.read(next(said), dtype="int16")
            soundfile.write(tmp_path / name, samples, rate, subtype="PCM_16")
        return names

    spoken = Spoken("0123", None, "en", None, ["Said by nobody.", EVIL], ["Please hold.", "Thank you."])
    heard = {"sentences": ["said by nobody", "quite another thing"], "held_out": ["Please hold", "Thank you!"]}
    figures = {"wer": 0.02, "cer": 0.01, "mos": 4.1, "similarity": 0.5, "pitch_delta": 3.0, "rate_delta": -4.0,
               "frame_rate_share": 0.05, "heard": heard}  # fmt: skip
    human = figures | {"similarity": 0.9, "wavs": {"held_out": wavs("human", "held_out")}}
    done = Evaluation(tmp_path, spoken, human)
    for step, likeness in ((None, 0.45), (100, 0.6), (200, 0.8), (300, 0.7)):
        label = f"step {step}" if step else "base voice"
        both = {kind: wavs(label.replace(" ", "-"), kind) for kind in ("sentences", "held_out")}
        done.put(figures | {"label": label, "step": step, "kind": "checkpoint" if step else "base", "digest": label,
                            "files": [f"checkpoints/{step}.ckpt"], "similarity": likeness, "wavs": both})  # fmt: skip
    done.rows[-1] |= {"wer": 0.5, "pitch_delta": None}
    return done


class Page(HTMLParser):
    """Elements of a page by name."""

    def __init__(self, path: Path):
        super().__init__()
        self.elements = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))


def test_the_page_is_one_file_with_every_recording_unchanged(evaluation: Evaluation, tmp_path: Path) -> None:
    rows = [{"step": 100 * n - 1, "val_mel": 0.5 - 0.01 * n, "mel": 0.5} for n in range(1, 4)]
    advice = advise_on(rows, evaluation)
    page = write_evaluation_page(evaluation, "run <7>", advice, evidence_plot(rows, evaluation, advice))
    markup, elements = page.read_text(encoding="utf-8"), Page(page).elements
    assert not re.search(r"(src|href)=\"(?!data:)", markup) and page.stat().st_size < 25_000_000
    assert not any(tag == "b" and "bold" in str(attrs) for tag, attrs in elements)
    assert [tag for tag, _ in elements].count("script") == 2 and "taken" not in re.findall(
        "<title>(.*)</title>", markup
    )[0]
    sounds = {attrs["id"]: attrs["src"] for tag, attrs in elements if tag == "audio" and attrs["id"].startswith("clip")}
    assert len(sounds) == 4 * 4 + 2  # the speaker says the held-out texts alone
    for number, row in enumerate([evaluation.human, *evaluation.rows]):
        for first, kind in ((0, "sentences"), (2, "held_out")):
            for n, wav in enumerate(row["wavs"].get(kind, [])):
                kind_of, coded = sounds[f"clip-{number}-{first + n}"].split(",")
                samples, _ = soundfile.read(io.BytesIO(b64decode(coded)), dtype="int16")
                assert kind_of == "data:audio/flac;base64"
                np.testing.assert_array_equal(samples, soundfile.read(tmp_path / wav, dtype="int16")[0])
    assert "★ 1 step 200" in markup and "★ 2" not in markup  # the first checkpoint is beaten, the last one fails
    assert "50.0% of the words are misheard" in markup and advice.headline.split(".")[0] in markup
    assert markup.count("heard: quite another thing") == 4 and "heard: said by nobody" not in markup


def test_a_heavy_page_points_at_the_recordings(evaluation: Evaluation, tmp_path: Path) -> None:
    page = write_evaluation_page(evaluation, "run", heaviest=100_000)
    players = [a["src"] for tag, a in Page(page).elements if tag == "audio" and a["id"].startswith("clip")]
    assert page.stat().st_size < 100_000 and all((tmp_path / src).is_file() for src in players) and len(players) == 18
    assert "too many to be inside this page" in page.read_text(encoding="utf-8")


def test_every_pair_is_heard_equally_often_and_either_may_be_first() -> None:
    order = trials([1, 2, 3], range(20), seed=5)
    assert order == trials([1, 2, 3], range(20), seed=5) != trials([1, 2, 3], range(20), seed=6)
    pairs = [frozenset(pair) for *pair, _ in order]
    assert len(order) == 60 and all(len(set(pairs[at : at + 3])) == 3 for at in range(0, 60, 3))
    assert len({(pair, sentence) for pair, (_, _, sentence) in zip(pairs, order, strict=True)}) == 60
    assert 15 < sum(one < two for one, two, _ in order) < 45


PRESS = """
const key = name => document.dispatchEvent(new KeyboardEvent("keydown", {key: name}));
const click = id => document.getElementById(id).click();
const player = document.getElementById("one");
player.onloadedmetadata = () => told("length", player.duration);
%s
click("results");
"""


def answer(page: Path, script: str, profile: Path) -> dict[str, Any]:
    """What the page shows after `script`: the texts of its <pre> elements by id, the tally and the progress."""
    dom, found = browse(page, PRESS % script, profile)
    tally = re.search(r'<div id="tally">(.*?)</div>', dom, re.DOTALL)
    rows = re.findall(r"<tr>(.*?)</tr>", tally[1]) if tally else []
    found["tally"] = [re.findall(r"<td>(.*?)</td>", row) for row in rows]
    found["progress"] = re.search(r'<span id="progress".*?>(.*?)</span>', dom)[1]
    return found


@needs_chromium
def test_what_is_answered_blindly_is_what_is_counted(evaluation: Evaluation, tmp_path: Path) -> None:
    page = write_evaluation_page(evaluation, "run")
    order = trials([2, 3, 4], range(4), SEED)
    keys = ["1", "2", "0", "1", "x"]  # the last means nothing
    script = 'key("1"); click("begin"); '  # nothing is asked yet: the first key is not an answer
    script += " ".join(f'key("{name}");' for name in keys)
    script += (
        'click("second"); player.load(); told("shown", document.getElementById("trial").textContent); click("end");'
    )
    found = answer(page, script, tmp_path / "profile")

    answers = ["one", "two", "same", "one", "two"]
    counts = {label: Counter() for label in ("step 100", "step 200", "step 300")}
    for (one, two, _), better in zip(order, answers, strict=False):
        for voice, side in ((one, "one"), (two, "two")):
            result = "same" if better == "same" else "won" if better == side else "lost"
            counts[evaluation.rows[voice - 1]["label"]][result] += 1
    assert {row[0]: [int(cell) for cell in row[1:4]] for row in found["tally"][1:]} == {
        label: [count["won"], count["lost"], count["same"]] for label, count in counts.items()
    }
    shares = [int(row[4].split()[0]) for row in found["tally"][1:]]
    assert shares == sorted(shares, reverse=True) and found["progress"] == "5 of 12 answered."
    texts = [*evaluation.spoken.sentences, *evaluation.spoken.held_out]
    assert texts[order[5][2]] in found["shown"] and "step" not in found["shown"]

    saved = json.loads(found["saved"])
    assert saved["seed"] == SEED and saved["tally"] == {
        label: {name: count[name] for name in ("won", "lost", "same")} for label, count in counts.items()
    }
    assert [(one["one"], one["two"], one["sentence"], one["better"]) for one in saved["answers"]] == [
        (evaluation.rows[one - 1]["label"], evaluation.rows[two - 1]["label"], texts[sentence], better)
        for (one, two, sentence), better in zip(order, answers, strict=False)
    ]
    # The browser plays what the hidden voice said: the first of the sixth trial, whose answer was not given.
    kind, number = ("sentences", order[5][2]) if order[5][2] < 2 else ("held_out", order[5][2] - 2)
    wav = tmp_path / evaluation.rows[order[5][0] - 1]["wavs"][kind][number]
    assert float(found["length"]) == pytest.approx(soundfile.info(wav).duration, abs=0.05)

    # The browser remembers, and goes on where it was; the tally of all twelve ends it.
    again = answer(page, 'click("begin");' + 'key("1");' * 9 + 'click("first");', tmp_path / "profile")
    assert again["progress"] == "12 of 12 answered." and len(json.loads(again["saved"])["answers"]) == 12
