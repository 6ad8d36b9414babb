"""The panel and the page: what is pressed is on the disk, comes back, and is what prepare then makes."""

import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import soundfile
from browsing import browse, needs_chromium
from PIL import Image
from rich.console import Console

from tts_lab.analysis.analysis import Analysis, analyze
from tts_lab.cli import main
from tts_lab.corpus.corpus import Corpus
from tts_lab.corpus.decisions import Decisions
from tts_lab.corpus.prepare import prepare
from tts_lab.corpus.settings import PrepareSettings
from tts_lab.errors import UserError
from tts_lab.frontend import Frontend
from tts_lab.notebook.clip_picture import HEIGHT, WIDTH, clip_picture
from tts_lab.notebook.plots import read_mono
from tts_lab.notebook.review import ReviewPanel
from tts_lab.notebook.review_list import decided
from tts_lab.notebook.review_page import write_review_page
from tts_lab.notebook.runner import run_notebook

SAMPLES = Path(__file__).parent.parent / "data_samples"
FRONTEND = Frontend("en-us")
EVIL = """</textarea></script><script>document.title = "taken"</script> "quoted" 'text' & <b>bold</b>"""


def make(source: Path, out: Path) -> Corpus:
    return prepare(source, out, PrepareSettings(), FRONTEND, jobs=1, console=Console(file=io.StringIO()))


def ranked(corpus: Corpus) -> pd.DataFrame:
    """The columns of the analysis that a review needs; the score counts down from the first clip."""
    rows = [*corpus.utterances, *corpus.quarantined]
    columns = {
        "text": [row.text for row in rows],
        "reason": [getattr(row, "reason", "") for row in rows],
        "recording": [str((corpus.folder / row.recording).resolve()) if row.recording else "" for row in rows],
        "seconds": [getattr(row, "samples", np.nan) / corpus.sample_rate for row in rows],
        "characters": [len(row.text) for row in rows],
        "heard": [None] * len(rows),
        "score": [float(len(rows) - number) for number in range(len(rows))],
        "reasons": [[getattr(row, "reason", f"reason {number}"), "another"] for number, row in enumerate(rows)],
    }
    return pd.DataFrame(columns, index=pd.Index([row.id for row in rows], name="id")).sample(frac=1, random_state=0)


