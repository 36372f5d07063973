//! The program `dingtalk-bridge`.

fn main() -> std::process::ExitCode {
    dingtalk_bridge::cli::main()
}
