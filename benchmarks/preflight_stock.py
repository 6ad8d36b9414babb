"""The preflight of stock Piper's own training step, as shipped in its wheel: what trn1 would meet.

Stands in only for the alignment, whose compiled module the wheel lacks. Needs the environment of
``tts_lab.devices.lowering.ENVIRONMENT``; prints the findings as JSON on its last line.
"""

import json
from dataclasses import asdict

import torch
from lightning.fabric.utilities import move_data_to_device

from benchmarks.stock import stock_batch, stock_model, stock_step
from benchmarks.trace import random_batch
from tts_lab.devices.lowering import emulate_neuron
from tts_lab.preflight import Preflight, preflight


def check_stock() -> Preflight:
    """Trace stock's forward, both backward passes and both optimizers on a batch of two."""
    device = emulate_neuron().torch
    stock = stock_model().to(device).train()
    optimizers = stock.configure_optimizers()[0]
    batch = move_data_to_device(stock_batch(random_batch(2, 40, 96, torch.device("cpu"))), device)
    return preflight(lambda batch: stock_step(stock, optimizers, batch), {"stock": batch})


if __name__ == "__main__":
    print(json.dumps([asdict(finding) for finding in check_stock().findings]))
