//! Reading of a KME's answers.
#![cfg_attr(fuzzing, no_main)]
fuzz::target!(answer);
