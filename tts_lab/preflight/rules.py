"""What neuronx-cc and the runtime of trn1 are documented to reject or to get wrong, as checks on a graph.

Codes are the compiler's own (aws-neuron-sdk, compiler/error-codes). A rule looks at one instruction
at a time; ``check`` asks all of them and says each finding once a Python line.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tts_lab.preflight.hlo import Graph, Instruction

Severity = Literal["error", "warning"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning")

INTEGERS = {"s8", "s16", "s32", "s64", "u8", "u16", "u32", "u64"}
WIDE = {"s64", "u64"}
NATIVE = {"f32", "bf16", "f16", "u8", "s32", "u32", "pred"} | WIDE  # 64 bit is cut to 32 on trn1, always

# The one official operator list (appended to the compiler's release notes, 2022), in HLO's spelling.
LISTED = set(
    "abs add all-gather all-reduce atan2 batch-norm-training batch-norm-grad batch-norm-inference bitcast-convert "
    "broadcast ceil clamp compare concatenate constant convert cosine custom-call divide dot dynamic-update-slice "
    "exponential floor gather get-tuple-element iota log and not maximum minimum multiply negate pad power reduce "
    "reshape reverse rng-bit-generator rng-uniform rsqrt scatter select select-and-scatter shift-right-logical sign "
    "sine slice sqrt subtract tanh transpose tuple parameter".split()
)
# Not listed, and part of every model that trains there daily.
USED = set(
    "convolution reduce-window dynamic-slice logistic log-plus-one exponential-minus-one erf or xor all-to-all "
    "reduce-scatter remainder shift-left shift-right-arithmetic is-finite round-nearest-even copy bitcast "
    "collective-permute power tan".split()
)
DENIED = {
    "fft",
    "cholesky",
    "triangular-solve",
    "eigh",
    "infeed",
    "outfeed",
    "send",
    "recv",
    "stochastic-convert",
    "rng",
}
CONTROL = {"while", "conditional", "call"}

CUSTOM_CALLS = set(
    "AwsNeuronErf AwsNeuronGelu AwsNeuronGeluApprxTanh AwsNeuronGeluBackward AwsNeuronSilu AwsNeuronSiluBackward "
    "AwsNeuronRmsNorm AwsNeuronSoftmax AwsNeuronSoftmaxBackward AwsNeuronCollectiveMatmul AwsNeuronIntMatmult "
    "AwsNeuronArgMax AwsNeuronArgMin AwsNeuronTopK AwsNeuronDropoutMaskV1 AwsNeuronCustomNativeKernel "
    "AwsNeuronCustomOp AwsNeuronDevicePrint ResizeNearest ResizeBilinear ResizeNearestGrad "
    "AwsNeuronLNCShardingConstraint AwsNeuronTransferWithStaticRing "
    "AwsNeuronModuleMarkerStart-Forward AwsNeuronModuleMarkerEnd-Forward "
    "AwsNeuronModuleMarkerStart-Backward AwsNeuronModuleMarkerEnd-Backward NeuronBoundaryMarker-Start "
    "NeuronBoundaryMarker-End".split()
)
EMULATION = {"Sharding", "SPMDFullToShardShape", "SPMDShardToFullShape"}  # of the Neuron lowering on the CPU client

LONG_WINDOW = 4096  # a weight gradient over more outputs than this is many instructions of one operation
DENSE_GATHER = 100_000_000  # elements compared one by one where a gather was meant


@dataclass(frozen=True)
class Finding:
    """One thing to know before the compiler says it."""

    rule: str
    """Short name."""
    code: str
    """The compiler's error code, or the PyTorch operation, or "" where there is neither."""
    severity: Severity
    message: str
    """What is there, with sizes."""
    remedy: str
    """What to do."""
    source: str
    """Python ``file:line``, or ""."""
    count: int = 1
    """How many instructions of that line it is about."""


@dataclass(frozen=True)
class Rule:
    """A check on one instruction: ``finds`` returns what is wrong with it, in words, or None."""

    name: str
    code: str
    severity: Severity
    remedy: str
    finds: Callable[[Instruction, Graph], str | None]


def check(graph: Graph) -> list[Finding]:
    """Every finding of every rule; the same rule at the same line is one finding with a count."""
    found: dict[tuple[str, str], Finding] = {}
    for instruction in graph:
        for rule in RULES:
            if message := rule.finds(instruction, graph):
                key = (rule.name, instruction.source)
                count = found[key].count + 1 if key in found else 1
                first = found[key].message if key in found else message
                found[key] = Finding(rule.name, rule.code, rule.severity, first, rule.remedy, instruction.source, count)
    return list(found.values())


