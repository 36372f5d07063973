//! The network of a box: an address for the node and a way to the services.

use std::{fs, process::Command};

use anyhow::Context as _;

use crate::{
    addresses::{NODE_NAME, NODE_NETWORK, SERVICES},
    packages,
};

/// Makes the node's interface. There is no way out of the box.
pub(super) fn furnish() -> anyhow::Result<()> {
    rustix::system::sethostname(NODE_NAME.as_bytes()).context("setting the node's name")?;
    ip("link set lo up")?;
    // Not every kernel has dummy interfaces; a bridge without ports does the same.
    ip("link add node0 type bridge")?;
    ip(&format!("address add {NODE_NETWORK} dev node0"))?;
    ip("link set node0 up")?;
    // Connections to services are turned to pods on their way out, so they need a way.
    ip(&format!("route add {SERVICES} dev node0"))?;
    set("net/ipv4/ip_forward", "1")?;
    // Pods reach each other through services only if packets between ports of a bridge are turned, too.
    let turned = "net/bridge/bridge-nf-call-iptables";
    if !fs::exists(format!("/proc/sys/{turned}")).unwrap_or_default() {
        let _ = Command::new("modprobe").arg("br_netfilter").output();
    }
    set(turned, "1").context("the kernel needs the module br_netfilter")
}

fn ip(words: &str) -> anyhow::Result<()> {
    let program = packages::find("ip").context("there is no program ip")?;
    let output = Command::new(program).args(words.split(' ')).output().context("running ip")?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "ip {words}: {}", said.trim_end());
    Ok(())
}

fn set(name: &str, value: &str) -> anyhow::Result<()> {
    let path = format!("/proc/sys/{name}");
    fs::write(&path, value).with_context(|| format!("writing {value} to {path}"))
}
