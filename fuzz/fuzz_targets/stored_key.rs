//! Decoding of keys in a store.
#![cfg_attr(fuzzing, no_main)]
fuzz::target!(stored_key);
