//! Hands over to the command line, or to what an engine has executed this program for.

fn main() -> std::process::ExitCode {
    // Before there is any thread.
    #[cfg(target_os = "linux")]
    if let Some(code) = haulier::engines::embedded::helper() {
        return code;
    }
    haulier::cli::main()
}
