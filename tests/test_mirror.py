"""A run kept off the machine: against a real S3 API on loopback (moto's server), a folder, and memory."""

import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from conftest import own_environment
from hypothesis import given, settings
from hypothesis import strategies as st

from tts_lab.errors import UserError
from tts_lab.training.config import TrainConfig
from tts_lab.training.metrics import read_metrics
from tts_lab.training.mirror import inventory, sending
from tts_lab.training.mirror.inventory import Inventory, Kept
from tts_lab.training.mirror.remote import Remote
from tts_lab.training.mirror.restore import restore
from tts_lab.training.mirror.sending import Mirror, mirrored
from tts_lab.training.run import train

pytestmark = pytest.mark.filterwarnings("ignore")
TINY = {
    "preset": "tiny", "batch_size": 4, "validate_every": 4, "sample_every": 100, "sample_clips": 0,
    "sentences": ["Yes."], "checkpoint_every": 2, "log_every": 1, "workers": 0, "keep": 1, "accelerator": "cpu",
}  # fmt: skip


@pytest.fixture(params=["s3", "folder", "memory"])
def url(request, tmp_path) -> str:
    """An empty place."""
    if request.param == "s3":
        request.getfixturevalue("s3")
    name = f"{os.getpid()}-{tmp_path.name}"
    return {"s3": f"s3://voices/{name}", "folder": str(tmp_path / "mirror"), "memory": f"memory://{name}"}[
        request.param
    ]


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Nobody waits long in a test."""
    monkeypatch.setattr(sending, "LOOK", 0.05)
    monkeypatch.setattr(sending, "RETRY", 0.2)


@pytest.fixture
def config(tmp_path) -> TrainConfig:
    """What a mirror looks at of a config."""
    recorded = TrainConfig.recorded({"corpus": "none", "run": str(tmp_path / "run")})
    recorded.run.mkdir()
    return recorded


def save(run: Path, name: str, content: bytes) -> None:
    """A whole file at once, as checkpoints are written."""
    path = run / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f".{path.name}.tmp").write_bytes(content)
    os.replace(path.with_name(f".{path.name}.tmp"), path)
    time.sleep(0.01)  # a later one is a newer one


def content(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def there(url: str) -> dict[str, bytes]:
    """All checkpoints at an address, by fsspec's own walk."""
    remote = Remote(url)
    paths = [path for path in remote.fs.find(remote.root) if path.endswith(".ckpt")]
    found = remote.fs.cat(paths, on_error="omit") if paths else {}  # one may be deleted at that moment
    return {path.removeprefix(remote.root + "/"): data for path, data in found.items()}


