"""What the machine is said to be. Its checkup is in test_doctor.py."""

import pytest

from tts_lab.notebook import machine


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
