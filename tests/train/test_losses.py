"""Losses against loops written from the formulas, and against the values in the papers."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from edge_segface.data.components import component_counts, label_components
from edge_segface.train.contrastive import group_counts, spherical_kmeans
from edge_segface.train.losses import (
    consensus_terms,
    contrastive_loss,
    cross_entropy_and_dice,
    distillation_loss,
    rarity_weights,
)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(2, 5, 8, 9), torch.randint(0, 4, (2, 8, 9))  # class 4 is absent


def test_dice_and_cross_entropy_equal_segfaces_loops(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, labels = batch
    ce, dice = cross_entropy_and_dice(logits, labels)
    p = logits.softmax(dim=1)
    total = torch.zeros(())
    for c in range(5):
        pc, gc = p[:, c], (labels == c).float()
        total += 1 - (2 * (pc * gc).sum() + 1e-5) / ((pc**2).sum() + (gc**2).sum() + 1e-5)
    assert dice == pytest.approx(float(total / 5), rel=1e-5)
    assert ce == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-6)


def test_dice_of_present_classes_leaves_out_the_absent_one(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, labels = batch
    dice = cross_entropy_and_dice(logits, labels)[1]
    present = cross_entropy_and_dice(logits, labels, only_present=True)[1]
    absent = 1 - 1e-5 / float(logits.softmax(dim=1)[:, 4].square().sum() + 1e-5)
    assert float(present) * 4 == pytest.approx(float(dice) * 5 - absent, rel=1e-5)


def test_class_weights_weight_the_cross_entropy(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, labels = batch
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    ce = cross_entropy_and_dice(logits, labels, weights)[0]
    assert ce == pytest.approx(float(F.cross_entropy(logits, labels, weights)), rel=1e-6)


def test_rarer_classes_weigh_more_within_bounds_and_the_mean_over_pixels_is_one() -> None:
    pixels = torch.tensor([100_000, 10_000, 1_000, 0, 1])
    weights = rarity_weights(pixels, 0.5)
    assert weights[0] < weights[1] < weights[2] < weights[4]
    assert weights[4] / weights[0] <= 64.0001
    assert float((weights * pixels).sum() / pixels.sum()) == pytest.approx(1)
    assert rarity_weights(pixels, 0.0).tolist() == [1.0] * 5


def test_loss_of_a_perfect_prediction_is_zero() -> None:
    labels = torch.tensor([[[0, 1], [1, 0]]])
    ce, dice = cross_entropy_and_dice(F.one_hot(labels, 2).movedim(-1, 1) * 60.0, labels)
    assert float(ce) == pytest.approx(0, abs=1e-6)
    assert float(dice) == pytest.approx(0, abs=1e-5)


def one_component(*rows: tuple[float, float]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
    """Arguments for a component of label 0, from the probabilities of two classes at each pixel."""
    logits = torch.tensor(rows).log().T[None, :, None]  # 1 2 1 w
    shape = (1, 1, len(rows))
    return logits, torch.zeros(shape, dtype=torch.long), torch.ones(shape, dtype=torch.long), 4


def test_consensus_has_the_values_of_the_paper() -> None:
    label, agreement = consensus_terms(*one_component((0.9, 0.1), (0.5, 0.5)))
    assert float(label) == pytest.approx(0.356675, abs=1e-6)
    assert float(agreement) == pytest.approx(0.117973, abs=1e-6)
    assert float(10 * label + 5 * agreement) == pytest.approx(4.156616, abs=1e-5)


def test_consensus_equals_equation_8_written_as_loops(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, _ = batch
    labels = torch.zeros(2, 8, 9, dtype=torch.long)
    labels[0, :4], labels[1, :, 5:] = 2, 3
    components = torch.stack([torch.from_numpy(label_components(row.byte().numpy())).long() for row in labels])
    components[0, 0, 0] = 0  # one pixel belongs to none
    p = logits.softmax(dim=1)
    label_terms, agreement_terms = [], []
    for image in range(2):
        for number in torch.unique(components[image]):
            if number == 0:
                continue
            inside = components[image] == number
            q = p[image][:, inside]
            mean = q.mean(dim=1)
            label_terms.append(-mean[labels[image][inside][0]].log())
            agreement_terms.append((mean[:, None] * (mean.log()[:, None] - q.log())).sum(dim=0).mean())
    got = consensus_terms(logits, labels, components, 9)
    assert [float(x) for x in got] == pytest.approx(
        [float(torch.stack(terms).mean()) for terms in (label_terms, agreement_terms)], rel=1e-5
    )


def test_consensus_is_invariant_to_order_and_repetition_of_pixels() -> None:
    assert float(consensus_terms(*one_component((0.7, 0.3), (0.7, 0.3)))[1]) == pytest.approx(0, abs=1e-7)
    some = [(0.9, 0.1), (0.5, 0.5), (0.2, 0.8)]
    plain = [float(x) for x in consensus_terms(*one_component(*some))]
    assert [float(x) for x in consensus_terms(*one_component(*some[::-1]))] == pytest.approx(plain, rel=1e-5)
    assert [float(x) for x in consensus_terms(*one_component(*some, *some))] == pytest.approx(plain, rel=1e-5)
    assert float(consensus_terms(*one_component((0.3, 0.7)))[0]) == pytest.approx(-math.log(0.3), rel=1e-5)  # plain CE


def test_consensus_without_components_is_zero_and_has_a_gradient(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits = batch[0].requires_grad_()
    label, agreement = consensus_terms(logits, batch[1], torch.zeros_like(batch[1]), 4)
    torch.autograd.backward(label + agreement)
    assert float(label.detach()) == float(agreement.detach()) == 0.0
    assert logits.grad is not None


def test_consensus_is_finite_for_probabilities_of_zero() -> None:
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]]).T[None, :, None].requires_grad_()
    zeros = torch.zeros(1, 1, 2, dtype=torch.long)
    label, agreement = consensus_terms(logits, zeros, zeros + 1, 4)
    torch.autograd.backward(label + agreement)
    assert torch.isfinite(label + agreement)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_components_are_connected_and_the_largest_are_kept() -> None:
    labels = torch.tensor([[0, 0, 1, 1, 0], [0, 2, 0, 1, 0], [2, 0, 0, 0, 0]]).byte().numpy()
    components = label_components(labels)
    assert len(set(components[labels == 2])) == 1  # corners connect
    assert len(set(components.ravel())) == 3
    assert set(label_components(labels, min_area=3).ravel()) == {0, 1, 2}
    assert (label_components(labels, max_count=1) == 1).sum() == 10
    assert component_counts(labels, 4).tolist() == [1, 1, 1, 0]


def test_contrastive_loss_equals_its_formula_written_as_loops() -> None:
    torch.manual_seed(1)
    z = F.normalize(torch.randn(9, 4), dim=1)
    classes = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 3])
    groups = torch.tensor([0, 0, 1, 1, 10, 10, 20, 21, 30])
    warm = torch.linspace(0.1, 0.3, 9)
    total = torch.zeros(())
    for i in range(9):
        others = [a for a in range(9) if a != i]
        m = [p for p in others if groups[p] == groups[i]]
        q = [p for p in others if classes[p] == classes[i] and p not in m]
        outside = [a for a in others if a not in m]
        if m:
            norm = torch.stack([z[i] @ z[a] / 0.1 for a in others]).logsumexp(0)
            total -= sum(z[i] @ z[p] / 0.1 - norm for p in m) / len(m)
        if q:
            norm = torch.stack([z[i] @ z[a] / warm[i] for a in outside]).logsumexp(0)
            total -= 0.25 * sum(z[i] @ z[p] / warm[i] - norm for p in q) / len(q)
    assert float(contrastive_loss(z, classes, groups, warm, 0.1, 0.25)) == pytest.approx(float(total / 9), rel=1e-5)


def test_contrastive_loss_of_one_embedding_is_zero() -> None:
    z = torch.ones(1, 4, requires_grad=True)
    loss = contrastive_loss(z, torch.zeros(1), torch.zeros(1), torch.ones(1), 0.1, 0.25)
    torch.autograd.backward(loss)
    assert float(loss.detach()) == 0.0
    assert z.grad is not None
    assert z.grad.isfinite().all()


def test_only_common_classes_are_split_into_groups() -> None:
    counts = group_counts(torch.tensor([720, 30, 160, 0, 45]), min_images=10, max_groups=16)
    assert counts.tolist() == [16, 1, 5, 1, 1]


def test_spherical_kmeans_finds_the_directions_of_clusters() -> None:
    torch.manual_seed(0)
    directions = F.normalize(torch.randn(3, 8), dim=1)
    points = F.normalize(directions.repeat_interleave(40, 0) + 0.05 * torch.randn(120, 8), dim=1)
    centres = spherical_kmeans(points, 3)
    assert (directions @ centres.T).amax(dim=1).min() > 0.99


def test_distillation_loss_equals_kl_divergence() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    assert float(distillation_loss(teacher, teacher, 2.0)) == pytest.approx(0, abs=1e-6)
    p, q = (teacher / 2).softmax(1), (student / 2).softmax(1)
    assert float(distillation_loss(student, teacher, 2.0)) == pytest.approx(
        4 * float((p * (p / q).log()).sum(1).mean()), rel=1e-5
    )
    assert distillation_loss(student, torch.randn(2, 3, 8, 8), 2.0).isfinite()
