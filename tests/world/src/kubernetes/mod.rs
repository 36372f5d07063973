//! The product as it is meant to run: an object of a Kubernetes cluster. DingTalk and the homeserver are outside it.

mod certificates;
mod evidence;
mod forwarding;
mod images;
mod kubectl;
mod local;
mod options;
mod platform;
mod pod;
mod pods;
mod push;
mod remote;
mod site;
mod start;
mod world;

pub use self::{
    kubectl::{Access, Kubectl},
    options::{ClusterWorldOptions, ContextOptions, ImagesFrom, IngressAt},
    pod::{Pod, PodBridge},
    world::ClusterWorld,
};
