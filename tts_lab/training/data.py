"""A corpus as batches of fixed shape, in an order that a resumed run finds again."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from tts_lab import buckets
from tts_lab.acoustics import PER_FRAME, kept_analysis
from tts_lab.corpus.corpus import Corpus, Utterance
from tts_lab.devices.processes import Processes
from tts_lab.errors import UserError
from tts_lab.features import host_spectrogram
from tts_lab.training.config import TrainConfig
from tts_lab.vits.config import ModelConfig
from tts_lab.vits.synthesizer import Batch

SINGLE = Processes()


def collate(
    corpus: Corpus,
    rows: Sequence[Sequence[Utterance]],
    bucket: buckets.Bucket,
    model: ModelConfig,
    draw: np.random.Generator,
    processes: Processes = SINGLE,
) -> Batch:
    """Pad ``rows`` to the bucket's shape and cut a random segment of each.

    A row of several utterances is their ids and their audio (whole frames of it) one after another.

    Args:
        rows: of all processes, as many for each; the batch has this one's, and only their audio is read.
        draw: decides the segments of all rows, so that a row's does not depend on who trains with it.
    """
    settings, segment = model.spectrogram, model.segment_frames
    hop = settings.hop_length
    phonemes = [sum(len(utterance.phoneme_ids) for utterance in row) for row in rows]
    frames = [sum(settings.frames(utterance.samples) for utterance in row) for row in rows]
    starts = [int(draw.integers(length - segment + 1)) for length in frames]
    count = len(rows) // processes.world
    own = slice(processes.rank * count, (processes.rank + 1) * count)
    rows, starts = rows[own], starts[own]
    texts = [[i for utterance in row for i in utterance.phoneme_ids] for row in rows]
    batch = Batch(
        phonemes=torch.zeros(len(rows), bucket.phonemes, dtype=torch.long),
        phoneme_lengths=torch.tensor(phonemes[own]),
        spectrogram=torch.zeros(len(rows), settings.bins, bucket.frames),
        frames=torch.tensor(frames[own]),
        starts=torch.tensor(starts),
        segment=torch.zeros(len(rows), 1, model.segment_samples),
        segment_spectrogram=torch.zeros(len(rows), settings.bins, segment),
    )
    acoustics = []
    for n, (row, text, start) in enumerate(zip(rows, texts, starts, strict=True)):
        clips = [corpus.waveform(utterance) for utterance in row]
        audio = torch.from_numpy(np.concatenate([clip[: len(clip) // hop * hop] for clip in clips]))
        spectrogram = host_spectrogram(audio, settings)
        batch.phonemes[n, : len(text)] = torch.tensor(text)
        batch.spectrogram[n, :, : spectrogram.shape[1]] = spectrogram
        batch.segment[n, 0] = audio[start * hop : (start + segment) * hop]
        batch.segment_spectrogram[n] = spectrogram[:, start : start + segment]
        if model.decoder == "source_filter":
            analysed = [kept_analysis(clip, settings, corpus.folder / "acoustics") for clip in clips]
            steps = slice(start * PER_FRAME, (start + segment) * PER_FRAME)
            acoustics.append(torch.from_numpy(np.concatenate(analysed, 1)[:, steps]).float())
    if acoustics:
        batch.acoustics = torch.stack(acoustics)
    if model.speakers > 1:
        batch.speakers = torch.tensor([corpus.speakers[row[0].speaker] for row in rows])
    if processes.world > 1:
        parts = [sum(lengths[own]) / sum(lengths) for lengths in (phonemes, frames)]
        batch.shares = torch.tensor(parts) * processes.world
    return batch


class TrainSteps(Dataset):
    """Step number to the batches of that step: a function of the seed and the number, nothing else."""

    def __init__(self, corpus: Corpus, utterances: list[Utterance], schedule: buckets.Schedule,
                 model: ModelConfig, config: TrainConfig, processes: Processes) -> None:  # fmt: skip
        self.corpus, self.utterances, self.schedule = corpus, utterances, schedule
        self.model, self.config, self.processes = model, config, processes

    def __getitem__(self, step: int) -> list[Batch]:
        accumulate = self.config.accumulate
        return [self._batch(step * accumulate + i) for i in range(accumulate)]

    def shapes(self, step: int) -> str:
        """The shapes of a step's batches, ``PHONEMESxFRAMES``, joined by a plus: its graph's name."""
        first = step * self.config.accumulate
        return "+".join(self._plan(first + i).bucket.shape for i in range(self.config.accumulate))

    def seconds(self, step: int) -> float:
        """Of recordings in a step, in all processes."""
        first = step * self.config.accumulate
        rows = [row for i in range(self.config.accumulate) for row in self._plan(first + i).rows]
        return sum(self.utterances[i].samples for row in rows for i in row) / self.model.sample_rate

    def ids(self, step: int) -> list[list[list[str]]]:
        """Of each batch of a step the utterances of each row that is this process's."""
        first, processes = step * self.config.accumulate, self.processes
        found = []
        for rows in (self._plan(first + i).rows for i in range(self.config.accumulate)):
            count = len(rows) // processes.world
            own = rows[processes.rank * count : (processes.rank + 1) * count]
            found.append([[self.utterances[i].id for i in row] for row in own])
        return found

    def _plan(self, number: int) -> buckets.BatchPlan:
        return self.schedule.batch(number % self.config.overfit_batches if self.config.overfit_batches else number)

    def _batch(self, number: int) -> Batch:
        plan = self._plan(number)
        draw = np.random.default_rng([self.config.seed, plan.number, 1])
        rows = [[self.utterances[i] for i in row] for row in plan.rows]
        return collate(self.corpus, rows, plan.bucket, self.model, draw, self.processes)