def until(true, seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def told(config: TrainConfig) -> str:
    log = config.run / "log.txt"
    return log.read_text() if log.is_file() else ""


def wiped(config: TrainConfig) -> TrainConfig:
    shutil.rmtree(config.run)
    return config


def on(config: TrainConfig, url: str) -> TrainConfig:
    config.mirror = url
    return config


def test_all_of_a_run_is_sent_and_comes_back_byte_for_byte(config, url, capsys):
    config = on(config, url)
    with mirrored(config):
        save(config.run, "checkpoints/last.ckpt", b"one" * 1000)
        save(config.run, "checkpoints/best-step=2-val_mel=0.5000.ckpt", b"best" * 1000)
        save(config.run, "samples/step-2/0.wav", b"RIFF" * 100)
        save(config.run, "metrics.csv", b"step,mel\n0,1\n")
        save(config.run, "checkpoints/.last.ckpt.7.partial", b"half")
        save(config.run, "checkpoints/last.ckpt", b"two" * 1000)
    before = content(config.run)
    log = before.pop("log.txt")
    assert b"holds the whole run" in log and "holds the whole run" in capsys.readouterr().out
    del before["checkpoints/.last.ckpt.7.partial"]
    with mirrored(wiped(config)):
        after = content(config.run)
        assert after.pop("log.txt").startswith(log[: log.index(b"mirror:")][:-20])
        assert after == before
        assert f"the run is fetched from {url}; last.ckpt is its newest" in told(config)


def test_the_mirror_keeps_what_the_run_keeps_and_one_more_of_the_last(config, url):
    config = on(config, url)

    def kept() -> list[bytes]:
        return sorted(there(url).values())

    with mirrored(config):
        for number in range(3):
            save(config.run, "checkpoints/last.ckpt", b"last %d" % number)
            save(config.run, f"checkpoints/best-step={number}-val_mel=0.5000.ckpt", b"best %d" % number)
            (config.run / f"checkpoints/best-step={number - 1}-val_mel=0.5000.ckpt").unlink(missing_ok=True)
            wanted = [b"best %d" % number, *(b"last %d" % n for n in range(max(0, number - 1), number + 1))]
            until(lambda wanted=wanted: kept() == wanted)
        shutil.rmtree(config.run / "checkpoints")
    assert kept() == [b"best 2"], "the run has none, so the only whole one stays"


def test_a_damaged_checkpoint_is_refused_and_the_one_before_it_taken(config, url):
    config = on(config, url)
    with mirrored(config):
        save(config.run, "checkpoints/last.ckpt", b"first " * 1000)
        until(lambda: any(name.startswith("checkpoints/last") for name in there(url)))
        save(config.run, "checkpoints/last.ckpt", b"second" * 1000)
    remote = Remote(url)
    stored = remote.root + "/" + remote.read().newest.stored
    differs = "its content is not what was sent: the SHA-256 differs"
    cases = {"it has 100 bytes of 6000": b"x" * 100, differs: b"Second" * 1000, "it is not there": None}
    for words, data in cases.items():
        remote.fs.rm_file(stored) if data is None else remote.fs.pipe_file(stored, data)
        _, said = restore(wiped(config), Remote(url))
        assert (config.run / "checkpoints" / "last.ckpt").read_bytes() == b"first " * 1000
        assert "checkpoints/last-" in said[0] and f"is refused: {words}" in said[0]
        assert not [path for path in config.run.rglob(".*") if path.is_file()]
    for path in remote.fs.ls(remote.root + "/checkpoints", detail=False):
        remote.fs.pipe_file(path, b"")
    with pytest.raises(UserError, match="no whole checkpoint; .*:\n.*it is not there\n.*it has 0 bytes of 6000"):
        restore(wiped(config), Remote(url))


def test_what_is_cut_short_while_it_is_sent_is_never_chosen(config, url, monkeypatch, capsys):
    config = on(config, url)
    with mirrored(config):
        save(config.run, "checkpoints/last.ckpt", b"whole " * 1000)
    add = Remote.add

    class Died(BaseException):
        """As `kill -9`: nothing after it is done."""

    def half(self, file, stored):
        if stored.startswith("checkpoints/"):
            add(self, io.BytesIO(file.read(3000)), stored)
            raise Died
        add(self, file, stored)

    monkeypatch.setattr(Remote, "add", half)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    listed, _ = restore(config, Remote(url))
    dying = Mirror(config.run, Remote(url), listed)
    dying.start()
    save(config.run, "checkpoints/last.ckpt", b"newer " * 1000)
    until(lambda: not dying._thread.is_alive())
    assert b"newer " * 500 in there(url).values(), "half of it is there"
    monkeypatch.undo()
    restore(wiped(config), Remote(url))
    assert (config.run / "checkpoints" / "last.ckpt").read_bytes() == b"whole " * 1000
    with mirrored(config):
        save(config.run, "checkpoints/last.ckpt", b"newer " * 1000)
    assert b"newer " * 1000 in there(url).values() and b"newer " * 500 not in there(url).values()


def test_a_checkpoint_is_named_once_its_curves_are_there_and_before_all_else(config, tmp_path, monkeypatch):
    config, sent = on(config, str(tmp_path / "mirror")), []
    replaced = Remote.replace
    monkeypatch.setattr(Remote, "replace", lambda self, file, name: (replaced(self, file, name), sent.append(name)))
    (config.run / "samples").mkdir()
    for name in ("a-picture.png", "samples/0.wav", "metrics.csv"):
        save(config.run, name, b"something")
    save(config.run, "checkpoints/last.ckpt", b"one")
    with mirrored(config):
        sent.clear()
        until(lambda: sent.count("mirror.json") == 2)
    assert sorted(sent[:2]) == ["logged_as.txt", "metrics.csv"] and sent[2] == "mirror.json"
    assert sorted(sent[3:5]) == ["a-picture.png", "samples/0.wav"] and sent[5] == "mirror.json"


def test_a_fetch_that_is_cut_short_is_done_again(config, tmp_path, monkeypatch):
    config = on(config, str(tmp_path / "mirror"))
    with mirrored(config):
        save(config.run, "metrics.csv", b"step,mel\n0,1\n")
        save(config.run, "checkpoints/best-step=2-val_mel=0.5000.ckpt", b"best" * 1000)
        save(config.run, "checkpoints/last.ckpt", b"last" * 1000)
    restore(wiped(config), Remote(config.mirror))
    whole, fetch = content(config.run), Remote.fetch
    assert len(whole) == 4  # with the run's id
    for number in range(len(whole)):
        left = iter(range(number))

        def dying(self, kept, path, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return fetch(self, kept, path)

        with monkeypatch.context() as dies, pytest.raises(KeyboardInterrupt):
            dies.setattr(Remote, "fetch", dying)
            restore(wiped(config), Remote(config.mirror))
        restore(config, Remote(config.mirror))
        assert content(config.run) == whole


def test_a_network_that_goes_away_is_told_once_and_tried_again(config, s3, tmp_path, capsys):
    config = on(config, f"s3://voices/{tmp_path.name}")
    with mirrored(config):
        save(config.run, "checkpoints/last.ckpt", b"one")
        until(lambda: Remote(config.mirror).read().newest)
        s3.stop()
        try:
            save(config.run, "checkpoints/last.ckpt", b"two")
            until(lambda: told(config))
            time.sleep(1.0)  # it is tried again, in vain
        finally:
            s3.start()
        until(lambda: "works again" in told(config))
    assert b"two" in there(config.mirror).values()
    said = told(config)
    assert said.count("Training goes on") == 1 and "Could not connect to the endpoint" in said


def test_the_wait_at_the_end_has_a_bound_and_training_none(config, monkeypatch, tmp_path, capsys):
    """The network hangs for ever. The body of the run does not notice, and its end says what is missing."""
    config = on(config, str(tmp_path / "mirror"))
    monkeypatch.setattr(sending, "INTERRUPTED", 0.5)
    began = time.monotonic()
    with pytest.raises(UserError, match="interrupted at step 7"), mirrored(config):
        monkeypatch.setattr(Remote, "add", lambda *_: time.sleep(60))
        save(config.run, "checkpoints/last.ckpt", b"one")
        time.sleep(0.3)
        assert time.monotonic() - began < 2, "training waited"
        raise UserError("interrupted at step 7")
    assert time.monotonic() - began < 10
    said = capsys.readouterr().out
    assert "waiting for the last upload" in said and "not all of the run is in" in said and "there is none" in said


def test_a_process_that_another_has_followed_writes_no_more(config, url, capsys):
    """A spot instance may live on for a while when its replacement has begun."""
    config = on(config, url)
    with mirrored(config):
        save(config.run, "checkpoints/last.ckpt", b"old")
        until(lambda: Remote(url).read().newest)
        other = TrainConfig.recorded({"corpus": "none", "run": str(config.run.parent / "other"), "mirror": url})
        with mirrored(other):
            save(other.run, "checkpoints/last.ckpt", b"new")
            until(lambda: b"new" in there(url).values())
            save(config.run, "checkpoints/last.ckpt", b"stale")
            until(lambda: "written by another process" in told(config))
    restore(wiped(config), Remote(url))
    assert (config.run / "checkpoints" / "last.ckpt").read_bytes() == b"new"
    assert sorted(there(url).values()) == [b"new", b"old"], "what was sent and never named is taken away"


def test_the_newest_of_both_sides_is_taken(config, url):
    config = on(config, url)
    with mirrored(config):
        save(config.run, "checkpoints/last.ckpt", b"sent")
    save(config.run, "checkpoints/last.ckpt", b"never sent")
    _, said = restore(config, Remote(url))
    assert not said and (config.run / "checkpoints" / "last.ckpt").read_bytes() == b"never sent"
    os.utime(config.run / "checkpoints" / "last.ckpt", (1, 1))  # a folder left behind, the run went on elsewhere
    _, said = restore(config, Remote(url))
    assert said and (config.run / "checkpoints" / "last.ckpt").read_bytes() == b"sent"


def test_another_runs_mirror_and_a_place_of_other_things_are_refused(config, url, tmp_path):
    config = on(config, url)
    with mirrored(config):
        save(config.run, "checkpoints/last.ckpt", b"ours")
    kept = there(url)
    other = TrainConfig.recorded({"corpus": "none", "run": str(tmp_path / "other"), "mirror": url})
    save(other.run, "checkpoints/last.ckpt", b"of another run")
    with pytest.raises(UserError, match="another run's than the folder .*other: name an empty prefix"), mirrored(other):
        pass
    other.resume = "never"
    with pytest.raises(UserError, match="resume is never"), mirrored(wiped(other)):
        pass
    assert there(url) == kept
    Remote(url).fs.rm_file(Remote(url).root + "/mirror.json")
    with pytest.raises(UserError, match="holds files that no run put there"), mirrored(wiped(config)):
        pass


def test_what_cannot_be_reached_is_said_before_the_first_step(config, s3, monkeypatch):
    with pytest.raises(UserError, match="s3://nobodys/run cannot be used: .*bucket does not exist"):
        with mirrored(on(config, "s3://nobodys/run")):
            pass
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(UserError, match="cannot be used: Could not connect"), mirrored(on(config, "s3://voices/run")):
        pass


def test_a_config_says_what_is_missing_for_a_mirror(small_corpus, tmp_path, monkeypatch):
    def said(url: str) -> str:
        with pytest.raises(UserError) as caught:
            TrainConfig(small_corpus, tmp_path / "run", max_steps=1, mirror=url)
        return str(caught.value)

    assert "is in the run folder" in said(str(tmp_path / "run" / "mirror"))
    assert "mirror nowhere://a: " in said("nowhere://a")
    code = (
        "import sys; sys.modules['s3fs'] = None\n"
        "from tts_lab.training.mirror.remote import problems\n"
        "from pathlib import Path\n"
        "print(problems('s3://voices/run', Path('run')))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=own_environment(), capture_output=True, text=True)
    assert "pip install 'tts-lab[aws]'" in done.stdout, done.stderr


@given(st.lists(st.tuples(st.sampled_from(["last", "best-1", "best-2", "metrics"]), st.integers(0, 3)), max_size=12))
@settings(deadline=None)
def test_the_list_keeps_two_of_a_checkpoint_one_of_a_file_and_always_the_newest(writes):
    """Against a plain replay: per name the distinct contents, the newest last."""
    listed, told = Inventory("run"), {}
    for moment, (name, data) in enumerate(writes):
        checkpoint = name != "metrics"
        path = f"checkpoints/{name}.ckpt" if checkpoint else "metrics.csv"
        stored = f"{path}-{data}" if checkpoint else path
        listed = listed.with_file(Kept(path, stored, data, moment, str(data) if checkpoint else ""))
        contents = [known for known in told.get(path, []) if checkpoint and known != data]
        told[path] = [*contents, data][-2:]
    assert {path: [k.bytes for k in listed.files if k.name == path] for path in told} == told
    checkpoints = [(moment, name) for moment, (name, _) in enumerate(writes) if name != "metrics"]
    if checkpoints:
        moment, name = checkpoints[-1]
        assert listed.newest.saved == listed.rotated(set()).newest.saved == moment
        assert [k.saved for k in listed.rotated(set()).files if k.sha256] == [moment]
        assert listed.generations()[-1][0].saved == moment
        only = listed.rotated({f"checkpoints/{name}.ckpt"})
        assert [k for k in only.files if k.sha256] == [k for k in listed.files if k.name == f"checkpoints/{name}.ckpt"]
    assert inventory.parse(listed.to_json(), "list") == listed


ENTRY = {"name": "metrics.csv", "stored": "metrics.csv", "bytes": 1, "saved": 1, "sha256": ""}
LISTED = {"format": inventory.FORMAT, "run": "a", "files": [ENTRY]}


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "", ".hidden", "a\\..\\x", "a/.git/x"])
@pytest.mark.parametrize("which", ["name", "stored"])
def test_a_list_cannot_name_files_elsewhere(path, which):
    data = json.dumps(LISTED | {"files": [ENTRY | {which: path}]}).encode()
    with pytest.raises(UserError, match="no path inside a run folder"):
        inventory.parse(data, "list")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*LISTED, *ENTRY]), inner, max_size=5),
)


