"""The same six real clips in every layout: the same rows must come out, and each layout must be told by itself."""

import csv
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tts_lab.corpus.manifest import read_manifest
from tts_lab.errors import UserError

SAMPLES = Path(__file__).parent.parent / "data_samples"
LINES = (SAMPLES / "metadata.csv").read_text(encoding="utf-8").splitlines()[:6]
CLIPS: list[tuple[str, str]] = [tuple(line.split("|", 1)) for line in LINES]
WANTED = {(name, text, hashlib.md5((SAMPLES / f"{name}.flac").read_bytes()).hexdigest()) for name, text in CLIPS}


def place(name: str, folder: Path, as_name: str | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(SAMPLES / f"{name}.flac", folder / f"{as_name or name}.flac"))


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def read(source: Path):
    """The manifest, and its rows as (name without folders, text, digest of the recording)."""
    manifest = read_manifest(source)
    found = [
        (row.id.split("/")[-1], row.text, hashlib.md5(row.audio.read_bytes()).hexdigest()) for row in manifest.rows
    ]
    assert not manifest.problems and len(found) == len(set(found))
    return manifest, set(found)


def pipes(root: Path) -> Path:
    for name, _ in CLIPS:
        place(name, root / "wavs")
    write(root / "metadata.csv", "".join(f"{name}|{text}\n" for name, text in CLIPS))
    return root


def pipes_that_name_the_folder(root: Path) -> Path:
    pipes(root)
    write(root / "metadata.csv", "".join(f"wavs/{name}.flac|{text}\n" for name, text in CLIPS))
    return root


def ljspeech(root: Path) -> Path:
    for name, _ in CLIPS:
        place(name, root / "wavs")
    write(root / "metadata.csv", "".join(f"{name}|{text.upper()} (raw)|{text}\n" for name, text in CLIPS))
    return root


def recording_studio(root: Path) -> Path:
    for name, _ in CLIPS:
        place(name, root)
    uuid = "2f6c8a52-1d0e-8f3c-90aa-5be0f5b0b1f2"
    write(root / f"{uuid}-metadata.txt", "".join(f"{name}.flac|{text}|{len(text)}\n" for name, text in CLIPS))
    return root


def vctk(root: Path) -> Path:
    for name, text in CLIPS:
        place(name, root / "wav48" / "p225")
        write(root / "txt" / "p225" / f"{name}.txt", text + "\n")
    return root


def vctk_of_two_microphones(root: Path) -> Path:
    for name, text in CLIPS:
        place(name, root / "wav48_silence_trimmed" / "p225", f"{name}_mic1")
        (root / "wav48_silence_trimmed" / "p225" / f"{name}_mic2.flac").write_bytes(b"the other microphone")
        write(root / "txt" / "p225" / f"{name}.txt", text + "\n")
    return root


def books(root: Path) -> Path:
    """Two books of one speaker and one of another."""
    homes = ["female/mary_ann/emma", "female/mary_ann/persuasion", "male/elliot/midnight"]
    for home, clips in zip(homes, (CLIPS[:2], CLIPS[2:4], CLIPS[4:]), strict=True):
        folder = root / "en_US" / "by_book" / home
        for name, _ in clips:
            place(name, folder / "wavs")
        write(folder / "metadata.csv", "".join(f"{n}|{t.upper()} as it was printed|{t}\n" for n, t in clips))
    return root


def festival(root: Path) -> Path:
    for name, _ in CLIPS:
        place(name, root / "wav")
    lines = []
    for name, text in CLIPS:  # a stress mark in every text, which must go
        stressed = text.replace("a", "+a", 1)
        lines.append(f'( {name} "{stressed}" )\n')
    write(root / "etc" / "txt.done.data", "".join(lines))
    return root


def audio_folder_csv(root: Path) -> Path:
    with write(root / "metadata.csv", "").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file_name", "transcription", "gender"])
        for name, text in CLIPS:
            table.writerow([f"clips/{place(name, root / 'clips').name}", text, "f"])
    return root


