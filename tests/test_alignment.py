"""The alignment search against brute force, and against a plain reference at real sizes."""

from itertools import combinations

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from tts_lab.vits.alignment import log_likelihood, maximum_path, maximum_path_in_blocks

SEARCHES = pytest.mark.parametrize("search", [maximum_path, maximum_path_in_blocks])


def brute_force(score: np.ndarray) -> float:
    """The best score over every way to cut the frames into one run a phoneme."""
    frames, phonemes = score.shape
    totals = []
    for cuts in combinations(range(1, frames), phonemes - 1):
        edges = [0, *cuts, frames]
        totals.append(sum(score[a:b, t].sum() for t, (a, b) in enumerate(zip(edges, edges[1:], strict=False))))
    return max(totals)


def plain_reference(score: np.ndarray) -> np.ndarray:
    """Glow-TTS's dynamic programme written out over a full table, in float64."""
    frames, phonemes = score.shape
    table = np.full((frames, phonemes), -np.inf)
    table[0, 0] = score[0, 0]
    for f in range(1, frames):
        table[f] = score[f] + np.maximum(table[f - 1], np.concatenate([[-np.inf], table[f - 1, :-1]]))
    path, t = np.zeros((frames, phonemes)), phonemes - 1
    for f in range(frames - 1, -1, -1):
        path[f, t] = 1
        if f and t and (table[f - 1, t - 1] > table[f - 1, t]):
            t -= 1
    return path


@SEARCHES
@pytest.mark.parametrize("frames, phonemes", [(1, 1), (5, 1), (5, 5), (8, 3), (9, 4), (10, 6)])
def test_small_cases_reach_the_brute_force_optimum(frames, phonemes, search):
    generator = torch.Generator().manual_seed(frames * 100 + phonemes)
    score = torch.randn(3, frames + 2, phonemes + 1, generator=generator)  # padded by two frames and a phoneme
    path = search(score, torch.full((3,), frames), torch.full((3,), phonemes))
    for item in range(3):
        own = score[item, :frames, :phonemes].numpy()
        assert (path[item].numpy() * score[item].numpy()).sum() == pytest.approx(brute_force(own), abs=1e-4)


@SEARCHES
def test_paths_are_monotonic_and_complete(search):
    score = torch.randn(4, 200, 60, generator=torch.Generator().manual_seed(1))
    frames, phonemes = torch.tensor([200, 150, 61, 60]), torch.tensor([60, 40, 60, 60])
    path = search(score, frames, phonemes)
    for item, (f, t) in enumerate(zip(frames.tolist(), phonemes.tolist(), strict=True)):
        assert (path[item, :f].sum(1) == 1).all() and path[item, f:].sum() == 0 and path[item, :, t:].sum() == 0
        steps = path[item, :f].argmax(1).diff()
        assert ((steps == 0) | (steps == 1)).all()
        assert path[item, 0, 0] == 1 and path[item, f - 1, t - 1] == 1


@SEARCHES
def test_real_sizes_agree_with_the_plain_reference(search):
    generator = torch.Generator().manual_seed(2)
    mean, log_scale = torch.randn(2, 192, 150, generator=generator), torch.randn(2, 192, 150, generator=generator) * 0.1
    z = torch.randn(2, 192, 500, generator=generator)
    score = log_likelihood(z, mean, log_scale)
    path = search(score, torch.tensor([500, 500]), torch.tensor([150, 150]))
    for item in range(2):
        np.testing.assert_array_equal(path[item].numpy(), plain_reference(score[item].double().numpy()))


@pytest.mark.parametrize("seed", range(40))
def test_the_search_in_blocks_is_exact(seed):
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=generator))

    length = draw(1, 90)
    width = draw(1, min(length, 30))
    frames = torch.tensor([length, *(draw(width, length) for _ in range(3))])
    phonemes = torch.tensor([draw(1, min(width, int(f))) for f in frames])
    # Multiples of 1/64 add up without rounding in any order, so any difference is a fault.
    score = (torch.randn(4, length, width, generator=generator) * 300).round() / 64
    expected, found = (search(score, frames, phonemes) for search in (maximum_path, maximum_path_in_blocks))
    torch.testing.assert_close(
        (found * score).double().sum((1, 2)), (expected * score).double().sum((1, 2)), rtol=0, atol=0
    )
    assert torch.equal(found.sum(2), expected.sum(2)) and ((found == 0) | (found == 1)).all()


def test_log_likelihood_is_that_of_torch_distributions():
    generator = torch.Generator().manual_seed(3)
    mean, log_scale = torch.randn(1, 8, 5, generator=generator), torch.randn(1, 8, 5, generator=generator) * 0.3
    z = torch.randn(1, 8, 7, generator=generator)
    expected = Normal(mean[:, :, None], log_scale.exp()[:, :, None]).log_prob(z[..., None]).sum(1)
    torch.testing.assert_close(log_likelihood(z, mean, log_scale), expected, rtol=1e-4, atol=1e-4)
