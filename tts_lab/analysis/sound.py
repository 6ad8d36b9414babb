"""The verdicts on how the recordings sound: silence, level, noise, band, room, pitch, and how even the voice is.

Limits without a source are this project's, set where its two public corpora, studio recordings of one voice each,
pass and where the fault can be heard; each rule states its own.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from tts_lab.analysis.statistics import rates
from tts_lab.analysis.table import kept
from tts_lab.analysis.verdict import ENOUGH, Verdict, too_few

SHORT, LONG = 1.0, 15.0
"""Seconds of a clip that is long enough to have a melody and short enough for a batch."""
PACE_SPREAD = 0.35
"""Share of its own expected pace that a clip may be off before it counts as odd."""
END_SILENCE, PAUSE = 0.5, 1.0
"""Seconds."""
LOUDNESS_SPREAD = 3.0
"""LU: standard deviation from clip to clip."""
CLEAN, NOISY = 30.0, 20.0
"""dB of speech over noise: what half the clips should pass, and what hardly one may fall below."""
BAND_SHARE = 0.8
"""Share of the band that the voice could speak, half its sample rate, which the recordings should fill. Studio speech
resampled with care ends at about 0.9."""
ROOM_SECONDS = 0.4
"""A furnished living room. The blind estimate falls short: put into rooms that decay in 0.4, 0.6 and 0.8 s, the
clips of Allison, at 0.14 s by themselves, come out at 0.31, 0.47 and 0.60 s."""
OTHER_VOICE = 5.0
"""Semitones that a clip's median pitch may be off its speaker's."""
FEW = 0.05
"""Share of clips that may break a rule for one clip."""


def sound_verdicts(table: pd.DataFrame, sample_rate: int, settings: Mapping[str, Any]) -> list[Verdict]:
    """Of the kept clips of `table`. `sample_rate` is the corpus's, and so the voice's; `settings` are `prepare`'s."""
    clips = kept(table.drop(columns=["text", "recording", "timbre", "heard"], errors="ignore"))
    judges: tuple[Callable[[pd.DataFrame], Verdict], ...] = (
        _duration, _pace, lambda c: _ends(c, bool(settings.get("trim", True))), _pauses, _loudness, _clipping, _noise,
        lambda c: _band(c, sample_rate), _room, _pitch, _heard,
    )  # fmt: skip
    return [judge(clips) for judge in judges]


def _values(clips: pd.DataFrame, column: str) -> pd.Series:
    values = clips[column].astype(float)
    return values[np.isfinite(values)]


def _share(broken: pd.Series) -> str:
    """Such as "7 of 349 clips (2 %)"."""
    return f"{int(broken.sum())} of {len(broken)} clips ({broken.mean():.0%})"


def _duration(clips: pd.DataFrame) -> Verdict:
    name = "durations"
    rule = f"Nine of ten clips last {SHORT:g} to {LONG:g} s."
    seconds = _values(clips, "seconds")
    if len(seconds) < ENOUGH:
        return too_few(name, rule, len(seconds))
    short, long = seconds < SHORT, seconds > LONG
    words = (
        f"Half last {seconds.quantile(0.25):.1f} to {seconds.quantile(0.75):.1f} s; "
        f"{int(short.sum())} are shorter than {SHORT:g} s, {int(long.sum())} longer than {LONG:g} s."
    )
    numbers = {"median": seconds.median(), "short": short.mean(), "long": long.mean()}
    return Verdict(name, bool((short | long).mean() <= 0.1), words, rule, numbers)


def _pace(clips: pd.DataFrame) -> Verdict:
    name = "speaking rate"
    rule = (
        f"At most {FEW:.0%} of the clips take {PACE_SPREAD:.0%} longer or shorter than their phonemes make expect "
        "(the median line of seconds by phonemes)."
    )
    data = clips[["seconds", "phonemes"]].dropna()
    if len(data) < ENOUGH:
        return too_few(name, rule, len(data))
    rate = rates(clips)["phonemes_a_second"].median()
    off = np.abs(np.log(data["seconds"] / _expected(data)))
    odd = off > np.log(1 + PACE_SPREAD)
    words = f"{rate:.1f} phonemes a second; {_share(odd)} are far from the usual pace"
    if odd.mean() > FEW:
        words += ": the reader hurries and drags, silence was left in, or text and recording do not belong together"
    numbers = {"phonemes_a_second": rate, "odd": odd.mean(), "spread": float(off.median())}
    return Verdict(name, bool(odd.mean() <= FEW), words + ".", rule, numbers)


