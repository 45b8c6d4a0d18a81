//! Hands over to the command line.

fn main() -> std::process::ExitCode {
    haulier::cli::main()
}
