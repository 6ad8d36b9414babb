"""The command ``tts-lab``: one thin function a verb. Heavy imports are inside, so that each verb starts fast."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from jsonargparse import ArgumentParser, set_parsing_settings

from tts_lab.cli.corpus import analyze, fetch, lint, prepare, recommend, review
from tts_lab.cli.health import diagnose, doctor
from tts_lab.cli.listening import advise, average, compare, evaluate
from tts_lab.cli.voice import adopt, export, inspect, precompile, preflight, reproduce, say, train
from tts_lab.corpus.settings import AudioSettings, PrepareSettings
from tts_lab.errors import UserError
from tts_lab.training.config import TrainConfig
from tts_lab.training.flags import check_config, config_parser, underscored

PLAIN = (
    doctor, diagnose, analyze, recommend, review, adopt, inspect, evaluate, advise, compare, reproduce, export, say,
)  # fmt: skip
"""Verbs whose flags are their arguments."""
RUNS = (train, preflight, precompile)
"""Verbs that take a run's config, by `--config` and by flags."""
VERBS = {function.__name__: function for function in (*PLAIN, *RUNS, lint, average)}


def _parser() -> ArgumentParser:
    set_parsing_settings(docstring_parse_attribute_docstrings=True)  # a field's docstring is its help
    parser = ArgumentParser(prog="tts-lab", description="From recordings of a voice to a Piper voice of it.")
    verbs = parser.add_subcommands()
    for function in PLAIN:
        verbs.add_subcommand(function.__name__, _verb(function))
    corpus = ArgumentParser(description="Public corpora.")
    verbs.add_subcommand("corpus", corpus)
    corpus.add_subcommands().add_subcommand("fetch", _verb(fetch))
    linting = ArgumentParser(description=lint.__doc__.split("Args:")[0])
    linting.add_function_arguments(lint, as_group=False, as_positional=True, skip={"fix"})
    linting.add_argument("--fix", action="store_true", help="write a corrected copy beside it, metadata.fixed.csv")
    verbs.add_subcommand("lint", linting)
    averaging = ArgumentParser(description=average.__doc__.split("Args:")[0])
    averaging.add_argument("checkpoints", nargs="+", type=Path, help="a run folder, or checkpoints")
    averaging.add_function_arguments(average, as_group=False, skip={"checkpoints"})
    verbs.add_subcommand("average", averaging)
    preparing = ArgumentParser(description=prepare.__doc__.split("Args:")[0])
    preparing.add_function_arguments(prepare, as_group=False, as_positional=True, skip={"settings", "each"})
    preparing.add_class_arguments(PrepareSettings, as_group=False, instantiate=False)
    verbs.add_subcommand("prepare", preparing)
    for function in RUNS:
        running = config_parser(function.__doc__.split("Args:")[0])
        running.add_function_arguments(function, as_group=False, skip={"config"})
        verbs.add_subcommand(function.__name__, running)
    return parser


def _verb(function: Callable[..., None]) -> ArgumentParser:
    parser = ArgumentParser(description=function.__doc__.split("Args:")[0])
    parser.add_function_arguments(function, as_group=False, as_positional=True)
    return parser


def _take_parts(arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """Audio settings of which each corpus has its own, as `--trim true+false`, out of the arguments: the rest, and
    the text of each. Their types are told by `prepare`; the parser knows only one value of a flag."""
    names = {field.name for field in fields(AudioSettings)}
    rest, parts, left = [], {}, iter(arguments)
    for argument in left:
        name, equals, value = argument.removeprefix("--").partition("=")
        if argument.startswith("--") and name in names:
            value = value if equals else next(left, "")
            if "+" in value:
                parts[name] = value
                continue
            argument = f"--{name}={value}"
        rest.append(argument)
    return rest, parts


def main(arguments: list[str] | None = None) -> int:
    """Run one verb. Returns 0, or the error's status, 1 or as it says, after its sentence on what was wrong."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    # Both spellings of a flag work, --audio-dir and --audio_dir; --input-csv names what is a positional here.
    arguments = [underscored(a) for a in arguments]
    arguments = [a.removeprefix("--input_csv=") for a in arguments if a != "--input_csv"]
    arguments, each = _take_parts(arguments) if arguments[:1] == ["prepare"] else (arguments, {})
    try:
        check_config(arguments)
        parsed = parser.parse_args(arguments)
        options = parsed[parsed.subcommand].as_dict()
        match parsed.subcommand:
            case "train":
                options.pop("config", None)
                train(TrainConfig(**options))
            case "preflight" | "precompile" as verb:
                from tts_lab.devices.environment import COMPILING_TOOL
                from tts_lab.devices.lowering import ENVIRONMENT

                # It must stand before torch is imported, and must not where a real compiler is to get the graphs.
                lowers = verb == "preflight" or shutil.which(COMPILING_TOOL) is None
                if lowers and not ENVIRONMENT.items() <= os.environ.items():
                    again = [sys.executable, "-m", "tts_lab.cli", *arguments]
                    return subprocess.run(again, env=os.environ | ENVIRONMENT).returncode
                options.pop("config", None)
                config = TrainConfig(**{field.name: options.pop(field.name) for field in fields(TrainConfig)})
                VERBS[verb](config, **options)
            case "prepare":
                settings = {field.name: options.pop(field.name) for field in fields(PrepareSettings)}
                prepare(settings=PrepareSettings(**settings), each=each, **options)
            case "corpus":
                fetch(**options["fetch"])
            case verb:
                VERBS[verb](**options)
    except UserError as error:
        print(f"tts-lab: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print("tts-lab: interrupted", file=sys.stderr)
        return 130
    return 0
