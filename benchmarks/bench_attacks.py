"""Time of attacks beside public libraries, at equal steps: ``python -m benchmarks.compare_attacks``.

What is timed ends with the same knowledge for everyone: changed images, and which of them fool the network. Where a
library leaves that to its user, the images are shown to the network once more; the time without that is noted, too.
"""

from __future__ import annotations

import time
from functools import cache

import pytest
import torch

from benchmarks import attack_peers
from benchmarks.attack_cases import Case, ours
from benchmarks.attack_networks import NETWORKS, Trained
from benchmarks.attack_run import attacked

IMAGES = 64
ROUNDS, SECONDS = 5, 5.0  # of one row, at most: slow libraries get fewer rounds
TIMED_ON = ("digits 32", "digits 64", "phantoms 96")
BUDGETED = (
    ("fgsm", "linf", 1),
    ("pgd", "linf", 20),
    ("pgd", "l2", 20),
    ("mi-fgsm", "linf", 10),
    ("apgd-ce", "linf", 100),
    ("square", "linf", 1000),
)
MINIMUM_NORM = (
    ("deepfool", "l2", 50),
    ("carlini-wagner", "l2", 100),
    ("ddn", "l2", 100),
    *(("fmn", norm, 100) for norm in ("linf", "l2", "l1")),
    *(("fab", norm, 10) for norm in ("linf", "l2")),
)
CONTENDERS = ("medadv", *attack_peers.LIBRARIES)


@cache
def network(name: str) -> Trained:
    torch.set_num_threads(1)
    return NETWORKS[name](IMAGES)


def cases() -> list:
    """The contenders of a case one after the other, so that what else the machine does meets all of them."""
    return [
        pytest.param(name, kind, norm, steps, contender, id=f"{name}-{kind}-{norm}-{contender}")
        for name in TIMED_ON
        for kind, norm, steps in (*BUDGETED, *MINIMUM_NORM)
        for contender in CONTENDERS
    ]


@pytest.mark.parametrize(("name", "kind", "norm", "steps", "contender"), cases())
def test_attack(benchmark, name, kind, norm, steps, contender):
    trained = network(name)
    eps = trained.eps[norm] if (kind, norm, steps) in BUDGETED else None
    case = Case(kind, norm, steps, eps, trained.classes)
    attack = ours(case) if contender == "medadv" else attack_peers.attack(contender, case)
    if attack is None:
        pytest.skip(f"{contender} is not installed, or does not have it")
    tells = contender in ("medadv", *attack_peers.TELL_WHO_IS_FOOLED)
    start = time.perf_counter()
    row = attacked(attack, norm, trained.network, trained.images, trained.targets)
    rounds = int(min(ROUNDS, max(1, SECONDS / (time.perf_counter() - start))))
    row.pop("distances")
    benchmark.extra_info.update(
        operation=case.name,
        mode="attack",
        size=name,
        contender=contender,
        device="cpu",
        threads=torch.get_num_threads(),
        calls=1,
        tells_who_is_fooled=tells,
        **row,
    )
    attack_alone = []

    def images_and_verdict() -> None:
        before = time.process_time()
        images = attack(trained.network, trained.images, trained.targets)
        attack_alone.append(time.process_time() - before)
        if not tells:
            with torch.no_grad():
                trained.network(images).argmax(1).ne(trained.targets)

    benchmark.pedantic(images_and_verdict, rounds=rounds)
    benchmark.extra_info["seconds_alone"] = min(attack_alone)
