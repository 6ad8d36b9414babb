"""Lint: every way in which people's manifests are wrong is named, and the corrected copy is what prepare then reads."""

import io
import json
import random
import re
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from tts_lab.cli import main
from tts_lab.corpus.corpus import Corpus
from tts_lab.corpus.lint import Finding, Lint, lint
from tts_lab.corpus.manifest import read_manifest
from tts_lab.corpus.prepare import prepare
from tts_lab.corpus.settings import PrepareSettings
from tts_lab.errors import UserError
from tts_lab.frontend import Frontend

SAMPLES = Path(__file__).parent.parent / "data_samples"
LINES = (SAMPLES / "metadata.csv").read_text(encoding="utf-8").splitlines()[:8]
CLIPS = [tuple(line.split("|", 1)) for line in LINES]
NAMES = [name for name, _ in CLIPS]


@pytest.fixture
def folder(tmp_path) -> Path:
    """Eight real clips, and no manifest yet."""
    for name in NAMES:
        (tmp_path / "wavs").mkdir(exist_ok=True)
        shutil.copy(SAMPLES / f"{name}.flac", tmp_path / "wavs")
    return tmp_path


def manifest(folder: Path, content: str | bytes, name: str = "metadata.csv") -> Path:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


def run(source: Path, **options) -> tuple[Lint, dict[tuple[str, str], Finding]]:
    found: list[Finding] = []
    result = lint(source, found.append, **options)
    assert result.kinds.total() == len(found) and result.bad == sum(finding.bad for finding in found)
    return result, {(finding.where, finding.kind): finding for finding in found}


def pairs(source: Path) -> list[tuple[str, str]]:
    return [(row.id, row.text) for row in read_manifest(source).rows]


def test_clean_real_manifests_have_no_findings():
    result, found = run(SAMPLES)
    assert result.rows == 80 and not found and result.layout == "id|text"


def test_every_kind_of_bad_line_is_named_with_its_number(folder):
    bad = [
        f"{NAMES[0]}|Again.",
        "gone|No recording.",
        f"{NAMES[4]}|",
        f"{NAMES[4]}|one|two",
        "no delimiter here",
        "../metadata|Outside.",
        "|No id.",
        f"{NAMES[4]}|Bell \x07 here.",
        f"{NAMES[4]}|A lost letter: caf\ufffd.",
    ]
    path = manifest(folder, "\n".join([*LINES[:4], *bad]).encode() + f"\n{NAMES[5]}|Caf\xe9.\n".encode("latin-1"))
    before = path.read_bytes()
    result, found = run(path)
    wanted = {
        5: ("duplicate id", r"already used \(metadata.csv line 1\)"),
        6: ("missing audio", "neither gone.wav nor gone.flac"),
        7: ("empty text", "write what is said, or remove"),
        8: ("number of fields", r"3 fields, where most lines have 2; write it as id\|text"),
        9: ("number of fields", r"no `\|`"),
        10: ("path outside", "name a file inside it"),
        11: ("empty id", "must name the audio file"),
        12: ("control character", r"U\+0007.*delete it"),
        13: ("lost letter", r"U\+FFFD.*write the letter"),
        14: ("encoding", r"not UTF-8 \(byte 0xe9\); save it as UTF-8"),
    }
    for line, (kind, message) in wanted.items():
        finding = found.pop((f"metadata.csv line {line}", kind))
        assert finding.bad and re.search(message, finding.message), finding
    unnamed = {(str(folder / "wavs" / f"{name}.flac"), "unnamed recording") for name in NAMES[6:]}
    assert found.keys() == unnamed and not any(finding.bad for finding in found.values())
    assert result.rows == 4 and result.bad == 10
    assert path.read_bytes() == before and not (folder / "metadata.fixed.csv").exists()


def test_lint_and_prepare_agree_on_every_line(folder):
    """One reader: what lint calls bad is what read_manifest sets aside, with the same words."""
    path = manifest(folder, "\n".join([*LINES[:6], "x|y", LINES[2], "z", f"{NAMES[7]}|"]))
    problems = {problem.where: problem.reason for problem in read_manifest(path).problems}
    assert {f.where: f.message for f in run(path)[1].values() if f.bad} == problems and len(problems) == 4


