//! What the command line of `haulier serve` may set.

use std::path::PathBuf;

use clap::Args;

/// Flags of the server. Each wins over the configuration file.
///
/// Secrets have no flags, for a command line is visible to every user of the machine; they come from the file, or from
/// `HAULIER_DATABASE_URL`, `HAULIER_MASTER_KEY` and `HAULIER_ADMIN_TOKEN`, or from files that `…_FILE` name.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "HAULIER_CONFIG")]
    pub config: Option<PathBuf>,

    /// Address and port to listen on [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT", env = "HAULIER_LISTEN")]
    pub listen: Option<String>,

    /// Directory of the database, the logs and the master key
    #[arg(long, value_name = "DIR", env = "HAULIER_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
}