def _expected(data: pd.DataFrame) -> pd.Series:
    """Seconds that the phonemes make expect, by the line through the medians of the shortest and the longest third.

    Short clips are slower by what silence and the pace of single words cost, so a plain rate would accuse them all;
    a line by medians (Tukey's resistant line) is not bent by the clips that are wrong.
    """
    thirds = data["phonemes"].quantile([1 / 3, 2 / 3]).to_numpy()
    low, high = data[data["phonemes"] <= thirds[0]], data[data["phonemes"] >= thirds[1]]
    run = high["phonemes"].median() - low["phonemes"].median()
    slope = max(0.0, (high["seconds"].median() - low["seconds"].median()) / run) if run else 0.0
    start = (data["seconds"] - slope * data["phonemes"]).median()
    return (start + slope * data["phonemes"]).clip(lower=0.1)


def _ends(clips: pd.DataFrame, trimmed: bool) -> Verdict:
    name = "silence at the ends"
    rule = f"At most {FEW:.0%} of the recordings start or end with more than {END_SILENCE} s of silence, or it is cut."
    data = clips[["lead_silence", "trail_silence"]].dropna()
    if len(data) < ENOUGH:
        return too_few(name, rule, len(data))
    long = data.max(axis=1) > END_SILENCE
    lead, trail = data["lead_silence"].median(), data["trail_silence"].median()
    words = f"{lead:.2f} s before and {trail:.2f} s after the speech in the middle; {_share(long)} have more than "
    words += f"{END_SILENCE} s at an end"
    if long.mean() > FEW:
        words += ", which `prepare` cut" if trimmed else ", and prepare's --trim is off: the voice will learn to wait"
    numbers = {"lead": lead, "trail": trail, "long": long.mean()}
    return Verdict(name, bool(trimmed or long.mean() <= FEW), words + ".", rule, numbers)


def _pauses(clips: pd.DataFrame) -> Verdict:
    name = "pauses inside"
    rule = f"At most {FEW:.0%} of the clips hold a pause over {PAUSE:g} s between words: trimming does not cut it."
    pauses = _values(clips, "longest_pause")
    if len(pauses) < ENOUGH:
        return too_few(name, rule, len(pauses))
    long = pauses > PAUSE
    words = f"{_share(long)} hold a pause over {PAUSE:g} s; the longest is {pauses.max():.1f} s."
    return Verdict(name, bool(long.mean() <= FEW), words, rule, {"long": long.mean(), "longest": pauses.max()})


def _loudness(clips: pd.DataFrame) -> Verdict:
    name = "loudness"
    rule = f"From clip to clip it differs by a standard deviation of at most {LOUDNESS_SPREAD:g} LU (as recorded)."
    values = _values(clips, "loudness")
    if len(values) < ENOUGH:
        return too_few(name, rule, len(values))
    spread = values.std()
    words = f"{values.median():.1f} LUFS in the middle, ± {spread:.1f} LU"
    if spread > LOUDNESS_SPREAD:
        words += ". Levelled by `prepare`, the quiet ones bring their noise up with them"
    return Verdict(
        name, bool(spread <= LOUDNESS_SPREAD), words + ".", rule, {"median": values.median(), "spread": spread}
    )


def _clipping(clips: pd.DataFrame) -> Verdict:
    name = "clipping"
    rule = "At most 1 % of the clips have samples cut off at the recording's limit, in more than one of 10,000."
    values = _values(clips, "clipped_share")
    if len(values) < ENOUGH:
        return too_few(name, rule, len(values))
    cut = values > 1e-4
    words = f"{_share(cut)} are clipped" + (": record with more headroom" if cut.mean() > 0.01 else "") + "."
    return Verdict(name, bool(cut.mean() <= 0.01), words, rule, {"clipped": cut.mean()})


