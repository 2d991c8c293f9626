"""What is left in memory."""

import gc

import torch


def tensors_in_circles(run):
    """How many tensors a call leaves behind that only refer to each other, for the garbage collector to find."""
    run()  # once before, for what is made at first use and stays
    gc.collect()
    # Held until the end: what other tests made may be let go of meanwhile.
    before = [item for item in gc.get_objects() if issubclass(type(item), torch.Tensor)]
    gc.disable()
    try:
        run()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        return sum(isinstance(item, torch.Tensor) for item in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        del before
        gc.enable()
