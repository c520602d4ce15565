//! Decoding of Key container bodies.
#![cfg_attr(fuzzing, no_main)]
fuzz::target!(key_container);
