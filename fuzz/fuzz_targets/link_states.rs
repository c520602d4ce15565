//! Routing in a meshed network with a hostile network between its nodes.
#![cfg_attr(fuzzing, no_main)]
fuzz::target!(link_states);
