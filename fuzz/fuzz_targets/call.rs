//! Decoding of requests to a KME.
#![cfg_attr(fuzzing, no_main)]
fuzz::target!(call);
