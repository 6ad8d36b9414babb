"""The papermill runner: order, places, parameters, and words for everything that can end a notebook early."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from tts_lab.errors import UserError
from tts_lab.notebook import runner
from tts_lab.notebook.__main__ import main


def write(folder: Path, name: str, *cells: str, parameters: str = 'workspace = "../build"', smoke: dict | None = None):
    """A notebook whose first cell is tagged `parameters`, unless `parameters` is empty."""
    book = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    if parameters:
        book.cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    for cell in cells:
        book.cells += [nbformat.v4.new_markdown_cell("## What it says\nWords."), nbformat.v4.new_code_cell(cell)]
    if smoke:
        book.metadata["tts_lab"] = {"smoke": smoke}
    folder.mkdir(exist_ok=True)
    nbformat.write(book, folder / name)
    return folder / name


@pytest.fixture
def said():
    lines = []
    return lines, lambda text, flush=True: lines.append(text)


def outputs(path: Path) -> str:
    book = nbformat.read(path, as_version=4)
    return "".join(o.get("text", "") for c in book.cells if c.cell_type == "code" for o in c.outputs)


def test_two_notebooks_run_in_order_in_one_workspace(tmp_path, said):
    lines, say = said
    books = tmp_path / "notebooks"
    write(books, "02_second.ipynb", "print('read', (Path(workspace) / 'made').read_text())", parameters=(
        'from pathlib import Path\nworkspace = "../build"\nword = "-"'))  # fmt: skip
    write(books, "01_first.ipynb", "from pathlib import Path\n(Path(workspace) / 'made').write_text(word)",
          "import os\nprint(os.getcwd())", parameters='workspace = "../build"\nword = "default"',
          smoke={"word": "smoke"})  # fmt: skip
    run = runner.run_all(books, tmp_path / "elsewhere", {}, timeout=60, smoke=True, say=say)
    assert "read smoke" in outputs(tmp_path / "elsewhere/notebooks/02_second.ipynb")
    assert outputs(tmp_path / "elsewhere/notebooks/01_first.ipynb").strip() == str(books)  # as in JupyterLab
    assert [book["name"] for book in run.notebooks] == ["01_first", "02_second"]
    assert json.loads((tmp_path / "elsewhere/run.json").read_text())["notebooks"][1]["ok"] is True
    progress = [line for line in lines if re.match(r"  01 cell +\d of 4", line)]
    assert len(progress) == 4 and "s  What it says" in progress[-1] and "parameters given" in progress[1]


def test_the_kernel_is_this_python_with_no_home_and_with_a_foreign_kernelspec(tmp_path, monkeypatch, said):
    for home, spec in (("empty", None), ("foreign", ["false"])):
        folder = tmp_path / home / ".local/share/jupyter/kernels/python3"
        folder.mkdir(parents=True)
        if spec:
            (folder / "kernel.json").write_text(json.dumps({"argv": spec, "display_name": "x", "language": "python"}))
        monkeypatch.setenv("HOME", str(tmp_path / home))
        monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
        monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / home / ".local/share/jupyter"))
        book = write(tmp_path / "notebooks", "01_who.ipynb", "import sys\nprint(sys.executable)")
        runner.run_notebook(book, tmp_path / home / "01_who.ipynb", {}, timeout=60, say=said[1])
        assert outputs(tmp_path / home / "01_who.ipynb").strip() == sys.executable


def test_a_failed_cell_is_told_with_its_source_and_error(tmp_path, capsys):
    books = tmp_path / "notebooks"
    write(books, "01_fails.ipynb", "spelling = {}\nspelling['colour']")
    write(books, "02_never.ipynb", "open('was-here', 'w')")
    assert main(["--notebooks", str(books), "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err
    assert "01_fails.ipynb stopped in cell 3 of 3" in told
    assert "| spelling['colour']" in told and "KeyError: 'colour'" in told and "\x1b" not in told
    saved = nbformat.read(tmp_path / "out/notebooks/01_fails.ipynb", as_version=4)
    assert any(o.output_type == "error" for c in saved.cells if c.cell_type == "code" for o in c.outputs)
    assert not (books / "was-here").exists()
    assert json.loads((tmp_path / "out/run.json").read_text())["notebooks"] == [
        {"name": "01_fails", "seconds": pytest.approx(0, abs=60), "ok": False}
    ]


def test_a_user_error_is_told_without_its_traceback(tmp_path, said):
    book = write(
        tmp_path / "notebooks", "01_words.ipynb",
        "from tts_lab.errors import UserError\nraise UserError('The file a.wav is empty. Record it again.')",
    )  # fmt: skip
    with pytest.raises(UserError, match="The file a.wav is empty. Record it again.") as told:
        runner.run_notebook(book, tmp_path / "saved.ipynb", {}, timeout=60, say=said[1])
    assert "Traceback" not in str(told.value)


def test_a_dead_kernel_is_told_in_words(tmp_path, said):
    book = write(tmp_path / "notebooks", "01_dies.ipynb", "print('before')", "import os\nos.kill(os.getpid(), 9)")
    with pytest.raises(UserError, match=r"kernel died in cell 3 of 3.*memory ran out \(this machine has \d+ GB\)"):
        runner.run_notebook(book, tmp_path / "saved.ipynb", {}, timeout=60, say=said[1])
    assert "before" in outputs(tmp_path / "saved.ipynb")


def test_the_timeout_is_the_whole_notebooks(tmp_path, said):
    naps = ["import time\nprint('napping', flush=True)\ntime.sleep(1.2)"] * 6  # no cell is long, all together are
    book = write(tmp_path / "notebooks", "01_slow.ipynb", *naps)
    with pytest.raises(UserError, match=r"stopped in cell [2-5] of 7: it ran longer than the 3 seconds .*: napping"):
        runner.run_notebook(book, tmp_path / "saved.ipynb", {}, timeout=3, say=said[1])


def test_a_long_cell_says_that_it_is_alive_with_its_last_line(tmp_path, said, monkeypatch):
    monkeypatch.setattr(runner, "HEARTBEAT", 1)
    lines, say = said
    book = write(
        tmp_path / "notebooks", "01_long.ipynb",
        "import time\nprint('step 1', end='\\r')\nprint('\\rstep 2 of 300', end='', flush=True)\ntime.sleep(3)",
    )  # fmt: skip
    runner.run_notebook(book, tmp_path / "saved.ipynb", {}, timeout=60, say=say)
    assert any(re.search(r"cell  2 of 2 .* s  What it says \.\.\. step 2 of 300", line) for line in lines)


@pytest.mark.parametrize("tagged", [0, 2])
def test_without_exactly_one_parameters_cell_nothing_runs(tmp_path, tagged):
    book = write(tmp_path / "notebooks", "01_untagged.ipynb", "open('was-here', 'w')", parameters="")
    content = nbformat.read(book, as_version=4)
    content.cells += [nbformat.v4.new_code_cell("a = 1", metadata={"tags": ["parameters"]}) for _ in range(tagged)]
    nbformat.write(content, book)
    with pytest.raises(UserError, match=f"01_untagged.ipynb has {tagged} cells tagged `parameters`"):
        runner.run_all(book.parent, tmp_path / "out", {}, timeout=60)
    assert not (book.parent / "was-here").exists()


def test_an_unknown_parameter_is_refused_with_the_known_ones(tmp_path, capsys):
    write(tmp_path / "notebooks", "01_a.ipynb", parameters='workspace = "x"\nsteps = 3')
    flags = ["--notebooks", str(tmp_path / "notebooks"), "--out", str(tmp_path / "out")]
    assert main([*flags, "--parameters", "stepz=4"]) == 1
    assert "No notebook has a parameter named stepz. There are: steps." in capsys.readouterr().err


def test_notebooks_that_cannot_be_ordered_are_refused(tmp_path):
    with pytest.raises(UserError, match="No notebook named like 01_setup.ipynb"):
        runner.find_notebooks(tmp_path)
    for name in ("01_a.ipynb", "01_b.ipynb"):
        write(tmp_path, name)
    with pytest.raises(UserError, match="have the number 01"):
        runner.find_notebooks(tmp_path)


def test_values_from_the_command_line():
    values = {"3": 3, "2e-4": 2e-4, "True": True, "[1, 2]": [1, 2], "a b": "a b", "../data": "../data"}
    assert {text: runner.parse_value(text) for text in values} == values


def test_ending_the_runner_ends_its_kernel(tmp_path):
    book = write(tmp_path / "notebooks", "01_sleeps.ipynb", "import os\nopen('pid', 'w').write(str(os.getpid()))",
                 "import time\ntime.sleep(120)")  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "tts_lab.notebook", "--notebooks", book.parent, "--out", tmp_path / "out"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    pid = book.parent / "pid"
    for line in process.stdout:
        if b"cell  3" in line:
            break
    process.terminate()
    process.communicate(timeout=30)
    assert json.loads((tmp_path / "out/run.json").read_text())["notebooks"][0]["ok"] is False
    kernel = int(pid.read_text())
    for _ in range(100):
        if not Path(f"/proc/{kernel}").exists():
            return
        time.sleep(0.1)
    os.kill(kernel, 9)
    pytest.fail("the kernel outlived the runner")
