"""What a graph would cost on a NeuronCore: counted from the graph, divided by stated assumptions."""

from dataclasses import dataclass
from math import prod

from tts_lab.devices.instances import Instance
from tts_lab.preflight.hlo import Graph, Instruction

EFFICIENCY = (0.05, 0.5)  # of the peak; convolutions of a few hundred channels have been seen anywhere in between
ASSUMPTIONS = (
    f"{EFFICIENCY[0]:.0%} to {EFFICIENCY[1]:.0%} of the core's peak in matrix products; memory traffic between every "
    "array once (all fused) and every operand of every instruction (nothing fused); compiling, the first two steps "
    "of a shape, which are traced, input waiting and the exchange between processes not counted"
)


@dataclass(frozen=True)
class Work:
    """What one run of a graph computes and holds."""

    flops: float
    """In convolutions and products, the zeros of dilated inputs included."""
    least_bytes: float
    """Memory traffic if everything else fuses into the products: their operands and results, inputs and outputs."""
    most_bytes: float
    """Memory traffic if nothing fuses."""
    state_bytes: float
    """Inputs and outputs: parameters, optimizer, batch."""
    peak_bytes: float
    """The most that is alive at once, state included, in the order of the text and without fusion."""
    exchanges: int = 0
    """All-reduces, each a piece of the gradients."""
    exchanged_bytes: float = 0.0
    """What they hand to the other processes."""


def work(graph: Graph) -> Work:
    """Count ``graph``."""
    entry = graph.entry
    products = [i for i in entry if i.opcode in ("convolution", "dot")]
    inputs = sum(sum(a.bytes for a in i.results) for i in entry if i.opcode == "parameter")
    outputs = sum(a.bytes for a in entry[-1].operands)
    least = sum(_traffic(i) for i in products) + inputs + outputs
    most = sum(_traffic(i) for i in entry if i.opcode not in ("parameter", "constant", "tuple", "get-tuple-element"))
    exchanges = [i for i in entry if i.opcode == "all-reduce"]
    return Work(
        sum(map(_flops, products)), least, most, inputs + outputs, inputs + _peak(entry),
        len(exchanges), sum(i.results[0].bytes for i in exchanges),
    )  # fmt: skip


def seconds(work: Work, instance: Instance, bf16: bool) -> tuple[float, float]:
    """Shortest and longest time of one run of the graph on one core."""
    peak = (instance.tflops_bf16 if bf16 else instance.tflops_f32) * 1e12
    slow, fast = EFFICIENCY
    return (
        max(work.flops / (peak * fast), work.least_bytes / instance.bandwidth),
        work.flops / (peak * slow) + work.most_bytes / instance.bandwidth,
    )


def _flops(i: Instruction) -> float:
    """Twice the multiplications: for each element of the result, the part of the second operand that makes it."""
    if i.opcode == "dot":
        axes = [int(n) for n in (i.attribute("lhs_contracting_dims") or "{}").strip("{}").split(",") if n]
        return 2.0 * i.results[0].elements * prod(i.operands[0].shape[axis] for axis in axes)
    kernel = i.operands[1]
    axis = (i.attribute("dim_labels") or "").split("_")[1].split("->")[0].index("o")
    return 2.0 * i.results[0].elements * kernel.elements / kernel.shape[axis]


def _traffic(i: Instruction) -> int:
    return sum(a.bytes for a in (*i.results, *i.operands))


def _peak(entry: list[Instruction]) -> int:
    last_use = {name: position for position, i in enumerate(entry) for name in i.operand_names}
    sizes = {i.name: sum(a.bytes for a in i.results) for i in entry if i.opcode not in ("parameter", "tuple")}
    dying: dict[int, int] = {}
    for name, size in sizes.items():
        position = last_use.get(name, len(entry))
        dying[position] = dying.get(position, 0) + size
    alive = peak = 0
    for position, i in enumerate(entry):
        alive += sizes.get(i.name, 0)
        peak = max(peak, alive)
        alive -= dying.get(position, 0)
    return peak
