//! Requests that another site makes a browser send.
//!
//! The cookie is `SameSite=Strict` already. Besides, whatever changes something must carry a header that no form can
//! carry and no other site's script may send, and must not say that it comes from elsewhere.

use crate::server::problem::Problem;
use axum::http::{HeaderMap, Method, header};

/// The header that a page's own script sends, whatever it says.
pub const HEADER: &str = "x-spelunk-csrf";

const FETCH_SITE: &str = "sec-fetch-site";

/// What a request with a cookie must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Csrf {
    /// The header.
    Header,
    /// The header, or else a word of the browser that it comes from the same origin: a form that starts a download
    /// has no headers of its own.
    Form,
}

/// Refuses what another site could have sent. Reading methods are let through.
///
/// # Errors
/// `denied`.
pub fn check(method: &Method, headers: &HeaderMap, csrf: Csrf, is_secure: bool) -> Result<(), Problem> {
    let is_reading = matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS" | "PROPFIND");
    if is_reading {
        return Ok(());
    }
    let says_same_origin = check_origin(headers, is_secure)?;
    match csrf {
        _ if headers.contains_key(HEADER) => Ok(()),
        Csrf::Form if says_same_origin => Ok(()),
        Csrf::Form | Csrf::Header => Err(Problem::denied("The header X-Spelunk-CSRF is missing")),
    }
}

/// Whether the request says that it comes from this origin; `false` when it says nothing.
///
/// # Errors
/// `denied` when it says that it comes from elsewhere.
pub fn check_origin(headers: &HeaderMap, is_secure: bool) -> Result<bool, Problem> {
    let elsewhere = || Problem::denied("The request comes from another site");
    let site = headers.get(FETCH_SITE);
    let is_same_site = site.map(|site| site == "same-origin");
    if is_same_site == Some(false) {
        return Err(elsewhere());
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(is_same_site.is_some()) };
    // A page that keeps its address to itself (Referrer-Policy) sends forms with `null`, from sandboxes too: the
    // browser's other word tells them apart.
    if origin == "null" && is_same_site == Some(true) {
        return Ok(true);
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok();
    match (origin, host) {
        (Some(origin), Some(host)) if is_own(origin, host, is_secure) => Ok(true),
        _ => Err(elsewhere()),
    }
}

/// Whether `origin` is the one that a browser names when it asks `host`.
fn is_own(origin: &str, host: &str, is_secure: bool) -> bool {
    let (scheme, port) = if is_secure { ("https://", ":443") } else { ("http://", ":80") };
    let Some(origin) = origin.strip_prefix(scheme) else { return false };
    origin.eq_ignore_ascii_case(host.strip_suffix(port).unwrap_or(host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let host = ("host", "backup.example:8080");
        let pairs = pairs.iter().chain([&host]);
        pairs.map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    fn passes(csrf: Csrf, pairs: &[(&'static str, &'static str)]) -> bool {
        check(&Method::POST, &headers(pairs), csrf, false).is_ok()
    }

    const MARK: (&str, &str) = (HEADER, "1");
    const OWN: (&str, &str) = ("origin", "http://backup.example:8080");
    const OTHER: (&str, &str) = ("origin", "http://evil.example");
    const NULL: (&str, &str) = ("origin", "null");
    const SAME: (&str, &str) = ("sec-fetch-site", "same-origin");

    #[test]
    fn changes_need_the_header_and_must_not_come_from_elsewhere() {
        assert!(passes(Csrf::Header, &[MARK]) && passes(Csrf::Header, &[MARK, OWN, SAME]));
        assert!(!passes(Csrf::Header, &[]) && !passes(Csrf::Header, &[OWN, SAME]));
        assert!(!passes(Csrf::Header, &[MARK, OTHER]) && !passes(Csrf::Header, &[MARK, OTHER, SAME]));
        assert!(!passes(Csrf::Header, &[MARK, NULL]));
        for site in ["cross-site", "same-site", "none"] {
            assert!(!passes(Csrf::Header, &[MARK, ("sec-fetch-site", site)]), "{site}");
        }
    }

    #[test]
    fn forms_pass_only_when_the_browser_says_where_they_come_from() {
        assert!(
            passes(Csrf::Form, &[OWN]) && passes(Csrf::Form, &[SAME]) && passes(Csrf::Form, &[NULL, SAME])
        );
        assert!(!passes(Csrf::Form, &[]) && !passes(Csrf::Form, &[OTHER]) && !passes(Csrf::Form, &[NULL]));
        assert!(!passes(Csrf::Form, &[OWN, ("sec-fetch-site", "same-site")]));
    }

    #[test]
    fn reading_needs_nothing() {
        for method in ["GET", "HEAD", "OPTIONS", "PROPFIND"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert!(check(&method, &headers(&[OTHER]), Csrf::Header, false).is_ok());
        }
        for method in ["PUT", "PATCH", "DELETE", "POST", "MKCOL"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert!(check(&method, &headers(&[]), Csrf::Header, false).is_err());
        }
    }

    #[test]
    fn origins_are_compared_with_scheme_and_port() {
        assert!(
            is_own("https://a.example", "a.example:443", true)
                && is_own("http://A.example", "a.example", false)
        );
        assert!(
            !is_own("http://a.example", "a.example", true)
                && !is_own("https://a.example", "a.example", false)
        );
        assert!(!is_own("http://a.example:81", "a.example", false));
        assert!(!is_own("http://a.example.evil", "a.example", false));
    }
}