def _dtypes(i: Instruction) -> set[str]:
    return {array.dtype for array in (*i.results, *i.operands)}


def _shaped_dtypes(i: Instruction) -> set[str]:
    return {array.dtype for array in i.results if array.shape}


def _first(i: Instruction) -> str:
    return i.operands[0].dtype if i.operands else ""


def _sizes(i: Instruction) -> str:
    return " x ".join(f"{a.dtype}{list(a.shape)}" for a in i.operands)


def _combines(i: Instruction, graph: Graph) -> bool:
    """Whether a scatter computes with what is there (adds, say) and does not just overwrite."""
    return any(inner.root and inner.opcode != "parameter" for inner in graph.called(i))


def _eight_bit_float(i: Instruction, _: Graph) -> str | None:
    names = sorted(d for d in _dtypes(i) if d.startswith("f8"))
    return f"{i.opcode} of {', '.join(names)}" if names else None


def _other_dtype(i: Instruction, _: Graph) -> str | None:
    names = sorted(
        d for d in _shaped_dtypes(i) if d not in NATIVE | {"c64", "c128", "s8", "s16", "u16", "token"} and d[:2] != "f8"
    )
    return f"{i.opcode} makes {', '.join(names)}{list(i.results[0].shape)}" if names else None


def _dynamic(i: Instruction, _: Graph) -> str | None:
    open_ended = any(-1 in array.shape for array in i.results)
    if open_ended or i.opcode in ("set-dimension-size", "get-dimension-size", "dynamic-reshape"):
        return f"{i.opcode} has a dimension that is only known when it runs"
    return None


def _wide_constant(i: Instruction, _: Graph) -> str | None:
    if i.opcode == "constant" and i.results[0].dtype in WIDE:
        unsigned = i.results[0].dtype == "u64"
        low, high = (0, 2**32 - 1) if unsigned else (-(2**31), 2**31 - 1)
        for number in re.findall(r"-?\d+", i.attributes.split("metadata=")[0]):
            if not low <= int(number) <= high:
                return f"the {i.results[0].dtype} constant {number} does not fit in 32 bits"
    return None


def _unlisted(i: Instruction, _: Graph) -> str | None:
    known = LISTED | USED | DENIED | CONTROL | {"sort", "topk", "custom-call", "partition-id", "replica-id"}
    return f"{i.opcode} is on no list of supported operators" if i.opcode not in known else None


def _custom_call(i: Instruction, _: Graph) -> str | None:
    if i.opcode == "custom-call":
        target = (i.attribute("custom_call_target") or "").strip('"')
        if target not in CUSTOM_CALLS | EMULATION:
            return f'custom call "{target}"'
    return None


def _rng(i: Instruction, _: Graph) -> str | None:
    algorithm = i.attribute("algorithm")
    if i.opcode == "rng-bit-generator" and algorithm not in ("rng_default", None):
        return f"random numbers by {algorithm}"
    return None


def _is_weight_gradient(i: Instruction) -> bool:
    # torch_xla's: the batch takes the place of the features, and the window is as long as the output was.
    return (i.attribute("dim_labels") or "").startswith("fb01_io01->01bf")


def _long_weight_gradient(i: Instruction) -> bool:
    return _is_weight_gradient(i) and max(i.window("size"), default=1) >= LONG_WINDOW


def _wide_kernel_gradient(i: Instruction) -> bool:
    # Its result is the kernel's gradient: [taps..., in, out].
    return _is_weight_gradient(i) and max(i.results[0].shape[:2], default=1) >= 7


def _kernel_under_dilation(i: Instruction) -> bool:
    if _is_weight_gradient(i):
        return False
    sizes, dilations = i.window("size"), i.window("rhs_dilate")
    return any(1 < size < dilation for size, dilation in zip(sizes, dilations, strict=False))


def _grouped(i: Instruction) -> bool:
    return int(i.attribute("batch_group_count") or 1) > 1


def _on(opcode: str, test: Callable[[Instruction, Graph], bool], say: Callable[[Instruction], str]):
    def finds(i: Instruction, graph: Graph) -> str | None:
        return say(i) if i.opcode == opcode and test(i, graph) else None

    return finds


def _convolution(test: Callable[[Instruction], bool], say: str) -> Callable[[Instruction, Graph], str | None]:
    return _on("convolution", lambda i, _: test(i), lambda i: f"{_sizes(i)}: {say}")


