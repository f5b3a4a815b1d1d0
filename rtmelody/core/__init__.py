"""The recognizer itself: pure, without I/O, threads, clocks or logging."""
