"""What is left in memory."""

import gc

import torch


def tensors_in_circles(run):
    """How many tensors a call leaves behind that only refer to each other, for the garbage collector to find."""
    run()  # once before, for what is made at first use and stays
    gc.collect()
    gc.disable()
    try:
        run()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        return sum(isinstance(item, torch.Tensor) for item in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
