//! `spelunk serve`: the library in a browser, over WebDAV, and as an API.

use super::image::{OpenArgs, PlaceArgs};
use super::{Error, Outcome, error};
use crate::server::{Config, Server, Tls};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use spelunk_tree::Error as TreeError;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Show backups in a browser, over WebDAV, and as an API
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  spelunk serve /backups                          on this machine, at http://127.0.0.1:8484/
  spelunk serve /backups /more --listen 0.0.0.0:8484 --tls-self-made backup.example.org
  spelunk serve /backups --listen 0.0.0.0:443 --tls-cert chain.pem --tls-key key.pem

At the first start a link is printed, by which the administrator is made; until then nobody gets in.
WebDAV is at /dav/, the API at /api/v1 (described at /api/v1/openapi.json).")]
pub struct Args {
    /// Directories with backups: a store of Spelunk, a repository of restic, a storage of UrBackup, or images
    #[arg(value_name = "LIBRARY", required = true)]
    libraries: Vec<PathBuf>,

    #[command(flatten)]
    place: PlaceArgs,

    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8484")]
    listen: SocketAddr,

    /// Where users, the index of names and the like are kept
    /// [default: /var/lib/spelunk for root, else ~/.local/state/spelunk]
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<PathBuf>,

    /// Certificate chain (PEM): speak TLS
    #[arg(long, value_name = "FILE", requires = "tls_key", conflicts_with = "tls_self_made")]
    tls_cert: Option<PathBuf>,

    /// The certificate's key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Speak TLS with a certificate made for these names, and kept
    #[arg(long, value_name = "NAME", num_args = 1..)]
    tls_self_made: Vec<String>,

    /// A proxy whose X-Forwarded-For is taken for the client's address
    #[arg(long, value_name = "ADDRESS")]
    trusted_proxy: Vec<IpAddr>,

    /// A proxy in front speaks TLS with the browsers
    #[arg(long, conflicts_with_all = ["tls_cert", "tls_self_made"])]
    behind_tls_proxy: bool,

    /// Listen beyond this machine without TLS, for everybody on the way to read
    #[arg(long)]
    without_tls: bool,

    /// Do not read the names in new backups as they appear, for searches to come
    #[arg(long)]
    no_index: bool,

    #[command(flatten)]
    open: OpenArgs,
}

/// Runs the command.
///
/// # Errors
/// When a library cannot be read, the address cannot be had, or the system refuses.
pub fn run(args: &Args) -> Result<Outcome, Error> {
    let tls = tls(args);
    if matches!(tls, Tls::Off)
        && !args.listen.ip().is_loopback()
        && !args.behind_tls_proxy
        && !args.without_tls
    {
        let message = "beyond this machine, passwords and files would be sent for everybody to read";
        let hint = "--tls-self-made NAME, --tls-cert and --tls-key, or --behind-tls-proxy";
        return Err(Error::usage(message).hint(hint));
    }
    let config = Config {
        places: args.libraries.iter().map(|path| args.place.place(path)).collect(),
        options: args.open.options(),
        listen: args.listen,
        data: args.data.clone().map_or_else(default_data, Ok)?,
        keeps_index: !args.no_index,
        tls,
        is_behind_tls: args.behind_tls_proxy,
        trusted_proxies: args.trusted_proxy.clone(),
    };
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|error| TreeError::from_io("handling signals", &error))?;
    let server = Server::bind(config).map_err(Error::image)?;
    error::say(&format!("listening at {}", server.url()));
    for note in server.notes() {
        error::say(&format!("note: {}", super::escape::message(&note)));
    }
    if let Some(fingerprint) = server.fingerprint() {
        error::say(&format!("certificate SHA-256 {fingerprint}"));
    }
    if let Some(url) = server.setup_url()? {
        error::say(&format!("make the administrator here, once: {url}"));
    }
    let (stop, stopped) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        signals.forever().next();
        // It has stopped already.
        _ = stop.send(());
    });
    server.run(stopped)?;
    Ok(Outcome::Done)
}

fn tls(args: &Args) -> Tls {
    match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => Tls::Given { certificate: certificate.clone(), key: key.clone() },
        _ if args.tls_self_made.is_empty() => Tls::Off,
        _ => Tls::SelfMade { names: args.tls_self_made.clone() },
    }
}

/// Where the data are when nobody says otherwise.
pub(super) fn default_data() -> Result<PathBuf, Error> {
    if rustix::process::geteuid().is_root() {
        return Ok("/var/lib/spelunk".into());
    }
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let state = state.or_else(home);
    state
        .map(|state| state.join("spelunk"))
        .ok_or_else(|| Error::usage("name the directory for data with --data"))
}
