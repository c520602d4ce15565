//! Decoding of Error bodies.
#![cfg_attr(fuzzing, no_main)]
fuzz::target!(error_body);
