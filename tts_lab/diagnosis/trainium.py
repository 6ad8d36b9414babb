"""What goes wrong on AWS Trainium, by AWS's documentation (aws-neuron-sdk) and PyTorch/XLA's; no row of it has been
met on a Trainium by this project yet. The counters of a run under torch-xla show some of them on any machine.
"""

import re

from tts_lab.diagnosis import signs
from tts_lab.diagnosis.ailment import Ailment
from tts_lab.diagnosis.messages import FREE
from tts_lab.preflight.rules import RULES

COMPILE = "time: its graphs compile again, minutes to an hour each; money: the instance's hours"
REDO = "time: the steps since the last checkpoint"


def _refused(text: str) -> str | None:
    """The compiler's codes in a message, each with the preflight's rule for it, if it has one."""
    if re.search(r"NCC_(EOOM|EXSP|EVRF009)", text):
        return None  # that is its memory, a row of its own
    codes = list(dict.fromkeys(code.upper() for code in re.findall(r"\bNCC_([EI][A-Z]{3}\d{3})\b", text, re.I)))
    if not codes:
        internal = re.search(
            r"Internal tensorizer error|neuronx-cc.{0,60}(failed|error)|Compiler status ERROR", text, re.I
        )
        return internal and internal[0]
    told = []
    for code in codes:
        rule = next((rule for rule in RULES if code in re.split(r"[_/]", rule.code)), None)
        told.append(f"NCC_{code}: {rule.name}; {rule.remedy}" if rule else f"NCC_{code}")
    return "; ".join(told)


