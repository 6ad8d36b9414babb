"""The rows of notebook 07: none passes for met, recognised or mended that is not."""

import pytest
import torch
from conftest import python
from torch.nn import functional as F

from tts_lab.diagnosis import diagnose
from tts_lab.errors import UserError
from tts_lab.notebook.troubles import Troubles

NAME = "Indices have the wrong type"


def floats_for_ids():
    return F.embedding(torch.ones(3), torch.ones(4, 2))


def test_a_trouble_is_met_recognised_and_over(capsys):
    trouble = Troubles()
    assert trouble.meet(NAME, floats_for_ids).name == NAME
    assert capsys.readouterr().out.startswith("RuntimeError: Expected tensor for argument #1 'indices'")
    assert trouble.left == [NAME]
    trouble.over(NAME, "as long it is a row", True)
    assert trouble.left == [] and "as long it is a row" in str(trouble.table())


def test_what_does_not_come_comes_as_another_or_stays_is_no_row():
    trouble = Troubles()
    with pytest.raises(UserError, match="nothing went wrong here"):
        trouble.meet(NAME, lambda: None)
    with pytest.raises(UserError, match="No speaker id: recognised as Indices have the wrong type"):
        trouble.meet("No speaker id", floats_for_ids)
    with pytest.raises(UserError, match="recognised as nothing"):
        trouble.recognise(NAME, "all is well")
    assert trouble.rows == {}
    trouble.meet(NAME, floats_for_ids)
    with pytest.raises(UserError, match="not over yet. it is still a float"):
        trouble.over(NAME, "it is still a float", False)
    assert trouble.left == [NAME]


def test_a_run_may_have_another_trouble_beside_the_one_it_was_given_and_words_may_not(tmp_path):
    speed = [2.0] * 20 + [1.0] * 20  # the machine had something else to do
    lines = ["step,mel,kl,steps_per_second", *(f"{n},{0.5 + n / 10},3,{at}" for n, at in enumerate(speed))]
    (tmp_path / "metrics.csv").write_text("\n".join(lines) + "\n")
    names = [one.name for one in diagnose(tmp_path)]
    assert {"It gets slower and slower", "Unstable training"} <= set(names) and names[0] != names[-1]
    for name in names:
        assert Troubles().recognise(name, tmp_path).name == name
    words = "ModuleNotFoundError: No module named 'piper_train'; CUDA out of memory"
    first, second, *_ = (one.name for one in diagnose(words))
    assert Troubles().recognise(first, words).name == first
    with pytest.raises(UserError, match="recognised as"):
        Troubles().recognise(second, words)


def test_a_limited_process_is_refused_what_is_beyond_and_given_what_is_not():
    said = python(
        "-c",
        "import torch; from tts_lab.notebook.limited import limit; limit(600); torch.ones(50_000_000); print('small')\n"
        "try: torch.ones(500_000_000)\nexcept RuntimeError as error: print(error)",
    )
    assert said.startswith("small\n") and "DefaultCPUAllocator: can't allocate memory" in said
