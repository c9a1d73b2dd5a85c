"""The queue: bounded, in order, and nobody is left waiting when it ends."""

from __future__ import annotations

import threading
import time

import pytest
from eapu_drivers.controller.messages import GetLimits, Status
from eapu_drivers.controller.request_queue import WAITING_MAX, RequestQueue, UrgentRequest
from eapu_drivers.controller.requests import SingleRequest

from eapu_hil.hal import TransportError


def request(number: int = 1) -> SingleRequest:
    return SingleRequest(GetLimits(number))


def test_requests_are_taken_in_the_order_they_came() -> None:
    queue = RequestQueue()
    for number in range(5):
        queue.put(request(number))
    taken = []
    while (head := queue.head()) is not None:
        taken.append(head.id)
        queue.pop()
    assert taken == list(range(5))


def test_a_full_desk_lets_the_caller_wait_until_there_is_room() -> None:
    queue = RequestQueue()
    for _ in range(WAITING_MAX):
        queue.put(request())
    caller = threading.Thread(target=queue.put, args=(request(),), daemon=True)
    caller.start()
    time.sleep(0.05)
    assert (caller.is_alive(), len(queue)) == (True, WAITING_MAX)
    queue.pop()
    caller.join(5)
    assert (caller.is_alive(), len(queue)) == (False, WAITING_MAX)


def test_at_the_end_those_who_wait_are_told_why_and_nothing_more_is_taken() -> None:
    queue, told = RequestQueue(), []
    for _ in range(WAITING_MAX):
        queue.put(request())

    def put() -> None:
        try:
            queue.put(request())
        except TransportError as error:
            told.append(str(error))

    caller = threading.Thread(target=put, daemon=True)
    caller.start()
    time.sleep(0.05)
    assert queue.end(lambda: TransportError("unplugged"))
    caller.join(5)
    assert told == ["unplugged"]
    assert not queue.end(lambda: TransportError("again"))
    with pytest.raises(TransportError, match="unplugged"):
        queue.put_urgent(UrgentRequest(Status(1)))
    assert len(queue.take_all()) == WAITING_MAX


def test_ids_are_handed_out_once_and_come_to_an_end() -> None:
    queue = RequestQueue()
    assert [queue.take_ids(3), queue.take_ids(1)] == [1, 4]
    queue.ids_above(100)
    queue.ids_above(50)
    assert queue.take_ids(1) == 101
    queue.ids_above(2**32 - 3)
    assert queue.take_ids(2) == 2**32 - 2
    with pytest.raises(TransportError, match="reset the controller"):
        queue.take_ids(1)
