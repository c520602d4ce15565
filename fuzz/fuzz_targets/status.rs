//! Decoding of Status bodies.
#![cfg_attr(fuzzing, no_main)]
fuzz::target!(status);