def _iota_length(name: str, graph: Graph) -> int | None:
    """The length of the iota that ``name`` is made of by reshaping alone, or None."""
    instruction = graph.by_name.get(name)
    while instruction and instruction.opcode in ("reshape", "convert", "broadcast", "concatenate", "transpose"):
        instruction = graph.by_name.get(instruction.operand_names[0]) if instruction.operand_names else None
    return max(instruction.results[0].shape, default=0) if instruction and instruction.opcode == "iota" else None


def _outruns(i: Instruction, graph: Graph) -> bool:
    length = _iota_length(i.operand_names[1], graph) if len(i.operand_names) > 1 else None
    return length is not None and length > max(i.operands[0].shape, default=0)


def _dense_gather(i: Instruction, graph: Graph) -> str | None:
    if i.opcode != "compare" or i.attribute("direction") != "EQ" or i.results[0].elements < DENSE_GATHER:
        return None
    if any(_iota_length(name, graph) is not None for name in i.operand_names):
        return f"{i.results[0].elements:,} comparisons with positions stand for a gather"
    return None


def _long_cumulative(i: Instruction) -> bool:
    return max(i.window("size"), default=1) >= 512


PRODUCTS = "or train with `convolutions: products`"
SLOW = f"many instructions of one operation: shorten the segment, {PRODUCTS}"

