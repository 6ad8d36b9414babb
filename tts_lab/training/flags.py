"""A run's settings from the command line and from a recipe: for `tts-lab`, for what torchrun starts, for notebooks."""

from argparse import ArgumentError
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, set_parsing_settings

from tts_lab.corpus.plain import read_yaml
from tts_lab.errors import UserError
from tts_lab.training.config import TrainConfig


def config_parser(description: str) -> ArgumentParser:
    """A flag for every field of ``TrainConfig``, and ``--config FILE`` for many at once; flags win."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)  # a field's docstring is its help
    parser = ArgumentParser(description=description)
    parser.add_argument("--config", action="config", help="YAML or JSON file; flags override it")
    parser.add_class_arguments(TrainConfig, as_group=False, instantiate=False)
    return parser


def read_recipe(recipe: Path, corpus: Path, **settings: Any) -> TrainConfig:
    """The run that ``--config recipe --corpus corpus`` asks for, with ``settings`` in place of the recipe's.

    Raises:
        UserError: the recipe cannot be read, or has a setting that there is not or of another type; and as
            ``TrainConfig`` on construction.
    """
    arguments = [f"--config={recipe}", f"--corpus={corpus}"]
    check_config(arguments)
    parser = config_parser("")
    parser.exit_on_error = False
    try:
        options = parser.parse_args(arguments).as_dict()
    except ArgumentError as error:
        raise UserError(f"{recipe} is no recipe: {error}") from error
    del options["config"]
    return TrainConfig(**options | settings)


def check_config(arguments: Sequence[str]) -> None:
    """Raise `UserError` for a ``--config`` that is no file of settings, before the parser expands what it says."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, value = argument.partition("=")
        if name.startswith("--conf"):  # the parser takes it shortened, too
            read_yaml(Path(value if equals else following))


def underscored(argument: str) -> str:
    """``--batch-size=4`` as ``--batch_size=4``, so that both spellings work; what is no flag stays."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value
