"""The settings of a run: one typed dataclass, from YAML or JSON and flags, checked as a whole."""

import os
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from tts_lab.corpus.wholefile import write_atomically
from tts_lab.errors import UserError
from tts_lab.voices.best import HEARD

VALIDATED = ("val_mel", "val_kl", "val_duration")  # what a validation measures; all are better smaller
DEFAULT_SENTENCES = [
    "The harbour was quiet, and every boat had come home before the storm.",
    "Please leave your name and number after the tone.",
    "She measured the flour twice, because the first loaf had not risen.",
]


@dataclass
class Stage:
    """A part of a run that trains in its own way. What is left out is as the run says."""

    share: float = 1.0
    """Its part of the run's steps, beside the shares of the other stages."""
    freeze: list[str] | None = None
    """As in the run."""
    learning_rate: float | None = None
    """As in the run; the schedule begins anew with each stage."""
    learning_rate_d: float | None = None
    """As in the run."""
    free_running: float | None = None
    """As in the run."""
    adversarial_from: int | None = None
    """As in the run, counted from the stage's first step; its share in steps or more for no discriminators."""
    patience: int | None = None
    """As in the run: ends the stage, and the next begins."""


@dataclass
class TrainConfig:
    """A training run.

    Raises:
        UserError: on construction, listing every setting that cannot work.
    """

    corpus: Path
    """Folder that `tts-lab prepare` made."""
    run: Path = Path("run")
    """Folder the run writes: config, metrics, samples, checkpoints."""

    preset: Literal["tiny", "x-low", "low", "medium", "high"] | None = None
    """Size of the model; left out, that of what it starts from, or medium."""
    decoder: Literal["hifigan", "source_filter"] | None = None
    """What makes audio of the latent; left out, that of what it starts from, or hifigan. source_filter learns a voice
    in minutes, and begins anew where the start has the other; its checkpoints no longer fit Piper's own trainer, its
    exported voices speak in Piper all the same."""
    noise_scale: float | None = None
    """How far from the prior's mean the voice speaks, in standard deviations: 0 says a text always the same way. Left
    out, as what it starts from, or 0.667, Piper's. Training has no use for it but in rows of `free_running`."""
    start_from: str | Path = "scratch"
    """scratch, a voice (NAME.onnx, or a name Piper publishes), a checkpoint (ours or Piper's), or a run's folder."""
    start_speaker: str | None = None
    """Of a start with several speakers, by name or id, the one new speakers begin as; the first if left out."""
    posterior_steps: int | None = None
    """Of a start from a voice: updates that recover its posterior encoder, 300 if left out; 0 leaves it random."""
    voice_cache: Path = Path("build/voices")
    """Folder of voices that were started from: they are adopted once."""
    warm_start_threshold: float = 0.5
    """Refuse a start that fills less than this share of the generator, the parts of `reinitialise` aside."""
    match_pace: bool = False
    """Before the first step, shift all durations that the voice predicts by one factor, so that it says the corpus's
    texts in the time of its recordings. The rhythm stays the start's until the duration predictor is trained."""
    reinitialise: list[str] = field(default_factory=list)
    """Parts of the generator that start fresh, whatever the start holds, named as for `freeze`."""
    freeze: list[str] = field(default_factory=list)
    """Parts of the generator to leave as they are: any of enc_p, dp, enc_q, flow, dec, or longer names."""

    max_steps: int | None = None
    """Parameter updates in the whole run, resumed or not."""
    max_epochs: int | None = None
    """The same in passes over the corpus; the smaller of the two counts."""
    stop_after_hours: float | None = None
    """Hours after which this start of the run ends with a checkpoint, before a job's time limit ends it; the same
    command goes on."""
    batch_size: int = 16
    """Utterances a batch."""
    accumulate: int = 1
    """Batches an update: the gradient of the mean."""
    segment_frames: int | None = None
    """Frames decoded in a step, 32 if left out. Without discriminators more cost little and teach the decoder more."""
    buckets: int = 4
    """Batch shapes at most; each is one compiled graph on Trainium."""

    learning_rate: float = 2e-4
    """Of the generator (AdamW)."""
    learning_rate_d: float = 1e-4
    """Of the discriminators (AdamW)."""
    schedule: Literal["exponential", "cosine", "constant"] = "exponential"
    """How the rates move after the warm-up."""
    lr_decay: float = 0.999875
    """Factor an epoch of the exponential schedule, applied a little at every step."""
    warmup_steps: int = 0
    """Steps over which the rates rise from zero."""
    clip: float | None = None
    """Greatest gradient norm of the generator, and of the discriminators; norms are logged either way."""
    adversarial_from: int = 0
    """Step at which the discriminators join; before it the mel, KL and duration losses train alone."""
    free_running: float = 0.0
    """Share of a batch's rows whose segment is decoded from the text, as the voice will speak, and not from the
    recording: for a stage in which the decoder alone is trained, which then learns to be clear on its own."""
    discriminator_divisor: int | None = None
    """Divides the discriminators' channels. 1 is Piper's; 4 has a twelfth of the weights, for where they cost most."""
    discriminator_gain: float | None = None
    """Multiplies the audio that the discriminators hear, 1 in Piper. 10 where they begin from nothing: they learn in
    tens of steps what takes them hundreds."""
    stages: list[Stage] = field(default_factory=list)
    """Parts of the run, one after another; none: the run is one."""
    patience: int | None = None
    """Validations in a row without a better `keep_by` after which the run, or its stage, ends; left out: never."""
    least_gain: float = 0.002
    """For `patience`: a validation is better when `keep_by` is better by more than this."""
    precision: Literal["32", "bf16", "auto"] = "32"
    """bf16 runs the convolutions in bfloat16; spectra, flows and losses stay in float32. auto: where it is native."""

    convolutions: Literal["native", "products"] = "native"
    """products: those that trn1's compiler may refuse or get wrong become matrix products; the preflight says which."""

    alignment: Literal["device", "host"] = "device"
    """Where xla and neuron search the alignment. host: a second graph a shape, and the device waits in between."""

    validate_every: int = 500
    """Steps between validations."""
    sample_every: int = 500
    """Steps between samples: the fixed sentences and validation clips spoken, and the clips' alignment scored."""
    sample_clips: int = 3
    """Validation clips among the samples, teacher-forced and free-running, the same in all of a run."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    keep: int = 3
    """Checkpoints kept by ``keep_by``, besides the last."""
    keep_by: str = "val_mel"
    """What they are kept by: val_mel, val_kl or val_duration, the smallest; or val_mos, how natural `sentences` sound
    (DistillMOS, of the `eval` extra), the greatest. Named here it is measured at every validation."""
    keep_steps: list[int] = field(default_factory=list)
    """Steps whose checkpoints are kept whatever their score."""
    disk_gb: float | None = None
    """GB the run folder may fill: beyond it the oldest samples make room, but for the first. TensorBoard then has none
    of them. Left out, all stay."""
    log_every: int = 10
    """Steps between rows of metrics.csv."""
    loggers: list[Literal["wandb", "comet"]] = field(default_factory=list)
    """Where else to log, besides metrics.csv and TensorBoard: Weights & Biases, Comet, where they are installed."""
    sentences: list[str] = field(default_factory=lambda: list(DEFAULT_SENTENCES))
    """What the samples say: sentences that are not in the corpus."""

    mirror: str | None = None
    """Where the run folder is kept off this machine, s3://BUCKET/PREFIX or any address of fsspec's: sent while it
    trains, and fetched by the same command where the folder is empty or older. s3:// needs the extra `aws`."""

    bad_numbers: Literal["stop", "skip"] = "stop"
    """When a loss or a gradient is no finite number the step is not taken. stop: end the run there, with a checkpoint;
    skip: go on with the next. Both write bad-STEP.pt into the run folder, which `tts-lab reproduce` shows again."""

    overfit_batches: int = 0
    """Debugging: repeat only the first so many batches; 0 for off. The losses must then fall fast."""
    limit_utterances: int = 0
    """Debugging: use only the first so many training utterances; 0 for all."""
    debug: Literal["verbose", "anomaly", "profile"] | None = None
    """Debugging, on cpu and cuda: verbose says what each part makes and how strong its gradient is; anomaly names the
    line of Python that makes a NaN, in steps ten times as long; profile says where the time of a step goes."""
    seed: int = 1234
    """Decides initial weights, data order, segments, noise and dropout."""
    workers: int = 1
    """Data loading processes."""
    accelerator: Literal["auto", "cpu", "cuda", "xla", "neuron"] = "auto"
    """Where to train. xla: torch-xla's CPU client, to try what trn1 would do; neuron: a NeuronCore of trn1."""
    neuron_cores: int | None = None
    """neuron: cores this process takes (NEURON_RT_NUM_CORES): it trains on one, and by default holds them all."""
    stochastic_rounding: bool = False
    """neuron: round to bfloat16 up or down by chance, right on average (NEURON_RT_STOCHASTIC_ROUNDING_EN)."""
    compiler_flags: str = ""
    """neuron: of its compiler (NEURON_CC_FLAGS), as `--optlevel=1`; from SDK 2.33 `--implicit-integer-downcast=all`."""
    compile_cache: str | None = None
    """neuron: folder or s3:// address that keeps compiled graphs for later runs (NEURON_COMPILE_CACHE_URL)."""
    replay: bool = True
    """Run steps of known shape without tracing them (xla and neuron); off, if a device should balk at it."""
    recompile: Literal["warn", "error"] = "warn"
    """What to do when a known batch shape compiles again (xla and neuron)."""
    resume: str = "auto"
    """auto: from the newest checkpoint in the run folder, if any; never: refuse a used folder; or a checkpoint."""

    def __post_init__(self) -> None:
        from tts_lab.devices.environment import conflicts  # brings torch, which the command starts without
        from tts_lab.training.loggers import missing
        from tts_lab.training.mirror.remote import problems as problems_of_mirror

        # The parser lets null through, whatever the type.
        required = (field.name for field in fields(self) if field.default is not None)
        if empty := [name for name in required if getattr(self, name) is None]:
            raise UserError(f"this configuration cannot run: {', '.join(empty)} may not be null; leave it out")
        self.corpus, self.run, self.voice_cache = map(Path, (self.corpus, self.run, self.voice_cache))
        self.stages = [Stage(**stage) if isinstance(stage, dict) else stage for stage in self.stages]  # of a file
        problems = conflicts(self.precision, self.stochastic_rounding, self.compiler_flags, self.compile_cache)
        positive = ("batch_size", "accumulate", "buckets", "validate_every", "sample_every", "checkpoint_every",
                    "log_every", "learning_rate", "learning_rate_d", "lr_decay")  # fmt: skip
        problems += [
            f"{name} is {getattr(self, name)}; it must be above zero" for name in positive if getattr(self, name) <= 0
        ]
        not_negative = ("warmup_steps", "adversarial_from", "overfit_batches", "limit_utterances", "workers", "keep",
                        "sample_clips")  # fmt: skip
        problems += [
            f"{name} is {getattr(self, name)}; it must not be negative"
            for name in not_negative
            if getattr(self, name) < 0
        ]
        if self.max_steps is None and self.max_epochs is None:
            problems.append("neither max_steps nor max_epochs is given; one must say when to stop")
        for name in ("max_steps", "max_epochs", "segment_frames", "neuron_cores", "discriminator_divisor", "patience"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                problems.append(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.keep_by in ("loss_g", "loss_d", "adversarial", "feature"):
            problems.append(
                f"keep_by is {self.keep_by}: generator and discriminators pull it both ways, so its fall or rise does "
                f"not tell how good the voice is; take {' or '.join(VALIDATED)}"
            )
        elif self.keep_by not in (*VALIDATED, HEARD):
            problems.append(f"keep_by is {self.keep_by!r}: a validation measures {', '.join(VALIDATED)} and {HEARD}")
        elif self.keep_by == HEARD and not self.sentences:
            problems.append(f"keep_by is {HEARD}, and sentences is empty: there is nothing to hear")
        problems += missing(self.loggers)
        problems += problems_of_mirror(self.mirror, Path(self.run))
        if self.least_gain < 0:
            problems.append(f"least_gain is {self.least_gain}; it must not be negative")
        for name in ("stop_after_hours", "disk_gb"):
            if getattr(self, name) is not None and getattr(self, name) <= 0:
                problems.append(f"{name} is {getattr(self, name)}; it must be above zero")
        if self.noise_scale is not None and not 0 <= self.noise_scale <= 1:
            problems.append(f"noise_scale is {self.noise_scale}; it must be 0 to 1")
        if not all(0 <= share <= 1 for share in (self.free_running, *(s.free_running or 0 for s in self.stages))):
            problems.append("free_running is a share of the rows, 0 to 1")
        if self.lr_decay > 1:
            problems.append(f"lr_decay is {self.lr_decay}; above 1 the learning rate would grow every epoch")
        if self.clip is not None and self.clip <= 0:
            problems.append(f"clip is {self.clip}; it must be above zero, or null for no clipping")
        if self.discriminator_gain is not None and self.discriminator_gain <= 0:
            problems.append(f"discriminator_gain is {self.discriminator_gain}; it must be above zero, 1 is Piper's")
        if self.resume not in ("auto", "never") and not os.path.isfile(self.resume):
            problems.append(f"resume is {self.resume!r}: neither auto, never nor a checkpoint file")
        if self.debug and self.accelerator in ("xla", "neuron"):
            problems.append(
                f"debug is {self.debug}: it looks into a step, of which {self.accelerator} shows nothing before the "
                "end; take accelerator cpu for the hunt"
            )
        if any(stage.share is None or not stage.share > 0 for stage in self.stages):
            problems.append("a stage has a share that is not above zero")
        problems += self._problems_of_start()
        if not os.path.isfile(Path(self.corpus) / "corpus.json"):  # which a name too long for the system is not
            problems.append(f"corpus: no corpus.json in {self.corpus}; make it with `tts-lab prepare`")
        if problems:
            raise UserError("this configuration cannot run:\n" + "\n".join(f"  - {problem}" for problem in problems))

    def _problems_of_start(self) -> list[str]:
        problems, kind = [], "scratch"
        if str(self.start_from) != "scratch":
            from tts_lab.voices.start import find_start

            try:
                kind = find_start(self.start_from).kind
            except UserError as error:
                problems.append(str(error))
        elif self.reinitialise:
            problems.append(f"reinitialise names {', '.join(self.reinitialise)}, but from scratch all parts are fresh")
        if self.posterior_steps is not None and self.posterior_steps < 0:
            problems.append(f"posterior_steps is {self.posterior_steps}; it must not be negative")
        elif self.posterior_steps is not None and kind != "voice":
            problems.append("posterior_steps is given, but only a start from an .onnx voice lacks a posterior encoder")
        if self.start_speaker is not None and kind == "scratch" and not problems:
            problems.append(f"start_speaker is {self.start_speaker!r}, but a start from scratch has no speakers")
        stuck = [
            (part, frozen)
            for part in self.reinitialise
            for frozen in self.freeze
            if f"{part}.".startswith(f"{frozen}.") or f"{frozen}.".startswith(f"{part}.")
        ]
        problems += [
            f"reinitialise names {part} and freeze {frozen}: fresh weights that may not learn" for part, frozen in stuck
        ]
        return problems

    @classmethod
    def recorded(cls, content: dict[str, Any]) -> "TrainConfig":
        """As ``to_dict`` wrote it, unchecked: what it names may be elsewhere by now. What it lacks is the default's."""
        config = object.__new__(cls)
        for known in fields(cls):
            made = known.default_factory() if known.default_factory is not MISSING else known.default
            setattr(config, known.name, content.get(known.name, made))
        config.corpus, config.run = Path(content["corpus"]), Path(content["run"])
        config.stages = [Stage(**stage) for stage in config.stages]
        return config

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, as written to ``config.yaml``."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}

    def save(self, path: Path) -> Path:
        """Write it as the YAML that ``--config`` reads, and return ``path``."""
        import yaml

        write_atomically(path, yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True).encode())
        return path
