"""Run every notebook in number order, headless, in one workspace, through papermill.

The one convention about places: **every relative path in a notebook is relative to the folder the notebook's source is
in** (`notebooks/`). That is where JupyterLab runs it, so the runner runs it there too; only the executed copy is saved
elsewhere, and players are told where (`players.PAGE_FOLDER_VARIABLE`). The workspace is the parameter `workspace`, by
default `../build`, and the runner passes it as seen from the notebooks' folder.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import nbformat
import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

from tts_lab.corpus.wholefile import write_atomically
from tts_lab.errors import UserError
from tts_lab.notebook import machine
from tts_lab.notebook.players import PAGE_FOLDER_VARIABLE
from tts_lab.notebook.report import write_report

KERNEL = "python3"
HEARTBEAT = 20  # seconds of silence after which a long cell says that it is alive
VERSIONS = ("tts-lab", "torch", "lightning", "piper-tts", "onnxruntime")


@dataclass
class Run:
    """What was run on what; saved as `run.json` in the workspace, after every notebook."""

    machine: str
    commit: str
    versions: dict[str, str]
    started: str
    notebooks: list[dict] = field(default_factory=list)  # name, seconds, ok


def find_notebooks(folder: Path) -> list[Path]:
    """The notebooks named NN_topic.ipynb, in number order. Raises UserError if there is none or a number twice."""
    found = sorted(path for path in folder.glob("*.ipynb") if re.match(r"\d\d_", path.name))
    if not found:
        raise UserError(f"No notebook named like 01_setup.ipynb is in {folder}. Give the folder with --notebooks.")
    numbers = [path.name[:2] for path in found]
    twice = sorted({number for number in numbers if numbers.count(number) > 1})
    if twice:
        raise UserError(f"Two notebooks in {folder} have the number {twice[0]}: their order is not known. Rename one.")
    return found


def parameters_of(path: Path) -> dict[str, object]:
    """The names and defaults in the notebook's one cell tagged `parameters`.

    Raises UserError without exactly one such cell: papermill would ignore the parameters and run with the defaults.
    """
    cells = nbformat.read(path, as_version=4).cells
    tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise UserError(
            f"{path.name} has {len(tagged)} cells tagged `parameters` and needs exactly one. In JupyterLab: select the "
            "cell with the settings, open the property inspector (the gears), add the tag."
        )
    assignments = [node for node in ast.parse(tagged[0].source).body if isinstance(node, ast.Assign)]
    return {node.targets[0].id: ast.literal_eval(node.value) for node in assignments}


def smoke_set(path: Path) -> dict[str, object]:
    """The small parameters with which tests run this notebook; kept in the notebook's metadata under `tts_lab`."""
    return dict(nbformat.read(path, as_version=4).metadata.get("tts_lab", {}).get("smoke", {}))


def _commit(folder: Path) -> str:
    """The short commit of the working tree, with a plus sign if it was changed since; `unknown` outside git."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"], cwd=folder, capture_output=True, text=True, check=False
    )
    return told.stdout.strip() or "unknown"


class Progress:
    """Lines on the terminal while a notebook runs; papermill calls the hooks, and writes the cells' output into it."""

    def __init__(self, book: nbformat.NotebookNode, name: str, cells: int, say=print):
        self.name, self.cells, self.say = name, cells, say
        self.headings, self.heading = {}, ""
        for cell in book.cells:
            if cell.cell_type == "markdown" and (found := re.search(r"^#+ (.+)", cell.source, re.MULTILINE)):
                self.heading = found[1]
            self.headings[cell.id] = self.heading
        self.cell, self.began, self.last_line, self.spoke = 0, time.monotonic(), "", time.monotonic()
        self._idle = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    def start(self, cell, cell_index: int) -> None:
        if cell.cell_type == "code":
            self.cell, self.began, self.last_line, self.spoke = self.cell + 1, time.monotonic(), "", time.monotonic()
            self.heading = self.headings.get(cell.id, "parameters given")  # papermill adds the cell that holds them

    def done(self, cell, cell_index: int, execute_reply=None) -> None:
        if cell.cell_type == "code":
            self._line(f"{time.monotonic() - self.began:6.1f} s  {self.heading}")

    def write(self, text: str) -> None:
        # A progress bar redraws its line with carriage returns: the last redraw is what counts.
        lines = [line.strip() for line in re.split(r"[\r\n]", re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text))]
        self.last_line = next((line for line in reversed(lines) if line), self.last_line)

    def flush(self) -> None:
        """papermill flushes after each write; nothing is held back."""

    def close(self) -> None:
        self._idle.set()

    def _line(self, text: str) -> None:
        self.spoke = time.monotonic()
        self.say(f"  {self.name[:2]} cell {self.cell:2d} of {self.cells}  {text}", flush=True)

    def _beat(self) -> None:
        while not self._idle.wait(1):
            if self.cell and time.monotonic() - self.spoke > HEARTBEAT:
                self._line(f"{time.monotonic() - self.began:6.0f} s  {self.heading} ... {self.last_line[:80]}")


