//! A network namespace at the other end of a cable (veth), so that a trunk's cable can be cut.
//! Needs root and `ip`; addresses are 10.231.x.0/24 of this process's own.
#![allow(dead_code)] // Each test file uses its own part of it.

use std::net::Ipv4Addr;
use std::process::Command;

/// Dropping it takes namespace and cable away.
pub struct Namespace {
    pub name: String,
    cable: String,
    net: u8,
}

impl Namespace {
    /// Our end has `.1` to `.9`, the other `.200`.
    ///
    /// # Errors
    /// Why there can be none, in the words of `ip`.
    pub fn new() -> Result<Namespace, String> {
        let [.., high, low] = std::process::id().to_be_bytes();
        let net = high ^ low;
        let namespace = Namespace {
            name: format!("foredial{net}"),
            cable: format!("fdcable{net}"),
            net,
        };
        let (name, cable) = (namespace.name.clone(), namespace.cable.clone());
        let peer = format!("{cable}p");
        ip(&["netns", "add", &name])?;
        ip(&["link", "add", &cable, "type", "veth", "peer", "name", &peer])?;
        ip(&["link", "set", &peer, "netns", &name])?;
        for last in 1..=9 {
            let address = format!("{}/24", namespace.address(last));
            ip(&["addr", "add", &address, "dev", &cable])?;
        }
        ip(&["link", "set", &cable, "up"])?;
        let far = format!("{}/24", namespace.far());
        ip(&["-n", &name, "addr", "add", &far, "dev", &peer])?;
        ip(&["-n", &name, "link", "set", &peer, "up"])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    pub fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 231, self.net, last)
    }

    /// The address inside.
    pub fn far(&self) -> Ipv4Addr {
        self.address(200)
    }

    /// The cable is cut: packets go nowhere, and no error tells of it.
    pub fn cut(&self) {
        let peer = format!("{}p", self.cable);
        ip(&["-n", &self.name, "link", "set", &peer, "down"]).expect("we made it");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The cable goes with the end that is inside.
        let _ = ip(&["link", "del", &self.cable]);
        let _ = ip(&["netns", "del", &self.name]);
    }
}

fn ip(line: &[&str]) -> Result<(), String> {
    let done = Command::new("ip").args(line).output();
    let done = done.map_err(|error| format!("ip (apt-get install iproute2): {error}"))?;
    match done.status.success() {
        true => Ok(()),
        false => Err(format!(
            "ip {}: {}",
            line.join(" "),
            String::from_utf8_lossy(&done.stderr).trim()
        )),
    }
}