RULES = [
    Rule("complex numbers", "NCC_EVRF004", "error",
         "an FFT leaves them behind: spell the transform out as a product with cosines and sines",
         lambda i, _: f"{i.opcode} of complex numbers" if _dtypes(i) & {"c64", "c128"} else None),
    Rule("8-bit floats", "NCC_ESPP047/EVRF005/EVRF051", "error", "use bf16 or f32", _eight_bit_float),
    Rule("data type", "NCC_ESPP004", "error", "use f32, bf16, f16, u8, s32 or u32", _other_dtype),
    Rule("narrow integers", "", "warning", "s8, s16 and u16 are planned, not promised: use s32",
         lambda i, _: f"{i.opcode} of {i.results[0].dtype}" if _shaped_dtypes(i) & {"s8", "s16", "u16"} else None),
    Rule("dynamic shape", "NCC_EMOD025", "error", "pad to fixed sizes; choose with `where`, not with a mask", _dynamic),
    Rule("wide constant", "NCC_ESFH002", "error", "keep constants within 32 bits", _wide_constant),
    Rule("denied operator", "NCC_EVRF001", "error", "no lowering: use matrix products and element-wise steps",
         lambda i, _: f"{i.opcode}({_sizes(i)})" if i.opcode in DENIED else None),
    Rule("unlisted operator", "NCC_EVRF001", "warning", "try it alone first: neuronx-cc compile of --save-hlo's file",
         _unlisted),
    Rule("control flow", "", "warning", "unroll it: loops and branches in training graphs are not dependable",
         lambda i, _: f"{i.opcode}" if i.opcode in CONTROL else None),
    Rule("sort", "NCC_EVRF029", "warning", "rejected on trn2 and trn3, costly on trn1: a mask or a product instead",
         lambda i, _: f"sort({_sizes(i)})" if i.opcode == "sort" else None),
    Rule("integer top-k", "NCC_EVRF013", "error", "convert the scores to f32 first",
         lambda i, _: f"{i.opcode} of {_first(i)}" if _first(i) in INTEGERS and (
             i.opcode in ("sort", "topk") or "AwsNeuronTopK" in i.attributes) else None),
    Rule("custom call", "NCC_EVRF015/EHCA005", "error", "only the compiler's own list of custom calls exists there",
         _custom_call),
    Rule("random algorithm", "NCC_EVRF006", "error", "unset XLA_RNG_BIT_GENERATOR: rng_default alone exists", _rng),
    Rule("convolution, both dilated", "NCC_EVRF010", "error",
         "a stride with a dilation, backwards: use one of them, or the matrix-product form",
         _convolution(lambda i: bool(i.window("lhs_dilate") and i.window("rhs_dilate")), "input and kernel dilated")),
    Rule("convolution, strided and dilated input", "NCC_EVRF011", "error", "split it in two layers",
         _convolution(lambda i: bool(i.window("stride") and i.window("lhs_dilate")), "strided over a dilated input")),
    Rule("kernel smaller than its dilation", "", "warning",
         f"computed wrongly before SDK 2.30 (neuronx-cc 2.25): use 2.31 or later, {PRODUCTS}",
         _convolution(_kernel_under_dilation, "fewer taps than the dilation")),
    Rule("weight gradient over a long window", "NCC_EXTP003/EBVF030", "warning", SLOW,
         _convolution(_long_weight_gradient, f"a window of {LONG_WINDOW} or more")),
    Rule("weight gradient of a wide kernel", "NCC_ITEN404", "warning",
         f"2-D kernels of seven taps failed to compile on trn1 (aws-neuron-sdk issue 1295): try it alone, {PRODUCTS}",
         _convolution(_wide_kernel_gradient, "seven taps or more")),
    Rule("grouped weight gradient", "", "warning", f"rarely used form: compile this graph first, {PRODUCTS}",
         _convolution(_grouped, "batch_group_count above 1")),
    Rule("reverse", "", "warning", "merged wrongly into compute before SDK 2.31: use 2.31 or later",
         lambda i, _: f"reverse({_sizes(i)})" if i.opcode == "reverse" else None),
    Rule("integer scatter", "NCC_EVRF016/EVRF060", "error", "add in f32, or count with a one-hot product",
         _on("scatter", lambda i, g: _first(i) in INTEGERS | {"pred"} and _combines(i, g),
             lambda i: f"scatter that computes on {_first(i)}")),
    Rule("scatter out of range", "NCC_EVRF031", "error", "the positions run past the end of the table",
         _on("scatter", _outruns, lambda i: f"scatter({_sizes(i)})")),
    Rule("gather out of range", "NCC_EVRF056", "error", "the positions run past the end of the table",
         _on("gather", _outruns, lambda i: f"gather({_sizes(i)})")),
    Rule("dense gather", "", "warning", "slice on the host, multiply by a one-hot, or set XLA_DENSE_GATHER_FACTOR=0",
         _dense_gather),
    Rule("reduce-window, base dilated", "NCC_EVRF017", "error", "dilate with a pad first",
         _on("reduce-window", lambda i, _: bool(i.window("lhs_dilate")), lambda i: f"reduce-window({_sizes(i)})")),
    Rule("reduce-window, window dilated", "NCC_EVRF018", "error", "slice with a step first",
         _on("reduce-window", lambda i, _: bool(i.window("rhs_dilate")), lambda i: f"reduce-window({_sizes(i)})")),
    Rule("reduce-window of several", "NCC_EVRF019", "error", "one reduction at a time: cummax with indices makes two",
         _on("reduce-window", lambda i, _: len(i.operands) != 2, lambda i: f"{len(i.operands)} operands")),
    Rule("long running sum", "", "warning", "N x N work: sum in blocks, or multiply by a triangle of ones",
         _on("reduce-window", lambda i, _: _long_cumulative(i), lambda i: f"a window of {max(i.window('size'))}")),
    Rule("reduction of several", "", "warning", "argmax and max with indices: compare with the maximum instead",
         _on("reduce", lambda i, _: len(i.operands) != 2, lambda i: f"reduce of {len(i.operands)} operands")),
    Rule("arithmetic shift", "NCC_EVRF022", "error", "shift 32-bit numbers only",
         _on("shift-right-arithmetic", lambda i, _: _first(i) not in ("s32", "u32", "f32"),
             lambda i: f"shift of {_first(i)}")),
    Rule("integer product", "NCC_EVRF035", "error", "there is no integer matrix product: convert to f32",
         _on("dot", lambda i, _: _first(i) in WIDE, lambda i: f"dot({_sizes(i)})")),
    Rule("32-bit integer product", "NCC_EVRF035", "warning", "rejected on trn2 and later: convert to f32",
         _on("dot", lambda i, _: _first(i) in INTEGERS - WIDE, lambda i: f"dot({_sizes(i)})")),
    Rule("integer all-reduce", "NCC_EVRF061", "error", "reduce on the host, or as f32",
         _on("all-reduce", lambda i, _: _first(i) in INTEGERS, lambda i: f"all-reduce of {_first(i)}")),
    Rule("integer reduce-scatter", "NCC_EVRF063", "error", "as f32",
         _on("reduce-scatter", lambda i, _: _first(i) in INTEGERS, lambda i: f"reduce-scatter of {_first(i)}")),
    Rule("integer power", "NCC_EVRF062", "error", "multiply, or convert to f32",
         _on("power", lambda i, _: _first(i) in WIDE, lambda i: f"power of {_first(i)}")),
]  # fmt: skip
