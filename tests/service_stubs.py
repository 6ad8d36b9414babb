"""Packages named wandb and comet_ml that write down what they are told: neither service's own is installed here.

They have what Lightning's loggers and ours call, and nothing else, so a call they do not know ends the run.
"""

from pathlib import Path

NOTE = """
import json, os

def note(*said):
    with open(os.environ["STUB_LOG"], "a") as file:
        file.write(json.dumps(said, default=lambda o: list(o.shape) if hasattr(o, "shape") else o.__dict__) + "\\n")
"""
FILES = {
    "stub_note.py": NOTE,
    "wandb-0.99.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: wandb\nVersion: 0.99.0\n",
    "wandb/sdk/__init__.py": "",
    "wandb/sdk/lib.py": "class RunDisabled: pass\n",
    "wandb/wandb_run.py": """
from stub_note import note

class Config:
    def update(self, values, allow_val_change):
        note("wandb.config", values)

class Run:
    config = Config()
    def __init__(self, id): self.id = id
    def define_metric(self, *names, **how): pass
    def log(self, values): note("wandb.log", {k: float(v) if hasattr(v, "item") else v for k, v in values.items()})
""",
    "wandb/__init__.py": """
import os
from stub_note import note
from wandb.wandb_run import Run
run = None

def init(**how):
    if os.environ.get("WANDB_MODE") != "offline":
        raise RuntimeError("api_key not configured (no-tty)")
    note("wandb.init", {k: str(v) for k, v in how.items()})
    return Run(how["id"])

class Audio:
    def __init__(self, data, sample_rate): self.samples, self.rate = len(data), sample_rate

class Image:
    def __init__(self, data): self.shape_ = list(data.shape)
""",
    "comet_ml-3.99.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: comet-ml\nVersion: 3.99.0\n",
    "comet_ml/__init__.py": """
from stub_note import note

class ExperimentConfig:
    def __init__(self, name, offline_directory): self.name, self.offline_directory = name, offline_directory

class Experiment:
    def __init__(self, key, project): self.key, self.project_name = key, project
    def get_key(self): return self.key
    def log_other(self, *what): pass
    def flush(self): note("comet.flush")
    def log_audio(self, data, sample_rate, file_name, step):
        note("comet.audio", file_name, len(data), sample_rate, step)
    def log_image(self, data, name, step):
        note("comet.image", name, list(data.shape), step)

def log_metrics(self, values, step, epoch, prefix, framework):
    note("comet.log", {k: float(v) for k, v in values.items()}, step)

def log_parameters(self, parameters, framework, flatten_nested, source):
    note("comet.config", parameters)

def set_model_graph(self, graph, framework): note("comet.graph", framework)

setattr(Experiment, "__internal_api__set_model_graph__", set_model_graph)
setattr(Experiment, "__internal_api__log_metrics__", log_metrics)
setattr(Experiment, "__internal_api__log_parameters__", log_parameters)

def start(api_key, workspace, project, experiment_key, mode, online, experiment_config):
    note("comet.start", project, experiment_key, experiment_config.name)
    return Experiment(experiment_key, project)
""",
}


def write_stubs(folder: Path) -> Path:
    """Make the packages in ``folder``, to stand on PYTHONPATH."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder
