"""The notebooks' players and review panel in JupyterLab, driven in a real browser as a person would.

JupyterLab is started as `make lab` starts it, on a folder laid out like this one: notebooks/ beside build/. Nothing of
this machine's own Jupyter is read or written.
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import nbformat
import pytest
import soundfile
from browsing import CHROMIUM, needs_chromium
from playwright.sync_api import expect, sync_playwright
from rich.console import Console

from tts_lab.analysis.analysis import Analysis, analyze
from tts_lab.corpus.corpus import Corpus
from tts_lab.corpus.decisions import Decisions
from tts_lab.corpus.prepare import prepare
from tts_lab.corpus.settings import PrepareSettings
from tts_lab.frontend import Frontend
from tts_lab.notebook.comparison import Comparison
from tts_lab.notebook.players import PAGE_FOLDER_VARIABLE
from tts_lab.notebook.review import ReviewPanel

PATIENCE = 120_000
"""Milliseconds after which nothing will come; on a quiet machine nothing here takes ten seconds."""
expect.set_options(timeout=PATIENCE)
pytestmark = [pytest.mark.slow, needs_chromium]

SAMPLES = Path(__file__).parent.parent / "data_samples"
CELLS = [
    "from pathlib import Path\n"
    "from tts_lab.analysis.analysis import Analysis\n"
    "from tts_lab.corpus.decisions import Decisions\n"
    "from tts_lab.notebook.comparison import Comparison\n"
    "from tts_lab.notebook.review import ReviewPanel\n"
    "workspace = Path('../build')",
    "Comparison.load(workspace).listen()",
    "corpus = workspace / 'corpus'\n"
    "ReviewPanel(Analysis.load(corpus / 'analysis').table, Decisions.load(corpus), rows=2)",
]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A folder as `make lab` opens it: a corpus of four clips, analysed; a comparison of two voices; a notebook."""
    root = tmp_path_factory.mktemp("project")
    source, build = root / "data", root / "build"
    for folder in (source, build / "human", build / "slow", root / "notebooks"):
        folder.mkdir(parents=True)
    lines = (SAMPLES / "metadata.csv").read_text(encoding="utf-8").splitlines()[:4]
    for line in lines:
        shutil.copy(SAMPLES / f"{line.split('|')[0]}.flac", source)
    (source / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")
    quiet = Console(file=io.StringIO())
    corpus = prepare(source, build / "corpus", PrepareSettings(), Frontend("en-us"), jobs=1, console=quiet)
    analyze(corpus, jobs=1, console=quiet).save(corpus.folder / "analysis")

    heard, wavs = corpus.utterances[:2], {"speaker": [], "a fifth slower": []}
    for clip in heard:
        for label, folder, rate in (("speaker", "human", 22050), ("a fifth slower", "slow", 17640)):
            soundfile.write(build / folder / f"{clip.id}.wav", corpus.waveform(clip), rate, subtype="PCM_16")
            wavs[label].append(f"{folder}/{clip.id}.wav")
    held_out = {"sentences": [clip.text for clip in heard], "wavs": wavs}
    Comparison(build, held_out["sentences"], held_out, {}).save()
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, root / "notebooks" / "listen.ipynb")

    (build / "notebooks").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PAGE_FOLDER_VARIABLE, str(build / "notebooks"))
        table, decisions = Analysis.load(corpus.folder / "analysis").table, Decisions.load(corpus.folder)
        panel = ReviewPanel(table, decisions, rows=2)._repr_mimebundle_()["text/html"]
        for cell, value in zip(book.cells[1:], (str(Comparison.load(build).listen()), panel), strict=True):
            cell.outputs = [nbformat.v4.new_output("display_data", {"text/html": value})]
    nbformat.write(book, build / "notebooks" / "heard.ipynb")
    return root


