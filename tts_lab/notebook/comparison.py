"""Voices beside the speaker: the same sentences from each, where the recordings are, and how each scores.

Notebook 04 begins a comparison with the base voice and the checkpoints, 08 adds the exported voice; what they know
together is `evaluation.json`, which the report reads. Its layout is in `tts_lab.notebook.report`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import soundfile

from tts_lab.corpus.corpus import Corpus
from tts_lab.corpus.wholefile import write_atomically
from tts_lab.errors import UserError
from tts_lab.evaluation import metrics
from tts_lab.evaluation.listening import evaluate, first_clips
from tts_lab.notebook import players, plots
from tts_lab.notebook.markup import Html, table

SPEAKER = "speaker"
COLUMNS = {
    "label": ("voice", "{}"),
    "pitch_hz": ("median pitch", "{:.0f} Hz"),
    "similarity": ("likeness", "{:.2f}"),
    "wer": ("words misheard", "{:.1%}"),
    "mos": ("naturalness", "{:.2f}"),
    "seconds_per_word": ("a word takes", "{:.2f} s"),
}


@dataclass
class Comparison:
    """The fields are those of `evaluation.json`, paths relative to its folder, `workspace`."""

    workspace: Path
    sentences: list[str]
    """Unseen sentences, said by every voice."""
    held_out: dict
    """sentences: what the speaker says in clips kept out of training; wavs: a list for each label."""
    human: dict
    """The speaker's scores on those clips."""
    scores: list[dict] = field(default_factory=list)
    """A row for each voice, the base voice first."""
    more: dict = field(default_factory=dict)
    """voice, parity, credits: whatever else the report shows."""

    @classmethod
    def begin(cls, workspace: Path, corpus: Corpus, sentences: Sequence[str], at_most: int = 8) -> Comparison:
        """Write the speaker's held-out clips as WAV files (`human/`), score them, and compare nothing yet.

        At most `at_most` clips. The speaker's own likeness is that of each clip to the others, so that no clip is
        compared with itself. Raises `UserError` where fewer than two clips are held out.
        """
        chosen = first_clips(corpus, corpus.validation, at_most)
        folder = workspace / "human"
        folder.mkdir(parents=True, exist_ok=True)
        wavs, texts = [folder / f"{clip.id}.wav" for clip in chosen], [clip.text for clip in chosen]
        for clip, wav in zip(chosen, wavs, strict=True):
            soundfile.write(wav, corpus.waveform(clip), corpus.sample_rate, subtype="PCM_16")
        one = cls(workspace, list(sentences), {"sentences": texts, "wavs": {}}, {})
        one.human = one._row(SPEAKER, wavs, texts, wavs)
        one.human["similarity"] = metrics.similarity_to_the_others(wavs)
        one.held_out["wavs"][SPEAKER] = one.human["wavs"]
        return one

    def add(self, label: str, wavs: Sequence[Path], held_out: Sequence[Path], step: int | None = None) -> dict:
        """Score a voice that has said `sentences` in `wavs` and the speaker's held-out sentences in `held_out`."""
        human = [self.workspace / wav for wav in self.human["wavs"]]
        row = {"step": step, **self._row(label, wavs, self.sentences, human)}
        self.scores = [other for other in self.scores if other["label"] != label] + [row]
        self.held_out["wavs"][label] = [self._relative(wav) for wav in held_out]
        return row

    def _row(self, label: str, wavs: Sequence[Path], texts: Sequence[str], human: Sequence[Path]) -> dict:
        return {
            **evaluate(label, wavs, texts, human).to_dict(),
            "wavs": [self._relative(wav) for wav in wavs],
            "pitches": [metrics.known(metrics.median_pitch([wav])) for wav in wavs],
        }

    def _relative(self, wav: Path) -> str:
        return Path(os.path.relpath(wav, self.workspace)).as_posix()

    def table(self) -> Html:
        """The scores, a row for each voice and the speaker last."""
        rows = [{name: row[key] for key, (name, _) in COLUMNS.items()} for row in [*self.scores, self.human]]
        return table(rows, **dict(COLUMNS.values()))

    def listen(self, first: int = 3) -> Html:
        """Players: the speaker's held-out clips and every voice saying the same."""
        columns = {
            label: [self.workspace / wav for wav in wavs[:first]] for label, wavs in self.held_out["wavs"].items()
        }
        return players.grid(self.held_out["sentences"][:first], columns)

    def pitch(self) -> plots.Picture:
        """A dot for each sentence, a line for each voice, the speaker's median dashed."""
        hertz = {row["label"]: [p for p in row["pitches"] if p] for row in [self.human, *self.scores]}
        return plots.pitch({label: values for label, values in hertz.items() if values}, SPEAKER)

    def bars(self) -> plots.Picture:
        """The four measures as bars."""
        return plots.scores(self.scores, self.human)

    def save(self) -> Path:
        """Write `evaluation.json`, whole or not at all."""
        content = asdict(self) | self.more
        del content["workspace"], content["more"]
        path = self.workspace / "evaluation.json"
        write_atomically(path, (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode())
        return path

    @classmethod
    def load(cls, workspace: Path) -> Comparison:
        """Go on from `evaluation.json`. Raises UserError if there is none."""
        path = workspace / "evaluation.json"
        if not path.is_file():
            raise UserError(f"{path} is missing: run notebook 04 first, it compares the checkpoints.")
        content = json.loads(path.read_text(encoding="utf-8"))
        known = {name: content.pop(name) for name in ("sentences", "held_out", "human", "scores")}
        return cls(workspace, **known, more=content)
