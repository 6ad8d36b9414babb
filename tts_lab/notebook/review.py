"""A panel in a notebook to look at clips, listen to them and decide: keep, fix the text, cut, reject.

Every decision is on the disk (`review.jsonl` in the corpus folder) before the button comes up again, so a kernel may
die at any time; a new panel goes on. `tts-lab prepare` follows what was decided. Only the rows on screen exist: their
audio is inside their widgets, and goes when the page is turned.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from html import escape
from io import BytesIO

import ipywidgets as widgets
import pandas as pd
import soundfile

from tts_lab.corpus.decisions import Decisions
from tts_lab.errors import UserError
from tts_lab.notebook import plots
from tts_lab.notebook.clip_picture import HEIGHT, WIDTH, clip_picture
from tts_lab.notebook.players import PAGE_FOLDER_VARIABLE
from tts_lab.notebook.review_list import Clip, progress, review_list, told, why
from tts_lab.notebook.review_page import clip_markup

WHY = ("wrong words", "noise", "another speaker", "clipped", "echo", "music", "badly spoken")
_WIDE = widgets.Layout(width=f"{WIDTH}px")


class ReviewPanel(widgets.VBox):
    """Rows of a ranked table, a page at a time, each with its buttons."""

    def __init__(self, table: pd.DataFrame, decisions: Decisions, rows: int = 8) -> None:
        """Show `rows` clips of `table` (ranked by `tts_lab.analysis.ranking.rank`) at a time.

        `decisions` are those made so far (`Decisions.load(corpus folder)`); the clips they are about come last.
        Raises `UserError` if the table is not ranked.
        """
        self.decisions = decisions
        self.clips = review_list(table, decisions)
        self.per_page = max(1, rows)
        self.page = 0
        self.rows: list[ClipRow] = []
        """Those on screen."""
        self.status = widgets.HTML()
        self.where = widgets.Label()
        self.previous = widgets.Button(description="previous", icon="arrow-left")
        self.next = widgets.Button(description="next", icon="arrow-right")
        self.previous.on_click(lambda _: self.turn(self.page - 1))
        self.next.on_click(lambda _: self.turn(self.page + 1))
        self._list = widgets.VBox()
        super().__init__([self.status, widgets.HBox([self.previous, self.next, self.where]), self._list])
        self.turn(0)

    @property
    def pages(self) -> int:
        """How many there are."""
        return max(1, -(-len(self.clips) // self.per_page))

    def turn(self, page: int) -> None:
        """Show that page, counted from 0; past either end nothing moves."""
        self.page = min(max(page, 0), self.pages - 1)
        gone, first = self.rows, self.page * self.per_page
        self.rows = [ClipRow(clip, self.decisions, self._tell) for clip in self.clips[first : first + self.per_page]]
        self._list.children = self.rows
        for row in gone:  # or every page ever shown stays in the kernel's and the browser's memory
            row.close_all()
        self.previous.disabled, self.next.disabled = self.page == 0, self.page == self.pages - 1
        last = min(first + self.per_page, len(self.clips))
        self.where.value = f"clips {first + 1} to {last} of {len(self.clips)}" if self.clips else "no clips"
        self._tell()

    def _tell(self) -> None:
        saved = f"Saved in <code>{escape(str(self.decisions.path))}</code> as they are made."
        broken = "".join(f"<br>{escape(problem)}" for problem in self.decisions.problems)
        self.status.value = f"<b>{escape(progress(self.clips, self.decisions))}.</b> {saved}{broken}"

    def _repr_mimebundle_(self, **options) -> dict[str, str]:
        """In a copy executed by the runner there is no kernel to press buttons for: it gets the page as it stands."""
        if PAGE_FOLDER_VARIABLE not in os.environ:
            return super()._repr_mimebundle_(**options)
        shown = [clip_markup(row.clip, told(row.decision), picture=bytes(row.picture.value)) for row in self.rows]
        return {"text/plain": repr(self), "text/html": "\n".join([f"<p>{self.status.value}</p>", *shown])}

    def __repr__(self) -> str:
        return f"ReviewPanel({progress(self.clips, self.decisions)})"


class ClipRow(widgets.VBox):
    """One clip with its player, picture, text and buttons."""

    def __init__(self, clip: Clip, decisions: Decisions, changed: Callable[[], None] = lambda: None) -> None:
        """Show `clip`; `changed` is called after each decision."""
        self.clip, self.decisions, self._changed = clip, decisions, changed
        self.picture = widgets.Image(format="png", layout=widgets.Layout(width=f"{WIDTH}px", height=f"{HEIGHT}px"))
        self.player = widgets.Audio(autoplay=False, loop=False)
        self.text = widgets.Textarea(layout=_WIDE, rows=2)
        self.state = widgets.HTML()
        self.reason = widgets.Combobox(placeholder="why it is rejected", options=WHY, ensure_option=False)
        self._read()
        longest = max(self.seconds, 0.01)
        self.slider = widgets.FloatRangeSlider(
            value=(0, longest), min=0, max=longest, step=0.01, readout_format=".2f", disabled=self._samples is None,
            # As long as the picture above it; the readout stands to the right of both.
            layout=widgets.Layout(width=f"{WIDTH + 80}px"),
        )  # fmt: skip
        buttons = {
            name: widgets.Button(description=name, button_style=style, layout=widgets.Layout(width="auto"))
            for name, style in (
                ("keep", "success"), ("fix text", "info"), ("cut", "warning"), ("reject", "danger"),
                ("hear cut", ""), ("undo", ""),
            )
        }  # fmt: skip
        self.keep, self.fix, self.cut, self.reject, self.hear, self.undo = buttons.values()
        self.keep.on_click(lambda _: self._decide("keep"))
        self.fix.on_click(lambda _: self._decide("text"))
        self.cut.on_click(lambda _: self._decide("cut"))
        self.reject.on_click(lambda _: self._decide("reject"))
        self.hear.on_click(lambda _: self._play(self.slider.value))
        self.undo.on_click(lambda _: self._undo())
        self.cut.disabled = self.hear.disabled = self._samples is None
        heading = f"<b>{escape(clip.id)}</b> · {escape(clip.figures)}{why(clip)}"
        super().__init__(
            [
                widgets.HTML(heading), self.picture, self.slider, self.player, self.text,
                widgets.HBox([self.keep, self.fix, self.cut, self.hear, self.reject, self.reason, self.undo]),
                self.state,
            ],
            layout=widgets.Layout(border_top="1px solid #8888", padding="8px 0"),
        )  # fmt: skip
        self._refresh()

    @property
    def decision(self):
        """What stands about this clip."""
        return self.clip.standing(self.decisions)

    def close_all(self) -> None:
        """Close this row and everything in it."""
        for widget in (*self.children, *self.children[-2].children, self):
            widget.close()

    def _read(self) -> None:
        path, self._samples, self.seconds, self._silent = self.clip.recording, None, 0.0, ""
        if path is None:
            self._silent = "There is no recording for this line."
            return
        try:
            self._samples, self._rate = plots.read_mono(path)
            self.seconds = len(self._samples) / self._rate
        except (OSError, soundfile.SoundFileError) as error:
            self._silent = f"{path} cannot be read: {error}."
        if not self.seconds:
            self._samples, self._silent = None, self._silent or f"{path} is empty."

    def _decide(self, action: str) -> None:
        shown = self.decision.text if self.decision and self.decision.text else self.clip.text
        text = None if " ".join(self.text.value.split()) == shown else self.text.value
        begin, end = self.slider.value if action == "cut" else (None, None)
        if action == "text" and text is None:
            return self._say("The text is as it was: change it first, then press “fix text”.")
        if action == "cut" and end - begin >= self.seconds - 0.01 and not (self.decision and self.decision.cut):
            return self._say("Move the ends of the slider under the picture first, then press “cut”.")
        reason = self.reason.value if action == "reject" else ""
        try:
            # An edited text is saved with whatever is pressed, so that turning the page does not lose it.
            self.decisions.decide(
                self.clip.id, action, about=self.clip.text, recording=self.clip.recording or "",
                text=text, begin=begin, end=end, reason=reason,
            )  # fmt: skip
        except UserError as error:
            return self._say(str(error))
        self._refresh()
        self._changed()

    def _undo(self) -> None:
        try:
            self.decisions.undo(self.clip.id)
        except UserError as error:
            return self._say(str(error))
        self._refresh()
        self._changed()

    def _say(self, trouble: str) -> None:
        self.state.value = f'<span style="color:#d55e00">{escape(trouble)}</span>'

    def _refresh(self) -> None:
        decision = self.decision
        self.text.value = decision.text if decision and decision.text else self.clip.text
        self.undo.disabled = self.decisions.of(self.clip.id) is None
        self.state.value = f"<b>{escape(told(decision))}</b>"
        if decision is None and self.decisions.of(self.clip.id):
            self._say("What was decided was about another text or recording. Decide again.")
        if self._samples is None:
            return self._say(f"{self._silent} {told(decision)}")
        cut = decision.cut if decision else None
        self.slider.value = cut or (0, self.seconds)
        self.picture.value = clip_picture(self._samples, self._rate, cut)
        self._play(cut)

    def _play(self, cut: tuple[float, float] | None) -> None:
        """Put the recording into the player: the file as it is, or the stretch `cut` of it."""
        path = self.clip.recording
        if cut is None:
            self.player.format, self.player.value = path.suffix[1:].lower(), path.read_bytes()
            return
        first, last = (round(second * self._rate) for second in cut)
        wav = BytesIO()
        soundfile.write(wav, self._samples[first:last], self._rate, format="WAV")
        self.player.format, self.player.value = "wav", wav.getvalue()
