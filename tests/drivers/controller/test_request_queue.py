"""The desk: bounded, in order, and nobody is left waiting when it ends."""

from __future__ import annotations

import threading
import time

import pytest
from eapu_drivers.controller.desk import WAITING_MAX, Desk, Urgent
from eapu_drivers.controller.messages import GetLimits, Status
from eapu_drivers.controller.requests import SingleRequest

from eapu_hil.hal import TransportError


def request(number: int = 1) -> SingleRequest:
    return SingleRequest(GetLimits(number))


def test_requests_are_taken_in_the_order_they_came() -> None:
    desk = Desk()
    for number in range(5):
        desk.put(request(number))
    taken = []
    while (head := desk.head()) is not None:
        taken.append(head.id)
        desk.pop()
    assert taken == list(range(5))


def test_a_full_desk_lets_the_caller_wait_until_there_is_room() -> None:
    desk = Desk()
    for _ in range(WAITING_MAX):
        desk.put(request())
    caller = threading.Thread(target=desk.put, args=(request(),), daemon=True)
    caller.start()
    time.sleep(0.05)
    assert (caller.is_alive(), len(desk)) == (True, WAITING_MAX)
    desk.pop()
    caller.join(5)
    assert (caller.is_alive(), len(desk)) == (False, WAITING_MAX)


def test_at_the_end_those_who_wait_are_told_why_and_nothing_more_is_taken() -> None:
    desk, told = Desk(), []
    for _ in range(WAITING_MAX):
        desk.put(request())

    def put() -> None:
        try:
            desk.put(request())
        except TransportError as error:
            told.append(str(error))

    caller = threading.Thread(target=put, daemon=True)
    caller.start()
    time.sleep(0.05)
    assert desk.end(lambda: TransportError("unplugged"))
    caller.join(5)
    assert told == ["unplugged"]
    assert not desk.end(lambda: TransportError("again"))
    with pytest.raises(TransportError, match="unplugged"):
        desk.put_urgent(Urgent(Status(1)))
    assert len(desk.take_all()) == WAITING_MAX


def test_ids_are_handed_out_once_and_come_to_an_end() -> None:
    desk = Desk()
    assert [desk.take_ids(3), desk.take_ids(1)] == [1, 4]
    desk.ids_above(100)
    desk.ids_above(50)
    assert desk.take_ids(1) == 101
    desk.ids_above(2**32 - 3)
    assert desk.take_ids(2) == 2**32 - 2
    with pytest.raises(TransportError, match="reset the controller"):
        desk.take_ids(1)
