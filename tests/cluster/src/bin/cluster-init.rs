//! The program that a box consists of, for owners that cannot play it themselves, such as tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    cluster::init_main(std::env::args_os().skip(1))
}
