//! Over TLS, and what is not served without it.

use super::library;
use super::raw::ask;
use super::server::{PASSWORD, Server};
use crate::{fixture, program};
use serde_json::json;
use spelunk_testkit::peer::Directory;
use spelunk_testkit::{skip, tool};
use std::path::Path;
use std::process::{Command, Stdio};

fn can_run() -> bool {
    fixture::can_be_made() && skip::unless_found(&["curl", "openssl"])
}

/// Asks over TLS, trusting this certificate alone. Answers headers and body.
#[track_caller]
fn curl(certificate: &Path, arguments: &[&str]) -> String {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-i", "--cacert"]).arg(certificate).args(arguments);
    String::from_utf8(tool::output(&mut curl).expect("curl").stdout).expect("UTF-8")
}

/// Makes the administrator, and looks at the cookie.
#[track_caller]
fn set_up(server: &Server, certificate: &Path) -> String {
    let body = json!({ "secret": server.setup_secret(), "name": "admin", "password": PASSWORD }).to_string();
    let url = format!("{}/api/v1/setup", server.origin());
    let answer =
        curl(certificate, &["-H", "Content-Type: application/json", "-d", &body, &url]).to_lowercase();
    assert!(answer.contains("strict-transport-security: max-age=31536000"), "{answer}");
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    assert!(cookie.starts_with("__host-spelunk_session=") && cookie.contains("; secure"), "{cookie}");
    assert!(cookie.contains("; path=/;") && !cookie.contains("domain"), "as the name demands: {cookie}");
    answer
}

/// The certificate's SHA-256, as openssl gets it from the server.
fn fingerprint(server: &Server) -> String {
    let script =
        "openssl s_client -connect \"$0\" </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256";
    let shown = tool::run("sh", ["-c", script, server.address()]).expect("openssl");
    String::from_utf8(shown).expect("UTF-8").trim().rsplit('=').next().expect("a fingerprint").to_owned()
}

#[test]
fn self_made_certificate_is_the_one_that_is_told_and_is_kept() {
    if !can_run() {
        return;
    }
    let library = library::of(&fixture::plain());
    let server = Server::start(library.path(), ["--tls-self-made", "localhost", "127.0.0.1"]);
    assert!(server.origin().starts_with("https://127.0.0.1:"));
    let told = server.wait_for("certificate SHA-256 ");
    assert_eq!(fingerprint(&server), told);
    let certificate = server.data.path().join("tls-certificate.pem");
    set_up(&server, &certificate);

    // HTTP/2 is the same API.
    let list = format!("{}/api/v1/list", server.origin());
    let answer = curl(&certificate, &["--http2", &list]);
    assert!(answer.starts_with("HTTP/2 401") && answer.contains("urn:spelunk:unauthenticated"), "{answer}");
    let by_name =
        format!("https://localhost:{}/api/v1/list", server.address().rsplit(':').next().expect("a port"));
    assert!(curl(&certificate, &["--http1.1", &by_name]).starts_with("HTTP/1.1 401"));
    let answer = ask(server.address(), b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(!answer.contains("HTTP/1.1 200") && !answer.contains("openapi"), "{answer}");
    for old in ["-tls1", "-tls1_1"] {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-connect", server.address(), old, "-cipher", "ALL:@SECLEVEL=0"]);
        let output = openssl.stdin(Stdio::null()).output().expect("openssl");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("Cipher is TLS_"), "{old}");
        assert!(!output.status.success(), "{old}");
    }
    use std::os::unix::fs::PermissionsExt;
    let key = std::fs::metadata(server.data.path().join("tls-key.pem")).expect("the key");
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    server.stop();
}

#[test]
fn given_certificate_is_used() {
    if !can_run() {
        return;
    }
    let library = library::of(&fixture::plain());
    let directory = Directory::new().expect("a directory");
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| directory.path().join(name));
    let [certificate_name, key_name] = [&certificate, &key].map(|path| path.to_str().expect("UTF-8"));
    let made =
        "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=given -addext subjectAltName=IP:127.0.0.1";
    let arguments = made.split(' ').chain(["-out", certificate_name, "-keyout", key_name]);
    tool::run("openssl", arguments).expect("a certificate");

    let server = Server::start(library.path(), ["--tls-cert", certificate_name, "--tls-key", key_name]);

    let told = server.wait_for("certificate SHA-256 ");
    assert_eq!(fingerprint(&server), told);
    set_up(&server, &certificate);
    server.stop();
}

/// Runs the server where it must end by itself.
#[track_caller]
fn refused(arguments: &[&str]) -> (i32, String) {
    let library = Directory::new().expect("a directory");
    let data = Directory::new().expect("a directory");
    let [library, data] =
        [&library, &data].map(|directory| directory.path().to_str().expect("UTF-8").to_owned());
    let mut command = Command::new("timeout");
    command.arg("20").arg(program::path()).args(["serve", &library, "--data", &data]).args(arguments);
    let output = command.output().expect("it ends");
    (output.status.code().unwrap_or_default(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn nothing_is_sent_in_the_clear_beyond_this_machine() {
    if !can_run() {
        return;
    }
    for address in ["0.0.0.0:0", "[::]:0"] {
        let (code, said) = refused(&["--listen", address]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("for everybody to read") && said.contains("--tls-self-made"), "{said}");
    }
    let (code, said) =
        refused(&["--listen", "127.0.0.1:0", "--tls-cert", "/nowhere/a", "--tls-key", "/nowhere/b"]);
    assert!(code != 0 && code != 124 && said.contains("/nowhere/a"), "{code} {said}");
    let (code, said) = refused(&["--listen", "127.0.0.1:0", "--tls-cert", "/etc/passwd"]);
    assert_eq!(code, 2, "{said}");
}

#[test]
fn behind_a_proxy_that_speaks_tls_cookies_are_for_tls_alone() {
    if !can_run() {
        return;
    }
    let library = library::of(&fixture::plain());
    let options = ["--behind-tls-proxy", "--trusted-proxy", "127.0.0.1"];
    let server = Server::start(library.path(), options);
    let body = json!({ "secret": server.setup_secret(), "name": "admin", "password": PASSWORD });
    let proxied = server.anybody().with("x-forwarded-for", "192.0.2.7");

    let answer = proxied.post("/setup", &body).ok();

    let cookie = answer.header("set-cookie");
    assert!(cookie.starts_with("__Host-spelunk_session=") && cookie.ends_with("; Secure"), "{cookie}");
    let admin = answer.session(&proxied);
    let log = admin.get("/audit").ok().json();
    assert_eq!(log["events"][0]["peer"], "192.0.2.7", "the client's address, not the proxy's");
    let own = server.origin().replace("http:", "https:");
    let token = json!({ "name": "t", "actions": ["browse"] });
    admin.with("origin", &own).post("/tokens", &token).expect(201);
    admin.with("origin", server.origin()).post("/tokens", &token).refused(403, "denied");
    server.stop();
}
