//! The product as it is meant to run: an object of a Kubernetes cluster. DingTalk and the homeserver are outside it.

mod certificates;
mod evidence;
mod images;
mod kubectl;
mod local;
mod options;
mod platform;
mod pod;
mod world;

pub use self::{
    kubectl::{Access, Kubectl},
    options::ClusterWorldOptions,
    pod::{Pod, PodBridge},
    world::ClusterWorld,
};
