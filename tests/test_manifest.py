"""Manifests: the three layouts, and every way in which one can be wrong."""

from pathlib import Path

import pytest

from tts_lab.corpus.manifest import read_manifest
from tts_lab.errors import UserError

HEADER = "segment_index,text,word_count,estimated_duration_seconds\n"


@pytest.fixture
def corpus(tmp_path: Path):
    """Write a manifest and touch its audio; returns the manifest's path."""

    def write(content: str | bytes, *audio: str, name: str = "metadata.csv") -> Path:
        (tmp_path / "wavs").mkdir(exist_ok=True)
        for file in audio:
            path = tmp_path / "wavs" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write


def reasons(manifest) -> dict[str, str]:
    return {problem.where: problem.reason for problem in manifest.problems}


def test_segments_with_quoted_commas_and_prefix(corpus):
    path = corpus(HEADER + '0,"Hello, world.",2,1.5\n12,Second one.,2,1.1\n', "talk_0000.wav", "talk_0012.flac")
    manifest = read_manifest(path, audio_prefix="talk")
    assert manifest.layout == "segments" and "segment_index" in manifest.why
    assert [(row.id, row.text, row.audio.name) for row in manifest.rows] == [
        ("talk_0000", "Hello, world.", "talk_0000.wav"),
        ("talk_0012", "Second one.", "talk_0012.flac"),
    ]
    assert read_manifest(path).rows == manifest.rows  # the only prefix in the folder is found


def test_segments_ask_for_a_prefix_when_there_are_two(corpus):
    path = corpus(HEADER + "0,Hello.,1,1\n", "a_0000.wav", "b_0000.wav")
    with pytest.raises(UserError, match=r"several prefixes \(a, b\); set --audio-prefix"):
        read_manifest(path)


def test_segments_bad_lines_are_named(corpus):
    text = HEADER + "0,Good.,1,1\n1,Hello, world.,2,1\nx,Bad index.,2,1\n3,,0,0\n4,Gone.,1,1\n0,Again.,1,1\n"
    manifest = read_manifest(corpus(text, "t_0000.wav", "t_0003.wav"), audio_prefix="t")
    assert [row.id for row in manifest.rows] == ["t_0000"]
    found = reasons(manifest)
    assert "5 fields where the header names 4" in found["metadata.csv line 3"]
    assert "double quotes" in found["metadata.csv line 3"]
    assert "'x'" in found["metadata.csv line 4"]
    assert "text is empty" in found["metadata.csv line 5"]
    assert "neither t_0004.wav nor t_0004.flac" in found["metadata.csv line 6"]
    assert "already used (metadata.csv line 2)" in found["metadata.csv line 7"]


def test_extra_and_missing_columns_are_said(corpus):
    manifest = read_manifest(corpus("text,mood,segment_index\nHi there.,calm,7\n", "p_0007.wav"))
    assert manifest.rows[0].id == "p_0007" and manifest.rows[0].text == "Hi there."
    assert any("mood" in note for note in manifest.notes)
    with pytest.raises(UserError, match="no column named text"):
        read_manifest(corpus("segment_index,words\n1,Hi.\n"))


def test_pipes_and_windows_line_ends(corpus):
    manifest = read_manifest(corpus("a|First.\r\nb|Second | not.\r\n\r\nc.wav|Third.\r\n", "a.wav", "b.wav", "c.wav"))
    assert manifest.layout == "id|text"
    assert [(row.id, row.text, row.where) for row in manifest.rows] == [
        ("a", "First.", "metadata.csv line 1"),
        ("c", "Third.", "metadata.csv line 4"),
    ]
    assert "3 fields, where most lines have 2" in reasons(manifest)["metadata.csv line 2"]


def test_speakers(corpus):
    text = "a|zoe|One.\nb|adam|Two.\nc|zoe|Three.\nd||Four.\n"
    manifest = read_manifest(corpus(text, "a.wav", "b.wav", "c.wav", "d.wav"))
    assert manifest.layout == "id|speaker|text" and "2 `|`" in manifest.why
    assert [row.speaker for row in manifest.rows] == ["zoe", "adam", "zoe"]
    assert "speaker is empty" in reasons(manifest)["metadata.csv line 4"]


def test_ljspeech_has_text_in_the_middle(corpus):
    text = "a|It is 5 in all.|It is five in all.\nb|He paid $2 for it.|He paid two dollars for it.\n"
    manifest = read_manifest(corpus(text, "a.wav", "b.wav"))
    assert manifest.layout == "id|text" and "LJSpeech" in manifest.why
    assert [row.text for row in manifest.rows] == ["It is five in all.", "He paid two dollars for it."]
    assert all(row.speaker is None for row in manifest.rows)


