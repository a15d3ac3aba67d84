import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

from sipmask_ros.node.losses import BAD_PERIODS, Losses


def period(losses, numbers):
    for number in numbers:
        losses.note(number)
    return losses.end_period()


def test_gaps_in_the_numbers_are_lost_images():
    losses = Losses()
    period(losses, [40, 41, 44])
    period(losses, [45, 50])
    assert losses.total == 2 + 4


def test_the_hint_is_due_once_after_bad_periods_in_a_row():
    losses = Losses()
    hints, number = [], 0
    for lost in [5, 5, 0, *[5] * (BAD_PERIODS + 3)]:
        numbers = [*range(number, number + 10), number + 10 + lost]
        number = numbers[-1] + 1
        hints.append(period(losses, numbers))
    assert hints.index(True) == 3 + BAD_PERIODS - 1
    assert hints.count(True) == 1
    assert losses.total == 5 * (2 + BAD_PERIODS + 3)


def test_an_image_in_twenty_is_counted_and_no_reason_for_a_hint():
    losses = Losses()
    numbers = [number for number in range(200) if number % 20]
    hints = [period(losses, numbers[start : start + 19]) for start in range(0, len(numbers), 19)]
    assert not any(hints)
    assert losses.total == 9


def test_two_publishers_and_a_camera_that_starts_again_lose_nothing():
    losses = Losses()
    for start in range(1, 50, 10):
        mixed = [number for step in range(10) for number in (start + step, 1000 + start + step)]
        assert not period(losses, mixed)
    assert not period(losses, [500, 501, 1, 2])
    assert losses.total == 0
    period(losses, [3, 4, 6])
    assert losses.total == 1


def test_without_numbers_and_without_images_nothing_is_known():
    losses = Losses()
    assert not any(period(losses, [None, None]) for _ in range(2 * BAD_PERIODS))
    assert not any(period(losses, []) for _ in range(2 * BAD_PERIODS))
    assert losses.total == 0


def test_periods_without_images_do_not_end_a_row_of_bad_ones():
    losses = Losses()
    hints = []
    for number in range(0, 10 * BAD_PERIODS, 10):
        hints += [period(losses, [number, number + 5]), period(losses, [])]
    assert hints.count(True) == 1
