"""How processes meet at process 0, and how they notice that it is gone; without JAX."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from netdef.language.errors import NetdefError
from netdef.training.meeting import Relay, meet


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


def answer(address: str, index: int, count: int, seconds: float) -> str:
    """What a process is told: "met", or an error."""
    try:
        meet(address, index, count, seconds)
    except NetdefError as error:
        return str(error)
    return "met"


def answers(address: str, present: list[int], count: int, seconds: float) -> list[str]:
    with ThreadPoolExecutor(len(present)) as pool:
        return list(pool.map(lambda index: answer(address, index, count, seconds), present))


def test_all_arrive_in_any_order():
    assert answers(free_address(), [2, 1, 0], 3, 0.8) == ["met"] * 3
    assert answer("127.0.0.1:1", 0, 1, 1) == "met"  # a run of one process waits for nobody


@pytest.mark.parametrize(
    ("present", "count", "who"),
    [
        ([0], 2, "process 1 of 2 has"),
        ([0, 2], 4, "processes 1 and 3 of 4 have"),
        ([0], 30, "processes 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20 and 9 more of 30 have"),
    ],
)  # fmt: skip
def test_processes_that_do_not_arrive_are_named_by_all_others(present, count, who):
    address = free_address()
    words = f"{who} not arrived at {address}, where process 0 waits, within 0.5 seconds."
    assert answers(address, present, count, 0.5) == [words] * len(present)


def test_others_that_call_are_no_processes_of_the_run():
    address = free_address()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(answer, address, 0, 2, 1.5)
        for text in (b"GET / HTTP/1.1\n", b"netdef 7 2\n", b"netdef 1 3\n", b"netdef one 2\n", b"netdef 0 2\n", b""):
            call(address, text)
        assert waiting.result().startswith("process 1 of 2 has not arrived")


def call(address: str, text: bytes) -> None:
    host, port = address.split(":")
    until = time.monotonic() + 5
    while True:
        try:
            with socket.create_connection((host, int(port))) as caller:
                caller.sendall(text)
                return
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.05)


def test_process_0_that_is_absent_or_cannot_listen():
    address = free_address()
    assert f"process 0 of this run does not answer at {address}: " in answer(address, 1, 2, 0.3)
    with socket.create_server(("", int(address.split(":")[1]))):
        assert f"process 0 of this run cannot listen at {address}: Address already in use." in answer(
            address, 0, 2, 0.3
        )


def test_a_relay_stays_open_when_process_0_is_gone():
    with socket.create_server(("127.0.0.1", 0)) as home:
        relay = Relay(f"127.0.0.1:{home.getsockname()[1]}")
        near = socket.create_connection(("127.0.0.1", int(relay.address.split(":")[1])))
        far = home.accept()[0]
        near.sendall(b"question")
        assert far.recv(100) == b"question"
        far.sendall(b"answer")
        assert near.recv(100) == b"answer"
    far.close()
    assert relay.lost.wait(10)
    near.settimeout(0.2)
    with pytest.raises(TimeoutError):
        near.recv(1)
    near.close()


def test_a_connection_that_this_process_closes_is_no_loss():
    with socket.create_server(("127.0.0.1", 0)) as home:
        relay = Relay(f"127.0.0.1:{home.getsockname()[1]}")
        near = socket.create_connection(("127.0.0.1", int(relay.address.split(":")[1])))
        far = home.accept()[0]
        near.close()
        assert far.recv(1) == b""
        far.close()
        assert not relay.lost.wait(0.3)
        assert threading.active_count() < 100


def connected(relay: Relay) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(relay.address.split(":")[1])))


def test_a_connection_that_process_0_closes_while_it_serves_others_is_no_loss():
    with socket.create_server(("127.0.0.1", 0)) as home:
        relay = Relay(f"127.0.0.1:{home.getsockname()[1]}")
        near = connected(relay)
        home.accept()[0].close()
        near.settimeout(10)
        assert near.recv(1) == b""  # so that JAX connects again
        assert not relay.lost.is_set()
        near.close()


def test_data_for_a_connection_that_this_process_has_reset_are_no_loss():
    with socket.create_server(("127.0.0.1", 0)) as home:
        relay = Relay(f"127.0.0.1:{home.getsockname()[1]}")
        near = connected(relay)
        far = home.accept()[0]
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        near.close()  # resets the connection
        with contextlib.suppress(OSError):
            for _ in range(20):
                far.sendall(b"x" * 1000)
                time.sleep(0.005)
        far.close()
    assert not relay.lost.wait(1.5)
