"""`python -m tts_lab.notebook`: every notebook in order, headless. This is what `make voice` calls."""

import argparse
import signal
import sys
from pathlib import Path

from tts_lab.errors import UserError
from tts_lab.notebook.runner import parse_value, run_all


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, run the notebooks, and return the exit status: 0 if all of them ran."""
    parser = argparse.ArgumentParser(prog="python -m tts_lab.notebook", description=__doc__.partition(": ")[2])
    parser.add_argument("--notebooks", type=Path, default=Path("notebooks"), help="folder of NN_topic.ipynb")
    parser.add_argument("--out", type=Path, default=Path("build"), help="workspace; executed copies in its notebooks/")
    parser.add_argument("--timeout", type=float, default=3600, metavar="SECONDS", help="for each notebook")
    parser.add_argument("--smoke", action="store_true", help="each notebook's smallest parameters: minutes, no voice")
    parser.add_argument(
        "--parameters", nargs="*", default=[], metavar="KEY=VALUE", help="for each notebook that has a KEY"
    )
    given = parser.parse_args(arguments)
    malformed = [pair for pair in given.parameters if "=" not in pair]
    if malformed:
        parser.error(f"--parameters wants KEY=VALUE, got {' '.join(malformed)}")
    parameters = {key: parse_value(value) for key, _, value in (pair.partition("=") for pair in given.parameters)}
    # Leave by the normal way out when told to stop, so that the kernel is stopped too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        run_all(given.notebooks, given.out, parameters, given.timeout, given.smoke)
    except UserError as told:
        print(f"\n{told}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. What was made so far is kept.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