def test_the_corrected_copy_holds_what_is_certain(folder):
    good = "\n".join(LINES[:5]).replace("|", "|  ", 1)
    accents = f"{NAMES[5]}|Caf\xe9 au lait.".encode("latin-1")
    rest = f"\n{NAMES[6]}|Bell\x07 rings.\n{NAMES[0]}|Again.\ngone|No recording.\n"
    path = manifest(folder, b"\xef\xbb\xbfid|text\n" + good.encode() + b"\n" + accents + rest.encode())
    before = path.read_bytes()
    result, found = run(path, fix=True)
    assert path.read_bytes() == before
    assert {kind for _, kind in found} >= {"byte-order mark", "header", "encoding", "control character"}
    assert result.fixed == folder / "metadata.fixed.csv" and result.written == 7
    assert result.changes == {
        "byte-order mark removed": 1,
        "header removed": 1,
        "white space tidied": 1,
        "read as windows-1252, written as UTF-8": 1,
        "control characters removed": 1,
        "left out: duplicate id": 1,
        "left out: missing audio": 1,
    }
    wanted = [*CLIPS[:5], (NAMES[5], "Caf\xe9 au lait."), (NAMES[6], "Bell rings.")]
    assert pairs(result.fixed) == wanted
    assert result.fixed.read_bytes() == "".join(f"{name}|{text}\n" for name, text in wanted).encode()
    again, found = run(result.fixed, fix=False)
    assert again.rows == 7 and not again.bad
    assert read_manifest(path.parent / "metadata.fixed.csv").rows and not list(folder.glob("*.tmp"))


@pytest.mark.parametrize(("mark", "name"), [("\t", "tabs"), (";", "semicolons"), (",", "commas")])
def test_another_delimiter_is_changed_where_the_recordings_prove_it(folder, mark, name):
    path = manifest(folder, "\n".join(f"{clip}{mark}{text}" for clip, text in CLIPS))
    with pytest.raises(UserError, match=f"looks separated by {name}"):
        read_manifest(path)
    result, found = run(path, fix=True)
    assert found["metadata.csv line 1", "delimiter"].bad and result.bad == 1
    assert pairs(result.fixed) == CLIPS and result.changes[f"{name} made |"] == 8


def test_a_delimiter_that_is_a_guess_is_left(folder):
    path = manifest(folder, "\n".join(f"other{i},{text}" for i, (_, text) in enumerate(CLIPS)))
    with pytest.raises(UserError, match="looks separated by commas"):
        run(path, fix=True)
    assert not (folder / "metadata.fixed.csv").exists()


def test_segments_with_semicolons_become_commas(folder):
    for number, name in enumerate(NAMES):
        (folder / "wavs" / f"{name}.flac").rename(folder / "wavs" / f"talk_{number:04d}.flac")
    lines = [f"{i};{text};{len(text.split())};1.5" for i, (_, text) in enumerate(CLIPS)]
    path = manifest(folder, "segment_index;text;word_count;estimated_duration_seconds\n" + "\n".join(lines))
    result, _ = run(path, fix=True)
    assert pairs(result.fixed) == [(f"talk_{i:04d}", text) for i, (_, text) in enumerate(CLIPS)]
    assert any("," in text for _, text in CLIPS), "a comma in the text must be quoted"
    assert result.changes["semicolons made commas"] == 8


def test_an_open_quote_costs_its_line_alone(folder):
    for number, name in enumerate(NAMES):
        (folder / "wavs" / f"{name}.flac").rename(folder / "wavs" / f"talk_{number:04d}.flac")
    lines = ["segment_index,text", '0,"Two\nlines."', '1,"Never closed.', *(f"{i},Fine." for i in range(2, 8))]
    result, found = run(manifest(folder, "\n".join(lines)))
    assert result.rows == 7 and "opened and never closed" in found["metadata.csv line 4", "open quote"].message


def test_bytes_of_another_alphabet_are_not_guessed(folder):
    content = "\n".join([*LINES[:4], f"{NAMES[4]}|Привет, мир."]).encode("windows-1251")
    result, _ = run(manifest(folder, content), fix=True)
    assert result.written == 4 and result.changes["left out: encoding"] == 1
    result, _ = run(manifest(folder, content), fix=True, encoding="windows-1251")
    assert pairs(result.fixed)[-1] == (NAMES[4], "Привет, мир.")
    with pytest.raises(UserError, match="knows no such encoding"):
        run(folder, encoding="windows-9999")


def test_corrected_copies_of_other_layouts(folder):
    record = [json.dumps({"file_name": f"wavs/{name}.flac", "text": text, "mood": 3}) for name, text in CLIPS]
    result, _ = run(manifest(folder, "\n".join([*record, "{", record[0]]), "metadata.jsonl"), fix=True)
    assert result.written == 8 and json.loads(result.fixed.read_text().splitlines()[0])["mood"] == 3
    assert [text for _, text in pairs(result.fixed)] == [text for _, text in CLIPS]
    prompts = "".join(f'( {name} "{text.replace("o", "+o", 1)}" )\n' for name, text in CLIPS) + "broken\n"
    path = manifest(folder, prompts, "txt.done.data")
    result, found = run(path, fix=True)
    assert result.fixed.read_text() == prompts.replace("broken\n", "") and pairs(result.fixed) == CLIPS
    assert ("txt.done.data line 9", "wrong form") in found
    raw = "".join(f"{name}|{text.upper()} raw words|{text}\n" for name, text in CLIPS)
    result, _ = run(manifest(folder, raw + "bad\n"), fix=True)
    assert result.fixed.read_text() == raw, "a column that is not read stays"