TRAINIUM = (
    Ailment(
        "A failed compilation was cached",
        said=r"cached failed neff|retry_failed_compilation",
        means="A graph once failed to compile, perhaps only for want of memory or by Ctrl-C, and the failure is kept "
              "in the compile cache like a result.",
        tries=(
            ("compiler_flags --retry_failed_compilation for one run.",
             "time: that graph's compilation, minutes to an hour"),
            ("Delete its MODULE_ folder in the cache (/var/tmp/neuron-compile-cache, or compile_cache).",
             "time: the same"),
        ),
    ),
    Ailment(
        "The compiler ran out of memory on the host",
        said=r"\bF137\b|neuron\w*-cc was forcibly killed|insufficient system memory|"
             r"neuron_parallel_compile.{0,60}killed",
        means="Compiling a training step takes more host memory than a small instance has (32 GB on a trn1.2xlarge), "
              "the more so several at once.",
        tries=(
            ("NEURON_PARALLEL_COMPILE_MAX_RETRIES=1, and --num_parallel 1 of neuron_parallel_compile.",
             "time: graphs compile one after another"),
            ("compiler_flags --optlevel=1.", "time: faster compiling, somewhat slower steps"),
            ("Compile on a larger machine without a device, and share the cache by s3 (compile_cache).",
             "money: an hour of a larger instance"),
        ),
    ),
    Ailment(
        "The compiler refuses the graph",
        read=_refused,
        means="An operation, a data type or a size is not for this compiler. `tts-lab preflight` finds all of them "
              "beforehand, with the Python line, on any machine.",
        tries=(
            ("`tts-lab preflight --config run.yaml`, and do what its table says.", "time: a minute"),
            ("convolutions products, where a convolution's weight gradient is refused (NCC_ITEN404, NCC_EXTP003).",
             "time: longer tracing on the host; the preflight forecasts it"),
            ("Smaller graphs: segment_frames 32, fewer or shorter buckets.", "quality: very long clips are left out"),
            ("compiler_flags --implicit-integer-downcast=all on SDK 2.33 and later, for the integer codes.", COMPILE),
        ),
    ),
    Ailment(
        "Processes wait for one another on Trainium",
        said=r"Timeout waiting for [RT]X|NRT_TIMEOUT|NRT_EXEC\w*TIMEOUT|collectives?.{0,40}time(d )?[ -]?out|"
             r"Expected \d+ threads to join the rendezvous|(execution|exec).{0,20}timed? ?out.{0,60}(neuron|nrt|nc)|"
             r"nrt.{0,60}timed? ?out",
        means="One rank computes another graph than the rest, still compiles one, or is gone; the others wait in an "
              "exchange.",
        tries=(
            ("Look for the first error of any rank: `grep -n Error` in the output of each.", FREE),
            ("`tts-lab precompile` first, so that no rank compiles while others wait.",
             "time: minutes to an hour, once"),
            ("See that all have the same configuration and corpus: shapes are planned from it.", FREE),
            ("NEURON_RT_EXEC_TIMEOUT=600, if a graph is truly that slow.", "time: a hang is noticed later"),
        ),
    ),
    Ailment(
        "Not-a-number on the device",
        said=r"INFER_ERROR_SUBTYPE_NUMERICAL|completed_with_num_err\W+[1-9]|NRT\w*_NUM_ERR|numerical error",
        shown=signs.device_nan,
        means="The runtime saw a NaN in what a graph gave. The weights may be spoilt since.",
        tries=(
            ("Look in metrics.csv for the first step that is not a number, and resume from before it.", REDO),
            ("precision 32, stochastic_rounding off.",
             "time: about four times the arithmetic; all graphs compile again"),
            ("Set clip, halve learning_rate.", "time: slower progress"),
            ("compiler_flags without --auto-cast=all; SDK 2.31 or later, which mends wrong code for `reverse`.",
             COMPILE),
        ),
    ),
    Ailment(
        "The NeuronCore's memory is full",
        said=r"NRT_RESOURCE|neuron_mem_table|NCC_E(OOM|XSP)00\d|EVRF009|(Failed|Unable) to allocate.{0,80}(HBM|"
             r"device memory|on (ND|NC))|nrt_tensor_allocate|RESOURCE_EXHAUSTED|\b(HBM|device memory|"
             r"NeuronCore memory)\b.{0,40}(out|full|exhaust|exceed)\w*",
        shown=signs.device_full,
        means="Graphs, their scratch memory, weights and optimizer want more than a core's 16 GiB (trn1). All graphs "
              "of a process stay loaded, one for each shape.",
        tries=(
            ("Halve batch_size and double accumulate.", f"{COMPILE}; quality: none"),
            ("Lower buckets.", f"{COMPILE}; more padding is computed"),
            ("NEURON_NUM_RECENT_MODELS_TO_KEEP=2.", "time: graphs are loaded again and again"),
            ("precision bf16.", f"quality: a little; {COMPILE}"),
        ),
    ),
    Ailment(
        "The NeuronCores are taken",
        said=r"Neuron ?Cores?(\(s\))? not available|nrt_allocate_neuron_cores|NRT_\w*IN_USE|(NeuronCores?|"
             r"neuron cores?)\b.{0,40}(in use|busy|taken|held)",
        means="Another process holds them: a notebook whose kernel still lives, or a run that did not end.",
        tries=(
            ("neuron-ls names the processes that hold cores; end yours.", FREE),
            ("neuron_cores 1, or NEURON_RT_VISIBLE_CORES, so that each process takes only its own.", FREE),
        ),
        mind="One worker trains on one core. NEURON_RT_NUM_CORES=2 for it gives no speed: the second core is held "
             "idle.",
    ),
    Ailment(
        "No Neuron device is seen",
        said=r"No neuron device|/dev/neuron\S* .{0,60}(no|not|none)|no /dev/neuron|there is no /dev/neuron|nrt_init|"
             r"NRT_UNINITIALIZED|NRT_INIT|neuron driver.{0,40}(not|mismatch|version|old)|aws-neuronx-dkms",
        means="The driver is not loaded, does not fit the runtime, or this is no Trainium instance. A container must "
              "be given the device.",
        tries=(
            ("ls /dev/neuron*; lsmod | grep neuron; `tts-lab doctor` tells which part is missing.", FREE),
            ("Install driver, runtime and tools together: aws-neuronx-dkms, aws-neuronx-runtime-lib, "
             "aws-neuronx-collectives, aws-neuronx-tools. After a kernel update the driver is built again.",
             "time: minutes"),
            ("In a container: --device=/dev/neuron0.", FREE),
        ),
    ),
    Ailment(
        "The Neuron packages are missing or mixed",
        said=r"No module named '?(libneuronxla|neuronxcc|torch_neuronx|torch_xla|neuronx_distributed)|_XLAC\b|"
             r"libneuronxla.{0,60}(not|error)|neuronx?-cc.{0,20}(not found|command)|protobuf.{0,60}(Descriptors|"
             r"incompatible|version)",
        means="torch, torch-xla and torch-neuronx must be of one pair (2.9), from AWS's own index: packages of these "
              "names on the public index are empty.",
        tries=(
            ("Install what environment.trn1.yml lists, with extra-index-url https://pip.repos.neuron.amazonaws.com.",
             "time: minutes"),
            ("pip install --force-reinstall neuronx-cc, where protobuf broke.", "time: minutes"),
            ("Keep JAX and TensorFlow in other environments.", FREE),
        ),
    ),
    Ailment(
        "Graphs change from step to step",
        said=r"more graphs compiled for a|graph (count|hash).{0,20}(grew|grown|changed|differs)",
        asked=r"\brecompil\w*|compil\w* (again|every|each) (step|batch|time)|graph drift|UncachedCompile|"
              r"graphs?.{0,20}(grow|chang|differ)\w*",
        shown=signs.recompiles,
        means="Something other than the data's values differs from step to step: a shape, a Python number inside the "
              "step, or a tensor that lives on. Each new graph is a compilation: on trn1 minutes at the instance's "
              "price.",
        tries=(
            ("recompile error stops at the first one; PT_XLA_DEBUG_LEVEL=2 names the lines.", "time: minutes"),
            ("Give numbers that change as tensors; keep exact 0 and 1 out of learning rates and weights: they are "
             "built in as constants.", FREE),
            ("`tts-lab preflight` counts the graphs beforehand; buckets sets how many shapes there are.",
             "time: a minute"),
        ),
    ),
    Ailment(
        "Steps are traced anew",
        said=r"is traced anew at every step",
        asked=r"trac(ed|ing) .{0,20}(slow|anew|every step)",
        shown=signs.traces,
        means="The host spells out the whole step again each time, while the device waits: a tensor made on the host "
              "has another value each time.",
        tries=(
            ("Make it an input of the step; leave replay on.", FREE),
            ("PT_XLA_DEBUG_LEVEL=2 names the lines.", "time: minutes"),
        ),
    ),
    Ailment(
        "An operation falls back to the host",
        said=r"aten::\w+.{0,60}fall(s|en|ing)?[ -]?back|executed_fallback_ops|aten::_(fft_r2c|weight_norm_interface)",
        asked=r"fall(s|en|ing)?[ -]?backs?\b",
        shown=signs.falls_back,
        means="PyTorch/XLA has no lowering for it (FFT, weight_norm, masks as indices): each time values go to the "
              "host and back, and the graph is cut in two.",
        tries=(
            ("`tts-lab preflight` names operation and line.", "time: a minute"),
            ("Say it in products and `where`, as tts_lab's own step does: a spectrum as a matrix product, g * v / "
             "||v|| for weight norm, where() for a mask.", "time: an hour of work"),
        ),
    ),
    Ailment(
        "Long compilations",
        said=r"No candidate found under.{0,200}compil|seems? to hang.{0,40}first step",
        asked=r"long compil\w*|compil\w*.{0,40}\b(long|slow\w*|hours?|minutes|forever|hangs?|stuck)\b|"
              r"neuron_parallel_compile|wait\w* .{0,40}compil\w*",
        means="Each shape is a graph of its own, compiled before its first step: minutes to an hour on a small host. "
              "It happens once, if the cache is kept.",
        tries=(
            ("`tts-lab precompile`: all graphs at once, before training.",
             "time: the slowest graph in place of the sum"),
            ("compile_cache s3://…: no later instance compiles them again.", "money: cents a month"),
            ("compiler_flags --optlevel=1; lower buckets.", "time: somewhat slower steps, or more padding"),
        ),
        mind="Setting COMPILE=1 and running a training script once precompiles nothing by itself: "
             "neuron_parallel_compile must run it (`tts-lab precompile` does).",
    ),
    Ailment(
        "A wide integer reached the device",
        said=r"Expect ap datatype to be of type|XLA_USE_32BIT_LONG|int64.{0,40}(not supported|unsupported|downcast)",
        means="Trn1 computes with 32 bits; 64-bit numbers are cut, and some operations on them are refused.",
        tries=(
            ("compiler_flags --implicit-integer-downcast=all (SDK 2.32 and later).", COMPILE),
            ("Do sums and powers of integers on the host.", FREE),
        ),
    ),
    Ailment(
        "Wrong numbers without functionalization",
        said=r"split_with_sizes|XLA_DISABLE_FUNCTIONALIZATION|torch\.split\b.{0,60}(wrong|incorrect)",
        means="torch.split with a list of sizes, on any dimension but the first, is silently wrong while "
              "XLA_DISABLE_FUNCTIONALIZATION is 1, torch-neuronx's default. Piper's own model has five such lines.",
        tries=(
            ("Use slices or chunk, as tts_lab's model does.", FREE),
            ("XLA_DISABLE_FUNCTIONALIZATION=0.", f"time: about 15 % slower by AWS's figure; {COMPILE}"),
        ),
    ),
    Ailment(
        "All losses are zero",
        said=r"NEURON_EXTRACT_GRAPHS_ONLY",
        asked=r"loss(es)? (are|is) (all |always |exactly )*(zero|0\b)",
        means="Under neuron_parallel_compile nothing computes: every result is zeros, by design. It is no training.",
        tries=(
            ("unset NEURON_EXTRACT_GRAPHS_ONLY, and start the training itself.", FREE),
        ),
    ),
    Ailment(
        "The device or its memory has a fault",
        said=r"uncorrect\w* (ECC|memory)|ECC.{0,30}uncorrect\w*|NRT_EXEC_HW_ERR\w*|hardware error",
        shown=signs.ecc,
        means="An error in the chip's memory could not be mended: numbers since then cannot be trusted.",
        tries=(
            ("Stop the instance and start it: it comes up on other hardware. Go on from an earlier checkpoint.", REDO),
        ),
    ),
    Ailment(
        "Executions fail on the device",
        said=r"NRT_EXEC_\w+|completed_with_err\W+[1-9]|nrt_execute.{0,40}(fail|error)|NRT_EXEC_OOB",
        shown=signs.device_errors,
        means="The runtime could not finish a graph: an index out of range, queues that ran over, or a fault.",
        tries=(
            ("NEURON_RT_LOG_LEVEL=INFO, and the lines before the first error.", FREE),
            ("Run the same step with accelerator xla or cpu, where an index out of range is said in words.",
             "time: minutes"),
        ),
    ),
    Ailment(
        "The core is idle while the host works",
        asked=r"(neuron-top|NeuronCore util\w*|core utili[sz]ation).{0,60}(low|idle|\b0 ?%)|low core util\w*",
        shown=signs.idle_core,
        means="The host traces the step or searches alignments, and the core waits for it.",
        tries=(
            ("Leave replay on, and alignment device.", FREE),
            ("Raise batch_size: more work a step.", COMPILE),
        ),
    ),
)  # fmt: skip
