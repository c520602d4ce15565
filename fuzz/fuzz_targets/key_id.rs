//! Reading of key IDs.
#![cfg_attr(fuzzing, no_main)]
fuzz::target!(key_id);
