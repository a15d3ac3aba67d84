import threading

from sipmask_ros.node.mailbox import Mailbox


def test_a_newer_item_replaces_one_that_nobody_took():
    mailbox = Mailbox()
    assert mailbox.put("front", 1) is None
    assert mailbox.put("front", 2) == 1
    assert mailbox.put("rear", 3) is None
    assert mailbox.put("front", 4) == 2
    assert mailbox.take(9) == [4, 3]


def test_an_item_is_taken_once():
    mailbox = Mailbox()
    mailbox.put("front", 1)
    assert mailbox.take() == [1]
    assert mailbox.put("front", 2) is None


def test_no_more_are_taken_than_wanted():
    mailbox = Mailbox()
    for sender in range(5):
        mailbox.put(sender, 10 * sender)
    assert mailbox.take(2) == [0, 10]
    assert mailbox.take(2) == [20, 30]
    assert mailbox.take(2) == [40]


def test_a_fast_sender_does_not_push_a_slow_one_back():
    mailbox = Mailbox()
    mailbox.put("slow", "slow")
    served = []
    for number in range(30):
        mailbox.put("fast", number)
        mailbox.put("faster", number)
        mailbox.put("faster", number + 0.5)
        served += mailbox.take()
        if served[-1] == "slow":
            mailbox.put("slow", "slow")
    assert served.count("slow") == 10
    assert served[:3] == ["slow", 1, 2.5]


def test_closing_wakes_the_one_who_waits():
    mailbox = Mailbox()
    taken = []
    thread = threading.Thread(target=lambda: taken.append(mailbox.take()))
    thread.start()
    mailbox.close()
    thread.join(timeout=30)
    assert taken == [[]]


def test_closing_returns_what_nobody_took_and_lets_nothing_more_in():
    mailbox = Mailbox()
    mailbox.put("front", 1)
    mailbox.put("rear", 2)
    assert mailbox.close() == [1, 2]
    assert mailbox.put("front", 3) == 3
    assert mailbox.take() == []


def test_between_two_threads_every_item_is_either_taken_or_replaced():
    mailbox = Mailbox()
    taken = []

    def take_all():
        while items := mailbox.take(2):
            taken.extend(items)

    thread = threading.Thread(target=take_all)
    thread.start()
    numbers = range(1, 2001)
    replaced = [gone for n in numbers if (gone := mailbox.put(n % 3, n)) is not None]
    left = mailbox.close()
    thread.join(timeout=30)
    assert sorted([*taken, *replaced, *left]) == list(numbers)
    for sender in range(3):
        of_sender = [n for n in taken if n % 3 == sender]
        assert of_sender == sorted(of_sender)
