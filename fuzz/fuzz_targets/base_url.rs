//! Base URLs of KMEs, and joining paths to them.
#![cfg_attr(fuzzing, no_main)]
fuzz::target!(base_url);