@contextmanager
def _environment(page: Path):
    """What the kernel needs from its surroundings, and nothing that would quietly change how notebooks look."""
    kept = dict(os.environ)
    # The kernel must be this interpreter's, not one that the user once registered under the same name.
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ.pop("JUPYTER_PATH", None)
    os.environ.pop("MPLBACKEND", None)  # "Agg" would hide every picture
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # no debugger warning in the first cell
    os.environ[PAGE_FOLDER_VARIABLE] = str(page)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


def run_notebook(source: Path, saved: Path, parameters: Mapping[str, object], timeout: float, say=print) -> None:
    """Execute one notebook in its own folder and save it to `saved`, also when a cell fails.

    `timeout` is in seconds for the whole notebook. Raises UserError that tells the cell, its source and the error.
    """
    parameters_of(source)
    saved.parent.mkdir(parents=True, exist_ok=True)
    book = nbformat.read(source, as_version=4)
    codes = sum(cell.cell_type == "code" for cell in book.cells) + bool(parameters)
    progress = Progress(book, source.name, codes, say)
    deadline = time.monotonic() + timeout
    try:
        with _environment(saved.parent.resolve()):
            papermill.execute_notebook(
                source.resolve(), saved.resolve(), parameters=dict(parameters), cwd=source.parent, kernel_name=KERNEL,
                language="python", progress_bar=False,
                timeout_func=lambda cell: max(1, int(deadline - time.monotonic())),
                on_cell_start=progress.start, on_cell_executed=progress.done, on_cell_error=progress.done,
                stdout_file=progress, raise_on_iopub_timeout=False,
                store_widget_state=False,  # it would put every recording that a review panel plays into the notebook
                extra_arguments=["--log-level=CRITICAL"],  # the kernel's own remarks; what cells say comes another way
            )  # fmt: skip
    except PapermillExecutionError as failure:
        raise UserError(_failed_cell(source, saved, failure, progress)) from failure
    except DeadKernelError as death:
        raise UserError(
            f"{source.name}: the kernel died in cell {progress.cell} of {progress.cells}. It cannot say why; most "
            f"often the system ended it because memory ran out (this machine has {machine.memory():.0f} GB). Close "
            f"other programs or make the batch smaller, then run again. The cells before it are in {saved}."
        ) from death
    except CellTimeoutError as late:
        raise UserError(
            f"{source.name} was stopped in cell {progress.cell} of {progress.cells}: it ran longer than the "
            f"{timeout:.0f} seconds it has (--timeout). Its last line was: {progress.last_line or 'none'}. See {saved}."
        ) from late
    finally:
        progress.close()


def _failed_cell(source: Path, saved: Path, failure: PapermillExecutionError, progress: Progress) -> str:
    """The failed cell in words: which, its source, and the last lines of its error."""
    code = "\n".join(f"    | {line}" for line in failure.source.strip().splitlines())
    trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(failure.traceback)).splitlines()
    error = [f"{failure.ename}: {failure.evalue}"] if failure.ename == "UserError" else trace[-12:]
    told = "\n".join(f"    {line}" for line in error)
    return (
        f"{source.name} stopped in cell {progress.cell} of {progress.cells}:\n{code}\n{told}\n"
        f"  The notebook as far as it ran is {saved}."
    )


def run_all(
    notebooks: Path, out: Path, parameters: Mapping[str, object], timeout: float, smoke: bool = False, say=print
) -> Run:
    """Run every notebook of a folder in number order in workspace `out`; executed copies go to `out`/notebooks.

    A parameter goes to each notebook that has one of that name. Raises UserError before anything runs if a parameter is
    known to no notebook, and at the first notebook that fails: those after it need what it should have made.
    """
    sources = find_notebooks(notebooks)
    known = {source: parameters_of(source) for source in sources}
    strangers = sorted(name for name in parameters if not any(name in names for names in known.values()))
    if strangers:
        choices = sorted({name for names in known.values() for name in names} - {"workspace"})
        raise UserError(f"No notebook has a parameter named {', '.join(strangers)}. There are: {', '.join(choices)}.")
    out.mkdir(parents=True, exist_ok=True)
    given = {**parameters, "workspace": os.path.relpath(out.resolve(), notebooks.resolve())}
    run = Run(
        machine=machine.describe(),
        commit=_commit(notebooks),
        versions={name: version(name) for name in VERSIONS},
        started=time.strftime("%Y-%m-%d %H:%M"),
    )
    for source in sources:
        mine = {**(smoke_set(source) if smoke else {}), **given}
        mine = {name: value for name, value in mine.items() if name in known[source]}
        say(f"{source.name}", flush=True)
        began, ok = time.monotonic(), False
        try:
            run_notebook(source, out / "notebooks" / source.name, mine, timeout, say)
            ok = True
        finally:
            seconds = round(time.monotonic() - began, 1)
            run.notebooks.append({"name": source.stem, "seconds": seconds, "ok": ok})
            _save(run, out / "run.json")
        say(f"  done in {seconds // 60:.0f} min {seconds % 60:.0f} s", flush=True)
    if (out / "evaluation.json").is_file():
        say(f"report: {write_report(out)}", flush=True)  # once more, now that every notebook's time is known
    return run


def _save(run: Run, path: Path) -> None:
    write_atomically(path, (json.dumps(asdict(run), indent=2) + "\n").encode())


def parse_value(text: str) -> object:
    """A parameter from the command line: a Python literal where it is one, else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
