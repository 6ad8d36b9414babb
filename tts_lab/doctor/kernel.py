"""The kernel that notebooks get: it is started, and asked whose Python it is.

`python -m tts_lab.doctor.kernel` does that in a process of its own and prints the answer as JSON.
"""

import json
import sys
from pathlib import Path

from tts_lab.doctor.limited import Failed, Found, second_process

NAME = "python3"
PATIENCE = 600  # the limit of the process that asks is the one that counts
ASK = "import json, sys, importlib.util as u; print(json.dumps([sys.prefix, bool(u.find_spec('tts_lab'))]))"
REGISTER = (
    "With the project's python: python -m ipykernel install --sys-prefix. JUPYTER_PREFER_ENV_PATH=1 lets that one win "
    "over others of its name."
)


def kernel(seconds: float) -> Found:
    """A kernel named python3 is there, starts, and is this Python, with tts_lab in it."""
    try:
        prefix, has = json.loads(second_process("-m", "tts_lab.doctor.kernel", seconds=seconds).splitlines()[-1])
    except Failed as problem:
        return f"the kernel {NAME} does not answer: {problem}", REGISTER
    except (ValueError, IndexError):
        return f"the kernel {NAME} gave no answer", REGISTER
    if Path(prefix).resolve() != Path(sys.prefix).resolve():
        return f"notebooks get the Python of {prefix}, not that of {sys.prefix}", REGISTER
    if not has:
        return "notebooks get a Python without tts_lab", "pip install -e . in that environment."
    return f"{NAME} starts and is this Python", ""


def main() -> None:
    from jupyter_client.kernelspec import NoSuchKernel
    from jupyter_client.manager import start_new_kernel

    try:
        manager, client = start_new_kernel(kernel_name=NAME, startup_timeout=PATIENCE)
    except NoSuchKernel:
        sys.exit(f"there is no kernel {NAME}")
    answers: list[str] = []

    def hear(message: dict) -> None:
        if message["msg_type"] == "stream":
            answers.append(message["content"]["text"])

    try:
        client.execute_interactive(ASK, output_hook=hear)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    print("".join(answers).strip())


if __name__ == "__main__":
    main()
