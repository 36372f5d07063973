//! Programs of the distribution that the node needs, and installing what is missing where that is possible.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::unfit::Unfit;

/// Program and Debian package.
const NEEDED: &[(&str, &str)] = &[
    ("containerd", "containerd"),
    ("containerd-shim-runc-v2", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("busybox", "busybox-static"),
    ("unshare", "util-linux"),
    ("mount", "mount"),
];

/// Where distributions put the network plugins, and the package.
const PLUGIN_FOLDERS: [&str; 3] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];
const PLUGINS: (&str, &str) =
    ("network plugins (bridge, host-local, portmap)", "containernetworking-plugins");

/// Finds a program on the search path or where administration programs are.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from));
    folders.into_iter().map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The folder of the network plugins.
pub(crate) fn network_plugins() -> Option<&'static Path> {
    let has_all = |folder: &&&str| {
        ["bridge", "host-local", "portmap"].iter().all(|plugin| Path::new(folder).join(plugin).is_file())
    };
    PLUGIN_FOLDERS.iter().find(has_all).map(|folder| Path::new(*folder))
}

/// What is missing: names for people, and packages.
fn missing() -> (Vec<&'static str>, BTreeSet<&'static str>) {
    let gone = NEEDED.iter().filter(|(program, _)| find(program).is_none());
    let plugins = network_plugins().is_none().then_some(&PLUGINS);
    gone.chain(plugins).copied().unzip()
}

/// Refuses where something is missing that [`install`] could not bring.
pub(crate) fn check() -> Result<(), Unfit> {
    let (programs, packages) = missing();
    if programs.is_empty() || (find("apt-get").is_some() && rustix::process::geteuid().is_root()) {
        return Ok(());
    }
    let packages = packages.into_iter().collect::<Vec<_>>().join(" ");
    Err(Unfit::Missing {
        programs: programs.join(", "),
        remedy: format!(
            "Install them; the Debian packages are: apt-get install --no-install-recommends {packages}"
        ),
    })
}

/// Installs what is missing.
pub(crate) async fn install(progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<()> {
    check()?;
    let (programs, packages) = missing();
    if programs.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = packages.into_iter().collect();
    progress(&format!("installing {} by apt-get, for {}", packages.join(" "), programs.join(", ")));
    test_support::debian::install(&packages).await?;
    let (programs, _) = missing();
    anyhow::ensure!(
        programs.is_empty(),
        Unfit::Missing {
            programs: programs.join(", "),
            remedy: "apt-get installed the packages without an error, but these are not there.".to_owned()
        }
    );
    Ok(())
}
