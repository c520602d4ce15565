//! Decoding of Key IDs bodies.
#![cfg_attr(fuzzing, no_main)]
fuzz::target!(key_ids);