def audio_folder_jsonl(root: Path) -> Path:
    records = [{"file_name": place(name, root).name, "text": text} for name, text in CLIPS]
    write(root / "metadata.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    return root


def audio_folder_splits(root: Path) -> Path:
    for split, clips in (("train", CLIPS[:4]), ("test", CLIPS[4:])):
        lines = [f'{place(name, root / split).name},"{text}"\n' for name, text in clips]
        write(root / split / "metadata.csv", "file_name,sentence\n" + "".join(lines))
    return root


def pairs(root: Path) -> Path:
    for name, text in CLIPS:
        place(name, root)
        write(root / f"{name}.txt", text + "\n")
    return root


LAYOUTS: list[tuple[Callable[[Path], Path], str, str, set[str | None]]] = [
    (pipes, "id|text", "have one `|`", {None}),
    (pipes_that_name_the_folder, "id|text", "have one `|`", {None}),
    (ljspeech, "id|text", "LJSpeech's and mimic2's", {None}),
    (recording_studio, "id|text", "Mimic Recording Studio", {None}),
    (vctk, "VCTK", "VCTK's txt and wav48,", {"p225"}),
    (vctk_of_two_microphones, "VCTK", "wav48_silence_trimmed", {"p225"}),
    (books, "M-AILABS", "3 metadata.csv lie under M-AILABS's by_book, with 2 speaker", {"mary_ann", "elliot"}),
    (festival, "festival", "txt.done.data holds lines of ( id", {None}),
    (audio_folder_csv, "audio folder", "names file_name and transcription", {None}),
    (audio_folder_jsonl, "audio folder", "metadata.jsonl names file_name and text", {None}),
    (audio_folder_splits, "audio folder", "holds the splits train, test", {None}),
    (pairs, "folder", "6 recordings with a .txt", {None}),
]


@pytest.mark.parametrize(("make", "layout", "why", "speakers"), LAYOUTS, ids=[each[0].__name__ for each in LAYOUTS])
def test_every_layout_gives_the_same_rows_and_says_why(tmp_path, make, layout, why, speakers):
    manifest, found = read(make(tmp_path / "corpus"))
    assert found == WANTED
    assert manifest.layout == layout and why in manifest.why
    assert {row.speaker for row in manifest.rows} == speakers


def test_what_was_tolerated_is_said(tmp_path):
    assert "texts were stripped" in read(festival(tmp_path / "a"))[0].notes[-1]
    assert "the first (mic1) is read" in read(vctk_of_two_microphones(tmp_path / "b"))[0].notes[-1]
    assert "not read: gender" in read(audio_folder_csv(tmp_path / "c"))[0].notes[-1]


def test_one_book_of_mailabs_still_knows_its_speaker(tmp_path):
    book = books(tmp_path) / "en_US/by_book/male/elliot/midnight"
    for source in (book, book / "metadata.csv"):
        manifest = read_manifest(source)
        assert {row.speaker for row in manifest.rows} == {"elliot"}
        assert {(row.id, row.text) for row in manifest.rows} == set(CLIPS[4:])
    assert len(read_manifest(book.parent.parent.parent).rows) == 6


def test_a_bad_line_of_a_book_is_named_with_its_path(tmp_path):
    path = books(tmp_path) / "en_US/by_book/female/mary_ann/emma/metadata.csv"
    path.write_text(path.read_text() + "gone|He left the room then.|He left the room.\n")
    problem = read_manifest(tmp_path).problems[0]
    assert problem.where == "en_US/by_book/female/mary_ann/emma/metadata.csv line 3" and problem.id == "gone"


def test_vctk_without_text_or_recording(tmp_path):
    root = vctk(tmp_path)
    (root / "txt/p225" / f"{CLIPS[0][0]}.txt").unlink()
    (root / "wav48/p225" / f"{CLIPS[1][0]}.flac").unlink()
    place("conf-getpin", root / "wav48" / "p315", "p315_001")  # a speaker whose texts were lost, as VCTK's p315
    manifest = read_manifest(root)
    assert {problem.id: problem.reason.split(":")[0] for problem in manifest.problems} == {
        CLIPS[0][0]: f"there is no txt/p225/{CLIPS[0][0]}.txt with its words",
        CLIPS[1][0]: "no audio file",
        "p315_001": "there is no txt/p315/p315_001.txt with its words",
    }
    assert len(manifest.rows) == 4


def test_mimic2s_preprocessed_list_is_refused_with_the_reason(tmp_path):
    lines = [f"lj-spec-{i:05d}.npy|lj-mel-{i:05d}.npy|{300 + i}|{text}\n" for i, (_, text) in enumerate(CLIPS)]
    write(tmp_path / "train.txt", "".join(lines))
    (tmp_path / "lj-spec-00000.npy").touch()
    for source in (tmp_path, tmp_path / "train.txt"):
        with pytest.raises(UserError, match=r"names? spectrograms .*spec-00000.npy.* no recording.*metadata.csv"):
            read_manifest(source)


def test_festival_lines_of_another_form_and_commas(tmp_path):
    root = festival(tmp_path)
    path = root / "etc" / "txt.done.data"
    place("conf-getpin", root / "wav", "pause")
    path.write_text(path.read_text() + '( broken "no end\n( pause "One, tw+o, three." )\n', encoding="utf-8")
    manifest = read_manifest(path)
    assert manifest.rows[-1].text == "One, two, three."
    assert manifest.problems[0].where == "txt.done.data line 7" and "write it so" in manifest.problems[0].reason


def test_audio_folder_with_speakers_and_bad_records(tmp_path):
    records = [{"file_name": place(n, tmp_path).name, "sentence": t, "speaker_id": 7} for n, t in CLIPS[:3]]
    lines = [json.dumps(record) for record in records] + ["{broken", "[1]", '{"file_name": "x.flac"}']
    manifest = read_manifest(write(tmp_path / "metadata.jsonl", "\n".join(lines)))
    assert {row.speaker for row in manifest.rows} == {"7"}
    said = {problem.where: problem.reason for problem in manifest.problems}
    assert "no JSON" in said["metadata.jsonl line 4"] and "no JSON object" in said["metadata.jsonl line 5"]
    assert "text is empty" in said["metadata.jsonl line 6"]
    with pytest.raises(UserError, match="needs file_name and one of"):
        read_manifest(write(tmp_path / "other.jsonl", '{"audio": "a.wav", "words": "x"}\n'))


def test_a_header_decides_the_columns(tmp_path):
    for name, _ in CLIPS:
        place(name, tmp_path)
    lines = [f"{name}|{text}|{'zoe' if i % 2 else 'adam'}\n" for i, (name, text) in enumerate(CLIPS)]
    manifest, found = read(write(tmp_path / "metadata.csv", "id|text|speaker\n" + "".join(lines)))
    assert found == WANTED and [row.speaker for row in manifest.rows[:2]] == ["adam", "zoe"]
    assert "names the columns id|text|speaker" in manifest.why


@pytest.mark.parametrize("speaker", [False, True])
def test_phoneme_ids_as_stock_piper_writes_them(tmp_path, speaker):
    """`utt|text|ids` and `utt|speaker|text|ids`, which stock reads by the place of the column."""
    for name, _ in CLIPS:
        place(name, tmp_path)
    wanted = {name: (1, 0, 20 + i, 0, 31, 0, 2) for i, (name, _) in enumerate(CLIPS)}
    lines = [
        "|".join([name, *(["anna"] if speaker else []), text, " ".join(map(str, wanted[name]))]) for name, text in CLIPS
    ]
    manifest, found = read(write(tmp_path / "metadata.csv", "\n".join(lines)))
    assert found == WANTED and {row.id: row.phoneme_ids for row in manifest.rows} == wanted
    assert {row.speaker for row in manifest.rows} == ({"anna"} if speaker else {None})
    assert "phoneme ids" in manifest.why
    broken = [*lines[:5], lines[5].rsplit("|", 1)[0] + "|1 0 x"]
    problems = read_manifest(write(tmp_path / "metadata.csv", "\n".join(broken))).problems
    assert [problem.where for problem in problems] == ["metadata.csv line 6"]
    assert "phoneme_ids is '1 0 x' and must be whole numbers" in problems[0].reason


def test_phoneme_ids_in_tables(tmp_path):
    for i, (name, _) in enumerate(CLIPS):
        place(name, tmp_path, f"talk_{i:04d}")
    lines = [f'{i},"{text}",1 0 {30 + i} 0 2\n' for i, (_, text) in enumerate(CLIPS)]
    segments = read_manifest(write(tmp_path / "metadata.csv", "segment_index,text,phoneme_ids\n" + "".join(lines)))
    assert [row.phoneme_ids for row in segments.rows] == [(1, 0, 30 + i, 0, 2) for i in range(6)]
    records = [{"file_name": f"talk_{i:04d}.flac", "text": t, "phoneme_ids": [1, 0, 30 + i, 0, 2]}
               for i, (_, t) in enumerate(CLIPS)]  # fmt: skip
    audio_folder = write(tmp_path / "metadata.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    assert read_manifest(audio_folder).rows[3].phoneme_ids == segments.rows[3].phoneme_ids
