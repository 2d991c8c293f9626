"""A network that was not wrapped is refused in one sentence."""

import pytest
import torch
from torch import nn

from medadv.attacks import APGD, ATTACKS, PGD, Ensemble, Universal, budget_curve, transfer
from medadv.models import Victim

NETWORK = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).eval()
IMAGES = torch.full((3, 1, 8, 8), 0.5)
TARGETS = torch.zeros(3, dtype=torch.int64)


@pytest.mark.parametrize(
    "call",
    [
        *(pytest.param(kind(), id=name) for name, kind in ATTACKS.items()),
        Ensemble((PGD(), APGD())),
        lambda *given: budget_curve(PGD(), [0.1, 0.2], *given),
        lambda victim, *given: transfer(PGD(), Victim(NETWORK), victim, *given),
        Universal().fit,
        lambda *given: Universal(epochs=1).fit(Victim(NETWORK), IMAGES, TARGETS)(*given),
    ],
)
def test_the_network_itself(call):
    with pytest.raises(TypeError, match=r"^victim must be a medadv.models.Victim, such as Victim\(network\), got Sequ"):
        call(NETWORK, IMAGES, TARGETS)


def test_the_network_itself_as_surrogate():
    with pytest.raises(TypeError, match=r"^surrogate must be a medadv.models.Victim"):
        transfer(PGD(), NETWORK, Victim(NETWORK), IMAGES, TARGETS)
