import pytest
import torch

from medadv.attacks import PGD, Result, Status


def result():
    status = torch.tensor([0, 1, 1, 2, 2, 2, 2, 2], dtype=torch.uint8)
    numbers = torch.arange(8)
    images = torch.rand(8, 1, 2, 2)
    return Result(
        images=images,
        status=status,
        parameters={"noise": images},
        loss=images.sum((1, 2, 3)),
        distance=numbers.double(),
        predictions=numbers,
        clean_predictions=numbers,
        forwards=numbers,
        backwards=numbers,
        step=numbers,
    )


def test_success_and_robust():
    assert result().success.tolist() == [False, True, True] + [False] * 5
    assert result().robust.tolist() == [False] * 3 + [True] * 5


def test_robust_accuracy_counts_the_images_that_were_wrong_already():
    assert result().robust_accuracy == 5 / 8


def test_repr_is_one_short_line():
    assert repr(result()) == "Result(8 images: 1 already wrong, 2 fooled, 5 withstood; robust accuracy 0.625)"
    assert len(result()) == 8


def test_words_for_the_status():
    assert [str(status) for status in Status] == ["already wrong", "success", "failed"]
    assert [int(status) for status in Status] == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("images", torch.float32),
        ("status", torch.uint8),
        ("loss", torch.float32),
        ("distance", torch.float64),
        ("predictions", torch.int64),
        ("clean_predictions", torch.int64),
        ("forwards", torch.int64),
        ("backwards", torch.int64),
        ("step", torch.int64),
    ],
)
def test_types_and_lengths_of_a_real_result(lab, name, dtype):
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (5, 1, 8, 8))
    found = getattr(PGD(steps=2)(victim, x, lab.answers(victim, x)), name)
    assert found.dtype == dtype
    assert len(found) == 5