def _noise(clips: pd.DataFrame) -> Verdict:
    name = "noise"
    rule = f"Half the clips have {CLEAN:g} dB of speech over noise or more, and at most {FEW:.0%} under {NOISY:g} dB."
    values = _values(clips, "snr")
    if len(values) < ENOUGH:
        return too_few(name, rule, len(values))
    noisy = values < NOISY
    ok = values.median() >= CLEAN and noisy.mean() <= FEW
    words = f"{values.median():.0f} dB in the middle; {_share(noisy)} are under {NOISY:g} dB"
    if not ok:
        words += ": the voice will hiss as they do"
    return Verdict(name, bool(ok), words + ".", rule, {"median": values.median(), "noisy": noisy.mean()})


def _band(clips: pd.DataFrame, sample_rate: int) -> Verdict:
    name = "bandwidth"
    top = sample_rate / 2
    rule = f"Speech reaches up to {BAND_SHARE:.0%} of the {top / 1000:g} kHz that a voice of {sample_rate} Hz can hold."
    values = _values(clips, "bandwidth")
    if len(values) < ENOUGH:
        return too_few(name, rule, len(values))
    middle, header = values.median(), float(clips["sample_rate"].median())
    words = f"Speech reaches up to {middle / 1000:.1f} kHz"
    ok = middle >= BAND_SHARE * top
    if header < sample_rate:
        words += (
            f". The recordings have {header:.0f} Hz; resampled to {sample_rate} Hz they gain nothing above "
            f"{header / 2000:g} kHz, so the voice will sound as dull as they do: a voice of {_piper_rate(header)} Hz "
            "would lose nothing and train faster"
        )
    elif not ok:
        words += (
            f", though the files have {header:.0f} Hz: they were once {_piper_rate(2 * middle)} Hz, or a phone, an "
            "MP3 or a noise filter took the rest"
        )
    narrow = values < 0.75 * middle
    if narrow.mean() > FEW:
        words += f"; {_share(narrow)} reach much less far than the others"
        ok = False
    return Verdict(name, bool(ok), words + ".", rule, {"median": middle, "voice": top, "narrow": narrow.mean()})


def _piper_rate(rate: float) -> int:
    return 16000 if rate <= 18000 else 22050


def _room(clips: pd.DataFrame) -> Verdict:
    name = "reverberation"
    rule = f"In half the clips, echo takes at most {ROOM_SECONDS:g} s to fall by 60 dB (estimated blindly)."
    values = _values(clips, "reverberation")
    if len(values) < ENOUGH:
        return too_few(name, rule, len(values))
    middle = values.median()
    words = f"About {middle:.2f} s in the middle"
    if middle > ROOM_SECONDS:
        words += ": the room will be part of the voice"
    return Verdict(name, bool(middle <= ROOM_SECONDS), words + ".", rule, {"median": middle})


def _pitch(clips: pd.DataFrame) -> Verdict:
    name = "pitch"
    rule = f"At most {FEW:.0%} of the clips lie over {OTHER_VOICE:g} semitones off their speaker's usual pitch."
    data = clips[["speaker", "pitch"]].dropna()
    data = data[data["pitch"] > 0]
    if len(data) < ENOUGH:
        return too_few(name, rule, len(data))
    steps = 12 * np.log2(data["pitch"] / data.groupby("speaker")["pitch"].transform("median"))
    off = steps.abs() > OTHER_VOICE
    words = f"{data['pitch'].median():.0f} Hz in the middle, ± {steps.std():.1f} semitones; {_share(off)} are far off"
    if off.mean() > FEW:
        words += ": another speaker, another mood, or music"
    numbers = {"median": data["pitch"].median(), "spread": steps.std(), "off": off.mean()}
    return Verdict(name, bool(off.mean() <= FEW), words + ".", rule, numbers)


def _heard(clips: pd.DataFrame) -> Verdict:
    name = "text and recording"
    rule = f"At most {FEW:.0%} of the clips that speech recognition listened to have half their words wrong."
    values = _values(clips, "word_errors")
    if len(values) < ENOUGH:
        return too_few(name, rule, len(values))
    wrong = values > 0.5
    words = f"{_share(wrong)} were heard as something else; {values.median():.0%} word errors in the middle."
    return Verdict(name, bool(wrong.mean() <= FEW), words, rule, {"wrong": wrong.mean(), "median": values.median()})
