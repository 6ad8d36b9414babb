"""The recipes: each is a config that the command takes, names only parts that are there, and is what is recommended."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from tts_lab.analysis.recommendation import RECIPES, Recommendation
from tts_lab.devices import open_device
from tts_lab.errors import UserError
from tts_lab.training.config import TrainConfig
from tts_lab.training.flags import config_parser, read_recipe
from tts_lab.training.module import VitsTraining
from tts_lab.training.stages import places
from tts_lab.vits.config import PRESETS
from tts_lab.voices.checkpoints import Checkpoint

FOLDER = Path("recipes")
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def parsed(name: str, *flags: str) -> dict:
    options = config_parser("").parse_args([f"--config={FOLDER / name}.yaml", *flags]).as_dict()
    options.pop("config")
    return options


def test_every_recipe_that_is_recommended_is_there():
    assert sorted(RECIPES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_a_config_and_its_stages_name_parts_of_the_model(name, small_corpus, two_speakers):
    options = parsed(name, f"--corpus={small_corpus}")
    if options["start_from"] == "scratch" and name not in ("from_scratch", "two_stage"):
        options["start_from"] = two_speakers  # any checkpoint: what it holds is not looked at here
    config = TrainConfig(**options)
    steps, sizes = 0, replace(PRESETS["tiny"], decoder=config.decoder or "hifigan")
    for place in places(config, config.max_steps):
        module = VitsTraining(Checkpoint(sizes, {}, {}), place, 10, open_device("cpu"))
        assert any(p.requires_grad for p in module.model_g.parameters())
        steps += place.steps
    assert steps == config.max_steps


def test_a_notebook_reads_what_the_command_reads_with_settings_of_its_own(small_corpus, two_speakers):
    options = parsed("source_filter", f"--corpus={small_corpus}", "--seed=5", f"--start_from={two_speakers}")
    own = {"seed": 5, "start_from": str(two_speakers)}
    assert read_recipe(FOLDER / "source_filter.yaml", small_corpus, **own) == TrainConfig(**options)


@pytest.mark.parametrize(
    "line, told",
    [
        ("max_step: 100", "'max_step' is not accepted"),
        ("max_steps: many", "max_steps.*Given value: many"),
        ("stages: [{share: 1, steps: 2}]", "stages.*'steps' is not accepted"),
        ("max_steps: [", "as YAML"),
    ],
)
def test_a_recipe_that_is_none_says_where_and_what(line, told, small_corpus, tmp_path):
    (tmp_path / "mine.yaml").write_text(f"batch_size: 4\n{line}\n")
    with pytest.raises(UserError, match=f"(?s)mine.yaml.*{told}"):
        read_recipe(tmp_path / "mine.yaml", small_corpus)


@pytest.mark.parametrize("name", NAMES)
def test_its_comment_gives_the_command_that_trains_it(name, small_corpus):
    (command,) = re.findall(r"^# +(tts-lab train .*)$", (FOLDER / f"{name}.yaml").read_text(), re.M)
    verb, flags = shlex.split(command)[:2], shlex.split(command)[2:]
    assert verb == ["tts-lab", "train"] and flags[:2] == ["--config", f"recipes/{name}.yaml"]
    options = config_parser("").parse_args(flags)
    assert (
        ("VOICE.onnx" in command) == (name not in ("from_scratch", "two_stage")) == (options.start_from == "VOICE.onnx")
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_recommended_command_is_one_the_parser_takes(name):
    found = Recommendation([], name, "", "build/corpus", "joe")
    options = config_parser("").parse_args(shlex.split(found.command)[2:])
    assert str(options.corpus) == "build/corpus" and str(options.run) == f"runs/{name}"
