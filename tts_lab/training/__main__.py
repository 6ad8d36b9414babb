"""``python -m tts_lab.training --config FILE``: what torchrun starts."""

from jsonargparse import auto_cli

from tts_lab.training.config import TrainConfig
from tts_lab.training.run import train

if __name__ == "__main__":
    train(auto_cli(TrainConfig))
