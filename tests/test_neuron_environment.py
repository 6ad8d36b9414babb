"""The environment of a Neuron run: settings in, variables and what is said of them out; what is exported stays."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from tts_lab.devices.environment import conflicts, neuron_environment, parse_flags
from tts_lab.errors import UserError
from tts_lab.training.config import TrainConfig
from tts_lab.training.run import resolve_precision, train

ALL = (2, True, "--optlevel=1 --auto-cast=none", "s3://bucket/cache")
SET = {
    "NEURON_RT_NUM_CORES": "2", "NEURON_RT_STOCHASTIC_ROUNDING_EN": "1",
    "NEURON_CC_FLAGS": "--optlevel=1 --auto-cast=none", "NEURON_COMPILE_CACHE_URL": "s3://bucket/cache",
}  # fmt: skip


def test_every_setting_becomes_its_variable_and_is_said():
    changes, lines = neuron_environment({"HOME": "/root"}, *ALL)
    assert changes == SET
    assert lines == [f"{name}={value} is set" for name, value in SET.items()]


def test_settings_left_out_set_nothing():
    assert neuron_environment({}, None, False, "", None) == ({}, [])


@pytest.mark.parametrize("name", SET)
def test_what_is_exported_stays_and_the_difference_is_said(name):
    changes, lines = neuron_environment({name: "other"}, *ALL)
    assert changes == {other: value for other, value in SET.items() if other != name}
    (line,) = [line for line in lines if not line.endswith(" is set")]
    assert line.startswith(f"{name}=other is exported and stays") and f"{name}={SET[name]}" in line
    assert neuron_environment({name: "other"}, None, False, "", None) == ({}, [f"{name}=other is exported and stays"])


def test_what_is_exported_alike_is_not_worth_a_line():
    assert neuron_environment(SET, *ALL) == ({}, [])


@pytest.mark.parametrize(
    "exported, variable",
    [
        ({"NEURON_RT_VISIBLE_CORES": "4-5"}, "NEURON_RT_NUM_CORES"),  # it wins over the number
        ({"TORCHELASTIC_RUN_ID": "none", "LOCAL_RANK": "1"}, "NEURON_RT_NUM_CORES"),
        ({"NEURON_CC_FLAGS": ALL[2] + " --cache_dir=/elsewhere"}, "NEURON_COMPILE_CACHE_URL"),
    ],
)
def test_a_variable_that_another_decides_is_not_set(exported, variable):
    changes, lines = neuron_environment(exported, *ALL)
    assert variable not in changes and not changes.keys() & exported.keys()
    (line,) = [line for line in lines if not line.endswith(" is set") and variable in line.split("; ")[-1]]
    assert line.endswith(f"{variable}={SET[variable]}, which the configuration asks for, is not set")


def test_flags_are_read_in_either_spelling():
    text = "--auto-cast all -O1 --lnc=2 --internal='a b' --retry_failed_compilation"
    assert parse_flags(text) == {
        "--auto-cast": "all", "-O1": "", "--lnc": "2", "--internal": "a b", "--retry_failed_compilation": "",
    }  # fmt: skip


WRONG = [
    ({"precision": "bf16", "compiler_flags": "--auto-cast=all"}, "--auto-cast=all"),
    ({"precision": "32", "stochastic_rounding": True}, "stochastic_rounding"),
    ({"precision": "32", "compiler_flags": "-O1 --lnc 2"}, "--lnc=2"),
    ({"precision": "32", "compiler_flags": "--logical-nc-config=2"}, "--lnc=2"),
    ({"precision": "32", "compiler_flags": "--cache_dir=/a", "compile_cache": "/b"}, "--cache_dir=/a"),
    ({"precision": "32", "compiler_flags": "--cache_dir='/a"}, "cannot be read"),
    ({"precision": "32", "neuron_cores": 0}, "neuron_cores is 0"),
]


@pytest.mark.parametrize("settings, said", WRONG)
def test_a_config_with_a_conflict_is_refused_in_words(settings, said, small_corpus):
    with pytest.raises(UserError, match="this configuration cannot run") as refused:
        TrainConfig(small_corpus, max_steps=1, **settings)
    assert said in str(refused.value) and str(refused.value).count("\n  - ") == 1


@pytest.mark.parametrize(
    "settings",
    [
        ("bf16", True, "--auto-cast=none", "/b"),
        ("32", False, "--auto-cast=all", None),
        ("auto", True, "", ""),
    ],
)
def test_what_fits_together_is_no_conflict(settings):
    assert conflicts(*settings) == []


def test_auto_precision_is_that_of_the_device_that_counts(small_corpus):
    config = TrainConfig(small_corpus, max_steps=1, precision="auto", stochastic_rounding=True, accelerator="xla")
    here, there = resolve_precision(config, "xla"), resolve_precision(config, "neuron")
    assert (here.precision, here.stochastic_rounding) == ("32", False)
    assert (there.precision, there.stochastic_rounding) == ("bf16", True)
    fixed = TrainConfig(small_corpus, max_steps=1, precision="32")
    assert resolve_precision(fixed, "neuron") is fixed
    cast = TrainConfig(small_corpus, max_steps=1, precision="auto", compiler_flags="--auto-cast=all")
    with pytest.raises(UserError, match="--auto-cast=all"):
        resolve_precision(cast, "neuron")


def test_preflight_traces_what_neuron_would_run(small_corpus, monkeypatch):
    from tts_lab.preflight import run

    class Traced(Exception):
        pass

    def rehearsal(config, *_):
        raise Traced(config.precision)

    monkeypatch.setattr(run, "emulate_neuron", SimpleNamespace)
    monkeypatch.setattr(run, "rehearsal", rehearsal)
    config = TrainConfig(small_corpus, max_steps=1, preset="tiny", batch_size=2, precision="auto", accelerator="cpu")
    with pytest.raises(Traced, match="bf16"):
        run.preflight_run(config)


@pytest.mark.skipif(Path("/dev/neuron0").exists(), reason="it would train")
def test_a_run_sets_its_environment_before_the_device_opens(small_corpus, tmp_path, monkeypatch):
    for name in SET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NEURON_CC_FLAGS", "-O1")
    cores, rounding, flags, cache = ALL
    config = TrainConfig(
        small_corpus, tmp_path / "run", max_steps=1, accelerator="neuron", precision="bf16", neuron_cores=cores,
        stochastic_rounding=rounding, compiler_flags=flags, compile_cache=cache,
    )  # fmt: skip
    with monkeypatch.context() as kept, pytest.raises(UserError, match="no /dev/neuron"):
        kept.setattr(os, "environ", dict(os.environ))
        try:
            train(config)
        finally:
            assert {name: os.environ[name] for name in SET} == SET | {"NEURON_CC_FLAGS": "-O1"}
