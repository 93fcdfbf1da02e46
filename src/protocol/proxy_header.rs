//! Who is behind a load balancer? The header of the PROXY protocol, versions 1 and 2.
//!
//! A load balancer sends it ahead of everything else on a connection ("The PROXY protocol, versions 1 & 2",
//! haproxy.org, sections 2.1 and 2.2). Whoever reads it must not read one byte more, because what follows
//! may be TLS: [`decode`] says how many bytes it can still ask for.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::ProtocolError;

/// How version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest header of version 1, its line end included.
const LONGEST_LINE: usize = 107;

/// The fixed part of version 2: signature, version and command, family, length.
const FIXED: usize = 16;

/// As whom a connection counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// As this client, from whom the load balancer has it.
    Client(SocketAddr),
    /// As the load balancer itself: a health check (LOCAL), or a client without an address (UNKNOWN, a
    /// unix socket).
    Proxy,
}

/// How far a header is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// At least so many bytes are still to come.
    Needs(usize),
    /// That was all.
    Done(Origin),
}

/// Reads a header from its first byte on. `bytes` holds what has arrived, and no more than was asked for.
///
/// # Errors
/// Bytes that are no header, or one that says what the specification does not allow.
pub fn decode(bytes: &[u8]) -> Result<Progress, ProtocolError> {
    match bytes.get(..SIGNATURE.len()) {
        // Both versions are longer than this, so nothing behind the header is read.
        None => Ok(Progress::Needs(SIGNATURE.len() - bytes.len())),
        Some(begin) if begin == SIGNATURE => binary(bytes),
        Some(begin) if begin.starts_with(b"PROXY ") => line(bytes),
        Some(_) => Err(ProtocolError::Malformed("PROXY header")),
    }
}

/// Version 1: `PROXY TCP4 192.0.2.1 198.51.100.1 56324 3306\r\n`.
fn line(bytes: &[u8]) -> Result<Progress, ProtocolError> {
    let malformed = ProtocolError::Malformed("PROXY header");
    let Some(text) = bytes.strip_suffix(b"\r\n") else {
        let open = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        if bytes.len() >= LONGEST_LINE || open.contains(&b'\r') || open.contains(&b'\n') {
            return Err(malformed);
        }
        return Ok(Progress::Needs(if open.len() < bytes.len() { 1 } else { 2 }));
    };
    let text = std::str::from_utf8(text).map_err(|_| malformed)?;
    if bytes.len() > LONGEST_LINE {
        return Err(malformed);
    }
    let words: Vec<&str> = text.split(' ').collect();
    match words[..] {
        [_, "UNKNOWN", ..] => Ok(Progress::Done(Origin::Proxy)),
        [_, "TCP4", source, target, from, to] => {
            endpoint::<Ipv4Addr>(target, to)?;
            Ok(Progress::Done(Origin::Client(endpoint::<Ipv4Addr>(source, from)?)))
        }
        [_, "TCP6", source, target, from, to] => {
            endpoint::<Ipv6Addr>(target, to)?;
            Ok(Progress::Done(Origin::Client(endpoint::<Ipv6Addr>(source, from)?)))
        }
        _ => Err(malformed),
    }
}

fn endpoint<A: FromStr + Into<IpAddr>>(address: &str, port: &str) -> Result<SocketAddr, ProtocolError> {
    let malformed = ProtocolError::Malformed("PROXY header");
    let is_plain = port.bytes().all(|byte| byte.is_ascii_digit()) && (port == "0" || !port.starts_with('0'));
    let port = port.parse().ok().filter(|_| is_plain).ok_or(malformed)?;
    let address = address.parse::<A>().map_err(|_| malformed)?;
    Ok(SocketAddr::new(address.into(), port))
}

/// Version 2.
fn binary(bytes: &[u8]) -> Result<Progress, ProtocolError> {
    let malformed = ProtocolError::Malformed("PROXY header");
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED) else {
        return Ok(Progress::Needs(FIXED - bytes.len()));
    };
    let &[version_and_command, family, high, low] = &fixed[SIGNATURE.len()..] else { return Err(malformed) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let is_local = match version_and_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(malformed),
    };
    if rest.len() < length {
        return Ok(Progress::Needs(length - rest.len()));
    }
    // Behind the addresses come extensions, which say nothing that counts here.
    let addresses = rest.get(..length).ok_or(malformed)?;
    if is_local {
        return Ok(Progress::Done(Origin::Proxy));
    }
    match family {
        // TCP over IPv4, IPv6: source address, target address, source port, target port.
        0x11 => {
            let [a, b, c, d, _, _, _, _, high, low, _, _] =
                *addresses.first_chunk::<12>().ok_or(malformed)?;
            let address = Ipv4Addr::new(a, b, c, d);
            Ok(client(address.into(), [high, low]))
        }
        0x21 => {
            let (source, rest) = addresses.split_first_chunk::<16>().ok_or(malformed)?;
            let (_, ports) = rest.split_first_chunk::<16>().ok_or(malformed)?;
            let [high, low, _, _] = *ports.first_chunk::<4>().ok_or(malformed)?;
            Ok(client(Ipv6Addr::from(*source).into(), [high, low]))
        }
        // A stream over a unix socket, or nothing that has an address.
        0x31 if addresses.len() < 216 => Err(malformed),
        0x00 | 0x31 => Ok(Progress::Done(Origin::Proxy)),
        // Datagrams are none of MySQL's, and all else is reserved.
        _ => Err(malformed),
    }
}