@pytest.fixture(scope="module")
def lab(project, tmp_path_factory) -> Iterator[str]:
    """Address of JupyterLab on `project`, token included."""
    home = tmp_path_factory.mktemp("home")
    folders = {
        name: str(home / name.lower())
        for name in (
            "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR",
            "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR",
        )
    }  # fmt: skip
    own = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "PJRT_", "XLA_"))}
    own |= folders | {"HOME": str(home), "MPLCONFIGDIR": matplotlib.get_configdir(), "PYTHONWARNINGS": "ignore"}
    own["PYTHONPATH"] = os.pathsep.join([str(SAMPLES.parent), own.get("PYTHONPATH", "")])
    news = home / "jupyterlab_settings_dir" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))  # it would ask, over the page
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1",
        "--ServerApp.port=8899", "--ServerApp.port_retries=200", f"--ServerApp.root_dir={project}",
    ]  # fmt: skip
    server = subprocess.Popen(command, env=own, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    said, address, ready = [], [], threading.Event()

    def read() -> None:  # to the end: a full pipe would stop the server
        for line in server.stderr:
            said.append(line)
            if not address and (found := re.search(r"http://127\.0\.0\.1:\d+/lab\?token=\w+", line)):
                address.append(found[0])
                ready.set()
        ready.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        ready.wait(PATIENCE / 1000)
        assert address, "".join(said[-30:])
        yield address[0]
    finally:
        server.terminate()  # JupyterLab shuts its kernels down
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
        reader.join(5)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(browser, lab: str, notebook: str):
    """That notebook in JupyterLab, on a screen tall enough that every cell is drawn."""
    page = browser.new_page(viewport={"width": 1400, "height": 1800})
    page.set_default_timeout(PATIENCE)
    page.goto(lab.replace("/lab?", f"/lab/tree/{notebook}?"), wait_until="commit")
    return page


@pytest.fixture(scope="module")
def page(browser, lab, project):
    """The notebook with all its cells run, from the menu."""
    page = opened(browser, lab, "notebooks/listen.ipynb")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    expect(page.locator(".jp-Notebook audio")).to_have_count(4 + 2)
    yield page
    page.screenshot(path=project / "lab.png")
    page.close()


def play(audio) -> None:
    """Press the button at the left of the browser's own controls, and wait until sound comes."""
    before = audio.evaluate("one => one.currentTime")
    audio.click(position={"x": 18, "y": audio.bounding_box()["height"] / 2})
    audio.page.wait_for_function(
        "([one, before]) => !one.paused && one.currentTime > before + 0.25", arg=[audio.element_handle(), before]
    )


def length(audio) -> float:
    return audio.evaluate("one => one.duration")


def test_players_play_what_they_show(page, project):
    shown = page.locator("table.players audio")
    files = [
        project / "build" / wav for name in clips(project)[:2] for wav in (f"human/{name}.wav", f"slow/{name}.wav")
    ]
    for number, wav in enumerate(files):
        play(shown.nth(number))
        assert length(shown.nth(number)) == pytest.approx(soundfile.info(wav).duration, abs=0.01)
    # By its slider one goes to a word: that needs a file service that serves parts, or a file that is all there.
    shown.nth(1).evaluate("one => { one.currentTime = one.duration - 1; }")
    page.wait_for_function("one => one.ended", arg=shown.nth(1).element_handle())


def test_what_is_pressed_in_the_panel_is_on_the_disk(page, project):
    corpus = Corpus.load(project / "build" / "corpus")
    clip = {utterance.id: utterance for utterance in corpus.utterances}
    kept, corrected, cut, rejected = clips(project)
    saved = corpus.folder / "review.jsonl"

    row = shown(page, kept)
    play(row.locator("audio"))
    assert length(row.locator("audio")) == pytest.approx(soundfile.info(recording(corpus, kept)).duration, abs=0.01)
    press(row, "reject", "rejected")
    press(row, "undo", "undecided")
    press(row, "keep", "kept as it is")
    # A line a press, there before the panel answers.
    assert [json.loads(line)["action"] for line in saved.read_text().splitlines()] == ["reject", "undo", "keep"]

    row = shown(page, corrected)
    row.locator("textarea").fill("Quite “another” sentence.")
    press(row, "fix text", "text corrected")
    page.get_by_title("next", exact=True).click()  # its icon is part of its name

    row = shown(page, cut)
    ends = [drag(row.locator(".noUi-handle").nth(number), by) for number, by in enumerate((90, -120))]
    expect(row.locator(".widget-readout")).to_have_text(f"{ends[0]:.2f} – {ends[1]:.2f}")
    row.get_by_role("button", name="hear cut", exact=True).click()
    page.wait_for_function(
        "([one, seconds]) => Math.abs(one.duration - seconds) < 0.02",
        arg=[row.locator("audio").element_handle(), ends[1] - ends[0]],
    )
    play(row.locator("audio"))
    press(row, "cut", f"cut to {ends[0]:.2f}–{ends[1]:.2f} s")

    row = shown(page, rejected)
    row.get_by_placeholder("why it is rejected").fill("a cough")
    press(row, "reject", "rejected: a cough")
    page.get_by_text("4 of 4 decided: 1 kept, 1 text corrected, 1 cut, 1 rejected").wait_for()

    made = Decisions.load(corpus.folder)
    assert {name: made.of(name).action for name in clip} == {
        kept: "keep", corrected: "text", cut: "cut", rejected: "reject"
    }  # fmt: skip
    assert made.of(corrected).text == "Quite “another” sentence." and made.of(rejected).reason == "a cough"
    assert made.of(cut).cut == pytest.approx(ends, abs=0.006)
    assert all(made.of(name).fits(clip[name].text, recording(corpus, name).name) for name in clip)


def test_a_notebook_that_somebody_else_ran_can_be_heard(browser, lab, project):
    """As the runner saves it into build/notebooks: no kernel has run it here, so JupyterLab takes its outputs for
    foreign and strips them of what could do harm."""
    page = opened(browser, lab, "build/notebooks/heard.ipynb")
    player = page.locator("table.players audio").nth(3)
    play(player)
    wav = project / "build" / "slow" / f"{clips(project)[1]}.wav"
    assert length(player) == pytest.approx(soundfile.info(wav).duration, abs=0.01)
    page.screenshot(path=project / "heard.png")
    page.close()


def clips(project: Path) -> list[str]:
    """Ids in the order of the panel."""
    return list(Analysis.load(project / "build" / "corpus" / "analysis").table.index)


def recording(corpus: Corpus, name: str) -> Path:
    return corpus.folder / next(clip.recording for clip in corpus.utterances if clip.id == name)


def shown(page, name: str):
    """The panel's row of that clip."""
    row = page.locator(".widget-vbox", has=page.locator("b", has_text=name)).last
    row.locator("audio").wait_for()
    return row


def press(row, button: str, state: str) -> None:
    """Press it, and wait until the row says so."""
    row.get_by_role("button", name=button, exact=True).click()
    expect(row.locator(".widget-html-content").last).to_have_text(state)


def drag(handle, by: int) -> float:
    """Move a slider's handle by so many pixels; where it then is, in seconds."""
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    mouse = handle.page.mouse
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + by, y, steps=4)
    mouse.up()
    return float(handle.get_attribute("aria-valuetext"))
