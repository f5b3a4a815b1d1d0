"""The ring hands over every sample once, in order, or counts what it dropped."""

import threading

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rtmelody.core.ring import Ring


@given(st.integers(1, 50), st.lists(st.one_of(st.none(), st.integers(0, 60)), max_size=60))
def test_keeps_order_and_counts_drops(capacity, steps):
    ring, written, read, waiting, clock, drops = Ring(capacity), [], [], 0, 0, 0
    for step in steps:
        if step is None:
            block = ring.read()
            assert len(block) == waiting
            read.extend(block)
            waiting = 0
            continue
        block = np.arange(clock, clock + step, dtype=np.float32)
        clock += step
        ring.write(block)
        if step > capacity - waiting:
            drops += 1
        else:
            written.extend(block)
            waiting += step
    read.extend(ring.read())
    assert read == written
    assert ring.overflows == drops


def test_two_threads():
    ring, total, received = Ring(4_096), 200_000, []

    def produce():
        sent = 0
        while sent < total:
            block = np.arange(sent, min(sent + 97, total), dtype=np.float32)
            before = ring.overflows
            ring.write(block)
            if ring.overflows == before:
                sent += len(block)

    producer = threading.Thread(target=produce)
    producer.start()
    while len(received) < total:
        received.extend(ring.read())
    producer.join()
    assert np.array_equal(received, np.arange(total))


def test_what_was_read_is_a_copy():
    ring = Ring(8)
    ring.write(np.ones(8, np.float32))
    block = ring.read()
    ring.write(np.zeros(8, np.float32))
    assert (block == 1).all()
