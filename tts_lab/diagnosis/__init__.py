"""What is wrong, from an error message, a log, a symptom in words or the folder of a run: `diagnose`."""

from tts_lab.diagnosis.diagnose import Diagnosis, Finding, diagnose

__all__ = ["Diagnosis", "Finding", "diagnose"]
