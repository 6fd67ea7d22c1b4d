//! PROPFIND: properties of something, and of what is in it.

use super::listing::{Listing, Place};
use super::properties::{self, Asked, MULTISTATUS, MULTISTATUS_END, Resource};
use super::request;
use super::target::Target;
use super::view::{Seen, View};
use super::{Body, Refusal, Webdav, xml};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use spelunk_tree::{Attr, Kind};

/// Answers a PROPFIND.
pub(super) async fn answer(
    dav: &Webdav,
    view: View,
    target: Target,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, Refusal> {
    let is_listed = is_listed(headers)?;
    let wanted = request::parse(body)?;
    let asked = Asked::new(wanted, view.client, view.tree.info())?;
    let (names, is_directory) = match target {
        Target::Within { names, is_directory } => (names, is_directory),
        Target::Above(depth) => return Ok(multistatus(above(dav, depth, is_listed, &asked))),
    };
    if view.client.is_search_mark(&names) {
        let seen = Seen { node: view.tree.root(), attr: Attr::new(Kind::File) };
        let href = dav.prefix.href(&names, false);
        let resource = Resource { href: &href, name: names.last(), seen: &seen };
        return Ok(multistatus(document(|out| properties::push_response(out, &resource, &asked))));
    }
    let find = move || view.find(&names, is_directory).map(|found| (view, names, found));
    let (view, names, found) = dav.calls.run(find).await?;
    let is_directory = found.seen().is_directory();
    let href = dav.prefix.href(&names, is_directory);
    let place = Place::Itself { is_listed: is_listed && is_directory };
    let listing = Listing { view, asked, found, href, name: names.last().cloned(), place };
    Ok(multistatus(dav.calls.body(listing).await?))
}

/// Whether what is in a directory is asked for, too. Not all that is below it: that would be a walk of every backup.
fn is_listed(headers: &HeaderMap) -> Result<bool, Refusal> {
    match headers.get("Depth").map(HeaderValue::as_bytes) {
        Some(b"0") => Ok(false),
        Some(b"1" | b"1,noroot") => Ok(true),
        // Without the header, RFC 4918 has it mean the same.
        None => Err(Refusal::Condition(StatusCode::FORBIDDEN, "propfind-finite-depth")),
        Some(depth) if depth.eq_ignore_ascii_case(b"infinity") => {
            Err(Refusal::Condition(StatusCode::FORBIDDEN, "propfind-finite-depth"))
        }
        Some(_) => Err(Refusal::bad_request()),
    }
}

/// A directory above the tree's root: all that is in it is the way to the root.
fn above(dav: &Webdav, depth: usize, is_listed: bool, asked: &Asked) -> Body {
    let seen = Seen { node: dav.tree.root(), attr: Attr::new(Kind::Directory) };
    document(|out| {
        let depths = depth..=depth + usize::from(is_listed);
        for depth in depths {
            let href = dav.prefix.href_above(depth);
            let name = depth.checked_sub(1).and_then(|depth| dav.prefix.name(depth));
            properties::push_response(out, &Resource { href: &href, name, seen: &seen }, asked);
        }
    })
}

fn document(responses: impl FnOnce(&mut String)) -> Body {
    let mut out = xml::HEAD.to_owned();
    out.push_str(MULTISTATUS);
    responses(&mut out);
    out.push_str(MULTISTATUS_END);
    Body::full(out)
}

fn multistatus(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::MULTI_STATUS;
    response.headers_mut().insert(header::CONTENT_TYPE, xml::content_type());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
