"""Players point at files: addresses that resolve from the page they stand on, nothing embedded, no broken player."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin

import numpy as np
import pytest
import soundfile

from tts_lab.errors import UserError
from tts_lab.notebook import players
from tts_lab.notebook.markup import table


class Audio(HTMLParser):
    """The `audio` elements of a page, and the text that stands in it."""

    def __init__(self, markup: str):
        super().__init__()
        self.found, self.text, self.open = [], [], []
        self.feed(markup)
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag == "audio":
            self.found.append(dict(attrs))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def heard(markup, page: Path) -> list[Path]:
    """The files a browser fetches for a page opened from folder `page`."""
    return [Path(unquote(urljoin((page / "page.html").as_uri(), audio["src"])).removeprefix("file://"))
            for audio in Audio(str(markup)).found]  # fmt: skip


@pytest.fixture
def wav(tmp_path):
    def make(name: str, seconds: float = 1.5) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros(int(16000 * seconds)), 16000)
        return path

    return make


def test_the_address_resolves_from_the_notebooks_folder(wav, tmp_path, monkeypatch):
    clip = wav("build/speech/step 60/a #1 ü%.wav")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    made = players.player(Path("../build/speech/step 60/a #1 ü%.wav"))
    assert Audio(str(made)).found[0]["src"].startswith("../build/speech/step%2060/")
    assert heard(made, tmp_path / "notebooks") == [clip]


def test_the_address_resolves_from_where_the_runner_saves_the_page(wav, tmp_path, monkeypatch):
    clip, saved = wav("build/human/a.wav"), tmp_path / "build/notebooks"
    for folder in (saved, tmp_path / "notebooks"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "notebooks")
    monkeypatch.setenv(players.PAGE_FOLDER_VARIABLE, str(saved))
    made = players.player(Path("../build/human/a.wav"))
    assert Audio(str(made)).found[0]["src"] == "../human/a.wav"
    assert heard(made, saved) == [clip]


def test_a_workspace_may_move(wav, tmp_path):
    wav("build/human/a.wav")
    markup = str(players.player(tmp_path / "build/human/a.wav", page=tmp_path / "build"))
    (tmp_path / "build").rename(tmp_path / "moved")
    assert heard(markup, tmp_path / "moved") == [tmp_path / "moved/human/a.wav"]
    assert str(tmp_path) not in markup


def test_nothing_is_embedded_and_nothing_is_fetched_before_it_is_played(wav):
    clip = wav("long.wav", seconds=60)
    made = players.player(clip, "speaker")
    (audio,) = Audio(str(made)).found
    assert len(str(made)) < 500 and audio["preload"] == "none" and "controls" in audio
    assert "speaker · 60.0 s" in Audio(str(made)).text


def test_a_grid_puts_the_same_words_side_by_side(wav, tmp_path):
    voices = {"speaker": [wav("s0.wav"), None], "base voice": [wav("b0.wav"), wav("b1.wav")]}
    made = players.grid(["One & two.", "<Three>"], voices, page=tmp_path)
    assert [path.name for path in heard(made, tmp_path)] == ["s0.wav", "b0.wav", "b1.wav"]
    text = Audio(str(made)).text
    assert "One & two." in text and "<Three>" in text and "speaker · not said" in text
    assert text.index("One & two.") < text.index("speaker · 1.5 s") < text.index("<Three>")


def test_uneven_columns_are_refused(wav):
    with pytest.raises(UserError, match="each of the 2 sentences: 'step 60' has 1"):
        players.grid(["a", "b"], {"base": [wav("a.wav"), None], "step 60": [wav("b.wav")]})


def test_a_missing_and_a_broken_recording_are_told(tmp_path):
    with pytest.raises(UserError, match="There is no recording at .*gone.wav"):
        players.player(tmp_path / "gone.wav")
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(UserError, match="broken.wav cannot be played"):
        players.player(tmp_path / "broken.wav")


def test_a_table_shows_every_row_in_full_and_says_when_there_is_none():
    long = "a text that pandas would cut off after fifty characters, which helps nobody <here>"
    markup = str(table([{"id": "x", "text": long, "wer": 0.125}, {"id": "y", "text": "-", "wer": None}], wer="{:.1%}"))
    text = Audio(markup).text
    assert text == ["id", "text", "wer", "x", long, "12.5%", "y", "-", "–"]
    assert Audio(str(table([{"disk": "1 GB", "ok": False}]))).text[-1] == "no"
    assert Audio(str(table([], empty="Nothing was set aside."))).text == ["Nothing was set aside."]