@pytest.fixture
def nine(tmp_path) -> tuple[Path, Corpus]:
    """Nine clips of data_samples and the corpus made of them."""
    source = tmp_path / "source"
    source.mkdir()
    lines = (SAMPLES / "metadata.csv").read_text(encoding="utf-8").splitlines()[:9]
    for line in lines:
        shutil.copy(SAMPLES / f"{line.split('|')[0]}.flac", source)
    (source / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")
    return source, make(source, tmp_path / "corpus")


def panel(corpus: Corpus, rows: int = 4) -> ReviewPanel:
    return ReviewPanel(ranked(corpus), Decisions.load(corpus.folder), rows)


def test_what_is_pressed_survives_and_prepare_follows_it(nine, tmp_path):
    source, corpus = nine
    names = [utterance.id for utterance in corpus.utterances]
    first = panel(corpus)
    assert [row.clip.id for row in first.rows] == names[:4] and first.pages == 3  # worst first, the page's rows alone
    keep, text, cut, reject = first.rows
    keep.keep.click()
    text.text.value = "Quite another\nsentence.  "
    text.fix.click()
    cut.slider.value = (0.5, 2.25)
    cut.cut.click()
    reject.reason.value = "another speaker"
    reject.reject.click()
    first.next.click()
    again = first.rows[0]
    again.reject.click()
    again.undo.click()
    assert "4 of 9 decided: 1 kept, 1 text corrected, 1 cut, 1 rejected" in first.status.value

    # The kernel dies: nothing is left but the folder.
    second = panel(Corpus.load(corpus.folder), rows=9)
    assert [row.clip.id for row in second.rows] == names[4:] + names[:4]  # decided ones come last
    states = {row.clip.id: re.sub("<.*?>", "", row.state.value) for row in second.rows}
    assert [states[name] for name in names[:5]] == [
        "kept as it is", "text corrected", "cut to 0.50–2.25 s", "rejected: another speaker", "undecided",
    ]  # fmt: skip
    shown = {row.clip.id: row for row in second.rows}
    assert shown[names[1]].text.value == "Quite another sentence." and shown[names[2]].slider.value == (0.5, 2.25)

    after = make(source, corpus.folder)
    clips = {utterance.id: utterance for utterance in after.utterances}
    assert [item.id for item in after.quarantined] == [names[3]] and set(clips) == set(names) - {names[3]}
    assert clips[names[1]].phoneme_ids == FRONTEND.encode("Quite another sentence.").ids
    # Cut with soundfile alone, and made a corpus of its own.
    own, rate = tmp_path / "own", soundfile.info(source / f"{names[2]}.flac").samplerate
    shutil.copytree(source, own)
    part, _ = soundfile.read(own / f"{names[2]}.flac", start=rate // 2, stop=round(2.25 * rate), dtype="int16")
    soundfile.write(own / f"{names[2]}.flac", part, rate)
    alone = make(own, tmp_path / "alone")
    [expected] = [utterance for utterance in alone.utterances if utterance.id == names[2]]
    np.testing.assert_array_equal(after.waveform(clips[names[2]]), alone.waveform(expected))

    # The next review sees what prepare made, and what stands.
    third = panel(after, rows=9)
    assert "4 of 9 decided" in third.status.value
    rejected = next(row for row in third.rows if row.clip.id == names[3])
    assert rejected.clip.reasons[0] == "rejected in review: another speaker"
    rejected.keep.click()
    corrected = next(row for row in third.rows if row.clip.id == names[1])
    corrected.keep.click()
    final = {utterance.id: utterance for utterance in make(source, corpus.folder).utterances}
    assert set(final) == set(names) and final[names[1]].text == "Quite another sentence."


def test_only_the_rows_on_screen_hold_audio(nine):
    _, corpus = nine
    shown = panel(corpus, rows=4)
    players = [row.player for row in shown.rows]
    assert all(row.player.value == row.clip.recording.read_bytes() for row in shown.rows)
    shown.next.click()
    assert all(player.comm is None for player in players) and len(shown.rows) == 4
    shown.next.click()
    assert len(shown.rows) == 1 and shown.next.disabled and not shown.previous.disabled
    shown.next.click()
    assert shown.page == 2 and "clips 9 to 9 of 9" in shown.where.value


def test_the_player_plays_what_the_slider_holds(nine):
    _, corpus = nine
    row = panel(corpus).rows[0]
    whole, rate = soundfile.read(row.clip.recording, dtype="int16")
    row.slider.value = (1.0, 2.0)
    row.hear.click()
    heard, _ = soundfile.read(io.BytesIO(row.player.value), dtype="int16")
    assert row.player.format == "wav" and np.abs(heard.astype(int) - whole[rate : 2 * rate]).max() <= 1
    assert len(Decisions.load(corpus.folder)) == 0  # to listen decides nothing
    row.cut.click()
    veiled = row.picture.value
    row.undo.click()
    assert row.player.format == "flac" and row.picture.value != veiled and row.slider.value == (0, row.slider.max)


def test_what_cannot_be_done_is_said_and_decides_nothing(nine):
    _, corpus = nine
    row = panel(corpus).rows[0]
    row.fix.click()
    assert "change it first" in row.state.value
    row.cut.click()
    assert "Move the ends" in row.state.value
    row.text.value = "  "
    row.fix.click()
    assert "empty" in row.state.value and not (corpus.folder / "review.jsonl").exists()
    row.reject.click()
    assert "rejected" in row.state.value and row.text.value == row.clip.text
    row.undo.click()
    row.decisions.path = corpus.folder / "corpus.json" / "review.jsonl"  # as on a full disk: it cannot be written
    row.keep.click()
    assert "could not be saved" in row.state.value and row.decision is None
    with pytest.raises(UserError, match="lacks reasons, score"):
        ReviewPanel(ranked(corpus).drop(columns=["score", "reasons"]), Decisions.load(corpus.folder))


def test_an_edited_text_is_not_lost_by_pressing_another_button(nine):
    _, corpus = nine
    row = panel(corpus).rows[0]
    row.text.value, row.slider.value = "Edited.", (0.5, 2)
    row.cut.click()
    assert (row.decision.text, row.decision.cut) == ("Edited.", (0.5, 2))


def test_clips_without_sound_and_stale_decisions_are_shown(nine):
    _, corpus = nine
    table = ranked(corpus).sort_values("score", ascending=False)
    decisions = Decisions.load(corpus.folder)
    decisions.decide(table.index[2], "reject", about="An older text.", recording=table.recording.iloc[2])
    table.loc[table.index[0], "recording"] = ""
    broken = corpus.folder / "broken.wav"
    broken.write_bytes(b"RIFF no sound")
    table.loc[table.index[1], "recording"] = str(broken)
    shown = ReviewPanel(table, decisions)
    none, damaged, stale = shown.rows[:3]
    assert "no recording" in none.state.value and "broken.wav cannot be read" in damaged.state.value
    assert none.cut.disabled and none.hear.disabled and "about another text" in stale.state.value
    assert "0 of 9 decided" in shown.status.value
    none.reject.click()
    stale.keep.click()
    assert "2 of 9 decided" in shown.status.value
    page = write_review_page(table, corpus.folder / "page", corpus).read_text(encoding="utf-8")
    assert "There is no recording for this line." in page and "broken.wav cannot be read" in page


def test_a_picture_shows_the_cut_where_it_is(nine):
    samples, rate = read_mono(SAMPLES / "agent-alreadyon.flac")
    seconds = len(samples) / rate

    def pixels(cut):
        return np.asarray(Image.open(io.BytesIO(clip_picture(samples, rate, cut))).convert("RGB")).astype(int)

    plain, cut = pixels(None), pixels((seconds / 4, seconds / 2))
    assert plain.shape == (HEIGHT, WIDTH, 3) and len(clip_picture(samples, rate)) < 60_000
    changed = np.abs(plain - cut).mean(axis=(0, 2)) > 20
    assert changed[: WIDTH // 4 - 2].all() and changed[WIDTH // 2 + 3 :].all()
    assert not changed[WIDTH // 4 + 3 : WIDTH // 2 - 2].any()


def test_a_notebook_run_by_the_runner_keeps_a_picture_and_no_recording(nine, tmp_path):
    _, corpus = nine
    ranked(corpus).to_pickle(tmp_path / "table.pkl")
    cells = [
        "workspace = '.'",
        "import pandas as pd\nfrom tts_lab.corpus.decisions import Decisions\n"
        "from tts_lab.notebook.review import ReviewPanel\n"
        f"panel = ReviewPanel(pd.read_pickle({str(tmp_path / 'table.pkl')!r}), Decisions.load({str(corpus.folder)!r}))",
        "panel.rows[0].reject.click()\npanel",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    book.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(book, tmp_path / "03_review.ipynb")
    run_notebook(tmp_path / "03_review.ipynb", tmp_path / "out" / "03_review.ipynb", {}, timeout=120)
    saved = nbformat.read(tmp_path / "out" / "03_review.ipynb", as_version=4)
    [output] = saved.cells[-1].outputs
    assert "widgets" not in saved.metadata and set(output.data) == {"text/plain", "text/html"}
    assert "rejected" in output.data["text/html"] and "1 of 9 decided" in output.data["text/html"]
    assert (tmp_path / "out" / "03_review.ipynb").stat().st_size < 500_000
    assert Decisions.load(corpus.folder).counts() == {"reject": 1}


def test_what_was_decided_is_counted_in_clips_and_minutes(nine):
    _, corpus = nine
    table = ranked(corpus)
    table["recorded_seconds"] = [soundfile.info(path).duration for path in table["recording"]]
    shown = ReviewPanel(table, Decisions.load(corpus.folder), rows=3)
    for row, button in zip(shown.rows, ("keep", "reject", "reject"), strict=True):
        getattr(row, button).click()
    told, minutes = decided(table, shown.decisions), table["recorded_seconds"] / 60
    assert told["clips"].to_dict() == {"kept": 1, "text corrected": 0, "cut": 0, "rejected": 2, "undecided": 6}
    assert told["minutes"].sum() == pytest.approx(minutes.sum())
    rejected = [row.clip.id for row in shown.rows[1:]]
    assert told.loc["rejected", "minutes"] == pytest.approx(minutes[rejected].sum())


def test_the_command_writes_the_page_of_the_saved_analysis(nine, tmp_path, capsys):
    _, corpus = nine
    assert main(["review", str(corpus.folder)]) == 1 and "tts-lab analyze" in capsys.readouterr().err
    analyze(corpus, jobs=1, console=Console(file=io.StringIO())).save(corpus.folder / "analysis")
    assert main(["review", str(corpus.folder), "--page", str(tmp_path / "page"), "--count", "4"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "page" / "index.html")
    worst = Analysis.load(corpus.folder / "analysis").table.index[:4]
    page = Page((tmp_path / "page" / "index.html").read_text(encoding="utf-8"))
    assert [attrs["data-id"] for tag, attrs in page.elements if tag == "section"] == list(worst)


class Page(HTMLParser):
    """What a browser makes of a page: elements by name, and their text."""

    def __init__(self, markup: str):
        super().__init__()
        self.elements, self.texts, self.open = [], {}, None
        self.feed(markup)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.open = tag

    def handle_data(self, data):
        self.texts.setdefault(self.open, []).append(data)


def test_the_page_needs_nothing_else_and_escapes_everything(nine, tmp_path):
    _, corpus = nine
    corpus.utterances[0].text, corpus.utterances[1].id = EVIL, '"><script>'
    table = ranked(corpus)
    table["heard"], table["reasons"] = EVIL, [[EVIL]] * len(table)
    markup = write_review_page(table, tmp_path / "page", corpus, count=5).read_text(encoding="utf-8")
    page = Page(markup)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 2 and tags.count("section") == 5 and "b" not in tags
    assert page.texts["textarea"][0].strip() == EVIL
    addresses = [attrs["src"] for _, attrs in page.elements if "src" in attrs]
    assert len(addresses) == 10 and len(set(addresses)) == 10 and not re.search(r"https?:|//\w", markup.split(EVIL)[0])
    assert all((tmp_path / "page" / address).is_file() for address in addresses)
    audio = [address for address in addresses if address.endswith(".flac")]
    originals = table.sort_values("score", ascending=False).recording[:5]
    for copy, original in zip(audio, originals, strict=True):
        assert (tmp_path / "page" / copy).read_bytes() == Path(original).read_bytes()
    with pytest.raises(UserError, match="could not be written"):
        write_review_page(table, tmp_path / "page" / "index.html", corpus)


PRESS = """
const section = name => [...document.querySelectorAll(".clip")].find(one => one.dataset.id === name);
const press = (name, button) => section(name).querySelector("button." + button).click();
const fill = (name, field, value) => { section(name).querySelector(field).value = value; };
%s
document.getElementById("save").click();
"""


@needs_chromium
def test_what_is_pressed_on_the_page_is_what_prepare_follows(nine, tmp_path):
    source, corpus = nine
    names = [utterance.id for utterance in corpus.utterances]
    there = Decisions.load(corpus.folder)
    before = corpus.utterances[5]
    there.decide(names[5], "text", about=before.text, recording=before.recording, text="Corrected in a notebook.")
    page = write_review_page(ranked(corpus), tmp_path / "page", corpus)
    presses = [
        ("keep", names[0], {}),
        ("text", names[1], {"textarea": "Fixed <b>“here”</b> & now."}),
        ("cut", names[2], {".begin": "0.5", ".end": "2.25"}),
        ("reject", names[3], {".reason": "a cough"}),
        ("reject", names[4], {"textarea": "  "}),
        ("undo", names[4], {}),
        ("cut", names[5], {".begin": "0.25", ".end": "2"}),
        ("text", names[6], {}),  # not changed: nothing to save
        ("cut", names[7], {".begin": "2", ".end": "1"}),  # ends before it begins
    ]
    script = ""
    for action, name, fields in presses:
        script += "".join(f"fill({json.dumps([name, *field])[1:-1]});" for field in fields.items())
        script += f"press({json.dumps([name, action])[1:-1]});\n"
    dom, found = browse(page, PRESS % script, tmp_path / "profile")
    saved = found["saved"]
    assert "5 of 9 decided." in dom and "cut to 0.50–2.25 s" in dom and "rejected: a cough" in dom

    # The same, decided here.
    mine = Decisions.load(tmp_path / "mine.jsonl")
    mine.path.write_bytes(there.path.read_bytes())
    mine = Decisions.load(mine.path)
    for action, name, fields in presses[:7]:
        clip = next(utterance for utterance in corpus.utterances if utterance.id == name)
        if action == "undo":
            mine.undo(name)
            continue
        given = {"text": fields.get("textarea"), "begin": fields.get(".begin"), "end": fields.get(".end")}
        numbers = {key: float(given[key]) for key in ("begin", "end") if given[key]}
        mine.decide(name, action, about=clip.text, recording=clip.recording, reason=fields.get(".reason", ""),
                    text=given["text"], **numbers)  # fmt: skip

    def plain(decisions: Decisions) -> list[dict]:
        return [{key: value for key, value in vars(one).items() if key != "at"} for one in decisions.made]

    (tmp_path / "saved.jsonl").write_text(saved, encoding="utf-8")
    theirs = Decisions.load(tmp_path / "saved.jsonl")
    assert plain(theirs) == plain(mine) and theirs.of(names[5]).text == "Corrected in a notebook."

    # The browser remembers; and what is in the corpus by now is not counted twice when the page is written again.
    shutil.copy(tmp_path / "saved.jsonl", there.path)
    made = make(source, corpus.folder)
    assert [item.id for item in made.quarantined] == [names[3]]
    page = write_review_page(ranked(corpus), tmp_path / "page", corpus)
    _, found = browse(page, PRESS % f"press({json.dumps(names[3])}, 'undo');", tmp_path / "profile")
    again = found["saved"]
    assert again.splitlines()[:-1] == saved.splitlines() and json.loads(again.splitlines()[-1])["action"] == "undo"
