//! Client histories.
