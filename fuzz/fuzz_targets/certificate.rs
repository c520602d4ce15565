//! Identities in certificates.
#![cfg_attr(fuzzing, no_main)]
fuzz::target!(certificate);
