//! The crate as its users meet it: real processes, sockets and, by hand, a real Synapse.

#[cfg(test)]
mod client;
#[cfg(test)]
mod processes;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod synapse;
