"""Error messages about what lies on the disk: packages, files, recordings, checkpoints, voices."""

from tts_lab.diagnosis.ailment import Ailment
from tts_lab.diagnosis.messages import FREE

FILES = (
    Ailment(
        "The disk is full",
        said=r"No space left on device|Errno 28\b|Disk quota exceeded|Errno 122\b|OSError: .*not enough free space",
        means="Nothing more could be written. What was whole before still is: checkpoints are written beside the old "
              "ones and renamed.",
        tries=(
            ("Free some GB, and give the same command again: it goes on from its checkpoint.",
             "time: the steps since the last checkpoint"),
            ("Lower keep, and take old runs out of build/.", "quality: fewer checkpoints to choose from"),
            ("Rent a larger disk; AWS advises 512 GB for a Trainium instance.", "money: some dollars a month"),
        ),
    ),
    Ailment(
        "The alignment's compiled module is not here",
        said=r"No module named '?[\w.]*monotonic_align|monotonic_align\.core|maximum_path_c\b",
        means="Piper's own trainer needs a Cython module that its published package does not build.",
        tries=(
            ("Train with tts_lab: it searches the alignment in plain PyTorch and compiles nothing.", FREE),
            ("For Piper's trainer: build it from its source, in src/piper/train/vits/monotonic_align.",
             "time: minutes, and a C compiler"),
        ),
    ),
    Ailment(
        "espeak's voices are not found",
        said=r"phontab|espeak has no voice|(espeak|espeakbridge).{0,80}(not found|No such|failed|cannot|missing|"
             r"Error)|Error (processing|reading) file .*espeak|No module named '?[\w.]*espeakbridge",
        means="Text becomes phonemes by espeak, whose data lies inside piper-tts; it is missing, broken, or the "
              "voice asked for does not exist.",
        tries=(
            ("Install it anew: pip install --force-reinstall --no-deps piper-tts", "time: a minute"),
            ("Unset ESPEAK_DATA_PATH, if it is exported.", FREE),
            ("Name a voice that there is, such as en-us, de or pt-br.", FREE),
        ),
    ),
    Ailment(
        "A package is missing",
        said=r"No module named|cannot import name|ModuleNotFoundError",
        means="Python looks in another environment than the one that was installed into, or the package never was.",
        tries=(
            ("See which Python runs: python -c 'import sys; print(sys.executable)'. In a notebook choose the kernel "
             "of the project's environment.", FREE),
            ("Install what the lock says: pip install -r requirements.lock; `tts-lab doctor` then says what is "
             "missing.", "time: minutes"),
            ("Extras are asked for by name: pip install 'tts-lab[eval]'.", "time: minutes; disk: some GB"),
        ),
        mind="piper-tts[train] from the index cannot train: its alignment module is not built. tts_lab needs only "
             "piper-tts.",
    ),
    Ailment(
        "An audio file cannot be read",
        said=r"LibsndfileError|Format not recognised|NoBackendError|Error opening .*\.(wav|flac|mp3|ogg|opus|m4a)|"
             r"file does not start with RIFF",
        means="The file is empty, cut short, no audio at all, or of a kind that libsndfile does not know.",
        tries=(
            ("`tts-lab lint` and `tts-lab prepare` name each such file and its reason, and go on without it.", FREE),
            ("Copy or download it again; convert it: ffmpeg -i FILE out.flac", "time: minutes"),
        ),
    ),
    Ailment(
        "A file is not there",
        said=r"FileNotFoundError|No such file or directory|there is no (such )?file|Errno 2\b",
        means="A path of the configuration or the manifest leads nowhere: a typing error, another working folder "
              "(paths are relative to where the command is given), or recordings that were not copied along.",
        tries=(
            ("Compare the path of the message with ls; give absolute ones in a configuration.", FREE),
            ("`tts-lab lint MANIFEST` lists every recording that is not there.", FREE),
            ("Give --audio-dir, where recordings lie elsewhere than the manifest.", FREE),
        ),
    ),
    Ailment(
        "The checkpoint is of another model",
        said=r"Error\(s\) in loading state_dict|size mismatch for|(Missing|Unexpected) key\(s\) in state_dict",
        means="Weights were made for other sizes: another quality (x_low, medium, high), another number of speakers "
              "or of symbols.",
        tries=(
            ("`tts-lab inspect FILE` says what it is: preset, symbols, speakers.", FREE),
            ("Start from it with start_from: sizes are taken from it, tables are stretched, and what does not fit is "
             "listed.", FREE),
            ("Let parts that do not fit start fresh: reinitialise [dp, emb_g].", "time: they are learnt anew"),
        ),
        mind="strict=False does not help with a size mismatch, and where it loads, it leaves parts random in silence.",
    ),
    Ailment(
        "The checkpoint holds more than numbers",
        said=r"Weights only load failed.*(global|two options)|Unsupported global|PosixPath",
        asked=r"weights_only",  # in a traceback it is a line of code that has nothing to do with it
        means="It was pickled with Python objects inside (Piper's own hold paths), and reading those can run code. "
              "PyTorch refuses since 2.6.",
        tries=(
            ("Read it with tts_lab: `tts-lab inspect FILE`, or start_from FILE. A narrow list of types is allowed "
             "and nothing in it is run.", FREE),
        ),
        mind="weights_only=False is what many answers say: it runs whatever the file says. Only for files of your "
             "own.",
    ),
    Ailment(
        "The checkpoint is broken",
        said=r"PytorchStreamReader failed|not a ZIP archive|failed finding central directory|invalid load key|"
             r"UnpicklingError|Ran out of input|Unsupported operand \d+",
        means="The file is cut short or no checkpoint: a download that broke off, a save that was interrupted, a "
              "Git-LFS pointer or a web page in its place.",
        tries=(
            ("ls -l FILE and head -c 100 FILE: some hundred bytes of text are a pointer or a page. Download it again.",
             "time: minutes"),
            ("Take the checkpoint before it; tts_lab's own are renamed into place only when whole.",
             "time: the steps in between"),
        ),
    ),
    Ailment(
        "Too many open files",
        said=r"Too many open files|Errno 24\b",
        means="The system's limit of open files for a process is reached, as many workers or ranks share tensors by "
              "files.",
        tries=(
            ("ulimit -n 65536 in the shell that starts the run.", FREE),
            ("Lower workers.", "time: some"),
        ),
    ),
    Ailment(
        "The corpus came out empty or too small",
        said=r"No (training )?(utterances|batches)|num_samples should be a positive integer|n must be at least one|"
             r"corpus is too small|has no usable (training|validation) utterance",
        means="No utterance is left to train or to validate on: all were set aside, or the manifest was read wrongly.",
        tries=(
            ("`tts-lab lint` for the manifest; `tts-lab prepare` prints what it quarantined, each with its reason.",
             FREE),
            ("Record or cut more clips, of 2 to 12 seconds.", "time: hours"),
        ),
    ),
    Ailment(
        "ONNX Runtime refuses its input",
        said=r"onnxruntime.*(InvalidArgument|INVALID_ARGUMENT|Fail)|Got invalid dimensions for input|"
             r"Unexpected input data type|Invalid rank for input|Required inputs .* are missing",
        means="A voice was given other inputs than it has: int32 for int64 ids, or a speaker id where it has none.",
        tries=(
            ("`tts-lab inspect VOICE.onnx` lists what it wants; `tts-lab say` gives it that.", FREE),
            ("Keep the .onnx and its .onnx.json together: they are one voice.", FREE),
        ),
    ),
    Ailment(
        "The ONNX export failed",
        said=r"torch\.onnx\S*(Error|Exception)|OnnxExporterError|TorchExportError|UnsupportedOperatorError|"
             r"Failed to export the model|Exporting the operator .* is not supported|GuardOnDataDependentSymNode",
        means="The newer, dynamo exporter of PyTorch cannot follow VITS's lengths.",
        tries=(
            ("`tts-lab export`: it takes the exporter that can (dynamo=False) and compares the result with the model.",
             "time: a minute"),
        ),
    ),
)  # fmt: skip
