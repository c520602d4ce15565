//! Parsing of traces of the secret key rate.
#![cfg_attr(fuzzing, no_main)]
fuzz::target!(trace);
