//! The operator on a real Kubernetes; everything is in the tests.