fn client(address: IpAddr, port: [u8; 2]) -> Progress {
    Progress::Done(Origin::Client(SocketAddr::new(address, u16::from_be_bytes(port))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds what is asked for, as a reader does; the origin and how many bytes were read.
    fn read(mut all: &[u8]) -> Result<(Origin, usize), ProtocolError> {
        let mut got = Vec::new();
        loop {
            match decode(&got)? {
                Progress::Done(origin) => return Ok((origin, got.len())),
                Progress::Needs(0) => panic!("asks for nothing"),
                Progress::Needs(count) => {
                    let (next, rest) =
                        all.split_at_checked(count).ok_or(ProtocolError::Truncated("PROXY header"))?;
                    got.extend_from_slice(next);
                    all = rest;
                }
            }
        }
    }

    fn version_2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, addresses].concat()
    }

    #[test]
    fn lines_of_version_1() {
        // The examples of the specification's section 2.1, and its longest lines.
        let client = |text: &str| Some(Origin::Client(text.parse().unwrap()));
        let longest = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                       ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535";
        let unknown = "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535";
        for (text, expected) in [
            ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535", client("255.255.255.255:65535")),
            ("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443", client("192.168.0.1:56324")),
            ("PROXY TCP6 2001:db8::1 ::1 4 3306", client("[2001:db8::1]:4")),
            (longest, client("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535")),
            ("PROXY UNKNOWN", Some(Origin::Proxy)),
            (unknown, Some(Origin::Proxy)),
            ("PROXY TCP4 192.168.0.1 192.168.0.11 56324", None),
            ("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443 1", None),
            ("PROXY TCP4 192.168.0.1  192.168.0.11 56324 443", None),
            ("PROXY TCP4 192.168.0.01 192.168.0.11 56324 443", None),
            ("PROXY TCP4 192.168.0.1 192.168.0.11 056324 443", None),
            ("PROXY TCP4 192.168.0.1 192.168.0.11 65536 443", None),
            ("PROXY TCP4 192.168.0.1 192.168.0.11 +5 443", None),
            ("PROXY TCP4 ::1 ::1 56324 443", None),
            ("PROXY TCP6 192.168.0.1 192.168.0.11 56324 443", None),
            ("PROXY UDP4 192.168.0.1 192.168.0.11 56324 443", None),
            ("proxy TCP4 192.168.0.1 192.168.0.11 56324 443", None),
        ] {
            let whole = format!("{text}\r\n");
            let bytes = [whole.as_bytes(), b"\x20\0\0\x01"].concat();
            let found = read(&bytes);
            assert_eq!(found.ok(), expected.map(|origin| (origin, whole.len())), "{text}");
        }
        let endless = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        assert!(matches!(read(endless.as_bytes()), Err(ProtocolError::Malformed(_))));
        for bad in ["PROXY TCP4 1.1.1.1 1.1.1.1 1 1\nxxxx", "PROXY UNKNOWN\rx\r\n", "GET / HTTP/1.1\r\n\r\n"]
        {
            assert!(matches!(read(bad.as_bytes()), Err(ProtocolError::Malformed(_))), "{bad}");
        }
    }

    #[test]
    fn headers_of_version_2() {
        let four = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 0x0c, 0xea];
        let mut six = [0; 36];
        six[..2].copy_from_slice(&[0x20, 0x01]);
        six[15] = 7;
        six[33] = 9;
        let client = |text: &str| Some(Origin::Client(text.parse().unwrap()));
        // An extension behind the addresses (PP2_TYPE_AUTHORITY).
        let extended = [&four[..], &[0x02, 0, 3, b'a', b'.', b'b']].concat();
        for (header, expected) in [
            (version_2(0x21, 0x11, &four), client("192.0.2.1:56324")),
            (version_2(0x21, 0x11, &extended), client("192.0.2.1:56324")),
            (version_2(0x21, 0x21, &six), client("[2001::7]:9")),
            (version_2(0x21, 0x31, &[0; 216]), Some(Origin::Proxy)),
            (version_2(0x21, 0x00, &[]), Some(Origin::Proxy)),
            (version_2(0x20, 0x00, &[]), Some(Origin::Proxy)),
            // LOCAL: whatever stands in the addresses is skipped.
            (version_2(0x20, 0x11, &four), Some(Origin::Proxy)),
            (version_2(0x20, 0xff, &[1; 300]), Some(Origin::Proxy)),
            (version_2(0x21, 0x11, &four[..11]), None),
            (version_2(0x21, 0x21, &six[..35]), None),
            (version_2(0x21, 0x31, &[0; 215]), None),
            (version_2(0x21, 0x12, &four), None),
            (version_2(0x21, 0x41, &four), None),
            (version_2(0x22, 0x11, &four), None),
            (version_2(0x11, 0x11, &four), None),
        ] {
            let bytes = [&header[..], b"\x20\0\0\x01"].concat();
            assert_eq!(read(&bytes).ok(), expected.map(|origin| (origin, header.len())), "{header:02x?}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_without_asking_for_too_much(mut tail in prop::collection::vec(any::<u8>(), 0..600), kind in 0..3) {
            let begin: &[u8] = match kind {
                0 => b"",
                1 => SIGNATURE,
                _ => b"PROXY TCP4 ",
            };
            let mut bytes = begin.to_vec();
            bytes.append(&mut tail);
            for length in 0..bytes.len() {
                if let Ok(Progress::Needs(count)) = decode(&bytes[..length]) {
                    prop_assert!(count > 0 && u16::try_from(count).is_ok());
                }
            }
        }
    }
}
