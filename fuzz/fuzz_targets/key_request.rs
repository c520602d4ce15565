//! Decoding of Key request bodies.
#![cfg_attr(fuzzing, no_main)]
fuzz::target!(key_request);
