//! Where a request comes from.

use axum::http::HeaderMap;
use std::net::IpAddr;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address of whoever asks: that of the connection, unless this is one of `proxies`; then what the proxies say of
/// whom they ask for: the last address in `X-Forwarded-For` that is not a proxy itself. All before it is what the
/// client wrote.
pub fn address(headers: &HeaderMap, connection: IpAddr, proxies: &[IpAddr]) -> IpAddr {
    let is_proxy = |address: &IpAddr| proxies.iter().any(|proxy| proxy.to_canonical() == *address);
    let connection = connection.to_canonical();
    if !is_proxy(&connection) {
        return connection;
    }
    let values: Vec<&str> =
        headers.get_all(FORWARDED_FOR).into_iter().filter_map(|value| value.to_str().ok()).collect();
    let mut known = connection;
    for hop in values.iter().rev().flat_map(|value| value.rsplit(',')) {
        let Some(address) = parse(hop.trim()) else { break };
        known = address;
        if !is_proxy(&known) {
            break;
        }
    }
    known
}

/// An address, perhaps with a port, as proxies write it.
fn parse(text: &str) -> Option<IpAddr> {
    let address =
        text.parse().ok().or_else(|| text.parse().ok().map(|socket: std::net::SocketAddr| socket.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn from(connection: &str, forwarded: &[&'static str], proxies: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_static(value));
        }
        let proxies: Vec<IpAddr> = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
        address(&headers, connection.parse().unwrap(), &proxies).to_string()
    }

    #[test]
    fn only_a_named_proxy_is_believed() {
        assert_eq!(from("10.0.0.9", &["1.2.3.4"], &[]), "10.0.0.9");
        assert_eq!(from("10.0.0.9", &["1.2.3.4"], &["10.0.0.1"]), "10.0.0.9");
        assert_eq!(from("10.0.0.1", &["1.2.3.4"], &["10.0.0.1"]), "1.2.3.4");
        assert_eq!(from("::ffff:10.0.0.1", &["1.2.3.4"], &["10.0.0.1"]), "1.2.3.4");
    }

    #[test]
    fn what_the_client_wrote_before_the_proxy_is_not_believed() {
        let proxies = ["10.0.0.1", "10.0.0.2"];

        assert_eq!(from("10.0.0.1", &["6.6.6.6, 1.2.3.4"], &proxies), "1.2.3.4");
        assert_eq!(from("10.0.0.1", &["6.6.6.6", "1.2.3.4, 10.0.0.2"], &proxies), "1.2.3.4");
        assert_eq!(from("10.0.0.1", &["6.6.6.6, rubbish"], &proxies), "10.0.0.1");
        assert_eq!(from("10.0.0.1", &["[2001:db8::1]:4711"], &proxies), "2001:db8::1");
        assert_eq!(from("10.0.0.1", &[], &proxies), "10.0.0.1");
    }
}
