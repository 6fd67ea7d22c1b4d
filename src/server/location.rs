//! Places in the library as they stand in URLs: names, percent-encoded, with slashes between.

use super::problem::Problem;
use crate::library::{Catalogue, LATEST};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use spelunk_tree::Name;

/// Names that one place may have: more than PATH_MAX can hold.
const NAMES_MAX: usize = 4096;

/// What stands in URLs as it is: RFC 3986, section 2.3, unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A place in the library: client, moment, item, and names within it. The library itself has no name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location {
    names: Vec<Name>,
}

impl Location {
    /// Takes the encoded form. Slashes that part nothing are ignored.
    ///
    /// # Errors
    /// `bad-request` for what no guest can have written: `..`, a slash or a NUL in a name.
    pub fn parse(encoded: &str) -> Result<Location, Problem> {
        let parts = encoded.split('/').filter(|part| !part.is_empty());
        let decoded = parts.map(|part| Name::new(percent_decode_str(part).collect::<Vec<u8>>()));
        let names: Result<Vec<Name>, _> = decoded.take(NAMES_MAX + 1).collect();
        let names = names.map_err(|_| Problem::bad_request("A path with a name that cannot be"))?;
        if names.len() > NAMES_MAX {
            return Err(Problem::bad_request("A path of too many names"));
        }
        Ok(Location { names })
    }

    /// The names, from the client on.
    pub fn names(&self) -> &[Name] {
        &self.names
    }

    /// The last name, if it has one.
    pub fn name(&self) -> Option<&Name> {
        self.names.last()
    }

    /// The encoded form, without a slash around it.
    pub fn encoded(&self) -> String {
        let names: Vec<String> = self.names.iter().map(encode).collect();
        names.join("/")
    }

    /// The path in the library's tree.
    pub fn bytes(&self) -> Vec<u8> {
        let mut path = Vec::new();
        for name in &self.names {
            path.push(b'/');
            path.extend_from_slice(name.as_bytes());
        }
        if path.is_empty() { b"/".to_vec() } else { path }
    }

    /// The same place without `latest`: with the moment that it stands for now.
    #[must_use]
    pub fn canonical(mut self, catalogue: &Catalogue) -> Location {
        let [client, latest, item, ..] = &self.names[..] else { return self };
        if latest.as_bytes() != LATEST.as_bytes() {
            return self;
        }
        let client = catalogue.clients.iter().find(|known| known.name == *client);
        let newest = client.map(|client| client.latest()).unwrap_or_default();
        let moment = newest.into_iter().find(|(_, known)| known.name == *item);
        if let Some(moment) = moment.and_then(|(backup, _)| Name::new(backup.moment.name().as_bytes()).ok()) {
            self.names[1] = moment;
        }
        self
    }
}

/// A name as it stands in a URL.
pub fn encode(name: &Name) -> String {
    percent_encode(name.as_bytes(), ENCODED).to_string()
}

/// Below an endpoint `/<what>/<place>`: the place.
impl<S: Sync> FromRequestParts<S> for Location {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Location, Problem> {
        let path = parts.uri.path().trim_start_matches('/');
        Location::parse(path.split_once('/').map_or("", |(_, place)| place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_have_one_form_and_come_back() {
        let name = Name::new(&b"a \xff%\"<>?#\r\n\\..x"[..]).unwrap();
        let place = Location { names: vec![Name::new(&b"c"[..]).unwrap(), name] };

        let encoded = place.encoded();

        assert_eq!(encoded, "c/a%20%FF%25%22%3C%3E%3F%23%0D%0A%5C..x");
        assert_eq!(Location::parse(&encoded).unwrap(), place);
        assert_eq!(place.bytes(), b"/c/a \xff%\"<>?#\r\n\\..x");
    }

    #[test]
    fn nothing_leads_up() {
        for path in ["a/..", "a/%2e%2e/b", "a/%2fetc", "a%00", "./a", "a/."] {
            assert!(Location::parse(path).is_err(), "{path}");
        }
        assert!(Location::parse(&"a/".repeat(NAMES_MAX)).is_ok());
        assert!(Location::parse(&"a/".repeat(NAMES_MAX + 1)).is_err());
        assert_eq!(Location::parse("//a///b/").unwrap().encoded(), "a/b");
        assert_eq!(Location::parse("").unwrap().bytes(), b"/");
    }
}
