"""The metrics of Long et al. 2015 against confusion matrices counted and computed by hand."""

import numpy as np
import pytest

from colorgan.data.masks import IGNORED
from colorgan.metrics import class_iou, segmentation_confusion, segmentation_scores

# The true class by the predicted one, and pixel accuracy, class accuracy, mean IoU and
# frequency-weighted IoU, computed by hand.
BY_HAND = [
    # All right.
    ([[3, 0], [0, 5]], (1, 1, 1, 1)),
    # 3 of 4 and 4 of 6 are right; IoU 3 / 6 and 4 / 7.
    ([[3, 1], [2, 4]], (7 / 10, (3 / 4 + 4 / 6) / 2, (3 / 6 + 4 / 7) / 2, 0.4 * 0.5 + 0.6 * 4 / 7)),
    # The third class is nowhere and does not count.
    ([[3, 1, 0], [2, 4, 0], [0, 0, 0]], (0.7, 17 / 24, 15 / 28, 0.2 + 2.4 / 7)),
    # The third class is only predicted: it has no accuracy, and an IoU of 0.
    ([[2, 0, 2], [0, 6, 0], [0, 0, 0]], (0.8, 0.75, (0.5 + 1 + 0) / 3, 0.4 * 0.5 + 0.6 * 1)),
    # The second class is never found.
    ([[8, 0], [2, 0]], (0.8, 0.5, (0.8 + 0) / 2, 0.8 * 0.8)),
    # No pixel counts.
    ([[0, 0], [0, 0]], (np.nan, np.nan, np.nan, np.nan)),
]


@pytest.mark.parametrize(("confusion", "expected"), BY_HAND)
def test_the_metrics_of_a_confusion_matrix(
    confusion: list[list[int]], expected: tuple[float, ...]
) -> None:
    scores = segmentation_scores(confusion)
    found = (scores.pixel_accuracy, scores.class_accuracy, scores.mean_iou, scores.weighted_iou)
    assert found == pytest.approx(expected, nan_ok=True)


def test_several_matrices_at_once_are_the_same_as_each_alone() -> None:
    matrices = np.array([matrix for matrix, _ in BY_HAND if len(matrix) == 2])
    together = segmentation_scores(matrices)
    for name, values in vars(together).items():
        alone = [getattr(segmentation_scores(matrix), name) for matrix in matrices]
        assert values == pytest.approx(alone, nan_ok=True), name


def test_pixels_are_counted_by_true_and_predicted_class() -> None:
    truth = np.array([[0, 0, 1], [1, 2, IGNORED]], np.uint8)
    predicted = np.array([[0, 1, 1], [1, 0, 2]], np.uint8)
    confusion = segmentation_confusion(predicted, truth, 4)
    assert confusion.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert class_iou(confusion) == pytest.approx([1 / 3, 2 / 3, 0, np.nan], nan_ok=True)


def test_where_every_pixel_is_ignored_nothing_is_counted() -> None:
    truth = np.full((2, 2), IGNORED, np.uint8)
    assert not segmentation_confusion(np.zeros((2, 2), np.uint8), truth, 3).any()
