//! Decoding of link-state advertisements.
#![cfg_attr(fuzzing, no_main)]
fuzz::target!(lsa);
