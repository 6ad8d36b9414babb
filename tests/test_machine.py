"""What the machine is said to be, and what a gap is told as."""

import shutil
from collections import namedtuple

import pytest
import torch

from tts_lab.notebook import machine


def by_name(rows: list[dict]) -> dict[str, dict]:
    return {row["what"]: row for row in rows}


def test_versions_are_read_from_the_project_and_compared(monkeypatch):
    rows = {row["package"]: row for row in machine.versions()}
    assert (rows["torch"]["expected"], rows["torch"]["fits"]) == ("==2.9.1", "yes")
    found = {"torch": "2.8.0", "lightning": "2.6.2"}
    monkeypatch.setattr(machine, "version", lambda name: found.get(name) or missing(name))
    rows = {row["package"]: row for row in machine.versions()}
    assert rows["torch"]["fits"] == "no" and rows["lightning"]["fits"] == "no"
    assert rows["piper-tts"]["fits"] == "no" and rows["piper-tts"]["found"] == "missing"
    assert rows["jiwer"]["fits"] == "needs tts-lab[eval]"


def missing(name):
    raise machine.PackageNotFoundError(name)


def test_the_checkup_of_this_machine_finds_no_gap_but_disk_and_memory():
    rows = by_name(machine.checkup())
    gaps = {name for name, row in rows.items() if not row["ok"]}
    assert gaps <= {"disk", "memory"}
    assert "vˈɔɪs" in rows["espeak front end"]["found"]


def test_every_gap_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "version", missing)
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    monkeypatch.setattr(machine, "memory", lambda: 3.7)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(2**30))
    monkeypatch.setattr(machine, "glob", lambda pattern: ["/dev/neuron0"])

    def broken(*_):
        raise RuntimeError("phontab not found")

    monkeypatch.setattr(machine.Frontend, "encode", broken)
    monkeypatch.setattr(torch, "stft", broken)
    rows = by_name(machine.checkup(tmp_path))
    assert [name for name, row in rows.items() if row["ok"] or not row["fix"]] == []
    assert rows["espeak front end"]["found"] == "RuntimeError: phontab not found"
    assert rows["disk"] == {
        "what": "disk", "found": "1 GB free", "ok": False,
        "fix": "10 GB free are advised. A checkpoint has up to 1 GB.",
    }  # fmt: skip
    assert "environment.trn1.yml" in rows["Neuron packages"]["fix"]


def test_a_price_is_a_forecast_with_its_assumptions():
    told = machine.price(seconds=1800, dollars_per_hour=1.34)
    assert "Measured here: 30.0 minutes" in told and "$0.67" in told and "$1.34 an hour" in told
    assert "Forecast" in told and "not measured" in told and "compiling not counted" in told.replace("\n", " ")
    assert "under a cent" in machine.price(5, 1.34)


@pytest.mark.parametrize("neuron", [[], ["/dev/neuron0", "/dev/neuron1"]])
def test_devices_are_seen_without_being_taken(monkeypatch, neuron):
    monkeypatch.setattr(machine, "glob", lambda pattern: neuron)
    rows = {row["device"]: row["found"] for row in machine.devices()}
    assert rows["AWS Neuron"] == ("2 devices" if neuron else "none")
    assert f"{machine.cores()} cores" in rows["CPU"]
