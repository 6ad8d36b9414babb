"""What `--json FILE` writes."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any


def write_report(path: Path | None, content: Any) -> None:
    """What a verb found, as JSON, where `--json` asked for it."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False, default=asdict))
