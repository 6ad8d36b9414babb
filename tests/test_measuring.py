"""Every recording is measured once, whatever happens in between, in whatever does the work."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

from tests.conftest import own_environment
from tts_lab.analysis import measuring
from tts_lab.analysis.measures import measure
from tts_lab.analysis.measuring import JOURNAL, Measured, measure_all, measure_file
from tts_lab.corpus.corpus import Corpus
from tts_lab.corpus.prepare import prepare
from tts_lab.corpus.settings import PrepareSettings
from tts_lab.errors import UserError
from tts_lab.frontend import Frontend

SAMPLES = Path(__file__).parent.parent / "data_samples"
LINES = (SAMPLES / "metadata.csv").read_text(encoding="utf-8").splitlines()
QUIET = Console(file=io.StringIO())
CLIPS = 20


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A source of real clips, and the corpus beside it, never measured."""
    folder = tmp_path_factory.mktemp("measuring")
    (folder / "source").mkdir()
    for line in LINES[:CLIPS]:
        shutil.copy(SAMPLES / f"{line.split('|')[0]}.flac", folder / "source")
    (folder / "source" / "metadata.csv").write_text("\n".join(LINES[:CLIPS]) + "\n", encoding="utf-8")
    prepare(folder / "source", folder / "corpus", PrepareSettings(), Frontend("en-us"), jobs=1, console=QUIET)
    return folder


@pytest.fixture(scope="module")
def undisturbed(made) -> dict[str, Measured]:
    """What one process without a journal finds, clip by clip."""
    return {line.split("|")[0]: measure_file(made / "source" / f"{line.split('|')[0]}.flac") for line in LINES[:CLIPS]}


@pytest.fixture
def fresh(made, tmp_path) -> Corpus:
    """The corpus in a folder of its own."""
    shutil.copytree(made, tmp_path / "here")
    return Corpus.load(tmp_path / "here" / "corpus")


def journal(corpus: Corpus) -> list[dict]:
    return [json.loads(line) for line in (corpus.folder / JOURNAL).read_text().splitlines()]


def run(corpus: Corpus, **options) -> dict[str, Measured]:
    return measure_all(corpus, **{"jobs": 1, "console": QUIET, **options})


def test_each_recording_is_measured_as_it_was_recorded(fresh, undisturbed):
    found = run(fresh, jobs=2)
    assert list(found) == [u.id for u in fresh.utterances] and found == undisturbed
    path = SAMPLES / f"{fresh.utterances[0].id}.flac"
    audio, rate = soundfile.read(path, dtype="float32")
    assert found[fresh.utterances[0].id].measures == measure(audio, rate)
    assert len({line["key"] for line in journal(fresh)}) == len(journal(fresh)) == CLIPS


