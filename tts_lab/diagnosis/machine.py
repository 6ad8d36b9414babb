"""Hardware and environment: the machine, its drivers, the processes that share it."""

from tts_lab.diagnosis import signs
from tts_lab.diagnosis.ailment import Ailment
from tts_lab.diagnosis.messages import FREE

MACHINE = (
    Ailment(
        "torch was not built for this GPU",
        said=r"no kernel image is available|sm_\d+ is not compatible|invalid device function|CUFFT_INTERNAL_ERROR|"
             r"cuFFT error",
        means="The GPU is newer, or much older, than the PyTorch that is installed; often only some operations fail, "
              "such as the FFT.",
        tries=(
            ("`tts-lab doctor` tries a product and a spectrum on the GPU.", FREE),
            ("Install the build of PyTorch for its CUDA version, from pytorch.org.", "time: minutes; disk: some GB"),
            ("Train with accelerator cpu meanwhile.", "time: many times as long"),
        ),
    ),
    Ailment(
        "The GPU's driver is missing or too old",
        said=r"Found no NVIDIA driver|driver .{0,40}too old|CUDA driver version is insufficient|NVML.{0,40}(mismatch|"
             r"not found)|nvidia-smi.{0,30}(failed|not found)|no CUDA-capable device",
        means="PyTorch sees no GPU, or may not use it. After a driver's update the machine wants a restart.",
        tries=(
            ("nvidia-smi: if it fails too, restart the machine, else install the driver anew.", "time: minutes"),
            ("In a container: start it with --gpus all.", FREE),
            ("Train with accelerator cpu.", "time: many times as long"),
        ),
    ),
    Ailment(
        "cuDNN or cuBLAS failed",
        said=r"CUDNN_STATUS_(?!ALLOC)\w+|CUBLAS_STATUS_(?!ALLOC)\w+|CUDA error: (?!out of memory|device-side)[a-z ]+",
        means="A GPU library failed inside: memory that is nearly full, libraries of two CUDA versions, or an "
              "earlier error that came up only now.",
        tries=(
            ("Run once with CUDA_LAUNCH_BLOCKING=1: the line it then names is the true one.",
             "time: slow while you look"),
            ("Halve batch_size.", "time: some"),
            ("Look that one CUDA alone is installed: pip list | grep nvidia, and unset LD_LIBRARY_PATH.", FREE),
        ),
    ),
    Ailment(
        "Libraries of different builds",
        said=r"cannot open shared object file|undefined symbol|GLIBC(XX)?_[\d.]+.{0,20}not found|"
             r"numpy\.(core\.multiarray failed|dtype size changed)|compiled using NumPy 1\.x|"
             r"^Segmentation fault|SIGSEGV",
        asked=r"(mysterious|random|strange) (crash|import error)\w*|environment conflict\w*|"
              r"incompatible (CUDA|torch|PyTorch)",
        means="Packages that were built for one another's other versions meet in one process: two environments "
              "mixed, or one package upgraded alone.",
        tries=(
            ("`tts-lab doctor` compares every version with the lock.", FREE),
            ("Make the environment anew: make clean, then make voice; or pip install -r requirements.lock in a fresh "
             "venv.", "time: minutes; disk: some GB"),
            ("Unset PYTHONPATH and LD_LIBRARY_PATH; never sudo pip.", FREE),
        ),
    ),
    Ailment(
        "The port is taken",
        said=r"Address already in use|EADDRINUSE|errno: 98\b",
        means="Another run, or the rest of one that was killed, holds the port by which processes meet.",
        tries=(
            ("Give torchrun another --master_port, or --standalone.", FREE),
            ("Find who holds it: ss -ltnp; end an old run of yours.", FREE),
        ),
    ),
    Ailment(
        "GPU processes wait for one another",
        said=r"Watchdog caught collective operation timeout|NCCL (error|timeout)|ncclInternalError|ncclSystemError|"
             r"ProcessGroup\w+.{0,80}time(d )?out|Timed out waiting .{0,40}(store|clients|ranks)|DistStoreError",
        means="One process is gone, stuck, or does other work than the rest; the others wait until their time is up.",
        tries=(
            ("Look in every rank's output for the first error: the timeout is what followed.", "time: minutes"),
            ("Give the same command again; it goes on from its checkpoint.", "time: the steps since the last one"),
            ("NCCL_DEBUG=INFO says where it stands; NCCL_P2P_DISABLE=1 where GPUs cannot reach each other.",
             "time: the second is slower"),
        ),
    ),
    Ailment(
        "The notebook's kernel died",
        said=r"Dead ?Kernel|Kernel (has )?died|kernel appears to have died|IOPub",
        means="The system ended Python under the notebook, most often for want of memory.",
        tries=(
            ("Restart the kernel, close other notebooks: each holds its own memory.", FREE),
            ("Lower batch_size, or train by the command line: a run then survives the notebook.", FREE),
        ),
    ),
    Ailment(
        "The device waits for the processor that prepares data",
        said=r"does not have many workers",
        asked=r"(GPU|device|core) util\w* .{0,30}(low|fluctuat\w*|drops|0 ?%)|low (GPU|device) util\w*|CPU bottleneck|"
              r"data ?load\w* .{0,30}bottleneck|(GPU|device) is (idle|waiting|starv\w*)",
        shown=signs.waits,
        means="Clips are read and their spectra computed more slowly than the device takes them.",
        tries=(
            ("Raise workers, up to the processor's cores less one.", "memory: a few batches for each"),
            ("Keep the corpus on a local disk: prepared clips are read as they are, nothing is decoded again.", FREE),
            ("Take an instance with more processors.", "money: in proportion"),
        ),
    ),
    Ailment(
        "The disk does not keep up",
        asked=r"disk.{0,10}I/?O|I/?O (wait|bottleneck)|stalls? (periodically|now and then|every)|slow (disk|storage)|"
              r"training (stalls|pauses|hangs) .{0,30}(load|data)",
        shown=signs.stalls,
        means="Data comes in time as a rule, and then for a while it does not: a network disk, a disk that something "
              "else uses, or burst credits of a cloud volume that are spent.",
        tries=(
            ("Copy the prepared corpus to a local SSD, or to /dev/shm if it fits: an hour of speech is 320 MB.", FREE),
            ("Raise workers: more is read ahead.", "memory: a few batches for each"),
            ("Rent a volume with more throughput (gp3).", "money: some dollars a month"),
        ),
    ),
    Ailment(
        "It gets slower and slower",
        asked=r"(get|got|becom|grow)\w* slower|slow(s|ing|ed)? down (over|after|with)|memory leak|thermal|throttl\w+",
        shown=signs.slows_down,
        means="Another program took the cores, the machine is hot, it swaps, or a cloud instance's credits are spent.",
        tries=(
            ("See top, free -h and nvidia-smi while it runs; debug profile says where a step's time goes.", FREE),
            ("Stop and give the same command again: if it is fast at first, something grows.",
             "time: the steps since the last checkpoint"),
        ),
    ),
    Ailment(
        "No checkpoint is kept",
        shown=signs.unsaved,
        means="If the machine goes now, all steps are lost.",
        tries=(
            ("Lower checkpoint_every, and look that the disk has room: `tts-lab doctor`.",
             "time: a second or two a save"),
        ),
    ),
)  # fmt: skip
