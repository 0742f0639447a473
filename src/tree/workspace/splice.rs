//! Un-mounting.
