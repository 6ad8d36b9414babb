"""The conda environments install what the lock says, and the lock covers what the project needs."""

import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text()


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


PINNED = {normal(name): number for name, number in re.findall(r"^([\w.-]+)==([^\s;\\]+)", LOCK, re.MULTILINE)}


def read(name: str) -> tuple[list[str], list[str]]:
    """The conda part and the pip part of an environment file."""
    content = yaml.safe_load((ROOT / name).read_text())
    pip = next(part["pip"] for part in content["dependencies"] if isinstance(part, dict))
    return [part for part in content["dependencies"] if isinstance(part, str)], pip


def test_conda_installs_the_lock_and_nothing_beside_it():
    conda, pip = read("environment.yml")
    assert pip == ["-r requirements.lock"]
    # A package from a conda channel would come without the lock's version and hash.
    assert {part.partition("=")[0] for part in conda} == {"python", "pip"}


def test_conda_has_the_python_that_the_lock_is_tested_with():
    conda, _ = read("environment.yml")
    assert f"python={sys.version_info.major}.{sys.version_info.minor}" in conda
    least = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert "python=" + re.search(r">=([\d.]+)", least)[1] in conda


def test_every_package_in_the_lock_has_a_version_and_a_hash():
    entries = [entry for entry in re.split(r"\n(?=[A-Za-z0-9])", LOCK) if not entry.startswith("#")]
    bare = [entry.split()[0] for entry in entries if not re.search(r"==\S.*\\\n\s+--hash=sha256:[0-9a-f]{64}", entry)]
    assert bare == [] and len(entries) == len(PINNED) > 100


def test_the_lock_holds_every_dependency_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + sum(project["optional-dependencies"].values(), [])
    names = {normal(re.match(r"[\w.-]+", requirement)[0]) for requirement in wanted}
    assert sorted(names - PINNED.keys()) == []


def test_trn1_adds_the_neuron_packages_that_fit_the_lock():
    conda, pip = read("environment.trn1.yml")
    added = dict(line.split("==") for line in pip)
    assert conda == ["pip"] and added.keys() == {"neuronx-cc", "torch-neuronx"}
    # torch-neuronx 2.9.x goes with torch 2.9.x and torch-xla 2.9.x, and with no other.
    series = ".".join(added["torch-neuronx"].split(".")[:2])
    assert PINNED["torch"].startswith(series + ".") and PINNED["torch-xla"].startswith(series + ".")
    assert added.keys().isdisjoint(PINNED)


@pytest.mark.parametrize("name", ["environment.yml", "environment.trn1.yml", "requirements.lock"])
def test_no_file_names_a_registry(name):
    assert "://" not in (ROOT / name).read_text()
