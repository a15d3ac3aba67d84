import threading

from sipmask_ros.mailbox import Mailbox


def test_a_newer_item_replaces_one_that_nobody_took():
    mailbox = Mailbox()
    assert mailbox.put(1) is None
    assert mailbox.put(2) == 1
    assert mailbox.put(3) == 2
    assert mailbox.take() == 3


def test_an_item_is_taken_once():
    mailbox = Mailbox()
    mailbox.put(1)
    assert mailbox.take() == 1
    assert mailbox.put(2) is None


def test_closing_wakes_the_one_who_waits():
    mailbox = Mailbox()
    taken = []
    thread = threading.Thread(target=lambda: taken.append(mailbox.take()))
    thread.start()
    mailbox.close()
    thread.join(timeout=30)
    assert taken == [None]


def test_closing_returns_what_nobody_took_and_lets_nothing_more_in():
    mailbox = Mailbox()
    mailbox.put(1)
    assert mailbox.close() == 1
    assert mailbox.put(2) == 2
    assert mailbox.take() is None


def test_between_two_threads_every_item_is_either_taken_or_replaced():
    mailbox = Mailbox()
    taken = []

    def take_all():
        while (item := mailbox.take()) is not None:
            taken.append(item)

    thread = threading.Thread(target=take_all)
    thread.start()
    replaced = [gone for item in range(1, 2001) if (gone := mailbox.put(item)) is not None]
    left = mailbox.close()
    thread.join(timeout=30)
    assert sorted([*taken, *replaced, *([left] if left else [])]) == list(range(1, 2001))
    assert taken == sorted(taken)
