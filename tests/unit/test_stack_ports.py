"""Ports of the embedded stack."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.stack.ports import LOOPBACK, Ports, is_free


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as server:
        server.bind((LOOPBACK, 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_port_in_use_is_replaced_and_the_wanted_one_is_named(taken: int, tmp_path: Path) -> None:
    ports = Ports({"kafka": taken}, tmp_path)
    choice = ports.choose("kafka")
    ports.close()
    assert choice.port != taken
    assert choice.in_use == taken


def test_the_port_of_last_time_comes_before_the_well_known_one(tmp_path: Path) -> None:
    ports = Ports({}, tmp_path)
    remembered = ports.choose("anything").port
    ports.close()
    again = Ports({"kafka": remembered}, tmp_path)
    choice = again.choose("kafka")
    again.close()
    assert (choice.port, choice.in_use) == (remembered, None)


def test_two_parts_do_not_get_the_same_free_port(tmp_path: Path) -> None:
    free = Ports({}, tmp_path)
    port = free.choose("one").port
    free.close()
    ports = Ports({"one": port, "two": port}, tmp_path)
    chosen = {ports.choose("one").port, ports.choose("two").port}
    ports.close()
    assert len(chosen) == 2


def test_a_port_chosen_by_another_supervisor_that_does_not_listen_yet_is_left_to_it(tmp_path: Path) -> None:
    first, second = Ports({}, tmp_path), Ports({}, tmp_path)
    port = first.choose("kafka").port
    second._remembered["kafka"] = port
    choice = second.choose("kafka")
    first.close()
    second.close()
    assert choice.port != port


def test_a_claim_ends_with_its_supervisor(tmp_path: Path) -> None:
    first = Ports({}, tmp_path)
    port = first.choose("anything").port
    first.close()
    second = Ports({"anything": port}, tmp_path)
    choice = second.choose("anything")
    second.close()
    assert choice.port == port


def test_a_listening_port_is_not_free(taken: int) -> None:
    assert not is_free(taken)