def test_a_folder_has_no_manifest_to_correct(tmp_path):
    shutil.copy(SAMPLES / f"{NAMES[0]}.flac", tmp_path)
    (tmp_path / f"{NAMES[0]}.txt").write_bytes(b"caf\xe9")
    result, found = run(tmp_path)
    assert result.bad == 1 and next(iter(found.values())).kind == "encoding"
    with pytest.raises(UserError, match="no one manifest to correct"):
        run(tmp_path, fix=True)


def test_the_command_says_it_and_fails(folder, tmp_path, capsys):
    manifest(folder, "\n".join([*LINES, "gone|No recording."]))
    assert main(["lint", str(folder), "--fix", "--json", str(tmp_path / "out" / "lint.json")]) == 1
    said = capsys.readouterr()
    assert "BAD metadata.csv line 9: no audio file" in said.out and "8 usable, 1 bad" in said.out
    assert "metadata.fixed.csv holds 8 corrected lines; left out: missing audio: 1." in said.out
    assert "1 bad line" in said.err
    report = json.loads((tmp_path / "out" / "lint.json").read_text())
    assert report["findings"][0]["where"] == "metadata.csv line 9" and report["rows"] == 8
    assert main(["lint", str(folder / "metadata.fixed.csv")]) == 0
    assert main(["lint", str(folder / "nothing.csv")]) == 1


def test_prepare_takes_the_corrected_copy(folder, tmp_path):
    result, _ = run(manifest(folder, "\n".join(LINES[:4]).replace("|", "\t") + "\n"), fix=True)
    console = Console(file=io.StringIO())
    prepare(result.fixed, tmp_path / "out", PrepareSettings(), Frontend(), jobs=1, console=console)
    assert [(u.id, u.text) for u in Corpus.load(tmp_path / "out").utterances] == CLIPS[:4]


def test_a_copy_that_cannot_be_written_leaves_nothing(folder, monkeypatch):
    path = manifest(folder, "\n".join(LINES))
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(UserError, match="could not be written: No space left"):
        run(path, fix=True)
    assert sorted(file.name for file in folder.iterdir()) == ["metadata.csv", "wavs"]


FORMS = {
    "metadata.csv": [
        "".join(f"{name}|{text}\n" for name, text in CLIPS),
        "".join(f"{name}\t{text}\n" for name, text in CLIPS),
        "file_name,text\n" + "".join(f'wavs/{name}.flac,"{text}"\n' for name, text in CLIPS),
    ],
    "metadata.jsonl": ["".join(json.dumps({"file_name": f"wavs/{n}.flac", "text": t}) + "\n" for n, t in CLIPS)],
    "txt.done.data": ["".join(f'( {name} "{text}" )\n' for name, text in CLIPS)],
}
DAMAGE = [b"|", b",", b'"', b"\n", b"\r", b"\0", b"\x07", b"\xe9", b"\xff\xfe", b"\t", b"../", b"/", b"{", b"\\u0007",
          b"\\ud83d", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"/" * 40 + b"y" * 300]  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_damaged_manifests_are_told_and_never_break_anything(folder, seed):
    """Bytes put in and taken out at random: a UserError or findings, the same as read_manifest's, and a copy that
    lint then passes."""
    draw, told = random.Random(seed), 0
    for _ in range(60):
        name, forms = draw.choice(sorted(FORMS.items()))
        content = bytearray(draw.choice(forms).encode())
        for _ in range(draw.randint(1, 5)):
            at = draw.randrange(len(content))
            content[at : at + draw.choice((0, 0, 1, 20))] = draw.choice(DAMAGE)
        path, found = manifest(folder, bytes(content), name), []
        try:
            result = lint(path, found.append, fix=True)
        except UserError:
            continue
        finally:
            assert path.read_bytes() == content
        told += 1
        json.dumps([finding.message for finding in found], ensure_ascii=False).encode()
        if result.fixed:
            again, _ = run(result.fixed)
            assert (again.bad, again.rows) == (0, result.written)
            result.fixed.unlink()
        try:
            read = read_manifest(path)
        except UserError:
            continue
        assert len(read.rows) == result.rows
        bad = {finding.where: finding.message for finding in found if finding.bad}
        assert {problem.where: problem.reason for problem in read.problems} == bad
    assert told > 30


def test_memory_hardly_grows_with_the_lines():
    """The benchmark, small: it knows how many lines it made bad; 10,000 lines more cost some 200 bytes each."""
    from benchmarks import lint_200k

    seconds, peak = lint_200k.measure(rows=11_000)
    assert (seconds["name"], peak["name"]) == ("lint_200k_seconds", "lint_200k_mb")
    small, large = peak["samples"]
    assert small < 100, "it is lint's own memory that is measured, and not this process's"
    assert large - small < 10_000 * 1000 / 2**20, "half a kilobyte a line, and as much for the noise of allocation"
