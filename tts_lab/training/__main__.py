"""``python -m tts_lab.training --config FILE``: one process of a run, as torchrun starts it on every core."""

import os
import sys

from tts_lab.errors import UserError
from tts_lab.training.config import TrainConfig
from tts_lab.training.flags import check_config, config_parser, underscored


def main(arguments: list[str]) -> int:
    """Train. Returns 0, or the error's status after its sentence on what was wrong, and which process says so."""
    arguments = [underscored(argument) for argument in arguments]
    try:
        check_config(arguments)
        options = config_parser("Train a voice; start it with torchrun.").parse_args(arguments).as_dict()
        options.pop("config", None)
        from tts_lab.training.run import train

        train(TrainConfig(**options))
    except UserError as error:
        print(f"tts_lab.training: rank {os.environ.get('RANK', 0)}: {error}", file=sys.stderr, flush=True)
        return error.status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