@given(st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode())
       | st.tuples(st.sampled_from([*LISTED]), JSON).map(lambda kv: json.dumps(LISTED | {kv[0]: kv[1]}).encode())
       | st.tuples(st.sampled_from([*ENTRY]), JSON).map(
           lambda kv: json.dumps(LISTED | {"files": [ENTRY | {kv[0]: kv[1]}]}).encode()))  # fmt: skip
@settings(deadline=None, max_examples=300)
def test_a_damaged_list_ends_in_words(data):
    try:
        inventory.parse(data, "list")
    except UserError as error:
        assert "is not the list of a mirror" in str(error)


@pytest.fixture(scope="module")
def straight(small_corpus, tmp_path_factory) -> Path:
    """Eight steps without a stop."""
    run = tmp_path_factory.mktemp("straight")
    train(TrainConfig(small_corpus, run, max_steps=8, **TINY))
    return run


def assert_same(run: Path, straight: Path) -> None:
    a, b = (torch.load(r / "checkpoints" / "last.ckpt", weights_only=True) for r in (straight, run))
    assert a["global_step"] == b["global_step"] == 8
    for key, value in a["state_dict"].items():
        assert torch.equal(value, b["state_dict"][key]), key
    for one, other in zip(a["optimizer_states"], b["optimizer_states"], strict=True):
        for number, state in one["state"].items():
            assert all(torch.equal(value, other["state"][number][name]) for name, value in state.items())
    clocks = dict.fromkeys(("seconds", "steps_per_second", "audio_per_second", "data_wait"), "")
    rows = ([row | clocks for row in read_metrics(r / "metrics.csv")] for r in (straight, run))
    assert next(rows) == next(rows)


def test_a_run_goes_on_bit_for_bit_on_a_bare_machine(straight, small_corpus, s3, tmp_path, capsys):
    settings = TINY | {"mirror": "s3://voices/bare"}
    train(TrainConfig(small_corpus, tmp_path / "run", max_steps=4, **settings))
    shutil.rmtree(tmp_path / "run")
    torch.manual_seed(999)
    train(TrainConfig(small_corpus, tmp_path / "elsewhere", max_steps=8, **settings))
    assert_same(tmp_path / "elsewhere", straight)
    assert "at step 4\n  run was" in capsys.readouterr().out
