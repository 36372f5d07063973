//! Faults: whatever is killed, cut or restarted, all end with the same count of what was lost and doubled.

mod chance;
mod count;
mod kill;
mod traffic;
mod victim;
