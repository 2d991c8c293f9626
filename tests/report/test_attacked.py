"""What a report says of a model that draws random numbers, and of one with a detector."""

from medadv.report.attacked import attacked
from medadv.report.results import Rate, Results, Series
from medadv.report.wording import THIN_SPACE, wording_of


def results(*configurations, rejected=None):
    series = tuple(
        Series(f"Attack {number}", wording_of("pgd", configuration), configuration, (), {})
        for number, configuration in enumerate(configurations)
    )
    return Results(Rate(9, 10), series, Rate(0, 10), rejected, (), 0, 0, 0, 0)


def sentences(model, given):
    return [sentence.replace(THIN_SPACE, " ") for sentence in attacked(model, given)]


def test_nothing_is_said_of_a_plain_network():
    assert sentences({"kind": "Victim"}, results({"gradient": "Gradient()"})) == []


def test_which_attacks_see_the_draws_that_decide():
    stepping, asking, elsewhere = {"gradient": "Gradient()"}, {}, {"gradient": "Gradient()", "surrogate": "net"}
    assert sentences({"draws": 1200}, results(stepping, asking, elsewhere)) == [
        "The model draws random numbers: an image counts as fooled where the mean of its logits over 1 200 fixed draws "
        "is wrong.",
        "Attack 0 follows the gradients of other draws, fresh in every step.",
        "Attack 1 sees the very draws that decide.",
    ]
    assert len(sentences({"draws": 4}, results(stepping, stepping))) == 2
    assert "Attack 0 and Attack 1 follow the gradients" in sentences({"draws": 4}, results(stepping, stepping))[1]


def test_which_attacks_know_of_the_detector():
    aware, asking, elsewhere = {"objective": "Undetected(objective=Margin())"}, {}, {"surrogate": "net"}
    given = results(aware, asking, elsewhere, aware, rejected=Rate(1, 10))
    assert sentences({"detector": {}}, given) == [
        "The model has a detector, which rejects 1 of the 10 images without attack (10 %, 95 % interval 2 to 40 %). A "
        "rejected image counts as right: an image is fooled only where its answer is wrong and goes undetected.",
        "Attack 0 and Attack 3 raise Undetected(objective=Margin()), which knows of it.",
        "Attack 2 knows nothing of it.",
    ]


def test_a_detector_that_no_gradient_step_goes_against():
    told = sentences({"detector": {}}, results({}, rejected=Rate(0, 10)))
    assert told[1:] == ["No attack here makes gradient steps against it: one that does may fool many more."]
