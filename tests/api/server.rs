//! A server as a process of its own: started, asked, ended.

use super::client::Client;
use crate::program;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use spelunk_testkit::peer::Directory;
use spelunk_testkit::process;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// How long the server may take to listen: generous, since the machine may be busy.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// How long it may take to end.
pub const STOP_PATIENCE: Duration = Duration::from_secs(12);

/// The administrator's name, and everybody's password.
pub const ADMIN: &str = "admin";
pub const PASSWORD: &str = "correct horse battery";

/// Actions that a user can have.
pub const BROWSE: &[&str] = &["browse"];
pub const READ: &[&str] = &["browse", "download"];

/// A running server, ended when dropped.
pub struct Server {
    child: Child,
    said: Receiver<String>,
    origin: String,
    /// Its own data.
    pub data: Directory,
}

impl Server {
    /// Starts one that nobody has set up yet.
    pub fn start<S: AsRef<OsStr>>(library: &Path, options: impl IntoIterator<Item = S>) -> Server {
        let data = Directory::new().expect("a directory");
        let mut command = Command::new(program::path());
        command.arg("serve").arg(library).args(["--listen", "127.0.0.1:0", "--data"]).arg(data.path());
        command.args(options).env("TZ", "UTC").process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the server starts");
        let said = lines_of(child.stderr.take().expect("a pipe"));
        let mut server = Server { child, said, origin: String::new(), data };
        let url = server.wait_for("listening at ");
        url.trim_end_matches('/').clone_into(&mut server.origin);
        server
    }

    /// Starts one that has an administrator, and gives them, logged in.
    pub fn ready(library: &Path) -> (Server, Client) {
        let server = Server::start::<&str>(library, []);
        let admin = server.set_up();
        (server, admin)
    }

    /// Makes the administrator by the link that the server prints.
    pub fn set_up(&self) -> Client {
        let secret = self.setup_secret();
        let body = json!({ "secret": secret, "name": ADMIN, "password": PASSWORD });
        self.anybody().post("/setup", &body).ok().session(&self.anybody())
    }

    /// What stands in the link that the server prints.
    pub fn setup_secret(&self) -> String {
        let link = self.wait_for("make the administrator here, once: ");
        let (url, secret) = link.split_once("/#/setup/").expect("a link for setting up");
        assert_eq!(url, self.origin);
        secret.to_owned()
    }

    /// What follows `word` in the next line that has it.
    #[track_caller]
    pub fn wait_for(&self, word: &str) -> String {
        let end = Instant::now() + START_PATIENCE;
        let mut seen = String::new();
        while let Ok(line) = self.said.recv_timeout(end.saturating_duration_since(Instant::now())) {
            if let Some((_, rest)) = line.split_once(word) {
                return rest.to_owned();
            }
            seen = format!("{seen}{line}\n");
        }
        panic!("the server did not say {word:?}, but:\n{seen}");
    }

    /// Where it is: scheme, address, port.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Address and port.
    pub fn address(&self) -> &str {
        self.origin.rsplit('/').next().expect("an address")
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whoever comes by.
    pub fn anybody(&self) -> Client {
        Client::new(&self.origin)
    }

    /// Whoever has a link with this secret.
    pub fn share(&self, secret: &str) -> Client {
        self.anybody().below(&format!("/s/{secret}/api/v1"))
    }

    /// Makes a user with these rights, and gives whoever has a token for all of them.
    pub fn user(&self, admin: &Client, name: &str, rights: &[(&str, &[&str])]) -> Client {
        self.token(&self.session(admin, name, rights), &json!({}))
    }

    /// Makes a user with these rights, who is logged in.
    pub fn session(&self, admin: &Client, name: &str, rights: &[(&str, &[&str])]) -> Client {
        let rights: Vec<_> =
            rights.iter().map(|(client, actions)| json!({ "client": client, "actions": actions })).collect();
        let user = json!({ "name": name, "password": PASSWORD, "rights": rights });
        admin.post("/users", &user).expect(201);
        self.log_in(name)
    }

    /// Logs in.
    pub fn log_in(&self, name: &str) -> Client {
        let body = json!({ "name": name, "password": PASSWORD });
        self.anybody().post("/login", &body).ok().session(&self.anybody())
    }

    /// Whoever has a token of this user's, for everything but what `limits` say.
    pub fn token(&self, user: &Client, limits: &serde_json::Value) -> Client {
        let mut body = json!({ "name": "test", "actions": ["browse", "download", "manage"] });
        let fields = body.as_object_mut().expect("an object");
        fields.extend(limits.as_object().expect("an object").clone());
        let secret = user.post("/tokens", &body).expect(201).json()["secret"].clone();
        self.anybody().with("authorization", &format!("Bearer {}", secret.as_str().expect("a secret")))
    }

    /// Asks the server to end, waits until it has, and looks that it left nothing running.
    pub fn stop(mut self) -> Duration {
        let (status, took) = self.end();
        assert_eq!(status.and_then(|status| status.code()), Some(0), "how the server ended");
        assert_eq!(process::left_behind(self.child.id()), Vec::<u32>::new());
        took
    }

    fn end(&mut self) -> (Option<ExitStatus>, Duration) {
        let start = Instant::now();
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            // It may have ended by itself, which its status tells.
            _ = kill_process(pid, Signal::TERM);
        }
        while start.elapsed() < STOP_PATIENCE {
            if let Some(status) = self.child.try_wait().expect("a status") {
                return (Some(status), start.elapsed());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        _ = self.child.kill();
        _ = self.child.wait();
        (None, start.elapsed())
    }
}

/// A test that has not looked how the server ends looks here.
impl Drop for Server {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        let (status, _) = self.end();
        if !std::thread::panicking() {
            assert_eq!(status.and_then(|status| status.code()), Some(0), "how the server ended");
            assert_eq!(process::left_behind(self.child.id()), Vec::<u32>::new());
        }
    }
}

/// The lines of a pipe, which is read to its end, so that nobody who writes to it waits.
fn lines_of(pipe: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            // When the test is over nobody listens.
            _ = sender.send(line);
        }
    });
    receiver
}
