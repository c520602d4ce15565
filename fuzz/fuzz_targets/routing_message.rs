//! Messages between neighbours in routing.
#![cfg_attr(fuzzing, no_main)]
fuzz::target!(routing_message);
