"""Every gradient attack through an evaluation with its trust checks."""

from support.registry import GRADIENT_ATTACKS as ATTACKS

from medadv.attacks import APGD, StabilisedMedicalAttack
from medadv.objectives import DLR, Stabilised
from medadv.sweep.evaluate import evaluate
from medadv.sweep.plan import Curve

BUDGETS = (0.01, 0.05)
OTHERS = {
    "apgd": APGD(steps=5, objective=DLR()),
    "stabilised": StabilisedMedicalAttack(objective=Stabilised(weight=0.5)),
}


def test_all_of_them_in_one_store(job, tmp_path):
    names = [name for name, kind in ATTACKS.items() if kind.budget_field == "eps"]
    evaluation = job.evaluation(curves=[Curve(OTHERS.get(name, ATTACKS[name]()), BUDGETS) for name in names])
    store = evaluate(evaluation, tmp_path / "store")
    counts = store.query("SELECT attack, count(*) AS rows FROM rows JOIN units USING (unit) GROUP BY attack", "attack")
    assert dict(zip(*counts.values(), strict=True)) == dict.fromkeys(names, 24 * len(BUDGETS))
    checks = store.query('SELECT "check", outcome FROM rows', "check")
    outcomes = dict(zip(*checks.values(), strict=True))
    # Random starts, noise and rounding decide at the edge; what an attack must do for itself is looked at here.
    for check in ("C3", "C8", "C9", "C10", "C12", "C15"):
        assert outcomes[check] == "passed", check
    plan = store.plan["attacks"][names.index("stabilised")]
    assert plan["configuration"]["objective"].startswith("Stabilised(objective=CrossEntropy(), weight=0.5")
    assert evaluate(evaluation, tmp_path / "store", resume=True).done() == store.done()
