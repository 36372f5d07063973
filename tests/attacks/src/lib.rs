//! What hostile and broken peers send to the running bridge; the suites are in `tests/`.
