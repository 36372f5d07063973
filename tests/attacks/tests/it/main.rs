//! What hostile and broken peers send to the running bridge, and what a person does in a browser.

#[cfg(test)]
mod api;
#[cfg(test)]
mod browser;
#[cfg(test)]
mod callbacks;
#[cfg(test)]
mod crowd;
#[cfg(test)]
mod events;
#[cfg(test)]
mod gateway;
#[cfg(test)]
mod injection;
#[cfg(test)]
mod looks;
#[cfg(test)]
mod page;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod stream;
#[cfg(test)]
mod transactions;