def test_a_second_run_measures_nothing_and_an_edited_corpus_what_is_new(fresh, undisturbed, monkeypatch):
    first = run(fresh)
    measured = []
    monkeypatch.setattr(measuring, "measure_file", lambda path, cut: measured.append(path) or measure_file(path, cut))
    assert run(fresh) == first == undisturbed and not measured
    changed, copied = fresh.utterances[3], fresh.utterances[5]
    path = (fresh.folder / changed.recording).resolve()
    audio, rate = soundfile.read(path)
    soundfile.write(path, audio[: len(audio) // 2], rate)
    shutil.copy(fresh.folder / fresh.utterances[6].recording, fresh.folder / copied.recording)
    again = run(fresh)
    assert measured == [path]  # the copy is known by its bytes
    assert again[copied.id] == first[fresh.utterances[6].id]
    assert again[changed.id].measures.recorded_seconds == pytest.approx(len(audio) // 2 / rate)
    assert {id: one for id, one in again.items() if id not in (changed.id, copied.id)} == {
        id: one for id, one in first.items() if id not in (changed.id, copied.id)
    }


def test_what_cannot_be_measured_says_why_and_the_rest_goes_on(fresh, undisturbed):
    gone, broken, silent = fresh.utterances[0], fresh.utterances[1], fresh.utterances[2]
    (fresh.folder / gone.recording).unlink()
    (fresh.folder / broken.recording).write_bytes(b"fLaC, or not")
    soundfile.write(fresh.folder / silent.recording, np.zeros(16000), 16000)
    for _ in range(2):
        found = run(fresh)
        assert "No such file" in found[gone.id].problem and "damaged" in found[broken.id].problem
        assert found[gone.id].measures is None and found[broken.id].measures is None
        assert found[silent.id].measures.speech_share == 0 and np.isnan(found[silent.id].measures.snr)
        others = [u.id for u in fresh.utterances[3:]]
        assert [found[id] for id in others] == [undisturbed[id] for id in others]
    (fresh.folder / gone.recording).write_bytes((SAMPLES / f"{gone.id}.flac").read_bytes())
    assert run(fresh)[gone.id] == undisturbed[gone.id]


def test_half_a_line_is_measured_again(fresh, undisturbed):
    run(fresh)
    path = fresh.folder / JOURNAL
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    assert run(fresh) == undisturbed
    lines = path.read_bytes().splitlines()
    assert lines[-1] == whole.splitlines()[-1] and len(lines) == CLIPS + 1
    monkey = json.loads(lines[0]) | {"version": -1}  # of another version of the measures
    path.write_bytes(json.dumps(monkey).encode() + b"\n" + b"\n".join(lines[1:]) + b"\n")
    assert run(fresh) == undisturbed and len(path.read_bytes().splitlines()) == CLIPS + 2


PROGRAM = """
import sys
from tts_lab.corpus.corpus import Corpus
from tts_lab.analysis.measuring import measure_all
if __name__ == "__main__":
    measure_all(Corpus.load(sys.argv[1]), jobs=int(sys.argv[2]))
"""


def test_killed_at_any_moment_it_goes_on_where_it_stopped(fresh, undisturbed, tmp_path, jobs=2):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    rng, path, killed = np.random.default_rng(jobs), fresh.folder / JOURNAL, 0
    for goal in (1, 9):
        command = [sys.executable, str(script), str(fresh.folder), str(jobs)]
        process = subprocess.Popen(command, env=own_environment(), stdout=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if path.exists() and path.read_bytes().count(b"\n") >= goal:
                time.sleep(rng.uniform(0, 0.05))
                os.killpg(process.pid, signal.SIGKILL)
                break
            time.sleep(0.005)
        killed += process.wait() == -signal.SIGKILL
    assert killed and 1 <= path.read_bytes().count(b"\n")
    before = path.read_bytes()
    assert run(fresh, jobs=jobs) == undisturbed
    assert path.read_bytes().startswith(before)
    keys = [json.loads(line)["key"] for line in path.read_bytes().splitlines() if line.endswith(b"}")]
    assert len(keys) == len(set(keys)) == CLIPS


def test_any_executor_does_the_work(fresh, undisturbed):
    with ThreadPoolExecutor(2) as threads:
        assert run(fresh, executor=threads) == undisturbed
        assert threads.submit(int, "7").result() == 7  # it is left running


@pytest.mark.slow
def test_a_dask_cluster_does_the_work(fresh, undisturbed):
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        assert run(fresh, executor=client.get_executor()) == undisturbed
    assert len({line["key"] for line in journal(fresh)}) == len(journal(fresh)) == CLIPS


@pytest.mark.parametrize(
    ("cause", "told"),
    [(BrokenProcessPool("gone"), "worker process died"), (ValueError("worker lost"), "gave up .* worker lost")],
)
def test_a_dead_worker_is_told_and_nothing_is_lost(fresh, undisturbed, cause, told):
    class Dying(ThreadPoolExecutor):
        left = 2

        def submit(self, *arguments):
            self.left -= 1
            if self.left >= 0:
                return super().submit(*arguments)
            future = Future()
            future.set_exception(cause)
            return future

    with Dying(1) as pool, pytest.raises(UserError, match=told):
        run(fresh, executor=pool)
    done = len(journal(fresh)) if (fresh.folder / JOURNAL).read_bytes() else 0
    assert run(fresh) == undisturbed and len(journal(fresh)) == CLIPS >= done
    with pytest.raises(UserError, match="0 jobs"):
        run(fresh, jobs=0)


def test_ears_listen_once_to_each_clip_and_again_with_other_settings(fresh):
    asked = []

    def listen(paths, model="tiny"):
        asked.extend(paths)
        return [f"{model} heard {path.stem}" for path in paths]

    found = run(fresh, ears=listen)
    assert all(found[u.id].heard == f"tiny heard {u.id}" for u in fresh.utterances) and len(asked) == CLIPS
    assert run(fresh, ears=listen) == found and len(asked) == CLIPS
    assert run(fresh)[fresh.utterances[0].id].heard is None
    large = partial(listen, model="large")
    assert run(fresh, ears=large)[fresh.utterances[0].id].heard.startswith("large")
    assert len(asked) == 2 * CLIPS and len(journal(fresh)) == 3 * CLIPS


def test_progress_says_the_time_left(fresh, monkeypatch):
    monkeypatch.setattr("tts_lab.corpus.report.SECONDS_BETWEEN", 0.0)
    console = Console(file=io.StringIO(), width=100)
    measure_all(fresh, jobs=1, console=console)
    lines = console.file.getvalue().splitlines()
    assert lines[-1] == f"measured: {CLIPS} of {CLIPS}, about 0:00 left"
    assert all(" left" in line for line in lines) and len(lines) == CLIPS


def test_a_journal_that_cannot_be_written_is_told(fresh):
    (fresh.folder / "analysis").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written"):
        run(fresh)


def linear_algebra_threads(rows: list[int]) -> list[int]:
    import numpy  # noqa: F401
    import threadpoolctl

    return [max(pool["num_threads"] for pool in threadpoolctl.threadpool_info())] * len(rows)


def test_a_worker_computes_with_one_thread():
    """Two workers with numpy's two threads each were no faster than one; seen where nobody exported one thread."""
    code = (
        "from tests.test_measuring import linear_algebra_threads\n"
        "from tts_lab.corpus.pool import in_pool\n"
        "print(set(in_pool(linear_algebra_threads, range(40), jobs=2)))"
    )
    environment = {name: value for name, value in own_environment().items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "{1}", done.stdout + done.stderr[-2000:]
