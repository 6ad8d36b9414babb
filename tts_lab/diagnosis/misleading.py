"""Advice that goes round and does not hold: what somebody types who has read it, and what is right instead."""

from tts_lab.diagnosis.ailment import Ailment
from tts_lab.diagnosis.messages import FREE

MISLEADING = (
    Ailment(
        "Anomaly detection in another process",
        asked=r"set_detect_anomaly|detect[_ ]anomaly",
        means="torch.autograd.set_detect_anomaly(True) holds for the process that calls it. In a `python -c` before "
              "the run it does nothing at all.",
        tries=(
            ("debug anomaly, with overfit_batches 1: it is on in the process that trains, and sees the way forward.",
             "time: each step some ten times as long, so only for the hunt"),
        ),
    ),
    Ailment(
        "model.half() for VITS",
        asked=r"\bmodel\.half\(\)|\.half\(\)",
        means="float16 ends at 65504: the spline, the logarithms of the KL and the losses overflow, and the small "
              "updates of AdamW are rounded to nothing. The voice breaks, sooner or later.",
        tries=(
            ("Weights in float32, precision bf16: only the convolutions are rounded.",
             "quality: a little; time: faster where bf16 is native"),
        ),
    ),
    Ailment(
        "Stopping on the total loss",
        asked=r"\b(total|validation|val|generator|overall)[ _]loss\b|\bloss_g\b|\b(when|should i) (to )?stop\b|"
              r"\bearly stopping\b",
        means="The total holds the adversarial terms: generator and discriminators move each other's goal, so it "
              "rises while a voice gets better and falls while it gets worse. Nothing can be read from it.",
        tries=(
            ("Go by val_mel, and by listening: `tts-lab advise`, better after `tts-lab evaluate`.", "time: minutes"),
            ("patience ends a run when val_mel has come to rest.", FREE),
        ),
    ),
    Ailment(
        "A published voice where a checkpoint is asked for",
        asked=r"download_voices",
        means="python -m piper.download_voices brings a voice (.onnx), which Piper's trainer cannot go on from.",
        tries=(
            ("start_from VOICE.onnx: tts_lab makes a checkpoint of it (`tts-lab adopt`) and recovers the part that a "
             "voice lacks.", "time: minutes"),
        ),
    ),
)  # fmt: skip
