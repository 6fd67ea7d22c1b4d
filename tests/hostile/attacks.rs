use std::process::ExitCode;
pub const HOST_COMMAND: &str = "__host";
pub fn host() -> ExitCode {
    ExitCode::SUCCESS
}
