"""Error messages: what Python, PyTorch and their neighbours say when something does not fit.

The more telling row stands first: one message may fit several, and the first is the first to be tried.
"""

import re

from tts_lab.diagnosis import signs
from tts_lab.diagnosis.ailment import Ailment

HALF = r"(c10::)?(Half|BFloat16)"
FREE = "nothing"


def _fragmented(text: str) -> str | None:
    """A message of torch by which more lay reserved and unused than was asked for."""
    said = re.search(r"Tried to allocate ([\d.]+) ([KMG]iB).*?([\d.]+) ([KMG]iB) is reserved by PyTorch", text, re.S)
    if said is None:
        return None
    asked, unused = (float(said[n]) * 1024 ** "KMG".index(said[n + 1][0]) for n in (1, 3))
    told = f"{said[1]} {said[2]} were asked for while {said[3]} {said[4]} lay reserved and unused"
    return told if unused >= asked else None


MESSAGES = (
    Ailment(
        "A loss or a gradient is not a number",
        said=r"\bloss\w*\b.{0,40}\b(nan|inf)\b|\b(nan|inf)\b.{0,40}\b(loss|gradient|grad)\w*\b|returned nan values|"
             r"non-finite|not finite|\b(mel|kl|loss_[gd]|grad_norm_[gd]|duration|adversarial|feature)\b( is)?[ :=]+"
             r"(nan|-?inf)\b",
        shown=signs.not_a_number,
        means="A number overflowed, or something was divided by zero or had the logarithm of nothing taken. A run of "
              "tts_lab takes no such step; in other trainers every weight is spoilt from there on, and of their "
              "checkpoints only the earlier ones are worth anything.",
        tries=(
            ("`tts-lab reproduce bad-STEP.pt`, the file in the run's folder: it names the first bad term, the part of "
             "the model and the recordings.", FREE),
            ("Go back: give `--resume` a checkpoint from before the first bad step.", "time: the steps since then"),
            ("Set clip to 5 or so, on the order of the usual grad_norm_g, and halve learning_rate.",
             "time: slower progress; quality: none lost"),
            ("Take precision 32, if it was bf16.", "time: up to twice as long where bf16 is native"),
            ("Look for silent, clipped or nearly empty clips: `tts-lab analyze`, then `tts-lab review`.", FREE),
            ("Find the line of Python: debug anomaly, with overfit_batches 1 if that does it too.",
             "time: each step some ten times as long, so only for the hunt"),
        ),
        mind="`python -c \"import torch; torch.autograd.set_detect_anomaly(True)\"` before a run does nothing: the "
             "setting ends with that process. It must be switched on in the process that trains.",
    ),
    Ailment(
        "GPU memory is in pieces",
        read=_fragmented,
        asked=r"memory fragment\w*|fragmented memory|"
              r"(out of memory|OOM)\b.{0,40}\bafter\b.{0,40}\b(hours|many|a while)",
        means="Enough memory is free in all, but not in one stretch: shapes that changed from batch to batch left "
              "gaps.",
        tries=(
            ("export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True", FREE),
            ("Use fewer shapes: lower buckets.", "time: a little more padding is computed"),
            ("Start the same command again; with resume auto it goes on from its checkpoint.",
             "time: the steps since the last checkpoint"),
            ("Halve batch_size and double accumulate.", "time: some; quality: none, the rows an update stay"),
        ),
    ),
    Ailment(
        "The GPU's memory is full",
        said=r"CUDA out of memory|torch\.(cuda\.)?OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED|"
             r"CUDA error: out of memory|CUDNN_STATUS_ALLOC_FAILED|^\W*out of memory\W*$|GPU .{0,30}out of memory",
        means="One batch, with all that is kept of it for the backward pass, needs more than the GPU has. The "
              "longest clips decide: each batch is as long as its longest.",
        tries=(
            ("Halve batch_size and double accumulate.", "time: some; quality: none, the rows an update stay"),
            ("Prepare with a smaller --max-seconds (10 to 12): clips that long are set aside.",
             "quality: a little data"),
            ("Take precision bf16.", "quality: a little, and none on a GPU that is good at it; time: faster"),
            ("Leave segment_frames at 32, or set discriminator_divisor 2.", "quality: a weaker judge of the sound"),
            ("See with nvidia-smi whether another process, such as an old notebook kernel, holds memory.", FREE),
        ),
        mind="Gradient checkpointing, which guides recommend, is no setting here; a smaller batch does the same for "
             "less.",
    ),
    Ailment(
        "Shared memory is too small for the data workers",
        said=r"killed by signal: Bus error|insufficient shared memory|unable to (open|write to|allocate|"
             r"mmap).{0,30}(shared memory|</?torch_)|/dev/shm.{0,60}(full|small|No space)|"
             r"No space left on device.{0,40}torch_",
        means="Workers hand batches over through /dev/shm, and it is full. Containers have 64 MB of it by default.",
        tries=(
            ("Start the container with --shm-size=2g, or --ipc=host.", FREE),
            ("Set workers 0: the training process then loads the data itself.",
             "time: the device waits for each batch"),
        ),
    ),
    Ailment(
        "The machine's memory is full",
        said=r"DefaultCPUAllocator: can't allocate memory|^MemoryError|Cannot allocate memory|oom-kill|"
             r"Out of memory: Kill|killed by signal: Killed|exit(ed)? (with )?(status|code)[ :=]*(-9|137)|SIGKILL|"
             r"^Killed$|exitcode *: -9",
        means="The system ended the process, or refused it memory, because main memory ran out.",
        tries=(
            ("Close other programs and notebooks; `tts-lab doctor` says how much memory there is.", FREE),
            ("Lower workers: each is a process with batches of its own.", "time: the device may wait for data"),
            ("Halve batch_size and double accumulate.", "time: some; quality: none"),
            ("Rent an instance with more memory.", "money: about in proportion"),
        ),
    ),
    Ailment(
        "Indices have the wrong type",
        said=r"Expected tensor for argument #1 'indices' to have|tensors used as indices must be long|"
             r"expected scalar type (Long|Int)\b|index.{0,40}(must be|expected).{0,20}(int64|Long|integer)",
        means="An embedding looks up rows by number and was given floats: phoneme or speaker ids that were made "
              "without a type, read from a CSV, or converted together with the audio.",
        tries=(
            ("Make them whole where they are made: torch.tensor(ids, dtype=torch.long), or ids.long().", FREE),
            ("Convert only the audio with .float(), not the whole batch.", FREE),
            ("Print {name: value.dtype} of one batch.", "time: a minute"),
        ),
    ),
    Ailment(
        "An id is beyond the table",
        said=r"index out of range in self|device-side assert triggered|(indexSelect|vectorized_gather|"
             r"Indexing).*[Aa]ssert|index \d+ is out of bounds for dimension",
        means="A phoneme id is not below the model's number of symbols, or a speaker id not below its speakers. "
              "After a device-side assert the GPU is lost to this process, and later messages mean nothing.",
        tries=(
            ("Prepare the corpus with the map of the voice that you start from: `tts-lab prepare --voice`.",
             "time: minutes"),
            ("Run a step with accelerator cpu: it names the line, which a GPU tells too late.", "time: a minute"),
        ),
    ),
    Ailment(
        "float64 among float32",
        said=r"expected (scalar type|m1 and m2 to have).{0,60}\bdouble\b|Input type \(double\)|bias type \(double\)|"
             r"weight type \(double\)|mat1 and mat2 must have the same dtype.*Double|Found dtype (Double|"
             r"Float) but expected (Float|Double)|expected scalar type (Float but found Double|"
             r"Double but found Float)",
        means="NumPy makes float64 unless told otherwise, and the model is float32: audio or a statistic came in as "
              "it was.",
        tries=(
            ("Convert where the data enters: torch.from_numpy(audio).float(), or np.asarray(audio, np.float32).", FREE),
            ("Print {name: value.dtype} of one batch to find the odd one.", "time: a minute"),
        ),
        mind="model.double() silences it too, at half the speed and twice the memory, and Trainium has no float64.",
    ),
    Ailment(
        "Half precision meets float32",
        said=rf"expected scalar type {HALF} but found|but found {HALF}\b|Input type \({HALF}\)|bias type \({HALF}\)|"
             rf"expected m1 and m2 to have.{{0,60}}{HALF}|mat1 and mat2 must have the same dtype.*{HALF}|"
             rf"not implemented for '(Half|BFloat16)'|Found dtype {HALF} but|(Float|float) but (found|got) {HALF}",
        means="Part of the model or of the data was converted to half precision and part was not.",
        tries=(
            ("Leave weights and data in float32 and set precision bf16: convolutions are then rounded, spectra, "
             "flows and losses are not.", "quality: a little; time: faster where bf16 is native"),
            ("Take precision 32.", "time: longer on a GPU or Trainium; quality: the best there is"),
        ),
        mind="model.half() is the wrong cure for VITS: float16 ends at 65504 and its logarithms, spline and losses "
             "overflow to NaN, and AdamW's small steps are rounded away. Autocast with float32 weights is the right "
             "one.",
    ),
    Ailment(
        "More or fewer values than names",
        said=r"(too many|not enough) values to unpack",
        means="What is on the right of an = gives another number of values than there are names on the left: a batch "
              "with a field more (speaker ids), a model with one output more, or a line of the manifest with one "
              "more |.",
        tries=(
            ("Look at what comes: print(type(x), len(x)) before that line.", "time: a minute"),
            ("If the line reads a manifest: `tts-lab lint` names each line with too many or too few fields.", FREE),
            ("If it reads a model's output, name the fields (generated.made) and do not count them.", FREE),
        ),
    ),
    Ailment(
        "No speaker id",
        said=r"KeyError: ['\"]?(speaker\w*|spk\w*)|^['\"]speaker_?(id|name)?['\"]$|(missing|no|"
             r"without).{0,20}speaker[ _]id|no speaker '",
        means="A voice of several speakers was asked for data or speech without saying whose, or the manifest has no "
              "column for it.",
        tries=(
            ("Name the speaker in each line of the manifest, id|speaker|text, and see it with `tts-lab lint`.",
             "time: minutes"),
            ("With one speaker, leave the column out altogether: the voice is then a single-speaker one.", FREE),
            ("When speaking, say who: `tts-lab say --speaker NAME`.", FREE),
        ),
    ),
    Ailment(
        "A data worker died",
        said=r"DataLoader worker \(pid.*(exited unexpectedly|killed by signal)|worker.{0,20}exited unexpectedly",
        means="One of the processes that load data ended: most often for want of memory, else by a broken file.",
        tries=(
            ("Set workers 0: the true message then comes up, in the training process.", "time: slower while you look"),
            ("Look at memory with free -h, and lower workers or batch_size.", "time: some"),
        ),
    ),
    Ailment(
        "Coqui: a gradient could not be applied",
        said=r"Error in applying gradient",
        means="A framework's words for a gradient that is not a number.",
        tries=(
            ("Look for silent or broken clips: `tts-lab analyze` finds them in any folder of recordings.", FREE),
            ("Lower the learning rate by half; clip gradients.", "time: slower progress"),
        ),
        mind="torch.autograd.set_detect_anomaly(True) in a `python -c` before the run does nothing: the setting is "
             "that process's alone. Put it into the training script.",
    ),
    Ailment(
        "Coqui: Tacotron wants a reduction factor",
        said=r"Tacotron.{0,40}requires.{0,10}\br\b|reduction factor",
        means="Tacotron says several frames at once, r of them; a Piper voice (VITS) has no such setting.",
        tries=(
            ("For Tacotron: \"r\": 2 in its config, up to 5.", "quality: a larger r is coarser, but aligns sooner"),
            ("For a Piper voice: leave it out; whoever asks for it is training another model.", FREE),
        ),
    ),
    Ailment(
        "A call lacks an argument",
        said=r"missing \d+ required (positional|keyword-only) arguments?",
        means="The batch and the model do not agree on what is handed over: in ESPnet, features (feats) were not "
              "computed or the data's keys are named otherwise.",
        tries=(
            ("Print the keys or fields of one batch, and compare them with the signature named in the message.",
             "time: a minute"),
            ("Check that the version of the library is the one the code was written for: `tts-lab doctor`.", FREE),
        ),
    ),
    Ailment(
        "Shapes do not fit",
        said=r"The size of tensor a \(\d+\) must match|shapes cannot be multiplied|"
             r"expects each tensor to be equal size|expected .* to have \d+ channels|Sizes of tensors must match|"
             r"shape '.*' is invalid for input",
        means="Tensors of different length were put together: clips that were not padded, audio at another sample "
              "rate or hop than the model's, or a mono signal where two channels are expected.",
        tries=(
            ("Print the shape of each at that line.", "time: a minute"),
            ("Compare sample rate, hop and mel bands of corpus and voice: `tts-lab inspect VOICE`.", FREE),
        ),
    ),
    Ailment(
        "A tensor was changed that the backward pass needs",
        said=r"modified by an inplace operation",
        means="x += 1, or x[i] = y, on a value whose gradient is still to be computed.",
        tries=(
            ("Write x = x + 1, or torch.where.", FREE),
            ("debug anomaly, or torch.autograd.set_detect_anomaly(True) in that very process, names the line.",
             "time: slow steps meanwhile"),
        ),
        mind="The message's own hint works only in the process that trains, not in a `python -c` before it.",
    ),
    Ailment(
        "Tensors are on different devices",
        said=r"Expected all tensors to be on the same device|but found at least two devices|is on cpu.{0,40}cuda",
        means="Something was made on the host, such as a mask or a window, and used with what lies on the device.",
        tries=(
            ("Make it with device=x.device, or register it as a buffer of the module.", FREE),
        ),
    ),
    Ailment(
        "A key is not there",
        said=r"^\w*KeyError: ",
        means="A dictionary was asked for what it does not hold: a field of a manifest or config, or a tensor of a "
              "checkpoint.",
        tries=(
            ("Print its keys at that line; names differ by version and framework.", "time: a minute"),
        ),
    ),
)  # fmt: skip
