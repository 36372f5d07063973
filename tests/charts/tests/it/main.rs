//! The charts without a cluster: Helm renders them with each values file in their `ci` folders, and every rule is held
//! against every object. One rule, one test.

mod alerts;
mod crds;
mod documents;
mod file;
mod flows;
mod helm;
mod names;
mod network;
mod pods;
mod rights;
mod values;
