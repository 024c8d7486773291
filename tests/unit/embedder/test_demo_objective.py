"""The training's loss: which captions fit which pictures, and where its minimum lies."""

import torch

from embedder.demo.objective import contrastive_loss, fits, geometry_loss

RED_CIRCLE = [0, 0, 0, 0]
RED_STAR = [0, 1, 0, 0]
BLUE_STARS = [1, 1, 1, 1]


def test_a_caption_fits_every_picture_it_does_not_contradict() -> None:
    attributes = torch.tensor([RED_CIRCLE, RED_STAR, BLUE_STARS])
    named = torch.tensor([[True, False, False, False], [True, True, True, True], [False, True, False, False]])
    expected = torch.tensor([[True, False, False], [True, True, True], [False, False, True]])
    assert torch.equal(fits(attributes, named), expected)


def test_contrastive_loss_wants_all_fitting_pairs_alike() -> None:
    positive = torch.tensor([[True, False], [True, True]])
    agreeing = torch.tensor([[9.0, -9.0], [9.0, 9.0]])
    assert contrastive_loss(agreeing, positive) < contrastive_loss(torch.zeros(2, 2), positive)
    assert contrastive_loss(-agreeing, positive) > contrastive_loss(torch.zeros(2, 2), positive)


def test_geometry_is_perfect_when_cosines_are_shares_of_equal_attributes() -> None:
    attributes = torch.tensor([RED_CIRCLE, RED_STAR, BLUE_STARS])
    # One block of two dimensions for each attribute, one-hot: the cosines are the shares exactly.
    perfect = torch.nn.functional.one_hot(attributes, 2).flatten(1).float() / 2
    assert geometry_loss(perfect, attributes).item() == 0
    assert geometry_loss(perfect.roll(1, dims=0), attributes).item() > 0.01
