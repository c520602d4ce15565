//! Percent-encoding of SAE IDs in paths.
#![cfg_attr(fuzzing, no_main)]
fuzz::target!(path_segment);