class ValidationBatches(Dataset):
    """The validation split in batches of the training shapes; a last batch is filled up from its own bucket."""

    def __init__(self, corpus: Corpus, utterances: list[Utterance], plan: Sequence[buckets.Bucket],
                 model: ModelConfig, config: TrainConfig, processes: Processes) -> None:  # fmt: skip
        self.corpus, self.utterances, self.model, self.config = corpus, utterances, model, config
        self.processes, size = processes, config.batch_size * processes.world
        self.batches = [
            (bucket, [bucket.rows[j % len(bucket.rows)] for j in range(first, first + size)])
            for bucket in plan
            for first in range(0, len(bucket.rows), size)
        ]

    def __len__(self) -> int:
        return len(self.batches)

    def shapes(self, index: int) -> str:
        """As ``TrainSteps.shapes``."""
        return self.batches[index][0].shape

    def __getitem__(self, index: int) -> Batch:
        bucket, chosen = self.batches[index]
        draw = np.random.default_rng([self.config.seed, index, 2])
        rows = [[self.utterances[i] for i in row] for row in chosen]
        return collate(self.corpus, rows, bucket, self.model, draw, self.processes)


class Steps(Sampler[int]):
    """The steps still to do. Its length is the whole run's, which is how Lightning knows where it stands."""

    def __init__(self, first: int, total: int) -> None:
        self.first, self.total = first, total

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.total))

    def __len__(self) -> int:
        return self.total


