"""``python -m tts_lab.cli``."""

import sys

from tts_lab.cli import main

sys.exit(main())
