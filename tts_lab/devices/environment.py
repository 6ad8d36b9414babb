"""The environment of a run on Neuron: which variables the settings ask for, and which the person set already.

Variables are those of AWS's documentation (compiler reference, Neuron caching, runtime configuration). What was
exported wins, always: a setting is then not applied, and a line says so.
"""

import shlex
from collections.abc import Mapping

CORES, VISIBLE = "NEURON_RT_NUM_CORES", "NEURON_RT_VISIBLE_CORES"
ROUNDING = "NEURON_RT_STOCHASTIC_ROUNDING_EN"
FLAGS, CACHE = "NEURON_CC_FLAGS", "NEURON_COMPILE_CACHE_URL"
COMPILING_TOOL = "neuron_parallel_compile"  # compiles what a run shows it, several graphs at a time
TORCHRUN = "TORCHELASTIC_RUN_ID"  # as torch.distributed recognises it


def neuron_environment(
    environ: Mapping[str, str], cores: int | None, stochastic_rounding: bool, compiler_flags: str, cache: str | None
) -> tuple[dict[str, str], list[str]]:
    """What to set for a run with these settings, and a line for each variable that is set, or exported and different.

    Args:
        environ: as it is; it is not changed.
        cores: NeuronCores of this process.
        compiler_flags: for neuronx-cc.
        cache: folder or s3:// address of compiled graphs.
    """
    wanted = {
        CORES: str(cores) if cores else None,
        ROUNDING: "1" if stochastic_rounding else None,
        FLAGS: compiler_flags or None,
        CACHE: cache,
    }
    changes, lines = {}, []
    for name, value in wanted.items():
        reason = _reason_not_to_set(name, environ)
        if value is None:
            lines += [reason] if name in environ else []
        elif reason is None:
            changes[name] = value
            lines.append(f"{name}={value} is set")
        elif environ.get(name) != value:
            lines.append(f"{reason}; {name}={value}, which the configuration asks for, is not set")
    return changes, lines


def conflicts(precision: str, stochastic_rounding: bool, compiler_flags: str, cache: str | None) -> list[str]:
    """What cannot go together, a sentence each; ``precision`` is "32", "bf16" or "auto"."""
    try:
        flags = parse_flags(compiler_flags)
    except ValueError as error:
        return [f"compiler_flags {compiler_flags!r} cannot be read ({error}): close every quotation mark"]
    found = []
    if precision == "bf16" and flags.get("--auto-cast") == "all":
        found.append(
            "compiler_flags has --auto-cast=all, which rounds to bfloat16 what precision bf16 keeps in float32 "
            "(spectra, flows, losses): take --auto-cast=none, or precision 32"
        )
    if stochastic_rounding and precision == "32":
        found.append("stochastic_rounding is for bfloat16, and precision is 32: take precision bf16, or leave it off")
    if "2" in (flags.get("--lnc"), flags.get("--logical-nc-config")):
        found.append("compiler_flags has --lnc=2, which joins cores of Trn2; on trn1 it must be 1 or left out")
    if cache and "--cache_dir" in flags:
        found.append(
            f"compiler_flags has --cache_dir={flags['--cache_dir']}, which would win over compile_cache {cache}: name "
            "the cache once"
        )
    return found


def parse_flags(text: str) -> dict[str, str]:
    """``--name=value``, ``--name value`` and ``--name`` of a command line as a mapping, "" for no value.

    Raises:
        ValueError: a quotation mark is left open.
    """
    flags, name = {}, ""
    for word in shlex.split(text):
        if word.startswith("-"):
            name, _, flags[word.partition("=")[0]] = word.partition("=")
        elif name:
            flags[name], name = word, ""
    return flags


def _reason_not_to_set(name: str, environ: Mapping[str, str]) -> str | None:
    """What was exported that decides, in words; None where nothing was."""
    stays = "{0}={1} is exported and stays".format
    if name in environ:
        return stays(name, environ[name])
    if name == CORES and VISIBLE in environ:
        return stays(VISIBLE, environ[VISIBLE])
    if name == CORES and TORCHRUN in environ:  # torch_xla makes it the one visible core
        return "torchrun gives each process the core of its rank"
    if name == CACHE and "--cache_dir" in environ.get(FLAGS, ""):
        return stays(FLAGS, environ[FLAGS])
    return None