class CorpusData(L.LightningDataModule):
    """The data of a run: shapes planned, utterances that cannot be trained on set aside and named.

    Raises:
        UserError: nothing is left to train on or to validate with, or a speaker is unknown to the model.
    """

    def __init__(self, corpus: Corpus, model: ModelConfig, config: TrainConfig, processes: Processes = SINGLE) -> None:
        super().__init__()
        self.corpus, self.model, self.config, self.processes = corpus, model, config, processes
        self.first_step = 0
        self.set_aside: dict[str, str] = {}
        train = [u for u in corpus.train if self._trainable(u)][: config.limit_utterances or None]
        validation = [u for u in corpus.validation if self._trainable(u)]
        self._check(train, validation)
        self.utterances = train + validation
        self.lengths = [self._lengths(u) for u in self.utterances]
        groups = [(u.split, u.speaker, u.weight) for u in self.utterances]
        plan = buckets.plan(self.lengths, config.buckets, groups=groups)
        self.train_plan = self._of_split(plan, "train")
        self.validation_plan = self._of_split(plan, "validation")
        size, weights = config.batch_size * processes.world, [u.weight for u in self.utterances]
        self.schedule = buckets.Schedule(self.train_plan, size, config.seed, weights)
        self.steps_per_epoch = math.ceil(self.schedule.batches_per_epoch / config.accumulate)
        by_epochs = config.max_epochs * self.steps_per_epoch if config.max_epochs else math.inf
        self.total_steps = int(min(by_epochs, config.max_steps or math.inf))

    def describe(self) -> str:
        """The batch shapes, the padding they waste, the rows an update, and the utterances left out, in words."""
        size, accumulate, world = self.config.batch_size, self.config.accumulate, self.processes.world
        lines = [
            buckets.describe(self.train_plan, self.lengths, size),
            f"total train batch size: {size} a batch x {accumulate} accumulated x {world} processes = "
            f"{size * accumulate * world} rows an update",
        ]
        lines += [f"  left out: {name}: {reason}" for name, reason in self.set_aside.items()]
        return "\n".join([*lines, f"{self.steps_per_epoch} steps an epoch, {self.total_steps} steps in all"])

    def train_dataloader(self) -> DataLoader:
        steps = TrainSteps(self.corpus, self.utterances, self.schedule, self.model, self.config, self.processes)
        return self._loader(steps, Steps(self.first_step, self.total_steps))

    def val_dataloader(self) -> DataLoader:
        split = self.corpus, self.utterances, self.validation_plan
        return self._loader(ValidationBatches(*split, self.model, self.config, self.processes), None)

    def _loader(self, dataset: Dataset, sampler: Sampler | None) -> DataLoader:
        # Items are whole batches already, so the loader's own batching is off.
        return DataLoader(dataset, batch_size=None, sampler=sampler, num_workers=self.config.workers)

    def _of_split(self, plan: Sequence[buckets.Bucket], split: str) -> list[buckets.Bucket]:
        """The shapes with only that split's rows; shapes that are left without any are dropped."""
        own = [
            replace(bucket, rows=tuple(row for row in bucket.rows if self.utterances[row[0]].split == split))
            for bucket in plan
        ]
        return [bucket for bucket in own if bucket.rows]

    def _lengths(self, utterance: Utterance) -> tuple[int, int]:
        return len(utterance.phoneme_ids), self.model.spectrogram.frames(utterance.samples)

    def _trainable(self, utterance: Utterance) -> bool:
        phonemes, frames = self._lengths(utterance)
        if frames < self.model.segment_frames:
            self.set_aside[utterance.id] = f"{frames} frames, shorter than a segment ({self.model.segment_frames})"
        elif frames < phonemes:
            self.set_aside[utterance.id] = f"{phonemes} phonemes in {frames} frames: text and audio do not match"
        return utterance.id not in self.set_aside

    def _check(self, train: list[Utterance], validation: list[Utterance]) -> None:
        where = self.corpus.folder / "corpus.json"
        for name, split in (("training", train), ("validation", validation)):
            if not split:
                raise UserError(
                    f"{where} has no usable {name} utterance: the corpus is too small. Record more, or see what "
                    f"`tts-lab prepare` quarantined and why.\n"
                    + "\n".join(f"  {k}: {v}" for k, v in self.set_aside.items())
                )
        largest = max((i for u in train + validation for i in u.phoneme_ids), default=0)
        if largest >= self.model.symbols:
            raise UserError(
                f"{where} has phoneme id {largest}, the model has {self.model.symbols} symbols: prepare the corpus "
                "again with the base voice's symbols (`tts-lab prepare --voice`)"
            )
        if self.corpus.sample_rate != self.model.sample_rate:
            raise UserError(
                f"{where} is at {self.corpus.sample_rate} Hz, the model speaks at {self.model.sample_rate} Hz: "
                f"prepare it again with --sample-rate {self.model.sample_rate}"
            )
        if self.model.speakers > 1 and not self.corpus.speakers:
            raise UserError(
                f"{where} names no speaker, the model has {self.model.speakers}: give the manifest a speaker column "
                "(`id|speaker|text`), or start from a voice with one speaker"
            )
        if len(self.corpus.speakers) > 1 and len(self.corpus.speakers) > self.model.speakers:
            raise UserError(
                f"{where} has {len(self.corpus.speakers)} speakers, the model {self.model.speakers}: start without "
                "a warm start, or from a voice with that many speakers"
            )
