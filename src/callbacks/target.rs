//! Where the service may connect to on behalf of others: not into the network that the service itself can reach, unless it is allowed.
//!
//! Addresses are checked when the connection is made, by a resolver that gives out permitted ones alone, so a name
//! that changes its address between two look-ups gains nothing.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ipnet::{IpNet, Ipv4Net};
use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};

/// The longest address, in bytes.
const LONGEST: usize = 4096;
/// How long a name may take to be looked up.
const LOOKUP: Duration = Duration::from_secs(10);
/// Shared address space of carriers, where some clouds have their metadata.
const SHARED: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10);

/// Which addresses the service may connect to on behalf of others, beyond the public ones.
#[derive(Debug, Clone)]
pub struct TargetPolicy {
    allowed: Arc<[IpNet]>,
    setting: &'static str,
}

impl Default for TargetPolicy {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl TargetPolicy {
    /// What every refusal says after the address.
    pub const REFUSAL: &str = " is not a public address";

    /// For callbacks: these networks, and all public addresses.
    #[must_use]
    pub fn new(allowed: Vec<IpNet>) -> Self {
        Self::of_setting(allowed, "callbacks.allow")
    }

    /// The same for what another setting allows.
    #[must_use]
    pub fn of_setting(allowed: Vec<IpNet>, setting: &'static str) -> Self {
        Self { allowed: allowed.into(), setting }
    }

    /// Whether this address may be called.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address) || self.allowed.iter().any(|network| network.contains(&address))
    }

    /// The permitted addresses of a host, which is a name or an address.
    ///
    /// # Errors
    /// There are none, or they cannot be looked up; what to do.
    pub async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        let found = tokio::time::timeout(LOOKUP, tokio::net::lookup_host((host, port))).await;
        let found = found.map_err(|_| format!("the name {host} could not be looked up in time"))?;
        let found: Vec<_> = found.map_err(|error| format!("the name {host} cannot be looked up: {error}"))?.collect();
        let permitted: Vec<_> = found.iter().copied().filter(|found| self.permits(found.ip())).collect();
        match (permitted.is_empty(), found.first()) {
            (true, Some(first)) => Err(self.refusal(first.ip())),
            (true, None) => Err(format!("the name {host} has no address")),
            (false, _) => Ok(permitted),
        }
    }

    /// Reads a callback's address.
    ///
    /// # Errors
    /// Why it cannot be used, and what to do. A name is judged later, by the addresses that it has then.
    pub fn check(&self, text: &str) -> Result<Url, String> {
        if text.len() > LONGEST {
            return Err(format!("at most {LONGEST} bytes"));
        }
        let url = Url::parse(text).map_err(|_| "is no URL: write it like https://example.com/hook".to_owned())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("begins with http:// or https://".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "has no user and password: put a token into its path or query, which are kept secret".to_owned()
            );
        }
        // The parser has brought every way to write an address into its usual form.
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let address = match host {
            "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            _ => host.parse().ok(),
        };
        match address {
            Some(address) if !self.permits(address) => Err(self.refusal(address)),
            _ => Ok(url),
        }
    }

    fn refusal(&self, address: IpAddr) -> String {
        let setting = self.setting;
        format!(
            "{address}{}: an operator allows such ones with {setting} in the service's configuration",
            Self::REFUSAL
        )
    }
}

/// What of an address may be shown: scheme, host and port.
#[must_use]
pub fn shown(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Whether an address is of the public internet (IANA's registries of special-purpose addresses say which are not).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || v4.is_documentation()
                || v4.octets()[0] == 0
                || v4.octets()[0] >= 240
                || SHARED.contains(&v4))
        }
        IpAddr::V6(v6) => {
            // Forms that carry an IPv4 address reach that address.
            let carried = carried(v6);
            carried.is_none_or(|v4| is_public(IpAddr::V4(v4)))
                && !(v6.is_loopback()
                    || v6.is_unspecified()
                    || v6.is_multicast()
                    || v6.is_unique_local()
                    || v6.is_unicast_link_local())
        }
    }
}

/// The IPv4 address inside of 64:ff9b::/96 (NAT64) and 2002::/16 (6to4) addresses.
fn carried(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = v6.octets();
    let at = |from: usize| Ipv4Addr::new(octets[from], octets[from + 1], octets[from + 2], octets[from + 3]);
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(at(12)),
        [0x2002, ..] => Some(at(2)),
        _ => None,
    }
}

/// Looks names up, and gives out permitted addresses alone.
impl Resolve for TargetPolicy {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.clone();
        Box::pin(async move {
            let permitted = policy.addresses(name.as_str(), 0).await?;
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_permitted() {
        let policy = TargetPolicy::default();
        for inside in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.100.100.200",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "2002:a9fe:a9fe::1",
        ] {
            assert!(!policy.permits(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["8.8.8.8", "20.50.1.1", "2600:1f18::1"] {
            assert!(policy.permits(outside.parse().unwrap()), "{outside}");
        }
        let office = TargetPolicy::new(vec!["10.0.0.0/8".parse().unwrap()]);
        assert!(office.permits("10.1.2.3".parse().unwrap()));
        assert!(office.permits("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!office.permits("192.168.1.1".parse().unwrap()));
    }

    #[test]
    fn addresses_are_read_whatever_their_form() {
        let policy = TargetPolicy::default();
        for bad in [
            "no url",
            "ftp://example.com/",
            "https://me:secret@example.com/",
            "http://localhost/x",
            "http://127.0.0.1/x",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://[::1]/",
            "http://[::ffff:7f00:1]/",
            "http://169.254.169.254/latest/meta-data/",
        ] {
            let error = policy.check(bad).unwrap_err();
            assert!(!error.contains("secret@"), "{bad}: {error}");
        }
        let url = policy.check("https://example.com:8443/hook?token=s3cret").unwrap();
        assert_eq!(shown(&url), "https://example.com:8443");
    }

    #[tokio::test]
    async fn names_that_lead_inside_are_refused() {
        use std::str::FromStr as _;
        let Err(error) = TargetPolicy::default().resolve(Name::from_str("localhost").unwrap()).await else {
            panic!("localhost is inside")
        };
        assert!(error.to_string().contains("callbacks.allow"), "{error}");
    }
}
