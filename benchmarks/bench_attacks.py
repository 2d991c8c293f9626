"""Time of attacks beside public libraries, at equal steps: ``python -m benchmarks.compare_attacks``.

One benchmark per attack; in each of its rounds every contender has a turn, timed by itself: the processor time of the
attack, and of the pass that tells which images fool the network. So what is timed ends with the same knowledge for
everyone. Where a library leaves that to its user, the images are shown to the network once more; the time without that
is noted, too.
"""

from __future__ import annotations

import statistics
from functools import cache, partial

import pytest
import torch

from benchmarks import attack_peers
from benchmarks.attack_cases import Case, ours
from benchmarks.attack_networks import NETWORKS, Trained
from benchmarks.attack_run import attacked
from benchmarks.attack_turns import OURS, Turns

IMAGES = 64
ROUNDS = {"digits 32": 9, "digits 64": 7, "phantoms 96": 3}  # of every attack, by network, at least
SECONDS, MOST_ROUNDS = 6.0, 100  # of a brief attack: as many rounds as take this long
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
# Those of ART that take 4 to 20 times as long as ours: minutes, but on the smallest network.
SLOW = (("ART", "square"), ("ART", "deepfool"), ("ART", "carlini-wagner"))


@cache
def network(name: str) -> Trained:
    torch.set_num_threads(1)
    return NETWORKS[name](IMAGES)


def cases() -> list:
    return [
        pytest.param(name, kind, norm, steps, id=f"{name}-{kind}-{norm}")
        for name in ROUNDS
        for kind, norm, steps in (*BUDGETED, *MINIMUM_NORM)
    ]


@pytest.mark.parametrize(("name", "kind", "norm", "steps"), cases())
def test_attack(benchmark, name, kind, norm, steps):
    trained = network(name)
    eps = trained.eps[norm] if (kind, norm, steps) in BUDGETED else None
    case = Case(kind, norm, steps, eps, trained.classes)
    attacks = {OURS: ours(case), **attack_peers.attacks(case)}
    turns = Turns(
        {
            contender: partial(attacked, attack, norm, trained.network, trained.images, trained.targets)
            for contender, attack in attacks.items()
            if name == "digits 32" or (contender, kind) not in SLOW
        }
    )
    turns.play()
    rounds = max(ROUNDS[name], min(MOST_ROUNDS, int(SECONDS / turns.seconds())))
    benchmark.pedantic(turns.play, rounds=rounds - 1)
    shared = {"operation": case.name, "mode": "attack", "size": name, "device": "cpu"}
    shared["threads"] = torch.get_num_threads()
    rows = [{**shared, "contender": contender, **times(contender, found)} for contender, found in turns.found.items()]
    benchmark.extra_info.update(calls=1, rows=rows)


def times(contender: str, turns: list[dict]) -> dict:
    """What the turns of a contender found and took, seconds: the least, the median and those of every round."""
    tells = contender in (OURS, *attack_peers.TELL_WHO_IS_FOOLED)
    each = [turn["seconds"] + (0.0 if tells else turn["seconds_of_verdict"]) for turn in turns]
    return {
        "tells_who_is_fooled": tells,
        **{key: turns[0][key] for key in ("success", "inside_bounds", "forwards", "backwards")},
        "seconds": min(each),
        "seconds_alone": min(turn["seconds"] for turn in turns),
        "median": statistics.median(each),
        "rounds": len(each),
        "seconds_by_round": each,
    }
