"""The house rules for notebooks, each a test, over every notebook there is."""

import ast
import json
import re
from pathlib import Path

import nbformat
import pytest

from tts_lab.notebook import runner

ROOT = Path(__file__).parents[1]
SHOWS = r"(plots|players)\.\w+\(|comparison\.(listen|bars|pitch)\("  # the last line of a cell with a picture or players
NOTEBOOKS = runner.find_notebooks(ROOT / "notebooks")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


@pytest.fixture
def book(path):
    return nbformat.read(path, as_version=4)


def codes(book) -> list[str]:
    return [cell.source for cell in book.cells if cell.cell_type == "code"]


def trees(book) -> list[ast.Module]:
    """Parsed cells; a line magic or a shell escape does not parse, and none is needed."""
    return [ast.parse(source) for source in codes(book)]


def nodes(book, *kinds) -> list[ast.AST]:
    return [node for tree in trees(book) for node in ast.walk(tree) if isinstance(node, kinds)]


# 1. Import the library.


def test_cells_and_functions_are_short(book):
    assert [source for source in codes(book) if len(source.splitlines()) > 25] == []
    functions = nodes(book, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    assert [node.name for node in functions if node.end_lineno - node.lineno + 1 > 10] == []


def test_no_shell_no_magic_no_path_tricks(book):
    assert not any(re.search(r"^\s*[!%]|sys\.path|get_ipython", source, re.MULTILINE) for source in codes(book))


def test_no_absolute_path_and_no_home(book):
    strings = [node.value for node in nodes(book, ast.Constant) if isinstance(node.value, str)]
    assert [text for text in strings if re.match(r"(/\w|~|[A-Za-z]:\\)", text)] == []
    assert "Path.home" not in "".join(codes(book))


# 2. One parameters cell, with defaults and a smoke set.


def test_one_parameters_cell_of_plain_values_before_all_other_code(book, path):
    parameters = runner.parameters_of(path)  # refuses anything but one tagged cell, and values that are not literals
    tagged = [i for i, cell in enumerate(book.cells) if "parameters" in cell.metadata.get("tags", [])]
    assert tagged[0] == min(i for i, cell in enumerate(book.cells) if cell.cell_type == "code")
    assert len(parameters) == len(trees(book)[0].body), "the parameters cell holds something else than parameters"


def test_every_parameter_is_used(book, path):
    used = {node.id for tree in trees(book)[1:] for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert set(runner.parameters_of(path)) - used == set()


def test_the_smoke_set_changes_parameters_that_exist_to_the_same_type(path):
    parameters, smoke = runner.parameters_of(path), runner.smoke_set(path)
    assert smoke and smoke.keys() <= parameters.keys()
    assert [name for name in smoke if type(parameters[name]) not in (type(smoke[name]), type(None))] == []


# 3. Committed clean.


def test_no_outputs_no_counts_one_kernel_small(book, path):
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    assert [cell.id for cell in cells if cell.outputs or cell.execution_count is not None] == []
    assert book.metadata.kernelspec.name == "python3"
    assert path.stat().st_size <= 100_000
    assert set(book.metadata) <= {"kernelspec", "language_info", "tts_lab"}, "left over from somebody's machine"


def test_cells_have_ids_of_their_own(book, path):
    nbformat.validate(json.loads(path.read_text()))
    ids = [cell.id for cell in book.cells]
    assert len(ids) == len(set(ids)) and (book.nbformat, book.nbformat_minor) >= (4, 5)


# 4. One workspace, in number order.


def test_the_workspace_is_a_parameter_and_the_only_place_written_to(book, path):
    assert runner.parameters_of(path)["workspace"] == "../build"
    assert "Path(workspace)" in "".join(codes(book))
    text = "".join(codes(book))
    assert not re.search(r"(?<![\w.])open\(|write_text|write_bytes|os\.chdir|mkdtemp", text)


# 5. No processes spawned inside the kernel.


def test_no_spawn_inside_the_kernel(book):
    text = "".join(codes(book))
    assert not re.search(r"multiprocessing|notebook_launcher|ddp_notebook|ddp_spawn|xmp\.spawn|os\.fork", text)
    devices = [node.value for node in nodes(book, ast.keyword) if node.arg == "devices"]
    assert all(isinstance(value, ast.Constant) and value.value == 1 for value in devices)


# 6. A last cell that checks what the next one needs.


def test_the_last_cell_checks_and_says_why(book):
    headings = [cell.source for cell in book.cells if cell.cell_type == "markdown" and cell.source.startswith("## ")]
    assert book.cells[-1].cell_type == "code" and headings[-1].startswith("## Check")
    asserts = [node for node in ast.walk(ast.parse(book.cells[-1].source)) if isinstance(node, ast.Assert)]
    assert asserts and all(node.msg is not None for node in asserts), "a check that fails must say what is missing"


# 7. Audio by path.


def test_audio_is_never_embedded(book):
    assert not re.search(r"IPython\.display|Audio\(|base64|data:audio", "".join(codes(book)))


# 8. Makes, time, cost at the top.


def test_the_top_says_what_it_makes_how_long_and_what_it_costs(book, path):
    top = book.cells[0]
    assert top.cell_type == "markdown" and top.source.startswith(f"# {path.name[:2]} ")
    assert "**Makes**" in top.source
    table = [row.split("|") for row in top.source.splitlines() if row.startswith("|")]
    rows = {row[1].strip(" *"): row[2:4] for row in table}
    assert rows.keys() >= {"time", "cost"}
    for here, there in (rows["time"], rows["cost"]):
        assert here.strip() and "forecast" in there, "what is said of trn1 is a forecast, and says so"
    assert "USD" in rows["cost"][1] and "assumed" in rows["cost"][1], "a price says what hourly rate it assumes"


def test_no_price_is_taken_for_a_formula(book):
    """JupyterLab sets what stands between two dollar signs as mathematics."""
    assert [cell.id for cell in book.cells if cell.cell_type == "markdown" and "$" in cell.source] == []


def test_nothing_suggests_that_a_trainium_was_used(book):
    text = " ".join(cell.source for cell in book.cells).replace("has been run on a Trainium yet", "")
    assert not re.search(r"(measured|ran|run|tested|trained) on (a |the )?(trn1|trainium)", text, re.IGNORECASE)


# And what the rules are for: short cells, one idea each, and words under every picture and player.


def test_what_to_look_for_stands_under_every_picture_and_player(book):
    unexplained, waiting = [], None
    for cell in book.cells:
        if cell.cell_type == "markdown" and "**What to look for.**" in cell.source:
            waiting = None
        if cell.cell_type == "markdown" and cell.source.startswith("## ") and waiting:
            unexplained.append(waiting)
            waiting = None
        if cell.cell_type == "code" and re.match(SHOWS, cell.source.splitlines()[-1]):
            waiting = cell.source
    assert unexplained == [] and waiting is None


def test_the_prose_points_at_nothing_that_is_not_there(book):
    """A notebook that the text names by its number exists."""
    existing = {notebook.name[:2] for notebook in NOTEBOOKS}
    prose = " ".join(cell.source for cell in book.cells if cell.cell_type == "markdown")
    assert set(re.findall(r"[Nn]otebook (\d\d)", prose)) <= existing


@pytest.mark.slow
def test_all_notebooks_run_in_order_in_one_workspace(tmp_path):
    """The whole way on real recordings with each notebook's smoke set; and the executed notebooks stay small."""
    runner.run_all(ROOT / "notebooks", tmp_path, {}, timeout=900, smoke=True)
    for notebook in NOTEBOOKS:
        saved = tmp_path / "notebooks" / notebook.name
        assert saved.stat().st_size < 1_500_000
        assert "data:audio" not in saved.read_text()
        outputs = [output for cell in nbformat.read(saved, as_version=4).cells for output in cell.get("outputs", [])]
        assert [output.text for output in outputs if output.get("name") == "stderr"] == [], "a warning nobody can mend"
    assert (tmp_path / "en_US-sample-medium.onnx").is_file() and (tmp_path / "report.html").is_file()
    speech = {path.parent.parent.name for path in (tmp_path / "speech").glob("*/unseen/*.wav")}
    assert speech == {"base-voice", "step-2", "exported-voice"}