def test_quotes_of_a_csv_writer_go_and_quotes_of_the_text_stay(corpus):
    text = 'a|"He said ""go"", and left."\nb|"Go" he said "now"\nc|plain\n'
    rows = read_manifest(corpus(text, "a.wav", "b.wav", "c.wav")).rows
    assert [row.text for row in rows] == ['He said "go", and left.', '"Go" he said "now"', "plain"]


def test_header_of_a_pipe_file_is_skipped_and_said(corpus):
    manifest = read_manifest(corpus("file|transcript\na|One.\n", "a.wav"))
    assert [row.id for row in manifest.rows] == ["a"] and "header" in manifest.notes[0]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_mark_is_tolerated_and_said(corpus, encoding):
    manifest = read_manifest(corpus("a|Größe.\nb|Zwei.\n".encode(encoding), "a.wav", "b.wav"))
    assert [row.id for row in manifest.rows] == ["a", "b"] and manifest.rows[0].text == "Größe."
    assert "byte-order mark" in manifest.notes[0]


def test_byte_order_mark_before_the_comma_header(corpus):
    path = corpus((HEADER + "0,Hi there.,2,1\n").encode("utf-8-sig"), "x_0000.wav")
    assert read_manifest(path).layout == "segments"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,Hello there.\nb,Second.\n", r"0 of 2 lines hold a `\|`.*separated by commas.*id\|text"),
        ("a\tHello there.\nb\tSecond.\n", "separated by tabs"),
        ("a;Hello there.\nb;Second.\n", "separated by semicolons"),
        ("segment_index;text\n0;Hi\n", "header is separated by semicolons, and this layout by commas"),
        ("0,Hello there.,2,1.5\n1,Second.,1,1\n", "no header.*put the line segment_index,text"),
        ("just words\nand more\n", "Layouts read here"),
        ("", "is empty"),
        (HEADER, "nothing but a header"),
        (b"a|caf\xe9\n", r"line 1 is not UTF-8 \(byte 0xe9\).*iconv"),
        (b"a|x\0y\n", "zero bytes"),
    ],
)
def test_a_form_that_cannot_be_told_is_one_sentence(corpus, content, message):
    path = corpus(content, "x_0000.wav")
    with pytest.raises(UserError, match=message) as caught:
        read_manifest(path)
    assert str(path) in str(caught.value)


def test_every_line_failing_is_an_error_with_the_first_causes(corpus):
    path = corpus("".join(f"clip{i}|Words.\n" for i in range(9)))
    with pytest.raises(UserError, match=r"none of its 9 lines.*line 1: no audio file.*and 6 more"):
        read_manifest(path)


@pytest.mark.parametrize("name", ["../secret", "/etc/secret", "inside/../../secret"])
def test_paths_do_not_leave_the_audio_folder(corpus, tmp_path, name):
    (tmp_path / "secret.wav").touch()
    manifest = read_manifest(corpus(f"{name}|Words.\nsub/ok|Fine.\n", "sub/ok.wav"))
    assert [row.id for row in manifest.rows] == ["sub/ok"]
    assert "leaves the audio folder" in manifest.problems[0].reason


def test_folder_of_pairs(tmp_path):
    for name, text in (("b", "Second\nline."), ("a", "\ufeffFirst."), ("empty", " ")):
        (tmp_path / f"{name}.wav").touch()
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "shout.WAV").touch()
    (tmp_path / "shout.txt").write_text("Loud.")
    (tmp_path / "alone.wav").touch()
    (tmp_path / "mute.txt").write_text("Nothing recorded.")
    manifest = read_manifest(tmp_path)
    assert manifest.layout == "folder" and "no CSV" in manifest.why
    assert [(row.id, row.text) for row in manifest.rows] == [
        ("a", "First."), ("b", "Second line."), ("shout", "Loud.")]  # fmt: skip
    found = {problem.id: problem.reason for problem in manifest.problems}
    assert "no alone.txt" in found["alone"] and "no audio file" in found["mute"] and "empty" in found["empty"]
    assert len(manifest.rows) + len(manifest.problems) == 6


def test_folder_with_metadata_inside(corpus, tmp_path):
    corpus("a|One.\n", "a.wav")
    assert read_manifest(tmp_path).rows[0].id == "a"


@pytest.mark.parametrize("files", [(), ("a.wav",), ("a.txt",)])
def test_folder_without_pairs(tmp_path, files):
    for file in files:
        (tmp_path / file).write_text("x")
    with pytest.raises(UserError, match="Layouts read here|is usable"):
        read_manifest(tmp_path)


def test_missing_source_and_audio_folder(corpus, tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        read_manifest(tmp_path / "nothing.csv")
    with pytest.raises(UserError, match="--audio-dir"):
        read_manifest(corpus("a|One.\n", "a.wav"), audio_dir=tmp_path / "nowhere")
