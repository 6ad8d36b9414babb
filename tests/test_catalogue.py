"""Voices are found by path and by name, and what is not found is told in words."""

from pathlib import Path
from urllib.error import URLError

import pytest

from tts_lab.errors import UserError
from tts_lab.voices import catalogue
from tts_lab.voices.catalogue import find_voice


def test_the_bundled_voice_needs_no_network(joe: Path) -> None:
    assert joe.name == "en_US-joe-medium.onnx" and Path(f"{joe}.json").is_file()
    assert find_voice("en_US-joe-medium") == joe == find_voice(joe)


def test_a_file_without_its_config_is_refused(tmp_path: Path) -> None:
    lonely = tmp_path / "en_US-lonely-medium.onnx"
    lonely.write_bytes(b"onnx")
    with pytest.raises(UserError, match=r"no en_US-lonely-medium\.onnx\.json beside it"):
        find_voice(lonely)


@pytest.mark.parametrize(
    ("voice", "told"),
    [
        ("nobody", "neither an .onnx file, nor a bundled voice"),
        ("missing.onnx", "There is no voice file missing.onnx"),
        ("voices/en_US-joe-medium", "neither an .onnx file"),
        (".", "is a folder"),
    ],
)
def test_what_is_no_voice_is_told(voice: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        find_voice(voice)


def test_a_published_name_is_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(name: str, folder: Path) -> None:
        asked.append(name)
        (folder / f"{name}.onnx").write_bytes(b"model")
        (folder / f"{name}.onnx.json").write_text("{}")

    monkeypatch.setattr(catalogue, "download_voice", download)
    for _ in range(2):
        assert find_voice("de_DE-someone-low", tmp_path) == tmp_path / "de_DE-someone-low.onnx"
    assert asked == ["de_DE-someone-low"]


def test_a_broken_download_leaves_nothing_that_looks_like_a_voice(tmp_path: Path, monkeypatch) -> None:
    def download(name: str, folder: Path) -> None:
        (folder / f"{name}.onnx").write_bytes(b"half of the mod")
        raise URLError("connection lost")

    monkeypatch.setattr(catalogue, "download_voice", download)
    with pytest.raises(UserError, match="could not be downloaded.*connection lost.*joe"):
        find_voice("de_DE-someone-low", tmp_path)
    assert list(tmp_path.iterdir()) == []
