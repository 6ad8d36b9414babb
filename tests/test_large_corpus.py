"""Memory hardly grows with the corpus: what lies on the disk is what was put there, and the rest stays small."""

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from benchmarks import large_corpus
from tts_lab.corpus.corpus import Corpus
from tts_lab.corpus.pool import ROWS_PER_TASK, TASKS_IN_FLIGHT, in_pool
from tts_lab.corpus.spool import TOGETHER, Spool
from tts_lab.errors import UserError


def test_a_spool_is_a_list():
    items = [("x" * (i % 7), i, None) for i in range(2 * TOGETHER + 3)]
    spool = Spool(items)
    assert len(spool) == len(items) and list(spool) == items and spool == items and spool != items[:-1]
    assert spool[0] == items[0] and spool[-1] == items[-1] and spool[5:400:90] == items[5:400:90]
    spool.append("more")
    assert spool[-1] == "more" and list(spool)[-2:] == [items[-1], "more"] and not Spool()
    with pytest.raises(IndexError):
        spool[len(items) + 1]


def test_a_full_temporary_folder_is_told():
    spool = Spool()
    spool._file.close()
    spool._file = open("/dev/full", "wb", buffering=0)
    with pytest.raises(UserError, match="No space left.*TMPDIR"):
        spool.append("x")


def test_rows_are_drawn_only_as_they_are_needed():
    """Ten thousand rows are not all handed to the executor: what waits there is bounded."""
    drawn, bound = 0, ROWS_PER_TASK * (TASKS_IN_FLIGHT + 1)

    def rows():
        nonlocal drawn
        for number in range(1, 10_001):
            drawn = number
            yield number

    with ThreadPoolExecutor(2) as threads:
        done = 0
        for _ in in_pool(lambda task: task, rows(), executor=threads):
            done += 1
            assert drawn - done <= bound
    assert done == drawn == 10_000
    drawn = done = 0
    for _ in in_pool(list, rows(), jobs=2):
        done += 1
        assert drawn - done <= ROWS_PER_TASK * 5
    assert done == 10_000


def test_a_stored_corpus_is_what_it_was_when_its_file_is_replaced(small_corpus, tmp_path):
    held = replace(Corpus.load(small_corpus), folder=tmp_path)
    whole = list(held.utterances)
    held.save()
    stored, other = Corpus.load(tmp_path), Corpus.load(tmp_path)
    assert "utterances" not in vars(stored) and list(stored.stream()) == whole and "utterances" not in vars(stored)
    other.save(u for u in whole[:10])
    assert len(Corpus.load(tmp_path).utterances) == 10 == len(other.utterances)
    assert stored.fingerprint == held.fingerprint != other.fingerprint
    assert stored == held and pickle.loads(pickle.dumps(stored)) == held
    # Whoever changes a clip has changed it, and saves it so.
    stored.utterances[3].split = "validation" if stored.utterances[3].split == "train" else "train"
    assert stored.fingerprint != held.fingerprint and list(stored.stream())[3].split == stored.utterances[3].split
    stored.save()
    assert Corpus.load(tmp_path) == stored and json.loads((tmp_path / "corpus.json").read_text())


def test_a_corpus_that_an_editor_has_reformatted_is_read(small_corpus, tmp_path):
    found = json.loads((small_corpus / "corpus.json").read_text())
    (tmp_path / "corpus.json").write_text(json.dumps(found, indent=4))
    assert Corpus.load(tmp_path) == replace(Corpus.load(small_corpus), folder=tmp_path)
    lines = (small_corpus / "corpus.json").read_text().splitlines(keepends=True)
    (tmp_path / "corpus.json").write_text("".join(lines[:40]) + '{"id": "half", "te\n' + "".join(lines[40:]))
    with pytest.raises(UserError, match="is no corpus .*; run `tts-lab prepare` again"):
        Corpus.load(tmp_path)


@pytest.mark.slow
def test_memory_hardly_grows_with_the_corpus():
    """The benchmark in small; its bounds, with a megabyte for what the start of a process happens to take."""
    few, many = 4000, 10_000
    found = large_corpus.growth(few, many)
    slack = 1024 / (many - few)
    assert found["prepare"]["kb_a_clip"] < 0.5 + slack
    assert found["analyze"]["kb_a_clip"] < 1.5 + slack
