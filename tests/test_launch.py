"""Commands that a notebook starts: shown as typed, their end told, no client of PyTorch/XLA passed on."""

import sys

import pytest

from tts_lab.errors import UserError
from tts_lab.notebook import launch


def test_a_command_is_shown_as_typed_and_its_end_is_told(capsys):
    said = launch.run("python", "-c", "print(*range(10), sep='\\n')", lines=2)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("$ python -c 'print(") and shown[1:4] == ["  8", "  9", "exit status 0"]
    assert said == [str(n) for n in range(10)]


def test_it_is_this_interpreter_without_what_this_process_set_for_its_own_client(monkeypatch, capsys):
    monkeypatch.setenv("PJRT_DEVICE", "CPU")
    monkeypatch.setenv("XLA_FLAGS", "x")
    asks = "import os, sys; print(sys.executable, [n for n in os.environ if n[:4] in ('PJRT', 'XLA_')])"
    assert launch.run("python", "-c", asks) == [f"{sys.executable} []"]


def test_a_failure_is_told_with_what_was_said_last(capsys):
    with pytest.raises(UserError, match="(?s)python ended with status 3:.*out of rows"):
        launch.run("python", "-c", "import sys; print('out of rows', file=sys.stderr); sys.exit(3)")
    with pytest.raises(UserError, match="tts-lab ended with status 1:(?s:.*)no corpus.json in nowhere"):
        launch.run("tts-lab", "train", "--corpus=nowhere", "--max_steps=1")


def test_who_ended_by_itself_cannot_be_lost(capsys):
    running = launch.start("python", "-c", "print('no memory')")
    running.wait()
    with pytest.raises(UserError, match="(?s)ended before a process could be lost:.*no memory"):
        launch.lose(running, rank=1)
