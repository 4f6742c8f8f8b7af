use std::process::ExitCode;

fn main() -> ExitCode {
    foredial::cli::main(foredial::cli::Daemon)
}
