"""The AWS instance types with a first-generation Trainium: their cores, and how many processes may share them."""

from dataclasses import dataclass
from glob import glob

from tts_lab.errors import UserError


@dataclass(frozen=True)
class Instance:
    """One instance type (about-neuron/arch/neuron-hardware of AWS's documentation), its numbers a NeuronCore."""

    name: str
    cores: int
    workers: tuple[int, ...]
    """Worker counts that a job on it may have."""
    memory: float
    """Bytes of device memory."""
    bandwidth: float
    """Bytes a second."""
    tflops_bf16: float
    tflops_f32: float


CORES_A_CHIP = 2
"""One ``/dev/neuron*`` is one chip."""
_CORE = {"memory": 16 * 2**30, "bandwidth": 410 * 2**30, "tflops_bf16": 95.0, "tflops_f32": 23.75}
INSTANCES = {
    i.name: i
    for i in (
        Instance("trn1.2xlarge", 2, (1, 2), **_CORE),
        Instance("trn1.32xlarge", 32, (1, 2, 8, 32), **_CORE),
        Instance("trn1n.32xlarge", 32, (1, 2, 8, 32), **_CORE),
    )
}


def chips() -> int:
    """How many the Neuron driver shows here."""
    return len(glob("/dev/neuron[0-9]*"))


def find_instance(name: str) -> Instance:
    """The instance type of that name.

    Raises:
        UserError: it is none of these.
    """
    if name not in INSTANCES:
        raise UserError(f"instance {name!r} is none of {', '.join(INSTANCES)} (Trn2 and Trn3 take another PyTorch)")
    return INSTANCES[name]


def check_workers(cores: int, workers: int, nodes: int = 1) -> None:
    """Whether a machine of so many cores runs so many processes, alone or as one of several ``nodes``.

    Raises:
        UserError: it does not, and which counts it does run.
    """
    instance = next((i for i in INSTANCES.values() if i.cores == cores), None)
    if instance is None:  # inf2: what its runtime takes is not in the table
        name, allowed = f"a machine with {cores} NeuronCores", tuple(range(1, cores + 1))
    else:
        name, allowed = instance.name, instance.workers
    if nodes > 1 and cores != 32:
        raise UserError(
            f"{nodes} nodes of {name}: only trn1.32xlarge and trn1n.32xlarge have the network for several nodes (EFA). "
            "Train on one node, or rent those"
        )
    if nodes > 1:
        allowed = (cores,)
    if workers not in allowed:
        counts = " or ".join(map(str, allowed))
        where = f"each of {nodes} nodes of {name}" if nodes > 1 else name
        raise UserError(f"{workers} processes on {where}: it runs {counts}. Give torchrun that as --nproc_per_node")
