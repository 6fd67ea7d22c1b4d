//! LOCK and UNLOCK. Nothing here can be written, so a lock keeps nobody from anything: clients that insist on one
//! before they open a file (Office, Windows) are given one, and nothing of it is kept.

use super::target::Target;
use super::view::View;
use super::xml::{self, Part, push_text};
use super::{Body, Refusal, Webdav};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use std::hash::{BuildHasher, RandomState};

/// How long a lock is said to last: clients ask again before it ends.
const SECONDS: u32 = 3600;
/// Bytes of the owner's name that are given back.
const OWNER_BYTES_MAX: usize = 1024;
const SCHEME: &str = "urn:uuid:";

/// What a client says of the lock that it wants.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wish {
    is_shared: bool,
    owner: String,
}

/// Answers a LOCK: of what is there, or of a lock that was given before.
pub(super) async fn lock(
    dav: &Webdav,
    view: View,
    target: Target,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, Refusal> {
    let wish = if body.is_empty() { None } else { Some(parse(body)?) };
    let token = match &wish {
        Some(_) => token(),
        None => {
            let refreshed = headers.get("If").and_then(|header| header.to_str().ok()).and_then(held_token);
            refreshed.ok_or(Refusal::Status(StatusCode::PRECONDITION_FAILED))?.to_owned()
        }
    };
    let Target::Within { names, is_directory } = target else {
        return Err(Refusal::Status(StatusCode::FORBIDDEN));
    };
    let found = dav.calls.run(move || Ok((view.find(&names, is_directory)?, names))).await;
    let (found, names) = match found {
        // A lock of what is not there would make it.
        Err(error) if super::refusal::status(error.kind()) == StatusCode::NOT_FOUND => {
            return Err(Refusal::Status(StatusCode::FORBIDDEN));
        }
        found => found?,
    };
    let href = dav.prefix.href(&names, found.seen().is_directory());
    let depth = if headers.get("Depth").is_some_and(|depth| depth == "0") { "0" } else { "infinity" };
    let mut response = Response::new(Body::full(document(&wish.unwrap_or_default(), &token, depth, &href)));
    response.headers_mut().insert(header::CONTENT_TYPE, xml::content_type());
    response
        .headers_mut()
        .extend(HeaderValue::from_str(&format!("<{token}>")).map(|token| (lock_token_header(), token)));
    Ok(response)
}

/// Answers an UNLOCK.
pub(super) fn unlock(headers: &HeaderMap) -> Result<Response<Body>, Refusal> {
    if !headers.contains_key(lock_token_header()) {
        return Err(Refusal::bad_request());
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

fn lock_token_header() -> header::HeaderName {
    header::HeaderName::from_static("lock-token")
}

fn parse(body: &[u8]) -> Result<Wish, Refusal> {
    let mut wish = Wish::default();
    let mut is_lock = false;
    xml::visit(body, |part| {
        match part {
            Part::Element([root]) if !root.is_dav("lockinfo") => return Err(Refusal::bad_request()),
            Part::Element([_, scope, shared]) if scope.is_dav("lockscope") => {
                wish.is_shared = shared.is_dav("shared");
            }
            Part::Element([_, kind, write]) if kind.is_dav("locktype") => is_lock = write.is_dav("write"),
            Part::Text([_, owner, ..], text) if owner.is_dav("owner") => wish.owner.push_str(text.trim()),
            _ => {}
        }
        Ok(())
    })?;
    if !is_lock || wish.owner.len() > OWNER_BYTES_MAX {
        return Err(Refusal::bad_request());
    }
    Ok(wish)
}

/// A name for a lock that no other has: a random UUID (version 4).
fn token() -> String {
    let random = |salt: u8| RandomState::new().hash_one(salt);
    let (high, low) = (random(0), random(1));
    format!(
        "{SCHEME}{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xFFFF,
        high & 0xFFF,
        low >> 52,
        low & 0xFFFF_FFFF_FFFF
    )
}

/// The first of our tokens in a header `If`.
fn held_token(header: &str) -> Option<&str> {
    let tokens = header.split(['<', '>']);
    tokens.into_iter().find(|token| {
        token.strip_prefix(SCHEME).is_some_and(|uuid| {
            uuid.len() == 36 && uuid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
        })
    })
}

fn document(wish: &Wish, token: &str, depth: &str, href: &str) -> String {
    let scope = if wish.is_shared { "shared" } else { "exclusive" };
    let mut owner = String::new();
    if !wish.owner.is_empty() {
        owner.push_str("<D:owner>");
        push_text(&mut owner, &wish.owner);
        owner.push_str("</D:owner>");
    }
    format!(
        "{}<D:prop xmlns:D=\"DAV:\"><D:lockdiscovery><D:activelock>\
         <D:locktype><D:write/></D:locktype><D:lockscope><D:{scope}/></D:lockscope><D:depth>{depth}</D:depth>\
         {owner}<D:timeout>Second-{SECONDS}</D:timeout>\
         <D:locktoken><D:href>{token}</D:href></D:locktoken><D:lockroot><D:href>{href}</D:href></D:lockroot>\
         </D:activelock></D:lockdiscovery></D:prop>\n",
        xml::HEAD
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_again_in_the_header_if() {
        let token = token();

        assert_eq!(held_token(&format!("(<{token}>)")), Some(token.as_str()));
        assert_eq!(held_token(&format!("<http://host/a> (<{token}>)")), Some(token.as_str()));
        assert_eq!(held_token("(<opaquelocktoken:x>)"), None);
        assert_ne!(super::token(), token);
    }

    #[test]
    fn owners_are_kept_as_text() {
        let body = b"<lockinfo xmlns='DAV:'><lockscope><shared/></lockscope><locktype><write/></locktype>
            <owner><href>DOMAIN\\user &lt;x&gt;</href></owner></lockinfo>";

        let wish = parse(body).unwrap();

        assert_eq!(wish, Wish { is_shared: true, owner: "DOMAIN\\user <x>".to_owned() });
        assert!(document(&wish, "t", "0", "/").contains("user &lt;x&gt;</D:owner>"));
        assert!(parse(b"<lockinfo xmlns='DAV:'/>").is_err());
        let endless = String::from_utf8_lossy(body).replace("DOMAIN", &"D".repeat(OWNER_BYTES_MAX));
        assert!(parse(endless.as_bytes()).is_err());
    }
}
