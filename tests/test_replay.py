"""A step that is run without being traced again does what tracing it would have done (tests/replay_cases.py)."""

import json

import pytest
from conftest import python

QUICK = [
    "replayed_steps_equal_traced_ones_bit_for_bit",
    "the_seed_alone_decides_what_is_drawn_traced_or_replayed",
    "what_changes_without_being_an_input_is_never_replayed",
    "what_the_step_leaves_alone_keeps_its_value",
    "a_rate_that_changes_reaches_a_replayed_step",
    "two_inputs_that_were_one_tensor_are_not_taken_for_one",
]


@pytest.fixture(scope="module")
def outcomes(small_corpus) -> dict[str, str]:
    return json.loads(python("tests/replay_cases.py", str(small_corpus), *QUICK).splitlines()[-1])


@pytest.mark.parametrize("case", QUICK)
def test_replay(case, outcomes):
    assert outcomes[case] == ""


@pytest.mark.slow
def test_the_training_step_is_replayed_bit_for_bit(small_corpus):
    case = "the_training_step_is_replayed_bit_for_bit"
    assert json.loads(python("tests/replay_cases.py", str(small_corpus), case).splitlines()[-1]) == {case: ""}
