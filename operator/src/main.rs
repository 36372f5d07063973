//! The program `dingtalk-operator`.

fn main() {}
