//! Two key managers with a hostile network between them.
#![cfg_attr(fuzzing, no_main)]
fuzz::target!(neighbours);
