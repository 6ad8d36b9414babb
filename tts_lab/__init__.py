"""tts_lab: from recordings of a voice to a Piper text-to-speech model of it."""

__version__ = "0.1.0"
